"""1 000 000 rows of five columns as a `pyarrow.Table`, which owns its memory.

The `sqlite3` module has no such call: there it is what its users write, fetchall(), the rows turned
by zip(), an array of each column. ADBC is its driver for SQLite, with fetch_arrow_table().
"""

from __future__ import annotations

import importlib
from time import perf_counter
from typing import Any

from harness.data import large_rows
from harness.path import SUBJECT
from harness.spec import Context, Ratio, Row, Sample

SQL = "SELECT id, name, price, stock, stock AS again FROM item"
NAMES = ("id", "name", "price", "stock", "again")


async def by_rows(ctx: Context) -> tuple[Any, float]:
    """fetchall + zip + pyarrow.array."""
    pa = importlib.import_module("pyarrow")
    conn = await ctx.peer.open(ctx.database)
    await ctx.peer.rows(conn, f"{SQL} LIMIT 1")
    began = perf_counter()
    rows = await ctx.peer.rows(conn, SQL)
    table = pa.table([pa.array(column) for column in zip(*rows, strict=True)], names=NAMES)
    took = perf_counter() - began
    del rows
    return table, took


async def by_adbc(ctx: Context) -> tuple[Any, float]:
    """The ADBC driver, by its DB-API."""
    driver = importlib.import_module("adbc_driver_sqlite.dbapi")
    ctx.peer.load()
    with driver.connect(f"file:{ctx.database}?mode=ro") as conn, conn.cursor() as cursor:
        cursor.execute(f"{SQL} LIMIT 1")
        cursor.fetch_arrow_table()
        began = perf_counter()
        cursor.execute(SQL)
        table = cursor.fetch_arrow_table()
        return table, perf_counter() - began


async def by_looplite(ctx: Context) -> tuple[Any, float]:
    """select_to_arrow() of a session."""
    ctx.peer.load()
    adapter = importlib.import_module("looplite.adapters.aiosqlite")
    config = adapter.AiosqliteConfig(connection_config={"database": ctx.database})
    async with config.provide_session() as session:
        await session.select_to_arrow(f"{SQL} LIMIT 1")
        began = perf_counter()
        table = await session.select_to_arrow(SQL)
        took = perf_counter() - began
    await config.close_pool()
    return table, took


WAYS = {"sqlite3": by_rows, "adbc": by_adbc, SUBJECT: by_looplite}


async def run(ctx: Context) -> Sample:
    """Once; the file is in the page cache, the connection has read nothing but the first row."""
    table, took = await WAYS[ctx.peer_name](ctx)
    rows = large_rows(ctx.quick)
    assert table.num_rows == rows
    assert table.column_names == list(NAMES)
    first = {name: table.column(name)[0].as_py() for name in NAMES}
    assert first == {"id": 1, "name": "item number 1", "price": 0.25, "stock": 1, "again": 1}
    return Sample(took * 1e3, {"rows": rows, "ns_a_row": took / rows * 1e9})


ROWS = (
    Row(
        name="to_arrow",
        title="to Arrow, 1 000 000 rows x 5 columns (100 000 when quick)",
        unit="ms",
        run=run,
        database="large",
        peers=tuple(WAYS),
        targets=(Ratio("sqlite3", 10.0), Ratio("adbc", 1.0)),
    ),
)
