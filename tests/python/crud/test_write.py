"""Writes: what they return, that each is whole, and that none commits what is not its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import looplite
import pytest
from crud.conftest import SCHEMA
from looplite.crud import (
    apply_schema,
    delete,
    execute_many_write,
    execute_write,
    fetch_all,
    fetch_scalar,
    insert,
    insert_many,
    transaction,
    update,
    upsert,
)
from support.locks import rows


def test_what_writes_return(run: Callable[..., Any], connect: Callable[..., Any]) -> None:
    async def main() -> None:
        async with connect() as db:
            await apply_schema(db, SCHEMA)
            assert await insert(db, "author", {"name": "Austen"}) == 1
            assert await insert(db, "author", {"id": 40, "name": "Eliot"}) == 40
            write = "INSERT INTO author(name) VALUES (?)"
            assert await execute_write(db, write, ("Gaskell",)) == 41
            assert await execute_write(db, f"/* x */ WITH a AS (SELECT 1) {write}", ("B",)) == 42
            assert await execute_write(db, "INSERT OR IGNORE INTO author(id) VALUES (1)") == 0
            assert (
                await execute_write(
                    db, "REPLACE INTO author VALUES (:id, :n)", {"id": 42, "n": "Burney"}
                )
                == 42
            )
            assert await execute_write(db, "UPDATE author SET name = name || '!'") == 4
            assert await execute_write(db, "UPDATE author SET name = '' WHERE id = 99") == 0
            assert await execute_write(db, "DELETE FROM author WHERE id > ?", (41,)) == 1
            assert await execute_write(db, "CREATE TABLE more(x)") == -1
            many = "INSERT INTO more VALUES (?)"
            assert await execute_many_write(db, many, [(1,), (2,), (3,)]) == 3
            assert await execute_many_write(db, many, ((n,) for n in range(4, 7))) == 3
            assert await execute_many_write(db, many, []) == 0
            assert await execute_many_write(db, "DELETE FROM more WHERE x < ?", [(3,), (4,)]) == 3
            assert await insert_many(db, "more", [{"x": 7}, {"x": 8}]) == 2
            assert await insert_many(db, "more", []) == 0
            assert await update(db, "more", {"x": 0}, "x > ?", (6,)) == 2
            assert await update(db, "more", {"x": 0}, "x > :x", {"x": 100}) == 0
            assert await delete(db, "more", "x = 0") == 2
            assert await insert(db, "author", {"name": None} | {"name": "Edgeworth"}) > 41

    run(main)


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 35), reason="RETURNING is of SQLite 3.35")
def test_returning(connect: Callable[..., Any]) -> None:
    async def main() -> None:
        async with connect() as db:
            await apply_schema(db, "CREATE TABLE t(x)")
            assert await execute_write(db, "INSERT INTO t VALUES (5) RETURNING x") == 1
            sql = "INSERT INTO t VALUES (6), (7) RETURNING x"
            assert await execute_write(db, sql) == 3
            assert await execute_write(db, "UPDATE t SET x = x + 1 RETURNING x") == 3
            assert await fetch_all(db, "SELECT x FROM t") == [(6,), (7,), (8,)]

    asyncio.run(main())


def test_upsert(run: Callable[..., Any], connect: Callable[..., Any]) -> None:
    async def main() -> None:
        async with connect() as db:
            await apply_schema(
                db,
                SCHEMA + "CREATE TABLE pair(a, b, PRIMARY KEY (a, b)) WITHOUT ROWID;"
                "CREATE TABLE plain(k TEXT UNIQUE)",
            )
            await insert(db, "author", {"id": 1, "name": "Austen"})
            book = {"title": "Emma", "author": 1, "year": 1815}
            first = await upsert(db, "book", book, ["author", "title"])
            await insert(db, "book", {"title": "Other", "author": 1})
            again = await upsert(db, "book", {**book, "year": 1816}, ("title", "author"))
            assert first == again == 1
            assert await fetch_all(db, "SELECT year FROM book") == [(1816,), (None,)]
            # Nothing to update: the row is found all the same.
            assert await upsert(db, "plain", {"k": "a"}, ["k"]) == 1
            assert await upsert(db, "plain", {"k": "b"}, ["k"]) == 2
            assert await upsert(db, "plain", {"k": "a"}, ["k"]) == 1
            assert await upsert(db, "pair", {"a": 1, "b": 2}, ["a", "b"]) is None
            assert await fetch_scalar(db, "SELECT count(*) FROM pair") == 1
            with pytest.raises(sqlite3.OperationalError, match="ON CONFLICT"):
                await upsert(db, "book", book, ["title"])
            with pytest.raises(ValueError, match="conflict_cols is empty"):
                await upsert(db, "book", book, [])
            with pytest.raises(ValueError, match="conflict_cols names 'id'"):
                await upsert(db, "book", book, ["id"])
            with pytest.raises(TypeError, match=r"write \['name'\]"):
                await upsert(db, "book", book, "title")

    run(main)


def test_mistakes_have_their_message(connect: Callable[..., Any]) -> None:
    wrong: Any

    async def main() -> None:
        nonlocal wrong
        async with connect() as db:
            await apply_schema(db, SCHEMA)
            for wrong in ("", "  ", "-- x", "/* x */"):
                with pytest.raises(ValueError, match="where is empty"):
                    await delete(db, "author", wrong)
                with pytest.raises(ValueError, match="where is empty"):
                    await update(db, "author", {"name": "x"}, wrong)
            wrong = {"id": 1}
            with pytest.raises(TypeError, match="where must be a str of SQL, not dict"):
                await delete(db, "author", wrong)
            with pytest.raises(ValueError, match="no column to update"):
                await update(db, "author", {}, "1")
            with pytest.raises(ValueError, match="numbered parameter"):
                await update(db, "author", {"name": "x"}, "id = ?1", (1,))
            assert await update(db, "author", {"name": "x"}, "name = '?1'") == 0
            wrong = [("name", "x")]
            with pytest.raises(TypeError, match="must map columns to values, and is list"):
                await insert(db, "author", wrong)
            wrong = {"name": "x"}
            with pytest.raises(TypeError, match="several mappings, not one dict"):
                await insert_many(db, "author", wrong)
            with pytest.raises(TypeError, match="not one dict"):
                await execute_many_write(db, "INSERT INTO author(name) VALUES (:name)", wrong)
            with pytest.raises(ValueError, match="the column 'NAME' is named twice"):
                await insert(db, "author", {"name": "x", "NAME": "y"})
            with pytest.raises(
                ValueError, match=r"row 2 has not the columns .*lacks 'name' and adds"
            ):
                await insert_many(db, "author", [{"name": "a"}, {"name": "b"}, {"nam": "c"}])
            with pytest.raises(ValueError, match=r"row 1 .* it adds 'id'"):
                await insert_many(db, "author", [{"name": "a"}, {"name": "b", "id": 2}])
            wrong = [{"name": "a"}, 5]
            with pytest.raises(TypeError, match="row 1 must map columns to values, and is int"):
                await insert_many(db, "author", wrong)
            assert await fetch_scalar(db, "SELECT count(*) FROM author") == 0
            wrong = ["x"]
            with pytest.raises(TypeError, match="a schema must be a str of SQL, not list"):
                await apply_schema(db, wrong)

    asyncio.run(main())


def test_names_of_where_and_data_may_be_alike(connect: Callable[..., Any]) -> None:
    async def main() -> None:
        async with connect() as db:
            await apply_schema(db, "CREATE TABLE t(set_0, b); INSERT INTO t VALUES (1, 2)")
            where = {"set_0": 1, "set_1": 2}
            sql = "set_0 = :set_0 AND b = :set_1"
            assert await update(db, "t", {"set_0": 8, "b": 9}, sql, where) == 1
            assert await fetch_all(db, "SELECT * FROM t") == [(8, 9)]

    asyncio.run(main())


def test_insert_of_defaults() -> None:
    async def main() -> None:
        async with looplite.connect(":memory:") as db:
            await apply_schema(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, x DEFAULT 4)")
            assert [await insert(db, "t", {}), await insert(db, "t", {})] == [1, 2]
            assert await insert_many(db, "t", [{}, {}]) == 2
            assert await fetch_scalar(db, "SELECT sum(x) FROM t") == 16

    asyncio.run(main())


def failing() -> Iterator[dict[str, Any]]:
    yield {"name": "a"}
    yield {"name": "b"}
    raise LookupError("no more")


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a transaction"])
def test_many_rows_are_all_or_none(
    run: Callable[..., Any], connect: Callable[..., Any], inside: bool
) -> None:
    async def main() -> None:
        async with connect() as db:
            await apply_schema(db, SCHEMA)
            if inside:
                await db.execute("BEGIN")
                await insert(db, "author", {"name": "before"})
            twice = [{"name": "a"}, {"name": "b"}, {"name": "a"}]
            with pytest.raises(sqlite3.IntegrityError):
                await insert_many(db, "author", twice)
            with pytest.raises(sqlite3.IntegrityError):
                await execute_many_write(
                    db, "INSERT INTO author(name) VALUES (?)", [("a",), (None,)]
                )
            with pytest.raises(LookupError):
                await insert_many(db, "author", failing())
            assert db.in_transaction == inside
            assert await fetch_scalar(db, "SELECT count(*) FROM author") == inside
            await db.commit()
            assert await fetch_scalar(db, "SELECT count(*) FROM author") == inside

    run(main)


def test_writes_are_committed_as_the_connection_does(path: Path) -> None:
    """With sqlite3's implicit transactions by commit(), without them at once."""

    async def writes(db: Any) -> None:
        await insert(db, "author", {"name": "a"})
        await insert_many(db, "author", [{"name": "b"}, {"name": "c"}])
        await update(db, "author", {"name": "d"}, "name = 'a'")
        await upsert(db, "author", {"name": "e"}, ["name"])

    async def main() -> None:
        db: Any
        async with looplite.connect(path) as db:
            await apply_schema(db, SCHEMA)
            assert not db.in_transaction
            await insert_many(db, "author", [{"name": "x"}])
            assert db.in_transaction
            await db.rollback()
            await writes(db)
            assert rows(path, "SELECT count(*) FROM author") == [(0,)]
            await db.rollback()
            assert await fetch_scalar(db, "SELECT count(*) FROM author") == 0
        async with looplite.connect(path, isolation_level=None) as db:
            await writes(db)
            assert not db.in_transaction
        assert rows(path, "SELECT count(*) FROM author") == [(4,)]

    asyncio.run(main())


