"""A program written for aiosqlite, moved by one line; and SQLAlchemy, moved by its URL.

    python examples/python/migrate.py

The page is docs/migrate/aiosqlite.md.
"""

import asyncio
import os
import tempfile

from looplite import aiosqlite


async def count(path: str) -> int:
    async with aiosqlite.connect(path) as db:
        await db.execute("CREATE TABLE IF NOT EXISTS visit(page TEXT)")
        await db.execute("INSERT INTO visit VALUES (?)", ("/",))
        await db.commit()
        async with db.execute("SELECT count(*) FROM visit") as cursor:
            row = await cursor.fetchone()
    return int(row[0])


async def let_others_run(path: str) -> None:
    """A call that needs no waiting does not suspend its task: who wants a turn asks for it."""
    async with aiosqlite.connect(path) as db:
        for page in ("/", "/about"):
            await db.execute("SELECT count(*) FROM visit WHERE page = ?", (page,))
            await asyncio.sleep(0)


async def cancelled(path: str) -> str:
    """What became of a statement whose task was cancelled."""
    async with aiosqlite.connect(path) as db:
        endless = (
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
        )
        task = asyncio.ensure_future(db.execute(endless))
        await asyncio.sleep(0.01)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            return str(getattr(error, "looplite_outcome", "unknown"))
        return "it came to an end"


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "visits.db")
        print(await count(path), await count(path))
        await let_others_run(path)
        print(await cancelled(path))


asyncio.run(main())
