"""Opens a database with SQLite so that its files stay as they are, to the byte.

What SQLite would do by itself is not nothing: whoever opens a WAL database makes -wal and -shm if
they are not there, the last to close it moves the log into the database and deletes both, and
whoever finds the journal of a transaction that was cut off rolls it back. So:

    what is found                               how it is opened
    a log, and an index (-shm) of it            mode=ro, readonly_shm=1: with the locks of a reader;
                                                the index is only read, or made in memory
    a log without an index: nobody has it open  a copy of the database and the log, elsewhere
    WAL mode without a log: nobody has it open  immutable=1: no locks, no files; whether somebody
                                                wrote meanwhile is seen by the file's time and size
    else                                        mode=ro: with the locks of a reader; or, if SQLite
                                                refuses that because a transaction was cut off, a
                                                copy of the database and the journal

A connection for reading cannot move the log or delete it: that needs a lock which the system gives
only to a descriptor that may write.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from looplite.cli.doctor.files import Files, beside, stamps
from looplite.cli.doctor.findings import size
from looplite.cli.holders import WRITES, WRITES_ALONE, holders

TIMEOUT = 5.0
_PAUSE = 0.001
# What has to stay free on the disk of a copy.
_SPARE = 64 << 20


class NotExaminedError(Exception):
    """The database cannot be looked into without changing it; says why."""


@dataclass(frozen=True)
class Opened:
    """A connection, and how it was come by."""

    db: sqlite3.Connection
    how: str
    is_copy: bool


def _uri(path: Path, options: str) -> str:
    return f"file:{quote(str(path))}?{options}"


def _connect(uri: str, timeout: float) -> sqlite3.Connection:
    db = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)
    db.text_factory = lambda raw: raw.decode(errors="replace")
    try:
        # A schema from a file that is not trusted may call functions.
        db.execute("PRAGMA trusted_schema = OFF")
        # All that is asked is asked of one moment.
        db.execute("BEGIN")
        _first_read(db, timeout)
    except BaseException:
        db.close()
        raise
    return db


def _first_read(db: sqlite3.Connection, timeout: float) -> None:
    """Takes the lock of a reader. Asks more often than SQLite would: beside somebody who commits
    without a pause to a rollback journal, the moments in which one may read are short.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return
        except sqlite3.OperationalError as error:
            if str(error) != "database is locked" or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)


def _writer(path: Path) -> bool:
    return any(holder.locks & WRITES for holder in holders(path))


@contextlib.contextmanager
def opened(files: Files, timeout: float = TIMEOUT) -> Iterator[Opened]:
    """The database for reading; NotExaminedError, or sqlite3's errors, if that cannot be."""
    path = files.path
    if files.wal is not None:
        if not files.has_shm:
            with _copied(files, "-wal", "the log has no index (-shm), so it was copied") as found:
                yield found
            return
        options, how = "mode=ro&readonly_shm=1", "as a reader"
    elif files.header is not None and files.header.wal:
        if files.has_shm and "-wal" in files.stamps:
            options, how = "mode=ro&readonly_shm=1", "as a reader"
        else:
            options, how = "immutable=1", "without locks: nobody has it open"
    else:
        options, how = "mode=ro", "as a reader"
    try:
        db = _connect(_uri(path, options), timeout)
    except sqlite3.OperationalError as error:
        if "readonly database" not in str(error) and "unable to open" not in str(error):
            raise
        # It needs recovery, says SQLite, which looks for the locks of whoever writes.
        suffix = "-wal" if files.wal is not None else "-journal"
        with _copied(files, suffix, "it needs recovery, so it was copied") as found:
            yield found
        return
    with contextlib.closing(db):
        yield Opened(db, how, is_copy=False)


@contextlib.contextmanager
def _copied(files: Files, suffix: str, how: str) -> Iterator[Opened]:
    log = files.stamps.get(suffix)
    needed = files.bytes + (log.size if log else 0)
    with tempfile.TemporaryDirectory(prefix="looplite-doctor-") as folder:
        free = shutil.disk_usage(folder).free
        if free < needed + _SPARE:
            raise NotExaminedError(
                f"a copy of {size(needed)} has to be made, and there is only room for "
                f"{size(free)} in the directory for temporary files; set TMPDIR to another one"
            )
        copy = Path(folder) / "copy.db"
        for _ in range(3):
            if who := [h for h in holders(files.path) if WRITES_ALONE in h.locks]:
                raise NotExaminedError(f"process {who[0].pid} ({who[0].name}) has it for itself")
            before = stamps(files.path)
            shutil.copyfile(files.path, copy)
            if log is not None and beside(files.path, suffix).exists():
                shutil.copyfile(beside(files.path, suffix), beside(copy, suffix))
            if stamps(files.path) == before and not _writer(files.path):
                break
        else:
            raise NotExaminedError("somebody keeps writing to it while it is copied; try again")
        with contextlib.closing(_connect(_uri(copy, "mode=rw"), 0)) as db:
            yield Opened(db, how, is_copy=True)
