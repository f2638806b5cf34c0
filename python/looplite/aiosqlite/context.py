"""The names of ``aiosqlite.context``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar

from looplite._core import Cursor, Result

__all__ = ["Cursor", "Result", "contextmanager"]

_T = TypeVar("_T")


def contextmanager(method: Callable[..., Coroutine[Any, Any, _T]]) -> Callable[..., Result[_T]]:
    """Makes a method that is ``async def`` give a ``Result``: awaited, or entered with ``async
    with``.
    """

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Result[_T]:
        return Result(method(self, *args, **kwargs))

    return call
