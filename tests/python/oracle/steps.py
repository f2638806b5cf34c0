"""The calls a case is made of, and carrying them out on `sqlite3` and on the module under test.

Each call gives one observation: its result or its exception (class, message, SQLite's code), and
then what the cursor (rowcount, lastrowid, description) and the connection (in_transaction, total_changes) say.
Values are compared with their types, so 1, 1.0 and True differ.
"""  # noqa: E501

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from support import lib


@dataclass(frozen=True)
class Exec:
    """cursor.execute; `fetch` takes all rows at once."""

    sql: Any
    parameters: Any = None
    cursor: int = 0
    fetch: bool = True


@dataclass(frozen=True)
class Many:
    sql: Any
    rows: Any
    cursor: int = 0


@dataclass(frozen=True)
class Script:
    sql: Any
    cursor: int = 0


@dataclass(frozen=True)
class Fetch:
    """fetchone, fetchmany(n), or fetchall."""

    how: str
    size: int | None = None
    cursor: int = 0


@dataclass(frozen=True)
class Call:
    """commit or rollback."""

    name: str


@dataclass(frozen=True)
class Level:
    """connection.isolation_level = value"""

    value: str | None


Step = Exec | Many | Script | Fetch | Call | Level
Observation = tuple[Any, ...]


def shown(value: Any) -> Any:
    """A value together with its type, comparable."""
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [shown(each) for each in value]
    return type(value).__name__, repr(value)


def error_shown(error: BaseException) -> Any:
    code = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", None)
    # sqlite3 does not know the names of newer codes; what it calls unknown may be called by its
    # name.
    known = name if code is None or hasattr(sqlite3, str(name)) else "unknown"
    return "raised", type(error).__name__, str(error), code, known


def state(step: Step, cursor: Any, connection: Any) -> Observation:
    # An INSERT .. RETURNING counts its rows when they are fetched in `sqlite3` and when it runs
    # here (documented).
    unread = isinstance(step, Exec) and not step.fetch and "RETURNING" in str(step.sql).upper()
    return (
        None if unread else cursor.rowcount,
        cursor.lastrowid,
        shown(cursor.description),
        connection.in_transaction,
        None if unread else connection.total_changes,
    )


def on_sqlite3(
    steps: Sequence[Step], database: str = ":memory:", **options: Any
) -> list[Observation]:
    """What `sqlite3` does."""
    connection = sqlite3.connect(database, **options)
    cursors = [connection.cursor() for _ in range(3)]
    seen: list[Observation] = []
    for step in steps:
        cursor = cursors[getattr(step, "cursor", 0)]
        result: Any = None
        try:
            if isinstance(step, Exec):
                if step.parameters is None:
                    cursor.execute(step.sql)
                else:
                    cursor.execute(step.sql, step.parameters)
                result = cursor.fetchall() if step.fetch else None
            elif isinstance(step, Many):
                cursor.executemany(step.sql, fresh(step.rows))
            elif isinstance(step, Script):
                cursor.executescript(step.sql)
            elif isinstance(step, Fetch):
                fetch = getattr(cursor, step.how)
                result = fetch() if step.size is None else fetch(step.size)
            elif isinstance(step, Call):
                getattr(connection, step.name)()
            else:
                connection.isolation_level = step.value
        except Exception as error:
            outcome = error_shown(error)
        else:
            outcome = shown(result)
        seen.append((outcome, *state(step, cursor, connection)))
    connection.close()
    return seen


async def on_lib(
    steps: Sequence[Step], database: str = ":memory:", **options: Any
) -> list[Observation]:
    """What the module under test does."""
    # Without a thread check aiosqlite too can set isolation_level from the loop.
    connection = await lib.connect(database, check_same_thread=False, **options)
    cursors = [await connection.cursor() for _ in range(3)]
    seen: list[Observation] = []
    for step in steps:
        cursor = cursors[getattr(step, "cursor", 0)]
        result: Any = None
        try:
            if isinstance(step, Exec):
                if step.parameters is None:
                    await cursor.execute(step.sql)
                else:
                    await cursor.execute(step.sql, step.parameters)
                result = await cursor.fetchall() if step.fetch else None
            elif isinstance(step, Many):
                await cursor.executemany(step.sql, fresh(step.rows))
            elif isinstance(step, Script):
                await cursor.executescript(step.sql)
            elif isinstance(step, Fetch):
                fetch = getattr(cursor, step.how)
                result = await (fetch() if step.size is None else fetch(step.size))
            elif isinstance(step, Call):
                await getattr(connection, step.name)()
            else:
                connection.isolation_level = step.value
        except Exception as error:
            outcome = error_shown(error)
        else:
            outcome = shown(result)
        seen.append((outcome, *state(step, cursor, connection)))
    await connection.close()
    return seen


def fresh(rows: Any) -> Any:
    """Rows given as a function are made anew for each side, since an iterator can be used once."""
    return rows() if callable(rows) else rows


def compare(steps: Sequence[Step], **options: Any) -> None:
    """Both sides, step by step; the message names the first step that differs."""
    expected = on_sqlite3(steps, **options)
    loop = asyncio.new_event_loop()
    try:
        found = loop.run_until_complete(on_lib(steps, **options))
    finally:
        loop.close()
    same(steps, expected, found, f"options {options}, steps {list(steps)!r}")


def same(
    steps: Sequence[Step], expected: Sequence[Observation], found: Sequence[Observation], where: str
) -> None:
    """All observations are equal; the message names the first step that differs, and `where`."""
    names = ("result", "rowcount", "lastrowid", "description", "in_transaction", "total_changes")
    for number, (step, want, have) in enumerate(zip(steps, expected, found, strict=True)):
        for name, a, b in zip(names, want, have, strict=True):
            assert a == b, (
                f"step {number}, {step!r}: {name}\n  sqlite3: {a}\n  {lib.__name__}: {b}\n  {where}"
            )
