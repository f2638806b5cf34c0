"""Functions of the program that are `async def`, or that use connections: they cannot wait for the
one that calls them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ENDLESS, lib, looplite_only
from support.functions import ROWS, Sum, on_loop, where
from support.loops import caught

pytestmark = looplite_only

Run = Callable[..., Any]


def test_async_functions(run: Run) -> None:
    async def main() -> None:
        here = on_loop()
        async with lib.connect(":memory:") as db, lib.connect(":memory:") as other:

            async def slow(x: int) -> str:
                assert here()
                await asyncio.sleep(0)
                (row,) = await other.execute_fetchall("SELECT ?", (x,))
                return f"{where.get()} {row[0]}"

            await db.create_function("slow", 1, slow)
            where.set("task")
            assert await db.execute_fetchall("SELECT slow(1), slow(2)") == [("task 1", "task 2")]

            async def many(n: int) -> Any:
                where.set(str(n))
                return await db.execute_fetchall("SELECT slow(?)", (n,))

            assert await asyncio.gather(*map(many, range(10))) == [
                [(f"{n} {n}",)] for n in range(10)
            ]

    run(main)


class AsyncSum(Sum):
    async def step(self, *values: int) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().step(*values)

    async def finalize(self) -> int:  # type: ignore[override]
        return self.total


def test_other_async_callables(run: Run) -> None:
    async def main() -> None:
        seen: list[str] = []
        async with lib.connect(":memory:") as db:
            await db.create_aggregate("s", 1, AsyncSum)
            assert await db.execute_fetchall(ROWS.format("s(x)")) == [(5050,)]

            async def compare(a: str, b: str) -> int:
                return (a > b) - (a < b)

            await db.create_collation("c", compare)
            sorted_values = "SELECT * FROM (VALUES ('b'), ('a')) ORDER BY 1 COLLATE c"
            assert await db.execute_fetchall(sorted_values) == [("a",), ("b",)]

            async def allow(*args: Any) -> int:
                return sqlite3.SQLITE_OK

            async def trace(sql: str) -> None:
                seen.append(sql)

            await db.set_authorizer(allow)
            await db.set_trace_callback(trace)
            assert await db.execute_fetchall("SELECT 1") == [(1,)]
            assert seen == ["SELECT 1"]

    run(main)


@pytest.mark.parametrize(
    "call",
    ["execute('SELECT 1')", "commit()", "close()", "_execute(int)", "cursor()", "backup(None)"],
)
def test_an_async_function_cannot_await_its_own_connection(run: Run, call: str, guard: Any) -> None:
    async def main() -> None:
        told: list[BaseException] = []
        async with lib.connect(":memory:", isolation_level=None) as db:

            async def own() -> int:
                async def nested() -> None:
                    if call == "cursor()":
                        cursor = await db.cursor()
                        await cursor.execute("SELECT 1")
                    else:
                        await eval(f"db.{call}", {"db": db})

                told.append(await caught(asyncio.ensure_future(nested())))
                return 5

            await db.create_function("own", 0, own)
            assert await db.execute_fetchall("SELECT own()") == [(5,)]
            assert type(told[0]) is RuntimeError
            assert "this connection waits for the asynchronous function" in str(told[0])
            # ... and only meanwhile.
            assert await db.execute_fetchall("SELECT 1") == [(1,)]

    run(main)


def in_a_loop_of_its_own(call: Callable[[], Any]) -> BaseException:
    """What is raised by a call that a function waits for on the thread on which it is called."""

    async def main() -> BaseException:
        return await caught(call())

    raised: BaseException = in_a_loop(main)
    return raised


def in_a_loop(main: Callable[[], Any]) -> Any:
    """As asyncio.run(), which would leave a threading.Thread of this thread, none of Python's."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


CALLS_OF_ITS_OWN: dict[str, Callable[[Any, Any], Any]] = {
    "execute": lambda db, cursor: db.execute("SELECT 1"),
    "executemany": lambda db, cursor: db.executemany("INSERT INTO t VALUES (?)", [(1,)]),
    "executescript": lambda db, cursor: db.executescript("SELECT 1"),
    "commit": lambda db, cursor: db.commit(),
    "close": lambda db, cursor: db.close(),
    "_execute": lambda db, cursor: db._execute(int),
    "backup": lambda db, cursor: db.backup(None),
    "create_function": lambda db, cursor: db.create_function("g", 0, int),
    "fetchall": lambda db, cursor: cursor.fetchall(),
    "Cursor.execute": lambda db, cursor: cursor.execute("SELECT 1"),
}


def own_connection_refused(error: BaseException) -> None:
    assert type(error) is RuntimeError, error
    assert "runs on this connection's worker" in str(error)
    assert "_conn" in str(error)


