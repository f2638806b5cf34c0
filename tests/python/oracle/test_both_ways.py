"""The same steps on the loop, on workers and with `sqlite3` give the same, while another process
writes to the file, drops its pages from the kernel's cache, locks it and changes its schema.

The steps are drawn from a seed, which is the test's parameter. What the other process does to the
file is nothing that they can see: its own tables. On workers: a connection with a shared cache
never runs on the loop.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only

from oracle.steps import Call, Exec, Fetch, Many, Step, on_lib, on_sqlite3, same

STEPS = 400

DISTURB = """
import json, os, random, sqlite3, sys
rng = random.Random(int(sys.argv[1]))
done = {"write": 0, "drop": 0, "lock": 0, "schema": 0}
files = [sqlite3.connect(path, timeout=0, isolation_level=None) for path in sys.argv[2:]]
os.set_blocking(0, False)
told = ended = False
while not (ended and told):
    if min(done.values()) > 0 and not told:
        told = True
        print("ready", flush=True)
    try:
        ended = os.read(0, 1) == b""
    except BlockingIOError:
        pass
    n = rng.randrange(len(files))
    what = rng.choice(list(done))
    try:
        if what == "write":
            files[n].execute("INSERT INTO noise VALUES (randomblob(3000))")
            files[n].execute("DELETE FROM noise WHERE rowid % 3 = 0")
        elif what == "schema":
            files[n].execute("CREATE TABLE more_noise(x, y)")
            files[n].execute("DROP TABLE more_noise")
        elif what == "lock":
            files[n].execute("BEGIN EXCLUSIVE")
            files[n].execute("UPDATE noise SET x = randomblob(2000)")
            files[n].execute("COMMIT")
        else:
            # By a process of its own: closing the file drops the locks that a process has on it.
            pid = os.fork()
            if pid == 0:
                fd = os.open(sys.argv[2 + n], os.O_RDWR)
                os.fsync(fd)
                if hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os._exit(0)
            os.waitpid(pid, 0)
        done[what] += 1
    except sqlite3.OperationalError as error:  # somebody else was first
        if files[n].in_transaction:
            files[n].execute("ROLLBACK")
        if "locked" not in str(error) and "exists" not in str(error):
            raise
