"""Several processes on one queue: each event to one of them, and none lost by kill -9.

`LL_KILL_ROUNDS` is how often processes are killed (3), `LL_SEED` replays the moments.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from looplite.extensions.events import AsyncTableEventQueue
from support import looplite_only
from support.locks import rows

pytestmark = looplite_only

ROUNDS = int(os.environ.get("LL_KILL_ROUNDS", "3"))

PRODUCER = """
import asyncio, sys
from looplite.extensions.events import AsyncTableEventQueue

async def main():
    async with AsyncTableEventQueue(sys.argv[1]) as queue:
        n = 0
        while n != int(sys.argv[2]):
            n += 1
            if n % 5:
                ids = [await queue.publish("work", n, delay=0.01 * (n % 3))]
            else:
                ids = await queue.publish_many([("work", n), ("work", n)])
            print(*ids, flush=True)  # now they are promised

asyncio.run(main())
"""

CONSUMER = """
import asyncio, sys
from looplite.extensions.events import AsyncTableEventQueue

async def main():
    path, lease = sys.argv[1], float(sys.argv[2])
    async with AsyncTableEventQueue(
        path, lease_seconds=lease, poll_interval=0.02, max_attempts=10**6
    ) as queue:
        while True:
            event = await queue.get("work")
            print(event.event_id, flush=True)  # the work is done
            await queue.ack(event)

asyncio.run(main())
"""


class Process:
    """A program of its own; what it says is gathered by line."""

    def __init__(self, source: str, *args: object) -> None:
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            [sys.executable, "-c", source, *map(str, args)], stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # one that was cut off was not said
                with self._said:
                    self.lines += line.split()
                    self._said.notify_all()
        with self._said:
            self._ended = True
            self._said.notify_all()

    def wait_for(self, count: int) -> None:
        with self._said:
            self._said.wait_for(lambda: self._ended or len(self.lines) >= count)
            assert len(self.lines) >= count, "the program ended early"

    def end(self) -> None:
        """As kill -9 does; or waits, if it ends by itself."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def finished(self) -> None:
        self._process.wait()
        assert self._process.returncode == 0
        self.end()


async def drained(path: Path, missing: set[str]) -> None:
    """Takes what is left, which comes as leases of the dead end, until nothing is missing."""
    async with AsyncTableEventQueue(path, lease_seconds=30, poll_interval=0.05) as queue:
        while missing or await queue.counts():
            event = await queue.get("work")
            missing.discard(event.event_id)
            assert await queue.ack(event)


def test_each_event_is_for_one_process(path: Path) -> None:
    total = 60
    producer = Process(PRODUCER, path, total)
    consumers = [Process(CONSUMER, path, 600) for _ in range(2)]
    try:
        producer.finished()
        published = producer.lines
        assert len(published) == total + total // 5

        async def all_taken() -> None:
            async with AsyncTableEventQueue(path, poll_interval=0.02) as queue:
                while await queue.counts():  # noqa: ASYNC110
                    await asyncio.sleep(0)

        asyncio.run(all_taken())
        for consumer in consumers:
            consumer.end()
        handled = [line for consumer in consumers for line in consumer.lines]
        assert sorted(handled) == sorted(published)
    finally:
        for consumer in consumers:
            consumer.end()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_nothing_is_lost_by_kill_9(path: Path, round_: int) -> None:
    seed = int(os.environ.get("LL_SEED", random.randrange(2**32))) + round_
    print("LL_SEED", seed)
    dice = random.Random(seed)
    handled: set[str] = set()
    producer = Process(PRODUCER, path, -1)
    consumers = [Process(CONSUMER, path, 0.2) for _ in range(2)]
    everyone = [producer, *consumers]
    try:
        for consumer in consumers:
            consumer.wait_for(dice.randint(1, 12))
            consumer.end()
            handled.update(consumer.lines)
        consumers.append(Process(CONSUMER, path, 0.2))
        everyone.append(consumers[-1])
        producer.wait_for(len(producer.lines) + dice.randint(1, 20))
        producer.end()
        consumers[-1].wait_for(1)
    finally:
        for process in everyone:
            process.end()
    handled.update(consumers[-1].lines)
    promised = set(producer.lines)
    assert promised
    asyncio.run(drained(path, promised - handled))
    assert rows(path, "SELECT count(*) FROM looplite_event_queue") == [(0,)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
