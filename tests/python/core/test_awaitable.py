"""The one object that every call returns: awaited, entered, wrapped in a task, or driven by hand."""  # noqa: E501

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import gc
import inspect
import sqlite3
import types
import warnings
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.loops import caught, turns

Run = Callable[..., Any]

CALLS: dict[str, Callable[[Any], Any]] = {
    "execute": lambda db: db.execute("SELECT 1"),
    "executemany": lambda db: db.executemany("INSERT INTO t VALUES (?)", [(1,)]),
    "executescript": lambda db: db.executescript("SELECT 1"),
    "execute_insert": lambda db: db.execute_insert("INSERT INTO t VALUES (1)"),
    "execute_fetchall": lambda db: db.execute_fetchall("SELECT 1"),
    "cursor": lambda db: db.cursor(),
    "commit": lambda db: db.commit(),
    "rollback": lambda db: db.rollback(),
}


@pytest.mark.parametrize("name", list(CALLS))
def test_is_a_coroutine_to_asyncio(run: Run, name: str) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute("CREATE TABLE t(v)")
            call = CALLS[name](db)
            assert asyncio.iscoroutine(call)
            assert inspect.isawaitable(call)
            assert isinstance(call, collections.abc.Coroutine)
            assert isinstance(call, collections.abc.Awaitable)
            await call
            await asyncio.create_task(CALLS[name](db))
            await asyncio.ensure_future(CALLS[name](db))
            await asyncio.wait_for(CALLS[name](db), 60)
            await asyncio.shield(CALLS[name](db))
            await asyncio.gather(CALLS[name](db), CALLS[name](db))
            loop = asyncio.get_running_loop()
            done = await loop.run_in_executor(
                None, lambda: asyncio.run_coroutine_threadsafe(CALLS[name](db), loop).result()
            )
            if name == "execute":
                assert isinstance(done, lib.Cursor)

    run(main)


@pytest.mark.parametrize(
    "name",
    ["execute", "executemany", "executescript", "cursor", "execute_insert", "execute_fetchall"],
)
def test_can_be_entered(run: Run, name: str) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute("CREATE TABLE t(v)")
            assert isinstance(CALLS[name](db), AbstractAsyncContextManager) or hasattr(
                type(db), name
            )
            async with CALLS[name](db) as result:
                if name not in ("execute_insert", "execute_fetchall"):
                    assert isinstance(result, lib.Cursor)
                    await result.execute("SELECT 1")
            if name not in ("execute_insert", "execute_fetchall"):
                with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
                    await result.fetchone()

    with warnings.catch_warnings():
        # The object of the isinstance check above is never awaited.
        warnings.simplefilter("ignore", RuntimeWarning)
        run(main)


