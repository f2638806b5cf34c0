"""A pool's WAL stays small: someone makes checkpoints, the pool or SQLite."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from looplite.adapters.aiosqlite import AiosqliteConfig

PAGES = 5000  # five times what a checkpoint is made at


@pytest.mark.parametrize("leased", [False, True])
@pytest.mark.parametrize("inline", [True, False])
def test_the_wal_does_not_grow_for_ever(tmp_path: Path, inline: bool, leased: bool) -> None:
    async def main() -> None:
        settings = {
            "database": tmp_path / "a.db",
            "inline": inline,
            "pragmas": {"synchronous": "OFF"},
        }
        config = AiosqliteConfig(connection_config=settings)

        def was_emptied(written: int) -> bool:
            """SQLite does so in a commit; the pool beside, when the writers let it."""
            made: int = config.stats()["checkpoints"]
            return made > 0 or (tmp_path / "a.db-wal").stat().st_size < written * 4096

        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(a)")
            written = 0
            while written < PAGES or not was_emptied(written):
                assert written < 20 * PAGES
                written += 50
                text = "INSERT INTO t VALUES(zeroblob(50 * 4096))"
                if leased:
                    async with config.provide_connection() as connection:
                        await connection.execute(text)
                else:
                    await session.execute(text)
        await config.close_pool()

    asyncio.run(main())
