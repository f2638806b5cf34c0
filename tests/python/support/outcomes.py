"""What a cancelled task was told of its statement."""

from __future__ import annotations

import asyncio
import sys

APPLIED, NOT_APPLIED, UNKNOWN = "applied", "not applied", "unknown"


def outcome(error: BaseException) -> str:
    """`.looplite_outcome` of a cancellation, spelled as in the documentation."""
    assert isinstance(error, asyncio.CancelledError), repr(error)
    if not hasattr(error, "looplite_outcome") and sys.version_info < (3, 11):
        # Who awaits a task there gets another exception than the task had, which stands behind it.
        error = error.__context__ or error
    told = str(error.looplite_outcome).replace("_", " ").lower()  # type: ignore[attr-defined]
    assert told in (APPLIED, NOT_APPLIED, UNKNOWN), told
    return told
