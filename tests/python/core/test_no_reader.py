"""Loops that cannot watch a descriptor: served by a thread, there only while it is needed."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ENDLESS, forks_beside_threads, lib, looplite_only
from support.locks import make, rows
from support.loops import begin, caught, run_on, settled, turns
from support.outcomes import APPLIED, NOT_APPLIED, outcome
from support.scripts import ran_clean, run_script

pytestmark = looplite_only

NAME = "looplite"


class NotImplementedLoop(asyncio.SelectorEventLoop):
    """Says no, as asyncio's proactor loop does. (asyncio's own needs go by the private way.)"""

    def add_reader(self, *args: Any) -> Any:  # type: ignore[override]
        raise NotImplementedError

    def remove_reader(self, *args: Any) -> Any:
        raise NotImplementedError


class BareLoop(asyncio.SelectorEventLoop):
    """Has no such method at all, as a loop that derives from nothing."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("add_reader", "remove_reader"):
            raise AttributeError(name)
        return super().__getattribute__(name)


FACTORIES = {"says no": NotImplementedLoop, "has none": BareLoop}


@pytest.fixture(params=list(FACTORIES))
def factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return FACTORIES[request.param]


@pytest.fixture
def table(path: Path) -> Path:
    make(path, "CREATE TABLE t(v)")
    return path


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def test_statements_and_rows(factory: Any, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            await db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(10_000)])
            await db.commit()
            async with db.execute("SELECT v FROM t ORDER BY v") as cursor:
                assert [row[0] async for row in cursor] == list(range(10_000))
            assert await db.execute_fetchall("SELECT count(*) FROM t") == [(10_000,)]

    run_on(factory, main)
    assert not helpers()


def test_the_thread_is_there_while_connections_are_open(factory: Any, table: Path) -> None:
    async def main() -> None:
        assert not helpers()
        async with lib.connect(table) as first:
            (thread,) = helpers()
            assert thread.daemon
            async with lib.connect(table) as second:
                await asyncio.gather(first.execute("SELECT 1"), second.execute("SELECT 1"))
                assert helpers() == [thread]
            assert helpers() == [thread]
        assert not helpers()
        async with lib.connect(table):
            assert len(helpers()) == 1
        assert not helpers()

    run_on(factory, main)


def test_order_is_kept(factory: Any, table: Path) -> None:
    async def main() -> None:
        done: list[int] = []
        async with lib.connect(table, isolation_level=None) as db:

            async def insert(number: int) -> None:
                await db.execute("INSERT INTO t VALUES (?)", (number,))
                done.append(number)

            await asyncio.gather(*(insert(n) for n in range(500)))
        assert done == list(range(500))

    run_on(factory, main)
    assert rows(table, "SELECT v FROM t ORDER BY rowid") == [(n,) for n in range(500)]


