"""Opening and closing: without a statement, and with one read while another connection is open.

The path that is meant: both inside the call, without a worker. The read needs one: SQLite opens the
WAL and reads the schema there.
"""

from __future__ import annotations

from harness.data import READ_ITEM
from harness.measure import rate
from harness.spec import Context, Ratio, Row, Sample


async def _cycle(ctx: Context, read: bool) -> Sample:
    peer = ctx.peer
    # The other connection keeps the WAL from being removed at each close.
    other = await peer.open(ctx.database) if read else None
    if other is not None:
        await peer.read_each(other, READ_ITEM, [1])

    async def run(count: int) -> None:
        for _ in range(count):
            conn = await peer.open(ctx.database)
            if read:
                await peer.read_each(conn, READ_ITEM, [1])
            await peer.close(conn)

    ctx.probe.counts("inline_opens", "inline_closes")
    got = await rate(ctx.probe, int, run, ctx.scale(0.5, 0.06), first=8)
    if other is not None:
        await peer.close(other)
    return Sample(got.seconds * 1e6, {"cycles": got.count}, got.inline)


async def without_statement(ctx: Context) -> Sample:
    """connect, close."""
    return await _cycle(ctx, read=False)


async def one_read(ctx: Context) -> Sample:
    """connect, execute, fetchone, close."""
    return await _cycle(ctx, read=True)


ROWS = (
    Row(
        name="open_close",
        title="open and close, without a statement",
        unit="us",
        run=without_statement,
        targets=(Ratio("aiosqlite", 4.0),),
        path="inline",
    ),
    Row(
        name="open_read_close",
        title="open, one read, close, another connection open",
        unit="us",
        run=one_read,
        targets=(Ratio("aiosqlite", 2.5),),
        path="inline",
    ),
)
