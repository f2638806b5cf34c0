"""An event as columns, and as one JSON document; the statements by their names.

An event that the session service stores in columns has more parts than there are columns. Those
stand, with its actions and its exact time, in the column `actions`, as JSON: ``{"actions":
{...}, "timestamp": ..., ...}``, which is an event without what has a column of its own. Other
programs' bytes there are the actions alone: JSON, or a pickle.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, cast

from looplite.extensions.adk._types import EventRecord
from looplite.utils.serializers import from_json, to_json_bytes


class Statement(enum.IntEnum):
    """Places in `AdkTables.statements`: ll_adk_statement of looplite/adk.h."""

    FIND_LAYOUT = 0
    ADD_OWNER = 1
    CREATE_SESSION = 2
    GET_SESSION = 3
    UPDATE_STATE = 4
    LIST_SESSIONS = 5
    LIST_USER_SESSIONS = 6
    DELETE_SESSION = 7
    APPEND_EVENT = 8
    GET_EVENTS = 9
    RECENT_EVENTS = 10
    LAST_EVENT = 11
    GET_SCOPED = 12
    LIST_SCOPED = 13
    LIST_USER_SCOPED = 14
    TOUCH_SESSION = 15
    GET_APP_STATE = 16
    SET_APP_STATE = 17
    GET_USER_STATE = 18
    SET_USER_STATE = 19
    UPDATE_USER_STATE = 20
    DELETE_USER_SESSION = 21


#: Parts of an event with a column of their own, beside id, invocation_id and timestamp.
_JSON_COLUMNS = ("content", "grounding_metadata", "custom_metadata")
_TEXT_COLUMNS = ("author", "branch", "error_code", "error_message")
_FLAG_COLUMNS = ("partial", "turn_complete", "interrupted")
_OWN_COLUMNS = frozenset(
    (
        "id",
        "invocation_id",
        "long_running_tool_ids",
        *_JSON_COLUMNS,
        *_TEXT_COLUMNS,
        *_FLAG_COLUMNS,
    )
)


def _time(event: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(event["timestamp"], tz=timezone.utc)


def record_of(
    event: dict[str, Any], session_id: str, app_name: str, user_id: str, *, document: bool
) -> EventRecord:
    """The record of an event that is given as its JSON's value, snake_case."""
    record: dict[str, Any] = {
        "id": event["id"],
        "session_id": session_id,
        "app_name": app_name,
        "user_id": user_id,
        "invocation_id": event.get("invocation_id", ""),
        "timestamp": _time(event),
    }
    if document:
        record["event_data"] = event
        return cast("EventRecord", record)
    for key in (*_JSON_COLUMNS, *_TEXT_COLUMNS, *_FLAG_COLUMNS):
        record[key] = event.get(key)
    record["author"] = event.get("author", "")
    tools = event.get("long_running_tool_ids")
    record["long_running_tool_ids_json"] = None if tools is None else json.dumps(list(tools))
    rest = {"actions": event.get("actions") or {}}
    rest.update((key, value) for key, value in event.items() if key not in _OWN_COLUMNS)
    record["actions"] = to_json_bytes(rest)
    return cast("EventRecord", record)


def actions_of_pickle(actions: bytes) -> str:
    """The JSON text of actions that are a pickle."""
    from looplite.extensions.adk._pickles import actions_of_pickle as read

    return read(actions)


def to_document(record: Mapping[str, Any]) -> dict[str, Any]:
    """The document of an event whose parts were given apart."""
    actions = record.get("actions", b"")
    if actions and not actions.startswith(b"{"):
        raise ValueError(
            "actions must be JSON for this database, in which an event is one JSON document; "
            f"they begin with {actions[:8]!r}"
        )
    event: dict[str, Any] = {}
    if actions:
        event = from_json(actions)
        if not actions.startswith(b'{"actions":'):
            event = {"actions": event}
    event["id"] = record["id"]
    event["invocation_id"] = record["invocation_id"]
    time = record["timestamp"]
    if isinstance(time, datetime):  # else the table's column refuses it
        event.setdefault("timestamp", time.timestamp())
    for key in (*_JSON_COLUMNS, *_TEXT_COLUMNS, *_FLAG_COLUMNS):
        if record.get(key) is not None:
            event[key] = record[key]
    if record.get("long_running_tool_ids_json") is not None:
        event["long_running_tool_ids"] = from_json(record["long_running_tool_ids_json"])
    return event


def fill_columns(record: dict[str, Any]) -> None:
    """Fills the parts of an event whose document was read."""
    event = record["event_data"]
    columns = record_of({"id": "", "timestamp": 0.0, **event}, "", "", "", document=False)
    for key, value in columns.items():
        record.setdefault(key, value)


def with_columns(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record that has all parts, of one whose event is given as a document."""
    if "author" in record or "event_data" not in record:
        return record
    timestamp = record["timestamp"].timestamp()
    event = {**record["event_data"], "id": record["id"], "timestamp": timestamp}
    event.setdefault("invocation_id", record["invocation_id"])
    columns = record_of(
        event,
        record["session_id"],
        record["app_name"],
        record["user_id"],
        document=False,
    )
    return {**columns, "timestamp": record["timestamp"]}
