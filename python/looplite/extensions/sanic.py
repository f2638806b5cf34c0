"""Sanic: `SQLSpecPlugin(sqlspec, app)`, or `init_app(app)` later.

    request.ctx.db_session              the session of the request, under its `session_key`
    await request.ctx.db_connection     its connection, under `connection_key`
    app.ctx.db_pool                     the pool, under `pool_key`

The settings are in `extension_config["sanic"]`; docs/guide/web.md says what each does.

Sanic has no place around a handler where something could wait for its end, and it swallows what its
response middleware raises. So the transaction is ended by the signal of a whole answer, or by the
first `send` of one that a handler streams, whichever comes first, and both before anything is sent.
What a request has is given back at that signal (by which time a handler that streams is through),
and if there is no answer (Sanic cancels the handler of a client that left), when the task ends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

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
    from sanic import Request, Sanic

    from looplite._core import Connection
    from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver

__all__ = [
    "CommitMode",
    "RequestConnection",
    "RequestSession",
    "SQLSpecConfig",
    "SQLSpecPlugin",
]

FIRST = 1000  # before all other middleware


class SQLSpecPlugin(PluginBase):
    """Gives each request of an application its sessions, and closes the pools at its end."""

    frameworks = ("sanic",)

    def __init__(
        self,
        sqlspec: SQLSpec | None = None,
        app: Sanic[Any, Any] | None = None,
        *,
        config: SQLSpecConfig | None = None,
    ) -> None:
        super().__init__(sqlspec, config=config)
        self._name = f"_looplite_{id(self)}"
        self._open: dict[asyncio.Task[Any], Work] = {}
        """The work of each task that answers requests, one after the other."""
        self._closing: set[asyncio.Task[None]] = set()
        self._apps: list[Any] = []
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Sanic[Any, Any]) -> None:
        """Adds middleware, a signal's handler and listeners."""
        if app in self._apps:
            raise ImproperConfigurationError("the plugin is installed in this application already")
        assert self.states  # what is wrong with the settings is said now
        app.register_middleware(self._begin, "request", priority=FIRST)
        app.add_signal(self._over, "http.lifecycle.response")
        app.register_listener(self._start, "before_server_start")
        app.register_listener(self._stop, "after_server_stop")
        self._apps.append(app)

    async def _start(self, app: Any, *_: Any) -> None:
        for key, pool in (await self.open_pools()).items():
            setattr(app.ctx, key, pool)

    async def _stop(self, app: Any, *_: Any) -> None:
        try:
            for work in self._open.values():
                await work.close()
            self._open.clear()
            await asyncio.gather(*self._closing)
        finally:
            await self.close_pools()

    async def _begin(self, request: Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        before = self._open.pop(task, None)
        if before is None:
            task.add_done_callback(self._ended)
        else:  # its answer broke off
            await before.close()
        method = (
            None if request.headers.get("upgrade", "").lower() == "websocket" else request.method
        )
        work = self._open[task] = await self.work(method)
        work.attach(vars(request.ctx))
        setattr(request.ctx, self._name, work)
        if request.stream is not None:
            _before_first_send(request.stream, work)

    async def _over(self, request: Request, response: Any, **_: Any) -> None:
        """The answer goes out now, if it has not yet."""
        work: Work | None = getattr(request.ctx, self._name, None)
        if work is None:
            return
        await work.finish(response.status)
        task = asyncio.current_task()
        if task is not None and self._open.get(task) is work:
            del self._open[task]
            task.remove_done_callback(self._ended)
        await work.close()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """A task ended with a request that had no answer."""
        work = self._open.pop(task, None)
        if work is not None:
            closing = task.get_loop().create_task(work.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def get_session(
        self, request: Request, key: str | AiosqliteConfig | None = None
    ) -> AiosqliteDriver:
        """The request's session, of the first configuration unless another is named."""
        work: Work | None = getattr(request.ctx, self._name, None)
        if work is None:
            raise ImproperConfigurationError(
                "the request has no session: init_app() was not called with the application that "
                "answers it"
            )
        return work.session(self.state_for(key))

    async def get_connection(
        self, request: Request, key: str | AiosqliteConfig | None = None
    ) -> Connection:
        """The request's own connection, taken from the pool when this is first called."""
        connection: Connection = await self.get_session(request, key).own_connection()
        return connection


def _before_first_send(stream: Any, work: Work) -> None:
    """Ends the transaction before the head of an answer is sent; under Sanic's own server that is
    one function, put in place for each request, and under ASGI the stream's `send`."""
    name = "response_func" if hasattr(stream, "response_func") else "send"
    send = getattr(stream, name)

    async def first(*args: Any, **named: Any) -> Any:
        if stream.response is not None:
            await work.finish(stream.response.status)
        return await send(*args, **named)

    setattr(stream, name, first)
