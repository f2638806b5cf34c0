"""The oracle: the store's calls as one writes them by hand on `sqlite3`, from the schema that is
specified.
"""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

COLUMNS_SCHEMA = """
CREATE TABLE adk_sessions(id TEXT PRIMARY KEY, app_name TEXT NOT NULL, user_id TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT '{}', create_time REAL NOT NULL, update_time REAL NOT NULL);
CREATE INDEX idx_adk_sessions_app_user ON adk_sessions(app_name, user_id);
CREATE INDEX idx_adk_sessions_update_time ON adk_sessions(update_time DESC);
CREATE TABLE adk_events(id TEXT PRIMARY KEY, session_id TEXT NOT NULL, app_name TEXT NOT NULL,
    user_id TEXT NOT NULL, invocation_id TEXT NOT NULL, author TEXT NOT NULL, actions BLOB NOT NULL,
    long_running_tool_ids_json TEXT, branch TEXT, timestamp REAL NOT NULL, content TEXT,
    grounding_metadata TEXT, custom_metadata TEXT, partial INTEGER, turn_complete INTEGER,
    interrupted INTEGER, error_code TEXT, error_message TEXT,
    FOREIGN KEY(session_id) REFERENCES adk_sessions(id) ON DELETE CASCADE);
CREATE INDEX idx_adk_events_session ON adk_events(session_id, timestamp ASC);
"""

DOCUMENT_SCHEMA = """
CREATE TABLE adk_session(id TEXT PRIMARY KEY, app_name TEXT NOT NULL, user_id TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT '{}', create_time REAL NOT NULL, update_time REAL NOT NULL);
CREATE TABLE adk_event(id TEXT PRIMARY KEY, app_name TEXT NOT NULL, user_id TEXT NOT NULL,
    session_id TEXT NOT NULL, invocation_id TEXT, timestamp REAL NOT NULL, event_data TEXT NOT NULL,
    FOREIGN KEY(session_id) REFERENCES adk_session(id) ON DELETE CASCADE);
CREATE INDEX idx_adk_event_session ON adk_event(app_name, user_id, session_id, timestamp ASC);
CREATE TABLE adk_app_state(app_name TEXT PRIMARY KEY, state TEXT NOT NULL DEFAULT '{}',
    update_time REAL NOT NULL);
CREATE TABLE adk_user_state(app_name TEXT NOT NULL, user_id TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT '{}', update_time REAL NOT NULL, PRIMARY KEY(app_name, user_id));
"""

EVENT = (
    "id", "session_id", "app_name", "user_id", "invocation_id", "author", "actions",
    "long_running_tool_ids_json", "branch", "timestamp", "content", "grounding_metadata",
    "custom_metadata", "partial", "turn_complete", "interrupted", "error_code", "error_message",
)  # fmt: skip
JSON = {"content", "grounding_metadata", "custom_metadata"}
FLAGS = {"partial", "turn_complete", "interrupted"}


def julian(time: datetime) -> float:
    return 2440587.5 + (time - EPOCH) / timedelta(days=1)


def time_of(value: float) -> datetime:
    return EPOCH + timedelta(days=value - 2440587.5)


class Store:
    """Synchronous, autocommit."""

    def __init__(self, path: Path | str) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA foreign_keys = ON")

    def create_session(
        self, session: str, app: str, user: str, state: dict[str, Any]
    ) -> dict[str, Any]:
        now = datetime.now(timezone.utc)
        self.db.execute(
            "INSERT INTO adk_sessions(id, app_name, user_id, state, create_time, update_time)"
            " VALUES(?, ?, ?, ?, ?, ?)",
            (session, app, user, json.dumps(state), julian(now), julian(now)),
        )
        return {"id": session, "app_name": app, "user_id": user, "state": state,
                "create_time": now, "update_time": now}  # fmt: skip

    def _session(self, row: tuple[Any, ...]) -> dict[str, Any]:
        return {"id": row[0], "app_name": row[1], "user_id": row[2], "state": json.loads(row[3]),
                "create_time": time_of(row[4]), "update_time": time_of(row[5])}  # fmt: skip

    def get_session(self, session: str) -> dict[str, Any] | None:
        row = self.db.execute(
            "SELECT id, app_name, user_id, state, create_time, update_time FROM adk_sessions"
            " WHERE id = ?",
            (session,),
        ).fetchone()
        return self._session(row) if row else None

    def list_sessions(self, app: str) -> list[dict[str, Any]]:
        rows = self.db.execute(
            "SELECT id, app_name, user_id, state, create_time, update_time FROM adk_sessions"
            " WHERE app_name = ? ORDER BY update_time DESC",
            (app,),
        ).fetchall()
        return [self._session(row) for row in rows]

    def update_session_state(self, session: str, state: dict[str, Any]) -> None:
        self.db.execute(
            "UPDATE adk_sessions SET state = ?, update_time = ? WHERE id = ?",
            (json.dumps(state), julian(datetime.now(timezone.utc)), session),
        )

    def delete_session(self, session: str) -> None:
        self.db.execute("DELETE FROM adk_sessions WHERE id = ?", (session,))

    def _values(self, record: dict[str, Any]) -> list[Any]:
        values: list[Any] = []
        for name in EVENT:
            value = record.get(name)
            if value is not None and name in JSON:
                value = json.dumps(value)
            elif value is not None and name in FLAGS:
                value = int(value)
            elif name == "timestamp":
                value = julian(record[name])
            values.append(value)
        return values

    def append_event(self, record: dict[str, Any]) -> None:
        marks = ", ".join("?" * len(EVENT))
        self.db.execute(
            f"INSERT INTO adk_events({', '.join(EVENT)}) VALUES({marks})", self._values(record)
        )

    def get_events(self, session: str) -> list[dict[str, Any]]:
        rows = self.db.execute(
            f"SELECT {', '.join(EVENT)} FROM adk_events WHERE session_id = ?"
            " ORDER BY timestamp ASC",
            (session,),
        ).fetchall()
        events = []
        for row in rows:
            record: dict[str, Any] = dict(zip(EVENT, row, strict=True))
            for name in JSON:
                if record[name] is not None:
                    record[name] = json.loads(record[name])
            for name in FLAGS:
                if record[name] is not None:
                    record[name] = bool(record[name])
            record["timestamp"] = time_of(record["timestamp"])
            events.append(record)
        return events
