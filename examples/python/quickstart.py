"""The programs of docs/guide/quickstart.md, in one file that runs.

    python examples/python/quickstart.py

Each function is one section of the page.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import looplite


async def connect(path: Path) -> None:
    async with looplite.connect(path) as db:
        await db.execute("PRAGMA journal_mode = WAL")
        await db.execute("CREATE TABLE book(id INTEGER PRIMARY KEY, title TEXT UNIQUE, year INT)")


async def execute(path: Path) -> None:
    async with looplite.connect(path) as db:
        cursor = await db.execute("INSERT INTO book(title, year) VALUES (?, ?)", ("Emma", 1815))
        print("row", cursor.lastrowid)
        await db.execute(
            "INSERT INTO book(title, year) VALUES (:title, :year)",
            {"title": "Persuasion", "year": 1817},
        )
        await db.executemany(
            "INSERT INTO book(title, year) VALUES (?, ?)",
            [("Middlemarch", 1871), ("Silas Marner", 1861), ("Romola", 1863)],
        )
        await db.commit()


async def fetch(path: Path) -> None:
    async with looplite.connect(path) as db:
        async with db.execute("SELECT title FROM book WHERE id = ?", (1,)) as cursor:
            row = await cursor.fetchone()
        print(row)

        async with db.execute("SELECT title, year FROM book ORDER BY year") as cursor:
            print(await cursor.fetchmany(2))
            print(await cursor.fetchall())

        db.row_factory = looplite.Row
        async with db.execute("SELECT title, year FROM book WHERE year > 1870") as cursor:
            row = await cursor.fetchone()
        if row is not None:
            print(row["title"], row["year"])


async def transaction(path: Path) -> None:
    async with looplite.connect(path, isolation_level=None) as db:
        await db.execute("BEGIN IMMEDIATE")
        try:
            await db.execute("UPDATE book SET year = 1816 WHERE title = 'Emma'")
            await db.execute("INSERT INTO book(title, year) VALUES ('Romola', 1863)")
        except looplite.IntegrityError as error:
            await db.execute("ROLLBACK")
            print("nothing changed:", error)
        else:
            await db.execute("COMMIT")


async def stream(path: Path) -> None:
    async with looplite.connect(path) as db:
        letters = 0
        async with db.execute("SELECT title FROM book") as cursor:
            async for (title,) in cursor:
                letters += len(title)
        print(letters, "letters")


async def together(path: Path) -> None:
    async def title_of(db: looplite.Connection, key: int) -> str:
        async with db.execute("SELECT title FROM book WHERE id = ?", (key,)) as cursor:
            row = await cursor.fetchone()
        return row[0] if row else "no such book"

    async with looplite.connect(path) as db:
        print(await asyncio.gather(*(title_of(db, key) for key in (3, 1, 2))))


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "books.db"
        for section in (connect, execute, fetch, transaction, stream, together):
            await section(path)


if __name__ == "__main__":
    asyncio.run(main())
