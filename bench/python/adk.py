"""Agents' sessions: the calls of a store and of a session service, with sessions of 50 events.

`sqlite3` is the same statements and the same JSON written by hand, with dicts as records;
SQLSpec is its own store and service (on aiosqlite), google-adk its `SqliteSessionService`, all on a
file in WAL mode. Writes are measured with `synchronous` as SQLite sets it, FULL, where each waits
for the disk, and one of them with NORMAL, too, where what is left is the code.

looplite's store and service are on an `AiosqliteConfig`, whose pool is open. With 100 tasks that
append at once it shares commits (`group_commit`), and SQLSpec has five connections, as it has by
default.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harness.measure import rate
from harness.peers import UnsupportedError
from harness.spec import Context, Ratio, Row, Sample

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "python"))

EVENTS = 50
SESSIONS = 20
TASKS = 100
STATE = {f"key{n}": {"text": "value", "n": n} for n in range(10)}
CONTENT = {"role": "model", "parts": [{"text": "It is dry in Oslo today, with some wind. " * 8}]}
Call = Callable[[int], Awaitable[Any]]

_numbers = itertools.count()


def _fresh() -> str:
    return f"e{next(_numbers)}"


def _record(session: str) -> dict[str, Any]:
    return {
        "id": _fresh(),
        "session_id": session,
        "app_name": "app",
        "user_id": "ann",
        "invocation_id": "i1",
        "author": "agent",
        "actions": b"{}",
        "timestamp": datetime.now(timezone.utc),
        "content": CONTENT,
    }


def _make_wal(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
    db.close()


class _ByHand:
    """`sqlite3`, written by hand: the tests' oracle."""

    async def open(self, path: Path, synchronous: str) -> None:
        by_hand = importlib.import_module("adk.by_hand")
        self.store = by_hand.Store(path)
        self.store.db.execute("PRAGMA journal_mode = WAL")
        self.store.db.execute(f"PRAGMA synchronous = {synchronous}")
        self.store.db.executescript(by_hand.COLUMNS_SCHEMA)

    async def create(self, session: str) -> Any:
        return self.store.create_session(session, "app", "ann", STATE)

    async def get(self, session: str) -> Any:
        return self.store.get_session(session)

    async def events(self, session: str) -> Any:
        return self.store.get_events(session)

    async def update(self, session: str) -> Any:
        return self.store.update_session_state(session, STATE)

    async def listed(self) -> Any:
        return self.store.list_sessions("app")

    async def append(self, session: str) -> Any:
        return self.store.append_event(_record(session))

    async def delete(self, session: str) -> Any:
        return self.store.delete_session(session)

    async def close(self) -> None:
        self.store.db.close()


class _Looplite:
    group_commit = False

    async def open(self, path: Path, synchronous: str) -> None:
        config = importlib.import_module("looplite.adapters.aiosqlite").AiosqliteConfig
        module = importlib.import_module("looplite.adapters.aiosqlite.adk")
        self.config = config(
            connection_config={
                "database": path,
                "pragmas": {"synchronous": synchronous},
                "group_commit": self.group_commit,
            }
        )
        self.store = module.AiosqliteADKStore(self.config)
        await self.store.create_tables()

    async def create(self, session: str) -> Any:
        return await self.store.create_session(session, "app", "ann", STATE)

    async def get(self, session: str) -> Any:
        return await self.store.get_session(session)

    async def events(self, session: str) -> Any:
        return await self.store.get_events(session)

    async def update(self, session: str) -> Any:
        return await self.store.update_session_state(session, STATE)

    async def listed(self) -> Any:
        return await self.store.list_sessions("app")

    async def append(self, session: str) -> Any:
        return await self.store.append_event(_record(session))

    async def delete(self, session: str) -> Any:
        return await self.store.delete_session(session)

    async def close(self) -> None:
        await self.config.close_pool()

    def service(self) -> Any:
        return importlib.import_module("looplite.extensions.adk").SQLSpecSessionService(self.store)


class _Grouped(_Looplite):
    group_commit = True