@pytest.mark.parametrize("call", CALLS_OF_ITS_OWN)
@pytest.mark.parametrize("place", ["function", "_execute", "trace", "progress", "directly"])
def test_a_function_cannot_wait_for_its_own_connection(run: Run, call: str, place: str) -> None:
    async def main() -> None:
        told: list[BaseException] = []
        async with lib.connect(":memory:", isolation_level=None) as db:
            await db.execute("CREATE TABLE t(x)")
            cursor = await db.cursor()

            def own(*args: Any) -> int:
                if not told:
                    told.append(in_a_loop_of_its_own(lambda: CALLS_OF_ITS_OWN[call](db, cursor)))
                return 0

            if place == "function":
                await db.create_function("own", 0, own)
                assert await db.execute_fetchall("SELECT own()") == [(0,)]
            elif place == "trace":
                await db.set_trace_callback(own)
                await db.execute("SELECT 1")
                await db.set_trace_callback(None)
            elif place == "progress":
                await db.set_progress_handler(own, 1)
                await db.execute_fetchall(ROWS.format("x"))
                await db.set_progress_handler(None, 1)
            elif place == "directly":
                await db.create_function("own", 0, own)
                use = asyncio.to_thread(lambda: db._conn.execute("SELECT own()").fetchall())
                assert await use == [(0,)]
            else:
                assert await db._execute(own) == 0
            own_connection_refused(told[0])
            # ... and only meanwhile.
            assert await db.execute_fetchall("SELECT 1") == [(1,)]

    run(main)


def test_a_function_can_use_the_sqlite3_connection_and_others(run: Run, path: Path) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:

            def own() -> int:
                async def elsewhere() -> int:
                    async with lib.connect(path) as other:
                        return int((await other.execute_fetchall("SELECT 2"))[0][0])

                three = int(db._conn.execute("SELECT 3").fetchone()[0])
                return three + int(in_a_loop(elsewhere))

            await db.create_function("own", 0, own)
            assert await db.execute_fetchall("SELECT own()") == [(5,)]
            # Also when it is called by another connection: its own is not occupied then.
            async with lib.connect(":memory:") as caller:
                await caller.create_function("own", 0, own)
                assert await caller.execute_fetchall("SELECT own()") == [(5,)]

    run(main)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_function_can_interrupt_its_statement(run: Run, asynchronous: bool) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:

            def stop() -> None:
                in_a_loop(stop_too)

            async def stop_too() -> None:
                await db.interrupt()

            await db.create_function("stop", 0, stop_too if asynchronous else stop)
            error = await caught(db.execute(ENDLESS.replace("x + 1", "coalesce(stop(), x + 1)")))
            assert isinstance(error, sqlite3.OperationalError)

    run(main)


def test_two_connections_cannot_wait_for_each_other(run: Run) -> None:
    async def main() -> None:
        told: list[BaseException] = []
        async with lib.connect(":memory:") as one, lib.connect(":memory:") as two:

            async def to_two() -> int:
                return int((await two.execute_fetchall("SELECT to_one()"))[0][0])

            async def to_one() -> int:
                told.append(await caught(one.execute_fetchall("SELECT 1")))
                return 6

            await one.create_function("to_two", 0, to_two)
            await two.create_function("to_one", 0, to_one)
            assert await one.execute_fetchall("SELECT to_two()") == [(6,)]
            assert "this connection waits" in str(told[0])

    run(main)


def test_more_async_functions_than_workers(run: Run) -> None:
    """Workers that wait for the loop do not keep others from being started."""

    async def main() -> None:
        count = 24
        inside, gate = 0, asyncio.Event()
        connections = [await lib.connect(":memory:") for _ in range(count)]

        async def wait() -> int:
            nonlocal inside
            inside += 1
            if inside == count:
                gate.set()
            await gate.wait()
            return inside

        for db in connections:
            await db.create_function("wait", 0, wait)
        found = await asyncio.gather(*(db.execute_fetchall("SELECT wait()") for db in connections))
        assert found == [[(count,)]] * count
        for db in connections:
            await db.close()

    run(main)


def test_an_async_function_that_raises(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:

            async def bad() -> None:
                raise TimeoutError("mine")

            await db.create_function("bad", 0, bad)
            with pytest.raises(sqlite3.OperationalError, match="raised exception"):
                await db.execute_fetchall("SELECT bad()")

    run(main)


@pytest.mark.parametrize("how", ["cancel", "interrupt"])
def test_an_async_function_ends_with_its_statement(run: Run, how: str) -> None:
    async def main() -> None:
        started, ended = asyncio.Event(), asyncio.Event()
        async with lib.connect(":memory:") as db:

            async def endless() -> None:
                started.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.set()

            await db.create_function("endless", 0, endless)
            task = asyncio.ensure_future(db.execute_fetchall("SELECT endless()"))
            await started.wait()
            if how == "cancel":
                task.cancel()
                assert isinstance(await caught(task), asyncio.CancelledError)
            else:
                await db.interrupt()
                with pytest.raises(sqlite3.OperationalError):
                    await task
            await ended.wait()
            assert await db.execute_fetchall("SELECT 1") == [(1,)]

    run(main)


def test_an_async_function_without_a_loop(run: Run) -> None:
    """The sqlite3.Connection used directly has no loop that could run it."""

    async def main() -> None:
        async with lib.connect(":memory:") as db:

            async def never() -> None:
                raise AssertionError

            await db.create_function("never", 0, never)
            with pytest.raises(sqlite3.OperationalError, match="raised exception"):
                db._conn.execute("SELECT never()").fetchall()

    run(main)
