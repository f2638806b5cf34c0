"""The session service where google-adk is not installed: run by test_service.py in a process of
its own.
"""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

for name in ("google.adk", "google"):
    sys.modules[name] = None  # type: ignore[assignment]

from adk.standin import Config  # noqa: E402
from looplite.adapters.aiosqlite.adk import AiosqliteADKStore  # noqa: E402
from looplite.extensions.adk import SQLSpecSessionService  # noqa: E402


async def main(path: str) -> None:
    async with Config(path) as config:
        service = SQLSpecSessionService(AiosqliteADKStore(config))
        key: dict[str, Any] = {"app_name": "app", "user_id": "ann"}
        made = await service.create_session(**key, state={"a": 1, "app:b": 2, "temp:c": 3})
        assert made["id"] == made.id
        assert made["state"] == {"a": 1, "app:b": 2}
        event = {"author": "user", "content": {"parts": [{"text": "hi"}]}, "invocation_id": "i",
                 "actions": {"state_delta": {"a": 2, "user:d": 4, "temp:e": 5}}}  # fmt: skip
        appended = await service.append_event(made, event)
        assert appended is made.events[0]
        assert appended["id"]
        assert made.state == {"a": 2, "app:b": 2, "user:d": 4, "temp:e": 5}
        got = await service.get_session(**key, session_id=made.id)
        assert got.state == {"a": 2, "app:b": 2, "user:d": 4}
        assert got.events[0]["content"] == event["content"]
        assert got.events[0]["actions"] == {"state_delta": {"a": 2, "user:d": 4}}
        assert got.events[0]["timestamp"] == event["timestamp"]
        config_ = SimpleNamespace(num_recent_events=0, after_timestamp=None)
        assert (await service.get_session(**key, session_id=made.id, config=config_)).events == []
        await service.append_event(got, {"author": "x", "invocation_id": "i"})
        try:
            await service.append_event(made, {"author": "x", "invocation_id": "i"})
        except ValueError as error:
            assert "changed by somebody else" in str(error)  # noqa: PT017 - no pytest here
        else:
            raise AssertionError("it is stale")
        listed = (await service.list_sessions(app_name="app")).sessions
        assert [one["id"] for one in listed] == [made.id]
        assert await service.get_user_state(**key) == {"d": 4}
        await service.delete_session(**key, session_id=made.id)
        assert await service.get_session(**key, session_id=made.id) is None
        assert await service.append_event(made, {"partial": True}) == {"partial": True}


asyncio.run(main(sys.argv[1]))
print("fine")
