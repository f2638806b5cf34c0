"""The C API's point read against a bare sqlite3_step loop, both by bench/c/point_read.c."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from harness.data import ITEMS
from harness.peers import UnsupportedError
from harness.spec import C_SUBJECT, Context, Ratio, Row, Sample

BARE = "sqlite3_step"
PROGRAM = Path(__file__).parents[2] / "build" / "bench" / "bench" / "c" / "point_read"


async def run(ctx: Context) -> Sample:
    """Runs the program; it times itself."""
    if not os.access(PROGRAM, os.X_OK):
        raise UnsupportedError("bench/c is not built (tools/build.sh bench)")
    how = "looplite" if ctx.peer_name == C_SUBJECT else "bare"
    seconds = ctx.scale(0.5, 0.06)
    process = await asyncio.create_subprocess_exec(
        PROGRAM, how, ctx.database, str(ITEMS), str(seconds), stdout=asyncio.subprocess.PIPE
    )
    answer, _ = await process.communicate()
    if process.returncode != 0:
        raise UnsupportedError(f"point_read {how} ended with {process.returncode}")
    got = json.loads(answer)
    return Sample(got["ns"] / 1e3, {"reads": got["reads"]}, got.get("inline"))


ROWS = (
    Row(
        name="c_point_read_wal",
        title="C API: point read, WAL",
        unit="us",
        run=run,
        peers=(BARE, C_SUBJECT),
        targets=(Ratio(BARE, 2.0),),
        path="inline",
    ),
    Row(
        name="c_point_read_rollback",
        title="C API: point read, rollback journal",
        unit="us",
        run=run,
        database="items-delete",
        peers=(BARE, C_SUBJECT),
        targets=(Ratio(BARE, 0.9),),
        path="inline",
    ),
)
