"""__arrow_c_stream__() of cursors and of select_stream(): record batches while they are read."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.exceptions import ProgrammingError
from support import lib, looplite_only

pa: Any = pytest.importorskip("pyarrow")
pytestmark = looplite_only

Run = Callable[..., Any]
ROWS = 20_000
COUNT = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c{}) "
MANY = COUNT.format(f" WHERE n < {ROWS}") + "SELECT n, 'no. ' || n AS word FROM c"
# What pyarrow makes of a stream that fails: by the code, not the words.
FAILS = (pa.ArrowException, OSError)


def read_all(source: Any) -> Any:
    return pa.RecordBatchReader.from_stream(source).read_all()


def is_unlocked(path: Path) -> bool:
    """Whether nobody reads from the file (in a rollback journal)."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
        try:
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return False
        return True


@pytest.fixture
def table(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t(n INTEGER, word TEXT)")
        db.execute(f"INSERT INTO t {MANY}")
        db.commit()
    return path


# ---- rows ----------------------------------------------------------------------------------------


def test_a_cursor(run: Run) -> None:
    """All of it, some of it, and what is left when rows were fetched before."""

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            async with db.execute(MANY) as cursor:
                got = await asyncio.to_thread(read_all, cursor)
                assert await cursor.fetchone() is None
                assert await cursor.fetchall() == []
                assert [name for name, *_ in cursor.description] == ["n", "word"]
            assert got.column("n").to_pylist() == list(range(1, ROWS + 1))
            assert got.column("word")[ROWS - 1].as_py() == f"no. {ROWS}"
            for fetched in (1, 256, 257, 3000):
                cursor = await db.execute(MANY)
                assert len(await cursor.fetchmany(fetched)) == fetched
                got = await asyncio.to_thread(read_all, cursor)
                assert got.column("n").to_pylist() == list(range(fetched + 1, ROWS + 1))
            cursor = await db.execute("SELECT 1 AS a, 0.5 AS b UNION ALL SELECT 2, NULL")
            await cursor.fetchone()
            assert read_all(cursor).to_pydict() == {"a": [2], "b": [None]}
            assert await cursor.fetchall() == []
            assert read_all(cursor).num_rows == 0

    run(main)


def test_consumers(table: Path) -> None:
    """On the loop's own thread too, with the GIL or without: the worker needs it for note()."""
    polars = pytest.importorskip("polars")
    pandas = pytest.importorskip("pandas")
    duckdb = pytest.importorskip("duckdb")
    nanoarrow = pytest.importorskip("nanoarrow")
    sql = "SELECT note(n) AS n, word FROM t ORDER BY n"

    def by_duckdb(cursor: Any) -> int:
        reader = pa.RecordBatchReader.from_stream(cursor)  # noqa: F841 - found by its name
        total: int = duckdb.sql("SELECT sum(n) FROM reader").fetchall()[0][0]
        return total

    async def main() -> None:
        async with lib.connect(table) as db:
            await db.create_function("note", 1, lambda n: n)
            for consume in (
                lambda cursor: polars.DataFrame(cursor)["n"].sum(),
                lambda cursor: (
                    pandas.DataFrame.from_arrow(cursor)["n"].sum()
                    if hasattr(pandas.DataFrame, "from_arrow")
                    else read_all(cursor).to_pandas()["n"].sum()
                ),
                lambda cursor: sum(nanoarrow.ArrayStream(cursor).read_all().child(0).to_pylist()),
                lambda cursor: sum(read_all(cursor).column("n").to_pylist()),
                by_duckdb,
            ):
                assert consume(await db.execute(sql)) == ROWS * (ROWS + 1) // 2
                cursor = await db.execute(sql)
                assert await asyncio.to_thread(consume, cursor) == ROWS * (ROWS + 1) // 2

    asyncio.run(main())


def test_backpressure(table: Path) -> None:
    """A consumer that does not pull gets nothing read for it but what is read ahead."""
    seen = 0

    def note(n: int) -> int:
        nonlocal seen
        seen = n
        return n

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.create_function("note", 1, note)
            cursor = await db.execute(COUNT.format("") + "SELECT note(n) AS n FROM c")
            reader = pa.RecordBatchReader.from_stream(cursor)
            first = await asyncio.to_thread(reader.read_next_batch)
            second = await asyncio.to_thread(reader.read_next_batch)
            for _ in range(10):
                await db.execute("SELECT 1")  # between two batches that are read ahead
            # four batches of 256 KiB at most, eight bytes a row and more
            assert first.num_rows + second.num_rows <= seen < 6 * 256 * 1024 // 8
            before = seen
            await db.execute("SELECT 1")
            assert seen == before
            reader.close()

    asyncio.run(main())


def test_types_are_those_of_the_first_rows(path: Path) -> None:
    async def main() -> None:
        async with lib.connect(path) as db:
            odd = COUNT.format(" WHERE n < 300000") + (
                "SELECT CASE n WHEN 250000 THEN 'word' ELSE n END AS v FROM c"
            )
            with pytest.raises(pa.ArrowInvalid, match=r"column 0 \(v\) began as int64"):
                await asyncio.to_thread(read_all, await db.execute(odd))
            few = "SELECT 1 AS v UNION ALL SELECT 'word'"  # all is there: no guess
            assert read_all(await db.execute(few)).to_pydict() == {"v": ["1", "word"]}
            with pytest.raises(sqlite3.DataError, match="numbers beside blobs"):
                read_all(await db.execute("SELECT 1 AS v UNION ALL SELECT x'00'"))

    asyncio.run(main())


# ---- ends ----------------------------------------------------------------------------------------


def test_dropped_half_way(table: Path) -> None:
    """No statement is left open, and so no lock."""

    async def main() -> None:
        async with lib.connect(table) as db:
            for pulls in (0, 1, 2):
                cursor = await db.execute("SELECT * FROM t")
                reader = pa.RecordBatchReader.from_stream(cursor)
                for _ in range(pulls):
                    reader.read_next_batch()  # a thread of a pool would keep it for a moment
                assert pulls > 0 or not is_unlocked(table)
                del reader
                gc.collect()
                await db.execute("SELECT 1")
                assert is_unlocked(table)
            capsule = (await db.execute("SELECT * FROM t")).__arrow_c_stream__()
            del capsule  # nobody has looked at it
            await db.execute("SELECT 1")
            assert is_unlocked(table)

    asyncio.run(main())


def test_the_stream_outlives_its_cursor(table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            reader = pa.RecordBatchReader.from_stream(await db.execute("SELECT * FROM t"))
            gc.collect()
            assert (await asyncio.to_thread(reader.read_all)).num_rows == ROWS

    asyncio.run(main())


@pytest.mark.parametrize("how", ["close", "execute", "connection"])
def test_closing_ends_who_waits(how: str) -> None:
    """Also in the middle of a batch that is held up."""
    entered, leave = threading.Event(), threading.Event()

    def hold(n: int) -> int:
        if n == 1000:
            entered.set()
            leave.wait()
        return n

    async def main() -> None:
        db = await lib.connect(":memory:")
        await db.create_function("hold", 1, hold)
        cursor = await db.execute(COUNT.format("") + "SELECT hold(n) AS n FROM c")
        task = asyncio.ensure_future(asyncio.to_thread(read_all, cursor))
        await asyncio.to_thread(entered.wait)
        if how == "close":
            await cursor.close()
        elif how == "execute":
            again = asyncio.ensure_future(cursor.execute("SELECT 1"))
            await asyncio.sleep(0)
        else:
            closing_it = asyncio.ensure_future(db.close())
            await asyncio.sleep(0)
            leave.set()
        with pytest.raises(FAILS, match=r"(?i)clos"):
            await task
        leave.set()
        if how == "execute":
            await again
        if how == "connection":
            await closing_it
        else:
            await db.close()

    asyncio.run(main())


def test_what_has_no_stream(path: Path) -> None:
    async def main() -> None:
        async with lib.connect(path) as db:
            cursor = await db.cursor()
            with pytest.raises(sqlite3.ProgrammingError, match="no columns"):
                cursor.__arrow_c_stream__()
            await cursor.execute("CREATE TABLE t(x)")
            with pytest.raises(sqlite3.ProgrammingError, match="no columns"):
                cursor.__arrow_c_stream__()
            await cursor.close()
            with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
                cursor.__arrow_c_stream__()
            cursor = await db.execute("INSERT INTO t VALUES (1) RETURNING x")
            assert read_all(cursor).to_pydict() == {"x": [1]}
            cursor = await db.execute("SELECT x FROM t")
        with pytest.raises((sqlite3.ProgrammingError, ValueError)):
            cursor.__arrow_c_stream__()
        async with lib.Connection(lambda: sqlite3.connect(path), 64) as db:
            cursor = await db.execute("SELECT x FROM t")
            with pytest.raises(sqlite3.NotSupportedError, match="opened itself"):
                cursor.__arrow_c_stream__()
            with pytest.raises(sqlite3.NotSupportedError, match="opened itself"):
                await db.load_from_arrow("t", pa.table({"x": [1]}))

    asyncio.run(main())


# ---- sessions ------------------------------------------------------------------------------------


def test_select_stream(table: Path) -> None:
    async def main() -> None:
        config = AiosqliteConfig(connection_config={"database": table, "pool_size": 1})
        try:
            async with config.provide_session() as session:
                stream = session.select_stream("SELECT * FROM t WHERE n > ?", 100)
                with pytest.raises(ProgrammingError, match="not open"):
                    stream.__arrow_c_stream__()
                async with stream:
                    got = await asyncio.to_thread(read_all, stream)
                    assert got.num_rows == ROWS - 100
                with pytest.raises(ProgrammingError, match="has ended"):
                    stream.__arrow_c_stream__()
                async with session.select_stream("SELECT * FROM t") as stream:
                    await anext(stream)
                    with pytest.raises(ProgrammingError, match="taken out"):
                        stream.__arrow_c_stream__()
                async with session.select_stream("SELECT * FROM t") as stream:
                    reader = pa.RecordBatchReader.from_stream(stream)
                    await asyncio.to_thread(reader.read_next_batch)
                with pytest.raises(FAILS, match="closed"):
                    reader.read_all()
                async with config.provide_session() as other:  # the only connection is back
                    assert await other.select_value("SELECT count(*) FROM t") == ROWS
            assert is_unlocked(table)
        finally:
            await config.close_pool()

    asyncio.run(main())


def test_a_cancelled_task(table: Path) -> None:
    """The thread that waits for rows is let go when the block ends."""
    entered, leave = threading.Event(), threading.Event()

    def hold(n: int) -> int:
        if n == 5000:
            entered.set()
            leave.wait()
        return n

    async def main() -> None:
        config = AiosqliteConfig(connection_config={"database": table})
        waiting: Any = None

        async def read() -> None:
            nonlocal waiting
            async with config.provide_session() as session:
                conn = await session.own_connection()
                await conn.create_function("hold", 1, hold)
                async with session.select_stream("SELECT hold(n) AS n FROM t") as stream:
                    loop = asyncio.get_running_loop()
                    waiting = loop.run_in_executor(None, read_all, stream)
                    await asyncio.shield(waiting)

        task = asyncio.ensure_future(read())
        await asyncio.to_thread(entered.wait)
        task.cancel()
        await asyncio.sleep(0)
        with pytest.raises(FAILS, match="closed"):
            await waiting
        leave.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await config.close_pool()

    asyncio.run(main())
    assert is_unlocked(table)
