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
