"""Which processes have a database open, and which locks they hold on it, as Linux tells in /proc.

Nothing is opened but files of /proc: POSIX drops all locks that a process has on a file when it
closes any descriptor of it, so the database itself must not be touched here. What belongs to other
users cannot be seen; elsewhere than on Linux nothing is found.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

# Where SQLite puts its locks (the comment "Pending Byte" of os.h in its sources; wal.c for -shm).
_PENDING, _RESERVED, _SHARED = 0x40000000, 0x40000001, 0x40000002
WRITES_ALONE = "writes, alone"
WRITES = {"writes", WRITES_ALONE}
_WAL_LOCKS = {120: "writes", 121: "checkpoints", 122: "recovers"}
_WAL_READERS = range(123, 128)


@dataclass
class Holder:
    """A process that has the file open."""

    pid: int
    name: str
    locks: set[str] = field(default_factory=set)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"


def _open_in(pid: str, wanted: set[tuple[int, int]]) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    for name in names:
        try:
            found = os.stat(f"{folder}/{name}")
        except OSError:
            continue
        if (found.st_dev, found.st_ino) in wanted:
            return True
    return False


def _locked(text: str) -> dict[tuple[int, int, int], list[tuple[int, int, bool]]]:
    """(major, minor, inode) -> (pid, first byte, exclusive) of each lock in the text."""
    found: dict[tuple[int, int, int], list[tuple[int, int, bool]]] = {}
    for line in text.splitlines():
        parts = line.split()
        if len(parts) < 8 or parts[1] == "->" or parts[1] not in ("POSIX", "OFDLCK"):
            continue
        major, minor, inode = parts[5].split(":")
        key = int(major, 16), int(minor, 16), int(inode)
        found.setdefault(key, []).append((int(parts[4]), int(parts[6]), parts[3] == "WRITE"))
    return found


def _meaning(first: int, exclusive: bool, wal: bool) -> str | None:
    if wal:
        if first in _WAL_LOCKS and exclusive:
            return _WAL_LOCKS[first]
        return "reads" if first in _WAL_READERS else None
    if first in (_RESERVED, _PENDING):
        return "writes"
    if first == _SHARED:
        return WRITES_ALONE if exclusive else None
    return None


def can_tell() -> bool:
    """Whether this system tells at all."""
    return os.path.exists("/proc/locks")


def holders(path: Path) -> list[Holder]:
    """The processes, this one among them."""
    database, shm = _identity(path), _identity(Path(f"{path}-shm"))
    if database is None:
        return []
    wanted = {identity for identity in (database, shm) if identity}
    found: dict[int, Holder] = {}
    try:
        pids = [name for name in os.listdir("/proc") if name.isdigit()]
        locks = _locked(Path("/proc/locks").read_text())
    except OSError:
        return []
    for pid in pids:
        if _open_in(pid, wanted):
            found[int(pid)] = Holder(int(pid), _name(int(pid)))
    for identity in wanted:
        key = os.major(identity[0]), os.minor(identity[0]), identity[1]
        for pid_, first, exclusive in locks.get(key, ()):
            meaning = _meaning(first, exclusive, identity == shm)
            if meaning is None or pid_ <= 0:
                continue
            found.setdefault(pid_, Holder(pid_, _name(pid_))).locks.add(meaning)
    return sorted(found.values(), key=lambda holder: holder.pid)
