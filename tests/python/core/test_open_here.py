"""A connection may be opened and closed inside the call, on the loop: nobody can tell but by the
time it takes.
"""

from __future__ import annotations

import asyncio
import platform
import re
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.locks import make, rows
from support.scripts import ran_clean, run_script

Run = Callable[..., Any]
pytestmark = looplite_only


def kernel() -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", platform.release())[:2])


# openat2(RESOLVE_CACHED)
needs_cached_names = pytest.mark.skipif(
    sys.platform != "linux" or kernel() < (5, 12), reason="the kernel cannot tell"
)


@pytest.fixture
def table(path: Path) -> Path:
    make(path, "CREATE TABLE t(v); INSERT INTO t VALUES (0)")
    return path


@needs_cached_names
@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 39), reason="closed by a worker")
def test_the_first_of_a_process_needs_no_worker(tmp_path: Path) -> None:
    """The first one: nothing is known yet of how long it takes on this machine."""
    make(tmp_path / "script.db", "CREATE TABLE t(v)")
    done = run_script(
        tmp_path,
        """
        async def main():
            for path in [":memory:", PATH]:
                before = lib.stats()
                db = await lib.connect(path)
                await db.close()
                after = lib.stats()
                assert after["inline_opens"] == before["inline_opens"] + 1, after
                assert after["inline_closes"] == before["inline_closes"] + 1, after
            assert after["worker_runs"] == 0
        asyncio.run(main())
        """,
    )
    ran_clean(done)


def test_it_is_closed_and_says_so(run: Run, table: Path) -> None:
    async def main() -> None:
        for database in [":memory:", "", table]:
            db = await lib.connect(database)
            assert not db.closed
            assert isinstance(db._conn, sqlite3.Connection)
            inside = db._conn
            await db.close()
            assert db.closed
            await db.close()
            with pytest.raises(ValueError, match="no active connection"):
                await db.execute("SELECT 1")
            with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
                inside.execute("SELECT 1")

    run(main)


def test_a_loop_of_them_lets_others_run(run: Run, table: Path) -> None:
    """What finishes at once yields all the same, when the time of the turn is spent."""

    async def main() -> None:
        turns = 0
        stop = False

        async def other() -> None:
            nonlocal turns
            while not stop:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.ensure_future(other())
        for _ in range(400):
            await (await lib.connect(table)).close()
        stop = True
        await task
        assert turns > 3

    run(main)