# ---- schemas -------------------------------------------------------------------------------------


def test_a_schema_is_whole_or_absent(run: Callable[..., Any], connect: Callable[..., Any]) -> None:
    async def main() -> None:
        async with connect() as db:
            with pytest.raises(sqlite3.OperationalError, match="syntax"):
                await apply_schema(db, "CREATE TABLE a(x); CREATE TABLE b(x); CREATE TABEL c(x)")
            assert await fetch_scalar(db, "SELECT count(*) FROM sqlite_master") == 0
            async with transaction(db):
                await apply_schema(db, "CREATE TABLE a(x); INSERT INTO a VALUES (1)")
                assert db.in_transaction
                with pytest.raises(sqlite3.OperationalError):
                    await apply_schema(db, "CREATE TABLE b(x); INSERT INTO nothing VALUES (1)")
            assert await fetch_all(db, "SELECT name FROM sqlite_master") == [("a",)]
            await apply_schema(db, "")
            await apply_schema(db, "CREATE TABLE IF NOT EXISTS a(x)")

    run(main)


def test_a_schema_may_begin_with_pragmas(path: Path) -> None:
    async def main() -> None:
        async with looplite.connect(path) as db:
            await apply_schema(
                db,
                "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; CREATE TABLE t(x); "
                "PRAGMA user_version = 7",
            )
            assert await fetch_scalar(db, "PRAGMA journal_mode") == "wal"
            assert await fetch_scalar(db, "PRAGMA foreign_keys") == 1
        assert rows(path, "PRAGMA user_version") == [(7,)]

    asyncio.run(main())


def test_a_dump_is_a_schema(connect: Callable[..., Any]) -> None:
    source = sqlite3.connect(":memory:")
    source.executescript(SCHEMA + "INSERT INTO author VALUES (1, 'it''s; me')")
    dump = "\n".join(source.iterdump())
    source.close()
    assert "BEGIN" in dump

    async def main() -> None:
        async with connect() as db:
            await apply_schema(db, dump)
            assert not db.in_transaction
            assert await fetch_all(db, "SELECT * FROM author") == [(1, "it's; me")]
        async with connect() as db:
            with pytest.raises(ValueError, match="BEGIN without a COMMIT"):
                await apply_schema(db, dump.replace("COMMIT;", ""))
            assert not db.in_transaction
            assert await fetch_scalar(db, "SELECT count(*) FROM sqlite_master") == 0
            with pytest.raises(sqlite3.OperationalError, match="syntax"):
                await apply_schema(db, dump.replace("COMMIT;", "nonsense; COMMIT;"))
            assert not db.in_transaction
            await db.execute("BEGIN")
            with pytest.raises(ValueError, match="one is open on this connection"):
                await apply_schema(db, dump)
            assert db.in_transaction

    asyncio.run(main())