class _SQLSpec:
    """SQLSpec's store, in which an event is one document."""

    async def open(self, path: Path, synchronous: str) -> None:
        try:
            module = importlib.import_module("sqlspec.adapters.aiosqlite.adk")
            config = importlib.import_module("sqlspec.adapters.aiosqlite").AiosqliteConfig
        except ImportError as error:
            raise UnsupportedError(f"SQLSpec is not installed ({error})") from None
        _make_wal(path)
        self.config = config(
            connection_config={"database": str(path)},
            driver_features={"pragmas": {"synchronous": synchronous}},
        )
        self.store = module.AiosqliteADKStore(self.config)
        await self.store.create_tables()

    async def create(self, session: str) -> Any:
        return await self.store.create_session(session, "app", "ann", STATE)

    async def get(self, session: str) -> Any:
        return await self.store.get_session("app", "ann", session)

    async def events(self, session: str) -> Any:
        return await self.store.get_events("app", "ann", session)

    async def update(self, session: str) -> Any:
        return await self.store.update_session_state("app", "ann", session, STATE)

    async def listed(self) -> Any:
        return await self.store.list_sessions("app")

    async def append(self, session: str) -> Any:
        record = _record(session)
        record["event_data"] = {"author": "agent", "content": CONTENT, "actions": {}}
        return await self.store.append_event(record)

    async def delete(self, session: str) -> Any:
        return await self.store.delete_session("app", "ann", session)

    async def close(self) -> None:
        await self.config.close_pool()

    def service(self) -> Any:
        return importlib.import_module("sqlspec.extensions.adk").SQLSpecSessionService(self.store)


class _Google:
    """google-adk's own service on SQLite."""

    async def open(self, path: Path, synchronous: str) -> None:
        try:
            module = importlib.import_module("google.adk.sessions.sqlite_session_service")
        except ImportError as error:
            raise UnsupportedError(f"google-adk is not installed ({error})") from None
        _make_wal(path)
        self._service = module.SqliteSessionService(str(path))

    async def close(self) -> None:
        pass

    def service(self) -> Any:
        return self._service


_STORES: dict[str, Callable[[], Any]] = {
    "sqlite3": _ByHand,
    "looplite": _Looplite,
    "sqlspec": _SQLSpec,
    "google-adk": _Google,
}


@asynccontextmanager
async def _filled(ctx: Context, synchronous: str = "NORMAL") -> Any:
    """A store with sessions s0, s1, ..., each with its events."""
    store = _STORES[ctx.peer_name]()
    await store.open(ctx.folder / "agents.db", synchronous)
    for n in range(SESSIONS):
        await store.create(f"s{n}")
        for _ in range(EVENTS):
            await store.append(f"s{n}")
    yield store
    await store.close()


async def _measured(ctx: Context, call: Callable[[int], Awaitable[Any]]) -> Sample:
    async def run(count: int) -> None:
        for n in range(count):
            await call(n)

    got = await rate(ctx.probe, int, run, ctx.scale(0.5, 0.06), first=8)
    return Sample(got.seconds * 1e6, {"calls": got.count})


def _each(name: str, synchronous: str = "NORMAL") -> Callable[[Context], Awaitable[Sample]]:
    """One call of a session after the other."""

    async def run(ctx: Context) -> Sample:
        async with _filled(ctx, synchronous) as store:
            call = getattr(store, name)
            return await _measured(ctx, lambda n: call(f"s{n % SESSIONS}"))

    return run


async def _whole(ctx: Context) -> Sample:
    async with _filled(ctx) as store:

        async def call(n: int) -> None:
            await store.get(f"s{n % SESSIONS}")
            assert len(await store.events(f"s{n % SESSIONS}")) == EVENTS

        return await _measured(ctx, call)


async def _listed(ctx: Context) -> Sample:
    async with _filled(ctx) as store:
        return await _measured(ctx, lambda _: store.listed())


def _crowd(synchronous: str) -> Callable[[Context], Awaitable[Sample]]:
    """Events appended by many tasks at a time; per event."""

    async def run(ctx: Context) -> Sample:
        kind = _Grouped if ctx.peer_name == "looplite" else _STORES[ctx.peer_name]
        store = kind()
        await store.open(ctx.folder / "agents.db", synchronous)
        for n in range(SESSIONS):
            await store.create(f"s{n}")
        await store.append("s0")

        async def some(task: int, count: int) -> None:
            for n in range(count):
                await store.append(f"s{(task + n) % SESSIONS}")

        async def crowd(rounds: int) -> None:
            await asyncio.gather(*(some(task, rounds) for task in range(TASKS)))

        got = await rate(ctx.probe, int, crowd, ctx.scale(0.5, 0.06), first=1)
        await store.close()
        return Sample(got.seconds * 1e6 / TASKS, {"calls": got.count * TASKS})

    return run


