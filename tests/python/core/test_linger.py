"""Staying for an answer: the one call of a loop that a worker has looks for its end for a moment
before its task is suspended. What it gives is the same as without.

How long that moment is, the tests say: for ever, so that every answer comes in time, or no time at
all. Whether a worker is as quick as that is no part of them.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import WATCHDOG_SECONDS, lib, looplite_only
from support.locks import make, rows
from support.loops import Ticks, caught, until
from support.scripts import ran_clean, run_script

Run = Callable[..., Any]
Stay = Callable[[float, float], Any]

pytestmark = [
    looplite_only,
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one processor nobody stays"),
]

EVER = 2 * WATCHDOG_SECONDS


@pytest.fixture(autouse=True)
def stay() -> Iterator[Stay]:
    """Sets for how long a call stays; for ever to begin with."""
    set_it: Stay = lib._core._stay
    before = set_it(EVER, EVER)
    yield set_it
    set_it(*before)


class Selects:
    """Counts how often asyncio's loop looks at its descriptors."""

    def __init__(self) -> None:
        self.count = 0
        self._selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        self._select = self._selector.select
        self._selector.select = self._counted

    def _counted(self, timeout: float | None = None) -> Any:
        self.count += 1
        return self._select(timeout)


@pytest.fixture
def table(path: Path) -> Path:
    make(path, "PRAGMA journal_mode = WAL; CREATE TABLE t(v UNIQUE)")
    return path


def test_a_program_stays_for_less_than_it_takes_to_be_woken_twice(tmp_path: Path) -> None:
    """And for less than a turn where that keeps nobody waiting."""
    done = run_script(tmp_path, "print(*lib._core._stay(0, 0))")
    ran_clean(done)
    blind, idle = map(float, done.stdout.split())
    assert 0 < blind <= 100e-6
    assert blind < idle <= 500e-6


def test_the_only_call_of_a_loop_stays(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            for count in range(20):
                before = lib.stats()
                cursor = await db.execute("INSERT INTO t VALUES (?)", (count,))
                assert cursor.rowcount == 1
                assert cursor.lastrowid == count + 1
                assert db.in_transaction
                await db.commit()
                assert not db.in_transaction
                # The first write of a transaction takes a worker, a commit of it always.
                now = lib.stats()
                assert now["stays"] - before["stays"] == now["hops"] - before["hops"] == 2

    run(main)
    assert rows(table, "SELECT count(*), max(v) FROM t") == [(20, 19)]


def test_an_error_is_told_all_the_same(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            await db.execute("INSERT INTO t VALUES (1)")
            await db.commit()
            for _ in range(20):
                before = lib.stats()["stays"]
                error = await caught(db.execute("INSERT INTO t VALUES (1)"))
                assert lib.stats()["stays"] == before + 1
                assert isinstance(error, sqlite3.IntegrityError)
                assert str(error) == "UNIQUE constraint failed: t.v"
                assert db.in_transaction
                await db.rollback()

    run(main)


def test_nobody_stays_while_another_call_is_under_way(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as other, lib.connect(table) as db:
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

    run(main)


def test_a_task_that_stays_gives_way_when_its_turn_is_spent(run: Run, table: Path) -> None:
    """Nothing it does is waited for, so but for that the loop would never turn."""

    async def main() -> None:
        async with lib.connect(table) as db, Ticks(0) as ticks:
            turns: Any = ticks
            if type(asyncio.get_running_loop()) is asyncio.SelectorEventLoop:
                await ticks.__aexit__()  # in a loop with something to do nobody stays
                turns = Selects()
            before, first = lib.stats(), turns.count
            while turns.count < first + 10:
                await db.execute("INSERT INTO t VALUES (NULL)")
                await db.commit()
            now = lib.stats()
            assert now["stays"] - before["stays"] == now["hops"] - before["hops"] > 0

    run(main)


def test_who_stays_in_vain_does_so_ever_more_seldom(run: Run, table: Path, stay: Stay) -> None:
    """1, 2, 4, ... 256 calls are not stayed for; then it is tried again."""

    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:

            async def write() -> bool:
                before = lib.stats()["stays"]
                await db.execute("INSERT INTO t VALUES (NULL)")
                return bool(lib.stats()["stays"] > before)

            for failures in range(3):
                stay(0, 0)
                await write()
                stay(EVER, EVER)
                for _ in range(2**failures):
                    assert not await write()
            assert await write()
            assert await write()

    run(main)
