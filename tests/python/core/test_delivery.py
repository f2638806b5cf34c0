"""When a cancellation arrives. Many calls finish inside their await and never give the task away,
so asyncio has no chance to deliver one there: it comes with the first call that waits, at the
latest when the turn's time is spent, and at the very latest when the task ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import io
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ENDLESS, lib, looplite_only
from support.locks import make, rows, write_lock
from support.loops import LOOPS, begin, caught, on_the_loop, run_on, turns
from support.outcomes import NOT_APPLIED, outcome

pytestmark = looplite_only

Run = Callable[..., Any]
Factory = Callable[[], asyncio.AbstractEventLoop]

needs_3_11 = pytest.mark.skipif(sys.version_info < (3, 11), reason="since Python 3.11")
needs_3_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="since Python 3.12")


@pytest.fixture
def table(path: Path) -> Path:
    make(path, "CREATE TABLE t(v); PRAGMA journal_mode = WAL")
    return path


async def warm(db: Any) -> None:
    """From now on a small read finishes inside its await."""
    assert await on_the_loop(lambda: db.execute_fetchall("SELECT v FROM t WHERE v = 1"), 3, 3)


# ---- a task cancelled while it runs ------------------------------------------------------------


def test_a_loop_of_inline_calls_is_told_within_the_turn(run: Run, table: Path) -> None:
    """Not one callback of another task comes before: the call that finds the turn's time spent is
    told, and does not begin.
    """

    async def main() -> None:
        seen = 0

        def other() -> None:
            nonlocal seen
            seen += 1
            asyncio.get_running_loop().call_soon(other)

        async with lib.connect(table, isolation_level=None) as db:
            await warm(db)

            async def work() -> tuple[BaseException, int]:
                await turns(2)
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_soon(other)
                before = seen
                task.cancel()
                try:
                    while True:
                        await db.execute_fetchall("SELECT v FROM t WHERE v = 1")
                except asyncio.CancelledError as error:
                    return error, seen - before

            error, callbacks = await asyncio.ensure_future(work())
            assert outcome(error) == NOT_APPLIED
            assert callbacks <= 1

    async def ended() -> None:
        # `other` goes on for ever; the loop's end drops it.
        await main()

    run(ended)


def test_a_call_that_waits_is_told_before_it_has_effect(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:
            with write_lock(table):

                async def work() -> BaseException:
                    task = asyncio.current_task()
                    assert task is not None
                    task.cancel()
                    return await caught(db.execute("INSERT INTO t VALUES (1)"))

                assert outcome(await asyncio.ensure_future(work())) == NOT_APPLIED

    run(main)
    assert rows(table, "SELECT v FROM t") == []


def test_a_task_that_never_waits_again_ends_as_cancelled(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            await warm(db)
            got: list[Any] = []

            async def work() -> None:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                got.append(await db.execute_fetchall("SELECT 7"))

            task = asyncio.ensure_future(work())
            await caught(task)
            assert task.cancelled()
            assert got in ([], [[(7,)]])

    run(main)


def test_cancelled_at_each_await_in_turn(run: Run, table: Path) -> None:
    """As SQLAlchemy's own tests do: the task is cancelled just before the n-th await of a program.
    It ends as cancelled, and the connection is good.
    """

    async def program(db: Any, point: Callable[[], None]) -> None:
        point()
        cursor = await db.cursor()
        point()
        await cursor.execute("INSERT INTO t VALUES (1)")
        point()
        await cursor.execute("SELECT v FROM t")
        point()
        await cursor.fetchall()
        point()
        await cursor.close()
        point()
        await db.rollback()

    async def main() -> None:
        async with lib.connect(table) as db:
            await warm(db)
            for at in range(1, 7):
                count = itertools.count(1)

                def point(count: Any = count, at: int = at) -> None:
                    if next(count) == at:
                        task = asyncio.current_task()
                        assert task is not None
                        task.cancel()

                task = asyncio.ensure_future(program(db, point))
                await caught(task)
                assert task.cancelled(), at
                await db.rollback()
                assert await db.execute_fetchall("SELECT v FROM t") == []

    run(main)


# ---- a task cancelled before it begins ---------------------------------------------------------


def test_before_the_first_await(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:

            async def work() -> None:
                await db.execute("INSERT INTO t VALUES (1)")

            for start in (work, lambda: db.execute("INSERT INTO t VALUES (2)")):
                task = asyncio.ensure_future(start())
                task.cancel()
                await caught(task)
                assert task.cancelled()
            await warm(db)

    run(main)
    assert rows(table, "SELECT v FROM t") == []


def test_wait_for(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:
            await warm(db)
            assert await asyncio.wait_for(db.execute_fetchall("SELECT 1"), 60) == [(1,)]
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(db.execute_fetchall(ENDLESS), 0.01)
            # No time at all: what needs none may be done, what needs some does not begin.
            with contextlib.suppress(asyncio.TimeoutError), write_lock(table):
                await asyncio.wait_for(db.execute("INSERT INTO t VALUES (1)"), 0)
            assert await db.execute_fetchall("SELECT v FROM t") == []

    run(main)


@needs_3_11
def test_timeout_of_nothing(run: Run, table: Path) -> None:
    """asyncio looks at a timeout when the loop turns: what does not wait is done, and a loop of
    such calls is ended.
    """

    async def main() -> None:
        timeout: Any = asyncio.timeout  # type: ignore[attr-defined,unused-ignore]
        async with lib.connect(table, isolation_level=None) as db:
            await warm(db)
            with pytest.raises(TimeoutError):  # noqa: PT012
                async with timeout(0):
                    while True:
                        await db.execute_fetchall("SELECT v FROM t WHERE v = 1")
            with pytest.raises(TimeoutError):
                async with timeout(0):
                    await db.execute_fetchall(ENDLESS)
            with write_lock(table), pytest.raises(TimeoutError):
                async with timeout(0):
                    await db.execute("INSERT INTO t VALUES (1)")
            assert await db.execute_fetchall("SELECT v FROM t") == []

    run(main)


@needs_3_11
def test_task_group(run: Run, table: Path) -> None:
    """One task fails, the others are cancelled in their reads, and the connection is good."""

    async def main() -> None:
        async with lib.connect(table) as db:
            told: list[str] = []

            async def read() -> None:
                try:
                    await db.execute_fetchall(ENDLESS)
                except asyncio.CancelledError as error:
                    told.append(outcome(error))
                    raise

            async def fail() -> None:
                await turns(5)
                raise ValueError("enough")

            with pytest.raises(BaseException) as info:  # noqa: PT012
                async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined,unused-ignore]
                    for work in (read, read, read, fail):
                        group.create_task(work())
            assert [str(each) for each in info.value.exceptions] == ["enough"]  # type: ignore[attr-defined]
            assert told == [NOT_APPLIED] * 3
            await warm(db)

    run(main)


# ---- eager tasks -------------------------------------------------------------------------------


@needs_3_12
def test_eager_tasks(table: Path) -> None:
    """Tasks that begin inside create_task(): a call that finishes at once never sees the loop."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with lib.connect(table, isolation_level=None) as db:
            await warm(db)
            loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
            try:
                first = asyncio.sleep(0)
                try:
                    await asyncio.create_task(first)
                except TypeError:  # a uvloop that is newer than this Python
                    first.close()
                    return

                async def read() -> Any:
                    return await db.execute_fetchall("SELECT v FROM t WHERE v = 1")

                # One that loses the processor in the middle takes a worker.
                for _ in range(100):
                    await turns(2)
                    task = asyncio.create_task(read())
                    at_once = task.done()
                    assert await task == []
                    if at_once:
                        break
                assert at_once
                call = asyncio.create_task(db.execute_fetchall("SELECT v FROM t WHERE v = ?", (1,)))
                assert await call == []
                await asyncio.gather(*(read() for _ in range(500)))
                await asyncio.gather(
                    *(db.execute("INSERT INTO t VALUES (?)", (n,)) for n in range(50))
                )
                endless = asyncio.create_task(db.execute_fetchall(ENDLESS))
                assert not endless.done()
                endless.cancel()
                assert outcome(await caught(endless)) == NOT_APPLIED
            finally:
                loop.set_task_factory(None)
            assert await db.execute_fetchall("SELECT v FROM t ORDER BY rowid") == [
                (n,) for n in range(50)
            ]

    for factory in LOOPS.values():
        make(table, "DELETE FROM t")
        run_on(factory, main)


