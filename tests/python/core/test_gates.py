"""Writers of one process stand in line before SQLite, first come first served, for all files that a
connection has attached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import lib, looplite_only

Run = Callable[..., Any]


@looplite_only
def test_two_attached_files_in_opposite_order(run: Run, tmp_path: Path) -> None:
    """No deadlock, no "database is locked"; nobody polls, and both come in turns."""
    rounds = 100
    order: list[int] = []
    paths = [tmp_path / "a.db", tmp_path / "b.db"]

    async def client(who: int, first: Path, second: Path) -> None:
        own = tmp_path / f"own{who}.db"
        async with lib.connect(own, isolation_level=None, timeout=3600) as db:
            await db.execute("ATTACH ? AS one", (str(first),))
            await db.execute("ATTACH ? AS two", (str(second),))
            for _ in range(rounds):
                await db.execute("BEGIN IMMEDIATE")
                order.append(who)
                await db.execute("INSERT INTO one.t VALUES (1)")
                await asyncio.sleep(0)
                await db.execute("INSERT INTO two.t VALUES (1)")
                await db.execute("COMMIT")

    async def main() -> None:
        for path in paths:
            async with lib.connect(path, isolation_level=None) as db:
                await db.execute("PRAGMA journal_mode = WAL")
                await db.execute("CREATE TABLE t(x)")
        before = lib.stats()
        await asyncio.gather(client(0, *paths), client(1, *reversed(paths)))
        after = lib.stats()
        waits = after["gate_waits"] - before["gate_waits"]
        assert waits > 0
        # Once for each, and once more behind a gap, which is made when something takes very long.
        gaps = after["gate_gaps"] - before["gate_gaps"]
        assert waits <= after["parks"] - before["parks"] <= waits + gaps
        for path in paths:
            async with lib.connect(path) as db:
                assert await db.execute_fetchall("SELECT count(*) FROM t") == [(2 * rounds,)]

    run(main)
    assert order.count(0) == order.count(1) == rounds
