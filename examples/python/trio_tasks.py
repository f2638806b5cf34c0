"""The same calls under trio: a nursery, a timeout, and what became of a cancelled statement."""

from __future__ import annotations

import looplite
import trio


async def main() -> None:
    async with looplite.connect(":memory:", isolation_level=None) as db:
        await db.execute("CREATE TABLE note(id INTEGER PRIMARY KEY, text)")

        async def add(number: int) -> None:
            await db.execute("INSERT INTO note VALUES (?, ?)", (number, f"note {number}"))

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(add, number)
        print("notes:", await db.execute_fetchall("SELECT count(*) FROM note"))

        endless = (
            "WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
        )
        with trio.move_on_after(0.1):
            try:
                await db.execute(endless)
            except trio.Cancelled as error:
                print("cancelled:", error.looplite_outcome)  # type: ignore[attr-defined]
                raise
        print("still there:", await db.execute_fetchall("SELECT text FROM note WHERE id = 3"))


if __name__ == "__main__":
    trio.run(main)
