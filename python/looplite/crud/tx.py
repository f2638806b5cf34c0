"""`transaction()`: a block that is committed whole or not at all.

The outermost block of a connection is a transaction, those within are savepoints. Where a
transaction is open already - by BEGIN, or by the first write of a connection with sqlite3's
implicit transactions - the block is a savepoint too, and whoever opened the transaction ends it.

Tasks. A connection has one transaction, whoever uses it. Two tasks that enter blocks on one
connection at a time would become parts of each other's, so the second waits for the first. A block
within a block must not wait, nor must that of a task that was started within one: so a block is
known by the context (contextvars), which tasks inherit, and the children of one block wait for
each other. The blocks of a connection form a tree, and each has the lock of its children.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Literal
from weakref import WeakKeyDictionary

from looplite.crud.access import Database, in_transaction, settle, undo, whole
from looplite.crud.session import H, is_session

_numbers = itertools.count(1)


class _Block:
    """An open block, in the chain of the blocks of its context."""

    __slots__ = ("db", "lock", "outside")

    def __init__(self, db: Database, outside: _Block | None) -> None:
        self.db: Database | None = db  # None when it has ended
        self.lock = asyncio.Lock()
        self.outside = outside


_current: ContextVar[_Block | None] = ContextVar("looplite.crud.transaction", default=None)
_roots: WeakKeyDictionary[Any, tuple[asyncio.AbstractEventLoop, asyncio.Lock]] = WeakKeyDictionary()


def _enclosing(db: Database) -> _Block | None:
    block = _current.get()
    while block is not None and block.db is not db:
        block = block.outside
    return block


def _lock(db: Database) -> asyncio.Lock:
    """What a new block on the connection waits for."""
    block = _enclosing(db)
    if block is not None:
        return block.lock
    loop = asyncio.get_running_loop()
    root = _roots.get(db)
    if root is None or root[0] is not loop:  # a lock belongs to the loop that waits for it
        root = _roots[db] = (loop, asyncio.Lock())
    return root[1]


@asynccontextmanager
async def transaction(
    db: H, mode: Literal["IMMEDIATE", "DEFERRED", "EXCLUSIVE"] = "IMMEDIATE"
) -> AsyncIterator[H]:
    """A block whose writes are committed at its end, and undone by an exception or a cancellation.

    Blocks nest: an inner one that fails undoes what it did itself. It begins ``IMMEDIATE``, that is
    with the right to write, since a transaction that reads first and writes later fails when
    another one wrote meanwhile; ``DEFERRED`` is for reading several times from one state.

    Of a session it is the session's own `transaction()`, which belongs to one task.
    """
    if mode not in ("IMMEDIATE", "DEFERRED", "EXCLUSIVE"):
        raise ValueError(f"mode must be IMMEDIATE, DEFERRED or EXCLUSIVE, not {mode!r}")
    handle: Any = db  # a type checker loses what it is the same as
    if is_session(handle):
        async with handle.transaction(mode=mode):
            yield db
            if not handle.in_transaction and handle._failed is None:
                raise _lost()
        return
    async with block(handle, f"BEGIN {mode}", commit=True):
        yield db


@asynccontextmanager
async def block(db: Database, begin: str, *, commit: bool) -> AsyncIterator[None]:
    """The same; with `commit=False` a transaction that it began stays open at its end."""
    async with _lock(db):
        this = _Block(db, _current.get())
        _current.set(this)
        try:
            if in_transaction(db):
                async with _savepoint(db):
                    yield
            else:
                async with _outermost(db, begin, commit):
                    yield
        finally:
            this.db = None
            # A generator may be ended in another context than it was begun in (dependencies of web
            # frameworks); there, what this one holds is found to have ended.
            if _current.get() is this:
                _current.set(this.outside)


@asynccontextmanager
async def _outermost(db: Database, begin: str, commit: bool) -> AsyncIterator[None]:
    try:
        await db.execute(begin)
    except asyncio.CancelledError as error:
        if getattr(error, "looplite_outcome", "unknown") != "not applied":
            await undo(db)
        raise
    try:
        yield
    except BaseException:
        await undo(db)
        raise
    if not in_transaction(db):
        raise _lost()
    if commit:
        await settle(db, failed=False)


@asynccontextmanager
async def _savepoint(db: Database) -> AsyncIterator[None]:
    name = f"looplite_{next(_numbers)}"
    release = f"RELEASE {name}"
    begun = False
    try:
        await db.execute(f"SAVEPOINT {name}")
        begun = True
        yield
        try:
            await db.execute(release)
        except sqlite3.OperationalError as error:
            if "no such savepoint" not in str(error):
                raise
            begun = False
            raise _lost() from error
    except BaseException:
        if in_transaction(db):
            await whole(lambda: _back_to(db, name, begun))
        raise


async def _back_to(db: Database, name: str, begun: bool) -> None:
    try:
        await db.execute(f"ROLLBACK TO {name}")
        await db.execute(f"RELEASE {name}")
    except sqlite3.OperationalError as error:
        # It was never set, or went with a transaction that SQLite itself rolled back.
        if begun and "no such savepoint" not in str(error):
            raise


def _lost() -> sqlite3.OperationalError:
    return sqlite3.OperationalError(
        "the transaction ended before its block did: by a COMMIT or ROLLBACK within it, or because "
        "SQLite rolled it back after an error that the block did not let through"
    )
