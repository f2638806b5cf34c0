"""Starlette: `SQLSpecPlugin(sqlspec, app)`, or `init_app(app)` later.

    request.state.db_session              the session of the request, under its `session_key`
    await request.state.db_connection     its connection, under `connection_key`
    app.state.db_pool                     the pool, under `pool_key`

The settings are in `extension_config["starlette"]`; docs/guide/web.md says what each does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from looplite.base import SQLSpec
from looplite.exceptions import ImproperConfigurationError
from looplite.extensions._asgi import SQLSpecMiddleware, work_of
from looplite.extensions._web import (
    CommitMode,
    PluginBase,
    RequestConnection,
    RequestSession,
    SQLSpecConfig,
)

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import HTTPConnection

    from looplite._core import Connection
    from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver

__all__ = [
    "CommitMode",
    "RequestConnection",
    "RequestSession",
    "SQLSpecConfig",
    "SQLSpecMiddleware",
    "SQLSpecPlugin",
]


class SQLSpecPlugin(PluginBase):
    """Gives each request of an application its sessions, and closes the pools at its end."""

    frameworks: ClassVar[tuple[str, ...]] = ("starlette",)

    def __init__(
        self,
        sqlspec: SQLSpec | None = None,
        app: Starlette | None = None,
        *,
        config: SQLSpecConfig | None = None,
    ) -> None:
        super().__init__(sqlspec, config=config)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Starlette) -> None:
        """Adds the middleware, outside of those that the application has, and the lifespan."""
        if any(one.kwargs.get("plugin") is self for one in app.user_middleware):
            raise ImproperConfigurationError("the plugin is installed in this application already")
        assert self.states  # what is wrong with the settings is said now
        app.add_middleware(SQLSpecMiddleware, plugin=self)
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def around(running: Any) -> AsyncIterator[Any]:
            async with self.lifespan(app), inner(running) as state:
                yield state

        app.router.lifespan_context = around

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """The pools, for as long as the application runs; `init_app` puts it there."""
        async with self.pools() as pools:
            for key, pool in pools.items():
                setattr(app.state, key, pool)
            yield

    def get_session(
        self, request: HTTPConnection, key: str | AiosqliteConfig | None = None
    ) -> AiosqliteDriver:
        """The request's session, of the first configuration unless another is named."""
        return work_of(self, request.scope).session(self.state_for(key))

    async def get_connection(
        self, request: HTTPConnection, key: str | AiosqliteConfig | None = None
    ) -> Connection:
        """The request's own connection, taken from the pool when this is first called."""
        connection: Connection = await self.get_session(request, key).own_connection()
        return connection
