"""aiohttp: `SQLSpecPlugin(sqlspec, app)`, or `init_app(app)` later.

    request["db_session"]              the session of the request, under its `session_key`
    await request["db_connection"]     its connection, under `connection_key`
    request["db_pool"]                 the pool, under `pool_key`

The settings are in `extension_config["aiohttp"]`; docs/guide/web.md says what each does. The
transaction is ended when the handler has returned its answer, or when it prepares one to stream.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from aiohttp import web

from looplite.base import SQLSpec
from looplite.exceptions import ImproperConfigurationError
from looplite.extensions._web import (
    CommitMode,
    PluginBase,
    RequestConnection,
    RequestSession,
    SQLSpecConfig,
    Work,
)

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from looplite._core import Connection
    from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver

__all__ = [
    "CommitMode",
    "RequestConnection",
    "RequestSession",
    "SQLSpecConfig",
    "SQLSpecPlugin",
]


class SQLSpecPlugin(PluginBase):
    """Gives each request of an application its sessions, and closes the pools at its end."""

    frameworks = ("aiohttp",)

    def __init__(
        self,
        sqlspec: SQLSpec | None = None,
        app: web.Application | None = None,
        *,
        config: SQLSpecConfig | None = None,
    ) -> None:
        super().__init__(sqlspec, config=config)
        self._name = f"looplite.work.{id(self)}"
        self._apps: list[web.Application] = []
        self._warned = False
        if app is not None:
            self.init_app(app)

    def init_app(self, app: web.Application) -> None:
        """Adds the middleware, outside of those that the application has, and the lifespan."""
        if app in self._apps:
            raise ImproperConfigurationError("the plugin is installed in this application already")
        assert self.states  # what is wrong with the settings is said now

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._answer(request, handler)

        app.middlewares.insert(0, middleware)
        app.on_response_prepare.append(self._prepare)
        app.cleanup_ctx.append(self._lifespan)
        self._apps.append(app)

    async def _lifespan(self, app: web.Application) -> AsyncIterator[None]:
        async with self.pools():
            yield

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        is_websocket = request.headers.get("Upgrade", "").lower() == "websocket"
        async with await self.work(None if is_websocket else request.method) as work:
            found: dict[str, Any] = {}
            work.attach(found)
            for state in work.states:
                found[state.pool_key] = state.config.connection_instance
            found[self._name] = work
            self._put(request, found)
            try:
                response = await handler(request)
            except web.HTTPException as answer:
                await work.finish(answer.status)
                raise
            await work.finish(response.status)
            return response

    def _put(self, request: web.Request, found: dict[str, Any]) -> None:
        """The keys are texts, since settings name them; aiohttp warns of each, once."""
        if self._warned:
            request.update(found)
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", web.NotAppKeyWarning)
            request.update(found)
        self._warned = True

    async def _prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """An answer that the handler sends by itself."""
        work: Work | None = request.get(self._name)
        if work is not None:
            await work.finish(response.status)

    def get_session(
        self, request: web.Request, key: str | AiosqliteConfig | None = None
    ) -> AiosqliteDriver:
        """The request's session, of the first configuration unless another is named."""
        work: Work | None = request.get(self._name)
        if work is None:
            raise ImproperConfigurationError(
                "the request has no session: init_app() was not called with the application that "
                "answers it"
            )
        return work.session(self.state_for(key))

    async def get_connection(
        self, request: web.Request, key: str | AiosqliteConfig | None = None
    ) -> Connection:
        """The request's own connection, taken from the pool when this is first called."""
        connection: Connection = await self.get_session(request, key).own_connection()
        return connection
