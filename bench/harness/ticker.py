"""A timer of one millisecond, and by how much it is late.

Lateness is the gap between two ticks less one millisecond. What the library under test cannot
help is taken out and reported beside it: the time that the loop's thread was ready to run and no
core took it (the second number of /proc/self/task/<tid>/schedstat), and the time that the garbage
collector ran. What a hypervisor took from all cores is reported, not taken out. Waiting for the
interpreter lock is not taken out: who holds it is the library.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType

from harness.measure import percentile

TICK = 0.001
TICK_NS = 1_000_000


def stolen_ms() -> float:
    """What the hypervisor has kept from the cores since they started; 0 if nobody tells."""
    try:
        cores = Path("/proc/stat").read_text().splitlines()[0].split()
    except OSError:
        return 0.0
    return int(cores[8]) / os.sysconf("SC_CLK_TCK") * 1e3


@dataclass
class Lateness:
    """What the ticks of one phase showed; all in nanoseconds."""

    late: list[float] = field(default_factory=list)
    queued: list[int] = field(default_factory=list)
    collected: list[int] = field(default_factory=list)

    def add(self, other: Lateness) -> None:
        """Joins another phase to this one."""
        self.late += other.late
        self.queued += other.queued
        self.collected += other.collected

    def p999_ms(self) -> float:
        """99.9th percentile of the lateness."""
        return percentile(self.late, 99.9) / 1e6

    def max_ms(self) -> float:
        """The greatest lateness."""
        return max(self.late) / 1e6


class _Collector:
    """Adds up how long garbage collections take."""

    def __init__(self) -> None:
        self.total_ns = 0
        self._began = 0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = perf_counter_ns()
        else:
            self.total_ns += perf_counter_ns() - self._began


class Ticker:
    """Ticks in a task of its own from entry to exit; `taken` then has what it saw."""

    def __init__(self) -> None:
        self.taken = Lateness()
        self._collector = _Collector()
        path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
        try:
            self._schedstat = os.open(path, os.O_RDONLY)
        except OSError:  # not Linux, or a kernel without scheduler statistics
            self._schedstat = -1
        self._stop = False
        self._task: asyncio.Task[None] | None = None

    @property
    def knows_run_queue(self) -> bool:
        """Whether the wait for a core can be taken out."""
        return self._schedstat >= 0

    def _queued_ns(self) -> int:
        if self._schedstat < 0:
            return 0
        return int(os.pread(self._schedstat, 100, 0).split()[1])

    async def _run(self) -> None:
        taken = self.taken
        tick = perf_counter_ns()
        queued = self._queued_ns()
        collected = self._collector.total_ns
        while not self._stop:
            await asyncio.sleep(TICK)
            now, now_queued = perf_counter_ns(), self._queued_ns()
            now_collected = self._collector.total_ns
            away = now_queued - queued + now_collected - collected
            taken.late.append(max(0, now - tick - TICK_NS - away))
            taken.queued.append(now_queued - queued)
            taken.collected.append(now_collected - collected)
            tick, queued, collected = now, now_queued, now_collected

    async def __aenter__(self) -> Ticker:
        gc.callbacks.append(self._collector)
        self._task = asyncio.create_task(self._run())
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop = True
        assert self._task is not None
        await self._task
        gc.callbacks.remove(self._collector)
        if self._schedstat >= 0:
            os.close(self._schedstat)
