"""``python -m looplite doctor`` leaves every file as it was, to the byte, makes none, deletes none
and drops nobody's locks: with a log that was left, with and without its index, with the journal of
a transaction that was cut off, and while another process writes.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli.command import environment, looplite
from support import looplite_only
from support.locks import Probe, rows

pytestmark = looplite_only

FILL = "INSERT INTO t(v) SELECT hex(randomblob(400)) FROM json_each('[1,2,3,4,5,6,7,8,9,10]')"
BASE = ["CREATE TABLE t(id INTEGER PRIMARY KEY, v)", FILL]
# The cache is too small for the transaction: its journal and its pages are in the files.
SPILL = ["PRAGMA cache_size = 1", "BEGIN", *[FILL] * 20, "UPDATE t SET v = hex(randomblob(400))"]
WAL = ["PRAGMA journal_mode = WAL"]

PROGRAM = """
import os, sqlite3, sys
path, ending, *statements = sys.argv[1:]
db = sqlite3.connect(path, isolation_level=None)
for sql in statements:
    db.execute(sql).fetchall()
if ending == "killed":
    os._exit(0)
if ending == "waits":
    print("ready", flush=True)
    for line in sys.stdin:
        db.execute(line).fetchall()
        print("done", flush=True)
db.close()
"""

# How a database came to be, and which files there are then.
STATES: dict[str, tuple[str, list[str], set[str]]] = {
    "rollback journal": ("closed", BASE, {""}),
    "WAL, closed": ("closed", WAL + BASE, {""}),
    "WAL, left": ("killed", WAL + BASE, {"", "-wal", "-shm"}),
    "WAL, transaction cut off": ("killed", WAL + BASE + SPILL, {"", "-wal", "-shm"}),
    "WAL, left half moved": (
        "killed",
        [*WAL, *BASE, "PRAGMA wal_checkpoint(PASSIVE)", FILL],
        {"", "-wal", "-shm"},
    ),
    "hot journal": ("killed", BASE + SPILL, {"", "-journal"}),
    "journal kept": ("closed", ["PRAGMA journal_mode = PERSIST", *BASE], {"", "-journal"}),
    "empty": ("closed", [], {""}),
}
LIVE: dict[str, list[str]] = {
    "rollback journal, idle": BASE,
    "rollback journal, write lock": [*BASE, "BEGIN IMMEDIATE"],
    "rollback journal, transaction": [*BASE, "BEGIN", FILL],
    "WAL, idle": WAL + BASE,
    "WAL, read": [*WAL, *BASE, "BEGIN", "SELECT * FROM t"],
    "WAL, transaction": [*WAL, *BASE, "BEGIN", FILL],
    "WAL, spilled": WAL + BASE + SPILL,
    "WAL, truncated": [*WAL, *BASE, "PRAGMA wal_checkpoint(TRUNCATE)"],
    "WAL, exclusive": ["PRAGMA locking_mode = EXCLUSIVE", *WAL, *BASE],
}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def make(path: Path, ending: str, statements: list[str]) -> None:
    command = [sys.executable, "-c", PROGRAM, str(path), ending, *statements]
    subprocess.run(command, check=True, env=environment())


@contextmanager
def living(path: Path, statements: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the database open, and has carried out the statements."""
    command = [sys.executable, "-c", PROGRAM, str(path), "waits", *statements]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate()
    assert process.returncode == 0


