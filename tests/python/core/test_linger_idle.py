"""Staying for an answer in a loop that would sleep: whatever else the loop gets to do ends it.

The statement that is stayed for calls a Python function on a worker, which goes on when the loop
has done something. It is stayed for without end, so where that were not noticed the test would
hang.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import WATCHDOG_SECONDS, lib, looplite_only
from support.loops import run_on

pytestmark = [
    looplite_only,
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one processor nobody stays"),
]

EVER = 2 * WATCHDOG_SECONDS


@pytest.fixture(autouse=True)
def _for_ever_if_it_can_be_seen() -> Iterator[None]:
    before = lib._core._stay(0, EVER)
    yield
    lib._core._stay(*before)


def run(main: Callable[..., Any], factory: Any = asyncio.SelectorEventLoop) -> Any:
    return run_on(factory, main)


async def _stays(work: Any) -> int:
    """How many calls were stayed for."""
    before: int = lib.stats()["stays"]
    await work
    after: int = lib.stats()["stays"]
    return after - before


def test_a_loop_that_would_sleep_is_stayed_in_without_the_gil() -> None:
    """The function needs the GIL to run at all."""

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.create_function("f", 0, lambda: 7)
            for _ in range(3):
                assert await _stays(db.execute("SELECT f()")) == 1

    run(main)


def _ready(loop: Any, go_on: Callable[[], None]) -> Any:
    loop.call_soon(go_on)


def _a_task(loop: Any, go_on: Callable[[], None]) -> Any:
    async def work() -> None:
        go_on()

    loop.kept = loop.create_task(work())


def _a_timer(loop: Any, go_on: Callable[[], None]) -> Any:
    loop.call_later(0.001, go_on)


def _another_thread(loop: Any, go_on: Callable[[], None]) -> Any:
    return lambda: loop.call_soon_threadsafe(go_on)


def _an_executor(loop: Any, go_on: Callable[[], None]) -> Any:
    async def work() -> None:
        await loop.run_in_executor(None, begun.wait)
        go_on()

    begun = threading.Event()
    loop.kept = loop.create_task(work())
    return begun.set


def _a_socket(loop: Any, go_on: Callable[[], None]) -> Any:
    one, other = socket.socketpair()

    def readable() -> None:
        loop.remove_reader(one)
        one.close()
        other.close()
        go_on()

    loop.add_reader(one, readable)
    return lambda: other.send(b"x")


def _a_signal(loop: Any, go_on: Callable[[], None]) -> Any:
    def arrived() -> None:
        loop.remove_signal_handler(signal.SIGUSR1)
        go_on()

    loop.add_signal_handler(signal.SIGUSR1, arrived)
    return lambda: os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.parametrize(
    "something",
    [_ready, _a_task, _a_timer, _another_thread, _an_executor, _a_socket, _a_signal],
)
def test_whatever_the_loop_gets_to_do_is_done(something: Any) -> None:
    async def main() -> None:
        go_on = threading.Event()
        async with lib.connect(":memory:") as db:

            def f() -> int:
                if begin is not None:
                    begin()
                go_on.wait()
                return 7

            await db.create_function("f", 0, f)
            begin = something(asyncio.get_running_loop(), go_on.set)
            cursor = await db.execute("SELECT f()")
            assert await cursor.fetchall() == [(7,)]
            # That was no waste: the next one is stayed for.
            await db.create_function("g", 0, lambda: 7)
            await asyncio.sleep(0)
            assert await _stays(db.execute("SELECT g()")) == 1

    run(main)


def test_a_task_that_is_cancelled_meanwhile_is_told() -> None:
    async def main() -> None:
        loop, go_on = asyncio.get_running_loop(), threading.Event()
        async with lib.connect(":memory:") as db:

            async def work() -> None:
                await db.execute("SELECT f()")

            def cancel() -> None:
                task.cancel()
                go_on.set()

            def f() -> None:
                loop.call_soon_threadsafe(cancel)
                go_on.wait()

            await db.create_function("f", 0, f)
            task = loop.create_task(work())
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await (await db.execute("SELECT 7")).fetchall() == [(7,)]

    run(main)


def test_an_error_comes_the_same_way() -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.create_function("f", 0, lambda: 1 // 0)

            async def work() -> None:
                with pytest.raises(sqlite3.OperationalError, match="user-defined function"):
                    await db.execute("SELECT f()")

            assert await _stays(work()) == 1

    run(main)


class _Another(asyncio.SelectorEventLoop):
    """May keep its callbacks elsewhere."""


def _other_loops() -> Iterator[Any]:
    yield _Another
    try:
        import uvloop
    except ImportError:
        return
    yield uvloop.new_event_loop


@pytest.mark.parametrize("factory", list(_other_loops()))
def test_a_loop_that_cannot_be_looked_into_counts_as_busy(factory: Any) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.create_function("f", 0, lambda: 7)
            for _ in range(3):
                assert await _stays(db.execute("SELECT f()")) == 0

    run(main, factory)


def test_a_loop_that_begins_its_tasks_elsewhere_counts_as_busy() -> None:
    """Behind an eager task stands whoever made it; that is nowhere to be seen."""

    def factory(loop: Any, coro: Any, **more: Any) -> Any:
        return asyncio.Task(coro, loop=loop, **more)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with lib.connect(":memory:") as db:
            await db.create_function("f", 0, lambda: 7)
            loop.set_task_factory(factory)
            assert await _stays(db.execute("SELECT f()")) == 0
            loop.set_task_factory(None)
            assert await _stays(db.execute("SELECT f()")) == 1

    run(main)


def test_a_loop_that_is_made_otherwise_counts_as_busy() -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        async with lib.connect(":memory:") as db:
            await db.create_function("f", 0, lambda: 7)
            assert await _stays(db.execute("SELECT f()")) == 1
            timers, loop._scheduled = loop._scheduled, ()
            try:
                assert await _stays(db.execute("SELECT f()")) == 0
            finally:
                loop._scheduled = timers

    run(main)


def test_a_loop_in_a_thread_that_goes_with_the_program(tmp_path: Any) -> None:
    """Its engine is ended under it, while it stays."""
    from support.scripts import ran_clean, run_script

    done = run_script(
        tmp_path,
        f"""
lib._core._stay(0, {EVER})
begun, go_on = threading.Event(), threading.Event()

async def main():
    async with lib.connect(":memory:") as db:
        await db.create_function("f", 0, lambda: (begun.set(), go_on.wait(0.2), 7)[2])
        await db.execute("SELECT f()")

threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
begun.wait()
print("end")
""",
    )
    ran_clean(done)
    assert done.stdout == "end\n"
