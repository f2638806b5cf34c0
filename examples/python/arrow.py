"""The programs of docs/guide/arrow.md, in one file that runs: results as Arrow, Arrow into a table.

python examples/python/arrow.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import looplite
import pyarrow
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.exceptions import DataError


async def load(session: AiosqliteDriver) -> None:
    table = pyarrow.table({"city": ["Oslo", "Rome", None], "degrees": [-3.5, 12.25, 7.0]})
    job = await session.load_from_arrow("measurement", table)
    print("loaded", job.telemetry["rows_processed"])


async def select(session: AiosqliteDriver) -> None:
    table = await session.select_to_arrow(
        "SELECT * FROM measurement WHERE degrees > ? ORDER BY degrees", 0
    )
    print(table.column_names, table.to_pydict())


async def stream(session: AiosqliteDriver) -> None:
    def total(source: object) -> float:
        batches = pyarrow.RecordBatchReader.from_stream(source)
        return sum(sum(batch.column("degrees").to_pylist()) for batch in batches)

    async with session.select_stream("SELECT * FROM measurement") as rows:
        print("total", await asyncio.to_thread(total, rows))


async def refused(session: AiosqliteDriver) -> None:
    huge = pyarrow.table({"degrees": pyarrow.array([2**53 + 1])})
    try:
        await session.load_from_arrow("measurement", huge)
    except DataError as error:
        print(error)


async def plain(path: Path) -> None:
    async with looplite.connect(path) as db:
        cursor = await db.execute("SELECT city FROM measurement")
        cities = await asyncio.to_thread(pyarrow.table, cursor)
        await db.execute("CREATE TABLE town(city TEXT)")
        print("copied", await db.load_from_arrow("town", cities, overwrite=True))
        await db.commit()


async def main(path: Path) -> None:
    config = AiosqliteConfig(connection_config={"database": path})
    async with config.provide_session() as session:
        await session.execute("CREATE TABLE measurement(city TEXT, degrees REAL)")
        await load(session)
        await select(session)
        await stream(session)
        await refused(session)
    await config.close_pool()
    await plain(path)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder) / "arrow.db"))
