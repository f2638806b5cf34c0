"""What the frameworks share (`looplite.extensions._web`): settings, and a request's work."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx")  # for support.web

from looplite import SQLSpec
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.exceptions import (
    BusyError,
    DroppedWritesWarning,
    ImproperConfigurationError,
    SerializationConflictError,
    TransactionAbortedError,
)
from looplite.extensions._web import (
    PluginBase,
    RequestSession,
    SQLSpecConfig,
    Work,
    state_of,
)
from support.web import idle, until


class Plugin(PluginBase):
    """A plugin of no framework; the real ones differ in where they call this."""

    frameworks = ("fastapi", "starlette")


def config_of(path: Path, **settings: Any) -> AiosqliteConfig:
    settings.setdefault("commit_mode", "autocommit")
    return AiosqliteConfig(
        connection_config={"database": path, "pool_size": 2, "timeout": 0.0},
        extension_config={"starlette": settings},
    )


def make(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE t(x UNIQUE)")
    db.execute("INSERT INTO t VALUES (0)")
    db.commit()
    db.close()


def there(path: Path) -> list[Any]:
    db = sqlite3.connect(path)
    try:
        return [x for (x,) in db.execute("SELECT x FROM t ORDER BY x")]
    finally:
        db.close()


Handler = Callable[[AiosqliteDriver], Any]


async def request(plugin: Plugin, handler: Handler, status: int, method: str = "POST") -> None:
    """One request as a framework does it."""
    async with await plugin.work(method) as work:
        await handler(work.session(plugin.state_for()))
        await work.finish(status)


def run_request(
    path: Path, handler: Handler, status: int = 200, method: str = "POST", **settings: Any
) -> list[Any]:
    """Runs one request on a database with (0,), and gives what is in it then."""
    if not path.exists():
        make(path)

    async def main() -> None:
        plugin = Plugin(config=SQLSpecConfig(configs=[config_of(path, **settings)]))
        async with plugin.pools() as pools:
            try:
                await request(plugin, handler, status, method)
            finally:
                assert pools["db_pool"].stats()["leased"] == 0

    asyncio.run(main())
    return there(path)


async def writes(db: AiosqliteDriver) -> None:
    await db.execute("INSERT INTO t VALUES (1)")
    await db.execute("INSERT INTO t VALUES (2)")


# ---- settings -----------------------------------------------------------------------------------

MODES = {
    "manual": [],
    "autocommit": [200, 201, 204, 299],
    "autocommit_include_redirect": [200, 201, 204, 299, 300, 302, 399],
}
STATUSES = [100, 199, 200, 201, 204, 299, 300, 302, 399, 400, 404, 409, 500, 503]


@pytest.mark.parametrize("mode", list(MODES))
def test_which_statuses_commit(mode: str) -> None:
    config = AiosqliteConfig(extension_config={"starlette": {"commit_mode": mode}})
    state = state_of(config, ("starlette",))
    assert [s for s in STATUSES if state.should_commit(s)] == MODES[mode]
    undone = [] if mode == "manual" else [s for s in STATUSES if s not in MODES[mode]]
    assert [s for s in STATUSES if state.should_rollback(s)] == undone


def test_extra_statuses(path: Path) -> None:
    config = config_of(path, extra_commit_statuses={404}, extra_rollback_statuses=[201])
    state = state_of(config, ("starlette",))
    assert [s for s in (200, 201, 404, 409) if state.should_commit(s)] == [200, 404]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"commit_mod": "manual"}, "unknown key 'commit_mod'"),
        ({"commit_mode": "auto"}, "commit_mode.*must be one of manual, autocommit, .*not 'auto'"),
        ({"session_key": "db session"}, "session_key.*must be a name, not 'db session'"),
        ({"session_key": 5}, "session_key.*must be a name, not 5"),
        ({"extra_commit_statuses": "404"}, "extra_commit_statuses.*must be a set of HTTP statuses"),
        ({"extra_commit_statuses": {42}}, "extra_commit_statuses.*must be a set of HTTP statuses"),
        ({"extra_rollback_statuses": {True}}, "extra_rollback_statuses.*must be a set of HTTP"),
        (
            {"extra_commit_statuses": {404}, "extra_rollback_statuses": {404}},
            "404 is in extra_commit_statuses and in extra_rollback_statuses",
        ),
        ({"disable_di": "yes"}, "disable_di.*must be True or False, not 'yes'"),
        ({"pool_key": "db_session"}, "two things of the plugin have the key 'db_session'"),
    ],
)
def test_settings_that_are_wrong(path: Path, settings: dict[str, Any], said: str) -> None:
    plugin = Plugin(config=SQLSpecConfig(configs=[config_of(path, **settings)]))
    with pytest.raises(ImproperConfigurationError, match=said):
        assert plugin.states


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "takes a registry"),
        ({"sqlspec": SQLSpec(), "config": SQLSpecConfig([])}, "takes a registry"),
        ({"sqlspec": 5}, "must be a looplite.SQLSpec, not 5"),
        ({"config": 5}, "must be a SQLSpecConfig, not 5"),
    ],
    ids=["nothing", "both", "no registry", "no configuration"],
)
def test_plugin_of_something_else(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ImproperConfigurationError, match=said):
        Plugin(**given)


def test_plugin_without_configuration() -> None:
    with pytest.raises(ImproperConfigurationError, match="has no configuration"):
        assert Plugin(SQLSpec()).states


def test_two_configurations_need_their_own_keys(path: Path) -> None:
    plugin = Plugin(config=SQLSpecConfig(configs=[config_of(path), config_of(path)]))
    with pytest.raises(ImproperConfigurationError, match="have the key 'db_session'"):
        assert plugin.states


def test_configuration_by_key(path: Path) -> None:
    first, second = (
        config_of(path),
        config_of(path, session_key="b", connection_key="c", pool_key="d"),
    )
    plugin = Plugin(config=SQLSpecConfig(configs=[first, second]))
    assert plugin.state_for().config is first
    for key in ("b", "c", "d", second):
        assert plugin.state_for(key).config is second
    with pytest.raises(ImproperConfigurationError, match="under 'e'; the session keys are: db_"):
        plugin.state_for("e")


def test_first_framework_that_is_named(path: Path) -> None:
    config = AiosqliteConfig(
        extension_config={"fastapi": {"session_key": "a"}, "starlette": {"session_key": "b"}}
    )
    assert state_of(config, ("fastapi", "starlette")).session_key == "a"
    assert state_of(config, ("starlette",)).session_key == "b"
    assert state_of(config, ("sanic",)).session_key == "db_session"


# ---- a request ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "left"), [(201, [0, 1, 2]), (302, [0]), (404, [0]), (500, [0])])
def test_status_decides(path: Path, status: int, left: list[int]) -> None:
    assert run_request(path, writes, status) == left


def test_redirect_commits_where_that_is_set(path: Path) -> None:
    assert run_request(path, writes, 303, commit_mode="autocommit_include_redirect") == [0, 1, 2]


def test_manual_leaves_it_to_the_handler(path: Path) -> None:
    async def handler(db: AiosqliteDriver) -> None:
        assert type(db) is AiosqliteDriver
        await db.execute("INSERT INTO t VALUES (1)")  # commits by itself
        await db.begin()
        await db.execute("INSERT INTO t VALUES (2)")

    with pytest.warns(DroppedWritesWarning):
        assert run_request(path, handler, 200, commit_mode="manual") == [0, 1]


def test_handler_that_raises(path: Path) -> None:
    async def handler(db: AiosqliteDriver) -> None:
        await writes(db)
        raise LookupError

    make(path)
    with pytest.raises(LookupError):
        run_request(path, handler)
    assert there(path) == [0]


def test_no_answer(path: Path) -> None:
    """The client has left, and the framework just returns."""
    make(path)

    async def main() -> None:
        plugin = Plugin(config=SQLSpecConfig(configs=[config_of(path)]))
        async with plugin.pools(), await plugin.work("POST") as work:
            await writes(work.session(plugin.state_for()))

    asyncio.run(main())
    assert there(path) == [0]


async def writes_many(db: AiosqliteDriver) -> None:
    await db.execute_many("INSERT INTO t VALUES (?)", [(1,), (2,)])


async def writes_in_block(db: AiosqliteDriver) -> None:
    async with db.transaction():
        await writes(db)


async def writes_script(db: AiosqliteDriver) -> None:
    await db.execute_script("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)")


async def writes_in_savepoint(db: AiosqliteDriver) -> None:
    await db.create_savepoint("a")
    await writes(db)
    await db.release_savepoint("a")


async def writes_on_connection(db: AiosqliteDriver) -> None:
    conn = await db.own_connection()
    await conn.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])


async def writes_while_it_streams(db: AiosqliteDriver) -> None:
    async with db.select_stream("SELECT x FROM t") as rows:
        assert [row async for row in rows] == [{"x": 0}]
        await writes(db)


async def writes_at_once(db: AiosqliteDriver) -> None:
    await asyncio.gather(*(db.execute("INSERT INTO t VALUES (?)", x) for x in (1, 2)))


async def writes_after_pragma(db: AiosqliteDriver) -> None:
    await db.execute("PRAGMA cache_size = -1000")
    await writes(db)


async def writes_in_own_transaction(db: AiosqliteDriver) -> None:
    await db.begin("EXCLUSIVE")
    await writes(db)


@pytest.mark.parametrize(
    "handler",
    [
        writes,
        writes_many,
        writes_in_block,
        writes_script,
        writes_in_savepoint,
        writes_on_connection,
        writes_while_it_streams,
        writes_at_once,
        writes_after_pragma,
        writes_in_own_transaction,
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_whatever_writes_first_is_in_the_transaction(
    path: Path, handler: Handler, method: str
) -> None:
    assert run_request(path, handler, 500, method) == [0]
    assert run_request(path, handler, 200, method) == [0, 1, 2]


def test_block_that_fails_inside_a_request_that_does_not(path: Path) -> None:
    async def handler(db: AiosqliteDriver) -> None:
        await db.execute("INSERT INTO t VALUES (1)")
        with suppress(LookupError):
            async with db.transaction():
                await db.execute("INSERT INTO t VALUES (2)")
                raise LookupError

    assert run_request(path, handler) == [0, 1]


def test_commit_in_the_handler(path: Path) -> None:
    """What comes behind it is in another transaction."""

    async def handler(db: AiosqliteDriver) -> None:
        await db.execute("INSERT INTO t VALUES (1)")
        await db.commit()
        await db.execute("INSERT INTO t VALUES (2)")

    assert run_request(path, handler, 500) == [0, 1]


def test_aborted_transaction_is_not_committed(path: Path) -> None:
    """A statement has ended the transaction, and the handler has swallowed its error."""

    async def handler(db: AiosqliteDriver) -> None:
        await db.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(sqlite3.IntegrityError):
            await db.execute("INSERT OR ROLLBACK INTO t VALUES (0)")
        with pytest.raises(TransactionAbortedError):
            await db.execute("INSERT INTO t VALUES (2)")

    make(path)
    with pytest.raises(TransactionAbortedError):
        run_request(path, handler)
    assert there(path) == [0]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_request_without_statements_takes_no_connection(path: Path, method: str) -> None:
    async def handler(db: AiosqliteDriver) -> None:
        assert isinstance(db, RequestSession)
        assert not db.in_transaction

    assert run_request(path, handler, 200, method) == [0]


def test_reading_requests_do_not_wait_for_the_writer(path: Path) -> None:
    """`timeout` is 0 here: one that had to wait for the lock fails."""
    make(path)

    async def main() -> None:
        plugin = Plugin(config=SQLSpecConfig(configs=[config_of(path)]))
        async with plugin.pools(), await plugin.work("POST") as writer:
            await writes(writer.session(plugin.state_for()))
            async with await plugin.work("GET") as reader:
                db = reader.session(plugin.state_for())
                assert await db.select("SELECT x FROM t") == [{"x": 0}]
                assert db.in_transaction
            await writer.finish(200)

    asyncio.run(main())
    assert there(path) == [0, 1, 2]


def test_get_that_writes_on_what_has_changed(path: Path) -> None:
    make(path)

    async def main() -> None:
        plugin = Plugin(config=SQLSpecConfig(configs=[config_of(path)]))
        async with plugin.pools(), await plugin.work("GET") as work:
            db = work.session(plugin.state_for())
            await db.select("SELECT x FROM t")
            await request(plugin, writes, 200)
            with pytest.raises((SerializationConflictError, BusyError)):
                await db.execute("INSERT INTO t VALUES (3)")
            await work.finish(500)

    asyncio.run(main())
    assert there(path) == [0, 1, 2]


def test_after_the_answer_each_statement_is_by_itself(path: Path) -> None:
    make(path)

    async def main() -> None:
        plugin = Plugin(config=SQLSpecConfig(configs=[config_of(path)]))
        async with plugin.pools():
            async with await plugin.work("POST") as work:
                db = work.session(plugin.state_for())
                await db.execute("INSERT INTO t VALUES (1)")
                await work.finish(500)
                await work.finish(200)  # again: nothing
                assert not db.in_transaction
                await db.execute("INSERT INTO t VALUES (2)")
            with pytest.raises(Exception, match="session has ended"):
                await db.execute("INSERT INTO t VALUES (3)")

    asyncio.run(main())
    assert there(path) == [0, 2]


def test_websocket_has_no_transaction(path: Path) -> None:
    make(path)

    async def main() -> None:
        plugin = Plugin(config=SQLSpecConfig(configs=[config_of(path)]))
        async with plugin.pools(), await plugin.work(None) as work:
            await writes(work.session(plugin.state_for()))

    asyncio.run(main())
    assert there(path) == [0, 1, 2]


def test_cancelled_wherever_it_waits(path: Path) -> None:
    """Cancelled after 0, 1, 2, ... turns: whole or absent, and the connection is back."""
    make(path)

    async def main() -> tuple[int, int]:
        plugin = Plugin(config=SQLSpecConfig(configs=[config_of(path)]))
        whole = absent = 0
        async with plugin.pools() as pools:
            turns = finished = 0
            while finished < 3:
                base = turns * 10 + 10

                async def handler(db: AiosqliteDriver, base: int = base) -> None:
                    for x in range(base, base + 3):
                        await db.execute("INSERT INTO t VALUES (?)", x)

                task = asyncio.create_task(request(plugin, handler, 200))
                for _ in range(turns):
                    await asyncio.sleep(0)
                finished += task.done()
                task.cancel()
                await asyncio.wait([task])
                await until(lambda: idle(pools["db_pool"]))
                found = [x for x in there(path) if base <= x < base + 10]
                assert found in ([], [base, base + 1, base + 2])
                if found:
                    whole += 1
                else:
                    assert task.cancelled()
                    absent += 1
                turns += 1
            assert pools["db_pool"].stats()["idle"] == pools["db_pool"].stats()["size"]
        return whole, absent

    whole, absent = asyncio.run(main())
    assert whole >= 3
    assert absent >= 1


def test_two_databases(tmp_path: Path) -> None:
    """One cannot be committed, so the one behind it is not."""
    paths = [tmp_path / "a.db", tmp_path / "b.db"]
    for path in paths:
        make(path)
    keys = {"session_key": "b", "connection_key": "b_connection", "pool_key": "b_pool"}

    async def main(*, fails: bool) -> None:
        configs = [config_of(paths[0]), config_of(paths[1], **keys)]
        plugin = Plugin(config=SQLSpecConfig(configs=configs))
        async with plugin.pools(), await plugin.work("POST") as work:
            first, second = (work.session(state) for state in plugin.states)
            await writes(first)
            await writes(second)
            if fails:
                with pytest.raises(sqlite3.IntegrityError):
                    await first.execute("INSERT OR ROLLBACK INTO t VALUES (0)")
            await work.finish(200)

    with pytest.raises(TransactionAbortedError):
        asyncio.run(main(fails=True))
    assert [there(path) for path in paths] == [[0], [0]]
    asyncio.run(main(fails=False))
    assert [there(path) for path in paths] == [[0, 1, 2], [0, 1, 2]]


def test_disabled_injection_still_closes_the_pool(path: Path) -> None:
    async def main() -> None:
        config = config_of(path, disable_di=True)
        plugin = Plugin(config=SQLSpecConfig(configs=[config]))
        async with plugin.pools() as pools:
            assert (await plugin.work("GET")).states == []
            with pytest.raises(ImproperConfigurationError, match="the session keys are: none"):
                plugin.state_for()
        assert pools["db_pool"].is_closed

    asyncio.run(main())


def test_connection_key_is_awaited(path: Path) -> None:
    async def main() -> None:
        plugin = Plugin(config=SQLSpecConfig(configs=[config_of(path)]))
        async with plugin.pools(), await plugin.work("POST") as work:
            found: dict[str, Any] = {}
            work.attach(found)
            connection = await found["db_connection"]
            assert connection is await found["db_connection"]
            await connection.execute("INSERT INTO t VALUES (1)")
            assert await found["db_session"].select_value("SELECT max(x) FROM t") == 1
            await work.finish(404)

    make(path)
    asyncio.run(main())
    assert there(path) == [0]


def test_driver_of_the_program(path: Path) -> None:
    """`driver_type` of a configuration's subclass is what a request has, too."""

    class Mine(AiosqliteDriver):
        __slots__ = ("noted",)

        async def note(self) -> None:
            self.noted = await self.execute("INSERT INTO t VALUES (1)")

    class MyConfig(AiosqliteConfig):
        driver_type = Mine

    async def main() -> None:
        config = MyConfig(
            connection_config={"database": path},
            extension_config={"starlette": {"commit_mode": "autocommit"}},
        )
        plugin = Plugin(config=SQLSpecConfig(configs=[config]))
        async with plugin.pools(), await Work(plugin.injected).start("POST") as work:
            db = work.session(plugin.state_for())
            assert isinstance(db, Mine)
            await db.note()
            await work.finish(400)

    make(path)
    asyncio.run(main())
    assert there(path) == [0]
