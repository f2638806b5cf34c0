"""Values by their types through the adapter: the samples of docs/guide/types.md.

python examples/python/stored_types.py
"""

import asyncio
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from looplite.adapters.aiosqlite import AiosqliteConfig


@dataclass
class Order:
    id: uuid.UUID
    placed: datetime
    total: Decimal
    paid: bool
    note: str


SCHEMA = """
CREATE TABLE orders(
    id UUID PRIMARY KEY, placed TIMESTAMP, total DECIMAL TEXT(12, 2), paid BOOLEAN, lines JSON, note
)
"""


async def store_and_read(session: Any) -> None:
    await session.execute(
        "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)",
        uuid.UUID(int=7),
        datetime(2024, 2, 29, 12, 30, tzinfo=timezone.utc),
        Decimal("19.90"),
        True,
        [{"sku": "A-1", "count": 2}],
        '{"gift":true}',  # a str; the column has no type
    )
    row = await session.select_one("SELECT * FROM orders")
    for column, value in row.items():
        print(f"{column}: {value!r}")


async def as_objects(session: Any) -> None:
    sql = "SELECT id, placed, total, paid, note FROM orders"
    order = await session.select_one(sql, schema_type=Order)
    print(order.total, order.paid, repr(order.note))


async def without_recognition() -> None:
    config = AiosqliteConfig(
        connection_config={"database": ":memory:"}, driver_features={"sniff_text": False}
    )
    async with config.provide_session() as session:
        print(repr(await session.select_value("SELECT '{\"gift\":true}'")))
    await config.close_pool()


async def main() -> None:
    config = AiosqliteConfig(connection_config={"database": ":memory:"})
    async with config.provide_session() as session:
        await session.execute(SCHEMA)
        await store_and_read(session)
        await as_objects(session)
    await config.close_pool()
    await without_recognition()


asyncio.run(main())
