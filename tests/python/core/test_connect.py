"""Opening and closing: paths of every kind, URIs, options, files that are no databases, wrong
moments.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pathlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import IS_LOOPLITE, lib, looplite_only
from support.errors import has_code, raised_by, same_error
from support.locks import make, rows
from support.loops import caught

Run = Callable[..., Any]


async def write_and_read(database: Any, **options: Any) -> None:
    async with lib.connect(database, **options) as db:
        await db.execute("CREATE TABLE t(v)")
        await db.execute("INSERT INTO t VALUES (42)")
        await db.commit()
        async with db.execute("SELECT v FROM t") as cursor:
            assert await cursor.fetchall() == [(42,)]


class Named:
    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __fspath__(self) -> str:
        return self._path

    # aiosqlite takes str() of whatever is no text.
    def __str__(self) -> str:
        return self._path


@pytest.mark.parametrize(
    "kind",
    [str, Path, os.fsencode, Named, pathlib.PurePath],
    ids=["str", "Path", "bytes", "PathLike", "PurePath"],
)
def test_kinds_of_path(run: Run, path: Path, kind: Callable[[Path], Any]) -> None:
    run(write_and_read, kind(path))
    assert rows(path, "SELECT v FROM t") == [(42,)]


NAMES = [
    "what?.db",
    "num#ber.db",
    "per%20cent.db",
    "100%.db",
    "two words.db",
    " leading",
    "zażółć 漢字 \U0001f600.db",
    "quo'te\".db",
    "back\\slash.db",
    "a&b=c;d.db",
    "query?mode=ro&cache=shared",
    "file:not-a-uri.db",
    "plus+.db",
    "new\nline.db",
    "long" * 50,
    "%00.db",
    "~.db",
    "-wal",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_are_taken_literally(run: Run, tmp_path: Path, name: str) -> None:
    run(write_and_read, str(tmp_path / name))
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert rows(tmp_path / name, "SELECT v FROM t") == [(42,)]


@pytest.mark.parametrize(
    "name", ["plain.db", "file:odd.db", "what?mode=ro", "./here.db", "in/../side.db"]
)
def test_relative_names(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    run(write_and_read, name)
    assert rows(Path(name), "SELECT v FROM t") == [(42,)]


def test_relative_to_the_folder_at_the_time_of_opening(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").mkdir()
    monkeypatch.chdir(tmp_path / "one")

    async def main() -> None:
        async with lib.connect("x.db") as db:
            monkeypatch.chdir(tmp_path)
            await db.execute("CREATE TABLE t(v)")
            await db.commit()

    run(main)
    assert (tmp_path / "one" / "x.db").exists()
    assert not (tmp_path / "x.db").exists()


def test_memory_is_private(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as one, lib.connect(":memory:") as two:
            await one.execute("CREATE TABLE t(v)")
            with pytest.raises(sqlite3.OperationalError, match="no such table"):
                await two.execute("SELECT * FROM t")

    run(main)
    assert not Path(":memory:").exists()


def test_empty_name_is_a_temporary_database(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(write_and_read, "")
    assert list(tmp_path.iterdir()) == []


def test_uri_modes(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "with space & more.db"
    uri = path.as_uri()

    async def main() -> None:
        error = await caught(lib.connect(f"{uri}?mode=rw", uri=True))
        assert str(error) == "unable to open database file"
        has_code(error, "SQLITE_CANTOPEN")
        assert not path.exists()
        await write_and_read(f"{uri}?mode=rwc", uri=True)
        async with lib.connect(f"{uri}?mode=ro", uri=True) as db:
            async with db.execute("SELECT v FROM t") as cursor:
                assert await cursor.fetchall() == [(42,)]
            error = await caught(db.execute("INSERT INTO t VALUES (1)"))
            assert str(error) == "attempt to write a readonly database"
            has_code(error, "SQLITE_READONLY")
        async with (
            lib.connect(f"{uri}?immutable=1", uri=True) as db,
            db.execute("SELECT v FROM t") as cursor,
        ):
            assert await cursor.fetchall() == [(42,)]

    run(main)
    assert rows(path, "SELECT v FROM t") == [(42,)]


def test_uri_with_a_plain_path(run: Run, path: Path) -> None:
    run(lambda: write_and_read(str(path), uri=True))
    assert rows(path, "SELECT v FROM t") == [(42,)]


@pytest.mark.parametrize("query", ["mode=nonsense", "vfs=nonsense", "cache=nonsense"])
def test_uri_errors(run: Run, path: Path, query: str) -> None:
    uri = f"{path.as_uri()}?{query}"
    expected = raised_by(sqlite3.connect, uri, uri=True)

    async def main() -> None:
        same_error(await caught(lib.connect(uri, uri=True)), expected)

    run(main)
    assert not path.exists()


def test_uri_with_another_vfs(run: Run, path: Path) -> None:
    """A VFS named by the user is the one that is used."""
    run(lambda: write_and_read(f"{path.as_uri()}?vfs=unix-dotfile", uri=True))
    assert rows(path, "SELECT v FROM t") == [(42,)]


def test_shared_memory_uri(run: Run) -> None:
    async def main() -> None:
        uri = "file:looplite-test-shared?mode=memory&cache=shared"
        async with lib.connect(uri, uri=True) as one, lib.connect(uri, uri=True) as two:
            await one.execute("CREATE TABLE t(v)")
            await one.execute("INSERT INTO t VALUES (1)")
            await one.commit()
            async with two.execute("SELECT v FROM t") as cursor:
                assert await cursor.fetchall() == [(1,)]
        async with lib.connect(uri, uri=True) as three:
            with pytest.raises(sqlite3.OperationalError):
                await three.execute("SELECT v FROM t")

    run(main)


def test_a_folder(run: Run, tmp_path: Path) -> None:
    expected = raised_by(sqlite3.connect, tmp_path)

    async def main() -> None:
        same_error(await caught(lib.connect(tmp_path)), expected)

    run(main)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder(run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "no" / "such.db"
    expected = raised_by(sqlite3.connect, missing)

    async def main() -> None:
        error = await caught(lib.connect(missing))
        same_error(error, expected)
        has_code(error, "SQLITE_CANTOPEN")

    run(main)
    assert not missing.parent.exists()


@pytest.mark.parametrize("name", ["nul\0.db", "\ud800.db"], ids=ascii)
def test_names_that_cannot_be(run: Run, name: str) -> None:
    """The error comes from the await, like every other of opening."""
    expected = raised_by(sqlite3.connect, name)

    async def main() -> None:
        error = await caught(lib.connect(name))
        assert type(error) is type(expected)

    run(main)


@looplite_only
def test_bytes_that_are_not_utf8(run: Run, tmp_path: Path) -> None:
    """As `sqlite3` takes them, by the file system's encoding (aiosqlite decodes UTF-8 and fails)."""  # noqa: E501
    name = os.fsencode(tmp_path) + b"/\xff\xfe.db"
    run(write_and_read, name)
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff\xfe.db"]


