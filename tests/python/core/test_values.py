"""Values on their way in and out: every SQLite type, factories, adapters, converters."""

from __future__ import annotations

import contextlib
import datetime
import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.errors import raised_by

Run = Callable[..., Any]

ROUND_TRIP: list[Any] = [
    None,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    1.5,
    float("inf"),
    float("-inf"),
    5e-324,
    "",
    "text",
    "with\0nul",
    "\U0001f600 zażółć",
    b"",
    b"\0\xff",
]


@pytest.mark.parametrize("value", ROUND_TRIP, ids=repr)
def test_round_trip_keeps_value_and_type(run: Run, path: Path, value: Any) -> None:
    async def main() -> None:
        async with lib.connect(path) as db:
            await db.execute("CREATE TABLE t(v)")
            await db.execute("INSERT INTO t VALUES (?)", (value,))
            await db.commit()
        async with lib.connect(path) as db, db.execute("SELECT v FROM t") as cursor:
            ((found,),) = await cursor.fetchall()
            assert type(found) is type(value)
            assert found == value

    run(main)


def test_nan_becomes_null(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db, db.execute("SELECT ?", (math.nan,)) as cursor:
            assert await cursor.fetchone() == (None,)

    run(main)


def test_negative_zero_keeps_its_sign(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db, db.execute("SELECT ?", (-0.0,)) as cursor:
            (found,) = await cursor.fetchone()
            assert math.copysign(1, found) == -1

    run(main)


def test_buffers_go_in_as_blobs(run: Run) -> None:
    import array

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            for given in (bytearray(b"abc"), memoryview(b"abc"), array.array("b", b"abc")):
                async with db.execute(
                    "SELECT v, typeof(v) FROM (SELECT ? AS v)", (given,)
                ) as cursor:
                    assert await cursor.fetchone() == (b"abc", "blob")

    run(main)


def test_a_buffer_changed_after_the_call_does_not_change_the_row(run: Run) -> None:
    """What was given is what is stored, whatever the caller does with its buffer while the
    statement waits.
    """

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute("CREATE TABLE t(v)")
            given = bytearray(b"before")
            await db.execute("INSERT INTO t VALUES (?)", (given,))
            given[:] = b"after!"
            async with db.execute("SELECT v FROM t") as cursor:
                assert await cursor.fetchone() == (b"before",)

    run(main)


@pytest.mark.parametrize("size", [1 << 12, 1 << 16, 1 << 20, 5_000_001])
def test_large_values(run: Run, path: Path, size: int) -> None:
    async def main() -> None:
        text, blob = "é" * size, bytes(range(256)) * (size // 256)
        async with lib.connect(path) as db:
            await db.execute("CREATE TABLE t(a, b)")
            await db.execute("INSERT INTO t VALUES (?, ?)", (text, blob))
            async with db.execute("SELECT a, b, length(a), length(b) FROM t") as cursor:
                assert await cursor.fetchone() == (text, blob, len(text), len(blob))

    run(main)


def test_many_columns_and_many_rows(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            columns = ", ".join(f"{n} AS c{n}" for n in range(1500))
            async with db.execute(f"SELECT {columns}") as cursor:
                assert await cursor.fetchone() == tuple(range(1500))
                assert [d[0] for d in cursor.description] == [f"c{n}" for n in range(1500)]
            series = "WITH RECURSIVE c(x) AS (VALUES (0) UNION ALL SELECT x + 1 FROM c LIMIT 30000) SELECT x, 'r' || x, x * 0.5, NULL FROM c"  # noqa: E501
            async with db.execute(series) as cursor:
                found = await cursor.fetchall()
            assert found == [(n, f"r{n}", n * 0.5, None) for n in range(30000)]

    run(main)


def test_rows_are_plain_tuples(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db, db.execute("SELECT 1, 'a'") as cursor:
            row = await cursor.fetchone()
            assert type(row) is tuple
            assert hash(row) == hash((1, "a"))

    run(main)


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (str, "aé"),
        (bytes, "aé".encode()),
        (bytearray, bytearray("aé".encode())),
        (lambda raw: ("made", raw), ("made", "aé".encode())),
    ],
    ids=["str", "bytes", "bytearray", "function"],
)
def test_text_factory(run: Run, factory: Any, expected: Any) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            assert db.text_factory is str
            db.text_factory = factory
            assert db.text_factory is factory
            async with db.execute("SELECT 'aé', 5, x'00', NULL") as cursor:
                row = await cursor.fetchone()
            assert row == (expected, 5, b"\0", None)
            assert type(row[0]) is type(expected)

    run(main)


def test_text_that_is_not_utf8(run: Run) -> None:
    """The error names the column and shows the bytes, as sqlite3's; a lenient factory reads it."""

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            cursor = await db.cursor()
            with pytest.raises(  # noqa: PT012
                sqlite3.OperationalError, match="Could not decode to UTF-8 column 'broken'"
            ):
                await cursor.execute("SELECT CAST(x'61ff' AS TEXT) AS broken")
                await cursor.fetchone()
            db.text_factory = lambda raw: raw.decode(errors="replace")
            await cursor.execute("SELECT CAST(x'61ff' AS TEXT) AS broken")
            assert await cursor.fetchone() == ("a\ufffd",)

    run(main)


def test_text_factory_error_reaches_the_caller(run: Run) -> None:
    class OopsError(Exception):
        pass

    def factory(raw: bytes) -> str:
        raise OopsError(raw)

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            db.text_factory = factory
            cursor = await db.cursor()
            with pytest.raises(OopsError):  # noqa: PT012
                await cursor.execute("SELECT 'a'")
                await cursor.fetchone()
            db.text_factory = str
            await cursor.execute("SELECT 'a'")
            assert await cursor.fetchone() == ("a",)

    run(main)


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y


class Conforming:
    def __conform__(self, protocol: object) -> str | None:
        return "conformed" if protocol is sqlite3.PrepareProtocol else None


class Failing:
    def __conform__(self, protocol: object) -> str:
        raise ZeroDivisionError


@pytest.fixture
def point_adapter() -> None:
    # There is no way to take an adapter away again; the class is this module's own.
    sqlite3.register_adapter(Point, lambda p: f"{p.x};{p.y}")


def test_adapters_registered_with_sqlite3_are_used(run: Run, point_adapter: None) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            async with db.execute("SELECT ?, ?", (Point(1, 2), Conforming())) as cursor:
                assert await cursor.fetchone() == ("1;2", "conformed")
            await db.execute("CREATE TABLE t(v)")
            await db.executemany("INSERT INTO t VALUES (:v)", [{"v": Point(3, 4)}])
            async with db.execute("SELECT v FROM t") as cursor:
                assert await cursor.fetchone() == ("3;4",)

    run(main)


def test_adapter_that_fails(run: Run) -> None:
    """sqlite3 takes an error in __conform__ for its own answer: what it does is done here too."""

    async def main() -> None:
        with contextlib.closing(sqlite3.connect(":memory:")) as reference:
            expected = raised_by(reference.execute, "SELECT ?", (Failing(),))
        async with lib.connect(":memory:") as db:
            with pytest.raises(type(expected)) as caught:
                await db.execute("SELECT ?", (Failing(),))
            assert str(caught.value) == str(expected)

    run(main)


@pytest.mark.parametrize(
    "given", [object(), [1], {"a": 1}, 1j, datetime.timedelta(1)], ids=lambda v: type(v).__name__
)
def test_unsupported_types_are_named(run: Run, given: Any) -> None:
    """The class of the exception is that of the running Python's sqlite3 (3.10 and 3.11 differ)."""
    with contextlib.closing(sqlite3.connect(":memory:")) as reference:
        expected = raised_by(reference.execute, "SELECT ?", (given,))

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            with pytest.raises(type(expected)) as caught:
                await db.execute("SELECT ?", (given,))
            assert str(caught.value) == str(expected)
            assert type(given).__name__ in str(caught.value) or "unsupported" in str(caught.value)

    run(main)


CONVERTED = "looplite_test_upper"


@pytest.fixture
def converter() -> None:
    sqlite3.register_converter(CONVERTED, lambda raw: ("converted", raw))


def test_declared_types(run: Run, converter: None) -> None:
    async def main() -> None:
        async with lib.connect(":memory:", detect_types=sqlite3.PARSE_DECLTYPES) as db:
            await db.execute(f"CREATE TABLE t(a {CONVERTED.upper()}, b {CONVERTED}(5), c TEXT)")
            await db.execute("INSERT INTO t VALUES ('x', 5, 'plain')")
            await db.execute("INSERT INTO t VALUES (NULL, NULL, NULL)")
            async with db.execute("SELECT a, b, c, a || 'e' FROM t") as cursor:
                assert await cursor.fetchall() == [
                    (("converted", b"x"), ("converted", b"5"), "plain", "xe"),
                    (None, None, None, None),
                ]

    run(main)


def test_types_in_column_names(run: Run, converter: None) -> None:
    async def main() -> None:
        async with lib.connect(":memory:", detect_types=sqlite3.PARSE_COLNAMES) as db:  # noqa: SIM117
            async with db.execute(f'SELECT 5 AS "n [{CONVERTED}]", 6 AS "m [unknown]"') as cursor:
                assert await cursor.fetchone() == (("converted", b"5"), 6)
                assert [d[0] for d in cursor.description] == ["n", "m"]
        async with lib.connect(":memory:") as db:  # noqa: SIM117
            async with db.execute(f'SELECT 5 AS "n [{CONVERTED}]"') as cursor:
                assert await cursor.fetchone() == (5,)
                assert cursor.description[0][0] == f"n [{CONVERTED}]"

    run(main)


def test_converter_error_reaches_the_caller(run: Run) -> None:
    class OopsError(Exception):
        pass

    def fail(raw: bytes) -> object:
        raise OopsError

    sqlite3.register_converter("looplite_test_fail", fail)

    async def main() -> None:
        async with lib.connect(":memory:", detect_types=sqlite3.PARSE_COLNAMES) as db:
            cursor = await db.cursor()
            with pytest.raises(OopsError):  # noqa: PT012
                await cursor.execute('SELECT 5 AS "n [looplite_test_fail]"')
                await cursor.fetchall()
            await cursor.execute("SELECT 1")
            assert await cursor.fetchone() == (1,)

    run(main)


def test_what_is_not_bound_changes_nothing(run: Run) -> None:
    """A value that cannot be stored leaves the table as it was, and the connection good."""

    async def main() -> None:
        async with lib.connect(":memory:", isolation_level=None) as db:
            await db.execute("CREATE TABLE t(v)")
            for bad in (2**63, "\ud800", object()):
                with pytest.raises((sqlite3.Error, OverflowError, UnicodeEncodeError)):
                    await db.execute("INSERT INTO t VALUES (?)", (bad,))
            assert not db.in_transaction
            async with db.execute("SELECT count(*) FROM t") as cursor:
                assert await cursor.fetchone() == (0,)

    run(main)


@looplite_only
def test_numbers_read_from_a_worker_and_from_the_loop_are_equal(run: Run, path: Path) -> None:
    """The same row through execute, executemany's connection, iteration and fetchall: one decoder
    or several.
    """

    async def main() -> None:
        values = (1, 1.5, "é\0x", b"\0", None, 2**62)
        async with lib.connect(path) as db:
            await db.execute("CREATE TABLE t(a, b, c, d, e, f)")
            await db.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", [values] * 500)
            await db.commit()
            async with db.execute("SELECT * FROM t") as cursor:
                assert await cursor.fetchone() == values
                assert await cursor.fetchmany(3) == [values] * 3
                assert [row async for row in cursor] == [values] * 496
            for _ in range(5):
                async with db.execute("SELECT * FROM t WHERE rowid = ?", (7,)) as cursor:
                    assert await cursor.fetchall() == [values]

    run(main)
