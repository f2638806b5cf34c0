"""Many tasks on one connection, many connections on one file, and a loop that goes on meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ENDLESS, IS_LOOPLITE, lib, looplite_only
from support.errors import has_code
from support.locks import make, probe, rows, write_lock
from support.loops import Ticks, caught, turns, until

Run = Callable[..., Any]

PATIENT = 60.0
"""A busy timeout that only a hang can reach."""


@pytest.fixture
def table(path: Path) -> Path:
    make(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    return path


def test_gather_keeps_the_order_of_starting(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            await asyncio.gather(
                *(db.execute("INSERT INTO t(v) VALUES (?)", (n,)) for n in range(200))
            )
            await db.commit()

    run(main)
    assert rows(table, "SELECT v FROM t ORDER BY id") == [(n,) for n in range(200)]


def test_order_is_that_of_the_first_await_not_of_the_call(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            first = db.execute("INSERT INTO t(v) VALUES ('made first')")
            second = db.execute("INSERT INTO t(v) VALUES ('made second')")
            await second
            await first
            await db.commit()

    run(main)
    assert rows(table, "SELECT v FROM t ORDER BY id") == [("made second",), ("made first",)]


def test_different_calls_in_one_gather(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            results = await asyncio.gather(
                db.execute("INSERT INTO t(v) VALUES ('a')"),
                db.executemany("INSERT INTO t(v) VALUES (?)", [("b",), ("c",)]),
                db.execute_insert("INSERT INTO t(v) VALUES ('d')"),
                db.commit(),
                db.execute("INSERT INTO t(v) VALUES ('lost')"),
                db.rollback(),
                db.executescript("INSERT INTO t(v) VALUES ('e');"),
                db.execute_fetchall("SELECT v FROM t ORDER BY id"),
                db.cursor(),
            )
            assert results[2] == (4,)
            assert [v for (v,) in results[7]] == ["a", "b", "c", "d", "e"]

    run(main)


def test_each_task_gets_its_own_answer(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:

            async def ask(n: int) -> None:
                for m in range(20):
                    async with db.execute("SELECT ?, ?", (n, m)) as cursor:
                        assert await cursor.fetchall() == [(n, m)]

            await asyncio.gather(*(ask(n) for n in range(50)))

    run(main)


def test_errors_go_to_the_task_that_made_them(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            results = await asyncio.gather(
                *(
                    db.execute_fetchall(
                        "SELECT ?" if n % 2 else f"SELECT * FROM nothing{n}", (n,) if n % 2 else ()
                    )
                    for n in range(60)
                ),
                return_exceptions=True,
            )
            for n, result in enumerate(results):
                if n % 2:
                    assert not isinstance(result, BaseException)
                    assert list(result) == [(n,)]
                else:
                    assert str(result) == f"no such table: nothing{n}"

    run(main)


def test_many_connections_count_together(run: Run, table: Path) -> None:
    """No update is lost and none is applied twice, whatever waits for whom."""

    async def main() -> None:
        async def work() -> None:
            async with lib.connect(table, isolation_level=None, timeout=PATIENT) as db:
                for _ in range(10):
                    await db.execute("UPDATE t SET v = v + 1")

        await asyncio.gather(*(work() for _ in range(12)))

    make(table, "INSERT INTO t VALUES (1, 0)")
    run(main)
    assert rows(table, "SELECT v FROM t") == [(120,)]


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_readers_beside_a_writer(run: Run, table: Path, mode: str) -> None:
    """A reader sees both halves of a transaction or neither."""
    make(table, f"PRAGMA journal_mode = {mode}; INSERT INTO t VALUES (1, 0), (2, 0)")

    async def main() -> None:
        done = False

        async def write() -> None:
            nonlocal done
            async with lib.connect(table, isolation_level=None, timeout=PATIENT) as db:
                for _ in range(40):
                    await db.execute("BEGIN IMMEDIATE")
                    await db.execute("UPDATE t SET v = v + 1 WHERE id = 1")
                    await db.execute("UPDATE t SET v = v + 1 WHERE id = 2")
                    await db.execute("COMMIT")
            done = True

        async def read() -> None:
            async with lib.connect(table, timeout=PATIENT) as db:
                last = 0
                while not done:
                    async with db.execute("SELECT v FROM t ORDER BY id") as cursor:
                        (one,), (two,) = await cursor.fetchall()
                    assert one == two
                    assert one >= last
                    last = one
                    await turns()

        await asyncio.gather(write(), *(read() for _ in range(4)))

    run(main)
    assert rows(table, "SELECT v FROM t") == [(40,), (40,)]


def test_waiting_for_a_lock_ends_when_it_is_free(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table, isolation_level=None, timeout=PATIENT) as db:
            with write_lock(table) as outside:
                waiting = asyncio.ensure_future(db.execute("INSERT INTO t(v) VALUES ('waited')"))
                async with Ticks(0.001) as ticks:
                    await until(lambda: ticks.count >= 20)
                assert not waiting.done()
                outside.execute("COMMIT")
                await waiting

    run(main)
    assert rows(table, "SELECT v FROM t") == [("waited",)]


def test_two_connections_wait_for_each_other_in_turn(run: Run, table: Path) -> None:
    async def main() -> None:
        async with (
            lib.connect(table, timeout=PATIENT) as one,
            lib.connect(table, timeout=PATIENT) as two,
        ):
            for n in range(10):
                await one.execute("INSERT INTO t(v) VALUES (?)", (n,))
                waiting = asyncio.ensure_future(two.execute("INSERT INTO t(v) VALUES (?)", (-n,)))
                await turns(5)
                assert not waiting.done()
                await one.commit()
                await waiting
                waiting = asyncio.ensure_future(one.execute_fetchall("SELECT count(*) FROM t"))
                await two.commit()
                await waiting

    run(main)
    assert rows(table, "SELECT count(*) FROM t") == [(20,)]


def test_a_deadlock_is_told_at_once(run: Run, table: Path) -> None:
    """One reads and wants to write, the other writes and wants to commit: SQLite refuses the first,
    whatever its timeout.
    """

    async def main() -> None:
        async with (
            lib.connect(table, isolation_level=None, timeout=PATIENT) as one,
            lib.connect(table, isolation_level=None, timeout=PATIENT) as two,
        ):
            await one.execute("BEGIN")
            await one.execute_fetchall("SELECT * FROM t")
            await two.execute("BEGIN IMMEDIATE")
            await two.execute("INSERT INTO t(v) VALUES ('two')")
            error = await caught(one.execute("INSERT INTO t(v) VALUES ('one')"))
            assert isinstance(error, sqlite3.OperationalError)
            assert str(error) == "database is locked"
            has_code(error, "SQLITE_BUSY")
            committing = asyncio.ensure_future(two.commit())
            await turns(5)
            await one.rollback()
            await committing

    run(main)
    assert rows(table, "SELECT v FROM t") == [("two",)]


def test_the_loop_goes_on_during_a_long_read(run: Run) -> None:
    """A read without an end, ended when the timer has fired often enough: a loop that stood still
    never gets there.
    """

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            reading = asyncio.ensure_future(db.execute_fetchall(ENDLESS))
            async with Ticks(0.001) as ticks:
                await until(lambda: ticks.count >= 100)
            assert not reading.done()
            while not reading.done():
                await db.interrupt()
                await turns()
            assert isinstance(await caught(reading), sqlite3.OperationalError)

    run(main)


def test_the_loop_goes_on_during_a_commit_that_waits(run: Run, table: Path) -> None:
    """A commit in rollback mode waits for a reader of another connection."""

    async def main() -> None:
        outside = sqlite3.connect(table, isolation_level=None)
        outside.execute("BEGIN")
        outside.execute("SELECT * FROM t").fetchall()
        async with lib.connect(table, timeout=PATIENT) as db:
            await db.execute("INSERT INTO t(v) VALUES (1)")
            committing = asyncio.ensure_future(db.commit())
            async with Ticks(0.001) as ticks:
                await until(lambda: ticks.count >= 50)
            assert not committing.done()
            outside.execute("COMMIT")
            await committing
        outside.close()

    run(main)
    assert rows(table, "SELECT v FROM t") == [(1,)]


def test_other_connections_go_on_beside_long_reads(run: Run, table: Path) -> None:
    """Long statements of some connections keep no other one from its turn."""

    async def main() -> None:
        slow = [await lib.connect(":memory:") for _ in range(3)]
        reading = [asyncio.ensure_future(db.execute_fetchall(ENDLESS)) for db in slow]
        await turns(3)
        async with lib.connect(table, isolation_level=None) as db:
            for n in range(50):
                await db.execute("INSERT INTO t(v) VALUES (?)", (n,))
            async with db.execute("SELECT count(*) FROM t") as cursor:
                assert await cursor.fetchone() == (50,)
        while not all(task.done() for task in reading):
            for db in slow:
                await db.interrupt()
            await turns()
        assert all(
            isinstance(e, sqlite3.OperationalError)
            for e in await asyncio.gather(*reading, return_exceptions=True)
        )
        for db in slow:
            await db.close()

    run(main)


@looplite_only
def test_more_waiting_writers_than_workers(run: Run, table: Path) -> None:
    """Who waits for a lock holds no worker: with far more of them than workers, reads still go
    through.
    """

    async def main() -> None:
        count = 8 * max(4, 2 * (os.cpu_count() or 1))
        opened = [
            await lib.connect(table, isolation_level=None, timeout=PATIENT) for _ in range(count)
        ]
        with write_lock(table) as outside:
            waiting = [
                asyncio.ensure_future(db.execute("INSERT INTO t(v) VALUES (1)")) for db in opened
            ]
            await turns(10)
            async with (
                lib.connect(table) as reader,
                reader.execute("SELECT count(*) FROM t") as cursor,
            ):
                assert await cursor.fetchone() == (0,)
            assert not any(task.done() for task in waiting)
            outside.execute("ROLLBACK")
            await asyncio.gather(*waiting)
        for db in opened:
            await db.close()
        assert rows(table, "SELECT count(*) FROM t") == [(count,)]

    run(main)


@looplite_only
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_idle_connections_have_no_threads(run: Run, table: Path) -> None:
    async def main() -> None:
        before = len(os.listdir("/proc/self/task"))
        opened = [await lib.connect(table) for _ in range(200)]
        for db in opened:
            await db.execute_fetchall("SELECT * FROM t")
        # The workers, and a few for commits and timers.
        assert len(os.listdir("/proc/self/task")) - before <= max(4, 2 * (os.cpu_count() or 1)) + 4
        for db in opened:
            await db.close()

    run(main)


@pytest.mark.parametrize("seed", range(5))
def test_random_transfers(run: Run, table: Path, seed: int) -> None:
    """Money moved between accounts by many tasks, with rollbacks: the sum never changes."""
    make(table, "INSERT INTO t SELECT column1, 100 FROM (VALUES (1), (2), (3), (4), (5))")

    async def main() -> None:
        async def move(number: int) -> None:
            rng = random.Random(seed * 1000 + number)
            async with lib.connect(table, isolation_level=None, timeout=PATIENT) as db:
                for _ in range(8):
                    a, b, amount = rng.randint(1, 5), rng.randint(1, 5), rng.randint(1, 30)
                    await db.execute("BEGIN IMMEDIATE")
                    await db.execute("UPDATE t SET v = v - ? WHERE id = ?", (amount, a))
                    if rng.random() < 0.3:
                        await turns(rng.randint(0, 3))
                        await db.rollback()
                        continue
                    await db.execute("UPDATE t SET v = v + ? WHERE id = ?", (amount, b))
                    await db.commit()
                    ((total,),) = await db.execute_fetchall("SELECT sum(v) FROM t")
                    assert total == 500

        await asyncio.gather(*(move(n) for n in range(6)))

    run(main)
    assert rows(table, "SELECT sum(v) FROM t") == [(500,)], f"seed {seed}"
    with probe(table) as outside:
        assert not outside.in_use()


@pytest.mark.parametrize("spent", [False, True], ids=["in time", "time is spent"])
@pytest.mark.parametrize("pending", [False, True], ids=["at once", "behind a statement"])
def test_calls_that_begin_beside_a_close(run: Run, table: Path, pending: bool, spent: bool) -> None:
    """For other tasks a close is under way until the loop comes round; for its own it is over.

    Also when the turn's time is spent, where calls otherwise let the loop come round first.
    """

    async def spend() -> None:
        end = time.perf_counter_ns() + 2_000_000
        while time.perf_counter_ns() < end:
            pass

    async def main() -> None:
        db = await lib.connect(table)
        cursor = await db.execute("SELECT 1")
        await cursor.fetchall()
        own: list[BaseException] = []

        async def close() -> None:
            await db.close()
            own.append(await caught(db.execute("SELECT 1")))
            own.append(await caught(cursor.fetchall()))

        tasks: list[asyncio.Future[Any]] = []
        if pending:
            tasks.append(asyncio.ensure_future(db.executescript("CREATE TABLE more(x)")))
        tasks.append(asyncio.ensure_future(close()))
        if spent:
            tasks.append(asyncio.ensure_future(spend()))
        behind: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(call)
            for call in (cursor.fetchall(), cursor.execute("SELECT 2"), db.execute("SELECT 3"))
        ]
        await asyncio.gather(*tasks)
        for task in behind:
            error = await caught(task)
            assert type(error) is sqlite3.ProgrammingError, error
            assert str(error) == "Cannot operate on a closed database."
        for error in [*own, await caught(cursor.fetchall()), await caught(db.execute("SELECT 1"))]:
            assert type(error) is ValueError, error

    run(main)


@pytest.mark.parametrize("factory", [str, bytes], ids=["str", "bytes"])
def test_what_was_asked_before_close_is_answered(run: Run, path: Path, factory: Any) -> None:
    """Also when close() ends before the tasks that asked had their turn to take the rows."""
    make(path, "CREATE TABLE t(v); INSERT INTO t VALUES ('x')")
    options = {"inline": False} if IS_LOOPLITE else {}

    async def main() -> None:
        for turns_between in range(6):
            db = await lib.connect(path, **options)
            db.text_factory = factory
            cursor = await db.execute("SELECT v FROM t")
            asked = [asyncio.ensure_future(db.execute_fetchall("SELECT v FROM t")) for _ in "ab"]
            asked.append(asyncio.ensure_future(cursor.fetchall()))
            await turns(1 + turns_between)
            await db.close()
            for answer in await asyncio.gather(*asked):
                assert list(answer) == [("x",) if factory is str else (b"x",)]

    run(main)
