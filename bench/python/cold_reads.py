"""Cold reads by 100 tasks: the page cache holds nothing of the file.

Each peer reads the same rows twice, each time from the disk: what lies below the kernel's cache (a
hypervisor, the disk's own) has seen them then, whoever is measured first. The second time counts.

The value is the wall time of one read. The details have the loop's time for each read, mean and
99th percentile, retries included (harness/looptime.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from harness.data import READ_ITEM, large_rows
from harness.helper import Helper
from harness.looptime import LoopTime
from harness.measure import distinct_keys, mean, percentile, shares
from harness.peers import UnsupportedError
from harness.spec import Bound, Context, Ratio, Row, Sample

TASKS = 100
READS_EACH = 20
# If more than this share stays in the cache, the file system keeps its files there anyway.
MOST_RESIDENT = 0.05


def _read_from_disk() -> int:
    """Bytes that this process has had fetched from the disk; 0 where the system does not tell."""
    try:
        fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    except OSError:
        return 0
    return int(fields["read_bytes"])


async def _pass(ctx: Context, chosen: list[int]) -> Sample:
    """Drops the cache, then reads all the rows with a new connection."""
    peer = ctx.peer
    conn = await peer.open(ctx.database)
    # The schema is known and a first statement prepared; its pages are cold again at once.
    await peer.read_each(conn, READ_ITEM, [1])
    with Helper("drop", ctx.database) as helper:
        resident = float(helper.ask())
    if resident > MOST_RESIDENT:
        raise UnsupportedError(f"{resident:.0%} of the file stayed in the page cache")
    ctx.probe.watch(conn)
    meter = LoopTime()

    async def task(part: Sequence[int]) -> None:
        for key in part:
            await meter.read(peer.read_each(conn, READ_ITEM, [key]))

    disk = _read_from_disk()
    ctx.probe.begin()
    with meter:
        began = perf_counter()
        await asyncio.gather(*(task(part) for part in shares(chosen, TASKS)))
        took = perf_counter() - began
    inline = ctx.probe.end(len(chosen))
    from_disk = _read_from_disk() - disk
    await peer.close(conn)
    loop_us = meter.per_read_us()
    return Sample(
        took / len(chosen) * 1e6,
        {
            "loop_mean_us": mean(loop_us),
            "loop_p99_us": percentile(loop_us, 99),
            "disk_kb_a_read": from_disk / 1024 / len(chosen),
            "reads": len(chosen),
        },
        inline,
    )


async def run(ctx: Context) -> Sample:
    """Reads 2 000 rows that lie far apart, twice."""
    chosen = distinct_keys(TASKS * ctx.count(READS_EACH, READS_EACH // 5), large_rows(ctx.quick))
    await _pass(ctx, chosen)
    return await _pass(ctx, chosen)


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
