"""What aiosqlite does in the situations that its dependents meet (DEPENDENTS.md has the list), on
connections of both kinds. All but the tests marked `looplite_only`, where aiosqlite hangs or loses
something, run on aiosqlite too.
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ENDLESS, lib, looplite_only
from support.loops import caught, turns, until

Connect = Callable[..., Any]
Run = Callable[..., Any]

METHODS: dict[str, Callable[[Any], Any]] = {
    "execute": lambda db: db.execute("SELECT 1"),
    "executemany": lambda db: db.executemany("SELECT 1", []),
    "executescript": lambda db: db.executescript("SELECT 1"),
    "execute_insert": lambda db: db.execute_insert("SELECT 1"),
    "execute_fetchall": lambda db: db.execute_fetchall("SELECT 1"),
    "cursor": lambda db: db.cursor(),
    "commit": lambda db: db.commit(),
    "rollback": lambda db: db.rollback(),
    "interrupt": lambda db: db.interrupt(),
}
PROPERTIES = (
    "_conn",
    "row_factory",
    "text_factory",
    "isolation_level",
    "in_transaction",
    "total_changes",
)


def is_value_error(error: BaseException, text: str) -> None:
    assert type(error) is ValueError
    assert str(error).lower() == text.lower()


async def all_say(db: Any, text: str) -> None:
    for call in METHODS.values():
        if call is METHODS["execute_insert"] or call is METHODS["execute_fetchall"]:
            continue
        is_value_error(await caught(call(db)), text)
    for name in PROPERTIES:
        with pytest.raises(ValueError, match=f"(?i)^{text}$"):
            getattr(db, name)


def test_before_it_is_open(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = connect(":memory:")
        assert db._connection is None
        assert db._running
        await all_say(db, "no active connection")
        await db.close()
        await db
        await db.close()

    run(main)


def test_started_once(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = connect(":memory:")
        assert await db is db
        error = await caught(db.__aenter__())
        assert type(error) is RuntimeError
        assert str(error) == "threads can only be started once"
        with pytest.raises(RuntimeError, match="threads can only be started once"):
            await db
        await db.close()
        with pytest.raises(RuntimeError, match="threads can only be started once"):
            async with db:
                pass

    run(main)


def test_connecting_fails(run: Run, connect: Connect, tmp_path: Path) -> None:
    async def main() -> None:
        db = connect(tmp_path / "missing" / "x.db")
        error = await caught(db.__aenter__())
        assert type(error) is sqlite3.OperationalError
        assert str(error) == "unable to open database file"
        assert not db._running
        assert db._connection is None
        await until(lambda: not db._thread.is_alive())
        db = connect(":memory:", no_such_keyword=1)
        assert type(await caught(db.__aenter__())) is TypeError

    run(main)
    with pytest.raises(TypeError):
        lib.connect("a", "b")


def test_after_close(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = await connect(":memory:")
        cursor = await db.execute("SELECT 1 AS one")
        await db.close()
        await db.close()
        assert db._connection is None
        assert not db._running
        await all_say(db, "no active connection")
        for call in (
            cursor.execute("SELECT 1"),
            cursor.executemany("SELECT 1", []),
            cursor.executescript("SELECT 1"),
            cursor.fetchone(),
            cursor.fetchmany(),
            cursor.fetchall(),
            cursor.close(),
        ):
            is_value_error(await caught(call), "connection closed")
        is_value_error(await caught(db._execute(print)), "connection closed")
        assert cursor.description[0][0] == "one"
        assert cursor.rowcount == -1

    run(main)


def test_stop_and_what_it_says_until_it_is_done(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = await connect(":memory:")
        release = threading.Event()
        blocked = asyncio.ensure_future(db._execute(release.wait))
        await turns(3)
        stopped = db.stop()
        assert not db._running
        if lib.__name__ == "looplite":  # aiosqlite lets what only reads a property through
            await all_say(db, "connection closed")
        is_value_error(await caught(db._execute(print)), "connection closed")
        release.set()
        assert await blocked
        await stopped
        await all_say(db, "no active connection")
        assert db._connection is None

    run(main)


def test_queued_behind_a_close(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = await connect(":memory:")
        closing = asyncio.ensure_future(db.close())
        later = asyncio.ensure_future(db.execute("SELECT 1"))
        error = await caught(later)
        assert isinstance(error, (sqlite3.ProgrammingError, ValueError))
        if isinstance(error, sqlite3.ProgrammingError):
            assert str(error) == "Cannot operate on a closed database."
        await closing

    run(main)


@looplite_only
def test_two_concurrent_closes(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = await connect(":memory:")
        await asyncio.gather(db.close(), db.close(), db.close())
        await db.close()

    run(main)


def test_dropped_while_open(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = await connect(":memory:")
        thread = db._thread
        gc.disable()  # the last reference: no collection is needed
        try:
            with pytest.warns(ResourceWarning, match="was deleted before being closed"):
                del db
        finally:
            gc.enable()
        await until(lambda: not thread.is_alive())

    run(main)


def test_dropped_before_it_was_open(connect: Connect) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        db = connect(":memory:")
        del db
        gc.collect()


@looplite_only
def test_the_loop_of_a_future_is_closed(connect: Connect) -> None:
    release = threading.Event()
    db = connect(":memory:")

    async def leave() -> None:
        await db
        waiting = asyncio.ensure_future(db._execute(release.wait))
        await turns(3)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        future = asyncio.get_running_loop().create_future()
        db._tx.put_nowait((future, lambda: 1))

    async def go_on() -> Any:
        rows = await db.execute_fetchall("SELECT 1")
        await db.close()
        return rows

    asyncio.run(leave())
    release.set()
    assert asyncio.run(go_on()) == [(1,)]


def test_a_cancelled_write_takes_effect(run: Run, connect: Connect, path: Path) -> None:
    """It runs when the cancellation comes; the transaction stays open."""

    async def main() -> None:
        async with connect(path) as db:
            begun, release = threading.Event(), threading.Event()

            def wait() -> int:
                begun.set()
                release.wait()
                return 1

            await db._execute(db._conn.create_function, "wait", 0, wait)
            await db.execute("CREATE TABLE t(v)")
            task = asyncio.ensure_future(db.execute("INSERT INTO t VALUES (wait())"))
            await until(begun.is_set)
            task.cancel()
            await turns(3)
            release.set()
            assert isinstance(await caught(task), asyncio.CancelledError)
            assert [r[0] for r in await db.execute_fetchall("SELECT v FROM t")] == [1]
            assert db.in_transaction
            await db.rollback()
            assert await db.execute_fetchall("SELECT v FROM t") == []

    run(main)


@pytest.mark.parametrize("how", ["commit", "rollback", "_execute", "close"])
def test_cancelled_in_the_queue_and_done_all_the_same(
    run: Run, connect: Connect, path: Path, how: str
) -> None:
    async def main() -> None:
        db = await connect(path)
        await db.execute("CREATE TABLE t(v)")
        await db.commit()
        await db.execute("INSERT INTO t VALUES (1)")
        release = threading.Event()
        blocked = asyncio.ensure_future(db._execute(release.wait))
        await turns(3)
        done: list[int] = []
        call = db._execute(done.append, 1) if how == "_execute" else getattr(db, how)()
        task = asyncio.ensure_future(call)
        await turns(3)
        task.cancel()
        await turns(3)
        release.set()
        await blocked
        assert isinstance(await caught(task), asyncio.CancelledError)
        if how == "close":
            assert db._connection is None
            await until(lambda: not db._thread.is_alive())
            return
        await db._execute(int)
        assert db.in_transaction is (how == "_execute")
        assert done == ([1] if how == "_execute" else [])
        await db.rollback()
        rows = await db.execute_fetchall("SELECT v FROM t")
        assert rows == ([(1,)] if how == "commit" else [])
        await db.close()

    run(main)


def test_cancelled_while_connecting(run: Run) -> None:
    async def main() -> None:
        begun, release = threading.Event(), threading.Event()
        opened: list[sqlite3.Connection] = []

        def slow() -> sqlite3.Connection:
            begun.set()
            release.wait()
            opened.append(sqlite3.connect(":memory:", check_same_thread=False))
            return opened[0]

        db = lib.Connection(slow, 64)
        task = asyncio.ensure_future(db.__aenter__())
        await until(begun.is_set)
        task.cancel()
        assert isinstance(await caught(task), asyncio.CancelledError)
        assert db._connection is None
        assert not db._running
        release.set()
        await until(lambda: not db._thread.is_alive())
        if lib.__name__ == "looplite":
            with pytest.raises(sqlite3.ProgrammingError):
                opened[0].execute("SELECT 1")
        else:
            opened[0].close()

    run(main)


def test_interrupt_is_not_queued(run: Run, connect: Connect) -> None:
    async def main() -> None:
        async with connect(":memory:") as db:
            task = asyncio.ensure_future(db.execute_fetchall(ENDLESS))
            while not task.done():
                await db.interrupt()
                await asyncio.sleep(0)
            error = await caught(task)
            assert type(error) is sqlite3.OperationalError
            assert str(error) == "interrupted"

    run(main)


def test_left_without_commit(run: Run, connect: Connect, path: Path) -> None:
    async def main() -> None:
        async with connect(path) as db:
            await db.execute("CREATE TABLE t(v)")
            await db.execute("INSERT INTO t VALUES (1)")
        async with connect(path) as db:
            assert await db.execute_fetchall("SELECT * FROM t") == []

    run(main)


def test_factories(run: Run, connect: Connect) -> None:
    class OwnRow(sqlite3.Row):
        pass

    async def main() -> None:
        async with connect(":memory:") as db:
            old = await db.execute("SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 'y'")
            db.row_factory = sqlite3.Row
            assert await old.fetchone() == (1, "x")  # it has the factory of when it was made
            row = await (await db.execute("SELECT 1 AS a")).fetchone()
            assert type(row) is sqlite3.Row
            assert dict(row) == {"a": 1}
            db.row_factory = OwnRow
            row = await (await db.execute("SELECT 1 AS a")).fetchone()
            assert type(row) is OwnRow
            db.row_factory = lambda cursor, values: sqlite3.Row(cursor, values)
            row = await (await db.execute("SELECT 1 AS a, 2 AS a")).fetchone()
            assert row.keys() == ["a", "a"]
            kinds: list[Any] = []

            def factory(cursor: Any, values: Any) -> Any:
                kinds.append((type(cursor), cursor.description[0][0]))
                return list(values)

            db.row_factory = factory
            assert await (await db.execute("SELECT 7 AS seven")).fetchone() == [7]
            assert kinds == [(sqlite3.Cursor, "seven")]
            db.row_factory = None
            cursor = await db.execute("SELECT 'x' UNION ALL SELECT 'y'")
            db.text_factory = bytes  # read when it is fetched
            assert (await cursor.fetchall())[-1] == (b"y",)

    run(main)


def test_isolation_level_from_the_loop(run: Run, connect: Connect) -> None:
    async def main() -> None:
        async with connect(":memory:", check_same_thread=False) as db:
            db.isolation_level = "IMMEDIATE"
            levels = [db.isolation_level]
            db.isolation_level = None
            levels.append(db.isolation_level)
            assert levels == ["IMMEDIATE", None]
            await db.execute("CREATE TABLE t(v)")
            await db.execute("INSERT INTO t VALUES (1)")
            assert not db.in_transaction

    run(main)


def test_lastrowid_and_rowcount(run: Run, connect: Connect) -> None:
    async def main() -> None:
        async with connect(":memory:") as db:
            cursor = await db.cursor()
            assert (cursor.lastrowid, cursor.rowcount) == (None, -1)
            await cursor.execute("CREATE TABLE t(v)")
            assert cursor.lastrowid == 0
            assert cursor.rowcount == -1
            await cursor.execute("INSERT INTO t VALUES (1), (2)")
            assert (cursor.lastrowid, cursor.rowcount) == (2, 2)
            other = await db.execute("SELECT 1")
            assert (other.lastrowid, other.rowcount) == (2, -1)
            await cursor.executemany("INSERT INTO t VALUES (?)", [(3,), (4,)])
            assert (cursor.lastrowid, cursor.rowcount) == (2, 2)
            await cursor.executescript("INSERT INTO t VALUES (5)")
            assert cursor.lastrowid == 2
            for sql in ("PRAGMA user_version", "CREATE TABLE u(v)"):
                assert (await db.execute(sql)).rowcount == -1

    run(main)


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_half_read_select_goes_on(run: Run, connect: Connect, end: str) -> None:
    if end == "rollback" and sys.version_info < (3, 11):
        pytest.skip("sqlite3 of this Python resets cursors on rollback")

    async def main() -> None:
        async with connect(":memory:") as db:
            await db.execute("CREATE TABLE t(v)")
            await db.executemany("INSERT INTO t VALUES (?)", [(i,) for i in range(1000)])
            await db.commit()
            await db.execute("INSERT INTO t VALUES (-1)")
            cursor = await db.execute("SELECT v FROM t WHERE v >= 0")
            first = await cursor.fetchone()
            await getattr(db, end)()
            rest = await cursor.fetchall()
            assert [first, *rest] == [(i,) for i in range(1000)]

    run(main)


def test_short_forms(run: Run, connect: Connect) -> None:
    async def main() -> None:
        async with connect(":memory:") as db:
            await db.execute("CREATE TABLE t(v)")
            row = await db.execute_insert("INSERT INTO t VALUES (?)", (1,))
            assert row == (1,)
            assert await db.execute_insert(sql="INSERT INTO t VALUES (2)", parameters=None) == (2,)
            assert await db.execute_fetchall("SELECT v FROM t", None) == [(1,), (2,)]
            db.row_factory = sqlite3.Row
            row = await db.execute_insert("INSERT INTO t VALUES (3)")
            assert type(row) is sqlite3.Row
            assert row[0] == 3

    run(main)


@looplite_only
def test_stop_iteration_is_no_hang(run: Run, connect: Connect) -> None:
    async def main() -> None:
        def stop() -> None:
            raise StopIteration

        async with connect(":memory:") as db:
            error = await caught(db._execute(stop))
            assert type(error) is RuntimeError
            assert type(error.__cause__) is StopIteration
            future = asyncio.get_running_loop().create_future()
            db._tx.put_nowait((future, stop))
            assert type(await caught(future)) is RuntimeError
            assert await db.execute_fetchall("SELECT 1") == [(1,)]

    run(main)


def test_paths(run: Run, tmp_path: Path) -> None:
    class Named:
        def __str__(self) -> str:
            return str(tmp_path / "x.db")

    async def main() -> None:
        async with lib.connect(tmp_path / "x.db") as db:
            await db.execute("CREATE TABLE t(v)")
        for name in (str(tmp_path / "x.db"), str(tmp_path / "x.db").encode(), Named()):
            async with lib.connect(name) as db:
                assert await db.execute_fetchall("SELECT * FROM t") == []
            async with lib.connect(database=name) as db:
                assert await db.execute_fetchall("SELECT * FROM t") == []

    run(main)


def test_loop_is_deprecated() -> None:
    loop = asyncio.new_event_loop()
    try:
        with pytest.warns(DeprecationWarning, match="loop"):
            lib.connect(":memory:", loop=loop)
        with pytest.warns(DeprecationWarning, match="loop"):
            lib.Connection(lambda: sqlite3.connect(":memory:"), 64, loop=loop)
    finally:
        loop.close()
