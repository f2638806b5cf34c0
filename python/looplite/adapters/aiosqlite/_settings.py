"""What a configuration may hold: each key, what it has to be, and what it is without being said.

Nothing is taken without having an effect, so a key that is not in these tables is an error, as
are a value of a wrong type and two settings that contradict each other. Each message names the
key, the value and what is allowed.
"""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypedDict, Union

from looplite import _pragmas
from looplite.exceptions import ImproperConfigurationError

DEFAULT_DATABASE = "file::memory:?cache=shared"

Seconds = float
IsolationLevel = Literal["DEFERRED", "IMMEDIATE", "EXCLUSIVE"]
PathOrName = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


class AiosqliteConnectionParams(TypedDict, total=False):
    """How each connection is opened."""

    database: PathOrName
    timeout: Seconds
    detect_types: int
    isolation_level: IsolationLevel | None
    check_same_thread: bool
    cached_statements: int
    uri: bool
    iter_chunk_size: int


class AiosqlitePoolParams(AiosqliteConnectionParams, total=False):
    """`connection_config`: that, and the pool."""

    pool_size: int
    min_size: int
    connect_timeout: Seconds
    idle_timeout: Seconds
    operation_timeout: Seconds | None
    health_check_interval: Seconds | None
    pragmas: Mapping[str, str | int | float | bool | None] | Iterable[str]
    group_commit: bool
    inline: bool
    max_workers: int
    enable_optimizations: bool
    enable_foreign_keys: bool
    extra: Mapping[str, Any]


class _Named(TypedDict):
    name: str


class AiosqliteFunctionConfig(_Named, total=False):
    """One of `custom_functions`; `narg` is -1 for any number."""

    narg: int
    func: Callable[..., Any]
    deterministic: bool


class AiosqliteCollationConfig(_Named):
    """One of `custom_collations`."""

    func: Callable[[str, str], int]


class AiosqliteAggregateConfig(_Named):
    """One of `custom_aggregates`."""

    narg: int
    aggregate_class: type[Any]


class AiosqliteWindowFunctionConfig(_Named):
    """One of `custom_window_functions` (Python 3.11)."""

    narg: int
    window_class: type[Any]


class AiosqliteDriverFeatures(TypedDict, total=False):
    """`driver_features`."""

    enable_custom_adapters: bool
    sniff_text: bool
    json_serializer: Callable[[Any], str | bytes]
    json_deserializer: Callable[[str], Any]
    default_transaction_mode: IsolationLevel
    on_connection_create: Callable[[Any], Awaitable[None]]
    custom_functions: Sequence[AiosqliteFunctionConfig]
    custom_collations: Sequence[AiosqliteCollationConfig]
    custom_aggregates: Sequence[AiosqliteAggregateConfig]
    custom_window_functions: Sequence[AiosqliteWindowFunctionConfig]
    authorizer_callback: Callable[..., int]
    trace_callback: Callable[[str], Any]
    progress_handler: Callable[[], int | None]
    progress_handler_interval: int
    row_factory: Literal["row", "dict", "tuple"] | Callable[..., Any]
    text_factory: Callable[[bytes], Any]
    pragmas: Mapping[str, str | int | float | bool | None]
    extensions: Sequence[PathOrName]


# ---- checks -------------------------------------------------------------------------------------

Check = Callable[[str, Any], Any]


