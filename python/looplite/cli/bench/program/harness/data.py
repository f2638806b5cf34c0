"""The databases that rows work on, made once for a run, and copied for each measurement.

items-wal, items-delete   10 000 rows, in WAL and in rollback journal mode; half a megabyte
large                     1 000 000 rows (100 000 under --quick), WAL, checkpointed; one file for
                          all peers, which only read it
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

ITEMS = 10_000
LARGE = 1_000_000
LARGE_QUICK = 100_000

READ_ITEM = "SELECT name, price, stock FROM item WHERE id = ?"
INSERT_ITEM = "INSERT INTO item (name, price, stock) VALUES (?, ?, ?)"


def large_rows(quick: bool) -> int:
    """How many rows the table `item` of the large database has."""
    return LARGE_QUICK if quick else LARGE


def item(number: int) -> tuple[str, float, int]:
    """The values of one row."""
    return (f"item number {number}", number * 0.25, number % 1000)


def _make(path: Path, journal_mode: str, rows: int) -> None:
    conn = sqlite3.connect(path)
    conn.execute(f"PRAGMA journal_mode = {journal_mode}").fetchall()
    conn.execute("PRAGMA synchronous = OFF")
    conn.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL, stock INTEGER)")
    conn.executemany(INSERT_ITEM, (item(n) for n in range(1, rows + 1)))
    conn.commit()
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    conn.close()


def stored_items(path: Path) -> int:
    """How many rows are in the file; only after the peer has closed it, and by `sqlite3`."""
    conn = sqlite3.connect(path)
    (count,) = conn.execute("SELECT count(*) FROM item").fetchone()
    conn.close()
    return int(count)


class Databases:
    """The templates in one folder."""

    def __init__(self, folder: Path, quick: bool) -> None:
        self._folder = folder
        self._quick = quick

    def template(self, name: str) -> Path:
        """A template by name, made when it is asked for the first time."""
        path = self._folder / f"{name}.db"
        if not path.exists():
            if name == "large":
                _make(path, "WAL", large_rows(self._quick))
            else:
                _make(path, name.removeprefix("items-"), ITEMS)
        return path

    def take(self, name: str, folder: Path) -> Path:
        """The database for one measurement: a copy in `folder`, or the large file itself."""
        if name == "none":
            return folder / "new.db"
        path = self.template(name)
        if name == "large":
            # An earlier row may have dropped it from the page cache.
            with path.open("rb") as file:
                while file.read(1 << 20):
                    pass
            return path
        return Path(shutil.copy(path, folder / "items.db"))
