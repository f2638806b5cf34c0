"""The helpers on sessions of a pool: what they give, whose connections they take, whose transaction
they are part of.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from crud.conftest import SCHEMA
from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.crud import (
    ErrorKind,
    apply_schema,
    classify_error,
    delete,
    execute_many_write,
    execute_write,
    fetch_all,
    fetch_one,
    fetch_scalar,
    get_table_info,
    insert,
    insert_many,
    stream,
    table_exists,
    transaction,
    update,
    upsert,
)
from looplite.exceptions import TransactionAbortedError, TransactionError
from support.locks import rows

Run = Callable[..., Any]


@pytest.fixture
def config(tmp_path: Path) -> AiosqliteConfig:
    return AiosqliteConfig(
        connection_config={"database": tmp_path / "a.db", "pool_size": 2, "connect_timeout": 5.0}
    )


@asynccontextmanager
async def opened(config: AiosqliteConfig) -> AsyncIterator[Any]:
    try:
        async with config.provide_session() as session:
            await apply_schema(session, SCHEMA)
            yield session
    finally:
        await config.close_pool()


def count(config: AiosqliteConfig) -> int:
    """What is committed."""
    path: Any = config.connection_config["database"]
    ((found,),) = rows(path, "SELECT count(*) FROM author")
    return int(str(found))


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 35), reason="RETURNING")
def test_what_the_helpers_give(run: Run, config: AiosqliteConfig) -> None:
    async def main() -> None:
        async with opened(config) as db:
            assert await insert(db, "author", {"name": "Austen"}) == 1
            assert await insert(db, "author", {"id": 40, "name": "Eliot"}) == 40
            write = "INSERT INTO author(name) VALUES (?)"
            assert await execute_write(db, write, ("Gaskell",)) == 41
            assert await execute_write(db, f"/* x */ WITH a AS (SELECT 1) {write}", ("B",)) == 42
            assert await execute_write(db, "INSERT OR IGNORE INTO author(id) VALUES (1)") == 0
            replace = "REPLACE INTO author VALUES (:id, :n)"
            assert await execute_write(db, replace, {"id": 42, "n": "Burney"}) == 42
            assert await execute_write(db, "UPDATE author SET name = name || '!'") == 4
            assert await execute_write(db, "DELETE FROM author WHERE id > ?", (41,)) == 1
            assert await execute_write(db, "DELETE FROM author WHERE id = 41 RETURNING id") == 1
            assert await execute_write(db, "CREATE TABLE more(x)") == -1
            many = "INSERT INTO more VALUES (?)"
            assert await execute_many_write(db, many, [(1,), (2,)]) == 2
            assert await execute_many_write(db, many, ([n] for n in range(3, 7))) == 4
            assert await execute_many_write(db, many, []) == 0
            named = "INSERT INTO more VALUES (:x)"
            assert await execute_many_write(db, named, [{"x": 7}, {"x": 8}]) == 2
            assert await insert_many(db, "more", [{"x": 9}, {"x": 10}]) == 2
            assert await update(db, "more", {"x": 0}, "x > ?", (8,)) == 2
            assert await update(db, "more", {"x": 0}, "x > :x", {"x": 100}) == 0
            assert await delete(db, "more", "x = 0") == 2
            assert await fetch_scalar(db, "SELECT count(*) FROM more") == 8
            assert (
                await fetch_scalar(db, "SELECT x FROM more WHERE x = 99", default="none") == "none"
            )
            found = await fetch_all(db, "SELECT id, name FROM author ORDER BY id")
            assert found == [{"id": 1, "name": "Austen!"}, {"id": 40, "name": "Eliot!"}]
            assert await fetch_one(db, "SELECT name FROM author WHERE id = :id", {"id": 40}) == {
                "name": "Eliot!"
            }
            assert await fetch_one(db, "SELECT 1 FROM author WHERE id = ?", [5]) is None

    run(main)


def test_upsert(run: Run, config: AiosqliteConfig) -> None:
    async def main() -> None:
        async with opened(config) as db:
            first = await upsert(db, "author", {"name": "Austen"}, ["name"])
            assert await upsert(db, "author", {"name": "Austen"}, ["name"]) == first == 1
            book = {"title": "Emma", "author": 1, "year": 1815}
            made = await upsert(db, "book", book, ["author", "title"])
            assert await upsert(db, "book", {**book, "year": 1816}, ["author", "title"]) == made
            assert await fetch_scalar(db, "SELECT year FROM book") == 1816
            await execute_write(db, "CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID")
            assert await upsert(db, "w", {"k": "a", "v": 1}, ["k"]) is None
            assert await upsert(db, "w", {"k": "a", "v": 2}, ["k"]) is None
            assert await fetch_all(db, "SELECT * FROM w") == [{"k": "a", "v": 2}]

    run(main)


def test_values_are_a_sessions(run: Run, config: AiosqliteConfig) -> None:
    """One that is a dict or a list is a value, JSON, and never a set of parameters."""

    async def main() -> None:
        async with opened(config) as db:
            await execute_write(db, "CREATE TABLE doc(id INTEGER PRIMARY KEY, body JSON)")
            for body in ({"a": 1}, [1, 2], {"id": 7}):
                rowid = await insert(db, "doc", {"body": body})
                assert await fetch_scalar(db, "SELECT body FROM doc WHERE id = ?", (rowid,)) == body
                assert await update(db, "doc", {"body": [body]}, "id = ?", (rowid,)) == 1
            assert await insert_many(db, "doc", [{"body": {"b": 1}}, {"body": []}]) == 2
            assert await fetch_all(db, "SELECT body FROM doc WHERE id > 3") == [
                {"body": {"b": 1}},
                {"body": []},
            ]
            # A mapping is for names, also where there are none.
            for params in ({"a": 1}, {"schema_type": 1}):
                with pytest.raises(sqlite3.ProgrammingError):
                    await execute_write(db, "INSERT INTO doc(body) VALUES (?)", params)
                with pytest.raises(sqlite3.ProgrammingError, match="names"):
                    await execute_many_write(db, "INSERT INTO doc(body) VALUES (?)", [params])
            with pytest.raises(sqlite3.ProgrammingError, match="not str"):
                await execute_many_write(db, "INSERT INTO doc(body) VALUES (?)", ["x"])
            with pytest.raises(TypeError, match="for one value write"):
                await fetch_all(db, "SELECT ?", "x")
            names = {"statement": 1, "schema_type": 2, "chunk_size": 3}
            sql = "SELECT :statement AS a, :schema_type AS b, :chunk_size AS c"
            assert await fetch_one(db, sql, names) == {"a": 1, "b": 2, "c": 3}
            assert [row async for row in stream(db, sql, names)] == [{"a": 1, "b": 2, "c": 3}]

    run(main)


def test_many_rows_are_all_or_none(run: Run, config: AiosqliteConfig) -> None:
    async def main() -> None:
        async with opened(config) as db:
            with pytest.raises(sqlite3.IntegrityError) as caught:
                await insert_many(db, "author", [{"name": "a"}, {"name": "b"}, {"name": "a"}])
            assert classify_error(caught.value) is ErrorKind.DUPLICATE
            assert count(config) == 0

            def broken() -> Any:
                yield {"name": "a"}
                raise RuntimeError("no more")

            with pytest.raises(RuntimeError, match="no more"):
                await insert_many(db, "author", broken())
            with pytest.raises(ValueError, match="row 1 has not the columns"):
                await insert_many(db, "author", [{"name": "a"}, {"id": 1}])
            assert count(config) == 0
            assert await insert_many(db, "author", [{"name": "a"}, {"name": "b"}]) == 2
            assert count(config) == 2

    run(main)


def test_no_helper_makes_a_session_keep_a_connection(run: Run, config: AiosqliteConfig) -> None:
    async def main() -> None:
        async with opened(config) as db:

            def leased() -> int:
                return int(config.stats()["leased"])

            await insert(db, "author", {"name": "a"})
            await upsert(db, "author", {"name": "a"}, ["name"])
            await insert_many(db, "author", [{"name": "b"}, {"name": "c"}])
            assert await table_exists(db, "AUTHOR")
            assert not await table_exists(db, 'author"')
            info = await get_table_info(db, "author")
            async with config.provide_connection() as connection:
                assert info == await get_table_info(connection, "author")
                assert [column["name"] for column in info] == ["id", "name"]
            assert await get_table_info(db, "nothing") == []
            assert await fetch_scalar(db, "SELECT count(*) FROM author") == 3
            assert leased() == 0
            async with transaction(db):
                assert leased() == 1
            async for _ in stream(db, "SELECT * FROM author"):
                assert leased() == 1
            assert leased() == 0
            # With one of its own it sees what is on it.
            await db.execute("CREATE TEMP TABLE mine(x)")
            assert await table_exists(db, "mine")
            assert [column["name"] for column in await get_table_info(db, "mine")] == ["x"]

    run(main)


def test_transactions_nest_and_are_the_sessions_own(run: Run, config: AiosqliteConfig) -> None:
    async def main() -> None:
        async with opened(config) as db:
            async with transaction(db) as same:
                assert same is db
                await insert(db, "author", {"name": "a"})
                with pytest.raises(KeyError):  # noqa: PT012
                    async with transaction(db):
                        await insert(db, "author", {"name": "b"})
                        raise KeyError
                async with transaction(db):
                    await insert_many(db, "author", [{"name": "c"}])
                with pytest.raises(sqlite3.IntegrityError):
                    await insert_many(db, "author", [{"name": "d"}, {"name": "a"}])
                assert count(config) == 0
            assert count(config) == 2
            async with db.transaction():
                async with transaction(db):
                    await insert(db, "author", {"name": "e"})
                await upsert(db, "author", {"name": "f"}, ["name"])
                assert count(config) == 2
            assert count(config) == 4
            with pytest.raises(ZeroDivisionError):  # noqa: PT012
                async with transaction(db):
                    await delete(db, "author", "1")
                    raise ZeroDivisionError
            assert count(config) == 4
            with pytest.raises(ValueError, match="mode must be"):
                async with transaction(db, "immediate; DROP TABLE author"):  # type: ignore[arg-type]
                    pass

    run(main)


def test_a_transaction_that_ended_early_is_told(run: Run, config: AiosqliteConfig) -> None:
    async def main() -> None:
        async with opened(config) as db:
            with pytest.raises(sqlite3.OperationalError, match="ended before"):  # noqa: PT012
                async with transaction(db):
                    await insert(db, "author", {"name": "a"})
                    await execute_write(db, "COMMIT")
            assert not db.in_transaction
            with pytest.raises(TransactionAbortedError):  # noqa: PT012
                async with transaction(db):
                    await insert(db, "author", {"name": "b"})
                    with pytest.raises(sqlite3.IntegrityError):
                        await execute_write(db, "INSERT OR ROLLBACK INTO author(name) VALUES ('a')")
            assert not db.in_transaction
            assert count(config) == 1

    run(main)


def test_another_task_is_kept_out(run: Run, config: AiosqliteConfig) -> None:
    async def main() -> None:
        async with opened(config) as db:
            inside = asyncio.Event()

            async def one() -> None:
                async with transaction(db):
                    inside.set()
                    await asyncio.sleep(0)
                    with pytest.raises(TransactionError):
                        await task
                    await insert(db, "author", {"name": "a"})

            async def two() -> None:
                await inside.wait()
                await insert(db, "author", {"name": "b"})

            task = asyncio.ensure_future(two())
            await one()
            assert count(config) == 1

    run(main)


def test_a_cancelled_block_is_undone(run: Run, config: AiosqliteConfig) -> None:
    async def main() -> None:
        async with opened(config) as db:

            async def block() -> None:
                async with transaction(db):
                    await insert(db, "author", {"name": "a"})
                    asyncio.current_task().cancel()  # type: ignore[union-attr]
                    await asyncio.sleep(0)

            with pytest.raises(asyncio.CancelledError):
                await asyncio.ensure_future(block())
            assert not db.in_transaction
            assert count(config) == 0
            assert await insert(db, "author", {"name": "a"}) == 1

    run(main)


def test_a_schema_is_whole_or_absent(run: Run, config: AiosqliteConfig) -> None:
    async def main() -> None:
        async with opened(config) as db:
            with pytest.raises(sqlite3.OperationalError):
                await apply_schema(db, "CREATE TABLE a(x); CREATE TABLE b(x); CREATE TABEL c(x)")
            assert not await table_exists(db, "a")
            await apply_schema(db, "BEGIN; CREATE TABLE a(x); INSERT INTO a VALUES (1); COMMIT")
            assert await fetch_scalar(db, "SELECT x FROM a") == 1
            with pytest.raises(sqlite3.IntegrityError):
                await apply_schema(
                    db, "BEGIN; DELETE FROM a; INSERT INTO author VALUES (1, NULL); COMMIT"
                )
            with pytest.raises(ValueError, match="leaves a transaction open"):
                await apply_schema(db, "BEGIN; DELETE FROM a")
            async with transaction(db):
                with pytest.raises(ValueError, match="one is open"):
                    await apply_schema(db, "BEGIN; DELETE FROM a; COMMIT")
            assert await fetch_scalar(db, "SELECT count(*) FROM a") == 1

    run(main)


def test_rows_one_by_one(run: Run, config: AiosqliteConfig) -> None:
    async def main() -> None:
        async with opened(config) as db:
            await insert_many(db, "author", ({"name": f"n{n}"} for n in range(100)))
            got = []
            async with stream(db, "SELECT name FROM author WHERE id > ?", (10,), 7) as found:
                async for row in found:
                    got.append(row["name"])
                    if len(got) == 20:
                        break
            assert got == [f"n{n}" for n in range(10, 30)]
            assert config.stats()["leased"] == 0
            wrong: list[Any] = [0, True, "7"]
            for size in wrong:
                with pytest.raises((TypeError, ValueError), match="batch_size must be"):
                    stream(db, "SELECT 1", (), size)

    run(main)


NAMES = [
    'author"; DROP TABLE author; --',
    "author; DROP TABLE author",
    "author(name) VALUES ('x'); --",
    "main.author",
    "'author'",
    "author--",
    "(SELECT 1)",
    "`author`",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_sql(run: Run, config: AiosqliteConfig, name: str) -> None:
    async def main() -> None:
        async with opened(config) as db:
            await insert(db, "author", {"name": "a"})
            calls: list[Any] = [
                insert(db, name, {"name": "x"}),
                insert(db, "author", {name: "x"}),
                insert_many(db, name, [{"name": "x"}]),
                insert_many(db, "author", [{name: "x"}]),
                upsert(db, name, {"name": "x"}, ["name"]),
                upsert(db, "author", {"name": "x", name: 1}, ["name"]),
                upsert(db, "author", {name: "x"}, [name]),
                update(db, name, {"name": "x"}, "1"),
                update(db, "author", {name: "x"}, "1"),
                delete(db, name, "1"),
            ]
            for call in calls:
                with pytest.raises(sqlite3.OperationalError, match=r"no such|no column"):
                    await call
            assert not await table_exists(db, name)
            assert await get_table_info(db, name) == []
            assert await fetch_all(db, "SELECT name FROM author") == [{"name": "a"}]

    run(main)
