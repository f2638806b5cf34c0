"""Agents' sessions: the store, and a session service on it. Needs nothing but looplite.

python examples/python/adk_store.py
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.adapters.aiosqlite.adk import AiosqliteADKStore
from looplite.extensions.adk import EventRecord, SQLSpecSessionService


async def records(store: AiosqliteADKStore) -> None:
    await store.create_tables()
    await store.create_session("s1", "weather", "ann", {"city": "Oslo"}, owner_id=7)
    event: EventRecord = {
        "id": "e1",
        "session_id": "s1",
        "app_name": "weather",
        "user_id": "ann",
        "invocation_id": "i1",
        "author": "user",
        "actions": b"{}",
        "timestamp": datetime.now(timezone.utc),
        "content": {"parts": [{"text": "Do I need an umbrella?"}]},
    }
    await store.append_event(event)
    try:
        await store.append_events([{**event, "id": "e2"}, {**event, "id": "e1"}])
    except sqlite3.IntegrityError as error:
        print(error)
    print([one["id"] for one in await store.get_events("s1")])


async def sessions(service: Any) -> None:
    session = await service.get_session(app_name="weather", user_id="ann", session_id="s1")
    answer: Any = {
        "author": "agent",
        "invocation_id": "i1",
        "content": {"parts": [{"text": "No: it is dry in Oslo."}]},
        "actions": {"state_delta": {"asked": 1, "user:name": "Ann", "temp:note": "not kept"}},
    }
    if hasattr(type(session), "model_fields"):  # google-adk is installed: events are its own
        from google.adk.events import Event

        answer = Event.model_validate(answer)
    await service.append_event(session, answer)
    print(session.state)

    again = await service.get_session(app_name="weather", user_id="ann", session_id="s1")
    print(again["id"], again.state, len(again.events))
    try:
        session._storage_update_marker = None
        session.last_update_time = 0.0
        session.events.pop()
        await service.append_event(session, answer)
    except ValueError as error:
        print(error)
    other = await service.create_session(app_name="weather", user_id="ann")
    print(other.state)


async def main(folder: str) -> None:
    config = AiosqliteConfig(
        connection_config={"database": Path(folder) / "agents.db"},
        extension_config={"adk": {"owner_id_column": "account INTEGER"}},
    )
    store = AiosqliteADKStore(config)
    await records(store)
    await sessions(SQLSpecSessionService(store))
    await config.close_pool()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(folder))
