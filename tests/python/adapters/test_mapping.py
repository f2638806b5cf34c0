"""schema_type=: rows as objects, and what is said when they do not fit."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal
import enum
import json
import uuid
from typing import Annotated, Any, Optional, TypedDict

import attrs
import looplite
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looplite import _mapping
from looplite._core import Types
from looplite._mapping import MappingError, convert_value, kind_of, map_row, mapper, to_schema
from looplite.utils.serializers import to_json
from support import looplite_only
from typing_extensions import NotRequired

pytestmark = looplite_only

U = uuid.UUID("0123abcd-ef01-4234-8567-89abcdef0123")
STAMP = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class InnerData:
    n: int


@dataclasses.dataclass
class NoteData:
    id: int
    body: str
    done: bool = False
    key: Optional[uuid.UUID] = None  # noqa: UP045
    inner: InnerData | None = None


@attrs.define
class NoteAttrs:
    id: int
    body: str
    done: bool = False
    key: uuid.UUID | None = None
    inner: InnerData | None = None


class NoteStruct(msgspec.Struct):
    id: int
    body: str
    done: bool = False
    key: uuid.UUID | None = None
    inner: InnerData | None = None


class NoteModel(pydantic.BaseModel):
    id: int
    body: str
    done: bool = False
    key: uuid.UUID | None = None
    inner: InnerData | None = None


class NoteDict(TypedDict):
    id: int
    body: str
    done: NotRequired[bool]
    key: NotRequired[uuid.UUID | None]
    inner: NotRequired[InnerData | None]


SCHEMAS: list[Any] = [NoteData, NoteAttrs, NoteStruct, NoteModel, NoteDict]
schemas = pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)


def values(row: Any) -> dict[str, Any]:
    return (
        row
        if isinstance(row, dict)
        else {name: getattr(row, name) for name in NoteData.__annotations__}
    )


@schemas
def test_rows_of_dicts_and_of_tuples(schema: Any) -> None:
    row = {"id": 1, "body": "text", "done": 1, "key": str(U), "inner": '{"n":2}'}
    expected = {"id": 1, "body": "text", "done": True, "key": U, "inner": InnerData(2)}
    (one,) = to_schema([row], schema)
    (two,) = to_schema([tuple(row.values())], schema, row)
    assert values(one) == values(two) == expected
    assert map_row(row, schema) == one
    assert isinstance(one, dict if schema is NoteDict else schema)
    assert row["done"] == 1  # nobody changes the row itself
    assert type(row["key"]) is str


@schemas
def test_order_of_columns_does_not_matter_and_defaults_are_used(schema: Any) -> None:
    rows = to_schema([("x", 1), ("y", 2)], schema, ("body", "id"))
    assert [(values(row)["id"], values(row)["body"]) for row in rows] == [(1, "x"), (2, "y")]
    if schema is not NoteDict:
        assert values(rows[0])["done"] is False
        assert values(rows[0])["key"] is None


@schemas
def test_text_that_was_recognised_is_text_again(schema: Any) -> None:
    for value, text in (
        ([1, {"a": "é"}], '[1,{"a":"é"}]'),
        (U, str(U)),
        (STAMP, "2024-01-02T03:04:05+00:00"),
        (decimal.Decimal("1.10"), "1.10"),
    ):
        assert values(map_row({"id": 1, "body": value}, schema))["body"] == text


@schemas
def test_error_names_field_value_and_type(schema: Any) -> None:
    name = schema.__name__
    with pytest.raises(MappingError) as caught:
        map_row({"id": "seven", "body": "x"}, schema)
    assert f"{name}.id: 'seven' (str)" in str(caught.value)
    assert "int" in str(caught.value).rpartition(":")[2]
    with pytest.raises(MappingError, match=rf"{name}\.body: 7 \(int\)"):
        map_row({"id": 1, "body": 7}, schema)
    with pytest.raises(MappingError, match=rf"{name}\.key: 'none' \(str\)"):
        map_row({"id": 1, "body": "x", "key": "none"}, schema)
    with pytest.raises(MappingError, match=rf"{name}\.done: 2 \(int\)"):
        map_row({"id": 1, "body": "x", "done": 2}, schema)
    with pytest.raises(MappingError, match=rf"{name}\.inner"):
        map_row({"id": 1, "body": "x", "inner": {"n": "x"}}, schema)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("schema", [NoteData, NoteAttrs, NoteStruct, NoteDict])
def test_missing_columns_are_named(schema: Any) -> None:
    with pytest.raises(
        MappingError, match=r"needs 'body', which the result does not have; its columns are 'id'"
    ):
        mapper(schema, ("id",))


def test_missing_columns_of_a_model() -> None:
    with pytest.raises(MappingError, match=r"NoteModel\.body: .*Field required"):
        map_row({"id": 1}, NoteModel)


@pytest.mark.parametrize("schema", [NoteData, NoteAttrs])
def test_columns_without_a_field_are_named(schema: Any) -> None:
    with pytest.raises(MappingError, match=r"has no field for 'more'; its fields are 'id', 'body'"):
        mapper(schema, ("id", "body", "more"))


@pytest.mark.parametrize("schema", [NoteStruct, NoteModel, NoteDict])
def test_columns_without_a_field_are_left_out_or_kept(schema: Any) -> None:
    row = map_row({"id": 1, "body": "x", "more": 2}, schema)
    assert ("more" in values(row)) is (schema is NoteDict)


@pytest.mark.parametrize("schema", [int, dict, "Note", None, list[NoteData], object()])
def test_what_is_no_schema_type(schema: Any) -> None:
    for rows in ([], [{"a": 1}]):
        with pytest.raises(TypeError, match="schema_type must be a dataclass, a TypedDict"):
            to_schema(rows, schema)
    assert kind_of(schema) is None


@schemas
def test_no_rows(schema: Any) -> None:
    assert to_schema([], schema) == []
    assert to_schema([], schema, ("id", "body")) == []


def test_names_that_a_struct_is_encoded_by() -> None:
    class Renamed(msgspec.Struct, rename="camel"):
        first_name: str

    for column in ("first_name", "firstName"):
        assert map_row({column: "x"}, Renamed) == Renamed("x")


def test_private_names_of_attrs() -> None:
    @attrs.define
    class Private:
        _x: int

    assert map_row({"_x": 1}, Private) == Private(1)
    assert map_row({"x": 1}, Private) == Private(1)


def test_errors_of_the_class_itself_are_its_own() -> None:
    @dataclasses.dataclass
    class Positive:
        n: int

        def __post_init__(self) -> None:
            if self.n < 0:
                raise ArithmeticError("negative")

    with pytest.raises(ArithmeticError, match="negative"):
        map_row({"n": -1}, Positive)


def test_annotations_that_cannot_be_evaluated_take_any_value() -> None:
    @dataclasses.dataclass
    class Broken:
        a: "NoSuchName"  # type: ignore[name-defined]  # noqa: F821, UP037

    assert map_row({"a": [1]}, Broken).a == [1]


def test_text_is_what_the_serializer_of_the_program_makes() -> None:
    row = {"id": 1, "body": {"a": 1}}
    assert map_row(row, NoteData, serializer=json.dumps).body == '{"a": 1}'
    assert map_row(row, NoteData, serializer=lambda value: b"[]").body == "[]"
    assert map_row(row, NoteData).body == '{"a":1}'


def json_texts() -> st.SearchStrategy[str]:
    values = st.recursive(
        st.none() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    )
    return values.map(json.dumps) | values.map(to_json)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]))
        | json_texts()
        | st.uuids().map(str)
        | st.datetimes().map(datetime.datetime.isoformat),
        min_size=1,
    ),
    st.sampled_from([None, json.dumps]),
)
def test_a_field_of_text_gets_the_text_that_is_stored(texts: list[str], dumps: Any) -> None:
    """Whatever was recognised in it, by whichever schema type and serializer."""

    async def main() -> None:
        async with looplite.connect(":memory:") as db:
            db._types = types = Types(json_serializer=dumps)
            await db.execute("CREATE TABLE t(id, body)")
            await db.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(texts)))
            rows = await db.execute_fetchall("SELECT id, body FROM t ORDER BY rowid")
            for schema in SCHEMAS:
                made = to_schema(rows, schema, serializer=types.json_serializer)
                assert [values(row)["body"] for row in made] == texts

    asyncio.run(main())


def test_plan_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    plan = _mapping._plan

    def count(schema: Any, columns: tuple[str, ...], serializer: Any) -> Any:
        made.append(columns)
        return plan(schema, columns, serializer)

    @dataclasses.dataclass
    class Once:
        a: int

    monkeypatch.setattr(_mapping, "_plan", count)
    for _ in range(3):
        to_schema([{"a": 1}, {"a": 2}], Once)
        to_schema([(1,)], Once, ["a"])
    assert made == [("a",)]
    for n in range(_mapping.KEPT * 2):  # generated names do not pile up
        map_row({"id": 1, "body": "x", f"c{n}": 1}, NoteDict)
    assert len(_mapping._plans) <= _mapping.KEPT


CONVERTED: list[tuple[Any, Any, Any]] = [
    (1, int, 1),
    (1, float, 1.0),
    (1.5, float, 1.5),
    ("x", str, "x"),
    (b"x", bytes, b"x"),
    (0, bool, False),
    (str(U), uuid.UUID, U),
    (U.bytes, uuid.UUID, U),
    ("2024-01-02T03:04:05Z", datetime.datetime, STAMP),
    ("2024-01-02", datetime.date, datetime.date(2024, 1, 2)),
    ("03:04:05", datetime.time, datetime.time(3, 4, 5)),
    ("1.10", decimal.Decimal, decimal.Decimal("1.10")),
    (0.1, decimal.Decimal, decimal.Decimal("0.1")),
    (3, decimal.Decimal, decimal.Decimal(3)),
    ("red", Color, Color.RED),
    ("[1]", list, [1]),
    ("{}", dict[str, int], {}),
    ([1], list[int], [1]),
    (None, Optional[int], None),  # noqa: UP045
    (5, Annotated[int, "meta"], 5),
    ("any", Any, "any"),
    ("union", int | str, "union"),
]


@pytest.mark.parametrize(("value", "annotation", "expected"), CONVERTED, ids=repr)
def test_single_values(value: Any, annotation: Any, expected: Any) -> None:
    found = convert_value(value, annotation)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        ("1", int),
        (True, int),
        (1.0, int),
        (None, int),
        (True, float),
        ("1", float),
        (1, str),
        ("x", bytes),
        (2, bool),
        ("x", uuid.UUID),
        (1, uuid.UUID),
        (b"x", uuid.UUID),
        ("x", datetime.datetime),
        (STAMP, datetime.date),
        (1, datetime.time),
        (True, decimal.Decimal),
        ("x", decimal.Decimal),
        ("blue", Color),
        ("[", list),
        ("{}", list),
        (1, dict),
        (1, InnerData),
    ],
    ids=repr,
)
def test_single_values_that_do_not_fit(value: Any, annotation: Any) -> None:
    with pytest.raises(MappingError, match=r"\(\w+\) is not \w+"):
        convert_value(value, annotation)
