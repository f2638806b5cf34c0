"""The programs of docs/guide/queue.md, in one file that runs.

    python examples/python/job_queue.py

Each function is one section of the page; tools/check_samples.py compares the two.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
from pathlib import Path

import looplite
from looplite.crud import apply_schema, get_db, insert
from looplite.extensions.events import AsyncEventChannel, AsyncTableEventQueue, EventMessage


async def listening(path: Path) -> None:
    sent = asyncio.Event()

    async def send(event: EventMessage) -> None:
        print("mail to", event.payload["to"])
        sent.set()

    async with AsyncEventChannel(path) as channel:
        listener = channel.listen("mail", send, concurrency=4)
        await channel.publish("mail", {"to": "ada@example.org"})
        await sent.wait()
        await listener.stop()


async def by_hand(path: Path) -> None:
    async with AsyncTableEventQueue(path, lease_seconds=60) as queue:
        await queue.publish_many([("resize", "a.png"), ("resize", "b.png")])
        event = await queue.get("resize")
        print("resize", event.payload, "attempt", event.attempts, "of", event.max_attempts)
        await queue.ack(event)
        for event in await queue.lease("resize", limit=10):
            print("resize", event.payload)
            await queue.release(event)  # not now: it is ready again


async def failing(path: Path) -> None:
    async with AsyncTableEventQueue(
        path, max_attempts=3, retry_delay=lambda attempts: 0.01 * 2**attempts
    ) as queue:
        job = await queue.publish("charge", {"amount": 5})
        for _ in range(3):
            event = await queue.get("charge")
            await queue.nack(event, error="card declined")
        for event in await queue.dead_letters("charge"):
            print("dead after", event.attempts, "attempts:", event.last_error)
        await queue.requeue(job)
        print(await queue.counts())


async def later(path: Path) -> None:
    async with AsyncTableEventQueue(path) as queue:
        await queue.publish("remind", "tea is ready", delay=0.05)
        print("now:", await queue.dequeue("remind"))
        event = await queue.get("remind", timeout=10)
        print(event.payload)
        await queue.ack(event)


async def with_the_order(path: Path) -> None:
    async with get_db(path) as db:
        await apply_schema(db, "CREATE TABLE purchase(id INTEGER PRIMARY KEY, item TEXT UNIQUE)")
    async with AsyncTableEventQueue(path) as queue:
        try:
            async with get_db(path) as db:
                number = await insert(db, "purchase", {"item": "lamp"})
                await queue.publish("ship", {"purchase": number}, db=db)
                await insert(db, "purchase", {"item": "lamp"})
        except looplite.IntegrityError:
            print("nothing to ship:", await queue.dequeue("ship"))
        async with get_db(path) as db:
            number = await insert(db, "purchase", {"item": "lamp"})
            await queue.publish("ship", {"purchase": number}, db=db)
        queue.wake("ship")
        print("ship", (await queue.get("ship")).payload)


def in_a_process(path: Path) -> None:
    async def work() -> None:
        async with AsyncTableEventQueue(path, poll_interval=0.05) as queue:
            event = await queue.get("sum")
            await queue.publish("result", sum(event.payload))
            await queue.ack(event)

    asyncio.run(work())


async def processes(path: Path) -> None:
    async with AsyncTableEventQueue(path, poll_interval=0.05) as queue:
        process = multiprocessing.get_context("spawn").Process(target=in_a_process, args=(path,))
        process.start()
        await queue.publish("sum", [1, 2, 3])
        event = await queue.get("result")
        print("sum:", event.payload)
        await queue.ack(event)
        await asyncio.to_thread(process.join)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.db"
        for section in (listening, by_hand, failing, later, with_the_order, processes):
            await section(path)


if __name__ == "__main__":
    asyncio.run(main())
