"""backup(), serialize() and deserialize(): whole databases, into looplite's connections and
sqlite3's.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.errors import raised_by, same_error
from support.locks import make, rows, write_lock
from support.loops import Ticks, caught, turns, until
from support.scripts import run_script

pytestmark = looplite_only

Run = Callable[..., Any]
FILL = (
    "CREATE TABLE t(v); INSERT INTO t WITH RECURSIVE c(x) AS"
    " (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 300) SELECT hex(zeroblob(2000)) FROM c"
)


@pytest.fixture
def file(path: Path) -> Path:
    make(path, FILL)
    return path


@pytest.mark.parametrize("pages", [None, 0, -1, 1, 50])
def test_into_sqlite3(run: Run, file: Path, pages: int | None) -> None:
    options: dict[str, Any] = {} if pages is None else {"pages": pages}
    expected: list[tuple[int, ...]] = []
    plain, copy = sqlite3.connect(file), sqlite3.connect(":memory:")
    plain.backup(copy, progress=lambda *args: expected.append(args), **options)
    copy.close()
    plain.close()

    async def main() -> None:
        seen: list[tuple[int, ...]] = []
        target = sqlite3.connect(":memory:")
        async with lib.connect(file) as db:
            assert await db.backup(target, progress=lambda *a: seen.append(a), **options) is None
        assert target.execute("SELECT count(*) FROM t").fetchone() == (300,)
        assert seen == expected
        target.close()

    run(main)


@pytest.mark.parametrize("raw", [False, True])
def test_into_looplite(run: Run, file: Path, tmp_path: Path, raw: bool) -> None:
    async def main() -> None:
        async with lib.connect(file) as db, lib.connect(tmp_path / "copy.db") as target:
            await target.execute_fetchall("SELECT 1")
            await db.backup(target._conn if raw else target, pages=10, sleep=0)
            assert await target.execute_fetchall("SELECT count(*) FROM t") == [(300,)]
            await target.execute("INSERT INTO t VALUES (1)")
            await target.commit()
            # Again, over what is there.
            await db.backup(target)
            assert await target.execute_fetchall("SELECT count(*) FROM t") == [(300,)]
        assert rows(tmp_path / "copy.db", "SELECT count(*) FROM t") == [(300,)]

    run(main)


def test_from_sqlite3_into_looplite(run: Run, file: Path) -> None:
    async def main() -> None:
        plain = sqlite3.connect(file)
        async with lib.connect(":memory:") as db:
            plain.backup(db._conn)
            assert await db.execute_fetchall("SELECT count(*) FROM t") == [(300,)]
        plain.close()

    run(main)


def test_right_after_reads_of_the_same_turn(run: Run, file: Path, tmp_path: Path) -> None:
    """What is kept open between two reads is in nobody's way."""
    make(tmp_path / "target.db", "PRAGMA journal_mode = WAL; CREATE TABLE x(y)")

    async def main() -> None:
        plain = sqlite3.connect(file)
        async with lib.connect(tmp_path / "target.db", isolation_level=None) as db:
            for _ in range(10):
                for _ in range(5):
                    await db.execute_fetchall("SELECT * FROM x")
                await turns(1)
            for _ in range(5):
                await db.execute_fetchall("SELECT * FROM x")
            db._conn.execute("VACUUM")
            for _ in range(5):
                await db.execute_fetchall("SELECT * FROM x")
            plain.backup(db._conn)
            assert await db.execute_fetchall("SELECT count(*) FROM t") == [(300,)]
        plain.close()

    run(main)


def test_both_ways_at_once(run: Run, tmp_path: Path) -> None:
    """With sqlite3 alone this never ends: each holds its own and waits for the other."""
    for name in "ab":
        make(tmp_path / f"{name}.db", FILL)

    async def main() -> None:
        async with lib.connect(tmp_path / "a.db") as a, lib.connect(tmp_path / "b.db") as b:
            for _ in range(5):
                await asyncio.gather(
                    a.backup(b, pages=5), b.backup(a, pages=5), return_exceptions=True
                )
            for db in (a, b):
                assert await db.execute_fetchall("SELECT count(*) FROM t") == [(300,)]

    run(main)


