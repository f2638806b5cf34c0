"""SQLAlchemy's ORM: 1 000 objects read by key, 1 000 inserted and committed, each in a session of
its own, as a web application does for each request.

looplite is measured twice: as `sqlite+looplite`, and as `sqlite+aiosqlite` after install(). Beside
them the synchronous ORM on `sqlite3`, which shows what SQLAlchemy itself takes. The inserts are
measured with `synchronous` as SQLite sets it, FULL, where each commit waits for the disk, and with
NORMAL, where what is left is the code.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from harness.data import ITEMS, item, stored_items
from harness.measure import keys
from harness.peers import UnsupportedError
from harness.spec import Context, Ratio, Row, Sample

OPERATIONS = 1000
WARM_UP = 50

PEERS = ("sqlite3", "aiosqlite", "looplite")
_URLS = {"sqlite3": "sqlite", "aiosqlite": "sqlite+aiosqlite", "looplite": "sqlite+looplite"}

# From a number to what is done with it in a session of its own.
Operation = Callable[[int], Awaitable[None]]


def _model(sa: Any, orm: Any) -> Any:
    class Base(orm.DeclarativeBase):  # type: ignore[misc]
        pass

    class Item(Base):
        __tablename__ = "item"

        id = orm.mapped_column(sa.Integer, primary_key=True)
        name = orm.mapped_column(sa.String)
        price = orm.mapped_column(sa.Float)
        stock = orm.mapped_column(sa.Integer)

    return Item


def _set_synchronous(sa: Any, engine: Any, level: str) -> None:
    def on_connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA synchronous = {level}")
        cursor.close()

    sa.event.listen(engine, "connect", on_connect)


def _waiting(sa: Any, url: str, level: str) -> tuple[Any, Operation, Operation]:
    """The engine, and reading and inserting on it, for the asynchronous peers."""
    aio = importlib.import_module("sqlalchemy.ext.asyncio")
    model = _model(sa, importlib.import_module("sqlalchemy.orm"))
    engine = aio.create_async_engine(url)
    _set_synchronous(sa, engine.sync_engine, level)
    session = aio.async_sessionmaker(engine)

    async def read(key: int) -> None:
        async with session() as s:
            found = await s.get(model, key)
            assert found.id == key

    async def insert(number: int) -> None:
        name, price, stock = item(number)
        async with session() as s:
            s.add(model(name=name, price=price, stock=stock))
            await s.commit()

    return engine, read, insert


def _blocking(sa: Any, url: str, level: str) -> tuple[Any, Operation, Operation]:
    """The same for `sqlite3`; the methods never wait."""
    orm = importlib.import_module("sqlalchemy.orm")
    model = _model(sa, orm)
    engine = sa.create_engine(url)
    _set_synchronous(sa, engine, level)
    session = orm.sessionmaker(engine)

    async def read(key: int) -> None:
        with session() as s:
            found = s.get(model, key)
            assert found.id == key

    async def insert(number: int) -> None:
        name, price, stock = item(number)
        with session() as s:
            s.add(model(name=name, price=price, stock=stock))
            s.commit()

    return engine, read, insert


def _prepared(ctx: Context, installed: bool, level: str) -> tuple[Any, Operation, Operation]:
    try:
        importlib.import_module("greenlet")
        sa = importlib.import_module("sqlalchemy")
    except ImportError as error:
        raise UnsupportedError(f"SQLAlchemy is not installed ({error})") from None
    driver = _URLS[ctx.peer_name]
    if installed and ctx.peer_name == "looplite":
        importlib.import_module("looplite").install()
        driver = "sqlite+aiosqlite"
    url = f"{driver}:///{ctx.database}"
    return (_blocking if driver == "sqlite" else _waiting)(sa, url, level)


async def _dispose(engine: Any) -> None:
    ended = engine.dispose()
    if ended is not None:
        await ended


async def _select(ctx: Context, installed: bool) -> Sample:
    engine, read, _ = _prepared(ctx, installed, "FULL")
    count = ctx.count(OPERATIONS, OPERATIONS // 10)
    for key in keys(WARM_UP, ITEMS):
        await read(key)
    wanted = keys(count, ITEMS)
    ctx.probe.begin()
    began = perf_counter()
    for key in wanted:
        await read(key)
    took = perf_counter() - began
    inline = ctx.probe.end(count)
    await _dispose(engine)
    return Sample(took / count * 1e6, {"selects": count}, inline)


async def _insert(ctx: Context, installed: bool, level: str) -> Sample:
    engine, _, insert = _prepared(ctx, installed, level)
    count = ctx.count(OPERATIONS, OPERATIONS // 10)
    for number in range(WARM_UP):
        await insert(number)
    began = perf_counter()
    for number in range(count):
        await insert(number)
    took = perf_counter() - began
    await _dispose(engine)
    stored = stored_items(ctx.database) - ITEMS
    if stored != count + WARM_UP:
        raise UnsupportedError(f"of {count + WARM_UP} committed rows {stored} are in the file")
    return Sample(took / count * 1e6, {"inserts": count})


async def select(ctx: Context) -> Sample:
    """A session, get() by key."""
    return await _select(ctx, installed=False)


async def select_installed(ctx: Context) -> Sample:
    """The same, through install()."""
    return await _select(ctx, installed=True)


async def insert(ctx: Context) -> Sample:
    """A session, add(), commit()."""
    return await _insert(ctx, installed=False, level="NORMAL")


async def insert_installed(ctx: Context) -> Sample:
    """The same, through install()."""
    return await _insert(ctx, installed=True, level="NORMAL")


async def insert_full(ctx: Context) -> Sample:
    """The same, where the disk is waited for."""
    return await _insert(ctx, installed=False, level="FULL")


ROWS = (
    Row(
        name="orm_select",
        title="SQLAlchemy ORM: session, select by key, `sqlite+looplite`",
        unit="us",
        run=select,
        peers=PEERS,
        targets=(Ratio("aiosqlite", 2.2),),
        path="inline",
    ),
    Row(
        name="orm_select_installed",
        title="SQLAlchemy ORM: session, select by key, install()",
        unit="us",
        run=select_installed,
        peers=PEERS,
        targets=(Ratio("aiosqlite", 2.2),),
        path="inline",
    ),
    Row(
        name="orm_insert",
        title="SQLAlchemy ORM: session, insert, commit, `sqlite+looplite`, synchronous NORMAL",
        unit="us",
        run=insert,
        peers=PEERS,
        targets=(Ratio("aiosqlite", 1.8),),
    ),
    Row(
        name="orm_insert_installed",
        title="SQLAlchemy ORM: session, insert, commit, install(), synchronous NORMAL",
        unit="us",
        run=insert_installed,
        peers=PEERS,
        targets=(Ratio("aiosqlite", 1.8),),
    ),
    Row(
        name="orm_insert_full",
        title="SQLAlchemy ORM: session, insert, commit, `sqlite+looplite`, synchronous FULL",
        unit="us",
        run=insert_full,
        peers=PEERS,
        targets=(Ratio("aiosqlite", 1.8),),
    ),
)
