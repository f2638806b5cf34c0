"""Disks, directories and slow functions: the documented exception, and a pool that can be used afterwards.

A full disk is a small tmpfs, which takes root's rights to mount (the failing VFS of the C tests needs none). A directory
that cannot be written is one of another user: root takes that user's rights meanwhile.
"""
# ruff: noqa: ASYNC110, ASYNC221, E501, PT012, PT017, RUF043

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from looplite.adapters.aiosqlite import AiosqliteConfig
from looplite.exceptions import DatabaseConnectionError, DiskFullError, LoopliteError, ReadOnlyError
from support.locks import rows as rows_of

Run = Callable[..., Any]
NOBODY = 65534


async def grouped(config: AiosqliteConfig) -> None:
    """There is a table t, and if writes are to be grouped, they are."""
    async with config.provide_session() as session:
        await session.execute("CREATE TABLE t(x)")
        while config.connection_config["group_commit"] and config.stats()["group_members"] == 0:
            await session.execute("INSERT INTO t VALUES (0)")
        await session.execute("DELETE FROM t")


# ---- a full disk --------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    where = tmp_path / "small"
    where.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(where)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize("group", [False, True])
def test_a_full_disk(run: Run, small: Path, journal: str, group: bool) -> None:
    path = small / "a.db"
    config = AiosqliteConfig(
        connection_config={
            "database": path,
            "group_commit": group,
            "pragmas": {"journal_mode": journal},
        }
    )

    async def write(n: int) -> int | None:
        async with config.provide_session() as session:
            try:
                await session.execute("INSERT INTO t VALUES (?)", bytes([n]) * 20000)
            except DiskFullError as error:
                assert isinstance(error, sqlite3.OperationalError)
                return None
            return n

    async def main() -> list[int]:
        await grouped(config)
        wrote = await asyncio.gather(*(write(n) for n in range(50)))
        kept = sorted(n for n in wrote if n is not None)
        # (In a group the disk may be full at its commit, which is everybody's then.)
        assert 0 < len(kept) < 50 or (group and not kept)
        async with config.provide_session() as session:
            with pytest.raises(DiskFullError):
                async with session.transaction():
                    for n in range(50):
                        await session.execute("INSERT INTO t VALUES (?)", bytes([n]) * 20000)
            rows = await session.select("SELECT x FROM t")
            assert sorted(row["x"][0] for row in rows) == kept
            # Room is made, by somebody or something else, and all goes on.
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        assert await write(100) == 100
        async with config.provide_session() as session, session.transaction():
            await session.execute("INSERT INTO t VALUES (x'c8')")
        stats = config.stats()
        assert stats["leased"] == stats["waiting"] == 0
        await config.close_pool()
        return [*kept, 100, 200]

    kept = run(main)
    assert sorted(row[0][0] for row in rows_of(path, "SELECT x FROM t")) == kept  # type: ignore[index]
    assert rows_of(path, "PRAGMA integrity_check") == [("ok",)]


# ---- a directory that cannot be written ---------------------------------------------------------


