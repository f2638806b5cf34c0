"""Transactions: legacy control, autocommit, what begins and ends them, what others see."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.locks import make, probe, rows

Run = Callable[..., Any]

TABLE = "CREATE TABLE t(v)"


@pytest.fixture
def table(path: Path) -> Path:
    make(path, TABLE)
    return path


def test_legacy_control_begins_before_writes_only(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            assert db.isolation_level == ""
            for sql in (
                "SELECT * FROM t",
                "PRAGMA user_version",
                "CREATE TABLE u(v)",
                "DROP TABLE u",
            ):
                await db.execute(sql)
                assert not db.in_transaction, sql
            for sql in (
                "INSERT INTO t VALUES (1)",
                "UPDATE t SET v = 2",
                "DELETE FROM t",
                "REPLACE INTO t VALUES (1)",
            ):
                await db.execute(sql)
                assert db.in_transaction, sql
                await db.rollback()
                assert not db.in_transaction
            await db.executemany("INSERT INTO t VALUES (?)", [(1,)])
            assert db.in_transaction

    run(main)
    assert rows(table, "SELECT * FROM t") == []


def test_others_see_it_after_commit(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            with probe(table) as outside:
                await db.execute("INSERT INTO t VALUES (1)")
                assert outside.value("SELECT count(*) FROM t") == 0
                assert outside.write_locked()
                await db.commit()
                assert outside.value("SELECT count(*) FROM t") == 1
                assert not outside.write_locked()

    run(main)


def test_rollback(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            await db.execute("INSERT INTO t VALUES (1)")
            await db.rollback()
            async with db.execute("SELECT count(*) FROM t") as cursor:
                assert await cursor.fetchone() == (0,)

    run(main)


@pytest.mark.parametrize("level", ["DEFERRED", "IMMEDIATE", "EXCLUSIVE"])
def test_levels(run: Run, table: Path, level: str) -> None:
    async def main() -> None:
        async with lib.connect(table, isolation_level=level) as db:
            assert db.isolation_level == level
            with probe(table) as outside:
                await db.execute("INSERT INTO t VALUES (1)")
                assert outside.write_locked()
                # Only an exclusive transaction keeps readers out as well.
                if level == "EXCLUSIVE":
                    with pytest.raises(sqlite3.OperationalError, match="locked"):
                        outside.value("SELECT count(*) FROM t")
                else:
                    assert outside.value("SELECT count(*) FROM t") == 0
            await db.rollback()

    run(main)


def test_autocommit(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:
            assert db.isolation_level is None
            with probe(table) as outside:
                await db.execute("INSERT INTO t VALUES (1)")
                assert not db.in_transaction
                assert outside.value("SELECT count(*) FROM t") == 1
                await db.execute("BEGIN")
                assert db.in_transaction
                await db.execute("INSERT INTO t VALUES (2)")
                assert outside.value("SELECT count(*) FROM t") == 1
                await db.rollback()
                assert not db.in_transaction
                await db.execute("BEGIN IMMEDIATE")
                assert outside.write_locked()
                await db.execute("COMMIT")

    run(main)


def test_nothing_open(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.commit()
            await db.rollback()
            await db.commit()
            with pytest.raises(sqlite3.OperationalError, match="no transaction is active"):
                await db.execute("COMMIT")

    run(main)


def test_a_failed_statement_leaves_the_transaction(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            await db.execute("CREATE UNIQUE INDEX one ON t(v)")
            await db.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(sqlite3.IntegrityError):
                await db.execute("INSERT INTO t VALUES (1)")
            assert db.in_transaction
            await db.commit()

    run(main)
    assert rows(table, "SELECT * FROM t") == [(1,)]


def test_a_failed_first_statement_still_began(run: Run) -> None:
    """As sqlite3: its BEGIN ran before the statement failed."""
    reference = sqlite3.connect(":memory:")
    reference.execute("CREATE TABLE t(v UNIQUE)")
    reference.execute("INSERT INTO t VALUES (1)")
    reference.commit()
    with pytest.raises(sqlite3.IntegrityError):
        reference.execute("INSERT INTO t VALUES (1)")
    expected = reference.in_transaction
    reference.close()

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute("CREATE TABLE t(v UNIQUE)")
            await db.execute("INSERT INTO t VALUES (1)")
            await db.commit()
            with pytest.raises(sqlite3.IntegrityError):
                await db.execute("INSERT INTO t VALUES (1)")
            assert db.in_transaction is expected

    run(main)


def test_statement_that_ends_the_transaction_itself(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute("CREATE TABLE t(v UNIQUE)")
            await db.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(sqlite3.IntegrityError):
                await db.execute("INSERT OR ROLLBACK INTO t VALUES (1)")
            assert not db.in_transaction
            async with db.execute("SELECT count(*) FROM t") as cursor:
                assert await cursor.fetchone() == (0,)

    run(main)


def test_savepoints(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            await db.execute("SAVEPOINT a")
            assert db.in_transaction
            await db.execute("INSERT INTO t VALUES (1)")
            await db.execute("SAVEPOINT b")
            await db.execute("INSERT INTO t VALUES (2)")
            await db.execute("ROLLBACK TO b")
            await db.execute("RELEASE a")
            assert not db.in_transaction

    run(main)
    assert rows(table, "SELECT * FROM t") == [(1,)]


def test_executescript_commits_first(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            await db.execute("INSERT INTO t VALUES (1)")
            await db.executescript("INSERT INTO t VALUES (2); BEGIN; INSERT INTO t VALUES (3);")
            assert db.in_transaction
            await db.rollback()

    run(main)
    assert rows(table, "SELECT * FROM t") == [(1,), (2,)]


def test_total_changes(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            assert db.total_changes == 0
            await db.execute(TABLE)
            await db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(7)])
            assert db.total_changes == 7
            await db.execute("UPDATE t SET v = 0 WHERE v < 3")
            assert db.total_changes == 10
            await db.rollback()
            assert db.total_changes == 10
            with pytest.raises(AttributeError):
                db.total_changes = 0
            with pytest.raises(AttributeError):
                db.in_transaction = True

    run(main)


def test_changing_the_level(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table, check_same_thread=False) as db:
            db.isolation_level = "IMMEDIATE"
            assert db.isolation_level == "IMMEDIATE"
            await db.execute("INSERT INTO t VALUES (1)")
            await db.commit()
            db.isolation_level = None
            await db.execute("INSERT INTO t VALUES (2)")
            assert not db.in_transaction
            db.isolation_level = "DEFERRED"
            await db.execute("INSERT INTO t VALUES (3)")
            assert db.in_transaction
            with pytest.raises((ValueError, TypeError)):
                db.isolation_level = 5

    run(main)
    assert rows(table, "SELECT * FROM t") == [(1,), (2,)]


@looplite_only
def test_level_none_from_the_loop_just_works(run: Run, table: Path) -> None:
    """aiosqlite's thread check raises there, and the value is changed all the same."""

    async def main() -> None:
        async with lib.connect(table) as db:
            db.isolation_level = None
            await db.execute("INSERT INTO t VALUES (1)")

    run(main)
    assert rows(table, "SELECT * FROM t") == [(1,)]


