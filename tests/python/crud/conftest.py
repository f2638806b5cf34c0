"""Connections of each kind that the helpers are for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiosqlite
import looplite
import pytest

SCHEMA = """
CREATE TABLE author(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE book(
  id INTEGER PRIMARY KEY,
  title TEXT NOT NULL,
  year INTEGER CHECK (year > 1400),
  author INTEGER REFERENCES author(id),
  UNIQUE (author, title)
);
"""


@pytest.fixture(params=["looplite", "looplite-autocommit", "aiosqlite", "aiosqlite-autocommit"])
def connect(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Opens a database in memory, by each driver, with and without implicit transactions."""
    module: Any = aiosqlite if request.param.startswith("aiosqlite") else looplite
    options = {"isolation_level": None} if request.param.endswith("autocommit") else {}

    def opened(path: object = ":memory:") -> Any:
        return module.connect(path, **options)

    return opened