def wrong(where: str, value: object, allowed: str) -> ImproperConfigurationError:
    return ImproperConfigurationError(f"{where} must be {allowed}, not {value!r}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _boolean(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(where, value, "True or False")
    return value


def _integer(least: int, most: int | None = None) -> Check:
    allowed = f"an int of {least} or more" if most is None else f"an int from {least} to {most}"

    def check(where: str, value: Any) -> int:
        if not _is_int(value) or value < least or (most is not None and value > most):
            raise wrong(where, value, allowed)
        return int(value)

    return check


def _seconds(*, zero: bool, none: str | None = None) -> Check:
    allowed = f"a number of seconds{'' if zero else ' above 0'}" + (
        f", or None ({none})" if none else ""
    )

    def check(where: str, value: Any) -> float | None:
        if value is None and none:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
            raise wrong(where, value, allowed)
        if value < 0 or (value == 0 and not zero):
            raise wrong(where, value, allowed)
        return float(value)

    return check


def _database(where: str, value: Any) -> Any:
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise wrong(where, value, "a str, bytes or a path")
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
        if isinstance(value, str) and value.startswith("file:"):
            value = str(Path("./") / value)  # a path is no URI, whatever its name
    text = os.fsdecode(value)
    if "\0" in text:
        raise wrong(where, value, "a name without a null character")
    return text


LEVELS = ("DEFERRED", "IMMEDIATE", "EXCLUSIVE")


def _level(none: bool) -> Check:
    allowed = "one of " + ", ".join(map(repr, LEVELS)) + (", or None (autocommit)" if none else "")

    def check(where: str, value: Any) -> str | None:
        if value is None and none:
            return None
        if not isinstance(value, str) or value.upper() not in LEVELS:
            raise wrong(where, value, allowed)
        return value.upper()

    return check


def _same_thread(where: str, value: Any) -> bool:
    if value is not False:
        raise wrong(where, value, "False (connections are used by several threads in turn)")
    return False


def _pragma_texts(where: str, value: Any) -> tuple[str, ...]:
    try:
        return _pragmas.texts(value)
    except (TypeError, ValueError) as error:
        raise ImproperConfigurationError(f"{where}: {error}") from None


def _callable(takes: str) -> Check:
    def check(where: str, value: Any) -> Any:
        if not callable(value):
            raise wrong(where, value, f"a callable that takes {takes}")
        return value

    return check


def _row_factory(where: str, value: Any) -> Any:
    if value in ("row", "dict", "tuple") or (callable(value) and not isinstance(value, str)):
        return value
    raise wrong(where, value, "'row', 'dict', 'tuple', or a callable that takes (cursor, row)")


def _paths(where: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise wrong(where, value, "a list of paths")
    return tuple(_database(f"{where}[{i}]", path) for i, path in enumerate(value))


def _entries(keys: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    def check(where: str, value: Any) -> tuple[dict[str, Any], ...]:
        if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
            raise wrong(where, value, f"a list of mappings with {', '.join(keys)}")
        return tuple(entry(f"{where}[{i}]", one) for i, one in enumerate(value))

    def entry(where: str, value: Any) -> dict[str, Any]:
        made = checked(where, value, {**keys, **optional})
        missing = [key for key in keys if key not in made]
        if missing:
            raise ImproperConfigurationError(f"{where} needs {missing[0]!r}: {value!r}")
        return made

    return check


def _name(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise wrong(where, value, "a name")
    return value


def _class(*methods: str) -> Check:
    def check(where: str, value: Any) -> Any:
        lacking = [name for name in methods if not callable(getattr(value, name, None))]
        if not callable(value) or lacking:
            raise wrong(where, value, f"a class with {', '.join(methods)}")
        return value

    return check


WINDOW_FUNCTIONS = hasattr(sqlite3.Connection, "create_window_function")


def _window(where: str, value: Any) -> Any:
    if not WINDOW_FUNCTIONS:
        raise ImproperConfigurationError(f"{where}: window functions need Python 3.11")
    return _class("step", "inverse", "value", "finalize")(where, value)


_NARG = _integer(-1)

CONNECTION: dict[str, Check] = {
    "database": _database,
    "timeout": _seconds(zero=True),
    "detect_types": _integer(0, 3),
    "isolation_level": _level(none=True),
    "check_same_thread": _same_thread,
    "cached_statements": _integer(0),
    "uri": _boolean,
    "iter_chunk_size": _integer(1),
    "pool_size": _integer(1, 1024),
    "min_size": _integer(0, 1024),
    "connect_timeout": _seconds(zero=False, none="for ever"),
    "idle_timeout": _seconds(zero=False, none="never"),
    "operation_timeout": _seconds(zero=False, none="never"),
    "health_check_interval": _seconds(zero=False, none="never"),
    "pragmas": _pragma_texts,
    "group_commit": _boolean,
    "inline": _boolean,
    "max_workers": _integer(1),
    "enable_optimizations": _boolean,
    "enable_foreign_keys": _boolean,
}

# What SQLSpec takes for `database`, too.
DATABASE_KEYS = ("db", "path", "file")

DEFAULTS: dict[str, Any] = {
    "database": DEFAULT_DATABASE,
    "timeout": 5.0,
    "detect_types": 0,
    "isolation_level": None,
    "check_same_thread": False,
    "cached_statements": 128,
    "iter_chunk_size": 64,
    "pool_size": 5,
    "min_size": 0,
    "connect_timeout": 30.0,
    "idle_timeout": 86400.0,
    "operation_timeout": 10.0,
    "health_check_interval": 30.0,
    "pragmas": (),
    "group_commit": False,
    "inline": True,
    "enable_optimizations": True,
    "enable_foreign_keys": True,
}

FEATURES: dict[str, Check] = {
    "enable_custom_adapters": _boolean,
    "sniff_text": _boolean,
    "json_serializer": _callable("a value and gives its text"),
    "json_deserializer": _callable("a text"),
    "default_transaction_mode": _level(none=False),
    "on_connection_create": _callable("the connection, and is awaited"),
    "custom_functions": _entries(
        {"name": _name, "narg": _NARG, "func": _callable("the arguments")},
        {"deterministic": _boolean},
    ),
    "custom_collations": _entries({"name": _name, "func": _callable("two texts")}, {}),
    "custom_aggregates": _entries(
        {"name": _name, "narg": _NARG, "aggregate_class": _class("step", "finalize")}, {}
    ),
    "custom_window_functions": _entries(
        {"name": _name, "narg": _NARG, "window_class": _window}, {}
    ),
    "authorizer_callback": _callable("(action, first, second, database, trigger)"),
    "trace_callback": _callable("the text of a statement"),
    "progress_handler": _callable("nothing"),
    "progress_handler_interval": _integer(1),
    "row_factory": _row_factory,
    "text_factory": _callable("bytes"),
    "pragmas": _pragma_texts,
    "extensions": _paths,
}


def checked(where: str, given: Any, checks: Mapping[str, Check]) -> dict[str, Any]:
    """The settings that were given, each as its check gives it."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise wrong(where, given, "a mapping")
    made = {}
    for key, value in given.items():
        check = checks.get(key) if isinstance(key, str) else None
        if check is None:
            raise _unknown(where, key, value, checks)
        made[key] = check(f"{where}[{key!r}]", value)
    return made


def _unknown(
    where: str, key: object, value: object, checks: Mapping[str, Check]
) -> ImproperConfigurationError:
    near = get_close_matches(str(key), checks, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ImproperConfigurationError(
        f"{where} has the unknown key {key!r} (its value is {value!r}){hint}"
        f" Known are {', '.join(sorted(checks))}."
        if hint
        else f"{where} has the unknown key {key!r} (its value is {value!r}); known are "
        f"{', '.join(sorted(checks))}"
    )


# ---- the whole ----------------------------------------------------------------------------------


def connection_settings(given: Any) -> tuple[dict[str, Any], bool]:
    """All settings of `connection_config`: what was given, over the defaults. And whether the
    database was named: the default is a name that others may have, but means a database of one's
    own.
    """
    where = "connection_config"
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise wrong(where, given, "a mapping")
    flat = {key: value for key, value in given.items() if key != "extra"}
    extra = given.get("extra")
    if extra is not None:
        if not isinstance(extra, Mapping):
            raise wrong(f"{where}['extra']", extra, "a mapping of more settings")
        twice = [key for key in extra if key in flat]
        if twice:
            raise ImproperConfigurationError(
                f"{where} has {twice[0]!r} twice: {flat[twice[0]]!r}, and {extra[twice[0]]!r} "
                f"in 'extra'"
            )
        flat.update(extra)
    named = [key for key in ("database", *DATABASE_KEYS) if flat.get(key) is not None]
    if len(named) > 1:
        raise ImproperConfigurationError(
            f"{where} names the database twice: {named[0]!r} is {flat[named[0]]!r}, "
            f"{named[1]!r} is {flat[named[1]]!r}"
        )
    database = flat.get(named[0]) if named else None
    for key in ("database", *DATABASE_KEYS):
        flat.pop(key, None)
    if database is not None:
        flat["database"] = database
    own = checked(where, flat, CONNECTION)
    made = {**DEFAULTS, **own}
    _resolve(where, own, made)
    return made, "database" in own


def _resolve(where: str, own: dict[str, Any], made: dict[str, Any]) -> None:
    """What one setting means for another one, and what cannot be together."""
    database = made["database"]
    is_uri = database.startswith("file:")
    if own.get("uri") is False and is_uri:
        if "database" not in own:
            raise ImproperConfigurationError(
                f"{where}['uri'] is False, so there must be a 'database': the default is a URI"
            )
        made["database"] = f"./{database}"  # a file of that name
    made["uri"] = is_uri and own.get("uri") is not False
    if own.get("uri") and not is_uri:
        raise ImproperConfigurationError(
            f"{where}['uri'] is True, so 'database' must begin with 'file:', not {database!r}"
        )
    if "min_size" in own and made["min_size"] > made["pool_size"]:
        raise ImproperConfigurationError(
            f"{where}['min_size'] must be at most 'pool_size' ({made['pool_size']}), "
            f"not {made['min_size']}"
        )
    if made["group_commit"] and made["isolation_level"] is not None:
        raise ImproperConfigurationError(
            f"{where}['group_commit'] is True, so 'isolation_level' must be None (only "
            f"statements that "
            f"commit by themselves share a commit), not {made['isolation_level']!r}"
        )


def feature_settings(given: Any) -> dict[str, Any]:
    """What was given as `driver_features`."""
    where = "driver_features"
    if isinstance(given, Mapping):
        given = {key: value for key, value in given.items() if value is not None}
    made = checked(where, given, FEATURES)
    adapters = made.get("enable_custom_adapters", True)
    for key in ("sniff_text", "json_serializer", "json_deserializer"):
        if not adapters and made.get(key):
            raise ImproperConfigurationError(
                f"{where}[{key!r}] is {made[key]!r}, so 'enable_custom_adapters' must be True, "
                f"not False"
            )
    if "progress_handler_interval" in made and "progress_handler" not in made:
        raise ImproperConfigurationError(
            f"{where}['progress_handler_interval'] is {made['progress_handler_interval']!r}, so "
            f"there "
            "must be a 'progress_handler'"
        )
    return made


def check_both(connection: Mapping[str, Any], features: Mapping[str, Any]) -> None:
    """What a setting of the one means for the other."""
    if connection["group_commit"] and "on_connection_create" in features:
        raise ImproperConfigurationError(
            "connection_config['group_commit'] is True, so driver_features['on_connection_create'] "
            f"must be absent, not {features['on_connection_create']!r}: with it each session has a "
            "connection of its own, and no two share a commit"
        )


EXTENSIONS = ("adk", "aiohttp", "events", "fastapi", "litestar", "sanic", "starlette")


def extension_settings(given: Any) -> dict[str, dict[str, Any]]:
    """`extension_config`: a mapping for each extension; what is in it, that extension checks."""
    where = "extension_config"
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise wrong(where, given, "a mapping")
    for key, value in given.items():
        if key not in EXTENSIONS:
            raise ImproperConfigurationError(
                f"{where} has the unknown key {key!r} (its value is {value!r}); known are "
                f"{', '.join(EXTENSIONS)}"
            )
        if not isinstance(value, Mapping):
            raise wrong(f"{where}[{key!r}]", value, "a mapping")
    return {key: dict(value) for key, value in given.items()}
