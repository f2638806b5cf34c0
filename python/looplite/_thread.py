"""The object behind ``Connection._thread``: a thread, or what stands for one.

A connection of looplite borrows a thread while it has work, so there is none that could be shown.
Programs look at ``_thread`` all the same: they make it a daemon, ask whether it lives, join it,
check that it is a ``threading.Thread``. ``WorkerThread`` is one. For a connection that looplite
opened it is never started, and answers for the connection: alive from the first await until the
handle is closed, which join() waits for. For any other connection (``_generic.py``) it is the
thread, one for each connection because foreign handles check theirs: a FIFO of (future or None,
callable), in which what fails or has no loop any more harms nobody else.

A daemon, so that it never keeps a program from ending; what is still open then is closed by an exit
handler.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, cast

from looplite import _core

LOG = logging.getLogger("aiosqlite")

Item = tuple["asyncio.Future[Any] | None", Callable[[], Any]]

STOP = object()
"""What a callable returns to end the thread; aiosqlite's ``core._STOP_RUNNING_SENTINEL``."""

EXIT_SECONDS = 5.0
"""How long an exit waits for a statement of a foreign connection that cannot be interrupted."""

exiting = threading.Event()
"""The program ends: what can stop by itself does."""

_numbers = itertools.count(1)
_started: weakref.WeakSet[WorkerThread] = weakref.WeakSet()


def _new_future() -> asyncio.Future[Any]:
    """For the task that runs here, of asyncio or of trio (`_trio.Reply`, which does as one)."""
    if hasattr(sys.modules.get("trio"), "lowlevel"):
        from looplite import _trio

        if (reply := _trio.reply()) is not None:
            return cast("asyncio.Future[Any]", reply)
    return asyncio.get_running_loop().create_future()


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def answer(
    future: asyncio.Future[Any] | None, result: Any, error: BaseException | None = None
) -> None:
    """Settles a future of any loop from any thread. One whose loop is closed is nobody's."""
    if future is None:
        return
    if isinstance(error, StopIteration):  # a future takes none: it would be lost, and its task wait
        outer = RuntimeError("coroutine raised StopIteration")
        outer.__cause__ = error
        error = outer
    try:
        future.get_loop().call_soon_threadsafe(_settle, future, result, error)
    except RuntimeError:
        LOG.debug("the loop of %r is closed", future)


def run_item(future: asyncio.Future[Any] | None, function: Callable[[], Any]) -> bool:
    """Calls and answers; whether the thread has to end."""
    try:
        result = function()
    except BaseException as exc:
        answer(future, None, exc)
        return False
    answer(future, result)
    return result is STOP


def run(tx: Queue) -> None:
    """What a thread of the generic path does until it is told to stop."""
    while True:
        future, function = tx.get()
        if run_item(future, function):
            break
        del future, function  # nothing is kept alive while it waits


class Queue:
    """``_tx`` of the generic path."""

    def __init__(self) -> None:
        self._items: SimpleQueue[Item] = SimpleQueue()
        self._lock = threading.Lock()
        self._ended = False

    def put_nowait(self, item: Item) -> None:
        future, _function = item
        with self._lock:
            if not self._ended:
                self._items.put(item)
                return
        answer(future, None, ValueError("Connection closed"))

    def get(self) -> Item:
        return self._items.get()

    def empty(self) -> bool:
        return self._items.empty()

    def clear(self) -> None:
        """Refuses what is in it."""
        try:
            while True:
                future, _function = self._items.get_nowait()
                answer(future, None, ValueError("Connection closed"))
        except Empty:
            pass

    def end(self) -> None:
        """Nobody will take anything from it any more."""
        with self._lock:
            self._ended = True
        self.clear()


class Tx:
    """``_tx`` of a connection that looplite opened: the connection's own turn."""

    def __init__(self, connection: _core.Connection) -> None:
        self._connection = connection

    def put_nowait(self, item: Item) -> None:
        future, function = item
        try:
            _core._put(self._connection, future, function)
        except Exception as exc:
            if future is None:
                raise
            answer(future, None, exc)

    def empty(self) -> bool:
        return _core._tx_empty(self._connection)


