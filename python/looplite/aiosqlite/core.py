"""The names of ``aiosqlite.core``, the private ones too that programs and their tests reach for.

``sqlite3``, ``Thread`` and ``_connection_worker_thread`` are there to be patched: a replaced
``sqlite3`` (or ``sqlite3.connect``) makes connections take the generic path, which calls it, and
what that path runs on its thread is ``_connection_worker_thread``. ``Thread`` is only a name: no
connection that looplite opens has a thread.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from threading import Thread
from typing import Any, Literal

from looplite import _thread
from looplite._core import Connection, Cursor, connect
from looplite._thread import LOG
from looplite.aiosqlite.context import contextmanager

__all__ = [
    "LOG",
    "AuthorizerCallback",
    "Connection",
    "Cursor",
    "IsolationLevel",
    "Thread",
    "asyncio",
    "connect",
    "contextmanager",
    "logging",
    "set_exception",
    "set_result",
    "sqlite3",
]

AuthorizerCallback = Callable[[int, str, str, str, str], int]
IsolationLevel = Literal["DEFERRED", "IMMEDIATE", "EXCLUSIVE"] | None

_STOP_RUNNING_SENTINEL = _thread.STOP


def _connection_worker_thread(tx: Any) -> None:
    """What the thread of a generic connection runs."""
    _thread.run(tx)


def set_result(fut: asyncio.Future[Any], result: Any) -> None:
    """Settles a future that is not settled yet."""
    if not fut.done():
        fut.set_result(result)


def set_exception(fut: asyncio.Future[Any], e: BaseException) -> None:
    """Settles a future that is not settled yet."""
    if not fut.done():
        fut.set_exception(e)
