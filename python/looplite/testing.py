"""Fixtures for pytest: a fresh database for each test, and a test that leaves something open fails.

Not loaded by itself: installing looplite changes nobody's test runs. Say so in the top-level
``conftest.py``::

    pytest_plugins = ["looplite.testing"]

``looplite_db`` is a new database in a file of the test's own, ``looplite_memory_db`` one in memory;
both have ``connect()``, and give a path and URI to whatever opens the database in the code under
test. ``looplite_leaks`` is part of both, and can be used alone: it looks at every connection that
is made while the test runs. They are plain fixtures, so they work with pytest-asyncio, with anyio's
and trio's plugins, and with tests that call ``asyncio.run()``.

``@pytest.mark.looplite_allow("transaction")`` lets a test leave what it names: ``"connection"``,
``"transaction"``, ``"cursor"``.

How it works: the extension tells `_Watch` of each connection and cursor that is made, and of each
connection that is about to be closed or was dropped. Of each the place in the caller's code is
kept, which is cheap: no source is read before there is something to report.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import linecache
import os
import sqlite3
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from looplite import _core
from looplite._core import Connection, Cursor

__all__ = ["Database", "looplite_db", "looplite_leaks", "looplite_memory_db"]

_KINDS = ("connection", "transaction", "cursor")
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_FAILED = pytest.StashKey[bool]()


# ---- places --------------------------------------------------------------------------------------

_Place = tuple[str, int, str]


def _is_foreign(file: str) -> bool:
    """Whether a file is an installed package's, or Python's own."""
    return "site-packages" in file or os.path.dirname(asyncio.__file__) in file or file[:1] == "<"


def _place(frame: FrameType | None) -> list[_Place]:
    """Where the caller is: the innermost line that is not looplite's; if that belongs to a package
    (an ORM, say), the innermost one that does not, too.
    """
    found: list[_Place] = []
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_OURS) and not (found and _is_foreign(file)):
            found.append((file, frame.f_lineno, frame.f_code.co_name))
            if not _is_foreign(file):
                break
        frame = frame.f_back
    return found


def _told(places: list[_Place]) -> str:
    lines = []
    for file, number, name in places:
        source = linecache.getline(file, number).strip()
        lines.append(f"  {file}:{number}, in {name}" + (f"\n    {source}" if source else ""))
    return "\n".join(lines) or "  somewhere outside Python"


# ---- what is watched -----------------------------------------------------------------------------


@dataclass
class _Seen:
    """One connection or cursor."""

    made: list[_Place]
    ref: weakref.ref[Any]
    dropped: bool = False
    closed_at: list[_Place] | None = None  # closed with a transaction open


@dataclass
class _Watch:
    """Notes what is made while it is installed."""

    connections: list[_Seen] = field(default_factory=list)
    cursors: list[_Seen] = field(default_factory=list)
    _by_id: dict[int, _Seen] = field(default_factory=dict)
    _before: Any = None

    def __enter__(self) -> _Watch:
        self._before = _core._watch(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _core._watch(self._before)

    def __call__(self, what: str, thing: Any) -> None:
        if self._before is not None:
            self._before(what, thing)
        place = _place(sys._getframe(1))
        if what == "cursor made":
            if self._matters(thing._conn):
                self.cursors.append(_Seen(place, weakref.ref(thing)))
        elif what == "connection made":
            seen = self._by_id[id(thing)] = _Seen(place, weakref.ref(thing))
            self.connections.append(seen)
        elif self._matters(thing):
            seen = self._by_id[id(thing)]
            if what == "dropped":
                seen.dropped = True
            elif _has_work(thing):
                seen.closed_at = place

    def _matters(self, connection: Any) -> bool:
        """Whether it was made since."""
        seen = self._by_id.get(id(connection))
        return seen is not None and seen.ref() in (connection, None)

    def problems(self, allowed: frozenset[str]) -> list[str]:
        found = []
        for seen in self.connections:
            made = "\nIt was made here:\n" + _told(seen.made)
            connection: Connection | None = seen.ref()
            is_open = connection is not None and connection._connection is not None
            if "connection" not in allowed and (seen.dropped or is_open):
                state = "was not closed" if is_open else "was dropped without being closed"
                found.append(f"looplite: a connection {state}.{made}")
            if "transaction" in allowed:
                continue
            if seen.closed_at is not None:
                found.append(
                    "looplite: a connection was closed with a transaction open, which was rolled "
                    f"back.\nIt was closed here:\n{_told(seen.closed_at)}{made}"
                )
            elif is_open and connection is not None and _has_work(connection):
                found.append(f"looplite: a transaction was left open on a connection.{made}")
        if "cursor" not in allowed:
            for seen in self.cursors:
                cursor: Cursor | None = seen.ref()
                if cursor is not None and cursor._is_open:
                    found.append(
                        "looplite: a cursor was neither read to its end nor closed; its statement "
                        f"is still open.\nIt was made here:\n{_told(seen.made)}"
                    )
        return found

    def close_all(self) -> None:
        """The next test must not find them: closes what is open, on a loop of its own."""
        left = [each for seen in self.connections if (each := seen.ref()) is not None]
        left = [each for each in left if each._connection is not None]
        if not left:
            return

        async def close() -> None:
            for connection in left:
                await connection.interrupt()
                await connection.close()

        thread = threading.Thread(target=lambda: asyncio.run(close()), name="looplite.testing")
        thread.start()
        thread.join()


def _has_work(connection: Connection) -> bool:
    """Whether somebody has begun a transaction. (With autocommit=False one is always open.)"""
    raw = connection._connection
    if raw is None or getattr(raw, "autocommit", None) is False:
        return False
    return connection.in_transaction


# ---- fixtures ------------------------------------------------------------------------------------


class Database:
    """A database of one test."""

    def __init__(self, database: str, path: Path | None, uri: bool) -> None:
        self.database = database
        """What `connect()` is given: a path, or a URI."""
        self.path = path
        """The file; None for one in memory."""
        self.uri = uri

    def connect(self, **options: Any) -> Connection:
        """A new connection, to be awaited or entered; takes what looplite.connect() takes."""
        return _core.connect(self.database, uri=self.uri, **options)

    def __str__(self) -> str:
        return self.database

    def __repr__(self) -> str:
        return f"Database({self.database!r})"


@pytest.fixture
def looplite_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves a connection, a transaction or a cursor's statement open."""
    marker = request.node.get_closest_marker("looplite_allow")
    allowed = frozenset(marker.args if marker else ())
    if not allowed <= set(_KINDS):
        wrong = ", ".join(sorted(repr(name) for name in allowed - set(_KINDS)))
        pytest.fail(
            f"looplite_allow() takes {', '.join(map(repr, _KINDS))}, not {wrong}", pytrace=False
        )
    with _Watch() as watch:
        yield
        problems = watch.problems(allowed)
        if problems:
            gc.collect()  # what only a cycle holds is not open for long
            problems = watch.problems(allowed)
        watch.close_all()
    # A test that has failed holds what it had open by its traceback, and has better to say.
    if problems and not request.node.stash.get(_FAILED, False):
        pytest.fail("\n\n".join(problems), pytrace=False)


@pytest.fixture
def looplite_db(looplite_leaks: None, tmp_path: Path) -> Database:
    """A new, empty database in a file."""
    path = tmp_path / "looplite.db"
    return Database(str(path), path, uri=False)


_numbers = itertools.count(1)


@pytest.fixture
def looplite_memory_db(looplite_leaks: None) -> Iterator[Database]:
    """A new, empty database in memory, which all connections to its URI share."""
    name = f"looplite-test-{os.getpid()}-{next(_numbers)}"
    if sqlite3.sqlite_version_info >= (3, 36):
        uri = f"file:/{name}?vfs=memdb"
    else:
        uri = f"file:{name}?mode=memory&cache=shared"
    keeper = sqlite3.connect(uri, uri=True)
    try:
        yield Database(uri, None, uri=True)
    finally:
        keeper.close()


# ---- hooks of pytest -----------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "looplite_allow(*what): lets a test leave a 'connection', 'transaction' or 'cursor' open.",
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        item.stash[_FAILED] = True
