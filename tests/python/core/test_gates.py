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

    async def attached(who: int, first: Path, second: Path) -> Any:
        db = await lib.connect(tmp_path / f"own{who}.db", isolation_level=None, timeout=3600)
        await db.execute("ATTACH ? AS one", (str(first),))
        await db.execute("ATTACH ? AS two", (str(second),))
        return db

    async def write(who: int, db: Any) -> None:
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
        # One after the other: who is first at a WAL makes its index, which another one waits for.
        dbs = [await attached(0, *paths), await attached(1, *reversed(paths))]
        before = lib.stats()
        await asyncio.gather(*(write(who, db) for who, db in enumerate(dbs)))
        after = lib.stats()
        waits = after["gate_waits"] - before["gate_waits"]
        assert waits > 0
        # Once for each, and once more behind a gap, which is made when something takes very long.
        gaps = after["gate_gaps"] - before["gate_gaps"]
        assert waits <= after["parks"] - before["parks"] <= waits + gaps
        for db in dbs:
            await db.close()
        for path in paths:
            async with lib.connect(path) as db:
                assert await db.execute_fetchall("SELECT count(*) FROM t") == [(2 * rounds,)]

    run(main)
    assert order.count(0) == order.count(1) == rounds