@pytest.fixture
def as_somebody_else() -> Iterator[Path]:
    """A folder everybody may enter, for a process that is not allowed everything (root reads any
    file).
    """
    folder = Path(tempfile.mkdtemp(prefix="looplite-test-"))
    folder.chmod(0o755)
    yield folder
    for each in folder.iterdir():
        each.chmod(0o644)
    shutil.rmtree(folder)


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_read(run: Run, as_somebody_else: Path) -> None:
    path = as_somebody_else / "secret.db"
    make(path, "CREATE TABLE t(v)")
    path.chmod(0)

    async def main() -> None:
        error = await caught(lib.connect(path))
        assert isinstance(error, sqlite3.OperationalError)
        assert str(error) == "unable to open database file"
        has_code(error, "SQLITE_CANTOPEN")

    with without_privileges():
        run(main)


def test_a_file_that_may_not_be_written(run: Run, as_somebody_else: Path) -> None:
    path = as_somebody_else / "readonly.db"
    make(path, "CREATE TABLE t(v); INSERT INTO t VALUES (1)")
    path.chmod(0o444)
    before = path.read_bytes()

    async def main() -> None:
        async with lib.connect(path) as db:
            async with db.execute("SELECT v FROM t") as cursor:
                assert await cursor.fetchall() == [(1,)]
            attempt: Callable[..., Any]
            for attempt in (
                lambda: db.execute("INSERT INTO t VALUES (2)"),
                lambda: db.executemany("INSERT INTO t VALUES (?)", [(2,)]),
                lambda: db.executescript("CREATE TABLE u(v)"),
            ):
                error = await caught(attempt())
                assert isinstance(error, sqlite3.OperationalError)
                assert str(error) == "attempt to write a readonly database"
                has_code(error, "SQLITE_READONLY")
            await db.rollback()

    with without_privileges():
        run(main)
    assert path.read_bytes() == before


