"""The shell without a terminal: arguments, pipes, files; errors, exit statuses, what is refused."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cli.command import environment, looplite
from support import looplite_only
from support.locks import make, rows, write_lock

pytestmark = looplite_only

BOOKS = (
    "CREATE TABLE book(id INTEGER PRIMARY KEY, title TEXT UNIQUE);"
    "INSERT INTO book VALUES (1, 'Emma')"
)


def test_a_statement_of_the_command_line(path: Path) -> None:
    done = looplite(path, BOOKS, "SELECT * FROM book; SELECT 2;", ".tables")
    assert (done.stdout, done.stderr, done.returncode) == ("1|Emma\n2\nbook\n", "", 0)
    assert rows(path, "SELECT * FROM book") == [(1, "Emma")]


@pytest.mark.parametrize("text", ["select 1", "select 1;", "\ufeffselect 1;\n", "select\n1\n"])
def test_a_pipe(text: str) -> None:
    done = looplite(stdin=text)
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)


def test_commands_in_a_pipe(path: Path) -> None:
    script = f"{BOOKS};\n.mode csv\n.headers off\nSELECT * FROM book;\n.quit\nSELECT 3;\n"
    done = looplite(path, stdin=script)
    assert (done.stdout, done.stderr, done.returncode) == ("1,Emma\r\n", "", 0)


def test_options_stand_anywhere(path: Path) -> None:
    make(path, BOOKS)
    orders: list[list[str | Path]] = [
        [path, "--mode", "json", "SELECT 1 AS a"],
        ["--mode", "json", path, "SELECT 1 AS a"],
        [path, "SELECT 1 AS a", "--mode=json"],
    ]
    for words in orders:
        assert looplite(*words).stdout == '[\n{"a": 1}\n]\n'
    assert looplite("--headers", path, "SELECT 1 AS a").stdout == "a\n1\n"


# The first line of what is said is that of `python -m sqlite3`.
WRONG = [
    "sel",
    "SELECT * FORM book",
    "SELECT nothing FROM book",
    "SELECT * FROM nowhere",
    "INSERT INTO book VALUES (1, 'x')",
    "SELECT 'not ended",
    "SELECT abs(-9223372036854775808)",
    "SELECT 1 AS a FROM book WHERE id = ?",
]


@pytest.mark.parametrize("sql", WRONG)
def test_errors_are_those_of_sqlite3(path: Path, sql: str) -> None:
    make(path, BOOKS)
    done = looplite(path, sql)
    assert (done.stdout, done.returncode) == ("", 1)
    with closing(sqlite3.connect(path)) as db, pytest.raises(sqlite3.Error) as caught:
        db.execute(sql).fetchall()
    name = getattr(caught.value, "sqlite_errorname", None)
    code = f" ({name})" if name else ""
    wanted = f"{type(caught.value).__name__}{code}: {caught.value}"
    assert done.stderr.splitlines()[0] == wanted


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 38), reason="SQLite does not tell the place")
@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("SELECT * FORM book", ["    SELECT * FORM book", "             ^"]),
        ("SELECT id,\n  nope\nFROM book", ["      nope", "      ^"]),
        ("SELECT 'é', nope FROM book", ["    SELECT 'é', nope FROM book", "                ^"]),
        (
            f"SELECT {'1, ' * 40}nope{', 1' * 40} FROM book",
            ["    ..." + "1, 1, " * 8 + "1," + " nope" + ", 1" * 7 + ", ...", ""],
        ),
    ],
)
def test_the_place_is_marked(path: Path, sql: str, wanted: list[str]) -> None:
    make(path, BOOKS)
    lines = looplite(path, sql).stderr.splitlines()[1:]
    shown, mark = lines
    assert shown[mark.index("^") :].startswith(("FORM", "nope"))
    if wanted[1]:
        assert lines == wanted
    else:
        assert len(shown) < 100


def test_a_script_goes_on_after_an_error_unless_it_is_to_end(path: Path) -> None:
    script = f"{BOOKS};\nSELECT 1;\n\nSELECT\nnope;\nSELECT 2;\n"
    done = looplite(path, stdin=script)
    assert (done.stdout, done.returncode) == ("1\n2\n", 1)
    assert "in standard input, line 4" in done.stderr
    done = looplite("--bail", stdin=script)
    assert (done.stdout, done.returncode) == ("1\n", 1)


def test_reading_a_file(path: Path, tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner.sql", tmp_path / "outer.sql"
    inner.write_text("SELECT 1;\nSELECT nope;\nSELECT 2\n")
    outer.write_text(f".read {inner}\nSELECT 3;\n")
    done = looplite(path, f".read {outer}", "SELECT 4")
    assert (done.stdout, done.returncode) == ("1\n2\n3\n4\n", 1)
    assert f"in {inner}, line 2" in done.stderr
    outer.write_text(f".read {outer}\n")
    done = looplite(path, f".read {outer}")
    assert done.returncode == 1
    assert "20 deep" in done.stderr


def test_an_open_transaction_is_announced(path: Path) -> None:
    make(path, BOOKS)
    done = looplite(path, "BEGIN; DELETE FROM book")
    assert done.returncode == 1
    assert done.stderr == "the open transaction was rolled back: nothing of it is stored\n"
    assert rows(path, "SELECT * FROM book") == [(1, "Emma")]


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database\n" * 100)
    for file, says in {
        tmp_path: "it is a directory",
        tmp_path / "no" / "x.db": f"there is no directory {tmp_path / 'no'}",
        text: "file is not a database: it is a file of another kind, or encrypted",
    }.items():
        done = looplite(file, "SELECT 1")
        assert (done.stdout, done.returncode) == ("", 2)
        assert done.stderr == f"cannot open {file}: {says}\n"
    missing = tmp_path / "missing.db"
    done = looplite("--readonly", missing, "SELECT 1")
    assert done.returncode == 2
    assert "there is no such file" in done.stderr
    assert sorted(tmp_path.iterdir()) == [text]
    assert looplite("--mode", "xml").returncode == 2


def test_reading_only(path: Path) -> None:
    make(path, BOOKS)
    done = looplite("--readonly", path, "SELECT title FROM book", "DELETE FROM book")
    assert (done.stdout, done.returncode) == ("Emma\n", 1)
    first, hint = done.stderr.splitlines()
    assert first.endswith("attempt to write a readonly database")
    assert "reading only" in hint
    uri = looplite(f"file:{path}?mode=ro", "DELETE FROM book")
    assert "reading only" in uri.stderr


def test_a_locked_database_names_who_has_it(path: Path) -> None:
    make(path, BOOKS)
    with write_lock(path):
        done = looplite("--timeout", "0", path, "DELETE FROM book")
    assert done.returncode == 1
    assert "database is locked" in done.stderr
    if sys.platform == "linux":
        assert f"it is that of process {os.getpid()} " in done.stderr


def test_the_schema(path: Path) -> None:
    make(
        path,
        f'{BOOKS}; CREATE TABLE "a b"(c); CREATE INDEX by_c ON "a b"(c);'
        "CREATE VIEW v AS SELECT 1 AS x",
    )
    assert looplite(path, ".tables").stdout.split() == ["a", "b", "book", "v"]
    assert looplite(path, ".tables b%").stdout == "book\n"
    assert looplite(path, ".schema 'a b'").stdout == (
        'CREATE TABLE "a b"(c);\nCREATE INDEX by_c ON "a b"(c);\n'
    )
    assert "CREATE VIEW v AS SELECT 1 AS x;" in looplite(path, ".schema").stdout
    assert looplite(path, ".indexes").stdout.splitlines() == [
        "by_c on a b",
        "sqlite_autoindex_book_1 on book",
    ]
    assert looplite(path, ".databases").stdout == f"main: {path.resolve()}\n"


def test_output_goes_into_a_file(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    words = [".mode csv", f".output {file}", "SELECT * FROM book", ".output", "SELECT 1"]
    done = looplite(path, BOOKS, *words)
    assert done.returncode == 0, done.stderr
    assert file.read_bytes() == b"id,title\r\n1,Emma\r\n"
    assert done.stdout == "1\r\n1\r\n"


@pytest.mark.parametrize("command", [".output {}", ".read {}", ".backup {}"])
def test_the_database_is_never_opened_as_a_plain_file(path: Path, command: str) -> None:
    """Closing it would drop the locks of the connection."""
    make(path, BOOKS)
    words = ["BEGIN IMMEDIATE", command.format(path), "SELECT title FROM book", "COMMIT"]
    done = looplite(path, *words)
    assert "belongs to the open database" in done.stderr
    assert (done.stdout, done.returncode) == ("Emma\n", 1)


def test_a_backup(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert looplite(path, BOOKS, f".backup {copy}").returncode == 0
    assert rows(copy, "SELECT * FROM book") == [(1, "Emma")]


def test_opening_another(path: Path, tmp_path: Path) -> None:
    make(path, BOOKS)
    done = looplite(":memory:", "BEGIN", f".open --readonly {path}", "SELECT title FROM book")
    assert done.stdout == "Emma\n"
    assert "rolled back" in done.stderr
    done = looplite(path, f".open {tmp_path}", "SELECT title FROM book")
    assert (done.stdout, done.returncode) == ("Emma\n", 1)
    assert "it is a directory" in done.stderr


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (".nothing", "there is no command .nothing"),
        (".", "the name of a command is missing"),
        (".t", ".t may be .tables, .timer"),
        (".mode xml", "there is no mode xml"),
        (".timer perhaps", ".timer takes on or off"),
        (".read", "the file is missing"),
        (".read /no/such/file", "cannot read /no/such/file"),
        (".tables 'a", "No closing quotation"),
        (".tables a b", "too many arguments: b"),
        (".width -1", ".width takes a number"),
    ],
)
def test_wrong_commands(command: str, says: str) -> None:
    done = looplite(":memory:", command)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_help() -> None:
    for words in (["--help"], ["doctor", "--help"], ["bench", "--help"], ["run", "--help"]):
        done = looplite(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert "usage: python -m looplite" in done.stdout
    listed = looplite(":memory:", ".help").stdout
    assert ".tables [PATTERN]" in listed
    assert "RFC 4180" in looplite(":memory:", ".help mode").stdout
    assert looplite("-v").stdout.endswith(f"SQLite {sqlite3.sqlite_version}\n")


def test_the_timer_tells_where_a_statement_ran(path: Path) -> None:
    done = looplite("--timer", path, "SELECT 1")
    assert done.stdout == "1\n"
    assert "on the loop" in done.stderr or "on a worker" in done.stderr


def test_bytes_that_are_no_text() -> None:
    done = looplite(stdin=b"select 1;\nselect '\xff';\n")
    assert (done.stdout, done.returncode) == ("1\n", 2)
    assert done.stderr == "standard input:2: this is not UTF-8 (invalid start byte)\n"
    done = looplite(stdin="select 1\0;\n")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


COUNT = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"


@pytest.mark.parametrize("mode", ["table", "list", "line", "csv", "json"])
def test_a_closed_pipe_ends_it_quietly(mode: str) -> None:
    """A result without end is written as it comes, and ends when nobody reads any more."""
    with subprocess.Popen(
        [sys.executable, "-m", "looplite", ":memory:", "--mode", mode, COUNT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(100_000)) == 100_000
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is full")
@pytest.mark.parametrize("sql", ["SELECT 1", f"{COUNT} LIMIT 100000"])
def test_a_full_disk_is_told(sql: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "looplite", ":memory:", sql],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env=environment(),
        )
    assert done.stderr == b"cannot write the output: No space left on device\n"
    assert done.returncode == 1


def test_what_there_was_before_an_error_is_shown() -> None:
    over = "abs(CASE x WHEN 550 THEN -9223372036854775808 ELSE x END)"
    sql = COUNT.replace("SELECT x FROM", f"SELECT x, {over} FROM") + " LIMIT 600"
    done = looplite(":memory:", "--mode", "table", sql)
    assert done.returncode == 1
    assert "integer overflow" in done.stderr
    assert done.stdout.splitlines()[-1].startswith("500 |")


def test_ctrl_c_ends_a_script() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "looplite"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"SELECT 1;\n{COUNT};\nSELECT 'never';\n".encode())
        process.stdin.flush()
        process.stdout.read(100)  # it has begun
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert b"never" not in out
    assert err == b"interrupted\n  in standard input, the statement of line 2\n"
    assert process.returncode == 130


def test_ctrl_c_ends_a_statement_without_rows(path: Path) -> None:
    """Which holds the write lock when it is interrupted; nothing of it stays."""
    make(path, "PRAGMA journal_mode = WAL; CREATE TABLE t(v)")
    with subprocess.Popen(
        [sys.executable, "-m", "looplite", str(path), f"INSERT INTO t {COUNT}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        probe = sqlite3.connect(path, timeout=0, isolation_level=None)
        while True:
            try:
                probe.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                break
            probe.execute("ROLLBACK")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        probe.close()
    assert (out, err, process.returncode) == (b"", b"interrupted\n", 130)
    assert rows(path, "SELECT count(*) FROM t") == [(0,)]
