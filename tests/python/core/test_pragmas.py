"""What connect() takes beyond sqlite3's and aiosqlite's: `pragmas` and `inline`."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from support import lib, looplite_only
from support.errors import has_code
from support.locks import make
from support.loops import caught

pytestmark = looplite_only

Run = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    make(tmp_path / "a.db", "CREATE TABLE t(v)")
    return tmp_path / "a.db"


async def ask(db: Any, name: str) -> Any:
    ((value,),) = await db.execute_fetchall(f"PRAGMA {name}")
    return value


@pytest.mark.parametrize(
    "pragmas",
    [
        {"journal_mode": "WAL", "foreign_keys": True, "cache_size": -512, "main.synchronous": 1},
        ["journal_mode=WAL", "foreign_keys = on", "cache_size=-512", "synchronous=NORMAL"],
        ("journal_mode=WAL", "foreign_keys = on", "cache_size=-512", "synchronous=NORMAL"),
    ],
    ids=["mapping", "texts", "tuple"],
)
def test_they_are_set_before_the_connection_is_given(run: Run, file: Path, pragmas: Any) -> None:
    async def main() -> None:
        async with lib.connect(file, pragmas=pragmas) as db:
            assert await ask(db, "journal_mode") == "wal"
            assert await ask(db, "foreign_keys") == 1
            assert await ask(db, "cache_size") == -512
            assert await ask(db, "synchronous") == 1

    run(main)


def test_they_run_in_their_order_and_a_value_may_be_missing(run: Run, file: Path) -> None:
    async def main() -> None:
        pragmas = {"user_version": 17, "application_id": 4, "optimize": None}
        async with lib.connect(file, pragmas=pragmas) as db:
            assert await ask(db, "user_version") == 17
            assert await ask(db, "application_id") == 4
        async with lib.connect(file, pragmas=["user_version=1", "user_version=2"]) as db:
            assert await ask(db, "user_version") == 2
            assert not db.in_transaction

    run(main)


@pytest.mark.parametrize("pragmas", [None, {}, [], ()])
def test_none_are_fine(run: Run, file: Path, pragmas: Any) -> None:
    async def main() -> None:
        async with lib.connect(file, pragmas=pragmas) as db:
            assert await ask(db, "user_version") == 0

    run(main)


def test_busy_timeout_is_the_connections(run: Run, file: Path) -> None:
    async def main() -> None:
        async with lib.connect(file, pragmas={"busy_timeout": 1234}) as db:
            assert await ask(db, "busy_timeout") == 1234

    run(main)


@pytest.mark.parametrize(
    ("pragmas", "kind", "text"),
    [
        ("journal_mode=WAL", TypeError, "not one str"),
        (17, TypeError, "not int"),
        ([17], TypeError, "17"),
        (["journal_mode="], ValueError, "journal_mode="),
        (["a=1; DROP TABLE t"], ValueError, "DROP"),
        (["no name = 1"], ValueError, "no name"),
        ({"x; DROP TABLE t": 1}, ValueError, "DROP"),
        ({17: 1}, ValueError, "17"),
        ({"cache_size": b"1"}, TypeError, "cache_size.*bytes"),
        ({"cache_size": "a\0b"}, ValueError, "cache_size"),
    ],
)
def test_mistakes_are_told_with_the_value(pragmas: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        lib.connect(":memory:", pragmas=pragmas)


def test_a_text_is_a_value_and_never_more(run: Run, file: Path) -> None:
    async def main() -> None:
        evil = "x'; DROP TABLE t; --"
        async with lib.connect(file, pragmas={"journal_mode": evil}) as db:
            assert await db.execute_fetchall("SELECT * FROM t") == []

    run(main)


def test_one_that_fails_fails_the_opening(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "no.db").write_bytes(b"no database at all, " * 100)
        db = lib.connect(tmp_path / "no.db", pragmas={"user_version": 1})
        error = await caught(db)
        assert isinstance(error, sqlite3.DatabaseError)
        assert "PRAGMA user_version=1" in str(error)
        has_code(error, "SQLITE_NOTADB")
        assert db.closed

    run(main)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="autocommit= since Python 3.12")
def test_with_a_transaction_from_the_beginning(run: Run, file: Path) -> None:
    async def main() -> None:
        async with lib.connect(file, pragmas={"journal_mode": "WAL"}, autocommit=False) as db:
            assert db.in_transaction
            assert await ask(db, "journal_mode") == "wal"

    run(main)


def test_where_sqlite3_connect_was_replaced(run: Run, file: Path) -> None:
    async def main() -> None:
        with mock.patch.object(sqlite3, "connect", wraps=sqlite3.connect) as connect:
            async with lib.connect(file, pragmas={"user_version": 5}) as db:
                assert await ask(db, "user_version") == 5
        assert "pragmas" not in connect.call_args.kwargs

    run(main)


def test_the_connector_shows_the_same_database(run: Run, file: Path) -> None:
    async def main() -> None:
        async with lib.connect(file, pragmas={"cache_size": -100}) as db:
            plain = db._connector()  # sqlite3's own rule: it belongs to this thread
            assert plain.execute("PRAGMA cache_size").fetchone() == (-100,)
            plain.close()

    run(main)


def test_nothing_runs_on_the_loop(run: Run, file: Path) -> None:
    async def main() -> None:
        async with lib.connect(file, inline=False) as db:
            assert not lib.engine_info(db)["connection"]["on_loop"]
            before = lib.stats()
            for _ in range(20):
                await db.execute_fetchall("SELECT * FROM t")
            assert lib.stats()["inline_hits"] == before["inline_hits"]
        async with lib.connect(file, inline=True) as db:
            await db.execute_fetchall("SELECT * FROM t")
            before = lib.stats()
            for _ in range(20):
                await db.execute_fetchall("SELECT * FROM t")
            assert lib.stats()["inline_hits"] > before["inline_hits"]

    run(main)


def test_only_such_a_connection_maps_its_file(run: Run, file: Path) -> None:
    with sqlite3.connect(file) as plain:
        (usual,) = plain.execute("PRAGMA mmap_size=100000").fetchone()
    plain.close()

    async def main() -> None:
        async with lib.connect(file, pragmas={"mmap_size": 100000}) as db:
            assert await ask(db, "mmap_size") == 0
        async with lib.connect(file, pragmas={"mmap_size": 100000}, inline=False) as db:
            assert await ask(db, "mmap_size") == usual
            await db.execute("INSERT INTO t VALUES (1)")
            await db.commit()
            assert await db.execute_fetchall("SELECT v FROM t") == [(1,)]

    run(main)


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_inline_is_true_or_false(value: Any) -> None:
    with pytest.raises(TypeError, match="inline must be True or False"):
        lib.connect(":memory:", inline=value)
