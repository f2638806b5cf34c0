"""The samples of the pages are those of the examples, and the examples print what the pages say."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "python"

TINY = """\
Emma
Romola
"""

CONCURRENCY = """\
with carol: [(3,)] after rollback: [(2,)]
alice paid? [(100,), (100,)]
counts: [2, 2, 0]
snapshot: [(2,)] [(2,)] [(3,)]
alice: [(110,)]
database is locked
cancelled: not applied
cancelled: not applied
still there: [(3,)]
transaction open: False
too long; the connection is fine: [(1,)]
from a thread: [(3,)]
erin: [(1,)]
closed: True
"""


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, check=False, timeout=120
    )


def test_samples_of_all_pages() -> None:
    done = run(str(ROOT / "tools" / "check_samples.py"))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "output"),
    [("tiny.py", TINY), ("concurrency.py", CONCURRENCY)],
    ids=["tiny", "concurrency"],
)
def test_program_prints_what_it_should(name: str, output: str) -> None:
    done = run("-W", "error", str(EXAMPLES / name))
    assert (done.stdout, done.stderr, done.returncode) == (output, "", 0)


def test_program_without_close(tmp_path: Path) -> None:
    path = tmp_path / "note.db"
    done = run(str(EXAMPLES / "no_close.py"), str(path))
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    db = sqlite3.connect(path)
    assert db.execute("SELECT text FROM note").fetchall() == [("kept",)]
    db.close()
