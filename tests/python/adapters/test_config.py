"""`AiosqliteConfig`: every key has an effect, and every mistake is named."""
# ruff: noqa: ASYNC110, E501, PT031

from __future__ import annotations

import asyncio
import datetime
import gc
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import looplite
import pytest
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.exceptions import (
    ImproperConfigurationError,
    IntegrityError,
    LoopliteError,
    OperationalError,
    PoolExhaustedError,
    ReadOnlyError,
)
from support import SCRIPT_SECONDS

Run = Callable[..., Any]


def with_session(run: Run, config: AiosqliteConfig, work: Callable[[AiosqliteDriver], Any]) -> Any:
    """What `work(session)` gives; the pool is closed afterwards."""

    async def main() -> Any:
        try:
            async with config.provide_session() as session:
                return await work(session)
        finally:
            await config.close_pool()

    return run(main)


def is_open(session: AiosqliteDriver) -> bool:
    return session.in_transaction


def the_pool_of(config: AiosqliteConfig) -> Any:
    return config.connection_instance


def is_closed(pool: Any) -> bool:
    return bool(pool.is_closed)


# ---- mistakes -----------------------------------------------------------------------------------

CONNECTION_MISTAKES: list[tuple[dict[Any, Any], str]] = [
    ({"databse": "x.db"}, "'databse' .*'x.db'.*did you mean 'database'"),
    ({"nonsense": 7}, "unknown key 'nonsense' .*7.*known are .*pool_size"),
    ({3: 4}, "unknown key 3"),
    ({"pool_size": 0}, r"\['pool_size'\] must be an int from 1 to 1024, not 0"),
    ({"pool_size": "5"}, r"\['pool_size'\] must be an int from 1 to 1024, not '5'"),
    ({"pool_size": True}, r"\['pool_size'\] must be an int .*not True"),
    ({"min_size": -1}, r"\['min_size'\] must be .*not -1"),
    ({"min_size": 6, "pool_size": 5}, r"'min_size'\] must be at most 'pool_size' \(5\), not 6"),
    ({"min_size": 6}, r"at most 'pool_size' \(5\)"),
    ({"timeout": -1}, r"\['timeout'\] must be a number of seconds, not -1"),
    ({"timeout": "soon"}, r"\['timeout'\] must be a number of seconds, not 'soon'"),
    ({"timeout": float("nan")}, r"\['timeout'\] must be .*nan"),
    ({"connect_timeout": 0}, r"\['connect_timeout'\] must be .* above 0.*for ever.*not 0"),
    ({"operation_timeout": 0}, r"\['operation_timeout'\] must be .* above 0.*never.*not 0"),
    ({"idle_timeout": []}, r"\['idle_timeout'\] must be .*not \[\]"),
    ({"health_check_interval": -2}, r"\['health_check_interval'\] must be"),
    ({"isolation_level": "SOMETIMES"}, r"'DEFERRED', 'IMMEDIATE', 'EXCLUSIVE', or None"),
    ({"detect_types": 4}, r"\['detect_types'\] must be an int from 0 to 3, not 4"),
    ({"check_same_thread": True}, r"\['check_same_thread'\] must be False .*not True"),
    ({"cached_statements": -1}, r"\['cached_statements'\] must be an int of 0 or more"),
    ({"uri": 1}, r"\['uri'\] must be True or False, not 1"),
    ({"uri": False}, r"'uri'\] is False, so there must be a 'database'"),
    ({"uri": True, "database": "x.db"}, r"must begin with 'file:', not 'x.db'"),
    ({"database": 5}, r"\['database'\] must be a str, bytes or a path, not 5"),
    ({"database": "a\0b"}, r"without a null character"),
    ({"database": "a", "path": "b"}, r"names the database twice: 'database' is 'a', 'path' is 'b'"),
    ({"pragmas": "journal_mode=WAL"}, r"\['pragmas'\]: .*mapping or several texts"),
    ({"pragmas": {"not a name": 1}}, r"\['pragmas'\]: not the name of a pragma: 'not a name'"),
    ({"inline": "no"}, r"\['inline'\] must be True or False, not 'no'"),
    ({"max_workers": 0}, r"\['max_workers'\] must be an int of 1 or more, not 0"),
    ({"iter_chunk_size": 0}, r"\['iter_chunk_size'\] must be"),
    ({"enable_foreign_keys": None}, r"\['enable_foreign_keys'\] must be True or False, not None"),
    ({"enable_optimizations": 0}, r"\['enable_optimizations'\] must be True or False, not 0"),
    ({"extra": 3}, r"\['extra'\] must be a mapping of more settings, not 3"),
    ({"extra": {"pool_size": 3}, "pool_size": 4}, r"'pool_size' twice: 4, and 3 in 'extra'"),
    (
        {"group_commit": True, "isolation_level": "DEFERRED"},
        r"'group_commit'\] is True, so 'isolation_level' must be None .*not 'DEFERRED'",
    ),
    ({"group_commit": 1}, r"'group_commit'\] must be True or False, not 1"),
]

