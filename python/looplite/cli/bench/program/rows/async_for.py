"""`async for` over 100 000 rows; `for` with the synchronous module."""

from __future__ import annotations

from time import perf_counter

from harness.spec import Context, Ratio, Row, Sample

ROWS_READ = 100_000


async def run(ctx: Context) -> Sample:
    """Once over 1 000 rows as warm-up, once over all."""
    peer = ctx.peer
    conn = await peer.open(ctx.database)
    await peer.iterate(conn, "SELECT name, price, stock FROM item LIMIT 1000")
    count = ctx.count(ROWS_READ, ROWS_READ // 10)
    began = perf_counter()
    found = await peer.iterate(conn, f"SELECT name, price, stock FROM item LIMIT {count}")
    took = perf_counter() - began
    assert found == count
    await peer.close(conn)
    return Sample(took * 1e9 / count, {"rows": count})


ROWS = (
    Row(
        name="async_for",
        title="`async for` over 100 000 rows, each",
        unit="ns",
        run=run,
        database="large",
        targets=(Ratio("sqlite3", 1.0), Ratio("aiosqlite", 1.9), Ratio("apsw", 1.4)),
    ),
)
