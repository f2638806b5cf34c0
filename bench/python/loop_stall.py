"""How late a 1 ms timer is while five kinds of heavy work run, against the idle engine.

In one process: idle connections first, then one kind of work after the other. The value is p99.9
of the lateness over all kinds less the idle one, in ms (harness/ticker.py says what is taken out).
The 100 000 rows of a fetch are let go in slices: to free them at once takes 3 to 4 ms, whoever made
them, and is the program's own doing. What all slices of one result took together is reported.
A kind that a peer cannot do is named, and its row is then never met; neither is it where the idle
engine was late already, for then the difference says nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter, perf_counter_ns
from typing import Any

from harness.data import INSERT_ITEM, READ_ITEM, item, large_rows
from harness.helper import Helper
from harness.measure import distinct_keys, shares
from harness.spec import ASYNC_ONLY, Bound, Context, Row, Sample
from harness.ticker import Lateness, Ticker, stolen_ms

FETCHED = 100_000
COLD_READS = 400
LET_GO = 5_000
# Idle lateness (p99.9) above this means that somebody else keeps the machine busy.
MOST_IDLE_MS = 2.0
Load = Callable[[], Awaitable[object]]


async def _phase(load: Load, seconds: float) -> Lateness:
    """Repeats a load until the time is over; what the ticker saw meanwhile."""
    until = perf_counter() + seconds
    async with Ticker() as ticker:
        while perf_counter() < until:
            await load()
            await asyncio.sleep(0)
    return ticker.taken


def _loads(
    ctx: Context, conn: Any, small: Any, dropper: Helper, let_go_ns: list[int]
) -> dict[str, Load]:
    peer = ctx.peer
    chosen = distinct_keys(COLD_READS, large_rows(ctx.quick))

    async def cold() -> None:
        # A connection of its own: what SQLite's cache holds is never read from the file.
        fresh = await peer.open(ctx.database)
        await asyncio.to_thread(dropper.ask)
        parts = shares(chosen, 20)
        await asyncio.gather(*(peer.read_each(fresh, READ_ITEM, part) for part in parts))
        await peer.close(fresh)

    async def contention() -> None:
        await peer.execute(small, "BEGIN IMMEDIATE")
        await peer.write_each(small, INSERT_ITEM, [item(1)])
        await peer.commit(small)

    async def backup() -> None:
        await peer.backup(conn, ctx.folder / "copy.db")

    fetched = min(FETCHED, large_rows(ctx.quick))

    async def fetch() -> None:
        rows = await peer.rows(conn, f"SELECT name, price, stock FROM item LIMIT {fetched}")
        let_go_ns.append(0)
        while rows:
            began = perf_counter_ns()
            del rows[-LET_GO:]
            let_go_ns[-1] += perf_counter_ns() - began
            await asyncio.sleep(0)

    return {
        "scan": lambda: peer.rows(conn, "SELECT count(*) FROM item WHERE name LIKE '%99 9%'"),
        "cold": cold,
        "contention": contention,
        "backup": backup,
        "fetch": fetch,
    }


async def run(ctx: Context) -> Sample:
    """Idle, then the five loads."""
    peer = ctx.peer
    conn = await peer.open(ctx.database)
    await peer.read_each(conn, READ_ITEM, [1])
    small = await peer.open(ctx.folder / "small.db", 60.0)
    await peer.execute(small, "PRAGMA journal_mode = WAL")
    await peer.execute(small, "CREATE TABLE item (id INTEGER PRIMARY KEY, name, price, stock)")

    async with Ticker() as ticker:
        await asyncio.sleep(ctx.scale(2.0, 0.3))
    idle = ticker.taken
    details = {"idle_p999_ms": idle.p999_ms(), "idle_max_ms": idle.max_ms()}
    busy = Lateness()
    missing = [] if ticker.knows_run_queue else ["run-queue wait"]
    if idle.p999_ms() > MOST_IDLE_MS:
        missing.append("a quiet machine")
    stolen = stolen_ms()
    locker = Helper("lock", ctx.folder / "small.db", 0.02, 0.01)
    dropper = Helper("drop", ctx.database)
    let_go_ns: list[int] = []
    with locker, dropper:
        for name, load in _loads(ctx, conn, small, dropper, let_go_ns).items():
            try:
                got = await _phase(load, ctx.scale(1.5, 0.2))
            except Exception as error:  # each peer fails in its own way; the row goes on
                missing.append(f"{name} ({type(error).__name__})")
                continue
            details[f"{name}_p999_ms"] = got.p999_ms()
            details[f"{name}_max_ms"] = got.max_ms()
            busy.add(got)
    await peer.close(small)
    await peer.close(conn)
    details |= {
        "max_ms": busy.max_ms(),
        "p999_ms": busy.p999_ms(),
        "run_queue_total_ms": sum(busy.queued) / 1e6,
        "run_queue_max_ms": max(busy.queued) / 1e6,
        "collections_total_ms": sum(busy.collected) / 1e6,
        "collections_max_ms": max(busy.collected) / 1e6,
        "stolen_total_ms": stolen_ms() - stolen,
        "ticks": len(busy.late),
        "let_go_max_ms": max(let_go_ns, default=0) / 1e6,
    }
    return Sample(max(0.0, busy.p999_ms() - idle.p999_ms()), details, None, tuple(missing))


ROWS = (
    Row(
        name="loop_stall",
        title="loop stall: p99.9 lateness of a 1 ms timer above idle, while heavy work runs",
        unit="ms",
        run=run,
        database="large",
        peers=ASYNC_ONLY,
        targets=(Bound("", 1.5, "ms"), Bound("max_ms", 10, "ms")),
        ratios=False,
    ),
)
