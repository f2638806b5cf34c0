"""Type adapters: how values are stored, and read back by the declared type of their column."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import math
import sqlite3
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import looplite
import pytest
from looplite._core import Types
from support import looplite_only

pytestmark = looplite_only

UTC = datetime.timezone.utc
NAMES = ("JSON", "UUID", "DATETIME", "TIMESTAMP", "DATE", "TIME", "BOOLEAN", "DECIMAL")
U = uuid.UUID("0123abcd-ef01-4234-8567-89abcdef0123")
STAMP = datetime.datetime(2024, 2, 29, 23, 59, 58, 7, UTC)


def on(types: Types | None, main: Callable[[looplite.Connection], Awaitable[Any]]) -> Any:
    async def go() -> Any:
        async with looplite.connect(":memory:", isolation_level=None) as db:
            db._types = types
            return await main(db)

    return asyncio.run(go())


def read(declared: str, *stored: Any, types: Types | None = None) -> list[Any]:
    """What is read from a column of that type in which sqlite3 stored these values."""

    async def main(db: looplite.Connection) -> list[Any]:
        await db.execute(f"CREATE TABLE t(v {declared})")
        plain = await db.cursor()
        plain._types = None
        await plain.executemany("INSERT INTO t VALUES (?)", [(value,) for value in stored])
        return [row["v"] for row in await db.execute_fetchall("SELECT v FROM t ORDER BY rowid")]

    return on(types or Types(), main)  # type: ignore[no-any-return]


def stored(*values: Any, types: Types | None = None) -> list[Any]:
    """How values are stored: as sqlite3 sees them."""

    async def main(db: looplite.Connection) -> list[Any]:
        columns = ", ".join(f"? AS c{n}" for n in range(len(values)))
        await db.execute(f"CREATE TABLE t AS SELECT {columns}", values)
        plain = await db.cursor()
        plain._types = None
        await plain.execute("SELECT * FROM t")
        return list(await plain.fetchone())

    return on(types or Types(), main)  # type: ignore[no-any-return]


# ---- in ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None, True]}, '{"a":[1,null,true]}'),
        ({}, "{}"),
        ([], "[]"),
        ((1, ("x",)), '[1,["x"]]'),
        (["é", "\U0001f600"], '["é","\U0001f600"]'),
        ([2**70], f"[{2**70}]"),
        (["\ud800"], r'["\ud800"]'),
        ([math.nan, math.inf], "[null,null]"),
        ([U, decimal.Decimal("1.10"), STAMP], f'["{U}","1.10","2024-02-29T23:59:58.000007Z"]'),
        (U, str(U)),
        (STAMP, "2024-02-29T23:59:58.000007+00:00"),
        (datetime.datetime(1, 1, 1), "0001-01-01T00:00:00"),
        (datetime.date(9999, 12, 31), "9999-12-31"),
        (datetime.time(1, 2, 3, 4), "01:02:03.000004"),
        (decimal.Decimal("-1.10E+40"), "-1.10E+40"),
        (decimal.Decimal("sNaN"), "sNaN"),
        (True, 1),
        (False, 0),
        (None, None),
        (2**63 - 1, 2**63 - 1),
        ("text", "text"),
        (b"\0", b"\0"),
        (1.5, 1.5),
    ],
    ids=repr,
)
def test_how_values_are_stored(value: Any, text: Any) -> None:
    assert stored(value) == [text]
    assert type(stored(value)[0]) is type(text)


def test_derived_classes_are_stored_as_their_base_is() -> None:
    class Moment(datetime.datetime):
        pass

    class Settings(dict[str, int]):
        pass

    moment = Moment(2024, 1, 2, 3, 4, 5)
    assert stored(moment, Settings(a=1)) == ["2024-01-02T03:04:05", '{"a":1}']


def test_adapter_of_a_derived_class_goes_first() -> None:
    class Point(dict[str, int]):
        def __conform__(self, protocol: Any) -> str:
            return "point"

    class Named(dict[str, int]):
        pass

    sqlite3.register_adapter(Named, lambda value: "named")
    try:
        assert stored(Point(x=1), Named()) == ["point", "named"]
    finally:
        sqlite3.adapters.pop((Named, sqlite3.PrepareProtocol))


def test_adapter_of_int_does_not_turn_the_others_off() -> None:
    sqlite3.register_adapter(int, lambda value: value + 1)
    try:
        assert stored(1, [1], True) == [2, "[1]", 1]
    finally:
        sqlite3.adapters.pop((int, sqlite3.PrepareProtocol))


@pytest.mark.parametrize("name", ["1", ":x"])
def test_what_cannot_be_stored_is_named(name: str) -> None:
    async def main(db: looplite.Connection) -> None:
        parameters: Any = {"x": [object()]} if name == ":x" else ([object()],)
        with pytest.raises(TypeError, match=rf"parameter {name}: list cannot be stored: no JSON"):
            await db.execute("SELECT :x" if name == ":x" else "SELECT ?", parameters)
        circle: list[Any] = []
        circle.append(circle)
        with pytest.raises(TypeError, match="list cannot be stored"):
            await db.execute("SELECT ?", (circle,))
        with pytest.raises(sqlite3.ProgrammingError if _new() else sqlite3.InterfaceError):
            await db.execute("SELECT ?", (object(),))
        # what is not used is not complained about, and the connection is as good as before
        assert await db.execute_fetchall("SELECT :y AS y", {"x": [object()], "y": 1}) == [{"y": 1}]

    on(Types(), main)


def _new() -> bool:
    import sys

    return sys.version_info >= (3, 11)


def test_executemany_stores_each_row() -> None:
    async def main(db: looplite.Connection) -> None:
        await db.execute("CREATE TABLE t(a JSON, b UUID)")
        rows: list[dict[str, Any]] = [{"a": {"n": n}, "b": uuid.UUID(int=n)} for n in range(500)]
        await db.executemany("INSERT INTO t VALUES (:a, :b)", rows)
        assert await db.execute_fetchall("SELECT * FROM t ORDER BY rowid") == rows

    on(Types(), main)


def test_serializers_of_the_program() -> None:
    seen: list[Any] = []

    def dumps(value: Any) -> str:
        seen.append(value)
        return "<json>"

    types = Types(json_serializer=dumps, json_deserializer=lambda text: ("read", text))
    assert stored({"a": 1}, types=types) == ["<json>"]
    assert seen == [{"a": 1}]
    assert read("JSON", "<json>", types=types) == [("read", "<json>")]
    assert stored([1], types=Types(json_serializer=lambda value: "é".encode())) == ["é"]
    with pytest.raises(TypeError, match=r"parameter 1: list cannot be stored: .*surrogates not"):
        stored([1], types=Types(json_serializer=lambda value: "\ud800"))
    with pytest.raises(TypeError, match=r"parameter 1: list cannot be stored: .*start byte"):
        stored([1], types=Types(json_serializer=lambda value: b"\xff"))
    with pytest.raises(TypeError, match="json_serializer must give str or bytes, not int"):
        stored([1], types=Types(json_serializer=lambda value: 1))  # type: ignore[arg-type, return-value]


def test_serializer_that_uses_the_cursor_is_refused() -> None:
    async def main(db: looplite.Connection) -> None:
        cursor = await db.cursor()

        def dumps(value: Any) -> str:
            with pytest.raises(sqlite3.ProgrammingError, match="Recursive use"):
                cursor.close().send(None)
            cursor._types = None  # of the statements to come
            return "[1]"

        cursor._types = Types(json_serializer=dumps, sniff_text=False)
        await cursor.execute("SELECT ? AS v", ([],))
        assert await cursor.fetchall() == [{"v": "[1]"}]
        assert cursor._types is None

    on(None, main)


# ---- out, by the declared type -------------------------------------------------------------------

ZONE = datetime.timezone(datetime.timedelta(hours=-5, minutes=-30))
READ: list[tuple[str, Any, Any]] = [
    ("JSON", '{"a": [1, 2.50, null]}', {"a": [1, 2.5, None]}),
    ("JSON", ' "text" ', "text"),
    ("JSON", f"[{2**70}]", [2**70]),
    ("JSON", r'["\ud800"]', ["\ud800"]),
    ("json", "[NaN]", "nan"),
    ("Json Text", "17", 17),
    ("JSON", 17, 17),
    ("JSON", b"[]", b"[]"),
    ("UUID", str(U), U),
    ("uuid", str(U).upper(), U),
    ("UUID", "{" + str(U) + "}", U),
    ("UUID", U.hex, U),
    ("UUID", U.bytes, U.bytes),
    ("DATETIME", "2024-02-29 23:59:58", STAMP.replace(microsecond=0, tzinfo=None)),
    ("DATETIME", "2024-02-29T23:59:58.000007Z", STAMP),
    ("TIMESTAMP", "2024-02-29 23:59:58.000007999+00", STAMP),
    ("TIMESTAMP(6)", "2024-02-29T23:59", datetime.datetime(2024, 2, 29, 23, 59)),
    ("TIMESTAMP WITH TIME ZONE", "2024-01-01T00:00:00.5-0530",
     datetime.datetime(2024, 1, 1, 0, 0, 0, 500000, ZONE)),
    ("datetime", "2024-02-29", datetime.datetime(2024, 2, 29)),
    ("DATETIME", 1700000000, 1700000000),
    ("DATETIME", 2460000.5, 2460000.5),
    ("DATE", "2024-02-29", datetime.date(2024, 2, 29)),
    ("DATE", "2024-02-29T01:00:00", datetime.datetime(2024, 2, 29, 1)),
    ("TIME", "23:59", datetime.time(23, 59)),
    ("TIME", "23:59:58.25-05:30", datetime.time(23, 59, 58, 250000, ZONE)),
    ("BOOLEAN", 1, True),
    ("BOOLEAN", 0, False),
    ("BOOLEAN", 2, 2),
    ("BOOLEAN", "TRUE", True),
    ("BOOLEAN", "false", False),
    ("DECIMAL(10, 2)", "1.10", decimal.Decimal("1.1")),
    ("DECIMAL TEXT(10, 2)", "1.10", decimal.Decimal("1.10")),
    ("DECIMAL", 3, decimal.Decimal(3)),
    ("DECIMAL", 0.1, decimal.Decimal("0.1")),
    ("DECIMAL", 6.4047789999999996, decimal.Decimal("6.404779")),
    ("DECIMAL", -1e300, decimal.Decimal("-1e300")),
    ("DECIMAL", float("inf"), decimal.Decimal("Infinity")),
    ("DECIMAL", "-Infinity", decimal.Decimal("-Infinity")),
    ("BOOL", 1, 1),
    ("NUMERIC", 1, 1),
    ("DATETIMES TEXT", "2024-02-29 23:59:58", "2024-02-29 23:59:58"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "value", "expected"), READ, ids=repr)
def test_declared_type_decides(declared: str, value: Any, expected: Any) -> None:
    (found,) = read(declared, value)
    if expected == "nan":
        assert math.isnan(found[0])
        return
    assert found == expected
    assert type(found) is type(expected)
    if isinstance(expected, decimal.Decimal):
        assert str(found) == str(expected)
    if isinstance(expected, datetime.datetime):
        assert found.utcoffset() == expected.utcoffset()


@pytest.mark.parametrize("declared", NAMES)
def test_null_is_none_whatever_is_declared(declared: str) -> None:
    assert read(declared, None) == [None]


BAD = [
    ("JSON", "", "JSON"),
    ("JSON", "{", "JSON"),
    ("UUID", "0123-", "a UUID"),
    ("DATETIME", "yesterday", "a date and time in ISO 8601"),
    ("TIMESTAMP", "2023-02-29 00:00:00", "a date and time in ISO 8601"),
    ("DATETIME", "2024-01-01 24:00:00", "a date and time in ISO 8601"),
    ("DATETIME", "2024-01-01T00:00:00+24:00", "a date and time in ISO 8601"),
    ("DATE", "2024-13-01", "a date in ISO 8601"),
    ("DATE", "0000-01-01", "a date in ISO 8601"),
    ("TIME", "2024-01-01", "a time in ISO 8601"),
    ("TIME", "23:59:60", "a time in ISO 8601"),
    ("BOOLEAN", "yes", "a truth value"),
    ("DECIMAL", "a lot", "a number"),
    ("DECIMAL", "1" * 100 + "x", "a number"),
]


@pytest.mark.parametrize(("declared", "value", "what"), BAD, ids=repr)
def test_text_that_is_none_is_an_error_that_names_all(declared: str, value: str, what: str) -> None:
    async def main(db: looplite.Connection) -> None:
        await db.execute(f"CREATE TABLE t(v {declared})")
        await db.execute("INSERT INTO t VALUES (?)", (value,))
        with pytest.raises(sqlite3.DataError) as caught:
            await db.execute_fetchall("SELECT v FROM t")
        text = str(caught.value)
        assert text.startswith(f"column 'v' is declared {declared}, but {value[:80]!r}")
        assert f" is not {what}; CAST(... AS TEXT)" in text
        # as it says
        (row,) = await db.execute_fetchall("SELECT CAST(v AS TEXT) AS v FROM t")
        assert row == {"v": value}

    on(Types(), main)


def test_cause_of_the_error_is_the_deserializer_s() -> None:
    with pytest.raises(sqlite3.DataError) as caught:
        read("JSON", "{")
    assert isinstance(caught.value.__cause__, ValueError)


def test_converters_of_sqlite3_go_first() -> None:
    sqlite3.register_converter("UUID", lambda raw: b"converted " + raw)

    async def main() -> None:
        async with looplite.connect(":memory:", detect_types=sqlite3.PARSE_DECLTYPES) as db:
            db._types = Types()
            await db.execute("CREATE TABLE t(a UUID, b BOOLEAN)")
            await db.execute("INSERT INTO t VALUES (?, ?)", ("x", True))
            (row,) = await db.execute_fetchall("SELECT * FROM t")
            assert row == {"a": b"converted x", "b": True}

    try:
        asyncio.run(main())
    finally:
        sqlite3.converters.pop("UUID")


# ---- rows ----------------------------------------------------------------------------------------


def test_rows_are_dicts_by_every_way_to_fetch() -> None:
    async def main(db: looplite.Connection) -> None:
        sql = 'SELECT 1 AS a, NULL AS "b c", \'x\' AS "ü"'
        row = {"a": 1, "b c": None, "ü": "x"}
        assert await (await db.execute(sql)).fetchone() == row
        assert await (await db.execute(sql)).fetchmany(2) == [row]
        assert await (await db.execute(sql)).fetchall() == [row]
        assert await db.execute_fetchall(sql) == [row]
        assert [found async for found in await db.execute(sql)] == [row]
        assert list(await (await db.execute(sql)).fetchone()) == ["a", "b c", "ü"]

    on(Types(), main)


def test_each_row_is_a_dict_of_its_own() -> None:
    async def main(db: looplite.Connection) -> None:
        rows: Any = await db.execute_fetchall("SELECT 1 AS a UNION ALL SELECT 1")
        rows[0]["a"] = rows[0]["more"] = 2
        assert rows[1] == {"a": 1}
        assert await db.execute_fetchall("SELECT 1 AS a UNION ALL SELECT 1") == [{"a": 1}] * 2

    on(Types(), main)


def test_of_columns_with_one_name_the_last_counts() -> None:
    async def main(db: looplite.Connection) -> None:
        assert await db.execute_fetchall("SELECT 1 AS a, 2 AS b, 3 AS a") == [{"a": 3, "b": 2}]

    on(Types(), main)


def test_tuples_and_row_factories_get_converted_values() -> None:
    class Pair(NamedTuple):
        a: Any
        b: Any

    async def main(db: looplite.Connection) -> None:
        sql = f"SELECT '{U}' AS a, '[]' AS b"
        assert await db.execute_fetchall(sql) == [(U, [])]
        cursor = await db.cursor()
        cursor._types = Types(dict_rows=True)
        cursor.row_factory = sqlite3.Row
        await cursor.execute(sql)
        row: Any = await cursor.fetchone()
        assert isinstance(row, sqlite3.Row)
        assert (row["a"], row["B"]) == (U, [])
        cursor.row_factory = lambda cursor, row: Pair(*row)
        await cursor.execute(sql)
        assert await cursor.fetchall() == [Pair(U, [])]

    on(Types(dict_rows=False), main)


def test_many_rows_and_many_statements() -> None:
    """More rows than fit one batch, more plans than are kept, and the collector in between."""

    async def main(db: looplite.Connection) -> None:
        rows: Any = await db.execute_fetchall(
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) "
            "SELECT n, '[' || n || ']' AS list FROM c"
        )
        assert len(rows) == 20000
        assert rows[-1] == {"n": 20000, "list": [20000]}
        for n in range(600):
            assert await db.execute_fetchall(f"SELECT {n} AS c{n}") == [{f"c{n}": n}]

    on(Types(), main)


def test_schema_change_makes_a_new_plan() -> None:
    async def main(db: looplite.Connection) -> None:
        await db.execute("CREATE TABLE t(v BOOLEAN)")
        await db.execute("INSERT INTO t VALUES (1)")
        assert await db.execute_fetchall("SELECT * FROM t") == [{"v": True}]
        await db.execute("ALTER TABLE t ADD COLUMN w JSON DEFAULT '[1]'")
        assert await db.execute_fetchall("SELECT * FROM t") == [{"v": True, "w": [1]}]

    on(Types(), main)


# ---- where it applies ----------------------------------------------------------------------------


def test_without_types_nothing_is_converted() -> None:
    async def main(db: looplite.Connection) -> None:
        assert db._types is None
        await db.execute("CREATE TABLE t(a JSON, b BOOLEAN)")
        await db.execute("INSERT INTO t VALUES ('[]', 1)")
        assert await db.execute_fetchall("SELECT * FROM t") == [("[]", 1)]
        with pytest.raises(sqlite3.Error):
            await db.execute("SELECT ?", ([],))

    on(None, main)


def test_adapt_off_leaves_rows_as_dicts() -> None:
    async def main(db: looplite.Connection) -> None:
        await db.execute("CREATE TABLE t(a JSON)")
        await db.execute("INSERT INTO t VALUES ('[]')")
        assert await db.execute_fetchall("SELECT a, '[1]' AS b FROM t") == [{"a": "[]", "b": "[1]"}]
        with pytest.raises(sqlite3.Error):
            await db.execute("SELECT ?", ([],))

    on(Types(adapt=False), main)


def test_cursors_copy_the_connection_s_when_they_are_made() -> None:
    async def main(db: looplite.Connection) -> None:
        before = await db.cursor()
        db._types = None
        after = await db.cursor()
        assert before._types is not None
        assert after._types is None
        await before.execute("SELECT '[]' AS a")
        before._types = None  # of the next statement
        assert await before.fetchone() == {"a": []}
        await before.execute("SELECT '[]' AS a")
        assert await before.fetchone() == ("[]",)

    on(Types(), main)


@pytest.mark.parametrize("value", [1, "Types", Types])
def test_types_must_be_types(value: Any) -> None:
    async def main(db: looplite.Connection) -> None:
        for target in (db, await db.cursor()):
            with pytest.raises(TypeError, match="_types must be a Types or None, not"):
                target._types = value

    on(None, main)


def test_connection_of_another_connector_has_none() -> None:
    db = looplite.Connection(lambda: sqlite3.connect(":memory:"))
    with pytest.raises(sqlite3.NotSupportedError, match="no type adapters"):
        db._types = Types()


def test_options_are_checked_and_can_be_read() -> None:
    types = Types(sniff_text=False, json_serializer=str)
    assert (types.adapt, types.sniff_text, types.dict_rows) == (True, False, True)
    assert types.json_serializer is str
    assert types.json_deserializer("[1]") == [1]
    for option in ("json_serializer", "json_deserializer"):
        with pytest.raises(TypeError, match=f"{option} must be a callable or None, not int"):
            Types(**{option: 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Types(True)  # type: ignore[call-arg]


def test_types_are_freed() -> None:
    import gc
    import weakref

    class Loads:
        types: Any

        def __call__(self, text: str) -> Any:
            return [text]

    async def main(db: looplite.Connection) -> Any:
        loads = Loads()
        loads.types = db._types = Types(json_deserializer=loads)
        await db.execute("CREATE TABLE t(v JSON)")
        await db.execute("INSERT INTO t VALUES ('x')")
        assert await db.execute_fetchall("SELECT v FROM t") == [{"v": ["x"]}]
        return weakref.ref(loads)

    ref = on(None, main)
    gc.collect()
    assert ref() is None
