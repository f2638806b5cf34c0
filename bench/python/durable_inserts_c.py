"""Durable single inserts by 100 tasks through the C API, FULL, by bench/c/durable_inserts.c.

With group commit, against the same without it, against a bare sqlite3_step loop, and against
aiosqlite: there 100 tasks share one connection in autocommit mode, each insert its own commit.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from time import perf_counter

from harness.data import INSERT_ITEM, ITEMS, item, stored_items
from harness.peers import UnsupportedError
from harness.spec import C_SUBJECT, Context, Ratio, Row, Sample

BARE = "sqlite3_step"
ALONE = "liblooplite, ungrouped"
PROGRAM = Path(__file__).parents[2] / "build" / "bench" / "bench" / "c" / "durable_inserts"
TASKS = 100


async def _aiosqlite(ctx: Context, seconds: float) -> Sample:
    try:
        import aiosqlite
    except ImportError as error:
        raise UnsupportedError("aiosqlite is not installed") from error
    conn = await aiosqlite.connect(ctx.database, isolation_level=None)
    await conn.execute("PRAGMA synchronous = FULL")
    count = 0
    began = perf_counter()

    async def task() -> None:
        nonlocal count
        while perf_counter() < began + seconds:
            await conn.execute(INSERT_ITEM, item(1))
            count += 1

    await asyncio.gather(*(task() for _ in range(TASKS)))
    span = perf_counter() - began
    await conn.close()
    return Sample(span / count * 1e6, {"inserts": count})


async def run(ctx: Context) -> Sample:
    """Runs the program; it times itself."""
    seconds = ctx.scale(1.0, 0.1)
    if ctx.peer_name == "aiosqlite":
        return await _aiosqlite(ctx, seconds)
    if not os.access(PROGRAM, os.X_OK):
        raise UnsupportedError("bench/c is not built (tools/build.sh bench)")
    how = {C_SUBJECT: "grouped", ALONE: "alone", BARE: "bare"}[ctx.peer_name]
    process = await asyncio.create_subprocess_exec(
        PROGRAM, how, ctx.database, str(seconds), stdout=asyncio.subprocess.PIPE
    )
    answer, _ = await process.communicate()
    if process.returncode != 0:
        raise UnsupportedError(f"durable_inserts {how} ended with {process.returncode}")
    got = json.loads(answer)
    if stored_items(ctx.database) - ITEMS < got["inserts"]:
        raise UnsupportedError("acknowledged rows are missing in the file")
    return Sample(got["ns"] / 1e3, {"inserts": got["inserts"], "members": got["members"]})


ROWS = (
    Row(
        name="durable_inserts_c",
        title="C API: durable single inserts by 100 tasks, FULL, group commit",
        unit="us",
        run=run,
        peers=(BARE, "aiosqlite", ALONE, C_SUBJECT),
        targets=(Ratio("aiosqlite", 20.0),),
    ),
)
