"""Where the shell cuts text into statements: where SQLite's own sqlite3_complete() would."""

from __future__ import annotations

import random
import sqlite3

import pytest
from looplite.cli.shell.split import Splitter, is_blank
from support import looplite_only

pytestmark = looplite_only


def cut(text: str) -> list[str]:
    splitter = Splitter()
    found = [sql for line in text.splitlines(keepends=True) for _, sql in splitter.feed(line)]
    return [sql.strip() for sql in found + [sql for _, sql in splitter.rest()]]


CASES = {
    "select 1; select 2;": ["select 1;", "select 2;"],
    "select 1": ["select 1"],
    "select ';'; select \"a;b\";": ["select ';';", 'select "a;b";'],
    "select 'it''s;'; select [a;b], `c;d`;": ["select 'it''s;';", "select [a;b], `c;d`;"],
    "select 1 -- one; two\n; select 2;": ["select 1 -- one; two\n;", "select 2;"],
    "/* a; b */ select 1;": ["/* a; b */ select 1;"],
    "/* a;\n b; */": [],
    "-- nothing\n\n ; ;; \n": [],
    "select 1; -- and a comment": ["select 1;"],
    "select 1 /* not ended; ": ["select 1 /* not ended;"],
    "select 'not ended; ": ["select 'not ended;"],
    "create trigger t after insert on a begin select 1; select 2; end; select 3;": [
        "create trigger t after insert on a begin select 1; select 2; end;",
        "select 3;",
    ],
    "/* x */ CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN\nSELECT ';'; END;\nSELECT 1;": [
        "/* x */ CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN\nSELECT ';'; END;",
        "SELECT 1;",
    ],
    "explain create trigger t after insert on a begin select 1; end;": [
        "explain create trigger t after insert on a begin select 1; end;"
    ],
    "create table trigger_t(a); select 1;": ["create table trigger_t(a);", "select 1;"],
}


@pytest.mark.parametrize("text", CASES)
def test_cases(text: str) -> None:
    assert cut(text) == CASES[text]


def test_random_text_is_cut_where_sqlite_says() -> None:
    pieces = ["'", '"', "`", "[", "]", "--", "/*", "*/", ";", "\n", " ", "a", "''", "create", "end"]
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(3000):
        text = "".join(chance.choices(pieces, k=chance.randrange(1, 25)))
        for sql in (found := cut(text))[:-1]:
            assert sqlite3.complete_statement(sql), (seed, text, sql)
        # No statement has its end within it.
        for sql in found:
            for at, character in enumerate(sql[:-1]):
                begun = sql[: at + 1]
                if character == ";" and sqlite3.complete_statement(begun):
                    assert is_blank(begun), (seed, text, sql)


def test_lines_are_numbered() -> None:
    splitter = Splitter()
    text = "select 1;\n\n-- x\nselect\n2; select 3;\nselect 4"
    found = [pair for line in text.splitlines(keepends=True) for pair in splitter.feed(line)]
    assert [number for number, _ in found + splitter.rest()] == [1, 4, 5, 6]


def test_waiting() -> None:
    splitter = Splitter()
    steps = [
        ("\n", False),
        ("-- a comment\n", False),
        ("/* a comment\n", True),
        ("goes on */\n", False),
        ("select\n", True),
        ("1;\n", False),
        ("select '\n", True),
        (";\n", True),
        ("'; select 2\n", True),
        (";\n", False),
    ]
    for line, waiting in steps:
        splitter.feed(line)
        assert splitter.waiting == waiting, line
    splitter.feed("select 1\n")
    splitter.forget()
    assert not splitter.waiting
    assert splitter.rest() == []
