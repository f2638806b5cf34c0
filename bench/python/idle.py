"""1 000 idle connections, each of which has read one row: threads and memory each.

Memory is the growth of the resident set, in KB for each connection; the target is what looplite
takes more than `sqlite3.connect` does.
"""

from __future__ import annotations

import resource
from pathlib import Path

from harness.data import READ_ITEM
from harness.peers import UnsupportedError
from harness.spec import Bound, Context, Extra, Row, Sample

CONNECTIONS = 1000
# Descriptors of a connection: the database, its WAL, and for some a pipe or an eventfd.
DESCRIPTORS_EACH = 6


def _status() -> dict[str, int]:
    """Threads, and resident memory in KB."""
    status = Path("/proc/self/status")
    if not status.exists():
        raise UnsupportedError("no /proc on this system")
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return {name: int(fields[name].split()[0]) for name in ("Threads", "VmRSS")}


def _allow_descriptors(count: int) -> int:
    """Raises the limit; gives how many connections fit under it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count * DESCRIPTORS_EACH + 200
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return min(count, (limit - 200) // DESCRIPTORS_EACH)


async def run(ctx: Context) -> Sample:
    """Opens all, lets each read once, looks, closes."""
    peer = ctx.peer
    count = _allow_descriptors(ctx.count(CONNECTIONS, 100))
    # What is made once for all connections is there before the count begins.
    first = await peer.open(ctx.database)
    await peer.read_each(first, READ_ITEM, [1])
    before = _status()
    conns = []
    for _ in range(count):
        conns.append(await peer.open(ctx.database))
    opened = _status()
    for conn in conns:
        await peer.read_each(conn, READ_ITEM, [1])
    after = _status()
    for conn in (*conns, first):
        await peer.close(conn)
    return Sample(
        (after["VmRSS"] - before["VmRSS"]) / count,
        {
            "threads_each": (after["Threads"] - before["Threads"]) / count,
            "kb_each_when_opened": (opened["VmRSS"] - before["VmRSS"]) / count,
            "connections": count,
        },
    )


ROWS = (
    Row(
        name="idle",
        title="1 000 idle connections: memory each (threads in the details)",
        unit="KB",
        run=run,
        targets=(Extra("sqlite3", 20, "KB"), Bound("threads_each", 0.1, "threads")),
        ratios=False,
    ),
)
