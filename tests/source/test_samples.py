"""The samples of the pages are those of the examples, and the examples print what the pages say."""

from __future__ import annotations

import shutil
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

DROPIN = """\
added 2
Emma
Romola
UNIQUE constraint failed: book.title
commits: 1
[(42,)]
"""

MIGRATE = """\
1 2
not applied
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


POOL = """\
50
[{'name': 'ann', 'amount': 50}, {'name': 'bob', 'amount': 50}]
{'name': 'bob', 'amount': 50}
Account(name='bob', amount=50)
None
5000
connections: True
PoolExhaustedError True
not that much
[{'amount': 40}, {'amount': 60}]
41
ann is there already
another task has a transaction open on this session
too slow
and all of it is undone
60
UPDATE account SET amount = 7
total: 101
[]
"""

SQLSPEC = """\
1 1
UniqueViolationError
{'id': 1, 'name': 'ada'}
"""

LOG = """\
INFO CREATE TABLE note(id INTEGER PRIMARY KEY, text): None rows
INFO INSERT INTO note VALUES (?, ?): 2 rows
INFO COMMIT: None rows
INFO SELECT text FROM note WHERE id >= ?: 2 rows
WARNING INSERT INTO note VALUES (?, ?): IntegrityError (UNIQUE constraint failed: note.id)
INFO ROLLBACK: None rows
"""

SPANS = """\
CREATE in prepare
INSERT in request 1
INSERT in request 2
SELECT in request 1
SELECT in request 2
COMMIT in -
"""

ADK = """\
UNIQUE constraint failed: adk_events.id
['e1']
{'city': 'Oslo', 'temp:note': 'not kept', 'asked': 1, 'user:name': 'Ann'}
s1 {'city': 'Oslo', 'asked': 1, 'user:name': 'Ann'} 2
session 's1' was changed by somebody else since it was loaded; load it again before you append to it
{'user:name': 'Ann'}
"""

TRIO = """\
notes: [(10,)]
cancelled: not applied
still there: [('note 3',)]
"""

TYPES = """\
id: UUID('00000000-0000-0000-0000-000000000007')
placed: datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)
total: Decimal('19.90')
paid: True
lines: [{'sku': 'A-1', 'count': 2}]
note: {'gift': True}
19.90 True '{"gift":true}'
'{"gift":true}'
"""

CRUD = """\
neither is there: UNIQUE constraint failed: author.name
authors: 1
rowid: 1
inserted: 3
updated: 1
deleted: 0
rowid again: 1
2
3
2
Emma 1816
- Lady Susan
- Emma
- Persuasion
- Sanditon
none
True ['id', 'title', 'year', 'author']
found Persuasion
no such table: book"; DROP TABLE book; --
{'title': 'Emma'}
without books: FOREIGN KEY constraint failed
0
authors: 25
we have that book - no such author
"""

NOTES = """\
201 {'id': 1}
201 {'id': 2}
409 {'detail': 'duplicate'}
['milk', 'bread']
"""

JOBS = """\
mail to ada@example.org
resize a.png attempt 1 of 5
resize b.png
dead after 3 attempts: card declined
{'charge': {'ready': 1}, 'resize': {'ready': 1}}
now: None
tea is ready
nothing to ship: None
ship {'purchase': 1}
sum: 6
"""

ARROW = """\
loaded 3
['city', 'degrees'] {'city': [None, 'Rome'], 'degrees': [7.0, 12.25]}
total 15.75
row 0 (the first is 0), column 'degrees': 9007199254740993 is no double, which a column \
declared REAL would make of it
copied 3
"""

NEEDED = {
    "arrow.py": "pyarrow",
    "stored_types.py": "looplite.adapters.aiosqlite",
    "tracing_otel.py": "opentelemetry.sdk",
    "trio_tasks.py": "trio",
    "fastapi_notes.py": "fastapi",
}


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, check=False, timeout=120
    )


def test_samples_of_all_pages() -> None:
    done = run(str(ROOT / "tools" / "check_samples.py"))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("tiny.py", TINY),
        ("concurrency.py", CONCURRENCY),
        ("tracing_log.py", LOG),
        ("tracing_otel.py", SPANS),
        ("trio_tasks.py", TRIO),
        ("dropin.py", DROPIN),
        ("migrate.py", MIGRATE),
        ("stored_types.py", TYPES),
        ("pool.py", POOL),
        ("sqlspec.py", SQLSPEC),
        ("adk_store.py", ADK),
        ("crud.py", CRUD),
        ("fastapi_notes.py", NOTES),
        ("job_queue.py", JOBS),
        ("arrow.py", ARROW),
    ],
    ids=[
        "tiny",
        "concurrency",
        "log",
        "otel",
        "trio",
        "dropin",
        "migrate",
        "types",
        "pool",
        "sqlspec",
        "adk",
        "crud",
        "fastapi",
        "queue",
        "arrow",
    ],
)
def test_program_prints_what_it_should(name: str, output: str) -> None:
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    # What google-adk, where it is installed, warns of while it is imported is not ours.
    strict = () if name == "adk_store.py" else ("-W", "error")
    done = run(*strict, str(EXAMPLES / name))
    if name == "tracing_otel.py":  # two tasks at once: in which order their spans end is open
        found, expected = sorted(done.stdout.splitlines()), sorted(output.splitlines())
        assert (found, done.stderr, done.returncode) == (expected, "", 0)
    else:
        assert (done.stdout, done.stderr, done.returncode) == (output, "", 0)


def test_tests_with_the_fixtures(tmp_path: Path) -> None:
    """One of the two forgets to commit, and is told where."""
    for file in ("conftest.py", "test_notes.py"):
        shutil.copy(EXAMPLES / "testing" / file, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed, 1 error" in done.stdout, done.stdout
    assert "closed with a transaction open" in done.stdout
    assert "test_notes.py:28, in forget_to_commit" in done.stdout


def test_program_without_close(tmp_path: Path) -> None:
    path = tmp_path / "note.db"
    done = run(str(EXAMPLES / "no_close.py"), str(path))
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    db = sqlite3.connect(path)
    assert db.execute("SELECT text FROM note").fetchall() == [("kept",)]
    db.close()
