"""What another connection can see of a database file: is somebody writing, is somebody reading.

Asked of SQLite's own locks with a plain `sqlite3` connection that never waits, so a test can tell
that a statement is running without guessing by time.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path


class Probe:
    """A second connection to a file, which answers at once."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None)

    def _refused(self, begin: str) -> bool:
        try:
            self._db.execute(begin)
        except sqlite3.OperationalError as error:
            assert "locked" in str(error), error  # noqa: PT017
            return True
        self._db.execute("ROLLBACK")
        return False

    def write_locked(self) -> bool:
        """Somebody else holds the write lock."""
        return self._refused("BEGIN IMMEDIATE")

    def in_use(self) -> bool:
        """Somebody else reads or writes (rollback journal only: in WAL readers keep nobody out)."""
        return self._refused("BEGIN EXCLUSIVE")

    def value(self, sql: str) -> object:
        row = self._db.execute(sql).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        self._db.close()


@contextlib.contextmanager
def probe(path: Path) -> Iterator[Probe]:
    it = Probe(path)
    try:
        yield it
    finally:
        it.close()


@contextlib.contextmanager
def write_lock(path: Path) -> Iterator[sqlite3.Connection]:
    """Holds the write lock of a file from outside; the block may end it early with ROLLBACK or
    COMMIT.
    """
    db = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        yield db
        if db.in_transaction:
            db.execute("ROLLBACK")
    finally:
        db.close()


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    """What an independent reader finds in a file."""
    db = sqlite3.connect(path)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def make(path: Path, script: str) -> None:
    """Prepares a file without the module under test."""
    db = sqlite3.connect(path)
    try:
        db.executescript(script)
        db.commit()
    finally:
        db.close()
