"""What a type checker is to make of the calls: checked by mypy and by pyright, and run as a test
(test_typed.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import looplite
from looplite import aiosqlite
from typing_extensions import assert_type


async def use() -> str:
    db = looplite.connect(":memory:")
    assert_type(db, looplite.Connection)
    assert_type(await db, looplite.Connection)
    assert_type(await db.execute("SELECT 1"), looplite.Cursor)
    call = db.execute("SELECT 1", (1,) if False else ())
    assert_type(call, looplite.Result[looplite.Cursor])
    as_coroutine: Coroutine[Any, Any, looplite.Cursor] = call
    cursor = await asyncio.create_task(as_coroutine)
    assert_type(cursor, looplite.Cursor)
    assert_type(await cursor.execute("SELECT :x", {"x": 1}), looplite.Cursor)
    assert_type(await cursor.fetchmany(2), list[Any])
    assert_type(cursor.rowcount, int)
    assert_type(cursor.lastrowid, int | None)
    async with db.execute("SELECT 1") as entered:
        assert_type(entered, looplite.Cursor)
        async for row in entered:
            assert row == (1,)
    async with db.cursor() as made:
        assert_type(made, looplite.Cursor)
    assert_type(await db.execute_fetchall("SELECT 1"), list[Any])
    both = await asyncio.gather(db.execute("SELECT 1"), db.commit())
    assert_type(both[0], looplite.Cursor)
    assert_type(await db._execute(len, "abc"), int)
    db.row_factory = looplite.Row
    db.isolation_level = None
    db.text_factory = bytes
    await db.close()
    assert_type(db.closed, bool)
    async with aiosqlite.connect(":memory:") as other:
        assert_type(other, looplite.Connection)
        stopped = other.stop()
        if stopped is not None:
            await stopped
    return "done"
