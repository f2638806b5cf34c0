"""Event loops: several in several threads with one connection, one after another, and loops that
end too early.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ENDLESS, lib, looplite_only
from support.locks import make, rows
from support.loops import begin, run_on, turns
from support.scripts import ran_clean, run_script

Run = Callable[..., Any]
Factory = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture
def table(path: Path) -> Path:
    make(path, "CREATE TABLE t(v)")
    return path


def test_one_connection_in_one_loop_after_another(run: Run, table: Path) -> None:
    kept: list[Any] = []

    async def opening() -> None:
        kept.append(await lib.connect(table))
        await kept[0].execute("INSERT INTO t VALUES (1)")

    async def using() -> None:
        await kept[0].execute("INSERT INTO t VALUES (2)")
        await kept[0].commit()

    async def closing() -> None:
        async with kept[0].execute("SELECT v FROM t") as cursor:
            assert await cursor.fetchall() == [(1,), (2,)]
        await kept[0].close()

    for part in (opening, using, closing):
        run(part)


def test_a_cursor_in_the_next_loop(run: Run) -> None:
    kept: list[Any] = []

    async def opening() -> None:
        db = await lib.connect(":memory:")
        cursor = await db.execute(
            "WITH RECURSIVE c(x) AS (VALUES (0) UNION ALL SELECT x + 1 FROM c LIMIT 10000) SELECT x FROM c"  # noqa: E501
        )
        assert await cursor.fetchone() == (0,)
        kept.extend((db, cursor))

    async def reading() -> None:
        db, cursor = kept
        assert await cursor.fetchall() == [(n,) for n in range(1, 10000)]
        await db.close()

    run(opening)
    run(reading)


def test_other_kinds_of_loop_afterwards(table: Path) -> None:
    from support.loops import LOOPS

    kept: list[Any] = []

    async def opening() -> None:
        kept.append(await lib.connect(table))

    async def using() -> None:
        await kept[0].execute("INSERT INTO t VALUES (1)")

    async def closing() -> None:
        await kept[0].commit()
        await kept[0].close()

    factories = list(LOOPS.values())
    run_on(factories[0], opening)
    for factory in reversed(factories):
        run_on(factory, using)
    run_on(factories[-1], closing)
    assert len(rows(table, "SELECT v FROM t")) == len(factories)


def test_four_loops_share_a_connection_while_the_first_is_blocked(
    loop_factory: Factory, table: Path
) -> None:
    """The answers go to the loop of the task that asked; the loop that opened the connection sits
    in join().
    """
    failures: list[BaseException] = []

    async def main() -> None:
        async with lib.connect(table) as db:

            async def work(number: int) -> None:
                for n in range(25):
                    await db.execute("INSERT INTO t VALUES (?)", (number * 100 + n,))
                    async with db.execute("SELECT ?", (number,)) as cursor:
                        assert await cursor.fetchone() == (number,)

            def thread(number: int) -> None:
                try:
                    run_on(loop_factory, work, number)
                except BaseException as error:
                    failures.append(error)

            threads = [threading.Thread(target=thread, args=(n,)) for n in range(4)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
            await db.commit()

    run_on(loop_factory, main)
    assert not failures, failures
    assert rows(table, "SELECT count(DISTINCT v) FROM t") == [(100,)]


def test_two_loops_at_once_with_connections_of_their_own(
    loop_factory: Factory, table: Path
) -> None:
    failures: list[BaseException] = []

    async def work(number: int) -> None:
        async with lib.connect(table, isolation_level=None, timeout=60) as db:
            for n in range(25):
                await db.execute("INSERT INTO t VALUES (?)", (number * 100 + n,))

    def thread(number: int) -> None:
        try:
            run_on(loop_factory, work, number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=thread, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failures, failures
    assert rows(table, "SELECT count(DISTINCT v) FROM t") == [(100,)]


@looplite_only
def test_a_loop_closed_with_work_in_flight(loop_factory: Factory, table: Path) -> None:
    """Its answers have nobody to go to; the connection is good in the next loop."""
    loop = loop_factory()
    kept: list[Any] = []

    async def opening() -> None:
        db = await lib.connect(table, isolation_level=None)
        kept.append(db)
        # Futures by hand: no task is left behind that complains of its loop.
        awaitable = db.execute("INSERT INTO t VALUES (1)")
        kept.append(awaitable)
        await begin(awaitable)
        reading = db.execute_fetchall(ENDLESS)
        kept.append(reading)
        await begin(reading)

    loop.run_until_complete(opening())
    loop.close()

    async def closing() -> None:
        await kept[0].interrupt()
        await kept[0].close()

    run_on(loop_factory, closing)
    for awaitable in kept[1:]:
        awaitable.close()


@looplite_only
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "work", ["INSERT INTO t VALUES (1)", "endless", "locked", "connect", "uri"]
)
def test_loop_closed_early_in_a_program(tmp_path: Path, work: str, loop: str) -> None:
    """No hang, no traceback, and the status that was asked for."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    make(tmp_path / "script.db", "CREATE TABLE t(v)")
    done = run_script(
        tmp_path,
        f"""
        warnings.simplefilter("ignore", ResourceWarning)
        if {loop!r} == "uvloop":
            import uvloop
            loop = uvloop.new_event_loop()
        else:
            loop = asyncio.new_event_loop()
        work = {work!r}
        outside = sqlite3.connect(PATH, isolation_level=None)
        if work == "locked":
            outside.execute("BEGIN IMMEDIATE")

        async def main():
            if work == "uri":  # opened by a worker
                pending = lib.connect(f"file:{{PATH}}", uri=True)
                pending.__await__().send(None)
                return
            if work == "connect":  # may be opened inside the call
                pending = lib.connect(PATH)
                try:
                    pending.__await__().send(None)
                except StopIteration:
                    pass
                return
            db = await lib.connect(PATH, isolation_level=None, timeout=600)
            sql = ENDLESS if work == "endless" else "INSERT INTO t VALUES (1)"
            awaitable = db.execute(sql)
            try:
                awaitable.send(None)
            except StopIteration:  # it has ended inside the call
                pass
            return db, awaitable

        kept = loop.run_until_complete(main())
        loop.close()
        print("closed")
        sys.exit(3)
        """,
    )
    assert done.stdout == "closed\n"
    ran_clean(done, 3)


@looplite_only
def test_many_loops_leave_no_descriptors(run: Run, table: Path) -> None:
    """Each loop has an engine of its own while it lives (the guard counts descriptors)."""

    async def main() -> None:
        async with lib.connect(table) as db:
            await db.execute_fetchall("SELECT 1")

    for _ in range(50):
        run(main)


@looplite_only
def test_tasks_left_at_the_end_of_a_loop(run: Run, table: Path) -> None:
    """The end of asyncio.run cancels them; their `async with` blocks still close."""
    kept: list[asyncio.Future[None]] = []

    async def main() -> None:
        async def use() -> None:
            async with lib.connect(table) as db:
                await db.execute("INSERT INTO t VALUES (1)")
                await asyncio.get_running_loop().create_future()

        for _ in range(5):
            kept.append(asyncio.ensure_future(use()))
            await turns(20)

    run(main)
    assert rows(table, "SELECT * FROM t") == []


@looplite_only
def test_without_a_running_loop(table: Path) -> None:
    """Driven by hand outside any loop: a clear error."""
    db = lib.connect(table)
    with pytest.raises(RuntimeError, match="loop"):
        db.__await__().send(None)
