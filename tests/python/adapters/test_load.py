"""A hundred tasks on one configuration, and other processes at the same file.

No "database is locked", no lost row, no duplicate, and the order of each task is kept. What is asked here is who waits
for whom, so nothing is timed: the timeouts are as long as the watchdog's patience.

`LOOPLITE_TEST_LOAD` is how many rows each task writes (100; 1000 is the long form), `LOOPLITE_TEST_KILLS` how many
processes are killed while they write (3; 200 is the long form).
"""
# ruff: noqa: ASYNC220, E501

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from looplite.adapters.aiosqlite import AiosqliteConfig
from support.locks import rows as rows_of

Run = Callable[..., Any]

SLOW = bool(os.environ.get("LL_TEST_SLOW"))
LOAD = int(os.environ.get("LOOPLITE_TEST_LOAD", "10" if SLOW else "100"))
KILLS = int(os.environ.get("LOOPLITE_TEST_KILLS", "3"))
TASKS = 100
PATIENCE = 600.0

# Each prints a line when it is there, and in the end what it counted. Those that write do a fixed amount: with a rollback
# journal nothing keeps a process that never pauses from taking the lock again and again.
OTHERS = {
    "writes": """
db.execute("PRAGMA synchronous = off")
for count in range(1, LOAD + 1):
    db.execute("INSERT INTO t(task, n) VALUES (-1, ?)", (count - 1,))
""",
    "changes the schema": """
db.execute("PRAGMA synchronous = off")
for count in range(1, 21):
    db.execute("CREATE TABLE other(x)")
    db.execute("CREATE INDEX t_n ON t(n)")
    db.execute(f"ALTER TABLE t ADD COLUMN extra{count}")
    db.execute("DROP INDEX t_n")
    db.execute("DROP TABLE other")
""",
    "makes checkpoints": """
count = 0
while count < 5 or not over():
    busy, frames, done = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    count += not busy
""",
}
AROUND = """
import select, sqlite3, sys
LOAD = int(sys.argv[2])
db = sqlite3.connect(sys.argv[1], timeout={patience}, isolation_level=None)
def over():
    return bool(select.select([sys.stdin], [], [], 0)[0])
print("here", flush=True)
{body}
db.close()
print(count)
"""


@contextlib.asynccontextmanager
async def another(what: str, path: Path) -> AsyncIterator[list[int]]:
    """Another process at the same file while the block runs; afterwards, what it counted."""
    counted: list[int] = []
    script = AROUND.format(patience=PATIENCE, body=OTHERS[what])
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path), str(LOAD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:  # waits for its end; the watchdog is for one that has none
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            assert first == "here\n", first + process.stdout.read()
            yield counted
        except BaseException:
            process.kill()
            raise
        process.stdin.close()
        last = await asyncio.to_thread(process.stdout.read)  # our reads end with a turn of the loop
    assert process.returncode == 0, last
    counted.append(int(last))


class Load:
    """What the tasks do, and what is checked of it."""

    def __init__(self, path: Path | None, *, group: bool = False, **pragmas: Any) -> None:
        settings: dict[str, Any] = {
            "timeout": PATIENCE,
            "operation_timeout": None,
            "connect_timeout": None,
            "group_commit": group,
        }
        if path is not None:
            settings["database"] = path
            # With the disk waited for there would be something to share, and nothing else to see.
            settings["pragmas"] = {"synchronous": "full" if group else "off", **pragmas}
        self.config = AiosqliteConfig(connection_config=settings)
        self.group = group
        self.reads = 0

    async def make(self) -> None:
        async with self.config.provide_session() as session:
            await session.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, task INT, n INT)")
            await session.execute("CREATE INDEX t_task ON t(task, n)")

    async def write(self, task: int) -> None:
        async with self.config.provide_session() as session:
            for n in range(LOAD):
                done = await session.execute("INSERT INTO t(task, n) VALUES (?, ?)", task, n)
                assert done.rows_affected == 1
                if n % 25 == 0:  # a session sees its own last commit
                    sql = "SELECT max(n) FROM t WHERE task = ?"
                    assert await session.select_value(sql, task) == n

    async def read(self, until: asyncio.Event) -> None:
        async with self.config.provide_session() as session:
            seen = 0
            while not until.is_set():
                count = await session.select_value("SELECT count(*) FROM t")
                assert count >= seen
                seen = count
                self.reads += 1

    async def writers_and_readers(self) -> None:
        over = asyncio.Event()
        readers = [asyncio.create_task(self.read(over)) for _ in range(3)]
        try:
            await asyncio.gather(*(self.write(task) for task in range(TASKS)))
        finally:
            over.set()
            await asyncio.gather(*readers)

    async def check(self, others: int = 0) -> None:
        """Each task's rows are there, once, in its order; `others`: those of another process."""
        async with self.config.provide_session() as session:
            rows = await session.select("SELECT task, n FROM t ORDER BY id")
            assert await session.select_value("PRAGMA integrity_check") == "ok"
        if self.group:
            stats = self.config.stats()
            assert 0 < stats["group_commits"] < stats["group_members"]
        await self.config.close_pool()
        found: dict[int, list[int]] = {task: [] for task in range(-1, TASKS)}
        for row in rows:
            found[row["task"]].append(row["n"])
        assert found.pop(-1) == list(range(others))
        assert all(ns == list(range(LOAD)) for ns in found.values())
        assert self.reads > 0


