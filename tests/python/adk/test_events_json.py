"""A session's events as one JSON array (`AdkTables.events_json`), and google-adk's events of it."""

from __future__ import annotations

import json
import warnings
from datetime import datetime, timezone
from typing import Any

import pytest
from looplite._core import AdkTables
from looplite.extensions.adk import _events

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # google-adk's own
    try:
        from google.adk.events.event import Event
        from google.genai import types
    except ImportError:
        Event: Any = None  # type: ignore[no-redef]

needs_adk = pytest.mark.skipif(Event is None, reason="google-adk is not installed")

TIME = datetime(2026, 11, 26, 7, 30, 15, 123457, tzinfo=timezone.utc)
JULIAN = AdkTables.julian(TIME)
SECONDS = AdkTables.time(JULIAN).timestamp()


def no_pickle(actions: bytes) -> str:
    raise AssertionError(f"{actions!r} was taken for a pickle")


def row(**parts: Any) -> tuple[Any, ...]:
    """A row of the table with columns."""
    values = {
        "id": "e1", "session_id": "s1", "app_name": "app", "user_id": "ann", "invocation_id": "i1",
        "timestamp": JULIAN, "author": "agent", "actions": b"{}",
        "long_running_tool_ids_json": None, "branch": None, "content": None,
        "grounding_metadata": None, "custom_metadata": None, "partial": None,
        "turn_complete": None, "interrupted": None, "error_code": None, "error_message": None,
    }  # fmt: skip
    assert values.keys() >= parts.keys()
    return tuple({**values, **parts}.values())


def read(*rows: tuple[Any, ...], unpickle: Any = no_pickle) -> list[Any]:
    text = AdkTables().events_json(rows, unpickle)
    events: list[Any] = json.loads(text)
    return events


def test_the_newest_row_comes_last() -> None:
    assert AdkTables().events_json([], no_pickle) == b"[]"
    assert [one["id"] for one in read(row(id="e3"), row(id="e2"), row(id="e1"))] == [
        "e1",
        "e2",
        "e3",
    ]


def test_a_column_is_a_member_and_null_is_none() -> None:
    (least,) = read(row())
    assert least == {
        "id": "e1",
        "invocation_id": "i1",
        "author": "agent",
        "timestamp": SECONDS,
        "actions": {},
    }
    (most,) = read(
        row(
            actions=b' {"state_delta": {"a": 1}} ',
            long_running_tool_ids_json='["x"]',
            branch="a.b",
            content='{"parts": [{"text": "}],[{"}]}',
            grounding_metadata="null",
            custom_metadata=' {"k": "v"} ',
            partial=0,
            turn_complete=1,
            interrupted=0,
            error_code="E",
            error_message="it's \"\\\n\x00\x1f\x7f\u20ac\U0001f600",
        )
    )
    assert most == {
        **least,
        "actions": {"state_delta": {"a": 1}},
        "long_running_tool_ids": ["x"],
        "branch": "a.b",
        "content": {"parts": [{"text": "}],[{"}]},
        "grounding_metadata": None,
        "custom_metadata": {"k": "v"},
        "partial": False,
        "turn_complete": True,
        "interrupted": False,
        "error_code": "E",
        "error_message": "it's \"\\\n\x00\x1f\x7f\u20ac\U0001f600",
    }


def test_what_the_service_keeps_beside_the_columns() -> None:
    kept = b'{"actions":{"escalate":true},"timestamp":1.25,"output":[1],"author":"nobody"}'
    (event,) = read(row(actions=kept))
    assert event["actions"] == {"escalate": True}
    assert event["timestamp"] == 1.25  # exact, unlike the column's
    assert event["output"] == [1]
    assert event["author"] == "agent"


def test_actions_of_other_programs() -> None:
    def unpickle(actions: bytes) -> str:
        return json.dumps({"state_delta": {"pickled": actions.decode()}})

    def actions(value: Any) -> Any:
        return read(row(actions=value), unpickle=unpickle)[0]["actions"]

    assert actions(b"") == actions(b"{}") == {}
    assert actions('{"escalate": true}') == {"escalate": True}
    assert actions(b"pickle") == {"state_delta": {"pickled": "pickle"}}
    for wrong in ("pickle", None, 7):
        with pytest.raises(ValueError, match="event 'e1': actions"):
            actions(wrong)


@pytest.mark.parametrize(
    "when",
    [
        datetime(1970, 1, 1, tzinfo=timezone.utc),
        datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=timezone.utc),
        datetime(1, 1, 1, tzinfo=timezone.utc),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc),
        TIME,
    ],
)
def test_a_time_is_the_one_that_a_datetime_gives(when: datetime) -> None:
    julian = AdkTables.julian(when)
    (event,) = read(row(timestamp=julian))
    assert event["timestamp"] == AdkTables.time(julian).timestamp()