def test_a_folder_that_may_not_be_written(run: Run, as_somebody_else: Path) -> None:
    async def main() -> None:
        error = await caught(lib.connect(as_somebody_else / "new.db"))
        assert str(error) == "unable to open database file"

    with without_privileges():
        run(main)
    assert list(as_somebody_else.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"this is a text file, and long enough to be looked at" * 50, b"\x00" * 4096, b"short"],
)
def test_a_file_that_is_no_database(run: Run, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with contextlib.closing(sqlite3.connect(path)) as reference:
        expected = raised_by(reference.execute, "CREATE TABLE t(v)")
    path.write_bytes(content)

    async def main() -> None:
        async with lib.connect(path) as db:
            same_error(await caught(db.execute("CREATE TABLE t(v)")), expected)
            assert isinstance(expected, sqlite3.DatabaseError)

    run(main)
    assert path.read_bytes() == content


def test_a_damaged_file(run: Run, path: Path) -> None:
    make(
        path,
        "CREATE TABLE t(v); INSERT INTO t SELECT hex(zeroblob(2000)) FROM (VALUES (1), (2), (3), (4), (5), (6))",  # noqa: E501
    )
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)

    async def main() -> None:
        async with lib.connect(path) as db:
            error = await caught(db.execute_fetchall("SELECT * FROM t"))
            assert type(error) is sqlite3.DatabaseError
            assert str(error) == "database disk image is malformed"
            has_code(error, "SQLITE_CORRUPT")

    run(main)
    assert path.read_bytes() == content


def test_wrong_options_raise_when_awaited(run: Run) -> None:
    """So that the object can be made anywhere, and the error arrives where the opening is."""

    async def main() -> None:
        for options in (
            {"nonsense": 1},
            {"timeout": "soon"},
            {"cached_statements": "many"},
            {"detect_types": None},
        ):
            pending = lib.connect(":memory:", **options)
            error = await caught(pending)
            expected = raised_by(sqlite3.connect, ":memory:", **options)
            assert type(error) is type(expected), options

    run(main)


@looplite_only
def test_a_wrong_option_is_named(run: Run) -> None:
    async def main() -> None:
        error = await caught(lib.connect(":memory:", nonsense=1))
        assert isinstance(error, TypeError)
        assert "nonsense" in str(error)

    run(main)


def test_only_the_database_is_positional() -> None:
    with pytest.raises(TypeError):
        lib.connect(":memory:", 5.0)
    with pytest.raises(TypeError):
        lib.connect()


def test_options_reach_the_connection(run: Run) -> None:
    class Connected(sqlite3.Connection):
        pass

    async def main() -> None:
        options = {
            "timeout": 3.5,
            "detect_types": 0,
            "isolation_level": "IMMEDIATE",
            "check_same_thread": False,
            "factory": Connected,
            "cached_statements": 5,
            "uri": False,
            "iter_chunk_size": 3,
        }
        async with lib.connect(":memory:", **options) as db:
            assert db.isolation_level == "IMMEDIATE"
            assert isinstance(db._conn, Connected)

    run(main)


def test_wrong_isolation_level(run: Run) -> None:
    """3.10 finds it out at the first write, later versions when connecting."""
    try:
        reference = sqlite3.connect(":memory:", isolation_level="NONSENSE")  # type: ignore[call-overload]
    except Exception as error:
        expected = error
    else:
        reference.close()
        pytest.skip("this Python's sqlite3 takes it")

    async def main() -> None:
        same_error(await caught(lib.connect(":memory:", isolation_level="NONSENSE")), expected)

    run(main)


