"""What a cancelled task was told of its statement."""

from __future__ import annotations

import asyncio

APPLIED, NOT_APPLIED, UNKNOWN = "applied", "not applied", "unknown"


def outcome(error: BaseException) -> str:
    """`.looplite_outcome` of a cancellation, spelled as in the documentation."""
    assert isinstance(error, asyncio.CancelledError), repr(error)
    told = str(error.looplite_outcome).replace("_", " ").lower()  # type: ignore[attr-defined]
    assert told in (APPLIED, NOT_APPLIED, UNKNOWN), told
    return told