def more(process: subprocess.Popen[str], sql: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(sql + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def doctor(path: Path, *options: str) -> Any:
    done = looplite("doctor", path, "--json", "--full", *options)
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["status"] == done.returncode
    return report


def found(report: Any, level: str) -> set[str]:
    return {finding["check"] for finding in report["findings"] if finding["level"] == level}


@pytest.mark.parametrize("state", STATES)
def test_what_was_left_stays(tmp_path: Path, state: str) -> None:
    path = tmp_path / "a database.db"
    ending, statements, suffixes = STATES[state]
    make(path, ending, statements)
    path.touch()  # "empty": sqlite3 makes no file for nothing
    before = files(tmp_path)
    assert set(before) == {path.name + suffix for suffix in suffixes}
    report = doctor(path)
    assert files(tmp_path) == before
    assert not found(report, "damage")
    assert not found(report, "failed")
    assert "integrity" in found(report, "ok")
    assert ("wal_left" in found(report, "advice")) == ("-wal" in suffixes)
    assert ("journal" in found(report, "advice")) == (state == "hot journal")
    # Whoever comes next finds what he would have found.
    assert rows(path, "SELECT count(*) FROM sqlite_master")[0][0] == (state != "empty")
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_log_without_its_index(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    make(path, "killed", WAL + BASE)
    (tmp_path / "a.db-shm").unlink()
    before = files(tmp_path)
    report = doctor(path)
    assert files(tmp_path) == before
    # The table is in the log alone.
    assert report["facts"]["tables"] == 1
    assert report["facts"]["wal"]["committed"] > 0
    assert found(report, "advice") == {"wal_left"}


@pytest.mark.parametrize("state", LIVE)
def test_beside_another_process(tmp_path: Path, state: str) -> None:
    path = tmp_path / "a.db"
    with living(path, LIVE[state]) as process:
        before = files(tmp_path)
        report = doctor(path)
        assert files(tmp_path) == before
        assert not found(report, "damage")
        pids = [holder["pid"] for holder in report["facts"]["processes"]]
        if sys.platform == "linux":
            assert pids == [process.pid]
        if state == "WAL, exclusive":
            assert found(report, "failed") == {"open"}
            assert report["status"] == 2
        else:
            assert not found(report, "failed")
            assert "integrity" in found(report, "ok")
        # The other process has its locks, and goes on.
        if "BEGIN" in LIVE[state] or "BEGIN IMMEDIATE" in LIVE[state]:
            probe = Probe(path)
            assert probe.write_locked() == (state != "WAL, read")
            probe.close()
            more(process, "COMMIT")
        more(process, FILL)
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
db.execute("PRAGMA synchronous = OFF")
print("ready", flush=True)
count = 0
import select
while not select.select([0], [], [], 0)[0]:
    db.execute("INSERT INTO t(v) VALUES (hex(randomblob(400)))")
    count += 1
    if count % 50 == 0:
        db.execute("DELETE FROM t WHERE id < (SELECT max(id) FROM t) - 100")
db.close()
print(count)
"""


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_while_another_process_commits(tmp_path: Path, mode: str) -> None:
    """It sees a whole database each time, and the other loses nothing."""
    path = tmp_path / "a.db"
    make(path, "closed", [f"PRAGMA journal_mode = {mode}", *BASE])
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        reports = [doctor(path) for _ in range(2)]
        out, _ = process.communicate()
    for report in reports:
        assert not found(report, "damage"), report
        assert not found(report, "failed"), report
        assert "integrity" in found(report, "ok")
    assert rows(path, "SELECT max(id) FROM t") == [(10 + int(out),)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert os.listdir(tmp_path) == ["a.db"]


def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    make(path, "killed", WAL + BASE)
    for file in tmp_path.iterdir():
        file.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        before = files(tmp_path)
        report = doctor(path)
        assert files(tmp_path) == before
        assert "integrity" in found(report, "ok")
    finally:
        tmp_path.chmod(0o755)


def test_the_oracle_would_have_changed_something(tmp_path: Path) -> None:
    """What is tested here is no matter of course: sqlite3, opening for reading, changes files."""
    path = tmp_path / "a.db"
    make(path, "killed", WAL + BASE)
    (tmp_path / "a.db-shm").unlink()
    before = files(tmp_path)
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    db.execute("SELECT count(*) FROM t").fetchall()
    db.close()
    assert files(tmp_path) != before
