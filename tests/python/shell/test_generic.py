"""Connection(connector) with objects that looplite did not open: plain and thread-bound sqlite3,
subclasses, mocks, and a DB-API object that is no sqlite3 at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from support import forks_beside_threads, lib, looplite_only
from support.locks import make, rows
from support.loops import caught, turns, until
from support.outcomes import UNKNOWN, outcome
from support.scripts import ran_clean, run_script

Run = Callable[..., Any]


class Fake:
    """A DB-API connection of another library: it checks its thread, has only what it must."""

    isolation_level = ""
    in_transaction = False
    total_changes = 3

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.row_factory: Any = None
        self.said: list[str] = []

    def say(self, what: str) -> None:
        assert threading.get_ident() == self.thread
        self.said.append(what)

    def cursor(self) -> FakeCursor:
        self.say("cursor")
        return FakeCursor(self)

    def execute(self, sql: str, parameters: Any) -> FakeCursor:
        return self.cursor().execute(sql, parameters)

    def commit(self) -> None:
        self.say("commit")

    def rollback(self) -> None:
        self.say("rollback")

    def interrupt(self) -> None:
        self.said.append("interrupt")

    def special(self, value: int, *, more: int) -> int:
        self.say("special")
        return value + more

    def close(self) -> None:
        self.say("close")


class FakeCursor:
    description = (("x", None, None, None, None, None, None),)
    rowcount = -1
    lastrowid = 17
    arraysize = 1

    def __init__(self, connection: Fake) -> None:
        self.connection = connection
        self.row_factory = connection.row_factory
        self.left: list[int] = []
        self.asked: list[int] = []

    def execute(self, sql: str, parameters: Any) -> FakeCursor:
        self.connection.say(sql)
        self.left = list(range(10))
        return self

    def fetchmany(self, size: int | None = None) -> list[Any]:
        self.connection.say("fetchmany")
        self.asked.append(self.arraysize if size is None else size)
        taken, self.left = self.left[: self.asked[-1]], self.left[self.asked[-1] :]
        return [(value,) for value in taken]

    def fetchone(self) -> Any:
        return next(iter(self.fetchmany(1)), None)

    def fetchall(self) -> list[Any]:
        return self.fetchmany(1000)

    def close(self) -> None:
        self.connection.say("close cursor")


def test_an_object_that_is_no_sqlite3(run: Run) -> None:
    async def main() -> None:
        made: list[Fake] = []

        def connector() -> Fake:
            made.append(Fake())
            return made[0]

        db = lib.Connection(connector=connector, iter_chunk_size=4)
        assert made == []
        assert db._connector is connector
        async with db as entered:
            assert entered is db
            fake = made[0]
            assert fake.thread != threading.get_ident()
            assert db._conn is fake
            assert db._thread.ident == fake.thread
            db.row_factory = dict
            assert fake.row_factory is dict
            db.row_factory = None
            assert db.isolation_level == ""
            assert (db.in_transaction, db.total_changes) == (False, 3)
            async with db.execute("SELECT x") as cursor:
                assert type(cursor) is lib.Cursor
                assert [row async for row in cursor] == [(i,) for i in range(10)]
                assert cursor._cursor.asked == [4, 4, 4, 4]
                assert cursor.description == FakeCursor.description
                assert (cursor.rowcount, cursor.lastrowid) == (-1, 17)
                assert cursor.connection is fake
                cursor.arraysize = 3
                assert cursor.arraysize == 3
                await cursor.execute("again", [])
                assert await cursor.fetchone() == (0,)
                assert await cursor.fetchmany() == [(1,), (2,), (3,)]
                assert await cursor.fetchmany(size=2) == [(4,), (5,)]
                assert await cursor.fetchall() == [(6,), (7,), (8,), (9,)]
            await db.commit()
            await db.rollback()
            await db.interrupt()
            assert await db._execute(fake.special, 1, more=2) == 3
            with pytest.raises(AttributeError):
                await db.executescript("SELECT 1")
        assert fake.said[-5:] == ["commit", "rollback", "interrupt", "special", "close"]
        assert not db._thread.is_alive()

    run(main)


def test_thread_bound_connections_and_their_subclasses(run: Run, path: Path) -> None:
    class Own(sqlite3.Connection):
        pass

    async def main() -> None:
        for connector in (
            lambda: sqlite3.connect(path),
            lambda: sqlite3.connect(path, factory=Own),
            lambda: Own(path),
        ):
            async with lib.Connection(connector, 64) as db:
                assert isinstance(db._conn, sqlite3.Connection)
                await db.execute("CREATE TABLE IF NOT EXISTS t(v)")
                await db.execute("INSERT INTO t VALUES (:v)", {"v": 1})
                await db.commit()
                with pytest.raises(sqlite3.ProgrammingError, match="thread"):
                    db._conn.execute("SELECT 1")
        assert len(rows(path, "SELECT v FROM t")) == 3

    run(main)


@looplite_only
@pytest.mark.parametrize("call", ["execute('SELECT 1')", "commit()", "close()", "_execute(int)"])
def test_a_function_cannot_wait_for_its_own_connection(run: Run, path: Path, call: str) -> None:
    """With aiosqlite this never ends: its thread is the one that waits."""

    async def main() -> None:
        async with lib.Connection(lambda: sqlite3.connect(path), 64) as db:

            async def wait() -> BaseException:
                return await caught(eval(f"db.{call}", {"db": db}))

            def own() -> BaseException:
                loop = asyncio.new_event_loop()
                error: BaseException = loop.run_until_complete(wait())
                loop.close()
                return error

            told = await db._execute(own)
            assert type(told) is RuntimeError
            assert "runs on this connection's worker" in str(told)
            assert await db.execute_fetchall("SELECT 1") == [(1,)]

    run(main)


def test_errors_are_those_of_the_object(run: Run) -> None:
    async def main() -> None:
        async with lib.Connection(lambda: sqlite3.connect(":memory:"), 64) as db:
            for sql, parameters in (("nonsense", ()), ("SELECT ?", ()), ("SELECT 1", (1,))):
                error = await caught(db.execute(sql, parameters))
                with (
                    contextlib.closing(sqlite3.connect(":memory:")) as plain,
                    pytest.raises(type(error)) as expected,
                ):
                    plain.execute(sql, parameters)
                assert str(error) == str(expected.value)
            assert await db.execute_fetchall("SELECT 1") == [(1,)]

    run(main)


def test_in_order(run: Run) -> None:
    async def main() -> None:
        async with lib.Connection(lambda: sqlite3.connect(":memory:"), 64) as db:
            await db.execute("CREATE TABLE t(i INTEGER PRIMARY KEY, v)")
            await asyncio.gather(
                *(db.execute("INSERT INTO t(v) VALUES (?)", (i,)) for i in range(50))
            )
            got = await db.execute_fetchall("SELECT v FROM t ORDER BY i")
            assert got == [(i,) for i in range(50)]

    run(main)


def test_a_replaced_sqlite3_connect_is_called(run: Run, path: Path) -> None:
    async def main() -> None:
        original = sqlite3.connect
        with patch("sqlite3.connect", side_effect=original) as connect:
            async with lib.connect(path, timeout=0.5) as db:
                assert await db.execute_fetchall("SELECT 1") == [(1,)]
        connect.assert_called_once_with(str(path), timeout=0.5)
        with patch("sqlite3.connect", side_effect=OSError("as asked")):
            assert str(await caught(lib.connect(path).__aenter__())) == "as asked"
        async with lib.connect(path) as db:
            assert await db.execute_fetchall("SELECT 1") == [(1,)]
        name = "looplite.aiosqlite.core" if lib.__name__ == "looplite" else "aiosqlite.core"
        __import__(name)
        with patch.object(sys.modules[name], "sqlite3") as module:
            module.connect.side_effect = original
            async with lib.connect(path) as db:
                pass
        module.connect.assert_called_once_with(str(path))

    run(main)


@pytest.mark.parametrize(
    "error", [RuntimeError("no"), asyncio.CancelledError("no"), KeyError("no")], ids=repr
)
def test_a_connector_that_raises(run: Run, error: BaseException) -> None:
    async def main() -> None:
        def connector() -> Any:
            raise error

        db = lib.Connection(connector, 64)
        found = await caught(db.__aenter__())
        assert type(found) is type(error)
        assert not db._running
        assert db._connection is None
        await until(lambda: not db._thread.is_alive())
        await db.close()

    run(main)


@looplite_only
def test_the_connector_shows_what_connect_was_given(path: Path) -> None:
    connector = lib.connect(path, timeout=2)._connector
    connection = connector()
    try:
        assert isinstance(connection, sqlite3.Connection)
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (2000,)
    finally:
        connection.close()
    with pytest.raises(TypeError):
        connector(1)


@looplite_only
def test_it_is_looplites_own_when_the_connector_is(run: Run, path: Path) -> None:
    async def main() -> None:
        async with lib.Connection(lib.connect(path)._connector, 64) as db:
            assert lib.engine_info(db)["connection"]

    run(main)


@looplite_only
def test_a_cancellation_says_that_nobody_knows(run: Run) -> None:
    async def main() -> None:
        async with lib.Connection(lambda: sqlite3.connect(":memory:"), 64) as db:
            release = threading.Event()
            blocked = asyncio.ensure_future(db._execute(release.wait))
            task = asyncio.ensure_future(db.execute("CREATE TABLE t(v)"))
            try:
                await turns(3)
                task.cancel()
                assert outcome(await caught(task)) == UNKNOWN
            finally:  # the close behind a failure would wait for ever
                release.set()
            await blocked
            assert await db.execute_fetchall("SELECT * FROM t") == []

    run(main)


@looplite_only
def test_a_cursor_without_its_object(run: Run) -> None:
    async def main() -> None:
        async with lib.Connection(lambda: sqlite3.connect(":memory:"), 64) as db:
            cursor = lib.Cursor(db)
            error = await caught(cursor.execute("SELECT 1"))
            assert isinstance(error, sqlite3.ProgrammingError)
            assert "second argument" in str(error)
            assert cursor.description is None
        async with lib.connect(":memory:") as db:
            assert isinstance(lib.Cursor(db)._cursor, sqlite3.Cursor)

    run(main)


@looplite_only
def test_an_exit_without_close(tmp_path: Path) -> None:
    make(tmp_path / "script.db", "PRAGMA journal_mode = WAL; CREATE TABLE t(v)")
    done = run_script(
        tmp_path,
        """
        warnings.simplefilter("ignore", ResourceWarning)
        async def main():
            global db, running
            db = await lib.Connection(lambda: sqlite3.connect(PATH), 64)
            await db.execute("INSERT INTO t VALUES (1)")
            await db.commit()
            await db.execute("INSERT INTO t VALUES (2)")
            running = asyncio.ensure_future(db.execute(ENDLESS))
            await asyncio.sleep(0)
        asyncio.run(main())
        """,
    )
    ran_clean(done)
    assert rows(tmp_path / "script.db", "SELECT v FROM t") == [(1,)]


@looplite_only
@forks_beside_threads
def test_after_a_fork_the_child_leaves_it_alone(tmp_path: Path) -> None:
    make(tmp_path / "script.db", "CREATE TABLE t(v)")
    done = run_script(
        tmp_path,
        """
        warnings.simplefilter("ignore", DeprecationWarning)
        loop = asyncio.new_event_loop()
        async def begin():
            global db
            db = await lib.Connection(lambda: sqlite3.connect(PATH), 64)
            await db.execute("INSERT INTO t VALUES (1)")
        loop.run_until_complete(begin())
        pid = os.fork()
        if pid == 0:
            async def use():
                try:
                    await db.execute("SELECT 1")
                except Exception as exc:
                    return str(exc)
            assert "fork" in asyncio.run(use())
            assert not db._thread.is_alive()
            db._thread.join()
            del db
            gc.collect()
            os._exit(0)  # the loop's descriptors are the parent's
        assert os.waitpid(pid, 0)[1] == 0
        async def end():
            await db.commit()
            await db.close()
        loop.run_until_complete(end())
        loop.close()
        """,
    )
    ran_clean(done)
    assert rows(tmp_path / "script.db", "SELECT v FROM t") == [(1,)]
