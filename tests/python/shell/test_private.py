"""The private names that well-known dependents reach for, and those of the days before 0.22."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support import lib, looplite_only
from support.loops import caught, turns, until

Connect = Callable[..., Any]
Run = Callable[..., Any]


def core() -> Any:
    name = "looplite.aiosqlite.core" if lib.__name__ == "looplite" else "aiosqlite.core"
    __import__(name)
    return sys.modules[name]


def test_thread(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = connect(":memory:")
        thread = db._thread
        assert issubclass(type(thread), threading.Thread)
        assert not issubclass(type(db), threading.Thread)
        assert thread is db._thread
        assert not thread.is_alive()
        assert not thread.ident
        with pytest.raises(RuntimeError, match="cannot join thread before it is started"):
            thread.join()
        thread.daemon = True
        assert thread.daemon
        await db
        assert thread.is_alive()
        assert isinstance(thread.ident, int)
        thread.join(timeout=0)
        assert thread.is_alive()
        assert thread.name
        repr(thread)
        await db.close()
        await asyncio.get_running_loop().run_in_executor(None, thread.join)
        assert not thread.is_alive()
        thread.join()

    run(main)


@looplite_only
def test_thread_asked_for_late(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = await connect(":memory:")
        assert db._thread.is_alive()
        assert db._thread.ident
        await db.close()
        assert not db._thread.is_alive()
        db._thread.join()
        db = await lib.connect(":memory:")
        await db.close()
        assert not db._thread.is_alive()
        db._thread.join()
        db = await lib.connect(":memory:")
        await db.stop()
        assert not db._thread.is_alive()
        with pytest.raises(RuntimeError, match="threads can only be started once"):
            db._thread.start()
        db._thread.daemon = False

    run(main)


def test_running_and_connection(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = connect(":memory:")
        assert db._running
        assert db._connection is None
        await db
        assert db._running
        assert issubclass(type(db._connection), sqlite3.Connection)
        assert db._connection is db._conn
        await db.close()
        assert not db._running
        assert db._connection is None

    run(main)


def test_tx(run: Run, connect: Connect) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connect(":memory:") as db:
            assert db._tx.empty()
            future = loop.create_future()
            db._tx.put_nowait((future, lambda: db._conn.execute("SELECT 42").fetchone()))
            assert await future == (42,)
            future = loop.create_future()
            db._tx.put_nowait((future, lambda: db._conn.execute("nonsense")))
            assert isinstance(await caught(future), sqlite3.OperationalError)
            # in its turn, without anybody who waits
            order: list[int] = []
            first = asyncio.ensure_future(db._execute(order.append, 1))
            await turns(2)
            db._tx.put_nowait((None, lambda: order.append(2)))
            await db._execute(order.append, 3)
            await first
            assert order == [1, 2, 3]
            # a cancelled one is done all the same
            release = threading.Event()
            blocked = asyncio.ensure_future(db._execute(release.wait))
            await turns(2)
            future = loop.create_future()
            db._tx.put_nowait((future, lambda: order.append(4)))
            assert not db._tx.empty()
            future.cancel()
            release.set()
            await blocked
            await db._execute(int)
            assert order == [1, 2, 3, 4]
            assert db._tx.empty()
        assert db._tx.empty()

    run(main)


def test_tx_from_another_thread_and_loop(run: Run, connect: Connect) -> None:
    async def main() -> None:
        async with connect(":memory:", check_same_thread=False) as db:

            async def ask() -> Any:
                future = asyncio.get_running_loop().create_future()
                db._tx.put_nowait((future, lambda: 7))
                return await future

            answers: list[Any] = []
            thread = threading.Thread(target=lambda: answers.append(asyncio.run(ask())))
            thread.start()
            thread.join()
            assert answers == [7]

    run(main)


def test_the_sentinel_stops_it(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = await connect(":memory:", check_same_thread=False)
        connection = db._conn

        def stop() -> Any:
            return core()._STOP_RUNNING_SENTINEL

        future = asyncio.get_running_loop().create_future()
        db._tx.put_nowait((future, stop))
        assert await future is core()._STOP_RUNNING_SENTINEL
        await until(lambda: not db._thread.is_alive())
        if lib.__name__ == "looplite":
            db.stop()
        else:
            connection.close()
            db._connection = None

    run(main)


@looplite_only
def test_tx_of_a_connection_that_has_ended(run: Run, connect: Connect) -> None:
    """The future is answered; in aiosqlite it waits for ever."""

    async def main() -> None:
        db = await connect(":memory:")
        tx = db._tx
        await db.close()
        for queue in (tx, db._tx):
            future = asyncio.get_running_loop().create_future()
            queue.put_nowait((future, int))
            assert isinstance(await caught(future), ValueError)

    run(main)


@looplite_only
def test_an_exception_escapes_from_no_thread(run: Run, connect: Connect) -> None:
    async def main() -> None:
        async with connect(":memory:") as db:
            for error in (SystemExit(3), KeyboardInterrupt(), GeneratorExit()):

                def fail(error: BaseException = error) -> None:
                    raise error

                db._tx.put_nowait((None, fail))
            assert await db.execute_fetchall("SELECT 1") == [(1,)]
            assert db._thread.is_alive()

    run(main)


def test_stop_gives_a_future(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = await connect(":memory:")
        stopped = db.stop()
        assert asyncio.isfuture(stopped)
        await stopped
        await until(lambda: not db._thread.is_alive())
        assert db._connection is None

    run(main)


@looplite_only
def test_stop_twice_and_more(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = await connect(":memory:")
        await asyncio.gather(db.stop(), db.stop())
        await db.stop()
        await db.close()
        db = await connect(":memory:")
        closing = asyncio.ensure_future(db.close())
        await turns(1)
        await db.stop()
        await closing
        db = connect(":memory:")
        await db.stop()
        assert not db._running
        error = await caught(db.__aenter__())
        assert type(error) is ValueError
        assert str(error) == "Connection closed"

    run(main)


def test_stop_without_a_loop(connect: Connect) -> None:
    db = connect(":memory:")

    async def inner() -> None:
        await db

    loop = asyncio.new_event_loop()
    loop.run_until_complete(inner())
    loop.close()
    thread = db._thread
    db.stop()
    thread.join()
    assert not thread.is_alive()
    assert db._connection is None


@looplite_only
def test_stop_from_another_thread(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = await connect(":memory:")
        given: list[Any] = []
        thread = threading.Thread(target=lambda: given.append(db.stop()))
        thread.start()
        thread.join()
        assert given == [None]
        await until(lambda: not db._thread.is_alive())

    run(main)


@looplite_only
def test_stop_runs_what_was_queued(run: Run, connect: Connect, path: Any) -> None:
    async def main() -> None:
        db = await connect(path)
        await db.execute("CREATE TABLE t(v)")
        await db.execute("INSERT INTO t VALUES (1)")
        release = threading.Event()
        blocked = asyncio.ensure_future(db._execute(release.wait))
        commit = asyncio.ensure_future(db.commit())
        await turns(3)
        stopped = db.stop()
        release.set()
        await asyncio.gather(blocked, commit, stopped)
        async with connect(path) as again:
            assert await again.execute_fetchall("SELECT v FROM t") == [(1,)]

    run(main)


@looplite_only
def test_stop_while_connecting(run: Run) -> None:
    async def main() -> None:
        begun, release = threading.Event(), threading.Event()

        class Slow(sqlite3.Connection):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                begun.set()
                release.wait()
                super().__init__(*args, **kwargs)

        for db in (
            lib.connect(":memory:", factory=Slow),
            lib.Connection(lambda: sqlite3.connect(":memory:", factory=Slow), 64),
        ):
            begun.clear()
            release.clear()
            opening = asyncio.ensure_future(db.__aenter__())
            await until(begun.is_set)
            stopped = db.stop()
            release.set()
            error = await caught(opening)
            assert type(error) is ValueError
            await stopped
            assert db._connection is None
            assert not db._thread.is_alive()

    run(main)


@looplite_only
def test_before_0_22(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = connect(":memory:")
        db.daemon = True
        assert db.daemon is True
        assert not db.is_alive()
        db.start()
        with pytest.raises(RuntimeError, match="threads can only be started once"):
            db.start()
        assert await db._connect() is db
        assert await db._connect() is db
        assert db.is_alive()
        assert await db.execute_fetchall("SELECT 1") == [(1,)]
        await db.close()
        db.join(timeout=None)
        assert not db.is_alive()
        db = await connect(":memory:")
        assert db._stop_running() is None
        await until(lambda: not db.is_alive())

    run(main)


@looplite_only
def test_methods_of_an_object_that_was_not_initialised() -> None:
    db = lib.Connection.__new__(lib.Connection)
    uses: tuple[Callable[[], Any], ...] = (
        lambda: db.stop(),
        lambda: db._thread,
        lambda: db._tx,
        lambda: db.start(),
        lambda: db.is_alive(),
        lambda: db._stop_running(),
    )
    for use in uses:
        with pytest.raises(RuntimeError, match="__init__"):
            use()
