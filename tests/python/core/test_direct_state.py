"""`conn._conn.in_transaction` and `total_changes`: read at any time, on any thread, at once.

Since SQLite 3.51 both take the mutex of the connection, which a worker has while it is inside a
function written in Python; CPython asks with the GIL held.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.locks import make
from support.scripts import ran_clean, run_script

pytestmark = looplite_only

Run = Callable[..., Any]


@pytest.fixture
def file(path: Path) -> Path:
    make(path, "CREATE TABLE t(v); INSERT INTO t VALUES (1)")
    return path


BESIDE_A_FUNCTION = """
class Mine(sqlite3.Connection):
    @property
    def in_transaction(self):
        return super().in_transaction

async def main():
    inside, go = threading.Event(), threading.Event()

    def wait():
        inside.set()
        return go.wait()

    async with lib.connect(PATH, {options}) as db:
        await db.execute("INSERT INTO t VALUES (1)")
        await db.create_function("wait", 0, wait)
        task = asyncio.ensure_future(db.execute_fetchall("SELECT wait()"))
        await asyncio.get_running_loop().run_in_executor(None, inside.wait)
        {action}
        go.set()
        await task
asyncio.run(main())
"""


@pytest.mark.parametrize("options", ["", "factory=Mine"], ids=["plain", "factory"])
def test_on_the_loop_while_a_function_runs(tmp_path: Path, options: str) -> None:
    """Each of them in turn; where it hangs, the program's end shows the line."""
    make(tmp_path / "script.db", "CREATE TABLE t(v)")
    action = """
        assert db._conn.in_transaction is True
        assert db._conn.total_changes == 1
        assert db.in_transaction is True
        assert db.total_changes == 1
        assert db._conn.isolation_level == ""
"""
    ran_clean(run_script(tmp_path, BESIDE_A_FUNCTION.format(options=options, action=action)))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="sqlite3 has no getlimit() before 3.11")
@pytest.mark.parametrize("use", ["getlimit(0)", "setlimit(0, 1000)"])
def test_a_limit_waits_for_the_function(tmp_path: Path, use: str) -> None:
    """The GIL goes to the thread that lets the function end only when this one waits without it."""
    make(tmp_path / "script.db", "CREATE TABLE t(v)")
    action = f"""
        sys.setswitchinterval(1000)
        ready = threading.Event()
        helper = threading.Thread(target=lambda: ready.wait() and go.set())
        helper.start()
        ready.set()
        db._conn.{use}
        helper.join()
"""
    ran_clean(run_script(tmp_path, BESIDE_A_FUNCTION.format(options="", action=action)))


def test_what_was_noted_while_another_thread_uses_it(run: Run, file: Path) -> None:
    async def main() -> None:
        inside, go = threading.Event(), threading.Event()
        seen: list[tuple[bool, int]] = []

        async with lib.connect(file, isolation_level=None) as db:

            def wait() -> int:
                seen.append((db._conn.in_transaction, db._conn.total_changes))
                inside.set()
                go.wait()
                return 1

            await db.create_function("wait", 0, wait)
            await db.execute("INSERT INTO t VALUES (2)")
            script = "BEGIN; INSERT INTO t VALUES (3); SELECT wait(); COMMIT"
            task = asyncio.ensure_future(db.executescript(script))
            await asyncio.get_running_loop().run_in_executor(None, inside.wait)
            assert (db._conn.in_transaction, db._conn.total_changes) == (False, 1)
            assert (db.in_transaction, db.total_changes) == (False, 1)
            go.set()
            await task
            assert seen == [(True, 2)]  # the worker itself sees what it is doing
            assert (db._conn.in_transaction, db._conn.total_changes) == (False, 2)

    run(main)


def test_at_once_wherever_it_was_used(run: Run, file: Path) -> None:
    async def main() -> None:
        async with lib.connect(file, isolation_level=None) as db:

            def use() -> list[bool]:
                db._conn.execute("BEGIN")
                began = db._conn.in_transaction
                db._conn.execute("INSERT INTO t VALUES (2)")
                db._conn.execute("ROLLBACK")
                return [began, db._conn.in_transaction, db.in_transaction]

            expected = [True, False, False]
            assert use() == expected
            assert await db._execute(use) == expected
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, use) == expected
            assert db._conn.total_changes == db.total_changes == 3
            # Behind our back.
            sqlite3.Connection.execute(db._conn, "BEGIN")
            assert [db._conn.in_transaction, db.in_transaction] == [True, True]
            db._conn.rollback()
            assert [db._conn.in_transaction, db.in_transaction] == [False, False]

    run(main)


def test_a_factory_has_the_last_word(run: Run, file: Path) -> None:
    class Mine(sqlite3.Connection):
        @property
        def in_transaction(self) -> Any:
            return ("mine", super().in_transaction)

        total_changes = 77

    async def main() -> None:
        async with lib.connect(file, factory=Mine) as db:
            assert db._conn.in_transaction == db.in_transaction == ("mine", False)
            await db.execute("INSERT INTO t VALUES (2)")
            assert db._conn.in_transaction == db.in_transaction == ("mine", True)
            assert db._conn.total_changes == db.total_changes == 77

    run(main)


def test_before_it_is_open_and_after(run: Run, file: Path) -> None:
    class Mine(sqlite3.Connection):
        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            self.execute("INSERT INTO t VALUES (2)")
            self.seen = (self.in_transaction, self.total_changes)
            self.commit()

    async def main() -> None:
        async with lib.connect(file, factory=Mine) as db:
            raw = db._conn
            assert raw.seen == (True, 1)
            assert (raw.in_transaction, raw.total_changes) == (False, 1)
            with pytest.raises(AttributeError):
                raw.in_transaction = True
        for name in ("in_transaction", "total_changes"):
            with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
                getattr(raw, name)

    run(main)
