"""AsyncEventChannel: listeners, iteration, and configurations."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import looplite
import pytest
from events.conftest import Clock
from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.extensions.events import (
    AsyncEventChannel,
    AsyncTableEventQueue,
    EventChannelError,
    EventMessage,
)
from support import looplite_only
from support.locks import rows
from support.loops import caught, until

pytestmark = looplite_only


def states(path: Path) -> list[tuple[object, ...]]:
    return rows(path, "SELECT state, attempts FROM looplite_event_queue ORDER BY seq")


def test_listen(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        got: list[Any] = []

        async def handler(event: EventMessage) -> None:
            await asyncio.sleep(0)
            got.append(event.payload)

        async with AsyncEventChannel(path) as channel:
            assert channel.backend_name == "table_queue"
            await channel.publish("a", 0)
            listener: Any = channel.listen("a", handler)
            other: Any = channel.listen("b", lambda event: got.append(event.payload))
            await channel.publish("a", 1, {"m": 1})
            await channel.publish_many([("a", 2), ("b", "plain")])
            await until(lambda: len(got) == 4)
            await channel.stop_listener(listener.id)
            await channel.stop_listener(listener.id)
            assert not listener.running
            assert other.running
            assert states(path) == []
            await channel.publish("a", 3)
        assert not other.running
        assert sorted(map(str, got)) == ["0", "1", "2", "plain"]
        assert states(path) == [("ready", 0)]

    run(main)


def test_a_handler_that_fails_is_run_again(
    run: Callable[..., Any], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "looplite.events")

    async def main() -> None:
        tried: list[int] = []

        def handler(event: EventMessage) -> None:
            tried.append(event.attempts)
            if event.attempts < 3 or event.payload == "poison":
                raise ValueError("not yet")

        async with AsyncEventChannel(path, retry_delay=lambda _: 0.001, max_attempts=4) as channel:
            listener = channel.listen("a", handler)
            await channel.publish("a", "good")
            await until(lambda: len(tried) == 3)
            await channel.publish("a", "poison")
            await until(lambda: len(tried) == 7)
            await listener.stop()
            assert tried == [1, 2, 3, 1, 2, 3, 4]
            assert states(path) == [("dead", 4)]
            [dead] = await channel.queue.dead_letters("a")
            assert dead.last_error == "ValueError('not yet')"

    run(main)
    assert "attempt 4 of 4: ValueError('not yet')" in caplog.messages[-1]


def test_a_long_handler_keeps_its_lease(run: Callable[..., Any], path: Path, clock: Clock) -> None:
    """By the test's clock it runs for ten leases, and the other consumer looks all the time."""

    async def main() -> None:
        began: list[int] = []
        gate = asyncio.Event()
        clock.now = 1_700_000_000.0

        async def handler(event: EventMessage) -> None:
            began.append(event.attempts)
            await gate.wait()

        async with AsyncEventChannel(path, lease_seconds=0.03, clock=clock) as channel:
            extended = 0
            extend = channel.queue.extend

            async def counted(*args: Any) -> bool:
                nonlocal extended
                kept = await extend(*args)
                extended += 1
                return kept

            channel.queue.extend = counted  # type: ignore[method-assign, assignment]
            listener = channel.listen("a", handler, concurrency=2)
            await channel.publish("a", 1)
            await until(lambda: began)
            for _ in range(20):
                clock.now += 0.015
                # The first may have read the clock before.
                wanted = extended + 2
                await until(lambda wanted=wanted: extended >= wanted)  # type: ignore[misc]
            assert began == [1]
            gate.set()
            await listener.stop()
            assert states(path) == []

    run(main)


