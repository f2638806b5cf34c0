"""fetchall of 1 000 000 rows of three columns (text, real, integer)."""

from __future__ import annotations

from time import perf_counter

from harness.data import large_rows
from harness.spec import Context, Ratio, Row, Sample

SQL = "SELECT name, price, stock FROM item"


async def run(ctx: Context) -> Sample:
    """Once; the file is in the page cache, the connection has read nothing but the first row."""
    peer = ctx.peer
    conn = await peer.open(ctx.database)
    await peer.rows(conn, f"{SQL} LIMIT 1")
    began = perf_counter()
    rows = await peer.rows(conn, SQL)
    took = perf_counter() - began
    assert len(rows) == large_rows(ctx.quick)
    await peer.close(conn)
    return Sample(took * 1e3, {"rows": len(rows), "ns_a_row": took / len(rows) * 1e9})


ROWS = (
    Row(
        name="fetchall",
        title="fetchall of 1 000 000 rows (100 000 when quick)",
        unit="ms",
        run=run,
        database="large",
        targets=(Ratio("sqlite3", 1.5), Ratio("apsw", 1.0)),
    ),
)
