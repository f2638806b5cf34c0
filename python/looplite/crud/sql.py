"""Text of SQL: names that are quoted, the statements the helpers send, and what a given text is.

A name of a table or column is data here. It is written in quotes, in which SQLite knows no escape
but the doubled quote, so whatever it contains it stays one name: one that does not exist is an
error of SQLite, never a piece of a statement. `where` is SQL and written by the program.

Names in ORDER BY stand in backticks. SQLite reads a double-quoted name that is no column as a text
there, and would sort by a constant without a word; for backticks it has no such rule.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import ParamSpec

P = ParamSpec("P")

_TOKEN = re.compile(
    r"""
      (?P<blank> [ \t\n\f\r]+ | --[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<quoted> '(?:[^']|'')*'? | "(?:[^"]|"")*"? | `(?:[^`]|``)*`? | \[[^\]]*\]? )
    | (?P<word> [^\W\d]\w* )
    | (?P<number> \?\d+ )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_VERBS = frozenset({"SELECT", "VALUES", "INSERT", "REPLACE", "UPDATE", "DELETE"})
_CONTROL = frozenset({"BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"})


# ---- names ---------------------------------------------------------------------------------------


def _quoted(name: str, mark: str, what: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, not {type(name).__name__}")
    if not name:
        raise ValueError(f"{what} is empty")
    if "\0" in name:
        raise ValueError(f"{what} has a null character: {name!r}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} is no text that SQLite can have: {name!r}") from None
    return mark + name.replace(mark, mark + mark) + mark


def quote_identifier(name: str) -> str:
    """The name of a table, column or index as it can stand in SQL, whatever it contains.

    One string is one name: a dot is part of it.
    """
    return _quoted(name, '"', "a name")


def order_by(*names: str) -> str:
    """An ORDER BY clause of names, of which each sorts downwards where a minus precedes it.

    ``order_by("-year", "title")`` sorts by year, the last one first, and by title within it. A name
    that is no column of the statement is an error.
    """
    if not names:
        raise ValueError("order_by() needs the name of a column")
    terms = []
    for name in names:
        if isinstance(name, str) and name.startswith("-"):
            terms.append(_quoted(name[1:], "`", "a column's name") + " DESC")
        else:
            terms.append(_quoted(name, "`", "a column's name"))
    return "ORDER BY " + ", ".join(terms)


def _columns(names: Sequence[str]) -> list[str]:
    quoted = [_quoted(name, '"', "a column's name") for name in names]
    seen: set[str] = set()
    for name in names:
        # SQLite takes two names that differ in case alone for one column, and the first value.
        key = "".join(c.lower() if c.isascii() else c for c in name)
        if key in seen:
            raise ValueError(f"the column {name!r} is named twice")
        seen.add(key)
    return quoted


def _table(name: str) -> str:
    return _quoted(name, '"', "a table's name")


# ---- statements ----------------------------------------------------------------------------------


def _cached(make: Callable[P, str]) -> Callable[P, str]:
    """Texts are made once. What cannot be looked up is made, and told what is wrong with it."""
    cached: Callable[..., str] = lru_cache(maxsize=256)(make)

    def made(*args: P.args, **kwargs: P.kwargs) -> str:
        try:
            return cached(*args, **kwargs)
        except TypeError:
            return make(*args, **kwargs)

    return made


@_cached
def insert(table: str, columns: tuple[str, ...]) -> str:
    """INSERT of one row."""
    if not columns:
        return f"INSERT INTO {_table(table)} DEFAULT VALUES"
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {_table(table)}({', '.join(_columns(columns))}) VALUES ({marks})"


@_cached
def upsert(table: str, columns: tuple[str, ...], conflict: tuple[str, ...]) -> str:
    """INSERT of one row, which replaces the other columns' values where a row is there already."""
    if not conflict:
        raise ValueError("conflict_cols is empty: it names the columns that tell a row from others")
    for name in conflict:
        if name not in columns:
            raise ValueError(f"conflict_cols names {name!r}, which data does not have")
    target = ", ".join(_columns(conflict))
    changed = [
        f"{name} = excluded.{name}" for name in _columns([c for c in columns if c not in conflict])
    ]
    action = f"UPDATE SET {', '.join(changed)}" if changed else "NOTHING"
    return f"{insert(table, columns)} ON CONFLICT({target}) DO {action}"


@_cached
def rowid_of(table: str, columns: tuple[str, ...]) -> str:
    """SELECT of the rowid of the row that has these values."""
    alike = " AND ".join(f"{name} = ?" for name in _columns(columns))
    return f"SELECT rowid FROM {_table(table)} WHERE {alike}"


def _condition(where: str) -> str:
    if not isinstance(where, str):
        raise TypeError(f"where must be a str of SQL, not {type(where).__name__}")
    if not any(kind != "blank" for kind, _ in _tokens(where)):
        raise ValueError("where is empty; to mean every row, say so: where='TRUE'")
    return where


@_cached
def update(table: str, columns: tuple[str, ...], where: str, names: tuple[str, ...] | None) -> str:
    """UPDATE of some columns; the values are parameters with the names, or with none."""
    if not columns:
        raise ValueError("data is empty: there is no column to update")
    condition = _condition(where)
    if names is None:
        if any(kind == "number" for kind, _ in _tokens(where)):
            raise ValueError(
                "where has a numbered parameter, and the numbers count those of data too; "
                "use ? or :name"
            )
        marks = ["?"] * len(columns)
    else:
        marks = [f":{name}" for name in names]
    changed = ", ".join(f"{c} = {m}" for c, m in zip(_columns(columns), marks, strict=True))
    return f"UPDATE {_table(table)} SET {changed} WHERE {condition}"


@_cached
def delete(table: str, where: str) -> str:
    """DELETE of the rows for which the condition holds."""
    return f"DELETE FROM {_table(table)} WHERE {_condition(where)}"


# ---- what a text is ------------------------------------------------------------------------------


def _tokens(sql: str) -> Iterator[tuple[str, str]]:
    for token in _TOKEN.finditer(sql):
        yield token.lastgroup or "other", token[0]


@_cached
def verb(sql: str) -> str:
    """The word that says what a statement does, in capitals: after WITH that of its main part."""
    depth, after_with = 0, False
    for kind, text in _tokens(sql):
        if kind == "other":
            depth += (text == "(") - (text == ")")
        elif kind == "word" and depth == 0:
            word = text.upper()
            if not after_with:
                if word != "WITH":
                    return word
                after_with = True
            elif word in _VERBS:
                return word
    return "WITH" if after_with else ""


def statements(script: str) -> list[str]:
    """The statements of a script. A last one needs no semicolon."""
    if not isinstance(script, str):
        raise TypeError(f"a schema must be a str of SQL, not {type(script).__name__}")
    if "\0" in script:
        raise ValueError("the schema has a null character")
    found, begin, end = [], 0, script.find(";")
    while end >= 0:
        # SQLite knows where a trigger, a text and a comment end.
        if sqlite3.complete_statement(script[begin : end + 1]):
            found.append(script[begin : end + 1].strip())
            begin = end + 1
        end = script.find(";", end + 1)
    found.append(script[begin:].strip())
    return [s for s in found if any(k != "blank" and t != ";" for k, t in _tokens(s))]


def controls_transactions(statement: str) -> bool:
    """Whether it begins or ends a transaction or a savepoint."""
    return verb(statement) in _CONTROL
