"""Cancellation at every await of a scenario: the pool is whole, nothing is half done, and the task knows.

The scenario is driven by hand: at its n-th suspension it is told of a cancellation the way a task does
it, and n goes from the first one to the last. `inline` is off, so each statement is a suspension.
"""
# ruff: noqa: ASYNC110, E501

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from looplite import _core
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from support import ENDLESS
from support.locks import probe
from support.outcomes import outcome as outcome_of

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_staying() -> Iterator[None]:
    """No call stays for its answer for a moment: each is a suspension."""
    before = _core._stay(0, 0)
    yield
    _core._stay(*before)


Scenario = Callable[[AiosqliteConfig, list[str]], Awaitable[Any]]


class Cancelled:
    """Awaits a coroutine, and cancels it at its n-th suspension; `reached` tells whether there was one."""

    def __init__(self, coroutine: Any, at: int) -> None:
        self._coroutine = coroutine
        self._at = at
        self.reached = False

    def __await__(self) -> Generator[Any, Any, Any]:
        count = 0
        error: BaseException | None = None
        while True:
            try:
                if error is None:
                    waits_for = self._coroutine.send(None)
                else:
                    waits_for = self._coroutine.throw(error)
            except StopIteration as stop:
                return stop.value
            error = None
            count += 1
            if count == self._at:
                self.reached = True
                if waits_for is not None:  # as Task.cancel() does
                    waits_for._asyncio_future_blocking = False
                    waits_for.cancel()
                error = asyncio.CancelledError()
                continue
            try:
                yield waits_for
            except BaseException as raised:
                error = raised


async def transaction_block(config: AiosqliteConfig, stages: list[str]) -> None:
    async with config.provide_session() as session:
        stages.append("begin")
        async with session.transaction():
            stages.append("write")
            await session.execute("INSERT INTO t VALUES (1)")
            await session.execute("INSERT INTO t VALUES (2)")
            stages.append("commit")
        stages.append("committed")


async def explicit_calls(config: AiosqliteConfig, stages: list[str]) -> None:
    async with config.provide_session() as session:
        stages.append("begin")
        await session.begin()
        stages.append("write")
        await session.execute("INSERT INTO t VALUES (1)")
        await session.execute("INSERT INTO t VALUES (2)")
        stages.append("commit")
        await session.commit()
        stages.append("committed")


async def nested_blocks(config: AiosqliteConfig, stages: list[str]) -> None:
    async with config.provide_session() as session:
        stages.append("begin")
        async with session.transaction(durability="normal"):
            stages.append("write")
            await session.execute("INSERT INTO t VALUES (1)")
            async with session.transaction():
                await session.execute("INSERT INTO t VALUES (2)")
            stages.append("commit")
        stages.append("committed")


async def many_rows(config: AiosqliteConfig, stages: list[str]) -> None:
    async with config.provide_session() as session:
        await session.execute_many("INSERT INTO t VALUES (?)", [1, 2])
        stages.append("committed")


async def a_raw_connection(config: AiosqliteConfig, stages: list[str]) -> None:
    async with config.provide_connection() as connection:
        await connection.execute("BEGIN IMMEDIATE")
        stages.append("write")
        await connection.execute("INSERT INTO t VALUES (1)")
        await connection.execute("INSERT INTO t VALUES (2)")
        stages.append("commit")
        await connection.commit()
        stages.append("committed")


async def a_stream(config: AiosqliteConfig, stages: list[str]) -> None:
    async with config.provide_session() as session:
        async with session.transaction():
            await session.execute_many("INSERT INTO t VALUES (?)", [1, 2])
            async with session.select_stream("SELECT x FROM t", chunk_size=1) as rows:
                async for _ in rows:
                    pass
            stages.append("commit")
        stages.append("committed")


async def single_statements(config: AiosqliteConfig, stages: list[str]) -> None:
    async with config.provide_session() as session:
        for x in (1, 2):
            stages.append("commit")
            await session.execute("INSERT INTO t VALUES (?)", x)
            stages.append(f"applied {x}")


@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize("group", [False, True])
def test_single_statements_at_every_await(run: Run, path: Path, journal: str, group: bool) -> None:
    """Each is applied or not, and its task knows which; nobody else is harmed."""
    config = AiosqliteConfig(
        connection_config={
            "database": path,
            "pool_size": 1,
            "inline": False,
            "connect_timeout": 60,
            "group_commit": group,
            "pragmas": {"journal_mode": journal, "synchronous": "off"},
        }
    )

    async def other(x: int) -> None:
        async with config.provide_session() as session:
            await session.execute("INSERT INTO t VALUES (?)", x)

    async def once(at: int) -> bool:
        async with config.provide_session() as session:
            await session.execute("DELETE FROM t")
        stages: list[str] = []
        cancelling = Cancelled(single_statements(config, stages), at)
        outcome = "applied"
        beside = [asyncio.ensure_future(other(x)) for x in (10, 11)]
        try:
            await cancelling
        except asyncio.CancelledError as error:
            outcome = error.looplite_outcome  # type: ignore[attr-defined]
        await asyncio.gather(*beside)
        done = sum(stage.startswith("applied") for stage in stages)
        if done < 2:
            assert outcome in ("applied", "not applied"), (at, stages)
            done += outcome == "applied"
        async with config.provide_session() as session:
            rows = await session.select("SELECT x FROM t ORDER BY x")
        assert [row["x"] for row in rows] == [*range(1, done + 1), 10, 11], (at, stages, outcome)
        return cancelling.reached

    async def main() -> int:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(x)")
            while group and config.stats()["group_members"] == 0:
                await session.execute("INSERT INTO t VALUES (0)")
        at = 1
        while await once(at):
            at += 1
        stats = config.stats()
        await config.close_pool()
        assert stats["leased"] == stats["waiting"] == 0
        return at

    assert run(main) >= 3
    with probe(path) as found:
        assert not found.in_use()


