"""Opening a database with settings that suit most programs, for a block that is one transaction.

`open_db()` and `get_db()` are one thing under the two names people give it. Writes of the block
begin a transaction by themselves, with BEGIN IMMEDIATE, and so wait in the fair line of writers
instead of failing in their middle.

FastAPI looks at a dependency before it calls it: one whose ``__call__`` is an asynchronous
generator function is entered and left around the request. `_Dependency` shows such a one to
whoever asks the instance; what its call returns is a generator to FastAPI, and can be entered with
``async with`` by everybody else.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from types import TracebackType
from typing import Any, TypeAlias

import looplite
from looplite._pragmas import Pragmas, texts
from looplite.crud.access import settle

Path: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"

DEFAULT_PRAGMAS: Mapping[str, str | int] = {
    "journal_mode": "WAL",  # readers and a writer side by side
    "foreign_keys": "ON",  # SQLite ignores them otherwise
    "synchronous": "NORMAL",  # in WAL safe for the file; a power cut may take the last commits
    "cache_size": -64_000,  # KiB, so 64 MB
    "temp_store": "MEMORY",
}
"""What a connection is set to, unless `pragmas` says otherwise."""


def _merged(pragmas: Pragmas | None) -> dict[str, Any]:
    """The defaults, with those that are given in the place of those of the same name."""
    merged: dict[str, Any] = dict(DEFAULT_PRAGMAS)
    if isinstance(pragmas, Mapping):
        texts(pragmas)  # checks them
        merged.update({name.lower(): value for name, value in pragmas.items()})
    elif pragmas is not None:
        for each in texts(pragmas):
            name, _, value = each.partition("=")
            merged[name.lower()] = value or None
    return merged


def connection(path: Path, pragmas: Pragmas | None) -> looplite.Connection:
    """A connection as `open_db()` has it, which is not open yet."""
    uri = isinstance(path, str) and path.startswith("file:")
    return looplite.connect(path, isolation_level="IMMEDIATE", uri=uri, pragmas=_merged(pragmas))


class Opening:
    """A database that is about to be opened: await it, or enter it with ``async with``."""

    def __init__(self, path: Path, pragmas: Pragmas | None = None) -> None:
        self._connection = connection(path, pragmas)

    def __await__(self) -> Generator[Any, Any, looplite.Connection]:
        return self._open().__await__()

    async def _open(self) -> looplite.Connection:
        db = await self._connection
        db.row_factory = looplite.Row
        return db

    async def __aenter__(self) -> looplite.Connection:
        return await self._open()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await _finish(self._connection, failed=exc_type is not None)


async def _finish(db: looplite.Connection, failed: bool) -> None:
    try:
        if not db.closed:
            await settle(db, failed)
    finally:
        await db.close()


def open_db(path: Path, pragmas: Pragmas | None = None) -> Opening:
    """A connection with `DEFAULT_PRAGMAS` and rows that know their columns' names.

    ``async with open_db(path) as db`` commits at the end of the block, rolls back if it fails or is
    cancelled, and always closes. ``db = await open_db(path)`` leaves all of that to the caller.
    `pragmas` replaces defaults, or adds to them.
    """
    return Opening(path, pragmas)


def get_db(path: Path, pragmas: Pragmas | None = None) -> Opening:
    """The same as `open_db()`."""
    return Opening(path, pragmas)


# ---- as a dependency -----------------------------------------------------------------------------


class Session:
    """What a dependency returns: ``async with`` gives the connection, and so does a generator."""

    def __init__(self, path: Path, pragmas: Pragmas | None) -> None:
        self._opening = Opening(path, pragmas)
        self._generator: Any = None

    async def __aenter__(self) -> looplite.Connection:
        return await self._opening.__aenter__()

    async def __aexit__(self, *exc: Any) -> None:
        await self._opening.__aexit__(*exc)

    async def _steps(self) -> AsyncIterator[looplite.Connection]:
        async with self._opening as db:
            yield db

    def _begun(self) -> Any:
        if self._generator is None:
            self._generator = self._steps()
        return self._generator

    def __aiter__(self) -> Session:
        return self

    async def __anext__(self) -> looplite.Connection:
        db: looplite.Connection = await self._begun().__anext__()
        return db

    async def asend(self, value: None) -> looplite.Connection:
        db: looplite.Connection = await self._begun().asend(value)
        return db

    async def athrow(self, *error: Any) -> looplite.Connection:
        db: looplite.Connection = await self._begun().athrow(*error)
        return db

    async def aclose(self) -> None:
        if self._generator is not None:
            await self._generator.aclose()


class _Dependency:
    """``Depends(get_db)`` and ``async with get_db() as db``."""

    def __init__(self, path: Path, pragmas: Pragmas | None) -> None:
        _merged(pragmas)  # a mistake is told when the application starts, not at the first request
        self._path = path
        self._pragmas = pragmas

        async def get_db() -> AsyncIterator[looplite.Connection]:
            async with Opening(path, pragmas) as db:
                yield db

        # Only looked at: calling the object goes by its class.
        self.__dict__["__call__"] = get_db

    def __call__(self) -> Session:
        return Session(self._path, self._pragmas)


def make_fastapi_db_dependency(
    db_path: Path, pragmas: Pragmas | None = None
) -> Callable[[], Session]:
    """A dependency that gives each request a connection of its own.

    ``get_db = make_fastapi_db_dependency("app.db")``; then ``Depends(get_db, scope="function")`` in
    FastAPI, and ``async with get_db() as db`` elsewhere. The end commits, an exception rolls back.
    Without that scope FastAPI commits only after it has sent the answer.
    """
    return _Dependency(db_path, pragmas)


# ---- databases in memory -------------------------------------------------------------------------

_memories = itertools.count(1)


def shareable(path: Path) -> Path:
    """The path; of ``:memory:`` a database in memory that several connections can open."""
    if path not in (":memory:", b":memory:"):
        return path
    name = f"looplite-crud-{os.getpid()}-{next(_memories)}"
    if sqlite3.sqlite_version_info >= (3, 36):
        return f"file:/{name}?vfs=memdb"
    return f"file:{name}?mode=memory&cache=shared"
