"""The shell at a terminal: prompts, Ctrl-C, Ctrl-D, history, completion."""

from __future__ import annotations

import signal
import stat
from pathlib import Path

import pytest
from cli.terminal import CTRL_C, CTRL_D, MORE, OPEN, PROMPT, TAB, UP, Terminal, terminal
from support import ENDLESS, looplite_only
from support.locks import make, rows

pytest.importorskip("pty")
pytest.importorskip("readline")
pytestmark = looplite_only

COUNT = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"


def interrupt(shell: Terminal, sql: str) -> str:
    """Presses Ctrl-C while a statement runs; what was shown until the next prompt."""
    while True:
        shell.type(f"{sql};\n")
        shell.wait("\n")  # the echo
        if sql == COUNT:
            shell.wait("\n100\n")  # rows are coming
        shell.type(CTRL_C)
        shown = shell.wait("> ")
        if "interrupted" in shown:
            return shown
        # It was too early: the line had been read, and its statement had not begun.


@pytest.fixture
def books(path: Path) -> Path:
    make(path, "CREATE TABLE book(id INTEGER PRIMARY KEY, title TEXT); INSERT INTO book VALUES (1, 'Emma')")  # fmt: skip  # noqa: E501
    return path


def test_statements_and_commands(books: Path, tmp_path: Path) -> None:
    with terminal(books, state=tmp_path) as shell:
        assert shell.line("SELECT * FROM book;") == "id | title\n---+------\n 1 | Emma\n(1 row)"
        assert shell.line(".tables") == "book"
        # Over several lines.
        shell.type("SELECT 'one;\n")
        shell.wait(MORE)
        assert shell.line("two' AS a;") == "a\n--------\none;␊two\n(1 row)"
        assert shell.line("INSERT INTO book(title) VALUES ('Romola'), (NULL);") == "2 rows changed"
        assert "no such table: nope" in shell.line("SELECT * FROM nope;")
        assert "there is no command .nope" in shell.line(".nope")
        assert shell.line("SELECT 1; SELECT 2;").count("(1 row)") == 2
        shell.type(".quit\n")
        shell.end()
    assert shell.process.returncode == 0
    assert rows(books, "SELECT count(*) FROM book") == [(3,)]


def test_the_banner_says_what_is_open(books: Path, tmp_path: Path) -> None:
    for words, says in {
        (): "a transient in-memory database",
        (str(tmp_path / "new.db"),): "(a new file)",
        (str(books), "--readonly"): "(read-only)",
    }.items():
        with terminal(*words, state=tmp_path) as shell:
            assert says in shell.banner
            shell.type(CTRL_D)
            shell.end()
        assert shell.process.returncode == 0


@pytest.mark.parametrize("sql", [ENDLESS, COUNT, f"INSERT INTO book(title) {COUNT}"])
def test_ctrl_c_interrupts_a_statement(books: Path, tmp_path: Path, sql: str) -> None:
    with terminal(books, state=tmp_path) as shell:
        shell.line("SELECT 1;")
        interrupt(shell, sql)
        # All is as before.
        assert "Emma" in shell.line("SELECT * FROM book;")
        assert "|     2" not in shell.line("SELECT count(*) FROM book;")
        shell.type(CTRL_D)
        shell.end()
    assert shell.process.returncode == 0
    assert rows(books, "SELECT count(*) FROM book") == [(1,)]


def test_ctrl_c_interrupts_a_file_and_a_command(books: Path, tmp_path: Path) -> None:
    make(books, f"CREATE TABLE many(x); INSERT INTO many {COUNT} LIMIT 200000")
    script = tmp_path / "script.sql"
    script.write_text(f"SELECT 1;\n{COUNT};\nSELECT 'never';\n")
    with terminal(books, state=tmp_path) as shell:
        shell.type(f".read {script}\n")
        shell.wait("\n100\n")
        shell.type(CTRL_C)
        shown = shell.wait("\n" + PROMPT)
        assert f"interrupted\n  in {script}, the statement of line 2" in shown
        assert "never" not in shown
        shell.type(".dump\n")
        shell.wait("VALUES(100);")
        shell.type(CTRL_C)
        shown = shell.wait("\n" + PROMPT)
        assert shown.endswith("interrupted")
        assert shown.count("interrupted") == 1
        assert "Emma" in shell.line("SELECT * FROM book;")
        shell.type(CTRL_D)
        shell.end()
    assert shell.process.returncode == 0