FEATURE_MISTAKES: list[tuple[dict[Any, Any], str]] = [
    ({"enable_custom_adapter": True}, "did you mean 'enable_custom_adapters'"),
    ({"json_serializer": 3}, r"\['json_serializer'\] must be a callable .*not 3"),
    ({"sniff_text": "yes"}, r"\['sniff_text'\] must be True or False"),
    (
        {"enable_custom_adapters": False, "json_serializer": str},
        r"'json_serializer'\] is .*so 'enable_custom_adapters' must be True",
    ),
    ({"default_transaction_mode": "LAZY"}, r"'DEFERRED', 'IMMEDIATE', 'EXCLUSIVE', not 'LAZY'"),
    ({"custom_functions": {"name": "f"}}, r"\['custom_functions'\] must be a list"),
    ({"custom_functions": [{"name": "f", "narg": 1}]}, r"\['custom_functions'\]\[0\] needs 'func'"),
    (
        {"custom_functions": [{"name": "f", "narg": 1, "func": len, "pure": 1}]},
        r"\[0\] has the unknown key 'pure'",
    ),
    (
        {"custom_functions": [{"name": "f", "narg": "1", "func": len}]},
        r"\[0\]\['narg'\] must be an int of -1 or more, not '1'",
    ),
    ({"custom_collations": [{"name": "c", "func": 1}]}, r"\[0\]\['func'\] must be a callable"),
    (
        {"custom_aggregates": [{"name": "a", "narg": 1, "aggregate_class": int}]},
        r"must be a class with step, finalize",
    ),
    ({"progress_handler_interval": 5}, r"there must be a 'progress_handler'"),
    ({"row_factory": "list"}, r"'row', 'dict', 'tuple', or a callable"),
    ({"extensions": "one.so"}, r"\['extensions'\] must be a list of paths"),
    ({"pragmas": {"x": object()}}, r"\['pragmas'\]: pragmas\['x'\] must be a str"),
    ({"on_connection_create": "hook"}, r"\['on_connection_create'\] must be a callable"),
    ({"enable_events": True}, r"unknown key 'enable_events'"),
]


@pytest.mark.parametrize(("given", "message"), CONNECTION_MISTAKES)
def test_mistakes_in_connection_config(given: Any, message: str) -> None:
    with pytest.raises(ImproperConfigurationError, match=message) as caught:
        AiosqliteConfig(connection_config=given)
    assert str(caught.value).startswith("connection_config")
    assert isinstance(caught.value, (LoopliteError, ValueError))


@pytest.mark.parametrize(("given", "message"), FEATURE_MISTAKES)
def test_mistakes_in_driver_features(given: Any, message: str) -> None:
    with pytest.raises(ImproperConfigurationError, match=message) as caught:
        AiosqliteConfig(driver_features=given)
    assert str(caught.value).startswith("driver_features")


def test_mistakes_around_them() -> None:
    with pytest.raises(ImproperConfigurationError, match="two names for one thing"):
        AiosqliteConfig(connection_config={}, pool_config={})
    with pytest.raises(
        ImproperConfigurationError, match="extension_config has the unknown key 'x'"
    ):
        AiosqliteConfig(extension_config={"x": {}})
    with pytest.raises(
        ImproperConfigurationError, match=r"extension_config\['adk'\] must be a map"
    ):
        AiosqliteConfig(extension_config={"adk": 1})
    with pytest.raises(ImproperConfigurationError, match="bind_key must be a str, not 3"):
        AiosqliteConfig(bind_key=3)  # type: ignore[arg-type]
    with pytest.raises(ImproperConfigurationError, match="connection_config must be a mapping"):
        AiosqliteConfig(connection_config="x.db")  # type: ignore[arg-type]
    with pytest.raises(
        ImproperConfigurationError,
        match=r"'group_commit'\] is True, so driver_features\['on_connection_create'\] must be absent, not <",
    ):
        AiosqliteConfig(
            connection_config={"group_commit": True},
            driver_features={"on_connection_create": asyncio.sleep},
        )
    with pytest.raises(TypeError, match="unexpected keyword"):
        AiosqliteConfig(statement_config=None)  # type: ignore[call-arg]


