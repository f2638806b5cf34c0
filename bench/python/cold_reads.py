"""Cold reads by 100 tasks: the page cache holds nothing of the file.

The value is the wall time of one read. The details have the loop's time for each read, mean and
99th percentile, retries included (harness/looptime.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter

from harness.data import READ_ITEM, large_rows
from harness.helper import Helper, UnsupportedError
from harness.looptime import LoopTime
from harness.measure import distinct_keys, mean, percentile, shares
from harness.spec import Bound, Context, Ratio, Row, Sample

TASKS = 100
READS_EACH = 20
# If more than this share stays in the cache, the file system keeps its files there anyway.
MOST_RESIDENT = 0.05


async def run(ctx: Context) -> Sample:
    """Drops the cache, then reads 2 000 rows that lie far apart."""
    peer = ctx.peer
    conn = await peer.open(ctx.database)
    # The schema is known and a first statement prepared; its pages are cold again at once.
    await peer.read_each(conn, READ_ITEM, [1])
    chosen = distinct_keys(TASKS * ctx.count(READS_EACH, READS_EACH // 5), large_rows(ctx.quick))
    with Helper("drop", ctx.database) as helper:
        resident = float(helper.ask())
    if resident > MOST_RESIDENT:
        raise UnsupportedError(f"{resident:.0%} of the file stayed in the page cache")
    ctx.probe.watch(conn)
    meter = LoopTime()

    async def task(part: Sequence[int]) -> None:
        for key in part:
            await meter.read(peer.read_each(conn, READ_ITEM, [key]))

    ctx.probe.begin()
    with meter:
        began = perf_counter()
        await asyncio.gather(*(task(part) for part in shares(chosen, TASKS)))
        took = perf_counter() - began
    inline = ctx.probe.end(len(chosen))
    await peer.close(conn)
    loop_us = meter.per_read_us()
    return Sample(
        took / len(chosen) * 1e6,
        {
            "loop_mean_us": mean(loop_us),
            "loop_p99_us": percentile(loop_us, 99),
            "reads": len(chosen),
        },
        inline,
    )


ROWS = (
    Row(
        name="cold_reads",
        title="cold reads, page cache dropped, 100 tasks",
        unit="us",
        run=run,
        database="large",
        targets=(
            Ratio("aiosqlite", 1.0),
            Bound("loop_mean_us", 20, "us"),
            Bound("loop_p99_us", 60, "us"),
        ),
    ),
)
