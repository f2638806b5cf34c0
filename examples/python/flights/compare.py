"""The same work on the same file with `sqlite3` (synchronous), aiosqlite and looplite.

Every piece of work is done by all libraries in turn, several times over, so that a machine that
grows slower or faster meanwhile does so for all of them; medians are shown.
"""

from __future__ import annotations

import gc
import random
import sqlite3
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import looplite

from .lateness import Lateness
from .load import FLIGHTS
from .serve import together
from .text import Progress, cell, fine, heading, table

aiosqlite: Any = None
with suppress(ImportError):
    aiosqlite = import_module("aiosqlite")

TASKS = 100
READS = 1_000  # done again and again until READ_SECONDS are over
READ_SECONDS = 0.2
TIME_LIMIT = 40.0  # seconds; a slow machine does fewer rounds
INSERTS = 10_000

POINT = "SELECT id, carrier, flight, origin, dest, dep_delay FROM flights WHERE id = ?"
ALL = (
    "SELECT id, month, day, dep_delay, arr_delay, carrier, flight, tailnum, origin, dest,"
    " distance FROM flights"
)
INSERT = "INSERT INTO compare(flight_id, note) VALUES (?, ?)"


class CompareError(Exception):
    """A library gave a wrong answer."""


def expect(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise CompareError(f"{what}: {found!r}, not {expected!r}")


class Synchronous:
    """`sqlite3` as one calls it from a coroutine: it holds the loop until it is done."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)

    async def point_reads(self, keys: list[int]) -> None:
        for key in keys:
            row = self.db.execute(POINT, (key,)).fetchone()
            expect(row[0], key, "point read")

    async def fetch_all(self) -> list[Any]:
        return self.db.execute(ALL).fetchall()

    async def insert(self, rows: list[tuple[int, str]]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        for row in rows:
            self.db.execute(INSERT, row)
        self.db.execute("COMMIT")

    async def close(self) -> None:
        self.db.close()


class Asynchronous:
    """aiosqlite and looplite: the same calls for both."""

    def __init__(self, db: Any) -> None:
        self.db = db

    async def point_reads(self, keys: list[int]) -> None:
        for key in keys:
            async with self.db.execute(POINT, (key,)) as cursor:
                row = await cursor.fetchone()
            expect(row[0], key, "point read")

    async def fetch_all(self) -> list[Any]:
        async with self.db.execute(ALL) as cursor:
            rows: list[Any] = await cursor.fetchall()
        return rows

    async def insert(self, rows: list[tuple[int, str]]) -> None:
        await self.db.execute("BEGIN IMMEDIATE")
        for row in rows:
            await self.db.execute(INSERT, row)
        await self.db.execute("COMMIT")

    async def close(self) -> None:
        await self.db.close()


Library = Synchronous | Asynchronous


async def point_reads(library: Library, tasks: int) -> float:
    keys = random.choices(range(1, FLIGHTS + 1), k=READS)
    done, took, started = 0, 0.0, time.perf_counter()
    while took < READ_SECONDS:
        await together(*(library.point_reads(keys[i::tasks]) for i in range(tasks)))
        done, took = done + READS, time.perf_counter() - started
    return took / done * 1e6


async def one_task(library: Library) -> float:
    return await point_reads(library, 1)


async def many_tasks(library: Library) -> float:
    return await point_reads(library, TASKS)


async def fetch_all(library: Library) -> float:
    started = time.perf_counter()
    rows = await library.fetch_all()
    took = (time.perf_counter() - started) * 1e3
    expect(len(rows), FLIGHTS, "rows of fetchall")
    return took


async def stall(library: Library) -> float:
    async with Lateness() as late:
        rows = await library.fetch_all()
    # Only now may the rows go: freeing so many takes a while, which is no library's doing.
    expect(len(rows), FLIGHTS, "rows of fetchall")
    return late.longest


async def inserts(library: Library) -> float:
    rows = [(i, f"row {i}") for i in range(INSERTS)]
    started = time.perf_counter()
    await library.insert(rows)
    return (time.perf_counter() - started) * 1e3


class Work(NamedTuple):
    text: str
    run: Callable[[Library], Awaitable[float]]


WORK = (
    Work("point read, one task, us", one_task),
    Work(f"point read, {TASKS} tasks, us", many_tasks),
    Work("fetchall of all flights, ms", fetch_all),
    Work("longest loop stall meanwhile, ms", stall),
    Work(f"{cell(INSERTS)} awaited inserts, one transaction, ms", inserts),
)


def prepare(path: Path) -> None:
    """An empty table for the inserts, made and dropped outside what is measured."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("DROP TABLE IF EXISTS compare")
    db.execute("CREATE TABLE compare(id INTEGER PRIMARY KEY, flight_id INTEGER, note TEXT)")
    db.close()


def settle(path: Path, libraries: int, rounds: int) -> None:
    """Check that each library's rows are there, then drop them."""
    db = sqlite3.connect(path, isolation_level=None)
    (count,) = db.execute("SELECT count(*) FROM compare").fetchone()
    db.execute("DROP TABLE compare")
    db.close()
    expect(count, INSERTS * libraries * rounds, "rows inserted by all libraries")


async def compare(path: Path, rounds: int) -> None:
    heading("Side by side on this file")
    prepare(path)
    async with AsyncExitStack() as stack:
        libraries: dict[str, Library] = {"sqlite3": Synchronous(path)}
        if aiosqlite is not None:
            libraries["aiosqlite"] = Asynchronous(
                await aiosqlite.connect(path, isolation_level=None)
            )
        libraries["looplite"] = Asynchronous(await looplite.connect(path, isolation_level=None))
        for library in libraries.values():
            stack.push_async_callback(library.close)
            await library.point_reads(list(range(1, FLIGHTS, 100)))  # fill its page cache

        figures: dict[tuple[str, str], list[float]] = {}
        started, done = time.perf_counter(), 0
        with Progress("comparing", rounds * len(WORK) * len(libraries)) as bar:
            while done < rounds and time.perf_counter() - started < TIME_LIMIT:
                names = list(libraries)
                names = names[done % len(names) :] + names[: done % len(names)]
                for work in WORK:
                    for name in names:
                        gc.collect()
                        figure = await work.run(libraries[name])
                        figures.setdefault((work.text, name), []).append(figure)
                        bar.advance(1)
                done += 1
    settle(path, len(libraries), done)
    table(
        ("", "sqlite3", "aiosqlite", "looplite", "sqlite3 / looplite", "aiosqlite / looplite"),
        [line(work.text, figures) for work in WORK],
    )
    print(
        f"  Medians of {done} {'round' if done == 1 else 'rounds'}; smaller is better, and a ratio"
        " above 1 is in looplite's favour."
    )
    print(
        f"  sqlite3 is synchronous: its {TASKS} tasks run one after another, and nothing else runs."
    )


def line(text: str, figures: dict[tuple[str, str], list[float]]) -> list[str]:
    medians = {
        name: statistics.median(figures[text, name])
        for name in ("sqlite3", "aiosqlite", "looplite")
        if (text, name) in figures
    }
    ours = medians["looplite"]

    def show(name: str) -> str:
        return fine(medians[name]) if name in medians else "not installed"

    def ratio(name: str) -> str:
        return f"{fine(medians[name] / ours)} x" if name in medians else "-"

    shown = [show(name) for name in ("sqlite3", "aiosqlite", "looplite")]
    return [text, *shown, ratio("sqlite3"), ratio("aiosqlite")]
