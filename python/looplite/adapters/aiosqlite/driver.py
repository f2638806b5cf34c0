"""`AiosqliteDriver`, the session: statements, transactions, streams.

A session takes a connection of its own, a *lease*, only when a statement needs one (_text.py says
which), and gives it back when nothing needs it any more:

    no lease   each statement runs on whatever connection of the pool is free, beside others
    leased     all statements of the session run on its own, in the order in which they were begun

               the lease is held by: an open transaction | streams | what was set on the connection

What was set stays set for the session, so such a lease ends with it. One that was taken for a
transaction or a stream goes back with these.

Whatever the statements raise is made an exception of `looplite.exceptions`.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

from looplite._core import Fetched
from looplite.adapters.aiosqlite import load as _load
from looplite.adapters.aiosqlite import transaction as _transaction
from looplite.adapters.aiosqlite._connect import types_of
from looplite.adapters.aiosqlite._settings import feature_settings
from looplite.adapters.aiosqlite._text import (
    About,
    Facts,
    facts,
    parameters,
    row_parameters,
    savepoint_name,
    statements,
    with_last_change,
)
from looplite.adapters.aiosqlite.result import (
    Answer,
    Execution,
    Row,
    SQLResult,
    arrow_table,
    mapped,
    optional,
)
from looplite.adapters.aiosqlite.stream import RowStream
from looplite.exceptions import (
    SQLITE_ERRORS,
    DroppedWritesWarning,
    TransactionAbortedError,
    TransactionError,
    translated,
)

if TYPE_CHECKING:
    from looplite._core import Connection, Lease
    from looplite.adapters.aiosqlite.config import AiosqliteConfig
    from looplite.adapters.aiosqlite.load import StorageBridgeJob

T = TypeVar("T")

FETCHED, ROWS, COLUMNS = 0, 1, 2  # what a query gives
INSERTING = ("INSERT", "REPLACE")
CHANGING = ("INSERT", "REPLACE", "UPDATE", "DELETE")


def _caller() -> str:
    """Where in the program the running call comes from, for reports."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith(("looplite.", "asyncio.", "contextlib")) and name != "contextlib":
            code = frame.f_code
            return f"{code.co_filename}:{frame.f_lineno} in {code.co_name}"
        frame = frame.f_back
    return ""


def _as_type(value: Any, value_type: Any) -> Any:
    from looplite._mapping import convert_value

    return convert_value(value, value_type)


def warn_of_dropped(report: Mapping[str, Any] | None, what: str, *, quiet: bool) -> None:
    """Warns if a transaction was rolled back that nobody had ended, and had written something."""
    if quiet or report is None or not report["dropped_writes"]:
        return
    # BEGIN IMMEDIATE alone holds the lock of a writer, and has written nothing.
    if facts(report["last_write"]).about is not About.TRANSACTION:
        warnings.warn(
            DroppedWritesWarning(
                f"the {what} ended in an open transaction, which was rolled back; the last "
                f"statement that "
                f"wrote in it, and is undone: {report['last_write']}"
            ),
            stacklevel=3,
        )


