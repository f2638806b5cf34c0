"""FastAPI: what `looplite.extensions.starlette` has, and dependencies.

    @app.get("/items")
    async def items(db: Annotated[AiosqliteDriver, Depends(plugin.provide_session())]): ...

The settings are in `extension_config["fastapi"]`, or in that of "starlette" if there are none. The
transaction is ended by the middleware, before the answer is sent; a dependency with `yield` would
be ended behind it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi.requests import HTTPConnection

from looplite._core import Connection
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.extensions import starlette
from looplite.extensions.starlette import (
    CommitMode,
    RequestConnection,
    RequestSession,
    SQLSpecConfig,
    SQLSpecMiddleware,
)

__all__ = [
    "CommitMode",
    "RequestConnection",
    "RequestSession",
    "SQLSpecConfig",
    "SQLSpecMiddleware",
    "SQLSpecPlugin",
]


class SQLSpecPlugin(starlette.SQLSpecPlugin):
    """Gives each request of an application its sessions, and closes the pools at its end."""

    frameworks = ("fastapi", "starlette")

    def provide_session(
        self, key: str | AiosqliteConfig | None = None
    ) -> Callable[[HTTPConnection], Awaitable[AiosqliteDriver]]:
        """A dependency: the request's session."""

        async def session(request: HTTPConnection) -> AiosqliteDriver:
            return self.get_session(request, key)

        return session

    def provide_connection(
        self, key: str | AiosqliteConfig | None = None
    ) -> Callable[[HTTPConnection], Awaitable[Connection]]:
        """A dependency: the request's own connection."""

        async def connection(request: HTTPConnection) -> Connection:
            return await self.get_connection(request, key)

        return connection

    provide_async_session = provide_session
    provide_async_connection = provide_connection