def test_code_of_the_users_stays_off_the_loop(run: Run, table: Path) -> None:
    threads = []

    class Mine(sqlite3.Connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            threads.append(threading.get_ident())
            super().__init__(*args, **kwargs)

        def close(self) -> None:
            threads.append(threading.get_ident())
            super().close()

    async def main() -> None:
        for factory in [Mine, lambda *args, **kwargs: Mine(*args, **kwargs)]:
            db = await lib.connect(table, factory=factory)
            await db.close()

    run(main)
    assert len(threads) == 4
    assert threading.get_ident() not in threads


def test_what_the_loop_met_is_not_told(tmp_path: Path) -> None:
    """A try on the loop that fails counts for nothing, neither if the worker's works nor at
    close.
    """
    make(tmp_path / "script.db", "CREATE TABLE t(v)")
    done = run_script(
        tmp_path,
        """
        refused = []

        def refuse(event, args):
            if event == "sqlite3.connect" and len(refused) < wanted:
                refused.append(threading.current_thread() is threading.main_thread())
                raise PermissionError(f"no {len(refused)}")

        wanted = 0
        sys.addaudithook(refuse)

        async def main():
            global wanted
            wanted = 1
            db = await lib.connect(PATH)
            assert len(refused) == 1
            assert await db.execute_fetchall("SELECT count(*) FROM t") == [(0,)]
            await db.close()
            # Both: the worker's is told.
            wanted = len(refused) + 2
            try:
                await lib.connect(PATH)
            except PermissionError as error:
                assert str(error) == f"no {wanted}", error
            else:
                raise AssertionError("opened")
            print(refused)

        asyncio.run(main())
        """,
    )
    if "AssertionError: opened" in done.stderr or "[False" in done.stdout:
        pytest.skip("opened by workers here")
    ran_clean(done)


@needs_cached_names
def test_what_happens_in_the_middle_is_refused_nothing(tmp_path: Path) -> None:
    """The interpreter may do anything inside: another database is made, in the same thread, through
    the same VFS.
    """
    make(tmp_path / "script.db", "CREATE TABLE t(v)")
    done = run_script(
        tmp_path,
        """
        inside = False

        def makes_a_file(event, args):
            global inside
            if event != "sqlite3.connect" or inside:
                return
            inside = True
            name = f"file:new{len(made)}.db?vfs=looplite"
            other = sqlite3.connect(name, uri=True)
            other.execute("PRAGMA journal_mode = WAL")
            other.execute("CREATE TABLE t(v)")
            other.close()
            made.append(name)
            inside = False

        made = []

        async def main():
            await (await lib.connect(PATH)).close()
            before = lib.stats()["inline_opens"]
            sys.addaudithook(makes_a_file)
            for _ in range(20):
                db = await lib.connect(PATH)
                await db.close()
            assert len(made) == 20
            assert lib.stats()["inline_opens"] > before

        asyncio.run(main())
        assert not list(Path().glob("*-wal"))
        """,
    )
    ran_clean(done)


def in_two_threads(work: Callable[[], Any]) -> list[BaseException]:
    """Runs a coroutine function in two threads at once, in a loop each; what they raised."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(2)

    def start() -> None:
        barrier.wait()
        try:
            asyncio.run(work())
        except BaseException as error:  # told to the caller
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_two_threads_await_one_connection(run: Run, table: Path) -> None:
    """One opens it, the other is told that it came too late, also while the interpreter's lock is
    let go inside.
    """

    async def main() -> None:
        for _ in range(50):
            db = lib.connect(table)

            async def opens(db: Any = db) -> None:
                await db

            errors = await asyncio.to_thread(in_two_threads, opens)
            assert [str(error) for error in errors] == ["threads can only be started once"]
            await db.close()

    run(main)


def test_two_threads_close_one_connection(run: Run, table: Path) -> None:
    async def main() -> None:
        for _ in range(50):
            db = await lib.connect(table)

            async def closes(db: Any = db) -> None:
                await db.close()

            assert await asyncio.to_thread(in_two_threads, closes) == []
            assert db.closed

    run(main)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_the_last_one_takes_the_wal_along(run: Run, path: Path, order: tuple[int, ...]) -> None:
    make(path, "PRAGMA journal_mode = WAL; CREATE TABLE t(v)")
    wal = path.with_name(path.name + "-wal")

    async def main() -> None:
        opened = [await lib.connect(path, isolation_level=None) for _ in order]
        for db in opened:
            await db.execute("INSERT INTO t VALUES (1)")
            await db.execute_fetchall("SELECT * FROM t")
        for n in order[:-1]:
            await opened[n].close()
            assert wal.exists()
        await opened[order[-1]].close()
        assert not wal.exists()

    run(main)
    assert rows(path, "SELECT count(*) FROM t") == [(3,)]


def test_closing_undoes_what_is_open(run: Run, table: Path) -> None:
    async def main() -> None:
        db = await lib.connect(table)
        await db.execute("INSERT INTO t VALUES (1)")
        assert db.in_transaction
        await db.close()
        assert rows(table, "SELECT v FROM t") == [(0,)]
        # ... also what was begun on the sqlite3.Connection itself.
        db = await lib.connect(table, isolation_level=None)
        db._conn.execute("BEGIN IMMEDIATE")
        db._conn.execute("INSERT INTO t VALUES (1)")
        await db.close()
        assert rows(table, "SELECT v FROM t") == [(0,)]
        outside = sqlite3.connect(table, timeout=0)
        outside.execute("BEGIN EXCLUSIVE")
        outside.close()

    run(main)


def test_many_at_once(run: Run, table: Path) -> None:
    async def main() -> None:
        async def one(n: int) -> int:
            async with lib.connect(table, timeout=60) as db:
                if n % 3 == 0:
                    await db.execute("INSERT INTO t VALUES (?)", (n,))
                    await db.commit()
                if n % 2:
                    await db.execute_fetchall("SELECT * FROM t")
            return n

        assert await asyncio.gather(*(one(n) for n in range(60))) == list(range(60))

    run(main)
    assert rows(table, "SELECT count(*) FROM t") == [(21,)]
