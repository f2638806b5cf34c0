"""Connection._execute(): any callable on the connection's worker, in its turn. Dependents build on
it, so what it does is aiosqlite's, but for where aiosqlite hangs.
"""

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import forks_beside_threads, lib, looplite_only
from support.locks import make, rows
from support.loops import caught, turns, until
from support.outcomes import UNKNOWN, outcome
from support.scripts import ran_clean, run_script

Run = Callable[..., Any]


def test_it_runs_on_a_worker(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            assert await db._execute(threading.get_ident) != threading.get_ident()
            assert await db._execute(lambda *args, **named: (args, named), 1, 2, c=3) == (
                (1, 2),
                {"c": 3},
            )
            assert await db._execute(dict, fn=1) == {"fn": 1}

    run(main)


def test_it_may_use_the_connection(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:

            def use() -> list[Any]:
                before = db.in_transaction
                cursor = db._conn.execute("SELECT 1 AS a UNION SELECT 2")
                names = [column[0] for column in cursor.description]
                db.isolation_level = None
                db._conn.execute("BEGIN")
                assert (before, db.in_transaction) == (False, True)
                return [*names, *cursor.fetchall()]

            assert await db._execute(use) == ["a", (1,), (2,)]
            assert db.isolation_level is None
            assert db.in_transaction is True
            await db._execute(setattr, db, "row_factory", sqlite3.Row)
            assert db.row_factory is sqlite3.Row

    run(main)


def test_order_is_that_of_the_other_calls(run: Run, path: Path) -> None:
    make(path, "CREATE TABLE t(v)")

    async def main() -> None:
        async with lib.connect(path, isolation_level=None) as db:

            def insert(v: int) -> None:
                db._conn.execute("INSERT INTO t VALUES (?)", (v,))

            await asyncio.gather(
                *(
                    db._execute(insert, v)
                    if v % 2
                    else db.execute("INSERT INTO t VALUES (?)", (v,))
                    for v in range(40)
                )
            )
            found = await db.execute_fetchall("SELECT v FROM t ORDER BY rowid")
            assert [v for (v,) in found] == list(range(40))

    run(main)


class Mine(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError("mine"), Mine(1), KeyError("k")])
def test_what_it_raises_is_raised(run: Run, error: BaseException) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:

            def fail() -> None:
                raise error

            raised = await caught(db._execute(fail))
            assert raised is error
            assert raised.__traceback__ is not None
            assert await db._execute(int, "7") == 7

    run(main)


@looplite_only  # aiosqlite hangs
def test_stop_iteration(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            raised = await caught(db._execute(next, iter(())))
            assert type(raised) is RuntimeError
            assert type(raised.__cause__) is StopIteration
            raised = await caught(db._execute(next, iter(())))
            assert str(raised) == "coroutine raised StopIteration"

    run(main)


def test_mistakes(run: Run) -> None:
    async def main() -> None:
        db = lib.connect(":memory:")
        raised = await caught(db._execute(len, ""))
        assert (type(raised), str(raised)) == (ValueError, "Connection closed")
        await db
        with pytest.raises(TypeError):
            await db._execute()
        await db.close()
        raised = await caught(db._execute(len, ""))
        assert (type(raised), str(raised)) == (ValueError, "Connection closed")

    run(main)


@looplite_only
def test_what_cannot_be_called_is_refused_by_name(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            with pytest.raises(TypeError, match="needs a callable, not int"):
                db._execute(3)

    run(main)


class Gate:
    """Something that runs on a worker until it is let through."""

    def __init__(self) -> None:
        self.inside, self.open, self.passed = (threading.Event() for _ in range(3))

    def __call__(self, value: Any = None) -> Any:
        self.inside.set()
        self.open.wait()
        self.passed.set()
        return value


def test_the_loop_goes_on_meanwhile(run: Run) -> None:
    async def main() -> None:
        gate = Gate()
        async with lib.connect(":memory:") as db:
            task = asyncio.ensure_future(db._execute(gate, 5))
            await until(gate.inside.is_set)
            await turns(10)
            assert not task.done()
            gate.open.set()
            assert await task == 5

    run(main)


def test_a_cancelled_one_runs_all_the_same(run: Run) -> None:
    async def main() -> None:
        gate = Gate()
        queued: list[int] = []
        async with lib.connect(":memory:") as db:
            first = asyncio.ensure_future(db._execute(gate))
            second = asyncio.ensure_future(db._execute(queued.append, 1))
            await until(gate.inside.is_set)
            first.cancel()
            second.cancel()
            for task in (first, second):
                raised = await caught(task)  # at once: the gate is closed
                assert isinstance(raised, asyncio.CancelledError)
                if hasattr(raised, "looplite_outcome"):
                    assert outcome(raised) == UNKNOWN
            assert not gate.passed.is_set()
            assert not queued
            gate.open.set()
            assert await db._execute(len, queued) == 1
            assert gate.passed.is_set()

    run(main)


@looplite_only
def test_one_that_gave_way_and_is_cancelled_runs(run: Run, path: Path) -> None:
    make(path, "CREATE TABLE t(v); INSERT INTO t VALUES (1)")

    async def main() -> None:
        async with lib.connect(path) as db:
            ran: list[int] = []
            tasks = [asyncio.ensure_future(db._execute(ran.append, n)) for n in range(300)]
            await turns(1)
            for task in tasks:
                task.cancel()
            for task in tasks:
                assert isinstance(await caught(task), asyncio.CancelledError)
            await db._execute(int)
            assert ran == list(range(300))

    run(main)


@looplite_only
def test_the_context_is_the_callers(run: Run) -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")

    async def main() -> None:
        async with lib.connect(":memory:") as db:

            async def one(value: str) -> str:
                name.set(value)
                found = await db._execute(change)
                assert name.get() == value  # a copy
                return str(found)

            def change() -> str:
                found = name.get()
                name.set("changed")
                return found

            assert await asyncio.gather(*(one(str(n)) for n in range(20))) == [
                str(n) for n in range(20)
            ]
            assert name.get("none") == "none"

    run(main)


@looplite_only
def test_interrupt_ends_a_statement_in_it(run: Run) -> None:
    endless = (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    )

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            inside = threading.Event()

            def use() -> Any:
                inside.set()
                return db._conn.execute(endless).fetchone()

            task = asyncio.ensure_future(db._execute(use))
            await until(inside.is_set)
            while not task.done():
                await db.interrupt()
                await turns(1)
            with pytest.raises(sqlite3.OperationalError, match="interrupted"):
                await task

    run(main)


@pytest.mark.parametrize("where", ["file", "memory"])
def test_the_busy_timeout_it_sees_is_the_connections(run: Run, path: Path, where: str) -> None:
    """SQLite shows 0 while a busy handler of somebody else's is installed."""

    async def main() -> None:
        database = str(path) if where == "file" else ":memory:"
        async with lib.connect(database, timeout=7) as db:

            def ask(sql: str) -> Any:
                return db._conn.execute(sql).fetchall()

            async def timeouts() -> set[int]:
                (inside,) = await db._execute(ask, "PRAGMA busy_timeout")
                (outside,) = await db.execute_fetchall("PRAGMA busy_timeout")
                return {*inside, *outside}

            assert await timeouts() == {7000}
            await db._execute(ask, "PRAGMA busy_timeout = 1234")
            assert await timeouts() == {1234}
            await db.execute("PRAGMA busy_timeout = 4321")
            assert await timeouts() == {4321}
            await db._execute(ask, "PRAGMA busy_timeout = 0")
            assert await timeouts() == {0}

    run(main)


@looplite_only
def test_a_lock_it_waits_for_is_given_up_when_interrupted(run: Run, path: Path) -> None:
    make(path, "CREATE TABLE t(v)")
    outside = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    async def main() -> None:
        async with lib.connect(str(path), timeout=600, isolation_level=None) as db:
            outside.execute("BEGIN IMMEDIATE")
            begun = threading.Event()

            def write() -> Any:
                begun.set()
                return db._conn.execute("INSERT INTO t VALUES (1)")

            task = asyncio.ensure_future(db._execute(write))
            await until(begun.is_set)
            while not task.done():
                await db.interrupt()
                await asyncio.sleep(0)
            assert isinstance(await caught(task), sqlite3.OperationalError)
            task = asyncio.ensure_future(db._execute(write))
            outside.execute("ROLLBACK")
            await task
        assert rows(path, "SELECT v FROM t") == [(1,)]

    run(main)
    outside.close()


@looplite_only
def test_a_loop_closed_while_it_runs(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
warnings.simplefilter("ignore", ResourceWarning)
inside, go = threading.Event(), threading.Event()

def work():
    inside.set()
    go.wait()
    return object()

async def main():
    global db, call
    db = await lib.connect(PATH)
    call = db._execute(work)
    await begin(call)
    while not inside.is_set():
        await asyncio.sleep(0)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
go.set()
del db, call

async def again():
    async with lib.connect(PATH) as db:
        assert await db._execute(int, "3") == 3
asyncio.run(again())
""",
    )
    ran_clean(done)


ENDS = {
    "sleeps": "time.sleep(1000)",
    "loops": "while True: pass",
    "waits": "threading.Event().wait()",
    "runs SQL": "db._conn.execute(ENDLESS).fetchone()",
    "catches": """
    try:
        while True: pass
    except BaseException:
        pass""",
    "returns": "time.sleep(0.01)",
}


@looplite_only
@pytest.mark.parametrize(
    ("body", "end"),
    [(body, "") for body in ENDS] + [("sleeps", "loop.close()"), ("sleeps", "sys.exit(4)")],
)
def test_it_does_not_keep_a_program_from_ending(tmp_path: Path, body: str, end: str) -> None:
    make(tmp_path / "script.db", "PRAGMA journal_mode = WAL; CREATE TABLE t(v)")
    done = run_script(
        tmp_path,
        f"""
import time
warnings.simplefilter("ignore", ResourceWarning)
inside = threading.Event()

def work():
    inside.set()
    {ENDS[body]}

async def main():
    global db, call, other
    db = await lib.connect(PATH, isolation_level=None)
    other = await lib.connect(PATH, isolation_level=None)
    await other.execute("INSERT INTO t VALUES (1)")
    call = db._execute(work)
    await begin(call)
    while not inside.is_set():
        await asyncio.sleep(0)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
{end}
""",
    )
    assert done.returncode == (4 if "4" in end else 0), done.stderr
    assert "Traceback" not in done.stderr
    assert rows(tmp_path / "script.db", "SELECT v FROM t") == [(1,)]


@looplite_only
@forks_beside_threads
def test_a_fork_in_it(tmp_path: Path) -> None:
    """The child that `_execute` makes goes its own way; the parent's connection is not its."""
    done = run_script(
        tmp_path,
        """
def work():
    child = os.fork()
    if child == 0:
        async def mine():
            async with lib.connect(":memory:") as db:
                return await db._execute(int, "5")
        os._exit(asyncio.run(mine()))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

async def main():
    async with lib.connect(PATH) as db:
        assert await db._execute(work) == 5
        assert await db._execute(int, "6") == 6
asyncio.run(main())
""",
        "-W",
        "ignore::DeprecationWarning",
    )
    ran_clean(done)
