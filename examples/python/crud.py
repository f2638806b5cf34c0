"""The programs of docs/guide/crud.md, in one file that runs.

    python examples/python/crud.py

Each function is one section of the page; tools/check_samples.py compares the two.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from pathlib import Path

import looplite
from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.crud import (
    AsyncDBPool,
    ErrorKind,
    apply_schema,
    classify_error,
    delete,
    execute_many_write,
    execute_write,
    fetch_all,
    fetch_one,
    fetch_scalar,
    get_db,
    get_table_info,
    insert,
    insert_many,
    open_db,
    order_by,
    quote_identifier,
    stream,
    table_exists,
    transaction,
    update,
    upsert,
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS author(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS book(
  id INTEGER PRIMARY KEY,
  title TEXT NOT NULL,
  year INTEGER,
  author INTEGER NOT NULL REFERENCES author(id),
  UNIQUE (author, title)
);
"""


async def opening(path: Path) -> None:
    async with open_db(path) as db:
        await apply_schema(db, SCHEMA)
        await insert(db, "author", {"name": "Austen"})
    try:
        async with get_db(path) as db:
            await insert(db, "author", {"name": "Eliot"})
            await insert(db, "author", {"name": "Austen"})
    except looplite.IntegrityError as error:
        print("neither is there:", error)
    db = await open_db(path, pragmas={"synchronous": "FULL"})
    print("authors:", await fetch_scalar(db, "SELECT count(*) FROM author"))
    await db.close()


async def writing(path: Path) -> None:
    async with open_db(path) as db:
        austen = await fetch_scalar(db, "SELECT id FROM author WHERE name = ?", ("Austen",))
        emma = await insert(db, "book", {"title": "Emma", "author": austen, "year": 1815})
        print("rowid:", emma)
        books = [("Persuasion", 1817), ("Sanditon", 1817), ("Lady Susan", 1794)]
        rows = ({"title": title, "author": austen, "year": year} for title, year in books)
        print("inserted:", await insert_many(db, "book", rows))
        print("updated:", await update(db, "book", {"year": 1871}, "title = ?", ("Lady Susan",)))
        print("deleted:", await delete(db, "book", "year < :year", {"year": 1800}))
        same = {"title": "Emma", "author": austen, "year": 1816}
        print("rowid again:", await upsert(db, "book", same, ["author", "title"]))


async def statements(path: Path) -> None:
    async with open_db(path) as db:
        print(await execute_write(db, "INSERT INTO author(name) VALUES (?)", ("Gaskell",)))
        print(await execute_write(db, "UPDATE book SET year = year - 1 WHERE year > ?", (1816,)))
        more = [("Edgeworth",), ("Burney",)]
        print(await execute_many_write(db, "INSERT INTO author(name) VALUES (?)", more))


async def reading(path: Path) -> None:
    async with open_db(path) as db:
        book = await fetch_one(db, "SELECT * FROM book WHERE title = :title", {"title": "Emma"})
        print(book["title"], book["year"])
        for row in await fetch_all(db, f"SELECT title FROM book {order_by('-year', 'title')}"):
            print("-", row["title"])
        print(await fetch_scalar(db, "SELECT year FROM book WHERE id = 99", default="none"))
        print(await table_exists(db, "book"), [c["name"] for c in await get_table_info(db, "book")])


async def streaming(path: Path) -> None:
    async with open_db(path) as db:
        async for row in stream(db, "SELECT title FROM book ORDER BY id", batch_size=100):
            if row["title"].startswith("P"):
                print("found", row["title"])
                break


async def names(path: Path) -> None:
    async with open_db(path) as db:
        try:
            await insert(db, 'book"; DROP TABLE book; --', {"title": "x"})
        except looplite.OperationalError as error:
            print(error)
        column = "title"  # from a user, say
        rows = await fetch_all(db, f"SELECT {quote_identifier(column)} FROM book WHERE id = 1")
        print(dict(rows[0]))


async def blocks(path: Path) -> None:
    async with open_db(path) as db:
        async with transaction(db):
            hardy = await insert(db, "author", {"name": "Hardy"})
            try:
                async with transaction(db):
                    await insert(db, "book", {"title": "Tess", "author": hardy})
                    await insert(db, "book", {"title": "Jude", "author": 4711})
            except looplite.IntegrityError as error:
                print("without books:", error)
        print(await fetch_scalar(db, "SELECT count(*) FROM book WHERE author = ?", (hardy,)))


async def pooled(path: Path) -> None:
    async with AsyncDBPool(path, max_connections=3) as pool:

        async def add(number: int) -> None:
            async with pool.acquire() as db:
                await insert(db, "author", {"name": f"Anonymous {number}"})

        await asyncio.gather(*(add(number) for number in range(20)))
        async with pool.acquire() as db:
            print("authors:", await fetch_scalar(db, "SELECT count(*) FROM author"))


async def sessions(path: Path) -> None:
    config = AiosqliteConfig(connection_config={"database": path})
    async with config.provide_session() as session:
        async with transaction(session):
            trollope = await insert(session, "author", {"name": "Trollope"})
            await insert(session, "book", {"title": "The Warden", "author": trollope})
        print(await fetch_one(session, "SELECT title FROM book WHERE author = ?", (trollope,)))
    await config.close_pool()


async def errors(path: Path) -> None:
    async def add(title: str, author: int) -> str:
        try:
            async with get_db(path) as db:
                await insert(db, "book", {"title": title, "author": author})
        except sqlite3.Error as error:
            match classify_error(error):
                case ErrorKind.DUPLICATE:
                    return "we have that book"
                case ErrorKind.MISSING_REFERENCE:
                    return "no such author"
                case kind:
                    return f"sorry: {kind}"
        return "added"

    print(await add("Emma", 1), "-", await add("Jude", 4711))


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "library.db"
        for section in (
            opening,
            writing,
            statements,
            reading,
            streaming,
            names,
            blocks,
            pooled,
            sessions,
            errors,
        ):
            await section(path)


if __name__ == "__main__":
    asyncio.run(main())
