"""How long the event loop was held up: a timer set to 1 ms, and how late it fired.

Where Linux tells it, the longest delay comes with its share for which the machine is to blame:
the loop's thread was ready to run, but no CPU was free.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from types import TracebackType

PERIOD = 0.001
SCHEDSTAT = "/proc/thread-self/schedstat"  # run time, time ready without a CPU (ns), turns


class Lateness:
    """Watches the running loop while its block lasts; figures are in milliseconds.

    async with Lateness() as late:
        ...
    print(late.longest)
    """

    def __init__(self) -> None:
        self._late: list[float] = []
        self.longest = 0.0
        self.without_cpu: float | None = None  # the part of `longest`; None if not known
        try:
            self._schedstat = os.open(SCHEDSTAT, os.O_RDONLY)
        except OSError:
            self._schedstat = -1

    def _waited(self) -> float | None:
        """For how long this thread has been ready to run without a CPU, in ms."""
        if self._schedstat < 0:
            return None
        return int(os.pread(self._schedstat, 80, 0).split()[1]) / 1e6

    async def _tick(self) -> None:
        last, waited = time.perf_counter(), self._waited()
        while True:
            await asyncio.sleep(PERIOD)
            now, waiting = time.perf_counter(), self._waited()
            late = (now - last - PERIOD) * 1e3
            self._late.append(late)
            if late > self.longest:
                self.longest = late
                if waiting is not None and waited is not None:
                    self.without_cpu = waiting - waited
            last, waited = now, waiting

    async def __aenter__(self) -> Lateness:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0)  # the first tick is set before the block begins
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A stall that ends the block is only seen by the tick after it.
        await asyncio.sleep(3 * PERIOD)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._schedstat >= 0:
            os.close(self._schedstat)
        self._late.sort()

    @property
    def p999(self) -> float:
        return self._late[int((len(self._late) - 1) * 0.999)]

    @property
    def median(self) -> float:
        return statistics.median(self._late)

    @property
    def ticks(self) -> int:
        return len(self._late)
