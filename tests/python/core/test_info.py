"""engine_info() and stats(): what looplite says of itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only

Run = Callable[..., Any]

GUARDED = ("nowait", "tmpfs", "mincore")


@looplite_only
def test_the_engine(run: Run) -> None:
    async def main() -> dict[str, Any]:
        info: dict[str, Any] = lib.engine_info()
        return info

    for info in (run(main), lib.engine_info()):
        memory = sqlite3.connect(":memory:")
        source_id = memory.execute("SELECT sqlite_source_id()").fetchone()[0]
        memory.close()
        assert info["looplite_version"] == lib.__version__
        assert info["sqlite_version"] == sqlite3.sqlite_version
        assert info["sqlite_source_id"] == source_id
        assert info["sqlite_threadsafe"] in (1, 2)
        assert sqlite3.sqlite_version in info["sqlite_found"]
        assert info["reads_hooked"] is True
        assert info["max_workers"] >= 4
        assert 0 < info["attempt_seconds"] <= info["turn_seconds"] < 1
        assert "connection" not in info


@looplite_only
def test_a_connection(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        db = lib.connect(tmp_path / "a.db")
        assert lib.engine_info(db)["connection"]["reason"] == "the connection is not open"
        async with db:
            await db.execute("CREATE TABLE t(a)")
            found = lib.engine_info(connection=db)["connection"]
            assert set(found) == {"on_loop", "disk_guard", "reason"}
            assert found["on_loop"] is (found["disk_guard"] in GUARDED)
            await db.execute("ATTACH ':memory:' AS more")
            found = lib.engine_info(db)["connection"]
            assert found["on_loop"] is False
            assert found["reason"]
        assert lib.engine_info(db)["connection"]["on_loop"] is False
        async with lib.connect(":memory:") as memory:
            found = lib.engine_info(memory)["connection"]
            assert found["on_loop"] is False
            assert "first statement" in found["reason"]
            await memory.execute("SELECT 1")
            found = lib.engine_info(memory)["connection"]
            assert found["on_loop"] is True
            assert found["disk_guard"] == "tmpfs"

    run(main)


@looplite_only
def test_what_is_no_connection() -> None:
    with pytest.raises(TypeError, match=r"looplite\.Connection, not str"):
        lib.engine_info("a.db")
    with pytest.raises(TypeError):
        lib.engine_info(None, None)


@looplite_only
def test_stats_have_all_counters(run: Run) -> None:
    async def main() -> None:
        stats = lib.stats()
        assert {"inline_hits", "misses", "retries", "retry_hits", "deferred"} <= set(stats)
        assert {"handovers", "hops", "stalls", "snapshot_hits", "snapshot_takes"} <= set(stats)
        assert {"gate_waits", "gate_gaps", "cache_waits"} <= set(stats)
        assert {"bounced_disk", "bounced_time", "inline_refused"} <= set(stats)
        assert all(isinstance(number, int) for number in stats.values())

    run(main)
