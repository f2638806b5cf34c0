"""Each library behind one interface, so that a row is written once.

Its methods are loops, not single calls: inside them stands what a user of that library writes, so
that the interface itself costs nothing that is measured. The synchronous `sqlite3` has the same
methods; they never wait.

Modules are imported in the child process that measures them, never in its parent: looplite, for
one, puts hooks under the interpreter's SQLite, and `sqlite3` is to be measured without them.
"""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Protocol

Values = Sequence[object]


class UnsupportedError(Exception):
    """A peer, or this machine, cannot do what a row needs; the text says why."""


class Peer(Protocol):
    """One library."""

    name: str
    package: str

    def load(self) -> str:
        """Imports it; gives the version of its SQLite."""

    async def open(self, path: Path, timeout: float = 5.0) -> Any:
        """A connection."""

    async def close(self, conn: Any) -> None:
        """Ends it."""

    async def execute(self, conn: Any, sql: str, values: Values = ()) -> None:
        """One statement whose rows, if any, do not matter."""

    async def rows(self, conn: Any, sql: str) -> Any:
        """All rows, in a list."""

    async def read_each(self, conn: Any, sql: str, keys: Sequence[int]) -> None:
        """For each key: execute, then fetch the row."""

    async def read_all_each(self, conn: Any, sql: str, keys: Sequence[int]) -> None:
        """The same with the library's call that executes and fetches in one, if it has one."""

    async def read_timed(
        self, conn: Any, sql: str, keys: Sequence[int], took_ns: list[int]
    ) -> None:
        """As read_each(), and notes how long each took."""

    async def read_texts(self, conn: Any, texts: Sequence[str], key: int) -> None:
        """As read_each(), with one key and many texts."""

    async def write_each(self, conn: Any, sql: str, rows: Sequence[Values]) -> None:
        """Executes once for each row of values."""

    async def write_commit_each(self, conn: Any, sql: str, rows: Sequence[Values]) -> None:
        """For each row of values: execute, commit."""

    async def commit(self, conn: Any) -> None:
        """Ends a transaction begun with execute(conn, "BEGIN IMMEDIATE")."""

    async def iterate(self, conn: Any, sql: str) -> int:
        """Loops over the rows one by one; gives their number."""

    async def backup(self, conn: Any, target: Path) -> None:
        """Copies the database into another file."""


class Standard:
    """The `sqlite3` module, called where it stands: it blocks the loop."""

    name = "sqlite3"
    package = ""

    def load(self) -> str:
        return sqlite3.sqlite_version

    async def open(self, path: Path, timeout: float = 5.0) -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=timeout, check_same_thread=False)

    async def close(self, conn: sqlite3.Connection) -> None:
        conn.close()

    async def execute(self, conn: sqlite3.Connection, sql: str, values: Values = ()) -> None:
        conn.execute(sql, tuple(values)).fetchall()

    async def rows(self, conn: sqlite3.Connection, sql: str) -> list[Any]:
        return conn.execute(sql).fetchall()

    async def read_each(self, conn: sqlite3.Connection, sql: str, keys: Sequence[int]) -> None:
        for key in keys:
            cursor = conn.execute(sql, (key,))
            row = cursor.fetchone()
        assert row is not None

    async def read_all_each(self, conn: sqlite3.Connection, sql: str, keys: Sequence[int]) -> None:
        for key in keys:
            rows = conn.execute(sql, (key,)).fetchall()
        assert len(rows) == 1

    async def read_timed(
        self, conn: sqlite3.Connection, sql: str, keys: Sequence[int], took_ns: list[int]
    ) -> None:
        for key in keys:
            began = perf_counter_ns()
            cursor = conn.execute(sql, (key,))
            row = cursor.fetchone()
            took_ns.append(perf_counter_ns() - began)
        assert row is not None

    async def read_texts(self, conn: sqlite3.Connection, texts: Sequence[str], key: int) -> None:
        for sql in texts:
            cursor = conn.execute(sql, (key,))
            row = cursor.fetchone()
        assert row is not None

    async def write_each(self, conn: sqlite3.Connection, sql: str, rows: Sequence[Values]) -> None:
        for values in rows:
            conn.execute(sql, values)

    async def write_commit_each(
        self, conn: sqlite3.Connection, sql: str, rows: Sequence[Values]
    ) -> None:
        for values in rows:
            conn.execute(sql, values)
            conn.commit()

    async def commit(self, conn: sqlite3.Connection) -> None:
        conn.commit()

    async def iterate(self, conn: sqlite3.Connection, sql: str) -> int:
        count = 0
        for _ in conn.execute(sql):
            count += 1
        return count

    async def backup(self, conn: sqlite3.Connection, target: Path) -> None:
        copy = sqlite3.connect(target)
        conn.backup(copy)
        copy.close()


