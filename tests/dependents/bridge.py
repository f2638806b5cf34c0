"""A module that stands in for `sqlite3`: its Connection and Cursor do what `sqlite3`'s do by
running looplite's asynchronous calls to their end on a private event loop. With it CPython's own
tests of `sqlite3` are run on looplite.

It adds nothing to what looplite does: a method is looked up on looplite's object, called, and what
can be awaited is awaited. Only what the two packages spell in different ways is translated:

- a connection opens when it is made, and `factory` is the class of the stand-in;
- `for row in cursor` goes over looplite's `async for`, iterdump() over the rows that it gives;
- what is handed from one object to another (the target of a backup) is looplite's, not ours.

A callback that calls the connection again does what a user of looplite would do. One on the loop
(a row factory, a converter) runs inside a running loop, where nothing can be waited for: the call
is stepped once, and must have its answer then. One on the worker (a function, the progress of a
backup) would wait for itself, which looplite refuses: it uses `_conn`, the sqlite3.Connection.

Everything else that the module has is `sqlite3`'s own, by identity.
"""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import sqlite3.dump
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import looplite

_local = threading.local()


class _Loop:
    """A loop that is closed when its thread ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def __del__(self) -> None:
        self.loop.close()


def _loop() -> asyncio.AbstractEventLoop:
    """This thread's own loop."""
    if not hasattr(_local, "loop"):
        _local.loop = _Loop()
    loop: asyncio.AbstractEventLoop = _local.loop.loop
    return loop


def run(awaitable: Any) -> Any:
    """The result of what can be awaited; what need not be is the result."""
    if not inspect.isawaitable(awaitable):
        return awaitable
    loop = _loop()
    if not loop.is_running():

        async def wait() -> Any:
            return await awaitable

        return loop.run_until_complete(wait())
    steps = awaitable.__await__()
    try:
        steps.send(None)
    except StopIteration as end:
        return end.value
    steps.close()
    raise RuntimeError("a call inside a callback that would have to wait")


def _on_its_worker(error: RuntimeError) -> bool:
    """Whether a call was refused because it comes from what the connection's worker runs."""
    return "on this connection's worker" in str(error)


def _inner(value: Any) -> Any:
    """looplite's object behind one of ours."""
    return value.__dict__["_real"] if isinstance(value, _Object) else value


def _call(real: Any, name: str) -> Callable[..., Any]:
    """A method of looplite's object, waited for."""
    method = getattr(real, name)

    def called(*args: Any, **kwargs: Any) -> Any:
        args = tuple(map(_inner, args))
        kwargs = {name: _inner(each) for name, each in kwargs.items()}
        try:
            return run(method(*args, **kwargs))
        except RuntimeError as error:
            if not isinstance(real, looplite.Connection) or not _on_its_worker(error):
                raise
        return getattr(real._conn, name)(*args, **kwargs)

    return called


class _Object:
    """What Connection and Cursor have in common: attributes are looplite's."""

    _real: Any

    def _behind(self) -> Any:
        try:
            return self.__dict__["_real"]
        except KeyError:
            kind = "Connection" if isinstance(self, Connection) else "Cursor"
            raise sqlite3.ProgrammingError(f"Base {kind}.__init__ not called.") from None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._behind(), name)
        return _call(self._behind(), name) if callable(value) and name not in _VALUES else value

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _VALUES:
            setattr(self._behind(), name, value)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if name in _VALUES:
            delattr(self._behind(), name)
        else:
            object.__delattr__(self, name)


# Attributes that are values, though they may be callable.
_VALUES = frozenset(
    {
        *("row_factory", "text_factory", "isolation_level", "autocommit"),
        *("total_changes", "in_transaction"),
        *("arraysize", "rowcount", "lastrowid", "description"),
    }
)

# The names of sqlite3.connect()'s parameters that may come by position.
_POSITIONS = (
    *("timeout", "detect_types", "isolation_level", "check_same_thread", "factory"),
    *("cached_statements", "uri"),
)


