"""Consumers that wait: who wakes them, that nothing is missed, and what a cancellation leaves."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import looplite
import pytest
from events.conftest import Clock
from looplite.crud import transaction
from looplite.extensions.events import AsyncTableEventQueue, EventChannelError
from support import looplite_only
from support.locks import rows, write_lock
from support.loops import caught, turns, until

pytestmark = looplite_only

NEVER = 3600.0
"""No test waits for it: whoever relies on polling then hangs."""


def states(path: Path) -> list[tuple[object, ...]]:
    return rows(path, "SELECT state, attempts FROM looplite_event_queue ORDER BY seq")


async def waiting(queue: AsyncTableEventQueue, count: int = 1) -> None:
    """Until that many consumers have found nothing and sleep."""
    await until(lambda: sum(waiter._future is not None for waiter in queue.waiters) == count)


def test_our_own_publish_wakes_without_polling(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        async with (
            AsyncTableEventQueue(path, poll_interval=NEVER) as queue,
            AsyncTableEventQueue(path, poll_interval=NEVER) as other,
        ):
            for publisher in (queue, other):
                task = asyncio.ensure_future(queue.get("a"))
                await waiting(queue)
                await publisher.publish("b", 0)
                await publisher.publish("a", 1)
                event = await task
                assert event.payload == 1
                task = asyncio.ensure_future(queue.get("a"))
                await waiting(queue)
                # Whatever makes an event ready wakes: given back, failed, revived.
                await publisher.release(event)
                event = await task
                task = asyncio.ensure_future(queue.get("a"))
                await waiting(queue)
                await publisher.nack(event, delay=0)
                event = await task
                await queue.ack(event)

    run(main)


def test_published_in_another_transaction_and_woken_after_its_commit(path: Path) -> None:
    async def main() -> None:
        async with (
            AsyncTableEventQueue(path, poll_interval=NEVER) as queue,
            looplite.connect(path) as db,
        ):
            task = asyncio.ensure_future(queue.get("a"))
            await waiting(queue)
            async with transaction(db):
                await queue.publish("a", 1, db=db)
                await turns(5)
                assert not task.done()
            queue.wake("a")
            assert (await task).payload == 1
        async with (
            AsyncTableEventQueue(path, poll_interval=NEVER) as queue,
            looplite.connect(path, isolation_level=None) as db,
        ):
            task = asyncio.ensure_future(queue.get("a"))
            await waiting(queue)
            await queue.publish("a", 2, db=db)  # was committed by itself
            assert (await task).payload == 2

    asyncio.run(main())


def test_another_thread_with_a_loop_of_its_own(path: Path) -> None:
    async def publish() -> None:
        async with AsyncTableEventQueue(path, poll_interval=NEVER) as queue:
            await queue.publish("a", 1)

    async def main() -> None:
        async with AsyncTableEventQueue(path, poll_interval=NEVER) as queue:
            task = asyncio.ensure_future(queue.get("a"))
            await waiting(queue)
            thread = threading.Thread(target=lambda: asyncio.run(publish()))
            thread.start()
            assert (await task).payload == 1
            await asyncio.to_thread(thread.join)

    asyncio.run(main())


def test_another_connection_is_noticed_by_data_version(run: Callable[..., Any], path: Path) -> None:
    """As another process is: the queue was not told of what this connection wrote."""

    async def main() -> None:
        async with (
            AsyncTableEventQueue(path, poll_interval=0.01) as queue,
            looplite.connect(path, isolation_level=None) as db,
        ):
            tasks = [asyncio.ensure_future(queue.get("a")) for _ in range(3)]
            await waiting(queue, 3)
            for n in range(3):
                await db.execute(
                    "INSERT INTO looplite_event_queue(event_id, channel, payload_json, state, "
                    "max_attempts, created_at) VALUES (?, 'a', ?, 'ready', 5, 0)",
                    (f"e{n}", str(n)),
                )
            found = [event.payload for event in await asyncio.gather(*tasks)]
            assert sorted(found) == [0, 1, 2]

    run(main)


def test_idle_consumers_only_look_at_the_version(path: Path) -> None:
    """Each interval costs the file nothing but that: the table is not read, nothing is written."""
    asked: list[str] = []

    async def main() -> None:
        async with AsyncTableEventQueue(path, poll_interval=0.002) as queue:
            tasks = [asyncio.ensure_future(queue.get("a")) for _ in range(3)]
            await waiting(queue, 3)
            queue._db.on_statement = lambda statement: asked.append(statement.sql)
            await until(lambda: len(asked) >= 10)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            queue._db.on_statement = None
        assert set(asked) == {"PRAGMA data_version"}

    asyncio.run(main())


def test_delays_end_by_themselves(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(path, poll_interval=NEVER, lease_seconds=0.03) as queue:
            begun = time.time()
            await queue.publish("a", "later", delay=0.02)
            event = await queue.get("a")
            assert event.payload == "later"
            assert time.time() - begun >= 0.02
            # Nobody acknowledges: the end of the lease wakes, too.
            again = await queue.get("a")
            assert (again.event_id, again.attempts) == (event.event_id, 2)
            await queue.ack(again)
        async with AsyncTableEventQueue(path, poll_interval=NEVER) as queue:
            # One that waits already is told of a delay, and of a failure.
            task = asyncio.ensure_future(queue.get("b"))
            await waiting(queue)
            await queue.publish("b", 1, delay=0.01)
            event = await task
            task = asyncio.ensure_future(queue.get("b"))
            await waiting(queue)
            await queue.nack(event, delay=0.01)
            assert (await task).attempts == 2

    run(main)


def test_a_due_event_of_another_channel_wakes_its_own_consumer(path: Path, clock: Clock) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(path, poll_interval=NEVER, clock=clock) as queue:
            await queue.publish("b", 1, delay=10)
            task = asyncio.ensure_future(queue.get("b"))
            await waiting(queue)
            clock.now += 11
            assert await queue.dequeue("a") is None  # which makes it ready
            assert (await task).payload == 1

    asyncio.run(main())


def test_timeout(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(path) as queue:
            for timeout in (0, 0.01):
                with pytest.raises(asyncio.TimeoutError, match="no event came to the channel 'a'"):
                    await queue.get("a", timeout=timeout)
            await queue.publish("a", 1)
            assert (await queue.get("a", timeout=0)).payload == 1

    run(main)


def test_many_consumers_share_the_work(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        got: list[int] = []
        async with AsyncTableEventQueue(path, poll_interval=NEVER) as queue:

            async def consumer() -> None:
                while True:
                    event = await queue.get("a")
                    got.append(event.payload)
                    await queue.ack(event)

            tasks = [asyncio.ensure_future(consumer()) for _ in range(5)]
            for n in range(40):
                await queue.publish("a", n)
                await turns(n % 3)
            await until(lambda: len(got) == 40)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert sorted(got) == list(range(40))
            assert await queue.counts() in ({}, {"a": {"leased": 1}})

    run(main)


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
def test_a_cancelled_consumer_leaves_no_lease(
    run: Callable[..., Any], path: Path, twice: bool
) -> None:
    """Cancelled after n turns of the loop: it has the event, or the event is ready as it was."""

    async def main() -> None:
        async with AsyncTableEventQueue(path, poll_interval=NEVER) as queue:
            await queue.publish("a", 1)
            steps = 0
            while True:
                task = asyncio.ensure_future(queue.get("a"))
                await turns(steps)
                done = task.done()
                task.cancel()
                if twice:
                    await turns()
                    task.cancel()
                await asyncio.wait([task])
                # The second one may find it before it has been given back; that is done by then.
                await queue.counts()
                if done:
                    assert states(path) == [("leased", 1)]
                    await queue.ack(task.result())
                    break
                assert isinstance(await caught(task), asyncio.CancelledError)
                if twice:
                    await until(lambda: states(path) == [("ready", 0)])
                assert states(path) == [("ready", 0)]
                assert not queue.waiters
                steps += 1
            assert steps > 3

    run(main)


def test_a_cancelled_publish_is_whole(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(path) as queue:
            steps = 0
            while True:
                task = asyncio.ensure_future(queue.publish_many([("a", 1), ("a", 2)]))
                await turns(steps)
                done = task.done()
                task.cancel()
                await asyncio.wait([task])
                events = await queue.lease("a", 9)
                assert [event.payload for event in events] in ([], [1, 2])
                for event in events:
                    await queue.ack(event)
                if done:
                    assert events
                    break
                steps += 1
            assert steps > 2

    run(main)


def test_a_cancelled_publish_that_waits_for_the_lock(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(path) as queue:
            with write_lock(path):
                task = asyncio.ensure_future(queue.publish("a", 1))
                await turns(5)
                task.cancel()
                await turns(5)
                assert not task.done()
            assert isinstance(await caught(task), asyncio.CancelledError)
            assert await queue.counts() == {"a": {"ready": 1}}

    run(main)


def test_close_ends_the_waiting(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        queue = AsyncTableEventQueue(path, poll_interval=NEVER)
        tasks = [asyncio.ensure_future(queue.get("a")) for _ in range(3)]
        await waiting(queue, 3)
        await queue.close()
        for task in tasks:
            assert isinstance(await caught(task), EventChannelError)

    run(main)
