"""iterdump(): the text of a database, line by line."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import lib
from support.locks import make
from support.loops import Ticks, caught

Run = Callable[..., Any]
SCHEMA = """
CREATE TABLE "a b"(id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT, b BLOB, r REAL);
INSERT INTO "a b"(t, b, r)
    WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1000)
    SELECT 'it''s ' || x, x'00ff', x / 7.0 FROM c;
CREATE INDEX i ON "a b"(t);
CREATE VIEW v AS SELECT t FROM "a b";
CREATE TRIGGER g AFTER INSERT ON "a b" BEGIN DELETE FROM "a b" WHERE id < 0; END;
CREATE TABLE other(x);
INSERT INTO other VALUES (NULL);
"""


@pytest.fixture
def file(path: Path) -> Path:
    make(path, SCHEMA)
    return path


def dumped(path: Path, **options: Any) -> list[str]:
    plain = sqlite3.connect(path)
    try:
        return list(plain.iterdump(**options))
    finally:
        plain.close()


def test_it_is_sqlite3s(run: Run, file: Path) -> None:
    async def main() -> None:
        async with lib.connect(file) as db, Ticks() as ticks:
            assert [line async for line in db.iterdump()] == dumped(file)
            assert ticks.count > 0
            # Rows do not take the connection's factory.
            db.row_factory = sqlite3.Row
            assert [line async for line in db.iterdump()] == dumped(file)

    run(main)


def test_with_a_filter(run: Run, file: Path) -> None:
    options = {"filter": "other"}
    if "filter" not in str(inspect.signature(sqlite3.Connection.iterdump)):
        pytest.skip("not in this Python")

    async def main() -> None:
        async with lib.connect(file) as db:
            found = [line async for line in db.iterdump(**options)]
            assert found == dumped(file, **options)

    run(main)


def test_an_empty_database(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            lines = db.iterdump()
            assert await lines.__anext__() == "BEGIN TRANSACTION;"
            assert await lines.__anext__() == "COMMIT;"
            for _ in range(2):
                with pytest.raises(StopAsyncIteration):
                    await lines.__anext__()

    run(main)


def test_what_others_do_meanwhile(run: Run, file: Path) -> None:
    """Leaving early keeps nothing; the connection can be used in between."""

    async def main() -> None:
        async with lib.connect(file, isolation_level=None) as db:
            async for _ in db.iterdump():
                break
            lines = db.iterdump()
            await lines.__anext__()
            await db.execute_fetchall("SELECT 1")
            await lines.aclose()
            assert isinstance(await caught(lines.__anext__()), StopAsyncIteration)
            await db.execute("DROP TABLE other")

    run(main)


def test_of_a_closed_connection(run: Run, file: Path) -> None:
    async def main() -> None:
        db = await lib.connect(file)
        lines = db.iterdump()
        await db.close()
        with pytest.raises(ValueError, match=r"Connection closed|no active connection"):
            await lines.__anext__()

    run(main)
