"""A database as SQL that makes it again: all of one moment, row by row as it is read.

Order: tables with their rows, then what could get in the way of inserting them (indexes, triggers,
views). What SQLite's literals cannot say is said by an expression: infinity as 9e999, text with a
NUL or bytes that are not UTF-8 as CAST(x'..' AS TEXT). Virtual tables get their entry in the schema
and their shadow tables; generated columns are left to be generated.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncGenerator

import looplite
from looplite.cli.shell.values import BadText, cell
from looplite.crud.sql import quote_identifier as quoted

_BATCH = 500


def literal(value: object) -> str:
    """A value in SQL."""
    if isinstance(value, str):
        if "\0" in value:
            return cell(BadText(value.encode()))
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "9e999" if value > 0 else "-9e999"
    return cell(value)


async def dump(db: looplite.Connection, pattern: str = "%") -> AsyncGenerator[str, None]:
    """The lines; only the tables whose names fit the LIKE pattern, if one is given."""
    own = not db.in_transaction
    if own:
        await db.execute("BEGIN")
    try:
        async for text in _dump(db, pattern):
            yield text
    finally:
        while own and db.in_transaction:
            # A Ctrl-C that ends the dump may reach this, too.
            with contextlib.suppress(sqlite3.OperationalError):
                await db.execute("ROLLBACK")


async def _dump(db: looplite.Connection, pattern: str) -> AsyncGenerator[str, None]:
    yield "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n"
    found = await db.execute_fetchall(
        "SELECT type, name, sql FROM sqlite_master WHERE tbl_name LIKE ? AND"
        " (sql IS NOT NULL OR name = 'sqlite_sequence') ORDER BY rowid",
        (pattern,),
    )
    entries = [(kind, name, sql) for kind, name, sql in found]
    virtual = [entry for entry in entries if _is_virtual(entry[2])]
    for _, name, sql in (entry for entry in entries if entry[0] == "table"):
        if name.startswith("sqlite_") or (name, sql) in [(v[1], v[2]) for v in virtual]:
            continue
        yield f"{_if_not_exists(name, sql, virtual)};\n"
        async for text in _rows(db, name):
            yield text
    if any(name == "sqlite_sequence" for _, name, _ in entries):
        yield "DELETE FROM sqlite_sequence;\n"
        async for text in _rows(db, "sqlite_sequence"):
            yield text
    if virtual:
        yield "PRAGMA writable_schema=ON;\n"
        for _, name, sql in virtual:
            yield (
                "INSERT INTO sqlite_master(type,name,tbl_name,rootpage,sql) VALUES"
                f"('table',{literal(name)},{literal(name)},0,{literal(sql)});\n"
            )
    for kind, name, sql in entries:
        if kind != "table" and sql is not None and not name.startswith("sqlite_"):
            yield f"{sql};\n"
    if virtual:
        yield "PRAGMA writable_schema=OFF;\n"
    yield "COMMIT;\n"


def _is_virtual(sql: str | None) -> bool:
    return sql is not None and sql.upper().startswith("CREATE VIRTUAL TABLE")


def _if_not_exists(name: str, sql: str, virtual: list[tuple[str, str, str]]) -> str:
    # A shadow table may have been made already by who reads the dump, with its virtual table.
    if any(name.startswith(f"{v[1]}_") for v in virtual) and sql.upper().startswith(
        "CREATE TABLE "
    ):
        return "CREATE TABLE IF NOT EXISTS " + sql[len("CREATE TABLE ") :]
    return sql


async def _rows(db: looplite.Connection, table: str) -> AsyncGenerator[str, None]:
    columns = await db.execute_fetchall(f"PRAGMA table_xinfo({quoted(table)})")
    names = ", ".join(quoted(column[1]) for column in columns if column[6] == 0)
    into = f"({names})" if any(column[6] for column in columns) else ""
    async with db.execute(f"SELECT {names} FROM {quoted(table)} NOT INDEXED") as cursor:
        while rows := await cursor.fetchmany(_BATCH):
            head = f"INSERT INTO {quoted(table)}{into} VALUES("
            yield "".join(f"{head}{','.join(map(literal, row))});\n" for row in rows)
