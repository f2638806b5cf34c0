"""What `sqlspec.adapters.aiosqlite` has: a configuration, its pool, and sessions on it."""

from looplite._core import Connection as AiosqliteConnection
from looplite.adapters.aiosqlite._settings import (
    AiosqliteAggregateConfig,
    AiosqliteCollationConfig,
    AiosqliteConnectionParams,
    AiosqliteDriverFeatures,
    AiosqliteFunctionConfig,
    AiosqlitePoolParams,
    AiosqliteWindowFunctionConfig,
)
from looplite.adapters.aiosqlite.config import AiosqliteConfig
from looplite.adapters.aiosqlite.driver import AiosqliteDriver
from looplite.adapters.aiosqlite.load import StorageBridgeJob
from looplite.adapters.aiosqlite.result import SQLResult
from looplite.adapters.aiosqlite.stream import RowStream

__all__ = [
    "AiosqliteAggregateConfig",
    "AiosqliteCollationConfig",
    "AiosqliteConfig",
    "AiosqliteConnection",
    "AiosqliteConnectionParams",
    "AiosqliteDriver",
    "AiosqliteDriverFeatures",
    "AiosqliteFunctionConfig",
    "AiosqlitePoolParams",
    "AiosqliteWindowFunctionConfig",
    "RowStream",
    "SQLResult",
    "StorageBridgeJob",
]