def test_a_document_says_more_than_its_columns() -> None:
    tables = AdkTables(document=True)

    def one(document: str, invocation: str | None = "i1") -> Any:
        columns = ("e1", "s1", "app", "ann", invocation, JULIAN, document)
        return json.loads(tables.events_json([columns], no_pickle))

    head = {"id": "e1", "invocation_id": "i1", "timestamp": SECONDS}
    assert one(" { } ") == [head]
    assert one('{"author": "a", "timestamp": 5, "x": {}}') == [
        {**head, "author": "a", "timestamp": 5, "x": {}}
    ]
    assert one("{}", None) == [{**head, "invocation_id": ""}]
    for wrong in ("", "[]", "7", "{}{}", '{},{"id": "e2"}', '{"a": 1', '{"a": "}', "null"):
        with pytest.raises(ValueError, match="event 'e1': event_data is no JSON object"):
            one(wrong)


OUT = [
    'null},{"id":"e9"',
    '{}},{"id":"e9"}',
    '"a","id":"e9"',
    '"a" "b"',
    "1,2",
    '1,"id":"e9"',
    "}",
    "]",
    "{",
    "[{]",
    '"',
    '"\\"',
    '{"a":"}',
    "",
    " ",
]


@pytest.mark.parametrize("piece", OUT)
def test_no_piece_of_json_leads_out_of_its_place(piece: str) -> None:
    """Neither into another member of its event, nor into another event."""
    for part in ("content", "grounding_metadata", "custom_metadata", "long_running_tool_ids_json"):
        with pytest.raises(ValueError, match=f"event 'e1': {part} is no JSON"):
            read(row(id="e2"), row(**{part: piece}))
    for actions in ('{"actions":' + piece, "{" + piece):
        try:
            events = read(row(id="e2"), row(actions=actions.encode()))
        except ValueError:  # ours, or the parser's
            continue
        assert [one["id"] for one in events] == ["e1", "e2"]


def test_columns_of_a_wrong_type_are_named() -> None:
    for part, value in {"id": 1, "author": b"a", "content": b"{}", "branch": 5}.items():
        with pytest.raises(ValueError, match=f"{part} is no text"):
            read(row(**{part: value}))
    with pytest.raises(TypeError):
        read(row(timestamp="now"))
    with pytest.raises(TypeError, match="row 0 is no tuple of 18 values"):
        read(("e1", "s1"))
    with pytest.raises(TypeError, match="row 1 is no tuple"):
        read(row(), list(row()))  # type: ignore[arg-type]


# ---- google-adk's events -------------------------------------------------------------------------


@needs_adk
@pytest.mark.filterwarnings("ignore")
def test_events_are_read_the_short_way_and_are_what_google_adk_makes_of_them() -> None:
    short, plain = _events.event_reader(Event), _events.plain_reader(Event)
    assert short is _events.event_reader(Event)
    assert "_short_reader" in short.__qualname__, "this google-adk is made otherwise"
    parts = [
        types.Part(text="a"),
        types.Part(inline_data=types.Blob(data=bytes(range(256)), mime_type="x/y")),
        types.Part(function_call=types.FunctionCall(name="f", args={"a": [1, None]})),
        types.Part(code_execution_result=types.CodeExecutionResult(output="1")),
        types.Part(text="t", thought=True, thought_signature=b"\xff\x00"),
    ]
    events = [
        Event(author="agent", content=types.Content(role="model", parts=parts)),
        Event(author="user", content=types.Content(role="user", parts=[])),
        Event(author="agent"),
    ]
    text = (
        b"[" + b",".join(one.model_dump_json(exclude_none=True).encode() for one in events) + b"]"
    )
    got = short(text)
    assert got == events == plain(text)
    assert _events._shape(got) == _events._shape(plain(text))
    assert type(got[0]) is Event
    assert type(got[0].content) is types.Content
    assert {type(part) for part in got[0].content.parts} == {types.Part}
    # As any other: it can be changed, copied and dumped.
    got[2].content = types.Content(parts=[types.Part(text="b")])
    assert got[0].model_copy(deep=True) == events[0]
    assert got[0].model_dump() == events[0].model_dump()


@needs_adk
@pytest.mark.filterwarnings("ignore")
def test_another_google_adk_is_read_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> Any:
        raise AttributeError("no such step")

    monkeypatch.setattr(_events, "_without", missing)
    assert "plain_reader" in _events.event_reader.__wrapped__(Event).__qualname__

    def other(_: Any) -> Any:
        return lambda text: [None for _ in json.loads(text)]

    monkeypatch.setattr(_events, "_short_reader", other)
    assert "plain_reader" in _events.event_reader.__wrapped__(Event).__qualname__


@needs_adk
@pytest.mark.filterwarnings("ignore")
def test_an_event_that_is_none_is_named_by_its_place() -> None:
    from pydantic import ValidationError

    read_events = _events.event_reader(Event)
    with pytest.raises(ValidationError, match=r"1\.content\.parts\.0\.txt"):
        read_events(b'[{}, {"content": {"parts": [{"txt": "a"}]}}]')
    with pytest.raises(ValidationError, match="Invalid JSON"):
        read_events(b'[{"a": tru}]')
