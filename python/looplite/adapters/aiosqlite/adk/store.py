"""`AiosqliteADKStore`: sessions and events of agents in SQLite.

A method that is one statement runs it as sessions do: on a connection that others use, too, so
tasks do not stand in line for connections, and writes share commits where the configuration says
so (`group_commit`). What takes more statements is a transaction on a connection of its own; so
is each write where the configuration's connections do not have foreign keys on, or begin
transactions by themselves, and each call where the configuration is no pool of ours.

Statements, records and times are `AdkTables`' (C); JSON is read and written here.

Which of the two layouts a database has is found out once, by the columns of its events. Where
no names were given and there are SQLSpec's newer tables (adk_session, adk_event) but not the
older ones, those are used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timezone
from math import inf
from types import TracebackType
from typing import Any, Protocol, cast

from looplite._core import AdkTables, Connection, Types
from looplite.adapters.aiosqlite._text import statements
from looplite.adapters.aiosqlite.adk.records import (
    Statement,
    actions_of_pickle,
    fill_columns,
    record_of,
    to_document,
    with_columns,
)
from looplite.adapters.aiosqlite.config import AiosqliteConfig
from looplite.extensions.adk._store import (
    BaseAsyncADKStore,
    Conversation,
    Deltas,
    Seen,
    SessionMissingError,
    StaleError,
)
from looplite.extensions.adk._types import EventRecord, SessionRecord
from looplite.utils.serializers import from_json as loads
from looplite.utils.serializers import to_json as dumps

Rows = list[tuple[Any, ...]]
Read = Callable[[str, tuple[Any, ...]], Awaitable[Rows]]

#: Values and rows as SQLite has them, for statements on shared connections.
_AS_IS = Types(adapt=False, sniff_text=False, dict_rows=False)
_FETCHED, _ROWS = 0, 1

#: Sessions, events, states of apps, states of users: looplite's names, and those of newer SQLSpec.
_OWN_NAMES = ("adk_sessions", "adk_events", "adk_app_states", "adk_user_states")
_NEWER_NAMES = ("adk_session", "adk_event", "adk_app_state", "adk_user_state")


class Config(Protocol):
    """What a store needs of a configuration."""

    def provide_connection(self) -> AbstractAsyncContextManager[Connection]:
        """A connection for its caller alone, in autocommit mode."""


def _key(
    caller: str, key: tuple[Any, ...], names: Mapping[str, Any], last: tuple[str, ...] = ()
) -> list[Any]:
    """(app or None, user or None, session, *last) of a call by session alone or by all three."""
    wanted = ("app_name", "user_id", "session_id", *last)
    short = wanted[2:]
    order = wanted if len(key) > len(short) or "app_name" in names else short
    if len(key) > len(order):
        raise TypeError(
            f"{caller}() takes {', '.join(wanted)}, or {', '.join(short)}; got {len(key)}"
        )
    found = dict(zip(order, key, strict=False))
    for name, value in names.items():
        if name in found or name not in wanted:
            raise TypeError(
                f"{caller}() got {'twice' if name in found else 'an unexpected'} {name!r}"
            )
        found[name] = value
    for name in wanted:
        if name not in found and not (name in ("app_name", "user_id") and order is short):
            raise TypeError(f"{caller}() misses {name!r}")
    for name in ("app_name", "user_id", "session_id"):
        value = found.get(name)
        if not isinstance(value, str) and not (
            value is None and order is short and name != "session_id"
        ):
            raise TypeError(f"{caller}(): {name} must be a str, not {value!r}")
    return [found.get(name) for name in wanted]


def _state(text: str | None) -> dict[str, Any]:
    return loads(text) if text else {}


class _Work:
    """A connection of the configuration for some statements: `async with`, one transaction if
    `begin` says so.

    `begin`: None reads, "" writes with one statement, else it is one: "BEGIN" to read, "BEGIN
    IMMEDIATE" to write. `scoped`: uses shared state.
    """

    __slots__ = ("_begin", "_context", "_scoped", "_store", "connection", "tables")

    connection: Connection
    tables: AdkTables

    def __init__(self, store: AiosqliteADKStore, begin: str | None, scoped: bool = False) -> None:
        self._store = store
        self._begin = begin
        self._scoped = scoped
        self._context = store._config.provide_connection()

    async def __aenter__(self) -> _Work:
        self.connection = await self._context.__aenter__()
        try:
            store, connection = self._store, self.connection
            tables = store._tables
            self.tables = tables if tables is not None else await store._find(self._read)
            if self._scoped and not store._has_states:
                await store._add_states(connection, self.tables)
            if self._begin not in (None, "BEGIN") and not store._keys_are_on:
                await connection.execute("PRAGMA foreign_keys = ON")
            if self._begin:
                await connection.execute(self._begin)
        except BaseException as error:
            if self.connection.in_transaction:  # cancelled when it had begun
                await self.connection.rollback()
            await self._context.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self.connection.in_transaction:
                await (self.connection.commit() if error is None else self.connection.rollback())
        except BaseException as late:
            if self.connection.in_transaction:
                await self.connection.rollback()
            await self._context.__aexit__(type(late), late, late.__traceback__)
            raise
        await self._context.__aexit__(kind, error, trace)

    async def rows(self, statement: Statement, values: tuple[Any, ...]) -> Rows:
        return await _rows(self.connection, self._text(statement), values)

    async def _read(self, text: str, values: tuple[Any, ...]) -> Rows:
        return await _rows(self.connection, text, values)

    async def run(self, statement: Statement, values: tuple[Any, ...]) -> None:
        """Runs a statement for its effect."""
        await self.connection.execute(self._text(statement), values)

    def _text(self, statement: Statement) -> str:
        return cast("str", self.tables.statements[statement])


async def _rows(connection: Connection, text: str, values: tuple[Any, ...] = ()) -> Rows:
    if connection.row_factory is None:
        return cast("Rows", await connection.execute_fetchall(text, values))
    cursor = await connection.cursor()
    cursor.row_factory = None
    await cursor.execute(text, values)
    return cast("Rows", await cursor.fetchall())


class AiosqliteADKStore(BaseAsyncADKStore[Config]):
    """The store on a configuration of SQLite: `AiosqliteADKStore(config)`; see docs/guide/adk.md.

    Methods that name a session take its id, or app, user and id as newer SQLSpec does; then it
    must be theirs.
    """

    def __init__(
        self, config: Config, session_table: str | None = None, events_table: str | None = None
    ) -> None:
        super().__init__(config, session_table, events_table)
        settings = getattr(config, "connection_config", None) or {}
        self._keys_are_on = settings.get("enable_foreign_keys") is True
        self._shared = config if isinstance(config, AiosqliteConfig) else None
        self._shares_writes = (
            self._shared is not None
            and self._keys_are_on
            and settings.get("isolation_level") is None
        )
        self._tables: AdkTables | None = None
        self._has_states = False  # they were seen
        self._owner_name = self._make(document=False).owner_name  # and looks at all names

    @property
    def owner_id_column_name(self) -> str | None:
        return self._owner_name

    # ---- tables ----------------------------------------------------------------------------------

    def _make(self, *, document: bool, names: tuple[str, str, str, str] = _OWN_NAMES) -> AdkTables:
        own = names is _OWN_NAMES
        return AdkTables(
            session_table=self._session_table if own else names[0],
            events_table=self._events_table if own else names[1],
            app_state_table=self._app_state_table or names[2],
            user_state_table=self._user_state_table or names[3],
            owner_column=self._owner_id_column_ddl,
            document=document,
        )

    async def _find(self, read: Read) -> AdkTables:
        """The tables as they are in the database; as they would be made, if there are none."""
        for names in (_OWN_NAMES,) if self._named else (_OWN_NAMES, _NEWER_NAMES):
            tables = self._make(document=False, names=names)
            ((document, _),) = await read(cast("str", tables.statements[Statement.FIND_LAYOUT]), ())
            if document is None:
                continue
            if document == 2:
                table = self._events_table if names is _OWN_NAMES else names[1]
                raise ValueError(
                    f"the table {table} has documents without app and user, as SQLSpec 0.42 to "
                    "0.53 made them; let SQLSpec migrate it first"
                )
            if document:
                tables = self._make(document=True, names=names)
            self._tables = tables
            if names is not _OWN_NAMES:
                self._session_table, self._events_table = names[:2]
            return tables
        return self._make(document=self._layout == "document")

    async def _add_states(self, connection: Connection, tables: AdkTables) -> None:
        """Makes the tables of shared state if they are missing, as in what SQLSpec made before it
        had them.
        """
        text = cast("str", tables.statements[Statement.GET_SCOPED])
        try:
            await _rows(connection, text, ("", "", ""))
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            await connection.executescript(tables.schema)
        self._tables = tables
        self._has_states = True

    async def _ready(self, *, scoped: bool) -> AdkTables:
        """The tables, looked for; `scoped`: with those of shared state."""
        if self._tables is None and not scoped:
            return await self._find(self._read)
        async with _Work(self, None, scoped) as work:
            return work.tables

    # ---- single statements -----------------------------------------------------------------------

    async def _query(self, text: str, values: tuple[Any, ...], want: int) -> Any:
        """On a shared connection; NotImplemented: it has to have one of its own."""
        config = self._shared
        assert config is not None
        pool = config.connection_instance
        if pool is None or pool.is_closed:
            pool = await config.create_pool()
        return await pool.query(text, values, _AS_IS, want)

    async def _read(self, text: str, values: tuple[Any, ...]) -> Rows:
        if self._shared is not None:
            rows = await self._query(text, values, _ROWS)
            if rows is not NotImplemented:
                return cast("Rows", rows)
        async with self._config.provide_connection() as connection:
            return await _rows(connection, text, values)

    async def _rows(
        self, statement: Statement, values: tuple[Any, ...], *, scoped: bool = False
    ) -> tuple[AdkTables, Rows]:
        """The rows of a statement that reads, and the tables that they are of."""
        tables = self._tables
        if tables is None or (scoped and not self._has_states):
            tables = await self._ready(scoped=scoped)
        return tables, await self._read(cast("str", tables.statements[statement]), values)

    async def _run(
        self, statement: Statement, values: tuple[Any, ...], *, scoped: bool = False
    ) -> None:
        """Runs a statement that writes, and commits it."""
        if self._shares_writes:
            tables = self._tables
            if tables is None or (scoped and not self._has_states):
                tables = await self._ready(scoped=scoped)
            text = cast("str", tables.statements[statement])
            if await self._query(text, values, _FETCHED) is not NotImplemented:
                return
        async with _Work(self, "", scoped) as work:
            await work.run(statement, values)

    async def create_tables(self) -> None:
        async with _Work(self, "BEGIN IMMEDIATE") as work:
            tables = work.tables
            for statement in statements(tables.schema):
                await work.connection.execute(statement)
            if self._owner_name is not None:
                ((_, has_owner),) = await work.rows(Statement.FIND_LAYOUT, ())
                if not has_owner:
                    await work.run(Statement.ADD_OWNER, ())
            self._tables = tables
            self._has_states = True

    # ---- sessions --------------------------------------------------------------------------------

    async def create_session(
        self,
        session_id: str,
        app_name: str,
        user_id: str,
        state: dict[str, Any],
        owner_id: Any = None,
    ) -> SessionRecord:
        values: tuple[Any, ...] = (session_id, app_name, user_id, dumps(state))
        now = AdkTables.julian(datetime.now(timezone.utc))
        values += (now, now)
        if self._owner_name is not None:
            values += (owner_id,)
        elif owner_id is not None:
            raise ValueError(
                "owner_id is given, but the sessions have no column for it: set owner_id_column in "
                'extension_config["adk"]'
            )
        await self._run(Statement.CREATE_SESSION, values)
        time = AdkTables.time(now)
        return {
            "id": session_id,
            "app_name": app_name,
            "user_id": user_id,
            "state": dict(state),
            "create_time": time,
            "update_time": time,
        }

    async def get_session(self, *key: str, **names: str) -> SessionRecord | None:
        app, user, session = _key("get_session", key, names)
        tables, rows = await self._rows(Statement.GET_SESSION, (session,))
        if not rows or (app is not None and rows[0][1:3] != (app, user)):
            return None
        (record,) = tables.sessions(rows, loads)
        return cast("SessionRecord", record)

    async def update_session_state(self, *key: Any, **names: Any) -> None:
        app, user, session, state = _key("update_session_state", key, names, ("state",))
        values = (session, dumps(state), AdkTables.julian(datetime.now(timezone.utc)))
        if app is None:
            await self._run(Statement.UPDATE_STATE, values)
        else:
            await self._run(Statement.UPDATE_USER_STATE, (*values, app, user))

    async def list_sessions(self, app_name: str, user_id: str | None = None) -> list[SessionRecord]:
        if user_id is None:
            tables, rows = await self._rows(Statement.LIST_SESSIONS, (app_name,))
        else:
            tables, rows = await self._rows(Statement.LIST_USER_SESSIONS, (app_name, user_id))
        return cast("list[SessionRecord]", tables.sessions(rows, loads))

    async def delete_session(self, *key: str, **names: str) -> None:
        app, user, session = _key("delete_session", key, names)
        if app is None:
            await self._run(Statement.DELETE_SESSION, (session,))
        else:
            await self._run(Statement.DELETE_USER_SESSION, (session, app, user))

    # ---- events ----------------------------------------------------------------------------------

    def _values(self, tables: AdkTables, record: Mapping[str, Any]) -> tuple[Any, ...]:
        if tables.document:
            if "event_data" not in record:
                record = {**record, "event_data": to_document(record)}
        else:
            record = with_columns(record)
        return tables.event_values(record, dumps)

    async def append_event(self, event_record: EventRecord) -> None:
        tables = self._tables
        if tables is None:
            tables = await self._ready(scoped=False)
        await self._run(Statement.APPEND_EVENT, self._values(tables, event_record))

    async def append_events(self, records: Sequence[EventRecord]) -> None:
        async with _Work(self, "BEGIN IMMEDIATE") as work:
            values = [self._values(work.tables, record) for record in records]
            if values:
                text = cast("str", work.tables.statements[Statement.APPEND_EVENT])
                await work.connection.executemany(text, values)

    async def get_events(
        self,
        *key: Any,
        after_timestamp: datetime | None = None,
        limit: int | None = None,
        **names: str,
    ) -> list[EventRecord]:
        whole = len(key) > 2 and isinstance(key[1], str)  # app, user, session
        later = key[3 if whole else 1 :]
        if later:
            if len(later) > 2:
                raise TypeError(f"get_events() takes a session, a time and a limit; got {later}")
            key = key[: -len(later)]
            after_timestamp = later[0]
            limit = later[1] if len(later) > 1 else limit
        app, user, session = _key("get_events", key, names)
        if limit is not None and limit < 0:
            raise ValueError(f"limit must not be negative, it is {limit}")
        after = -inf if after_timestamp is None else AdkTables.julian(after_timestamp)
        if app is not None and await self.get_session(app, user, session) is None:
            return []
        tables, rows = await self._rows(
            Statement.GET_EVENTS, (session, after, -1 if limit is None else limit)
        )
        records = tables.events(rows, loads)
        if tables.document:
            for record in records:
                fill_columns(record)
        return cast("list[EventRecord]", records)

    # ---- shared state ----------------------------------------------------------------------------

    async def get_app_state(self, app_name: str) -> dict[str, Any] | None:
        """The state that all sessions of an app share."""
        _, rows = await self._rows(Statement.GET_APP_STATE, (app_name,), scoped=True)
        return _state(rows[0][0]) if rows else None

    async def get_user_state(self, app_name: str, user_id: str) -> dict[str, Any] | None:
        _, rows = await self._rows(Statement.GET_USER_STATE, (app_name, user_id), scoped=True)
        return _state(rows[0][0]) if rows else None

    async def upsert_app_state(self, app_name: str, state: dict[str, Any]) -> None:
        """Replaces the state that all sessions of an app share."""
        now = AdkTables.julian(datetime.now(timezone.utc))
        await self._run(Statement.SET_APP_STATE, (app_name, dumps(state), now), scoped=True)

    async def upsert_user_state(self, app_name: str, user_id: str, state: dict[str, Any]) -> None:
        """Replaces the state that all sessions of a user share."""
        now = AdkTables.julian(datetime.now(timezone.utc))
        values = (app_name, user_id, dumps(state), now)
        await self._run(Statement.SET_USER_STATE, values, scoped=True)

    # ---- for the session service -----------------------------------------------------------------

    async def _change_shared(
        self,
        work: _Work,
        app_name: str,
        user_id: str,
        deltas: Deltas,
        stored: tuple[str | None, str | None],
        now: float,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        app_state, user_state = _state(stored[0]), _state(stored[1])
        if deltas.app:
            app_state.update(deltas.app)
            await work.run(Statement.SET_APP_STATE, (app_name, dumps(app_state), now))
        if deltas.user:
            user_state.update(deltas.user)
            values = (app_name, user_id, dumps(user_state), now)
            await work.run(Statement.SET_USER_STATE, values)
        return app_state, user_state

    async def begin_conversation(
        self, session_id: str, app_name: str, user_id: str, deltas: Deltas
    ) -> Conversation:
        now = AdkTables.julian(datetime.now(timezone.utc))
        values: tuple[Any, ...] = (session_id, app_name, user_id, dumps(deltas.session), now, now)
        if self._owner_name is not None:
            values += (None,)
        async with _Work(self, "BEGIN IMMEDIATE", scoped=True) as work:
            await work.run(Statement.CREATE_SESSION, values)
            (row,) = await work.rows(Statement.GET_SCOPED, (session_id, app_name, user_id))
            app_state, user_state = await self._change_shared(
                work, app_name, user_id, deltas, (row[6], row[7]), now
            )
            (record,) = work.tables.sessions([row], loads)
        return Conversation(cast("SessionRecord", record), app_state, user_state, b"[]")

    async def read_conversation(
        self,
        app_name: str,
        user_id: str,
        session_id: str,
        since: datetime | None,
        limit: int | None,
    ) -> Conversation | None:
        events: Rows = []
        async with _Work(self, "BEGIN", scoped=True) as work:
            tables = work.tables
            rows = await work.rows(Statement.GET_SCOPED, (session_id, app_name, user_id))
            if rows and limit != 0:
                first = -inf if since is None else AdkTables.julian(since)
                values = (session_id, first, -1 if limit is None else limit)
                events = await work.rows(Statement.RECENT_EVENTS, values)
        if not rows:
            return None
        return self._conversation(tables, rows[0], events)

    def _conversation(self, tables: AdkTables, row: tuple[Any, ...], events: Rows) -> Conversation:
        (record,) = tables.sessions([row], loads)
        texts = tables.events_json(events, actions_of_pickle)
        return Conversation(cast("SessionRecord", record), _state(row[6]), _state(row[7]), texts)

    async def list_conversations(self, app_name: str, user_id: str | None) -> list[Conversation]:
        if user_id is None:
            tables, rows = await self._rows(Statement.LIST_SCOPED, (app_name,), scoped=True)
        else:
            values = (app_name, user_id)
            tables, rows = await self._rows(Statement.LIST_USER_SCOPED, values, scoped=True)
        return [self._conversation(tables, row, []) for row in rows]

    async def append_to_conversation(
        self,
        app_name: str,
        user_id: str,
        session_id: str,
        event: dict[str, Any],
        deltas: Deltas,
        seen: Seen,
    ) -> datetime:
        async with _Work(self, "BEGIN IMMEDIATE", scoped=True) as work:
            tables = work.tables
            record = record_of(event, session_id, app_name, user_id, document=tables.document)
            values = tables.event_values(record, dumps)
            rows = await work.rows(Statement.GET_SCOPED, (session_id, app_name, user_id))
            if not rows:
                raise SessionMissingError(f"there is no session {session_id!r}")
            row = rows[0]
            await self._check(work, session_id, AdkTables.time(row[5]), seen)
            updated = AdkTables.next_julian(row[5], record["timestamp"])
            state = None
            if deltas.session:
                state = dumps({**_state(row[3]), **deltas.session})
            if deltas.app or deltas.user:
                await self._change_shared(
                    work, app_name, user_id, deltas, (row[6], row[7]), updated
                )
            await work.run(Statement.TOUCH_SESSION, (session_id, updated, state))
            await work.run(Statement.APPEND_EVENT, values)
        return AdkTables.time(updated)

    async def _check(self, work: _Work, session_id: str, stored: datetime, seen: Seen) -> None:
        if seen.marker is not None:
            stale = seen.marker != stored.isoformat(timespec="microseconds")
        elif stored.timestamp() > seen.update_time:
            rows = await work.rows(Statement.LAST_EVENT, (session_id,))
            stale = (rows[0][0] if rows else None) != seen.last_event
        else:
            stale = False
        if stale:
            raise StaleError(
                f"session {session_id!r} was changed by somebody else since it was loaded; load it "
                "again before you append to it"
            )
