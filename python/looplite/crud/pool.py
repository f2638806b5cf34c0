"""A pool: connections that are kept and lent, one to a caller at a time.

There are permits, one for each connection that may be out. Who finds none waits in line, and a
permit that comes back goes to the first in line, so nobody overtakes. A waiter that is cancelled
when it has just been given one hands it on. Whoever has a permit takes the connection that came
back last, or opens one. A connection comes back without a transaction, or not at all.

All of it runs on one loop at a time; there are no locks, since nothing awaits between looking and
taking.
"""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections import deque
from collections.abc import Generator
from types import TracebackType
from typing import Any

import looplite
from looplite._pragmas import Pragmas
from looplite.crud.access import in_transaction, settle, whole
from looplite.crud.open import Opening, Path, shareable


class AsyncDBPool:
    """At most `max_connections` connections to one database, opened as `open_db()` does."""

    def __init__(
        self, db_path: Path, max_connections: int = 5, *, pragmas: Pragmas | None = None
    ) -> None:
        if isinstance(max_connections, bool) or not isinstance(max_connections, int):
            raise TypeError(f"max_connections must be an int, not {type(max_connections).__name__}")
        if max_connections < 1:
            raise ValueError(f"max_connections must be at least 1, not {max_connections}")
        self._path = shareable(db_path)
        self._pragmas = pragmas
        self._permits = max_connections
        self._max = max_connections
        self._idle: list[looplite.Connection] = []
        self._out: set[looplite.Connection] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    @property
    def max_connections(self) -> int:
        """How many connections may be open."""
        return self._max

    @property
    def in_use(self) -> int:
        """How many connections are lent."""
        return len(self._out)

    @property
    def idle(self) -> int:
        """How many connections are open and not lent."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """How many callers wait for a connection."""
        return sum(not waiter.done() for waiter in self._waiters)

    # ---- permits ----

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the pool was closed")

    async def _permit(self) -> None:
        self._check_open()
        if self._permits and not self._waiters:
            self._permits -= 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back()
            else:
                with contextlib.suppress(ValueError):  # a permit came by and found it cancelled
                    self._waiters.remove(waiter)
            raise

    def _give_back(self) -> None:
        """A permit comes back: the first in line has it, or nobody."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._permits += 1

    # ---- connections ----

    async def _acquire(self) -> looplite.Connection:
        await self._permit()
        try:
            self._check_open()
            while self._idle:
                db = self._idle.pop()
                if not db.closed:
                    break
            else:
                db = await Opening(self._path, self._pragmas)
        except BaseException:
            self._give_back()
            raise
        self._out.add(db)
        return db

    async def _return(self, db: looplite.Connection, failed: bool) -> None:
        try:
            if not db.closed:
                await settle(db, failed)
        finally:
            self._out.discard(db)
            keep = not (self._closed or db.closed or in_transaction(db))
            if keep:
                db.row_factory = looplite.Row
                self._idle.append(db)
            self._give_back()
            if not keep:
                await db.close()

    def acquire(self) -> Lease:
        """A connection: ``async with pool.acquire() as db``, or ``db = await pool.acquire()``.

        The end of the block commits, an exception or a cancellation rolls back, and the connection
        goes back. One that was awaited goes back by `release()`. Callers get theirs in the order in
        which they asked.
        """
        return Lease(self)

    async def release(self, db: looplite.Connection) -> None:
        """Takes back a connection that was awaited. What it did not commit is rolled back."""
        if db not in self._out:
            raise ValueError("this connection is not one that the pool has lent")
        if in_transaction(db):
            warnings.warn(
                "a connection went back to the pool with a transaction open, which was rolled back",
                ResourceWarning,
                stacklevel=2,
            )
        await whole(lambda: self._return(db, failed=True))

    async def close_all(self) -> None:
        """Closes the connections that are idle now, and each that is lent when it comes back.

        Whoever waits for a connection, or asks for one from now on, gets a RuntimeError.
        """
        self._closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(RuntimeError("the pool was closed"))
        idle, self._idle = self._idle, []
        for db in idle:
            await db.close()

    async def __aenter__(self) -> AsyncDBPool:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close_all()


class Lease:
    """A connection of a pool that is about to be taken."""

    def __init__(self, pool: AsyncDBPool) -> None:
        self._pool = pool
        self._db: looplite.Connection | None = None

    def __await__(self) -> Generator[Any, Any, looplite.Connection]:
        return self._pool._acquire().__await__()

    async def __aenter__(self) -> looplite.Connection:
        if self._db is not None:
            raise RuntimeError("this acquire() was entered already")
        self._db = await self._pool._acquire()
        return self._db

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        db, self._db = self._db, None
        assert db is not None
        pool = self._pool
        await whole(lambda: pool._return(db, failed=exc_type is not None))
