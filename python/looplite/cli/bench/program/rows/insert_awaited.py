"""100 000 inserts in one transaction, each awaited, and the commit.

A peer that would need longer than ten seconds inserts fewer; the value is the time of one.
"""

from __future__ import annotations

from time import perf_counter

from harness.data import INSERT_ITEM, ITEMS, item, stored_items
from harness.peers import Peer, UnsupportedError
from harness.spec import Context, Ratio, Row, Sample

INSERTS = 100_000
BLOCK = 1000


async def begin(peer: Peer, conn: object) -> None:
    """Opens the transaction by the library's own means."""
    if peer.name == "rapsqlite":
        await conn.begin()  # type: ignore[attr-defined]  # it pools: a bare BEGIN may go astray
    else:
        await peer.execute(conn, "BEGIN")


async def run(ctx: Context) -> Sample:
    """Inserts in blocks of a thousand, until enough or out of time."""
    peer = ctx.peer
    conn = await peer.open(ctx.database)
    ctx.probe.watch(conn)
    wanted = ctx.count(INSERTS, INSERTS // 10)
    limit = ctx.scale(10.0, 0.3)
    blocks = [[item(n) for n in range(at, at + BLOCK)] for at in range(0, wanted, BLOCK)]
    count = 0
    ctx.probe.begin()
    began = perf_counter()
    await begin(peer, conn)
    for block in blocks:
        await peer.write_each(conn, INSERT_ITEM, block)
        count += len(block)
        if perf_counter() - began > limit:
            break
    await peer.commit(conn)
    took = perf_counter() - began
    inline = ctx.probe.end(count)
    await peer.close(conn)
    stored = stored_items(ctx.database) - ITEMS
    if stored != count:
        raise UnsupportedError(f"of {count} inserted rows {stored} are in the file")
    return Sample(took / count * 1e6, {"inserts": count}, inline)


ROWS = (
    Row(
        name="insert_awaited",
        title="100 000 inserts in one transaction, each awaited",
        unit="us",
        run=run,
        targets=(Ratio("sqlite3", 0.8),),
        path="inline",
    ),
)
