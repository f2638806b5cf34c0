"""What a test must leave behind as it found it: threads, descriptors, and no exception that nobody
could catch.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from pathlib import Path
from typing import Any

from support import IS_LOOPLITE, lib
from support.loops import run_on, settled

FD_DIR = next((d for d in (Path("/proc/self/fd"), Path("/dev/fd")) if d.is_dir()), None)


def descriptors() -> dict[int, str]:
    """The open descriptors of this process, with what they refer to where the system tells."""
    if FD_DIR is None:
        return {}
    found = {}
    for name in os.listdir(FD_DIR):
        try:
            found[int(name)] = os.readlink(f"{FD_DIR}/{name}")
        except OSError:
            # The descriptor of this listing, or no links here.
            try:
                os.fstat(int(name))
            except OSError:
                continue
            found[int(name)] = "?"
    return found


class Guard:
    """Takes stock at entry; `problems()` says what is there at the end that was not there before."""  # noqa: E501

    def __init__(self) -> None:
        # problems() goes through what the test has made, not through all that is held anyway:
        # that took two fifths of the whole run.
        gc.freeze()
        self._threads = set(threading.enumerate())
        self._descriptors = descriptors()
        self._uncaught: list[str] = []
        self._old = (sys.unraisablehook, threading.excepthook)
        sys.unraisablehook = self._unraisable
        threading.excepthook = self._in_thread

    def _unraisable(self, args: Any) -> None:
        self._uncaught.append(
            f"{args.err_msg or 'exception ignored in'} {args.object!r}: {args.exc_value!r}"
        )

    def _in_thread(self, args: Any) -> None:
        self._uncaught.append(f"in thread {args.thread!r}: {args.exc_value!r}")

    def forget_uncaught(self) -> list[str]:
        """Gives what was noted so far to a test that expects it."""
        noted, self._uncaught = self._uncaught, []
        return noted

    def _new_descriptors(self) -> dict[int, str]:
        now = descriptors()
        return {fd: what for fd, what in now.items() if self._descriptors.get(fd) != what}

    def _new_files(self) -> list[str]:
        """Without what an engine waits with."""
        return [w for w in self._new_descriptors().values() if not w.startswith("anon_inode:")]

    def _without_orphans(self) -> dict[int, str]:
        """The same after a new loop was used: an engine whose loop ended under it goes when the
        next one is made.
        """

        async def use() -> None:
            async with lib.connect(":memory:"):
                pass

        run_on(asyncio.new_event_loop, use)
        gc.collect()
        settled(lambda: not self._new_descriptors())
        return self._new_descriptors()

    def restore(self) -> None:
        sys.unraisablehook, threading.excepthook = self._old

    def problems(self) -> list[str]:
        gc.collect()
        found = []
        for thread in set(threading.enumerate()) - self._threads:
            if thread.name.startswith("Trio thread"):
                continue  # trio's own, which it keeps for ten seconds
            # A limit for what is stuck; a thread that ends is joined when it does.
            thread.join(None if thread is threading.current_thread() else 30)
            if thread.is_alive() and not thread.daemon:
                found.append(f"left the thread {thread!r}")
        if not settled(lambda: not self._new_files()):
            found.append(f"left descriptors {self._new_descriptors()}")
        elif self._new_descriptors() and (left := self._without_orphans()):
            found.append(f"left descriptors {left}")
        if not IS_LOOPLITE:
            # aiosqlite's threads answer to loops that are gone; ours must not.
            self._uncaught = [text for text in self._uncaught if "Event loop is closed" not in text]
        found += [f"uncaught: {text}" for text in self._uncaught]
        return found
