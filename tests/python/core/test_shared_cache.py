"""A true shared cache has one mutex for all its connections, which a worker may hold for long while
it waits for the GIL: nothing of such a connection may run on the loop, which holds the GIL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support import lib, looplite_only

Run = Callable[..., Any]


async def hits_of_reads(database: str, **options: Any) -> int:
    async with lib.connect(database, **options) as db:
        await db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY)")
        await db.execute("INSERT INTO t VALUES (1)")
        await db.commit()
        before: int = lib.stats()["inline_hits"]
        for _ in range(20):
            assert await db.execute_fetchall("SELECT a FROM t WHERE a = 1") == [(1,)]
        after: int = lib.stats()["inline_hits"]
        return after - before


@looplite_only
@pytest.mark.parametrize(
    "database", ["file::memory:?cache=shared", "file:shared_one?mode=memory&cache=shared"]
)
def test_shared_cache_stays_off_the_loop(run: Run, database: str) -> None:
    async def main() -> None:
        assert await hits_of_reads(database, uri=True) == 0

    run(main)


@looplite_only
def test_private_memory_does_not(run: Run) -> None:
    async def main() -> None:
        assert await hits_of_reads(":memory:") > 0

    run(main)