def test_awaited_or_entered(run: Run) -> None:
    async def main() -> None:
        pending = lib.connect(":memory:")
        db = await pending
        assert db is pending
        assert isinstance(db, lib.Connection)
        await db.close()
        pending = lib.connect(":memory:")
        async with pending as db:
            assert db is pending
        by_hand = lib.connect(":memory:")
        assert await by_hand.__aenter__() is by_hand
        await by_hand.__aexit__(None, None, None)
        task = asyncio.ensure_future(lib.connect(":memory:"))
        await (await task).close()

    run(main)


def test_made_without_a_loop(run: Run) -> None:
    pending = lib.connect(":memory:")

    async def main() -> None:
        async with pending as db, db.execute("SELECT 1") as cursor:
            assert await cursor.fetchone() == (1,)

    run(main)


def test_never_connected_needs_no_close(run: Run) -> None:
    pending = lib.connect(":memory:")
    del pending
    gc.collect()


NOT_CONNECTED: dict[str, Callable[[Any], Any]] = {
    "execute": lambda db: db.execute("SELECT 1"),
    "executemany": lambda db: db.executemany("SELECT 1", []),
    "executescript": lambda db: db.executescript(""),
    "execute_insert": lambda db: db.execute_insert("SELECT 1"),
    "execute_fetchall": lambda db: db.execute_fetchall("SELECT 1"),
    "cursor": lambda db: db.cursor(),
    "commit": lambda db: db.commit(),
    "rollback": lambda db: db.rollback(),
    "interrupt": lambda db: db.interrupt(),
}
ATTRIBUTES = [
    "in_transaction",
    "isolation_level",
    "row_factory",
    "text_factory",
    "total_changes",
    "_conn",
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", list(NOT_CONNECTED))
def test_calls_at_the_wrong_time(run: Run, name: str, when: str) -> None:
    async def main() -> None:
        db = lib.connect(":memory:")
        if when == "after":
            await db
            await db.close()
        error = await caught(NOT_CONNECTED[name](db))
        assert type(error) is ValueError
        # aiosqlite says it otherwise for these two.
        other = not IS_LOOPLITE and name in ("execute_insert", "execute_fetchall")
        assert str(error) == ("Connection closed" if other else "no active connection")

    run(main)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_at_the_wrong_time(run: Run, name: str, when: str) -> None:
    async def main() -> None:
        db = lib.connect(":memory:")
        if when == "after":
            await db
            await db.close()
        with pytest.raises(ValueError, match=r"^no active connection$"):
            getattr(db, name)
        if name in ("isolation_level", "row_factory", "text_factory"):
            with pytest.raises(ValueError, match=r"^no active connection$"):
                setattr(db, name, None)

    run(main)


def test_cursor_after_close(run: Run) -> None:
    async def main() -> None:
        db = await lib.connect(":memory:")
        cursor = await db.execute("SELECT 1 AS one")
        await db.close()
        call: Callable[..., Any]
        for call in (
            lambda: cursor.execute("SELECT 1"),
            lambda: cursor.executemany("SELECT 1", []),
            lambda: cursor.executescript(""),
            lambda: cursor.fetchone(),
            lambda: cursor.fetchmany(2),
            lambda: cursor.fetchall(),
            lambda: cursor.close(),
        ):
            error = await caught(call())
            assert type(error) is ValueError
            assert str(error) == "Connection closed"
        assert cursor.description[0][0] == "one"
        assert cursor.rowcount == -1

    run(main)


def test_close_more_than_once(run: Run) -> None:
    async def main() -> None:
        db = lib.connect(":memory:")
        await db.close()
        await db
        await db.close()
        await db.close()

    run(main)


@looplite_only
def test_close_twice_at_once(run: Run) -> None:
    """aiosqlite's second one never comes back."""

    async def main() -> None:
        db = await lib.connect(":memory:")
        await asyncio.gather(db.close(), db.close(), db.close())
        assert db.closed

    run(main)


@looplite_only
def test_closed_tells_the_state(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            assert db.closed is False
        assert db.closed is True

    run(main)


@pytest.mark.parametrize("state", ["open", "closed", "closed before connecting"])
def test_connecting_again(run: Run, state: str) -> None:
    async def main() -> None:
        db = await lib.connect(":memory:")
        if state != "open":
            await db.close()
        error = await caught(db)
        assert type(error) is RuntimeError
        assert str(error) == "threads can only be started once"
        if state == "open":
            async with db.execute("SELECT 1") as cursor:
                assert await cursor.fetchone() == (1,)
            await db.close()

    run(main)


def test_work_asked_for_behind_a_close(run: Run) -> None:
    async def main() -> None:
        db = await lib.connect(":memory:")
        closing = asyncio.ensure_future(db.close())
        late = asyncio.ensure_future(db.execute("SELECT 1"))
        error = await caught(late)
        assert isinstance(error, (sqlite3.ProgrammingError, ValueError))
        assert "closed" in str(error) or "no active connection" in str(error)
        await closing

    run(main)


def test_work_asked_for_before_a_close_is_done(run: Run, path: Path) -> None:
    make(path, "CREATE TABLE t(v)")

    async def main() -> None:
        db = await lib.connect(path, isolation_level=None)
        work = [
            asyncio.ensure_future(db.execute("INSERT INTO t VALUES (?)", (n,))) for n in range(20)
        ]
        await asyncio.sleep(0)
        await db.close()
        await asyncio.gather(*work)

    run(main)
    assert rows(path, "SELECT count(*) FROM t") == [(20,)]


def test_leaving_without_commit_rolls_back(run: Run, path: Path) -> None:
    make(path, "CREATE TABLE t(v)")

    async def main() -> None:
        async with lib.connect(path) as db:
            await db.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with lib.connect(path) as db:
                await db.execute("INSERT INTO t VALUES (2)")
                raise ZeroDivisionError

    run(main)
    assert rows(path, "SELECT * FROM t") == []


@looplite_only
def test_close_with_cursors_half_read(run: Run, path: Path) -> None:
    """The file is let go of for good: it can be locked by others at once, and no -wal is left."""
    make(path, "PRAGMA journal_mode = WAL; CREATE TABLE t(v); INSERT INTO t VALUES (1), (2), (3)")

    async def main() -> None:
        db = await lib.connect(path)
        cursors = [await db.execute("SELECT a.v FROM t a, t b, t c") for _ in range(5)]
        for cursor in cursors:
            await cursor.fetchone()
        await db.close()
        assert not path.with_name("test.db-wal").exists()

    run(main)
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("DELETE FROM t")
        other.commit()


def test_a_dropped_connection_warns(run: Run, path: Path) -> None:
    async def main() -> None:
        db = await lib.connect(path)
        await db.execute("CREATE TABLE t(v)")
        with pytest.warns(ResourceWarning, match="was deleted before being closed"):  # noqa: PT031
            del db
            gc.collect()

    run(main)


def test_failed_connection_is_as_if_never_opened(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        db = lib.connect(tmp_path)
        with pytest.raises(sqlite3.OperationalError):
            await db
        with pytest.raises(ValueError, match="no active connection"):
            await db.execute("SELECT 1")
        await db.close()

    run(main)


def test_several_at_once(run: Run, path: Path) -> None:
    async def main() -> None:
        opened = await asyncio.gather(*(lib.connect(path) for _ in range(30)))
        cursors = await asyncio.gather(*(db.execute("SELECT 1") for db in opened))
        assert await asyncio.gather(*(c.fetchone() for c in cursors)) == [(1,)] * 30
        await asyncio.gather(*(db.close() for db in opened))

    run(main)


def test_names_of_the_module_are_sqlite3s() -> None:
    for name in [
        "Error",
        "DatabaseError",
        "IntegrityError",
        "NotSupportedError",
        "OperationalError",
        "ProgrammingError",
        "Warning",
        "Row",
        "register_adapter",
        "register_converter",
        "paramstyle",
        "sqlite_version",
        "sqlite_version_info",
    ]:
        assert getattr(lib, name) is getattr(sqlite3, name), name
    if IS_LOOPLITE:
        assert lib.InterfaceError is sqlite3.InterfaceError
