"""`SQLSpecSessionService`: a session service for google-adk on a store.

With google-adk installed it is a `google.adk.sessions.BaseSessionService`: sessions and events
are google-adk's. Without it the same calls work, sessions are objects with the same names, and
events are mappings with an event's JSON keys.

State. A session shows one dict; behind it are three. Keys that begin with ``app:`` are shared
by all sessions of the app, ``user:`` by those of a user, ``temp:`` lives in the session object
alone. The tables of shared state hold the keys with their prefix, as SQLSpec's do.

Stale sessions, as `DatabaseSessionService` has them: a session that was loaded remembers when
it was updated last; an event is appended only if that is still so. One that was made by hand is
stale if it was updated later than it says and its last event is not the last one of the table.
Each update's time is later than the one before, if only by a step of the column's, so two never
look the same.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from importlib import import_module
from typing import Any

from looplite.extensions.adk._events import event_reader
from looplite.extensions.adk._store import (
    BaseAsyncADKStore,
    Conversation,
    Deltas,
    Seen,
    SessionMissingError,
    StaleError,
)

APP, USER, TEMP = "app:", "user:", "temp:"


try:
    from google.adk.events.event import Event
    from google.adk.sessions import BaseSessionService as _Base
    from google.adk.sessions import Session as _Session
    from google.adk.sessions.base_session_service import ListSessionsResponse
except ImportError:
    from looplite.extensions.adk._plain import ListSessionsResponse, Session

    HAS_GOOGLE_ADK = False
    _Base = object
else:
    HAS_GOOGLE_ADK = True

    class Session(_Session):  # type: ignore[misc,no-redef]
        """A session whose parts can be asked for by name, too: ``session["id"]``."""

        def __getitem__(self, name: str) -> Any:
            if name not in type(self).model_fields:
                raise KeyError(name)
            return getattr(self, name)


def _google_error(name: str, default: type[Exception]) -> type[Exception]:
    """An exception of google-adk's, which its servers answer to; else the default."""
    if HAS_GOOGLE_ADK:
        modules = {
            "StaleSessionError": "_stale_session_error",
            "AlreadyExistsError": "already_exists_error",
            "SessionNotFoundError": "session_not_found_error",
        }
        try:
            module = import_module(f"google.adk.errors.{modules[name]}")
            found: type[Exception] = getattr(module, name)
        except (ImportError, AttributeError):
            return default
        return found
    return default


def _split(state: Mapping[str, Any]) -> Deltas:
    """The three states of one, without what is temporary."""
    deltas = Deltas({}, {}, {})
    for key, value in state.items():
        if key.startswith(APP):
            deltas.app[key] = value
        elif key.startswith(USER):
            deltas.user[key] = value
        elif not key.startswith(TEMP):
            deltas.session[key] = value
    return deltas


