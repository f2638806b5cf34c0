"""The table of the last run of each suite (results.md): what passed with aiosqlite, what with
looplite, and every difference by name. A run of everything writes it anew; with --report a run of
some suites replaces their rows.

A row belongs to a version of Python and SQLite, which stand in it; so the table may be put together
from several runs, and each row says when it was made.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import sqlite3
import sys
from dataclasses import dataclass, field
from pathlib import Path

_HEAD = """\
# Other projects' tests, with aiosqlite and with looplite

Made by `tests/dependents/run.py`; each row is the last run of its suite. "Differs" counts the tests
whose outcome is not the same; they are named below: `better`, `worse`, or `other`, which is decided
by the driver's name and not by what it does. A `worse` one fails the run.

| suite | tests of | with aiosqlite 0.22.1 | with looplite | differs | run |
| --- | --- | --- | --- | --- | --- |
"""
_BELOW = "\n## What differs\n\n"


@dataclass
class Result:
    """One suite, run once."""

    suite: str
    tests: str
    aiosqlite: str
    looplite: str
    differences: list[str] = field(default_factory=list)

    def row(self) -> str:
        python = ".".join(map(str, sys.version_info[:3]))
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
        where = f"{date}, looplite {_version()}, Python {python}, SQLite {sqlite3.sqlite_version}"
        cells = (f"`{self.suite}`", self.tests, self.aiosqlite, self.looplite)
        return f"| {' | '.join(cells)} | {len(self.differences) or 'nothing'} | {where} |"

    def lines(self) -> list[str]:
        """The differences, one a line, without what was raised."""
        return [f"- `{self.suite}`: {each.splitlines()[0]}" for each in self.differences]


def _version() -> str:
    try:
        return importlib.metadata.version("looplite")
    except importlib.metadata.PackageNotFoundError:
        return "of the source tree"


def _name(line: str) -> str:
    return line.split("`")[1] if "`" in line else ""


def write(path: Path, results: list[Result], known: list[str]) -> None:
    """Puts the results into the table; `known` are the suites in their order."""
    rows: dict[str, str] = {}
    below: dict[str, list[str]] = {}
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith("| `"):
                rows[_name(line)] = line
            elif line.startswith("- `"):
                below.setdefault(_name(line), []).append(line)
    for result in results:
        rows[result.suite] = result.row()
        below[result.suite] = result.lines()
    text = _HEAD + "".join(rows[name] + "\n" for name in known if name in rows)
    named = [line for name in known if name in rows for line in below.get(name, [])]
    path.write_text(text + (_BELOW + "\n".join(named) + "\n" if named else ""))
