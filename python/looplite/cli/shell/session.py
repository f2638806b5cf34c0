"""The shell's connection, and the loop that it runs on: statements, Ctrl-C, results, timing.

The loop runs while a statement does; between statements the shell waits for its user as any
program does, and nothing of looplite needs a turn then. Ctrl-C while a statement runs interrupts
that statement. A result is fetched in batches, so neither its size nor a slow reader of the output
fills the memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
import sys
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO, TypeVar
from urllib.parse import quote

import looplite
from looplite.cli.shell.dump import dump
from looplite.cli.shell.modes import MODES, WINDOW, Table
from looplite.cli.shell.trouble import describe, why_not_opened
from looplite.cli.shell.values import BadText, text_factory

T = TypeVar("T")

BATCH = WINDOW
MEMORY = ":memory:"
_AGAIN = 0.02  # seconds
# What a statement can raise because of what was typed: anything else is a fault of the shell.
WRONG = (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError)


class ShellError(Exception):
    """Something could not be done; the message is for the user."""


class Interrupted(Exception):  # noqa: N818 - not an error
    """The user pressed Ctrl-C."""

    told = False  # and reads so already


class Session:
    """One user, one database at a time."""

    def __init__(self, out: TextIO, mode: str, interactive: bool) -> None:
        self.out = out
        self.mode = mode
        self.headers: bool | None = None  # None: as the mode has it
        self.limit = 100  # columns of a table's cell
        self.timer = False
        self.bail = False
        self.interactive = interactive
        self.failed = False  # any statement yet
        self.timeout = 5.0
        self.path = MEMORY
        self.readonly = False
        self.is_new = False  # the file was made by opening it
        self._loop = asyncio.new_event_loop()
        # A signal that comes right before the loop goes to sleep would not wake it by itself.
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._loop.add_reader(self._woken, self._woken.recv, 4096)
        self._db: looplite.Connection | None = None
        self._last: looplite.Statement | None = None
        self._signals = 0

    # --- running -------------------------------------------------------------------------

    @property
    def db(self) -> looplite.Connection:
        """The open connection."""
        assert self._db is not None
        return self._db

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs the loop until this is done. Ctrl-C meanwhile interrupts SQLite, and raises
        Interrupted; a second one does not wait for it.
        """
        self._signals = 0
        task: asyncio.Task[T] | None = None

        def pressed(number: int, frame: object) -> None:
            self._signals += 1
            if task is None:
                return
            if self._signals > 1 or self._db is None:
                self._loop.call_soon_threadsafe(task.cancel)
            else:
                self._loop.call_soon_threadsafe(self._interrupt, task)

        # Whoever started a script with SIGINT ignored, in the background, means it.
        catches = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
        )
        try:
            before = signal.signal(signal.SIGINT, pressed) if catches else None
        except KeyboardInterrupt:
            work.close()
            raise
        # Only now: a task that KeyboardInterrupt left behind would run at the next call, before its
        # statement, and nobody would be there to stop it.
        try:
            if catches:
                signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
            task = self._loop.create_task(work)
            if self._signals:
                task.cancel()
            result = self._loop.run_until_complete(task)
        except (sqlite3.OperationalError, asyncio.CancelledError) as error:
            if self._signals:
                raise Interrupted from error
            raise
        finally:
            if catches:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGINT, before or signal.SIG_DFL)
        if self._signals:
            raise Interrupted
        return result

    def _interrupt(self, task: asyncio.Task[Any]) -> None:
        """Until it has an effect: a statement that still waits for a worker is not interrupted."""
        if task.done() or self._db is None or self._db.closed:
            return
        self._loop.create_task(self._quietly())
        self._loop.call_later(_AGAIN, self._interrupt, task)

    async def _quietly(self) -> None:
        with contextlib.suppress(sqlite3.Error, ValueError):  # closed meanwhile
            await self.db.interrupt()

    # --- opening and closing -------------------------------------------------------------

    def open(self, path: str, readonly: bool = False) -> None:
        """Opens a database in place of the one that is open; ShellError if it cannot be."""
        uri = path.startswith("file:")
        target = path
        if readonly and not uri and path != MEMORY:
            target, uri = f"file:{quote(os.path.abspath(path))}?mode=ro", True
        is_new = not uri and path != MEMORY and not Path(path).exists()
        try:
            db, locked = self.run(self._opened(target, uri))
        except WRONG as error:
            raise ShellError(why_not_opened(path, error)) from error
        if locked is not None:
            self.say(describe(locked, "", path))
        self.close()
        self._db, self.path, self.readonly, self.is_new = db, path, readonly, is_new

    async def _opened(
        self, target: str, uri: bool
    ) -> tuple[looplite.Connection, sqlite3.Error | None]:
        """The connection; and that the file is locked at the moment, which need not last."""
        db = await looplite.connect(
            target, uri=uri, isolation_level=None, timeout=self.timeout, on_statement=self._told
        )
        db.text_factory = text_factory
        try:
            # SQLite looks at the file when it has to.
            await (await db.execute("SELECT 1 FROM sqlite_master LIMIT 1")).fetchall()
        except sqlite3.OperationalError as error:
            if str(error) == "database is locked":
                return db, error
            await db.close()
            raise
        except BaseException:
            await db.close()
            raise
        return db, None

    def _told(self, statement: looplite.Statement) -> None:
        self._last = statement

    def close(self) -> bool:
        """Closes; whether a transaction was open, which is then told to the user."""
        db, self._db = self._db, None
        if db is None:
            return False
        open_ = db.in_transaction
        self.run(db.close())
        if open_:
            self.say("the open transaction was rolled back: nothing of it is stored")
        return open_

    def end(self) -> bool:
        """Closes the connection and the loop."""
        try:
            return self.close()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
            self._woken.close()
            self._waker.close()

    def not_the_database(self, path: str | Path) -> None:
        """Refuses to open the database as an ordinary file: closing that would drop its locks."""
        for name in (self.path, f"{self.path}-wal", f"{self.path}-shm", f"{self.path}-journal"):
            if os.path.exists(name) and os.path.exists(path) and os.path.samefile(name, path):
                raise ShellError(f"{path} belongs to the open database")

    # --- statements ----------------------------------------------------------------------

    def say(self, text: str) -> None:
        """A message to the user, beside the results."""
        self.out.flush()
        print(text, file=sys.stderr, flush=True)

    def fail(self, text: str) -> None:
        """The same for what went wrong."""
        self.failed = True
        self.say(text)

    def fetch(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """All rows of a small query of the shell's own."""

        async def work() -> list[Any]:
            return await (await self.db.execute(sql, parameters)).fetchall()

        return self.run(work())

    def execute(self, sql: str) -> bool:
        """Runs a statement and writes its rows. False: it failed, and that was told.

        Interrupted is raised when the user interrupted it.
        """
        in_transaction = self.db.in_transaction
        began = perf_counter()
        self._last = None
        try:
            self.run(self._statement(sql))
        except Interrupted as stop:
            self.fail("interrupted")
            stop.told = True
            self._rolled_back(in_transaction)
            raise
        except WRONG as error:
            self.fail(describe(error, sql, self.path))
            self._rolled_back(in_transaction)
            return False
        finally:
            self.out.flush()
        if self.timer:
            self.say(self._timing(perf_counter() - began))
        return True

    def _rolled_back(self, before: bool) -> None:
        if before and not self.db.in_transaction:
            self.say("  the transaction was rolled back by SQLite")

    async def _statement(self, sql: str) -> None:
        async with self.db.execute(sql) as cursor:
            if cursor.description is None:
                if self.interactive and cursor.rowcount >= 0:
                    self.out.write(_counted(cursor.rowcount, "row", " changed") + "\n")
                return
            kind = MODES[self.mode]
            headers = kind.headers_by_default if self.headers is None else self.headers
            names = [column[0] for column in cursor.description]
            writer = kind(self.out.write, names, headers, self.limit)
            count = 0
            try:
                while not self._signals and (rows := await cursor.fetchmany(BATCH)):
                    count += len(rows)
                    writer.rows(rows)
            finally:
                # What there was before an error or a Ctrl-C.
                if isinstance(writer, Table):
                    writer.flush()
            if self._signals:
                return
            writer.end()
            if self.interactive and kind is Table:
                self.out.write(f"({_counted(count, 'row')})\n")

    def _timing(self, seconds: float) -> str:
        text = f"time: {seconds * 1e3:.3f} ms"
        if self._last is None:
            return text
        where = {"inline": "on the loop", "worker": "on a worker"}.get(self._last.where or "", "")
        parts = [f"{self._last.duration_ns / 1e6:.3f} ms in SQLite"]
        parts += [where] if where else []
        if self._last.waited_ns >= 10_000:
            parts.append(f"{self._last.waited_ns / 1e6:.3f} ms waiting for its turn")
        return f"{text} ({', '.join(parts)})"

    async def dump(self, pattern: str) -> None:
        """The database as SQL."""
        async with contextlib.aclosing(dump(self.db, pattern)) as lines:
            async for line in lines:
                self.out.write(line)
                if self._signals:
                    break

    async def backup(self, path: str) -> None:
        """A copy of the database into another file."""
        async with looplite.connect(path) as target:
            await self.db.backup(target, pages=1000, sleep=0)


def _counted(number: int, word: str, rest: str = "") -> str:
    return f"{number} {word}{'' if number == 1 else 's'}{rest}"


def plain(value: object) -> str:
    """Text of the shell's own queries, which may be no UTF-8."""
    return bytes(value).decode(errors="replace") if isinstance(value, BadText) else str(value)
