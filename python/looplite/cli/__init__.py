"""The command line: one module for each subcommand."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from looplite import __version__, sqlite_version
from looplite.cli import run


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the arguments and runs the subcommand they name."""
    parser = argparse.ArgumentParser(
        prog="python -m looplite", description="SQLite for event loops."
    )
    parser.add_argument(
        "--version", action="version", version=f"looplite {__version__}, SQLite {sqlite_version}"
    )
    commands = parser.add_subparsers(metavar="command", required=True)
    run.add_parser(commands)
    arguments = parser.parse_args(argv)
    arguments.command(arguments)
