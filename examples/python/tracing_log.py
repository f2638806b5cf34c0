"""Statements in the log of a program, with those that failed: Connection.on_statement."""

from __future__ import annotations

import asyncio
import logging
import sys

import looplite

log = logging.getLogger("app.sql")


def log_statement(statement: looplite.Statement) -> None:
    if statement.error is not None:
        log.warning("%s: %s (%s)", statement.sql, statement.error.__name__, statement.message)
    elif statement.outcome == "cancelled":
        log.info("%s: cancelled, %s", statement.sql, statement.applied)
    else:
        slow = statement.duration_ns > 100_000_000
        log.log(
            logging.WARNING if slow else logging.INFO, "%s: %s rows", statement.sql, statement.rows
        )


async def main() -> None:
    async with looplite.connect(":memory:", on_statement=log_statement) as db:
        await db.execute("CREATE TABLE note(id INTEGER PRIMARY KEY, text)")
        notes = [(1, "first"), (2, "second")]
        await db.executemany("INSERT INTO note VALUES (?, ?)", notes)
        await db.commit()
        await db.execute_fetchall("SELECT text FROM note WHERE id >= ?", (1,))
        try:
            await db.execute("INSERT INTO note VALUES (?, ?)", (1, "again"))
        except looplite.IntegrityError:
            await db.rollback()


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(levelname)s %(message)s")
    asyncio.run(main())
