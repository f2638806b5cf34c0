"""The shortest whole program: the sample of the README.

python examples/python/tiny.py
"""

import asyncio

import looplite


async def main() -> None:
    async with looplite.connect(":memory:") as db:
        await db.execute("CREATE TABLE book(title TEXT, year INT)")
        rows = [("Romola", 1863), ("Emma", 1815)]
        await db.executemany("INSERT INTO book VALUES (?, ?)", rows)
        await db.commit()
        async with db.execute("SELECT title FROM book ORDER BY year") as cursor:
            async for (title,) in cursor:
                print(title)


asyncio.run(main())