@pytest.mark.parametrize("mode", ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL", "OFF"])
def test_journal_modes(run: Run, table: Path, mode: str) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            async with db.execute(f"PRAGMA journal_mode = {mode}") as cursor:
                assert await cursor.fetchone() == (mode.lower(),)
            for n in range(5):
                await db.execute("INSERT INTO t VALUES (?)", (n,))
                await db.commit()
            async with db.execute("SELECT count(*) FROM t") as cursor:
                assert await cursor.fetchone() == (5,)

    run(main)
    assert rows(table, "SELECT count(*) FROM t") == [(5,)]


def test_reader_keeps_its_snapshot(run: Run, path: Path) -> None:
    make(path, "PRAGMA journal_mode = WAL; CREATE TABLE t(v); INSERT INTO t VALUES (1)")

    async def main() -> None:
        async with (
            lib.connect(path, isolation_level=None) as db,
            lib.connect(path, isolation_level=None) as other,
        ):
            await db.execute("BEGIN")
            assert list(await db.execute_fetchall("SELECT * FROM t")) == [(1,)]
            await other.execute("INSERT INTO t VALUES (2)")
            assert list(await db.execute_fetchall("SELECT * FROM t")) == [(1,)]
            await db.execute("COMMIT")
            assert list(await db.execute_fetchall("SELECT * FROM t")) == [(1,), (2,)]

    run(main)


def test_every_read_sees_the_last_commit_of_another_connection(run: Run, path: Path) -> None:
    make(path, "PRAGMA journal_mode = WAL; CREATE TABLE t(v); INSERT INTO t VALUES (0)")

    async def main() -> None:
        async with lib.connect(path) as db:
            outside = sqlite3.connect(path, isolation_level=None)
            for n in range(300):
                outside.execute("UPDATE t SET v = ?", (n,))
                async with db.execute("SELECT v FROM t") as cursor:
                    assert await cursor.fetchone() == (n,)
            outside.close()

    run(main)
