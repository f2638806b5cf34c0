"""Calls that finish at once leave the loop its turns: a single task that never stops asking, and
many tasks of which each keeps to its share.

Counted, not timed: what a turn may hold is compared with what it holds for one task alone.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable
from typing import Any

from support import lib, looplite_only
from support.loops import Ticks

Run = Callable[..., Any]

READ = "SELECT b FROM t WHERE a = 1"
AWAITS = 1_000_000
TASKS = 100
TURNS = 60


async def fill(db: Any) -> None:
    await db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
    await db.execute("INSERT INTO t VALUES (1, 'one')")
    await db.commit()
    await db.execute_fetchall(READ)


@looplite_only
def test_a_million_awaits_in_one_task_do_not_starve_a_timer() -> None:
    """They take a second at the very least, in which a timer of a millisecond could fire a thousand
    times; a task that never gave way would let it fire never.
    """

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await fill(db)
            async with Ticks(0.001) as ticks:
                for _ in range(AWAITS):
                    await db.execute_fetchall(READ)
            assert ticks.count >= 20

    asyncio.run(main())


async def reads_per_turn(db: Any, tasks: int) -> float:
    """How many reads end between two turns of the loop, when so many tasks ask all the time."""
    done = 0
    counts: list[int] = []

    async def ask() -> None:
        nonlocal done
        while len(counts) < TURNS:
            await db.execute_fetchall(READ)
            done += 1

    async def watch() -> None:
        nonlocal done
        while len(counts) < TURNS:
            done = 0
            await asyncio.sleep(0)
            if done > 0:
                counts.append(done)

    await asyncio.gather(watch(), *(ask() for _ in range(tasks)))
    return statistics.median(counts)


@looplite_only
def test_many_tasks_within_their_share_do_not_starve_the_loop(run: Run) -> None:
    """Were the time of a turn counted anew whenever one of them gives way, a turn would hold as
    much for each of them as it holds for one alone ([M] gaps of 100 to 364 ms).
    """

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await fill(db)
            alone = await reads_per_turn(db, 1)
            together = await reads_per_turn(db, TASKS)
            assert together <= 10 * alone, (alone, together)

    run(main)
