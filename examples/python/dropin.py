"""looplite in aiosqlite's place, with types: what mypy and pyright make of a program that uses it.

    python examples/python/dropin.py

`looplite.aiosqlite` has the names of aiosqlite. A program that is not to be changed at all is run
by `python -m looplite run`, or calls `looplite.install()` before it imports aiosqlite.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from looplite import aiosqlite


class Traced(aiosqlite.Connection):
    """A connection class of one's own, as with aiosqlite."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commits = 0

    async def commit(self) -> None:
        self.commits += 1
        await super().commit()


class Books:
    """Rows of one table."""

    def __init__(self, db: aiosqlite.Connection) -> None:
        self._db = db

    async def add(self, titles: Sequence[str]) -> int:
        cursor = await self._db.executemany(
            "INSERT INTO book(title) VALUES (?)", [(title,) for title in titles]
        )
        await self._db.commit()
        return cursor.rowcount

    @aiosqlite.context.contextmanager
    async def titles(self) -> aiosqlite.Cursor:
        """Awaited, or entered with `async with`."""
        return await self._db.execute("SELECT title FROM book ORDER BY title")


@asynccontextmanager
async def database(path: str) -> AsyncIterator[Traced]:
    # Any function that opens a DB-API connection will do; this one runs on a thread of its own.
    async with Traced(lambda: sqlite3.connect(path), 64) as db:
        db.row_factory = aiosqlite.Row
        await db.execute("CREATE TABLE book(title TEXT UNIQUE)")
        yield db


async def main() -> None:
    async with database(":memory:") as db:
        books = Books(db)
        print("added", await books.add(["Romola", "Emma"]))
        async with books.titles() as cursor:
            async for row in cursor:
                print(row["title"])
        try:
            await books.add(["Emma"])
        except aiosqlite.IntegrityError as exc:
            await db.rollback()
            print(exc)
        print("commits:", db.commits)
    async with aiosqlite.connect(":memory:") as plain:
        rows: list[Any] = await plain.execute_fetchall("SELECT 40 + 2")
        print(rows)


if __name__ == "__main__":
    asyncio.run(main())
