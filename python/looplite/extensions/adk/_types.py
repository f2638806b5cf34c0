"""What a store gives and takes: sessions and events as typed dictionaries."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict


class SessionRecord(TypedDict):
    """A session without its events. Times are in UTC."""

    id: str
    app_name: str
    user_id: str
    state: dict[str, Any]
    create_time: datetime
    update_time: datetime


class _Event(TypedDict):
    id: str
    app_name: str
    user_id: str
    session_id: str
    invocation_id: str
    timestamp: datetime


class EventRecord(_Event, total=False):
    """An event. `author` and `actions` are needed where the table has a column for each part of an
    event.

    In a table in which an event is one JSON document that is `event_data`; the other keys are
    filled from it when it is read, and make it when it is missing.
    """

    author: str
    actions: bytes
    long_running_tool_ids_json: str | None
    branch: str | None
    content: dict[str, Any] | None
    grounding_metadata: dict[str, Any] | None
    custom_metadata: dict[str, Any] | None
    partial: bool | None
    turn_complete: bool | None
    interrupted: bool | None
    error_code: str | None
    error_message: str | None
    event_data: dict[str, Any]
