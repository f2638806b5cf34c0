"""Litestar: the plugin, and a `Store` for sessions and caches.

Litestar(route_handlers=[...], plugins=[SQLSpecPlugin(sqlspec)])

A handler's parameter `db_session: AiosqliteDriver` is the request's session; `db_connection` is its
connection, `db_pool` the pool. The settings are in `extension_config["litestar"]`;
docs/guide/litestar.md says what each does.
"""

from looplite.extensions._web import (
    COMMIT_MODES,
    DEFAULT_COMMIT_MODE,
    DEFAULT_CONNECTION_KEY,
    DEFAULT_POOL_KEY,
    DEFAULT_SESSION_KEY,
    CommitMode,
    RequestSession,
    SQLSpecConfig,
)
from looplite.extensions.litestar.plugin import SQLSpecPlugin
from looplite.extensions.litestar.store import AiosqliteStore

__all__ = [
    "COMMIT_MODES",
    "DEFAULT_COMMIT_MODE",
    "DEFAULT_CONNECTION_KEY",
    "DEFAULT_POOL_KEY",
    "DEFAULT_SESSION_KEY",
    "AiosqliteStore",
    "CommitMode",
    "RequestSession",
    "SQLSpecConfig",
    "SQLSpecPlugin",
]
