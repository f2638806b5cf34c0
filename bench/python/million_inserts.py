"""A million awaited inserts, which is what issue 97 of aiosqlite's tracker is about.

As it is reported there: `await conn.execute("INSERT ...")` for each row, in the transaction that
the first of them opens, and one commit. It is the same work as insert_awaited with other numbers
and nothing around it: no blocks, the row made in the loop.
"""

from __future__ import annotations

from time import perf_counter

from harness.data import INSERT_ITEM, ITEMS, stored_items
from harness.peers import UnsupportedError
from harness.spec import Context, Ratio, Row, Sample

INSERTS = 1_000_000


async def run(ctx: Context) -> Sample:
    """All of them, whatever it takes; the value is the time of one."""
    peer = ctx.peer
    conn = await peer.open(ctx.database)
    ctx.probe.watch(conn)
    wanted = ctx.count(INSERTS, INSERTS // 10)
    ctx.probe.begin()
    began = perf_counter()
    if peer.name == "sqlite3":
        for number in range(wanted):
            conn.execute(INSERT_ITEM, ("a name", 0.25, number))
        conn.commit()
    else:
        for number in range(wanted):
            await conn.execute(INSERT_ITEM, ("a name", 0.25, number))
        await conn.commit()
    took = perf_counter() - began
    inline = ctx.probe.end(wanted)
    await peer.close(conn)
    stored = stored_items(ctx.database) - ITEMS
    if stored != wanted:
        raise UnsupportedError(f"of {wanted} inserted rows {stored} are in the file")
    return Sample(took / wanted * 1e6, {"inserts": wanted, "seconds": took}, inline)


ROWS = (
    Row(
        name="million_inserts",
        title="a million awaited inserts, one commit",
        unit="us",
        run=run,
        peers=("sqlite3", "aiosqlite", "looplite"),
        # Within 1.3 times of what `sqlite3` takes.
        targets=(Ratio("sqlite3", 0.77),),
        path="inline",
        limit=600.0,
    ),
)
