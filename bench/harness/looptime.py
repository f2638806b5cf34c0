"""How much of the loop's time each of many concurrent reads takes.

Everything that the loop does except waiting is counted: the steps of the reads' tasks, and the
callbacks between them (completions, timers, retries). A read's own steps are its own; the rest of
a callback, and callbacks that are no step of a read, are divided among the reads that were
resumed next to them. The sum over all reads is thus the loop's busy time, retries included.
"""

from __future__ import annotations

from asyncio import events
from collections.abc import Awaitable, Generator
from time import perf_counter_ns
from types import TracebackType
from typing import Any


class _Read:
    """One awaitable, each of its steps timed."""

    def __init__(self, meter: LoopTime, work: Awaitable[Any]) -> None:
        self.total_ns = 0.0
        self._meter = meter
        self._work = work

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._work.__await__()
        send = steps.send if hasattr(steps, "send") else lambda _: next(steps)
        while True:
            began = perf_counter_ns()
            try:
                waits_for = send(None)
            except StopIteration as end:
                self._stepped(perf_counter_ns() - began)
                return end.value
            self._stepped(perf_counter_ns() - began)
            yield waits_for

    def _stepped(self, took_ns: int) -> None:
        self.total_ns += took_ns
        self._meter.step_ns += took_ns
        self._meter.resumed.append(self)


class LoopTime:
    """Times every callback of asyncio's own loop while it is entered."""

    def __init__(self) -> None:
        self.reads: list[_Read] = []
        self.step_ns = 0
        self.resumed: list[_Read] = []
        self._shared_ns = 0
        self._run = events.Handle._run

    def __enter__(self) -> LoopTime:
        plain = self._run

        def timed(handle: events.Handle) -> None:
            self.step_ns = 0
            began = perf_counter_ns()
            try:
                plain(handle)
            finally:
                took = perf_counter_ns() - began
                # A callback that is no step begins a new group: what it resumes comes after it.
                if self.step_ns == 0:
                    self._divide()
                self._shared_ns += took - self.step_ns

        events.Handle._run = timed  # type: ignore[assignment,method-assign]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        events.Handle._run = self._run  # type: ignore[method-assign]

    def _divide(self) -> None:
        if not self.resumed:
            return
        share = self._shared_ns / len(self.resumed)
        for read in self.resumed:
            read.total_ns += share
        self.resumed.clear()
        self._shared_ns = 0

    def read(self, work: Awaitable[Any]) -> Awaitable[Any]:
        """Wraps one read."""
        wrapped = _Read(self, work)
        self.reads.append(wrapped)
        return wrapped

    def per_read_us(self) -> list[float]:
        """The loop time of each read that was wrapped."""
        self._divide()
        return [read.total_ns / 1e3 for read in self.reads]
