"""`AiosqliteDriver.transaction()`: a block that is committed whole, or not at all.

    async with session.transaction():                       one block
    async for block in session.transaction(retry=3):        a block that is run again when it
        async with block: ...                               could not have the lock, or what it read
                                                            has changed
    await session.transaction(retry=3).run(work)            the same for a function

A block inside a block is a savepoint. A transaction belongs to the task that opened it and to those
that were started inside the block (they inherit its context): a statement of another task on the
same session would become part of it by accident, so it is refused.

Whatever ends the block but its own end rolls it back, cancellation included: the rollback happens
also when its await is cancelled.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, TypeVar

from looplite.adapters.aiosqlite._settings import LEVELS
from looplite.exceptions import BusyError, DeadlockError, SerializationConflictError

if TYPE_CHECKING:
    from types import TracebackType

    from looplite.adapters.aiosqlite.driver import AiosqliteDriver

T = TypeVar("T")

DURABILITY = {"off": "OFF", "normal": "NORMAL", "full": "FULL", "extra": "EXTRA"}

inside: ContextVar[tuple[object, ...]] = ContextVar("looplite_transactions", default=())
"""The transaction blocks that the running task is in."""

AGAIN = (BusyError, DeadlockError, SerializationConflictError)
FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.25


def checked(mode: object, durability: object, retry: object) -> tuple[str | None, str | None, int]:
    """The arguments of transaction(), or what is wrong with them."""
    if mode is not None and (not isinstance(mode, str) or mode.upper() not in LEVELS):
        raise ValueError(f"mode must be one of {', '.join(LEVELS)}, or None, not {mode!r}")
    if durability is not None and durability not in DURABILITY:
        raise ValueError(
            f"durability must be one of {', '.join(DURABILITY)}, or None (the connection's), "
            f"not {durability!r}"
        )
    if isinstance(retry, bool) or not isinstance(retry, int) or retry < 0:
        raise ValueError(f"retry must be how often to try again (0 or more), not {retry!r}")
    assert mode is None or isinstance(mode, str)
    assert durability is None or isinstance(durability, str)
    return mode.upper() if mode else None, durability, retry


class Block:
    """One run of a transaction."""

    __slots__ = ("_context", "_depth", "_durability", "_mode", "_session", "error")

    def __init__(self, session: AiosqliteDriver, mode: str | None, durability: str | None) -> None:
        self._session = session
        self._mode = mode
        self._durability = durability
        self._context: Token[tuple[object, ...]] | None = None
        self._depth = 0
        self.error: BaseException | None = None
        """What ended it, if that was not its end."""

    async def __aenter__(self) -> AiosqliteDriver:
        if self._context is not None:
            raise RuntimeError("a transaction block is entered once; call transaction() again")
        self._depth = await self._session._enter_block(self, self._mode, self._durability)
        self._context = inside.set((*inside.get(), self))
        return self._session

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        self.error = error
        assert self._context is not None
        try:
            await self._session._leave_block(self, self._depth, failed=error is not None)
        except BaseException as ending:
            if error is None:
                self.error = ending
            raise
        finally:
            inside.reset(self._context)
        return None


class Transaction(Block):
    """What transaction() gives: a block by itself, several tries of one, or run()."""

    __slots__ = ("_retry",)

    def __init__(
        self, session: AiosqliteDriver, mode: str | None, durability: str | None, retry: int
    ) -> None:
        super().__init__(session, mode, durability)
        self._retry = retry

    async def __aenter__(self) -> AiosqliteDriver:
        if self._retry:
            raise TypeError(
                "a block of `async with` cannot be run again, so with retry= write "
                "`async for block in session.transaction(retry=...):` and `async with block:` "
                "inside, "
                "or `await session.transaction(retry=...).run(work)`"
            )
        return await super().__aenter__()

    async def __aiter__(self) -> AsyncIterator[_Try]:
        for left in range(self._retry, -1, -1):
            block = _Try(self._session, self._mode, self._durability, may_fail=left > 0)
            yield block
            if not block.entered:
                raise RuntimeError("the loop's body has to enter the block: `async with block:`")
            if not block.failed:
                return
            await pause(self._retry - left)

    async def run(self, work: Callable[[AiosqliteDriver], Awaitable[T]]) -> T:
        """Awaits `work(session)` in the block, as often as needed and allowed; gives its result."""
        async for block in self:
            async with block as session:
                result = await work(session)
        return result


class _Try(Block):
    """One try: an error after which it is worth while to try again ends here, while others are "
    "left."""

    __slots__ = ("_may_fail", "entered", "failed")

    def __init__(
        self, session: AiosqliteDriver, mode: str | None, durability: str | None, *, may_fail: bool
    ) -> None:
        super().__init__(session, mode, durability)
        # Inside another block only that one can be run again: what was read there is old, too.
        self._may_fail = may_fail and not session._blocks
        self.entered = self.failed = False

    async def __aenter__(self) -> AiosqliteDriver:
        self.entered = True
        return await super().__aenter__()

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> bool:
        try:
            await super().__aexit__(kind, error, trace)
        except AGAIN:
            if not self._may_fail:
                raise
            self.failed = True
            return True
        self.failed = self._may_fail and isinstance(error, AGAIN)
        return self.failed


async def pause(tries: int) -> None:
    """Before the next try: longer each time, and never as long as somebody else's."""
    longest = min(FIRST_PAUSE * 2**tries, LONGEST_PAUSE)
    await asyncio.sleep(random.uniform(longest / 2, longest))
