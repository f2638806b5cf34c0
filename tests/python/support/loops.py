"""Running a test's coroutine: on asyncio's loop, on uvloop, and waiting there for a condition turn
by turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from support import lib

T = TypeVar("T")

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if importlib.util.find_spec("uvloop") is not None:
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


def run_on(
    factory: Callable[[], asyncio.AbstractEventLoop],
    main: Callable[..., Coroutine[Any, Any, T]],
    *args: Any,
) -> T:
    """asyncio.run with a loop of our choice; fails when the loop was told of an error that nobody
    took.
    """
    loop = factory()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    try:
        asyncio.set_event_loop(loop)
        try:
            result = loop.run_until_complete(main(*args))
        finally:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    assert not complaints, complaints
    return result


async def begin(call: Any) -> None:
    """Begins a call by hand, without a task that would complain of its loop.

    It may let the loop come round before it begins, and it may end at once.
    """
    with contextlib.suppress(StopIteration):
        while call.send(None) is None:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def turns(count: int = 1) -> None:
    """Lets the loop go round that many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], Any]) -> None:
    """Lets the loop go round until the condition holds (the watchdog ends what never comes true)."""  # noqa: E501
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


def settled(condition: Callable[[], Any], tries: int = 5_000) -> bool:
    """Whether the condition comes true while other threads get their chances to run.

    For what another thread does a moment after the call that asked for it, as closing a file:
    counted in
    chances given, not in time.
    """
    for _ in range(tries):
        if condition():
            return True
        time.sleep(0)
    return bool(condition())


async def on_the_loop(
    ask: Callable[[], Awaitable[Any]],
    least: int,
    of: int,
    turn: Callable[[], Awaitable[Any]] = turns,
) -> bool:
    """Whether of so many calls, each in its own turn, so many run on the loop, sooner or later.

    Not in every row of calls: one that loses the processor in the middle looks like a slow one, and
    the next 8, 16, ... are a worker's then.
    """
    for _ in range(20_000 // of):
        before = lib.stats()["inline_hits"]
        for _ in range(of):
            await turn()
            await ask()
        if lib.stats()["inline_hits"] - before >= least:
            return True
    return False


class Ticks:
    """Counts the turns of the loop (or the firings of a short timer) while its block runs."""

    def __init__(self, interval: float = 0) -> None:
        self.count = 0
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            self.count += 1

    async def __aenter__(self) -> Ticks:
        self._task = asyncio.ensure_future(self._tick())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def caught(awaitable: Awaitable[Any]) -> BaseException:
    """The exception an awaitable raises; it has to raise one."""
    try:
        result = await awaitable
    except BaseException as error:  # CancelledError is among those looked for
        return error
    raise AssertionError(f"nothing was raised, the result was {result!r}")
