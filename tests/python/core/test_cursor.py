"""Cursors: every way to fetch, iteration, row factories, several at once, their end."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import IS_LOOPLITE, lib, looplite_only
from support.errors import same_error
from support.locks import make, probe
from support.loops import caught, turns

Run = Callable[..., Any]

FIVE = "VALUES (1), (2), (3), (4), (5)"
ALL = [(1,), (2,), (3,), (4,), (5,)]
SERIES = "WITH RECURSIVE c(x) AS (VALUES (0) UNION ALL SELECT x + 1 FROM c LIMIT ?) SELECT x FROM c"


def with_memory(run: Run, test: Callable[[Any], Any]) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await test(db)

    run(main)


def test_fetchone(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.execute(FIVE)
        assert [await cursor.fetchone() for _ in range(7)] == [*ALL, None, None]

    with_memory(run, test)


def test_fetchmany(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.execute(FIVE)
        assert await cursor.fetchmany(2) == ALL[:2]
        assert await cursor.fetchmany(size=2) == ALL[2:4]
        assert await cursor.fetchmany(2) == ALL[4:]
        assert await cursor.fetchmany(2) == []

    with_memory(run, test)


def test_arraysize(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.execute(FIVE)
        assert cursor.arraysize == 1
        assert await cursor.fetchmany() == ALL[:1]
        cursor.arraysize = 3
        assert cursor.arraysize == 3
        assert await cursor.fetchmany() == ALL[1:4]
        with pytest.raises(TypeError):
            cursor.arraysize = "many"

    with_memory(run, test)


def test_fetchall(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.execute(FIVE)
        assert await cursor.fetchone() == (1,)
        assert await cursor.fetchall() == ALL[1:]
        assert await cursor.fetchall() == []
        assert isinstance(await cursor.fetchall(), list)

    with_memory(run, test)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 128, 1000, 20_001])
@pytest.mark.parametrize("chunk", [1, 64])
def test_async_for(run: Run, count: int, chunk: int) -> None:
    if chunk == 1 and count > 1000 and not IS_LOOPLITE:
        pytest.skip("one hop to a thread per row")

    async def main() -> None:
        async with lib.connect(":memory:", iter_chunk_size=chunk) as db:  # noqa: SIM117
            # A limit of 0 still gives what the recursion starts from.
            async with db.execute(SERIES + " WHERE x < ?", (count, count)) as cursor:
                assert [row async for row in cursor] == [(n,) for n in range(count)]
                assert [row async for row in cursor] == []

    run(main)


def test_async_for_after_fetchone(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.execute(FIVE)
        await cursor.fetchone()
        assert [row async for row in cursor] == ALL[1:]

    with_memory(run, test)


def test_leaving_async_for_early(run: Run) -> None:
    async def test(db: Any) -> None:
        async with db.execute(SERIES, (100_000,)) as cursor:
            async for (x,) in cursor:
                if x == 3:
                    break
        async with db.execute(SERIES, (100_000,)) as cursor:
            with pytest.raises(ZeroDivisionError):  # noqa: PT012
                async for _ in cursor:
                    raise ZeroDivisionError
        async with db.execute("SELECT 1") as cursor:
            assert await cursor.fetchone() == (1,)

    with_memory(run, test)


def test_error_in_the_middle_of_async_for(run: Run) -> None:
    async def test(db: Any) -> None:
        await db.execute("CREATE TABLE t(v)")
        await db.executemany("INSERT INTO t VALUES (?)", [("1",)] * 200 + [("{",)])
        seen = 0
        with pytest.raises(sqlite3.OperationalError, match="malformed JSON"):  # noqa: PT012
            async for _ in await db.execute("SELECT json_extract(v, '$') FROM t"):
                seen += 1
        assert seen <= 200
        if IS_LOOPLITE:
            assert seen == 200

    with_memory(run, test)


def test_async_with_cursor(run: Run) -> None:
    async def test(db: Any) -> None:
        async with db.cursor() as cursor:
            assert isinstance(cursor, lib.Cursor)
            await cursor.execute(FIVE)
            assert await cursor.fetchall() == ALL
        with pytest.raises(sqlite3.ProgrammingError, match="Cannot operate on a closed cursor"):
            await cursor.fetchone()
        async with db.execute(FIVE) as cursor:
            assert await cursor.fetchone() == (1,)
        with pytest.raises(sqlite3.ProgrammingError, match="Cannot operate on a closed cursor"):
            await cursor.execute(FIVE)

    with_memory(run, test)


def test_cursor_as_its_own_context(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.cursor()
        async with cursor as same:
            assert same is cursor

    with_memory(run, test)


def test_execute_gives_the_cursor_itself(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.cursor()
        assert await cursor.execute("SELECT 1") is cursor
        assert await cursor.executemany("CREATE TABLE IF NOT EXISTS t(v)", []) is cursor
        assert await cursor.executescript("SELECT 1") is cursor

    if IS_LOOPLITE:
        with_memory(run, test)


def test_close_of_a_cursor(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.execute(FIVE)
        await cursor.close()
        await cursor.close()
        reference = sqlite3.connect(":memory:")
        closed = reference.cursor()
        closed.close()
        for name, args in (
            ("fetchone", ()),
            ("fetchmany", (2,)),
            ("fetchall", ()),
            ("execute", ("SELECT 1",)),
            ("executemany", ("SELECT 1", [])),
            ("executescript", ("SELECT 1",)),
        ):
            with pytest.raises(sqlite3.ProgrammingError) as expected:
                getattr(closed, name)(*args)
            same_error(await caught(getattr(cursor, name)(*args)), expected.value)
        reference.close()

    with_memory(run, test)


def test_close_ends_the_statement(run: Run, path: Path) -> None:
    """A half-read SELECT holds a read lock; when its cursor's close returns, the lock is free."""
    make(path, "CREATE TABLE t(v); INSERT INTO t VALUES (1), (2)")
    nine = "SELECT a.v FROM t a, t b, t c, t d, t e, t f, t g, t h, t i"

    async def main() -> None:
        async with lib.connect(path) as db:
            with probe(path) as outside:
                for _ in range(20):
                    cursor = await db.execute(nine)
                    await cursor.fetchone()
                    await cursor.close()
                    assert not outside.in_use()

    run(main)