def test_the_loop_and_others_go_on(run: Run, file: Path) -> None:
    async def main() -> None:
        seen = 0

        def progress(*args: int) -> None:
            nonlocal seen
            seen += 1

        target = sqlite3.connect(":memory:", check_same_thread=False)
        async with lib.connect(file) as db, lib.connect(file) as other, Ticks() as ticks:
            task = asyncio.ensure_future(db.backup(target, pages=1, progress=progress))
            await until(lambda: seen > 0)
            assert await other.execute_fetchall("SELECT count(*) FROM t") == [(300,)]
            await task
            assert ticks.count > 0
        assert seen > 100
        target.close()

    run(main)


MISTAKES: dict[str, dict[str, Any]] = {
    "name": {"name": "other"},
    "progress": {"progress": 5},
    "pages": {"pages": "x"},
    "name type": {"name": 5},
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_sqlite3s(run: Run, file: Path, mistake: str) -> None:
    plain, copy = sqlite3.connect(file), sqlite3.connect(":memory:")
    expected = raised_by(plain.backup, copy, **MISTAKES[mistake])
    itself = raised_by(plain.backup, plain)
    closed = sqlite3.connect(":memory:")
    closed.close()
    to_closed = raised_by(plain.backup, closed)
    plain.close()

    async def main() -> None:
        async with lib.connect(file) as db:
            same_error(await caught(db.backup(copy, **MISTAKES[mistake])), expected)
            same_error(await caught(db.backup(db)), itself)
            same_error(await caught(db.backup(closed)), to_closed)
            other = lib.connect(":memory:")
            with pytest.raises(ValueError, match="no active connection"):
                await db.backup(other)

    run(main)
    copy.close()


def test_progress_that_raises(run: Run, file: Path) -> None:
    async def main() -> None:
        target = sqlite3.connect(":memory:", check_same_thread=False)
        async with lib.connect(file) as db:

            def bad(*args: int) -> None:
                raise KeyError("mine")

            with pytest.raises(KeyError, match="mine"):
                await db.backup(target, pages=1, progress=bad)
            await db.backup(target)
        target.close()

    run(main)


def test_async_progress(run: Run, file: Path) -> None:
    async def main() -> None:
        seen: list[int] = []
        target = sqlite3.connect(":memory:", check_same_thread=False)
        async with lib.connect(file) as db:

            async def progress(status: int, remaining: int, total: int) -> None:
                await asyncio.sleep(0)
                seen.append(remaining)

            await db.backup(target, pages=20, progress=progress)
        assert seen == sorted(seen, reverse=True)
        assert seen[-1] == 0
        target.close()

    run(main)


@pytest.mark.parametrize("which", ["source", "target"])
def test_progress_cannot_wait_for_the_connections(run: Run, file: Path, which: str) -> None:
    """The worker has both until the backup ends; their sqlite3.Connections can be used."""

    async def main() -> None:
        told: list[BaseException] = []
        async with lib.connect(file) as source, lib.connect(":memory:") as target:
            used = source if which == "source" else target

            def progress(status: int, remaining: int, total: int) -> None:
                async def own() -> BaseException:
                    return await caught(used.execute("SELECT 1"))

                loop = asyncio.new_event_loop()
                told.append(loop.run_until_complete(own()))
                loop.close()
                assert source._conn.execute("SELECT count(*) > 0 FROM t").fetchone() == (1,)

            await source.backup(target, pages=50, progress=progress)
            assert len(told) > 1
            for error in told:
                assert type(error) is RuntimeError
                assert "runs on this connection's worker" in str(error)
            assert await used.execute_fetchall("SELECT 1") == [(1,)]

    run(main)


def test_out_of_an_open_write_transaction(run: Run, file: Path) -> None:
    """sqlite3 waits for ever for the transaction that only it could end."""

    async def main() -> None:
        target = sqlite3.connect(":memory:", check_same_thread=False)
        async with lib.connect(file) as db:
            await db.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(sqlite3.OperationalError, match="open write transaction"):
                await db.backup(target)
            assert db.in_transaction
            await db.commit()
            await db.backup(target)
            assert target.execute("SELECT count(*) FROM t").fetchone() == (301,)
            await db.execute("BEGIN")
            await db.execute_fetchall("SELECT * FROM t")
            await db.backup(target)  # one that only reads is fine
        target.close()

    run(main)


def test_into_an_open_transaction(run: Run, file: Path) -> None:
    plain, copy = sqlite3.connect(file), sqlite3.connect(":memory:")
    copy.execute("CREATE TABLE x(y)")
    copy.execute("INSERT INTO x VALUES (1)")
    expected = raised_by(plain.backup, copy)
    copy.close()
    plain.close()

    async def main() -> None:
        async with lib.connect(file) as db, lib.connect(":memory:") as target:
            await target.execute("CREATE TABLE x(y)")
            await target.execute("INSERT INTO x VALUES (1)")
            same_error(await caught(db.backup(target)), expected)
            await target.rollback()
            await db.backup(target)

    run(main)


@pytest.mark.parametrize("steps", ["pages", "locked"])
def test_cancelled(run: Run, file: Path, tmp_path: Path, steps: str) -> None:
    copy = tmp_path / "copy.db"
    make(copy, "CREATE TABLE x(y)")

    async def main() -> None:
        seen = 0

        def progress(*args: int) -> None:
            nonlocal seen
            seen += 1

        target = sqlite3.connect(copy, check_same_thread=False, timeout=0)
        async with lib.connect(file) as db:
            with write_lock(copy) as lock:
                if steps == "pages":
                    lock.execute("ROLLBACK")
                task = asyncio.ensure_future(
                    db.backup(target, pages=1, progress=progress, sleep=1000)
                )
                await until(lambda: seen > 0)
                task.cancel()
                raised = await caught(task)
                assert isinstance(raised, asyncio.CancelledError) or steps == "pages", raised
            assert await db.execute_fetchall("SELECT count(*) FROM t") == [(300,)]
        target.close()

    run(main)


def test_it_does_not_keep_a_program_from_ending(tmp_path: Path) -> None:
    make(tmp_path / "script.db", FILL)
    done = run_script(
        tmp_path,
        """
warnings.simplefilter("ignore", ResourceWarning)
lock = sqlite3.connect(PATH + ".copy", isolation_level=None)
lock.execute("CREATE TABLE x(y)")
lock.execute("BEGIN IMMEDIATE")
inside = threading.Event()
target = sqlite3.connect(PATH + ".copy", check_same_thread=False, timeout=0)

async def main():
    global db, call
    db = await lib.connect(PATH)
    call = db.backup(target, pages=1, progress=lambda *a: inside.set(), sleep=1000)
    await begin(call)
    while not inside.is_set():
        await asyncio.sleep(0)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
""",
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "serialize"), reason="not in this Python")
def test_serialize(run: Run, file: Path) -> None:
    plain: Any = sqlite3.connect(file)
    expected = plain.serialize()
    plain.close()

    async def main() -> None:
        async with lib.connect(file) as db, lib.connect(":memory:") as target:
            data = await db.serialize()
            assert data == expected
            assert await db.serialize(name="main") == data
            await target.execute_fetchall("SELECT 1")
            await target.deserialize(data)
            assert await target.execute_fetchall("SELECT count(*) FROM t") == [(300,)]
            await target.execute("DELETE FROM t")
            await target.commit()
            await target.deserialize(memoryview(data), name="main")
            assert await target.execute_fetchall("SELECT count(*) FROM t") == [(300,)]
            await target.deserialize(b"no database")
            with pytest.raises(sqlite3.DatabaseError):
                await target.execute_fetchall("SELECT * FROM t")

    run(main)


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "getlimit"), reason="not in this Python")
def test_limits(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            key = sqlite3.SQLITE_LIMIT_SQL_LENGTH  # type: ignore[attr-defined]
            before = await db.getlimit(key)
            await db.execute("CREATE TABLE t(x)")
            assert await db.setlimit(key, 20) == before
            assert await db.getlimit(key) == 20
            await db.execute("SELECT 1")
            for padding in ("SELECT 1" + " " * 20, "SELECT 1; " + " " * 20, "-- " + "x" * 20):
                for call in (db.execute, db.execute_fetchall, db.executescript):
                    with pytest.raises(sqlite3.DataError, match="query string is too large"):
                        await call(padding)
                with pytest.raises(sqlite3.DataError, match="query string is too large"):
                    await db.executemany(padding, [()])
            # A script that is not begun does not commit either.
            await db.setlimit(key, 100)
            await db.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(sqlite3.DataError, match="query string is too large"):
                await db.executescript("SELECT 1;" + " " * 100)
            assert db.in_transaction

    run(main)


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "getconfig"), reason="not in this Python")
def test_config(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            key = sqlite3.SQLITE_DBCONFIG_ENABLE_FKEY  # type: ignore[attr-defined]
            assert await db.getconfig(key) is False
            await db.setconfig(key)
            assert await db.getconfig(key) is True
            assert await db.execute_fetchall("PRAGMA foreign_keys") == [(1,)]
            await db.setconfig(key, False)
            assert await db.execute_fetchall("PRAGMA foreign_keys") == [(0,)]

    run(main)