class WorkerThread(threading.Thread):
    """See above. ``begin``, ``opened`` and ``end`` are the extension's to call."""

    run_item = staticmethod(run_item)

    def __init__(self) -> None:
        super().__init__(name=f"looplite-{next(_numbers)}", daemon=True)
        self.tx = Queue()
        self._process = os.getpid()
        self._real = False
        self._begun = False
        self._worker: int | None = None
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.closing = False
        self._waiting: list[asyncio.Future[Any]] = []
        self._connection: Any = None

    # ---- for the connection

    def begin(self) -> None:
        self._begun = True

    def opened(self, worker: int) -> None:
        self._worker = worker

    def end(self) -> None:
        with self._lock:
            self._over.set()
            waiting, self._waiting = self._waiting, []
        for future in waiting:
            answer(future, None)

    def is_over(self) -> bool:
        return self._over.is_set() or self._process != os.getpid()

    def future(self) -> asyncio.Future[Any] | None:
        """Done when the connection has ended; None where no loop runs."""
        try:
            future = _new_future()
        except RuntimeError:
            return None
        with self._lock:
            if not self.is_over():
                self._waiting.append(future)
                return future
        future.set_result(None)
        return future

    async def ended(self) -> None:
        future = self.future()
        assert future is not None
        await future

    # ---- the generic path

    def begin_real(self) -> None:
        self._real = self._begun = True
        _started.add(self)
        threading.Thread.start(self)

    def connect(self, connector: Callable[[], Any]) -> Any:
        """On the thread: whatever becomes of who waits for it, it will be closed."""
        self._connection = connector()
        return self._connection

    def check(self) -> None:
        """Refuses what would wait for itself."""
        if threading.get_ident() == self.ident and self._real:
            raise RuntimeError(
                "called from a function that runs on this connection's worker, for which it would "
                "wait: what is called there needs `_conn` or another connection"
            )

    def submit(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        self.check()
        future = _new_future()
        self.tx.put_nowait((future, function))
        return future

    def closed(self) -> None:
        """The program has closed it: nothing is left to do."""
        self._connection = None

    def _close(self) -> object:
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                connection.close()
        except Exception:
            LOG.info("exception occurred while closing connection", exc_info=True)
        return STOP

    def stop(self) -> asyncio.Future[Any] | None:
        future = self.future()
        self.leave()
        return future

    def leave(self) -> None:
        """Closes behind what is queued, and ends; never waits."""
        if self._real:
            self.tx.put_nowait((None, self._close))
        else:
            self.end()

    def run(self) -> None:
        from looplite.aiosqlite import core

        try:
            core._connection_worker_thread(self.tx)
        finally:
            self.tx.end()
            self._close()
            self.end()

    def end_at_exit(self) -> None:
        """What is queued is dropped; what runs has a moment to end, and is interrupted then."""
        interrupt = getattr(self._connection, "interrupt", None)
        self.tx.clear()
        self.leave()
        if self._over.wait(EXIT_SECONDS / 20):
            return
        try:
            if interrupt is not None:
                interrupt()
        except Exception:
            LOG.debug("cannot interrupt %r", self, exc_info=True)
        self._over.wait(EXIT_SECONDS)

    # ---- threading.Thread

    def start(self) -> None:
        if self._begun:
            raise RuntimeError("threads can only be started once")
        self.begin()

    def is_alive(self) -> bool:
        return self._begun and not self.is_over()

    def join(self, timeout: float | None = None) -> None:
        if not self._begun:
            raise RuntimeError("cannot join thread before it is started")
        if self._real:
            super().join(timeout)
        elif self._process == os.getpid():
            self._over.wait(timeout)

    @property
    def ident(self) -> int | None:
        """Of the worker that opened the connection."""
        return super().ident if self._real else self._worker

    @property
    def daemon(self) -> bool:
        return self._daemonic

    @daemon.setter
    def daemon(self, value: bool) -> None:
        """Kept, and changes nothing: no connection keeps a program from ending."""
        self._daemonic = bool(value)


@atexit.register
def _leave() -> None:
    """Closes what was forgotten."""
    exiting.set()
    for thread in list(_started):
        if thread.is_alive():
            thread.end_at_exit()
