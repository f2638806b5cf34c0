"""JSON as the type adapters store and read it: by msgspec, else orjson, else the standard library.

Whichever is installed, the same values come back, so a database may be written with one and read
with another. The text is compact, not escaped beyond what JSON asks for, and has

- ``datetime``, ``date``, ``time`` in ISO 8601, UTC as ``Z``; ``timedelta`` as ``P1DT2S``;
- ``UUID``, ``Decimal`` and paths as strings, bytes in base64;
- an ``Enum`` member as its value; tuples and sets as arrays;
- dataclasses, msgspec Structs, attrs classes and pydantic models as objects;
- NaN and the infinities, which JSON does not have, as ``null``;
- integers of any size.

What the fast libraries refuse (a lone surrogate, an integer beyond 64 bits) goes through the
standard library. The three differ in how they write floats: 1e22 is 1e+22 to the standard library.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
import re
import uuid
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Literal, overload

__all__ = ("from_json", "to_json", "to_json_bytes")


def _duration(value: datetime.timedelta) -> str:
    sign = "-" if value < datetime.timedelta() else ""
    value = abs(value)
    text = f"{sign}P"
    if value.days:
        text += f"{value.days}D"
    elif not value.seconds and not value.microseconds:
        text += "0D"
    if value.seconds or value.microseconds:
        seconds = str(value.seconds)
        if value.microseconds:
            seconds += f".{value.microseconds:06}".rstrip("0")
        text += f"T{seconds}S"
    return text


def _foreign(value: Any) -> Any:
    """What none of the libraries knows by itself."""
    if isinstance(value, pathlib.PurePath):
        return str(value)
    dump = getattr(type(value), "model_dump", None)  # pydantic
    if dump is not None:
        return dump(value, mode="json")
    raise TypeError(f"no JSON for a value of type {type(value).__qualname__}: {value!r:.100}")


def _plain(value: Any) -> Any:
    """A value that JSON knows in place of one that it does not; the forms are those of msgspec."""
    if isinstance(value, (datetime.datetime, datetime.time)):
        text = value.isoformat()
        return text[:-6] + "Z" if text.endswith("+00:00") else text
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return _duration(value)
    if isinstance(value, (uuid.UUID, decimal.Decimal)):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    names = getattr(type(value), "__struct_fields__", None)  # msgspec
    if names is None and (attributes := getattr(type(value), "__attrs_attrs__", None)) is not None:
        names = [attribute.name for attribute in attributes]
    if names is not None:
        return {name: getattr(value, name) for name in names}
    return _foreign(value)


def _without_nan(value: Any) -> Any:
    """The same with None for each NaN and infinity, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else _key(key): _without_nan(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_without_nan(item) for item in value]
    if value is None or isinstance(value, (str, int)):
        return value
    return _without_nan(_plain(value))


def _key(key: Any) -> Any:
    """A key of an object: json takes str, int, float, bool, None; others as they are written."""
    if key is None or (isinstance(key, (str, int, float)) and not isinstance(key, enum.Enum)):
        return key
    return _plain(key)


def _dumps_plain(value: Any) -> bytes:
    """JSON of any value, as bytes; TypeError for what has none."""
    value = _without_nan(value)
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8, but an escape
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _with_msgspec() -> tuple[Callable[[Any], bytes], Callable[[str | bytes], Any]]:
    msgspec = import_module("msgspec")
    encode: Callable[[Any], bytes] = msgspec.json.Encoder(enc_hook=_foreign).encode
    decode: Callable[[str | bytes], Any] = msgspec.json.Decoder().decode
    # RecursionError: it is as deep for json, and says so itself
    refused = (ValueError, OverflowError)

    def dumps(value: Any) -> bytes:
        """JSON of any value, as bytes; TypeError for what has none."""
        try:
            return encode(value)
        except refused:
            return _dumps_plain(value)

    def loads(text: str | bytes) -> Any:
        try:
            return decode(text)
        except refused:
            return json.loads(text)

    return dumps, loads


#: 19 digits are what an integer of 64 bits may need; orjson makes a float of what is larger.
_LARGE = re.compile(r"[0-9]{19}")
_LARGE_BYTES = re.compile(rb"[0-9]{19}")


def _with_orjson() -> tuple[Callable[[Any], bytes], Callable[[str | bytes], Any]]:
    orjson = import_module("orjson")
    encode: Callable[..., bytes] = orjson.dumps
    decode: Callable[[str | bytes], Any] = orjson.loads
    options: int = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS

    def dumps(value: Any) -> bytes:
        """JSON of any value, as bytes; TypeError for what has none."""
        try:
            return encode(value, _plain, options)
        except (TypeError, ValueError):
            return _dumps_plain(value)

    def loads(text: str | bytes) -> Any:
        large = _LARGE.search(text) if isinstance(text, str) else _LARGE_BYTES.search(text)
        if large is None:
            try:
                return decode(text)
            except ValueError:
                pass
        return json.loads(text)

    return dumps, loads


def _choose() -> tuple[Callable[[Any], bytes], Callable[[str | bytes], Any]]:
    for choice in (_with_msgspec, _with_orjson):
        try:
            return choice()
        except ImportError:
            continue
    return _dumps_plain, json.loads


#: What the type adapters (typed.c) use unless they are told otherwise: JSON as bytes, and back.
to_json_bytes, _loads = _choose()


@overload
def to_json(data: Any, *, as_bytes: Literal[False] = ...) -> str: ...
@overload
def to_json(data: Any, *, as_bytes: Literal[True]) -> bytes: ...
def to_json(data: Any, *, as_bytes: bool = False) -> str | bytes:
    """JSON of any value; TypeError for what has none."""
    encoded = to_json_bytes(data)
    return encoded if as_bytes else encoded.decode()


def from_json(data: str | bytes, *, decode_bytes: bool = True) -> Any:
    """The value of a JSON text; ValueError if it is none.

    ``decode_bytes=False`` gives bytes as they are.
    """
    if not decode_bytes and isinstance(data, bytes):
        return data
    return _loads(data)
