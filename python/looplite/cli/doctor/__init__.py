"""``python -m looplite doctor FILE``: what is wrong with a database, and what to do.

It changes nothing: not a byte of the database, its log or its journal, and no file is made or
deleted beside them (access.py says how). It is a program of its own, because a process that opens
and closes a database as a plain file drops the locks that it has there: look() must not be called
in a process that has the database open. First the files are read as bytes (files, outside), then
SQLite opens them (access), and is asked (inside).

Exit status: 0 all is well; 1 there is advice; 2 it is damaged, or could not be examined.
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import sys
from functools import partial
from pathlib import Path
from typing import Any

from looplite.cli.common import ended, seconds
from looplite.cli.doctor import inside, outside
from looplite.cli.doctor.access import TIMEOUT, NotExaminedError, opened
from looplite.cli.doctor.files import Files, look, stamps
from looplite.cli.doctor.findings import Report
from looplite.cli.holders import holders

# Steps of SQLite's machine after which a Ctrl-C is noticed.
_STEPS = 100_000
# How SQLite says that a collation, a function or a module is missing, which the program brings that
# the database belongs to.
_FOREIGN = ("no such ", "unknown function", "unsafe use of")


class _CtrlC:
    """Lets Ctrl-C end a statement of sqlite3, which would not notice it."""

    def __init__(self) -> None:
        self.pressed = False
        self._before: Any = None

    def __enter__(self) -> _CtrlC:
        self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _press(self, number: int, frame: object) -> None:
        self.pressed = True


def add_parser(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "doctor",
        help="examine a database file, and say what to do",
        description="Examines a database without changing it: damage, the write-ahead log, "
        "settings that hurt, indexes that are missing, who has it open.",
        epilog="Exit status: 0 all is well; 1 there is advice; 2 it is damaged, or could not be "
        "examined.",
    )
    parser.add_argument("file", type=Path, help="the database")
    parser.add_argument(
        "--full",
        action="store_true",
        help="also look whether indexes and tables agree, and foreign keys hold (slow)",
    )
    parser.add_argument(
        "--no-integrity",
        action="store_true",
        help="do not read the whole file: for a large one on a busy disk",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=TIMEOUT,
        metavar="SECONDS",
        help=f"how long a locked database is waited for ({TIMEOUT:g})",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=_run)


def examine(path: Path, full: bool = False, whole: bool = True, timeout: float = TIMEOUT) -> Report:
    """The report about a file."""
    report = Report(str(path))
    if path.is_dir():
        report.add("failed", "open", "this is a directory")
        return report
    try:
        files = look(path)
    except OSError as error:
        report.add("failed", "open", f"cannot be read: {error.strerror}")
        return report
    outside.examine(files, report)
    if files.header is None and files.bytes:
        return report
    _inside(files, report, full, whole, timeout)
    return report


def _inside(files: Files, report: Report, full: bool, whole: bool, timeout: float) -> None:
    try:
        with opened(files, timeout) as found, _CtrlC() as ctrl_c:
            report.facts["examined"] = found.how
            outside.journal(files, report, found.is_copy)
            found.db.set_progress_handler(lambda: int(ctrl_c.pressed), _STEPS)
            _checks(found.db, report, full, whole)
            if ctrl_c.pressed:
                raise KeyboardInterrupt
    except NotExaminedError as error:
        report.add("failed", "open", str(error))
    except sqlite3.DatabaseError as error:
        _sqlite_says(files, report, error)
    if stamps(files.path) != files.stamps and report.facts.get("examined", "").startswith(
        "without"
    ):
        report.add(
            "failed",
            "open",
            "somebody wrote to it meanwhile; what was found may be wrong",
            "run it again",
        )


def _checks(db: sqlite3.Connection, report: Report, full: bool, whole: bool) -> None:
    first: tuple[inside.Check, ...] = (partial(inside.integrity, full=full),) if whole else ()
    for check in first + inside.CHECKS:
        try:
            check(db, report)
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                return
            if not str(error).startswith(_FOREIGN):
                raise
            report.add("info", "unknown", f"not all could be checked: {error}")
        except sqlite3.DatabaseError as error:
            report.add("damage", "integrity", f"SQLite says: {error}", inside._RESTORE)


def _sqlite_says(files: Files, report: Report, error: sqlite3.DatabaseError) -> None:
    text = str(error)
    if "locked" in text:
        who = ", ".join(f"{h.pid} ({h.name})" for h in holders(files.path)) or "another process"
        report.add(
            "failed", "open", f"{text}: {who} has it for itself", "try again when it is done"
        )
    elif "malformed" in text or "not a database" in text:
        report.add("damage", "integrity", f"SQLite says: {text}", inside._RESTORE)
    else:
        report.add("failed", "open", f"SQLite says: {text}")


def _run(arguments: argparse.Namespace) -> None:
    sys.exit(ended(lambda: _main(arguments)))


def _main(arguments: argparse.Namespace) -> int:
    report = examine(arguments.file, arguments.full, not arguments.no_integrity, arguments.timeout)
    if arguments.json:
        print(json.dumps(report.as_dict(), indent=1))
    else:
        print(report.as_text(), end="")
    return report.status
