"""Where statements and commands come from: arguments, a pipe, a file, a prompt."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, TextIO

from looplite.cli.shell.commands import Commands
from looplite.cli.shell.session import Interrupted, Session, ShellError
from looplite.cli.shell.split import Splitter

_DEEPEST = 20


class Stop(Exception):  # noqa: N818 - not an error
    """A script ends here: .bail is on and something failed, or the user interrupted it."""


class Reader:
    """Hands lines to a session: SQL as soon as it is complete, commands at once."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.commands = Commands(session, self)
        self._depth = 0
        self._stdout = session.out
        self._file: TextIO | None = None

    def line(self, splitter: Splitter, line: str) -> None:
        """One line of the user's."""
        if not splitter.waiting and line.lstrip().startswith("."):
            self.commands.run(line)
            return
        for _, sql in splitter.feed(line):
            self.session.execute(sql)

    def text(self, text: str) -> None:
        """An argument of the command line: statements, or a command."""
        self._script("", io.StringIO(text, newline="\n"))

    def stream(self, name: str, stream: BinaryIO) -> None:
        """A pipe or a file, to its end."""
        self._script(name, self._decoded(name, stream))

    def _decoded(self, name: str, stream: BinaryIO) -> Iterable[str]:
        for number, raw in enumerate(stream, 1):
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ShellError(f"{name}:{number}: this is not UTF-8 ({error.reason})") from error

    def _script(self, name: str, lines: Iterable[str]) -> None:
        splitter = Splitter()
        for line in lines:
            if not splitter.waiting and line.lstrip().startswith("."):
                splitter.line += 1
                self._done(name, splitter.line, self.commands.run(line))
                continue
            for number, sql in splitter.feed(line):
                self._done(name, number, self._run(name, number, sql))
        for number, sql in splitter.rest():
            self._done(name, number, self._run(name, number, sql))

    def _run(self, name: str, number: int, sql: str) -> bool:
        try:
            return self.session.execute(sql)
        except Interrupted:
            if name:
                self.session.say(f"  in {name}, the statement of line {number}")
            raise

    def _done(self, name: str, number: int, good: bool) -> None:
        if good:
            return
        if name:
            self.session.say(f"  in {name}, line {number}")
        if self.session.bail:
            raise Stop

    def read_file(self, path: Path) -> None:
        """.read"""
        if self._depth >= _DEEPEST:
            raise ShellError(f"{path}: .read within .read, {_DEEPEST} deep")
        self.session.not_the_database(path)
        try:
            stream = path.open("rb")
        except OSError as error:
            raise ShellError(f"cannot read {path}: {error.strerror}") from error
        self._depth += 1
        try:
            with stream:
                self.stream(str(path), stream)
        except IsADirectoryError as error:
            raise ShellError(f"cannot read {path}: {error.strerror}") from error
        except Stop:
            if self._depth > 1 or not self.session.interactive:
                raise
        finally:
            self._depth -= 1

    def redirect(self, path: str | None) -> None:
        """.output"""
        opened = None
        if path is not None:
            self.session.not_the_database(path)
            try:
                # CSV has its own line ends.
                opened = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115
            except OSError as error:
                raise ShellError(f"cannot write {path}: {error.strerror}") from error
        self.close()
        self._file = opened
        self.session.out = opened or self._stdout

    def close(self) -> None:
        """Ends a redirection."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self.session.out = self._stdout


def standard_input() -> BinaryIO:
    """What is piped in."""
    return sys.stdin.buffer
