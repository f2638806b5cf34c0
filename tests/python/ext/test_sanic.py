"""`looplite.extensions.sanic`: its example on Sanic's server, over HTTP."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

sanic = pytest.importorskip("sanic")
httpx = pytest.importorskip("httpx")

from support import web  # noqa: E402


class Shop:
    """The example."""

    def __init__(self) -> None:
        self.app: Any = None
        self.more: list[tuple[Any, str]] = []

    @asynccontextmanager
    async def serve(self, path: Path) -> AsyncIterator[str]:
        self.app = web.example("web_sanic").create_app(str(path))
        for handler, where in self.more:
            self.app.add_route(handler, where, methods=["POST"])
        sock = web.listening()
        self.app.config.MOTD = False
        server = await self.app.create_server(sock=sock, return_asyncio_server=True)
        await server.startup()
        await server.before_start()
        await server.after_start()
        try:
            yield web.url(sock)
        finally:
            await server.before_stop()
            await server.close()
            for connection in list(server.connections):
                connection.close()
            await server.after_stop()
            sock.close()

    def pool(self) -> Any:
        return self.app.ctx.db_pool


@pytest.fixture
def shop() -> Iterator[Shop]:
    """Sanic rewrites its own functions for each application; in test mode it can do so again."""
    sanic.Sanic._app_registry.clear()
    sanic.Sanic.test_mode = True
    try:
        yield Shop()
    finally:
        sanic.Sanic.test_mode = False
        sanic.Sanic._app_registry.clear()


def test_mixed_load(path: Path, shop: Shop) -> None:
    asyncio.run(web.mixed_load(shop.serve, path, shop.pool))


def test_clients_that_leave(path: Path, shop: Shop) -> None:
    asyncio.run(web.all_leave(shop.serve, path, shop.pool))


def test_commit_that_fails(path: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(web.commit_fails(shop.serve, path, shop.pool, monkeypatch))


def test_streamed_answers(path: Path, shop: Shop) -> None:
    """The status that is sent decides, not the one that was prepared."""
    insert = "INSERT INTO placed VALUES (?, 0)"

    async def breaks(request: Any, ref: str) -> None:
        """Sanic answers 500, since nothing was sent."""
        await request.ctx.db_session.execute(insert, ref)
        await request.respond()
        raise LookupError

    async def streams(request: Any, ref: str) -> None:
        await request.ctx.db_session.execute(insert, ref)
        response = await request.respond()
        assert request.ctx.db_session.in_transaction
        await response.send("one")
        assert not request.ctx.db_session.in_transaction
        await response.eof()

    shop.more = [(breaks, "/breaks/<ref:str>"), (streams, "/streams/<ref:str>")]

    async def main() -> dict[str, int | None]:
        async with shop.serve(path) as base, httpx.AsyncClient(base_url=base) as client:
            return {
                name: (await client.post(f"/{name}/{name}")).status_code
                for name in ("breaks", "streams")
            }

    statuses = asyncio.run(main())
    assert statuses == {"breaks": 500, "streams": 200}
    db = sqlite3.connect(path)
    assert db.execute("SELECT ref FROM placed").fetchall() == [("streams",)]
    db.close()