# ---- defaults and effects -----------------------------------------------------------------------


def test_defaults_are_the_documented_ones() -> None:
    found = AiosqliteConfig().connection_config
    assert found.pop("pragmas") == ()
    assert found == {
        "database": "file::memory:?cache=shared",
        "timeout": 5.0,
        "detect_types": 0,
        "isolation_level": None,
        "check_same_thread": False,
        "cached_statements": 128,
        "uri": True,
        "iter_chunk_size": 64,
        "pool_size": 5,
        "min_size": 0,
        "connect_timeout": 30.0,
        "idle_timeout": 86400.0,
        "operation_timeout": 10.0,
        "health_check_interval": 30.0,
        "group_commit": False,
        "inline": True,
        "enable_optimizations": True,
        "enable_foreign_keys": True,
    }


@pytest.mark.parametrize("key", ["database", "db", "path", "file"])
@pytest.mark.parametrize("form", [str, Path, lambda path: str(path).encode()])
def test_names_of_the_database(run: Run, path: Path, key: str, form: Any) -> None:
    config = AiosqliteConfig(connection_config={key: form(path)})
    with_session(run, config, lambda session: session.execute("CREATE TABLE t(x)"))
    assert path.exists()


def test_pool_config_is_another_name(run: Run, path: Path) -> None:
    config = AiosqliteConfig(pool_config={"database": path, "pool_size": 3})
    assert config.connection_config["pool_size"] == 3


def test_extra_holds_more_of_the_same(path: Path) -> None:
    config = AiosqliteConfig(connection_config={"database": path, "extra": {"pool_size": 3}})
    assert config.connection_config["pool_size"] == 3


