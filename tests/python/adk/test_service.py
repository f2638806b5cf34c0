"""`SQLSpecSessionService`: on the current google-adk, without it, on old rows, beside SQLSpec."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import pickle
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from adk.by_hand import COLUMNS_SCHEMA, DOCUMENT_SCHEMA, Store
from adk.standin import Config
from looplite.adapters.aiosqlite.adk import AiosqliteADKStore

HERE = Path(__file__).parent

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # google-adk's own
    try:
        import google.adk.sessions as adk_sessions
        from google.adk.errors.already_exists_error import AlreadyExistsError
        from google.adk.events.event import Event
        from google.adk.events.event_actions import EventActions
        from google.adk.sessions.base_session_service import GetSessionConfig
        from google.genai import types
    except ImportError:
        adk_sessions: Any = None  # type: ignore[no-redef]
    from looplite.extensions.adk import SQLSpecSessionService

needs_adk = pytest.mark.skipif(adk_sessions is None, reason="google-adk is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")

KEY: dict[str, Any] = {"app_name": "app", "user_id": "ann"}


def program(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(HERE / name), *arguments],
        env={**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_google_adk(tmp_path: Path) -> None:
    assert program("plain_calls.py", str(tmp_path / "a.db")) == "fine\n"


@needs_adk
def test_a_runner_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    assert program("talk.py", path, "s1", "one", "two").splitlines() == [
        "You said 1, I counted 1.",
        "You said 2, I counted 2.",
        "[('app:count', 2), ('count', 2), ('user:count', 2)]",
        "8 events",
    ]
    assert program("talk.py", path, "s1", "three").splitlines() == [
        "You said 3, I counted 3.",
        "[('app:count', 3), ('count', 3), ('user:count', 3)]",
        "12 events",
    ]
    assert program("talk.py", path, "s2", "one").splitlines()[-2:] == [
        "[('app:count', 4), ('count', 1), ('user:count', 1)]",
        "4 events",
    ]


# ---- google-adk's sessions, in each layout -------------------------------------------------------


@pytest.fixture(params=["columns", "document", "older", "newer"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    path = tmp_path / "a.db"
    if request.param in ("older", "newer"):
        db = sqlite3.connect(path)
        db.executescript(COLUMNS_SCHEMA if request.param == "older" else DOCUMENT_SCHEMA)
        db.close()
        return path, {}
    return path, {"layout": request.param}


def run(database: tuple[Path, dict[str, Any]], body: Callable[[Any], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Config(*database) as config:
            await body(SQLSpecSessionService(AiosqliteADKStore(config)))

    asyncio.run(main())


def an_event(**more: Any) -> Any:
    return Event(**{"author": "agent", "invocation_id": "i1", "id": Event.new_id(), **more})


@needs_adk
def test_everything_of_an_event_comes_back(database: tuple[Path, dict[str, Any]]) -> None:
    async def body(service: Any) -> None:
        assert isinstance(service, adk_sessions.BaseSessionService)
        session = await service.create_session(**KEY, session_id="s1")
        assert isinstance(session, adk_sessions.Session)
        assert session.id == session["id"] == "s1"
        with pytest.raises(KeyError):
            session["model_config"]
        event = an_event(
            content=types.Content(
                role="model",
                parts=[
                    types.Part(text="h\u00e9llo"),
                    types.Part(inline_data=types.Blob(data=bytes(range(256)), mime_type="x/y")),
                    types.Part(function_call=types.FunctionCall(name="f", args={"a": [1, None]})),
                ],
            ),
            actions=EventActions(
                state_delta={"a": 1, "timestamp": 5}, artifact_delta={"f": 1}, escalate=True
            ),
            branch="a.b",
            long_running_tool_ids={"x"},
            turn_complete=True,
            interrupted=False,
            error_code="E",
            error_message="it's",
            custom_metadata={"k": "v"},
            grounding_metadata=types.GroundingMetadata(web_search_queries=["q"]),
            usage_metadata=types.GenerateContentResponseUsageMetadata(total_token_count=3),
            finish_reason=types.FinishReason.STOP,
            timestamp=1795610096.123457,
        )
        assert await service.append_event(session, event) is event
        got = await service.get_session(**KEY, session_id="s1")
        assert got.events == [event]
        assert type(got.events[0]) is Event
        assert type(got.events[0].actions) is EventActions
        assert got.events[0].timestamp == 1795610096.123457
        assert got.state == session.state == {"a": 1, "timestamp": 5}
        assert got.last_update_time == session.last_update_time

    run(database, body)


@needs_adk
def test_state_and_its_prefixes(database: tuple[Path, dict[str, Any]]) -> None:
    async def body(service: Any) -> None:
        state = {"mine": 1, "app:a": 1, "user:u": 1, "temp:t": 1}
        one = await service.create_session(**KEY, state=state, session_id="s1")
        assert one.state == {"mine": 1, "app:a": 1, "user:u": 1}
        two = await service.create_session(app_name="app", user_id="bob", session_id="s2")
        assert two.state == {"app:a": 1}
        delta = {"app:a": 2, "user:u": {"x": None}, "temp:t": 2, "mine": None}
        event = an_event(actions=EventActions(state_delta=dict(delta)))
        await service.append_event(one, event)
        assert one.state == {"mine": None, "app:a": 2, "user:u": {"x": None}, "temp:t": 2}
        assert "temp:t" not in event.actions.state_delta
        got = await service.get_session(**KEY, session_id="s1")
        assert got.state == {"mine": None, "app:a": 2, "user:u": {"x": None}}
        assert await service.get_user_state(**KEY) == {"u": {"x": None}}
        assert await service.get_user_state(app_name="app", user_id="eve") == {}
        other = await service.get_session(app_name="app", user_id="bob", session_id="s2")
        assert other.state == {"app:a": 2}
        listed = (await service.list_sessions(app_name="app")).sessions
        assert [(s.id, s.state, s.events) for s in listed] == [
            (s.id, s.state, []) for s in sorted((got, other), key=lambda s: s.last_update_time)
        ]
        mine = (await service.list_sessions(app_name="app", user_id="bob")).sessions
        assert [s.id for s in mine] == ["s2"]
        assert await service.get_session(app_name="app", user_id="bob", session_id="s1") is None
        await service.delete_session(app_name="app", user_id="bob", session_id="s1")
        assert await service.get_session(**KEY, session_id="s1") is not None
        await service.delete_session(**KEY, session_id="s1")
        assert await service.get_session(**KEY, session_id="s1") is None
        with pytest.raises(AlreadyExistsError, match="s2 already exists"):
            await service.create_session(**KEY, session_id="s2")

    run(database, body)


@needs_adk
def test_stale_sessions(database: tuple[Path, dict[str, Any]]) -> None:
    from google.adk.errors._stale_session_error import StaleSessionError
    from google.adk.errors.session_not_found_error import SessionNotFoundError

    async def body(service: Any) -> None:
        for turn in range(40):  # an append right after a create is never stale
            session = await service.create_session(**KEY, session_id=f"n{turn}")
            await service.append_event(session, an_event())
            await service.append_event(session, an_event())
        one = await service.create_session(**KEY, session_id="s1")
        two = await service.get_session(**KEY, session_id="s1")
        now = time.time()
        await service.append_event(one, an_event(timestamp=now))
        with pytest.raises(StaleSessionError, match="changed by somebody else"):
            await service.append_event(two, an_event(timestamp=now))
        assert two.events == []
        two = await service.get_session(**KEY, session_id="s1")
        await service.append_event(two, an_event(timestamp=now))  # at the very same time
        with pytest.raises(StaleSessionError):
            await service.append_event(one, an_event(timestamp=now))
        two.last_update_time = 0.0  # the mark counts, not the time
        await service.append_event(two, an_event(timestamp=now - 1000))
        stored = await service.get_session(**KEY, session_id="s1")
        assert stored.last_update_time == two.last_update_time
        # made by hand: no mark
        plain = adk_sessions.Session(id="s1", **KEY, events=list(stored.events))
        await service.append_event(plain, an_event())
        plain = adk_sessions.Session(id="s1", **KEY, events=stored.events[:1])
        with pytest.raises(StaleSessionError):
            await service.append_event(plain, an_event())
        empty = await service.create_session(**KEY, session_id="s2")
        await service.append_event(adk_sessions.Session(id="s2", **KEY), an_event())
        with pytest.raises(StaleSessionError):
            await service.append_event(empty, an_event())
        await service.delete_session(**KEY, session_id="s1")
        with pytest.raises(SessionNotFoundError):
            await service.append_event(plain, an_event())
        partial = an_event(partial=True)
        assert await service.append_event(plain, partial) is partial

    run(database, body)


@needs_adk
def test_which_events_are_loaded(database: tuple[Path, dict[str, Any]]) -> None:
    async def body(service: Any) -> None:
        session = await service.create_session(**KEY, session_id="s1")
        start = 1795610000.0
        for n in range(5):
            await service.append_event(session, an_event(id=str(n), timestamp=start + n))

        async def ids(**config: Any) -> list[str]:
            got = await service.get_session(
                **KEY, session_id="s1", config=GetSessionConfig(**config)
            )
            return [one.id for one in got.events]

        assert await ids() == ["0", "1", "2", "3", "4"]
        assert await ids(num_recent_events=2) == ["3", "4"]
        assert await ids(num_recent_events=0) == []
        assert await ids(after_timestamp=start + 3) == ["3", "4"]
        assert await ids(after_timestamp=start + 1, num_recent_events=1) == ["4"]

    run(database, body)


@needs_adk
def test_one_session_from_many_tasks(tmp_path: Path) -> None:
    async def body(service: Any) -> None:
        await service.create_session(**KEY, session_id="s1")

        async def add(n: int) -> None:
            while True:
                session = await service.get_session(**KEY, session_id="s1")
                delta = {f"k{n}": n, "app:all": session.state.get("app:all", 0) + 1}
                try:
                    await service.append_event(
                        session, an_event(actions=EventActions(state_delta=delta))
                    )
                    return
                except ValueError:
                    continue

        await asyncio.gather(*(add(n) for n in range(12)))
        session = await service.get_session(**KEY, session_id="s1")
        assert session.state == {**{f"k{n}": n for n in range(12)}, "app:all": 12}
        assert len(session.events) == 12

    run((tmp_path / "a.db", {}), body)


# ---- rows of others ------------------------------------------------------------------------------


def old_row(path: Path, actions: bytes) -> None:
    hand = Store(path)
    hand.db.executescript(COLUMNS_SCHEMA)
    made = hand.create_session("s1", "app", "ann", {"a": 1, "app:old": 2})
    hand.append_event(
        {
            "id": "e1",
            "session_id": "s1",
            "app_name": "app",
            "user_id": "ann",
            "invocation_id": "i1",
            "author": "agent",
            "actions": actions,
            "timestamp": made["create_time"],
            "content": {"parts": [{"text": "hi"}]},
            "long_running_tool_ids_json": '["x"]',
        }
    )
    hand.db.close()


@needs_adk
def test_pickles_of_old_rows(tmp_path: Path) -> None:
    actions = EventActions(state_delta={"a": 1, "b": [1, {"c": 2}]}, artifact_delta={"f": 1})
    old_row(tmp_path / "a.db", pickle.dumps(actions))

    async def body(service: Any) -> None:
        session = await service.get_session(**KEY, session_id="s1")
        assert session.state == {"a": 1, "app:old": 2}
        (event,) = session.events
        assert event.actions == actions
        assert event.content.parts[0].text == "hi"
        assert event.long_running_tool_ids == {"x"}
        await service.append_event(session, an_event())
        assert len((await service.get_session(**KEY, session_id="s1")).events) == 2

    run((tmp_path / "a.db", {}), body)


class _Evil:
    def __reduce__(self) -> Any:
        return os.system, ("exit 1",)


class _Model:
    """google-adk has functions, too."""

    def __reduce__(self) -> Any:
        from google.adk.sessions import database_session_service as module

        return module._merge_state, ({}, {}, {})


@needs_adk
@pytest.mark.parametrize(
    ("value", "what"),
    [(_Evil(), r"posix\.system"), (_Model(), "_merge_state"), ({"a": 1}, "a pickled dict")],
)
def test_pickles_that_are_no_actions(tmp_path: Path, value: Any, what: str) -> None:
    old_row(tmp_path / "a.db", pickle.dumps(value))

    async def body(service: Any) -> None:
        with pytest.raises(pickle.UnpicklingError, match=what):
            await service.get_session(**KEY, session_id="s1")

    run((tmp_path / "a.db", {}), body)


@needs_adk
@pytest.mark.parametrize("actions", [b"", b"{}", json.dumps({"state_delta": {"a": 1}}).encode()])
def test_actions_as_json(tmp_path: Path, actions: bytes) -> None:
    old_row(tmp_path / "a.db", actions)

    async def body(service: Any) -> None:
        (event,) = (await service.get_session(**KEY, session_id="s1")).events
        assert event.actions.state_delta == (json.loads(actions or b"{}").get("state_delta") or {})
        assert event.id == "e1"

    run((tmp_path / "a.db", {}), body)


@needs_adk
def test_a_cancelled_append_is_whole_or_absent(tmp_path: Path) -> None:
    """At whatever turn of the loop it is cancelled; nothing stays open or leased."""

    async def main() -> None:
        from looplite.adapters.aiosqlite import AiosqliteConfig

        config = AiosqliteConfig(
            connection_config={
                "database": tmp_path / "a.db",
                "pool_size": 1,
                "connect_timeout": 9.0,
            }
        )
        store = AiosqliteADKStore(config)
        await store.create_tables()
        service = SQLSpecSessionService(store)
        await service.create_session(**KEY, session_id="s1")
        cancelled = 0
        for turns in range(60):
            session = await service.get_session(**KEY, session_id="s1")
            before = len(session.events)
            delta = {"n": turns, "app:n": turns, "user:n": turns}
            event = an_event(actions=EventActions(state_delta=delta))
            task = asyncio.ensure_future(service.append_event(session, event))
            for _ in range(turns % 20):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            cancelled += task.cancelled()
            assert config.stats()["leased"] == 0
            got = await service.get_session(**KEY, session_id="s1")
            stored = len(got.events) == before + 1
            assert stored or len(got.events) == before
            assert stored or task.cancelled()
            assert (got.last_update_time > session.last_update_time) is (
                stored and task.cancelled()
            )
            assert (got.state == delta) is stored
            reading = asyncio.ensure_future(service.get_session(**KEY, session_id="s1"))
            for _ in range(turns % 7):
                await asyncio.sleep(0)
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            assert config.stats()["leased"] == 0
        assert cancelled
        await service.append_event(got, an_event())
        await config.close_pool()

    asyncio.run(main())


# ---- SQLSpec itself ------------------------------------------------------------------------------

PEERS = Path(sys.prefix) / "peers"
VERSIONS = [
    version for version in ("0.32", "0.62", "0.69") if (PEERS / f"sqlspec-{version}").exists()
]


def sqlspec(version: str, step: str, path: Path) -> list[Any]:
    done = subprocess.run(
        [sys.executable, str(HERE / "peer.py"), step, str(path)],
        env={
            **os.environ,
            "PYTHONPATH": str(PEERS / f"sqlspec-{version}"),
            "PYTHONWARNINGS": "ignore",
        },
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    answer: list[Any] = json.loads(done.stdout)
    return answer


@needs_adk
@pytest.mark.skipif(not VERSIONS, reason="tools/venv.sh adk has installed no SQLSpec")
@pytest.mark.parametrize("version", VERSIONS)
def test_databases_of_sqlspec(tmp_path: Path, version: str) -> None:
    path = tmp_path / "a.db"
    image = base64.b64encode(bytes(range(9))).decode()
    assert sqlspec(version, "make", path) == ["s1", {"n": 1, "app:a": 2, "user:u": 3}, ["hi"]]

    async def body(service: Any) -> None:
        session = await service.get_session(**KEY, session_id="s1")
        assert session.state == {"n": 1, "app:a": 2, "user:u": 3}
        assert [one.content.parts[0].text for one in session.events] == ["hi"]
        blob = types.Part(inline_data=types.Blob(data=base64.b64decode(image), mime_type="x/y"))
        content = types.Content(role="model", parts=[types.Part(text="ho"), blob])
        delta = {"n": 2, "app:a": 4}
        await service.append_event(
            session, an_event(content=content, actions=EventActions(state_delta=delta))
        )
        got = await service.get_session(**KEY, session_id="s1")
        assert got.events[1].content == content
        assert got.state == {"n": 2, "app:a": 4, "user:u": 3}
        await service.create_session(**KEY, session_id="s2", state={"m": 1})

    run((path, {}), body)
    # 0.32's service wants pickles, which are not written any more; its store reads all rows.
    assert sqlspec(version, "read", path) == ["s1", ["hi", "ho"], ["s1", "s2"]]
