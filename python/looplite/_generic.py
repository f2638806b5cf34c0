"""The generic path: connections with a connector of one's own, and replaced methods.

One coroutine for each call of ``Connection`` and ``Cursor``, in terms of ``conn._execute(function,
...)`` and of the DB-API object ``conn._conn``, as aiosqlite does everything. The extension hands a
call over when the connection is not one that looplite opened, or when the program has replaced
``_execute`` (python/_core/generic.c); the program then sees what it would see with aiosqlite, its
own faults apart: nothing hangs, no thread dies.
"""

from __future__ import annotations

import inspect
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from looplite import _core
from looplite._core import Connection, Cursor
from looplite._thread import exiting

LOG = logging.getLogger("aiosqlite")


async def _connect(conn: Connection) -> Connection:
    thread = conn._thread
    try:
        thread.begin_real()
        connection = await thread.submit(partial(thread.connect, conn._connector))
        _core._generic_opened(conn, connection)
    except BaseException:
        _core._generic_ended(conn)
        conn.stop()
        raise
    return conn


async def _execute(
    conn: Connection,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
) -> Any:
    if conn._connection is None:
        raise ValueError("Connection closed")
    return await conn._thread.submit(partial(function, *args, **(kwargs or {})))


async def _method(
    conn: Connection,
    name: str | Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
) -> Any:
    function = getattr(conn._conn, name) if isinstance(name, str) else name
    return await conn._execute(function, *args, **(kwargs or {}))


def _closing() -> None:
    """Stands for the sqlite3.Connection's close() where a replaced _execute() is to see one."""


async def _close(conn: Connection) -> None:
    generic = _core._is_generic(conn)
    thread = conn._thread
    if thread.closing:
        await thread.ended()
        return
    thread.check()
    thread.closing = True
    try:
        await conn._execute(conn._conn.close if generic else _closing)
        thread.closed()
    except Exception:
        LOG.info("exception occurred while closing connection")
        raise
    finally:
        if generic:
            _core._generic_ended(conn)
        else:
            await _core._close(conn)
        stopped = conn.stop()
        if inspect.isawaitable(stopped):
            await stopped
        Connection.stop(conn)


async def _commit(conn: Connection) -> None:
    await conn._execute(conn._conn.commit)


async def _rollback(conn: Connection) -> None:
    await conn._execute(conn._conn.rollback)


async def _interrupt(conn: Connection) -> None:
    conn._conn.interrupt()


async def _cursor(conn: Connection) -> Cursor:
    return Cursor(conn, await conn._execute(conn._conn.cursor))


async def _conn_execute(conn: Connection, sql: Any, parameters: Any = None) -> Cursor:
    if parameters is None:
        parameters = []
    return Cursor(conn, await conn._execute(conn._conn.execute, sql, parameters))


async def _conn_executemany(conn: Connection, sql: Any, parameters: Any) -> Cursor:
    return Cursor(conn, await conn._execute(conn._conn.executemany, sql, parameters))


async def _conn_executescript(conn: Connection, sql_script: Any) -> Cursor:
    return Cursor(conn, await conn._execute(conn._conn.executescript, sql_script))


async def _execute_insert(conn: Connection, sql: Any, parameters: Any = None) -> Any:
    connection = conn._conn

    def insert() -> Any:
        cursor = connection.execute(sql, [] if parameters is None else parameters)
        cursor.execute("SELECT last_insert_rowid()")
        return cursor.fetchone()

    return await conn._execute(insert)


async def _execute_fetchall(conn: Connection, sql: Any, parameters: Any = None) -> Any:
    connection = conn._conn

    def fetch() -> Any:
        return connection.execute(sql, [] if parameters is None else parameters).fetchall()

    return await conn._execute(fetch)


_WAITS = (5, 6)  # SQLITE_BUSY and SQLITE_LOCKED, which sqlite3 has since Python 3.11


