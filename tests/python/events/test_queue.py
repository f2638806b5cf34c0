"""The queue: order, leases, acknowledgements, retries, dead letters, delays, mistakes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import looplite
import pytest
from events.conftest import Clock
from looplite.crud import transaction
from looplite.extensions.events import (
    AsyncTableEventQueue,
    EventChannelError,
    EventMessage,
    create_statements,
    drop_statements,
    exponential,
)
from support import looplite_only
from support.locks import make, rows

pytestmark = looplite_only


async def taken(queue: AsyncTableEventQueue, channel: str = "a", **options: Any) -> EventMessage:
    event = await queue.dequeue(channel, **options)
    assert event is not None
    return event


def test_publish_take_acknowledge(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(path) as queue:
            ids = [await queue.publish("a", {"n": n}, {"from": "test"}) for n in range(3)]
            await queue.publish("b", [1, "zwei", None])
            assert len(set(ids)) == 3
            for n in range(3):
                event = await taken(queue)
                assert (event.event_id, event.channel) == (ids[n], "a")
                assert (event.payload, event.metadata) == ({"n": n}, {"from": "test"})
                assert (event.attempts, event.max_attempts, event.last_error) == (1, 5, None)
                assert event.created_at.tzinfo is timezone.utc
                assert event.lease_expires_at is not None
                assert event.lease_expires_at > event.created_at
                assert await queue.ack(event) is True
                assert await queue.ack(event) is False
            assert await queue.dequeue("a") is None
            other = await taken(queue, "b")
            assert (other.payload, other.metadata) == ([1, "zwei", None], None)
            assert await queue.ack(other.event_id)
            assert await queue.counts() == {}

    run(main)
    assert rows(path, "SELECT count(*) FROM looplite_event_queue") == [(0,)]


def test_many_at_once(path: Path) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(path) as queue:
            ids = await queue.publish_many([("a", 1), ("b", 2, {"m": 1}), ("a", 3)])
            assert await queue.publish_many([]) == []
            assert [e.event_id for e in await queue.lease("a", 10)] == [ids[0], ids[2]]
            assert await queue.lease("a", 10) == []
            with pytest.raises(TypeError, match="not JSON serializable"):
                await queue.publish_many([("a", 4), ("a", object())])
            with pytest.raises(ValueError, match="channel is empty"):
                await queue.publish_many([("a", 5), ("", 6)])
            assert await queue.counts() == {"a": {"leased": 2}, "b": {"ready": 1}}

    asyncio.run(main())


def test_it_is_there_when_the_program_starts_again(path: Path) -> None:
    async def first() -> None:
        async with AsyncTableEventQueue(path) as queue:
            await queue.publish("a", 1)

    async def second() -> None:
        async with AsyncTableEventQueue(path) as queue:
            assert (await taken(queue)).payload == 1

    asyncio.run(first())
    asyncio.run(second())


def test_a_lease_that_ends_gives_the_event_to_another(path: Path, clock: Clock) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(path, lease_seconds=30, clock=clock) as queue:
            await queue.publish("a", "work")
            first = await taken(queue)
            clock.now += 29.9
            assert await queue.dequeue("a") is None
            clock.now += 0.2
            second = await taken(queue, lease_seconds=5)
            assert (second.event_id, second.attempts) == (first.event_id, 2)
            # The one who was slow cannot acknowledge, fail or keep what another one has now.
            assert not await queue.ack(first)
            assert not await queue.nack(first)
            assert not await queue.extend(first)
            assert not await queue.release(first)
            clock.now += 4
            assert await queue.extend(second)
            clock.now += 29
            assert await queue.dequeue("a") is None
            # Late, but nobody else has it: it counts.
            clock.now += 100
            assert await queue.ack(second)
            assert await queue.counts() == {}

    asyncio.run(main())


def test_a_failed_event_is_tried_again_later_each_time(path: Path, clock: Clock) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(path, max_attempts=4, clock=clock) as queue:
            id_ = await queue.publish("a", "work")
            for attempt, wait in ((1, 1), (2, 2), (3, 4)):
                event = await taken(queue)
                assert event.attempts == attempt
                assert await queue.nack(event, error=ValueError(f"no {attempt}"))
                clock.now += wait - 0.01
                assert await queue.dequeue("a") is None
                clock.now += 0.02
            event = await taken(queue)
            assert event.last_error == "ValueError('no 3')"
            assert await queue.nack(event, error="gave up")
            clock.now += 10_000
            assert await queue.dequeue("a") is None
            [dead] = await queue.dead_letters("a")
            assert (dead.event_id, dead.attempts, dead.payload) == (id_, 4, "work")
            assert dead.last_error == "gave up"
            assert await queue.dead_letters("b") == []
            assert await queue.requeue(id_) is True
            assert await queue.requeue(id_) is False
            assert (await taken(queue)).attempts == 1

    asyncio.run(main())


def test_delays_of_ones_own(path: Path, clock: Clock) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(
            path, clock=clock, retry_delay=lambda attempts: 10 * attempts
        ) as queue:
            await queue.publish("a", 1, max_attempts=3)
            event = await taken(queue)
            await queue.nack(event)
            clock.now += 10
            event = await taken(queue)
            await queue.nack(event, delay=0)
            event = await taken(queue)
            assert event.attempts == event.max_attempts == 3
            await queue.nack(event.event_id)
            assert await queue.counts() == {"a": {"dead": 1}}
            assert not await queue.nack("nobody")

    asyncio.run(main())
    delay = exponential(0.5, 3, 20)
    assert [delay(n) for n in (1, 2, 3, 4, 5, 10_000)] == [0.5, 1.5, 4.5, 13.5, 20, 20]


def test_a_consumer_that_dies_each_time(path: Path, clock: Clock) -> None:
    """Nobody says that it failed: its leases end, and with the last one it is dead."""

    async def main() -> None:
        async with AsyncTableEventQueue(path, max_attempts=2, clock=clock) as queue:
            await queue.publish("a", "poison")
            for _ in range(2):
                await taken(queue)
                clock.now += 31
            assert await queue.dequeue("a") is None
            [dead] = await queue.dead_letters("a")
            assert dead.last_error == "the lease of the last attempt ended"
            # One that gave up before the last attempt is told too.
            await queue.publish("b", 1)
            await queue.nack(await taken(queue, "b"), error="bad", delay=0)
            await taken(queue, "b")
            clock.now += 31
            assert await queue.lease("b") == []
            [dead] = await queue.dead_letters("b")
            assert dead.last_error == "bad; then the lease of the last attempt ended"

    asyncio.run(main())


def test_what_is_given_back_was_not_tried(path: Path) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(path, max_attempts=1) as queue:
            await queue.publish("a", 1)
            for _ in range(3):
                event = await taken(queue)
                assert event.attempts == 1
                assert await queue.release(event)
            assert not await queue.release(event)

    asyncio.run(main())


def test_delayed_events(path: Path, clock: Clock) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(path, clock=clock) as queue:
            await queue.publish("a", "later", delay=60)
            at = datetime.fromtimestamp(clock.now, timezone(timedelta(hours=5)))
            await queue.publish("a", "soon", delay=at + timedelta(seconds=30))
            await queue.publish("a", "past", delay=at - timedelta(days=1))
            await queue.publish("a", "now")
            assert await queue.counts() == {"a": {"ready": 2, "waiting": 2}}
            found = [e.payload for e in await queue.lease("a", 9, lease_seconds=1000)]
            assert found == ["past", "now"]
            clock.now += 29
            assert await queue.dequeue("a") is None
            clock.now += 1
            event = await taken(queue)
            assert event.payload == "soon"
            assert event.available_at is None
            clock.now += 31
            assert (await taken(queue)).payload == "later"
            with pytest.raises(ValueError, match="without a time zone"):
                await queue.publish("a", 1, delay=datetime(2030, 1, 1))

    asyncio.run(main())


def test_a_clock_that_is_set_back_delays_nothing_that_has_no_delay(
    path: Path, clock: Clock
) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(path, clock=clock) as queue:
            await queue.publish("a", 1)
            clock.now -= 3600
            await queue.publish("a", 2)
            assert [e.payload for e in await queue.lease("a", 2)] == [1, 2]
            # Clocks are in UTC: the local zone says nothing.
            event = await queue.publish("b", 1, delay=5)
        raw = rows(path, f"SELECT due_at FROM looplite_event_queue WHERE event_id = '{event}'")
        assert raw == [(round((clock.now + 5) * 1_000_000),)]

    asyncio.run(main())


def test_an_id_of_ones_own_is_there_once(path: Path) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(path) as queue:
            assert await queue.publish("a", 1, event_id="order-7") == "order-7"
            with pytest.raises(sqlite3.IntegrityError, match="event_id"):
                await queue.publish("a", 2, event_id="order-7")
            event = await taken(queue)
            assert not await queue.remove("order-7")  # somebody works on it
            await queue.ack(event)
            await queue.publish("a", 3, event_id="order-7")
            assert await queue.remove("order-7")
            assert await queue.dequeue("a") is None

    asyncio.run(main())


def test_published_in_a_transaction_of_ones_own(run: Callable[..., Any], path: Path) -> None:
    """The event is there if what it tells of is there."""
    make(path, "CREATE TABLE orders(id INTEGER PRIMARY KEY)")

    async def main() -> None:
        async with AsyncTableEventQueue(path) as queue, looplite.connect(path) as db:
            with pytest.raises(LookupError):  # noqa: PT012
                async with transaction(db):
                    await db.execute("INSERT INTO orders DEFAULT VALUES")
                    await queue.publish("orders", 1, db=db)
                    raise LookupError
            assert await queue.dequeue("orders") is None
            async with transaction(db):
                await db.execute("INSERT INTO orders DEFAULT VALUES")
                await queue.publish_many([("orders", 2), ("orders", 3)], db=db)
                assert await queue.dequeue("orders") is None
            assert [e.payload for e in await queue.lease("orders", 9)] == [2, 3]
            await db.execute("DELETE FROM orders")
            await db.commit()
        closed = AsyncTableEventQueue(path)
        async with looplite.connect(path) as db:
            with pytest.raises(EventChannelError, match="open the queue before"):
                await closed.publish("orders", 4, db=db)

    run(main)


def test_what_cannot_be_read_does_not_stop_the_queue(path: Path) -> None:
    async def main() -> None:
        async with AsyncTableEventQueue(path) as queue:
            id_ = await queue.publish("a", 1)
            await queue.publish("a", 2)
            make(
                path,
                "UPDATE looplite_event_queue SET payload_json = '{broken' "
                f"WHERE event_id = '{id_}'",
            )
            assert [e.payload for e in await queue.lease("a", 9)] == [2]
            [dead] = await queue.dead_letters("a")
            assert dead.payload == "{broken"
            assert dead.last_error is not None
            assert dead.last_error.startswith("cannot be read: ")

    asyncio.run(main())


def test_tables_with_names_of_their_own(path: Path) -> None:
    wild = "jobs \"; DROP TABLE x; --'"

    async def main() -> None:
        async with (
            AsyncTableEventQueue(path, table=wild) as one,
            AsyncTableEventQueue(path, table="jobs") as two,
        ):
            assert one.table_name == wild
            await one.publish("a", 1)
            assert await two.dequeue("a") is None
            event = await taken(one)
            await one.nack(event)
            assert await one.counts() == {"a": {"waiting": 1}}

    asyncio.run(main())
    db = sqlite3.connect(path)
    for statement in create_statements("jobs"):
        db.execute(statement)
    for name in (wild, "jobs"):
        for statement in drop_statements(name):
            db.execute(statement)
    assert (
        db.execute("SELECT name FROM sqlite_master WHERE name != 'sqlite_sequence'").fetchall()
        == []
    )
    db.close()


def test_statements_use_the_indexes(path: Path) -> None:
    """A long backlog costs no more than a short one."""
    from looplite.extensions.events import schema

    async def main() -> None:
        async with AsyncTableEventQueue(path):
            pass

    asyncio.run(main())
    db = sqlite3.connect(path)
    for name, sql in vars(schema.statements(schema.DEFAULT_TABLE)).items():
        if name in ("publish", "count"):
            continue
        given: Any = (
            (1, 1)
            if "?" in sql
            else dict.fromkeys(("id", "lease", "due", "state", "error", "channel", "limit", "now"))
        )
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", given)]
        assert not [step for step in plan if step.startswith("SCAN looplite")], (name, plan)
        assert not [step for step in plan if "TEMP B-TREE" in step], (name, plan)
    db.close()


def test_a_configuration_gives_the_connection(path: Path) -> None:
    given = []

    class Config:
        @asynccontextmanager
        async def provide_connection(self) -> Any:
            async with looplite.connect(path) as db:
                db.row_factory = lambda cursor, row: {
                    c[0]: v for c, v in zip(cursor.description, row, strict=True)
                }
                given.append(db)
                yield db

    async def main() -> None:
        async with AsyncTableEventQueue(Config()) as queue:
            await queue.publish("a", 1)
            event = await taken(queue)
            await queue.nack(event, delay=0, error="x")
            assert (await taken(queue)).last_error == "x"
            assert await queue.counts() == {"a": {"leased": 1}}
        assert [db.closed for db in given] == [True]

    asyncio.run(main())


def test_in_memory() -> None:
    async def main() -> None:
        async with (
            AsyncTableEventQueue(":memory:") as one,
            AsyncTableEventQueue(":memory:") as two,
        ):
            await one.publish("a", 1)
            assert await two.dequeue("a") is None
            assert (await taken(one)).payload == 1

    asyncio.run(main())


def test_mistakes_are_told(path: Path) -> None:
    wrong: Any
    for options, message in (
        ({"lease_seconds": 0}, "more than 0"),
        ({"poll_interval": -1}, "poll_interval must be 0 or more"),
        ({"max_attempts": 0}, "max_attempts must be an int of at least 1, not 0"),
        ({"table": ""}, "is empty"),
    ):
        wrong = options
        with pytest.raises(ValueError, match=message):
            AsyncTableEventQueue(path, **wrong)
    wrong = "1"
    with pytest.raises(TypeError, match="lease_seconds must be a number of seconds, not str"):
        AsyncTableEventQueue(path, lease_seconds=wrong)

    async def main() -> None:
        async with AsyncTableEventQueue(path) as queue:
            for bad, error in (("", ValueError), (5, TypeError)):
                channel: Any = bad
                with pytest.raises(error, match="channel"):
                    await queue.publish(channel, 1)
                with pytest.raises(error, match="channel"):
                    await queue.get(channel)
            with pytest.raises(ValueError, match="limit must be an int of at least 1, not 0"):
                await queue.lease("a", 0)
            with pytest.raises(ValueError, match="delay must be 0 or more seconds"):
                await queue.publish("a", 1, delay=-1)
            assert await queue.counts() == {}
        for call in (queue.publish("a", 1), queue.dequeue("a"), queue.get("a"), queue.open()):
            with pytest.raises(EventChannelError, match="the queue was closed"):
                await call
        await queue.close()
        missing = AsyncTableEventQueue(path / "no" / "folder")
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            await missing.open()

    asyncio.run(main())
