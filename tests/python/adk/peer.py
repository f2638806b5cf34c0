"""SQLSpec's own ADK store, whichever version is on the path: run by test_service.py in a process
of its own.

python peer.py make FILE    makes a database with a session and an event, by its session service
python peer.py read FILE    reads it, by its store
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from google.adk.events.event import Event
from google.genai import types
from sqlspec.adapters.aiosqlite import AiosqliteConfig
from sqlspec.adapters.aiosqlite.adk import AiosqliteADKStore
from sqlspec.extensions.adk import SQLSpecSessionService

KEY: dict[str, Any] = {"app_name": "app", "user_id": "ann"}


def config_of(path: str) -> Any:
    settings = {"database": path}
    try:
        return AiosqliteConfig(connection_config=settings)
    except TypeError:
        return AiosqliteConfig(pool_config=settings)


async def make(store: Any) -> list[Any]:
    await store.create_tables()
    service = SQLSpecSessionService(store)
    state = {"n": 1, "app:a": 2, "user:u": 3}
    made = await service.create_session(**KEY, session_id="s1", state=state)
    content = types.Content(role="user", parts=[types.Part(text="hi")])
    made = await service.get_session(**KEY, session_id="s1")
    made.last_update_time += 1
    event = Event(id="e1", author="user", invocation_id="i1", content=content)
    await service.append_event(made, event)
    got = await service.get_session(**KEY, session_id="s1")
    return [got.id, got.state, [one.content.parts[0].text for one in got.events]]


async def read(store: Any) -> list[Any]:
    key = ("app", "ann", "s1")
    try:
        session, events = await store.get_session(*key), await store.get_events(*key)
    except TypeError:
        session, events = await store.get_session("s1"), await store.get_events("s1")
    contents = [(one.get("event_data") or one)["content"] for one in events]
    sessions = await store.list_sessions("app")
    return [
        session["id"],
        [one["parts"][0]["text"] for one in contents],
        sorted(one["id"] for one in sessions),
    ]


async def main(step: str, path: str) -> None:
    config = config_of(path)
    print(json.dumps(await {"make": make, "read": read}[step](AiosqliteADKStore(config))))
    await config.close_pool()


asyncio.run(main(*sys.argv[1:]))