def test_a_handler_whose_event_went_to_another_is_cancelled(
    run: Callable[..., Any], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        ended: list[str] = []
        began = asyncio.Event()

        async def handler(event: EventMessage) -> None:
            began.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                ended.append(event.event_id)
                raise

        async with AsyncEventChannel(path, lease_seconds=0.02) as channel:
            listener = channel.listen("a", handler)
            id_ = await channel.publish("a", 1)
            await began.wait()
            await channel.ack(id_)  # somebody else did it
            await until(lambda: ended == [id_])
            await listener.stop()

    run(main)
    assert "took longer than its lease" in caplog.text


def test_stop_lets_handlers_finish_and_cancel_does_not(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        began = asyncio.Event()
        gate = asyncio.Event()
        finished: list[Any] = []

        async def handler(event: EventMessage) -> None:
            began.set()
            await gate.wait()
            finished.append(event.payload)

        async with AsyncEventChannel(path) as channel:
            listener = channel.listen("a", handler)
            await channel.publish_many([("a", 1), ("a", 2)])
            await began.wait()
            stopping = asyncio.ensure_future(listener.stop())
            await asyncio.sleep(0)
            gate.set()
            await stopping
            assert finished == [1]
            assert states(path) == [("ready", 0)]
            gate.clear()
            began.clear()
            listener = channel.listen("a", handler)
            await began.wait()
            listener.task.cancel()
            assert isinstance(await caught(listener.task), asyncio.CancelledError)
            await until(lambda: not listener.running)
            assert finished == [1]
            assert states(path) == [("ready", 0)]  # given back, and not counted

    run(main)


def test_handlers_side_by_side(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        together = 0
        gate = asyncio.Event()

        async def handler(event: EventMessage) -> None:
            nonlocal together
            together += 1
            if together == 3:
                gate.set()
            await gate.wait()

        async with AsyncEventChannel(path) as channel:
            listener = channel.listen("a", handler, concurrency=3)
            await channel.publish_many([("a", n) for n in range(3)])
            await gate.wait()
            await listener.stop()
        assert states(path) == []

    run(main)


def test_a_handler_that_acknowledges_itself(path: Path) -> None:
    async def main() -> None:
        got: list[EventMessage] = []
        async with AsyncEventChannel(path) as channel:
            listener = channel.listen("a", got.append, auto_ack=False)
            await channel.publish("a", 1)
            await until(lambda: got)
            await listener.stop()
            assert states(path) == [("leased", 1)]
            assert await channel.nack(got[0], delay=0)
            assert states(path) == [("ready", 1)]

    asyncio.run(main())


def test_iterate(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        async with AsyncEventChannel(path) as channel:
            await channel.publish_many([("a", n) for n in range(3)])
            found = []
            async for event in channel.iter_events("a"):
                found.append(event.payload)
                await channel.ack(event)
                if event.payload == 2:
                    break
            assert found == [0, 1, 2]

            async def rest() -> list[Any]:
                return [event.payload async for event in channel.iter_events("a")]

            task = asyncio.ensure_future(rest())
            await until(lambda: channel.queue.waiters)
            await channel.shutdown()
            assert await task == []

    run(main)


def test_a_listener_outlives_a_database_that_is_out_of_order(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        got: list[Any] = []
        async with AsyncEventChannel(path, poll_interval=0.002) as channel:
            async with looplite.connect(path) as db:
                await db.execute("ALTER TABLE looplite_event_queue RENAME TO away")
                listener = channel.listen("a", lambda event: got.append(event.payload))
                await until(lambda: "cannot take events" in caplog.text)
                await db.execute("ALTER TABLE away RENAME TO looplite_event_queue")
            await channel.publish("a", 1)
            await until(lambda: got == [1])
            await listener.stop()

    asyncio.run(main())


def test_configurations(path: Path) -> None:
    class Config:
        extension_config: ClassVar[Any] = {
            "events": {"queue_table": "jobs", "lease_seconds": 7, "event_poll_interval": 3}
        }

        @asynccontextmanager
        async def provide_connection(self) -> Any:
            async with looplite.connect(path) as db:
                yield db

    async def main() -> None:
        async with AsyncEventChannel(Config(), max_attempts=2) as channel:
            queue = channel.queue
            assert (queue.table_name, queue.lease_seconds, queue.poll_interval) == ("jobs", 7, 3)
            await channel.publish("a", 1)
        assert rows(path, "SELECT max_attempts FROM jobs") == [(2,)]
        async with AsyncTableEventQueue(path) as queue:
            assert AsyncEventChannel(queue).queue is queue
            with pytest.raises(TypeError, match="options belong to the queue"):
                AsyncEventChannel(queue, max_attempts=1)

    asyncio.run(main())
    Config.extension_config = {"events": {"lease": 7}}
    with pytest.raises(EventChannelError, match="no key 'lease'; those it has are 'queue_table'"):
        AsyncEventChannel(Config())


def test_the_configuration_of_the_adapter(path: Path) -> None:
    async def main() -> None:
        config = AiosqliteConfig(
            connection_config={"database": str(path)},
            extension_config={"events": {"lease_seconds": 5}},
        )
        async with AsyncEventChannel(config) as channel:
            assert channel.queue.lease_seconds == 5
            task = asyncio.ensure_future(channel.queue.get("a"))
            await until(lambda: channel.queue.waiters)
            await channel.publish("a", {"x": 1})
            event = await task
            assert (event.payload, await channel.ack(event)) == ({"x": 1}, True)
        await config.close_pool()

    asyncio.run(main())


def test_mistakes_are_told(path: Path) -> None:
    wrong: Any = "handler"

    async def main() -> None:
        async with AsyncEventChannel(path) as channel:
            with pytest.raises(TypeError, match="a handler must be callable, and is str"):
                channel.listen("a", wrong)
            with pytest.raises(ValueError, match="concurrency must be an int of at least 1, not 0"):
                channel.listen("a", print, concurrency=0)

    asyncio.run(main())
