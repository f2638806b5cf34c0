"""Other processes that a row needs beside it. They end when their standard input does.

    helper.py commit PATH RATE     commits RATE times a second; prints how often, and in what time
    helper.py lock PATH HOLD GAP   takes the write lock for HOLD seconds, leaves it free for GAP
    helper.py drop PATH            for each line read: drops the file from the page cache, prints
                                   the share of it that stayed there

Dropping the cache has to be done elsewhere: a process that opens and closes a database file loses
all the locks it has on it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

if __name__ != "__main__":  # run as a program, it has no harness beside it
    from harness.peers import UnsupportedError as UnsupportedError


def _stopped(seconds: float) -> bool:
    """Waits that long; whether standard input ended meanwhile."""
    return bool(select.select([0], [], [], max(0.0, seconds))[0])


def _connect(path: Path) -> sqlite3.Connection:
    conn = sqlite3.connect(path, timeout=3, isolation_level=None)
    try:
        conn.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:  # a peer that locks others out
        sys.exit(f"helper: {error}")
    conn.execute("PRAGMA busy_timeout = 60000")
    # What is measured is the neighbour's commits, not its disk.
    conn.execute("PRAGMA synchronous = OFF")
    print("ready", flush=True)
    return conn


def commit(path: Path, per_second: float) -> None:
    """Keeps an even pace; what a slow commit delays is caught up."""
    conn = _connect(path)
    began = time.monotonic()
    count = 0
    while not _stopped(began + count / per_second - time.monotonic()):
        conn.execute("UPDATE item SET stock = stock + 1 WHERE id = ?", (count % 1000 + 1,))
        count += 1
    print(count, time.monotonic() - began, flush=True)


def lock(path: Path, hold: float, gap: float) -> None:
    """Another program that writes to the same file."""
    conn = _connect(path)
    stop = False
    while not stop:
        conn.execute("BEGIN IMMEDIATE")
        stop = _stopped(hold)
        conn.execute("COMMIT")
        stop = stop or _stopped(gap)


def _resident(file: int, size: int) -> float:
    """The share of a file's pages in the page cache."""
    pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    libc = ctypes.CDLL(None, use_errno=True)
    with mmap.mmap(file, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as at:
        first = ctypes.c_char.from_buffer(at)
        seen = (ctypes.c_ubyte * pages)()
        failed = libc.mincore(ctypes.byref(first), ctypes.c_size_t(size), seen)
        del first
    return 1.0 if failed else sum(byte & 1 for byte in seen) / pages


def drop(path: Path) -> None:
    """Dirty pages cannot be dropped, so they are written first."""
    print("ready", flush=True)
    for _ in sys.stdin:
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        print(_resident(file, os.fstat(file).st_size), flush=True)
        os.close(file)


class Helper:
    """Starts one of the above; for the rows."""

    def __init__(self, *arguments: str | Path | float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", __file__, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if self._answer() != "ready":
            raise UnsupportedError(f"another process could not open the file ({arguments[0]})")

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ask(self) -> str:
        """Sends a line, gives the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def stop(self) -> str:
        """Ends it; gives its last words."""
        rest, _ = self._process.communicate()
        return rest.strip()

    def __enter__(self) -> Helper:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.communicate()


def main() -> None:
    what, path, *numbers = sys.argv[1:]
    if what == "commit":
        commit(Path(path), float(numbers[0]))
    elif what == "lock":
        lock(Path(path), float(numbers[0]), float(numbers[1]))
    else:
        drop(Path(path))


if __name__ == "__main__":
    main()
