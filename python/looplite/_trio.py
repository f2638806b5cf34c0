"""What looplite uses of trio. Imported by the extension when somebody else has imported trio, never
before.

`Host` answers for one `trio.run()` what the extension otherwise asks an asyncio loop: to watch a
descriptor, and to call a function soon. A system task does each; when the run is ending and takes
no system tasks any more, `add_reader` says so with `NotImplementedError`, as loops without it do,
and the extension's thread takes over, which comes in through `TrioToken.run_sync_soon`.

`Reply` is what a task awaits whose connection has a thread of its own (_thread.py).
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Generator
from typing import Any

import outcome
import trio
from trio.lowlevel import (
    Abort,
    Task,
    TrioToken,
    cancel_shielded_checkpoint,
    checkpoint,
    current_task,
    current_trio_token,
    reschedule,
    spawn_system_task,
    wait_readable,
    wait_task_rescheduled,
)

__all__ = [
    "FAILED",
    "SUCCEEDED",
    "Host",
    "Reply",
    "cancel_shielded_checkpoint",
    "checkpoint",
    "current_effective_deadline",
    "current_task",
    "current_trio_token",
    "is_guest_task",
    "reply",
    "reschedule",
    "reschedule_guest",
    "wait_task_rescheduled",
]

SUCCEEDED = Abort.SUCCEEDED
FAILED = Abort.FAILED
current_effective_deadline = trio.current_effective_deadline

_Callback = Callable[[], object]


def is_guest_task() -> bool:
    """Whether the code runs in a task of trio inside a callback of an asyncio loop."""
    if asyncio.current_task() is not None:
        return False
    try:
        current_task()
    except RuntimeError:
        return False
    return True


def reschedule_guest(task: Task) -> None:
    """Lets a task go on, from outside its run."""
    current_trio_token().run_sync_soon(reschedule, task)


class Host:
    """One run of trio, asked as if it were an asyncio loop."""

    def __init__(self, token: TrioToken, unwatched: _Callback) -> None:
        self._token = weakref.ref(token)
        self._unwatched = unwatched
        self._reader: trio.CancelScope | None = None
        self._due: list[_Callback] = []
        self._caller: Task | None = None  # parked, until something is due
        self._has_caller = False
        self._ending = False

    def is_closed(self) -> bool:
        return self._token() is None

    def add_reader(self, fd: int, callback: _Callback) -> None:
        if self._ending:
            raise NotImplementedError
        if not self._has_caller:  # also for the sake of the run's end, which it notices
            self._spawn(self._call)
            self._has_caller = True
        self._reader = trio.CancelScope()
        self._spawn(self._read, fd, callback, self._reader)

    def remove_reader(self, fd: int) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()

    def call_soon(self, callback: _Callback) -> None:
        """In the next turn of the run: whoever is rescheduled does not run in the present one."""
        if not self._has_caller:  # nothing was read yet, or the run is ending
            self.call_soon_threadsafe(callback)
            return
        self._due.append(callback)
        caller, self._caller = self._caller, None
        if caller is not None:
            reschedule(caller)

    def call_soon_threadsafe(self, callback: _Callback) -> None:
        token = self._token()
        if token is None:
            raise RuntimeError("Event loop is closed")
        token.run_sync_soon(self._run, callback)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        logging.getLogger("looplite").error(context["message"], exc_info=error)

    def _spawn(self, *task: object) -> None:
        try:
            spawn_system_task(*task, name="looplite")  # type: ignore[arg-type]
        except RuntimeError:  # the run is ending
            self._ending = True
            raise NotImplementedError from None

    def _run(self, callback: _Callback) -> None:
        """A system task that fails ends the whole run."""
        try:
            callback()
        except Exception:
            logging.getLogger("looplite").exception("looplite: %r failed", callback)

    async def _read(self, fd: int, callback: _Callback, scope: trio.CancelScope) -> None:
        try:
            with scope:
                while True:
                    await wait_readable(fd)
                    self._run(callback)
        finally:
            if self._reader is scope:  # nobody has removed it: the run is ending
                self._reader = None
                self._ending = True
                self._run(self._unwatched)

    async def _call(self) -> None:
        try:
            while True:
                while self._due:
                    self._run(self._due.pop())
                self._caller = current_task()
                await wait_task_rescheduled(self._abort)
        finally:
            self._caller = None
            self._has_caller = False
            self._ending = True
            if self._reader is None:
                self._run(self._unwatched)

    def _abort(self, _: object) -> Abort:
        self._caller = None
        return SUCCEEDED


class Reply:
    """A future that a task of trio awaits, once: as much of `asyncio.Future` as _thread.py uses. It
    is settled inside the run. Who is cancelled stops waiting, and the answer is nobody's.
    """

    def __init__(self) -> None:
        self._task = current_task()
        self._token = current_trio_token()
        self._waits = False
        self._outcome: outcome.Outcome[Any] | None = None

    def get_loop(self) -> Reply:
        return self

    def call_soon_threadsafe(self, callback: Callable[..., object], *arguments: object) -> None:
        """From any thread; RuntimeError when the run is over, as of a loop that is closed."""
        self._token.run_sync_soon(callback, *arguments)

    def done(self) -> bool:
        return self._outcome is not None

    def set_result(self, result: Any) -> None:
        self._settle(outcome.Value(result))

    def set_exception(self, error: BaseException) -> None:
        self._settle(outcome.Error(error))

    def _settle(self, settled: outcome.Outcome[Any]) -> None:
        self._outcome = settled
        if self._waits:
            self._waits = False
            reschedule(self._task)

    def _abort(self, _: object) -> Abort:
        self._waits = False
        return SUCCEEDED

    async def _wait(self) -> Any:
        if self._outcome is None:
            self._task, self._waits = current_task(), True
            try:
                await wait_task_rescheduled(self._abort)
            except trio.Cancelled as error:
                error.looplite_outcome = "unknown"  # type: ignore[attr-defined]
                raise
        assert self._outcome is not None
        return self._outcome.unwrap()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._wait().__await__()


def reply() -> Reply | None:
    """For the task of trio that runs in this thread; None where there is none."""
    try:
        if asyncio.current_task() is not None:
            return None
    except RuntimeError:
        pass
    try:
        return Reply()
    except RuntimeError:
        return None
