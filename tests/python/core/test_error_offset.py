"""Exceptions tell where in the SQL the fault is: looplite_offset, in bytes of its UTF-8."""

from __future__ import annotations

import asyncio
import sqlite3
import sys

import pytest
from support import lib, looplite_only

pytestmark = [
    looplite_only,
    pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 38), reason="SQLite does not tell"),
]


async def offset(sql: str, *parameters: object) -> int | None:
    async with lib.connect(":memory:") as db:
        await db.execute("CREATE TABLE t(a UNIQUE)")
        await db.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(sqlite3.Error) as caught:
            await (await db.execute(sql, parameters)).fetchall()
    return getattr(caught.value, "looplite_offset", None)


@pytest.mark.parametrize(
    ("sql", "at"),
    [
        ("SELECT * FORM t", "FORM"),
        ("SELECT a, nope FROM t", "nope"),
        ("SELECT 'é', nope FROM t", "nope"),
        ("SELECT *\nFROM t WHERE nope(a)", "nope"),
    ],
)
def test_what_is_wrong_with_the_text(sql: str, at: str) -> None:
    assert asyncio.run(offset(sql)) == sql.encode().index(at.encode())


def test_what_is_wrong_with_the_values_has_no_place() -> None:
    assert asyncio.run(offset("INSERT INTO t VALUES (?)", 1)) is None
    assert asyncio.run(offset("SELECT ?, ?", 1)) is None
    if sys.version_info >= (3, 11):  # before, it is a sqlite3.Warning
        assert asyncio.run(offset("SELECT 1; SELECT 2")) is None
    assert asyncio.run(offset("SELECT abs(-9223372036854775808)")) is None


def test_the_layer_of_sessions_tells_it_too() -> None:
    pytest.importorskip("looplite.adapters.aiosqlite")
    from looplite.adapters.aiosqlite import AiosqliteConfig

    async def main() -> int | None:
        config = AiosqliteConfig(connection_config={"database": ":memory:"})
        try:
            async with config.provide_session() as session:
                with pytest.raises(sqlite3.Error) as caught:
                    await session.execute("SELECT nope")
        finally:
            await config.close_pool()
        return getattr(caught.value, "looplite_offset", None)

    assert asyncio.run(main()) == len("SELECT ")
