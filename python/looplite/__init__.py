"""looplite: SQLite for event loops.

``looplite.connect(path)`` is awaited, or entered with ``async with``; its connection and cursors
have the methods of ``sqlite3``'s, each of which is awaited. Exceptions, ``Row``, adapters and
converters are those of the running Python's ``sqlite3``.
"""

from sqlite3 import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Row,
    Warning,  # noqa: A004 - the name that PEP 249 gives it
    apilevel,
    paramstyle,
    register_adapter,
    register_converter,
    sqlite_version,
    sqlite_version_info,
    threadsafety,
)

from looplite._core import (
    Blob,
    Connection,
    Cursor,
    Result,
    Statement,
    __version__,
    connect,
    engine_info,
    stats,
)
from looplite._install import install, uninstall
from looplite.base import SQLSpec

__all__ = [
    "Blob",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Result",
    "Row",
    "SQLSpec",
    "Statement",
    "Warning",
    "__version__",
    "apilevel",
    "connect",
    "engine_info",
    "install",
    "paramstyle",
    "register_adapter",
    "register_converter",
    "sqlite_version",
    "sqlite_version_info",
    "stats",
    "threadsafety",
    "uninstall",
]
