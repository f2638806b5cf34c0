"""AsyncDBPool: at most so many, first come first served, nothing lost by a cancellation."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from looplite.crud import AsyncDBPool, apply_schema, fetch_all, fetch_scalar, insert, transaction
from support import looplite_only
from support.locks import make, rows
from support.loops import caught, turns, until

pytestmark = looplite_only


@pytest.fixture
def path(path: Path) -> Path:
    make(path, "PRAGMA journal_mode = WAL; CREATE TABLE t(x NOT NULL)")
    return path


def found(path: Path) -> list[object]:
    return [x for (x,) in rows(path, "SELECT x FROM t ORDER BY x")]


def test_connections_are_lent_and_kept(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        async with AsyncDBPool(path, max_connections=2) as pool:
            assert (pool.in_use, pool.idle, pool.waiting) == (0, 0, 0)
            async with pool.acquire() as one:
                assert (pool.in_use, pool.idle) == (1, 0)
                async with pool.acquire() as two:
                    assert one is not two
            assert (pool.in_use, pool.idle) == (0, 2)
            async with pool.acquire() as again:
                assert again in (one, two)
                assert (await fetch_all(again, "SELECT 1 AS a"))[0]["a"] == 1
        assert one.closed
        assert two.closed

    run(main)


def test_the_block_commits_or_rolls_back(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        async with AsyncDBPool(path, 1) as pool:
            async with pool.acquire() as db:
                await insert(db, "t", {"x": 1})
            assert found(path) == [1]
            with pytest.raises(sqlite3.IntegrityError):  # noqa: PT012
                async with pool.acquire() as db:
                    await insert(db, "t", {"x": 2})
                    await insert(db, "t", {"x": None})
            async with pool.acquire() as db:
                assert not db.in_transaction
                await db.execute("BEGIN")
                await insert(db, "t", {"x": 3})
                db.row_factory = None
            async with pool.acquire() as db, transaction(db):
                assert (await fetch_all(db, "SELECT x FROM t WHERE x = 3"))[0]["x"] == 3
            assert found(path) == [1, 3]

    run(main)


def test_release_rolls_back_and_says_so(path: Path) -> None:
    async def main() -> None:
        async with AsyncDBPool(path, 1) as pool:
            db = await pool.acquire()
            await insert(db, "t", {"x": 1})
            await db.commit()
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                await pool.release(db)
                assert told == []
                db = await pool.acquire()
                await insert(db, "t", {"x": 2})
                await pool.release(db)
            assert [str(each.message) for each in told] == [
                "a connection went back to the pool with a transaction open, which was rolled back"
            ]
            assert told[0].filename == __file__
            with pytest.raises(ValueError, match="not one that the pool has lent"):
                await pool.release(db)
            assert pool.idle == 1

    asyncio.run(main())
    assert found(path) == [1]


def test_first_come_first_served(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        served: list[int] = []
        async with AsyncDBPool(path, 2) as pool:

            async def caller(n: int) -> None:
                async with pool.acquire() as db:
                    served.append(n)
                    await fetch_scalar(db, "SELECT 1")
                    await turns(n % 3)

            first = [await pool.acquire(), await pool.acquire()]
            tasks = [asyncio.ensure_future(caller(n)) for n in range(20)]
            await turns(2)
            assert pool.waiting == 20
            # One that comes now does not overtake those who wait.
            await pool.release(first[0])
            tasks.append(asyncio.ensure_future(caller(20)))
            await pool.release(first[1])
            await asyncio.gather(*tasks)
            assert served == list(range(21))
            assert (pool.in_use, pool.idle, pool.waiting) == (0, 2, 0)

    run(main)


def test_cancelled_waiters_lose_nothing(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        async with AsyncDBPool(path, 1) as pool:
            held = await pool.acquire()

            async def caller() -> None:
                async with pool.acquire():
                    pass

            waits, given, third = (asyncio.ensure_future(caller()) for _ in range(3))
            await turns(2)
            waits.cancel()
            await turns(2)
            assert pool.waiting == 2
            await pool.release(held)
            given.cancel()  # it has been given the connection, and does not know yet
            assert isinstance(await caught(waits), asyncio.CancelledError)
            assert isinstance(await caught(given), asyncio.CancelledError)
            await third
            assert (pool.in_use, pool.idle, pool.waiting) == (0, 1, 0)

    run(main)


def test_callers_cancelled_at_random(run: Callable[..., Any], path: Path) -> None:
    """Whoever is cancelled wherever: all permits are there at the end, and what was written is that
    of the blocks that ended.
    """
    seed = random.randrange(2**32)
    print("seed", seed)

    async def main() -> None:
        dice = random.Random(seed)
        done: set[int] = set()
        maybe: set[int] = set()
        async with AsyncDBPool(path, 3) as pool:

            async def caller(n: int) -> None:
                async with pool.acquire() as db:
                    await insert(db, "t", {"x": n})
                    await turns(n % 4)
                    maybe.add(n)
                done.add(n)

            tasks = []
            for n in range(60):
                tasks.append(asyncio.ensure_future(caller(n)))
                await turns(dice.randrange(3))
                if dice.random() < 0.7:
                    dice.choice(tasks).cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(r) for r in results} <= {type(None), asyncio.CancelledError}
            assert (pool.in_use, pool.waiting) == (0, 0)
            free = [await pool.acquire() for _ in range(3)]
            for db in free:
                assert not db.in_transaction
                await pool.release(db)
        kept = set(found(path))
        assert done <= kept <= maybe

    run(main)


def test_a_connection_that_cannot_be_opened_gives_its_place_back(tmp_path: Path) -> None:
    folder = tmp_path / "later"

    async def main() -> None:
        async with AsyncDBPool(folder / "a.db", 1) as pool:
            for _ in range(3):
                with pytest.raises(sqlite3.OperationalError, match="unable to open"):
                    async with pool.acquire():
                        pass
            folder.mkdir()
            async with pool.acquire() as db:
                assert await fetch_scalar(db, "SELECT 1") == 1

    asyncio.run(main())


def test_a_connection_that_was_closed_is_replaced(path: Path) -> None:
    async def main() -> None:
        async with AsyncDBPool(path, 1) as pool:
            async with pool.acquire() as db:
                await db.close()
            assert pool.idle == 0
            async with pool.acquire() as other:
                assert other is not db
            await other.close()
            async with pool.acquire() as third:
                assert await fetch_scalar(third, "SELECT 1") == 1

    asyncio.run(main())


def test_close_all(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        pool = AsyncDBPool(path, 2)
        held: Any = await pool.acquire()
        async with pool.acquire() as idle:
            pass
        other = await pool.acquire()
        waiting = [asyncio.ensure_future(pool.acquire().__aenter__()) for _ in range(2)]
        await until(lambda: pool.waiting == 2)
        await pool.release(other)
        await until(lambda: pool.waiting == 1)
        await turns(2)
        await pool.close_all()
        assert idle is other
        error = await caught(waiting[1])
        assert isinstance(error, RuntimeError)
        assert str(error) == "the pool was closed"
        given = await waiting[0]
        with pytest.raises(RuntimeError, match="the pool was closed"):
            await pool.acquire()
        assert not held.closed
        await insert(held, "t", {"x": 1})
        await held.commit()
        await pool.release(held)
        await pool.release(given)
        assert held.closed
        assert given.closed
        await pool.close_all()

    run(main)
    assert found(path) == [1]


def test_a_database_in_memory_is_one_for_all_of_the_pool() -> None:
    async def main() -> None:
        async with AsyncDBPool(":memory:", 3) as pool, AsyncDBPool(":memory:") as other:
            async with pool.acquire() as db:
                await apply_schema(db, "CREATE TABLE t(x)")
            async with pool.acquire() as one, pool.acquire() as two:
                await insert(one, "t", {"x": 1})
                await one.commit()
                assert await fetch_scalar(two, "SELECT count(*) FROM t") == 1
            async with other.acquire() as db:
                assert await fetch_scalar(db, "SELECT count(*) FROM sqlite_master") == 0

    asyncio.run(main())


def test_mistakes_are_told(path: Path) -> None:
    wrong: Any = "2"
    with pytest.raises(TypeError, match="max_connections must be an int, not str"):
        AsyncDBPool(path, wrong)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        AsyncDBPool(path, 0)

    async def main() -> None:
        async with AsyncDBPool(path) as pool:
            assert pool.max_connections == 5
            lease = pool.acquire()
            async with lease:
                with pytest.raises(RuntimeError, match="entered already"):
                    await lease.__aenter__()

    asyncio.run(main())