class AwaitableDbApi:
    """The libraries whose calls are those of `sqlite3` with `await` before them."""

    name: str
    package: str
    module_name: str
    takes_timeout = True

    def load(self) -> str:
        self.module = importlib.import_module(self.module_name)
        version = getattr(self.module, "sqlite_version", None)
        return version if isinstance(version, str) else sqlite3.sqlite_version

    async def open(self, path: Path, timeout: float = 5.0) -> Any:
        if self.takes_timeout:
            return await self.module.connect(str(path), timeout=timeout)
        return await self.module.connect(str(path))

    async def close(self, conn: Any) -> None:
        await conn.close()

    async def execute(self, conn: Any, sql: str, values: Values = ()) -> None:
        cursor = await conn.execute(sql, values)
        await cursor.close()

    async def rows(self, conn: Any, sql: str) -> Any:
        cursor = await conn.execute(sql)
        return await cursor.fetchall()

    async def read_each(self, conn: Any, sql: str, keys: Sequence[int]) -> None:
        for key in keys:
            cursor = await conn.execute(sql, (key,))
            row = await cursor.fetchone()
        assert row is not None

    async def read_all_each(self, conn: Any, sql: str, keys: Sequence[int]) -> None:
        for key in keys:
            rows = await conn.execute_fetchall(sql, (key,))
        assert len(rows) == 1

    async def read_timed(
        self, conn: Any, sql: str, keys: Sequence[int], took_ns: list[int]
    ) -> None:
        for key in keys:
            began = perf_counter_ns()
            cursor = await conn.execute(sql, (key,))
            row = await cursor.fetchone()
            took_ns.append(perf_counter_ns() - began)
        assert row is not None

    async def read_texts(self, conn: Any, texts: Sequence[str], key: int) -> None:
        for sql in texts:
            cursor = await conn.execute(sql, (key,))
            row = await cursor.fetchone()
        assert row is not None

    async def write_each(self, conn: Any, sql: str, rows: Sequence[Values]) -> None:
        for values in rows:
            await conn.execute(sql, values)

    async def write_commit_each(self, conn: Any, sql: str, rows: Sequence[Values]) -> None:
        for values in rows:
            await conn.execute(sql, values)
            await conn.commit()

    async def commit(self, conn: Any) -> None:
        await conn.commit()

    async def iterate(self, conn: Any, sql: str) -> int:
        count = 0
        async with conn.execute(sql) as cursor:
            async for _ in cursor:
                count += 1
        return count

    async def backup(self, conn: Any, target: Path) -> None:
        if not hasattr(conn, "backup"):
            raise UnsupportedError("no backup")
        copy = await self.open(target)
        await conn.backup(copy)
        await copy.close()


class Aiosqlite(AwaitableDbApi):
    """aiosqlite: a thread for each connection."""

    name = "aiosqlite"
    package = "aiosqlite"
    module_name = "aiosqlite"


class Sqlspec(Aiosqlite):
    """SQLSpec: sessions on a pool of aiosqlite's connections. Only rows of sessions have it."""

    name = "sqlspec"
    package = "sqlspec"

    def load(self) -> str:
        importlib.import_module("sqlspec.adapters.aiosqlite")
        return super().load()


class Looplite(AwaitableDbApi):
    """What all this is about."""

    name = "looplite"
    package = "looplite"
    module_name = "looplite"


class Adbc(Standard):
    """The ADBC driver for SQLite, with an SQLite of its own. Only the row about Arrow has it."""

    name = "adbc"
    package = "adbc-driver-sqlite"

    def load(self) -> str:
        driver = importlib.import_module("adbc_driver_sqlite.dbapi")
        with driver.connect() as conn, conn.cursor() as cursor:
            cursor.execute("SELECT sqlite_version()")
            return str(cursor.fetchone()[0])


class Turso(AwaitableDbApi):
    """pyturso: another implementation of SQLite; a thread for each connection."""

    name = "pyturso"
    package = "pyturso"
    module_name = "turso.aio"
    takes_timeout = False

    def load(self) -> str:
        super().load()
        return f"{importlib.import_module('turso').sqlite_version} (its own engine)"

    async def read_all_each(self, conn: Any, sql: str, keys: Sequence[int]) -> None:
        for key in keys:
            cursor = await conn.execute(sql, (key,))
            rows = await cursor.fetchall()
        assert len(rows) == 1

    async def iterate(self, conn: Any, sql: str) -> int:
        # It has no `async for`; 64 rows are what the others fetch at once.
        count = 0
        cursor = await conn.execute(sql)
        while rows := await cursor.fetchmany(64):
            for _ in rows:
                count += 1
        return count


