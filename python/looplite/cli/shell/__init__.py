"""``python -m looplite [FILE] [SQL ...]``: a SQL shell on looplite's own connections.

As ``python -m sqlite3``: statements that are given are run, else those of standard input, at a
prompt if that is a terminal. The modules: split (text into statements), session (the connection),
values and modes (how results are written), trouble (errors), commands (those with a dot), reader
(scripts), prompt (the interactive part).

Exit status: 0; 1 if a statement failed or a script left a transaction open; 2 for wrong arguments
and a file that cannot be opened; 130 after Ctrl-C in a script; 141 when the reader of the output
has gone.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from looplite.cli.common import INTERRUPTED, ended, seconds
from looplite.cli.shell.commands import Quit, versions
from looplite.cli.shell.modes import MODES
from looplite.cli.shell.prompt import interact
from looplite.cli.shell.reader import Reader, Stop, standard_input
from looplite.cli.shell.session import MEMORY, Interrupted, Session, ShellError

_EPILOG = """\
other commands (each with --help):
  run        run a program that uses aiosqlite on looplite
  bench      measure this machine beside other libraries
  doctor     examine a database file, and say what to do

A file called run, bench or doctor is opened as ./run. Exit status: 0; 1 if a statement failed; 2 if
the arguments are wrong or the file cannot be opened.
"""


def make_parser() -> argparse.ArgumentParser:
    """The arguments of the shell."""
    parser = argparse.ArgumentParser(
        prog="python -m looplite",
        description="A SQL shell. Without SQL, statements are read from standard input, at a\n"
        "prompt if that is a terminal; .help there lists commands.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "file",
        nargs="?",
        default=MEMORY,
        help="the database, made if it does not exist; a file: URI; by default one in memory",
    )
    parser.add_argument("sql", nargs="*", help="statements, or a command such as .tables")
    parser.add_argument("-v", "--version", action="version", version=versions())
    parser.add_argument("--readonly", action="store_true", help="never write to the file")
    parser.add_argument(
        "--mode", choices=tuple(MODES), help="form of results: table in a terminal, else list"
    )
    parser.add_argument(
        "--headers",
        action=argparse.BooleanOptionalAction,
        help="names of columns; by default in table, csv and line",
    )
    parser.add_argument("--timer", action="store_true", help="tell how long statements took")
    parser.add_argument("--bail", action="store_true", help="end a script at its first error")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=5.0,
        metavar="SECONDS",
        help="how long a locked database is waited for (5)",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the shell; gives its exit status."""
    arguments = make_parser().parse_intermixed_args(argv)
    if sys.stdout is None:  # closed: python -m looplite >&-
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # What a terminal cannot show is shown escaped; a pipe or a file gets UTF-8.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="backslashreplace", **({} if stream.isatty() else {"encoding": "utf-8"})
            )
    return ended(lambda: _shell(arguments))


def _text(argument: str) -> str:
    """An argument as UTF-8, whatever the locale says of it."""
    try:
        return os.fsencode(argument).decode()
    except UnicodeDecodeError as error:
        raise ShellError(f"the SQL is not UTF-8 ({error.reason})") from error


def _shell(arguments: argparse.Namespace) -> int:
    interactive = not arguments.sql and sys.stdin is not None and sys.stdin.isatty()
    terminal = sys.stdout.isatty()
    mode = arguments.mode or ("table" if terminal else "list")
    session = Session(sys.stdout, mode, interactive)
    session.headers, session.timer = arguments.headers, arguments.timer
    session.bail, session.timeout = arguments.bail, arguments.timeout
    reader = Reader(session)
    left_open = False
    interrupted = False
    try:
        session.open(arguments.file, arguments.readonly)
        if arguments.sql:
            for text in map(_text, arguments.sql):
                reader.text(text)
        elif interactive:
            interact(session, reader)
        elif sys.stdin is not None:
            reader.stream("standard input", standard_input())
    except ShellError as error:
        session.say(str(error))
        return 2
    except Interrupted:
        interrupted = True
    except (Stop, Quit):
        pass
    finally:
        reader.close()
        left_open = session.end()
    if interrupted:
        return INTERRUPTED
    return 1 if not interactive and (session.failed or left_open) else 0
