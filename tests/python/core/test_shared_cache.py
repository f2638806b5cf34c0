"""A true shared cache has one mutex for all its connections, which a worker may hold for long while
it waits for the GIL: nothing of such a connection may run on the loop, which holds the GIL.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from support import lib, looplite_only

Run = Callable[..., Any]


async def hits_of_reads(database: str, **options: Any) -> int:
    async with lib.connect(database, **options) as db:
        await db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY)")
        await db.execute("INSERT INTO t VALUES (1)")
        await db.commit()
        before: int = lib.stats()["inline_hits"]
        for _ in range(20):
            assert await db.execute_fetchall("SELECT a FROM t WHERE a = 1") == [(1,)]
        after: int = lib.stats()["inline_hits"]
        return after - before


@looplite_only
@pytest.mark.parametrize(
    "database", ["file::memory:?cache=shared", "file:shared_one?mode=memory&cache=shared"]
)
def test_shared_cache_stays_off_the_loop(run: Run, database: str) -> None:
    async def main() -> None:
        assert await hits_of_reads(database, uri=True) == 0

    run(main)


@looplite_only
def test_private_memory_does_not(run: Run) -> None:
    async def main() -> None:
        assert await hits_of_reads(":memory:") > 0

    run(main)


def uri(name: str) -> str:
    return f"file:{name}?mode=memory&cache=shared"


@looplite_only
def test_many_connections_and_tasks(run: Run) -> None:
    """Nothing fails with "database table is locked", though everybody writes to one table."""
    connections, tasks = 6, 5

    async def work(db: Any, who: int) -> None:
        for x in range(10):
            await db.execute("INSERT INTO t VALUES (?, ?)", (who, x))
            await db.commit()
            async with db.execute("SELECT count(*) FROM t WHERE who = ?", (who,)) as cursor:
                assert (await cursor.fetchone())[0] >= x + 1

    async def main() -> None:
        dbs = [await lib.connect(uri("many"), uri=True) for _ in range(connections)]
        await asyncio.gather(*(db.execute("CREATE TABLE IF NOT EXISTS t(who, x)") for db in dbs))
        await asyncio.gather(
            *(
                work(db, tasks * number + task)
                for number, db in enumerate(dbs)
                for task in range(tasks)
            )
        )
        rows = await dbs[-1].execute_fetchall("SELECT who, count(*) FROM t GROUP BY who")
        assert dict(rows) == dict.fromkeys(range(connections * tasks), 10)
        for db in dbs:
            await db.close()

    run(main)


@looplite_only
def test_a_python_function_in_a_scan_beside_reads(run: Run) -> None:
    """The scan holds the mutex of the cache while it waits for the GIL; the loop has the GIL."""

    calls = 0

    def slowly(value: int) -> int:
        nonlocal calls
        calls += 1
        return sum(range(100)) * 0 + value

    class WithFunction(sqlite3.Connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.create_function("slowly", 1, slowly)

    async def main() -> None:
        async with lib.connect(uri("scan"), uri=True, factory=WithFunction) as scans:
            await scans.execute("CREATE TABLE t(a INTEGER PRIMARY KEY)")
            await scans.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(3000)])
            await scans.commit()
            async with lib.connect(uri("scan"), uri=True) as reads:
                before = lib.stats()
                scan = asyncio.ensure_future(scans.execute_fetchall("SELECT sum(slowly(a)) FROM t"))
                done = 0
                while not scan.done():
                    (row,) = await reads.execute_fetchall("SELECT a FROM t WHERE a = 7")
                    assert row == (7,)
                    done += 1
                    await asyncio.sleep(0)
                assert await scan == [(sum(range(3000)),)]
                assert calls == 3000
                assert done > 0
                after = lib.stats()
                assert after["inline_hits"] == before["inline_hits"]

    run(main)


@looplite_only
def test_an_open_transaction_is_waited_for(run: Run) -> None:
    async def main() -> None:
        async with (
            lib.connect(uri("wait"), uri=True) as writes,
            lib.connect(uri("wait"), uri=True) as reads,
        ):
            await writes.execute("CREATE TABLE t(a)")
            await writes.execute("INSERT INTO t VALUES (1)")
            before = lib.stats()["gate_waits"]
            read = asyncio.ensure_future(reads.execute_fetchall("SELECT a FROM t"))
            while lib.stats()["gate_waits"] == before:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert not read.done()
            await writes.commit()
            assert await read == [(1,)]

    run(main)


@looplite_only
def test_no_longer_than_the_timeout(run: Run) -> None:
    async def main() -> None:
        async with (
            lib.connect(uri("timeout"), uri=True) as writes,
            lib.connect(uri("timeout"), uri=True, timeout=0.05) as reads,
        ):
            await writes.execute("CREATE TABLE t(a)")
            await writes.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(lib.OperationalError, match="table is locked: t"):
                await reads.execute_fetchall("SELECT a FROM t")
            await writes.commit()
            assert await reads.execute_fetchall("SELECT a FROM t") == [(1,)]

    run(main)


@looplite_only
def test_shared_with_plain_sqlite3(run: Run) -> None:
    """The same cache as that of sqlite3 in the same process: the name and the VFS are the same."""

    async def main() -> None:
        async with lib.connect(uri("plain"), uri=True) as db:
            await db.execute("CREATE TABLE t(a)")
            await db.commit()
            plain = sqlite3.connect(uri("plain"), uri=True)
            plain.execute("INSERT INTO t VALUES (5)")
            plain.commit()
            assert await db.execute_fetchall("SELECT a FROM t") == [(5,)]
            plain.close()

    run(main)
