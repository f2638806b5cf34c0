"""`looplite.extensions.litestar.AiosqliteStore`. Nothing waits for a time to pass: what is to have
expired is set back in the table."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("litestar")

from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.adapters.aiosqlite import litestar as where_sqlspec_has_it
from looplite.exceptions import ImproperConfigurationError
from looplite.extensions.litestar import AiosqliteStore


def run_store(
    path: Path, main: Callable[[AiosqliteStore], Awaitable[None]], **settings: Any
) -> None:
    async def whole() -> None:
        config = AiosqliteConfig(
            connection_config={"database": path}, extension_config={"litestar": settings}
        )
        try:
            await main(AiosqliteStore(config))
        finally:
            await config.close_pool()

    asyncio.run(whole())


def pass_time(path: Path, seconds: float, table: str = "litestar_session") -> None:
    """What is stored has been there for so long."""
    db = sqlite3.connect(path)
    db.execute(f"UPDATE {table} SET expires_at = expires_at - ? / 86400.0", (seconds,))
    db.commit()
    db.close()


def test_values(path: Path) -> None:
    async def main(store: AiosqliteStore) -> None:
        assert await store.get("a") is None
        assert not await store.exists("a")
        await store.set("a", b"\x00\xff")
        await store.set("b", '{"text": "kept as it is"}')
        await store.set("c", b"")
        assert await store.get("a") == b"\x00\xff"
        assert await store.get("b") == b'{"text": "kept as it is"}'
        assert await store.get("c") == b""
        assert await store.exists("c")
        assert await store.expires_in("a") is None
        await store.set("a", b"other", expires_in=60)
        assert await store.get("a") == b"other"
        await store.delete("a")
        await store.delete("a")
        assert await store.get("a") is None
        await store.delete_all()
        assert await store.get("b") is None

    run_store(path, main)


@pytest.mark.parametrize("time", [100, timedelta(seconds=100)], ids=["int", "timedelta"])
def test_time_to_live(path: Path, time: Any) -> None:
    async def main(store: AiosqliteStore) -> None:
        await store.set("a", b"1", expires_in=time)
        await store.set("stays", b"2")
        assert await store.expires_in("a") in (99, 100)
        pass_time(path, 50)
        assert await store.expires_in("a") in (49, 50)
        assert await store.get("a") == b"1"
        assert await store.expires_in("a") in (49, 50)
        assert await store.get("a", renew_for=time) == b"1"
        assert await store.expires_in("a") in (99, 100)
        assert await store.get("stays", renew_for=time) == b"2"
        assert await store.expires_in("stays") is None
        pass_time(path, 101)
        assert await store.get("a", renew_for=time) is None  # too late
        assert not await store.exists("a")
        assert await store.expires_in("a") is None
        assert await store.delete_expired() == 1
        assert await store.delete_expired() == 0
        assert await store.get("stays") == b"2"

    run_store(path, main)


def test_namespaces(path: Path) -> None:
    async def main(root: AiosqliteStore) -> None:
        one, other = root.with_namespace("one"), root.with_namespace("on")
        inner = one.with_namespace("inner")
        stores = [root, one, other, inner]
        assert [s.namespace for s in stores] == ["", "one", "on", "one.inner"]
        for number, store in enumerate(stores):
            await store.set("k", str(number))
        assert [await s.get("k") for s in stores] == [b"0", b"1", b"2", b"3"]
        await one.delete_all()
        assert [await s.get("k") for s in stores] == [b"0", None, b"2", None]
        await root.delete_all()
        assert [await s.get("k") for s in stores] == [None] * 4
        for wrong in (root.get, root.delete, root.exists):
            with pytest.raises(ValueError, match="must not have the character"):
                await wrong("\x1fone\x1fk")
        with pytest.raises(ValueError, match="must not have the character"):
            root.with_namespace("a\x1fb")

    run_store(path, main)


def test_name_of_the_table(path: Path) -> None:
    async def main(store: AiosqliteStore) -> None:
        assert store.table_name == "cookie"
        await store.create_table()
        await store.create_table()
        await store.set("a", b"1", 10)
        pass_time(path, 11, "cookie")
        assert await store.get("a") is None

    run_store(path, main, session_table="cookie")


@pytest.mark.parametrize("name", ["a b", "x; DROP TABLE y", "", False, 5, 'a"b', "1a"])
def test_wrong_names(name: Any) -> None:
    config = AiosqliteConfig(extension_config={"litestar": {"session_table": name}})
    with pytest.raises(ImproperConfigurationError, match=r"session_table.*must be a name, or True"):
        AiosqliteStore(config)


def test_default_name_and_place() -> None:
    config = AiosqliteConfig(extension_config={"litestar": {"session_table": True}})
    assert AiosqliteStore(config).table_name == "litestar_session"
    assert where_sqlspec_has_it.AiosqliteStore is AiosqliteStore
    with pytest.raises(ImproperConfigurationError, match="must be an AiosqliteConfig, not 5"):
        AiosqliteStore(5)  # type: ignore[arg-type]


def test_database_in_memory_that_ends_with_its_pool() -> None:
    async def main() -> None:
        config = AiosqliteConfig()
        store = AiosqliteStore(config)
        for _ in range(2):
            assert await store.get("a") is None
            await store.set("a", b"1")
            assert await store.get("a") == b"1"
            await config.close_pool()

    asyncio.run(main())


def test_table_that_sqlspec_made(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute(
        "CREATE TABLE litestar_session(session_id TEXT PRIMARY KEY, data BLOB NOT NULL,"
        " expires_at REAL)"
    )
    db.execute("INSERT INTO litestar_session VALUES ('a', x'31', julianday('now') + 1)")
    db.execute("INSERT INTO litestar_session VALUES ('b', x'31', julianday('now') - 1)")
    db.commit()
    db.close()

    async def main(store: AiosqliteStore) -> None:
        assert [await store.get(key) for key in "ab"] == [b"1", None]

    run_store(path, main)


def test_many_at_once(path: Path) -> None:
    async def main(store: AiosqliteStore) -> None:
        await asyncio.gather(*(store.set(f"k{i % 50}", str(i)) for i in range(200)))
        values = await asyncio.gather(*(store.get(f"k{i}") for i in range(50)))
        assert [int(v or b"-1") % 50 for v in values] == list(range(50))

    run_store(path, main)
