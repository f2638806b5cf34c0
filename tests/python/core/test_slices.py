"""Large results are decoded in slices: other tasks have their turns meanwhile, counted and not
timed.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.loops import Ticks, turns

Run = Callable[..., Any]

ROWS = 200_000
SQL = f"WITH RECURSIVE c(x) AS (VALUES (0) UNION ALL SELECT x + 1 FROM c LIMIT {ROWS}) SELECT x, 'text ' || x, x * 0.5 FROM c"  # noqa: E501
# Far fewer than there are slices, far more than a decoder that does all at once would let through.
ENOUGH = 20


@looplite_only
@pytest.mark.parametrize("way", ["fetchall", "fetchmany", "execute_fetchall"])
@pytest.mark.parametrize(
    "factory", [None, sqlite3.Row, lambda cursor, row: list(row)], ids=["tuple", "Row", "function"]
)
def test_others_have_turns_during_a_large_fetch(run: Run, way: str, factory: Any) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            db.row_factory = factory
            async with Ticks() as ticks:
                if way == "execute_fetchall":
                    found = await db.execute_fetchall(SQL)
                else:
                    cursor = await db.execute(SQL)
                    before = ticks.count
                    found = await (
                        cursor.fetchall() if way == "fetchall" else cursor.fetchmany(ROWS + 1)
                    )
                    assert ticks.count - before >= ENOUGH
                assert ticks.count >= ENOUGH
            assert len(found) == ROWS
            assert list(found[-1]) == [ROWS - 1, f"text {ROWS - 1}", (ROWS - 1) * 0.5]

    run(main)


@looplite_only
def test_others_have_turns_during_iteration(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            async with Ticks() as ticks:
                count = 0
                async for _ in await db.execute(SQL):
                    count += 1
            assert count == ROWS
            assert ticks.count >= ENOUGH

    run(main)


@looplite_only
def test_others_have_turns_while_parameters_are_taken(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute("CREATE TABLE t(a, b)")
            async with Ticks() as ticks:
                await db.executemany(
                    "INSERT INTO t VALUES (?, ?)", ((n, f"n{n}") for n in range(ROWS))
                )
            assert ticks.count >= ENOUGH
            assert list(await db.execute_fetchall("SELECT count(*), sum(a) FROM t")) == [
                (ROWS, sum(range(ROWS)))
            ]

    run(main)


@looplite_only
def test_two_large_fetches_share_the_loop(run: Run, path: Path) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as one, lib.connect(":memory:") as two:
            found = await asyncio.gather(one.execute_fetchall(SQL), two.execute_fetchall(SQL))
            assert [len(f) for f in found] == [ROWS, ROWS]

    run(main)


@looplite_only
def test_cancelled_between_two_slices(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            cursor = await db.execute(SQL)
            task = asyncio.ensure_future(cursor.fetchall())
            await turns(3)
            assert not task.done()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            await cursor.execute("SELECT 1")
            assert await cursor.fetchall() == [(1,)]

    run(main)


@looplite_only
def test_connection_closed_between_two_slices(run: Run) -> None:
    """Rows or a clear error, never a crash."""

    async def main() -> None:
        db = await lib.connect(":memory:")
        cursor = await db.execute(SQL)
        task = asyncio.ensure_future(cursor.fetchall())
        await turns(3)
        await db.close()
        try:
            assert len(await task) == ROWS
        except (sqlite3.Error, ValueError) as error:
            assert str(error)  # noqa: PT017

    run(main)


@looplite_only
def test_another_task_uses_the_cursor_between_two_slices(run: Run) -> None:
    """Every row goes to one of the two, in order for each."""

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            cursor = await db.execute(SQL)
            one = asyncio.ensure_future(cursor.fetchall())
            await turns(2)
            two = asyncio.ensure_future(cursor.fetchmany(10))
            first, second = await asyncio.gather(one, two)
            found = [row[0] for row in first] + [row[0] for row in second]
            assert sorted(found) == list(range(ROWS))

    run(main)


def test_one_value_larger_than_any_slice(run: Run) -> None:
    async def main() -> None:
        async with (
            lib.connect(":memory:") as db,
            db.execute("SELECT zeroblob(30000000), 1") as cursor,
        ):
            ((blob, one),) = await cursor.fetchall()
            assert len(blob) == 30_000_000
            assert one == 1

    run(main)
