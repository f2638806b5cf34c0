"""Agent sessions for Google's ADK: the interface of a store, its records, and a session service on
it.

The service is imported when it is asked for, since it imports google-adk, if that is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from looplite.extensions.adk._store import BaseAsyncADKStore
from looplite.extensions.adk._types import EventRecord, SessionRecord

if TYPE_CHECKING:
    from looplite.extensions.adk._service import SQLSpecSessionService

__all__ = ("BaseAsyncADKStore", "EventRecord", "SQLSpecSessionService", "SessionRecord")


def __getattr__(name: str) -> Any:
    if name == "SQLSpecSessionService":
        from looplite.extensions.adk._service import SQLSpecSessionService

        return SQLSpecSessionService
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
