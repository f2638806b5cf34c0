"""open_db(), get_db(), and the dependency, in FastAPI and without it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import looplite
import pytest
from looplite.crud import (
    DEFAULT_PRAGMAS,
    fetch_all,
    fetch_scalar,
    get_db,
    insert,
    make_fastapi_db_dependency,
    open_db,
)
from support import looplite_only
from support.locks import make, probe, rows
from support.loops import caught, until

pytestmark = looplite_only


@pytest.fixture
def path(path: Path) -> Path:
    make(path, "CREATE TABLE t(x NOT NULL)")
    return path


def found(path: Path) -> list[object]:
    return [x for (x,) in rows(path, "SELECT x FROM t ORDER BY x")]


async def pragma(db: Any, name: str) -> object:
    return await fetch_scalar(db, f"PRAGMA {name}")


@pytest.mark.parametrize("opened", [open_db, get_db])
def test_the_block_commits_rolls_back_and_closes(
    run: Callable[..., Any], path: Path, opened: Callable[..., Any]
) -> None:
    async def main() -> None:
        async with opened(path) as db:
            await insert(db, "t", {"x": 1})
            await db.execute("INSERT INTO t VALUES (2)")
        assert db.closed
        assert found(path) == [1, 2]
        with pytest.raises(sqlite3.IntegrityError):  # noqa: PT012
            async with opened(path) as db:
                await insert(db, "t", {"x": 3})
                await insert(db, "t", {"x": None})
        assert db.closed
        db = await opened(path)
        await insert(db, "t", {"x": 4})
        await db.commit()
        await db.close()
        assert found(path) == [1, 2, 4]

    run(main)


def test_a_cancelled_block_is_rolled_back_and_closed(run: Callable[..., Any], path: Path) -> None:
    async def main() -> None:
        inside = asyncio.Event()
        seen: list[Any] = []

        async def block() -> None:
            async with get_db(path) as db:
                seen.append(db)
                await insert(db, "t", {"x": 1})
                inside.set()
                await asyncio.sleep(3600)

        task = asyncio.ensure_future(block())
        await inside.wait()
        task.cancel()
        assert isinstance(await caught(task), asyncio.CancelledError)
        assert seen[0].closed
        with probe(path) as other:
            assert not other.write_locked()
        assert found(path) == []

    run(main)


def test_a_block_whose_commit_fails_raises_and_closes(path: Path) -> None:
    make(
        path,
        "CREATE TABLE u(t REFERENCES v(x) DEFERRABLE INITIALLY DEFERRED);"
        "CREATE TABLE v(x PRIMARY KEY)",
    )

    async def main() -> None:
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            async with get_db(path) as db:
                await insert(db, "u", {"t": 1})
        assert db.closed
        assert rows(path, "SELECT * FROM u") == []

    asyncio.run(main())


def test_a_connection_that_is_closed_in_the_block(path: Path) -> None:
    async def main() -> None:
        async with get_db(path) as db:
            await insert(db, "t", {"x": 1})
            await db.commit()
            await db.close()

    asyncio.run(main())
    assert found(path) == [1]


def test_settings(path: Path) -> None:
    async def main() -> None:
        async with open_db(path) as db:
            assert isinstance((await fetch_all(db, "SELECT 1 AS a"))[0], looplite.Row)
            assert await pragma(db, "journal_mode") == "wal"
            assert await pragma(db, "foreign_keys") == 1
            assert await pragma(db, "synchronous") == 1
            assert await pragma(db, "cache_size") == -64_000
            assert await pragma(db, "temp_store") == 2
        async with open_db(path, {"SYNCHRONOUS": "FULL", "user_version": 5}) as db:
            assert await pragma(db, "synchronous") == 2
            assert await pragma(db, "user_version") == 5
            assert await pragma(db, "foreign_keys") == 1
        async with open_db(path, ["cache_size=-100", "foreign_keys = off"]) as db:
            assert await pragma(db, "cache_size") == -100
            assert await pragma(db, "foreign_keys") == 0
        async with open_db(f"file:{path}?mode=ro") as db:
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                await insert(db, "t", {"x": 1})

    asyncio.run(main())
    assert DEFAULT_PRAGMAS["journal_mode"] == "WAL"


def test_mistakes_are_told(tmp_path: Path) -> None:
    wrong: Any = {"no name": 1}
    with pytest.raises(ValueError, match="not the name of a pragma"):
        open_db(tmp_path / "a.db", wrong)
    with pytest.raises(ValueError, match="not the name of a pragma"):
        make_fastapi_db_dependency(tmp_path / "a.db", wrong)
    with pytest.raises(TypeError, match="not one str"):
        get_db(tmp_path / "a.db", "foreign_keys=1")

    async def main() -> None:
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            async with get_db(tmp_path / "none" / "a.db"):
                pass
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            await get_db(tmp_path / "none" / "a.db")

    asyncio.run(main())


# ---- the dependency ------------------------------------------------------------------------------


def test_dependency_with_async_with(run: Callable[..., Any], path: Path) -> None:
    get = make_fastapi_db_dependency(path)

    async def main() -> None:
        async with get() as db, get() as other:
            assert db is not other
            await insert(db, "t", {"x": 1})
        assert found(path) == [1]
        with pytest.raises(LookupError):  # noqa: PT012
            async with get() as db:
                await insert(db, "t", {"x": 2})
                raise LookupError
        assert db.closed
        assert found(path) == [1]
        async for db in get():
            await insert(db, "t", {"x": 3})
        assert found(path) == [1, 3]

    run(main)


def application(path: Path, pragmas: Any = None) -> Any:
    fastapi = pytest.importorskip("fastapi")
    get = make_fastapi_db_dependency(path, pragmas)
    app = fastapi.FastAPI()

    @app.post("/add/{x}")  # type: ignore[untyped-decorator]
    async def add(x: int, db: Any = fastapi.Depends(get, scope="function")) -> dict[str, int]:  # noqa: B008
        await insert(db, "t", {"x": x})
        if x > 100:
            raise fastapi.HTTPException(409, "too many")
        if x > 50:
            raise LookupError
        return {"added": x}

    @app.post("/refused")  # type: ignore[untyped-decorator]
    async def refused(db: Any = fastapi.Depends(get, scope="function")) -> int:  # noqa: B008
        return await insert(db, "child", {"t": 1})  # the commit finds out

    @app.get("/all")  # type: ignore[untyped-decorator]
    async def everything(db: Any = fastapi.Depends(get, scope="function")) -> list[int]:  # noqa: B008
        return [row["x"] for row in await fetch_all(db, "SELECT x FROM t ORDER BY x")]

    @app.post("/slow")  # type: ignore[untyped-decorator]
    async def slow(db: Any = fastapi.Depends(get, scope="function")) -> None:  # noqa: B008
        await insert(db, "t", {"x": -1})
        app.state.inside.set()
        await asyncio.sleep(3600)

    return app


def test_dependency_in_fastapi(path: Path) -> None:
    httpx = pytest.importorskip("httpx")
    make(
        path,
        "CREATE TABLE child(t REFERENCES parent(x) DEFERRABLE INITIALLY DEFERRED);"
        "CREATE TABLE parent(x PRIMARY KEY)",
    )
    app = application(path)

    async def main() -> None:
        app.state.inside = asyncio.Event()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answers = await asyncio.gather(
                *(client.post(f"/add/{x}") for x in (*range(20), 60, 61, 101, 102))
            )
            assert [answer.status_code for answer in answers] == [200] * 20 + [500] * 2 + [409] * 2
            assert (await client.get("/all")).json() == list(range(20))
            assert (await client.post("/refused")).status_code == 500
            task = asyncio.ensure_future(client.post("/slow"))
            await app.state.inside.wait()
            task.cancel()
            assert isinstance(await caught(task), asyncio.CancelledError)
            with probe(path) as other:
                await until(lambda: not other.write_locked())
            assert (await client.get("/all")).json() == list(range(20))

    asyncio.run(main())
