"""What the helpers ask of a connection, and what they share.

They need no more than looplite's and aiosqlite's connections have in common, so both serve, and
whatever wraps them; sessions of a pool, which are no connections, have session.py. Rows are those
of the connection: what its `row_factory` makes of them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

Parameters: TypeAlias = "Sequence[Any] | Mapping[str, Any] | None"
"""For ``?`` a sequence, for ``:name`` a mapping."""


class Transactional(Protocol):
    """What connections and sessions have in common."""

    @property
    def in_transaction(self) -> bool: ...
    def execute(self, sql: str, parameters: Any = ..., /) -> Any: ...
    def commit(self) -> Awaitable[Any]: ...
    def rollback(self) -> Awaitable[Any]: ...


class Database(Transactional, Protocol):
    """A connection: of looplite, of aiosqlite, or what is like them."""

    def executemany(self, sql: str, parameters: Any, /) -> Any: ...


def parameters(given: Parameters, what: str = "params") -> Sequence[Any] | Mapping[str, Any]:
    """Those of a statement. A text is a sequence of letters to SQLite, and never meant so."""
    if given is None:
        return ()
    if isinstance(given, (str, bytes, bytearray)):
        raise TypeError(
            f"{what} must be a sequence or a mapping, not {type(given).__name__}; "
            "for one value write (value,)"
        )
    return given


def in_transaction(db: Transactional) -> bool:
    """Whether a transaction is open; a closed connection has none."""
    try:
        return db.in_transaction
    except (ValueError, sqlite3.ProgrammingError):
        return False


def _is_open(db: Transactional) -> bool:
    try:
        db.in_transaction  # noqa: B018
    except (ValueError, sqlite3.ProgrammingError):
        return False
    return True


async def whole(make: Callable[[], Awaitable[T]]) -> T:
    """Awaits what must not be left in its middle: a cancellation waits until it is done."""
    task = asyncio.ensure_future(_awaited(make))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # it was looked at: the cancellation goes first
        raise cancelled
    return task.result()


async def _awaited(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


async def undo(db: Transactional) -> None:
    """Rolls back what is open, although its task is cancelled meanwhile.

    It does not ask first: a statement whose task was cancelled twice, or one of aiosqlite's whose
    task was cancelled once, may be about to open a transaction. The rollback comes after it.
    """
    if _is_open(db):
        await whole(db.rollback)
        if in_transaction(db) and await _autocommit(db):  # rollback() does nothing there
            await whole(lambda: db.execute("ROLLBACK"))


async def settle(db: Database, failed: bool) -> None:
    """Ends a block: commits what it did, or rolls it back if it failed or cannot be committed."""
    if failed:
        await undo(db)
        return
    try:
        await db.commit()
        if in_transaction(db) and not await always_in_transaction(db):
            await db.execute("COMMIT")
    except BaseException:
        await undo(db)
        raise


async def _autocommit(db: Any) -> bool | None:
    """What it was opened with; None for the implicit transactions of old."""
    raw: Any = getattr(db, "_conn", None)
    if not hasattr(type(raw), "autocommit"):  # before Python 3.12
        return None
    try:
        value = raw.autocommit
    except sqlite3.ProgrammingError:  # it answers in its own thread only
        value = await db._execute(lambda: raw.autocommit)
    return value if isinstance(value, bool) else None


async def always_in_transaction(db: Database) -> bool:
    """Whether it was opened with autocommit=False, where the next one begins when one ends."""
    return await _autocommit(db) is False


async def commits_each(db: Database) -> bool:
    """Whether a statement outside a transaction is committed by itself."""
    autocommit = await _autocommit(db)
    if autocommit is not None:
        return autocommit
    return getattr(db, "isolation_level", None) is None
