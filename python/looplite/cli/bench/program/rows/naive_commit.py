"""The naive form: 100 tasks execute and commit on one shared connection, synchronous = FULL.

Tasks commit each other's rows by accident there. apsw opens no transaction by itself: each of its
statements is its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from harness.data import INSERT_ITEM, ITEMS, item, stored_items
from harness.measure import rate, shares
from harness.peers import UnsupportedError, Values
from harness.spec import Context, Ratio, Row, Sample

TASKS = 100


async def run(ctx: Context) -> Sample:
    """Then looks whether all rows are there."""
    peer = ctx.peer
    conn = await peer.open(ctx.database)
    await peer.execute(conn, "PRAGMA synchronous = FULL")
    written = 0

    def make(count: int) -> list[Sequence[Values]]:
        return shares([item(n) for n in range(count)], TASKS)

    async def write(parts: list[Sequence[Values]]) -> None:
        nonlocal written
        await asyncio.gather(*(peer.write_commit_each(conn, INSERT_ITEM, part) for part in parts))
        written += sum(len(part) for part in parts)

    got = await rate(ctx.probe, make, write, ctx.scale(1.0, 0.1), first=TASKS)
    await peer.close(conn)
    stored = stored_items(ctx.database) - ITEMS
    if stored != written:
        raise UnsupportedError(f"of {written} committed rows {stored} are in the file")
    return Sample(got.seconds * 1e6, {"commits": got.count})


ROWS = (
    Row(
        name="naive_commit",
        title="execute + commit by 100 tasks on one shared connection, FULL",
        unit="us",
        run=run,
        targets=(Ratio("aiosqlite", 1.0),),
    ),
)
