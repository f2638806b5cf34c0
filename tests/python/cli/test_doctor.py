"""What ``python -m looplite doctor`` finds, what it advises, and its exit status."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.command import environment, looplite
from support import looplite_only
from support.locks import make

pytestmark = looplite_only

Make = Callable[[str], Path]
WAL = "PRAGMA journal_mode = WAL;"
NUMBERS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT {}) "


@pytest.fixture
def made(path: Path) -> Make:
    """made(script): a database."""

    def call(script: str) -> Path:
        make(path, script)
        return path

    return call


def doctor(path: Path, *options: str) -> Any:
    """The report; its findings also by the name of their check."""
    done = looplite("doctor", path, "--json", *options)
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["status"] == done.returncode
    report["by"] = {finding["check"]: finding for finding in report["findings"]}
    return report


def levels(report: Any, level: str) -> set[str]:
    return {finding["check"] for finding in report["findings"] if finding["level"] == level}


def test_a_database_that_is_well(made: Make) -> None:
    path = made(f"{WAL} CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'x')")
    report = doctor(path, "--full")
    assert report["status"] == 0
    assert levels(report, "advice") == set()
    assert report["facts"]["journal_mode"] == "wal"
    assert report["facts"]["page_size"] == 4096
    assert report["facts"]["tables"] == 1
    assert report["by"]["integrity"]["text"] == "integrity_check: ok"
    assert report["by"]["foreign_key_check"]["level"] == "ok"


def test_the_text_says_what_to_do(made: Make) -> None:
    path = made("CREATE TABLE t(v)")
    done = looplite("doctor", path)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == str(path)
    at = next(n for n, line in enumerate(lines) if line.startswith("  advice  rollback journal"))
    assert lines[at + 1].strip().startswith("-> PRAGMA journal_mode = WAL")


ADVICE = {
    "journal_mode": "PRAGMA journal_mode = DELETE; CREATE TABLE t(v)",
    "page_size": f"PRAGMA page_size = 1024; {WAL} CREATE TABLE t(v)",
    "auto_vacuum": f"PRAGMA auto_vacuum = FULL; {WAL} CREATE TABLE t(v)",
    "free_pages": (
        f"{WAL} CREATE TABLE t(v); {NUMBERS.format(1000)}"
        "INSERT INTO t SELECT zeroblob(3000) FROM n; DELETE FROM t"
    ),
    "statistics": (
        f"{WAL} CREATE TABLE t(a, b); CREATE INDEX i ON t(a);"
        f"{NUMBERS.format(1000)} INSERT INTO t SELECT x, x FROM n"
    ),
    "foreign_key_index": (
        f"{WAL} CREATE TABLE p(id INTEGER PRIMARY KEY);"
        "CREATE TABLE c(a REFERENCES p, b REFERENCES p(id)); CREATE INDEX i ON c(b)"
    ),
    "foreign_key_definition": (
        f"{WAL} CREATE TABLE p(id INTEGER PRIMARY KEY, code);"
        "CREATE TABLE c(a UNIQUE REFERENCES p(code), b UNIQUE REFERENCES nowhere)"
    ),
    "foreign_key_check": (
        f"{WAL} CREATE TABLE p(id INTEGER PRIMARY KEY);"
        "CREATE TABLE c(a INT UNIQUE REFERENCES p); INSERT INTO c VALUES (7)"
    ),
}


@pytest.mark.parametrize("check", ADVICE)
def test_advice(made: Make, check: str) -> None:
    report = doctor(made(ADVICE[check]), "--full")
    wanted = {check} | ({"foreign_key_check"} if check == "foreign_key_definition" else set())
    assert levels(report, "advice") == wanted
    assert report["by"][check]["do"]
    assert report["status"] == 1


def test_foreign_keys_are_named_with_their_index(made: Make) -> None:
    report = doctor(made(ADVICE["foreign_key_index"]))
    text = report["by"]["foreign_key_index"]["text"]
    assert 'c(a) -> p: CREATE INDEX ... ON "c"("a")' in text
    assert "c(b)" not in text
    assert levels(report, "info") >= {"foreign_keys"}


def test_keys_that_need_no_index(made: Make) -> None:
    """The key of the table, a longer index in another order, a key of two columns."""
    path = made(
        f"""{WAL}
        CREATE TABLE p(a, b, PRIMARY KEY (a, b));
        CREATE TABLE one(id INTEGER PRIMARY KEY REFERENCES other(id));
        CREATE TABLE other(id INTEGER PRIMARY KEY);
        CREATE TABLE two(x, y, z, FOREIGN KEY (x, y) REFERENCES p);
        CREATE INDEX i ON two(y, x, z);
        CREATE TABLE three(k INT REFERENCES other, PRIMARY KEY (k)) WITHOUT ROWID;
        """
    )
    assert levels(doctor(path, "--full"), "advice") == set()


def test_damage(made: Make) -> None:
    path = made(
        f"{WAL} CREATE TABLE t(v); {NUMBERS.format(500)} INSERT INTO t SELECT zeroblob(500) FROM n"
    )
    with path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 4096)
    report = doctor(path)
    assert report["status"] == 2
    assert levels(report, "damage") == {"integrity"}
    assert "backup" in report["by"]["integrity"]["do"]


def test_a_schema_that_cannot_be_read(made: Make) -> None:
    path = made(f"{WAL} CREATE TABLE t(v); PRAGMA writable_schema = ON;"
                "UPDATE sqlite_master SET sql = 'CREATE TABLE t(' WHERE name = 't'")  # fmt: skip
    report = doctor(path)
    assert report["status"] == 2
    assert levels(report, "damage") == {"integrity"}


def test_a_file_cut_off(made: Make) -> None:
    path = made(
        f"{WAL} CREATE TABLE t(v); {NUMBERS.format(500)} INSERT INTO t SELECT zeroblob(500) FROM n"
    )
    with path.open("r+b") as file:
        file.truncate(4096 * 10 + 100)
    report = doctor(path)
    assert report["status"] == 2
    assert levels(report, "damage") >= {"file", "integrity"}


def test_what_is_no_database(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("not a database\n" * 100)
    assert levels(doctor(other), "damage") == {"file"}
    assert doctor(other)["status"] == 2
    for missing in (tmp_path / "missing.db", tmp_path / "no" / "folder.db", tmp_path):
        report = doctor(missing)
        assert (report["status"], levels(report, "failed")) == (2, {"open"})
    assert sorted(tmp_path.iterdir()) == [other]


def test_columns_that_sniff_text_would_touch(made: Make) -> None:
    path = made(
        f"""{WAL}
        CREATE TABLE note(id INTEGER PRIMARY KEY, body TEXT, data JSON, "a ref" VARCHAR(36),
            at TEXT, plain TEXT, number);
        INSERT INTO note(body, data, "a ref", at, plain, number) VALUES
            ('hello', '{{"a":1}}', '00000000-0000-0000-0000-000000000007', '2024-01-01T00:00:00',
             '{{"a": 1}}', 1),
            ('{{"gift":true}}', '[]', 'x', '2024-01-01 00:00:00', '[1.50]', x'5b5d'),
            ('[1,2]', '[]', 'x', 'x', '2024-01-01T00:00:00Z', NULL);
        CREATE TABLE pairs(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
        INSERT INTO pairs VALUES ('a', '[]');
        """
    )
    report = doctor(path)
    assert report["status"] == 0
    touched = {(t["table"], t["column"]): t["kinds"] for t in report["facts"]["sniff_text"]}
    assert touched == {
        ("note", "body"): {"JSON": 2},
        ("note", "a ref"): {"UUID": 1},
        ("note", "at"): {"timestamp": 1},
        ("pairs", "v"): {"JSON": 1},
    }
    assert "note.body: 2 JSON among 3 texts looked at" in report["by"]["sniff_text"]["text"]


def test_both_ends_of_a_large_table_are_looked_at(made: Make) -> None:
    path = made(
        f"{WAL} CREATE TABLE t(v TEXT); {NUMBERS.format(3000)} INSERT INTO t SELECT"
        " CASE WHEN x IN (3, 1500, 2999) THEN '[]' ELSE 'x' END FROM n"
    )
    (touched,) = doctor(path)["facts"]["sniff_text"]
    assert touched == {"table": "t", "column": "v", "texts": 1000, "kinds": {"JSON": 2}}


def test_what_only_its_program_has(path: Path) -> None:
    """A collation and a function of the program's own are no damage."""
    db = sqlite3.connect(path)
    db.create_collation("own", lambda a, b: (a > b) - (a < b))
    db.create_function("twice", 1, lambda x: 2 * x, deterministic=True)
    db.executescript(
        f"{WAL} CREATE TABLE t(a COLLATE own, b); CREATE INDEX i ON t(a); CREATE INDEX j ON"
        " t(twice(b)); INSERT INTO t VALUES ('x', 1), ('y', 2)"
    )
    db.close()
    report = doctor(path, "--full")
    assert report["status"] == 0
    assert "could be checked" in report["by"]["unknown"]["text"]


def test_a_locked_database_names_who_holds_it(made: Make) -> None:
    path = made("CREATE TABLE t(v)")
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    try:
        report = doctor(path, "--timeout", "0.01")
    finally:
        db.close()
    assert report["status"] == 2
    assert levels(report, "failed") == {"open"}
    assert "locked" in report["by"]["open"]["text"]
    if sys.platform == "linux":
        assert str(os.getpid()) in report["by"]["open"]["text"]


def test_a_name_that_is_no_plain_one(tmp_path: Path) -> None:
    path = tmp_path / "what? 100% #1.db"
    make(path, f'{WAL} CREATE TABLE "a ""b"""("c d"); INSERT INTO "a ""b""" VALUES (\'[]\')')
    report = doctor(path)
    assert report["facts"]["sniff_text"] == [
        {"table": 'a "b"', "column": "c d", "texts": 1, "kinds": {"JSON": 1}}
    ]


def test_ctrl_c_ends_a_long_check(made: Make) -> None:
    """The check itself presses it, and goes on without end."""
    path = made(
        f"{WAL} CREATE TABLE t(v); {NUMBERS.format(20000)}"
        "INSERT INTO t SELECT zeroblob(900) FROM n; CREATE INDEX i ON t(v)"
    )
    program = """
import signal, sys, os
import looplite.cli, looplite.cli.doctor.inside as inside
real = inside.integrity
def integrity(db, report, full):
    os.kill(os.getpid(), signal.SIGINT)
    while True:
        real(db, report, full)
inside.integrity = integrity
looplite.cli.main(["doctor", sys.argv[1]])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
    )
    assert done.returncode == 128 + signal.SIGINT, done.stderr
    assert done.stderr == ""
