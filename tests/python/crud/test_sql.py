"""Names and texts: what is quoted stays one name, whatever it contains."""

from __future__ import annotations

import asyncio
import sqlite3

import looplite
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from looplite.crud import (
    delete,
    get_table_info,
    insert,
    insert_many,
    order_by,
    quote_identifier,
    table_exists,
    update,
    upsert,
)
from looplite.crud.sql import statements, verb

relaxed = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True
)

# Pieces of attacks, put together in any order: quotes of all kinds, comments, ends of statements.
piece = st.sampled_from(
    (
        *('"', "'", "`", "[", "]", ";", "--", "/*", "*/", "(", ")", ",", ".", " ", "\n", "%", "?"),
        *("DROP TABLE victim", "SELECT", "secret", "VALUES", "WHERE 1=1", "ON CONFLICT", ":a"),
        *("x", "é", "😀"),
    )
)
name = st.one_of(
    st.lists(piece, min_size=1, max_size=8).map("".join),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
)
# SQLite keeps names that begin like this for itself.
usable = name.filter(lambda n: not n.lower().startswith("sqlite_"))


def same(one: str, other: str) -> bool:
    """Whether SQLite takes two names for one."""
    db = sqlite3.connect(":memory:")
    try:
        return bool(db.execute("SELECT ? = ? COLLATE NOCASE", (one, other)).fetchone()[0])
    finally:
        db.close()


async def victim() -> looplite.Connection:
    db = await looplite.connect(":memory:")
    await db.executescript(
        "CREATE TABLE victim(id INTEGER PRIMARY KEY, secret TEXT);"
        "INSERT INTO victim VALUES (1, 'kept'), (2, 'kept')"
    )
    return db


async def unharmed(db: looplite.Connection) -> None:
    assert await db.execute_fetchall("SELECT name FROM sqlite_master") == [("victim",)]
    assert await db.execute_fetchall("SELECT * FROM victim") == [(1, "kept"), (2, "kept")]


@relaxed
@given(usable, usable)
def test_a_wild_name_is_a_name(table: str, column: str) -> None:
    """A table and a column with the name are made, filled, changed and read by the helpers."""

    async def main() -> None:
        async with looplite.connect(":memory:") as db:
            quoted, c = quote_identifier(table), quote_identifier(column)
            await db.execute(f"CREATE TABLE {quoted}({c} PRIMARY KEY)")
            assert await table_exists(db, table)
            assert [info["name"] for info in await get_table_info(db, table)] == [column]
            await insert(db, table, {column: 1})
            assert await insert_many(db, table, [{column: 2}, {column: 3}]) == 2
            assert await update(db, table, {column: 7}, f"{c} = ?", (1,)) == 1
            await upsert(db, table, {column: 7}, [column])
            assert await delete(db, table, f"{c} = :gone", {"gone": 2}) == 1
            sql = f"SELECT {c} FROM {quoted} {order_by('-' + column)}"
            assert await db.execute_fetchall(sql) == [(7,), (3,)]

    asyncio.run(main())


@relaxed
@given(name)
def test_a_wild_name_that_is_not_there_is_an_error(wild: str) -> None:
    """Whatever the name contains, nothing is executed but the statement that fails."""
    if any(same(wild, known) for known in ("victim", "id", "secret", "rowid", "oid", "_rowid_")):
        return
    if wild.lower().startswith("sqlite_"):
        return

    async def main() -> None:
        db = await victim()
        try:
            for call in (
                insert(db, wild, {"id": 1}),
                insert(db, "victim", {wild: 1}),
                insert(db, "victim", {"id": 9, wild: 1}),
                insert_many(db, wild, [{"id": 1}]),
                insert_many(db, "victim", [{"id": 9, wild: 1}]),
                upsert(db, wild, {"id": 1, "secret": "x"}, ["id"]),
                upsert(db, "victim", {"id": 1, wild: "x"}, ["id"]),
                upsert(db, "victim", {"id": 1, wild: "x"}, [wild]),
                update(db, wild, {"secret": "x"}, "id = ?", (1,)),
                update(db, "victim", {wild: "x"}, "id = ?", (1,)),
                update(db, "victim", {wild: "x"}, "id = :id", {"id": 1}),
                delete(db, wild, "id = ?", (1,)),
            ):
                with pytest.raises(sqlite3.OperationalError, match=r"no such table|column|syntax"):
                    await call
            assert not await table_exists(db, wild)
            assert await get_table_info(db, wild) == []
            # A double-quoted name that is no column would be a text here, and sort by nothing.
            order = order_by(wild if not wild.startswith("-") else "-" + wild)
            with pytest.raises(sqlite3.OperationalError, match="no such column"):
                await db.execute(f"SELECT * FROM victim {order}")
            await db.rollback()
            await unharmed(db)
        finally:
            await db.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("given_name", "error", "message"),
    [
        ("", ValueError, "is empty"),
        ("a\0b", ValueError, "null character"),
        ("\ud800", ValueError, "no text"),
        (3, TypeError, "must be a str, not int"),
        (None, TypeError, "must be a str, not NoneType"),
        (b"t", TypeError, "must be a str, not bytes"),
    ],
)
def test_what_is_no_name(given_name: object, error: type[Exception], message: str) -> None:
    bad: str = given_name  # type: ignore[assignment]

    async def main() -> None:
        db = await victim()
        try:
            for call in (
                insert(db, bad, {"id": 1}),
                upsert(db, bad, {"id": 1}, ["id"]),
                update(db, bad, {"id": 1}, "1"),
                delete(db, bad, "1"),
                table_exists(db, bad),
                get_table_info(db, bad),
                insert(db, "victim", {bad: 1}),
            ):
                with pytest.raises(error, match=message):
                    await call
            await unharmed(db)
        finally:
            await db.close()

    asyncio.run(main())
    for function in (quote_identifier, order_by):
        with pytest.raises(error, match=message):
            function(bad)


def test_order_by() -> None:
    assert order_by("year") == "ORDER BY `year`"
    assert order_by("-year", "ti`tle") == "ORDER BY `year` DESC, `ti``tle`"
    with pytest.raises(ValueError, match="needs the name"):
        order_by()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("insert into t values (1)", "INSERT"),
        ("  -- insert\n /* delete */ REPLACE INTO t VALUES (1)", "REPLACE"),
        ("UPDATE t SET a = 'INSERT'", "UPDATE"),
        ("WITH a AS (SELECT 1), b(insert_, x) AS (DELETE) INSERT INTO t SELECT * FROM a", "INSERT"),
        ('WITH "insert" AS (SELECT 1) SELECT * FROM "insert"', "SELECT"),
        ("WITH RECURSIVE c(x) AS (VALUES (1)) DELETE FROM t", "DELETE"),
        ("/* never closed", ""),
        ("'text'", ""),
        ("", ""),
        ("CREATE TABLE t(x)", "CREATE"),
    ],
)
def test_verb(sql: str, expected: str) -> None:
    assert verb(sql) == expected


def test_statements_of_a_script() -> None:
    trigger = (
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN\n"
        "  DELETE FROM t WHERE x = ';'; UPDATE t SET x = 1;\nEND;"
    )
    script = (
        f"-- first; not this\nCREATE TABLE t(x); ;; {trigger} /* ; */ INSERT INTO t VALUES ('a;b')"
    )
    assert statements(script) == [
        "-- first; not this\nCREATE TABLE t(x);",
        trigger,
        "/* ; */ INSERT INTO t VALUES ('a;b')",
    ]
    assert statements(" ; \n -- nothing\n") == []
