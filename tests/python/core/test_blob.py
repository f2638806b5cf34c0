"""blobopen(): values that are read and written in pieces, as sqlite3 does it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.errors import raised_by, same_error
from support.locks import make, rows
from support.loops import caught

pytestmark = [
    looplite_only,
    pytest.mark.skipif(not hasattr(sqlite3.Connection, "blobopen"), reason="not in this Python"),
]

Run = Callable[..., Any]


@pytest.fixture
def file(path: Path) -> Path:
    make(path, "CREATE TABLE t(v); INSERT INTO t VALUES (x'00010203040506070809'), ('text')")
    return path


def test_reading_and_writing(run: Run, file: Path) -> None:
    async def main() -> None:
        async with lib.connect(file) as db:
            async with db.blobopen("t", "v", 1) as blob:
                assert isinstance(blob, lib.Blob)
                assert len(blob) == 10
                assert await blob.read(3) == bytes([0, 1, 2])
                assert await blob.tell() == 3
                assert await blob.seek(-2, os.SEEK_END) is None
                assert await blob.read() == bytes([8, 9])
                assert await blob[4] == 4
                assert await blob[-1] == 9
                assert await blob[2:8:2] == bytes([2, 4, 6])
                await blob.seek(1)
                assert await blob.write(b"ab") is None
                await blob.set(0, 77)
                await blob.set(slice(8, 10), b"yz")
                await blob.seek(0)
                assert await blob.read() == b"Mab\3\4\5\6\7yz"
            same_error(
                await caught(blob.read()),
                sqlite3.ProgrammingError("Cannot operate on a closed blob."),
            )
            await blob.close()
            await db.commit()
        await blob.close()

    run(main)
    assert rows(file, "SELECT v FROM t WHERE rowid = 1") == [(b"Mab\3\4\5\6\7yz",)]


def test_awaited_and_closed_by_hand(run: Run, file: Path) -> None:
    async def main() -> None:
        async with lib.connect(file) as db:
            blob = await db.blobopen("t", "v", 2, readonly=True, name="main")
            async with blob:
                assert await blob.read() == b"text"
            with pytest.raises(sqlite3.ProgrammingError, match="closed blob"):
                len(blob)
            left = await db.blobopen("t", "v", 2)
            await asyncio.gather(left.read(1), left.read(1))
            assert await left.tell() == 2
            del left

    run(main)


USES: dict[str, Callable[[Any], Any]] = {
    "too far": lambda b: b.seek(11),
    "origin": lambda b: b.seek(0, 7),
    "read type": lambda b: b.read("x"),
    "write too much": lambda b: b.write(b"x" * 11),
    "write type": lambda b: b.write("x"),
    "no arguments": lambda b: b.write(),
    "index": lambda b: b[10],
    "index type": lambda b: b["x"],
    "set range": lambda b: (b.set if hasattr(b, "set") else b.__setitem__)(0, 300),
    "set type": lambda b: (b.set if hasattr(b, "set") else b.__setitem__)(0, b"x"),
    "set slice": lambda b: (b.set if hasattr(b, "set") else b.__setitem__)(slice(0, 3), b"x"),
    "tell arguments": lambda b: b.tell(1),
}


@pytest.mark.parametrize("use", USES)
def test_mistakes_are_sqlite3s(run: Run, file: Path, use: str) -> None:
    plain: Any = sqlite3.connect(file)
    with plain.blobopen("t", "v", 1) as real:
        expected = raised_by(USES[use], real)
    plain.close()

    async def main() -> None:
        async with lib.connect(file) as db, db.blobopen("t", "v", 1) as blob:
            same_error(await caught(USES[use](blob)), expected)

    run(main)


OPENS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "table": (("no", "v", 1), {}),
    "column": (("t", "no", 1), {}),
    "row": (("t", "v", 99), {}),
    "schema": (("t", "v", 1), {"name": "no"}),
    "type": (("t", "v", "x"), {}),
    "keyword": (("t", "v", 1), {"other": 1}),
}


@pytest.mark.parametrize("case", OPENS)
def test_opening_what_is_not_there(run: Run, file: Path, case: str) -> None:
    args, named = OPENS[case]
    plain: Any = sqlite3.connect(file)
    expected = raised_by(plain.blobopen, *args, **named)
    plain.close()

    async def main() -> None:
        async with lib.connect(file) as db:
            same_error(await caught(db.blobopen(*args, **named)), expected)

    run(main)


def test_a_blob_that_was_changed_expires(run: Run, file: Path) -> None:
    async def main() -> None:
        async with lib.connect(file) as db, db.blobopen("t", "v", 1) as blob:
            await db.execute("UPDATE t SET v = x'00' WHERE rowid = 1")
            with pytest.raises(sqlite3.OperationalError):
                await blob.read()

    run(main)


def test_after_the_connection(run: Run, file: Path) -> None:
    async def main() -> None:
        db = await lib.connect(file)
        blob = await db.blobopen("t", "v", 1)
        await db.close()
        with pytest.raises(ValueError, match="no active connection"):
            await blob.read()
        await blob.close()
        with pytest.raises(sqlite3.ProgrammingError):
            len(blob)

    run(main)


def test_what_cannot_be_awaited_says_so(run: Run, file: Path) -> None:
    async def main() -> None:
        async with lib.connect(file) as db, db.blobopen("t", "v", 1) as blob:
            with pytest.raises(TypeError, match=r"await blob\.set\(key, value\)"):
                blob[0] = 1
            with pytest.raises(TypeError, match="doesn't support item deletion"):
                del blob[0]
            with pytest.raises(TypeError, match="doesn't support slice deletion"):
                del blob[0:2]
            assert await blob.read() == bytes(range(10))

    run(main)


def test_a_block_with_a_closed_blob(run: Run, file: Path) -> None:
    """As sqlite3's: neither its beginning nor its end takes one."""

    async def main() -> None:
        async with lib.connect(file) as db:
            blob = await db.blobopen("t", "v", 1)
            with pytest.raises(sqlite3.ProgrammingError, match="closed blob"):
                async with blob:
                    await blob.close()
            with pytest.raises(sqlite3.ProgrammingError, match="closed blob"):
                async with blob:
                    pytest.fail("it was entered")
            last = await db.blobopen("t", "v", 1)
            async with last:
                await db.close()  # which closes every blob

    run(main)
