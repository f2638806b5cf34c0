"""The pool shared, and under trouble: nothing is lost, nothing is locked out, and it is usable afterwards."""
# ruff: noqa: ASYNC110, ASYNC240, E501, PT012

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.exceptions import (
    BusyError,
    CorruptDatabaseError,
    DatabaseConnectionError,
    DiskFullError,
    PoolClosedError,
    PoolExhaustedError,
    QueryTimeoutError,
    ReadOnlyError,
    TransactionAbortedError,
)
from support import ENDLESS, SCRIPT_SECONDS, forks_beside_threads
from support.locks import rows as rows_of
from support.locks import write_lock
from support.loops import run_on

Run = Callable[..., Any]


def config_of(path: Path | str | None, **settings: Any) -> AiosqliteConfig:
    if path is not None:
        settings["database"] = path
    return AiosqliteConfig(connection_config=settings)


async def usable(config: AiosqliteConfig) -> bool:
    """A session can write and read, and nobody has kept a connection."""
    async with config.provide_session() as session, session.transaction():
        await session.execute("CREATE TABLE IF NOT EXISTS usable(x)")
        await session.execute("DELETE FROM usable")
        await session.execute("INSERT INTO usable VALUES (1)")
        assert await session.select("SELECT x FROM usable") == [{"x": 1}]
    assert config.stats()["leased"] == 0
    return True


async def opened(config: AiosqliteConfig, count: int) -> None:
    """The connections of min_size are there: a lease needs no time."""
    await config.create_pool()
    while config.stats()["idle"] < count:
        await asyncio.sleep(0)


# ---- sharing ------------------------------------------------------------------------------------


def test_a_hundred_sessions_share_five_connections(run: Run, path: Path) -> None:
    """Only transactions and streams exhaust a pool: single statements share what is left."""
    config = config_of(path, connect_timeout=0.05, min_size=5)

    async def main() -> None:
        await opened(config, 5)
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(4):
                session = await stack.enter_async_context(config.provide_session())
                await stack.enter_async_context(session.transaction(mode="DEFERRED"))

            async def one(n: int) -> Any:
                async with config.provide_session() as session:
                    await asyncio.sleep(0)
                    return await session.select_value("SELECT ?", n)

            assert await asyncio.gather(*(one(n) for n in range(100))) == list(range(100))
            assert config.stats()["leased"] == 4
        assert await usable(config)
        await config.close_pool()

    run(main)


def test_first_come_first_served(run: Run, path: Path) -> None:
    config = config_of(path, pool_size=1)
    order: list[int] = []

    async def take(n: int) -> None:
        async with config.provide_connection():
            order.append(n)
            await asyncio.sleep(0)

    async def main() -> None:
        async with config.provide_connection():
            tasks = []
            for n in range(20):
                tasks.append(asyncio.create_task(take(n)))
                while config.stats()["waiting"] <= n:
                    await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        await config.close_pool()

    run(main)
    assert order == list(range(20))


def test_a_transaction_waits_for_another_ones_end(run: Run, path: Path) -> None:
    config = config_of(path)

    async def add(times: int) -> None:
        for _ in range(times):
            async with config.provide_session() as session, session.transaction():
                n = await session.select_value("SELECT n FROM t")
                await asyncio.sleep(0)
                await session.execute("UPDATE t SET n = ?", n + 1)

    async def main() -> None:
        async with config.provide_session() as session:
            await session.execute_script("CREATE TABLE t(n); INSERT INTO t VALUES (0)")
        await asyncio.gather(*(add(5) for _ in range(10)))
        async with config.provide_session() as session:
            assert await session.select_value("SELECT n FROM t") == 50
        await config.close_pool()

    run(main)


# ---- trouble ------------------------------------------------------------------------------------


