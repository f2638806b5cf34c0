"""`looplite.extensions.starlette`: its example under uvicorn, over HTTP."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("httpx")

from support import web


class Shop:
    """The example, and the pool of the application that runs."""

    def __init__(self) -> None:
        self.app: Any = None

    def serve(self, path: Path) -> AbstractAsyncContextManager[str]:
        self.app = web.example("web_starlette").create_app(str(path))
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
