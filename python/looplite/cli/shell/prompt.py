"""The interactive part: prompts, history, completion, Ctrl-C and Ctrl-D.

History is kept in looplite/history under $XDG_STATE_HOME (~/.local/state), for this user's eyes
alone. Where it cannot be written, there is none, and nothing else changes.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import sqlite3
from pathlib import Path
from types import ModuleType

from looplite.cli.shell.commands import COMMANDS, Quit, versions
from looplite.cli.shell.modes import MODES
from looplite.cli.shell.reader import Reader
from looplite.cli.shell.session import MEMORY, Interrupted, Session
from looplite.cli.shell.split import Splitter
from looplite.crud.sql import quote_identifier as quoted

_KEPT = 2000
_PLAIN = re.compile(r"[A-Za-z_]\w*\Z")
_DELIMITERS = " \t\n`~!@#$%^&*()-=+[{]}\\|;:'\",<>/?."
_KEYWORDS = """
ABORT ACTION ADD AFTER ALL ALTER ALWAYS ANALYZE AND AS ASC ATTACH AUTOINCREMENT BEFORE BEGIN
BETWEEN BY CASCADE CASE CAST CHECK COLLATE COLUMN COMMIT CONFLICT CONSTRAINT CREATE CROSS CURRENT
CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP DATABASE DEFAULT DEFERRABLE DEFERRED DELETE DESC DETACH
DISTINCT DO DROP EACH ELSE END ESCAPE EXCEPT EXCLUDE EXCLUSIVE EXISTS EXPLAIN FAIL FILTER FIRST
FOLLOWING FOR FOREIGN FROM FULL GENERATED GLOB GROUP GROUPS HAVING IF IGNORE IMMEDIATE IN INDEX
INDEXED INITIALLY INNER INSERT INSTEAD INTERSECT INTO IS ISNULL JOIN KEY LAST LEFT LIKE LIMIT MATCH
MATERIALIZED NATURAL NO NOT NOTHING NOTNULL NULL NULLS OF OFFSET ON OR ORDER OTHERS OUTER OVER
PARTITION PLAN PRAGMA PRECEDING PRIMARY QUERY RAISE RANGE RECURSIVE REFERENCES REGEXP REINDEX
RELEASE RENAME REPLACE RESTRICT RETURNING RIGHT ROLLBACK ROW ROWS SAVEPOINT SELECT SET TABLE TEMP
TEMPORARY THEN TIES TO TRANSACTION TRIGGER UNBOUNDED UNION UNIQUE UPDATE USING VACUUM VALUES VIEW
VIRTUAL WHEN WHERE WINDOW WITH WITHOUT
""".split()  # noqa: SIM905


def history_file() -> Path:
    """Where the history of this user lies."""
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return folder / "looplite" / "history"


class History:
    """What was typed before; silently nothing where it cannot be kept."""

    def __init__(self, readline: ModuleType) -> None:
        self._readline = readline
        self._path: Path | None = None
        try:
            self._path = history_file()
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            readline.read_history_file(self._path)
        except (OSError, RuntimeError):  # RuntimeError: there is no home
            self._path = None
        readline.set_history_length(_KEPT)
        self._begin = readline.get_current_history_length()

    def save(self) -> None:
        """Adds what was typed in this run: another shell may have saved in between."""
        if self._path is None:
            return
        new = self._readline.get_current_history_length() - self._begin
        try:
            if hasattr(self._readline, "append_history_file"):
                self._readline.append_history_file(new, self._path)
            else:
                self._readline.write_history_file(self._path)
        except OSError:
            pass


class Completer:
    """Words for the Tab key: commands after a dot at the beginning, else keywords and names."""

    def __init__(self, session: Session, readline: ModuleType) -> None:
        self._session = session
        self._readline = readline
        self._found: list[str] = []
        self._names: list[str] = []
        self._known: object = None

    def __call__(self, text: str, state: int) -> str | None:
        if state == 0:
            self._found = self._words(text)
            if len(self._found) == 1 and _PLAIN.match(self._found[0]):
                self._found[0] += " "
        return self._found[state] if state < len(self._found) else None

    def _words(self, text: str) -> list[str]:
        line = self._readline.get_line_buffer()[: self._readline.get_endidx()].lstrip()
        if line.startswith("."):
            words = line[1:].split(" ")
            if len(words) == 1:
                return [name for name in COMMANDS if name.startswith(text)]
            if words[0] == "mode":
                return [name for name in MODES if name.startswith(text)]
            keywords: list[str] = []
        else:
            keywords = _KEYWORDS
        lower = text.lower()
        fitting = [name for name in self._schema() if name.lower().startswith(lower)]
        # One in quotes does not begin as what was typed: readline takes it if it is the only one.
        names = [name for name in fitting if _PLAIN.match(name)] or list(map(quoted, fitting))
        if not text or line.endswith(f".{text}"):
            return names
        words = [word for word in keywords if word.startswith(text.upper())]
        return names + [word if text.isupper() else word.lower() for word in words]

    def _schema(self) -> list[str]:
        """Tables and columns; those of the last time if the database does not answer at once."""
        session = self._session
        try:
            known = (session.path, session.fetch("PRAGMA schema_version"))
            if known == self._known:
                return self._names
            rows = session.fetch(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
                " UNION SELECT name FROM sqlite_temp_master WHERE type IN ('table', 'view')"
                " UNION SELECT c.name FROM sqlite_master AS t, pragma_table_info(t.name) AS c"
                " WHERE t.type IN ('table', 'view') ORDER BY 1"
            )
        except (sqlite3.Error, Interrupted):
            return self._names
        self._known = known
        self._names = [
            name for (name,) in rows if isinstance(name, str) and name and "\0" not in name
        ]
        return self._names


def _readline(session: Session) -> History | None:
    try:
        readline = importlib.import_module("readline")
    except ImportError:
        return None
    readline.set_completer_delims(_DELIMITERS)
    readline.set_completer(Completer(session, readline))
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    return History(readline)


def banner(session: Session) -> str:
    """What the user is told at the beginning."""
    if session.path == MEMORY:
        where = "Connected to a transient in-memory database"
    else:
        notes = ["a new file"] if session.is_new else []
        notes += ["read-only"] if session.readonly else []
        where = f"Connected to {session.path}" + (f" ({', '.join(notes)})" if notes else "")
    return (
        f"{versions()}\n{where}\n"
        'SQL ends with ";"; ".help" lists commands; ".quit" or Ctrl-D leaves, Ctrl-C interrupts.'
    )


def interact(session: Session, reader: Reader) -> None:
    """Reads and runs until the user leaves."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Inherited from a job in the background of a script, say; at a prompt it is the user's.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    history = _readline(session)
    session.out.write(banner(session) + "\n")
    splitter = Splitter()
    try:
        while True:
            session.out.flush()
            try:
                line = input(_prompt(session, splitter))
                reader.line(splitter, line + "\n")
            except EOFError:
                print()
                return
            except Quit:
                return
            except KeyboardInterrupt:
                print()
                splitter.forget()
            except Interrupted:
                splitter.forget()
    finally:
        if history is not None:
            history.save()


def _prompt(session: Session, splitter: Splitter) -> str:
    if splitter.waiting:
        return "     ...> "
    return "looplite*> " if session.db.in_transaction else "looplite> "
