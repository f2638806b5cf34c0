"""SQLAlchemy's dialect for looplite: ``create_async_engine("sqlite+looplite:///file.db")``.

SQLAlchemy's own dialect for aiosqlite, on looplite without install(), with two differences. No
thread has to be told not to keep the program alive. And a driver call that needs no waiting, as a
cursor() and an empty rollback() never do, is run where it is: SQLAlchemy's code runs in a greenlet,
and each call of a driver otherwise switches to the event loop's and back. (A statement always
switches: SQLAlchemy insists on one switch for each of its own awaits.)

Imported by SQLAlchemy, by the entry point ``sqlite.looplite``; looplite itself needs no SQLAlchemy.
Works with SQLAlchemy 2.0 and 2.1.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import CoroutineType
from typing import Any, TypeVar

from greenlet import getcurrent
from sqlalchemy.dialects.sqlite import aiosqlite as base
from sqlalchemy.util import concurrency

from looplite import aiosqlite

__all__ = ["LoopliteDialect", "dialect"]

_T = TypeVar("_T")

# "await_only" until 2.1, which has both.
_switch: Any = getattr(concurrency, "await_", None) or concurrency.await_only

_STATEMENTS = ("execute", "executemany")


class _Rest:
    """What is left to await of a coroutine that has begun."""

    __slots__ = ("_coroutine", "_step")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], step: Any) -> None:
        self._coroutine = coroutine
        self._step = step

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine, step = self._coroutine, self._step
        while True:
            try:
                sent = yield step
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as exc:
                try:
                    step = coroutine.throw(exc)
                except StopIteration as stop:
                    return stop.value
            else:
                try:
                    step = coroutine.send(sent)
                except StopIteration as stop:
                    return stop.value


def _await(awaitable: Awaitable[_T]) -> _T:
    """SQLAlchemy's await_(), which switches to the loop only when something is waited for.

    A coroutine of the program always switches. It may start a greenlet itself, which goes back to
    the one in which it began: that must be the loop's, where it will go on.
    """
    if (
        isinstance(awaitable, CoroutineType)
        or not isinstance(awaitable, Coroutine)
        or getattr(awaitable, "__name__", "") in _STATEMENTS
        or not getattr(getcurrent(), "__sqlalchemy_greenlet_provider__", False)
    ):
        result: _T = _switch(awaitable)
        return result
    try:
        step = awaitable.send(None)
    except StopIteration as stop:
        value: _T = stop.value
        return value
    rest: _T = _switch(_Rest(awaitable, step))
    return rest


class _Cursor(base.AsyncAdapt_aiosqlite_cursor):
    """Of 2.0 the base takes its await_() from the connection; of 2.1 it has none to replace."""

    __slots__ = ()

    if hasattr(base.AsyncAdapt_aiosqlite_cursor, "_aenter_cursor"):

        def _aenter_cursor(self, cursor: Any) -> Any:
            try:
                return _await(cursor.__aenter__())
            except Exception as error:
                self._adapt_connection._handle_exception(error)


class _Connection(base.AsyncAdapt_aiosqlite_connection):
    __slots__ = ()

    await_ = staticmethod(_await)  # 2.0
    _cursor_cls = _Cursor  # 2.1

    def cursor(self, server_side: bool = False) -> Any:
        return super().cursor(server_side) if server_side else _Cursor(self)

    def rollback(self) -> None:
        if self._connection._connection is not None:
            try:
                _await(self._connection.rollback())
            except Exception as error:
                self._handle_exception(error)

    def commit(self) -> None:
        if self._connection._connection is not None:
            try:
                _await(self._connection.commit())
            except Exception as error:
                self._handle_exception(error)


class _DBAPI(base.AsyncAdapt_aiosqlite_dbapi):
    def connect(self, *arg: Any, **kw: Any) -> Any:
        creator = kw.pop("async_creator_fn", None)
        kw.pop("async_fallback", None)  # 2.0
        connection = (creator or aiosqlite.connect)(*arg, **kw)
        return _Connection(self, _await(connection.__aenter__() if creator is None else connection))


class LoopliteDialect(base.SQLiteDialect_aiosqlite):
    """``sqlite+looplite``."""

    driver = "looplite"
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Any:
        return _DBAPI(aiosqlite, sqlite3)

    @classmethod
    def load_provisioning(cls) -> None:
        """For SQLAlchemy's test suite: how databases are prepared is looked for beside it."""
        load: Callable[[], None] = base.SQLiteDialect_aiosqlite.load_provisioning
        load()


dialect = LoopliteDialect
