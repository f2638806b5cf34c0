"""Errors: sqlite3's own classes, with its texts and codes, and a connection that goes on after
each.
"""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import sys
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ENDLESS, lib, looplite_only
from support.errors import has_code, raised_by, same_error
from support.locks import make, write_lock
from support.loops import caught

Run = Callable[..., Any]

SCHEMA = """
CREATE TABLE p(id INTEGER PRIMARY KEY);
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT NOT NULL UNIQUE, c CHECK (c > 0), d REFERENCES p);
CREATE TRIGGER no_delete BEFORE DELETE ON t BEGIN SELECT RAISE(ABORT, 'rows stay'); END;
INSERT INTO t VALUES (1, 'x', 1, NULL);
PRAGMA foreign_keys = ON;
"""

MISTAKES = [
    (
        "INSERT INTO t VALUES (1, 'y', 1, NULL)",
        sqlite3.IntegrityError,
        "SQLITE_CONSTRAINT_PRIMARYKEY",
    ),
    ("INSERT INTO t VALUES (2, 'x', 1, NULL)", sqlite3.IntegrityError, "SQLITE_CONSTRAINT_UNIQUE"),
    (
        "INSERT INTO t VALUES (2, NULL, 1, NULL)",
        sqlite3.IntegrityError,
        "SQLITE_CONSTRAINT_NOTNULL",
    ),
    ("INSERT INTO t VALUES (2, 'y', 0, NULL)", sqlite3.IntegrityError, "SQLITE_CONSTRAINT_CHECK"),
    (
        "INSERT INTO t VALUES (2, 'y', 1, 99)",
        sqlite3.IntegrityError,
        "SQLITE_CONSTRAINT_FOREIGNKEY",
    ),
    ("DELETE FROM t", sqlite3.IntegrityError, "SQLITE_CONSTRAINT_TRIGGER"),
    ("INSERT INTO t VALUES ('word', 'y', 1, NULL)", sqlite3.IntegrityError, "SQLITE_MISMATCH"),
    ("SELECT * FROM nothing", sqlite3.OperationalError, "SQLITE_ERROR"),
    ("SELECT nothing FROM t", sqlite3.OperationalError, "SQLITE_ERROR"),
    ("SELEC 1", sqlite3.OperationalError, "SQLITE_ERROR"),
    ("SELECT 1 +", sqlite3.OperationalError, "SQLITE_ERROR"),
    ("SELECT json('{')", sqlite3.OperationalError, "SQLITE_ERROR"),
    ("SELECT abs(-9223372036854775808)", sqlite3.OperationalError, "SQLITE_ERROR"),
    ("ATTACH 'no/such/folder/x' AS x", sqlite3.OperationalError, "SQLITE_CANTOPEN"),
    ("SELECT zeroblob(2000000000)", sqlite3.DataError, "SQLITE_TOOBIG"),
]


@pytest.mark.parametrize(("sql", "kind", "code"), MISTAKES, ids=[m[0][:30] for m in MISTAKES])
@pytest.mark.parametrize("way", ["connection", "cursor", "many", "script"])
def test_same_as_sqlite3(run: Run, way: str, sql: str, kind: type[Exception], code: str) -> None:
    calls: dict[str, Callable[[Any], Any]] = {
        "connection": lambda x: x.execute(sql),
        "cursor": lambda x: x.execute(sql),
        "many": lambda x: x.executemany(sql, [()]),
        "script": lambda x: x.executescript(sql),
    }
    call = calls[way]
    if way == "many" and sql.startswith(("SELECT", "ATTACH")):
        pytest.skip("executemany refuses what gives rows before it runs")
    reference = sqlite3.connect(":memory:", isolation_level=None)
    reference.executescript(SCHEMA)
    expected = raised_by(call, reference)
    reference.close()
    assert type(expected) is kind
    has_code(expected, code)

    async def main() -> None:
        async with lib.connect(":memory:", isolation_level=None) as db:
            await db.executescript(SCHEMA)
            target = await db.cursor() if way == "cursor" else db
            same_error(await caught(call(target)), expected)
            # Nothing has changed, and the connection is as good as before.
            async with db.execute("SELECT * FROM t") as cursor:
                assert await cursor.fetchall() == [(1, "x", 1, None)]
            assert not db.in_transaction

    run(main)


def test_identity_of_classes() -> None:
    for name in (
        "Error",
        "DatabaseError",
        "IntegrityError",
        "OperationalError",
        "ProgrammingError",
        "NotSupportedError",
        "Warning",
    ):
        assert getattr(lib, name) is getattr(sqlite3, name)


