"""Adapters and the order of conversion, where CPython's own tests of `sqlite3` look closer than
most: adapters for types that need none, parameters that change while they are converted, and a
cursor that is used again by the code that its own call runs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import lib, looplite_only
from support.errors import raised_by

Run = Callable[..., Any]


@pytest.fixture
def registry() -> Iterator[dict[Any, Any]]:
    """sqlite3's adapters, as they were, afterwards."""
    adapters: dict[Any, Any] = sqlite3.adapters
    before = dict(adapters)
    yield adapters
    adapters.clear()
    adapters.update(before)


def expected(sql: str, values: Any) -> Any:
    """What `sqlite3` answers at this moment."""
    connection = sqlite3.connect(":memory:")
    row = connection.execute(sql, values).fetchone()
    connection.close()
    return row


VALUES = (7, "text", 1.5, b"bytes", bytearray(b"array"), None)


@pytest.mark.parametrize("kind", [int, str, float, bytes, bytearray, type(None)])
def test_adapters_of_types_that_need_none(
    run: Run, registry: dict[Any, Any], kind: type[Any]
) -> None:
    """Registered after the first statement and taken away again: each sees what is there."""
    sql = "SELECT ?, ?, ?, ?, ?, ?"

    async def main() -> None:
        async with lib.connect(":memory:") as db:

            async def answer() -> Any:
                return await (await db.execute(sql, VALUES)).fetchone()

            assert await answer() == expected(sql, VALUES)
            sqlite3.register_adapter(kind, lambda value: f"<{value!r}>")
            changed = expected(sql, VALUES)
            assert changed != (7, "text", 1.5, b"bytes", b"array", None)
            assert await answer() == changed
            await db.execute("CREATE TABLE t(a, b, c, d, e, f)")
            await db.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", [VALUES, VALUES])
            assert await (await db.execute("SELECT * FROM t")).fetchall() == [changed] * 2
            named = await db.execute("SELECT :a", {"a": VALUES[0]})
            assert await named.fetchone() == expected("SELECT :a", {"a": VALUES[0]})
            del registry[(kind, sqlite3.PrepareProtocol)]
            assert await answer() == expected(sql, VALUES)

    run(main)


def test_an_adapter_swapped_for_another(run: Run, registry: dict[Any, Any]) -> None:
    """As many adapters as before, and yet others."""

    class Point: ...

    async def main() -> None:
        sqlite3.register_adapter(Point, lambda point: "point")
        async with lib.connect(":memory:") as db:
            assert await (await db.execute("SELECT ?", (Point(),))).fetchone() == ("point",)
            del registry[(Point, sqlite3.PrepareProtocol)]
            sqlite3.register_adapter(int, lambda value: "int")
            assert await (await db.execute("SELECT ?", (1,))).fetchone() == ("int",)

    run(main)


def test_a_list_that_shrinks_while_it_is_converted(run: Run) -> None:
    class Shrinks:
        def __conform__(self, protocol: object) -> str:
            parameters.clear()
            return "..."

    parameters: list[Any] = []

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            parameters[:] = [Shrinks(), 0]
            with pytest.raises(IndexError) as caught:
                await db.execute("SELECT ?, ?", parameters)
            connection = sqlite3.connect(":memory:")
            parameters[:] = [Shrinks(), 0]
            wanted = raised_by(lambda: connection.execute("SELECT ?, ?", parameters))
            connection.close()
            assert str(caught.value) == str(wanted)

    run(main)


def test_a_list_that_changes_while_it_is_converted(run: Run) -> None:
    """Each item is taken when its turn comes."""

    class Changes:
        def __conform__(self, protocol: object) -> str:
            parameters[1] = "new"
            return "first"

    parameters: list[Any] = []

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            parameters[:] = [Changes(), "old"]
            row = await (await db.execute("SELECT ?, ?", parameters)).fetchone()
            parameters[:] = [Changes(), "old"]
            assert row == expected("SELECT ?, ?", parameters) == ("first", "new")

    run(main)


@looplite_only
def test_a_cursor_used_by_its_own_parameters(run: Run) -> None:
    """In a generator that executemany() goes through, and in an adapter that execute() calls."""
    seen: list[str] = []

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            cursor = await db.cursor()
            await cursor.execute("CREATE TABLE t(a)")

            def again() -> None:
                try:
                    cursor.execute("SELECT 1").send(None)
                except sqlite3.ProgrammingError as error:
                    seen.append(str(error))
                    raise

            def rows() -> Iterator[tuple[int]]:
                again()
                yield (1,)

            with pytest.raises(sqlite3.ProgrammingError, match="Recursive use"):
                await cursor.executemany("INSERT INTO t VALUES (?)", rows())

            class Adapts:
                def __conform__(self, protocol: object) -> int:
                    again()
                    return 1

            with pytest.raises(sqlite3.ProgrammingError, match="Recursive use"):
                await cursor.execute("SELECT ?", (Adapts(),))
            await cursor.execute("SELECT 2")
            assert await cursor.fetchone() == (2,)

    run(main)
    assert seen == ["Recursive use of cursors not allowed."] * 2


@looplite_only
def test_a_cursor_initialised_again(run: Run, registry: dict[Any, Any]) -> None:
    """It is new then; but not from inside of its own rows."""

    async def main() -> None:
        async with lib.connect(":memory:", detect_types=sqlite3.PARSE_COLNAMES) as db:
            cursor = await db.cursor()
            await cursor.execute("SELECT 1 UNION SELECT 2")
            cursor.__init__(db)
            assert cursor.description is None
            assert await cursor.fetchall() == []
            sqlite3.register_converter("again", lambda raw: cursor.__init__(db))
            try:
                await cursor.execute('SELECT 1 AS "x [again]"')
                with pytest.raises(sqlite3.ProgrammingError, match="Recursive use"):
                    await cursor.fetchall()
            finally:
                del sqlite3.converters["AGAIN"]

    run(main)


@pytest.mark.parametrize("value", [b"", "", b"x", 0, None])
def test_converters_and_nothing(run: Run, value: Any) -> None:
    """A value of no bytes is None where its column has a converter, as `sqlite3` has it."""
    sqlite3.register_converter("shown", lambda raw: ("shown", raw))

    async def main() -> None:
        types = sqlite3.PARSE_DECLTYPES
        async with lib.connect(":memory:", detect_types=types) as db:
            await db.execute("CREATE TABLE t(a shown, b)")
            await db.execute("INSERT INTO t VALUES (?, ?)", (value, value))
            row = await (await db.execute("SELECT a, b FROM t")).fetchone()
        connection = sqlite3.connect(":memory:", detect_types=types)
        connection.execute("CREATE TABLE t(a shown, b)")
        connection.execute("INSERT INTO t VALUES (?, ?)", (value, value))
        assert row == connection.execute("SELECT a, b FROM t").fetchone()
        connection.close()

    try:
        run(main)
    finally:
        del sqlite3.converters["SHOWN"]
