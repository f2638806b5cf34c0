"""`conn._conn`: the real sqlite3.Connection, used directly, on the loop's thread and on others,
while looplite works with the same handle.
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

import pytest
from support import ENDLESS, lib, looplite_only
from support.locks import make, rows, write_lock
from support.loops import caught, turns, until

pytestmark = looplite_only

Run = Callable[..., Any]
SCAN = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {}) SELECT sum(f(x)) FROM c"  # noqa: E501


@pytest.fixture
def file(path: Path) -> Path:
    make(path, "PRAGMA journal_mode = WAL; CREATE TABLE t(v); INSERT INTO t VALUES (1)")
    return path


def test_it_is_a_sqlite3_connection(run: Run, file: Path) -> None:
    async def main() -> None:
        async with lib.connect(file) as db:
            assert isinstance(db._conn, sqlite3.Connection)
            assert type(db._conn).__name__ == "Connection"
            assert "sqlite3.Connection object" in repr(db._conn)
            cursor = db._conn.execute("SELECT ?", (5,))
            assert isinstance(cursor, sqlite3.Cursor)
            assert cursor.connection is db._conn
            assert cursor.fetchall() == [(5,)]
            assert list(db._conn.execute("SELECT 1 UNION SELECT 2")) == [(1,), (2,)]
            assert isinstance(db._conn.cursor(sqlite3.Cursor), sqlite3.Cursor)
            with db._conn:
                db._conn.execute("INSERT INTO t VALUES (2)")
            assert rows(file, "SELECT count(*) FROM t") == [(2,)]
            db._conn.execute("INSERT INTO t VALUES (3)")
            assert db.in_transaction
            await db.rollback()
            assert not db._conn.in_transaction

    run(main)


def test_a_factory(run: Run, file: Path) -> None:
    class Mine(sqlite3.Connection):
        created = 0
        other: Any

        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            self.extra = "mine"
            self.create_function("lower", 1, lambda text: "mine")

        def create_function(self, *args: Any, **named: Any) -> None:
            self.created += 1
            super().create_function(*args, **named)

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, ("set", value) if name == "other" else value)

    async def main() -> None:
        for _ in range(2):
            async with lib.connect(file, factory=Mine) as db:
                assert isinstance(db._conn, Mine)
                assert db._conn.extra == "mine"
                db._conn.other = 5
                assert db._conn.other == ("set", 5)
                for _ in range(5):
                    # Registered before looplite had the handle.
                    assert await db.execute_fetchall("SELECT lower('A') FROM t") == [("mine",)]
                await db.create_function("g", 0, lambda: 7)
                assert db._conn.created == 2
                assert await db.execute_fetchall("SELECT g()") == [(7,)]
                await db._execute(setattr, db, "isolation_level", None)
                assert db.isolation_level is None

    run(main)


def test_a_factory_that_is_a_function(run: Run, file: Path) -> None:
    """It is no class that could be derived from: nothing runs on the loop."""

    def factory(*args: Any, **named: Any) -> sqlite3.Connection:
        return sqlite3.Connection(*args, **named)

    async def main() -> None:
        mine = threading.get_ident()
        seen: list[bool] = []
        async with lib.connect(file, factory=factory) as db:
            for _ in range(5):
                await db.execute_fetchall("SELECT lower('A') FROM t")
            db._conn.create_function(
                "lower", 1, lambda text: seen.append(threading.get_ident() == mine)
            )
            for _ in range(5):
                await db.execute_fetchall("SELECT lower('A') FROM t")
            assert seen == [False] * 5
            assert lib.engine_info(db)["connection"]["on_loop"] is False

    run(main)


class Scan:
    """A statement on a worker that is inside a function written in Python, until it is let go."""

    def __init__(self, db: Any) -> None:
        self.db = db
        self.inside, self.go = threading.Event(), threading.Event()

    def function(self, x: int) -> int:
        self.inside.set()
        self.go.wait()
        return x

    async def __aenter__(self) -> Scan:
        await self.db.create_function("f", 1, self.function)
        self.task = asyncio.ensure_future(self.db.execute_fetchall(SCAN.format(1000)))
        await until(self.inside.is_set)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.go.set()
        assert await self.task == [(500500,)]


def copy(connection: sqlite3.Connection) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as target:
        connection.backup(target)


USES: dict[str, Callable[[sqlite3.Connection], Any]] = {
    "execute": lambda c: c.execute("SELECT v + ? FROM t", (1,)).fetchall(),
    "write": lambda c: c.execute("INSERT INTO t VALUES (?)", (5,)),
    "commit": lambda c: c.commit(),
    "rollback": lambda c: c.rollback(),
    "create_function": lambda c: c.create_function("g", 0, lambda: 1),
    "create_collation": lambda c: c.create_collation("g", lambda a, b: 0),
    "set_trace_callback": lambda c: c.set_trace_callback(None),
    "set_progress_handler": lambda c: c.set_progress_handler(None, 1),
    "isolation_level": lambda c: setattr(c, "isolation_level", None),
    "with": lambda c: c.__exit__(None, None, None),
    "script": lambda c: c.executescript("SELECT 1; SELECT 2"),
    "iterdump": lambda c: list(c.iterdump()),
    "backup": lambda c: copy(c),
}


@pytest.mark.parametrize("use", USES)
def test_on_the_loop_while_a_worker_has_it(run: Run, file: Path, use: str) -> None:
    """It waits for its turn, and the worker can have the GIL meanwhile. ([M] with sqlite3 alone
    both wait for ever: one has the GIL and wants SQLite's mutex, the other the other way round.)
    """

    async def main() -> None:
        async with lib.connect(file) as db:
            async with Scan(db) as scan:
                # Let it go from a third thread, as soon as this one is waiting or done.
                threading.Timer(0.05, scan.go.set).start()
                USES[use](db._conn)
                assert scan.go.is_set()
            assert (await db.execute_fetchall("SELECT count(*) FROM t"))[0][0] in (1, 2)

    run(main)


def test_a_cursor_that_is_read_while_a_worker_has_it(run: Run, file: Path) -> None:
    make(file, "INSERT INTO t VALUES (2), (3), (4), (5)")

    async def main() -> None:
        async with lib.connect(file) as db:
            cursor = db._conn.execute("SELECT v FROM t ORDER BY v")
            assert cursor.fetchone() == (1,)
            async with Scan(db) as scan:
                threading.Timer(0.05, scan.go.set).start()
                assert cursor.fetchmany(2) == [(2,), (3,)]
                assert next(cursor) == (4,)
                assert cursor.fetchall() == [(5,)]
                cursor.close()

    run(main)


def test_interrupt_does_not_wait(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            started = threading.Event()
            await db.create_function("started", 0, started.set)
            task = asyncio.ensure_future(
                db.execute_fetchall(ENDLESS.replace("SELECT 1", "SELECT started() IS NULL"))
            )
            await until(started.is_set)
            db._conn.interrupt()
            assert db._conn.in_transaction is False
            with pytest.raises(sqlite3.OperationalError, match="interrupted"):
                await task

    run(main)


def test_many_threads_beside_the_loop(run: Run, file: Path) -> None:
    """Each statement gets its own rows and its own error, whoever else uses the handle."""

    async def main() -> None:
        wrong: list[Any] = []
        async with lib.connect(file, isolation_level=None) as db:
            await db.create_function("f", 1, lambda x: x)
            stop = threading.Event()

            def use(n: int) -> None:
                while not stop.is_set():
                    if db._conn.execute("SELECT f(?), ?", (n, n)).fetchall() != [(n, n)]:
                        wrong.append(n)
                    try:
                        db._conn.execute(f"SELECT no_such_{n}")
                    except sqlite3.OperationalError as error:
                        if str(error) != f"no such column: no_such_{n}":
                            wrong.append(error)

            threads = [threading.Thread(target=use, args=(n,)) for n in range(3)]
            for thread in threads:
                thread.start()
            for n in range(150):
                assert await db.execute_fetchall("SELECT f(?)", (n,)) == [(n,)]
                assert await db.execute_fetchall("SELECT v FROM t") == [(1,)]
                error = await caught(db.execute(f"SELECT missing_{n}"))
                assert str(error) == f"no such column: missing_{n}"
            stop.set()
            for thread in threads:
                await asyncio.to_thread(thread.join)
            assert not wrong

    run(main)


def test_statements_wait_for_a_lock_as_sqlite3s_do(run: Run, file: Path) -> None:
    """Nobody can put them back into the queue; so SQLite waits, and another worker goes on."""

    async def main() -> None:
        async with lib.connect(file, timeout=30, isolation_level=None) as db:
            with write_lock(file) as lock:
                asked = threading.Event()

                def write() -> None:
                    asked.set()
                    db._conn.execute("INSERT INTO t VALUES (2)")

                task = asyncio.ensure_future(db._execute(write))
                await until(asked.is_set)
                await turns(5)
                assert not task.done()
                lock.execute("ROLLBACK")
                await task
            with write_lock(file):
                db._conn.execute("PRAGMA busy_timeout = 1")
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    db._conn.execute("INSERT INTO t VALUES (3)")
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    await db.execute("INSERT INTO t VALUES (3)")
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    await db._execute(db._conn.execute, "INSERT INTO t VALUES (3)")
            assert await db.execute_fetchall("PRAGMA busy_timeout") == [(1,)]
        assert rows(file, "SELECT count(*) FROM t") == [(2,)]

    run(main)


def test_writers_in_line_go_on_behind_a_direct_commit(run: Run, file: Path) -> None:
    """The place at the file's gate is given back, though no statement of looplite's ended the
    transaction.
    """

    async def main() -> None:
        async with (
            lib.connect(file, isolation_level=None) as db,
            lib.connect(file, isolation_level=None, timeout=60) as other,
        ):
            await db.execute("BEGIN IMMEDIATE")
            await db.execute("INSERT INTO t VALUES (2)")
            task = asyncio.ensure_future(other.execute("INSERT INTO t VALUES (3)"))
            await turns(5)
            db._conn.commit()
            await task
        assert rows(file, "SELECT count(*) FROM t") == [(3,)]

    run(main)


def test_what_was_changed_directly_is_seen(run: Run, file: Path) -> None:
    async def main() -> None:
        async with lib.connect(file, isolation_level=None) as db:
            for _ in range(8):
                await db.execute_fetchall("SELECT * FROM t")
            db._conn.execute("PRAGMA journal_mode = DELETE")
            db._conn.execute("ALTER TABLE t ADD COLUMN w DEFAULT 5")
            db._conn.execute("ATTACH ':memory:' AS extra")
            db._conn.execute("CREATE TABLE extra.t2(x)")
            for _ in range(8):
                assert await db.execute_fetchall("SELECT * FROM t") == [(1, 5)]
                assert await db.execute_fetchall("SELECT * FROM t2") == []
                await turns(1)

    run(main)


@pytest.mark.parametrize("where", ["loop", "worker", "thread"])
def test_closing_it_directly(run: Run, file: Path, where: str) -> None:
    async def main() -> None:
        db = await lib.connect(file)
        await db.execute("INSERT INTO t VALUES (2)")
        cursor = await db.execute("SELECT * FROM t")
        real = db._conn
        if where == "loop":
            real.close()
        elif where == "worker":
            await db._execute(real.close)
        else:
            await asyncio.to_thread(real.close)
        assert db.closed
        with pytest.raises(ValueError, match="no active connection"):
            await db.execute("SELECT 1")
        with pytest.raises((ValueError, sqlite3.ProgrammingError)):
            await cursor.execute("SELECT 1")
        await db.close()
        await until(lambda: is_closed(real))
        real.close()
        # A connection of sqlite3 says that it is closed before SQLite has: the last one of a file
        # deletes the WAL, and then lets go of its lock.
        await until(lambda: not Path(f"{file}-wal").exists())
        await until(lambda: not is_locked(file))
        # Nothing was committed, and nothing is locked.
        with contextlib.closing(sqlite3.connect(file, timeout=0)) as plain:
            assert plain.execute("SELECT count(*) FROM t").fetchone() == (1,)
            plain.execute("INSERT INTO t VALUES (9)")

    run(main)


def is_locked(file: Path) -> bool:
    with contextlib.closing(sqlite3.connect(file, timeout=0)) as plain:
        try:
            plain.execute("SELECT * FROM t")
        except sqlite3.OperationalError:
            return True
    return False


def is_closed(real: sqlite3.Connection) -> bool:
    try:
        real.total_changes  # noqa: B018
    except sqlite3.ProgrammingError:
        return True
    return False


@pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="CPython 3.10 finalizes statements of cursors that are being freed (sqlite3 alone, too)",
)
def test_used_while_it_closes(run: Run, file: Path) -> None:
    async def main() -> None:
        for _ in range(30):
            db = await lib.connect(file)
            real = db._conn
            stop = threading.Event()

            def use(real: sqlite3.Connection = real, stop: threading.Event = stop) -> None:
                with contextlib.suppress(sqlite3.ProgrammingError):
                    while not stop.is_set():
                        real.execute("SELECT ?", (1,)).fetchall()

            thread = threading.Thread(target=use)
            thread.start()
            await db.execute_fetchall("SELECT 1")
            await db.close()
            await asyncio.to_thread(thread.join)
            stop.set()
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                real.execute("SELECT 1")

    run(main)


def test_a_cancelled_scan_and_direct_use(run: Run, file: Path) -> None:
    """The stop of one request ends nothing else."""

    async def main() -> None:
        async with lib.connect(file) as db:
            task = asyncio.ensure_future(db.execute_fetchall(ENDLESS))
            await turns(3)
            task.cancel()
            assert isinstance(await caught(task), asyncio.CancelledError)
            many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 50000) SELECT count(*) FROM c"  # noqa: E501
            assert db._conn.execute(many).fetchone() == (50000,)
            assert await db._execute(lambda: db._conn.execute(many).fetchone()) == (50000,)

    run(main)