def test_exhausted(run: Run, path: Path) -> None:
    config = config_of(path, pool_size=2, min_size=2, connect_timeout=0.02)

    async def main() -> None:
        await opened(config, 2)
        async with config.provide_session() as one, config.provide_session() as two:
            await one.begin("DEFERRED")
            await two.begin("DEFERRED")
            async with config.provide_session() as three:
                with pytest.raises(PoolExhaustedError) as caught:
                    await three.begin()
                with pytest.raises(PoolExhaustedError):
                    await three.select_value("SELECT 1")
        text = str(caught.value)
        assert "2" in text
        assert "test_pool.py" in text  # where the oldest was taken
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, sqlite3.OperationalError)
        assert config.stats()["exhausted"] == 2
        assert await usable(config)
        await config.close_pool()

    run(main)


@pytest.mark.parametrize("where", ["shared", "own", "stream"])
def test_a_slow_statement(run: Run, path: Path, where: str) -> None:
    config = config_of(path, operation_timeout=0.05)

    async def main() -> None:
        async with config.provide_session() as session:
            if where == "own":
                await session.own_connection()
            with pytest.raises(QueryTimeoutError) as caught:
                if where == "stream":
                    async for _ in session.select_stream(ENDLESS):
                        pass
                else:
                    await session.select(ENDLESS)
            assert isinstance(caught.value, TimeoutError)
            assert await session.select_value("SELECT 1") == 1
        assert await usable(config)
        await config.close_pool()

    run(main)


def test_a_slow_write_in_a_transaction_aborts_it(run: Run, path: Path) -> None:
    config = config_of(path, operation_timeout=0.05)

    async def main() -> None:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(x)")
            with pytest.raises(TransactionAbortedError):
                async with session.transaction():
                    await session.execute("INSERT INTO t VALUES (1)")
                    with pytest.raises(QueryTimeoutError):
                        await session.execute(f"INSERT INTO t {ENDLESS}")
                    with pytest.raises(TransactionAbortedError):
                        await session.execute("INSERT INTO t VALUES (2)")
            assert await session.select("SELECT * FROM t") == []
            await session.execute("INSERT INTO t VALUES (3)")
        assert await usable(config)
        await config.close_pool()

    run(main)


def test_a_locked_file(run: Run, path: Path) -> None:
    config = config_of(path, timeout=0.05)

    async def main() -> None:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(x)")
            with write_lock(path):
                with pytest.raises(BusyError, match="locked"):
                    await session.execute("INSERT INTO t VALUES (1)")
                with pytest.raises(BusyError):
                    await session.begin()
                with pytest.raises(BusyError):
                    async with session.transaction():
                        pass
                assert await session.select("SELECT * FROM t") == []  # WAL: readers go on
        assert await usable(config)
        await config.close_pool()

    run(main)


def test_a_file_that_was_deleted(run: Run, path: Path) -> None:
    """The connections to what is no longer there are closed; new ones make a new file."""
    config = config_of(path, health_check_interval=1e-6)

    async def main() -> None:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE old(x)")
        for name in path.parent.iterdir():
            name.unlink()
        async with config.provide_session() as session:
            await session.begin()
            assert await session.select("SELECT name FROM sqlite_master") == []
            await session.rollback()
        assert config.stats()["retired"] >= 1
        assert await usable(config)
        await config.close_pool()

    run(main)
    assert rows_of(path, "SELECT x FROM usable") == [(1,)]


def test_a_file_that_was_replaced(run: Run, path: Path, tmp_path: Path) -> None:
    config = config_of(path, health_check_interval=1e-6, pragmas={"journal_mode": "delete"})
    fresh = tmp_path / "fresh.db"
    with contextlib.closing(sqlite3.connect(fresh)) as db:
        db.execute("CREATE TABLE fresh(x)")

    async def main() -> None:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE old(x)")
        os.replace(fresh, path)
        async with config.provide_connection() as connection:
            cursor = await connection.execute("SELECT name FROM sqlite_master")
            assert await cursor.fetchall() == [("fresh",)]
        assert await usable(config)
        await config.close_pool()

    run(main)