@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize(
    "scenario",
    [transaction_block, explicit_calls, nested_blocks, many_rows, a_raw_connection, a_stream],
)
def test_at_every_await(run: Run, path: Path, scenario: Scenario, journal: str) -> None:
    config = AiosqliteConfig(
        connection_config={
            "database": path,
            "pool_size": 2,
            "inline": False,
            "connect_timeout": 60,
            "pragmas": {"journal_mode": journal, "synchronous": "off"},
        }
    )

    async def once(at: int) -> bool:
        async with config.provide_session() as session:
            await session.execute("DELETE FROM t")
        stages: list[str] = []
        cancelling = Cancelled(scenario(config, stages), at)
        error = None
        try:
            await cancelling
        except asyncio.CancelledError as caught:
            error = caught
        # Nobody has a connection, nobody has a lock: a transaction is to be had at once.
        while config.stats()["leased"]:
            await asyncio.sleep(0)
        async with config.provide_session() as one, config.provide_session() as two:
            await one.begin()
            await two.begin("DEFERRED")
            rows = await one.select("SELECT x FROM t ORDER BY x")
        assert rows in ([], [{"x": 1}, {"x": 2}]), (at, stages)
        applied = rows != []
        if error is None:
            assert applied, (at, stages)
        else:
            outcome = error.looplite_outcome  # type: ignore[attr-defined]
            assert outcome in ("applied", "not applied", "unknown")
            if "committed" in stages:
                assert applied, (at, stages)
            elif stages and stages[-1] == "commit":
                # It was told of the commit: that is what it knows.
                assert outcome == ("applied" if applied else "not applied"), (at, stages)
            elif scenario is not many_rows:
                assert not applied, (at, stages)
        return cancelling.reached

    async def main() -> int:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(x)")
        at = 1
        while await once(at):
            at += 1
        stats = config.stats()
        await config.close_pool()
        assert stats["leased"] == stats["waiting"] == 0
        return at

    assert run(main) > 3
    with probe(path) as other:
        assert not other.in_use()


def test_while_it_waits_for_a_connection(run: Run, path: Path) -> None:
    config = AiosqliteConfig(connection_config={"database": path, "pool_size": 1})

    async def take() -> None:
        async with config.provide_connection():
            raise AssertionError("there was none")

    async def main() -> None:
        async with config.provide_connection():
            waiting = [asyncio.create_task(take()) for _ in range(5)]
            while config.stats()["waiting"] < 5:
                await asyncio.sleep(0)
            for task in waiting:
                task.cancel()
            for task in waiting:
                with pytest.raises(asyncio.CancelledError) as caught:
                    await task
                assert outcome_of(caught.value) == "not applied"
        async with config.provide_connection():
            assert config.stats()["leased"] == 1
        await config.close_pool()

    run(main)


@pytest.mark.parametrize("own", [False, True])
def test_a_running_read_is_stopped(run: Run, path: Path, own: bool) -> None:
    config = AiosqliteConfig(
        connection_config={"database": path, "operation_timeout": None, "pool_size": 1}
    )

    async def main() -> None:
        async with config.provide_session() as session:
            if own:
                await session.own_connection()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(session.select(ENDLESS), 0.02)
            assert await session.select_value("SELECT 1") == 1
        await config.close_pool()

    run(main)


def test_a_cancelled_task_rolls_back_before_it_ends(run: Run, path: Path) -> None:
    config = AiosqliteConfig(connection_config={"database": path, "pool_size": 1})

    async def work(begun: asyncio.Event) -> None:
        async with config.provide_session() as session, session.transaction():
            await session.execute("INSERT INTO t VALUES (1)")
            begun.set()
            await asyncio.Event().wait()

    async def main() -> None:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(x)")
        begun = asyncio.Event()
        task = asyncio.create_task(work(begun))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with probe(path) as other:  # by then, not some time later
            assert not other.write_locked()
            assert other.value("SELECT count(*) FROM t") == 0
        await config.close_pool()

    run(main)


def test_twice(run: Run, path: Path) -> None:
    """A second cancellation, while the first one is being undone."""
    config = AiosqliteConfig(connection_config={"database": path, "pool_size": 1, "inline": False})

    async def work(session: AiosqliteDriver, begun: asyncio.Event) -> None:
        async with session.transaction():
            await session.execute("INSERT INTO t VALUES (1)")
            begun.set()
            await asyncio.Event().wait()

    async def main() -> None:
        for turns in range(8):
            async with config.provide_session() as session:
                await session.execute("CREATE TABLE IF NOT EXISTS t(x)")
            begun = asyncio.Event()

            async def whole(begun: asyncio.Event = begun) -> None:
                async with config.provide_session() as session:
                    await work(session, begun)

            task = asyncio.create_task(whole())
            await begun.wait()
            task.cancel()
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with config.provide_session() as session:  # the pool's only connection
                await session.begin()
                assert await session.select("SELECT * FROM t") == []
        await config.close_pool()

    run(main)
