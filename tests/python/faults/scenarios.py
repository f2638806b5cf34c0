"""What is gone through with one call into CPython failing: small programs that pass most of the
extension's paths. A scenario notes in `world.done` each row whose commit it was told of; the rows
of table `t` are compared with that afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import decimal
import sqlite3
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import looplite
import pyarrow
from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.adapters.aiosqlite.adk import AiosqliteADKStore

lib: Any = looplite

#: Names of codes that mistakes have (since Python 3.11).
WRONG = {"INSERT INTO one VALUES (1)": "SQLITE_CONSTRAINT_UNIQUE", "NONSENSE": "SQLITE_ERROR"}
SCHEMA = (
    "CREATE TABLE t(v INTEGER); CREATE TABLE one(v INTEGER UNIQUE); INSERT INTO one VALUES (1);"
    "CREATE TABLE many(a, b, c); INSERT INTO many WITH RECURSIVE c(x) AS"
    " (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 300) SELECT x, 'text ' || x, x / 2.0 FROM c;"
    "CREATE TABLE blobs(v); INSERT INTO blobs VALUES (x'00010203040506070809');"
    "CREATE TABLE typed(j JSON, u UUID, t TIMESTAMP, d DECIMAL, b BOOLEAN, da DATE);"
)


class World:
    """One run of a scenario: its database, and what it was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: list[int] = []
        self._last = 0

    def number(self) -> int:
        """A value that table `t` has not had yet."""
        self._last += 1
        return self._last

    async def insert(self, db: Any) -> None:
        """One committed row, noted when that was told."""
        number = self.number()
        await db.execute("INSERT INTO t VALUES (?)", (number,))
        await db.commit()
        self.done.append(number)


