"""The ASGI middleware behind Starlette, FastAPI and Litestar.

It looks at the messages that the application sends. The first, `http.response.start`, has the
status; the request's work is committed or rolled back before that message goes on, so nobody is
told of something that was not written. It adds no task: a request of which the client has left is
cancelled, or is not, as the framework likes, and both ends in `Work`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from looplite.exceptions import ImproperConfigurationError
from looplite.extensions._web import PluginBase, Work

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

WORK = "looplite.work"
"""Where the scope has the work of each plugin."""


class SQLSpecMiddleware:
    """Gives each request its sessions."""

    def __init__(self, app: App, plugin: PluginBase) -> None:
        self.app = app
        self._plugin = plugin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, one WebSocket, or something else that is passed on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        async with await self._plugin.work(scope.get("method")) as work:
            work.attach(scope.setdefault("state", {}))
            scope.setdefault(WORK, {})[self._plugin] = work

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await work.finish(message["status"])
                await send(message)

            await self.app(scope, receive, answer)


def work_of(plugin: PluginBase, scope: MutableMapping[str, Any]) -> Work:
    """The work of the running request."""
    work: Work | None = scope.get(WORK, {}).get(plugin)
    if work is None:
        raise ImproperConfigurationError(
            "the request has no session: the plugin is not installed in the application that "
            "answers it (init_app, or Litestar's plugins=)"
        )
    return work