def test_cancellation(factory: Any, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            reading = asyncio.ensure_future(db.execute_fetchall(ENDLESS))
            queued = asyncio.ensure_future(db.execute("INSERT INTO t VALUES (1)"))
            await turns(5)
            for task in (queued, reading):
                task.cancel()
                assert outcome(await caught(task)) == NOT_APPLIED
            await db.execute("INSERT INTO t VALUES (2)")
            commit = asyncio.ensure_future(db.commit())
            await turns(1)
            commit.cancel()
            assert outcome(await caught(commit)) == APPLIED

    run_on(factory, main)
    assert rows(table, "SELECT v FROM t") == [(2,)]


def test_debug_mode(factory: Any, table: Path) -> None:
    """asyncio's own checks of who calls what from where find nothing."""

    def debugging() -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = factory()
        loop.set_debug(True)
        return loop

    async def main() -> None:
        async with lib.connect(table) as db:
            await db.execute("INSERT INTO t VALUES (1)")
            await db.commit()

    run_on(debugging, main)
    assert rows(table, "SELECT v FROM t") == [(1,)]


def test_one_connection_in_one_loop_after_another(factory: Any, table: Path) -> None:
    kept: list[Any] = []

    async def opening() -> None:
        kept.append(await lib.connect(table))

    async def using() -> None:
        await kept[0].execute("INSERT INTO t VALUES (1)")

    async def closing() -> None:
        await kept[0].commit()
        await kept[0].close()

    run_on(factory, opening)
    run_on(factory, using)
    run_on(asyncio.new_event_loop, using)
    run_on(factory, closing)
    assert rows(table, "SELECT v FROM t") == [(1,), (1,)]
    gc.collect()
    assert settled(lambda: not helpers())


def test_loops_in_several_threads(factory: Any, table: Path) -> None:
    failures: list[BaseException] = []

    async def main() -> None:
        async with lib.connect(table, isolation_level=None, timeout=60) as db:
            for n in range(25):
                await db.execute("INSERT INTO t VALUES (?)", (n,))

    def work() -> None:
        try:
            run_on(factory, main)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert rows(table, "SELECT count(*) FROM t") == [(100,)]
    assert not helpers()


@pytest.mark.parametrize("what", ["freed", "kept"])
def test_loop_closed_with_work_in_flight(factory: Any, table: Path, what: str) -> None:
    """The thread ends though nobody tells it: at once when the loop is freed, and when the loop is
    kept as soon as it has looked.
    """
    loop = factory()
    kept: list[Any] = []

    async def opening() -> None:
        db = await lib.connect(table, isolation_level=None)
        reading = db.execute_fetchall(ENDLESS)
        await begin(reading)
        kept.extend((db, reading))

    loop.run_until_complete(opening())
    assert len(helpers()) == 1
    loop.close()
    if what == "freed":
        del loop
        gc.collect()
    (thread,) = helpers() or [threading.current_thread()]
    if thread is not threading.current_thread():
        thread.join()
    assert not helpers()

    async def closing() -> None:
        await kept[0].interrupt()
        await kept[0].close()

    run_on(factory, closing)
    kept[1].close()


def test_an_answer_for_a_closed_loop_ends_the_thread(factory: Any, table: Path) -> None:
    """It finds out by call_soon_threadsafe(), which is refused."""
    loop = factory()
    kept: list[Any] = []

    async def opening() -> None:
        db = await lib.connect(table, isolation_level=None)
        reading = db.execute_fetchall(ENDLESS)
        await begin(reading)
        kept.extend((db, reading))

    loop.run_until_complete(opening())
    loop.close()
    (thread,) = helpers()
    kept[0]._conn.interrupt()
    thread.join()

    async def closing() -> None:
        await kept[0].close()

    run_on(factory, closing)
    kept[1].close()
    del loop


@pytest.mark.parametrize("kind", ["NotImplementedError", "AttributeError"])
@pytest.mark.parametrize("end", ["open", "running", "closed loop"])
def test_exit(tmp_path: Path, kind: str, end: str) -> None:
    """A program that forgets everything ends at once, and says nothing."""
    make(tmp_path / "script.db", "CREATE TABLE t(v)")
    done = run_script(
        tmp_path,
        f"""
        warnings.simplefilter("ignore", ResourceWarning)

        class Loop(asyncio.SelectorEventLoop):
            def __getattribute__(self, name):
                if name == "add_reader":
                    if {kind!r} == "AttributeError":
                        raise AttributeError(name)
                    return self.no
                return super().__getattribute__(name)

            def no(self, *args):
                raise NotImplementedError

        async def main():
            db = await lib.connect(PATH, isolation_level=None)
            await db.execute("INSERT INTO t VALUES (1)")
            call = None
            if {end!r} != "open":
                call = db.execute(ENDLESS)
                await begin(call)
            return db, call

        loop = Loop()
        kept = loop.run_until_complete(main())
        if {end!r} == "closed loop":
            loop.close()
        print([thread.name for thread in threading.enumerate()][1:])
        """,
    )
    assert done.stdout == f"['{NAME}']\n"
    ran_clean(done)
    assert rows(tmp_path / "script.db", "SELECT v FROM t") == [(1,)]


@forks_beside_threads
def test_fork(tmp_path: Path) -> None:
    """The child has no such thread, and a loop of its own gets one."""
    make(tmp_path / "script.db", "CREATE TABLE t(v)")
    make(tmp_path / "other.db", "CREATE TABLE t(v)")
    done = run_script(
        tmp_path,
        """
        warnings.simplefilter("ignore", DeprecationWarning)

        class Loop(asyncio.SelectorEventLoop):
            def add_reader(self, *args):
                raise NotImplementedError

        def helpers():
            return sum(thread.name == "looplite" for thread in threading.enumerate())

        async def inside():
            async with lib.connect(str(Path(PATH).with_name("other.db"))) as db:
                await db.execute("INSERT INTO t VALUES (2)")
                await db.commit()
                return helpers()

        async def main():
            async with lib.connect(PATH) as db:
                await db.execute("INSERT INTO t VALUES (1)")
                child = os.fork()
                if child == 0:
                    asyncio._set_running_loop(None)
                    before = helpers()
                    loop = Loop()
                    during = loop.run_until_complete(inside())
                    os._exit(0 if (before, during, helpers()) == (0, 1, 0) else 1)
                assert os.waitpid(child, 0)[1] == 0
                await db.commit()
                assert helpers() == 1

        loop = Loop()
        loop.run_until_complete(main())
        loop.close()
        """,
    )
    ran_clean(done)
    assert rows(tmp_path / "script.db", "SELECT v FROM t") == [(1,)]
    assert rows(tmp_path / "other.db", "SELECT v FROM t") == [(2,)]
