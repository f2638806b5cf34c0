"""The command line: a shell, and one module for each subcommand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from looplite.cli import run

COMMANDS = {"run": run}


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the arguments and runs the subcommand they name, or the shell."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in COMMANDS:
        parser = argparse.ArgumentParser(prog="python -m looplite")
        commands = parser.add_subparsers(metavar="command", required=True)
        COMMANDS[words[0]].add_parser(commands)
        arguments = parser.parse_args(words)
        arguments.command(arguments)
        return
    from looplite.cli import shell

    sys.exit(shell.main(words))