@looplite_only
def test_dropping_a_cursor_ends_the_statement(run: Run, path: Path) -> None:
    """`await db.execute("PRAGMA journal_mode=WAL")`, unfetched, must not keep a lock."""

    async def main() -> None:
        async with lib.connect(path) as db:
            await db.execute("PRAGMA journal_mode=WAL")
            outside = sqlite3.connect(path, timeout=0)
            outside.execute("CREATE TABLE t(v)")
            outside.execute("INSERT INTO t VALUES (1)")
            outside.commit()
            outside.close()

    run(main)


@looplite_only
def test_dropping_a_half_read_cursor_ends_the_statement(run: Run, path: Path) -> None:
    make(
        path,
        "CREATE TABLE t(v); INSERT INTO t VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)",
    )

    async def main() -> None:
        async with lib.connect(path) as db:
            with probe(path) as outside:
                cursor = await db.execute("SELECT a.v FROM t a, t b, t c, t d, t e")
                await cursor.fetchone()
                assert outside.in_use()
                del cursor
                # Where a worker holds the statement, the next turn of this connection ends it.
                await (await db.cursor()).close()
                async with db.execute("SELECT 1") as cursor:
                    await cursor.fetchone()
                assert not outside.in_use()

    run(main)


@looplite_only
def test_a_statement_read_to_its_end_holds_nothing(run: Run, path: Path) -> None:
    """Rows that were fetched ahead wait in memory, not behind a lock."""
    make(path, "CREATE TABLE t(v); INSERT INTO t VALUES (1), (2), (3)")

    async def main() -> None:
        async with lib.connect(path) as db:
            with probe(path) as outside:
                cursor = await db.execute("SELECT v FROM t")
                assert not outside.in_use()
                assert await cursor.fetchall() == [(1,), (2,), (3,)]

    run(main)


