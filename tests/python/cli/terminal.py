"""The shell at a terminal: a pty with `python -m looplite` behind it, as a user sees it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.command import environment
from support import SCRIPT_SECONDS

PROMPT = "looplite> "
OPEN = "looplite*> "
MORE = "     ...> "
CTRL_C, CTRL_D, TAB, UP = "\x03", "\x04", "\t", "\x1b[A"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x07|\r")


class Terminal:
    """Types, and waits for what is to appear."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self.seen = ""
        self.banner = ""  # what was shown before the first prompt
        self._raw = b""
        self._marks = 0

    def wait(self, text: str) -> str:
        """Until the text is there; gives what came before it. Time is a limit for what hangs."""
        while text not in self.seen:
            if not self._more():
                raise AssertionError(f"it ended before {text!r}; there was {self.seen!r}")
        before, _, self.seen = self.seen.partition(text)
        return before

    def _more(self) -> bool:
        if not select.select([self._master], [], [], SCRIPT_SECONDS)[0]:
            raise AssertionError(f"nothing comes any more; there is {self.seen!r}")
        try:
            part = os.read(self._master, 65536)
        except OSError:  # Linux: the other side has been closed
            part = b""
        self._raw += part
        # A character of several bytes, or a sequence of the terminal, may not be whole yet.
        text = self._raw.decode(errors="ignore")
        if "\x1b" not in text[-8:] or not part:
            self.seen += _CONTROL.sub("", text)
            self._raw = b""
        return bool(part)

    def type(self, text: str) -> None:
        """Presses keys."""
        os.write(self._master, text.encode())

    def line(self, text: str, prompt: str = PROMPT) -> str:
        """Types a line; gives what is shown until the prompt is there again, without the echo."""
        self.type(text + "\n")
        shown = self.wait("\n" + prompt)
        return shown.partition("\n")[2]

    def clear(self) -> None:
        """Ctrl-C at the prompt. Python overlooks one that comes between two of readline's looks at
        the keyboard, so it is pressed until the prompt is there, and what came too often is read.
        """
        self._marks += 1
        self.type(CTRL_C)
        while "\n" + PROMPT not in self.seen:
            if select.select([self._master], [], [], 1)[0]:
                assert self._more()
            else:
                self.type(CTRL_C)
        self.type(f"SELECT 'mark' || {self._marks};\n")
        self.wait(f"mark{self._marks}\n")
        self.wait("\n" + PROMPT)

    def end(self) -> str:
        """The rest, to the end of the program."""
        while self._more():
            pass
        self.process.wait()
        rest, self.seen = self.seen, ""
        return rest


@contextmanager
def terminal(*arguments: str | Path, state: Path, **env: str) -> Iterator[Terminal]:
    """The shell, with its prompt shown; its history lies in the folder `state`."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, 200)) if hasattr(termios, "tcsetwinsize") else None
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "looplite", *map(str, arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: _control(slave),
            env=environment(XDG_STATE_HOME=str(state), TERM="dumb", COLUMNS="200", **env),
        )
        os.close(slave)
        slave = -1
        with process:
            shell = Terminal(process, master)
            try:
                shell.banner = shell.wait(PROMPT)
                yield shell
            finally:
                if process.poll() is None:
                    process.kill()
    finally:
        os.close(master)
        if slave >= 0:
            os.close(slave)


def _control(slave: int) -> None:
    """Makes the pty the terminal from which Ctrl-C comes."""
    import fcntl

    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