FILES = [("wal", False), ("wal", True), ("delete", False), ("delete", True)]


@pytest.mark.parametrize(("journal", "group"), FILES)
def test_beside_a_process_that_writes(run: Run, path: Path, journal: str, group: bool) -> None:
    load = Load(path, group=group, journal_mode=journal)

    async def main() -> None:
        await load.make()
        async with another("writes", path) as counted:
            await load.writers_and_readers()
        await load.check(*counted)

    run(main)


def test_in_memory(run: Run) -> None:
    load = Load(None)

    async def main() -> None:
        await load.make()
        await load.writers_and_readers()
        await load.check()

    run(main)


@pytest.mark.parametrize(("journal", "group"), FILES)
def test_beside_a_process_that_changes_the_schema(
    run: Run, path: Path, journal: str, group: bool
) -> None:
    load = Load(path, group=group, journal_mode=journal)

    async def main() -> None:
        await load.make()
        async with another("changes the schema", path):
            await load.writers_and_readers()
        await load.check()

    run(main)


@pytest.mark.parametrize("group", [False, True])
def test_beside_a_process_that_truncates_the_wal(run: Run, path: Path, group: bool) -> None:
    load = Load(path, group=group, journal_mode="wal")

    async def main() -> None:
        await load.make()
        async with another("makes checkpoints", path) as counted:
            await load.writers_and_readers()
        assert counted[0] >= 5
        await load.check()

    run(main)


# ---- kill -9 ------------------------------------------------------------------------------------

KILLED = """
import asyncio, os, sys
from looplite.adapters.aiosqlite import AiosqliteConfig
config = AiosqliteConfig(connection_config={
    "database": sys.argv[1], "group_commit": sys.argv[2] == "group", "timeout": 600,
    "operation_timeout": None, "pragmas": {"journal_mode": sys.argv[3]},
})
async def write(task, first):
    async with config.provide_session() as session:
        n = first
        while True:
            if n % 5 == 4:
                async with session.transaction():
                    await session.execute("INSERT INTO t VALUES (?, ?, 1)", task, n)
                    await session.execute("INSERT INTO t VALUES (?, ?, 2)", task, n)
            else:
                await session.execute("INSERT INTO t VALUES (?, ?, 1), (?, ?, 2)", task, n, task, n)
            os.write(1, b"%d %d\\n" % (task, n))
            n += 1
async def main():
    async with config.provide_session() as session:
        await session.execute("CREATE TABLE IF NOT EXISTS t(task, n, part, UNIQUE(task, n, part))")
        firsts = [
            await session.select_value("SELECT coalesce(max(n), -1) + 1 FROM t WHERE task = ?", i)
            for i in range(10)
        ]
    await asyncio.gather(*(write(i, first) for i, first in enumerate(firsts)))
asyncio.run(main())
"""


@pytest.mark.parametrize(("journal", "group"), FILES)
def test_what_was_acknowledged_outlives_kill_9(path: Path, journal: str, group: bool) -> None:
    """... and each write is whole or absent, in the order of its task."""
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    told: set[tuple[int, int]] = set()
    for round_ in range(KILLS):
        command = [sys.executable, "-c", KILLED, str(path), "group" if group else "", journal]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        # Killed at a moment that has to do with nothing but how many writes it has told of.
        for _ in range(chance.randrange(1, 300)):
            line = process.stdout.readline()
            assert line, (seed, round_, "it ended by itself", process.wait())
            told.add(tuple(map(int, line.split())))  # type: ignore[arg-type]
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].splitlines(keepends=True)
        told.update(tuple(map(int, line.split())) for line in rest if line.endswith(b"\n"))  # type: ignore[misc]
        assert rows_of(path, "PRAGMA integrity_check") == [("ok",)], (seed, round_)
        there = rows_of(path, "SELECT task, n, count(*) FROM t GROUP BY task, n")
        assert all(count == 2 for _, _, count in there), (seed, round_)
        assert told <= {(task, n) for task, n, _ in there}, (seed, round_)
        for task in range(10):
            ns = [n for owner, n, _ in there if owner == task]
            assert ns == list(range(len(ns))), (seed, round_, task)
    assert told