def _prefixed(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Keys as a session shows them, whether the table has them with their prefix or without."""
    return {key if key.startswith(prefix) else prefix + key: value for key, value in state.items()}


def _plain_json(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state as JSON knows it; google-adk's rules for what it does not know."""
    if not HAS_GOOGLE_ADK:
        return dict(state)
    from pydantic_core import to_jsonable_python

    made: dict[str, Any] = to_jsonable_python(dict(state), fallback=str)
    return made


class SQLSpecSessionService(_Base):  # type: ignore[misc]
    """Sessions of agents in a store: ``Runner(...,
    session_service=SQLSpecSessionService(store))``.
    """

    def __init__(self, store: BaseAsyncADKStore[Any]) -> None:
        self._store = store
        self._read: Callable[[bytes], list[Any]] = (
            event_reader(Event) if HAS_GOOGLE_ADK else json.loads
        )

    @property
    def store(self) -> BaseAsyncADKStore[Any]:
        """The store."""
        return self._store

    def _session(self, conversation: Conversation) -> Any:
        record = conversation.record
        state = dict(record["state"])
        state.update(_prefixed(conversation.app_state, APP))
        state.update(_prefixed(conversation.user_state, USER))
        session = Session(
            id=record["id"],
            app_name=record["app_name"],
            user_id=record["user_id"],
            state=state,
            events=self._read(conversation.events),
            last_update_time=record["update_time"].timestamp(),
        )
        session._storage_update_marker = _marker(record["update_time"])
        return session

    async def create_session(
        self,
        *,
        app_name: str,
        user_id: str,
        state: dict[str, Any] | None = None,
        session_id: str | None = None,
    ) -> Any:
        """Creates a session; without an id it gets a random one."""
        import sqlite3

        if session_id is None:
            session_id = str(uuid.uuid4())
        deltas = _split(_plain_json(state or {}))
        try:
            conversation = await self._store.begin_conversation(
                session_id, app_name, user_id, deltas
            )
        except sqlite3.IntegrityError as error:
            if "UNIQUE" not in str(error):
                raise
            kind = _google_error("AlreadyExistsError", ValueError)
            raise kind(f"Session with id {session_id} already exists.") from error
        return self._session(conversation)

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: Any = None
    ) -> Any:
        """A session with its events, or None; `config`: the newest so many, or since a time."""
        since, limit = None, None
        if config is not None:
            limit = config.num_recent_events
            if config.after_timestamp:
                since = datetime.fromtimestamp(config.after_timestamp, tz=timezone.utc)
        conversation = await self._store.read_conversation(
            app_name, user_id, session_id, since, limit
        )
        return None if conversation is None else self._session(conversation)

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> Any:
        """The sessions of an app, or of one of its users, without events; oldest update first."""
        conversations = await self._store.list_conversations(app_name, user_id)
        return ListSessionsResponse(sessions=[self._session(one) for one in conversations])

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Deletes a session and its events, if it is there."""
        await self._store.delete_session(app_name, user_id, session_id)

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """The state that a user's sessions share, keys without their prefix."""
        state = await self._store.get_user_state(app_name, user_id)
        return {key.removeprefix(USER): value for key, value in (state or {}).items()}

    async def append_event(self, session: Any, event: Any) -> Any:
        """Stores an event, then adds it to the session object. A partial one is only given back."""
        if _part(event, "partial"):
            return event
        actions = _part(event, "actions")
        delta = (_part(actions, "state_delta") if actions else None) or {}
        temporary = {key: value for key, value in delta.items() if key.startswith(TEMP)}
        if temporary:
            session.state.update(temporary)
            delta = {key: value for key, value in delta.items() if key not in temporary}
            if isinstance(actions, dict):
                event["actions"] = {**actions, "state_delta": delta}
            else:
                actions.state_delta = delta
        document = _document(event)
        stored = (document.get("actions") or {}).get("state_delta") or {}
        seen = Seen(
            getattr(session, "_storage_update_marker", None),
            session.last_update_time,
            _part(session.events[-1], "id") if session.events else None,
        )
        try:
            updated = await self._store.append_to_conversation(
                session.app_name, session.user_id, session.id, document, _split(stored), seen
            )
        except SessionMissingError as error:
            kind = _google_error("SessionNotFoundError", ValueError)
            raise kind(f"Session {session.id} not found.") from error
        except StaleError as error:
            raise _google_error("StaleSessionError", ValueError)(str(error)) from None
        session.last_update_time = updated.timestamp()
        session._storage_update_marker = _marker(updated)
        session.state.update(delta)
        session.events.append(event)
        return event


def _marker(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")


def _part(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _document(event: Any) -> dict[str, Any]:
    """An event as its JSON's value."""
    dump = getattr(event, "model_dump", None)
    document: dict[str, Any] = dict(event) if dump is None else dump(mode="json", exclude_none=True)
    if not document.get("id"):
        document["id"] = str(uuid.uuid4())
        if isinstance(event, dict):
            event["id"] = document["id"]
        elif dump is not None:
            event.id = document["id"]
    if document.get("timestamp") is None:
        document["timestamp"] = datetime.now(timezone.utc).timestamp()
        if isinstance(event, dict):
            event["timestamp"] = document["timestamp"]
    return document
