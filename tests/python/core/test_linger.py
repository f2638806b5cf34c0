"""Staying for an answer: the one call of a loop that a worker has looks for its end for a moment
before its task is suspended. What it gives is the same as without.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.locks import make, rows
from support.loops import Ticks, caught, until

Run = Callable[..., Any]

pytestmark = [
    looplite_only,
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one processor nobody stays"),
]


@pytest.fixture
def table(path: Path) -> Path:
    make(path, "PRAGMA journal_mode = WAL; CREATE TABLE t(v UNIQUE)")
    return path


async def opened(table: Path) -> Any:
    db = await lib.connect(table)
    await db.execute("PRAGMA synchronous = OFF")
    return db


def test_the_only_call_of_a_loop_stays(run: Run, table: Path) -> None:
    """Sooner or later a worker is as quick as that; the rows are there, each once."""

    async def main() -> int:
        db = await opened(table)
        count = 0
        while lib.stats()["stays"] < 20:
            cursor = await db.execute("INSERT INTO t VALUES (?)", (count,))
            assert cursor.rowcount == 1
            assert cursor.lastrowid == count + 1
            assert db.in_transaction
            await db.commit()
            assert not db.in_transaction
            count += 1
        await db.close()
        return count

    count = run(main)
    assert rows(table, "SELECT count(*), max(v) FROM t") == [(count, count - 1)]


def test_an_error_is_told_all_the_same(run: Run, table: Path) -> None:
    async def main() -> None:
        db = await opened(table)
        await db.execute("INSERT INTO t VALUES (1)")
        await db.commit()
        while lib.stats()["stays"] < 20:
            error = await caught(db.execute("INSERT INTO t VALUES (1)"))
            assert isinstance(error, sqlite3.IntegrityError)
            assert str(error) == "UNIQUE constraint failed: t.v"
            assert db.in_transaction
            await db.rollback()
        await db.close()

    run(main)


def test_nobody_stays_while_another_call_is_under_way(run: Run, table: Path) -> None:
    async def main() -> None:
        other, db = await opened(table), await opened(table)
        begun, release = threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            release.wait()

        waiting = asyncio.ensure_future(other._execute(wait))
        await until(begun.is_set)
        before = lib.stats()["stays"]
        for value in range(50):
            await db.execute("INSERT INTO t VALUES (?)", (value,))
            await db.commit()
        assert lib.stats()["stays"] == before
        release.set()
        await waiting
        await other.close()
        await db.close()

    run(main)


def test_a_task_that_stays_gives_way_when_its_turn_is_spent(run: Run, table: Path) -> None:
    async def main() -> None:
        db = await opened(table)
        async with Ticks(0) as ticks:
            while lib.stats()["stays"] < 200:
                await db.execute("INSERT INTO t VALUES (NULL)")
                await db.commit()
        # 200 answers in turns of 0.5 ms, each of which takes some microseconds.
        assert ticks.count >= 2
        await db.close()

    run(main)


def test_who_stayed_in_vain_waits_as_ever(run: Run, table: Path) -> None:
    """A read that takes long is answered by the loop; a short call behind it stays again."""

    async def main() -> None:
        db = await opened(table)
        slow = (
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 300000)"
            " SELECT count(*) FROM c"
        )
        for _ in range(3):
            assert await db.execute_fetchall(slow) == [(300000,)]
        before = lib.stats()["stays"]
        while lib.stats()["stays"] == before:
            await db.execute("INSERT INTO t VALUES (NULL)")
            await db.commit()
        await db.close()

    run(main)
