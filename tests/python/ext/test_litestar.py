"""`looplite.extensions.litestar`: its example under uvicorn, over HTTP."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("litestar")
pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx")

from litestar import Litestar, Request, post  # noqa: E402
from litestar.di import NamedDependency  # noqa: E402
from looplite._core import Pool  # noqa: E402
from looplite.adapters.aiosqlite import (  # noqa: E402
    AiosqliteConfig,
    AiosqliteConnection,
    AiosqliteDriver,
)
from looplite.extensions.litestar import SQLSpecConfig, SQLSpecPlugin  # noqa: E402
from support import web  # noqa: E402


class Shop:
    """The example, and the pool of the application that runs."""

    def __init__(self) -> None:
        self.app: Any = None

    def serve(self, path: Path) -> AbstractAsyncContextManager[str]:
        self.app = web.example("web_litestar").create_app(str(path))
        return web.uvicorn_serves(self.app)

    def pool(self) -> Any:
        return self.app.state.db_pool


def test_mixed_load(path: Path) -> None:
    shop = Shop()
    asyncio.run(web.mixed_load(shop.serve, path, shop.pool))


def test_clients_that_leave(path: Path) -> None:
    shop = Shop()
    asyncio.run(web.all_leave(shop.serve, path, shop.pool))


def test_commit_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    asyncio.run(web.commit_fails(shop.serve, path, shop.pool, monkeypatch))


def test_sessions_in_the_same_database(path: Path) -> None:
    """The middleware of server-side sessions writes while the answer of a writing request passes
    it."""
    shop = Shop()

    async def main() -> list[Any]:
        async with (
            shop.serve(path) as base,
            httpx.AsyncClient(base_url=base) as client,
            httpx.AsyncClient(base_url=base) as stranger,
        ):
            for ref in ("one", "two"):
                answer = await client.post("/orders", json=web.order(ref, ("apple", 1)))
                assert answer.status_code == 201, answer.text
            missing = web.order("three", ("apple", 1), ("durian", 1))
            assert (await client.post("/orders", json=missing)).status_code == 404
            return [(await one.get("/last")).json()["ref"] for one in (client, stranger)]

    assert asyncio.run(main()) == ["two", None]
    assert web.check(path, {"one": 201, "two": 201, "three": 404})["committed"] == 2


def test_injection(path: Path) -> None:
    """Session, connection and pool of two configurations, in handlers and where there are none."""
    keys = {"session_key": "b", "connection_key": "b_connection", "pool_key": "b_pool"}
    configs = [
        AiosqliteConfig(
            connection_config={"database": path.with_suffix(f".{name}")},
            extension_config={"litestar": {"commit_mode": "autocommit", **settings}},
        )
        for name, settings in (("a", {}), ("b", keys))
    ]
    plugin = SQLSpecPlugin(config=SQLSpecConfig(configs=configs))

    async def guard(connection: Any, _: Any) -> None:
        assert await plugin.get_session(connection, "b").select_value("SELECT 7") == 7

    @post("/", guards=[guard])
    async def handler(
        request: Request[Any, Any, Any],
        db_session: NamedDependency[AiosqliteDriver],
        db_connection: NamedDependency[AiosqliteConnection],
        db_pool: NamedDependency[Pool],
        b: NamedDependency[AiosqliteDriver],
        b_pool: NamedDependency[Pool],
    ) -> None:
        assert db_session.connection is db_connection
        assert (request.app.state.db_pool, request.app.state.b_pool) == (db_pool, b_pool)
        assert plugin.get_session(request) is db_session is request.state.db_session
        assert plugin.get_session(request, "b") is b is request.state.b
        await db_connection.execute("CREATE TABLE t(x)")
        await b.execute("CREATE TABLE t(x)")

    app = Litestar([handler], plugins=[plugin], logging_config=None)

    async def main() -> None:
        async with web.uvicorn_serves(app) as base, httpx.AsyncClient(base_url=base) as client:
            answer = await client.post("/")
            assert answer.status_code == 201, answer.text
        assert app.state.db_pool.is_closed
        assert app.state.b_pool.is_closed

    asyncio.run(main())
    for name in "ab":
        db = sqlite3.connect(path.with_suffix(f".{name}"))
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]
        db.close()
