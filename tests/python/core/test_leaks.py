"""Nothing is kept: ten thousand connections later there are no more objects, descriptors or threads
than before.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import IS_LOOPLITE, lib, looplite_only
from support.guard import descriptors
from support.locks import make
from support.loops import caught, settled, turns

Run = Callable[..., Any]

CYCLES = 10_000 if IS_LOOPLITE else 300


def resident() -> int:
    """Bytes of memory of this process; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_ten_thousand_open_and_close(run: Run, path: Path) -> None:
    make(path, "CREATE TABLE t(v); INSERT INTO t VALUES ('x')")

    async def cycle(number: int) -> None:
        db = await lib.connect(path)
        if number % 10 == 0:
            async with db.execute("SELECT v, ? FROM t", (number,)) as cursor:
                assert await cursor.fetchall() == [("x", number)]
        await db.close()

    async def main() -> None:
        for number in range(CYCLES // 10):
            await cycle(number)
        gc.collect()
        objects, memory = len(gc.get_objects()), resident()
        fds, threads = len(descriptors()), threading.active_count()
        for number in range(CYCLES):
            await cycle(number)
        gc.collect()
        assert settled(lambda: len(descriptors()) <= fds)
        assert settled(lambda: threading.active_count() <= threads)
        assert len(gc.get_objects()) - objects < 100
        # Far below what one leaked connection or statement each would come to.
        assert resident() - memory < 32 << 20

    run(main)


WORK: dict[str, Callable[[Any], Any]] = {}


def work(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    WORK[function.__name__] = function
    return function


@work
async def reads(db: Any) -> None:
    async with db.execute("SELECT v, ?, x'00', 1.5 FROM t", ("p" * 100,)) as cursor:
        await cursor.fetchall()


@work
async def half_read(db: Any) -> None:
    cursor = await db.execute("SELECT a.v FROM t a, t b, t c, t d")
    await cursor.fetchone()


@work
async def iterates(db: Any) -> None:
    async for _ in await db.execute("SELECT a.v FROM t a, t b"):
        break


@work
async def rows(db: Any) -> None:
    db.row_factory = sqlite3.Row
    async with db.execute("SELECT v AS a FROM t") as cursor:
        assert (await cursor.fetchall())[0]["a"] is not None
    db.row_factory = None


@work
async def writes(db: Any) -> None:
    await db.execute("INSERT INTO u VALUES (?)", (1,))
    await db.executemany("INSERT INTO u VALUES (?)", ((n,) for n in range(5)))
    await db.executescript("DELETE FROM u;")
    await db.rollback()


@work
async def errors(db: Any) -> None:
    for sql, parameters in (
        ("NONSENSE", ()),
        ("SELECT ?", ()),
        ("SELECT ?", (object(),)),
        ("SELECT :a", {"b": 1}),
        ("SELECT ?", (2**70,)),
        ("SELECT '\ud800'", ()),
        ("INSERT INTO one VALUES (1)", ()),
    ):
        assert isinstance(await caught(db.execute(sql, parameters)), Exception)
    assert isinstance(
        await caught(db.executemany("INSERT INTO u VALUES (?)", iter([(1,), (object(),)]))),
        Exception,
    )
    await db.rollback()


@work
async def awaitables(db: Any) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        db.execute("SELECT 1")
        db.execute("SELECT ?", ("never awaited",)).close()


@work
async def cancels(db: Any) -> None:
    import asyncio
    import contextlib

    task = asyncio.ensure_future(db.execute("SELECT v FROM t"))
    await turns()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@work
async def fails_to_connect(db: Any) -> None:
    for args, options in ((("no/such/folder/x.db",), {}), ((":memory:",), {"nonsense": 1})):
        assert isinstance(await caught(lib.connect(*args, **options)), Exception)


@pytest.mark.skipif(not IS_LOOPLITE, reason="aiosqlite's threads hold on to their last call")
@pytest.mark.parametrize("name", list(WORK))
def test_the_same_work_again_takes_no_more_memory(run: Run, path: Path, name: str) -> None:
    make(
        path,
        "CREATE TABLE t(v); CREATE TABLE u(v); CREATE TABLE one(v UNIQUE); INSERT INTO one VALUES (1);",  # noqa: E501
    )
    make(path, "INSERT INTO t VALUES ('a'), ('b'), ('c'), ('d'), ('e'), ('f')")

    async def main() -> None:
        async with lib.connect(path) as db:

            async def repeat(times: int) -> tuple[int, int]:
                for _ in range(times):
                    await WORK[name](db)
                await turns(3)
                gc.collect()
                return len(gc.get_objects()), sys.getallocatedblocks()

            await repeat(60)
            objects, blocks = await repeat(60)
            more_objects, more_blocks = await repeat(300)
        # A leak of one object or one block per round would show.
        assert more_objects - objects < 150
        assert more_blocks - blocks < 150

    run(main)


def test_a_dropped_connection_is_freed_at_once(run: Run) -> None:
    """No cycle between connection, engine and cursors: the last reference frees it, without the
    collector.
    """

    async def main() -> None:
        db = await lib.connect(":memory:")
        cursor = await db.execute("SELECT 1")
        await cursor.fetchall()
        await db.close()
        gone = weakref.ref(db)
        gc.disable()
        try:
            del cursor, db
            assert settled(lambda: gone() is None)
        finally:
            gc.enable()

    run(main)


def test_a_cursor_is_freed_at_once(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            cursor = await db.execute("SELECT 1")
            gone = weakref.ref(cursor)
            del cursor
            assert gone() is None

    run(main)


class Tracked(str):
    __slots__ = ("__weakref__",)


@looplite_only
def test_parameters_are_let_go(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            value = Tracked("value")
            gone = weakref.ref(value)
            cursor = await db.execute("SELECT ?", (value,))
            await cursor.fetchall()
            del value
            assert gone() is None

    run(main)


@looplite_only
def test_results_nobody_took_are_let_go(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            cursor = await db.execute(
                "WITH RECURSIVE c(x) AS (VALUES (0) UNION ALL SELECT x + 1 FROM c LIMIT 200000) SELECT hex(zeroblob(500)) FROM c"  # noqa: E501
            )
            await cursor.fetchone()
            before = resident()
            for _ in range(20):
                other = await db.execute(
                    "WITH RECURSIVE c(x) AS (VALUES (0) UNION ALL SELECT x + 1 FROM c LIMIT 200000) SELECT hex(zeroblob(500)) FROM c"  # noqa: E501
                )
                await other.fetchone()
                await other.close()
            # Twenty whole results would be 4 GB; what is fetched ahead has a bound.
            assert resident() - before < 256 << 20

    run(main)


@looplite_only
def test_cycles_through_factories_are_collected(run: Run) -> None:
    async def main() -> None:
        db = await lib.connect(":memory:")
        holder = [db]

        class Factory:
            def __init__(self) -> None:
                self.db = holder[0]

            def __call__(self, cursor: Any, row: tuple[Any, ...]) -> Any:
                return row

        factory = Factory()
        gone = weakref.ref(factory)
        db.row_factory = factory
        cursor = await db.execute("SELECT 1")
        assert await cursor.fetchall() == [(1,)]
        await db.close()
        del factory, cursor
        holder.clear()

        def collected() -> bool:
            gc.collect()
            return gone() is None

        assert collected() or settled(collected, 50)

    run(main)
