"""A program that ends without closing its connection: what was committed stays, and nothing hangs.

python examples/python/no_close.py FILE
"""

import asyncio
import sys

import looplite

kept: list[looplite.Connection] = []


async def main(path: str) -> None:
    db = await looplite.connect(path)
    kept.append(db)
    await db.execute("CREATE TABLE IF NOT EXISTS note(text)")
    await db.execute("INSERT INTO note VALUES ('kept')")
    await db.commit()
    await db.execute("INSERT INTO note VALUES ('dropped')")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
