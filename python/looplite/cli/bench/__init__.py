"""``python -m looplite bench``: measures this machine beside other libraries.

The program itself (folder `program`) takes this process over: looplite has been imported here, and
puts hooks under the interpreter's SQLite, without which `sqlite3` has to be measured.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parent / "program"


def add_parser(commands: Any) -> None:
    """Adds the subcommand; its arguments, and --help, are the program's."""
    parser = commands.add_parser("bench", add_help=False, prefix_chars="\0")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, str(PROGRAM), *arguments.arguments])  # noqa: S606
