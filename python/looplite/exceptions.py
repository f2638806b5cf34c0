"""The exceptions of the layers above `sqlite3`'s interface: one tree under LoopliteError.

Each that comes from SQLite is an exception of `sqlite3`, too: of the very class that `sqlite3` has
for it, so that ``except sqlite3.IntegrityError`` catches what ``except UniqueViolationError`` does.
The names are SQLSpec's where it has one for the same thing. `translated()` makes one of an
exception that `sqlite3` or looplite's connections raised; which class it is is decided by
SQLite's extended code where there is one, else by the words.
"""

from __future__ import annotations

import sqlite3
from typing import Any

__all__ = [
    "BusyError",
    "CheckViolationError",
    "ConnectionTimeoutError",
    "CorruptDatabaseError",
    "DataError",
    "DatabaseConnectionError",
    "DatabaseError",
    "DeadlockError",
    "DiskFullError",
    "DroppedWritesWarning",
    "ForeignKeyViolationError",
    "ImproperConfigurationError",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "LoopliteError",
    "MismatchError",
    "MissingDependencyError",
    "MultipleResultsFoundError",
    "NoSuchTableError",
    "NotFoundError",
    "NotNullViolationError",
    "NotSupportedError",
    "OperationCancelledError",
    "OperationalError",
    "PermissionDeniedError",
    "PoolClosedError",
    "PoolExhaustedError",
    "ProgrammingError",
    "QueryTimeoutError",
    "ReadOnlyError",
    "RepositoryError",
    "SQLParsingError",
    "SQLSpecError",
    "SerializationConflictError",
    "SnapshotConflictError",
    "StatementsError",
    "TransactionAbortedError",
    "TransactionError",
    "UniqueViolationError",
    "translated",
]


class LoopliteError(Exception):
    """All exceptions of looplite's own. `detail` is the message."""

    @property
    def detail(self) -> str:
        """The message."""
        return str(self)


SQLSpecError = LoopliteError


class ImproperConfigurationError(LoopliteError, ValueError):
    """A setting is unknown, of a wrong type, or contradicts another one."""


class MissingDependencyError(LoopliteError, ImportError):
    """An optional package is needed and not installed."""


# ---- what SQLite says ---------------------------------------------------------------------------


class DatabaseError(LoopliteError, sqlite3.DatabaseError):
    """What has no class of its own."""


class InterfaceError(LoopliteError, sqlite3.InterfaceError):
    """The interface was used in a wrong way."""


class InternalError(DatabaseError, sqlite3.InternalError):
    """SQLite found itself in a state it should not be in."""


class NotSupportedError(DatabaseError, sqlite3.NotSupportedError):
    """This SQLite or this connection cannot do that."""


class ProgrammingError(DatabaseError, sqlite3.ProgrammingError):
    """Wrong parameters, several statements in one, something that is closed."""


class StatementsError(ProgrammingError, sqlite3.Warning):
    """Several statements in one text (which `sqlite3` before 3.11 has a Warning for)."""


class DataError(DatabaseError, sqlite3.DataError):
    """A value that cannot be stored: too large, or of another type than the column's."""


class RepositoryError(LoopliteError):
    """What was asked for does not fit what is there."""


class NotFoundError(RepositoryError, ValueError):
    """One row was asked for, and there is none."""


class MultipleResultsFoundError(RepositoryError, ValueError):
    """One row was asked for, and there are more."""


class IntegrityError(RepositoryError, DatabaseError, sqlite3.IntegrityError):
    """A constraint does not allow it."""


class UniqueViolationError(IntegrityError):
    """UNIQUE or PRIMARY KEY: such a row is there already."""


class ForeignKeyViolationError(IntegrityError):
    """FOREIGN KEY: the row that is referred to is not there, or is still referred to."""


class NotNullViolationError(IntegrityError):
    """NOT NULL: a value is missing."""


class CheckViolationError(IntegrityError):
    """CHECK: a value is not allowed."""


class MismatchError(DataError, IntegrityError):
    """A value is not of the type that its column insists on."""


class OperationalError(DatabaseError, sqlite3.OperationalError):
    """The database cannot do it now, or not with this statement."""


class NoSuchTableError(OperationalError):
    """A table or view of that name is not there."""


class SQLParsingError(OperationalError):
    """The text is not SQL."""


class DiskFullError(OperationalError):
    """No space is left on the disk, or the database is as large as it may be."""


class CorruptDatabaseError(OperationalError):
    """The file is damaged, or is no database."""


class QueryTimeoutError(OperationalError, TimeoutError):
    """The statement took longer than `operation_timeout` and was stopped."""


class OperationCancelledError(OperationalError):
    """The statement was interrupted by `interrupt()`."""


class DatabaseConnectionError(OperationalError):
    """The database cannot be opened."""


class PermissionDeniedError(DatabaseConnectionError):
    """The file may not be used in this way."""


class ReadOnlyError(PermissionDeniedError):
    """The file, its directory or the connection can only be read."""


class ConnectionTimeoutError(DatabaseConnectionError, TimeoutError):
    """No connection was to be had in time."""


class PoolExhaustedError(ConnectionTimeoutError):
    """All connections of the pool were out for as long as `connect_timeout`."""


