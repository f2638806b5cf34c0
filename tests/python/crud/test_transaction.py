"""Blocks: committed whole or not at all, nested, under cancellation, by several tasks."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiosqlite
import looplite
import pytest
from looplite.crud import fetch_all, get_db, insert, insert_many, transaction
from support import looplite_only
from support.locks import make, probe, rows, write_lock
from support.loops import caught, turns, until

pytestmark = looplite_only


@pytest.fixture
def path(path: Path) -> Path:
    make(path, "PRAGMA journal_mode = WAL; CREATE TABLE t(x UNIQUE)")
    return path


def found(path: Path) -> list[object]:
    return [x for (x,) in rows(path, "SELECT x FROM t ORDER BY x")]


async def add(db: Any, x: object) -> None:
    await db.execute("INSERT INTO t VALUES (?)", (x,))


def test_commit_and_rollback(
    run: Callable[..., Any], connect: Callable[..., Any], path: Path
) -> None:
    async def main() -> None:
        async with connect(path) as db:
            async with transaction(db) as same:
                assert same is db
                await add(db, 1)
                assert found(path) == []
            assert found(path) == [1]
            assert not db.in_transaction
            with pytest.raises(LookupError, match="mine"):  # noqa: PT012
                async with transaction(db):
                    await add(db, 2)
                    raise LookupError("mine")
            assert not db.in_transaction
            assert found(path) == [1]

    run(main)


def test_blocks_nest(run: Callable[..., Any], connect: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        async with connect(path) as db:
            async with transaction(db):
                await add(db, 1)
                async with transaction(db):
                    await add(db, 2)
                    with pytest.raises(LookupError):  # noqa: PT012
                        async with transaction(db):
                            await add(db, 3)
                            raise LookupError
                    await add(db, 4)
                    async with transaction(db):
                        await add(db, 5)
                with pytest.raises(sqlite3.IntegrityError):  # noqa: PT012
                    async with transaction(db):
                        await add(db, 6)
                        await add(db, 1)
                assert found(path) == []
            assert found(path) == [1, 2, 4, 5]
            with pytest.raises(LookupError):  # noqa: PT012
                async with transaction(db):
                    async with transaction(db):
                        await add(db, 7)
                    raise LookupError
            assert found(path) == [1, 2, 4, 5]

    run(main)


def test_it_begins_with_the_right_to_write(path: Path) -> None:
    async def main() -> None:
        async with looplite.connect(path) as db:
            with probe(path) as other:
                async with transaction(db):
                    assert other.write_locked()
                async with transaction(db, "DEFERRED"):
                    assert not other.write_locked()
                async with transaction(db, mode="EXCLUSIVE"):
                    assert other.write_locked()
            wrong: Any = "immediate; DROP TABLE t"
            with pytest.raises(ValueError, match="mode must be"):
                async with transaction(db, wrong):
                    pass

    asyncio.run(main())


def test_whoever_began_the_transaction_ends_it(path: Path) -> None:
    async def main() -> None:
        async with looplite.connect(path) as db:
            await add(db, 1)  # begins one by itself
            async with transaction(db):
                await add(db, 2)
            assert found(path) == []
            with pytest.raises(LookupError):  # noqa: PT012
                async with transaction(db):
                    await add(db, 3)
                    raise LookupError
            await db.commit()
            assert found(path) == [1, 2]
        with pytest.raises(LookupError):  # noqa: PT012
            async with get_db(path) as db:
                async with transaction(db):
                    await insert(db, "t", {"x": 4})
                assert found(path) == [1, 2, 4]
                await insert(db, "t", {"x": 5})
                async with transaction(db):
                    await insert(db, "t", {"x": 6})
                raise LookupError
        assert found(path) == [1, 2, 4]

    asyncio.run(main())


@pytest.mark.parametrize("nested", [False, True])
def test_a_cancelled_block_is_rolled_back(
    run: Callable[..., Any], connect: Callable[..., Any], path: Path, nested: bool
) -> None:
    async def main() -> None:
        async with connect(path) as db:
            inside = asyncio.Event()

            async def block() -> None:
                async with transaction(db):
                    await add(db, 1)
                    async with AsyncExitStack() as stack:
                        if nested:
                            await stack.enter_async_context(transaction(db))
                        await add(db, 2)
                        inside.set()
                        await asyncio.sleep(3600)

            task = asyncio.ensure_future(block())
            await inside.wait()
            task.cancel()
            assert isinstance(await caught(task), asyncio.CancelledError)
            assert not db.in_transaction
            await add(db, 3)
            await db.commit()
        assert found(path) == [3]

    run(main)


def test_cancelled_at_every_step(run: Callable[..., Any], path: Path) -> None:
    """Cancelled after n turns of the loop, and once more a turn later: whole or absent, and the
    connection has no transaction.
    """

    async def main() -> None:
        async with looplite.connect(path, inline=False) as db:

            async def block() -> None:
                async with transaction(db):
                    await add(db, 1)
                    async with transaction(db):
                        await add(db, 2)

            steps = 0
            while True:
                task = asyncio.ensure_future(block())
                await turns(steps)
                done = task.done()
                task.cancel()
                await turns()
                task.cancel()
                await asyncio.wait([task])
                assert not db.in_transaction
                assert found(path) in ([], [1, 2])
                if done:
                    assert found(path) == [1, 2]
                    break
                await db.execute("DELETE FROM t")
                await db.commit()
                steps += 1
            assert steps > 3

    run(main)


def test_a_cancelled_begin_leaves_nothing(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        async with looplite.connect(path) as db:

            async def block() -> None:
                async with transaction(db):
                    raise AssertionError("it had begun")

            with write_lock(path):
                task = asyncio.ensure_future(block())
                await turns(3)
                task.cancel()
                assert isinstance(await caught(task), asyncio.CancelledError)
            assert not db.in_transaction
            async with transaction(db):
                await add(db, 1)
        assert found(path) == [1]

    run(main)


def test_tasks_take_turns_on_one_connection(
    run: Callable[..., Any], connect: Callable[..., Any], path: Path
) -> None:
    """Without that, the block that fails would undo what the others did."""

    async def main() -> None:
        async with connect(path) as db:
            inside = 0

            async def block(n: int) -> None:
                nonlocal inside
                async with transaction(db):
                    inside += 1
                    assert inside == 1
                    await add(db, n)
                    await turns(3)
                    inside -= 1
                    if n % 3 == 0:
                        raise LookupError

            await asyncio.gather(*(block(n) for n in range(10)), return_exceptions=True)
            assert not db.in_transaction
        assert found(path) == [1, 2, 4, 5, 7, 8]

    run(main)


def test_tasks_of_a_block_are_parts_of_it(run: Callable[..., Any], path: Path) -> None:
    """They do not wait for it, which waits for them; they wait for each other."""

    async def main() -> None:
        async with looplite.connect(path) as db:

            async def part(n: int) -> None:
                async with transaction(db):
                    await add(db, n)
                    await turns(2)
                    await add(db, n + 10)
                    if n == 2:
                        raise LookupError

            async with transaction(db):
                results = await asyncio.gather(*map(part, range(4)), return_exceptions=True)
                assert [type(r) for r in results if r is not None] == [LookupError]
                assert found(path) == []
            assert found(path) == [0, 1, 3, 10, 11, 13]

            # One that outlives the block it was started in begins a transaction of its own.
            gate = asyncio.Event()

            async def late() -> None:
                await gate.wait()
                async with transaction(db):
                    await add(db, 50)

            with pytest.raises(LookupError):  # noqa: PT012
                async with transaction(db):
                    task = asyncio.ensure_future(late())
                    await turns()
                    raise LookupError
            gate.set()
            await task
            assert not db.in_transaction
            assert 50 in found(path)

    run(main)


def test_blocks_of_two_connections_within_each_other(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    make(other, "CREATE TABLE t(x)")

    async def main() -> None:
        async with looplite.connect(path) as one, looplite.connect(other) as two:
            async with transaction(one), transaction(two), transaction(one):
                await add(one, 1)
                await add(two, 2)
            with pytest.raises(LookupError):  # noqa: PT012
                async with transaction(one):
                    async with transaction(two):
                        await add(two, 3)
                    await add(one, 4)
                    raise LookupError
        assert found(path) == [1]
        assert found(other) == [2, 3]

    asyncio.run(main())


def test_a_transaction_that_ended_within_its_block(path: Path) -> None:
    """What follows would be committed by itself: it is told, and not committed as if whole."""

    async def main() -> None:
        async with looplite.connect(path, isolation_level=None) as db:
            for early in ("COMMIT", "ROLLBACK"):
                with pytest.raises(sqlite3.OperationalError, match="ended before its block did"):
                    async with transaction(db):
                        await db.execute(early)
            with pytest.raises(sqlite3.OperationalError, match="ended before its block did"):  # noqa: PT012
                async with transaction(db), transaction(db):
                    await add(db, 1)
                    with pytest.raises(sqlite3.IntegrityError):
                        await db.execute("INSERT OR ROLLBACK INTO t VALUES (1)")
            assert not db.in_transaction
            # The error of the statement that ended it goes first.
            with pytest.raises(sqlite3.IntegrityError):  # noqa: PT012
                async with transaction(db), transaction(db):
                    await add(db, 1)
                    await db.execute("INSERT OR ROLLBACK INTO t VALUES (1)")
            async with transaction(db):
                await add(db, 2)
        assert found(path) == [2]

    asyncio.run(main())


def test_a_commit_that_fails_is_rolled_back(path: Path) -> None:
    make(
        path,
        "CREATE TABLE child(t REFERENCES t(x) DEFERRABLE INITIALLY DEFERRED)",
    )

    async def main() -> None:
        async with looplite.connect(path, pragmas={"foreign_keys": True}) as db:
            with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
                async with transaction(db):
                    await db.execute("INSERT INTO child VALUES (99)")
            assert not db.in_transaction
            assert await fetch_all(db, "SELECT * FROM child") == []

    asyncio.run(main())


def test_a_connection_that_is_closed_in_a_block(path: Path) -> None:
    async def main() -> None:
        db = await looplite.connect(path)
        with pytest.raises(LookupError):  # noqa: PT012
            async with transaction(db):
                await add(db, 1)
                await db.close()
                raise LookupError
        assert found(path) == []

    asyncio.run(main())


def test_a_block_that_is_left_in_another_context(path: Path) -> None:
    """Frameworks may end a generator in another task than they began it in."""

    async def main() -> None:
        async with looplite.connect(path) as db:
            block = transaction(db)
            await asyncio.ensure_future(block.__aenter__())
            await add(db, 1)
            waiting = asyncio.ensure_future(one_more(db))
            await turns(3)
            assert not waiting.done()
            await asyncio.ensure_future(block.__aexit__(None, None, None))
            await until(waiting.done)
            waiting.result()
        assert found(path) == [1, 2]

    async def one_more(db: Any) -> None:
        async with transaction(db):
            await add(db, 2)

    asyncio.run(main())


def test_one_connection_in_one_loop_after_the_other(path: Path) -> None:
    db: Any = None

    async def main(x: int) -> None:
        nonlocal db
        if db is None:
            db = await looplite.connect(path)
        await asyncio.gather(*(writes(x + n) for n in range(3)))
        if x:
            await db.close()

    async def writes(x: int) -> None:
        async with transaction(db):
            await add(db, x)
            await turns()

    asyncio.run(main(0))
    asyncio.run(main(10))
    assert found(path) == [0, 1, 2, 10, 11, 12]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="autocommit is of Python 3.12")
@pytest.mark.parametrize("driver", ["looplite", "aiosqlite"])
@pytest.mark.parametrize("autocommit", [True, False])
def test_connections_with_autocommit(path: Path, driver: str, autocommit: bool) -> None:
    """True: each statement for itself, and commit() and rollback() do nothing. False: a transaction
    is open always, and a block is a part of it.
    """
    module: Any = looplite if driver == "looplite" else aiosqlite

    async def main() -> None:
        async with module.connect(path, autocommit=autocommit) as db:
            assert await insert_many(db, "t", [{"x": 1}, {"x": 2}]) == 2
            assert found(path) == ([1, 2] if autocommit else [])
            with pytest.raises(sqlite3.IntegrityError):
                await insert_many(db, "t", [{"x": 3}, {"x": 1}])
            async with transaction(db):
                await insert(db, "t", {"x": 4})
            assert found(path) == ([1, 2, 4] if autocommit else [])
            with pytest.raises(LookupError):  # noqa: PT012
                async with transaction(db):
                    await insert(db, "t", {"x": 5})
                    raise LookupError
            assert db.in_transaction == (not autocommit)
            await db.commit()
            assert found(path) == [1, 2, 4]

    asyncio.run(main())
