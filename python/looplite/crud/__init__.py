"""Helpers that people write by hand: opening, reading, writing, transactions, a small pool.

They are functions of a connection, looplite's or one that is like aiosqlite's, or of a session of
a pool: ``await insert(db, "book", {"title": "Emma"})``. Names of tables and columns are quoted,
values are parameters, and rows are what the connection's `row_factory` makes of them. The page is
docs/guide/crud.md.
"""

from looplite.crud.errors import ErrorKind, classify_error
from looplite.crud.open import DEFAULT_PRAGMAS, get_db, make_fastapi_db_dependency, open_db
from looplite.crud.pool import AsyncDBPool
from looplite.crud.read import (
    fetch_all,
    fetch_one,
    fetch_scalar,
    get_table_info,
    stream,
    table_exists,
)
from looplite.crud.sql import order_by, quote_identifier
from looplite.crud.tx import transaction
from looplite.crud.write import (
    apply_schema,
    delete,
    execute_many_write,
    execute_write,
    insert,
    insert_many,
    update,
    upsert,
)

__all__ = [
    "DEFAULT_PRAGMAS",
    "AsyncDBPool",
    "ErrorKind",
    "apply_schema",
    "classify_error",
    "delete",
    "execute_many_write",
    "execute_write",
    "fetch_all",
    "fetch_one",
    "fetch_scalar",
    "get_db",
    "get_table_info",
    "insert",
    "insert_many",
    "make_fastapi_db_dependency",
    "open_db",
    "order_by",
    "quote_identifier",
    "stream",
    "table_exists",
    "transaction",
    "update",
    "upsert",
]