class AiosqliteDriver:
    """A session: what `config.provide_session()` gives. For one task, and the tasks it starts.

    Each call runs a statement, on a connection that others use as well; in a transaction, and for
    what SQLite keeps for a connection, the session has one for itself. Without a transaction each
    statement is committed before it is answered.

    Parameters follow the statement: one for each ``?``, or one sequence of them, or a mapping or
    keywords for ``:name``, ``@name`` and ``$name``. `schema_type` makes each row a dataclass,
    TypedDict, msgspec Struct, attrs class or pydantic model; rows are dicts without it.

    Raises the exceptions of `looplite.exceptions`, which are `sqlite3`'s too. A cancelled statement
    never runs if it waits, is interrupted if it reads, and is waited for if it writes;
    ``CancelledError.looplite_outcome`` tells what became of it.
    """

    __slots__ = (
        "__weakref__",
        "_apart",
        "_blocks",
        "_bound",
        "_config",
        "_failed",
        "_getting",
        "_home",
        "_last",
        "_lease",
        "_owned",
        "_pool",
        "_restore",
        "_streams",
        "_taken",
        "_types",
        "driver_features",
    )

    dialect = "sqlite"
    is_async = True

    def __init__(
        self,
        connection: Connection | None = None,
        *,
        config: AiosqliteConfig | None = None,
        driver_features: Mapping[str, Any] | None = None,
    ) -> None:
        """A session on a connection that is the caller's, or on the pool of a configuration."""
        if (connection is None) == (config is None):
            raise TypeError("a session is of a connection, or of a configuration")
        if config is None:
            self.driver_features = feature_settings(driver_features)
            self._types = types_of(self.driver_features)
            self._pool = self._home = None
        else:
            self.driver_features = config.driver_features
            self._types = config._types
            # What has to be done with each connection by awaiting has to be done before it is
            # shared.
            shares = "on_connection_create" not in config.driver_features
            self._home = config._pool
            self._pool = config._pool if shares else None
        self._config = config
        self._owned = connection  # the caller's
        self._lease: Lease | None = None
        self._getting: asyncio.Lock | None = None
        self._bound = False  # something was set on the connection
        self._streams: list[RowStream] = []
        self._blocks: list[_transaction.Block] = []
        self._failed: str | None = None  # what has aborted the transaction
        self._restore: int | None = None  # the durability outside the transaction
        self._taken = ""
        self._last = (0, 0)  # the rowid and the number of rows of the session's last change
        self._apart = connection is None  # that was not on the connection that it has now, if any

    # ---- the connection -------------------------------------------------------------------------

    @property
    def _serializer(self) -> Any:
        return self.driver_features.get("json_serializer")

    @property
    def _conn(self) -> Any:
        """The session's own connection, or None."""
        if self._owned is not None:
            return self._owned
        return None if self._lease is None else self._lease.connection

    @property
    def connection(self) -> Any:
        """The session's own connection, while it has one; see `own_connection()`."""
        conn = self._conn
        if conn is None:
            raise TransactionError(
                "the session has no connection of its own: it takes one for a transaction or a "
                "stream; "
                "`await session.own_connection()` takes one, config.provide_connection() gives "
                "one alone"
            )
        return conn

    async def own_connection(self) -> Any:
        """A connection that is this session's until it ends, as a `looplite.Connection`."""
        conn = await self._own()
        self._bound = True
        return conn

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction of this session is open."""
        conn = self._conn
        return bool(conn is not None and conn.in_transaction)

    async def _own(self) -> Any:
        conn = self._conn
        if conn is not None:
            return conn
        if self._config is None or self._home is None:
            raise TransactionError("the session has ended")
        label = self._taken or _caller()
        if self._getting is None:
            self._getting = asyncio.Lock()
        async with self._getting:
            if self._lease is None:
                self._lease = await self._config._acquire(self._home, label)
        return self._lease.connection

    async def _settle(self) -> None:
        """Gives the lease back if nothing needs it."""
        lease = self._lease
        if lease is None or self._held(lease.connection):
            return
        self._lease = None
        self._apart = True
        await lease.release()

    async def _end(self, *, quiet: bool) -> None:
        """The session's end. `quiet`: it is known that it did not end well."""
        lease, self._lease = self._lease, None
        self._pool = self._home = self._config = None
        for stream in self._streams:
            stream._ended = True
        self._streams.clear()
        self._failed = None
        if lease is None:
            return
        warn_of_dropped(await lease.release(), "session", quiet=quiet)

    # ---- statements -----------------------------------------------------------------------------

    def execute(self, statement: str, /, *params: Any, **named: Any) -> Execution:
        """Runs one statement, for its SQLResult.

        The answer is awaited, ``await session.execute(sql)``, or asked for what is wanted of it:
        ``await session.execute(sql).one()``, ``.all()``, ``.scalar()``. Nothing runs before that.
        """
        return Execution(self._run, statement, params, named)

    async def _execute(
        self, sql: str, given: tuple[Any, ...], named: dict[str, Any], want: int = FETCHED
    ) -> Any:
        """A Fetched; with ROWS a list of the rows, with COLUMNS a Columns."""
        if not isinstance(sql, str):
            raise TypeError(f"a statement must be a str, not {type(sql).__name__}")
        what = facts(sql)
        if what.about is About.LAST_CHANGE and self._apart:
            sql = with_last_change(sql, *self._last)
            what = what._replace(about=About.DATABASE)
        params = parameters(what, given, named)
        try:
            answer: Any = NotImplemented
            if self._lease is None and self._pool is not None and what.about is About.DATABASE:
                answer = await self._pool.query(sql, params, self._types, want)
            if answer is NotImplemented:
                answer = await self._execute_owned(sql, what, params, want)
            if what.word in CHANGING:
                self._note(what, answer)
            return answer
        except SQLITE_ERRORS as error:
            raise translated(error) from error.__cause__

    def _note(self, what: Facts, answer: Any) -> None:
        """What a later last_insert_rowid() or changes() of the session means."""
        self._apart = self._conn is None
        if isinstance(answer, Fetched):
            rowid = answer.rowid if what.word in INSERTING and answer.changes else self._last[0]
            self._last = (rowid, answer.changes)

    async def _execute_owned(self, sql: str, what: Facts, params: Any, want: int) -> Any:
        """On a connection of the session's own, for which there is a reason."""
        self._check_task()
        conn = await self._own()
        if what.about is not About.TRANSACTION and not self._held(conn):
            self._bound = True  # it is about the connection
        if self._failed and what.word != "ROLLBACK":
            raise self._aborted()
        was_open = conn.in_transaction
        try:
            return await conn._query(sql, params, self._types, want)
        except BaseException as error:
            if was_open and not conn.in_transaction and what.about is not About.TRANSACTION:
                self._failed = str(error) or type(error).__name__
            raise
        finally:
            if what.word == "ROLLBACK":
                self._failed = None
            if what.about is About.TRANSACTION:
                await self._settle()

    def _held(self, conn: Connection) -> bool:
        """Whether something needs the session's connection."""
        return bool(
            self._bound or self._streams or self._blocks or self._failed or conn.in_transaction
        )

    def _aborted(self) -> TransactionAbortedError:
        return TransactionAbortedError(
            f"the transaction was ended by an error ({self._failed}); nothing was or will be "
            f"written by "
            "it, and before anything else it has to be rolled back"
        )

    async def _run(self, sql: str, given: tuple[Any, ...], named: dict[str, Any]) -> SQLResult:
        return SQLResult(sql, await self._execute(sql, given, named), 0, self._serializer)

    def execute_many(self, statement: str, /, parameters: Iterable[Any]) -> Answer[SQLResult]:
        """Runs one statement for each row of parameters: all of them, or none.

        It is one transaction, or a part of the one that is open. ``rows_affected`` is the sum.
        """
        return Answer(self._execute_many, statement, parameters)

    async def _execute_many(self, sql: str, rows: Iterable[Any]) -> SQLResult:
        if not isinstance(sql, str):
            raise TypeError(f"a statement must be a str, not {type(sql).__name__}")
        what = facts(sql)
        values = [row_parameters(what, row) for row in rows]
        try:
            async with _transaction.Block(self, None, None):
                cursor = await (await self._own()).cursor()
                cursor._types = self._types
                await cursor.executemany(sql, values)
                self._apart = False
        except SQLITE_ERRORS as error:
            raise translated(error) from error.__cause__
        return SQLResult(sql, None, changes=max(cursor.rowcount, 0))

    def execute_script(self, statement: str, /) -> Answer[SQLResult]:
        """Runs several statements, one after the other, in the transaction that is open or each in
        its own. Stops at the first that fails.
        """
        return Answer(self._execute_script, statement)

    async def _execute_script(self, script: str) -> SQLResult:
        if not isinstance(script, str):
            raise TypeError(f"a script must be a str, not {type(script).__name__}")
        affected = 0
        for sql in statements(script):
            affected += (await self._execute(sql, (), {})).changes
        return SQLResult(script, None, changes=affected)

    # ---- rows -----------------------------------------------------------------------------------

    @overload
    async def select(
        self, statement: str, /, *params: Any, schema_type: type[T], **named: Any
    ) -> list[T]: ...
    @overload
    async def select(
        self, statement: str, /, *params: Any, schema_type: None = None, **named: Any
    ) -> list[Row]: ...
    async def select(
        self, statement: str, /, *params: Any, schema_type: Any = None, **named: Any
    ) -> Any:
        """All rows, as a list. They are made in slices, between which other tasks run."""
        if isinstance(statement, str) and facts(statement).word in CHANGING:  # RETURNING
            return (await self._run(statement, params, named)).all(schema_type=schema_type)
        rows = await self._execute(statement, params, named, ROWS)
        return rows if schema_type is None else mapped(rows, schema_type, self._serializer)

    @overload
    async def select_one(
        self, statement: str, /, *params: Any, schema_type: type[T], **named: Any
    ) -> T: ...
    @overload
    async def select_one(
        self, statement: str, /, *params: Any, schema_type: None = None, **named: Any
    ) -> Row: ...
    async def select_one(
        self, statement: str, /, *params: Any, schema_type: Any = None, **named: Any
    ) -> Any:
        """The only row.

        Raises NotFoundError if there is none, and MultipleResultsFoundError if there are more.
        """
        return (await self._run(statement, params, named)).one(schema_type=schema_type)

    @overload
    async def select_one_or_none(
        self, statement: str, /, *params: Any, schema_type: type[T], **named: Any
    ) -> T | None: ...
    @overload
    async def select_one_or_none(
        self, statement: str, /, *params: Any, schema_type: None = None, **named: Any
    ) -> Row | None: ...
    async def select_one_or_none(
        self, statement: str, /, *params: Any, schema_type: Any = None, **named: Any
    ) -> Any:
        """The only row, or None; MultipleResultsFoundError if there are more."""
        return (await self._run(statement, params, named)).one_or_none(schema_type=schema_type)

    @overload
    async def select_value(
        self, statement: str, /, *params: Any, value_type: type[T], **named: Any
    ) -> T: ...
    @overload
    async def select_value(
        self, statement: str, /, *params: Any, value_type: None = None, **named: Any
    ) -> Any: ...
    async def select_value(
        self, statement: str, /, *params: Any, value_type: Any = None, **named: Any
    ) -> Any:
        """The first value of the only row, made a `value_type` if that is given.

        Raises NotFoundError if there is no row, and MultipleResultsFoundError if there are more.
        """
        value = (await self._run(statement, params, named)).scalar()
        return value if value_type is None else _as_type(value, value_type)

    @overload
    async def select_value_or_none(
        self, statement: str, /, *params: Any, value_type: type[T], **named: Any
    ) -> T | None: ...
    @overload
    async def select_value_or_none(
        self, statement: str, /, *params: Any, value_type: None = None, **named: Any
    ) -> Any: ...
    async def select_value_or_none(
        self, statement: str, /, *params: Any, value_type: Any = None, **named: Any
    ) -> Any:
        """The same, or None if there is no row or the value is NULL."""
        value = (await self._run(statement, params, named)).scalar_or_none()
        return value if value is None or value_type is None else _as_type(value, value_type)

    async def select_to_arrow(self, statement: str, /, *params: Any, **named: Any) -> Any:
        """All rows as a `pyarrow.Table`; its columns are built where the rows are read."""
        optional("pyarrow", "select_to_arrow()")
        if isinstance(statement, str) and facts(statement).word in CHANGING:  # RETURNING
            return (await self._run(statement, params, named)).to_arrow()
        return arrow_table(await self._execute(statement, params, named, COLUMNS))

    async def load_from_arrow(
        self,
        table: str,
        source: Any,
        *,
        partitioner: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        telemetry: Mapping[str, Any] | None = None,
    ) -> StorageBridgeJob:
        """Inserts all rows of a source that speaks the Arrow PyCapsule interface, or none.

        table: "name" or "schema.name". overwrite: deletes its rows before, in the same transaction.
        partitioner, telemetry: are part of the answer's `telemetry`, as with SQLSpec.
        """
        return await _load.load(self, table, source, partitioner, overwrite, telemetry)

    fetch = select
    fetch_one = select_one
    fetch_one_or_none = select_one_or_none
    fetch_value = select_value
    fetch_value_or_none = select_value_or_none

    def select_stream(
        self,
        statement: str,
        /,
        *params: Any,
        schema_type: Any = None,
        chunk_size: int = 1000,
        **named: Any,
    ) -> RowStream:
        """The rows one by one, as they are read: for `async for`, better inside `async with`.

        A bounded number of rows is read ahead. The session has a connection of its own until the
        stream ends, and with it a place in the pool.
        """
        return RowStream(self, statement, params, named, schema_type, chunk_size)

    # ---- transactions ---------------------------------------------------------------------------

    async def begin(self, mode: str | None = None) -> None:
        """Opens a transaction; does nothing in an open one. A block, `transaction()`, is safer.

        `mode` is IMMEDIATE (it takes the right to write now, in line with other writers), DEFERRED
        or EXCLUSIVE. BusyError when the lock was not to be had within the connection's timeout.
        """
        mode = _transaction.checked(mode, None, 0)[0]
        try:
            await self._begin(mode)
        except SQLITE_ERRORS as error:
            raise translated(error) from error.__cause__

    async def _begin(self, mode: str | None) -> None:
        self._check_task()
        conn = await self._own()
        if self._failed:
            raise self._aborted()
        if conn.in_transaction:
            return
        mode = mode or self.driver_features.get("default_transaction_mode") or "IMMEDIATE"
        try:
            await conn.execute(f"BEGIN {mode}")
        except BaseException:
            if conn.in_transaction:  # cancelled, and it came about
                await conn.rollback()
            await self._settle()
            raise

    async def commit(self) -> None:
        """Commits the transaction; does nothing if none is open.

        TransactionAbortedError if an error has ended it already: then nothing of it is left.
        """
        await self._finish("commit")

    async def rollback(self) -> None:
        """Undoes what was written in the transaction; does nothing if none is open."""
        await self._finish("rollback")

    async def _finish(self, how: str) -> None:
        conn = self._conn
        if conn is None:
            return
        self._check_task()
        if how == "rollback":
            self._failed = None
        elif self._failed:
            raise TransactionAbortedError(
                f"nothing can be committed: the transaction was ended by an error "
                f"({self._failed}); "
                "roll back"
            )
        try:
            await (conn.commit() if how == "commit" else conn.rollback())
        except SQLITE_ERRORS as error:
            raise translated(error) from error.__cause__
        finally:
            if not self._blocks:
                await self._settle()

    async def create_savepoint(self, name: str) -> None:
        """Marks a point in the transaction (or opens one) that can be gone back to."""
        await self._execute(f"SAVEPOINT {savepoint_name(name)}", (), {})

    async def release_savepoint(self, name: str) -> None:
        """Forgets the mark; what was written since stays."""
        await self._execute(f"RELEASE SAVEPOINT {savepoint_name(name)}", (), {})

    async def rollback_to_savepoint(self, name: str) -> None:
        """Undoes what was written since the mark, which stays."""
        await self._execute(f"ROLLBACK TO SAVEPOINT {savepoint_name(name)}", (), {})

    def transaction(
        self, *, mode: str | None = None, durability: str | None = None, retry: int = 0
    ) -> _transaction.Transaction:
        """A block that is committed at its end, and rolled back by whatever else ends it.

        mode: IMMEDIATE (the default), DEFERRED or EXCLUSIVE. durability: how safe the commit is
        from a loss of power: off, normal, full, extra; the connection's own if not given. retry:
        how often the block may be run again when the lock is not to be had (see `Transaction`).
        """
        return _transaction.Transaction(self, *_transaction.checked(mode, durability, retry))

    def _check_task(self) -> None:
        if self._blocks and self._blocks[0] not in _transaction.inside.get():
            raise TransactionError(
                "another task has a transaction open on this session, and this statement would "
                "be part "
                "of it; give each task a session of its own"
            )

    async def _enter_block(
        self, block: _transaction.Block, mode: str | None, durability: str | None
    ) -> int:
        depth = len(self._blocks)
        self._taken = _caller()
        try:
            conn = await self._own()
            self._check_task()
            if conn.in_transaction or self._failed:
                if durability is not None:
                    raise TransactionError(
                        "durability is that of the whole transaction, and one is open already"
                    )
                depth = max(depth, 1)
                if self._failed:
                    raise self._aborted()
                await conn.execute(f"SAVEPOINT looplite_{depth}")
            else:
                depth = 0
                await self._restore_durability(conn)  # if that was cancelled
                if durability is not None:
                    await self._set_durability(conn, durability)
                await self._begin(mode)
            self._blocks.append(block)
        except SQLITE_ERRORS as error:
            await self._settle()
            raise translated(error) from error.__cause__
        except BaseException:
            await self._settle()
            raise
        finally:
            self._taken = ""
        return depth

    async def _set_durability(self, conn: Any, durability: str) -> None:
        self._restore = (await conn._query("PRAGMA synchronous", (), self._types, FETCHED)).value()
        await conn.execute(f"PRAGMA synchronous={_transaction.DURABILITY[durability]}")

    async def _leave_block(self, block: _transaction.Block, depth: int, *, failed: bool) -> None:
        conn = self._conn
        self._blocks.remove(block)
        outcome = None
        try:
            if depth > 0:
                await self._leave_savepoint(conn, depth, failed=failed)
            elif failed:
                self._failed = None
                await conn.rollback()
            elif self._failed:
                aborted, self._failed = self._aborted(), None
                raise aborted
            else:
                await self._commit(conn)
                outcome = "applied"
        except SQLITE_ERRORS as error:
            raise translated(error) from error.__cause__
        except asyncio.CancelledError as error:
            outcome = getattr(error, "looplite_outcome", None)
            raise
        finally:
            if depth == 0:
                await self._left(conn, outcome)

    async def _commit(self, conn: Connection) -> None:
        try:
            await conn.commit()
        except BaseException:
            if conn.in_transaction:
                await conn.rollback()
            raise

    async def _leave_savepoint(self, conn: Any, depth: int, *, failed: bool) -> None:
        if self._failed or not conn.in_transaction:
            if not failed:
                raise self._aborted()
            return
        if failed:
            await conn.execute(f"ROLLBACK TO looplite_{depth}")
        await conn.execute(f"RELEASE looplite_{depth}")

    async def _left(self, conn: Connection, outcome: str | None) -> None:
        """Behind a transaction block. Who is cancelled here is told what became of the "
        "transaction."""
        try:
            if self._bound:  # else the pool sets it back
                await self._restore_durability(conn)
            self._restore = None
            await self._settle()
        except asyncio.CancelledError as error:
            if outcome is not None:
                error.looplite_outcome = outcome  # type: ignore[attr-defined]
            raise

    async def _restore_durability(self, conn: Connection) -> None:
        if self._restore is not None and not conn.in_transaction:
            await conn._query(f"PRAGMA synchronous={self._restore}", (), self._types, FETCHED)
            self._restore = None
