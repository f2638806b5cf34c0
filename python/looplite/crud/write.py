"""Writes: a statement, many rows, a schema; rows as mappings of columns to values.

Nothing is committed here that `db.execute()` would not commit: the block around does it
(`get_db()`, `transaction()`, a pool's `acquire()`), or `commit()`. Each call is whole or leaves
nothing: those of several statements or rows are savepoints of the transaction that is open. Only
`apply_schema()` commits, if nothing was open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from looplite.crud import session
from looplite.crud import sql as text
from looplite.crud.access import (
    Parameters,
    commits_each,
    in_transaction,
    parameters,
    undo,
)
from looplite.crud.read import fetch_one, first_value
from looplite.crud.session import Handle, is_session
from looplite.crud.tx import block, transaction


async def _run(db: Handle, sql: str, params: Any) -> tuple[int | None, int]:
    """The rowid last inserted, and how many rows were changed."""
    if is_session(db):
        return await session.write(db, sql, params)
    async with db.execute(sql, params) as cursor:
        rows = 0
        if cursor.description is not None:  # RETURNING: it counts what was fetched
            while await cursor.fetchone() is not None:
                rows += 1
        changed: int = cursor.rowcount
        if rows and changed < rows:
            changed = rows
        return cursor.lastrowid, changed


async def execute_write(db: Handle, sql: str, params: Parameters = ()) -> int:
    """The rowid that an INSERT made (0 if it inserted nothing); else the number of rows changed.

    What changes no rows, as CREATE TABLE, gives -1, as `rowcount` does.
    """
    rowid, changed = await _run(db, sql, parameters(params))
    if text.verb(sql) in ("INSERT", "REPLACE"):
        return rowid or 0 if changed else 0
    return changed


async def execute_many_write(db: Handle, sql: str, params: Iterable[Any]) -> int:
    """Runs a statement once for each set of parameters; the number of rows changed in all.

    If one fails, none of them counts.
    """
    if isinstance(params, (str, bytes, Mapping)):
        raise TypeError(
            f"params must be several sequences or mappings, not one {type(params).__name__}"
        )
    if is_session(db):
        return max(await session.write_many(db, sql, params), 0)
    commit = await commits_each(db)
    async with (
        block(db, "BEGIN IMMEDIATE", commit=commit),
        db.executemany(sql, params) as cursor,
    ):
        return max(int(cursor.rowcount), 0)


async def apply_schema(db: Handle, schema: str) -> None:
    """Runs the statements of a script, all or none of them, and commits.

    PRAGMAs at its beginning run before the transaction begins, since some do nothing within one.
    Within a transaction that is open already the script is a part of it. A script that has its own
    BEGIN and COMMIT (a dump) is run as it stands.
    """
    parts = text.statements(schema)
    if any(text.controls_transactions(part) for part in parts):
        await _as_it_stands(db, parts)
        return
    first = next((n for n, part in enumerate(parts) if text.verb(part) != "PRAGMA"), len(parts))
    for part in parts[:first]:
        await _statement(db, part)
    if parts[first:]:
        async with transaction(db):
            for part in parts[first:]:
                await _statement(db, part)


async def _statement(db: Handle, sql: str) -> None:
    if is_session(db):
        await session.run(db, sql, ())
        return
    async with db.execute(sql) as cursor:
        if cursor.description is not None:
            await cursor.fetchall()


async def _as_it_stands(db: Handle, parts: list[str]) -> None:
    if in_transaction(db):
        raise ValueError(
            "the schema begins or ends transactions itself, and one is open on this connection"
        )
    try:
        for part in parts:
            await _statement(db, part)
    except BaseException:
        await undo(db)
        raise
    if in_transaction(db):
        await undo(db)
        raise ValueError("the schema leaves a transaction open: it has a BEGIN without a COMMIT")


# ---- rows as mappings ----------------------------------------------------------------------------


def _data(data: Mapping[str, Any], what: str = "data") -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise TypeError(f"{what} must map columns to values, and is {type(data).__name__}")
    return data


async def insert(db: Handle, table: str, data: Mapping[str, Any]) -> int:
    """Inserts a row; its rowid, which is its INTEGER PRIMARY KEY if it has one."""
    row = _data(data)
    rowid, _ = await _run(db, text.insert(table, tuple(row)), tuple(row.values()))
    return rowid or 0


async def upsert(
    db: Handle, table: str, data: Mapping[str, Any], conflict_cols: Sequence[str]
) -> int | None:
    """Inserts a row, or updates the one that has the same values in `conflict_cols`.

    There has to be a UNIQUE or PRIMARY KEY constraint on just these columns. Gives the rowid of the
    row, whichever it was; None in a table WITHOUT ROWID, and if a conflicting column is NULL.
    """
    row = _data(data)
    if isinstance(conflict_cols, str):
        raise TypeError("conflict_cols must be several names, not a str; for one write ['name']")
    conflict = tuple(conflict_cols)
    statement = text.upsert(table, tuple(row), conflict)
    values = tuple(row.values())
    if _RETURNING:
        try:
            made = await fetch_one(db, f"{statement} RETURNING rowid", values)
        except sqlite3.OperationalError as error:
            if not _has_no_rowid(error):
                raise
            await _run(db, statement, values)
            return None
        if made is not None:
            return _value(made)
    else:
        await _run(db, statement, values)
    # All of data are conflict_cols, so that there was nothing to update (or an old SQLite).
    key = tuple(row[name] for name in conflict)
    try:
        found = await fetch_one(db, text.rowid_of(table, conflict), key)
    except sqlite3.OperationalError as error:
        if not _has_no_rowid(error):
            raise
        return None
    return None if found is None else _value(found)


_RETURNING = sqlite3.sqlite_version_info >= (3, 35)


def _has_no_rowid(error: sqlite3.OperationalError) -> bool:
    return "no such column: rowid" in str(error)


def _value(row: Any) -> int:
    value: int = first_value(row)
    return value


async def update(
    db: Handle,
    table: str,
    data: Mapping[str, Any],
    where: str,
    where_params: Parameters = (),
) -> int:
    """Changes columns of the rows for which `where` holds; the number of rows it changed."""
    row = _data(data)
    params = parameters(where_params, "where_params")
    if isinstance(params, Mapping):
        names = []
        for number in range(len(row)):
            name = f"set_{number}"
            while name in params:
                name += "_"
            names.append(name)
        statement = text.update(table, tuple(row), where, tuple(names))
        values: Any = {**params, **dict(zip(names, row.values(), strict=True))}
    else:
        statement = text.update(table, tuple(row), where, None)
        values = (*row.values(), *params)
    return (await _run(db, statement, values))[1]


async def delete(db: Handle, table: str, where: str, where_params: Parameters = ()) -> int:
    """Deletes the rows for which `where` holds; their number."""
    params = parameters(where_params, "where_params")
    return (await _run(db, text.delete(table, where), params))[1]


async def insert_many(db: Handle, table: str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Inserts rows, all or none; their number. All have the columns of the first one."""
    if isinstance(rows, (str, bytes, Mapping)):
        raise TypeError(f"rows must be several mappings, not one {type(rows).__name__}")
    remaining = iter(rows)
    first = next(remaining, None)
    if first is None:
        return 0
    columns = tuple(_data(first, "row 0"))
    return await execute_many_write(
        db, text.insert(table, columns), _values(columns, first, remaining)
    )


def _values(
    columns: tuple[str, ...], first: Mapping[str, Any], rest: Iterator[Mapping[str, Any]]
) -> Iterator[tuple[Any, ...]]:
    yield tuple(first[name] for name in columns)
    for number, row in enumerate(rest, 1):
        if not isinstance(row, Mapping) or len(row) != len(columns):
            _wrong_row(columns, row, number)
        try:
            yield tuple(row[name] for name in columns)
        except KeyError:
            _wrong_row(columns, row, number)


def _wrong_row(columns: tuple[str, ...], row: Any, number: int) -> NoReturn:
    found = _data(row, f"row {number}")
    missing = [name for name in columns if name not in found]
    extra = [name for name in found if name not in columns]
    told = [
        f"{what} {', '.join(map(repr, names))}"
        for what, names in (("lacks", missing), ("adds", extra))
        if names
    ]
    raise ValueError(f"row {number} has not the columns of row 0: it {' and '.join(told)}")
