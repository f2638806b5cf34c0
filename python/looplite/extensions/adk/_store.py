"""The interface of a store: what `SQLSpecSessionService` and programs call.

The methods up to `get_events` are those of SQLSpec. The four at the end serve the session
service: each is one transaction, so that what is read belongs together and what is written is
whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from looplite.extensions.adk._types import EventRecord, SessionRecord

ConfigT = TypeVar("ConfigT")

#: The keys of extension_config["adk"], and the type of each.
_KEYS = {
    "session_table": "the name of a table",
    "events_table": "the name of a table",
    "app_state_table": "the name of a table",
    "user_state_table": "the name of a table",
    "owner_id_column": "the definition of a column",
    "layout": '"columns" or "document"',
}


class SessionMissingError(LookupError):
    """There is no such session."""


class StaleError(ValueError):
    """The session was changed by somebody else since it was loaded."""


class Conversation(NamedTuple):
    """A session as the service needs it: the three states apart, its events as a JSON array."""

    record: SessionRecord
    app_state: dict[str, Any]
    user_state: dict[str, Any]
    events: bytes


class Deltas(NamedTuple):
    """What an event or a new session changes in the states, by whom they are shared."""

    app: dict[str, Any]
    user: dict[str, Any]
    session: dict[str, Any]


class Seen(NamedTuple):
    """What a session looked like to whoever appends to it."""

    marker: str | None
    update_time: float
    last_event: str | None


class BaseAsyncADKStore(ABC, Generic[ConfigT]):
    """Sessions and events in two tables of the database that `config` leads to.

    Settings come from ``config.extension_config["adk"]``: `session_table`, `events_table`,
    `app_state_table`, `user_state_table`, `owner_id_column` (one more column of the sessions,
    as CREATE TABLE has it) and `layout` (``"columns"`` or ``"document"``: how the events' table
    is made if there is none).
    """

    def __init__(
        self, config: ConfigT, session_table: str | None = None, events_table: str | None = None
    ) -> None:
        extensions = getattr(config, "extension_config", None) or {}
        settings: Mapping[str, Any] = extensions.get("adk") or {}
        for key, value in settings.items():
            if key not in _KEYS:
                raise ValueError(
                    f'extension_config["adk"]: unknown key {key!r}; the keys are {", ".join(_KEYS)}'
                )
            if value is not None and not isinstance(value, str):
                raise TypeError(
                    f'extension_config["adk"]: {key} must be {_KEYS[key]}, not {value!r}'
                )
        for key, value in (
            *settings.items(),
            ("session_table", session_table),
            ("events_table", events_table),
        ):
            if isinstance(value, str) and "\0" in value:
                raise ValueError(f"{key} has a null character: {value!r}")
        layout = settings.get("layout")
        if layout not in (None, "columns", "document"):
            raise ValueError(
                f'extension_config["adk"]: layout must be {_KEYS["layout"]}, not {layout!r}'
            )
        self._config = config
        self._layout: str | None = layout
        self._named = (
            session_table
            or events_table
            or settings.keys()
            & {
                "session_table",
                "events_table",
            }
        )
        self._session_table: str = session_table or settings.get("session_table") or "adk_sessions"
        self._events_table: str = events_table or settings.get("events_table") or "adk_events"
        self._app_state_table: str | None = settings.get("app_state_table")
        self._user_state_table: str | None = settings.get("user_state_table")
        self._owner_id_column_ddl: str | None = settings.get("owner_id_column")

    @property
    def config(self) -> ConfigT:
        """The configuration."""
        return self._config

    @property
    def session_table(self) -> str:
        """The name of the table of sessions."""
        return self._session_table

    @property
    def events_table(self) -> str:
        """The name of the table of events."""
        return self._events_table

    @property
    def owner_id_column_ddl(self) -> str | None:
        """The definition of the owner's column, if there is one."""
        return self._owner_id_column_ddl

    @property
    @abstractmethod
    def owner_id_column_name(self) -> str | None:
        """The name of the owner's column, if there is one."""

    @abstractmethod
    async def create_tables(self) -> None:
        """Creates what does not exist."""

    @abstractmethod
    async def create_session(
        self,
        session_id: str,
        app_name: str,
        user_id: str,
        state: dict[str, Any],
        owner_id: Any = None,
    ) -> SessionRecord:
        """Creates a session. `IntegrityError`: the id exists."""

    @abstractmethod
    async def get_session(self, *key: str, **names: str) -> SessionRecord | None:
        """A session, by its id, or by app, user and id."""

    @abstractmethod
    async def update_session_state(self, *key: Any, **names: Any) -> None:
        """Replaces the state of a session: (id, state), or (app, user, id, state)."""

    @abstractmethod
    async def list_sessions(self, app_name: str, user_id: str | None = None) -> list[SessionRecord]:
        """The sessions of an app, or of one of its users; newest update first."""

    @abstractmethod
    async def delete_session(self, *key: str, **names: str) -> None:
        """Deletes a session and its events."""

    @abstractmethod
    async def append_event(self, event_record: EventRecord) -> None:
        """Appends an event. `IntegrityError`: its session does not exist, or its id does."""

    @abstractmethod
    async def append_events(self, records: Sequence[EventRecord]) -> None:
        """Appends events, all or none."""

    @abstractmethod
    async def get_events(
        self,
        *key: Any,
        after_timestamp: datetime | None = None,
        limit: int | None = None,
        **names: str,
    ) -> list[EventRecord]:
        """The events of a session, oldest first; those after a time, and of these the oldest
        `limit`.
        """

    # ---- for the session service -----------------------------------------------------------------

    @abstractmethod
    async def begin_conversation(
        self, session_id: str, app_name: str, user_id: str, deltas: Deltas
    ) -> Conversation:
        """Creates a session and changes the states that it shares."""

    @abstractmethod
    async def read_conversation(
        self,
        app_name: str,
        user_id: str,
        session_id: str,
        since: datetime | None,
        limit: int | None,
    ) -> Conversation | None:
        """A session with its events since a time (oldest first), of these the newest `limit`."""

    @abstractmethod
    async def list_conversations(self, app_name: str, user_id: str | None) -> list[Conversation]:
        """All sessions without events, oldest update first."""

    @abstractmethod
    async def append_to_conversation(
        self,
        app_name: str,
        user_id: str,
        session_id: str,
        event: dict[str, Any],
        deltas: Deltas,
        seen: Seen,
    ) -> datetime:
        """Appends an event and changes the states; gives the session's new update time.

        `StaleError`: the session is another one than was seen; `SessionMissingError`: there is
        none.
        """

    @abstractmethod
    async def get_user_state(self, app_name: str, user_id: str) -> dict[str, Any] | None:
        """The state that a user's sessions share."""
