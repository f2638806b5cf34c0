"""One event loop serves 100 readers, a writer and a scanner at once.

Each reader is a client that thinks for some milliseconds, then asks: mostly for one flight by its
key, sometimes for a small sum over a route and day, or over a plane's year. The writer notes
flights in a table `watch` and commits each note. The scanner streams the whole table of flights
again and again. Every answer is checked against what was asked. All the while a timer set to
1 ms tells how long the loop was held up.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import looplite

from .lateness import Lateness
from .load import FLIGHTS
from .text import Progress, cell, fine, heading, table

READERS = 100
CONNECTIONS = 4  # which the readers share
THINK = 0.010  # seconds a reader pauses at most between two questions
WRITE_PAUSE = 0.002
IDLE_SECONDS = 0.5
SEED = 2013

POINT = "SELECT id, carrier, flight, origin, dest, dep_delay FROM flights WHERE id = ?"
ROUTE_DAY = (
    "SELECT count(*), avg(dep_delay), max(dep_delay) FROM flights"
    " WHERE origin = ? AND dest = ? AND month = ? AND day = ?"
)
PLANE_YEAR = "SELECT count(*), sum(distance), min(tailnum) FROM flights WHERE tailnum = ?"
SCAN = "SELECT id, dep_delay, distance FROM flights"


class ServeError(Exception):
    """An answer was wrong."""


@dataclass
class Tally:
    """What the tasks did."""

    ends: float
    latency: dict[str, list[float]] = field(
        default_factory=lambda: {"point read": [], "aggregate": [], "commit": []}
    )
    scans: int = 0
    scanned: int = 0

    def is_over(self) -> bool:
        return time.perf_counter() >= self.ends


async def read(db: looplite.Connection, tally: Tally, seed: int) -> None:
    """One client: think, ask, check the answer."""
    rng = random.Random(seed)
    flight = await ask(db, tally, "point read", POINT, rng.randint(1, FLIGHTS))
    while not tally.is_over():
        await asyncio.sleep(rng.random() * THINK)
        turn = rng.random()
        if turn < 0.1:
            month, day = rng.randint(1, 12), rng.randint(1, 28)
            _, _, _, origin, dest, _ = flight
            row = await ask(db, tally, "aggregate", ROUTE_DAY, origin, dest, month, day)
            if row[0] == 0 and row[1:] != (None, None):
                raise ServeError(f"no flights, and yet a delay: {row}")
        elif turn < 0.2:
            tail = f"N{rng.randint(100, 999)}UA"
            row = await ask(db, tally, "aggregate", PLANE_YEAR, tail)
            if row[2] not in (None, tail):
                raise ServeError(f"asked for {tail}, answered {row[2]}")
        else:
            key = rng.randint(1, FLIGHTS)
            flight = await ask(db, tally, "point read", POINT, key)
            if flight[0] != key:
                raise ServeError(f"asked for flight {key}, answered {flight}")


async def ask(
    db: looplite.Connection, tally: Tally, kind: str, sql: str, *parameters: object
) -> tuple[Any, ...]:
    started = time.perf_counter()
    async with db.execute(sql, parameters) as cursor:
        row = await cursor.fetchone()
    tally.latency[kind].append(time.perf_counter() - started)
    if row is None:
        raise ServeError(f"no answer to {sql!r} with {parameters}")
    return tuple(row)


async def write(db: looplite.Connection, tally: Tally) -> int:
    """Note flights and look at them again, each statement a transaction of its own."""
    rng = random.Random(SEED)
    noted = seen = 0
    while not tally.is_over():
        started = time.perf_counter()
        if noted == 0 or rng.random() < 0.5:
            noted += 1
            cursor = await db.execute(
                "INSERT INTO watch(flight_id, note) VALUES (?, ?)",
                (rng.randint(1, FLIGHTS), f"note {noted}"),
            )
            changed = int(cursor.lastrowid == noted)
        else:
            seen += 1
            cursor = await db.execute(
                "UPDATE watch SET seen = seen + 1 WHERE id = ?", (rng.randint(1, noted),)
            )
            changed = cursor.rowcount
        await cursor.close()
        tally.latency["commit"].append(time.perf_counter() - started)
        if changed != 1:
            raise ServeError(f"write {noted + seen} to the table watch did not take place")
        await asyncio.sleep(WRITE_PAUSE)
    async with db.execute("SELECT count(*), total(seen) FROM watch") as cursor:
        found = await cursor.fetchone()
    if found is None or tuple(found) != (noted, seen):
        raise ServeError(f"wrote {noted} notes, seen {seen} times, but the table says {found}")
    return noted


async def scan(db: looplite.Connection, tally: Tally) -> None:
    """Stream all flights, again and again; the last round may be cut short."""
    while not tally.is_over():
        rows = miles = 0
        async with db.execute(SCAN) as cursor:
            async for _, _, distance in cursor:
                rows += 1
                miles += distance
                if rows % 1_000 == 0 and tally.is_over():
                    break
        tally.scanned += rows
        if not tally.is_over():
            tally.scans += 1
            if rows != FLIGHTS:
                raise ServeError(f"a scan saw {rows} flights, not {FLIGHTS}")


async def show_time(tally: Tally, seconds: float) -> None:
    """A bar that tells how much of the time is over."""
    with Progress("serving", round(seconds * 10)) as bar:
        while not tally.is_over():
            await asyncio.sleep(0.1)
            bar.advance(1)


async def together(*jobs: Coroutine[Any, Any, Any]) -> None:
    """Run all jobs; when one fails the others are cancelled, and awaited, first."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def serve(path: Path, seconds: float) -> None:
    heading(f"{READERS} readers, a writer and a scanner on one event loop, {seconds:g} s")
    async with Lateness() as idle:
        await asyncio.sleep(IDLE_SECONDS)
    async with AsyncExitStack() as stack:

        async def connect() -> looplite.Connection:
            return await stack.enter_async_context(looplite.connect(path, isolation_level=None))

        readers = [await connect() for _ in range(CONNECTIONS)]
        writer, scanner = await connect(), await connect()
        await writer.executescript(
            "DROP TABLE IF EXISTS watch;"
            "CREATE TABLE watch(id INTEGER PRIMARY KEY, flight_id INTEGER REFERENCES flights,"
            " note TEXT NOT NULL, seen INTEGER NOT NULL DEFAULT 0);"
        )
        tally = Tally(ends=time.perf_counter() + seconds)
        async with Lateness() as late:
            await together(
                *(read(readers[i % CONNECTIONS], tally, SEED + i) for i in range(READERS)),
                write(writer, tally),
                scan(scanner, tally),
                show_time(tally, seconds),
            )
    report(tally, seconds, idle, late)


def report(tally: Tally, seconds: float, idle: Lateness, late: Lateness) -> None:
    rows: list[tuple[object, ...]] = []
    for kind, times in tally.latency.items():
        times.sort()
        if times:
            median, p99 = (times[int((len(times) - 1) * share)] * 1e3 for share in (0.5, 0.99))
            rows.append((kind, len(times), round(len(times) / seconds), fine(median), fine(p99)))
    table(("", "done", "a second", "median, ms", "p99, ms"), rows)
    print(
        f"  {cell(tally.scanned)} rows streamed, {cell(round(tally.scanned / seconds))} a second,"
        f" {tally.scans} whole scans; every answer was checked"
    )
    print("\n  How late a 1 ms timer on the loop fired, in ms:")
    table(
        ("", "median", "p99.9", "longest", "of it waiting for a CPU", "ticks"),
        [
            (name, *map(fine, (each.median, each.p999, each.longest, each.without_cpu)), each.ticks)
            for name, each in (("idle loop", idle), ("while serving", late))
        ],
    )
