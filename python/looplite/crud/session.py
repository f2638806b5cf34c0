"""The helpers on a session (`config.provide_session()`) in the place of a connection.

A session is no connection: it has one of its own only while it needs one, in a transaction or a
stream, and its single statements run on whatever connection of the pool is free, each committed by
itself. So the helpers that are one statement ask it for that, blocks are its own transactions, and
nothing here makes it take a connection that it would then have to keep.

Rows are dicts, and values are adapted as everywhere in a session (dict to JSON, ...).
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from looplite.crud.access import Database
from looplite.crud.sql import verb

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from looplite.adapters.aiosqlite.driver import AiosqliteDriver
    from looplite.adapters.aiosqlite.result import SQLResult
    from looplite.adapters.aiosqlite.stream import RowStream

Handle: TypeAlias = "Database | AiosqliteDriver"
"""What the helpers work on: a connection, or a session."""

H = TypeVar("H", bound="Database | AiosqliteDriver")

_MODULE = "looplite.adapters.aiosqlite.driver"


def is_session(db: object) -> TypeIs[AiosqliteDriver]:
    """Whether it is a session; what makes one has been imported then."""
    module = sys.modules.get(_MODULE)
    return module is not None and isinstance(db, module.AiosqliteDriver)


async def run(
    session: AiosqliteDriver, sql: str, params: Sequence[Any] | Mapping[str, Any]
) -> SQLResult:
    """Runs a statement. Values by position are never taken for a mapping of names."""
    if isinstance(params, Mapping):
        return await session.execute(sql, **params)
    return await session.execute(sql, tuple(params))


async def write(session: AiosqliteDriver, sql: str, params: Any) -> tuple[int | None, int]:
    """The rowid last inserted, and how many rows were changed; -1 if it changes no rows."""
    fetched = (await run(session, sql, params))._fetched
    if fetched is None or verb(sql) not in _CHANGES:
        return None, -1
    return fetched.rowid, fetched.changes


_CHANGES = ("INSERT", "REPLACE", "UPDATE", "DELETE")


async def write_many(session: AiosqliteDriver, sql: str, params: Iterable[Any]) -> int:
    """Runs a statement for each set of parameters, all or none; the number of rows changed."""
    return (await session.execute_many(sql, list(_rows(sql, params)))).rows_affected


def _rows(sql: str, params: Iterable[Any]) -> Iterator[Any]:
    from looplite.adapters.aiosqlite._text import facts

    named = facts(sql).named
    for each in params:
        if isinstance(each, Mapping):
            if not named:
                raise sqlite3.ProgrammingError(
                    "the statement has no placeholders with names, and its parameters are a mapping"
                )
            yield each
        elif isinstance(each, (str, bytes, bytearray)) or not isinstance(each, Sequence):
            raise sqlite3.ProgrammingError(
                f"parameters must be a sequence or a mapping, not {type(each).__name__}"
            )
        else:
            yield tuple(each)


def rows(
    session: AiosqliteDriver,
    sql: str,
    params: Sequence[Any] | Mapping[str, Any],
    batch_size: int,
) -> RowStream:
    """The rows one by one; the session has a connection of its own until they end."""
    from looplite.adapters.aiosqlite.stream import RowStream

    by_name = isinstance(params, Mapping)
    given = () if by_name else (tuple(params),)
    return RowStream(session, sql, given, dict(params) if by_name else {}, None, batch_size)


def has_connection(session: AiosqliteDriver) -> bool:
    """Whether it has one of its own now: only then it can have temporary tables."""
    return session._conn is not None