async def _created(ctx: Context) -> Sample:
    async with _filled(ctx, "FULL") as store:

        async def call(n: int) -> None:
            name = _fresh()
            await store.create(name)
            await store.delete(name)

        return await _measured(ctx, call)


# ---- the service ---------------------------------------------------------------------------------


@asynccontextmanager
async def _service(ctx: Context) -> Any:
    store = _STORES[ctx.peer_name]()
    await store.open(ctx.folder / "agents.db", "FULL")
    try:
        service = store.service()
        event_type = importlib.import_module("google.adk.events.event").Event
    except ImportError as error:
        raise UnsupportedError(f"google-adk is not installed ({error})") from None
    text = json.dumps({"author": "agent", "invocation_id": "i1", "content": CONTENT})

    def event() -> Any:
        made = event_type.model_validate_json(text)
        made.id, made.timestamp = _fresh(), time.time()
        return made

    session = await service.create_session(app_name="app", user_id="ann", session_id="s1")
    if ctx.peer_name == "sqlspec":  # 38 in 40 first appends are stale there
        session._storage_update_marker = None
        session.last_update_time += 60
    for _ in range(EVENTS):
        await service.append_event(session, event())
    yield service, session, event
    await store.close()


async def _service_get(ctx: Context) -> Sample:
    async with _service(ctx) as (service, _session, _event):

        async def call(_: int) -> None:
            got = await service.get_session(app_name="app", user_id="ann", session_id="s1")
            assert len(got.events) == EVENTS

        return await _measured(ctx, call)


async def _service_append(ctx: Context) -> Sample:
    async with _service(ctx) as (service, session, event):

        async def call(_: int) -> None:
            if ctx.peer_name == "sqlspec":
                session._storage_update_marker = None
                session.last_update_time += 60
            await service.append_event(session, event())

        return await _measured(ctx, call)


_STORE_PEERS = ("sqlite3", "sqlspec", "looplite")
_SERVICE_PEERS = ("sqlspec", "google-adk", "looplite")


def _row(
    name: str,
    title: str,
    run: Callable[[Context], Awaitable[Sample]],
    *more: Ratio,
) -> Row:
    return Row(
        name=f"adk_{name}",
        title=f"ADK store: {title}",
        unit="us",
        run=run,
        database="none",
        peers=_STORE_PEERS,
        targets=(Ratio("sqlite3", 1.0), *more),
    )


ROWS = (
    _row("session", "a session and its 50 events", _whole, Ratio("sqlspec", 3.4)),
    _row("get_session", "get_session", _each("get"), Ratio("sqlspec", 7.0)),
    _row("get_events", "get_events, 50", _each("events")),
    _row("list_sessions", "list_sessions, 20", _listed),
    _row("append_event", "append_event", _each("append", "FULL"), Ratio("sqlspec", 2.0)),
    _row("append_event_normal", "append_event, `synchronous` NORMAL", _each("append")),
    Row(
        name="adk_append_crowd",
        title=f"ADK store: append_event by {TASKS} tasks, group commit",
        unit="us",
        run=_crowd("FULL"),
        database="none",
        peers=("sqlspec", "looplite"),
        targets=(Ratio("sqlspec", 10.0),),
    ),
    _row("update_state", "update_session_state", _each("update", "FULL")),
    _row("create_delete", "create_session, delete_session", _created),
    Row(
        name="adk_service_get",
        title="ADK session service: get_session with 50 events",
        unit="us",
        run=_service_get,
        database="none",
        peers=_SERVICE_PEERS,
        targets=(Ratio("sqlspec", 2.0), Ratio("google-adk", 2.5)),
    ),
    Row(
        name="adk_service_append",
        title="ADK session service: append_event",
        unit="us",
        run=_service_append,
        database="none",
        peers=_SERVICE_PEERS,
        targets=(Ratio("sqlspec", 2.0), Ratio("google-adk", 4.0)),
    ),
)
