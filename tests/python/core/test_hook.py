"""Connection.on_statement: what it is told, where, when, and that it can break nothing."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import statistics
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ENDLESS, lib, looplite_only
from support.locks import make, write_lock
from support.loops import begin, caught, run_on, turns, until

pytestmark = looplite_only

Run = Callable[..., Any]


@pytest.fixture
def table(path: Path) -> Path:
    make(path, "CREATE TABLE t(v UNIQUE); PRAGMA journal_mode = WAL")
    return path


def test_what_is_told(run: Run, table: Path) -> None:
    told: list[Any] = []

    async def main() -> None:
        async with lib.connect(table, on_statement=told.append) as db:
            await db.execute("INSERT INTO t VALUES (?)", (1,))
            await db.executemany("INSERT INTO t VALUES (?)", [(2,), (3,), (4,)])
            await db.commit()
            await db.execute("UPDATE t SET v = v + :more", {"more": 10})
            await db.rollback()
            await db.execute_insert("INSERT INTO t VALUES (5)")
            await db.execute_fetchall("SELECT v FROM t WHERE v > ? AND v < ?", (1, 5))
            await db.executescript("CREATE TABLE u(v); DROP TABLE u")

    before = time.monotonic_ns()
    run(main)
    after = time.monotonic_ns()
    assert [(each.sql, each.parameters, each.rows) for each in told] == [
        ("INSERT INTO t VALUES (?)", 1, 1),
        ("INSERT INTO t VALUES (?)", 1, 3),
        ("COMMIT", 0, None),
        ("UPDATE t SET v = v + :more", 1, 4),
        ("ROLLBACK", 0, None),
        ("INSERT INTO t VALUES (5)", 0, 1),
        ("SELECT v FROM t WHERE v > ? AND v < ?", 2, 3),
        ("CREATE TABLE u(v); DROP TABLE u", 0, None),
    ]
    for each in told:
        assert isinstance(each, lib.Statement)
        assert each.where in ("inline", "worker")
        assert (each.outcome, each.applied) == ("ok", "applied")
        assert (each.error, each.sqlite_errorcode, each.message) == (None, None, None)
        assert before <= each.started_ns <= each.started_ns + each.duration_ns <= after
        assert 0 <= each.waited_ns <= after - before
    starts = [each.started_ns for each in told]
    assert starts == sorted(starts)


def test_where_it_ran(run: Run, table: Path) -> None:
    told: list[Any] = []

    async def main() -> None:
        async with lib.connect(table) as db:
            await db.execute_fetchall("SELECT 1")
            db.on_statement = told.append
            before = lib.stats()["inline_hits"]
            for n in range(20):
                await db.execute_fetchall("SELECT v FROM t WHERE v = ?", (n,))
            assert sum(each.where == "inline" for each in told) == (
                lib.stats()["inline_hits"] - before
            )
            await db.executescript("CREATE TABLE u(v)")
        assert told[-1].where == "worker"

    run(main)


def test_errors(run: Run, table: Path) -> None:
    told: list[Any] = []

    async def main() -> None:
        async with lib.connect(table, on_statement=told.append) as db:
            await db.execute("INSERT INTO t VALUES (1)")
            for sql, error in (
                ("INSERT INTO t VALUES (1)", lib.IntegrityError),
                ("SELECT * FROM missing", lib.OperationalError),
            ):
                with pytest.raises(error) as info:
                    await db.execute(sql)
                last = told[-1]
                assert (last.sql, last.outcome, last.applied) == (sql, "error", "not applied")
                assert last.error is type(info.value)
                assert last.message == str(info.value)
                assert last.rows is None
            assert told[-2].sqlite_errorcode == 2067  # SQLITE_CONSTRAINT_UNIQUE
            assert told[-1].sqlite_errorcode == 1

    run(main)


def test_the_values_are_not_told(run: Run, table: Path) -> None:
    told: list[Any] = []

    async def main() -> None:
        async with lib.connect(table, on_statement=told.append) as db:
            await db.execute("INSERT INTO t VALUES (?)", ("secret",))
            with pytest.raises(lib.IntegrityError):
                await db.execute("INSERT INTO t VALUES (?)", ("secret",))
        assert "secret" not in repr(told)
        assert len(told) == 2

    run(main)


def test_what_never_reached_the_database_is_no_statement(run: Run, table: Path) -> None:
    told: list[Any] = []

    async def main() -> None:
        async with lib.connect(table, on_statement=told.append) as db:
            with pytest.raises(TypeError):
                await db.execute(1)
            await db.commit()
            await db.rollback()
            await (await db.cursor()).close()

    run(main)
    assert told == []


def test_cancellation(run: Run, table: Path) -> None:
    told: dict[str, Any] = {}

    def note(statement: Any) -> None:
        told[statement.sql] = statement

    async def main() -> None:
        async with lib.connect(table, isolation_level=None, on_statement=note) as db:
            tasks = [
                asyncio.ensure_future(db.execute_fetchall(ENDLESS)),
                asyncio.ensure_future(db.execute("INSERT INTO t VALUES ('queued')")),
            ]
            await turns(20)
            for task in reversed(tasks):
                task.cancel()
                assert isinstance(await caught(task), asyncio.CancelledError)

    run(main)
    queued, read = told["INSERT INTO t VALUES ('queued')"], told[ENDLESS]
    assert (queued.outcome, queued.applied, queued.where) == ("cancelled", "not applied", None)
    assert (queued.started_ns, queued.duration_ns) == (0, 0)
    assert queued.waited_ns > 0
    assert (read.outcome, read.applied) == ("cancelled", "not applied")


def test_a_cancelled_commit_is_told_as_applied(run: Run, table: Path) -> None:
    told: list[Any] = []

    async def main() -> None:
        async with lib.connect(table) as db:
            await db.execute("INSERT INTO t VALUES (1)")
            db.on_statement = told.append
            release = threading.Event()
            blocked = asyncio.ensure_future(db._execute(release.wait))
            commit = asyncio.ensure_future(db.commit())
            await turns(2)
            commit.cancel()
            await turns(2)
            release.set()
            assert isinstance(await caught(commit), asyncio.CancelledError)
            await blocked

    run(main)
    (commit,) = told
    assert (commit.sql, commit.outcome, commit.applied) == ("COMMIT", "cancelled", "applied")


def test_waiting_for_a_lock_is_in_the_duration(run: Run, table: Path) -> None:
    told: list[Any] = []

    async def main() -> None:
        async with lib.connect(table, isolation_level=None, on_statement=told.append) as db:
            with write_lock(table) as outside:
                task = asyncio.ensure_future(db.execute("INSERT INTO t VALUES (1)"))
                parks = lib.stats()["parks"]
                await until(lambda: lib.stats()["parks"] > parks + 2)
                released = time.monotonic_ns()
                outside.execute("ROLLBACK")
                await task
        assert told[0].started_ns < released < told[0].started_ns + told[0].duration_ns

    run(main)


def test_rows_that_did_not_come_with_the_answer(run: Run, table: Path) -> None:
    told: list[Any] = []

    async def main() -> None:
        async with lib.connect(table, on_statement=told.append) as db:
            count = 200_000
            many = f"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {count}) SELECT x FROM c"  # noqa: E501
            assert len(await db.execute_fetchall(many)) == count
            assert [each.rows for each in told] == [None]

    run(main)


def test_set_changed_and_removed(run: Run, table: Path) -> None:
    first: list[Any] = []
    second: list[Any] = []

    async def main() -> None:
        db = lib.connect(table)
        assert db.on_statement is None
        db.on_statement = first.append
        async with db:
            await db.execute("SELECT 1")
            db.on_statement = second.append
            await db.execute("SELECT 2")
            db.on_statement = None
            await db.execute("SELECT 3")
            assert db.on_statement is None

    run(main)
    assert [each.sql for each in first + second] == ["SELECT 1", "SELECT 2"]


@pytest.mark.parametrize("wrong", [1, "log", []])
def test_it_has_to_be_callable(wrong: object) -> None:
    with pytest.raises(TypeError, match=f"callable or None, not {type(wrong).__name__}"):
        lib.connect(":memory:", on_statement=wrong)
    db = lib.connect(":memory:")
    with pytest.raises(TypeError, match="callable or None"):
        db.on_statement = wrong


def test_what_it_raises_goes_to_the_loop(table: Path, loop_factory: Any) -> None:
    """The call gives what it should, and no other one is disturbed."""
    complaints: list[dict[str, Any]] = []

    def fail(statement: Any) -> None:
        raise ValueError(statement.sql)

    loop = loop_factory()

    async def main() -> None:
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        async with lib.connect(table, on_statement=fail) as db:
            assert await db.execute_fetchall("SELECT 1") == [(1,)]
            await db.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(lib.IntegrityError):
                await db.execute("INSERT INTO t VALUES (1)")
            await db.commit()
            assert await db.execute_fetchall("SELECT v FROM t") == [(1,)]

    loop.run_until_complete(main())
    loop.close()
    assert [str(each["exception"]) for each in complaints] == [
        "SELECT 1",
        "INSERT INTO t VALUES (1)",
        "INSERT INTO t VALUES (1)",
        "COMMIT",
        "SELECT v FROM t",
    ]
    assert all("on_statement" in each["message"] for each in complaints)


def test_contextvars_are_those_of_the_call(run: Run, table: Path) -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    told: list[tuple[str, str]] = []

    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:
            db.on_statement = lambda statement: told.append((name.get(), statement.sql))

            async def work(who: str) -> None:
                name.set(who)
                await db.execute(f"INSERT INTO t VALUES ('{who}')")
                await db.execute_fetchall(f"SELECT v FROM t WHERE v = '{who}'")

            await asyncio.gather(*(work(who) for who in "abcdef"))

    run(main)
    assert len(told) == 12
    assert all(f"'{who}'" in sql for who, sql in told), told


def test_it_may_use_the_connection(run: Run, table: Path) -> None:
    """From inside: another statement, whose own record comes too, and the hook taken away."""
    told: list[str] = []

    async def main() -> None:
        tasks: list[asyncio.Future[Any]] = []
        async with lib.connect(table) as db:

            def hook(statement: Any) -> None:
                told.append(statement.sql)
                if statement.sql == "SELECT 1":
                    tasks.append(asyncio.ensure_future(db.execute_fetchall("SELECT 2")))
                else:
                    db.on_statement = None

            db.on_statement = hook
            assert await db.execute_fetchall("SELECT 1") == [(1,)]
            await until(lambda: tasks and tasks[0].done())
            assert await tasks[0] == [(2,)]
            await db.execute("SELECT 3")

    run(main)
    assert told == ["SELECT 1", "SELECT 2"]


def test_a_hook_that_refers_to_its_connection_is_collected(run: Run, table: Path) -> None:
    gone: list[Any] = []

    async def main() -> None:
        db = await lib.connect(table)
        db.on_statement = lambda statement: (db, statement)
        await db.execute("SELECT 1")
        await db.close()
        gone.append(weakref.ref(db))

    run(main)
    gc.collect()
    assert gone[0]() is None


def test_a_loop_closed_with_a_statement_in_flight(loop_factory: Any, table: Path) -> None:
    """Nobody is told on a loop that is not there."""
    told: list[Any] = []
    loop = loop_factory()
    kept: list[Any] = []

    async def opening() -> None:
        db = await lib.connect(table, isolation_level=None, on_statement=told.append)
        reading = db.execute_fetchall(ENDLESS)
        await begin(reading)
        kept.extend((db, reading))

    loop.run_until_complete(opening())
    loop.close()

    async def closing() -> None:
        await kept[0].interrupt()
        await kept[0].close()

    run_on(loop_factory, closing)
    kept[1].close()
    assert told == []


def test_without_a_hook_it_costs_nothing(run: Run, table: Path) -> None:
    """No object more is made for a statement. (What is timed, the engine's tests look at.)"""
    if sys.implementation.name != "cpython":
        pytest.skip("counts CPython's blocks")
    counts: dict[str, int] = {}

    async def main() -> None:
        async with lib.connect(table) as db:

            async def blocks() -> int:
                """The median of some calls: now and then one makes something that it keeps, or lets
                go of what another one kept.
                """
                seen = []
                for _ in range(101):
                    before = sys.getallocatedblocks()
                    call = db.execute("SELECT v FROM t WHERE v = 1")
                    await call
                    seen.append(sys.getallocatedblocks() - before)
                return statistics.median_low(seen)

            counts["never"] = await blocks()
            db.on_statement = lambda statement: None
            await blocks()
            db.on_statement = None
            counts["removed"] = await blocks()

    run(main)
    assert counts["never"] == counts["removed"]


def test_under_trio(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    trio = pytest.importorskip("trio")
    told: list[str] = []

    def hook(statement: Any) -> None:
        told.append(statement.where)
        raise ValueError("from the hook")

    async def main() -> None:
        async with lib.connect(table, on_statement=hook) as db:
            await db.executescript("CREATE TABLE u(v)")
            assert await db.execute_fetchall("SELECT 1") == [(1,)]

    trio.run(main)
    assert told[0] == "worker"
    assert len(told) == 2
    assert [record.name for record in caplog.records] == ["looplite"] * 2
    assert all("from the hook" in str(record.exc_info) for record in caplog.records)
    caplog.clear()  # the tracebacks
