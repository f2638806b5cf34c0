"""The database fixtures that Tortoise ORM's tests ask for: its source distribution leaves out the
file that has them. A pytest plugin; each fixture is a fresh database in memory with the tables of
the suite's models, by the means that Tortoise documents for tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from tortoise.context import tortoise_test_context


async def _database() -> AsyncIterator[Any]:
    async with tortoise_test_context(["tests.testmodels"], connection_label="models") as context:
        yield context


# Tests that differ in how the suite's own fixtures clean up behind them.
db = pytest_asyncio.fixture(_database, name="db")
db_isolated = pytest_asyncio.fixture(_database, name="db_isolated")
db_simple = pytest_asyncio.fixture(_database, name="db_simple")
db_truncate = pytest_asyncio.fixture(_database, name="db_truncate")
