"""A Litestar `Store` in a table: server-side sessions, caches, rate limits.

    session_id TEXT PRIMARY KEY | data BLOB | expires_at REAL, a Julian day, or NULL for never

That is the table that SQLSpec makes, and one that is there is used. It is made with the first call.
Each call is one statement, or two, and commits by itself: a store is not part of a request's
transaction. A namespace is a part of the key, between two characters that no key may have.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from litestar.stores.base import NamespacedStore

from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.adapters.aiosqlite._settings import wrong

if TYPE_CHECKING:
    from looplite._core import Pool

DEFAULT_TABLE = "litestar_session"
EDGE = "\x1f"
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)

NOW = "julianday('now')"
ALIVE = f"(expires_at IS NULL OR expires_at > {NOW})"
THEN = f"{NOW} + ? / 86400.0"


def _table_of(config: AiosqliteConfig) -> str:
    name = config.extension_config.get("litestar", {}).get("session_table", DEFAULT_TABLE)
    if name is True:
        return DEFAULT_TABLE
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise wrong("extension_config['litestar']['session_table']", name, "a name, or True")
    return name


def _seconds(value: int | timedelta | None) -> float | None:
    """None for never; so is 0, as in Litestar's own stores."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return seconds or None


class _Table:
    """The table, made once in each pool: a database in memory goes with its pool."""

    __slots__ = ("_made_in", "config", "name")

    def __init__(self, config: AiosqliteConfig) -> None:
        self.config = config
        self.name = _table_of(config)
        self._made_in: Pool | None = None

    async def make(self) -> None:
        pool = await self.config.create_pool()
        if self._made_in is pool:
            return
        async with self.config.provide_session() as session:
            await session.execute(
                f"CREATE TABLE IF NOT EXISTS {self.name}"
                "(session_id TEXT PRIMARY KEY, data BLOB NOT NULL, expires_at REAL)"
            )
            await session.execute(
                f"CREATE INDEX IF NOT EXISTS idx_{self.name}_expires_at"
                f" ON {self.name}(expires_at) WHERE expires_at IS NOT NULL"
            )
        self._made_in = pool

    async def run(self, sql: str, *params: Any) -> Any:
        await self.make()
        async with self.config.provide_session() as session:
            return await session.execute(sql, *params)


class AiosqliteStore(NamespacedStore):
    """`AiosqliteStore(config)`; `with_namespace(name)` for a part of it.

    The table's name is `extension_config["litestar"]["session_table"]`, or "litestar_session".
    """

    __slots__ = ("_prefix", "_table")

    def __init__(self, config: AiosqliteConfig) -> None:
        if not isinstance(config, AiosqliteConfig):
            raise wrong("the configuration of a store", config, "an AiosqliteConfig")
        self._table = _Table(config)
        self._prefix = ""
        self.namespace = ""

    @property
    def config(self) -> AiosqliteConfig:
        """The configuration of its database."""
        return self._table.config

    @property
    def table_name(self) -> str:
        """The table's name."""
        return self._table.name

    def with_namespace(self, namespace: str) -> AiosqliteStore:
        """A store of which the keys are its own; what empties this one empties it too."""
        part = self._checked(namespace)
        store = AiosqliteStore.__new__(type(self))
        store._table = self._table
        store._prefix = f"{self._prefix}{EDGE}{part}{EDGE}"
        store.namespace = f"{self.namespace}.{part}" if self.namespace else part
        return store

    @staticmethod
    def _checked(key: str) -> str:
        if EDGE in key:
            raise ValueError(f"a key or namespace must not have the character {EDGE!r}: {key!r}")
        return key

    def _key(self, key: str) -> str:
        return self._prefix + self._checked(key)

    async def create_table(self) -> None:
        """Makes the table now; else the first call does."""
        await self._table.make()

    async def set(
        self, key: str, value: str | bytes, expires_in: int | timedelta | None = None
    ) -> None:
        """Stores a value, for some seconds or for good."""
        data = value.encode() if isinstance(value, str) else bytes(value)
        await self._table.run(
            f"INSERT INTO {self.table_name} VALUES (?, ?, {THEN})"
            " ON CONFLICT(session_id) DO UPDATE"
            " SET data = excluded.data, expires_at = excluded.expires_at",
            self._key(key),
            data,
            _seconds(expires_in),
        )

    async def get(self, key: str, renew_for: int | timedelta | None = None) -> bytes | None:
        """A value, or None; one that has a time to live then has it anew if `renew_for` is
        given."""
        name, seconds = self._key(key), _seconds(renew_for)
        if seconds is not None:
            await self._table.run(
                f"UPDATE {self.table_name} SET expires_at = {THEN}"
                f" WHERE session_id = ? AND expires_at > {NOW}",
                seconds,
                name,
            )
        found = await self._table.run(
            f"SELECT data FROM {self.table_name} WHERE session_id = ? AND {ALIVE}", name
        )
        data: bytes | None = found.scalar_or_none()
        return data

    async def delete(self, key: str) -> None:
        """Deletes a value; nothing if there is none."""
        await self._table.run(f"DELETE FROM {self.table_name} WHERE session_id = ?", self._key(key))

    async def delete_all(self) -> None:
        """Deletes all values of this store, and of its namespaces."""
        await self._table.run(
            f"DELETE FROM {self.table_name} WHERE substr(session_id, 1, length(?1)) = ?1",
            self._prefix,
        )

    async def delete_expired(self) -> int:
        """Deletes what has expired, in all namespaces; how many that were. Nothing else does so:
        call it now and then."""
        done = await self._table.run(f"DELETE FROM {self.table_name} WHERE expires_at <= {NOW}")
        return int(done.rows_affected)

    async def exists(self, key: str) -> bool:
        """Whether there is such a value."""
        found = await self._table.run(
            f"SELECT 1 FROM {self.table_name} WHERE session_id = ? AND {ALIVE}", self._key(key)
        )
        return found.scalar_or_none() is not None

    async def expires_in(self, key: str) -> int | None:
        """The seconds that a value has left; None if there is none, or it stays."""
        found = await self._table.run(
            f"SELECT CAST(round((expires_at - {NOW}) * 86400.0) AS INT) FROM {self.table_name}"
            f" WHERE session_id = ? AND {ALIVE}",
            self._key(key),
        )
        left: int | None = found.scalar_or_none()
        return left