def test_a_full_disk(run: Run, path: Path) -> None:
    config = config_of(path, pragmas={"max_page_count": 12})

    async def main() -> None:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(x)")
            with pytest.raises(DiskFullError):
                await session.execute("INSERT INTO t VALUES (zeroblob(1000000))")
            with pytest.raises(TransactionAbortedError):
                async with session.transaction():
                    await session.execute("INSERT INTO t VALUES (1)")
                    with pytest.raises(DiskFullError):
                        await session.execute("INSERT INTO t VALUES (zeroblob(1000000))")
            assert await session.select("SELECT * FROM t") == []
        assert await usable(config)
        await config.close_pool()

    run(main)


def test_a_database_that_can_only_be_read(run: Run, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t(x)")
    config = config_of(f"file:{path}?mode=ro")

    async def main() -> None:
        async with config.provide_session() as session:
            with pytest.raises(ReadOnlyError):
                await session.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(ReadOnlyError):
                async with session.transaction():
                    await session.execute("INSERT INTO t VALUES (1)")
            assert await session.select("SELECT * FROM t") == []
        assert config.stats()["leased"] == 0
        await config.close_pool()

    run(main)


def test_a_file_that_cannot_be_opened(run: Run, path: Path) -> None:
    config = config_of(path / "nowhere" / "x.db")

    async def main() -> None:
        for _ in range(3):
            async with config.provide_session() as session:
                with pytest.raises(DatabaseConnectionError, match="unable to open"):
                    await session.execute("SELECT 1")
                with pytest.raises(DatabaseConnectionError):
                    await session.begin()
        (path / "nowhere").mkdir(parents=True)
        assert await usable(config)
        await config.close_pool()

    run(main)


def test_a_file_that_is_no_database(run: Run, path: Path) -> None:
    path.write_bytes(b"this is no database at all" * 100)
    config = config_of(path)

    async def main() -> None:
        async with config.provide_session() as session:
            with pytest.raises(CorruptDatabaseError):
                await session.execute("SELECT * FROM sqlite_master")
        path.unlink()
        assert await usable(config)
        await config.close_pool()

    run(main)


# ---- closing ------------------------------------------------------------------------------------


def test_close_waits_for_those_who_are_out_and_refuses_others(run: Run, path: Path) -> None:
    config = config_of(path)

    async def main() -> None:
        async with config.provide_session() as session, config.provide_session() as late:
            await session.begin()
            await session.execute("CREATE TABLE t(x)")
            closing = asyncio.create_task(config.close_pool())
            await asyncio.sleep(0)
            await session.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(PoolClosedError):
                await late.execute("SELECT 1")
            with pytest.raises(PoolClosedError):
                await late.begin()
            assert not closing.done()
            await session.commit()
        await closing

    run(main)
    assert rows_of(path, "SELECT x FROM t") == [(1,)]


def test_close_tells_those_who_stand_in_line(run: Run, path: Path) -> None:
    config = config_of(path, pool_size=1)

    async def main() -> None:
        async with config.provide_session() as session, config.provide_session() as other:
            await session.begin()
            waiting = [
                asyncio.ensure_future(other.select("SELECT 1")),
                asyncio.ensure_future(other.begin()),
            ]
            while config.stats()["waiting"] < 2:
                await asyncio.sleep(0)
            closing = asyncio.create_task(config.close_pool())
            for found in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(found, PoolClosedError)
        await closing

    run(main)


def test_a_connection_that_was_given_back_is_dead(run: Run, path: Path) -> None:
    config = config_of(path)

    async def main() -> None:
        async with config.provide_connection() as connection:
            cursor = await connection.execute("SELECT 1 UNION SELECT 2")
            raw = connection._conn
            with pytest.raises(sqlite3.ProgrammingError, match="belongs to a pool"):
                raw.close()
        assert connection.closed
        with pytest.raises((ValueError, sqlite3.ProgrammingError)):
            await connection.execute("SELECT 1")
        with pytest.raises((ValueError, sqlite3.ProgrammingError)):
            await cursor.fetchall()
        with pytest.raises(sqlite3.ProgrammingError, match="belongs to a pool"):
            raw.close()
        async with config.provide_connection() as connection:
            await connection.close()  # it is over for who has it; the pool goes on
            assert connection.closed
        assert await usable(config)
        await config.close_pool()

    run(main)


def test_what_a_borrower_sets_is_set_back(run: Run, path: Path) -> None:
    config = config_of(path, pool_size=1)

    async def main() -> None:
        async with config.provide_connection() as connection:
            connection.row_factory = sqlite3.Row
            connection.text_factory = bytes
            await connection.execute("PRAGMA foreign_keys = off")
            await connection.create_function("mine", 0, lambda: 1)
        async with config.provide_connection() as connection:
            cursor = await connection.execute("SELECT 'x'")
            assert await cursor.fetchone() == ("x",)
            cursor = await connection.execute("PRAGMA foreign_keys")
            assert await cursor.fetchone() == (1,)
            with pytest.raises(sqlite3.OperationalError):
                await connection.execute("SELECT mine()")
        await config.close_pool()

    run(main)


def test_statistics(run: Run, path: Path) -> None:
    config = config_of(path)

    async def main() -> None:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(x)")
            async with session.transaction():
                await session.execute("INSERT INTO t VALUES (1)")
                inside = config.stats()
        after = config.stats()
        await config.close_pool()
        assert (inside["leased"], inside["writing"]) == (1, True)
        assert "test_pool.py" in inside["writer_label"]
        assert "test_pool.py" in inside["oldest_label"]
        assert (after["leased"], after["acquired"], after["executed"]) == (0, 1, 1)

    run(main)


def test_two_loops_in_two_threads_share_one_pool(path: Path) -> None:
    config = config_of(path, timeout=60)

    async def work(who: int) -> None:
        for n in range(50):
            async with config.provide_session() as session:
                await session.execute("INSERT INTO t VALUES (?, ?)", who, n)
                async with session.transaction():
                    await session.execute("UPDATE total SET n = n + 1")

    async def make() -> None:
        async with config.provide_session() as session:
            await session.execute_script(
                "CREATE TABLE t(who, n); CREATE TABLE total(n); INSERT INTO total VALUES (0)"
            )

    asyncio.run(make())
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda who: asyncio.run(work(who)), range(3)))
    asyncio.run(config.close_pool())
    assert rows_of(path, "SELECT who, count(*) FROM t GROUP BY who") == [(0, 50), (1, 50), (2, 50)]
    assert rows_of(path, "SELECT n FROM total") == [(150,)]


