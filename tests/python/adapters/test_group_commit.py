"""`group_commit=True`: single writes of many sessions share commits; each has its own result."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.exceptions import BusyError, ForeignKeyViolationError, UniqueViolationError
from support.locks import rows as rows_of
from support.locks import write_lock
from support.outcomes import outcome as outcome_of

Run = Callable[..., Any]


def config_of(path: Path, **settings: Any) -> AiosqliteConfig:
    return AiosqliteConfig(connection_config={"database": path, "group_commit": True, **settings})


async def begun(config: AiosqliteConfig) -> None:
    """The writer's connection is open: the first writes go without it."""
    async with config.provide_session() as session:
        await session.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, task INT, n INT UNIQUE)")
        while config.stats()["group_members"] == 0:
            await session.execute("INSERT INTO t(task) VALUES (-1)")
        await session.execute("DELETE FROM t")


def test_many_tasks(run: Run, path: Path) -> None:
    """Each gets its own rowid, sees its own row, and the commits are fewer than the writes."""
    config = config_of(path)

    async def write(task: int) -> None:
        async with config.provide_session() as session:
            for n in range(20):
                made = await session.execute(
                    "INSERT INTO t(task, n) VALUES (?, ?)", task, task * 100 + n
                )
                assert made.rows_affected == 1
                row = await session.select_one(
                    "SELECT task, n FROM t WHERE id = ?", made.last_inserted_id
                )
                assert row == {"task": task, "n": task * 100 + n}
                assert (
                    await session.select_value("SELECT last_insert_rowid()")
                    == made.last_inserted_id
                )

    async def main() -> dict[str, Any]:
        await begun(config)
        before = config.stats()
        await asyncio.gather(*(write(task) for task in range(100)))
        after = config.stats()
        await config.close_pool()
        return {name: after[name] - before[name] for name in ("group_members", "group_commits")}

    grown = run(main)
    assert grown["group_members"] == 2000
    assert grown["group_commits"] < 1000
    assert rows_of(path, "SELECT count(*), count(DISTINCT n) FROM t") == [(2000, 2000)]


def test_one_that_fails_harms_nobody(run: Run, path: Path) -> None:
    config = config_of(path)

    async def main() -> None:
        await begun(config)
        async with config.provide_session() as session:
            answers = await asyncio.gather(
                *(
                    session.execute("INSERT INTO t(task, n) VALUES (?, ?)", i, i % 40)
                    for i in range(50)
                ),
                return_exceptions=True,
            )
            kinds = [type(answer).__name__ for answer in answers]
            assert kinds.count("UniqueViolationError") == 10
            assert kinds.count("SQLResult") == 40
            assert await session.select_value("SELECT count(*) FROM t") == 40
            with pytest.raises(UniqueViolationError):
                await session.execute("INSERT OR ROLLBACK INTO t(task, n) VALUES (1, 1)")
            with pytest.raises(UniqueViolationError):
                await session.execute("UPDATE t SET n = 1 WHERE n = 2")
        await config.close_pool()

    run(main)


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 35), reason="RETURNING")
def test_rows_and_types(run: Run, path: Path) -> None:
    config = config_of(path)

    async def main() -> None:
        await begun(config)
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE doc(id INTEGER PRIMARY KEY, body JSON)")
            rows = await session.select(
                "INSERT INTO doc(body) VALUES (?) RETURNING id, body", {"a": 1}
            )
            assert rows == [{"id": 1, "body": {"a": 1}}]
            done = await session.execute("UPDATE doc SET body = :b RETURNING body", b=[1])
            assert (done.all(), done.rows_affected) == ([{"body": [1]}], 1)
        await config.close_pool()

    run(main)


