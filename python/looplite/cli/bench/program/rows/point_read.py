"""Point reads by one task and by a hundred, in WAL and rollback journal mode: execute, fetchone.

The last row has the form with one call, which spares the libraries that always hop one of two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from harness.data import ITEMS, READ_ITEM
from harness.measure import keys, rate, shares
from harness.peers import UnsupportedError
from harness.spec import Context, Ratio, Row, Sample

SECONDS = 0.5
QUICK_SECONDS = 0.06
TASKS = 100


async def _one_task(ctx: Context, mode: str, one_call: bool = False) -> Sample:
    peer = ctx.peer
    conn = await peer.open(ctx.database)
    found = (await peer.rows(conn, "PRAGMA journal_mode"))[0][0]
    if found != mode:
        raise UnsupportedError(f"journal mode {mode} became {found}")
    ctx.probe.watch(conn)

    async def run(chosen: list[int]) -> None:
        each = peer.read_all_each if one_call else peer.read_each
        await each(conn, READ_ITEM, chosen)

    seconds = ctx.scale(SECONDS, QUICK_SECONDS)
    got = await rate(ctx.probe, lambda count: keys(count, ITEMS), run, seconds)
    await peer.close(conn)
    return Sample(got.seconds * 1e6, {"reads": got.count}, got.inline)


async def one_task_wal(ctx: Context) -> Sample:
    """One task, WAL."""
    return await _one_task(ctx, "wal")


async def one_task_rollback(ctx: Context) -> Sample:
    """One task, rollback journal."""
    return await _one_task(ctx, "delete")


async def one_call(ctx: Context) -> Sample:
    """One task, WAL, the call that executes and fetches."""
    return await _one_task(ctx, "wal", one_call=True)


async def hundred_tasks(ctx: Context) -> Sample:
    """A hundred tasks that share one connection."""
    peer = ctx.peer
    conn = await peer.open(ctx.database)
    ctx.probe.watch(conn)

    async def run(parts: list[Sequence[int]]) -> None:
        await asyncio.gather(*(peer.read_each(conn, READ_ITEM, part) for part in parts))

    got = await rate(
        ctx.probe,
        lambda count: shares(keys(count, ITEMS), TASKS),
        run,
        ctx.scale(SECONDS, QUICK_SECONDS),
        first=2 * TASKS,
    )
    await peer.close(conn)
    return Sample(got.seconds * 1e6, {"reads": got.count}, got.inline)


ROWS = (
    Row(
        name="point_read_wal",
        title="point read, one task, WAL",
        unit="us",
        run=one_task_wal,
        targets=(Ratio("sqlite3", 1.6),),
        path="inline",
    ),
    Row(
        name="point_read_rollback",
        title="point read, one task, rollback journal",
        unit="us",
        run=one_task_rollback,
        database="items-delete",
        targets=(Ratio("sqlite3", 1.0),),
        path="inline",
    ),
    Row(
        name="point_read_one_call",
        title="point read by one call (execute_fetchall), WAL",
        unit="us",
        run=one_call,
        path="inline",
    ),
    Row(
        name="point_read_100_tasks",
        title="point read, 100 tasks, one connection, WAL",
        unit="us",
        run=hundred_tasks,
        targets=(Ratio("sqlite3", 1.5), Ratio("apsw", 5.0)),
        path="inline",
    ),
)
