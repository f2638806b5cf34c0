"""The process of command.py, which is no test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cli import command


@pytest.fixture(scope="session", autouse=True)
def _server() -> Iterator[None]:
    with command.server():
        yield
