"""The files of a database as bytes: header, write-ahead log, journal, and where they lie.

Read before SQLite opens the database in this process, never beside it: when a process closes any
descriptor of a file, the system drops all POSIX locks that it has there, SQLite's among them.
Nothing is written. The formats are those of SQLite's page "Database File Format" and, for -shm,
"WAL-mode File Format".
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"SQLite format 3\0"
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_WAL_MAGIC = (0x377F0682, 0x377F0683)
# What is not on this machine, or passes through a program that may not lock as SQLite needs it.
_REMOTE = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "gfs2"),
    *("ncpfs", "vboxsf", "prl_fs", "vmhgfs", "virtiofs", "ocfs2", "beegfs", "davfs"),
}


@dataclass(frozen=True)
class Header:
    """The first 100 bytes."""

    page_size: int
    wal: bool  # the file says: WAL mode
    pages: int
    schema_format: int
    encoding: int
    auto_vacuum: int  # 0 none, 1 full, 2 incremental
    sqlite_version: int


@dataclass(frozen=True)
class Wal:
    """The write-ahead log."""

    bytes: int
    frames: int  # of the present generation
    committed: int  # of these, up to the last commit
    backfilled: int | None  # of these, what is in the database already; None: no -shm tells


@dataclass(frozen=True)
class Stamp:
    """Whether a file was changed between two looks."""

    size: int
    changed_ns: int


@dataclass(frozen=True)
class Files:
    """All of it, at one moment."""

    path: Path
    bytes: int
    links: int
    header: Header | None  # None: no SQLite database
    wal: Wal | None  # None: no -wal, or an empty one
    has_shm: bool
    has_journal: bool  # with something to roll back
    file_system: str
    stamps: dict[str, Stamp]

    @property
    def is_remote(self) -> bool:
        """Whether the file system is a network's, or some program's."""
        kind = self.file_system
        return kind in _REMOTE or kind.startswith("fuse.") or kind == "fuse"


def beside(path: Path, suffix: str) -> Path:
    """A file that SQLite puts next to the database."""
    return path.with_name(path.name + suffix)


def stamps(path: Path) -> dict[str, Stamp]:
    """Size and time of the database and what lies beside it."""
    found = {}
    for suffix in ("", "-wal", "-journal"):
        try:
            stat = os.stat(beside(path, suffix))
        except FileNotFoundError:
            continue
        found[suffix] = Stamp(stat.st_size, stat.st_mtime_ns)
    return found


def _header(raw: bytes) -> Header | None:
    if len(raw) < 100 or not raw.startswith(MAGIC):
        return None
    (page_size,) = struct.unpack_from(">H", raw, 16)
    pages, schema_format, root, encoding, incremental, version = (
        struct.unpack_from(">I", raw, at)[0] for at in (28, 44, 52, 56, 64, 96)
    )
    return Header(
        page_size=65536 if page_size == 1 else page_size,
        wal=raw[18] == 2 or raw[19] == 2,
        pages=pages,
        schema_format=schema_format,
        encoding=encoding,
        auto_vacuum=0 if not root else 2 if incremental else 1,
        sqlite_version=version,
    )


def _read(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except FileNotFoundError:
        return b""


def _wal(path: Path, shm: Path) -> Wal | None:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        length = os.fstat(file.fileno()).st_size
        if length == 0:
            return None
        raw = file.read(32)
        if len(raw) < 32 or struct.unpack_from(">I", raw, 0)[0] not in _WAL_MAGIC:
            return Wal(length, 0, 0, None)
        (page_size,) = struct.unpack_from(">I", raw, 8)
        salts, frame = raw[16:24], 24 + page_size
        # The frames of the present generation bear the salts of the header; others are left over.
        count = committed = 0
        while page_size and 32 + (count + 1) * frame <= length:
            head = os.pread(file.fileno(), 24, 32 + count * frame)
            if head[8:16] != salts:
                break
            count += 1
            if head[4:8] != b"\0\0\0\0":
                committed = count
    index = _read(shm, 136)
    backfilled = None
    # Only an index of this very log, which its copy of the salts tells.
    if len(index) == 136 and index[32:40] == salts:
        (backfilled,) = struct.unpack_from("=I", index, 96)
    return Wal(length, count, committed, backfilled)


def has_journal(path: Path) -> bool:
    """Whether there is a journal with something to roll back."""
    return _read(beside(path, "-journal"), 8) == _JOURNAL_MAGIC


def _file_system(path: Path) -> str:
    """The kind of the mount that holds the file; the last of the longest paths is on top."""
    best, kind = "", "unknown"
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return kind
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split()[4].encode().decode("unicode_escape")
        inside = path == Path(point) or Path(point) in path.parents
        if inside and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind


def look(path: Path) -> Files:
    """Reads all of it; OSError if the database cannot be read."""
    path = path.resolve(strict=True)
    with path.open("rb") as file:
        raw = file.read(100)
        stat = os.fstat(file.fileno())
    shm = beside(path, "-shm")
    return Files(
        path=path,
        bytes=stat.st_size,
        links=stat.st_nlink,
        header=_header(raw),
        wal=_wal(beside(path, "-wal"), shm),
        has_shm=shm.exists(),
        has_journal=has_journal(path),
        file_system=_file_system(path),
        stamps=stamps(path),
    )
