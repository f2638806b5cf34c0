"""The session: statements, answers, rows, transactions, savepoints, streams."""
# ruff: noqa: E501, PT012, PT031

from __future__ import annotations

import asyncio
import dataclasses
import gc
import sqlite3
import sys
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver, SQLResult
from looplite.exceptions import (
    BusyError,
    DroppedWritesWarning,
    InterfaceError,
    MultipleResultsFoundError,
    NotFoundError,
    ProgrammingError,
    TransactionAbortedError,
    TransactionError,
    UniqueViolationError,
)
from support.locks import probe

Run = Callable[..., Any]
Work = Callable[[AiosqliteDriver], Awaitable[Any]]

SCHEMA = """
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT UNIQUE, amount INT DEFAULT 0);
INSERT INTO item(name, amount) VALUES ('apple', 3), ('pear', 5), ('fig', 8);
"""


@pytest.fixture
def session(run: Run, path: Path) -> Callable[[Work], Any]:
    """Runs `work(session)` on a file with three items."""

    def call(work: Work, **settings: Any) -> Any:
        async def main() -> Any:
            config = AiosqliteConfig(connection_config={"database": path, **settings})
            try:
                async with config.provide_session() as session:
                    await session.execute_script(SCHEMA)
                    return await work(session)
            finally:
                await config.close_pool()

        return run(main)

    return call


Session = Callable[..., Any]


def is_open(session: AiosqliteDriver) -> bool:
    return session.in_transaction


async def names(session: AiosqliteDriver) -> list[str]:
    return [row["name"] for row in await session.select("SELECT name FROM item ORDER BY id")]


# ---- answers ------------------------------------------------------------------------------------


