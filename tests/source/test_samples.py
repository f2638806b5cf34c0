"""The samples of the pages are those of the examples, and the examples print what the pages say."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import check_samples  # noqa: E402

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
{'title': 'The Warden'}
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

FUNCTIONS = """\
[('emma',), ('lady-susan',), ('silas-marner',)]
[(1815,)]
[('Emma!',)]
not authorized
[(3,)]
left: 0
b'GIF89a' b'gif89a' 16
CREATE TABLE book(title TEXT, year INT);
CREATE TABLE image(id INTEGER PRIMARY KEY, data BLOB);
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
    ("text", "word"),
    [
        ("```python\nx = 1\n```\n", "names no example"),
        ("<!-- there.py -->\n```python\nx = 2\n```\n", "does not stand in there.py"),
        ("<!-- nowhere.py -->\n```python\nx = 1\n```\n", "there is no nowhere.py"),
        ("<!-- there.py -->\n```python\nx = 1\n```\n```sh\nls\n```\n", ""),
    ],
)
def test_a_sample_that_nobody_runs_is_found(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/page.md").write_text(text)
    (tmp_path / "there.py").write_text("x = 1\n")
    done = run(str(ROOT / "tools" / "check_samples.py"), "--root", str(tmp_path))
    assert (word in done.stdout, done.returncode) == (True, 1 if word else 0), done.stdout


def test_what_pages_say_an_example_prints() -> None:
    found = list(check_samples.outputs(ROOT))
    assert found
    for page, name, output in found:
        done = run("-W", "error", str(ROOT / name))
        assert (done.stdout, done.stderr, done.returncode) == (output, "", 0), (page, name)


def test_the_tests_of_the_tutorial(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    for file in ("conftest.py", "links.py", "test_links.py"):
        shutil.copy(EXAMPLES / "tutorial" / file, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout


def test_a_conversation_is_in_the_file(tmp_path: Path) -> None:
    """That the next process goes on with it is tested by tests/python/adk."""
    pytest.importorskip("google.adk")
    path = tmp_path / "agents.db"
    done = run(str(EXAMPLES / "adk_runner.py"), str(path), "Good morning", "Who am I?")
    assert done.stdout == "You said: Good morning\nYou said: Good morning; Who am I?\n"
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM adk_events").fetchone() == (4,)
    db.close()


def test_the_functions_of_a_connection() -> None:
    done = run("-W", "error", str(EXAMPLES / "functions.py"))
    output = FUNCTIONS
    if sys.version_info < (3, 11):
        output = "".join(x for x in FUNCTIONS.splitlines(True) if "image" not in x and x[:1] != "b")
    assert (done.stdout, done.stderr, done.returncode) == (output, "", 0)


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
    for module in NEEDED.get(name, "").split():
        pytest.importorskip(module)
    # What google-adk, where it is installed, warns of while it is imported is not ours.
    strict = () if name == "adk_store.py" else ("-W", "error")
    done = run(*strict, str(EXAMPLES / name))
    if name == "tracing_otel.py":  # two tasks at once: in which order their spans end is open
        found, expected = sorted(done.stdout.splitlines()), sorted(output.splitlines())
        assert (found, done.stderr, done.returncode) == (expected, "", 0)
    else:
        assert (done.stdout, done.stderr, done.returncode) == (output, "", 0)


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 38), reason="places in SQL are not told")
def test_tour_of_the_command_line(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", str(EXAMPLES.parent / "shell" / "tour.sh")],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout == (EXAMPLES.parent / "shell" / "tour.out").read_text()


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
