"""`looplite.exceptions`: one tree, and each is also the exception that `sqlite3` has for it."""
# ruff: noqa: PT012

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from looplite import exceptions
from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.exceptions import LoopliteError, translated
from support.errors import has_code, raised_by

CLASSES = [
    value
    for value in vars(exceptions).values()
    if isinstance(value, type) and issubclass(value, LoopliteError)
]

SCHEMA = """
CREATE TABLE parent(id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL CHECK (name <> ''));
CREATE TABLE child(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent(id));
CREATE TABLE strict_one(n INTEGER);
CREATE TRIGGER no_nines BEFORE INSERT ON strict_one WHEN new.n = 9
    BEGIN SELECT raise(ABORT, 'nines are out'); END;
INSERT INTO parent VALUES (1, 'first');
"""

MISTAKES = {
    "unique": ("INSERT INTO parent(name) VALUES ('first')", exceptions.UniqueViolationError),
    "primary key": ("INSERT INTO parent VALUES (1, 'x')", exceptions.UniqueViolationError),
    "foreign key": ("INSERT INTO child VALUES (1, 99)", exceptions.ForeignKeyViolationError),
    "not null": ("INSERT INTO parent VALUES (2, NULL)", exceptions.NotNullViolationError),
    "check": ("INSERT INTO parent VALUES (2, '')", exceptions.CheckViolationError),
    "trigger": ("INSERT INTO strict_one VALUES (9)", exceptions.IntegrityError),
    "mismatch": ("INSERT INTO parent VALUES ('one', 'x')", exceptions.MismatchError),
    "no table": ("SELECT * FROM absent", exceptions.NoSuchTableError),
    "no column": ("SELECT absent FROM parent", exceptions.OperationalError),
    "syntax": ("SELEKT 1", exceptions.SQLParsingError),
    "incomplete": ("SELECT (1", exceptions.SQLParsingError),
    "token": ("SELECT 'unclosed", exceptions.SQLParsingError),
    "two statements": (
        "SELECT 1; SELECT 2",
        # in sqlite3 up to Python 3.10 a Warning, no error
        exceptions.ProgrammingError if sys.version_info >= (3, 11) else exceptions.StatementsError,
    ),
    "parameters": ("SELECT ?", exceptions.ProgrammingError),
    "function": ("SELECT absent(1)", exceptions.OperationalError),
}


@pytest.mark.parametrize("sql", [sql for sql, _ in MISTAKES.values()], ids=list(MISTAKES))
@pytest.mark.parametrize("how", ["shared", "in a transaction"])
def test_what_sqlite_refuses(run: Callable[..., Any], path: Path, sql: str, how: str) -> None:
    """The session raises the class of the table, which is also the class that sqlite3 raises, with
    the same text and code.
    """
    expected_class = next(found for text, found in MISTAKES.values() if text == sql)
    with sqlite3.connect(path) as oracle:
        oracle.executescript(SCHEMA)
        oracle.execute("PRAGMA foreign_keys = ON")
        oracle.commit()
        expected = raised_by(oracle.execute, sql)
        oracle.rollback()
    oracle.close()

    async def main() -> None:
        config = AiosqliteConfig(connection_config={"database": path})
        async with config.provide_session() as session:
            with pytest.raises(type(expected)) as caught:
                if how == "shared":
                    await session.execute(sql)
                else:
                    async with session.transaction():
                        await session.execute(sql)
            assert await session.select_value("SELECT count(*) FROM parent") == 1
        await config.close_pool()
        assert type(caught.value) is expected_class
        assert isinstance(caught.value, LoopliteError)
        assert str(caught.value) == str(expected)
        assert caught.value.detail == str(expected)
        if hasattr(expected, "sqlite_errorname"):
            has_code(caught.value, expected.sqlite_errorname)

    run(main)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_carries_its_message(cls: type[LoopliteError]) -> None:
    assert str(cls("what went wrong")) == "what went wrong"
    assert cls("what went wrong").detail == "what went wrong"
    assert cls.__doc__


def test_every_class_of_sqlite3_has_one() -> None:
    """Whatever sqlite3 raises is translated into something that is caught as before."""
    for name in [
        "Error",
        "DatabaseError",
        "DataError",
        "IntegrityError",
        "InterfaceError",
        "InternalError",
        "NotSupportedError",
        "OperationalError",
        "ProgrammingError",
        "Warning",
    ]:
        original = getattr(sqlite3, name)("text")
        made = translated(original)
        assert isinstance(made, LoopliteError)
        assert isinstance(made, type(original))
        assert made.__cause__ is original
        assert translated(made) is made


def test_codes_decide_where_words_would_mislead() -> None:
    """The text of a constraint may hold anything."""
    error: Any = sqlite3.IntegrityError("CHECK constraint failed: no such table: x")
    error.sqlite_errorcode = 275
    assert type(translated(error)) is exceptions.CheckViolationError


def test_what_is_not_sqlites_is_not_translated() -> None:
    with pytest.raises(TypeError):
        translated(KeyError("x"))


def test_names_of_sqlspec() -> None:
    """What programs written for SQLSpec import."""
    for name in [
        "SQLSpecError",
        "RepositoryError",
        "NotFoundError",
        "MultipleResultsFoundError",
        "IntegrityError",
        "UniqueViolationError",
        "ForeignKeyViolationError",
        "CheckViolationError",
        "NotNullViolationError",
        "ImproperConfigurationError",
        "SQLParsingError",
        "OperationalError",
        "DataError",
        "DeadlockError",
        "TransactionError",
        "DatabaseConnectionError",
        "PermissionDeniedError",
        "ConnectionTimeoutError",
        "QueryTimeoutError",
        "OperationCancelledError",
        "SerializationConflictError",
        "MissingDependencyError",
    ]:
        assert issubclass(getattr(exceptions, name), exceptions.SQLSpecError)
