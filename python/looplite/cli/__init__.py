"""The command line: a shell, and one module for each subcommand."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

# Imported when they are asked for: a program that is run has nothing of the others.
COMMANDS = ("run", "bench", "doctor")


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the arguments and runs the subcommand they name, or the shell."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in COMMANDS:
        shell = importlib.import_module("looplite.cli.shell")
        sys.exit(shell.main(words))
    parser = argparse.ArgumentParser(prog="python -m looplite")
    commands = parser.add_subparsers(metavar="command", required=True)
    importlib.import_module(f"looplite.cli.{words[0]}").add_parser(commands)
    arguments = parser.parse_args(words)
    arguments.command(arguments)
