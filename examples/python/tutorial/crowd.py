"""The tutorial's crowd: a hundred tasks follow one link at the same time, and each is counted.

python examples/python/tutorial/crowd.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from links import SCHEMA, add, configure, visit
from looplite.adapters.aiosqlite import AiosqliteConfig


async def crowd(config: AiosqliteConfig) -> None:
    async with config.provide_session() as db:
        await db.execute_script(SCHEMA)
        slug = await add(db, "https://example.org/")

    async def one() -> None:
        async with config.provide_session() as db:
            await visit(db, slug)

    await asyncio.gather(*(one() for _ in range(100)))

    async with config.provide_session() as db:
        print("visits:", await db.select_value("SELECT visits FROM link WHERE slug = ?", slug))
        print("rows:", await db.select_value("SELECT count(*) FROM visit"))
    print("connections:", config.stats()["size"])


async def main(path: Path) -> None:
    config = configure(str(path))
    try:
        await crowd(config)
    finally:
        await config.close_pool()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder) / "links.db"))
