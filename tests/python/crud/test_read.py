"""Questions, on each kind of connection."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import looplite
import pytest
from looplite.crud import (
    fetch_all,
    fetch_one,
    fetch_scalar,
    get_table_info,
    stream,
    table_exists,
)
from support.locks import make, probe, rows

THREE = "SELECT column1 AS x, 'a' AS y FROM (VALUES (1), (2), (3)) WHERE column1 >= "
COUNT = (
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ?) SELECT x FROM c"
)


def dictionary(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def test_fetch(run: Callable[..., Any], connect: Callable[..., Any]) -> None:
    async def main() -> None:
        async with connect() as db:
            sql = THREE
            assert await fetch_all(db, sql + "?", (2,)) == [(2, "a"), (3, "a")]
            assert await fetch_all(db, sql + ":least", {"least": 3}) == [(3, "a")]
            assert await fetch_all(db, sql + "9") == []
            assert await fetch_one(db, sql + "?", [2]) == (2, "a")
            assert await fetch_one(db, sql + "9") is None
            assert await fetch_scalar(db, sql + "?", (3,)) == 3
            assert await fetch_scalar(db, sql + "9") is None
            assert await fetch_scalar(db, sql + "9", default=0) == 0
            assert await fetch_scalar(db, "SELECT NULL", default=0) is None
            assert await fetch_all(db, "SELECT 1", None) == [(1,)]

    run(main)


@pytest.mark.parametrize("factory", [sqlite3.Row, dictionary])
def test_rows_are_those_of_the_connection(connect: Callable[..., Any], factory: Any) -> None:
    async def main() -> None:
        async with connect() as db:
            db.row_factory = factory
            sql = "SELECT 5 AS a, 6 AS b"
            assert dict((await fetch_all(db, sql))[0]) == {"a": 5, "b": 6}
            assert (await fetch_one(db, sql))["b"] == 6
            assert await fetch_scalar(db, sql) == 5
            assert [row["a"] async for row in stream(db, sql)] == [5]
            await db.execute("CREATE TABLE t(x INTEGER PRIMARY KEY, y TEXT NOT NULL DEFAULT 'd')")
            assert await table_exists(db, "t")
            info = await get_table_info(db, "t")
        assert [type(each) for each in info] == [dict, dict]
        assert info[1] == {
            "cid": 1,
            "name": "y",
            "type": "TEXT",
            "notnull": 1,
            "dflt_value": "'d'",
            "pk": 0,
        }
        assert (info[0]["name"], info[0]["pk"]) == ("x", 1)

    asyncio.run(main())


def test_a_text_is_no_parameters() -> None:
    async def main() -> None:
        async with looplite.connect(":memory:") as db:
            for call in (fetch_all, fetch_one, fetch_scalar):
                with pytest.raises(TypeError, match=r"not str; for one value write \(value,\)"):
                    await call(db, "SELECT ?", "a")
            with pytest.raises(TypeError, match="not bytes"):
                stream(db, "SELECT ?", b"a")

    asyncio.run(main())


def test_table_exists() -> None:
    async def main() -> None:
        async with looplite.connect(":memory:") as db:
            await db.executescript(
                "CREATE TABLE Plain(x); CREATE TEMP TABLE passing(x); CREATE VIEW v AS SELECT 1;"
                "CREATE INDEX i ON Plain(x); CREATE VIRTUAL TABLE r USING rtree(id, a, b)"
            )
            for name in ("Plain", "plain", "passing", "r"):
                assert await table_exists(db, name) is True, name
            for name in ("v", "i", "pl_in", "%", "absent"):
                assert await table_exists(db, name) is False, name
            assert await get_table_info(db, "absent") == []

    asyncio.run(main())


@pytest.mark.parametrize("batch_size", [1, 2, 7, 10, 1000])
def test_stream(run: Callable[..., Any], connect: Callable[..., Any], batch_size: int) -> None:
    async def main() -> None:
        async with connect() as db:
            for count in (1, 2, 10, 21):
                found = [x async for (x,) in stream(db, COUNT, (count,), batch_size)]
                assert found == list(range(1, count + 1))
            assert [row async for row in stream(db, "SELECT 1 WHERE 0")] == []

    run(main)


@pytest.mark.parametrize("leave", ["break", "with", "aclose", "raise", "cancel"])
def test_stream_that_is_left_early_ends_its_statement(
    run: Callable[..., Any], path: Path, leave: str
) -> None:
    """In the rollback journal's mode a statement that is open keeps every writer out."""
    numbers = ", ".join(f"({n})" for n in range(5000))
    make(path, f"CREATE TABLE t(x); INSERT INTO t VALUES {numbers}")

    async def some(db: Any) -> None:
        if leave == "break":
            async for _ in stream(db, "SELECT x FROM t", batch_size=2):
                break
        elif leave == "with":
            async with stream(db, "SELECT x FROM t", batch_size=2) as found:
                async for _ in found:
                    break
        elif leave == "aclose":
            found = stream(db, "SELECT x FROM t", batch_size=2)
            assert await found.__anext__() == (0,)
            await found.aclose()
            assert [row async for row in found] == []
        elif leave == "raise":
            with pytest.raises(sqlite3.OperationalError):
                async for _ in stream(db, "SELECT abs(x - 9223372036854775807 - 2) FROM t"):
                    pass
        else:
            async with stream(db, "SELECT x FROM t", batch_size=2) as found:
                async for _ in found:
                    asyncio.current_task().cancel()  # type: ignore[union-attr]
                    await asyncio.sleep(0)

    async def main() -> None:
        async with looplite.connect(path) as db:
            with probe(path) as other:
                task = asyncio.ensure_future(some(db))
                await asyncio.wait([task])
                assert task.cancelled() == (leave == "cancel")
                if not task.cancelled():
                    task.result()
                del task
                gc.collect()
                assert not other.in_use()

    run(main)
    assert rows(path, "SELECT count(*) FROM t") == [(5000,)]


def test_stream_begins_with_its_first_row() -> None:
    async def main() -> None:
        async with looplite.connect(":memory:") as db:
            found = stream(db, "SELECT x FROM t")
            await db.executescript("CREATE TABLE t(x); INSERT INTO t VALUES (8)")
            assert [row async for row in found] == [(8,)]
            with pytest.raises(sqlite3.OperationalError, match="no such table"):
                await stream(db, "SELECT * FROM absent").__anext__()
            with pytest.raises(ValueError, match="at least 1, not 0"):
                stream(db, "SELECT 1", batch_size=0)
            with pytest.raises(TypeError, match="must be an int, not str"):
                stream(db, "SELECT 1", batch_size="2")  # type: ignore[call-overload]

    asyncio.run(main())
