"""Authorizer, trace and progress callbacks: sqlite3's own, which have to keep working beside what
looplite does in the same places, and keep statements off the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ENDLESS, lib, looplite_only
from support.errors import raised_by, same_error
from support.locks import make
from support.loops import caught, on_the_loop, turns, until

pytestmark = looplite_only

Run = Callable[..., Any]
where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")


@pytest.fixture
def file(path: Path) -> Path:
    make(
        path,
        "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE u(w);"
        "INSERT INTO t VALUES (1, 'A')",
    )
    return path


READ = "SELECT v FROM t WHERE id = 1"


async def warm(db: Any) -> None:
    """The text is known, and runs on the loop."""
    for _ in range(8):
        await db.execute_fetchall(READ)


# ---- authorizer ---------------------------------------------------------------------------------


def deny_u(action: int, first: Any, *rest: Any) -> int:
    return sqlite3.SQLITE_DENY if first == "u" else sqlite3.SQLITE_OK


def raises(*args: Any) -> int:
    raise ZeroDivisionError("in here")


AUTHORIZERS: dict[str, Callable[..., Any]] = {
    "denies": deny_u,
    "ignores": lambda action, first, *rest: (
        sqlite3.SQLITE_IGNORE if (action, first) == (sqlite3.SQLITE_READ, "u") else 0
    ),
    "raises": raises,
    "no number": lambda *args: "no number",
    "large number": lambda *args: 2**32,
    "wrong number": lambda *args: 77,
}


@pytest.mark.parametrize("name", AUTHORIZERS)
def test_an_authorizer_is_sqlite3s(run: Run, file: Path, name: str) -> None:
    plain = sqlite3.connect(file)
    plain.set_authorizer(AUTHORIZERS[name])

    async def main() -> None:
        async with lib.connect(file) as db:
            await warm(db)
            await db.set_authorizer(AUTHORIZERS[name])
            for sql in (READ, "SELECT w FROM u", "INSERT INTO u VALUES (1)", "SELECT max(1, 2)"):
                expected: Any = None
                try:
                    expected = plain.execute(sql).fetchall()
                except sqlite3.Error as error:
                    expected = error
                plain.rollback()
                if isinstance(expected, sqlite3.Error):
                    same_error(await caught(db.execute_fetchall(sql)), expected)
                else:
                    assert await db.execute_fetchall(sql) == expected, sql
                await db.rollback()

    run(main)
    plain.close()


def test_an_authorizer_can_go(run: Run, file: Path) -> None:
    async def main() -> None:
        async with lib.connect(file) as db:
            await db.set_authorizer(deny_u)
            with pytest.raises(sqlite3.DatabaseError, match=r"prohibited|not authorized"):
                await db.execute("SELECT w FROM u")
            if hasattr(sqlite3, "SQLITE_BUSY"):  # 3.11
                await db.set_authorizer(None)
                await db.execute("SELECT w FROM u")

    run(main)


@pytest.mark.parametrize("directly", [False, True])
def test_hooks_are_never_called_on_the_loop(run: Run, file: Path, directly: bool) -> None:
    async def main() -> None:
        mine = threading.get_ident()
        seen: dict[str, list[bool]] = {"authorizer": [], "trace": [], "progress": []}

        def note(name: str) -> Callable[..., int]:
            def called(*args: Any) -> int:
                seen[name].append(threading.get_ident() == mine)
                return 0

            return called

        async with lib.connect(file, isolation_level=None) as db:
            await warm(db)

            async def set_hook(name: str, *args: Any) -> None:
                if directly:
                    getattr(db._conn, name)(*args)
                else:
                    await getattr(db, name)(*args)

            for name, method, rest in (
                ("authorizer", "set_authorizer", ()),
                ("trace", "set_trace_callback", ()),
                ("progress", "set_progress_handler", (1,)),
            ):
                await set_hook(method, note(name), *rest)
                for n in range(8):
                    assert await db.execute_fetchall(READ) == [("A",)]
                    await db.execute(f"INSERT INTO u VALUES ({n})")
                    await db.execute_fetchall(f"SELECT {n}")
                    await turns(1)
                assert seen[name], name
                assert not any(seen[name]), name
                if name != "authorizer" or hasattr(sqlite3, "SQLITE_BUSY"):
                    await set_hook(method, None, *rest)
                    count = len(seen[name])
                    await warm(db)
                    assert len(seen[name]) == count

    run(main)


def test_without_hooks_it_is_the_loop_again(run: Run, file: Path) -> None:
    async def main() -> None:
        async with lib.connect(file, isolation_level=None) as db:
            await warm(db)
            for method, args in (
                ("set_trace_callback", (str,)),
                ("set_progress_handler", (int, 5)),
            ):
                await getattr(db, method)(*args)
                before = lib.stats()["inline_hits"]
                await warm(db)
                assert lib.stats()["inline_hits"] == before, method
                await getattr(db, method)(None, *args[1:])
                assert await on_the_loop(lambda: db.execute_fetchall(READ), 20, 20), method

    run(main)


# ---- trace --------------------------------------------------------------------------------------

TRACED = [
    READ,
    "SELECT ?",
    "INSERT INTO u VALUES (1)",
    "INSERT INTO u SELECT 2 UNION SELECT 3",
    "UPDATE u SET w = 5",
    "SELECT * FROM u",
    "CREATE TABLE x(y)",
    "SAVEPOINT s",
    "RELEASE s",
    "PRAGMA user_version",
    "SELECT 'ä', x'00ff', 1.5, NULL",
]


@pytest.mark.parametrize("level", [None, "", "IMMEDIATE", "DEFERRED"])
def test_a_trace_shows_what_sqlite3_shows(run: Run, tmp_path: Path, level: Any) -> None:
    for name in ("a.db", "b.db"):
        make(tmp_path / name, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE u(w)")
    expected: list[str] = []
    plain = sqlite3.connect(tmp_path / "a.db", isolation_level=level)
    plain.set_trace_callback(expected.append)
    for sql in TRACED:
        plain.execute(sql, (7,) if "?" in sql else ()).fetchall()
    plain.commit()
    plain.executemany("INSERT INTO u VALUES (?)", [(1,), ("two",)])
    plain.rollback()
    plain.close()

    async def main() -> None:
        found: list[str] = []
        async with lib.connect(tmp_path / "b.db", isolation_level=level) as db:
            await db.set_trace_callback(found.append)
            for sql in TRACED:
                await db.execute_fetchall(sql, (7,) if "?" in sql else ())
            await db.commit()
            await db.executemany("INSERT INTO u VALUES (?)", [(1,), ("two",)])
            await db.rollback()
        assert found == expected

    run(main)


def test_a_trace_callback_that_raises(run: Run, file: Path, guard: Any) -> None:
    async def main() -> None:
        async with lib.connect(file) as db:
            await db.set_trace_callback(raises)
            for shown in (False, True):
                sqlite3.enable_callback_tracebacks(shown)
                assert await db.execute_fetchall(READ) == [("A",)]
                if hasattr(sqlite3, "SQLITE_BUSY"):
                    assert len(guard.forget_uncaught()) == shown

    try:
        run(main)
    finally:
        sqlite3.enable_callback_tracebacks(False)


def test_contexts_reach_hooks(run: Run, file: Path) -> None:
    async def main() -> None:
        seen: list[tuple[str, str]] = []
        async with lib.connect(file) as db:
            await db.set_trace_callback(lambda sql: seen.append((where.get(), sql)))

            async def ask(name: str) -> None:
                where.set(name)
                await db.execute_fetchall(f"SELECT {name}")

            await asyncio.gather(*(ask(str(n)) for n in range(10)))
            assert sorted(seen) == sorted((str(n), f"SELECT {n}") for n in range(10))

    run(main)


# ---- progress -----------------------------------------------------------------------------------


def count_calls(steps: int, sql: str) -> int:
    plain = sqlite3.connect(":memory:")
    calls: list[int] = []
    plain.set_progress_handler(lambda: calls.append(1), steps)
    plain.execute(sql).fetchall()
    plain.close()
    return len(calls)


@pytest.mark.parametrize("steps", [1, 2, 7, 100, 5000])
def test_a_progress_handler_is_called_as_often(run: Run, steps: int) -> None:
    sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 2000) SELECT sum(x) FROM c"  # noqa: E501
    expected = count_calls(steps, sql)

    async def main() -> None:
        calls: list[int] = []
        async with lib.connect(":memory:") as db:
            await db.set_progress_handler(lambda: calls.append(1), steps)
            await db.execute_fetchall(sql)
            # (sqlite3 steps once more to find the end; the counter of steps goes on between statements.)  # noqa: E501
            assert abs(len(calls) - expected) <= 1 + expected // 50
            await db.set_progress_handler(None, steps)
            count = len(calls)
            await db.execute_fetchall(sql)
            assert len(calls) == count

    run(main)


HOOKS: dict[str, Callable[[Any, Any], Any]] = {
    "progress": lambda on, seen: on.set_progress_handler(lambda: seen.append("step"), 1),
    "trace": lambda on, seen: on.set_trace_callback(seen.append),
    "authorizer": lambda on, seen: on.set_authorizer(lambda *what: seen.append(what) or 0),
}


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.parametrize("memory", [False, True])
def test_hooks_see_nothing_of_ours(run: Run, path: Path, name: str, memory: bool) -> None:
    """looplite asks SQLite about the connection; none of the program's business."""

    async def main() -> None:
        async with lib.connect(":memory:" if memory else path) as db:
            await db.execute("CREATE TABLE t(x)")
            seen: list[Any] = []
            await HOOKS[name](db, seen)
            assert seen == []
            await db._execute(int)  # after which it would look
            if sys.version_info >= (3, 11):  # before, only one that is there can be removed
                await db.create_collation("c", None)
            assert seen == []
            await db.execute("INSERT INTO t VALUES (1)")
            assert seen != []

    run(main)


