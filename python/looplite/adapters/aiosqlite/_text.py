"""What can be told of a statement by its text: its first word, its placeholders, and whether it is
about the connection that runs it.

Most statements are about the database alone, so any connection of the pool may run them. A few are
about a connection: they open or end a transaction on it, set something, make temporary objects,
or ask for what it did last. A session that runs one of these needs a connection of its own. (The
pool looks again when it prepares the statement, and knows more: functions, views on temporary
tables. This is for what can be known before.)

Texts are looked at once and remembered: programs use few texts, many times.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

from looplite.exceptions import ProgrammingError


class About(Enum):
    """What a statement is about."""

    DATABASE = 0
    TRANSACTION = 1
    """Opens or ends one, or a savepoint: the connection is needed for as long as it is open."""
    CONNECTION = 2
    """Leaves something behind on the connection that later statements may build on."""
    LAST_CHANGE = 3
    """Asks what the last statement did: changes(), last_insert_rowid()."""


class Facts(NamedTuple):
    word: str
    """The first word, in capitals; "" if there is none."""
    about: About
    named: bool
    """There are placeholders with a name."""


_QUIET = r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)"
_TOKEN = re.compile(
    rf"(?P<quiet>{_QUIET})|(?P<named>[:@$][A-Za-z_]\w*)|(?P<word>[A-Za-z_]\w*)", re.S
)
_TRANSACTION = frozenset(("BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"))
_CONNECTION = frozenset(("PRAGMA", "ATTACH", "DETACH"))
_LAST = frozenset(("CHANGES", "TOTAL_CHANGES", "LAST_INSERT_ROWID"))

_known: dict[str, Facts] = {}
_MOST = 1024


def _look(sql: str) -> Facts:
    first, about, named = "", About.DATABASE, False
    for token in _TOKEN.finditer(sql):
        kind = token.lastgroup
        if kind == "quiet":
            continue
        if kind == "named":
            named = True
            continue
        word = token.group().upper()
        if not first:
            first = word
            if word in _TRANSACTION:
                about = About.TRANSACTION
            elif word in _CONNECTION:
                about = About.CONNECTION
        elif about is About.DATABASE:
            if word in ("TEMP", "TEMPORARY"):
                about = About.CONNECTION
            elif word in _LAST and sql[token.end() :].lstrip()[:1] == "(":
                about = About.LAST_CHANGE
    return Facts(first, about, named)


def facts(sql: str) -> Facts:
    """What there is to know of a text."""
    known = _known.get(sql)
    if known is None:
        known = _look(sql)
        if len(_known) >= _MOST:
            _known.clear()
        _known[sql] = known
    return known


def statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one; what is left at the end counts as one, too."""
    start = end = 0
    for token in re.finditer(rf"{_QUIET}|;", script, re.S):
        if token.group() != ";":
            continue
        end = token.end()
        text = script[start:end]
        if sqlite3.complete_statement(text):  # not so inside a trigger
            start = end
            if facts(text).word:
                yield text
    rest = script[start:]
    if facts(rest).word:
        yield rest


_SAVEPOINT = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def savepoint_name(name: str) -> str:
    """A name that needs no quotes; anything else is a mistake rather than a name."""
    if not isinstance(name, str) or not _SAVEPOINT.fullmatch(name):
        raise ValueError(
            f"the name of a savepoint must be a letter or _, then letters, digits and _, not "
            f"{name!r}"
        )
    return name


_ASKED_ALONE = re.compile(
    r"\s*SELECT\s+(last_insert_rowid|changes)\s*\(\s*\)\s*;?\s*", re.IGNORECASE | re.ASCII
)
_LAST_CALL = re.compile(
    rf"(?P<quiet>{_QUIET})|\b(?P<name>last_insert_rowid|changes|total_changes)\s*\(\s*\)",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)


def with_last_change(sql: str, rowid: int, changes: int) -> str:
    """The statement with these numbers in the place of the functions that ask for them."""
    values = {"last_insert_rowid": rowid, "changes": changes}
    alone = _ASKED_ALONE.fullmatch(sql)
    if alone:  # its column keeps its name
        name = alone[1]
        return f'SELECT {values[name.lower()]} AS "{name}()"'

    def value(found: re.Match[str]) -> str:
        if found["quiet"]:
            return found[0]
        name = found["name"].lower()
        if name not in values:
            raise ProgrammingError(
                "total_changes() is of a connection, and the session has had several; inside a "
                "transaction it has one"
            )
        return f"({values[name]})"

    return _LAST_CALL.sub(value, sql)


# ---- parameters ----------------------------------------------------------------------------------


def parameters(what: Facts, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What execute(sql, *given, **named) binds.

    One list or tuple holds all the values, as in `sqlite3`. One mapping is for placeholders with
    names, if the statement has some; else it is a value like any other, which becomes JSON.
    """
    if named:
        if len(given) > 1 or (given and not isinstance(given[0], Mapping)):
            raise TypeError("parameters are given by position or by name, not both")
        return {**given[0], **named} if given else named
    if len(given) == 1:
        only = given[0]
        if isinstance(only, (tuple, list)):
            return only
        if what.named and isinstance(only, Mapping):
            return only
    return given


def row_parameters(what: Facts, row: Any) -> Any:
    if isinstance(row, (tuple, list)) or (what.named and isinstance(row, Mapping)):
        return row
    return (row,)