class Connection(_Object):
    """sqlite3.Connection."""

    Warning = sqlite3.Warning
    Error = sqlite3.Error
    InterfaceError = sqlite3.InterfaceError
    DatabaseError = sqlite3.DatabaseError
    DataError = sqlite3.DataError
    OperationalError = sqlite3.OperationalError
    IntegrityError = sqlite3.IntegrityError
    InternalError = sqlite3.InternalError
    ProgrammingError = sqlite3.ProgrammingError
    NotSupportedError = sqlite3.NotSupportedError

    def __init__(self, database: Any, *args: Any, **kwargs: Any) -> None:
        kwargs.update(zip(_POSITIONS, args, strict=False))
        kwargs.pop("factory", None)
        if old := self.__dict__.pop("_real", None):
            run(old.close())
        real = looplite.connect(database, **kwargs)
        run(real)
        self.__dict__["_real"] = real

    def cursor(self, factory: Any = ...) -> Any:
        """A cursor of ours around looplite's."""
        self._behind()
        made = (Cursor if factory is ... else factory)(self)
        if not issubclass(type(made), Cursor):  # not isinstance: __class__ may lie
            kind = type(made).__name__
            raise TypeError(f"factory must return a cursor, not {kind}")
        if (rows := self.row_factory) is not None:
            made.row_factory = rows
        return made

    def execute(self, *args: Any) -> Any:
        return self.cursor().execute(*args)

    def executemany(self, *args: Any) -> Any:
        return self.cursor().executemany(*args)

    def executescript(self, *args: Any) -> Any:
        return self.cursor().executescript(*args)

    def blobopen(self, *args: Any, **kwargs: Any) -> Any:
        return Blob(_call(self._behind(), "blobopen")(*args, **kwargs))

    def iterdump(self, **options: Any) -> Iterator[str]:
        """What looplite's iterator gives."""

        async def lines() -> list[str]:
            return [line async for line in self._behind().iterdump(**options)]

        return iter(run(lines()))

    def close(self) -> None:
        run(self._behind().close())

    def __call__(self, *args: Any) -> Any:
        return self._behind()._conn(*args)

    def __enter__(self) -> Connection:
        self._behind()
        return self

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> None:
        # As the documentation of sqlite3 says of its context manager; aiosqlite's closes.
        if kind is not None:
            self.rollback()
            return
        try:
            self.commit()
        except sqlite3.Error:
            self.rollback()
            raise

    def __del__(self) -> None:
        real = self.__dict__.get("_real")
        if real and not _loop().is_running():
            run(real.close())


class Cursor(_Object):
    """sqlite3.Cursor."""

    connection: Any

    def __init__(self, connection: Any) -> None:
        if not isinstance(connection, Connection):
            kind = type(connection).__name__
            raise TypeError(f"Cursor() argument 1 must be sqlite3.Connection, not {kind}")
        if real := self.__dict__.get("_real"):
            real.__init__(connection._behind())
        else:
            self.__dict__["_real"] = _call(connection._behind(), "cursor")()
        self.__dict__["connection"] = connection

    def execute(self, *args: Any) -> Cursor:
        self._say("execute", *args)
        return self

    def executemany(self, *args: Any) -> Cursor:
        self._say("executemany", *args)
        return self

    def executescript(self, *args: Any) -> Cursor:
        self._say("executescript", *args)
        return self

    def _say(self, method: str, *args: Any) -> None:
        run(getattr(self._behind(), method)(*args))

    def fetchone(self) -> Any:
        return run(self._behind().fetchone())

    def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        return run(self._behind().fetchmany(*args, **kwargs))

    def fetchall(self) -> Any:
        return run(self._behind().fetchall())

    def close(self) -> None:
        run(self._behind().close())

    def __iter__(self) -> Cursor:
        return self

    def __next__(self) -> Any:
        real = self._behind()
        if isinstance(real, sqlite3.Cursor):
            return next(real)
        try:
            return run(aiter(real).__anext__())
        except StopAsyncIteration:
            raise StopIteration from None


class Blob(_Object):
    """sqlite3.Blob."""

    def __init__(self, real: Any) -> None:
        self.__dict__["_real"] = real

    @property  # type: ignore[misc]  # object's can be set
    def __class__(self) -> Any:
        return vars(sqlite3)["Blob"]  # since Python 3.11

    def __len__(self) -> int:
        return len(self._behind())

    def __getitem__(self, key: Any) -> Any:
        return run(self._behind()[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        run(self._behind().set(key, value))

    def __delitem__(self, key: Any) -> None:
        del self._behind()[key]

    # With __getitem__ alone it would be.
    __iter__ = None

    def __enter__(self) -> Blob:
        run(self._behind().__aenter__())
        return self

    def __exit__(self, *error: Any) -> Any:
        return run(self._behind().__aexit__(*error))


def connect(database: Any, *args: Any, **kwargs: Any) -> Any:
    """sqlite3.connect: makes an object of `factory`."""
    at = _POSITIONS.index("factory")
    factory = args[at] if len(args) > at else kwargs.pop("factory", Connection)
    return factory(database, *args, **kwargs)


def module() -> types.ModuleType:
    """The stand-in, to be put into sys.modules."""
    made = types.ModuleType("sqlite3", sqlite3.__doc__)
    made.__dict__.update({k: v for k, v in vars(sqlite3).items() if k != "__name__"})
    made.__dict__.update(connect=connect, Connection=Connection, Cursor=Cursor)
    return made
