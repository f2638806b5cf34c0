"""16 writers with transactions of 2 ms: how long the unluckiest wait, against their fair share.

Each has its own connection: BEGIN IMMEDIATE (this waits), an insert, 2 ms of something else,
COMMIT, without a sync of the disk. In turns each would wait for the fifteen others, so the fair
share is fifteen times what a transaction takes from its begin to its end. The value is p99.9 of
the waiting divided by that.
`sqlite3` has a thread for each writer. looplite's are meant to wait in line before SQLite, not in
it: nearly each of them, as there are sixteen.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path
from time import perf_counter

from harness.data import INSERT_ITEM, item
from harness.measure import mean, percentile
from harness.peers import Peer
from harness.spec import Bound, Context, Row, Sample

WRITERS = 16
HOLD = 0.002
TIMEOUT = 60.0
# Of looplite's transactions, so many have to have waited in line.
LEAST_IN_LINE = 0.8
# WAL: commits are not synced, checkpoints are.
NO_SYNC = "PRAGMA synchronous = NORMAL"


async def _writer(
    peer: Peer, conn: object, until: float, waits: list[float], held: list[float]
) -> None:
    while (asked := perf_counter()) < until:
        await peer.execute(conn, "BEGIN IMMEDIATE")
        began = perf_counter()
        await peer.write_each(conn, INSERT_ITEM, [item(1)])
        await asyncio.sleep(HOLD)
        await peer.commit(conn)
        waits.append(began - asked)
        held.append(perf_counter() - began)


def _thread(path: Path, until: float, waits: list[float], held: list[float]) -> None:
    conn = sqlite3.connect(path, timeout=TIMEOUT)
    conn.execute(NO_SYNC)
    while (asked := perf_counter()) < until:
        conn.execute("BEGIN IMMEDIATE")
        began = perf_counter()
        conn.execute(INSERT_ITEM, item(1))
        time.sleep(HOLD)
        conn.commit()
        waits.append(began - asked)
        held.append(perf_counter() - began)
    conn.close()


def _threads(path: Path, seconds: float, waits: list[float], held: list[float]) -> None:
    until = perf_counter() + seconds
    threads = [
        threading.Thread(target=_thread, args=(path, until, waits, held)) for _ in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def run(ctx: Context) -> Sample:
    """Some seconds; how long everybody waited."""
    waits: list[float] = []
    held: list[float] = []
    seconds = ctx.scale(4.0, 0.4)
    in_line: float | None = None
    began = perf_counter()
    if ctx.peer_name == "sqlite3":
        _threads(ctx.database, seconds, waits, held)
    else:
        peer = ctx.peer
        conns = [await peer.open(ctx.database, TIMEOUT) for _ in range(WRITERS)]
        # The first BEGIN of a connection is also its first look at the file.
        for conn in conns:
            await peer.execute(conn, NO_SYNC)
            await peer.rows(conn, "SELECT count(*) FROM sqlite_master")
        ctx.probe.counts("gate_waits")
        ctx.probe.begin()
        began = perf_counter()
        until = began + seconds
        await asyncio.gather(*(_writer(peer, conn, until, waits, held) for conn in conns))
        in_line = ctx.probe.end(len(waits))
        for conn in conns:
            await peer.close(conn)
    elapsed = perf_counter() - began
    fair = mean(held) * (WRITERS - 1)
    return Sample(
        percentile(waits, 99.9) / fair,
        {
            "fair_ms": fair * 1e3,
            "p50_ms": percentile(waits, 50) * 1e3,
            "p99_ms": percentile(waits, 99) * 1e3,
            "p999_ms": percentile(waits, 99.9) * 1e3,
            "max_ms": max(waits) * 1e3,
            "transactions": len(waits),
            "transactions_a_second": len(waits) / elapsed,
        },
        missing=() if in_line is None or in_line > LEAST_IN_LINE else ("the line before SQLite",),
    )


ROWS = (
    Row(
        name="writers",
        title="16 writers, 2 ms transactions: p99.9 waiting / fair share",
        unit="x",
        run=run,
        targets=(Bound("", 3.0, "x"),),
        ratios=False,
    ),
)
