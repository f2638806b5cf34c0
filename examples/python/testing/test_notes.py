"""Tests with a fresh database each; the last one forgets something, and is told where."""

from __future__ import annotations

import asyncio

import looplite
import looplite.testing


async def add_note(where: str, text: str) -> None:
    async with looplite.connect(where) as db:
        await db.execute("CREATE TABLE IF NOT EXISTS note(text)")
        await db.execute("INSERT INTO note VALUES (?)", (text,))
        await db.commit()


def test_a_note_is_kept(looplite_db: looplite.testing.Database) -> None:
    async def main() -> None:
        await add_note(looplite_db.database, "kept")
        async with looplite_db.connect() as db:
            assert await db.execute_fetchall("SELECT text FROM note") == [("kept",)]

    asyncio.run(main())


async def forget_to_commit(where: str) -> None:
    async with looplite.connect(where) as db:
        await db.execute("CREATE TABLE note(text)")
        await db.execute("INSERT INTO note VALUES ('lost')")


def test_a_note_is_lost(looplite_db: looplite.testing.Database) -> None:
    asyncio.run(forget_to_commit(looplite_db.database))