@pytest.mark.parametrize("answer", [1, "yes", -1])
def test_a_progress_handler_ends_a_statement(run: Run, answer: Any) -> None:
    plain = sqlite3.connect(":memory:")
    plain.set_progress_handler(lambda: answer, 10)
    expected = raised_by(lambda: plain.execute(ENDLESS).fetchall())
    plain.close()

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.set_progress_handler(lambda: answer, 10)
            same_error(await caught(db.execute_fetchall(ENDLESS)), expected)
            await db.set_progress_handler(None, 0)
            assert await db.execute_fetchall("SELECT 1") == [(1,)]

    run(main)


def test_a_progress_handler_that_raises(run: Run, guard: Any) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.set_progress_handler(raises, 10)
            for shown in (False, True):
                sqlite3.enable_callback_tracebacks(shown)
                with pytest.raises(sqlite3.OperationalError, match="interrupted"):
                    await db.execute_fetchall(ENDLESS)
                if hasattr(sqlite3, "SQLITE_BUSY"):
                    assert bool(guard.forget_uncaught()) == shown

    try:
        run(main)
    finally:
        sqlite3.enable_callback_tracebacks(False)


@pytest.mark.parametrize("steps", [1, 1000, 10_000_000, 2**31 - 1])
@pytest.mark.parametrize("how", ["cancel", "interrupt"])
def test_a_progress_handler_does_not_keep_statements_from_ending(
    run: Run, steps: int, how: str
) -> None:
    """SQLite has one slot for it, and looplite needs it, too."""

    async def main() -> None:
        started = threading.Event()
        async with lib.connect(":memory:") as db:
            await db.create_function("started", 0, started.set)
            await db.set_progress_handler(lambda: None, steps)
            sql = ENDLESS.replace("SELECT 1 UNION", "SELECT started() IS NULL UNION")
            task = asyncio.ensure_future(db.execute_fetchall(sql))
            await until(started.is_set)
            if how == "cancel":
                task.cancel()
                assert isinstance(await caught(task), asyncio.CancelledError)
            else:
                await db.interrupt()
                with pytest.raises(sqlite3.OperationalError, match="interrupted"):
                    await task
            assert await db.execute_fetchall("SELECT 1") == [(1,)]

    run(main)


def test_a_rare_progress_handler_is_rare(run: Run) -> None:
    """It is looked in more often, but the program's is not called more often."""
    sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 200000) SELECT sum(x) FROM c"  # noqa: E501
    expected = count_calls(1_000_000, sql)

    async def main() -> None:
        calls: list[int] = []
        async with lib.connect(":memory:") as db:
            await db.set_progress_handler(lambda: calls.append(1), 1_000_000)
            await db.execute_fetchall(sql)
            assert abs(len(calls) - expected) <= 1

    run(main)
