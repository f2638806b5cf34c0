"""`AiosqliteDriver.load_from_arrow()`: Arrow data into a table.

The work is done in C, on the worker of the session's connection (`Connection.load_from_arrow()`).
Here the source is found in what SQLSpec accepts, and the answer is put into SQLSpec's form.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from looplite.adapters.aiosqlite.result import optional
from looplite.exceptions import SQLITE_ERRORS, translated

if TYPE_CHECKING:
    from looplite.adapters.aiosqlite.driver import AiosqliteDriver


class StorageBridgeJob(NamedTuple):
    """What a load came to: SQLSpec's form. The number of rows is `telemetry["rows_processed"]`."""

    job_id: str
    status: str
    telemetry: dict[str, Any]


def _is_arrow(source: Any) -> bool:
    return hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__")


def _source_of(source: Any) -> Any:
    """What speaks the Arrow PyCapsule interface, in or made of what was given."""
    if _is_arrow(source):
        return source
    if callable(getattr(source, "get_data", None)):  # an ArrowResult of SQLSpec
        data = source.get_data()
        if _is_arrow(data):
            return data
    if isinstance(source, Iterable) and not isinstance(source, str | bytes | Mapping):
        rows = list(source)
        if rows and all(isinstance(row, Mapping) for row in rows):
            pyarrow = optional("pyarrow", "load_from_arrow() of rows that are dicts")
            return pyarrow.Table.from_pylist(rows)
    raise TypeError(
        "load_from_arrow() needs a source with __arrow_c_stream__() or __arrow_c_array__(), such "
        f"as a table of pyarrow or a data frame, or dicts, not {type(source).__name__}"
    )


async def load(
    session: AiosqliteDriver,
    table: str,
    source: Any,
    partitioner: Mapping[str, Any] | None,
    overwrite: bool,
    telemetry: Mapping[str, Any] | None,
) -> StorageBridgeJob:
    if not isinstance(table, str) or not table:
        raise TypeError(f"a table's name must be a str that is not empty, not {table!r}")
    schema, _, name = table.rpartition(".")
    given = _source_of(source)
    size = getattr(source, "nbytes", None)
    try:
        rows = await _run(session, name, given, schema or None, overwrite)
    except SQLITE_ERRORS as error:
        raise translated(error) from error.__cause__
    report: dict[str, Any] = dict(telemetry or {})
    extra = dict(report.get("extra") or {})
    if partitioner is not None:
        extra["partitioner"] = dict(partitioner)
    if extra:
        report["extra"] = extra
    report.update(destination=table, rows_processed=rows, format="arrow")
    if isinstance(size, int):
        report["bytes_processed"] = size
    return StorageBridgeJob(uuid.uuid4().hex, "completed", report)


async def _run(
    session: AiosqliteDriver, name: str, source: Any, schema: str | None, overwrite: bool
) -> int:
    """On a connection of the session's own; in its transaction, or one for these rows."""
    session._check_task()
    conn = await session._own()
    if session._failed:
        raise session._aborted()
    was_open = conn.in_transaction
    try:
        rows: int = await conn.load_from_arrow(name, source, schema=schema, overwrite=overwrite)
        session._apart = False
    except BaseException as error:
        if was_open and not conn.in_transaction:
            session._failed = str(error) or type(error).__name__
        raise
    finally:
        await session._settle()
    return rows
