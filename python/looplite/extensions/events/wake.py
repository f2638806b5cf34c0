"""Waking the consumers of this process: those of all queues, in all loops, on the same table.

A consumer is a `Waiter` of its queue while it looks and waits. The hub knows the open queues by
file and table; whoever has committed something wakes the waiters of all of them. Queues in other
loops belong to other threads, hence the mutex, which is held to read or change the list and for
nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any, Protocol
from weakref import WeakSet


class Waiting(Protocol):
    """A queue, as the hub sees it."""

    @property
    def waiters(self) -> set[Waiter]: ...


class Waiter:
    """A consumer that looks, or waits to look again."""

    __slots__ = ("_future", "_loop", "_woken", "channel")

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self._loop = asyncio.get_running_loop()
        self._woken = False
        self._future: asyncio.Future[None] | None = None

    def reset(self) -> None:
        self._woken = False

    def wake(self) -> None:
        """From any thread."""
        if self._loop is _running_loop():
            self._wake()
            return
        with contextlib.suppress(RuntimeError):  # its loop was closed, and nobody waits there
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._woken = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, seconds: float) -> bool:
        """Whether it was woken within that time, or since `reset()`."""
        if not self._woken:
            self._future = self._loop.create_future()
            try:
                await asyncio.wait([self._future], timeout=seconds)
            finally:
                self._future = None
        return self._woken


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Hub:
    """The open queues of this process, by the table they stand on."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._queues: dict[Any, WeakSet[Waiting]] = {}

    def add(self, key: Any, queue: Waiting) -> None:
        with self._mutex:
            self._queues.setdefault(key, WeakSet()).add(queue)

    def remove(self, key: Any, queue: Waiting) -> None:
        with self._mutex:
            queues = self._queues.get(key)
            if queues is not None:
                queues.discard(queue)
                if not queues:
                    del self._queues[key]

    def wake(self, key: Any, channel: str | None) -> None:
        with self._mutex:
            queues = list(self._queues.get(key, ()))
        for queue in queues:
            for waiter in list(queue.waiters):
                if channel is None or waiter.channel == channel:
                    waiter.wake()


hub = Hub()
