"""Which columns `sniff_text` would touch: text that looplite.adapters.aiosqlite reads as an object.

The recogniser itself is asked (looplite._core.Types), about a sample: the first and the last rows
of each table, and of these the texts that could be meant.
"""

from __future__ import annotations

import asyncio
import datetime
import re
import sqlite3
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import looplite
from looplite import _core
from looplite.crud.sql import quote_identifier as quoted

SAMPLE = 500  # rows from each end of a table
_LONGEST = 65536  # characters of a text that is looked at
_TOGETHER = 400  # texts in one question
# The first word of these declared types decides (python/_core/typed.c): no recognition there.
DECIDING = {"JSON", "UUID", "DATETIME", "TIMESTAMP", "DATE", "TIME", "BOOLEAN", "DECIMAL"}
_MAY_BE = re.compile(r"[{\[]|[0-9a-f]{8}-|\d{4}-\d\d-\d\dT")
_NAMES = {
    dict: "JSON",
    list: "JSON",
    uuid.UUID: "UUID",
    datetime.datetime: "timestamp",
}


@dataclass(frozen=True)
class Touched:
    """A column some of whose texts would be read as something else."""

    table: str
    column: str
    texts: int  # in the sample
    kinds: dict[str, int]


def decides(declared: str) -> bool:
    """Whether a declared type keeps recognition away from its column."""
    word = re.match(r"\s*(\w*)", declared)
    return word is not None and word[1].upper() in DECIDING


def _rows(db: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[tuple[object, ...]]:
    values = ", ".join(
        f"CASE WHEN typeof({name}) = 'text' AND length({name}) <= {_LONGEST} THEN {name} END"
        for name in map(quoted, columns)
    )
    read = f"SELECT {values} FROM {quoted(table)}"
    yield from db.execute(f"{read} LIMIT {SAMPLE}")
    try:
        # Not those of the beginning again.
        yield from db.execute(
            f"{read} WHERE rowid > coalesce((SELECT rowid FROM {quoted(table)} ORDER BY rowid"
            f" LIMIT 1 OFFSET {SAMPLE - 1}), 9e18) ORDER BY rowid DESC LIMIT {SAMPLE}"
        )
    except sqlite3.OperationalError as error:
        if "no such column" not in str(error):  # a table WITHOUT ROWID
            raise


async def _recognised(texts: list[str]) -> list[object]:
    """Each text as sniff_text reads it."""
    types = _core.Types(sniff_text=True, dict_rows=False)
    found: list[object] = []
    async with looplite.connect(":memory:") as db:
        for at in range(0, len(texts), _TOGETHER):
            some = texts[at : at + _TOGETHER]
            marks = ", ".join("?" * len(some))
            (row,) = await db._query(f"SELECT {marks}", some, types, 1)
            found += row
    return found


def touched(
    db: sqlite3.Connection, tables: list[tuple[str, list[tuple[str, str]]]]
) -> list[Touched]:
    """The columns, of tables with the names and declared types of theirs."""
    counts: dict[tuple[str, str], int] = {}
    asked: list[tuple[tuple[str, str], str]] = []
    for table, columns in tables:
        names = [name for name, declared in columns if not decides(declared)]
        if not names:
            continue
        for row in _rows(db, table, names):
            for name, value in zip(names, row, strict=True):
                if not isinstance(value, str):
                    continue
                counts[table, name] = counts.get((table, name), 0) + 1
                if _MAY_BE.match(value):
                    asked.append(((table, name), value))
    kinds: dict[tuple[str, str], Counter[str]] = {}
    answers = asyncio.run(_recognised([text for _, text in asked])) if asked else []
    for (where, _), answer in zip(asked, answers, strict=True):
        if (kind := _NAMES.get(type(answer))) is not None:
            kinds.setdefault(where, Counter())[kind] += 1
    return [
        Touched(table, column, counts[table, column], dict(kinds[table, column]))
        for table, column in kinds
    ]
