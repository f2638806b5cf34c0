"""looplite.utils.serializers: one JSON by three libraries."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import importlib
import json
import math
import pathlib
import sys
import uuid
from collections.abc import Callable
from typing import Any

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looplite.utils import serializers
from support import looplite_only

pytestmark = looplite_only

Pair = tuple[Callable[[Any], bytes], Callable[[Any], Any]]
LIBRARIES: dict[str, Pair] = {
    "msgspec": serializers._with_msgspec(),
    "orjson": serializers._with_orjson(),
    "json": (serializers._dumps_plain, json.loads),
}


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Data:
    a: int
    b: uuid.UUID


class Struct(msgspec.Struct):
    a: int


@attrs.define
class Attrs:
    a: int


class Model(pydantic.BaseModel):
    a: int
    b: datetime.date


U = uuid.UUID(int=1)
UTC = datetime.timezone.utc
VALUES: list[tuple[Any, str]] = [
    (None, "null"),
    ({"a": 1, "b": [True, "é"]}, '{"a":1,"b":[true,"é"]}'),
    ((1, 2), "[1,2]"),
    ({1}, "[1]"),
    (frozenset([1]), "[1]"),
    ({1: "x"}, '{"1":"x"}'),
    ({U: 1}, f'{{"{U}":1}}'),
    (U, f'"{U}"'),
    (decimal.Decimal("1.10"), '"1.10"'),
    (datetime.datetime(2024, 1, 2, 3, 4, 5), '"2024-01-02T03:04:05"'),
    (datetime.datetime(2024, 1, 2, 3, 4, 5, 6, UTC), '"2024-01-02T03:04:05.000006Z"'),
    (datetime.date(2024, 1, 2), '"2024-01-02"'),
    (datetime.time(3, 4, 5), '"03:04:05"'),
    (datetime.timedelta(days=1, seconds=2), '"P1DT2S"'),
    (datetime.timedelta(microseconds=-1500), '"-PT0.0015S"'),
    (datetime.timedelta(days=-2), '"-P2D"'),
    (datetime.timedelta(), '"P0D"'),
    (Color.RED, '"red"'),
    (b"ab", '"YWI="'),
    (bytearray(b"ab"), '"YWI="'),
    (pathlib.PurePosixPath("/a"), '"/a"'),
    (Data(1, U), f'{{"a":1,"b":"{U}"}}'),
    (Struct(1), '{"a":1}'),
    (Attrs(1), '{"a":1}'),
    (Model(a=1, b=datetime.date(2024, 1, 2)), '{"a":1,"b":"2024-01-02"}'),
    ([math.nan, math.inf, {"a": [-math.inf]}], '[null,null,{"a":[null]}]'),
    ([math.nan, U, "\ud800"], f'[null,"{U}","\\ud800"]'),
    (2**80, str(2**80)),
    ([Color.RED, 2**80, Data(1, U)], f'["red",{2**80},{{"a":1,"b":"{U}"}}]'),
]


@pytest.mark.parametrize("library", list(LIBRARIES))
@pytest.mark.parametrize(("value", "text"), VALUES, ids=repr)
def test_all_libraries_write_the_same(library: str, value: Any, text: str) -> None:
    dumps, loads = LIBRARIES[library]
    assert dumps(value).decode() == text
    json.loads(text)
    loads(text)
    loads(text.encode())


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
documents = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


@settings(max_examples=200, deadline=None)
@given(documents)
def test_all_libraries_read_what_the_others_write(value: Any) -> None:
    expected = serializers._without_nan(value)
    for dumps, _ in LIBRARIES.values():
        text = dumps(value)
        for _, loads in LIBRARIES.values():
            assert loads(text) == loads(text.decode()) == expected


@pytest.mark.parametrize("library", list(LIBRARIES))
@pytest.mark.parametrize("text", ["", "{", "[1,]", "[01]", "\x00", "[1] 2", '{"a"}'])
def test_what_is_no_json_is_a_value_error(library: str, text: str) -> None:
    with pytest.raises(ValueError):
        LIBRARIES[library][1](text)


@pytest.mark.parametrize("library", list(LIBRARIES))
def test_what_has_no_json_is_a_type_error(library: str) -> None:
    with pytest.raises(TypeError, match="object"):
        LIBRARIES[library][0]([object()])


def test_which_library_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    import looplite.utils.serializers as module

    assert "_with_msgspec" in module.to_json_bytes.__qualname__
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert "_with_orjson" in module._choose()[0].__qualname__
    monkeypatch.setitem(sys.modules, "orjson", None)
    assert module._choose() == (module._dumps_plain, json.loads)
    monkeypatch.undo()
    importlib.import_module("msgspec")


def test_public_functions() -> None:
    assert serializers.to_json({"a": "é"}) == '{"a":"é"}'
    assert serializers.to_json({"a": "é"}, as_bytes=True) == '{"a":"é"}'.encode()
    assert serializers.from_json('{"a":1}') == serializers.from_json(b'{"a":1}') == {"a": 1}
    assert serializers.from_json(b"[1]", decode_bytes=False) == b"[1]"