def test_an_answer_is_awaited_or_asked(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        sql = "SELECT id, name FROM item WHERE id = ?"
        apple = {"id": 1, "name": "apple"}
        result = await s.execute(sql, 1)
        assert isinstance(result, SQLResult)
        assert (result.one(), result.all(), result.first()) == (apple, [apple], apple)
        assert (result.one_or_none(), result.scalar(), result.scalar_or_none()) == (apple, 1, 1)
        assert await s.execute(sql, 1).one() == apple
        assert await s.execute(sql, 1).all() == [apple]
        assert await s.execute(sql, 1).first() == apple
        assert await s.execute(sql, 1).one_or_none() == apple
        assert await s.execute(sql, 1).scalar() == 1
        assert await s.execute(sql, 1).scalar_or_none() == 1
        assert await s.execute(sql, 9).one_or_none() is None
        assert await s.execute(sql, 9).first() is None
        assert await s.execute(sql, 9).scalar_or_none() is None
        assert await s.execute(sql, 9).all() == []

    session(work)


def test_too_few_and_too_many(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        none, many = "SELECT id FROM item WHERE id > 9", "SELECT id FROM item"
        for ask in ("one", "scalar"):
            with pytest.raises(NotFoundError, match="no row where one is needed: SELECT id"):
                await getattr(s.execute(none), ask)()
        for ask in ("one", "scalar", "one_or_none", "scalar_or_none"):
            with pytest.raises(MultipleResultsFoundError, match="3 rows where one is needed"):
                await getattr(s.execute(many), ask)()
        for method in (s.select_one, s.select_value):
            with pytest.raises(NotFoundError):
                await method(none)
            with pytest.raises(MultipleResultsFoundError):
                await method(many)
        assert await s.select_one_or_none(none) is None
        assert await s.select_value_or_none(none) is None

    session(work)


def test_answers_are_coroutines(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        answer = s.execute("SELECT 1 AS a")
        assert asyncio.iscoroutine(answer)
        task = asyncio.create_task(answer)
        assert (await task).one() == {"a": 1}
        results = await asyncio.gather(*(s.execute("SELECT ? AS a", i) for i in range(5)))
        assert [r.one()["a"] for r in results] == list(range(5))
        assert (await asyncio.wait_for(s.execute("SELECT 2 AS a"), 30)).one() == {"a": 2}
        with pytest.raises(RuntimeError, match="already awaited"):
            await answer
        s.execute("SELECT 3").close()  # given up: no warning

    session(work)


def test_an_answer_that_nobody_awaits_warns(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        with pytest.warns(RuntimeWarning, match="was never awaited"):
            s.execute("INSERT INTO item(name) VALUES ('never')")
            gc.collect()
        assert "never" not in await names(s)

    session(work)


def test_what_a_result_tells(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        rows = await s.execute("SELECT name, amount FROM item ORDER BY id")
        assert (len(rows), rows.num_rows, rows.get_count(), rows.rows_affected) == (3, 3, 3, 3)
        assert rows.column_names == ["name", "amount"]
        assert rows.num_columns == 2
        assert [row["name"] for row in rows] == ["apple", "pear", "fig"]
        assert rows[1] == {"name": "pear", "amount": 5}
        assert rows.get_data() == rows.all() == rows.data
        assert rows.get_first() == {"name": "apple", "amount": 3}
        assert rows.operation_type == "SELECT"
        assert rows.last_inserted_id is None
        assert rows.is_success()
        assert not rows.is_empty()
        assert rows  # however many rows there are
        assert "3 rows" in repr(rows)
        made = await s.execute("INSERT INTO item(name) VALUES ('kiwi'), ('lime')")
        assert (made.rows_affected, made.last_inserted_id, made.was_inserted()) == (2, 5, True)
        assert (made.all(), made.is_empty(), made.get_affected_count()) == ([], True, 2)
        changed = await s.execute("UPDATE item SET amount = 1 WHERE id < 3")
        assert (changed.rows_affected, changed.was_updated(), changed.was_deleted()) == (
            2,
            True,
            False,
        )
        assert changed.last_inserted_id is None
        gone = await s.execute("DELETE FROM item WHERE id > 3")
        assert (gone.rows_affected, gone.was_deleted()) == (2, True)
        nothing = await s.execute("UPDATE item SET amount = 1 WHERE id = 99")
        assert (nothing.rows_affected, nothing.was_updated()) == (0, False)
        empty = await s.execute("SELECT name FROM item WHERE id = 99")
        assert (empty.column_names, empty.is_empty(), list(empty)) == (["name"], True, [])

    session(work)


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 35), reason="RETURNING")
def test_returning_gives_rows_and_counts(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        made = await s.execute(
            "INSERT INTO item(name) VALUES ('kiwi'), ('lime') RETURNING id, name"
        )
        assert made.all() == [{"id": 4, "name": "kiwi"}, {"id": 5, "name": "lime"}]
        assert (made.rows_affected, made.last_inserted_id) == (2, 5)

    session(work)


def test_two_columns_of_one_name(session: Session) -> None:
    """A dict has one place for a name: the last one wins, as in dict(zip(...))."""

    async def work(s: AiosqliteDriver) -> None:
        result = await s.execute("SELECT 1 AS a, 2 AS a")
        assert result.column_names == ["a", "a"]
        assert result.one() == {"a": 2}

    session(work)


# ---- parameters ---------------------------------------------------------------------------------


def test_parameters(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        two = "SELECT ? AS a, ? AS b"
        assert await s.select_one(two, 1, "x") == {"a": 1, "b": "x"}
        assert await s.select_one(two, (1, "x")) == {"a": 1, "b": "x"}
        assert await s.select_one(two, [1, "x"]) == {"a": 1, "b": "x"}
        named = "SELECT :a AS a, @b AS b, $c AS c"
        assert await s.select_one(named, {"a": 1, "b": 2, "c": 3}) == {"a": 1, "b": 2, "c": 3}
        assert await s.select_one(named, a=1, b=2, c=3) == {"a": 1, "b": 2, "c": 3}
        assert await s.select_one(named, {"a": 1, "b": 2}, c=3) == {"a": 1, "b": 2, "c": 3}
        assert await s.select_value("SELECT ?", None) is None
        # A mapping without a name to fill is a value, and so is whatever stands beside others.
        assert await s.select_value("SELECT ?", {"k": [1]}) == {"k": [1]}
        assert await s.select_one(two, {"k": 1}, [2]) == {"a": {"k": 1}, "b": [2]}
        # What looks like a placeholder inside a text or a comment is none.
        assert await s.select_one("SELECT ':x' AS a, ? AS b -- :y", {"k": 1}) == {
            "a": ":x",
            "b": {"k": 1},
        }
        with pytest.raises(TypeError, match="by position or by name, not both"):
            await s.execute(two, 1, b=2)
        with pytest.raises(ProgrammingError, match="Incorrect number of bindings"):
            await s.execute(two, 1)
        with pytest.raises(TypeError, match="a statement must be a str, not bytes"):
            await s.execute(b"SELECT 1")  # type: ignore[arg-type]

    session(work)


def test_a_value_that_cannot_be_stored(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        refused = ProgrammingError if sys.version_info >= (3, 11) else InterfaceError
        with pytest.raises(refused, match=r"parameter [01]"):  # as sqlite3 counts
            await s.execute("SELECT ?", object())
        with pytest.raises(OverflowError):
            await s.execute("SELECT ?", 2**70)

    session(work)


# ---- many, scripts ------------------------------------------------------------------------------


def test_execute_many(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        done = await s.execute_many(
            "INSERT INTO item(name, amount) VALUES (?, ?)", [("a", 1), ["b", 2]]
        )
        assert done.rows_affected == 2
        await s.execute_many("INSERT INTO item(name) VALUES (:n)", ({"n": n} for n in "cd"))
        await s.execute_many("INSERT INTO item(name) VALUES (?)", ["e", "f"])
        await s.execute_many("INSERT INTO item(name) VALUES (?)", [])
        assert await names(s) == ["apple", "pear", "fig", *"abcdef"]
        assert not is_open(s)

    session(work)


def test_execute_many_is_whole_or_absent(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        rows = [("a",), ("b",), ("apple",), ("c",)]
        with pytest.raises(UniqueViolationError):
            await s.execute_many("INSERT INTO item(name) VALUES (?)", rows)
        assert await names(s) == ["apple", "pear", "fig"]
        async with s.transaction():
            await s.execute("INSERT INTO item(name) VALUES ('before')")
            with pytest.raises(UniqueViolationError):
                await s.execute_many("INSERT INTO item(name) VALUES (?)", rows)
        assert await names(s) == ["apple", "pear", "fig", "before"]

    session(work)


def test_scripts(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        done = await s.execute_script(
            """
            -- a comment; with a semicolon
            CREATE TABLE log(text);
            CREATE TRIGGER logged AFTER INSERT ON item BEGIN
                INSERT INTO log VALUES (new.name || ';');
                INSERT INTO log VALUES ('again');
            END;
            INSERT INTO item(name) VALUES ('semi;colon'), ('two''quotes');
            UPDATE item SET amount = 7 WHERE name = 'fig';;
            INSERT INTO item(name) VALUES ('last')
            """
        )
        assert done.rows_affected == 4
        assert await s.select_value("SELECT count(*) FROM log") == 6
        with pytest.raises(UniqueViolationError):
            await s.execute_script(
                "DELETE FROM log; INSERT INTO item(name) VALUES ('fig'); SELECT 1"
            )
        assert await s.select_value("SELECT count(*) FROM log") == 0  # each is its own
        async with s.transaction():
            with pytest.raises(UniqueViolationError):
                async with s.transaction():
                    await s.execute_script(
                        "INSERT INTO log VALUES (1); INSERT INTO item(name) VALUES ('fig')"
                    )
            assert is_open(s)  # a script commits nothing
        assert await s.select_value("SELECT count(*) FROM log") == 0
        assert (await s.execute_script(" -- nothing\n;")).rows_affected == 0
        with pytest.raises(TypeError, match="a script must be a str"):
            await s.execute_script(None)  # type: ignore[arg-type]

    session(work)


# ---- schema_type --------------------------------------------------------------------------------


@dataclasses.dataclass
class Item:
    id: int
    name: str


def test_schema_type(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        sql = "SELECT id, name FROM item ORDER BY id"
        apple = Item(1, "apple")
        assert (await s.select(sql, schema_type=Item))[0] == apple
        assert await s.select_one(f"{sql} LIMIT 1", schema_type=Item) == apple
        assert await s.select_one_or_none(f"{sql} LIMIT 1", schema_type=Item) == apple
        assert await s.select_one_or_none(f"{sql} LIMIT 0", schema_type=Item) is None
        assert await s.execute(sql).first(schema_type=Item) == apple
        assert (await s.execute(sql).all(schema_type=Item))[2] == Item(3, "fig")
        async for item in s.select_stream(sql, schema_type=Item):
            assert item == apple
            break

    session(work)


# ---- which connection ---------------------------------------------------------------------------


def test_a_session_has_no_connection_until_it_needs_one(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        with pytest.raises(TransactionError, match="no connection of its own"):
            _ = s.connection
        await s.execute("INSERT INTO item(name) VALUES ('x')")
        assert not is_open(s)
        with pytest.raises(TransactionError):
            _ = s.connection
        await s.begin()
        assert s.connection.in_transaction
        await s.commit()
        with pytest.raises(TransactionError):
            _ = s.connection
        own = await s.own_connection()
        assert own is s.connection
        await s.begin()
        await s.rollback()
        assert s.connection is own

    session(work)


@pytest.mark.parametrize(
    "sql",
    [
        "PRAGMA cache_size = -50",
        "CREATE TEMP TABLE mine(x)",
        "ATTACH ':memory:' AS other",
        "/* a comment */ CREATE TEMPORARY VIEW mine AS SELECT 1",
    ],
)
def test_what_is_set_stays_for_the_session_and_goes_with_it(run: Run, path: Path, sql: str) -> None:
    config = AiosqliteConfig(connection_config={"database": path, "pool_size": 1})

    async def state(session: AiosqliteDriver) -> tuple[Any, ...]:
        return (
            await session.select_value("PRAGMA cache_size"),
            await session.select_value("SELECT count(*) FROM sqlite_temp_master"),
            len(await session.select("PRAGMA database_list")),
        )

    async def main() -> None:
        async with config.provide_session() as session:
            before = await state(session)
        async with config.provide_session() as session:
            await session.execute(sql)
            await session.execute("SELECT 1")
            async with session.transaction():
                pass
            assert await state(session) != before
        async with config.provide_session() as session:
            assert await state(session) == before
        await config.close_pool()

    run(main)


def test_last_insert_rowid_is_the_sessions_own(session: Session) -> None:
    """Also where the statement before it ran on another connection."""

    async def work(s: AiosqliteDriver) -> None:
        async def asked() -> Any:
            alone = await s.select_one("SELECT last_insert_rowid()")
            both = await s.select_one(
                "SELECT last_insert_rowid() + 0 AS id, changes() AS n, 'changes()' AS text"
            )
            assert alone == {"last_insert_rowid()": both["id"]}
            assert both["text"] == "changes()"
            return both["id"], both["n"]

        made = await s.execute("INSERT INTO item(name) VALUES ('x'), ('y')")
        assert await asked() == (made.last_inserted_id, 2)
        await s.execute("UPDATE item SET amount = 1 WHERE id < 4")
        assert await asked() == (made.last_inserted_id, 3)
        assert await s.select_value("select CHANGES ( ) ;") == 3
        async with s.transaction():
            assert await asked() == (made.last_inserted_id, 3)
            inner = await s.execute("INSERT INTO item(name) VALUES ('z')")
            assert await asked() == (inner.last_inserted_id, 1)
            assert await s.select_value("SELECT total_changes()") >= 1
        assert await asked() == (inner.last_inserted_id, 1)
        await s.execute("INSERT INTO item(name, amount) VALUES ('w', last_insert_rowid())")
        assert (
            await s.select_value("SELECT amount FROM item WHERE name = 'w'")
            == inner.last_inserted_id
        )
        with pytest.raises(ProgrammingError, match="inside a transaction"):
            await s.select_value("SELECT total_changes()")

    session(work)


def test_a_session_on_a_connection_of_ones_own(run: Run, path: Path) -> None:
    import looplite

    async def main() -> None:
        async with looplite.connect(path, isolation_level=None) as connection:
            session = AiosqliteDriver(connection)
            await session.execute("CREATE TABLE t(x)")
            await session.execute("INSERT INTO t VALUES (?)", {"a": 1})
            async with session.transaction():
                await session.execute("INSERT INTO t VALUES (2)")
            assert await session.select("SELECT x FROM t") == [{"x": {"a": 1}}, {"x": 2}]
            assert session.connection is connection
            # The layer below stays as it was.
            cursor = await connection.execute("SELECT x FROM t")
            assert await cursor.fetchall() == [('{"a":1}',), (2,)]

    run(main)
    with pytest.raises(TypeError, match="of a connection, or of a configuration"):
        AiosqliteDriver()


def test_a_session_that_has_ended(session: Session) -> None:
    ended: list[AiosqliteDriver] = []

    async def work(s: AiosqliteDriver) -> None:
        ended.append(s)

    session(work)

    async def later() -> None:
        with pytest.raises(TransactionError, match="the session has ended"):
            await ended[0].execute("SELECT 1")

    asyncio.run(later())


# ---- transactions -------------------------------------------------------------------------------


def test_a_block_is_committed_or_undone(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        async with s.transaction() as inner:
            assert inner is s
            await s.execute("INSERT INTO item(name) VALUES ('kept')")
        with pytest.raises(ZeroDivisionError):
            async with s.transaction():
                await s.execute("INSERT INTO item(name) VALUES ('undone')")
                _ = 1 / 0
        assert await names(s) == ["apple", "pear", "fig", "kept"]
        assert not is_open(s)

    session(work)


def test_blocks_in_blocks_are_savepoints(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        async with s.transaction():
            await s.execute("INSERT INTO item(name) VALUES ('outer')")
            with pytest.raises(KeyError):
                async with s.transaction():
                    await s.execute("INSERT INTO item(name) VALUES ('inner')")
                    async with s.transaction():
                        await s.execute("INSERT INTO item(name) VALUES ('innermost')")
                    raise KeyError
            async with s.transaction():
                await s.execute("INSERT INTO item(name) VALUES ('second')")
        assert await names(s) == ["apple", "pear", "fig", "outer", "second"]

    session(work)


def test_a_block_in_an_open_transaction_leaves_it_open(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        await s.begin()
        async with s.transaction():
            await s.execute("INSERT INTO item(name) VALUES ('x')")
        assert is_open(s)
        await s.rollback()
        assert await names(s) == ["apple", "pear", "fig"]

    session(work)


def test_begin_commit_rollback(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        await s.commit()
        await s.rollback()  # nothing is open: nothing happens
        await s.begin()
        await s.begin()  # it is open already
        await s.execute("INSERT INTO item(name) VALUES ('a')")
        await s.commit()
        await s.begin("DEFERRED")
        await s.execute("INSERT INTO item(name) VALUES ('b')")
        await s.rollback()
        await s.execute("BEGIN EXCLUSIVE")
        await s.execute("INSERT INTO item(name) VALUES ('c')")
        await s.execute("COMMIT")
        assert await names(s) == ["apple", "pear", "fig", "a", "c"]
        with pytest.raises(ValueError, match="mode must be one of DEFERRED, IMMEDIATE, EXCLUSIVE"):
            await s.begin("LATER")

    session(work)


def test_transactions_begin_immediate_unless_told_otherwise(run: Run, path: Path) -> None:
    def locked() -> bool:
        with probe(path) as other:
            return other.write_locked()

    async def main() -> None:
        config = AiosqliteConfig(connection_config={"database": path})
        async with config.provide_session() as s:
            async with s.transaction():
                assert locked()
            async with s.transaction(mode="DEFERRED"):
                assert not locked()
        await config.close_pool()
        config = AiosqliteConfig(
            connection_config={"database": path},
            driver_features={"default_transaction_mode": "deferred"},
        )
        async with config.provide_session() as s:
            async with s.transaction():
                assert not locked()
            await s.begin("immediate")
            assert locked()
            await s.rollback()
        await config.close_pool()

    run(main)


def test_savepoints_by_name(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        async with s.transaction():
            await s.create_savepoint("one")
            await s.execute("INSERT INTO item(name) VALUES ('a')")
            await s.create_savepoint("two")
            await s.execute("INSERT INTO item(name) VALUES ('b')")
            await s.rollback_to_savepoint("two")
            await s.release_savepoint("one")
        assert await names(s) == ["apple", "pear", "fig", "a"]
        for name in ("", "two words", "x; DROP TABLE item", '"q"', "é"):
            with pytest.raises(ValueError, match="name of a savepoint"):
                await s.create_savepoint(name)

    session(work)


def test_a_savepoint_without_a_transaction_opens_one(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        await s.create_savepoint("one")
        await s.execute("INSERT INTO item(name) VALUES ('a')")
        assert is_open(s)
        await s.release_savepoint("one")
        assert not is_open(s)
        assert "a" in await names(s)

    session(work)


def test_durability_is_of_one_transaction(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        await s.own_connection()

        async def synchronous() -> Any:
            return await s.select_value("PRAGMA synchronous")

        assert await synchronous() == 2
        for name, number in (("off", 0), ("normal", 1), ("full", 2), ("extra", 3)):
            async with s.transaction(durability=name):
                assert await synchronous() == number
            assert await synchronous() == 2
        with pytest.raises(ZeroDivisionError):
            async with s.transaction(durability="off"):
                _ = 1 / 0
        assert await synchronous() == 2
        async with s.transaction():
            with pytest.raises(TransactionError, match="durability is that of the whole"):
                async with s.transaction(durability="off"):
                    pass
        with pytest.raises(ValueError, match="durability must be one of off, normal, full, extra"):
            s.transaction(durability="some")

    session(work)


def test_a_transaction_belongs_to_its_task_and_those_it_starts(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def stranger() -> None:
            await begun.wait()
            try:
                with pytest.raises(TransactionError, match="another task has a transaction open"):
                    await s.execute("INSERT INTO item(name) VALUES ('stranger')")
                with pytest.raises(TransactionError, match="another task"):
                    async with s.transaction():
                        pass
            finally:
                may_end.set()

        outside = asyncio.create_task(stranger())
        async with s.transaction():
            begun.set()
            await asyncio.gather(
                *(s.execute("INSERT INTO item(name) VALUES (?)", name) for name in "abc")
            )
            await may_end.wait()
        await outside
        assert sorted(await names(s)) == sorted(["apple", "pear", "fig", *"abc"])
        await s.execute("INSERT INTO item(name) VALUES ('after')")

    session(work)


def test_an_error_that_ends_the_transaction(session: Session) -> None:
    """After it nothing may be written that would then be outside of any transaction."""

    async def work(s: AiosqliteDriver) -> None:
        with pytest.raises(TransactionAbortedError, match="was ended by an error"):
            async with s.transaction():
                await s.execute("INSERT INTO item(name) VALUES ('lost')")
                with pytest.raises(UniqueViolationError):
                    await s.execute("INSERT OR ROLLBACK INTO item(name) VALUES ('fig')")
                with pytest.raises(TransactionAbortedError):
                    await s.execute("INSERT INTO item(name) VALUES ('astray')")
        assert await names(s) == ["apple", "pear", "fig"]
        async with s.transaction():
            await s.execute("INSERT INTO item(name) VALUES ('fine')")
        await s.begin()
        with pytest.raises(UniqueViolationError):
            await s.execute("INSERT OR ROLLBACK INTO item(name) VALUES ('fig')")
        with pytest.raises(TransactionAbortedError):
            await s.commit()
        with pytest.raises(TransactionAbortedError):
            await s.begin()
        await s.rollback()
        await s.execute("INSERT INTO item(name) VALUES ('good')")
        assert await names(s) == ["apple", "pear", "fig", "fine", "good"]

    session(work)


def test_a_block_that_handles_the_error_and_leaves_by_another_one(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        with pytest.raises(KeyError):
            async with s.transaction():
                with pytest.raises(UniqueViolationError):
                    await s.execute("INSERT OR ROLLBACK INTO item(name) VALUES ('fig')")
                raise KeyError
        await s.execute("INSERT INTO item(name) VALUES ('good')")

    session(work)


# ---- running a block again ----------------------------------------------------------------------


def test_retry_runs_the_whole_block_again(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        tries = []
        async for block in s.transaction(retry=3):
            async with block:
                tries.append(1)
                await s.execute("INSERT INTO item(name) VALUES (?)", f"try {len(tries)}")
                if len(tries) < 3:
                    raise BusyError("database is locked")
        assert len(tries) == 3
        assert await names(s) == ["apple", "pear", "fig", "try 3"]

        async def add(inside: AiosqliteDriver) -> int:
            tries.append(1)
            if len(tries) < 5:
                raise BusyError("database is locked")
            result = await inside.execute("INSERT INTO item(name) VALUES ('run')")
            return result.rows_affected

        assert await s.transaction(retry=1).run(add) == 1

    session(work)


def test_retry_gives_up_and_does_not_hide_other_errors(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        tries = []
        with pytest.raises(BusyError, match="always"):
            async for block in s.transaction(retry=2):
                async with block:
                    tries.append(1)
                    raise BusyError("always")
        assert len(tries) == 3
        with pytest.raises(UniqueViolationError):
            async for block in s.transaction(retry=2):
                async with block:
                    tries.append(1)
                    await s.execute("INSERT INTO item(name) VALUES ('fig')")
        assert len(tries) == 4
        with pytest.raises(TypeError, match="cannot be run again"):
            async with s.transaction(retry=1):
                pass
        with pytest.raises(ValueError, match="retry must be how often"):
            s.transaction(retry=-1)
        with pytest.raises(RuntimeError, match="has to enter the block"):
            async for _ in s.transaction(retry=1):
                pass

    session(work)


def test_retry_when_the_snapshot_is_old(run: Run, path: Path) -> None:
    """A DEFERRED transaction read, another one wrote: no timeout helps, running it again does."""

    async def main() -> None:
        config = AiosqliteConfig(connection_config={"database": path})
        async with config.provide_session() as s, config.provide_session() as other:
            await s.execute_script("CREATE TABLE t(n); INSERT INTO t VALUES (0)")
            tries = []
            async for block in s.transaction(mode="DEFERRED", retry=2):
                async with block:
                    tries.append(await s.select_value("SELECT n FROM t"))
                    if len(tries) == 1:
                        await other.execute("UPDATE t SET n = 10")
                    await s.execute("UPDATE t SET n = n + 1")
            assert tries == [0, 10]
            assert await s.select_value("SELECT n FROM t") == 11
        await config.close_pool()

    run(main)


# ---- what is left behind ------------------------------------------------------------------------


def test_writes_that_nobody_committed_warn_and_name_the_statement(run: Run, path: Path) -> None:
    config = AiosqliteConfig(connection_config={"database": path})

    async def main() -> None:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(x)")
        with pytest.warns(DroppedWritesWarning, match=r"the session .*INSERT INTO t VALUES \(1\)"):
            async with config.provide_session() as session:
                await session.begin()
                await session.execute("INSERT INTO t VALUES (1)")
                await session.select("SELECT * FROM t")
        with pytest.warns(
            DroppedWritesWarning, match=r"the connection .*INSERT INTO t VALUES \(2\)"
        ):
            async with config.provide_connection() as connection:
                await connection.execute("BEGIN")
                await connection.execute("INSERT INTO t VALUES (2)")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(KeyError):  # the error says it
                async with config.provide_session() as session:
                    await session.begin()
                    await session.execute("INSERT INTO t VALUES (3)")
                    raise KeyError
            async with config.provide_session() as session:
                await session.begin()
                await session.select("SELECT * FROM t")  # nothing was written
        async with config.provide_session() as session:
            assert await session.select("SELECT * FROM t") == []
        await config.close_pool()

    run(main)


# ---- streams ------------------------------------------------------------------------------------


def test_streams(session: Session) -> None:
    async def work(s: AiosqliteDriver) -> None:
        await s.execute_many("INSERT INTO item(name) VALUES (?)", [f"n{i}" for i in range(2500)])
        found = []
        async with s.select_stream("SELECT name FROM item WHERE id > ?", 3, chunk_size=100) as rows:
            async for row in rows:
                found.append(row["name"])
        assert found == [f"n{i}" for i in range(2500)]
        count = 0
        async for _ in s.select_stream("SELECT * FROM item"):
            count += 1
        assert count == 2503
        with pytest.raises(TransactionError):
            _ = s.connection  # the stream has ended, and with it the lease
        async with s.select_stream("SELECT * FROM item") as rows:
            async for _ in rows:
                break
            assert s.connection
        with pytest.raises(TransactionError):
            _ = s.connection
        with pytest.raises(ValueError, match="chunk_size must be an int of 1 or more, not 0"):
            s.select_stream("SELECT 1", chunk_size=0)
        with pytest.raises(sqlite3.OperationalError):
            async for _ in s.select_stream("SELECT * FROM absent"):
                pass
        with pytest.raises(TransactionError):
            _ = s.connection

    session(work)


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_session_writes_while_its_stream_is_open(
    session: Session, journal: str, group: bool
) -> None:
    """On the stream's own connection: another one would have to wait for the stream to end."""

    async def work(s: AiosqliteDriver) -> None:
        await s.execute_many("INSERT INTO item(name) VALUES (?)", [f"n{i}" for i in range(2000)])
        seen = 0
        async with s.select_stream("SELECT id FROM item WHERE id <= 2000", chunk_size=50) as rows:
            async for row in rows:
                seen += 1
                if row["id"] % 500 == 0:
                    await s.execute("UPDATE item SET amount = 1 WHERE id = ?", row["id"])
                    async with s.transaction():
                        await s.execute("UPDATE item SET amount = 2 WHERE id = ?", row["id"] - 1)
        assert seen == 2000
        assert await s.select_value("SELECT sum(amount) FROM item WHERE id > 3") == 12

    session(work, pragmas={"journal_mode": journal}, group_commit=group)


def test_a_stream_that_outlives_its_session_is_ended(run: Run, path: Path) -> None:
    config = AiosqliteConfig(connection_config={"database": path, "pool_size": 1})

    async def main() -> None:
        async with config.provide_session() as session:
            stream = session.select_stream(
                "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 9999) SELECT x FROM c",
                chunk_size=1,
            )
            assert await stream.__anext__() == {"x": 1}
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()
        async with config.provide_connection():  # the only one came back
            pass
        await config.close_pool()

    run(main)
