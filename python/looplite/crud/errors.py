"""What an exception of SQLite means for a program, as one word that can be compared and logged.

SQLite tells by a code, of which the low byte is the general and the rest the particular reason.
Only for its code 1, which stands for every mistake in a statement, its message has to be read; so
has everything in Python 3.10 with a driver whose exceptions carry no codes. SQLite's messages are
in English always, and have been the same for years.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from enum import Enum


class ErrorKind(str, Enum):
    """What went wrong; each member is a ``str``, too: ``kind == "duplicate"``."""

    DUPLICATE = "duplicate"
    """A row with this key, or this value in a unique column, is there."""
    MISSING_REFERENCE = "missing reference"
    """A foreign key points to no row, or the row to be deleted is pointed to."""
    MISSING_VALUE = "missing value"
    """NULL in a column that is NOT NULL."""
    CHECK_FAILED = "check failed"
    WRONG_TYPE = "wrong type"
    """A value that the column cannot hold (STRICT tables, a rowid that is no integer)."""
    CONSTRAINT = "constraint"
    """Another rule of the schema: RAISE() in a trigger, a virtual table's own."""
    BUSY = "busy"
    """Somebody else has the lock. The whole transaction can be tried again."""
    NO_SUCH_TABLE = "no such table"
    NO_SUCH_COLUMN = "no such column"
    NO_SUCH_FUNCTION = "no such function"
    """Also a collation or a module that is not there."""
    ALREADY_EXISTS = "already exists"
    """A table, index, trigger or column of this name."""
    SYNTAX = "syntax"
    """The statement is no SQL."""
    WRONG_PARAMETERS = "wrong parameters"
    """Too many or too few of them, of a type that SQLite has not, or with another name."""
    CLOSED = "closed"
    """The connection or cursor was closed, or not opened yet."""
    READ_ONLY = "read only"
    CANNOT_OPEN = "cannot open"
    DISK_FULL = "disk full"
    DISK_ERROR = "disk error"
    CORRUPT = "corrupt"
    """The file is damaged, or no database."""
    INTERRUPTED = "interrupted"
    TOO_BIG = "too big"
    OUT_OF_MEMORY = "out of memory"
    NOT_ALLOWED = "not allowed"
    """An authorizer or the file's permissions forbid it."""
    OTHER = "other"

    def __str__(self) -> str:
        return self.value

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)


_K = ErrorKind

