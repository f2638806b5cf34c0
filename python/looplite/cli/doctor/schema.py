"""Tables, indexes and foreign keys, as SQLite's pragmas tell them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from looplite.crud.sql import quote_identifier as quoted


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key of a table."""

    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]  # empty: the parent's primary key


def tables(db: sqlite3.Connection) -> list[str]:
    """Ordinary tables; virtual ones need modules that are not here."""
    found = db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%'"
        " ESCAPE '\\' AND upper(substr(sql, 1, 21)) <> 'CREATE VIRTUAL TABLE ' ORDER BY name"
    )
    return [str(name) for (name,) in found]


def columns(db: sqlite3.Connection, table: str) -> list[tuple[str, str]]:
    """Names and declared types."""
    return [(row[1], row[2] or "") for row in db.execute(f"PRAGMA table_info({quoted(table)})")]


def foreign_keys(db: sqlite3.Connection, table: str) -> list[ForeignKey]:
    """The foreign keys of a table."""
    found: dict[int, list[tuple[str, str, str | None]]] = {}
    rows = db.execute(f"PRAGMA foreign_key_list({quoted(table)})").fetchall()
    for number, _, parent, own, other, *_ in sorted(rows, key=lambda row: row[:2]):
        found.setdefault(number, []).append((parent, own, other))
    return [
        ForeignKey(
            table,
            tuple(own for _, own, _ in parts),
            parts[0][0],
            tuple(other for _, _, other in parts if other is not None),
        )
        for _, parts in sorted(found.items())
    ]


def indexed(db: sqlite3.Connection, table: str) -> list[tuple[tuple[str, ...], bool]]:
    """The columns of each whole index, in lower case, and whether it is unique; the key of the
    table is one.
    """
    found: list[tuple[tuple[str, ...], bool]] = []
    for row in db.execute(f"PRAGMA index_list({quoted(table)})").fetchall():
        name, unique, partial = row[1], bool(row[2]), row[4]
        parts = db.execute(f"PRAGMA index_info({quoted(name)})").fetchall()
        if not partial:
            # An expression has no name, and ends what can be used.
            names = [part[2] for part in parts]
            whole = names[: names.index(None)] if None in names else names
            found.append((tuple(n.lower() for n in whole), unique and len(whole) == len(names)))
    key = [row for row in db.execute(f"PRAGMA table_info({quoted(table)})") if row[5]]
    if len(key) == 1 and (key[0][2] or "").upper() == "INTEGER":
        found.append(((key[0][1].lower(),), True))
    return found


def is_indexed(keys: list[tuple[tuple[str, ...], bool]], wanted: tuple[str, ...]) -> bool:
    """Whether an index begins with these columns, in any order."""
    names = {name.lower() for name in wanted}
    return any(set(key[: len(names)]) == names for key, _ in keys)


def is_unique(keys: list[tuple[tuple[str, ...], bool]], wanted: tuple[str, ...]) -> bool:
    """Whether a unique index or the key has exactly these columns."""
    names = {name.lower() for name in wanted}
    return any(unique and set(key) == names for key, unique in keys)