def copy(source: Any, target: Any, progress: Any, sleep: float, keywords: dict[str, Any]) -> object:
    """backup() from a generic connection, on its thread (backup.c). SQLite says "busy" as long as
    the source has an open write transaction, which nobody could end; whether it has written cannot
    be asked of a foreign object.
    """

    def watch(status: int, remaining: int, total: int) -> None:
        if exiting.is_set():
            raise sqlite3.OperationalError("interrupted")
        if status in _WAITS and source.in_transaction:
            raise sqlite3.OperationalError(
                "the database is busy, and backup() would wait for the open transaction of this "
                "connection itself: commit or roll back first"
            )
        if progress is not None:
            progress(status, remaining, total)

    refused = progress is not None and not callable(progress)  # by sqlite3, which says so
    return source.backup(target, progress=progress if refused else watch, sleep=sleep, **keywords)


async def _backup(
    conn: Connection,
    function: Callable[[], Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
) -> Any:
    while (result := await conn._execute(function)) is NotImplemented:
        pass  # somebody has the target
    return result


async def iterdump(
    conn: Connection, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
) -> AsyncIterator[str]:
    lines: Iterator[str] | None = None

    def some() -> list[str]:
        nonlocal lines
        if lines is None:
            lines = iter(conn._conn.iterdump(*args, **(kwargs or {})))
        return list(islice(lines, 256))

    while taken := await conn._execute(some):
        for line in taken:
            yield line


async def _blobopen(
    conn: Connection, name: str, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
) -> Any:
    connection = conn._conn

    def opened() -> tuple[Any, int]:
        blob = getattr(connection, name)(*args, **(kwargs or {}))
        return blob, len(blob)

    blob, length = await conn._execute(opened)
    return _core._blob(conn, blob, length)


async def _cursor_execute(cursor: Cursor, sql: Any, parameters: Any = None) -> Cursor:
    if parameters is None:
        parameters = []
    await cursor._execute(cursor._cursor.execute, sql, parameters)
    return cursor


async def _cursor_executemany(cursor: Cursor, sql: Any, parameters: Any) -> Cursor:
    await cursor._execute(cursor._cursor.executemany, sql, parameters)
    return cursor


async def _cursor_executescript(cursor: Cursor, sql_script: Any) -> Cursor:
    await cursor._execute(cursor._cursor.executescript, sql_script)
    return cursor


async def _fetchone(cursor: Cursor) -> Any:
    return await cursor._execute(cursor._cursor.fetchone)


async def _fetchmany(cursor: Cursor, size: int | None = None) -> Any:
    return await cursor._execute(cursor._cursor.fetchmany, *(() if size is None else (size,)))


async def _fetchall(cursor: Cursor) -> Any:
    return await cursor._execute(cursor._cursor.fetchall)


async def _cursor_close(cursor: Cursor) -> None:
    await cursor._execute(cursor._cursor.close)


async def iterate(cursor: Cursor) -> AsyncIterator[Any]:
    """``async for``: by fetchmany(), which a subclass may have replaced."""
    while True:
        rows = await cursor.fetchmany(cursor.iter_chunk_size)
        if not rows:
            return
        for row in rows:
            yield row


_CALLS: dict[str, Callable[..., Any]] = {
    "Connection.__await__": _connect,
    "Connection._connect": _connect,
    "Connection._execute": _execute,
    "Connection.backup": _backup,
    "Connection.blobopen": _blobopen,
    "Connection.close": _close,
    "Connection.commit": _commit,
    "Connection.rollback": _rollback,
    "Connection.interrupt": _interrupt,
    "Connection.cursor": _cursor,
    "Connection.execute": _conn_execute,
    "Connection.executemany": _conn_executemany,
    "Connection.executescript": _conn_executescript,
    "Connection.execute_insert": _execute_insert,
    "Connection.execute_fetchall": _execute_fetchall,
    "Cursor.execute": _cursor_execute,
    "Cursor.executemany": _cursor_executemany,
    "Cursor.executescript": _cursor_executescript,
    "Cursor.fetchone": _fetchone,
    "Cursor.fetchmany": _fetchmany,
    "Cursor.fetchall": _fetchall,
    "Cursor.close": _cursor_close,
}


def find(name: str) -> Callable[..., Any]:
    """The coroutine function for a call; those not named above are methods of the DB-API object."""
    return _CALLS.get(name, _method)
