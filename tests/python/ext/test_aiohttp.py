"""`looplite.extensions.aiohttp`: its example on aiohttp's server, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("httpx")

from aiohttp import web as web_server
from support import web


class Shop:
    """The example; `cancel` makes the server cancel the handler of a client that left."""

    def __init__(self, *, cancel: bool) -> None:
        self.cancel = cancel
        self._pool: Any = None

    @asynccontextmanager
    async def serve(self, path: Path) -> AsyncIterator[str]:
        app = web.example("web_aiohttp").create_app(str(path))

        @web_server.middleware
        async def watch(request: Any, handler: Any) -> Any:
            self._pool = request["db_pool"]
            return await handler(request)

        app.middlewares.append(watch)
        runner = web_server.AppRunner(app, handler_cancellation=self.cancel, access_log=None)
        await runner.setup()
        sock = web.listening()
        await web_server.SockSite(runner, sock).start()
        try:
            yield web.url(sock)
        finally:
            await runner.cleanup()
            sock.close()

    def pool(self) -> Any:
        return self._pool


@pytest.mark.parametrize("cancel", [False, True], ids=["goes on", "cancels"])
def test_mixed_load(path: Path, cancel: bool) -> None:
    shop = Shop(cancel=cancel)
    asyncio.run(web.mixed_load(shop.serve, path, shop.pool))


@pytest.mark.parametrize("cancel", [False, True], ids=["goes on", "cancels"])
def test_clients_that_leave(path: Path, cancel: bool) -> None:
    shop = Shop(cancel=cancel)
    asyncio.run(web.all_leave(shop.serve, path, shop.pool))


def test_commit_that_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(cancel=False)
    asyncio.run(web.commit_fails(shop.serve, path, shop.pool, monkeypatch))
