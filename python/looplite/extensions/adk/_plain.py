"""Sessions where google-adk is not installed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Session:
    """A session; its parts can be asked for by name, too: ``session["id"]``."""

    id: str
    app_name: str
    user_id: str
    state: dict[str, Any] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    last_update_time: float = 0.0
    _storage_update_marker: str | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__ or name.startswith("_"):
            raise KeyError(name)
        return getattr(self, name)


@dataclass
class ListSessionsResponse:
    """What `list_sessions` gives."""

    sessions: list[Session] = field(default_factory=list)
