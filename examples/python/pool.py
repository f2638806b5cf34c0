"""The programs of docs/guide/pool.md, in one file that runs.

    python examples/python/pool.py

Each function is one section of the page; tools/check_samples.py compares the two.
"""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
import warnings
from pathlib import Path

from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.exceptions import (
    DroppedWritesWarning,
    PoolExhaustedError,
    QueryTimeoutError,
    TransactionAbortedError,
    TransactionError,
    UniqueViolationError,
)

ENDLESS = "WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


async def first(path: Path) -> AiosqliteConfig:
    config = AiosqliteConfig(connection_config={"database": path, "pool_size": 3})
    async with config.provide_session() as session:
        await session.execute("CREATE TABLE account(name TEXT PRIMARY KEY, amount INT)")
        await session.execute_many("INSERT INTO account VALUES (?, ?)", [("ann", 50), ("bob", 50)])
        print(await session.execute("SELECT amount FROM account WHERE name = ?", "ann").scalar())
    return config


@dataclasses.dataclass
class Account:
    name: str
    amount: int


async def rows(config: AiosqliteConfig) -> None:
    async with config.provide_session() as session:
        result = await session.execute("SELECT name, amount FROM account ORDER BY name")
        print(result.all())
        one = "SELECT name, amount FROM account WHERE name = :name"
        print(await session.select_one(one, name="bob"))
        print(await session.select_one(one, {"name": "bob"}, schema_type=Account))
        print(await session.select_one_or_none(one, name="carol"))


async def sharing(config: AiosqliteConfig) -> None:
    async def balance(name: str) -> int:
        async with config.provide_session() as session:
            return int(
                await session.select_value("SELECT amount FROM account WHERE name = ?", name)
            )

    print(sum(await asyncio.gather(*(balance(name) for name in ["ann", "bob"] * 50))))
    print("connections:", config.stats()["size"] <= 3)


async def exhausted(config: AiosqliteConfig) -> None:
    small = AiosqliteConfig(
        connection_config={
            "database": config.connection_config["database"],
            "pool_size": 1,
            "connect_timeout": 0.5,
        }
    )
    async with small.provide_session() as one, small.provide_session() as two:
        async with one.transaction():
            try:
                await two.begin()
            except PoolExhaustedError as error:
                print(type(error).__name__, "pool.py" in str(error))
        await two.begin()  # it came back with the end of the transaction
        await two.rollback()
    await small.close_pool()


async def transfer(session: AiosqliteDriver, sum_: int) -> None:
    async with session.transaction():
        await session.execute("UPDATE account SET amount = amount - ? WHERE name = 'ann'", sum_)
        await session.execute("UPDATE account SET amount = amount + ? WHERE name = 'bob'", sum_)
        if sum_ > 50:
            raise ValueError("not that much")


async def blocks(config: AiosqliteConfig) -> None:
    async with config.provide_session() as session:
        await transfer(session, 10)
        try:
            await transfer(session, 1000)
        except ValueError as error:
            print(error)
        print(await session.select("SELECT amount FROM account ORDER BY name"))


async def again(config: AiosqliteConfig) -> None:
    async with config.provide_session() as session:
        async for block in session.transaction(mode="DEFERRED", retry=3):
            async with block:
                amount = await session.select_value("SELECT amount FROM account WHERE name = 'ann'")
                await session.execute(
                    "UPDATE account SET amount = ? WHERE name = 'ann'", amount + 1
                )
        print(await session.select_value("SELECT amount FROM account WHERE name = 'ann'"))


async def nested(config: AiosqliteConfig) -> None:
    async with config.provide_session() as session, session.transaction():
        for name in ("carol", "ann", "dave"):
            try:
                async with session.transaction():
                    await session.execute("INSERT INTO account VALUES (?, 0)", name)
            except UniqueViolationError:
                print(name, "is there already")


async def one_task(config: AiosqliteConfig) -> None:
    begun = asyncio.Event()
    async with config.provide_session() as session:

        async def meddle() -> None:
            await begun.wait()
            try:
                await session.execute("DELETE FROM account")
            except TransactionError as error:
                print(str(error).partition(",")[0])

        meddling = asyncio.create_task(meddle())
        async with session.transaction():
            begun.set()
            await asyncio.sleep(0)
        await meddling


async def aborted(config: AiosqliteConfig) -> None:
    slow = AiosqliteConfig(
        connection_config={
            "database": config.connection_config["database"],
            "operation_timeout": 0.05,
        }
    )
    async with slow.provide_session() as session:
        try:
            async with session.transaction():
                await session.execute("UPDATE account SET amount = 0")
                try:
                    await session.execute(f"INSERT INTO account SELECT 'eve', ({ENDLESS})")
                except QueryTimeoutError:
                    print("too slow")
        except TransactionAbortedError:
            print("and all of it is undone")
        print(await session.select_value("SELECT amount FROM account WHERE name = 'bob'"))
    await slow.close_pool()


async def forgotten(config: AiosqliteConfig) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DroppedWritesWarning)
        async with config.provide_session() as session:
            await session.begin()
            await session.execute("UPDATE account SET amount = 7")
    print(str(caught[0].message).rpartition(": ")[2])


async def durable(config: AiosqliteConfig) -> None:
    async with config.provide_session() as session:
        async with session.transaction(durability="normal"):
            await session.execute("UPDATE account SET amount = amount + 1")
        async with session.transaction(durability="extra"):
            await session.execute("UPDATE account SET amount = amount - 1")


async def streamed(config: AiosqliteConfig) -> None:
    async with config.provide_session() as session:
        total = 0
        async with session.select_stream("SELECT amount FROM account") as stream:
            async for row in stream:
                total += row["amount"]
        print("total:", total)


async def in_memory() -> None:
    config = AiosqliteConfig()
    async with config.provide_session() as session:
        _, found = await asyncio.gather(
            session.execute("CREATE TABLE note(text)"), session.select("SELECT * FROM note")
        )
        print(found)
    await config.close_pool()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = await first(Path(folder) / "bank.db")
        for section in (
            rows,
            sharing,
            exhausted,
            blocks,
            again,
            nested,
            one_task,
            aborted,
            forgotten,
            durable,
            streamed,
        ):
            await section(config)
        await in_memory()
        await config.close_pool()


if __name__ == "__main__":
    asyncio.run(main())
