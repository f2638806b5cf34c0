"""Results as tables of pyarrow, polars and pandas.

python examples/python/arrow_tables.py
"""

from __future__ import annotations

import asyncio

from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver


async def tables(session: AiosqliteDriver, day: str) -> None:
    table = await session.select_to_arrow("SELECT * FROM measurement WHERE day = ?", day)
    print(table.schema.names, table.num_rows)
    table = await session.execute("SELECT * FROM measurement").to_arrow()
    frame = await session.execute("SELECT * FROM measurement").to_polars()
    print(frame["value"].sum() == sum(table["value"].to_pylist()))
    frame = await session.execute("SELECT * FROM measurement").to_pandas()
    print(frame.shape)


async def main() -> None:
    config = AiosqliteConfig()
    async with config.provide_session() as session:
        await session.execute("CREATE TABLE measurement(day TEXT, value REAL)")
        rows = [("2024-02-29", 1.5), ("2024-02-29", 2.0), ("2024-03-01", 4.5)]
        await session.execute_many("INSERT INTO measurement VALUES (?, ?)", rows)
        await tables(session, "2024-02-29")
    await config.close_pool()


if __name__ == "__main__":
    asyncio.run(main())