def test_a_uri_is_one_by_itself_and_may_be_read_only(run: Run, path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t(x)")
    db.close()
    config = AiosqliteConfig(connection_config={"database": f"file:{path}?mode=ro"})

    async def work(session: AiosqliteDriver) -> None:
        assert await session.select("SELECT * FROM t") == []
        with pytest.raises(ReadOnlyError):
            await session.execute("INSERT INTO t VALUES (1)")

    with_session(run, config, work)


def test_uri_false_means_a_file_of_that_name(run: Run, path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(path.parent)
    config = AiosqliteConfig(connection_config={"database": "file:odd", "uri": False})
    with_session(run, config, lambda session: session.execute("CREATE TABLE t(x)"))
    assert (path.parent / "file:odd").exists()


async def pragma(session: AiosqliteDriver, name: str) -> Any:
    return await session.select_value(f"PRAGMA {name}")


def test_what_a_file_is_opened_with(run: Run, path: Path) -> None:
    config = AiosqliteConfig(connection_config={"database": path})

    async def work(session: AiosqliteDriver) -> None:
        assert await pragma(session, "journal_mode") == "wal"
        assert await pragma(session, "foreign_keys") == 1
        assert await pragma(session, "synchronous") == 2  # FULL: what is answered is durable

    with_session(run, config, work)


def test_optimizations_and_foreign_keys_off(run: Run, path: Path) -> None:
    config = AiosqliteConfig(
        connection_config={
            "database": path,
            "enable_optimizations": False,
            "enable_foreign_keys": False,
        }
    )

    async def work(session: AiosqliteDriver) -> None:
        assert await pragma(session, "journal_mode") == "delete"
        assert await pragma(session, "foreign_keys") == 0

    with_session(run, config, work)


def test_pragmas_of_both_places_the_features_win(run: Run, path: Path) -> None:
    config = AiosqliteConfig(
        connection_config={
            "database": path,
            "pragmas": {"journal_mode": "truncate", "synchronous": "off", "cache_size": -100},
        },
        driver_features={"pragmas": {"synchronous": "normal", "foreign_keys": False}},
    )

    async def work(session: AiosqliteDriver) -> None:
        assert await pragma(session, "journal_mode") == "truncate"
        assert await pragma(session, "synchronous") == 1
        assert await pragma(session, "cache_size") == -100
        assert await pragma(session, "foreign_keys") == 0

    with_session(run, config, work)


def test_a_pragma_that_fails_fails_the_opening(run: Run, path: Path) -> None:
    config = AiosqliteConfig(connection_config={"database": path, "pragmas": {"x.y": 1}})

    async def work(session: AiosqliteDriver) -> None:
        with pytest.raises(OperationalError, match=r"PRAGMA x.y=1: .*unknown database x"):
            await session.execute("SELECT 1")

    with_session(run, config, work)


def test_timeout_is_how_long_a_lock_is_waited_for(run: Run, path: Path) -> None:
    config = AiosqliteConfig(connection_config={"database": path, "timeout": 0.05})

    async def work(session: AiosqliteDriver) -> None:
        await session.execute("CREATE TABLE t(x)")
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked"):
            await session.execute("INSERT INTO t VALUES (1)")
        blocker.execute("ROLLBACK")
        blocker.close()
        await session.execute("INSERT INTO t VALUES (1)")

    with_session(run, config, work)


def test_detect_types(run: Run, path: Path) -> None:
    sqlite3.register_converter("point", lambda raw: tuple(map(int, raw.split(b";"))))
    config = AiosqliteConfig(
        connection_config={"database": path, "detect_types": sqlite3.PARSE_DECLTYPES}
    )

    async def work(session: AiosqliteDriver) -> None:
        await session.execute("CREATE TABLE t(p point)")
        await session.execute("INSERT INTO t VALUES ('3;4')")
        assert await session.select("SELECT p FROM t") == [{"p": (3, 4)}]
        async with session.transaction():
            assert await session.select_value("SELECT p FROM t") == (3, 4)

    with_session(run, config, work)


@pytest.mark.parametrize("level", ["DEFERRED", "immediate"])
def test_isolation_level_begins_transactions(run: Run, path: Path, level: Any) -> None:
    """With one, a statement that writes begins a transaction, which the session's end undoes."""
    config = AiosqliteConfig(connection_config={"database": path, "isolation_level": level})

    async def main() -> None:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(x)")
            await session.execute("INSERT INTO t VALUES (1)")
            assert is_open(session)
            await session.commit()
            assert not is_open(session)
            await session.execute("INSERT INTO t VALUES (2)")
            await session.rollback()
        async with config.provide_session() as session:
            assert await session.select("SELECT x FROM t") == [{"x": 1}]
        await config.close_pool()

    run(main)


def test_pool_size_and_min_size(run: Run, path: Path) -> None:
    config = AiosqliteConfig(
        connection_config={"database": path, "pool_size": 2, "min_size": 2, "connect_timeout": 0.01}
    )

    async def main() -> None:
        await config.create_pool()
        while config.stats()["idle"] < 2:  # opened by itself
            await asyncio.sleep(0)
        async with config.provide_connection(), config.provide_connection():
            assert config.stats()["size"] == 2
            with pytest.raises(PoolExhaustedError, match="2") as caught:
                async with config.provide_connection():
                    pass
            assert isinstance(caught.value, TimeoutError)
            assert "test_config.py" in str(caught.value)  # where they were taken
        async with config.provide_connection():
            pass
        await config.close_pool()

    run(main)


def test_iter_chunk_size_reaches_the_connections(run: Run, path: Path) -> None:
    config = AiosqliteConfig(connection_config={"database": path, "iter_chunk_size": 7})

    async def main() -> None:
        async with config.provide_connection() as connection:
            assert connection._iter_chunk_size == 7
        await config.close_pool()

    run(main)


def test_inline_false_runs_nothing_on_the_loop(run: Run, path: Path) -> None:
    async def reads(inline: bool) -> int:
        config = AiosqliteConfig(connection_config={"database": path, "inline": inline})
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE IF NOT EXISTS t(x)")
            for _ in range(5):
                await session.select("SELECT x FROM t")
            before = looplite.stats()["inline_hits"]
            for _ in range(20):
                await session.select("SELECT x FROM t")
            hits: int = looplite.stats()["inline_hits"] - before
        await config.close_pool()
        return hits

    assert run(reads, False) == 0


def test_max_workers_is_the_processes(path: Path) -> None:
    script = """
import asyncio, sys, looplite
from looplite.adapters.aiosqlite import AiosqliteConfig
async def main():
    config = AiosqliteConfig(connection_config={"database": sys.argv[1], "max_workers": 3})
    async with config.provide_session() as session:
        await session.execute("SELECT 1")
    print(looplite.engine_info()["max_workers"])
    await config.close_pool()
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SCRIPT_SECONDS,
    )
    assert (done.stdout, done.stderr) == ("3\n", "")


# ---- driver_features ----------------------------------------------------------------------------


class Longest:
    """An aggregate, and a window function."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def step(self, text: str) -> None:
        self.seen.append(text)

    def inverse(self, text: str) -> None:
        self.seen.remove(text)

    def value(self) -> str:
        return max(self.seen, key=len)

    finalize = value


def test_functions_collations_aggregates(run: Run, path: Path) -> None:
    threads = []

    def double(number: int) -> int:
        threads.append(threading.get_ident())
        return number * 2

    features: dict[str, Any] = {
        "custom_functions": [
            {"name": "double", "narg": 1, "func": double, "deterministic": True},
        ],
        "custom_collations": [
            {"name": "by_length", "func": lambda a, b: len(a) - len(b)},
        ],
        "custom_aggregates": [{"name": "longest", "narg": 1, "aggregate_class": Longest}],
    }
    if sys.version_info >= (3, 11) and sqlite3.sqlite_version_info >= (3, 25):
        features["custom_window_functions"] = [
            {"name": "longest_so_far", "narg": 1, "window_class": Longest}
        ]
    config = AiosqliteConfig(connection_config={"database": path}, driver_features=features)

    async def work(session: AiosqliteDriver) -> None:
        await session.execute("CREATE TABLE t(x)")
        await session.execute_many("INSERT INTO t VALUES (?)", ["aaa", "b", "cc"])
        for _ in range(3):
            assert await session.select_value("SELECT double(21)") == 42
        rows = await session.select("SELECT x FROM t ORDER BY x COLLATE by_length")
        assert [row["x"] for row in rows] == ["b", "cc", "aaa"]
        assert await session.select_value("SELECT longest(x) FROM t") == "aaa"
        if "custom_window_functions" in features:
            rows = await session.select(
                "SELECT longest_so_far(x) OVER (ORDER BY rowid) AS l FROM t"
            )
            assert [row["l"] for row in rows] == ["aaa", "aaa", "aaa"]

    with_session(run, config, work)
    assert threading.get_ident() not in threads


def test_functions_of_shared_statements_run_in_the_context_of_their_task(run: Run) -> None:
    import contextvars

    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

    async def answer() -> str:
        await asyncio.sleep(0)
        return who.get()

    config = AiosqliteConfig(
        driver_features={
            "custom_functions": [
                {"name": "who", "narg": 0, "func": who.get},
                {"name": "who_async", "narg": 0, "func": answer},
            ]
        }
    )

    async def work(session: AiosqliteDriver) -> None:
        who.set("me")
        assert await session.select_one("SELECT who() AS w, who_async() AS a") == {
            "w": "me",
            "a": "me",
        }

    with_session(run, config, work)


def test_hooks(run: Run, path: Path) -> None:
    traced: list[str] = []
    progressed: list[int] = []
    asked: list[Any] = []

    def authorize(*what: Any) -> int:
        asked.append(what)
        return sqlite3.SQLITE_OK

    config = AiosqliteConfig(
        connection_config={"database": path},
        driver_features={
            "trace_callback": traced.append,
            "progress_handler": lambda: progressed.append(1),
            "progress_handler_interval": 10,
            "authorizer_callback": authorize,
        },
    )

    async def work(session: AiosqliteDriver) -> None:
        await session.execute("CREATE TABLE t(x)")
        await session.select(
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100) SELECT * FROM c"
        )

    with_session(run, config, work)
    assert "CREATE TABLE t(x)" in traced
    assert progressed
    assert any(what[0] == sqlite3.SQLITE_CREATE_TABLE and what[1] == "t" for what in asked)


def test_row_factory_is_of_raw_connections(run: Run, path: Path) -> None:
    def factory_of(choice: Any) -> Any:
        config = AiosqliteConfig(
            connection_config={"database": path}, driver_features={"row_factory": choice}
        )

        async def main() -> tuple[Any, Any]:
            async with config.provide_session() as session:
                row = await session.select_one("SELECT 1 AS a")
            async with config.provide_connection() as connection:
                cursor = await connection.execute("SELECT 1 AS a")
                raw = await cursor.fetchone()
            await config.close_pool()
            return row, raw

        return run(main)

    assert factory_of("tuple") == ({"a": 1}, (1,))
    assert factory_of("dict") == ({"a": 1}, {"a": 1})
    assert factory_of(lambda cursor, row: ["made", *row]) == ({"a": 1}, ["made", 1])
    row, raw = factory_of("row")
    assert (row, type(raw), raw["a"]) == ({"a": 1}, sqlite3.Row, 1)


def test_text_factory(run: Run, path: Path) -> None:
    config = AiosqliteConfig(
        connection_config={"database": path}, driver_features={"text_factory": bytes}
    )

    async def work(session: AiosqliteDriver) -> None:
        assert await session.select_value("SELECT 'plain'") == b"plain"
        async with session.transaction():
            assert await session.select_value("SELECT 'plain'") == b"plain"

    with_session(run, config, work)


def test_adapters_and_how_they_are_turned_off(run: Run, path: Path) -> None:
    stamp = datetime.datetime(2024, 5, 6, 7, 8, 9, 10)

    def found(**features: Any) -> Any:
        config = AiosqliteConfig(connection_config={"database": path}, driver_features=features)

        async def work(session: AiosqliteDriver) -> Any:
            return await session.select_one("SELECT '[1,2]' AS j, ? AS t", stamp.isoformat())

        return with_session(run, config, work)

    assert found() == {"j": [1, 2], "t": stamp}
    assert found(sniff_text=False) == {"j": "[1,2]", "t": stamp.isoformat()}
    assert found(enable_custom_adapters=False) == {"j": "[1,2]", "t": stamp.isoformat()}


def test_json_functions_of_ones_own(run: Run, path: Path) -> None:
    config = AiosqliteConfig(
        connection_config={"database": path},
        driver_features={
            "json_serializer": lambda value: f"<{value!r}>",
            "json_deserializer": lambda text: ("read", text),
        },
    )

    async def work(session: AiosqliteDriver) -> None:
        await session.execute("CREATE TABLE t(doc JSON)")
        await session.execute("INSERT INTO t VALUES (?)", {"a": 1})
        assert await session.select_value("SELECT doc FROM t") == ("read", "<{'a': 1}>")

    with_session(run, config, work)


def test_on_connection_create_is_awaited_once_for_each(run: Run, path: Path) -> None:
    made = []

    async def prepare(connection: Any) -> None:
        made.append(connection)
        await connection.execute("CREATE TEMP TABLE mine(x)")
        await asyncio.sleep(0)

    config = AiosqliteConfig(
        connection_config={"database": path, "pool_size": 2},
        driver_features={"on_connection_create": prepare},
    )

    async def main() -> None:
        for _ in range(3):
            async with config.provide_session() as session:
                assert await session.select("SELECT * FROM mine") == []
        await config.close_pool()

    run(main)
    assert made


def test_on_connection_create_that_fails(run: Run, path: Path) -> None:
    tries = []

    async def prepare(connection: Any) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("not yet")

    config = AiosqliteConfig(
        connection_config={"database": path, "pool_size": 1},
        driver_features={"on_connection_create": prepare},
    )

    async def main() -> None:
        async with config.provide_session() as session:
            for _ in range(2):
                with pytest.raises(RuntimeError, match="not yet"):
                    await session.execute("SELECT 1")
            assert await session.select_value("SELECT 1") == 1
        await config.close_pool()

    run(main)


def test_extensions_that_are_not_there(run: Run, path: Path) -> None:
    if not hasattr(sqlite3.Connection, "load_extension"):
        pytest.skip("this Python loads no extensions")
    config = AiosqliteConfig(
        connection_config={"database": path}, driver_features={"extensions": ["/nowhere/x.so"]}
    )

    async def work(session: AiosqliteDriver) -> None:
        with pytest.raises(OperationalError, match="nowhere"):
            await session.execute("SELECT 1")

    with_session(run, config, work)


# ---- memory databases ---------------------------------------------------------------------------


def test_which_configurations_share_a_memory_database(run: Run) -> None:
    async def seen_by(first: Any, second: Any) -> bool:
        one, two = (
            AiosqliteConfig(connection_config={"database": name} if name else None)
            for name in (first, second)
        )
        async with one.provide_session() as session:
            await session.execute("CREATE TABLE only_here(x)")
            async with two.provide_session() as other:
                rows = await other.select("SELECT 1 FROM sqlite_master WHERE name = 'only_here'")
        await one.close_pool()
        await two.close_pool()
        return bool(rows)

    shared = "file::memory:?cache=shared"
    assert run(seen_by, shared, shared)
    assert run(seen_by, "file:a?mode=memory", "file:a?mode=memory")
    assert not run(seen_by, "file:a?mode=memory", "file:b?mode=memory")
    assert not run(seen_by, ":memory:", ":memory:")
    assert not run(seen_by, None, None)
    assert not run(seen_by, shared, None)


def test_memory_lives_as_long_as_the_pool(run: Run) -> None:
    config = AiosqliteConfig()

    async def main() -> None:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(x)")
        async with config.provide_session() as session:
            assert await session.select("SELECT * FROM t") == []
        await config.close_pool()
        async with config.provide_session() as session:
            with pytest.raises(OperationalError, match="no such table"):
                await session.select("SELECT * FROM t")
        await config.close_pool()

    run(main)


def test_gather_on_a_memory_database_is_in_order(run: Run) -> None:
    """As SQLSpec's documentation shows it: a statement waits for the writes asked before it."""
    config = AiosqliteConfig()

    async def main() -> None:
        async with config.provide_session() as session:
            for i in range(50):
                _, rows = await asyncio.gather(
                    session.execute(f"CREATE TABLE t{i}(x)"), session.select(f"SELECT * FROM t{i}")
                )
                assert rows == []

        async def create() -> None:
            async with config.provide_session() as one:
                await one.execute("CREATE TABLE other(x)")

        async def select() -> Any:
            async with config.provide_session() as another:
                return await another.select("SELECT * FROM other")

        assert (await asyncio.gather(create(), select()))[1] == []
        await config.close_pool()

    run(main)


# ---- the pool of a configuration ----------------------------------------------------------------


def test_the_pool_is_made_on_first_use_and_again(run: Run, path: Path) -> None:
    config = AiosqliteConfig(connection_config={"database": path})

    async def main() -> None:
        assert the_pool_of(config) is None
        assert config.stats() == {}
        async with config.provide_session() as session:
            assert config.stats()["size"] == 0
            await session.execute("SELECT 1")
            assert config.stats()["size"] == 1
        first: Any = config.pool_instance
        assert first is await config.create_pool()
        await config.close_pool()
        assert is_closed(first)
        await config.close_pool()  # again: nothing
        async with config.provide_session() as session:
            await session.execute("SELECT 1")
        assert the_pool_of(config) not in (None, first)
        await config.close_pool()

    run(main)


def test_one_configuration_in_loop_after_loop(path: Path) -> None:
    config = AiosqliteConfig(connection_config={"database": path})

    async def main() -> int:
        async with config.provide_session() as session:
            return int(await session.select_value("SELECT 7"))

    assert [asyncio.run(main()) for _ in range(3)] == [7, 7, 7]
    asyncio.run(config.close_pool())


def test_a_pool_that_is_dropped_warns(run: Run, path: Path) -> None:
    async def main() -> None:
        config = AiosqliteConfig(connection_config={"database": path})
        async with config.provide_session() as session:
            await session.execute("SELECT 1")

    with pytest.warns(
        ResourceWarning, match=r"Pool of .*test.db.* was deleted before being closed"
    ):
        run(main)
        gc.collect()


def test_a_program_that_does_not_close_its_pool_ends(path: Path) -> None:
    script = """
import asyncio, sys
from looplite.adapters.aiosqlite import AiosqliteConfig
config = AiosqliteConfig(connection_config={"database": sys.argv[1]})
async def main():
    async with config.provide_session() as session:
        await session.execute("CREATE TABLE t(x)")
        await session.execute("INSERT INTO t VALUES (1)")
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SCRIPT_SECONDS,
    )
    assert done.returncode == 0
    assert done.stderr.count("was deleted before being closed") == 1, done.stderr
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT x FROM t").fetchall() == [(1,)]
    db.close()


def test_integrity_errors_are_both(run: Run, path: Path) -> None:
    config = AiosqliteConfig(connection_config={"database": path})

    async def work(session: AiosqliteDriver) -> None:
        await session.execute("CREATE TABLE t(x PRIMARY KEY)")
        for cls in (sqlite3.IntegrityError, looplite.IntegrityError, IntegrityError):
            with pytest.raises(cls):
                await session.execute("INSERT INTO t VALUES (1), (1)")

    with_session(run, config, work)