# ---- debug mode, contexts ----------------------------------------------------------------------


def test_debug_mode(loop_factory: Factory, table: Path) -> None:
    """What asyncio checks then finds nothing, and tasks can be shown."""

    def debugging() -> asyncio.AbstractEventLoop:
        loop = loop_factory()
        loop.set_debug(True)
        loop.slow_callback_duration = 60
        return loop

    async def main() -> None:
        async with lib.connect(table) as db:
            await db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(2000)])
            await db.commit()
            assert len([row async for row in await db.execute("SELECT v FROM t")]) == 2000
            task = asyncio.ensure_future(db.execute_fetchall(ENDLESS))
            await turns(3)
            shown = io.StringIO()
            task.print_stack(file=shown)
            assert "Connection.execute_fetchall" in repr(task)
            task.cancel()
            assert outcome(await caught(task)) == NOT_APPLIED
            await asyncio.gather(*(db.execute_fetchall("SELECT 1") for _ in range(100)))

    run_on(debugging, main)


def test_debug_mode_and_a_loop_closed_with_work_in_flight(
    loop_factory: Factory, table: Path
) -> None:
    kept: list[Any] = []
    loop = loop_factory()
    loop.set_debug(True)

    async def opening() -> None:
        db = await lib.connect(table, isolation_level=None)
        calls = [db.execute_fetchall(ENDLESS), db.execute("INSERT INTO t VALUES (1)"), db.commit()]
        for call in calls:
            await begin(call)
        kept.extend((db, *calls))

    loop.run_until_complete(opening())
    loop.close()

    async def closing() -> None:
        await kept[0].interrupt()
        await kept[0].close()

    run_on(loop_factory, closing)
    for call in kept[1:]:
        call.close()


def test_factories_run_in_the_context_of_their_fetch(run: Run, table: Path) -> None:
    """Whatever the callback came in by, Python code of the caller sees the caller's contextvars."""
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")

    async def main() -> None:
        async with lib.connect(table) as db:
            db.row_factory = lambda cursor, row: (name.get(), *row)

            async def work(who: str) -> None:
                name.set(who)
                for _ in range(5):
                    assert await db.execute_fetchall("SELECT ?", (who,)) == [(who, who)]
                    # Through a worker.
                    async with db.execute("PRAGMA user_version") as cursor:
                        assert await cursor.fetchone() == (who, 0)

            await asyncio.gather(*(work(who) for who in "abcd"))

    run(main)
