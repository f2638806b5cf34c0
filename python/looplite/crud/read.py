"""Questions: rows, one row, one value, rows one by one, and what tables there are."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from looplite.crud import session
from looplite.crud.access import Database, Parameters, parameters
from looplite.crud.session import Handle, is_session
from looplite.crud.sql import quote_identifier

if TYPE_CHECKING:
    from looplite.adapters.aiosqlite.driver import AiosqliteDriver
    from looplite.adapters.aiosqlite.stream import RowStream


async def fetch_all(db: Handle, sql: str, params: Parameters = ()) -> list[Any]:
    """All rows of a statement, as the connection's `row_factory` makes them."""
    if is_session(db):
        return list((await session.run(db, sql, parameters(params))).all())
    at_once = getattr(db, "execute_fetchall", None)
    if at_once is not None:
        return list(await at_once(sql, parameters(params)))
    async with db.execute(sql, parameters(params)) as cursor:
        return list(await cursor.fetchall())


async def fetch_one(db: Handle, sql: str, params: Parameters = ()) -> Any:
    """The first row, or None if there is none."""
    if is_session(db):
        return (await session.run(db, sql, parameters(params))).first()
    async with db.execute(sql, parameters(params)) as cursor:
        return await cursor.fetchone()


async def fetch_scalar(db: Handle, sql: str, params: Parameters = (), default: Any = None) -> Any:
    """The first value of the first row; the default if there is no row."""
    row = await fetch_one(db, sql, params)
    return default if row is None else first_value(row)


def first_value(row: Any) -> Any:
    """The first column of a row, of whatever kind it is."""
    return next(iter(row.values())) if isinstance(row, Mapping) else row[0]


def _check_size(batch_size: int) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int):
        raise TypeError(f"batch_size must be an int, not {type(batch_size).__name__}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")


class Stream:
    """Rows one by one; of those not asked for, `batch_size` are read ahead at most.

    The statement begins with the first row that is asked for. It ends with the last one, with an
    error, at the end of ``async with``, with ``aclose()``, and when the object is dropped, as by
    ``break`` in ``async for row in stream(...)``: no table stays locked by rows that nobody wants.
    """

    def __init__(self, db: Database, sql: str, params: Parameters, batch_size: int) -> None:
        _check_size(batch_size)
        self._db: Database | None = db
        self._sql = sql
        self._params = parameters(params)
        self._size = batch_size
        self._cursor: Any = None
        self._rows: list[Any] = []  # the next one is at the end

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Any:
        if not self._rows:
            await self._fetch()
            if not self._rows:
                raise StopAsyncIteration
        return self._rows.pop()

    async def _fetch(self) -> None:
        if self._db is None:
            return
        try:
            if self._cursor is None:
                self._cursor = await self._db.execute(self._sql, self._params)
            self._rows = list(await self._cursor.fetchmany(self._size))
            self._rows.reverse()
        except BaseException:
            await self.aclose()
            raise
        if len(self._rows) < self._size:
            await self._end()

    async def _end(self) -> None:
        """No more is read; the rows that are here stay."""
        cursor, self._cursor, self._db = self._cursor, None, None
        if cursor is not None:
            await cursor.close()

    async def aclose(self) -> None:
        """Ends the statement. No more rows come."""
        self._rows = []
        await self._end()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


@overload
def stream(
    db: AiosqliteDriver, sql: str, params: Parameters = (), batch_size: int = 1000
) -> RowStream: ...
@overload
def stream(db: Database, sql: str, params: Parameters = (), batch_size: int = 1000) -> Stream: ...
def stream(
    db: Handle, sql: str, params: Parameters = (), batch_size: int = 1000
) -> Stream | RowStream:
    """The rows of a statement one by one: ``async for row in stream(db, "SELECT ...")``.

    Those of a session are its `select_stream()`.
    """
    if is_session(db):
        _check_size(batch_size)
        return session.rows(db, sql, parameters(params), batch_size)
    return Stream(db, sql, params, batch_size)


_MAIN = "SELECT type, name FROM sqlite_master"
_ALL = f"{_MAIN} UNION ALL SELECT type, name FROM sqlite_temp_master"


async def table_exists(db: Handle, table: str) -> bool:
    """Whether there is a table of this name, a virtual or temporary one too; a view is none."""
    quote_identifier(table)
    tables = _MAIN if is_session(db) and not session.has_connection(db) else _ALL
    found = await fetch_scalar(
        db,
        f"SELECT count(*) FROM ({tables}) WHERE type = 'table' AND name = ? COLLATE NOCASE",
        (table,),
    )
    return bool(found)


_INFO = ("cid", "name", "type", "notnull", "dflt_value", "pk")


async def get_table_info(db: Handle, table: str) -> list[dict[str, Any]]:
    """The columns of a table, each as ``PRAGMA table_info`` tells it; none if there is no table."""
    name = quote_identifier(table)
    if is_session(db) and not session.has_connection(db):
        # A PRAGMA would make the session keep a connection.
        rows = await fetch_all(db, _TABLE_INFO, (table,))
    else:
        rows = await fetch_all(db, f"PRAGMA table_info({name})")
    if rows and isinstance(rows[0], Mapping):
        return [dict(row) for row in rows]
    return [dict(zip(_INFO, tuple(row), strict=True)) for row in rows]


_TABLE_INFO = (
    'SELECT cid, name, type, "notnull", dflt_value, pk FROM pragma_table_info(?) ORDER BY cid'
)
