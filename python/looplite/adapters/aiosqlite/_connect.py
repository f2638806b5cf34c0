"""What is done with each new connection of a pool before anybody gets it.

It is done with the `sqlite3.Connection` behind it, on a worker: WAL, extensions, functions,
hooks, and then by the core the pragmas, which wait for locks.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from looplite._core import Connection, Pool, Types, connect, set_max_workers
from looplite.exceptions import ImproperConfigurationError

if TYPE_CHECKING:
    from looplite.adapters.aiosqlite.config import AiosqliteConfig

# What SQLite may call in the middle of any statement: nothing runs on the loop then.
FOREIGN = ("authorizer_callback", "trace_callback", "progress_handler", "extensions")
ON_CONNECTION = (
    *FOREIGN,
    "custom_functions",
    "custom_collations",
    "custom_aggregates",
    "custom_window_functions",
    "row_factory",
    "text_factory",
)

Setup = Callable[[sqlite3.Connection], None]


def _as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip((column[0] for column in cursor.description), row, strict=True))


ROW_FACTORIES: dict[str, Any] = {"row": sqlite3.Row, "dict": _as_dict, "tuple": None}


def _pragma(connection: sqlite3.Connection, text: str) -> Any:
    cursor = connection.execute(f"PRAGMA {text}")
    try:
        return cursor.fetchone()
    finally:
        cursor.close()


def _write_ahead(connection: sqlite3.Connection, timeout: float) -> None:
    """WAL for a file, if it may be written; a file that may not be stays as it is.

    Switching does not wait for locks, whatever the timeout is, so it is tried again. It is done
    once in the life of a file.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            if _pragma(connection, "journal_mode")[0] in ("wal", "memory", "off"):
                return
            _pragma(connection, "journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "readonly" in str(error):
                return
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(0.005)


def types_of(features: dict[str, Any]) -> Types:
    """How parameters and rows of sessions are converted; rows are dicts."""
    return Types(
        adapt=features.get("enable_custom_adapters", True),
        sniff_text=features.get("sniff_text", True),
        dict_rows=True,
        json_serializer=features.get("json_serializer"),
        json_deserializer=features.get("json_deserializer"),
    )


def make_pool(config: AiosqliteConfig) -> Pool:
    """A pool; nothing is opened before it is needed, but for `min_size`."""
    settings, features = config.connection_config, config.driver_features
    if "max_workers" in settings:
        set_max_workers(settings["max_workers"])
    keywords = _keywords(settings)
    code = any(key in features for key in FOREIGN)
    return Pool(
        settings["database"] if config._is_named else ":memory:",
        uri=settings["uri"] and config._is_named,
        connect=keywords,
        connector=_connector(settings, keywords),
        max_size=settings["pool_size"],
        min_size=settings["min_size"],
        connect_timeout=settings["connect_timeout"],
        idle_timeout=settings["idle_timeout"],
        health_interval=settings["health_check_interval"],
        operation_timeout=settings["operation_timeout"],
        pragmas=_pragmas(settings, features),
        worker_only=code or not settings["inline"],
        chunk=settings["iter_chunk_size"],
        setup=_setup(settings, features),
        text_factory=features.get("text_factory"),
        group_commit=settings["group_commit"],
    )


async def alone(config: AiosqliteConfig) -> Connection:
    """A connection as those of the pool are, which is not of it."""
    settings, features = config.connection_config, config.driver_features
    if config.is_in_memory:
        raise ImproperConfigurationError(
            "a connection outside of the pool would not see the pool's database in memory; "
            "take one of provide_connection()"
        )
    connection: Connection = connect(
        settings["database"],
        uri=settings["uri"],
        inline=settings["inline"] and not any(key in features for key in FOREIGN),
        iter_chunk_size=settings["iter_chunk_size"],
        pragmas=list(_pragmas(settings, features)),
        **_keywords(settings),
    )
    await connection
    setup = _setup(settings, features)
    prepare = features.get("on_connection_create")
    try:
        if setup is not None:
            await connection._execute(setup, connection._conn)
        if prepare is not None:
            await prepare(connection)
    except BaseException:
        await connection.close()
        raise
    return connection


def _keywords(settings: dict[str, Any]) -> dict[str, Any]:
    names = ("timeout", "detect_types", "isolation_level", "cached_statements")
    return {name: settings[name] for name in names}


def _connector(
    settings: dict[str, Any], keywords: dict[str, Any]
) -> Callable[[], sqlite3.Connection]:
    def connector() -> sqlite3.Connection:
        opened: sqlite3.Connection = sqlite3.connect(
            settings["database"], uri=settings["uri"], **keywords
        )
        return opened

    return connector


def _pragmas(settings: dict[str, Any], features: dict[str, Any]) -> tuple[str, ...]:
    given = (*settings["pragmas"], *features.get("pragmas", ()))
    ours = settings["enable_foreign_keys"] and not _sets(given, "foreign_keys")
    return ("foreign_keys=1", *given) if ours else given


def _sets(pragmas: tuple[str, ...], name: str) -> bool:
    return any(text.partition("=")[0].lower() == name for text in pragmas)


def _setup(settings: dict[str, Any], features: dict[str, Any]) -> Setup | None:
    """What is done with each new connection on its worker; None: nothing."""
    wal = settings["enable_optimizations"] and not _sets(
        _pragmas(settings, features), "journal_mode"
    )
    if not wal and not any(key in features for key in ON_CONNECTION):
        return None

    def setup(connection: sqlite3.Connection) -> None:
        if wal:
            _write_ahead(connection, settings["timeout"])
        _load(connection, features)
        _register(connection, features)

    return setup


def _load(connection: sqlite3.Connection, features: dict[str, Any]) -> None:
    paths = features.get("extensions", ())
    if not paths:
        return
    connection.enable_load_extension(True)
    try:
        for path in paths:
            connection.load_extension(path)
    finally:
        connection.enable_load_extension(False)


def _register(connection: Any, features: dict[str, Any]) -> None:
    for one in features.get("custom_functions", ()):
        connection.create_function(
            one["name"], one["narg"], one["func"], deterministic=one.get("deterministic", False)
        )
    for one in features.get("custom_collations", ()):
        connection.create_collation(one["name"], one["func"])
    for one in features.get("custom_aggregates", ()):
        connection.create_aggregate(one["name"], one["narg"], one["aggregate_class"])
    for one in features.get("custom_window_functions", ()):
        connection.create_window_function(one["name"], one["narg"], one["window_class"])
    if "row_factory" in features:
        factory = features["row_factory"]
        connection.row_factory = ROW_FACTORIES[factory] if isinstance(factory, str) else factory
    if "text_factory" in features:
        connection.text_factory = features["text_factory"]
    if "authorizer_callback" in features:
        connection.set_authorizer(features["authorizer_callback"])
    if "progress_handler" in features:
        connection.set_progress_handler(
            features["progress_handler"], features.get("progress_handler_interval", 1000)
        )
    if "trace_callback" in features:
        connection.set_trace_callback(features["trace_callback"])
