"""What SQLite says of a database that it has opened for reading: damage, settings, schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from looplite.cli.doctor import schema, sniffed
from looplite.cli.doctor.findings import Report, size, some
from looplite.crud.sql import quote_identifier as quoted

# A table of so many rows deserves statistics.
_MANY_ROWS = 1000
_FREE_SHARE, _FREE_BYTES = 0.25, 1 << 20
# The file is so many times as large as the cache that a connection has of it.
_CACHE_TIMES = 50
_SHOWN = 10
_RESTORE = (
    "stop the programs that write to it, copy it with its -wal and -journal, then restore a "
    "backup, or try .recover of the sqlite3 program on the copy; indexes alone: REINDEX"
)


def _value(db: sqlite3.Connection, pragma: str) -> int:
    row = db.execute(f"PRAGMA {pragma}").fetchone()
    return int(row[0]) if row else 0


def _list(lines: list[str]) -> str:
    more = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "".join(f"\n{line}" for line in lines[:_SHOWN] + more)


def integrity(db: sqlite3.Connection, report: Report, full: bool) -> None:
    """PRAGMA quick_check; integrity_check and foreign_key_check if asked for."""
    name = "integrity_check" if full else "quick_check"
    found = [str(row[0]) for row in db.execute(f"PRAGMA {name}(100)")]
    if found == ["ok"]:
        report.add("ok", "integrity", f"{name}: ok")
    else:
        text = f"{name} found {some(len(found), 'fault')}:{_list(found)}"
        report.add("damage", "integrity", text, _RESTORE)
    if not full:
        return
    try:
        broken = db.execute("PRAGMA foreign_key_check").fetchmany(10_000)
    except sqlite3.OperationalError as error:
        report.add(
            "advice",
            "foreign_key_check",
            f"foreign keys could not be checked: {error}",
            "mend the definition: what it refers to has to be a primary key or unique",
        )
        return
    if not broken:
        report.add("ok", "foreign_key_check", "foreign_key_check: ok")
        return
    lines = [
        f"{table}, rowid {rowid}: no such row in {parent}" for table, rowid, parent, _ in broken
    ]
    number = some(len(broken), "row refers", "rows refer")
    report.add(
        "advice",
        "foreign_key_check",
        f"{number} to a row that does not exist:{_list(lines)}",
        "delete them, or add what they refer to; they come from connections with foreign_keys off",
    )


def settings(db: sqlite3.Connection, report: Report) -> None:
    """What is stored in the file, and what a new connection of this Python starts with."""
    pages, free, page = (_value(db, name) for name in ("page_count", "freelist_count", "page_size"))
    report.facts.update(pages=pages, free_pages=free)
    if pages and free / pages > _FREE_SHARE and free * page > _FREE_BYTES:
        report.add(
            "advice",
            "free_pages",
            f"{free / pages:.0%} of the file ({size(free * page)}) are free pages",
            "VACUUM gives them back; leave them if the rows will come back",
        )
    defaults = {
        name: _value(db, name)
        for name in ("synchronous", "foreign_keys", "cache_size", "mmap_size")
    }
    report.facts["new connections"] = defaults
    is_wal = report.facts.get("journal_mode") == "wal"
    if is_wal and defaults["synchronous"] >= 2:
        report.add(
            "info",
            "synchronous",
            "a connection starts with synchronous = FULL: each commit waits for the disk",
            "where the last commits may be lost when the power fails, and nothing else: "
            'connect(..., pragmas={"synchronous": "NORMAL"})',
        )
    if defaults["synchronous"] == 0:
        report.add(
            "advice",
            "synchronous",
            "a connection starts with synchronous = OFF: a power cut can damage the database",
            'connect(..., pragmas={"synchronous": "NORMAL"})',
        )
    if defaults["mmap_size"]:
        report.add(
            "info",
            "mmap_size",
            f"{size(defaults['mmap_size'])} of the file are mapped into memory: an I/O error there "
            "ends the process",
        )
    cache = (
        -defaults["cache_size"] * 1024
        if defaults["cache_size"] < 0
        else defaults["cache_size"] * page
    )
    if pages * page > cache * _CACHE_TIMES:
        report.add(
            "info",
            "cache_size",
            f"a connection starts with a cache of {size(cache)}, for {size(pages * page)}",
            'connect(..., pragmas={"cache_size": -65536}) keeps up to 64 MiB of what is read often',
        )


def _statistics(db: sqlite3.Connection, report: Report, names: list[str]) -> None:
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'").fetchone():
        report.add("ok", "statistics", "there are statistics for the query planner (ANALYZE)")
        return
    for name in names:
        own = [row for row in db.execute(f"PRAGMA index_list({quoted(name)})") if row[3] == "c"]
        if not own:
            continue
        many = f"SELECT count(*) FROM (SELECT 1 FROM {quoted(name)} LIMIT {_MANY_ROWS})"
        if db.execute(many).fetchone()[0] >= _MANY_ROWS:
            report.add(
                "advice",
                "statistics",
                "there are no statistics: the query planner guesses which index is the better one",
                "PRAGMA optimize, now and then, before a connection is closed; once: ANALYZE",
            )
            return


def _foreign_keys(db: sqlite3.Connection, report: Report, names: list[str]) -> None:
    keys = [key for name in names for key in schema.foreign_keys(db, name)]
    if not keys:
        return
    if not report.facts["new connections"]["foreign_keys"]:
        report.add(
            "info",
            "foreign_keys",
            f"{some(len(keys), 'foreign key')}, and a connection starts with foreign_keys = OFF",
            'each connection has to turn them on: connect(..., pragmas={"foreign_keys": True})',
        )
    known = {name.lower(): name for name in names}
    slow, wrong = [], []
    for key in keys:
        text = f"{key.table}({', '.join(key.columns)}) -> {key.parent}"
        if not schema.is_indexed(schema.indexed(db, key.table), key.columns):
            index = f"CREATE INDEX ... ON {quoted(key.table)}"
            slow.append(f"{text}: {index}({', '.join(map(quoted, key.columns))})")
        parent = known.get(key.parent.lower())
        if parent is None:
            wrong.append(f"{text}: there is no such table")
        elif key.parent_columns and not schema.is_unique(
            schema.indexed(db, parent), key.parent_columns
        ):
            wrong.append(f"{text}({', '.join(key.parent_columns)}): neither primary key nor unique")
    if slow:
        report.add(
            "advice",
            "foreign_key_index",
            f"{some(len(slow), 'foreign key')} without an index: deleting or changing a row that "
            f"is referred to reads the whole table:{_list(slow)}",
            "make the indexes",
        )
    if wrong:
        report.add(
            "advice",
            "foreign_key_definition",
            f"{some(len(wrong), 'foreign key')} refer to what cannot be referred to; writes fail "
            f"where foreign_keys is on:{_list(wrong)}",
            "mend the definitions",
        )


def tables(db: sqlite3.Connection, report: Report) -> None:
    """Statistics, foreign keys."""
    names = schema.tables(db)
    report.facts["tables"] = len(names)
    _statistics(db, report, names)
    _foreign_keys(db, report, names)


def recognition(db: sqlite3.Connection, report: Report) -> None:
    """sniff_text."""
    names = [(name, schema.columns(db, name)) for name in schema.tables(db)]
    found = sniffed.touched(db, names)
    report.facts["sniff_text"] = [
        {"table": t.table, "column": t.column, "texts": t.texts, "kinds": t.kinds} for t in found
    ]
    if not found:
        return
    lines = [
        f"{t.table}.{t.column}: "
        + ", ".join(f"{count} {kind}" for kind, count in sorted(t.kinds.items()))
        + f" among {some(t.texts, 'text')} looked at"
        for t in found
    ]
    report.add(
        "info",
        "sniff_text",
        f"looplite.adapters.aiosqlite reads texts of {some(len(found), 'column')} as objects:"
        + _list(lines),
        "declare JSON, UUID or TIMESTAMP where that is meant; else driver_features={'sniff_text': "
        "False}; looplite.connect() never does it",
    )


Check = Callable[[sqlite3.Connection, Report], None]
CHECKS: tuple[Check, ...] = (settings, tables, recognition)