def test_error_when_entering(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            with pytest.raises(sqlite3.OperationalError):
                async with db.execute("NONSENSE"):
                    raise AssertionError

    run(main)


def test_error_inside_the_block_goes_through(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            with pytest.raises(ZeroDivisionError):
                async with db.execute("SELECT 1") as cursor:
                    raise ZeroDivisionError
            with pytest.raises(sqlite3.ProgrammingError):
                await cursor.fetchone()

    run(main)


@pytest.mark.parametrize("name", list(CALLS))
def test_second_await(run: Run, name: str) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute("CREATE TABLE t(v)")
            call = CALLS[name](db)
            await call
            error = await caught(call)
            assert isinstance(error, RuntimeError)
            assert "cannot reuse already awaited" in str(error)
            error = await caught(call)
            assert isinstance(error, RuntimeError)

    run(main)


def test_second_await_after_an_error(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            call = db.execute("NONSENSE")
            with pytest.raises(sqlite3.OperationalError):
                await call
            with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
                await call

    run(main)


def test_two_tasks_await_one_call(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            call = db.execute("SELECT 1")

            async def use() -> Any:
                return await call

            results = await asyncio.gather(use(), use(), return_exceptions=True)
            assert sorted(type(r).__name__ for r in results) == ["Cursor", "RuntimeError"]

    run(main)


@pytest.mark.parametrize("name", list(CALLS))
def test_never_awaited(run: Run, name: str) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            with pytest.warns(RuntimeWarning, match="was never awaited"):  # noqa: PT031
                CALLS[name](db)
                gc.collect()

    run(main)


def test_closed_and_never_awaited_is_silent(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            call = db.execute("SELECT 1")
            call.close()
            call.close()
            del call
            gc.collect()

    run(main)


def test_nothing_happens_before_the_await(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute("CREATE TABLE t(v)")
            call = db.execute("INSERT INTO t VALUES (1)")
            wrong = db.execute("NONSENSE")
            await turns(5)
            assert db.total_changes == 0
            await call
            assert db.total_changes == 1
            with pytest.raises(sqlite3.OperationalError):
                await wrong

    run(main)


def test_parameters_are_read_at_the_await(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            given = [1]
            call = db.execute("SELECT ?", given)
            given[0] = 2
            cursor = await call
            assert await cursor.fetchone() == (2,)

    run(main)


def drive(call: Any) -> Any:
    """Takes the first step of a call; its future, or StopIteration's value in a tuple."""
    try:
        return call.send(None)
    except StopIteration as stop:
        return (stop.value,)


def test_send_by_hand(run: Run) -> None:
    """A wrapper that passes values through, as coroutines of Cython or of tracing tools do."""

    class Wrapper:
        def __init__(self, call: Any) -> None:
            self.call = call

        def __await__(self) -> Any:
            steps = self.call.__await__()
            value = None
            while True:
                try:
                    yielded = steps.send(value) if hasattr(steps, "send") else next(steps)
                except StopIteration as stop:
                    return stop.value
                value = yield yielded

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            cursor = await Wrapper(db.execute("SELECT 5"))
            assert await Wrapper(cursor.fetchone()) == (5,)

    run(main)


@types.coroutine
def passing(call: Any) -> Any:
    return (yield from call.__await__())


def test_yield_from(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            cursor = await passing(db.execute("SELECT 6"))
            assert await passing(cursor.fetchall()) == [(6,)]

    run(main)


def test_throw_before_the_first_step(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute("CREATE TABLE t(v)")
            call = db.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(ZeroDivisionError):
                call.throw(ZeroDivisionError())
            with pytest.raises(RuntimeError):
                call.send(None)
            assert db.total_changes == 0

    run(main)


def test_throw_while_it_waits(run: Run, path: Path) -> None:
    """Another exception than CancelledError is not waited for; the connection goes on."""

    async def main() -> None:
        async with lib.connect(path) as db:
            await db.execute("CREATE TABLE t(v)")
            call = db.execute("INSERT INTO t VALUES (1)")
            if isinstance(drive(call), tuple):
                return
            with pytest.raises(ZeroDivisionError):
                call.throw(ZeroDivisionError())
            async with db.execute("SELECT 1") as cursor:
                assert await cursor.fetchone() == (1,)

    run(main)


def test_close_while_it_waits(run: Run, path: Path) -> None:
    async def main() -> None:
        async with lib.connect(path) as db:
            await db.execute("CREATE TABLE t(v)")
            call = db.execute("INSERT INTO t VALUES (1)")
            drive(call)
            call.close()
            call.close()
            async with db.execute("SELECT 1") as cursor:
                assert await cursor.fetchone() == (1,)

    run(main)


@looplite_only
def test_dropped_while_it_waits(run: Run, path: Path) -> None:
    """The memory of a running call outlives its last reference."""

    async def main() -> None:
        async with lib.connect(path, isolation_level=None) as db:
            await db.execute("CREATE TABLE t(v)")
            for n in range(50):
                call = db.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 20)
                drive(call)
                del call
                if n % 10 == 0:
                    gc.collect()
            await db.execute_fetchall("SELECT count(*) FROM t")

    run(main)


@looplite_only
def test_sent_again_while_it_waits(run: Run) -> None:
    """A second send is no second run: an error, or the same wait again."""

    async def main() -> None:
        async with lib.connect(":memory:", isolation_level=None) as db:
            await db.execute("CREATE TABLE t(v)")
            call = db.execute("INSERT INTO t VALUES (1)")
            if not isinstance(drive(call), tuple):
                with contextlib.suppress(RuntimeError):
                    drive(call)
                call.close()
            await db.execute_fetchall("SELECT 1")
            ((count,),) = await db.execute_fetchall("SELECT count(*) FROM t")
            assert count <= 1

    run(main)


@looplite_only
def test_value_sent_first_is_refused(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            call = db.execute("SELECT 1")
            with pytest.raises(TypeError, match="just-started"):
                call.send(5)
            call.close()

    run(main)


def test_cursor_calls_likewise(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            cursor = await db.cursor()
            make: Callable[..., Any]
            for make in (
                lambda: cursor.execute("SELECT 1"),
                lambda: cursor.executemany("SELECT 1", []),
                lambda: cursor.executescript(""),
                lambda: cursor.fetchone(),
                lambda: cursor.fetchmany(),
                lambda: cursor.fetchall(),
                lambda: cursor.close(),
            ):
                call = make()
                assert asyncio.iscoroutine(call)
                call.close()
                with pytest.warns(RuntimeWarning, match="was never awaited"):  # noqa: PT031
                    make()
                    gc.collect()
            await cursor.execute("SELECT 1")
            call = cursor.fetchone()
            assert await call == (1,)
            with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
                await call

    run(main)


def test_repr_and_task_names(run: Run) -> None:
    """What asyncio's debug output asks of a coroutine."""

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            task = asyncio.ensure_future(db.execute("SELECT 1"))
            assert "Task" in repr(task)
            await task
            assert "finished" in repr(task)
            task.print_stack()

    run(main)


def test_debug_mode(run: Run) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_debug(True)
        async with lib.connect(":memory:") as db:
            await asyncio.gather(*(db.execute("SELECT 1") for _ in range(5)))

    run(main)


@looplite_only
def test_a_pending_cancellation_is_delivered(run: Run) -> None:
    """A task that cancels itself meets it at one of its next awaits, though these may finish at
    once.
    """

    async def main() -> None:
        async with lib.connect(":memory:") as db:

            async def use() -> None:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                for _ in range(1_000_000):
                    await db.execute("SELECT 1")

            assert isinstance(await caught(asyncio.ensure_future(use())), asyncio.CancelledError)

    run(main)


@looplite_only
def test_a_loop_of_calls_starves_nobody(run: Run) -> None:
    """Calls that finish at once still let other tasks have their turns."""

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            enough = False

            async def other() -> None:
                nonlocal enough
                await turns(50)
                enough = True

            task = asyncio.ensure_future(other())
            while not enough:
                await db.execute("SELECT 1")
            await task

    run(main)


@looplite_only
def test_generic_alias() -> None:
    assert lib.Result[lib.Cursor] is not None


def test_context_variables(run: Run) -> None:
    import contextvars

    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")

    async def main() -> None:
        async with lib.connect(":memory:") as db:

            async def use(number: int) -> None:
                variable.set(number)
                await db.execute("SELECT 1")
                assert variable.get() == number

            await asyncio.gather(*(use(n) for n in range(20)))

    run(main)