def test_interleaved_cursors(run: Run) -> None:
    async def test(db: Any) -> None:
        one, two = await db.execute(SERIES, (5000,)), await db.execute(SERIES, (5000,))
        for n in range(0, 5000, 10):
            assert await one.fetchmany(5) == [(m,) for m in range(n, n + 5)]
            assert await two.fetchmany(10) == [(m,) for m in range(n, n + 10)]
            assert await one.fetchmany(5) == [(m,) for m in range(n + 5, n + 10)]
        assert await one.fetchone() is None
        assert await two.fetchone() is None

    with_memory(run, test)


def test_nested_loops(run: Run) -> None:
    async def test(db: Any) -> None:
        pairs = []
        async for (a,) in await db.execute(FIVE):
            async for (b,) in await db.execute("SELECT ? UNION SELECT ?", (a, a * 10)):
                pairs.append((a, b))
        assert pairs == [(a, b) for a in range(1, 6) for b in (a, a * 10)]

    with_memory(run, test)


def test_writing_while_a_cursor_is_read(run: Run) -> None:
    async def test(db: Any) -> None:
        await db.execute("CREATE TABLE source(v)")
        await db.execute("CREATE TABLE target(v)")
        await db.executemany("INSERT INTO source VALUES (?)", [(n,) for n in range(500)])
        async for (v,) in await db.execute("SELECT v FROM source"):
            await db.execute("INSERT INTO target VALUES (?)", (v * 2,))
            if v % 100 == 0:
                await db.commit()
        async with db.execute("SELECT count(*), sum(v) FROM target") as cursor:
            assert await cursor.fetchone() == (500, 2 * sum(range(500)))

    with_memory(run, test)


def test_commit_with_a_half_read_cursor(run: Run) -> None:
    async def test(db: Any) -> None:
        await db.execute("CREATE TABLE t(v)")
        await db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(5000)])
        cursor = await db.execute("SELECT v FROM t")
        assert await cursor.fetchone() == (0,)
        await db.commit()
        assert await cursor.fetchall() == [(n,) for n in range(1, 5000)]

    with_memory(run, test)


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 35), reason="RETURNING")
@pytest.mark.parametrize("level", [None, pytest.param("", marks=looplite_only)])
def test_returning_then_commit_then_fetch(run: Run, level: str | None) -> None:
    """sqlite3's own commit refuses while rows are unread; here they have been fetched ahead."""

    async def main() -> None:
        async with lib.connect(":memory:", isolation_level=level) as db:
            await db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
            cursor = await db.execute("INSERT INTO t(b) VALUES ('x') RETURNING a, b")
            await db.commit()
            assert await cursor.fetchall() == [(1, "x")]
            await db.rollback()
            async with db.execute("SELECT count(*) FROM t") as cursor:
                assert await cursor.fetchone() == (1,)

    run(main)


def test_description(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.cursor()

        def description() -> Any:
            return cursor.description

        assert description() is None
        await cursor.execute("SELECT 1 AS a, 2 AS b WHERE 0")
        nothing = (None,) * 6
        assert description() == (("a", *nothing), ("b", *nothing))
        await cursor.execute("CREATE TABLE t(v)")
        assert description() is None
        await cursor.execute("INSERT INTO t VALUES (1)")
        assert description() is None
        with pytest.raises(AttributeError):
            cursor.description = None

    with_memory(run, test)


def test_rowcount_and_lastrowid(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.cursor()
        assert (cursor.rowcount, cursor.lastrowid) == (-1, None)
        await cursor.execute("CREATE TABLE t(a INTEGER PRIMARY KEY)")
        assert cursor.rowcount == -1
        assert cursor.lastrowid == 0
        await cursor.execute("INSERT INTO t VALUES (5), (9)")
        assert (cursor.rowcount, cursor.lastrowid) == (2, 9)
        await cursor.execute("SELECT 1")
        assert (cursor.rowcount, cursor.lastrowid) == (-1, 9)
        await cursor.execute("DELETE FROM t")
        assert cursor.rowcount == 2
        await cursor.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(10, 13)])
        assert (cursor.rowcount, cursor.lastrowid) == (3, 9)
        other = await db.cursor()
        assert other.lastrowid is None

    with_memory(run, test)


