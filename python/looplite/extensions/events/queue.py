"""The queue itself: publish, lease, acknowledge, retry, dead letters, and waiting for what comes.

Delivery is at least once. An event is in the file before `publish()` answers, and leaves it with
`ack()`. Whoever takes it leases it for a time; if it is not acknowledged by then - the consumer was
killed, say - it is given to another one.

A queue has one connection, and its transactions are short: BEGIN IMMEDIATE, a few statements by
index, COMMIT. Each is one task, so a cancelled caller never leaves one in its middle: a cancelled
`publish()` has published, and what a cancelled `lease()` took is given back.

Waiting. A consumer that finds nothing waits for the first of three: a commit of this process that
the queue made itself, which wakes all consumers of the file at once (`wake`); the time at which the
next row is due; and `poll_interval`, at which ``PRAGMA data_version`` tells whether another
connection, that is another process, has committed since. Only then does it look again. It takes its
place before it looks, and the version before that, so nothing comes unnoticed in between.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, TypeAlias, TypeVar

import looplite
from looplite.crud.access import Database, whole
from looplite.crud.open import DEFAULT_PRAGMAS
from looplite.crud.read import fetch_all
from looplite.crud.sql import quote_identifier
from looplite.extensions.events import schema
from looplite.extensions.events.model import (
    EventChannelError,
    EventMessage,
    datetime_of,
    exponential,
    known_datetime,
    microseconds,
)
from looplite.extensions.events.wake import Waiter, hub

T = TypeVar("T")


class Config(Protocol):
    """What has connections to give, as a configuration of an adapter does."""

    def provide_connection(self) -> Any: ...


Source: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes] | Config"


# ---- the queue -----------------------------------------------------------------------------------


def _name(channel: str) -> str:
    if not isinstance(channel, str):
        raise TypeError(f"a channel must be a str, not {type(channel).__name__}")
    if not channel:
        raise ValueError("the name of the channel is empty")
    return channel


def _real(file: str) -> str:
    return os.path.realpath(file)


def _plain(row: Any) -> tuple[Any, ...]:
    return tuple(row.values()) if isinstance(row, Mapping) else tuple(row)


def _to_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


class AsyncTableEventQueue:
    """Events in a table, in channels, each delivered until it is acknowledged.

    `database` is a path, or a configuration with ``provide_connection()``, whose connection the
    queue keeps while it is open. A connection that it opens itself is in WAL mode and synchronises
    each commit. Use it in one event loop.

    A queue is opened by ``async with``, by `open()`, or by its first call, and makes its table if
    there is none. `clock` gives the time in seconds since 1970.
    """

    def __init__(
        self,
        database: Source,
        *,
        table: str = schema.DEFAULT_TABLE,
        lease_seconds: float = 30.0,
        max_attempts: int = 5,
        retry_delay: Callable[[int], float] | None = None,
        poll_interval: float = 1.0,
        pragmas: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
        to_json: Callable[[Any], str] = _to_json,
        from_json: Callable[[str], Any] = json.loads,
    ) -> None:
        self._source = database
        self._table = table
        self._sql = schema.statements(table)
        self._lease = microseconds(lease_seconds, "lease_seconds")
        self._poll = microseconds(poll_interval, "poll_interval") / 1_000_000
        self._shared = self._poll / 8  # for how long an answer of data_version is shared
        if not self._lease or not self._poll:
            raise ValueError("lease_seconds and poll_interval must be more than 0")
        self._max_attempts = _attempts(max_attempts)
        self._retry_delay = exponential() if retry_delay is None else retry_delay
        self._pragmas = {**DEFAULT_PRAGMAS, "synchronous": "FULL", **(pragmas or {})}
        self._clock = clock
        self._to_json = to_json
        self._from_json = from_json
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._db: Any = None
        self._key: Any = None
        self._closed = False
        self.waiters: set[Waiter] = set()
        self._version = (float("-inf"), 0)

    @property
    def table_name(self) -> str:
        """The table that the events are in."""
        return self._table

    @property
    def lease_seconds(self) -> float:
        """For how long an event is leased, unless it is said."""
        return self._lease / 1_000_000

    @property
    def poll_interval(self) -> float:
        """After how many seconds at most the work of another process is noticed."""
        return self._poll

    # ---- opening and closing ----

    async def open(self) -> None:
        """Opens the queue, and makes its table if there is none."""

        async def opened() -> None:
            async with self._connection():
                pass

        await whole(opened)

    async def close(self) -> None:
        """Closes it. Who waits for an event gets an error; what is leased stays so."""

        async def closed() -> None:
            async with self._lock:
                self._closed = True
                self._db = None
                hub.remove(self._key, self)
                await self._stack.aclose()

        await whole(closed)
        for waiter in list(self.waiters):
            waiter.wake()

    async def __aenter__(self) -> AsyncTableEventQueue:
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """The connection, for one caller at a time."""
        async with self._lock:
            if self._closed:
                raise EventChannelError("the queue was closed")
            if self._db is None:
                try:
                    await self._connect()
                except BaseException:
                    await self._stack.aclose()
                    raise
            yield self._db

    async def _connect(self) -> None:
        if hasattr(self._source, "provide_connection"):
            context = self._source.provide_connection()
        else:
            source: Any = self._source
            context = looplite.connect(
                source,
                isolation_level=None,
                timeout=30,
                uri=isinstance(source, str) and source.startswith("file:"),
                pragmas=self._pragmas,
            )
        db = await self._stack.enter_async_context(context)
        there = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
        if not _plain((await fetch_all(db, there, (self._table,)))[0])[0]:
            async with _transaction(db):
                for statement in schema.create_statements(self._table):
                    await db.execute(statement)
        rows = [_plain(row) for row in await fetch_all(db, "PRAGMA database_list")]
        file = next((row[2] for row in rows if row[1] == "main"), "")
        # In memory nobody else has the same one, unless by a name that SQLite does not tell.
        self._key = (_real(file) if file else id(self), self._table)
        self._db = db
        hub.add(self._key, self)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[Any]:
        async with self._connection() as db, _transaction(db):
            yield db

    def _now(self) -> int:
        return round(self._clock() * 1_000_000)

    def wake(self, channel: str | None = None) -> None:
        """Lets the consumers of this process look: after a commit with ``publish(..., db=db)``."""
        hub.wake(self._key, channel)

    # ---- publishing ----

    def _row(
        self,
        channel: str,
        payload: Any,
        metadata: Any,
        delay: float | datetime,
        event_id: str | None,
        max_attempts: int | None,
    ) -> tuple[Any, ...]:
        now = self._now()
        if isinstance(delay, datetime):
            if delay.tzinfo is None:
                raise ValueError("a time without a time zone does not say when; add tzinfo")
            due = round(delay.timestamp() * 1_000_000)
        else:
            due = now + microseconds(delay, "delay")
        return (
            uuid.uuid4().hex if event_id is None else event_id,
            _name(channel),
            self._to_json(payload),
            None if metadata is None else self._to_json(metadata),
            schema.WAITING if due > now else schema.READY,
            due if due > now else None,
            self._max_attempts if max_attempts is None else _attempts(max_attempts),
            now,
        )

    async def publish(
        self,
        channel: str,
        payload: Any,
        metadata: Any = None,
        *,
        delay: float | datetime = 0,
        event_id: str | None = None,
        max_attempts: int | None = None,
        db: Database | None = None,
    ) -> str:
        """Adds an event, and returns its id when it is in the file.

        It can be taken after `delay`, which is a number of seconds or a time with a time zone. An
        `event_id` of one's own makes it unique among those in the queue: one that is there already
        is an IntegrityError. With `db`, a connection to the same file, the event is part of its
        transaction, there or not with what else that one writes; call `wake()` after its commit, or
        consumers find the event within `poll_interval`.
        """
        row = self._row(channel, payload, metadata, delay, event_id, max_attempts)
        await self._publish([row], db)
        return str(row[0])

    async def publish_many(
        self,
        events: Iterable[tuple[str, Any] | tuple[str, Any, Any]],
        *,
        db: Database | None = None,
    ) -> list[str]:
        """Adds events, each a (channel, payload) or (channel, payload, metadata): all or none."""
        rows = [
            self._row(event[0], event[1], event[2] if len(event) > 2 else None, 0, None, None)
            for event in events
        ]
        if rows:
            await self._publish(rows, db)
        return [row[0] for row in rows]

    async def _publish(self, rows: Sequence[tuple[Any, ...]], db: Database | None) -> None:
        if db is not None:
            if self._db is None:
                raise EventChannelError(
                    "open the queue before it is used in a transaction of another connection"
                )
            for row in rows:
                await db.execute(self._sql.publish, row)
            if not db.in_transaction:
                self.wake()
            return

        async def written() -> None:
            async with self._writing() as own:
                for row in rows:
                    await own.execute(self._sql.publish, row)
            self.wake(rows[0][1] if len(rows) == 1 else None)

        await whole(written)

    # ---- taking ----

    async def lease(
        self, channel: str, limit: int = 1, *, lease_seconds: float | None = None
    ) -> list[EventMessage]:
        """Takes up to `limit` events that are ready, oldest first; none if there are none."""
        return (await self._take(_name(channel), limit, lease_seconds))[0]

    async def dequeue(
        self, channel: str, *, lease_seconds: float | None = None
    ) -> EventMessage | None:
        """Takes an event if one is ready; None if there is none."""
        events = await self.lease(channel, lease_seconds=lease_seconds)
        return events[0] if events else None

    async def get(
        self, channel: str, *, timeout: float | None = None, lease_seconds: float | None = None
    ) -> EventMessage:
        """Waits for an event and takes it. `TimeoutError` when none has come in that time."""
        _name(channel)
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        waiter = Waiter(channel)
        self.waiters.add(waiter)
        version: int | None = None
        try:
            while True:
                waiter.reset()
                events, due = await self._take(channel, 1, lease_seconds)
                if events:
                    return events[0]
                if version is None:  # to be known before one looks and finds nothing
                    version = await whole(self._data_version)
                else:
                    version = await self._wait(waiter, version, due, end)
        finally:
            self.waiters.discard(waiter)

    async def _wait(self, waiter: Waiter, version: int, due: int | None, end: float | None) -> int:
        """Until it is worth looking again; the version as it was before that."""
        loop = asyncio.get_running_loop()
        while True:
            seconds = self._poll - self._shared
            if due is not None:
                # Not in ever smaller steps up to it.
                seconds = min(seconds, max((due - self._now()) / 1_000_000, 0.001))
            if end is not None:
                left = end - loop.time()
                if left <= 0:
                    raise asyncio.TimeoutError(
                        f"no event came to the channel {waiter.channel!r} in time"
                    )
                seconds = min(seconds, left)
            if await waiter.wait(seconds):
                return version
            if due is not None and self._now() >= due:
                return version
            found = await whole(self._data_version)
            if found != version:
                return found

    async def _data_version(self) -> int:
        """Changes when another connection has committed. Many that wait share an answer, so it may
        be a little old, which at worst lets one look once too often.
        """
        now = asyncio.get_running_loop().time()
        asked, version = self._version
        if now - asked >= self._shared:
            async with self._connection() as db:
                version = _plain((await fetch_all(db, "PRAGMA data_version"))[0])[0]
            self._version = (now, version)
        return version

    async def _take(
        self, channel: str, limit: int, lease_seconds: float | None
    ) -> tuple[list[EventMessage], int | None]:
        """Events, and when the next row that waits is due."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ValueError(f"limit must be an int of at least 1, not {limit!r}")
        lease = (
            self._lease if lease_seconds is None else microseconds(lease_seconds, "lease_seconds")
        )
        taken: list[EventMessage] = []

        async def took() -> int | None:
            async with self._connection() as db:
                look = await fetch_all(db, self._sql.look, {"channel": channel})
            ready, due = _plain(look[0])
            if not ready and (due is None or due > self._now()):
                return due  # type: ignore[no-any-return]
            async with self._writing() as db:
                moved = await self._move_due(db)
                for row in await fetch_all(
                    db, self._sql.candidates, {"channel": channel, "limit": limit}
                ):
                    event = await self._lease_row(db, _plain(row), self._now() + lease)
                    if event is not None:
                        taken.append(event)
            if moved:
                self.wake()  # they may be of other channels, too
            if taken:
                return None
            # What was due was another channel's, or dead, or somebody was faster.
            async with self._connection() as db:
                ready, due = _plain((await fetch_all(db, self._sql.look, {"channel": channel}))[0])
            return self._now() if ready else due

        try:
            due = await whole(took)
        except asyncio.CancelledError:
            for event in taken:
                await whole(lambda event=event: self._give_back(event))  # type: ignore[misc]
            raise
        return taken, due

    async def _move_due(self, db: Any) -> bool:
        """Makes ready what is due, and buries what was due once too often."""
        now = {"now": self._now()}
        if not _plain((await fetch_all(db, self._sql.overdue, now))[0])[0]:
            return False
        await db.execute(self._sql.bury, now)
        await db.execute(self._sql.promote, now)
        return True

    async def _lease_row(self, db: Any, row: tuple[Any, ...], until: int) -> EventMessage | None:
        try:
            event = self._event(row, leased_until=until)
        except ValueError as error:  # somebody else's JSON: it must not stop the queue
            table = quote_identifier(self._table)
            await db.execute(
                f"UPDATE {table} SET state = 'dead', last_error = ? WHERE seq = ?",
                (f"cannot be read: {error}", row[0]),
            )
            return None
        await db.execute(self._sql.take, (until, row[0]))
        return event

    def _event(self, row: tuple[Any, ...], leased_until: int | None = None) -> EventMessage:
        now_leased = leased_until is not None
        return EventMessage(
            event_id=row[1],
            channel=row[2],
            payload=self._from_json(row[3]),
            metadata=None if row[4] is None else self._from_json(row[4]),
            attempts=row[5] + now_leased,
            max_attempts=row[6],
            available_at=datetime_of(row[8]),
            lease_expires_at=datetime_of(leased_until),
            created_at=known_datetime(row[9]),
            last_error=row[10],
            lease=row[7] + now_leased,
        )

    # ---- what becomes of it ----

    @staticmethod
    def _held(event: EventMessage | str) -> dict[str, Any]:
        if isinstance(event, EventMessage):
            return {"id": event.event_id, "lease": event.lease}
        return {"id": event, "lease": None}

    async def _change(self, sql: str, params: dict[str, Any], wake: bool) -> bool:
        async def changed() -> bool:
            async with self._writing() as db, db.execute(sql, params) as cursor:
                found: bool = cursor.rowcount > 0
            if found and wake:
                self.wake()
            return found

        return await whole(changed)

    async def ack(self, event: EventMessage | str) -> bool:
        """The event is done: it leaves the queue. False if it was given to another meanwhile."""
        return await self._change(self._sql.ack, self._held(event), wake=False)

    async def extend(self, event: EventMessage | str, seconds: float | None = None) -> bool:
        """Leases it for that long from now. False if it was given to another meanwhile."""
        length = self._lease if seconds is None else microseconds(seconds, "seconds")
        params = {**self._held(event), "due": self._now() + length}
        return await self._change(self._sql.extend, params, wake=True)

    async def release(self, event: EventMessage | str) -> bool:
        """Gives it back, not tried: it is ready again at once, and the attempt does not count."""
        return await self._give_back(event)

    async def _give_back(self, event: EventMessage | str) -> bool:
        return await self._change(self._sql.give_back, self._held(event), wake=True)

    async def nack(
        self,
        event: EventMessage | str,
        *,
        delay: float | None = None,
        error: BaseException | str | None = None,
    ) -> bool:
        """It failed: it is tried again after a delay, or is dead if this was the last attempt.

        The delay is `retry_delay` of the number of attempts, unless it is given. False if the event
        was given to another meanwhile.
        """
        held = self._held(event)
        told = repr(error) if isinstance(error, BaseException) else error

        async def failed() -> bool:
            async with self._writing() as db:
                rows = await fetch_all(db, self._sql.find, {"id": held["id"]})
                if not rows:
                    return False
                row = _plain(rows[0])
                attempts, last = row[5], row[6]
                state, due = schema.DEAD, None
                if attempts < last:
                    seconds = self._retry_delay(attempts) if delay is None else delay
                    wait = microseconds(seconds, "delay")
                    state = schema.WAITING if wait else schema.READY
                    due = self._now() + wait if wait else None
                params = {**held, "state": state, "due": due, "error": told}
                async with db.execute(self._sql.nack, params) as cursor:
                    found: bool = cursor.rowcount > 0
            if found:
                self.wake()
            return found

        return await whole(failed)

    # ---- looking after it ----

    async def dead_letters(self, channel: str, limit: int = 100) -> list[EventMessage]:
        """Events that failed too often, oldest first. `last_error` says why."""
        params = {"channel": _name(channel), "limit": limit}

        async def found() -> list[Any]:
            async with self._connection() as db:
                return await fetch_all(db, self._sql.dead, params)

        return [self._dead(_plain(row)) for row in await whole(found)]

    def _dead(self, row: tuple[Any, ...]) -> EventMessage:
        try:
            return self._event(row)
        except ValueError:  # it is dead because it cannot be read
            return self._event((*row[:3], self._to_json(row[3]), None, *row[5:]))

    async def requeue(self, event_id: str) -> bool:
        """Makes a dead event ready, with all its attempts before it. False if it is not there."""
        return await self._change(self._sql.revive, {"id": event_id}, wake=True)

    async def remove(self, event_id: str) -> bool:
        """Removes an event that nobody has leased. False if there is none."""
        return await self._change(self._sql.remove, {"id": event_id}, wake=False)

    async def counts(self) -> dict[str, dict[str, int]]:
        """How many events each channel has, by state: ready, waiting, leased, dead."""

        async def found() -> list[Any]:
            async with self._connection() as db:
                return await fetch_all(db, self._sql.count)

        counted: dict[str, dict[str, int]] = {}
        for row in await whole(found):
            channel, state, number = _plain(row)
            counted.setdefault(channel, {})[state] = number
        return counted


def _attempts(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"max_attempts must be an int of at least 1, not {value!r}")
    return value


@asynccontextmanager
async def _transaction(db: Any) -> AsyncIterator[None]:
    await db.execute("BEGIN IMMEDIATE")
    try:
        yield
        await db.commit()
    except BaseException:
        if db.in_transaction:
            await db.rollback()
        raise
