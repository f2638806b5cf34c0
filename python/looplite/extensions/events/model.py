"""What consumers see: an event, the error of a queue; and times as the table has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any


class EventChannelError(RuntimeError):
    """A queue that is used wrongly: it was closed, or a name or a value is not one."""


@dataclass(frozen=True)
class EventMessage:
    """An event as its consumer has it."""

    event_id: str
    channel: str
    payload: Any
    metadata: Any
    attempts: int
    """How often it was delivered, with this time."""
    max_attempts: int
    available_at: datetime | None
    """When it can be taken again or for the first time, if it waits for that."""
    lease_expires_at: datetime | None
    created_at: datetime
    last_error: str | None
    """What the attempt before said."""
    lease: int
    """Tells this delivery from others of the event."""


def exponential(
    first: float = 1.0, factor: float = 2.0, longest: float = 300.0
) -> Callable[[int], float]:
    """Seconds to wait after the n-th attempt has failed: 1, 2, 4, ..., at most `longest`."""

    def delay(attempts: int) -> float:
        # The power of a large number of attempts is no float.
        return min(longest, first * factor ** min(attempts - 1, 64))

    return delay


def microseconds(seconds: float, what: str) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{what} must be a number of seconds, not {type(seconds).__name__}")
    if not 0 <= seconds < 1e10:
        raise ValueError(f"{what} must be 0 or more seconds, not {seconds!r}")
    return round(seconds * 1_000_000)


def datetime_of(stored: int | None) -> datetime | None:
    return None if stored is None else known_datetime(stored)


def known_datetime(stored: int) -> datetime:
    return datetime.fromtimestamp(stored / 1_000_000, timezone.utc)
