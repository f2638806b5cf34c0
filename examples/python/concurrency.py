"""The programs of docs/guide/concurrency.md, in one file that runs.

    python examples/python/concurrency.py

Each function is one section of the page; tools/check_samples.py compares the two.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import threading
from pathlib import Path

import looplite

ENDLESS = "WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


async def make(path: Path) -> None:
    async with looplite.connect(path) as db:
        await db.execute("PRAGMA journal_mode = WAL")
        await db.execute("CREATE TABLE account(name TEXT, amount INT)")
        rows = [("alice", 100), ("bob", 100)]
        await db.executemany("INSERT INTO account VALUES (?, ?)", rows)
        await db.commit()


async def in_order(path: Path) -> None:
    async with looplite.connect(path) as db:
        results = await asyncio.gather(
            db.execute("INSERT INTO account VALUES ('carol', 0)"),
            db.execute_fetchall("SELECT count(*) FROM account"),
            db.rollback(),
            db.execute_fetchall("SELECT count(*) FROM account"),
        )
        print("with carol:", results[1], "after rollback:", results[3])


async def shared_by_accident(path: Path) -> None:
    async with looplite.connect(path) as db:

        async def pay() -> None:
            await db.execute("UPDATE account SET amount = amount - 10 WHERE name = 'alice'")
            await asyncio.sleep(0.01)
            await db.commit()

        async def give_up() -> None:
            await db.execute("UPDATE account SET amount = 0 WHERE name = 'bob'")
            await db.rollback()

        await asyncio.gather(pay(), give_up())
        print("alice paid?", await db.execute_fetchall("SELECT amount FROM account"))


async def one_each(path: Path) -> None:
    async def count(least: int) -> object:
        async with looplite.connect(path) as db:
            sql = "SELECT count(*) FROM account WHERE amount >= ?"
            rows = await db.execute_fetchall(sql, (least,))
        return rows[0][0]

    print("counts:", await asyncio.gather(*(count(least) for least in (0, 100, 1000))))


async def snapshot(path: Path) -> None:
    count = "SELECT count(*) FROM account"
    async with (
        looplite.connect(path, isolation_level=None) as reader,
        looplite.connect(path, isolation_level=None) as writer,
    ):
        await reader.execute("BEGIN")
        before = await reader.execute_fetchall(count)
        await writer.execute("INSERT INTO account VALUES ('dave', 5)")
        during = await reader.execute_fetchall(count)
        await reader.execute("COMMIT")
        after = await reader.execute_fetchall(count)
        print("snapshot:", before, during, after)


async def writers(path: Path) -> None:
    async def deposit() -> None:
        async with looplite.connect(path, isolation_level=None, timeout=30) as db:
            await db.execute("BEGIN IMMEDIATE")
            async with db.execute("SELECT amount FROM account WHERE name = 'alice'") as cursor:
                row = await cursor.fetchone()
            amount = row[0] if row else 0
            await db.execute("UPDATE account SET amount = ? WHERE name = 'alice'", (amount + 1,))
            await db.execute("COMMIT")

    await asyncio.gather(*(deposit() for _ in range(10)))
    async with looplite.connect(path) as db:
        print("alice:", await db.execute_fetchall("SELECT amount FROM account LIMIT 1"))


async def busy(path: Path) -> None:
    async with (
        looplite.connect(path, isolation_level=None) as first,
        looplite.connect(path, isolation_level=None, timeout=0.05) as second,
    ):
        await first.execute("BEGIN IMMEDIATE")
        try:
            await second.execute("BEGIN IMMEDIATE")
        except looplite.OperationalError as error:
            print(error)
        await first.execute("ROLLBACK")


async def cancelled(path: Path) -> None:
    async with looplite.connect(path, isolation_level=None) as db:
        reading = asyncio.create_task(db.execute_fetchall(ENDLESS))
        waiting = asyncio.create_task(db.execute("DELETE FROM account"))
        await asyncio.sleep(0.01)
        for task in (waiting, reading):
            task.cancel()
            try:
                await task
            except asyncio.CancelledError as error:
                print("cancelled:", getattr(error, "looplite_outcome", "not begun"))
        print("still there:", await db.execute_fetchall("SELECT count(*) FROM account"))


async def cleaned_up(path: Path) -> None:
    async def transfer(db: looplite.Connection) -> None:
        await db.execute("BEGIN IMMEDIATE")
        try:
            await db.execute("UPDATE account SET amount = amount - 5 WHERE name = 'alice'")
            await asyncio.sleep(60)
            await db.execute("UPDATE account SET amount = amount + 5 WHERE name = 'bob'")
        except BaseException:
            await db.rollback()
            raise
        await db.commit()

    async with looplite.connect(path, isolation_level=None) as db:
        task = asyncio.create_task(transfer(db))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        print("transaction open:", db.in_transaction)


async def timed_out(path: Path) -> None:
    async with looplite.connect(path) as db:
        try:
            await asyncio.wait_for(db.execute_fetchall(ENDLESS), timeout=0.05)
        except asyncio.TimeoutError:
            print("too long; the connection is fine:", await db.execute_fetchall("SELECT 1"))


async def threads(path: Path) -> None:
    async with looplite.connect(path) as db:

        async def ask() -> None:
            print("from a thread:", await db.execute_fetchall("SELECT count(*) FROM account"))

        thread = threading.Thread(target=lambda: asyncio.run(ask()))
        thread.start()
        await asyncio.to_thread(thread.join)


def in_a_process(path: Path) -> None:
    async def work() -> None:
        async with looplite.connect(path) as db:
            await db.execute("INSERT INTO account VALUES ('erin', 1)")
            await db.commit()

    asyncio.run(work())


async def processes(path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=in_a_process, args=(path,))
    process.start()
    await asyncio.to_thread(process.join)
    async with looplite.connect(path) as db:
        where = "name = 'erin'"
        print("erin:", await db.execute_fetchall(f"SELECT amount FROM account WHERE {where}"))


async def closing(path: Path) -> None:
    async with looplite.connect(path) as db:
        reading = asyncio.create_task(db.execute_fetchall(ENDLESS))
        await asyncio.sleep(0.01)
        reading.cancel()  # else the end of this block waits for it
    await asyncio.wait([reading])
    print("closed:", db.closed)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bank.db"
        for section in (
            make,
            in_order,
            shared_by_accident,
            one_each,
            snapshot,
            writers,
            busy,
            cancelled,
            cleaned_up,
            timed_out,
            threads,
            processes,
            closing,
        ):
            await section(path)


if __name__ == "__main__":
    asyncio.run(main())
