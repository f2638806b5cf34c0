"""The program of docs/migrate/sqlspec.md.

python examples/python/sqlspec.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from looplite import SQLSpec
from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.exceptions import IntegrityError


async def main(path: str) -> None:
    async with SQLSpec() as registry:
        config = registry.add_config(AiosqliteConfig(connection_config={"database": path}))
        async with registry.provide_session(config) as session:
            await session.execute("CREATE TABLE user(id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
            result = await session.execute("INSERT INTO user(name) VALUES (?)", "ada")
            print(result.rows_affected, result.last_inserted_id)
            try:
                await session.execute("INSERT INTO user(name) VALUES (?)", "ada")
            except IntegrityError as error:
                print(type(error).__name__)
            print(await session.select_one("SELECT * FROM user WHERE id = :id", id=1))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(str(Path(folder) / "users.db")))