# https://www.sqlite.org/rescode.html; by extended code first, then by the low byte.
_EXTENDED = {
    257: _K.NO_SUCH_FUNCTION,  # ERROR_MISSING_COLLSEQ
    513: _K.BUSY,  # ERROR_RETRY
    769: _K.BUSY,  # ERROR_SNAPSHOT
    275: _K.CHECK_FAILED,
    787: _K.MISSING_REFERENCE,
    1299: _K.MISSING_VALUE,
    1555: _K.DUPLICATE,  # PRIMARYKEY
    2067: _K.DUPLICATE,  # UNIQUE
    2579: _K.DUPLICATE,  # ROWID
    3091: _K.WRONG_TYPE,  # DATATYPE
    3082: _K.OUT_OF_MEMORY,  # IOERR_NOMEM
}
_PRIMARY = {
    3: _K.NOT_ALLOWED,  # PERM
    4: _K.INTERRUPTED,  # ABORT
    5: _K.BUSY,
    6: _K.BUSY,  # LOCKED
    7: _K.OUT_OF_MEMORY,
    8: _K.READ_ONLY,
    9: _K.INTERRUPTED,
    10: _K.DISK_ERROR,
    11: _K.CORRUPT,
    13: _K.DISK_FULL,
    14: _K.CANNOT_OPEN,
    15: _K.BUSY,  # PROTOCOL: a race for the WAL's locks
    17: _K.BUSY,  # SCHEMA: it changed too often while the statement was prepared
    18: _K.TOO_BIG,
    19: _K.CONSTRAINT,
    20: _K.WRONG_TYPE,  # MISMATCH
    22: _K.DISK_ERROR,  # NOLFS: the file system cannot hold a file of this size
    23: _K.NOT_ALLOWED,  # AUTH
    24: _K.CORRUPT,  # FORMAT
    25: _K.WRONG_PARAMETERS,  # RANGE
    26: _K.CORRUPT,  # NOTADB
}
_MESSAGES = [
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"UNIQUE constraint failed|PRIMARY KEY must be unique|is not unique", _K.DUPLICATE),
        (r"FOREIGN KEY constraint failed", _K.MISSING_REFERENCE),
        (r"NOT NULL constraint failed", _K.MISSING_VALUE),
        (r"CHECK constraint failed", _K.CHECK_FAILED),
        (r"cannot store \w+ value in|datatype mismatch", _K.WRONG_TYPE),
        (r"constraint failed", _K.CONSTRAINT),
        (r"(database|table)( schema)?( \S+)? is locked|locking protocol", _K.BUSY),
        (r"no such (table|view)", _K.NO_SUCH_TABLE),
        (r"no such column|has no column named|no column named", _K.NO_SUCH_COLUMN),
        (r"no such (function|module|collation|window)", _K.NO_SUCH_FUNCTION),
        (r"already exists|already (a|an|another) \w+|duplicate column name", _K.ALREADY_EXISTS),
        (r"there is already ", _K.ALREADY_EXISTS),
        (r"syntax error|incomplete input|unrecognized token", _K.SYNTAX),
        (r"binding|bindings|Error binding parameter|type .* is not supported", _K.WRONG_PARAMETERS),
        (r"parameters? (are|is) of unsupported type", _K.WRONG_PARAMETERS),
        (r"[Cc]annot operate on a closed|no active connection|[Cc]onnection closed", _K.CLOSED),
        (r"readonly database|read-?only", _K.READ_ONLY),
        (r"unable to open", _K.CANNOT_OPEN),
        (r"disk is full", _K.DISK_FULL),
        (r"disk I/O error", _K.DISK_ERROR),
        (r"malformed|not a database|is encrypted", _K.CORRUPT),
        (r"^interrupted$", _K.INTERRUPTED),
        (r"too big|too large", _K.TOO_BIG),
        (r"out of memory", _K.OUT_OF_MEMORY),
        (r"not authorized|prohibited|access permission denied", _K.NOT_ALLOWED),
    )
]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those it stands for: SQLAlchemy's have theirs in `orig`, others as cause."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = getattr(error, "orig", None)
        error = inner if isinstance(inner, BaseException) else error.__cause__


def _of_code(code: int) -> ErrorKind | None:
    return _EXTENDED.get(code) or _PRIMARY.get(code & 0xFF)


def _of_message(message: str) -> ErrorKind | None:
    return next((kind for pattern, kind in _MESSAGES if pattern.search(message)), None)


def _kind(error: BaseException) -> ErrorKind | None:
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        found = _of_code(code) if isinstance(code, int) else None
        # A constraint without its extended code, and code 1, have more to say in their words.
        if found in (None, _K.CONSTRAINT) and not (isinstance(code, int) and code > 0xFF):
            found = _of_message(str(error)) or found
        if found is None and isinstance(error, sqlite3.IntegrityError):
            return _K.CONSTRAINT  # RAISE() in a trigger has the words of whoever wrote it
        return found
    if isinstance(error, MemoryError):
        return _K.OUT_OF_MEMORY
    if isinstance(error, ValueError):
        found = _of_message(str(error))
        return found if found in (_K.CLOSED, _K.WRONG_PARAMETERS) else None
    return None


def classify_error(exc: BaseException) -> ErrorKind:
    """What an exception means: one of `sqlite3`'s, or one that stands for it."""
    for error in _chain(exc):
        kind = _kind(error)
        if kind is not None:
            return kind
    return ErrorKind.OTHER
