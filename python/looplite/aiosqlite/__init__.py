"""looplite under the names of aiosqlite 0.22: what ``looplite.install()`` puts in its place.

``import looplite.aiosqlite as aiosqlite`` does the same for one module. The names are those that
aiosqlite has, each the very object that ``looplite`` or ``sqlite3`` has.
"""

from sqlite3 import (
    DatabaseError,
    Error,
    IntegrityError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Row,
    Warning,  # noqa: A004 - the name that PEP 249 gives it
    paramstyle,
    register_adapter,
    register_converter,
    sqlite_version,
    sqlite_version_info,
)

from looplite.aiosqlite import context as context
from looplite.aiosqlite import core as core
from looplite.aiosqlite import cursor as cursor
from looplite.aiosqlite.__version__ import __version__
from looplite.aiosqlite.core import Connection, Cursor, connect

__all__ = [
    "Connection",
    "Cursor",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Row",
    "Warning",
    "__version__",
    "connect",
    "paramstyle",
    "register_adapter",
    "register_converter",
    "sqlite_version",
    "sqlite_version_info",
]
