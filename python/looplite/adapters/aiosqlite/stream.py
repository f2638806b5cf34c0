"""`AiosqliteDriver.select_stream()`: the rows of a statement as they are read.

A stream has the session's connection until it ends: it reads in a transaction of its own there,
and what the session writes meanwhile has to be written on the same one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from looplite.adapters.aiosqlite._text import facts, parameters
from looplite.adapters.aiosqlite.result import mapped, with_errors
from looplite.exceptions import SQLITE_ERRORS, ProgrammingError, translated

if TYPE_CHECKING:
    from looplite.adapters.aiosqlite.driver import AiosqliteDriver


class RowStream:
    """The rows of `select_stream()`. While it is open the session has a connection of its own."""

    __slots__ = (
        "_args",
        "_chunk",
        "_cursor",
        "_ended",
        "_ready",
        "_schema",
        "_session",
    )

    def __init__(
        self,
        session: AiosqliteDriver,
        sql: str,
        params: tuple[Any, ...],
        named: dict[str, Any],
        schema_type: Any,
        chunk_size: int,
    ) -> None:
        if isinstance(chunk_size, bool) or not isinstance(chunk_size, int) or chunk_size < 1:
            raise ValueError(f"chunk_size must be an int of 1 or more, not {chunk_size!r}")
        self._session = session
        self._args = (sql, params, named)
        self._schema = schema_type
        self._chunk = chunk_size
        self._cursor: Any = None
        self._ready: list[Any] = []  # the last is the next
        self._ended = False

    async def __aenter__(self) -> RowStream:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def _open(self) -> None:
        if self._cursor is not None or self._ended:
            return
        session = self._session
        sql, given, named = self._args
        what = facts(sql)
        params = parameters(what, given, named)
        session._check_task()
        session._streams.append(self)
        try:
            cursor = await (await session._own()).cursor()
            cursor.row_factory = None
            cursor._types = session._types
            await cursor.execute(sql, params)
            self._cursor = cursor
        except BaseException as error:
            await self.aclose()
            if isinstance(error, SQLITE_ERRORS):
                raise translated(error) from error.__cause__
            raise

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        """The rows as Arrow record batches, read while they are pulled, which blocks who pulls.

        Inside `async with`, and instead of iterating. aclose() ends it, whoever waits in it.
        """
        if self._cursor is None or self._ready:
            raise ProgrammingError(
                "the stream has ended"
                if self._ended
                else "rows were taken out of the stream already"
                if self._ready
                else "the stream is not open: use `async with session.select_stream(...) as stream`"
            )
        return with_errors(self._cursor.__arrow_c_stream__, requested_schema)

    async def __anext__(self) -> Any:
        if not self._ready:
            await self._open()
            if self._ended:
                raise StopAsyncIteration
            session = self._session
            try:
                rows = await self._cursor.fetchmany(self._chunk)
            except SQLITE_ERRORS as error:
                await self.aclose()
                raise translated(error) from error.__cause__
            if not rows:
                await self.aclose()
                raise StopAsyncIteration
            self._ready = list(
                rows if self._schema is None else mapped(rows, self._schema, session._serializer)
            )
            self._ready.reverse()
        return self._ready.pop()

    async def aclose(self) -> None:
        """Ends it; the session's connection goes back if nothing else needs it."""
        if self._ended:
            return
        self._ended = True
        self._ready.clear()
        cursor, self._cursor = self._cursor, None
        try:
            if cursor is not None:
                await cursor.close()
        finally:
            session = self._session
            if self in session._streams:
                session._streams.remove(self)
            await session._settle()
