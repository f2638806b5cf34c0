"""Single statements by 100 tasks, each with a session of its own, on a pool of 5 connections.

A task opens its session once and runs one statement after the other, each committed by itself. The
synchronous module has one connection and no tasks; its rows are made dicts, as those of sessions
are. aiosqlite has one connection, since there is no pool; SQLSpec and looplite have their adapters.
"""

from __future__ import annotations

import asyncio
import importlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from harness.data import INSERT_ITEM, ITEMS, READ_ITEM, item, stored_items
from harness.measure import keys, rate, shares
from harness.peers import UnsupportedError, Values
from harness.spec import Context, Ratio, Row, Sample

TASKS = 100
POOL = 5
SECONDS = 0.5
QUICK_SECONDS = 0.06


class _OnePlain:
    """One connection of sqlite3, whose calls never wait."""

    def __init__(self, path: Path, pragmas: Sequence[str], group: bool) -> None:
        self._conn = sqlite3.connect(path, isolation_level=None)
        for pragma in pragmas:
            self._conn.execute(f"PRAGMA {pragma}")

    async def read(self, keys: Sequence[int]) -> None:
        for key in keys:
            cursor = self._conn.execute(READ_ITEM, (key,))
            names = [column[0] for column in cursor.description]
            row = dict(zip(names, cursor.fetchone(), strict=True))
        assert len(row) == 3

    async def write(self, rows: Sequence[Values]) -> None:
        for values in rows:
            self._conn.execute(INSERT_ITEM, tuple(values))

    async def close(self) -> None:
        self._conn.close()


class _OneAsync:
    """One connection of aiosqlite."""

    def __init__(self, path: Path, pragmas: Sequence[str], group: bool) -> None:
        self._path, self._pragmas = path, pragmas
        self._conn: Any = None
        self._lock = asyncio.Lock()

    async def _open(self) -> Any:
        async with self._lock:
            if self._conn is None:
                module = importlib.import_module("aiosqlite")
                self._conn = await module.connect(self._path, isolation_level=None)
                for pragma in self._pragmas:
                    await (await self._conn.execute(f"PRAGMA {pragma}")).close()
        return self._conn

    async def read(self, keys: Sequence[int]) -> None:
        conn = await self._open()
        for key in keys:
            cursor = await conn.execute(READ_ITEM, (key,))
            names = [column[0] for column in cursor.description]
            row = dict(zip(names, await cursor.fetchone(), strict=True))
        assert len(row) == 3

    async def write(self, rows: Sequence[Values]) -> None:
        conn = await self._open()
        for values in rows:
            await (await conn.execute(INSERT_ITEM, tuple(values))).close()

    async def close(self) -> None:
        if self._conn is not None:
            await self._conn.close()


class _Sessions:
    """SQLSpec's adapter and looplite's: the same program."""

    package = ""

    def __init__(self, path: Path, pragmas: Sequence[str], group: bool) -> None:
        module = importlib.import_module(f"{self.package}.adapters.aiosqlite")
        settings: dict[str, Any] = {
            "database": str(path),
            "pool_size": POOL,
            "isolation_level": None,
            "connect_timeout": 600.0,
        }
        if group:
            settings["group_commit"] = True
        pairs = dict(text.split("=") for text in pragmas)
        self._config = module.AiosqliteConfig(
            connection_config=settings, driver_features={"pragmas": pairs}
        )

    def _session(self) -> AbstractAsyncContextManager[Any]:
        found: AbstractAsyncContextManager[Any] = self._config.provide_session()
        return found

    async def read(self, keys: Sequence[int]) -> None:
        async with self._session() as session:
            for key in keys:
                row = await session.select_one(READ_ITEM, key)
        assert len(row) == 3

    async def write(self, rows: Sequence[Values]) -> None:
        async with self._session() as session:
            for values in rows:
                await session.execute(INSERT_ITEM, *values)

    async def close(self) -> None:
        await self._config.close_pool()


class _Sqlspec(_Sessions):
    package = "sqlspec"


class _Looplite(_Sessions):
    package = "looplite"


_WAYS: dict[str, Callable[[Path, Sequence[str], bool], Any]] = {
    "sqlite3": _OnePlain,
    "aiosqlite": _OneAsync,
    "sqlspec": _Sqlspec,
    "looplite": _Looplite,
}


@asynccontextmanager
async def _opened(ctx: Context, pragmas: Sequence[str] = (), group: bool = False) -> Any:
    ctx.peer  # noqa: B018 - loads it, or says why that cannot be
    way = _WAYS[ctx.peer_name](ctx.database, pragmas, group and ctx.peer_name == "looplite")
    try:
        yield way
    finally:
        await way.close()


def _parts(count: int) -> list[Sequence[int]]:
    return shares(keys(count, ITEMS), TASKS)


async def reads(ctx: Context) -> Sample:
    """Point reads by key."""
    async with _opened(ctx) as way:

        async def run(parts: list[Sequence[int]]) -> None:
            await asyncio.gather(*(way.read(part) for part in parts))

        got = await rate(
            ctx.probe,
            _parts,
            run,
            ctx.scale(SECONDS, QUICK_SECONDS),
            first=2 * TASKS,
        )
    return Sample(got.seconds * 1e6, {"reads": got.count}, got.inline)


async def _writes(ctx: Context, group: bool) -> Sample:
    written = 0
    async with _opened(ctx, ("synchronous=FULL",), group) as way:

        async def run(parts: list[Sequence[Values]]) -> None:
            nonlocal written
            await asyncio.gather(*(way.write(part) for part in parts))
            written += sum(len(part) for part in parts)

        def make(count: int) -> list[Sequence[Values]]:
            return shares([item(n) for n in range(count)], TASKS)

        got = await rate(
            ctx.probe,
            make,
            run,
            ctx.scale(1.0, 0.1),
            first=TASKS,
        )
    stored = stored_items(ctx.database) - ITEMS
    if stored != written:
        raise UnsupportedError(f"of {written} committed rows {stored} are in the file")
    return Sample(got.seconds * 1e6, {"commits": got.count})


async def writes(ctx: Context) -> Sample:
    """Inserts, each durable when it is answered."""
    return await _writes(ctx, group=False)


async def grouped_writes(ctx: Context) -> Sample:
    """The same, with looplite's group_commit; the others have no such thing."""
    return await _writes(ctx, group=True)


ROWS = (
    Row(
        name="pooled_reads",
        title="point reads by 100 tasks through pooled sessions, pool of 5",
        unit="us",
        run=reads,
        peers=tuple(_WAYS),
        targets=(Ratio("sqlite3", 0.8), Ratio("sqlspec", 3.0)),
        path="inline",
    ),
    Row(
        name="pooled_inserts",
        title="durable single inserts by 100 tasks through pooled sessions, WAL, FULL",
        unit="us",
        run=writes,
        peers=tuple(_WAYS),
    ),
    Row(
        name="pooled_inserts_grouped",
        title="the same with group commit",
        unit="us",
        run=grouped_writes,
        peers=tuple(_WAYS),
        targets=(Ratio("aiosqlite", 15.0),),
    ),
)