class PoolClosedError(ProgrammingError):
    """The pool was closed."""


class TransactionError(OperationalError):
    """The transaction cannot go on, or cannot begin."""


class TransactionAbortedError(TransactionError):
    """An error has ended the transaction; nothing more may be done in it but to roll back."""


class DeadlockError(TransactionError):
    """Others hold a lock that is needed."""


class BusyError(DeadlockError):
    """A lock of another connection was not to be had within `timeout`."""


class SerializationConflictError(TransactionError):
    """What the transaction has read was changed by another one since."""


class SnapshotConflictError(BusyError, SerializationConflictError):
    """The transaction read before it wrote, and another one has written in between."""


class DroppedWritesWarning(UserWarning):
    """A session or connection was given back with writes that nobody committed; they are lost."""


SQLITE_ERRORS = (sqlite3.Error, sqlite3.Warning)
"""What `translated()` is for."""

# ---- from sqlite3's to these --------------------------------------------------------------------

_BY_EXTENDED_CODE: dict[int, type[LoopliteError]] = {
    2067: UniqueViolationError,  # CONSTRAINT_UNIQUE
    1555: UniqueViolationError,  # CONSTRAINT_PRIMARYKEY
    2579: UniqueViolationError,  # CONSTRAINT_ROWID
    787: ForeignKeyViolationError,
    1299: NotNullViolationError,
    275: CheckViolationError,
    517: SnapshotConflictError,  # BUSY_SNAPSHOT
}

_BY_CODE: dict[int, type[LoopliteError]] = {
    3: PermissionDeniedError,  # PERM
    5: BusyError,
    6: DeadlockError,  # LOCKED
    8: ReadOnlyError,
    9: OperationCancelledError,  # INTERRUPT
    11: CorruptDatabaseError,
    13: DiskFullError,
    14: DatabaseConnectionError,  # CANTOPEN
    18: DataError,  # TOOBIG
    20: MismatchError,
    26: CorruptDatabaseError,  # NOTADB
}

# By what the message contains, for errors that SQLite only has words for.
_BY_WORDS: tuple[tuple[str, type[LoopliteError]], ...] = (
    ("no such table", NoSuchTableError),
    ("syntax error", SQLParsingError),
    ("incomplete input", SQLParsingError),
    ("unrecognized token", SQLParsingError),
)

# Python before 3.11 does not tell codes: SQLite's own words, which it has not changed for years.
_WITHOUT_CODE: tuple[tuple[str, type[LoopliteError]], ...] = (
    ("UNIQUE constraint failed", UniqueViolationError),
    ("FOREIGN KEY constraint failed", ForeignKeyViolationError),
    ("NOT NULL constraint failed", NotNullViolationError),
    ("CHECK constraint failed", CheckViolationError),
    ("datatype mismatch", MismatchError),
    ("database is locked", BusyError),
    ("table is locked", DeadlockError),
    ("attempt to write a readonly database", ReadOnlyError),
    ("disk is full", DiskFullError),
    ("unable to open database file", DatabaseConnectionError),
    ("malformed", CorruptDatabaseError),
    ("file is not a database", CorruptDatabaseError),
    ("interrupted", OperationCancelledError),
)

# The first that fits; every class of sqlite3's has one here that derives from it.
_BY_CLASS: tuple[tuple[type[BaseException], type[LoopliteError]], ...] = (
    (sqlite3.IntegrityError, IntegrityError),
    (sqlite3.OperationalError, OperationalError),
    (sqlite3.ProgrammingError, ProgrammingError),
    (sqlite3.DataError, DataError),
    (sqlite3.NotSupportedError, NotSupportedError),
    (sqlite3.InternalError, InternalError),
    (sqlite3.InterfaceError, InterfaceError),
    (sqlite3.DatabaseError, DatabaseError),
    (sqlite3.Warning, StatementsError),
    (sqlite3.Error, DatabaseError),
)


def _class_of(error: BaseException) -> type[LoopliteError]:
    code = getattr(error, "sqlite_errorcode", None)
    message = str(error)
    if isinstance(code, int):
        by_code = _BY_EXTENDED_CODE.get(code) or _BY_CODE.get(code & 0xFF)
        if by_code is not None:
            return by_code
    tables = _BY_WORDS if isinstance(code, int) else _BY_WORDS + _WITHOUT_CODE
    if isinstance(error, sqlite3.DatabaseError):
        for words, by_words in tables:
            if words in message:
                return by_words
    for sqlite_class, ours in _BY_CLASS:
        if isinstance(error, sqlite_class):
            return ours
    raise TypeError(f"not an exception of sqlite3: {error!r}")


def translated(error: BaseException, as_class: type[LoopliteError] | None = None) -> LoopliteError:
    """The exception of this module for one of `sqlite3`'s; one of this module stays as it is.

    It has the same message, SQLite's code where there is one, and the other one as its cause.
    """
    if isinstance(error, LoopliteError):
        return error
    made: Any = (as_class or _class_of(error))(*error.args)
    for name in ("sqlite_errorcode", "sqlite_errorname", "looplite_offset", "looplite_outcome"):
        value = getattr(error, name, None)
        if value is not None:
            setattr(made, name, value)
    made.__cause__ = error
    result: LoopliteError = made
    return result
