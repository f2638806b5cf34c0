"""Connections as the tests of this folder want them: opened by looplite, and by a connector of the
program's own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import lib

Connect = Callable[..., Any]


def _own(database: str | Path, **keywords: Any) -> Any:
    return lib.connect(database, **keywords)


def _generic(database: str | Path, **keywords: Any) -> Any:
    return lib.Connection(lambda: sqlite3.connect(database, **keywords), 64)


@pytest.fixture(params=["own", "generic"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """connect(database, **keywords), unawaited, once of each kind."""
    return _own if request.param == "own" else _generic