def test_execute_insert_and_fetchall(run: Run) -> None:
    async def test(db: Any) -> None:
        await db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        assert await db.execute_insert("INSERT INTO t(b) VALUES (?)", ("x",)) == (1,)
        async with db.execute_insert("INSERT INTO t(b) VALUES (:b)", {"b": "y"}) as row:
            assert row == (2,)
        assert list(await db.execute_fetchall("SELECT * FROM t", None)) == [(1, "x"), (2, "y")]
        async with db.execute_fetchall("SELECT b FROM t WHERE a = ?", (2,)) as rows:
            assert rows == [("y",)]
        db.row_factory = sqlite3.Row
        assert (await db.execute_insert("INSERT INTO t(b) VALUES (1)"))[0] == 3

    with_memory(run, test)


# Rows and row factories


def test_real_rows(run: Run) -> None:
    async def test(db: Any) -> None:
        db.row_factory = lib.Row
        assert db.row_factory is sqlite3.Row
        async with db.execute("SELECT 1 AS a, 'two' AS B") as cursor:
            row = await cursor.fetchone()
        assert type(row) is sqlite3.Row
        assert (row["a"], row["b"], row[0], row[-1]) == (1, "two", 1, "two")
        assert row.keys() == ["a", "B"]
        assert dict(row) == {"a": 1, "B": "two"}
        assert tuple(row) == (1, "two")
        assert len(row) == 2
        with pytest.raises(IndexError):
            row["c"]

    with_memory(run, test)


def test_rows_from_every_way_of_fetching(run: Run) -> None:
    async def test(db: Any) -> None:
        db.row_factory = sqlite3.Row
        cursor = await db.execute(SERIES, (300,))
        found = [await cursor.fetchone(), *await cursor.fetchmany(3)]
        found += [row async for row in cursor]
        cursor = await db.execute(SERIES, (300,))
        found += await cursor.fetchall()
        assert {type(row) for row in found} == {sqlite3.Row}
        assert [row["x"] for row in found] == [*range(300), *range(300)]

    with_memory(run, test)


class MyRow(sqlite3.Row):
    def total(self) -> int:
        return sum(self)


def test_row_subclass_and_wrapped_row(run: Run) -> None:
    async def test(db: Any) -> None:
        for factory in (MyRow, lambda cursor, row: MyRow(cursor, row)):
            db.row_factory = factory
            async with db.execute("SELECT 1 AS a, 2 AS b") as cursor:
                row = await cursor.fetchone()
            assert type(row) is MyRow
            assert row.total() == 3
            assert row["b"] == 2

    with_memory(run, test)


def test_rows_of_equal_statements_with_other_names(run: Run) -> None:
    """Names belong to the statement that gave the row, duplicates included."""

    async def test(db: Any) -> None:
        db.row_factory = sqlite3.Row
        for names in ("a b", "b a", "a a", "a A"):
            first, second = names.split()
            async with db.execute(f"SELECT 1 AS {first}, 2 AS {second}") as cursor:
                row = await cursor.fetchone()
            assert row.keys() == [first, second]
            assert row[first] == 1

    with_memory(run, test)


def test_function_as_row_factory(run: Run) -> None:
    async def test(db: Any) -> None:
        def as_dict(cursor: Any, row: tuple[Any, ...]) -> dict[str, Any]:
            assert isinstance(cursor, sqlite3.Cursor)
            assert type(row) is tuple
            return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}

        db.row_factory = as_dict
        async with db.execute("SELECT 1 AS a, NULL AS b UNION ALL SELECT 2, 3") as cursor:
            assert await cursor.fetchall() == [{"a": 1, "b": None}, {"a": 2, "b": 3}]
        db.row_factory = None
        async with db.execute("SELECT 1") as cursor:
            assert await cursor.fetchone() == (1,)

    with_memory(run, test)


