"""What sqlite3.Connection has beyond statements: functions, hooks, a backup, a blob, a dump.

python examples/python/functions.py        (Python 3.11 or newer: blobopen() came with it)
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import sys
import tempfile
from pathlib import Path

import looplite


def slugify(title: str) -> str:
    return "-".join(title.lower().split())


class Median:
    def __init__(self) -> None:
        self.values: list[float] = []

    def step(self, value: float) -> None:
        self.values.append(value)

    def finalize(self) -> float:
        return statistics.median(self.values)


def by_length(a: str, b: str) -> int:
    return (len(a) > len(b)) - (len(a) < len(b))


async def functions(db: looplite.Connection) -> None:
    await db.create_function("slug", 1, slugify, deterministic=True)
    await db.create_aggregate("median", 1, Median)
    await db.create_collation("by_length", by_length)
    print(
        await db.execute_fetchall("SELECT slug(title) FROM book ORDER BY title COLLATE by_length")
    )
    print(await db.execute_fetchall("SELECT median(year) FROM book"))


async def lookup(title: str) -> str:
    await asyncio.sleep(0)  # ask another service, say
    return f"{title}!"


async def an_async_function(db: looplite.Connection) -> None:
    await db.create_function("lookup", 1, lookup)
    print(await db.execute_fetchall("SELECT lookup(title) FROM book WHERE year = 1815"))


def read_only(action: int, *names: str | None) -> int:
    allowed = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ)
    return sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY


async def hooks(db: looplite.Connection) -> None:
    await db.set_authorizer(read_only)
    try:
        await db.execute("DELETE FROM book")
    except looplite.DatabaseError as error:
        print(error)
    await db.set_authorizer(None)


async def the_connection_itself(db: looplite.Connection) -> None:
    def on_the_worker() -> list[tuple[int]]:
        return db._conn.execute("SELECT count(*) FROM book").fetchall()

    print(await db._execute(on_the_worker))


async def backup(db: looplite.Connection, path: Path) -> None:
    def show(status: int, remaining: int, total: int) -> None:
        print("left:", remaining)

    async with looplite.connect(path) as target:
        await db.backup(target, pages=100, progress=show)


if sys.version_info >= (3, 11):

    async def blobs(db: looplite.Connection) -> None:
        await db.execute("CREATE TABLE image(id INTEGER PRIMARY KEY, data BLOB)")
        cursor = await db.execute("INSERT INTO image(data) VALUES (zeroblob(16))")
        async with db.blobopen("image", "data", cursor.lastrowid or 0) as blob:
            await blob.write(b"GIF89a")
            await blob.seek(0)
            header = await blob.read(6)
            await blob.set(slice(0, 3), b"gif")
            print(header, await blob[0:6], len(blob))
        await db.commit()


async def dump(db: looplite.Connection) -> None:
    async for line in db.iterdump():
        if line.startswith("CREATE"):
            print(line)


async def main(folder: Path) -> None:
    async with looplite.connect(folder / "books.db") as db:
        await db.execute("CREATE TABLE book(title TEXT, year INT)")
        books = [("Emma", 1815), ("Silas Marner", 1861), ("Lady Susan", 1794)]
        await db.executemany("INSERT INTO book VALUES (?, ?)", books)
        await db.commit()
        await functions(db)
        await an_async_function(db)
        await hooks(db)
        await the_connection_itself(db)
        await backup(db, folder / "copy.db")
        if sys.version_info >= (3, 11):
            await blobs(db)
        await dump(db)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))
