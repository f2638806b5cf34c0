"""The store and the service on an `AiosqliteConfig`: a file, and a database in memory."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from adk.test_store import an_event
from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.adapters.aiosqlite.adk import AiosqliteADKStore
from looplite.extensions.adk import SQLSpecSessionService

pytestmark = pytest.mark.filterwarnings("ignore")  # google-adk's own


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize("where", ["file", "memory"])
def test_on_a_pool(tmp_path: Path, where: str, keys: bool) -> None:
    async def main() -> None:
        settings: dict[str, Any] = {"enable_foreign_keys": keys}
        if where == "file":
            settings["database"] = tmp_path / "a.db"
        config = AiosqliteConfig(
            connection_config=settings,
            extension_config={"adk": {"session_table": "my sessions", "owner_id_column": "o TEXT"}},
        )
        store = AiosqliteADKStore(config)
        await store.create_tables()
        await store.create_session("s1", "app", "ann", {"n": 1}, "me")
        await asyncio.gather(*(store.append_event(an_event(f"e{n}")) for n in range(30)))
        await store.append_events([an_event(f"f{n}") for n in range(30)])
        assert len(await store.get_events("s1")) == 60
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            await store.append_event(an_event("x", "none"))
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            await store.append_events([an_event("x"), an_event("y", "none")])
        assert len(await store.get_events("s1")) == 60
        async with config.provide_session() as session:
            assert await session.select_value('SELECT o FROM "my sessions"') == "me"
        service = SQLSpecSessionService(store)
        made = await service.create_session(app_name="app", user_id="ann", state={"user:u": 1})
        got = await service.get_session(app_name="app", user_id="ann", session_id=made.id)
        assert got.state == {"user:u": 1}
        await store.delete_session("s1")
        assert await store.get_events("s1") == []
        await config.close_pool()

    asyncio.run(main())


@pytest.mark.parametrize("grouped", [False, True])
def test_single_statements_lease_nothing(tmp_path: Path, grouped: bool) -> None:
    """All connections but one are out, and a hundred tasks are served."""

    async def main() -> None:
        config = AiosqliteConfig(
            connection_config={
                "database": tmp_path / "a.db",
                "pool_size": 2,
                "connect_timeout": 30.0,
                "group_commit": grouped,
            }
        )
        store = AiosqliteADKStore(config)
        await store.create_tables()
        async with config.provide_connection():
            before = config.stats()["acquired"]
            await store.create_session("s1", "app", "ann", {})
            await asyncio.gather(*(store.append_event(an_event(f"e{n}")) for n in range(100)))
            await asyncio.gather(*(store.get_events("s1", limit=1) for _ in range(100)))
            assert len(await store.get_events("app", "ann", "s1")) == 100
            await store.update_session_state("s1", {"n": 1})
            await store.update_session_state("app", "bob", "s1", {"n": 2})
            await store.update_session_state("app", "ann", "s1", {"m": 1})
            (record,) = await store.list_sessions("app")
            assert record["state"] == {"m": 1}
            await store.upsert_app_state("app", {"a": 1})
            assert await store.get_app_state("app") == {"a": 1}
            await store.delete_session("app", "bob", "s1")
            assert await store.get_session("s1") is not None
            with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
                await store.append_event(an_event("x", "none"))
            await store.delete_session("app", "ann", "s1")
            assert await store.get_session("s1") is None
            stats = config.stats()
            assert stats["acquired"] == before
            assert stats["exhausted"] == 0
            assert (stats["group_members"] > 50) is grouped
        await config.close_pool()

    asyncio.run(main())


@pytest.mark.parametrize(
    "settings", [{"isolation_level": "DEFERRED"}, {"enable_foreign_keys": False}]
)
def test_where_writes_cannot_be_shared(tmp_path: Path, settings: dict[str, Any]) -> None:
    async def main() -> None:
        config = AiosqliteConfig(connection_config={"database": tmp_path / "a.db", **settings})
        store = AiosqliteADKStore(config)
        await store.create_tables()
        await store.create_session("s1", "app", "ann", {})
        await store.append_event(an_event("e1"))
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            await store.append_event(an_event("x", "none"))
        await config.close_pool()
        with sqlite3.connect(tmp_path / "a.db") as db:
            assert db.execute("SELECT id FROM adk_events").fetchall() == [("e1",)]
        db.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "name", ['x"; DROP TABLE victim; --', "x'); DELETE FROM victim; --", "main.x"]
)
@pytest.mark.parametrize(
    "key", ["session_table", "events_table", "app_state_table", "user_state_table"]
)
def test_a_name_is_a_name_whatever_it_contains(tmp_path: Path, key: str, name: str) -> None:
    async def main() -> None:
        path = tmp_path / "a.db"
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE victim(x)")
            db.execute("INSERT INTO victim VALUES (1)")
        db.close()
        config = AiosqliteConfig(
            connection_config={"database": path}, extension_config={"adk": {key: name}}
        )
        store = AiosqliteADKStore(config)
        await store.create_tables()
        await store.create_session("s1", "app", "ann", {"n": 1})
        await store.append_event(an_event("e1"))
        await store.upsert_app_state("app", {"a": 1})
        await store.upsert_user_state("app", "ann", {"u": 1})
        service = SQLSpecSessionService(store)
        (listed,) = (await service.list_sessions(app_name="app", user_id="ann")).sessions
        assert listed.id == "s1"
        await store.update_session_state("s1", {"n": 2})
        await store.delete_session("s1")
        assert await store.get_events("s1") == []
        await config.close_pool()
        with sqlite3.connect(path) as db:
            assert db.execute("SELECT x FROM victim").fetchall() == [(1,)]
            assert name in [row[0] for row in db.execute("SELECT name FROM sqlite_master")]
        db.close()

    asyncio.run(main())


def test_tables_are_created_all_or_none(tmp_path: Path) -> None:
    async def main() -> None:
        config = AiosqliteConfig(
            connection_config={"database": tmp_path / "a.db"},
            extension_config={"adk": {"events_table": "sqlite_mine"}},
        )
        with pytest.raises(sqlite3.OperationalError, match="reserved"):
            await AiosqliteADKStore(config).create_tables()
        await config.close_pool()
        with sqlite3.connect(tmp_path / "a.db") as db:
            assert db.execute("SELECT name FROM sqlite_master").fetchall() == []
        db.close()

    asyncio.run(main())


def test_tables_are_created_by_many_at_a_time(tmp_path: Path) -> None:
    """As by the workers of a server that all start at once: the owner's column is added once."""

    async def main() -> None:
        with sqlite3.connect(tmp_path / "a.db") as db:
            db.execute("PRAGMA journal_mode = WAL")
        db.close()
        configs = [
            AiosqliteConfig(
                connection_config={"database": tmp_path / "a.db"},
                extension_config={
                    "adk": {"owner_id_column": "account INTEGER"} if with_owner else {}
                },
            )
            for with_owner in (False, True, True, True, True, True)
        ]
        await AiosqliteADKStore(configs[0]).create_tables()
        await asyncio.gather(*(AiosqliteADKStore(one).create_tables() for one in configs))
        await AiosqliteADKStore(configs[1]).create_session("s1", "app", "ann", {}, 7)
        for one in configs:
            await one.close_pool()

    asyncio.run(main())


def test_a_name_that_is_none_is_named() -> None:
    for key in ("session_table", "events_table", "app_state_table", "user_state_table"):
        config = AiosqliteConfig(extension_config={"adk": {key: "a\0b"}})
        with pytest.raises(ValueError, match=f"{key} has a null character"):
            AiosqliteADKStore(config)
