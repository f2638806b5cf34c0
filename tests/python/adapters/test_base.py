"""`looplite.SQLSpec`, the registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import looplite
import pytest
from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.base import SQLSpec
from looplite.exceptions import ImproperConfigurationError

Run = Callable[..., Any]


def test_sessions_and_connections_of_what_was_added(run: Run, path: Path) -> None:
    async def main() -> None:
        async with SQLSpec() as registry:
            one = registry.add_config(AiosqliteConfig(connection_config={"database": path}))
            two = registry.add_config(AiosqliteConfig())
            assert list(registry.configs.values()) == [one, two]
            async with registry.provide_session(one) as session:
                await session.execute("CREATE TABLE t(x)")
            async with registry.provide_connection(one) as connection:
                assert await connection.execute_fetchall("SELECT * FROM t") == []
            async with registry.provide_session(two) as session:
                assert await session.select_value("SELECT 2") == 2
            apart = await registry.get_connection(one)
            assert await apart.execute_fetchall("PRAGMA foreign_keys") == [(1,)]
            await apart.close()
            pool = await registry.get_pool(one)
            await registry.close_pool(one)
            assert pool.is_closed
            other = await registry.get_pool(two)
        assert other.is_closed

    run(main)


def test_what_was_not_added() -> None:
    registry = looplite.SQLSpec()
    config = AiosqliteConfig()
    with pytest.raises(ImproperConfigurationError, match="was not added"):
        registry.provide_session(config)
    with pytest.raises(ImproperConfigurationError, match="takes an AiosqliteConfig"):
        registry.add_config("sqlite://")  # type: ignore[type-var]


def test_a_connection_apart_of_a_memory_database(run: Run) -> None:
    async def main() -> None:
        config = AiosqliteConfig()
        with pytest.raises(ImproperConfigurationError, match="would not see"):
            await config.create_connection()

    run(main)
