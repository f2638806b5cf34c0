"""Connection(connector), and a replaced _execute(), under trio: the same calls, on the connection's
own thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.locks import make, rows
from support.scripts import ran_clean, run_script

anyio = pytest.importorskip("anyio")
trio = pytest.importorskip("trio")

pytestmark = looplite_only


@pytest.fixture
def table(path: Path) -> Path:
    make(path, "PRAGMA journal_mode = WAL; CREATE TABLE t(v)")
    return path


def generic(database: Path) -> Any:
    return lib.Connection(lambda: sqlite3.connect(database), 64)


class Replaced(lib.Connection):  # type: ignore[misc]
    """Whose calls all go through its own _execute()."""

    async def _execute(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return await super()._execute(function, *args, **kwargs)


async def everything(db: Any) -> None:
    cursor = await db.execute("INSERT INTO t VALUES (?)", (1,))
    assert (cursor.rowcount, db.in_transaction) == (1, True)
    await db.commit()
    await cursor.close()
    await db.executemany("INSERT INTO t VALUES (?)", [(2,), (3,)])
    assert await db.execute_insert("INSERT INTO t VALUES (4)") == (4,)
    await db.rollback()
    await db.executescript("INSERT INTO t VALUES (5)")
    async with db.execute("SELECT v FROM t ORDER BY v") as cursor:
        assert await cursor.fetchone() == (1,)
        assert [row async for row in cursor] == [(5,)]
    assert await db.execute_fetchall("SELECT count(*) FROM t") == [(2,)]
    dumped = [line async for line in db.iterdump()]
    assert (dumped[0], dumped[-1]) == ("BEGIN TRANSACTION;", "COMMIT;")
    await db.create_function("two", 0, lambda: 2)
    assert await db.execute_fetchall("SELECT two()") == [(2,)]
    with pytest.raises(sqlite3.OperationalError, match="no such table: u"):
        await db.execute("SELECT * FROM u")


@pytest.mark.parametrize("kind", ["connector", "replaced"])
@pytest.mark.parametrize("backend", ["trio", "anyio", "anyio-asyncio", "asyncio"])
def test_everything_once(table: Path, kind: str, backend: str) -> None:
    async def main() -> None:
        connector = lambda: sqlite3.connect(table, check_same_thread=False)  # noqa: E731
        kinds = {"connector": lib.Connection, "replaced": Replaced}
        async with kinds[kind](connector, 64) as db:
            await everything(db)
            thread = db._thread
        assert db.closed
        assert not thread.is_alive()

    if backend == "trio":
        trio.run(main)
    elif backend == "asyncio":
        asyncio.run(main())
    else:
        anyio.run(main, backend=backend.partition("-")[2] or "trio")


def test_it_opens_fails_and_closes(table: Path) -> None:
    async def main() -> None:
        broken = generic(table / "no")
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            await broken
        assert not broken._running
        db = await generic(table)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(db.close)
        await db.close()
        with pytest.raises(ValueError, match="no active connection"):
            await db.execute("SELECT 1")

    trio.run(main)


def test_in_one_run_after_the_other(table: Path) -> None:
    kept: list[Any] = []

    async def opening() -> None:
        kept.append(await generic(table))
        await kept[0].execute("INSERT INTO t VALUES (1)")

    async def closing() -> None:
        await kept[0].commit()
        await kept[0].close()

    trio.run(opening)
    asyncio.run(closing())
    assert rows(table, "SELECT v FROM t") == [(1,)]


@pytest.mark.parametrize("call", ["statement", "commit", "connect"])
def test_cancelled(table: Path, call: str) -> None:
    """Who waits is told at once; what was asked happens, and nobody hears of it. A connection that
    nobody waits for any more is closed.
    """
    begun, release = threading.Event(), threading.Event()
    told: list[str] = []

    def wait() -> None:
        begun.set()
        release.wait()

    def slow() -> sqlite3.Connection:
        wait()
        return sqlite3.connect(table)

    async def main() -> None:
        async with generic(table) as db:
            await db.execute("INSERT INTO t VALUES (1)")
            late = lib.Connection(slow, 64)
            asked = {
                "statement": lambda: db._execute(wait),
                "commit": db.commit,
                "connect": late.__aenter__,
            }[call]
            scope = trio.CancelScope()

            async def ask() -> None:
                with scope:
                    try:
                        await asked()
                    except trio.Cancelled as error:
                        told.append(error.looplite_outcome)
                        raise

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                while call != "commit" and not begun.is_set():
                    await trio.lowlevel.checkpoint()
                scope.cancel()
            release.set()
            assert scope.cancelled_caught
            assert told == ["unknown"]
            assert await db.execute_fetchall("SELECT v FROM t") == [(1,)]
            assert db.in_transaction == (call != "commit")
            await db.rollback()
            assert len(await db.execute_fetchall("SELECT v FROM t")) == (call == "commit")
        if call == "connect":
            late._thread.join()

    trio.run(main)


def test_as_a_guest_of_asyncio(table: Path) -> None:
    """Both sides use one connection."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with generic(table) as db:
            done = loop.create_future()

            async def guest() -> Any:
                await db.execute("INSERT INTO t VALUES (1)")
                return await db.execute_fetchall("SELECT v FROM t")

            trio.lowlevel.start_guest_run(
                guest,
                run_sync_soon_threadsafe=loop.call_soon_threadsafe,
                done_callback=done.set_result,
            )
            while not done.done():
                assert len(await db.execute_fetchall("SELECT v FROM t")) <= 1
            assert (await done).unwrap() == [(1,)]

    asyncio.run(main())


def test_a_run_that_is_over_before_the_answer(tmp_path: Path) -> None:
    """The answer is nobody's; thread and connection go on."""
    make(tmp_path / "script.db", "CREATE TABLE t(v)")
    done = run_script(
        tmp_path,
        """
        import trio
        begun, release = threading.Event(), threading.Event()
        def wait():
            begun.set()
            release.wait()
        async def main():
            global db
            db = await lib.Connection(lambda: sqlite3.connect(PATH), 64)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(db._execute, wait)
                while not begun.is_set():
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        trio.run(main)
        release.set()
        async def later():
            await db.execute("INSERT INTO t VALUES (1)")
            await db.commit()
            await db.close()
            print(db.closed)
        trio.run(later)
        """,
    )
    ran_clean(done)
    assert done.stdout == "True\n"
    assert rows(tmp_path / "script.db", "SELECT v FROM t") == [(1,)]
