"""What makes a call quick must not be seen: kept objects, the running loop read in asyncio's own
place, the turn that a waiting call does not post, and a connection that is looked at before its
first transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ENDLESS, lib, looplite_only
from support.loops import on_the_loop

Run = Callable[..., Any]

CREATE = "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)"
INSERT = "INSERT INTO t(b) VALUES (?)"


def wal_file(path: Path) -> Path:
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(CREATE)
    db.execute("INSERT INTO t VALUES (1, 'one')")
    db.commit()
    db.close()
    return path


async def reads_run_on_the_loop(path: Path) -> bool:
    """Whether this system and file let anything run there."""
    async with lib.connect(path) as db:
        await db.execute_fetchall("SELECT b FROM t WHERE a = 1")
        before = lib.stats()["inline_hits"]
        for _ in range(20):
            await db.execute_fetchall("SELECT b FROM t WHERE a = 1")
        return bool(lib.stats()["inline_hits"] > before)


@looplite_only
@pytest.mark.parametrize("first", ["BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT s", INSERT])
def test_first_statement_begins_transaction(run: Run, tmp_path: Path, first: str) -> None:
    path = wal_file(tmp_path / "a.db")

    async def main() -> None:
        if not await reads_run_on_the_loop(path):
            pytest.skip("nothing runs on the loop here")
        async with lib.connect(path) as db:
            await db.execute(first, ("x",) if first == INSERT else ())
            # The first one may have to take the lock.
            assert await on_the_loop(lambda: db.execute(INSERT, ("row",)), 50, 50)
            await db.rollback()
            assert await db.execute_fetchall("SELECT count(*) FROM t") == [(1,)]

    run(main)


@pytest.mark.parametrize("timeout", [0.0, 60.0])
def test_first_begin_waits_for_no_lock(run: Run, tmp_path: Path, timeout: float) -> None:
    path = tmp_path / "a.db"
    holder = sqlite3.connect(path)
    holder.execute(CREATE)
    holder.commit()
    holder.execute("BEGIN EXCLUSIVE")

    async def main() -> None:
        async with lib.connect(path, timeout=timeout) as db:
            began = time.monotonic()
            await db.execute("BEGIN")
            assert time.monotonic() - began < 30, "waited for the lock"
            assert db.in_transaction
            holder.rollback()
            await db.execute(INSERT, ("x",))
            await db.rollback()

    run(main)
    holder.close()


@looplite_only
def test_dropped_calls_warn_whatever_they_were_before(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            for _ in range(3):
                for _ in range(10):
                    await (await db.execute("SELECT 1")).fetchone()
                with warnings.catch_warnings(record=True) as seen:
                    warnings.simplefilter("always")
                    for _ in range(100):  # more than are kept
                        db.execute("SELECT 1")
                assert len(seen) == 100
                assert "was never awaited" in str(seen[0].message)

    run(main)


@looplite_only
def test_kept_cursors_are_like_new(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute(CREATE)
            cursor = await db.execute(INSERT, ("x",))
            assert (cursor.lastrowid, cursor.rowcount) == (1, 1)
            cursor.arraysize = 7
            cursor.note = "mine"
            cursor.row_factory = sqlite3.Row
            del cursor
            for _ in range(3):
                cursor = await db.cursor()
                assert (cursor.lastrowid, cursor.rowcount, cursor.arraysize) == (None, -1, 1)
                assert cursor.row_factory is None
                assert cursor.description is None
                assert not hasattr(cursor, "note")

    run(main)


@looplite_only
def test_many_calls_and_cursors_at_once(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            for _ in range(3):
                cursors = await asyncio.gather(*(db.execute("SELECT ?", (n,)) for n in range(200)))
                rows = await asyncio.gather(*(cursor.fetchone() for cursor in cursors))
                assert rows == [(n,) for n in range(200)]

    run(main)


@looplite_only
def test_no_loop_is_noticed_after_one_ran() -> None:
    kept: list[Any] = []

    async def main() -> None:
        db = await lib.connect(":memory:")
        assert await db.execute_fetchall("SELECT 1") == [(1,)]
        kept.append(db)

    async def end() -> None:
        await kept[0].close()

    asyncio.run(main())
    with pytest.raises(RuntimeError, match="no running event loop"):
        kept[0].execute("SELECT 1").send(None)
    asyncio.run(end())


@looplite_only
def test_loops_that_follow_each_other_and_stand_beside() -> None:
    """A new loop may lie at the address of an old one, and so may what asyncio keeps it in."""
    failures: list[BaseException] = []

    async def main(number: int) -> None:
        async with lib.connect(":memory:") as db:
            for _ in range(20):
                cursor = await db.execute("SELECT ?", (number,))
                await asyncio.sleep(0)
                assert await cursor.fetchone() == (number,)

    def many() -> None:
        try:
            for number in range(30):
                asyncio.run(main(number))
        except BaseException as error:  # told to the test
            failures.append(error)

    threads = [threading.Thread(target=many) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@looplite_only
def test_factories_of_a_derived_connection_are_asked(run: Run, tmp_path: Path) -> None:
    class Mine(sqlite3.Connection):
        @property
        def row_factory(self) -> Any:  # type: ignore[override]
            return lambda cursor, row: ("mine", *row)

        @property
        def text_factory(self) -> Any:
            return lambda raw: "text of " + raw.decode()

    async def main() -> None:
        async with lib.connect(":memory:", factory=Mine) as db:
            assert await db.execute_fetchall("SELECT 'a'") == [("mine", "text of a")]
        async with lib.connect(":memory:") as db:
            db.row_factory = lambda cursor, row: list(row)
            db.text_factory = bytes
            assert await db.execute_fetchall("SELECT 'a'") == [[b"a"]]
            db.text_factory = str
            assert await db.execute_fetchall("SELECT 'a'") == [["a"]]

    run(main)


@looplite_only
def test_reads_beside_a_long_statement_have_turns(run: Run) -> None:
    """The call that waits posted no turn; the reads beside it have theirs all the same."""

    async def main() -> None:
        async with lib.connect(":memory:") as slow, lib.connect(":memory:") as quick:
            await quick.execute(CREATE)
            await quick.execute("INSERT INTO t VALUES (1, 'one')")
            await quick.commit()
            long = asyncio.create_task(slow.execute_fetchall(ENDLESS))
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while not long.done():
                    ticks += 1
                    await asyncio.sleep(0)

            ticker = asyncio.create_task(tick())
            while ticks < 20:
                cursor = await quick.execute("SELECT b FROM t WHERE a = ?", (1,))
                assert await cursor.fetchone() == ("one",)
            assert not long.done()
            long.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await long
            await ticker

    run(main)


@looplite_only
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_transaction_larger_than_the_page_cache(run: Run, tmp_path: Path, end: str) -> None:
    """A cache full of dirty pages is emptied by a worker, now and then; nearly all the inserts stay
    on the loop ([M] from the first full cache on, each one hopped: 40 us instead of 1.3).
    """
    path = wal_file(tmp_path / "a.db")

    async def main() -> None:
        if not await reads_run_on_the_loop(path):
            pytest.skip("nothing runs on the loop here")
        async with lib.connect(path) as db:
            await db.execute("PRAGMA cache_size = 40")
            await db.execute("BEGIN")
            # Again if not: an insert that loses the processor looks like a slow one.
            for _ in range(20):
                before = lib.stats()
                for n in range(6000):
                    await db.execute(INSERT, (f"{n:0100}",))
                after = lib.stats()
                assert after["worker_runs"] > before["worker_runs"], "nobody emptied the cache"
                on_loop = after["inline_hits"] - before["inline_hits"]
                if on_loop > 5000:
                    break
            assert on_loop > 5000
            await getattr(db, end)()
            assert await db.execute_fetchall("PRAGMA integrity_check") == [("ok",)]

    run(main)
    db = sqlite3.connect(path)
    expected = 6001 if end == "commit" else 1
    assert db.execute("SELECT count(*), count(DISTINCT a) FROM t").fetchone() == (expected,) * 2
    db.close()
