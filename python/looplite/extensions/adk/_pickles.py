"""Actions of events that SQLSpec's first versions stored as pickles.

Bytes of a database may come from anybody, and loading a pickle runs what it names. So a name is
resolved only if it is a data class of google-adk, or of what those are made of: a pydantic
model or an enumeration, which do nothing when they are made. The rest is refused, with its
name.
"""

from __future__ import annotations

import enum
import io
import pickle
from typing import Any

#: Where models that an event's actions hold come from.
_MODULES = ("google.adk.", "google.genai.", "fastapi.openapi.models")

#: Values that are nothing but data.
_PLAIN = {("builtins", name) for name in ("set", "frozenset", "bytearray", "complex")} | {
    ("collections", "OrderedDict"),
    ("datetime", "date"),
    ("datetime", "datetime"),
    ("datetime", "time"),
    ("datetime", "timedelta"),
    ("datetime", "timezone"),
    ("decimal", "Decimal"),
    ("uuid", "UUID"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        if "." not in name and module.startswith(_MODULES):
            from pydantic import BaseModel

            found = super().find_class(module, name)
            if isinstance(found, type) and issubclass(found, (BaseModel, enum.Enum)):
                return found
        raise pickle.UnpicklingError(
            f"the actions of an event name {module}.{name}, which is no data class of google-adk; "
            "it is not loaded"
        )


def actions_of_pickle(data: bytes) -> str:
    """The JSON text of pickled actions."""
    try:
        actions = _Unpickler(io.BytesIO(data)).load()
    except ImportError as error:
        raise ImportError(
            "the actions of an event are a pickle of google-adk, which is not installed"
        ) from error
    dump = getattr(actions, "model_dump_json", None)
    if dump is None:
        raise pickle.UnpicklingError(
            f"the actions of an event are a pickled {type(actions).__name__}"
        )
    text: str = dump(exclude_none=True)
    return text