@forks_beside_threads
def test_after_a_fork_the_childs_pool_says_so(path: Path) -> None:
    script = """
import asyncio, os, sys
from looplite.adapters.aiosqlite import AiosqliteConfig
config = AiosqliteConfig(connection_config={"database": sys.argv[1]})
async def use():
    async with config.provide_session() as session:
        return await session.select_value("SELECT 1")
async def main():
    await use()
    child = os.fork()
    if child == 0:
        return True
    os.waitpid(child, 0)
    print(await use())
    await config.close_pool()
    return False
if asyncio.run(main()):
    try:
        asyncio.run(use())
    except Exception as error:
        print(type(error).__name__, error)
    sys.stdout.flush()
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SCRIPT_SECONDS,
    )
    assert "ProgrammingError" in done.stdout, done
    assert "fork" in done.stdout
    assert done.stdout.endswith("1\n"), done


def test_the_loop_watches_as_long_as_a_pool_is_open(tmp_path: Path) -> None:
    """Its statements do not register the descriptor anew each time."""

    async def main() -> list[str]:
        loop: Any = asyncio.get_running_loop()
        told: list[str] = []

        def counted(name: str) -> None:
            plain = getattr(loop, name)

            def call(*args: Any) -> Any:
                told.append(name)
                return plain(*args)

            setattr(loop, name, call)

        counted("add_reader")
        counted("remove_reader")
        config = AiosqliteConfig(connection_config={"database": tmp_path / "a.db"})
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(x)")
            for n in range(20):
                await session.execute("INSERT INTO t VALUES (?)", n)
                await asyncio.sleep(0)
        assert told == ["add_reader"]
        await config.close_pool()
        return told

    assert run_on(asyncio.SelectorEventLoop, main) == ["add_reader", "remove_reader"]
