"""Point reads while another process commits 1 000 times a second: time each, and the slowest.

The other process writes to the table that is read, without syncing (its disk is not the point). A
repetition in which it did not keep its pace does not count.
"""

from __future__ import annotations

from time import perf_counter

from harness.data import ITEMS, READ_ITEM
from harness.helper import Helper
from harness.measure import keys, percentile
from harness.peers import UnsupportedError
from harness.spec import Bound, Context, Ratio, Row, Sample

COMMITS_A_SECOND = 1000
LEAST_PACE = 0.8


async def run(ctx: Context) -> Sample:
    """Reads for a while in blocks of 64, each read timed."""
    peer = ctx.peer
    conn = await peer.open(ctx.database)
    ctx.probe.watch(conn)
    await peer.read_each(conn, READ_ITEM, keys(64, ITEMS))
    took_ns: list[int] = []
    chosen = keys(50_000, ITEMS)
    seconds = ctx.scale(2.0, 0.25)
    with Helper("commit", ctx.database, COMMITS_A_SECOND) as helper:
        ctx.probe.begin()
        began = perf_counter()
        at = 0
        while (elapsed := perf_counter() - began) < seconds:
            await peer.read_timed(conn, READ_ITEM, chosen[at : at + 64], took_ns)
            at = (at + 64) % 49_984
        inline = ctx.probe.end(len(took_ns))
        last = helper.stop().split()
    await peer.close(conn)
    if not last:
        raise UnsupportedError("the other process could not write")
    pace = float(last[0]) / float(last[1])
    if pace < LEAST_PACE * COMMITS_A_SECOND:
        raise UnsupportedError(f"the other process committed only {pace:.0f} times a second")
    return Sample(
        elapsed / len(took_ns) * 1e6,
        {
            "p50_us": percentile(took_ns, 50) / 1e3,
            "p99_us": percentile(took_ns, 99) / 1e3,
            "p999_us": percentile(took_ns, 99.9) / 1e3,
            "max_us": max(took_ns) / 1e3,
            "commits_a_second": pace,
            "reads": len(took_ns),
        },
        inline,
    )


ROWS = (
    Row(
        name="point_read_committing",
        title="point read, another process commits 1 000 times a second",
        unit="us",
        run=run,
        targets=(Ratio("sqlite3", 0.9), Bound("p999_us", 1000, "us")),
        path="inline",
    ),
)