Scenario = Callable[[World], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


@scenario
async def reads(world: World) -> None:
    async with lib.connect(world.path) as db:
        async with db.execute("SELECT ?, ?, x'00', 1.5, NULL", (1, "p" * 100)) as cursor:
            assert await cursor.fetchone() == (1, "p" * 100, b"\0", 1.5, None)
            assert await cursor.fetchone() is None
            assert [column[0] for column in cursor.description][2:4] == ["x'00'", "1.5"]
        rows = await db.execute_fetchall("SELECT * FROM many")
        assert len(list(rows)) == 300
        async with db.execute("SELECT a FROM many WHERE a > :low", {"low": 100}) as cursor:
            count = 0
            async for (value,) in cursor:
                count += value > 100
            assert count == 200
        cursor = await db.execute("SELECT a FROM many")
        assert len(list(await cursor.fetchmany(7))) == 7
        await cursor.close()
        db.row_factory = sqlite3.Row
        async with db.execute("SELECT a AS x, b AS y FROM many WHERE a = 1") as cursor:
            row = await cursor.fetchone()
            assert row is not None
            assert row["y"] == "text 1"
        db.row_factory = lambda cursor, row: dict(
            zip((column[0] for column in cursor.description), row, strict=True)
        )
        assert list(await db.execute_fetchall("SELECT a FROM many WHERE a = 2")) == [{"a": 2}]


@scenario
async def worker_reads(world: World) -> None:
    async with lib.connect(world.path, inline=False) as db:
        async with db.execute("SELECT a.a, a.b, a.c FROM many a, one") as cursor:
            assert len(list(await cursor.fetchall())) == 300
        async with db.execute("SELECT * FROM many") as cursor:
            async for _ in cursor:
                break
        results = await asyncio.gather(
            *(db.execute_fetchall("SELECT a FROM many WHERE a = ?", (n,)) for n in range(1, 6))
        )
        assert [list(rows) for rows in results] == [[(n,)] for n in range(1, 6)]


@scenario
async def writes(world: World) -> None:
    async with lib.connect(world.path) as db:
        await world.insert(db)
        await world.insert(db)
        numbers = [world.number() for _ in range(3)]
        cursor = await db.executemany("INSERT INTO t VALUES (?)", ((n,) for n in numbers))
        assert cursor.rowcount == 3
        await db.commit()
        world.done += numbers
        await db.executescript("CREATE TABLE s(v); INSERT INTO s VALUES (1); DROP TABLE s;")
        await db.execute("INSERT INTO t VALUES (?)", (-1,))
        assert db.in_transaction
        await db.rollback()
        assert (await db.execute_insert("INSERT INTO one VALUES (7)")) is not None
        assert db.total_changes
        await db.commit()
        db.isolation_level = None
        number = world.number()
        await db.execute("INSERT INTO t VALUES (?)", (number,))
        world.done.append(number)


@scenario
async def mistakes(world: World) -> None:
    async with lib.connect(world.path) as db:
        for sql, parameters, kind in (
            ("NONSENSE", (), sqlite3.OperationalError),
            ("SELECT ?", (), sqlite3.ProgrammingError),
            ("SELECT ?", (object(),), sqlite3.Error),
            ("SELECT :a", {"b": 1}, sqlite3.ProgrammingError),
            ("SELECT ?", (2**70,), OverflowError),
            ("INSERT INTO one VALUES (1)", (), sqlite3.IntegrityError),
        ):
            failed = True
            try:
                await db.execute(sql, parameters)
                failed = False
            except kind as error:
                if getattr(error, "sqlite_errorname", "") not in ("", WRONG.get(sql, "")):
                    raise
            assert failed, sql
        await db.rollback()
        await world.insert(db)


@scenario
async def callables(world: World) -> None:
    class Total:
        def __init__(self) -> None:
            self.value = 0

        def step(self, value: int) -> None:
            self.value += value

        def finalize(self) -> int:
            return self.value

    async def later(value: int) -> int:
        await asyncio.sleep(0)
        return value + 1

    seen: list[str] = []
    async with lib.connect(world.path) as db:
        await db.create_function("twice", 1, lambda v: v * 2, deterministic=True)
        await db.create_function("later", 1, later)
        await db.create_aggregate("total_of", 1, Total)
        await db.create_collation("backwards", lambda a, b: (a < b) - (a > b))
        await db.set_trace_callback(seen.append)
        await db.set_authorizer(lambda *_: sqlite3.SQLITE_OK)
        await db.set_progress_handler(lambda: 0, 100)
        assert list(await db.execute_fetchall("SELECT twice(4), later(1)")) == [(8, 2)]
        assert list(await db.execute_fetchall("SELECT total_of(a) FROM many")) == [(45150,)]
        rows = list(await db.execute_fetchall("SELECT b FROM many ORDER BY b COLLATE backwards"))
        assert rows[0] == ("text 99",)
        await db.set_trace_callback(None)
        await db.set_authorizer(None)
        await world.insert(db)


@scenario
async def types(world: World) -> None:
    class Point:
        def __conform__(self, protocol: Any) -> str:
            return "4;2"

    sqlite3.register_converter("POINT", lambda raw: raw.decode())
    async with lib.connect(
        world.path, detect_types=sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES
    ) as db:
        rows = list(await db.execute_fetchall('SELECT ? AS "p [point]"', (Point(),)))
        assert rows == [("4;2",)]
        db.text_factory = bytes
        assert list(await db.execute_fetchall("SELECT 'x'")) == [(b"x",)]
        text = [line async for line in dumped(db)]
        assert text[0].startswith("BEGIN")


async def dumped(db: Any) -> AsyncIterator[str]:
    db.text_factory = str
    async for line in db.iterdump():
        yield line


@scenario
async def pieces(world: World) -> None:
    async with lib.connect(world.path) as db:
        if hasattr(sqlite3.Connection, "blobopen"):
            async with db.blobopen("blobs", "v", 1) as blob:
                assert await blob.read(2) == b"\0\1"
                await blob.seek(0)
                await blob.write(b"zz")
            await db.commit()
        target = sqlite3.connect(":memory:", check_same_thread=False)
        await db.backup(target, pages=2, progress=lambda *_: None)
        assert target.execute("SELECT count(*) FROM many").fetchone() == (300,)
        target.close()
        async with lib.connect(":memory:") as copy:
            await db.backup(copy)
            assert list(await copy.execute_fetchall("SELECT count(*) FROM many")) == [(300,)]
        if hasattr(sqlite3.Connection, "serialize"):
            async with lib.connect(":memory:") as small:
                await small.execute("CREATE TABLE x(v)")
                await small.deserialize(await small.serialize())
                assert list(await small.execute_fetchall("SELECT * FROM x")) == []


@scenario
async def cancelled(world: World) -> None:
    endless = (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    )
    async with lib.connect(world.path) as db:
        task = asyncio.ensure_future(db.execute_fetchall(endless))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await world.insert(db)


@scenario
async def two_writers(world: World) -> None:
    # The one that waits is closed last: it would be waited for.
    async with lib.connect(world.path) as b, lib.connect(world.path) as a:
        await a.execute("BEGIN IMMEDIATE")
        other = asyncio.ensure_future(world.insert(b))
        await asyncio.sleep(0)
        await a.execute("INSERT INTO t VALUES (-5)")
        await a.rollback()
        await other


@scenario
async def sessions(world: World) -> None:
    config = AiosqliteConfig(connection_config={"database": world.path, "pool_size": 2})
    now = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    try:
        async with config.provide_session() as session:
            number = world.number()
            await session.execute("INSERT INTO t VALUES (?)", number)
            world.done.append(number)
            numbers = [world.number(), world.number()]
            async with session.transaction():
                for number in numbers:
                    await session.execute("INSERT INTO t VALUES (?)", number)
            world.done += numbers
            assert await session.select_value("SELECT count(*) FROM many") == 300
            assert (await session.execute("SELECT a FROM many WHERE a = 1").one())["a"] == 1
            key = uuid.UUID(int=7)
            await session.execute(
                "INSERT INTO typed VALUES (?, ?, ?, ?, ?, ?)",
                {"a": [1]}, key, now, decimal.Decimal("1.50"), True, now.date(),
            )  # fmt: skip
            row = await session.select_one("SELECT * FROM typed")
            assert row["u"] == key
            assert row["j"] == {"a": [1]}
            with contextlib.suppress(sqlite3.IntegrityError):
                await session.execute("INSERT INTO one VALUES (1)")
            async with session.select_stream("SELECT a FROM many") as rows:
                async for _ in rows:
                    break
    finally:
        await config.close_pool()


@scenario
async def grouped(world: World) -> None:
    config = AiosqliteConfig(
        connection_config={"database": world.path, "pool_size": 2, "group_commit": True}
    )

    async def write() -> None:
        async with config.provide_session() as session:
            number = world.number()
            await session.execute("INSERT INTO t VALUES (?)", number)
            world.done.append(number)

    try:
        results = await asyncio.gather(*(write() for _ in range(5)), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
    finally:
        await config.close_pool()


@scenario
async def columns(world: World) -> None:
    config = AiosqliteConfig(connection_config={"database": world.path})
    try:
        async with config.provide_session() as session:
            result = await session.execute("SELECT * FROM many")
            assert result.to_arrow().num_rows == 300
            assert (await session.select_to_arrow("SELECT a FROM many")).num_rows == 300
    finally:
        await config.close_pool()


@scenario
async def streams(world: World) -> None:
    config = AiosqliteConfig(connection_config={"database": world.path})
    try:
        async with config.provide_session() as session:
            async with session.select_stream("SELECT a FROM many", chunk_size=70) as rows:
                assert [row["a"] async for row in rows] == list(range(1, 301))
            async with session.select_stream("SELECT a, b FROM many") as rows:
                reader = pyarrow.RecordBatchReader.from_stream(rows)
                assert reader.read_all().num_rows == 300
                del reader
            async with session.select_stream("SELECT * FROM many") as rows:
                reader = pyarrow.RecordBatchReader.from_stream(rows)
                assert reader.read_next_batch().num_rows
                del reader  # half way
    finally:
        await config.close_pool()
    async with lib.connect(world.path) as db:
        cursor = await db.execute("SELECT a, c FROM many")
        reader = pyarrow.RecordBatchReader.from_stream(cursor)
        assert reader.read_all().num_rows == 300
        del reader
        await cursor.close()


@scenario
async def loads(world: World) -> None:
    def table() -> tuple[list[int], Any]:
        numbers = [world.number() for _ in range(3)]
        return numbers, pyarrow.table({"v": numbers})

    async with lib.connect(world.path) as db:
        numbers, source = table()
        assert await db.load_from_arrow("t", source) == 3
        await db.commit()
        world.done += numbers
        numbers, source = table()
        with contextlib.suppress(sqlite3.IntegrityError):
            await db.load_from_arrow("one", pyarrow.table({"v": [5, 1]}))
        assert list(await db.execute_fetchall("SELECT v FROM one")) == [(1,)]
        assert await db.load_from_arrow("t", source.to_batches()[0], schema="main") == 3
        await db.commit()
        world.done += numbers
    config = AiosqliteConfig(connection_config={"database": world.path})
    try:
        async with config.provide_session() as session:
            numbers, source = table()
            job = await session.load_from_arrow("main.t", source)
            world.done += numbers
            assert job.telemetry["rows_processed"] == 3
            await session.load_from_arrow("many", [{"a": 1}], overwrite=True)
            assert await session.select_value("SELECT count(*) FROM many") == 1
    finally:
        await config.close_pool()


@scenario
async def agents(world: World) -> None:
    config = AiosqliteConfig(connection_config={"database": world.path})
    try:
        store = AiosqliteADKStore(config)
        await store.create_tables()
        await store.create_session("s", "app", "user", {"k": 1})
        await store.append_event(
            {
                "id": "e", "session_id": "s", "app_name": "app", "user_id": "user",
                "invocation_id": "i", "author": "a", "actions": b"{}",
                "long_running_tool_ids_json": None, "branch": None,
                "timestamp": datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
                "content": {"x": 1}, "grounding_metadata": None, "custom_metadata": None,
                "partial": None, "turn_complete": True, "interrupted": None,
                "error_code": None, "error_message": None,
            }
        )  # fmt: skip
        assert len(await store.get_events("s")) == 1
        record = await store.get_session("s")
        assert record is not None
        assert record["state"] == {"k": 1}
        assert len(await store.list_sessions("app")) == 1
        await store.delete_session("s")
    finally:
        await config.close_pool()


@scenario
async def foreign_connector(world: World) -> None:
    async with lib.Connection(lambda: sqlite3.connect(world.path), 64) as db:
        assert list(await db.execute_fetchall("SELECT a FROM many WHERE a = 3")) == [(3,)]
        await world.insert(db)


@scenario
async def told(world: World) -> None:
    seen: list[Any] = []
    async with lib.connect(world.path) as db:
        db.on_statement = seen.append
        await db.execute_fetchall("SELECT 1")
        await world.insert(db)
        await db.execute("PRAGMA user_version")
    lib.stats()
    lib.engine_info()
