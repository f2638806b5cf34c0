"""The plugin of Litestar: two middlewares, dependencies, lifespan.

The outer middleware gives a request its sessions and takes them back. The inner one is next to the
handler and ends the transaction: a middleware between them that writes while the answer passes it,
as the one of server-side sessions does, finds the write lock free.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.middleware.base import DefineMiddleware
from litestar.plugins import InitPluginProtocol
from litestar.types import Scope

from looplite._core import Connection, Pool
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.base import SQLSpec
from looplite.exceptions import ImproperConfigurationError
from looplite.extensions._asgi import (
    App,
    Message,
    Receive,
    Send,
    SQLSpecMiddleware,
    work_of,
)
from looplite.extensions._web import ConfigState, PluginBase, SQLSpecConfig

if TYPE_CHECKING:
    from litestar import Litestar
    from litestar.config.app import AppConfig


class FinishMiddleware:
    """Ends the transaction before an answer leaves the handler."""

    def __init__(self, app: App, plugin: SQLSpecPlugin) -> None:
        self.app = app
        self._plugin = plugin

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        work = work_of(self._plugin, scope)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                await work.finish(message["status"])
            await send(message)

        await self.app(scope, receive, answer)


class SQLSpecPlugin(PluginBase, InitPluginProtocol):
    """Gives each request of an application its sessions, and closes the pools at its end."""

    frameworks = ("litestar",)
    extra_keys = ("session_table",)

    def __init__(
        self, sqlspec: SQLSpec | None = None, *, config: SQLSpecConfig | None = None
    ) -> None:
        super().__init__(sqlspec, config=config)

    @property
    def config(self) -> list[AiosqliteConfig]:
        """The configurations."""
        return [state.config for state in self.states]

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Adds middlewares, dependencies and lifespan; Litestar calls it."""
        for state in self.injected:
            for key, provide in (
                (state.session_key, self._session_provider(state)),
                (state.connection_key, self._connection_provider(state)),
                (state.pool_key, self._pool_provider(state)),
            ):
                if key in app_config.dependencies:
                    raise ImproperConfigurationError(
                        f"the application has a dependency {key!r} already; give the plugin's "
                        f"another name in extension_config['litestar']"
                    )
                app_config.dependencies[key] = provide
        outer: Any = SQLSpecMiddleware
        inner: Any = FinishMiddleware
        app_config.middleware.insert(0, DefineMiddleware(outer, plugin=self))
        app_config.middleware.append(DefineMiddleware(inner, plugin=self))
        app_config.lifespan.insert(0, self.lifespan)
        for name, value in (
            ("AiosqliteDriver", AiosqliteDriver),
            ("AiosqliteConnection", Connection),
            ("Pool", Pool),
        ):
            app_config.signature_namespace.setdefault(name, value)
        return app_config

    @asynccontextmanager
    async def lifespan(self, app: Litestar) -> AsyncIterator[None]:
        """The pools, for as long as the application runs."""
        async with self.pools() as pools:
            app.state.update(pools)
            yield

    def _session_provider(self, state: ConfigState) -> Provide:
        def provide(scope: Scope) -> AiosqliteDriver:
            return work_of(self, _mutable(scope)).session(state)

        return Provide(provide, sync_to_thread=False)

    def _connection_provider(self, state: ConfigState) -> Provide:
        async def provide(scope: Scope) -> Connection:
            session = work_of(self, _mutable(scope)).session(state)
            connection: Connection = await session.own_connection()
            return connection

        return Provide(provide)

    def _pool_provider(self, state: ConfigState) -> Provide:
        async def provide() -> Pool:
            return await state.config.create_pool()

        return Provide(provide)

    def get_config(self, name: str | AiosqliteConfig) -> AiosqliteConfig:
        """A configuration by its session_key, connection_key or pool_key."""
        return self.state_for(name).config

    def get_session(
        self,
        request: ASGIConnection[Any, Any, Any, Any],
        key: str | AiosqliteConfig | None = None,
    ) -> AiosqliteDriver:
        """The request's session where there are no dependencies: guards, middlewares, hooks."""
        return work_of(self, _mutable(request.scope)).session(self.state_for(key))

    async def get_connection(
        self,
        request: ASGIConnection[Any, Any, Any, Any],
        key: str | AiosqliteConfig | None = None,
    ) -> Connection:
        """The request's own connection, likewise."""
        connection: Connection = await self.get_session(request, key).own_connection()
        return connection


def _mutable(scope: Any) -> dict[str, Any]:
    """A scope as what it is, a dict; Litestar's types of it are narrower."""
    found: dict[str, Any] = scope
    return found
