"""Use from loops of other threads, and from threads that have none."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.locks import make, rows
from support.loops import run_on

Run = Callable[..., Any]
Factory = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture
def table(path: Path) -> Path:
    make(path, "CREATE TABLE t(v)")
    return path


def in_thread(factory: Factory, main: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run_on, factory, main).result()


def test_opened_here_used_and_closed_there(run: Run, loop_factory: Factory, table: Path) -> None:
    async def main() -> None:
        db = await lib.connect(table)
        await db.execute("INSERT INTO t VALUES (1)")

        async def there() -> None:
            await db.execute("INSERT INTO t VALUES (2)")
            await db.commit()
            async with db.execute("SELECT v FROM t") as cursor:
                assert await cursor.fetchall() == [(1,), (2,)]
            await db.close()

        await asyncio.get_running_loop().run_in_executor(None, in_thread, loop_factory, there)
        with pytest.raises(ValueError, match="no active connection"):
            await db.execute("SELECT 1")

    run(main)
    assert rows(table, "SELECT v FROM t") == [(1,), (2,)]


def test_opened_there_used_here(run: Run, loop_factory: Factory, table: Path) -> None:
    async def there() -> Any:
        return await lib.connect(table)

    db = in_thread(loop_factory, there)

    async def main() -> None:
        await db.execute("INSERT INTO t VALUES (1)")
        await db.commit()
        await db.close()

    run(main)
    assert rows(table, "SELECT v FROM t") == [(1,)]


def test_attributes_from_a_thread_without_a_loop(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            await db.execute("INSERT INTO t VALUES (1)")

            def look() -> tuple[Any, ...]:
                db.row_factory = None
                return db.in_transaction, db.total_changes, db.isolation_level, db.text_factory

            def look_aiosqlite() -> tuple[Any, ...]:
                return (db.isolation_level, db.text_factory)

            loop = asyncio.get_running_loop()
            if lib.__name__ == "looplite":
                assert await loop.run_in_executor(None, look) == (True, 1, "", str)
            else:
                assert await loop.run_in_executor(None, look_aiosqlite) == ("", str)

    run(main)


@looplite_only
def test_awaited_without_a_loop(run: Run, table: Path) -> None:
    """Driven by hand in a thread that has no loop: an error that says so, and nothing is done."""

    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:

            def there() -> BaseException | None:
                call = db.execute("INSERT INTO t VALUES (1)")
                try:
                    call.send(None)
                except StopIteration:
                    return None
                except RuntimeError as error:
                    return error
                finally:
                    call.close()
                return AssertionError("it waits for a loop that is not there")

            error = await asyncio.get_running_loop().run_in_executor(None, there)
            assert isinstance(error, RuntimeError), error
            assert "loop" in str(error)

    run(main)
    assert rows(table, "SELECT v FROM t") == []


def test_cursor_of_another_thread(run: Run, loop_factory: Factory) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            cursor = await db.execute(
                "WITH RECURSIVE c(x) AS (VALUES (0) UNION ALL SELECT x + 1 FROM c LIMIT 5000) SELECT x FROM c"  # noqa: E501
            )
            assert await cursor.fetchone() == (0,)

            async def there() -> None:
                assert await cursor.fetchmany(10) == [(n,) for n in range(1, 11)]

            await asyncio.get_running_loop().run_in_executor(None, in_thread, loop_factory, there)
            assert await cursor.fetchall() == [(n,) for n in range(11, 5000)]

    run(main)


@looplite_only
def test_dropped_in_another_thread(run: Run, table: Path) -> None:
    """The last reference may go anywhere; the file is let go of (the guard looks)."""

    async def main() -> None:
        holder = [await lib.connect(table)]

        def drop() -> None:
            with pytest.warns(ResourceWarning):
                holder.clear()

        await asyncio.get_running_loop().run_in_executor(None, drop)

    run(main)


def test_many_threads_with_a_loop_each(loop_factory: Factory, table: Path) -> None:
    """Connections of their own on one file, all at once, with the switch interval at its smallest."""  # noqa: E501
    failures: list[BaseException] = []

    async def work(number: int) -> None:
        for n in range(5):
            async with lib.connect(table, isolation_level=None, timeout=60) as db:
                await db.execute("INSERT INTO t VALUES (?)", (number * 100 + n,))
                async with db.execute(
                    "SELECT count(*) FROM t WHERE v = ?", (number * 100 + n,)
                ) as cursor:
                    assert await cursor.fetchone() == (1,)

    def thread(number: int) -> None:
        try:
            run_on(loop_factory, work, number)
        except BaseException as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=thread, args=(n,)) for n in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failures, failures
    assert rows(table, "SELECT count(DISTINCT v) FROM t") == [(40,)]


@looplite_only
def test_one_connection_hammered_from_many_loops(loop_factory: Factory, table: Path) -> None:
    """Statements and cancellations from several threads: each row once, each answer to its own
    task.
    """
    failures: list[BaseException] = []

    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:

            async def work(number: int) -> None:
                async def one(n: int) -> None:
                    await db.execute("INSERT INTO t VALUES (?)", (n,))
                    assert list(await db.execute_fetchall("SELECT ?", (n,))) == [(n,)]

                tasks = [asyncio.ensure_future(one(number * 1000 + n)) for n in range(50)]
                reading = asyncio.ensure_future(
                    db.execute_fetchall("SELECT a.v FROM t a, t b LIMIT 5000")
                )
                await asyncio.sleep(0)
                reading.cancel()
                await asyncio.gather(*tasks)
                await asyncio.gather(reading, return_exceptions=True)

            def thread(number: int) -> None:
                try:
                    run_on(loop_factory, work, number)
                except BaseException as error:
                    failures.append(error)

            loop = asyncio.get_running_loop()
            with ThreadPoolExecutor(4) as pool:
                await asyncio.gather(*(loop.run_in_executor(pool, thread, n) for n in range(4)))

    run_on(loop_factory, main)
    assert not failures, failures
    assert rows(table, "SELECT count(*), count(DISTINCT v) FROM t") == [(200, 200)]