print(json.dumps(done), flush=True)
"""


@contextmanager
def disturbed(seed: int, *paths: Path) -> Iterator[dict[str, int]]:
    """Another process is at the files; what it has done is in the dict behind the block."""
    done: dict[str, int] = {}
    with subprocess.Popen(
        [sys.executable, "-c", DISTURB, str(seed), *map(str, paths)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        yield done
        other.stdin.close()
        done.update(json.loads(other.stdout.readline()))
    assert other.returncode == 0


READS = [
    ("SELECT c FROM t WHERE a = ?", "k"),
    ("SELECT * FROM t WHERE a IN (?, ?, 7)", "kk"),
    ("SELECT a, b FROM t WHERE b = ? ORDER BY a", "b"),
    ("SELECT count(*), sum(b), max(length(c)) FROM t", ""),
    ("SELECT b, count(*) FROM t WHERE a > ? GROUP BY b ORDER BY b", "k"),
    ("SELECT t.a, w.y FROM t JOIN w ON w.x = t.b AND w.y = 1 WHERE t.a = ?", "k"),
    ("SELECT a FROM t WHERE c LIKE ? ORDER BY a DESC LIMIT 5", "p"),
    ("SELECT upper(c), length(c), typeof(b), abs(b) FROM t WHERE a = ?", "k"),
    ("SELECT length(d), hex(substr(d, 1, 4)) FROM big WHERE a = ?", "b"),
    ("SELECT d FROM big WHERE a = ?", "b"),
    ("SELECT y FROM w WHERE x = ? AND y = ?", "bb"),
    ("SELECT abs(-9223372036854775807 - a) FROM t WHERE a = ?", "k"),
    ("SELECT ?, ? || c FROM t WHERE a = 3", "bp"),
    ("WITH RECURSIVE r(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM r WHERE i < 3000)"
     " SELECT sum(i) FROM r", ""),
    ("SELECT nothing FROM t WHERE a = ?", "k"),
    ("SELECT value FROM json_each('[1, 2]')", ""),
    ("PRAGMA table_info(t)", ""),
    ("SELECT changes(), last_insert_rowid()", ""),
]  # fmt: skip

WRITES = [
    ("INSERT INTO t(b, c) VALUES (?, ?)", "bp"),
    ("INSERT INTO t VALUES (?, ?, ?)", "kbp"),
    ("INSERT OR IGNORE INTO t VALUES (?, ?, ?)", "kbp"),
    ("INSERT OR REPLACE INTO w VALUES (?, ?)", "bb"),
    ("UPDATE t SET b = ? WHERE a = ?", "bk"),
    ("UPDATE t SET c = c || 'x' WHERE b = ?", "b"),
    ("DELETE FROM t WHERE a = ?", "k"),
    ("DELETE FROM t WHERE b = ? AND a > 300", "b"),
    ("INSERT INTO t(b) VALUES (?) RETURNING b", "b"),
    ("UPDATE t SET c = NULL WHERE a = ? AND nothing = 1", "k"),
    ("INSERT INTO w VALUES (?, NULL)", "b"),
]

SETUP = [
    "CREATE TABLE t(a INTEGER PRIMARY KEY, b, c TEXT)",
    "CREATE INDEX tb ON t(b)",
    "CREATE TABLE w(x, y NOT NULL, PRIMARY KEY (x, y)) WITHOUT ROWID",
    "CREATE TABLE big(a INTEGER PRIMARY KEY, d BLOB)",
    "WITH RECURSIVE r(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM r WHERE i < 400)"
    " INSERT INTO t SELECT i, i * 37 % 20, 'row ' || i || substr(hex(zeroblob(200)), 1, i) FROM r",
    "INSERT INTO w SELECT DISTINCT b, 1 FROM t",
    "INSERT INTO big VALUES (1, zeroblob(100)), (2, zeroblob(20000)), (3, zeroblob(300000))",
]


def drawn(seed: int) -> list[Step]:
    """A text comes again and again, so that it has a history; a read also takes its rows in
    pieces.
    """
    rng = random.Random(seed)
    values: dict[str, Callable[[], Any]] = {
        "k": lambda: rng.randrange(1, 420),
        "b": lambda: rng.randrange(0, 22),
        "p": lambda: rng.choice(["row 1%", "%9", "x", "some text"]),
    }

    def call(texts: list[tuple[str, str]], fetch: bool = True) -> Exec:
        sql, kinds = rng.choice(texts)
        return Exec(sql, tuple(values[kind]() for kind in kinds), rng.randrange(3), fetch)

    steps: list[Step] = []
    open_transaction = False
    while len(steps) < STEPS:
        draw = rng.randrange(20)
        if draw < 11:
            steps.append(call(READS))
        elif draw < 13:
            read = call(READS, fetch=False)
            steps += [read, Fetch("fetchone", cursor=read.cursor)]
            steps.append(Fetch("fetchall", cursor=read.cursor))
        elif draw < 16:
            steps.append(call(WRITES))
        elif draw == 16:
            rows = [(values["b"](), values["p"]()) for _ in range(rng.randrange(5))]
            steps.append(Many("INSERT INTO t(b, c) VALUES (?, ?)", rows))
        elif open_transaction:
            steps.append(Call(rng.choice(["commit", "rollback"])))
            open_transaction = False
        else:
            # Not DEFERRED: who has read something cannot wait for the lock.
            steps.append(Exec(rng.choice(["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])))
            open_transaction = True
    return [*steps, Call("commit"), *(Exec(f"SELECT * FROM {name}") for name in ("t", "w"))]


def prepared(path: Path, journal: str) -> Path:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA journal_mode = {journal}")
    for sql in [*SETUP, "CREATE TABLE noise(x)", "INSERT INTO noise VALUES (zeroblob(9000))"]:
        db.execute(sql)
    db.close()
    return path


async def may_run_on_the_loop(path: Path) -> bool:
    async with lib.connect(path) as db:
        await db.execute_fetchall("SELECT 1 FROM noise")
        found: bool = lib.engine_info(db)["connection"]["on_loop"]
        return found


@looplite_only
@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_on_the_loop_on_workers_and_in_sqlite3(
    tmp_path: Path, seed: int, journal: str
) -> None:
    names = ("loop.db", "worker.db", "sqlite3.db")
    on_loop, on_worker, plain = (prepared(tmp_path / name, journal) for name in names)
    # Few pages are kept, so that the others come from the file each time.
    steps = [Exec("PRAGMA cache_size = 10"), Exec("PRAGMA synchronous = OFF"), *drawn(seed)]
    expected = on_sqlite3(steps, str(plain), isolation_level=None)

    async def measured(database: str, **options: Any) -> tuple[list[Any], dict[str, int]]:
        before = lib.stats()
        seen = await on_lib(steps, database, isolation_level=None, timeout=120, **options)
        after = lib.stats()
        return seen, {name: after[name] - before[name] for name in after}

    with disturbed(seed, on_loop, on_worker) as done:
        found, used = asyncio.run(measured(str(on_loop)))
        same(steps, expected, found, f"on the loop, seed {seed}, {journal}, {used}")
        shared = f"file:{on_worker}?cache=shared"
        found, workers = asyncio.run(measured(shared, uri=True))
        same(steps, expected, found, f"on workers, seed {seed}, {journal}, {workers}")
    assert workers["inline_hits"] == 0
    assert used["inline_hits"] > 0 or not asyncio.run(may_run_on_the_loop(on_loop))
    assert min(done.values()) > 0, done
    for path in (on_loop, on_worker):
        db = sqlite3.connect(path)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()