@contextlib.contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """Nobody may make files in the folder: not even we, if we are root."""
    root = os.geteuid() == 0
    folder.chmod(0o555)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that everybody can look into."""
    with tempfile.TemporaryDirectory(prefix="looplite-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("group", [False, True])
def test_a_directory_in_which_no_file_can_be_made(run: Run, folder: Path, group: bool) -> None:
    config = AiosqliteConfig(connection_config={"database": folder / "a.db", "group_commit": group})

    async def main() -> None:
        async with config.provide_session() as session:
            with without_rights(folder):
                for _ in range(2):
                    with pytest.raises(DatabaseConnectionError, match="unable to open"):
                        await session.execute("INSERT INTO t VALUES (1)")
                    with pytest.raises(DatabaseConnectionError, match="unable to open"):
                        await session.begin()
            await session.execute("CREATE TABLE t(x)")
            await session.execute("INSERT INTO t VALUES (1)")
            assert await session.select("SELECT x FROM t") == [{"x": 1}]
        assert config.stats()["leased"] == 0
        await config.close_pool()

    run(main)


@pytest.mark.parametrize("group", [False, True])
def test_a_file_that_can_be_read_only(run: Run, folder: Path, group: bool) -> None:
    path = folder / "a.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t(x)")
    path.chmod(0o444)
    config = AiosqliteConfig(connection_config={"database": path, "group_commit": group})

    async def main() -> None:
        with without_rights(folder):
            async with config.provide_session() as session:
                for _ in range(3):
                    with pytest.raises(ReadOnlyError):
                        await session.execute("INSERT INTO t VALUES (1)")
                with pytest.raises(ReadOnlyError):
                    async with session.transaction():
                        await session.execute("INSERT INTO t VALUES (1)")
                assert await session.select("SELECT x FROM t") == []
            assert config.stats()["leased"] == 0
            await config.close_pool()

    run(main)


@pytest.mark.parametrize("group", [False, True])
def test_a_journal_that_cannot_be_made(run: Run, folder: Path, group: bool) -> None:
    """The file could be written, but not the one beside it."""
    path = folder / "a.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t(x)")
    path.chmod(0o666)
    config = AiosqliteConfig(
        connection_config={
            "database": path,
            "group_commit": group,
            "pragmas": {"journal_mode": "delete"},
        }
    )

    async def main() -> None:
        async with config.provide_session() as session:
            with without_rights(folder):
                for _ in range(3):
                    with pytest.raises(LoopliteError, match="unable to open|readonly"):
                        await session.execute("INSERT INTO t VALUES (1)")
                with pytest.raises(LoopliteError, match="unable to open|readonly"):
                    async with session.transaction():
                        await session.execute("INSERT INTO t VALUES (1)")
                assert await session.select("SELECT x FROM t") == []
            await session.execute("INSERT INTO t VALUES (2)")
            assert await session.select("SELECT x FROM t") == [{"x": 2}]
        assert config.stats()["leased"] == 0
        await config.close_pool()

    run(main)
    assert rows_of(path, "SELECT x FROM t") == [(2,)]


# ---- a slow function over a database in memory --------------------------------------------------


@pytest.mark.skipif(
    sqlite3.sqlite_version_info < (3, 36),
    reason="SQLite < 3.36 shares memory by a shared cache only: one statement at a time has it",
)
@pytest.mark.parametrize("name", [None, "file:looplite-trouble?mode=memory"])
def test_a_scan_that_waits_in_python_beside_reads(run: Run, name: str | None) -> None:
    """The function returns when the reads are done, so it would hang for good if they waited for it."""
    entered, done = threading.Event(), threading.Event()

    def slow(x: int) -> int:
        entered.set()
        done.wait()
        return x

    settings: dict[str, Any] = {"operation_timeout": None, "pool_size": 3}
    if name is not None:
        settings["database"] = name
    config = AiosqliteConfig(
        connection_config=settings,
        driver_features={"custom_functions": [{"name": "slow", "narg": 1, "func": slow}]},
    )

    async def main() -> None:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, x INT)")
            await session.execute_many("INSERT INTO t(x) VALUES (?)", range(100))
        async with config.provide_session() as scanning, config.provide_session() as session:
            scan = asyncio.ensure_future(scanning.select_value("SELECT sum(slow(x)) FROM t"))
            while not entered.is_set():
                await asyncio.sleep(0)
            for n in range(300):
                sql = "SELECT x FROM t WHERE id = ?"
                assert await session.select_value(sql, n % 100 + 1) == n % 100
            assert not scan.done()
            write = asyncio.ensure_future(session.execute("UPDATE t SET x = x + 1"))
            await asyncio.sleep(0)
            assert not write.done()  # it stands behind the scan, and does not fail
            done.set()
            assert await scan == sum(range(100))
            assert (await write).rows_affected == 100
        await config.close_pool()

    run(main)