def test_row_factory_is_taken_when_the_cursor_is_made(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.cursor()
        db.row_factory = sqlite3.Row
        await cursor.execute("SELECT 1 AS a")
        assert type(await cursor.fetchone()) is tuple
        later = await db.cursor()
        assert later.row_factory is sqlite3.Row
        await later.execute("SELECT 1 AS a")
        assert type(await later.fetchone()) is sqlite3.Row
        later.row_factory = None
        await later.execute("SELECT 1 AS a")
        assert type(await later.fetchone()) is tuple

    with_memory(run, test)


def test_row_factory_of_one_cursor(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.execute(FIVE)
        cursor.row_factory = lambda _, row: row[0]
        assert await cursor.fetchone() == 1
        assert await cursor.fetchmany(2) == [2, 3]
        cursor.row_factory = lambda _, row: [row[0]]
        assert await cursor.fetchall() == [[4], [5]]
        assert db.row_factory is None

    with_memory(run, test)


def test_row_factory_that_fails(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.execute(FIVE)

        def fail(_: Any, row: tuple[int]) -> object:
            raise ZeroDivisionError

        cursor.row_factory = fail
        with pytest.raises(ZeroDivisionError):
            await cursor.fetchone()
        cursor.row_factory = None
        await cursor.execute("SELECT 9")
        assert await cursor.fetchone() == (9,)

    with_memory(run, test)


def test_row_factory_that_is_not_callable(run: Run) -> None:
    async def test(db: Any) -> None:
        db.row_factory = 5
        cursor = await db.cursor()
        with pytest.raises(TypeError, match="not callable"):  # noqa: PT012
            await cursor.execute("SELECT 1")
            await cursor.fetchone()

    with_memory(run, test)


def test_text_factory_is_read_at_the_fetch(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.execute("VALUES ('a'), ('b'), ('c'), ('d')")
        assert await cursor.fetchone() == ("a",)
        db.text_factory = bytes
        rest = await cursor.fetchall()
        # sqlite3 steps one row ahead in some versions, so the row after the change may still be
        # text.
        assert rest[1:] == [(b"c",), (b"d",)]

    with_memory(run, test)


def test_fetch_arguments(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.execute(FIVE)
        for bad in ("two", 1.5, None):
            if bad is None and not IS_LOOPLITE:
                continue  # aiosqlite's own default
            with contextlib.suppress(TypeError):
                await cursor.fetchmany(bad)
                assert bad is None
        with pytest.raises(TypeError):
            await cursor.fetchone(1)
        with pytest.raises(TypeError):
            await cursor.fetchall(1)

    with_memory(run, test)


def test_one_cursor_used_by_two_tasks(run: Run) -> None:
    """Every row goes to exactly one of them."""

    async def test(db: Any) -> None:
        cursor = await db.execute(SERIES, (1000,))
        found: list[int] = []

        async def take() -> None:
            while (row := await cursor.fetchone()) is not None:
                found.append(row[0])
                await turns()

        await asyncio.gather(*(take() for _ in range(5)))
        assert sorted(found) == list(range(1000))

    with_memory(run, test)


def test_many_cursors(run: Run) -> None:
    async def test(db: Any) -> None:
        cursors = [await db.execute(SERIES, (500,)) for _ in range(200)]
        for _ in range(3):
            await asyncio.gather(*(c.fetchone() for c in cursors))
        rest = await asyncio.gather(*(c.fetchall() for c in cursors))
        assert all(r == [(n,) for n in range(3, 500)] for r in rest)

    with_memory(run, test)


def test_execute_again_drops_the_rest(run: Run) -> None:
    async def test(db: Any) -> None:
        cursor = await db.execute(SERIES, (100_000,))
        await cursor.fetchone()
        await cursor.execute("SELECT 'new'")
        assert await cursor.fetchall() == [("new",)]
        with pytest.raises(sqlite3.OperationalError):
            await cursor.execute("NONSENSE")
        assert await cursor.fetchall() == []

    with_memory(run, test)


def test_the_private_cursor(run: Run) -> None:
    """Some programs reach through to aiosqlite's sqlite3.Cursor, to see that it is closed."""

    async def main() -> None:
        async with lib.connect(":memory:", check_same_thread=False) as db:
            cursor = await db.cursor()
            assert type(cursor._cursor) is sqlite3.Cursor
            assert cursor._cursor is cursor._cursor
            assert cursor._cursor.connection is db._conn
            await cursor.close()
            with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
                cursor._cursor.execute("SELECT 1")
            late = await db.cursor()
            await late.close()
            with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
                late._cursor.execute("SELECT 1")

    run(main)
