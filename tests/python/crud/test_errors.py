"""classify_error(): errors that SQLite really makes, all its codes, and errors without a code."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

import looplite
import pytest
from crud.conftest import SCHEMA
from looplite.crud import ErrorKind, apply_schema, classify_error, insert
from support.loops import caught

K = ErrorKind

MADE = [
    ("INSERT INTO author VALUES (1, 'b')", K.DUPLICATE),
    ("INSERT INTO author(name) VALUES ('a')", K.DUPLICATE),
    ("INSERT INTO book(title, author) VALUES ('t', 77)", K.MISSING_REFERENCE),
    ("DELETE FROM author", K.MISSING_REFERENCE),
    ("INSERT INTO book(year) VALUES (1800)", K.MISSING_VALUE),
    ("INSERT INTO book(title, year) VALUES ('x', 3)", K.CHECK_FAILED),
    ("INSERT INTO author VALUES ('no number', 'x')", K.WRONG_TYPE),
    ("INSERT INTO guarded VALUES (1)", K.CONSTRAINT),
    ("SELECT * FROM absent", K.NO_SUCH_TABLE),
    ("INSERT INTO absent VALUES (1)", K.NO_SUCH_TABLE),
    ("SELECT absent FROM author", K.NO_SUCH_COLUMN),
    ("INSERT INTO author(absent) VALUES (1)", K.NO_SUCH_COLUMN),
    ("SELECT absent(1)", K.NO_SUCH_FUNCTION),
    ("SELECT 1 ORDER BY 1 COLLATE absent", K.NO_SUCH_FUNCTION),
    ("CREATE TABLE author(x)", K.ALREADY_EXISTS),
    ("CREATE TABLE twice(x, x)", K.ALREADY_EXISTS),
    ("CREATE INDEX book_year ON book(year)", K.ALREADY_EXISTS),
    ("SELEC 1", K.SYNTAX),
    ("SELECT 'open", K.SYNTAX),
    ("SELECT (1", K.SYNTAX),
    ("SELECT ?", K.WRONG_PARAMETERS),
    ("PRAGMA query_only = ON; DELETE FROM book", K.READ_ONLY),
    ("SELECT zeroblob(3000000000)", K.TOO_BIG),
    ("ATTACH '/nowhere/at/all.db' AS other", K.CANNOT_OPEN),
    ("SELECT abs(-9223372036854775808)", K.OTHER),
]


@pytest.mark.parametrize(("sql", "kind"), MADE)
def test_errors_as_they_are_made(connect: Callable[..., Any], sql: str, kind: ErrorKind) -> None:
    async def main() -> None:
        async with connect() as db:
            await db.execute("PRAGMA foreign_keys = ON")
            await apply_schema(
                db,
                SCHEMA + "CREATE INDEX book_year ON book(year); CREATE TABLE guarded(x);"
                "CREATE TRIGGER g BEFORE INSERT ON guarded BEGIN SELECT RAISE(ABORT, 'no'); END",
            )
            await insert(db, "author", {"id": 1, "name": "a"})
            await insert(db, "book", {"title": "t", "author": 1})
            for part in sql.split("; "):
                error = None
                try:
                    await db.execute(part)
                except sqlite3.Error as made:
                    error = made
            assert error is not None
            assert classify_error(error) is kind
            # The same from its words alone, as of a driver without codes.
            assert classify_error(type(error)(str(error))) is kind

    asyncio.run(main())


def test_more_errors_as_they_are_made(tmp_path: Any) -> None:
    async def main() -> None:
        path = tmp_path / "a.db"
        async with (
            looplite.connect(path, isolation_level=None, timeout=0) as one,
            looplite.connect(path, isolation_level=None, timeout=0) as two,
        ):
            await one.execute("BEGIN IMMEDIATE")
            assert classify_error(await caught(two.execute("BEGIN IMMEDIATE"))) == "busy"
            await one.execute("CREATE TABLE t(x)")
            await one.execute("COMMIT")
            await one.execute("PRAGMA journal_mode = WAL")
            await two.execute("BEGIN")
            await two.execute("SELECT * FROM t")
            await one.execute("INSERT INTO t VALUES (1)")
            stale = await caught(two.execute("INSERT INTO t VALUES (2)"))
            assert classify_error(stale) is K.BUSY
            endless = (
                "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT max(x) FROM c"
            )
            task = asyncio.ensure_future(one.execute_fetchall(endless))
            await asyncio.sleep(0)
            while not task.done():
                await one.interrupt()
                await asyncio.sleep(0)
            assert classify_error(await caught(task)) is K.INTERRUPTED
            wrong: Any = ({1, 2}, (object(),))
            for parameters in wrong:
                assert classify_error(await caught(one.execute("SELECT ?", parameters))) in (
                    K.WRONG_PARAMETERS,
                )
            cursor = await one.execute("SELECT 1")
        assert classify_error(await caught(cursor.fetchall())) is K.CLOSED
        with pytest.raises(ValueError) as closed:
            one.in_transaction  # noqa: B018
        assert classify_error(closed.value) is K.CLOSED
        (tmp_path / "text.db").write_text("this is no database, " * 100)
        async with looplite.connect(tmp_path / "text.db") as db:
            assert classify_error(await caught(db.execute("SELECT * FROM t"))) is K.CORRUPT
        missing = await caught(looplite.connect(tmp_path / "no" / "folder.db")._connect())
        assert classify_error(missing) is K.CANNOT_OPEN

    asyncio.run(main())


GENERAL = {"SQLITE_ERROR", "SQLITE_INTERNAL", "SQLITE_NOTFOUND", "SQLITE_EMPTY", "SQLITE_MISUSE"}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="sqlite3 names no codes before Python 3.11")
def test_every_code_of_sqlite_has_its_kind() -> None:
    """All result codes that this Python's sqlite3 names, but those that say absent particular."""
    families = (
        r"(ERROR|PERM|ABORT|BUSY|LOCKED|NOMEM|READONLY|INTERRUPT|IOERR|CORRUPT|FULL|CANTOPEN|PROTOCOL|"
        r"SCHEMA|TOOBIG|CONSTRAINT|MISMATCH|NOLFS|AUTH|FORMAT|RANGE|NOTADB)(_|$)"
    )
    looked_at = 0
    for name in dir(sqlite3):
        if name in GENERAL or not name.startswith("SQLITE_"):
            continue
        if not re.match(families, name.removeprefix("SQLITE_")):
            continue
        error: Any = sqlite3.OperationalError("said otherwise")
        error.sqlite_errorcode = getattr(sqlite3, name)
        assert classify_error(error) is not K.OTHER, name
        looked_at += 1
    assert looked_at > 60


def test_errors_that_stand_for_another() -> None:
    inner = sqlite3.IntegrityError("UNIQUE constraint failed: t.x")

    class WrappedError(Exception):
        orig = inner

    assert classify_error(WrappedError()) is K.DUPLICATE
    outer = RuntimeError("outer")
    outer.__cause__ = inner
    assert classify_error(outer) is K.DUPLICATE
    inner.__cause__ = outer  # a circle ends
    assert classify_error(RuntimeError()) is K.OTHER
    assert classify_error(ValueError("anything")) is K.OTHER
    assert classify_error(MemoryError()) is K.OUT_OF_MEMORY


def test_a_kind_is_a_text() -> None:
    text: str = K.NO_SUCH_TABLE
    assert text == "no such table"
    assert K("missing reference") is K.MISSING_REFERENCE
    assert f"{K.DUPLICATE} {K.OTHER!s}" == "duplicate other"
    assert {"busy": 1}[K.BUSY] == 1
