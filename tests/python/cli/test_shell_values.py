"""How results are written: no value is taken for another; JSON and CSV are read back by others."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path

import pytest
from cli.command import looplite
from looplite.cli.shell.modes import MODES, WINDOW
from looplite.cli.shell.values import BadText, cell, csv_field, cut, json_value, text_factory, width
from support import looplite_only

pytestmark = looplite_only

# In pairs that could be mistaken for one another.
VALUES: list[object] = [
    None,
    "NULL",
    "'NULL'",
    "",
    b"",
    "x''",
    b"\x00\xff",
    "x'00ff'",
    BadText(b"\xff"),
    "CAST(x'ff' AS TEXT)",
    float("inf"),
    "Inf",
    float("-inf"),
    "-Inf",
    1.5,
    "it's",
    "'it''s'",
    'say "x"',
    "a,b",
    " a ",
    "two\nlines",
    "two␤lines",
    "\r\n",
    "\x1b[31mred",
    "\0",
    "naïve",
    "日本",
    "e\u0301",
    "\u202eback",
    1.0,
    1e300,
    5e-324,
    9223372036854775807,
    -9223372036854775808,
]


def test_no_two_values_look_alike() -> None:
    assert len({cell(value) for value in VALUES}) == len(VALUES)
    # What is left to the reader: numbers and the texts of them; a picture of a control character.
    assert cell("1") == cell(1) == "1"
    assert cell("\n") == cell("␊")


def test_nothing_commands_the_terminal_or_breaks_a_row() -> None:
    for code in [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x202E, 0x2066]:
        assert chr(code) not in cell(f"a{chr(code)}b")


@pytest.mark.parametrize("value", VALUES)
def test_json(value: object) -> None:
    read = json.loads(json_value(value))
    if isinstance(value, BadText):
        assert read == {"base64": base64.b64encode(value).decode(), "type": "text"}
    elif isinstance(value, bytes):
        assert read == {"base64": base64.b64encode(value).decode()}
    else:
        assert read == value
        assert type(read) is type(value)


def test_csv_is_read_back() -> None:
    rows = [[value, value] for value in VALUES]
    text = "".join(",".join(map(csv_field, row)) + "\r\n" for row in rows)
    read = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert len(read) == len(rows)
    for got, (value, _) in zip(read, rows, strict=True):
        if isinstance(value, str):
            assert got == [value, value]
    # And what the fields themselves say, no two values have in common.
    assert len(set(map(csv_field, VALUES))) == len(VALUES) - 1
    assert csv_field(None) == ""
    assert csv_field("") == '""'
    assert csv_field(BadText(b"\xff")) == csv_field("CAST(x'ff' AS TEXT)")


def test_text_of_sqlite() -> None:
    assert text_factory("naïve".encode()) == "naïve"
    bad = text_factory(b"\xff")
    assert isinstance(bad, BadText)
    assert bad == b"\xff"


def test_widths() -> None:
    assert [width(text) for text in ("abc", "日本", "e\u0301")] == [3, 4, 1]
    assert cut("abcdef", 4) == "abc…"
    assert cut("abcd", 4) == "abcd"
    assert cut("日本語", 5) == "日本…"
    assert cut("a" * 1000, 0) == "a" * 1000


def write(mode: str, names: list[str], rows: list[tuple[object, ...]], limit: int = 100) -> str:
    out = io.StringIO()
    kind = MODES[mode]
    writer = kind(out.write, names, kind.headers_by_default, limit)
    for at in range(0, len(rows), 100):
        writer.rows(rows[at : at + 100])
    writer.end()
    return out.getvalue()


def test_modes() -> None:
    names, rows = ["id", "name"], [(1, "Emma"), (10, None)]
    assert write("table", names, list(rows)) == ("id | name\n---+-----\n 1 | Emma\n10 | NULL\n")
    assert write("list", names, list(rows)) == "1|Emma\n10|NULL\n"
    assert write("line", names, list(rows)) == ("  id = 1\nname = Emma\n\n  id = 10\nname = NULL\n")
    assert write("csv", names, list(rows)) == "id,name\r\n1,Emma\r\n10,\r\n"
    assert json.loads(write("json", names, list(rows))) == [
        {"id": 1, "name": "Emma"},
        {"id": 10, "name": None},
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_result_without_rows(mode: str) -> None:
    text = write(mode, ["a"], [])
    assert text == {"table": "a\n-\n", "csv": "a\r\n", "json": "[]\n"}.get(mode, "")


def test_json_keeps_columns_of_one_name_apart() -> None:
    assert json.loads(write("json", ["a", "a", "a:1", "a"], [(1, 2, 3, 4)])) == [
        {"a": 1, "a:1": 2, "a:1:1": 3, "a:2": 4}
    ]


def test_a_table_looks_at_its_first_rows_only() -> None:
    """Later rows keep to these widths, and are not cut for it; none are held back any longer."""
    out: list[str] = []
    writer = MODES["table"](out.append, ["v"], True, 0)
    rows: list[tuple[object, ...]] = [("x",)] * (WINDOW - 1)
    writer.rows(rows)
    assert out == []
    writer.rows([("y",)])
    assert "".join(out).count("\n") == WINDOW + 2
    out.clear()
    writer.rows([("wider",)])
    assert out == ["wider\n"]


def test_a_table_cuts_and_the_others_do_not() -> None:
    long = "x" * 300
    assert "x" * 99 + "…" in write("table", ["v"], [(long,)])
    assert long in write("table", ["v"], [(long,)], limit=0)
    for mode in ("list", "line", "csv", "json"):
        assert long in write(mode, ["v"], [(long,)])


def test_the_program_writes_them_as_utf_8_into_a_pipe(tmp_path: Path) -> None:
    sql = "SELECT 'naïve' AS t, x'00' AS b, 1e999 AS i, NULL AS n, CAST(x'ff' AS TEXT) AS bad"
    wanted = {
        "json": (
            '[\n{"t": "naïve", "b": {"base64": "AA=="}, "i": 9e999, "n": null, '
            '"bad": {"base64": "/w==", "type": "text"}}\n]\n'
        ),
        "csv": "t,b,i,n,bad\r\nnaïve,x'00',Inf,,CAST(x'ff' AS TEXT)\r\n",
        "list": "naïve|x'00'|Inf|NULL|CAST(x'ff' AS TEXT)\n",
    }
    for mode, text in wanted.items():
        done = looplite(":memory:", "--mode", mode, sql, fresh=True, LC_ALL="C", PYTHONUTF8="0")
        assert (done.stdout, done.stderr, done.returncode) == (text, "", 0)
