"""`looplite.extensions.fastapi`: its example under uvicorn, over HTTP."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx")

from fastapi import BackgroundTasks, Depends, FastAPI, Request, Response  # noqa: E402
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteConnection, AiosqliteDriver  # noqa: E402
from looplite.exceptions import ImproperConfigurationError  # noqa: E402
from looplite.extensions.fastapi import SQLSpecConfig, SQLSpecPlugin  # noqa: E402
from support import web  # noqa: E402


class Shop:
    """The example, and the pool of the application that runs."""

    def __init__(self) -> None:
        self.app: Any = None

    def serve(self, path: Path) -> AbstractAsyncContextManager[str]:
        self.app = web.example("web_fastapi").create_app(str(path))
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


def test_what_the_guide_says(path: Path) -> None:
    """Exception handlers, answers that cannot be made, connections, background tasks, redirects."""
    config = AiosqliteConfig(
        connection_config={"database": path},
        extension_config={
            "fastapi": {
                "commit_mode": "autocommit_include_redirect",
                "extra_commit_statuses": {402},
                "extra_rollback_statuses": {202},
            }
        },
    )
    plugin = SQLSpecPlugin(config=SQLSpecConfig(configs=[config]))
    app = FastAPI()
    db = Depends(plugin.provide_session())
    raw = Depends(plugin.provide_connection("db_session"))
    seen = []

    async def noted(request: Request, session: AiosqliteDriver = db) -> None:
        assert session is request.state.db_session
        await session.execute("INSERT INTO t VALUES (?)", f"{request.url.path} dependency")

    @app.exception_handler(LookupError)
    async def handled(request: Request, error: Exception) -> Response:
        seen.append(plugin.get_session(request).in_transaction)
        return Response(status_code=200)

    @app.post("/handled", dependencies=[Depends(noted)])
    async def fails_well() -> None:
        raise LookupError

    @app.post("/model", dependencies=[Depends(noted)])
    async def no_model() -> int:
        return "not a number"  # type: ignore[return-value]

    @app.post("/status/{status}", dependencies=[Depends(noted)])
    async def answers(status: int) -> Response:
        return Response(status_code=status)

    @app.post("/raw", dependencies=[Depends(noted)])
    async def with_connection(
        connection: AiosqliteConnection = raw, session: AiosqliteDriver = db
    ) -> None:
        assert session.connection is connection
        await connection.execute("INSERT INTO t VALUES ('raw')")

    async def later() -> None:
        async with config.provide_session() as session:
            seen.append(await session.select_value("SELECT count(*) FROM t WHERE x LIKE '/later%'"))

    @app.post("/later", dependencies=[Depends(noted)])
    async def with_task(tasks: BackgroundTasks) -> None:
        tasks.add_task(later)

    plugin.init_app(app)
    with pytest.raises(ImproperConfigurationError, match="is installed in this application"):
        plugin.init_app(app)

    paths = ["/handled", "/model", "/raw", "/later"]
    paths += [f"/status/{status}" for status in (202, 204, 303, 402, 403)]

    async def main() -> list[int]:
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(x)")
        async with web.uvicorn_serves(app) as base, httpx.AsyncClient(base_url=base) as client:
            return [(await client.post(one)).status_code for one in paths]

    assert asyncio.run(main()) == [200, 500, 200, 200, 202, 204, 303, 402, 403]
    connection = sqlite3.connect(path)
    found = [x for (x,) in connection.execute("SELECT x FROM t")]
    connection.close()
    there = ["/handled", "/raw", "/later", "/status/204", "/status/303", "/status/402"]
    assert [x for x in found if x != "raw"] == [f"{one} dependency" for one in there]
    assert "raw" in found
    assert seen == [True, 1]


def test_application_without_the_plugin(path: Path) -> None:
    plugin = SQLSpecPlugin(config=SQLSpecConfig(configs=[AiosqliteConfig()]))
    with pytest.raises(ImproperConfigurationError, match="the request has no session"):
        plugin.get_session(Request({"type": "http"}))
