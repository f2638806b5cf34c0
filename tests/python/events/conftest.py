"""A clock that the test sets."""

from __future__ import annotations

import pytest


class Clock:
    """Seconds since 1970 by the test's word."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()