def test_foreign_keys_are_those_of_the_configuration(run: Run, path: Path) -> None:
    config = config_of(path)

    async def main() -> None:
        await begun(config)
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE child(t INT REFERENCES t(id))")
            before = config.stats()["group_members"]
            with pytest.raises(ForeignKeyViolationError):
                await session.execute("INSERT INTO child VALUES (99)")
            assert config.stats()["group_members"] >= before
            assert await session.select("SELECT * FROM child") == []
        await config.close_pool()

    run(main)


def test_beside_transactions_and_what_needs_a_connection(run: Run, path: Path) -> None:
    config = config_of(path, timeout=60)

    async def single(n: int) -> None:
        async with config.provide_session() as session:
            await session.execute("INSERT INTO t(n) VALUES (?)", n)

    async def together(n: int) -> None:
        async with config.provide_session() as session, session.transaction():
            await session.execute("INSERT INTO t(n) VALUES (?)", n)
            await session.execute("CREATE TEMP TABLE IF NOT EXISTS mine(x)")
            await session.execute("INSERT INTO mine VALUES (1)")
            await session.execute("INSERT INTO t(n) VALUES (?)", n + 1)

    async def main() -> None:
        await begun(config)
        await asyncio.gather(
            *(single(n) for n in range(100)), *(together(1000 + 2 * n) for n in range(20))
        )
        async with config.provide_session() as session:
            assert await session.select_value("SELECT count(*) FROM t") == 140
        await config.close_pool()

    run(main)


def test_a_locked_file(run: Run, path: Path) -> None:
    config = config_of(path, timeout=0.05)

    async def main() -> None:
        await begun(config)
        async with config.provide_session() as session:
            with write_lock(path), pytest.raises(BusyError):
                await session.execute("INSERT INTO t(n) VALUES (1)")
            await session.execute("INSERT INTO t(n) VALUES (2)")
            assert await session.select("SELECT n FROM t") == [{"n": 2}]
        await config.close_pool()

    run(main)


@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_lost_its_name(
    run: Run, path: Path, tmp_path: Path, journal: str, replaced: bool
) -> None:
    """The writer's connection goes with it: what is answered is in the file of that name."""
    config = config_of(path, health_check_interval=1e-6, pragmas={"journal_mode": journal})
    fresh = tmp_path / "fresh.db"
    rows = "CREATE TABLE t(id INTEGER PRIMARY KEY, task INT, n INT UNIQUE)"
    with contextlib.closing(sqlite3.connect(fresh)) as db:
        db.execute(rows)

    async def main() -> None:
        await begun(config)
        for name in path.parent.glob(f"{path.name}*"):
            name.unlink()
        if replaced:
            fresh.replace(path)
        async with config.provide_session() as session:
            if not replaced:
                await session.execute(rows)
            members = config.stats()["group_members"]
            n = 0
            while n < 10 or config.stats()["group_members"] <= members:  # until it is grouped again
                await session.execute("INSERT INTO t(n) VALUES (?)", n)
                n += 1
            assert await session.select_value("SELECT count(*) FROM t") == n
        await config.close_pool()
        assert rows_of(path, "SELECT count(*) FROM t") == [(n,)]

    run(main)


def test_cancelled_while_it_waits(run: Run, path: Path) -> None:
    config = config_of(path, timeout=60)

    async def main() -> None:
        await begun(config)
        async with config.provide_session() as session:
            with write_lock(path):
                task = asyncio.ensure_future(session.execute("INSERT INTO t(n) VALUES (1)"))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError) as caught:
                    await task
            assert outcome_of(caught.value) == "not applied"
            assert await session.select("SELECT n FROM t") == []
            await session.execute("INSERT INTO t(n) VALUES (2)")
        await config.close_pool()

    run(main)


def test_in_memory_there_is_nothing_to_share(run: Run) -> None:
    config = AiosqliteConfig(connection_config={"group_commit": True})

    async def main() -> None:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(x)")
            await session.execute("INSERT INTO t VALUES (1)")
            assert await session.select("SELECT x FROM t") == [{"x": 1}]
        assert config.stats()["group_members"] == 0
        await config.close_pool()

    run(main)
