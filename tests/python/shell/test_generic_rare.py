"""Dumps, backups and blobs, of connections with a connector of one's own and of those whose
_execute() is replaced.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.errors import raised_by, same_error
from support.locks import make
from support.loops import caught
from support.scripts import run_script

Run = Callable[..., Any]
Open = Callable[[Any], AbstractAsyncContextManager[Any]]

pytestmark = looplite_only


@pytest.fixture
def file(path: Path) -> Path:
    make(
        path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, x'00010203');"
        "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 2 UNION ALL SELECT x + 1 FROM c LIMIT 599)"
        "  SELECT x, 'text' FROM c",
    )
    return path


@asynccontextmanager
async def by_connector(database: Any) -> AsyncIterator[Any]:
    async with lib.Connection(lambda: sqlite3.connect(database), 64) as db:
        yield db


@asynccontextmanager
async def replaced(database: Any) -> AsyncIterator[Any]:
    async with lib.connect(database) as db:
        original = db._execute

        async def seen(function: Any, *args: Any, **kwargs: Any) -> Any:
            db.calls += 1
            return await original(function, *args, **kwargs)

        db.calls = 0
        db._execute = seen
        yield db


@pytest.fixture(params=[by_connector, replaced])
def opened(request: pytest.FixtureRequest) -> Any:
    """async with opened(database) as db"""
    return request.param


def test_a_dump(run: Run, file: Path, opened: Open) -> None:
    """Longer than what is fetched at once."""
    plain = sqlite3.connect(file)
    expected = list(plain.iterdump())
    plain.close()

    async def main() -> None:
        async with opened(file) as db:
            assert [line async for line in db.iterdump()] == expected
            async for line in db.iterdump():
                assert line == expected[0]
                break
            db.row_factory = sqlite3.Row
        with pytest.raises(ValueError, match=r"(?i)connection"):
            await db.iterdump().__anext__()

    run(main)


@pytest.mark.parametrize("into", ["sqlite3", "looplite", "connector", "replaced"])
def test_a_backup(run: Run, file: Path, opened: Open, into: str) -> None:
    async def main() -> None:
        steps: list[tuple[int, int, int]] = []

        def progress(*step: int) -> None:
            steps.append(step)  # type: ignore[arg-type]

        ways = {"looplite": lib.connect, "connector": by_connector, "replaced": replaced}
        async with opened(file) as db, AsyncExitStack() as stack:
            target: Any = sqlite3.connect(":memory:", check_same_thread=False)
            if into != "sqlite3":
                target.close()
                target = await stack.enter_async_context(ways[into](":memory:"))
            await db.backup(target, pages=1, progress=progress)
            assert steps[-1][:2] == (101, 0)  # SQLITE_DONE
            assert len(steps) == steps[-1][2]
            await db.backup(target)
            sql = "SELECT count(*) FROM t"
            if into == "sqlite3":
                assert target.execute(sql).fetchall() == [(600,)]
                target.close()
            else:
                assert await target.execute_fetchall(sql) == [(600,)]
                await target.close()
                assert isinstance(await caught(db.backup(target)), ValueError)

    run(main)


def test_a_backup_that_cannot_be(run: Run, file: Path, opened: Open) -> None:
    """What sqlite3 refuses; and an open write transaction, for which it would wait for ever."""
    plain = sqlite3.connect(file)
    target = sqlite3.connect(":memory:", check_same_thread=False)
    no_target = raised_by(plain.backup, 3)
    no_function = raised_by(plain.backup, target, progress=3)
    no_name = raised_by(plain.backup, target, name="nothing")
    plain.close()

    def stop(*_: int) -> None:
        raise ZeroDivisionError("enough")

    async def main() -> None:
        async with opened(file) as db:
            same_error(await caught(db.backup(3)), no_target)
            same_error(await caught(db.backup(target, progress=3)), no_function)
            same_error(await caught(db.backup(target, name="nothing")), no_name)
            assert isinstance(await caught(db.backup(target, progress=stop)), ZeroDivisionError)
            await db.execute("DELETE FROM t")
            error = await caught(db.backup(target))
            assert isinstance(error, sqlite3.OperationalError)
            assert "commit or roll back first" in str(error)
            await db.rollback()
            await db.backup(target)
        assert target.execute("SELECT count(*) FROM t").fetchall() == [(600,)]

    run(main)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="not in this Python")
def test_a_blob(run: Run, file: Path, opened: Open) -> None:
    async def main() -> None:
        async with opened(file) as db:
            async with db.blobopen("t", "v", 1) as blob:
                assert type(blob) is lib.Blob
                assert len(blob) == 4
                assert await blob.read(2) == b"\x00\x01"
                assert await blob[3] == 3
                await blob.seek(0)
                await blob.write(b"\x07")
                await blob.set(slice(1, 3), b"ab")
                assert await blob.tell() == 1
            assert isinstance(await caught(blob.read()), sqlite3.ProgrammingError)
            assert await db.execute_fetchall("SELECT v FROM t WHERE id = 1") == [(b"\x07ab\x03",)]
            error = await caught(db.blobopen("t", "v", 1000))
            assert isinstance(error, sqlite3.OperationalError)
            await db.rollback()

    run(main)


def test_what_is_replaced_sees_them(run: Run, file: Path) -> None:
    async def main() -> None:
        async with replaced(file) as db:
            for _ in range(2):
                before = db.calls
                assert len([line async for line in db.iterdump()]) > 600
                assert db.calls > before
            before = db.calls
            target = sqlite3.connect(":memory:", check_same_thread=False)
            await db.backup(target)
            target.close()
            assert db.calls > before

    run(main)


def test_a_backup_that_waits_does_not_keep_the_program(file: Path) -> None:
    """The file is locked by another connection, as long as the program runs."""
    done = run_script(
        file.parent,
        """
        outside = sqlite3.connect(PATH, isolation_level=None)
        outside.execute("BEGIN EXCLUSIVE")
        begun = threading.Event()
        async def main():
            global db, target, call
            db = await lib.Connection(lambda: sqlite3.connect(PATH, timeout=0), 64)
            target = sqlite3.connect(":memory:", check_same_thread=False)
            call = db.backup(target, progress=lambda *_: begun.set())
            await begin(call)
            begun.wait()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        call.close()
        thread = db._thread
        print(thread.is_alive())
        import looplite._thread
        looplite._thread._leave()  # as at the end of the program, where nobody could look any more
        print(thread.is_alive())
        """,
        database=file.name,
    )
    assert (done.returncode, done.stdout) == (0, "True\nFalse\n"), done.stderr
    assert "Traceback" not in done.stderr
