"""Events of google-adk from their JSON.

All events of a session are read by one call. Two things that google-adk and google-genai do for
programs that make events by hand are left out, since an event that was dumped has none of it, and
they take two thirds of the time ([M] 50 events: 1.33 ms, and 0.44 without):

- `Event` looks for shorthands (`message`, `state`, ...).
- `Content` and `Part` look whether the values that they are given are objects of a wrong model, and
  `Part` is called with what was parsed, instead of being read.

So events are read as subclasses without these steps, and are made to be of google-adk's own
classes after that. Those steps are not documented. So nothing is taken for granted: a sample is
read both ways, and only if that gives the same, by the same classes, the short way is gone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

Reader = Callable[[bytes], list[Any]]
_LIST: Any = list  # of classes that are made at run time

_SAMPLE = json.dumps(
    [
        {
            "id": "e1",
            "invocation_id": "i1",
            "author": "agent",
            "timestamp": 1.25,
            "content": {
                "role": "model",
                "parts": [
                    {"text": "a"},
                    {"thought": True, "text": "b", "thought_signature": "_wA="},
                    {"function_call": {"id": "c", "name": "f", "args": {"x": [1, None]}}},
                    {"functionResponse": {"id": "c", "name": "f", "response": {"y": 2.5}}},
                    {"inline_data": {"mime_type": "image/png", "data": "_wA="}},
                    {"file_data": {"file_uri": "gs://a/b", "mime_type": "text/plain"}},
                ],
            },
            "actions": {"state_delta": {"k": "v"}},
            "long_running_tool_ids": ["c"],
        },
        {"id": "e2", "author": "user", "timestamp": 2.0, "content": {"parts": None}},
        {"id": "e3", "author": "user", "timestamp": 3.0},
    ]
).encode()


def plain_reader(event: Any) -> Reader:
    """Reads events as google-adk does."""
    from pydantic import TypeAdapter

    adapter: Any = TypeAdapter(_LIST[event])

    def read(text: bytes) -> list[Any]:
        events: list[Any] = adapter.validate_json(text)
        return events

    return read


def _without(model: Any, step: str, parts: Mapping[str, Any], **more: Any) -> Any:
    """A subclass without a step that looks at what it is made of; with other types of parts."""
    body: dict[str, Any] = {"__module__": __name__, "__annotations__": dict(parts), **more}
    body.update(dict.fromkeys(parts))
    made = type(model)(f"Stored{model.__name__}", (model,), body)
    # With a step before it, even an empty one, pydantic makes a dict of the text first.
    del made.__pydantic_decorators__.model_validators[step]
    made.model_rebuild(force=True)
    return made


def _short_reader(event: Any) -> Reader:
    from google.genai.types import Content, Part
    from pydantic import BaseModel

    step = "_check_field_type_mismatches"
    stored_part = _without(Part, step, {}, __init__=BaseModel.__init__)
    stored_content = _without(Content, step, {"parts": _LIST[stored_part] | None})
    stored_event = _without(event, "_accept_convenience_kwargs", {"content": stored_content | None})
    read_stored = plain_reader(stored_event)
    be = object.__setattr__  # a model's own looks for a field of that name first

    def read(text: bytes) -> list[Any]:
        events = read_stored(text)
        for each in events:
            be(each, "__class__", event)
            content = each.content
            if content is not None:
                be(content, "__class__", Content)
                for part in content.parts or ():
                    be(part, "__class__", Part)
        return events

    return read


def _shape(value: Any) -> Any:
    """A value with the classes of all models in it."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        shown = {name: _shape(part) for name, part in value.__dict__.items()}
        return type(value), shown, value.model_fields_set
    if isinstance(value, list):
        return [_shape(part) for part in value]
    return value


@cache
def event_reader(event: Any) -> Reader:
    """Reads a JSON array of events of google-adk's class; the short way if that is the same."""
    plain = plain_reader(event)
    try:
        short = _short_reader(event)
        same = _shape(short(_SAMPLE)) == _shape(plain(_SAMPLE))
    except Exception:  # another google-adk, which is made otherwise
        return plain
    return short if same else plain