def test_message_of_a_syntax_error_names_the_place(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            with pytest.raises(sqlite3.OperationalError, match='near "FORM": syntax error'):
                await db.execute("SELECT * FORM t")
            with pytest.raises(sqlite3.OperationalError, match="incomplete input"):
                await db.execute("SELECT 1 FROM")
            with pytest.raises(sqlite3.OperationalError, match='unrecognized token: "@"'):
                await db.execute("SELECT @")

    run(main)


def test_several_statements_change_nothing(run: Run) -> None:
    kind = sqlite3.ProgrammingError if sys.version_info >= (3, 11) else sqlite3.Warning

    async def main() -> None:
        async with lib.connect(":memory:", isolation_level=None) as db:
            await db.execute("CREATE TABLE t(v)")
            with pytest.raises(kind, match="You can only execute one statement at a time"):
                await db.execute("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)")
            async with db.execute("SELECT count(*) FROM t") as cursor:
                assert await cursor.fetchone() == (0,)

    run(main)


def test_locked(run: Run, path: Path) -> None:
    make(path, "CREATE TABLE t(v)")

    async def main() -> None:
        async with lib.connect(path, timeout=0) as db:
            with write_lock(path):
                error = await caught(db.execute("INSERT INTO t VALUES (1)"))
                assert type(error) is sqlite3.OperationalError
                assert str(error) == "database is locked"
                has_code(error, "SQLITE_BUSY")
                await db.rollback()
            await db.execute("INSERT INTO t VALUES (1)")
            await db.commit()

    run(main)


def test_locked_after_the_timeout(run: Run, path: Path) -> None:
    """The wait ends by itself, with the same error; that it waited at all is not measured here."""
    make(path, "CREATE TABLE t(v)")

    async def main() -> None:
        async with lib.connect(path, timeout=0.02) as db:
            with write_lock(path):
                error = await caught(db.execute("INSERT INTO t VALUES (1)"))
                assert str(error) == "database is locked"

    run(main)


def test_interrupt(run: Run) -> None:
    import asyncio

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            task = asyncio.ensure_future(db.execute_fetchall(ENDLESS))
            # Asked again and again, since it does nothing to a statement that has not begun yet.
            while not task.done():
                await db.interrupt()
                await asyncio.sleep(0)
            error = await caught(task)
            assert type(error) is sqlite3.OperationalError
            assert str(error) == "interrupted"
            has_code(error, "SQLITE_INTERRUPT")
            async with db.execute("SELECT 1") as cursor:
                assert await cursor.fetchone() == (1,)

    run(main)


def test_full(run: Run, path: Path) -> None:
    async def main() -> None:
        async with lib.connect(path, isolation_level=None) as db:
            await db.execute("CREATE TABLE t(v)")
            await db.execute("PRAGMA max_page_count = 5")
            error = await caught(db.execute("INSERT INTO t VALUES (zeroblob(100000))"))
            assert type(error) is sqlite3.OperationalError
            assert str(error) == "database or disk is full"
            has_code(error, "SQLITE_FULL")
            assert not db.in_transaction
            async with db.execute("SELECT count(*) FROM t") as cursor:
                assert await cursor.fetchone() == (0,)

    run(main)


@looplite_only
def test_error_keeps_nothing_alive(run: Run) -> None:
    """An exception that is kept does not keep the values of its statement."""

    class Value(str):
        __slots__ = ("__weakref__",)

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            value = Value("x" * 100)
            gone = weakref.ref(value)
            with contextlib.suppress(sqlite3.Error):
                await db.execute("SELECT ? FROM nothing", (value,))
            del value
            gc.collect()
            assert gone() is None

    run(main)


def test_traceback_shows_the_line_of_the_caller(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            try:
                await db.execute("NONSENSE")  # this line
            except sqlite3.OperationalError as error:
                assert "this line" in "".join(traceback.format_exception(error))  # noqa: PT017

    run(main)


def test_the_same_error_twice_is_two_exceptions(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            first, second = (
                await caught(db.execute("NONSENSE")),
                await caught(db.execute("NONSENSE")),
            )
            assert first is not second
            same_error(first, second)

    run(main)


@looplite_only
def test_statement_errors_carry_no_outcome_of_a_cancellation(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            error = await caught(db.execute("NONSENSE"))
            assert getattr(error, "looplite_outcome", None) in (None, "not applied")

    run(main)


def test_unicode_in_messages(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            with pytest.raises(sqlite3.OperationalError, match="no such table: täble_漢"):
                await db.execute('SELECT * FROM "täble_漢"')

    run(main)