def test_ctrl_c_is_the_users_even_if_it_was_ignored(books: Path, tmp_path: Path) -> None:
    """As in what a script starts in its background: inherited, and not meant for a terminal."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with terminal(books, state=tmp_path) as shell:
            interrupt(shell, ENDLESS)
            shell.type("DELETE FROM book")
            shell.wait("DELETE FROM book")
            shell.clear()
            assert "Emma" in shell.line("SELECT * FROM book;")
            shell.type(CTRL_D)
            shell.end()
    finally:
        signal.signal(signal.SIGINT, before)
    assert shell.process.returncode == 0


def test_ctrl_c_at_the_prompt_clears_the_line(books: Path, tmp_path: Path) -> None:
    with terminal(books, state=tmp_path) as shell:
        shell.type("DELETE FROM book")
        shell.wait("DELETE FROM book")
        shell.clear()
        shell.type("DELETE FROM\n")
        shell.wait(MORE)
        shell.type("book")
        shell.wait("book")
        shell.clear()
        assert "Emma" in shell.line("SELECT * FROM book;")
        # And what is waiting is dropped with Ctrl-D.
        shell.type("DELETE FROM book\n")
        shell.wait(MORE)
        shell.type(CTRL_D)
        shell.end()
    assert shell.process.returncode == 0
    assert rows(books, "SELECT count(*) FROM book") == [(1,)]


def test_a_transaction_is_shown_and_announced(books: Path, tmp_path: Path) -> None:
    with terminal(books, state=tmp_path) as shell:
        assert shell.line("BEGIN;", OPEN) == ""
        assert shell.line("DELETE FROM book;", OPEN) == "1 row changed"
        while "looplite*" in (shown := interrupt(shell, f"INSERT INTO book(title) {COUNT}")):
            pass  # before it had begun: nothing was rolled back
        assert "the transaction was rolled back by SQLite" in shown
        shell.line("BEGIN;", OPEN)
        shell.line("DELETE FROM book;", OPEN)
        shell.type(CTRL_D)
        assert "the open transaction was rolled back" in shell.end()
    assert shell.process.returncode == 0
    assert rows(books, "SELECT * FROM book") == [(1, "Emma")]


def test_history(books: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with terminal(books, state=state) as shell:
        shell.line("SELECT 'the first';")
        shell.type(CTRL_D)
        shell.end()
    file = state / "looplite" / "history"
    assert "SELECT 'the first';" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with terminal(books, state=state) as shell:
        assert "the first" in shell.line(UP)
        shell.line("SELECT 2;")
        shell.type(".quit\n")
        shell.end()
    assert file.read_text().splitlines()[-2:] == ["SELECT 2;", ".quit"]


def test_no_history_is_no_trouble(books: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("a file, where there should be a folder")
    with terminal(books, state=state) as shell:
        assert "Emma" in shell.line("SELECT * FROM book;")
        shell.type(CTRL_D)
        assert shell.end().strip() == ""
    assert shell.process.returncode == 0


def test_completion(books: Path, tmp_path: Path) -> None:
    make(books, 'CREATE TABLE "my table"(a_column, "b column")')
    with terminal(books, state=tmp_path) as shell:
        for typed, completed in {
            "SELEC": "SELECT ",
            "selec": "select ",
            "select * from bo": "select * from book ",
            "select tit": "select title ",
            "select a_co": "select a_column ",
            "select book.tit": "select book.title ",
            "select * from my": '"my table"',
            ".ta": ".tables ",
            ".mode js": ".mode json ",
        }.items():
            shell.type(typed + TAB)
            shell.wait(completed)
            shell.clear()
        shell.type(CTRL_D)
        shell.end()
