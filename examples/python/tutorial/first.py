"""The tutorial's first steps: a file, a table, rows, and what happens when something goes wrong.

python examples/python/tutorial/first.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import looplite


async def create(path: Path) -> None:
    async with looplite.connect(path) as db:
        await db.execute("PRAGMA journal_mode = WAL")
        await db.execute(
            "CREATE TABLE link(slug TEXT PRIMARY KEY, url TEXT NOT NULL, visits INT DEFAULT 0)"
        )


async def add(path: Path, slug: str, url: str) -> None:
    async with looplite.connect(path) as db:
        await db.execute("INSERT INTO link(slug, url) VALUES (?, ?)", (slug, url))
        await db.commit()


async def show(path: Path) -> None:
    async with looplite.connect(path) as db:
        for slug, url in await db.execute_fetchall("SELECT slug, url FROM link ORDER BY slug"):
            print(slug, "->", url)


async def add_twice(path: Path) -> None:
    try:
        await add(path, "docs", "https://example.org/other")
    except looplite.IntegrityError as error:
        print("not added:", error)


async def forget(path: Path) -> None:
    async with looplite.connect(path) as db:
        await db.execute("DELETE FROM link")
        # no commit
    async with looplite.connect(path) as db:
        print("still there:", await db.execute_fetchall("SELECT count(*) FROM link"))


async def main(path: Path) -> None:
    await create(path)
    await add(path, "docs", "https://example.org/documentation")
    await add(path, "news", "https://example.org/news")
    await show(path)
    await add_twice(path)
    await forget(path)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder) / "links.db"))
