"""Cancellation: what is dropped, what is interrupted, what finishes, and what the task is told of
it.

At this layer a cancellation never ends the user's transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ENDLESS, lib, looplite_only
from support.locks import Probe, make, probe, rows, write_lock
from support.loops import caught, settled, turns, until
from support.outcomes import APPLIED, NOT_APPLIED, UNKNOWN, outcome

Run = Callable[..., Any]

PATIENT = 60.0
READING_T = (
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM t, c"
)
"""Holds a read lock on the file and never ends."""
BIG = 1_500_000
BIG_INSERT = f"INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {BIG}) SELECT x FROM c"  # noqa: E501


@pytest.fixture
def table(path: Path) -> Path:
    make(path, "CREATE TABLE t(v); INSERT INTO t VALUES (0)")
    return path


async def healthy(db: Any) -> None:
    async with db.execute("SELECT 'well'") as cursor:
        assert await cursor.fetchone() == ("well",)


async def cancelled(task: asyncio.Future[Any]) -> BaseException:
    assert task.cancel()
    error = await caught(task)
    assert isinstance(error, asyncio.CancelledError), repr(error)
    return error


@looplite_only
def test_queued_statement_is_dropped(run: Run, table: Path) -> None:
    """It answers at once, though the statement before it never ends, and does not run later."""

    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:
            running = asyncio.ensure_future(db.execute_fetchall(ENDLESS))
            await turns(2)
            queued = [
                asyncio.ensure_future(db.execute("INSERT INTO t VALUES (1)")),
                asyncio.ensure_future(db.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])),
                asyncio.ensure_future(db.executescript("INSERT INTO t VALUES (1)")),
            ]
            kept = asyncio.ensure_future(db.execute("INSERT INTO t VALUES ('kept')"))
            try:
                await turns(2)
                for task in queued:
                    assert outcome(await cancelled(task)) == NOT_APPLIED
                assert not running.done()
            finally:  # the close behind a failure would wait for what never ends
                await cancelled(running)
            await kept
            await healthy(db)

    run(main)
    assert rows(table, "SELECT v FROM t") == [(0,), ("kept",)]


@looplite_only
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_running_read_is_interrupted(run: Run, table: Path, mode: str) -> None:
    make(table, f"PRAGMA journal_mode = {mode}")

    async def main() -> None:
        async with lib.connect(table) as db:
            with probe(table) as outside:
                task = asyncio.ensure_future(db.execute_fetchall(READING_T))
                if mode == "DELETE":
                    await until(outside.in_use)
                else:
                    await turns(20)
                assert outcome(await cancelled(task)) == NOT_APPLIED
                assert not outside.in_use()
            await healthy(db)
            assert not db.in_transaction

    run(main)


@looplite_only
def test_running_read_in_a_transaction_leaves_it_open(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            await db.execute("INSERT INTO t VALUES (1)")
            task = asyncio.ensure_future(db.execute_fetchall(ENDLESS))
            await turns(20)
            await cancelled(task)
            assert db.in_transaction
            await db.execute("INSERT INTO t VALUES (2)")
            await db.commit()

    run(main)
    assert rows(table, "SELECT v FROM t") == [(0,), (1,), (2,)]


async def cancel_while_writing(
    db: Any, outside: Probe, make_call: Callable[[], Any]
) -> BaseException:
    """Cancels a statement that is seen to hold the write lock; it starts anew if it was quicker
    than the look.
    """
    while True:
        task = asyncio.ensure_future(make_call())
        await until(lambda task=task: task.done() or outside.write_locked())  # type: ignore[misc]
        if task.cancel():
            error = await caught(task)
            if isinstance(error, asyncio.CancelledError):
                return error
        await task
        await db.execute("DELETE FROM t")


@looplite_only
@pytest.mark.parametrize(
    "make_call",
    [
        lambda db: db.execute(BIG_INSERT),
        lambda db: db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(1, BIG + 1)]),
        lambda db: db.executescript("BEGIN;" + BIG_INSERT + "; COMMIT;"),
    ],
    ids=["execute", "executemany", "executescript"],
)
def test_running_write_finishes_or_says_what_became_of_it(
    run: Run, table: Path, make_call: Callable[[Any], Any]
) -> None:
    make(table, "DELETE FROM t")

    async def main() -> None:
        async with lib.connect(table, isolation_level="IMMEDIATE") as db:
            with probe(table) as outside:
                told = outcome(await cancel_while_writing(db, outside, lambda: make_call(db)))
                ((count,),) = await db.execute_fetchall("SELECT count(*) FROM t")
                if told == APPLIED:
                    assert count == BIG
                elif told == NOT_APPLIED:
                    assert count == 0
                await db.rollback()
                await healthy(db)

    run(main)


@looplite_only
def test_running_write_finishes(run: Run, table: Path) -> None:
    make(table, "DELETE FROM t")

    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:
            with probe(table) as outside:
                error = await cancel_while_writing(db, outside, lambda: db.execute(BIG_INSERT))
                assert outcome(error) == APPLIED
            await healthy(db)

    run(main)
    assert rows(table, "SELECT count(*) FROM t") == [(BIG,)]


@looplite_only
def test_running_write_in_a_transaction_leaves_it_open(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:
            await db.execute("BEGIN")
            await db.execute("INSERT INTO t VALUES (-1)")
            task = asyncio.ensure_future(db.execute(BIG_INSERT))
            await turns(20)
            error = await cancelled(task)
            told = outcome(error)
            assert told in (APPLIED, NOT_APPLIED)
            assert db.in_transaction
            await db.execute("INSERT INTO t VALUES (-2)")
            ((count,),) = await db.execute_fetchall("SELECT count(*) FROM t WHERE v > 0")
            assert count == (BIG if told == APPLIED else 0)
            await db.execute("DELETE FROM t WHERE v > 0")
            await db.execute("COMMIT")

    run(main)
    assert rows(table, "SELECT v FROM t ORDER BY v") == [(-2,), (-1,), (0,)]


@looplite_only
def test_cancelled_twice(run: Run, table: Path) -> None:
    make(table, "DELETE FROM t")

    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:
            with probe(table) as outside:
                task = asyncio.ensure_future(db.execute(BIG_INSERT))
                await until(lambda: task.done() or outside.write_locked())
                for _ in range(5):
                    task.cancel()
                    await turns()
                await asyncio.wait([task])
            await healthy(db)

    run(main)
    assert rows(table, "SELECT count(*) FROM t") == [(BIG,)]


@looplite_only
def test_waiting_for_a_lock_is_left_at_once(run: Run, table: Path) -> None:
    """The lock is never given back while the task waits: only a cancel that reaches it there ends
    the test.
    """

    async def main() -> None:
        async with lib.connect(table, isolation_level=None, timeout=PATIENT) as db:
            with write_lock(table):
                for sql in (
                    "INSERT INTO t VALUES (1)",
                    "BEGIN IMMEDIATE",
                    "CREATE TABLE u(v)",
                    "DELETE FROM t",
                ):
                    task = asyncio.ensure_future(db.execute(sql))
                    await turns(30)
                    assert outcome(await cancelled(task)) == NOT_APPLIED
                    assert not db.in_transaction
            await healthy(db)

    run(main)
    assert rows(table, "SELECT v FROM t") == [(0,)]


@looplite_only
def test_read_that_waits_for_a_lock(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table, timeout=PATIENT) as db:
            outside = sqlite3.connect(table, isolation_level=None)
            outside.execute("BEGIN EXCLUSIVE")
            task = asyncio.ensure_future(db.execute_fetchall("SELECT * FROM t"))
            await turns(30)
            await cancelled(task)
            outside.execute("ROLLBACK")
            outside.close()
            await healthy(db)

    run(main)


@looplite_only
def test_write_that_waits_in_its_commit_tells_the_truth(run: Run, table: Path) -> None:
    """An outside reader holds it up. It may be finished or undone; what is said must be what is in
    the file.
    """

    async def main() -> str:
        outside = sqlite3.connect(table, isolation_level=None)
        outside.execute("BEGIN")
        outside.execute("SELECT * FROM t").fetchall()
        async with lib.connect(table, isolation_level=None, timeout=PATIENT) as db:
            with probe(table) as look:
                task = asyncio.ensure_future(db.execute("INSERT INTO t VALUES (1)"))
                await until(look.write_locked)
                task.cancel()
                await turns(10)
                outside.execute("COMMIT")
                outside.close()
                told = outcome(await caught(task))
            assert not db.in_transaction
            await healthy(db)
        return told

    told = run(main)
    assert told in (APPLIED, NOT_APPLIED)
    assert rows(table, "SELECT v FROM t") == ([(0,), (1,)] if told == APPLIED else [(0,)])


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "queued"])
@pytest.mark.parametrize("name", ["commit", "rollback"])
def test_commit_and_rollback_happen_all_the_same(
    run: Run, table: Path, name: str, busy: bool
) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            await db.execute("INSERT INTO t VALUES (1)")
            before = (
                asyncio.ensure_future(db.execute_fetchall("SELECT count(*) FROM t"))
                if busy
                else None
            )
            if busy:
                await turns()
            task = asyncio.ensure_future(getattr(db, name)())
            await turns()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            if before is not None:
                await before
            await healthy(db)
            assert not db.in_transaction

    run(main)
    assert rows(table, "SELECT v FROM t") == ([(0,), (1,)] if name == "commit" else [(0,)])


@looplite_only
def test_a_cancelled_commit_says_that_it_happened(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table, timeout=PATIENT) as db:
            outside = sqlite3.connect(table, isolation_level=None)
            outside.execute("BEGIN")
            outside.execute("SELECT * FROM t").fetchall()
            await db.execute("INSERT INTO t VALUES (1)")
            task = asyncio.ensure_future(db.commit())
            await turns(10)
            assert not task.done()
            task.cancel()
            await turns(10)
            outside.execute("COMMIT")
            outside.close()
            assert outcome(await caught(task)) == APPLIED

    run(main)
    assert rows(table, "SELECT v FROM t") == [(0,), (1,)]


def test_close_happens_all_the_same(run: Run, table: Path) -> None:
    """The guard of every test sees to it that no descriptor is left."""

    async def main() -> None:
        db = await lib.connect(table)
        await db.execute("INSERT INTO t VALUES (1)")
        task = asyncio.ensure_future(db.close())
        await turns()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await db.close()
        with probe(table) as outside:
            assert settled(lambda: not outside.in_use())

    run(main)


@looplite_only
def test_close_waits_for_what_runs(run: Run, table: Path) -> None:
    """close() comes after what was asked before it; interrupt() ends an endless read for it."""

    async def main() -> None:
        db = await lib.connect(table)
        reading = asyncio.ensure_future(db.execute_fetchall(READING_T))
        with probe(table) as outside:
            await until(outside.in_use)
            closing = asyncio.ensure_future(db.close())
            await turns()
            assert not closing.done()
            await db.interrupt()
            await closing
            assert not outside.in_use()
        error = await caught(reading)
        assert isinstance(error, (sqlite3.Error, ValueError)), repr(error)

    run(main)


@looplite_only
def test_wait_for(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            for _ in range(3):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(db.execute_fetchall(ENDLESS), 0.005)
                await healthy(db)
            result = await asyncio.wait_for(db.execute_fetchall("SELECT 1"), PATIENT)
            assert list(result) == [(1,)]

    run(main)


def test_cancel_before_the_first_step_means_not_begun(run: Run, table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:
            task = asyncio.ensure_future(db.execute("INSERT INTO t VALUES (1)"))
            task.cancel()
            assert isinstance(await caught(task), asyncio.CancelledError)
            await healthy(db)

    # A coroutine that never began.
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        run(main)
    assert rows(table, "SELECT v FROM t") == [(0,)]


# A path may be opened inside the call, a URI is opened by a worker.
OPENINGS: list[Callable[[Path], Any]] = [
    lib.connect,
    lambda path: lib.connect(path.as_uri(), uri=True),
]


@looplite_only
@pytest.mark.parametrize("connect", OPENINGS, ids=["path", "uri"])
@pytest.mark.parametrize("after", range(6))
def test_cancel_during_connect(
    run: Run, table: Path, after: int, connect: Callable[[Path], Any]
) -> None:
    """Whenever it comes, nothing is left open (the guard looks)."""

    async def main() -> None:
        task = asyncio.ensure_future(connect(table))
        await turns(after)
        task.cancel()
        try:
            db = await task
        except asyncio.CancelledError:
            pass
        else:
            await db.close()

    run(main)


@looplite_only
@pytest.mark.parametrize("connect", OPENINGS, ids=["path", "uri"])
@pytest.mark.parametrize("after", range(4))
def test_cancel_in_async_with_connect(
    run: Run, table: Path, after: int, connect: Callable[[Path], Any]
) -> None:
    async def main() -> None:
        async def use() -> None:
            async with connect(table) as db:
                await db.execute("INSERT INTO t VALUES (1)")
                await asyncio.get_running_loop().create_future()

        task = asyncio.ensure_future(use())
        await turns(after * 10)
        task.cancel()
        assert isinstance(await caught(task), asyncio.CancelledError)

    run(main)
    with probe(table) as outside:
        assert settled(lambda: not outside.in_use())
    assert rows(table, "SELECT v FROM t") == [(0,)]


def test_cleaning_up_under_cancellation(run: Run, table: Path) -> None:
    """`ROLLBACK` or `COMMIT` as text in a finally block: the transaction is still there for it."""

    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:
            for end in ("ROLLBACK", "COMMIT"):
                started = asyncio.Event()

                async def use(end: str, started: asyncio.Event) -> None:
                    await db.execute("BEGIN")
                    try:
                        await db.execute("INSERT INTO t VALUES (?)", (end,))
                        started.set()
                        await asyncio.get_running_loop().create_future()
                    finally:
                        await db.execute(end)

                task = asyncio.ensure_future(use(end, started))
                await started.wait()
                task.cancel()
                assert isinstance(await caught(task), asyncio.CancelledError)
                assert not db.in_transaction

    run(main)
    assert rows(table, "SELECT v FROM t") == [(0,), ("COMMIT",)]


@looplite_only
def test_cancelled_fetch_leaves_the_connection_good(run: Run, table: Path) -> None:
    make(
        table,
        "INSERT INTO t SELECT value FROM json_each('[" + ",".join("1" for _ in range(300)) + "]')",
    )

    async def main() -> None:
        async with lib.connect(table) as db:
            fetch: Callable[..., Any]
            for fetch in (
                lambda c: c.fetchall(),
                lambda c: c.fetchmany(100_000),
                lambda c: c.fetchone(),
            ):
                cursor = await db.execute("SELECT a.v FROM t a, t b, t c")
                task = asyncio.ensure_future(fetch(cursor))
                await turns(2)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                await healthy(db)
                await cursor.execute("SELECT 1")
                assert await cursor.fetchall() == [(1,)]
            with probe(table) as outside:
                await cursor.close()
                assert not outside.in_use()

    run(main)


@looplite_only
@pytest.mark.parametrize("seed", range(8))
def test_random_cancellations_tell_the_truth(run: Run, table: Path, seed: int) -> None:
    """Many inserts, cancelled at random moments; afterwards the table holds exactly what the tasks
    were told.
    """
    rng = random.Random(seed)
    expected: set[int] = set()
    doubtful: set[int] = set()

    async def main() -> None:
        opened = [await lib.connect(table, isolation_level=None, timeout=PATIENT) for _ in range(3)]
        for db in opened:
            await db.execute("PRAGMA synchronous = OFF")

        async def insert(number: int) -> None:
            db = rng.choice(opened)
            try:
                if rng.random() < 0.5:
                    await db.execute("INSERT INTO t VALUES (?)", (number,))
                else:
                    await db.executemany("INSERT INTO t VALUES (?)", [(number,)])
            except asyncio.CancelledError as error:
                told = outcome(error)
                if told == APPLIED:
                    expected.add(number)
                elif told == UNKNOWN:
                    doubtful.add(number)
                raise
            expected.add(number)

        tasks: list[asyncio.Task[None]] = []
        for number in range(1, 201):
            tasks.append(asyncio.ensure_future(insert(number)))
            await turns(rng.randint(0, 2))
            if rng.random() < 0.6:
                rng.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for db in opened:
            assert not db.in_transaction
            await db.close()

    run(main)
    found = [v for (v,) in rows(table, "SELECT v FROM t WHERE v > 0")]
    assert len(found) == len(set(found)), f"seed {seed}: something ran twice"
    assert set(found) - doubtful == expected - doubtful, f"seed {seed}"


@looplite_only
@pytest.mark.parametrize("seed", range(6))
def test_random_cancellations_in_transactions(run: Run, table: Path, seed: int) -> None:
    """Whole transactions of one task, cancelled anywhere: rolled back by their own code, or there
    as a whole.
    """
    rng = random.Random(seed)
    committed: set[int] = set()
    doubtful: set[int] = set()

    async def main() -> None:
        async def work(number: int) -> None:
            async with lib.connect(table, isolation_level=None, timeout=PATIENT) as db:
                await db.execute("BEGIN IMMEDIATE")
                await db.execute("INSERT INTO t VALUES (?)", (number,))
                await db.execute("INSERT INTO t VALUES (?)", (number,))
                try:
                    await db.commit()
                except asyncio.CancelledError as error:
                    told = outcome(error)
                    if told == APPLIED:
                        committed.add(number)
                    elif told == UNKNOWN:
                        # Cancelled twice: the second one is not made to wait for the answer.
                        doubtful.add(number)
                    raise
                committed.add(number)

        tasks: list[asyncio.Task[None]] = []
        for number in range(1, 41):
            tasks.append(asyncio.ensure_future(work(number)))
            await turns(rng.randint(0, 4))
            if rng.random() < 0.5:
                rng.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(main)
    found = rows(table, "SELECT v, count(*) FROM t WHERE v > 0 GROUP BY v")
    counts = {number: count for number, count in found}  # noqa: C416
    assert set(counts.values()) <= {2}, f"seed {seed}: {counts}"
    assert set(counts) - doubtful == committed - doubtful, f"seed {seed}"


@looplite_only
def test_open_cancelled_before_it_began(run: Run, table: Path) -> None:
    """The turn's time was spent, so opening gave way; cancelled then, it never happens. It did, and
    left an open connection that nobody had.
    """

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            gave_way = False
            while not gave_way:
                call = db.execute("SELECT 1")
                try:
                    if call.send(None) is None:
                        gave_way = True  # the time of this turn is spent
                    else:  # it takes a worker
                        await asyncio.sleep(0)
                except StopIteration:
                    pass
                call.close()
            opening = lib.connect(table).__aenter__()
            assert opening.send(None) is None
            before = lib.stats()["submitted"]
            with pytest.raises(asyncio.CancelledError) as caught:
                opening.throw(asyncio.CancelledError())
            assert outcome(caught.value) == NOT_APPLIED
            assert lib.stats()["submitted"] == before
            del opening

    run(main)
