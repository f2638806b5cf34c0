"""Finds the rows: each file in bench/python has a tuple ROWS, and so have those that `python -m
looplite bench` has, too (its folder `rows`). Their order here is the table's.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from harness.spec import Row

_FOLDER = Path(__file__).parents[1] / "python"

# As in the table of targets; files that are not named here come last.
_ORDER = (
    "point_read",
    "point_read_committing",
    "first_reads",
    "insert_awaited",
    "million_inserts",
    "naive_commit",
    "pooled",
    "fetchall",
    "async_for",
    "arrow",
    "open_close",
    "cold_reads",
    "writers",
    "loop_stall",
    "adk",
    "sqlalchemy_orm",
    "c_point_read",
    "durable_inserts_c",
    "idle",
)


def all_rows() -> list[Row]:
    """Every row there is."""
    files = {path.stem for path in _FOLDER.glob("*.py")}
    rows: list[Row] = []
    for name in [*_ORDER, *sorted(files - set(_ORDER))]:
        folder = "python" if name in files else "rows"
        rows += importlib.import_module(f"{folder}.{name}").ROWS
    return rows
