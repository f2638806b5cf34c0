"""Errors as a person reads them: SQLite's words, the place in the statement, and what to do.

The first line is that of ``python -m sqlite3``: the class, the code's name, the message.
"""

from __future__ import annotations

import os
from pathlib import Path

from looplite.cli.holders import WRITES, holders
from looplite.cli.shell.values import width

# How much of a line is shown around the place.
_BEFORE, _AFTER = 50, 26
_BUSY = 5


def first_line(error: BaseException) -> str:
    """Class, code and message."""
    name = getattr(error, "sqlite_errorname", None)
    code = f" ({name})" if name else ""
    return f"{type(error).__name__}{code}: {error}"


def place(sql: str, offset: int) -> list[str]:
    """The line of the statement that has the place, and a mark under it."""
    before = sql.encode()[:offset].decode(errors="ignore")
    begin = before.rfind("\n") + 1
    line = sql[begin:].split("\n", 1)[0].rstrip()
    at = len(before) - begin
    left, right = max(0, at - _BEFORE), min(len(line), at + _AFTER)
    head = ("..." if left else "") + _shown(line[left:at])
    tail = _shown(line[at:right]) + ("..." if right < len(line) else "")
    return [f"    {head}{tail}", "    " + " " * width(head) + "^"]


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _hint(error: BaseException, path: str) -> str | None:
    code = getattr(error, "sqlite_errorcode", None)
    text = str(error)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary == _BUSY or text == "database is locked":
        return "another connection has the lock; its transaction has to end first" + _who(path)
    if "readonly database" in text:
        return f"{path} was opened for reading only, or may not be written by this user"
    if "not a database" in text:
        return "it is a file of another kind, or encrypted"
    if "malformed" in text and "disk image" in text:
        return f"`python -m looplite doctor {path}` says what is damaged"
    return None


def _who(path: str) -> str:
    others = [holder for holder in holders(Path(path)) if holder.pid != os.getpid()]
    writers = [holder for holder in others if holder.locks & WRITES]
    named = ", ".join(f"{holder.pid} ({holder.name})" for holder in writers or others)
    if not named:
        return ""
    return f"; it is that of process {named}" if writers else f"; process {named} has the file open"


def describe(error: BaseException, sql: str, path: str) -> str:
    """All that is to be said about a statement that failed."""
    lines = [first_line(error)]
    offset = getattr(error, "looplite_offset", None)
    if isinstance(offset, int):
        lines += place(sql, offset)
    if hint := _hint(error, path):
        lines.append(f"  {hint}")
    return "\n".join(lines)


def why_not_opened(path: str, error: BaseException) -> str:
    """Why a file could not be opened, as far as the file system tells."""
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        return f"cannot open {path}: it is a directory"
    if not folder.exists():
        return f"cannot open {path}: there is no directory {folder}"
    if not target.exists():
        if "unable to open" in str(error):
            return f"cannot open {path}: there is no such file, and it cannot be made here"
    elif not os.access(target, os.R_OK):
        return f"cannot open {path}: this user may not read it"
    if hint := _hint(error, path):
        return f"cannot open {path}: {error}: {hint}"
    if "unable to open" in str(error) and Path(f"{path}-wal").exists() is False:
        return (
            f"cannot open {path}: {error}. If it is in WAL mode and its directory may not be "
            "written, SQLite cannot make the files that it needs beside it"
        )
    return f"cannot open {path}: {error}"