class Apsw:
    """apsw in its asynchronous mode: a thread for each connection."""

    name = "apsw"
    package = "apsw"

    def load(self) -> str:
        self.module = importlib.import_module("apsw")
        controllers = importlib.import_module("apsw.aio")
        self.module.async_controller.set(controllers.AsyncIO)
        return str(self.module.sqlite_lib_version())

    async def open(self, path: Path, timeout: float = 5.0) -> Any:
        conn = await self.module.Connection.as_async(str(path))
        if timeout != 5.0:  # a hop that open and close would be charged for
            await conn.set_busy_timeout(round(timeout * 1000))
        return conn

    async def close(self, conn: Any) -> None:
        await conn.aclose()

    async def execute(self, conn: Any, sql: str, values: Values = ()) -> None:
        cursor = await conn.execute(sql, values)
        await cursor.fetchall()

    async def rows(self, conn: Any, sql: str) -> Any:
        cursor = await conn.execute(sql)
        return await cursor.fetchall()

    async def read_each(self, conn: Any, sql: str, keys: Sequence[int]) -> None:
        for key in keys:
            cursor = await conn.execute(sql, (key,))
            row = await cursor.fetchone()
        assert row is not None

    async def read_all_each(self, conn: Any, sql: str, keys: Sequence[int]) -> None:
        for key in keys:
            rows = await (await conn.execute(sql, (key,))).fetchall()
        assert len(rows) == 1

    async def read_timed(
        self, conn: Any, sql: str, keys: Sequence[int], took_ns: list[int]
    ) -> None:
        for key in keys:
            began = perf_counter_ns()
            cursor = await conn.execute(sql, (key,))
            row = await cursor.fetchone()
            took_ns.append(perf_counter_ns() - began)
        assert row is not None

    async def read_texts(self, conn: Any, texts: Sequence[str], key: int) -> None:
        for sql in texts:
            cursor = await conn.execute(sql, (key,))
            row = await cursor.fetchone()
        assert row is not None

    async def write_each(self, conn: Any, sql: str, rows: Sequence[Values]) -> None:
        for values in rows:
            await conn.execute(sql, values)

    async def write_commit_each(self, conn: Any, sql: str, rows: Sequence[Values]) -> None:
        # It opens no transaction by itself: a statement alone is committed when it returns.
        await self.write_each(conn, sql, rows)

    async def commit(self, conn: Any) -> None:
        await conn.execute("COMMIT")

    async def iterate(self, conn: Any, sql: str) -> int:
        count = 0
        async for _ in await conn.execute(sql):
            count += 1
        return count

    async def backup(self, conn: Any, target: Path) -> None:
        copy = await self.open(target)
        async with await copy.backup("main", conn, "main") as running:
            while not await running.step():
                pass
        await copy.aclose()


class Rapsqlite:
    """rapsqlite: Rust, Tokio and sqlx."""

    name = "rapsqlite"
    package = "rapsqlite"

    def load(self) -> str:
        self.module = importlib.import_module("rapsqlite")
        return "its own"

    async def open(self, path: Path, timeout: float = 5.0) -> Any:
        conn = self.module.connect(str(path), timeout=timeout)
        # Opens lazily otherwise, and the first statement would pay.
        await conn.__aenter__()
        return conn

    async def close(self, conn: Any) -> None:
        await conn.close()

    async def execute(self, conn: Any, sql: str, values: Values = ()) -> None:
        await conn.execute(sql, list(values))

    async def rows(self, conn: Any, sql: str) -> Any:
        return await conn.fetch_all(sql)

    async def read_each(self, conn: Any, sql: str, keys: Sequence[int]) -> None:
        for key in keys:
            row = await conn.fetch_one(sql, [key])
        assert row

    async def read_all_each(self, conn: Any, sql: str, keys: Sequence[int]) -> None:
        for key in keys:
            rows = await conn.fetch_all(sql, [key])
        assert len(rows) == 1

    async def read_timed(
        self, conn: Any, sql: str, keys: Sequence[int], took_ns: list[int]
    ) -> None:
        for key in keys:
            began = perf_counter_ns()
            row = await conn.fetch_one(sql, [key])
            took_ns.append(perf_counter_ns() - began)
        assert row

    async def read_texts(self, conn: Any, texts: Sequence[str], key: int) -> None:
        for sql in texts:
            row = await conn.fetch_one(sql, [key])
        assert row

    async def write_each(self, conn: Any, sql: str, rows: Sequence[Values]) -> None:
        for values in rows:
            await conn.execute(sql, list(values))

    async def write_commit_each(self, conn: Any, sql: str, rows: Sequence[Values]) -> None:
        for values in rows:
            await conn.execute(sql, list(values))
            await conn.commit()

    async def commit(self, conn: Any) -> None:
        await conn.commit()

    async def iterate(self, conn: Any, sql: str) -> int:
        count = 0
        async with conn.execute(sql) as cursor:
            async for _ in cursor:
                count += 1
        return count

    async def backup(self, conn: Any, target: Path) -> None:
        copy = await self.open(target)
        await conn.backup(copy)
        await copy.close()


PEERS: dict[str, type[Peer]] = {
    peer.name: peer
    for peer in (Standard, Aiosqlite, Sqlspec, Adbc, Apsw, Rapsqlite, Turso, Looplite)
}
