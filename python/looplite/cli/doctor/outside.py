"""What can be said without SQLite: the file, its log and journal, the disk, and who has it open."""

from __future__ import annotations

import os

from looplite.cli.doctor.files import Files, beside
from looplite.cli.doctor.findings import Report, size, some
from looplite.cli.holders import can_tell, holders

_ENCODINGS = {0: "UTF-8", 1: "UTF-8", 2: "UTF-16le", 3: "UTF-16be"}
_SMALL_PAGE = 4096
# Four times what SQLite lets a log grow to by itself (wal_autocheckpoint: 1000 pages of 4 KiB).
_LARGE_WAL = 16 << 20


def _format(files: Files, report: Report) -> None:
    header = files.header
    if header is None:
        if files.bytes == 0:
            report.add(
                "info", "file", "the file is empty: a database in which nothing was stored yet"
            )
        else:
            report.add(
                "damage",
                "file",
                f"not a SQLite database: {size(files.bytes)} without its header",
                "check the name; an encrypted database needs the program that encrypts it; if it "
                "was a database, restore a backup, or try the .recover command of sqlite3",
            )
        return
    version = header.sqlite_version
    report.facts.update(
        bytes=files.bytes,
        page_size=header.page_size,
        journal_mode="wal" if header.wal else "rollback",
        encoding=_ENCODINGS.get(header.encoding, "unknown"),
        auto_vacuum=("none", "full", "incremental")[header.auto_vacuum],
        schema_format=header.schema_format,
        last_writer=f"{version // 1000000}.{version // 1000 % 1000}.{version % 1000}",
        file_system=files.file_system,
    )
    report.add(
        "ok",
        "file",
        f"SQLite 3 database: {size(files.bytes)} in pages of {header.page_size} bytes, "
        f"{report.facts['encoding']}, last written by SQLite {report.facts['last_writer']}",
    )
    if files.bytes % header.page_size:
        report.add(
            "damage",
            "file",
            f"the file is no whole number of pages: {files.bytes} bytes",
            "it was cut off, or a copy did not end; restore a backup, or copy it again",
        )
    if header.page_size < _SMALL_PAGE:
        report.add(
            "advice",
            "page_size",
            f"pages of {header.page_size} bytes are small: more of them for the same rows",
            f"PRAGMA journal_mode = DELETE; PRAGMA page_size = {_SMALL_PAGE}; VACUUM; "
            "then the old journal mode again",
        )
    if 0 < header.schema_format < 4:
        report.add(
            "advice",
            "file_format",
            f"the schema has the old format {header.schema_format}: indexes are not descending "
            "where they say DESC, booleans take a byte each",
            "PRAGMA legacy_file_format = OFF; VACUUM",
        )
    if header.encoding in (2, 3):
        report.add(
            "info",
            "encoding",
            "text is stored as UTF-16 and converted at every read",
            "only a new database can be UTF-8: make one from the output of .dump",
        )
    if header.auto_vacuum == 1:
        report.add(
            "advice",
            "auto_vacuum",
            "auto_vacuum is FULL: each commit that frees pages moves others into their place",
            "PRAGMA auto_vacuum = NONE (or INCREMENTAL); VACUUM",
        )


def _log(files: Files, report: Report) -> None:
    header, wal = files.header, files.wal
    if header is None:
        return
    if header.wal:
        report.add("ok", "journal_mode", "journal mode WAL: readers and a writer work side by side")
    else:
        report.add(
            "advice",
            "journal_mode",
            "rollback journal: a commit waits for readers, and readers for a commit",
            "PRAGMA journal_mode = WAL, once; the file remembers it"
            + (" (not on a network's file system)" if files.is_remote else ""),
        )
    if wal is None:
        return
    report.facts["wal"] = {
        "bytes": wal.bytes,
        "frames": wal.frames,
        "committed": wal.committed,
        "checkpointed": wal.backfilled,
    }
    moved = "" if wal.backfilled is None else f", {wal.backfilled} of them in the database already"
    report.add(
        "ok",
        "wal",
        f"the log (-wal) has {size(wal.bytes)}: {some(wal.committed, 'committed frame')}{moved}",
    )
    readers = [h for h in holders(files.path) if "reads" in h.locks]
    if wal.bytes > _LARGE_WAL:
        who = ", ".join(f"{h.pid} ({h.name})" for h in readers)
        report.add(
            "advice",
            "wal_size",
            f"the log is large: {size(wal.bytes)}; it starts anew only when nobody reads from it"
            + (f"; at the moment these do: {who}" if who else ""),
            "end read transactions and cursors that stay open; then PRAGMA "
            "wal_checkpoint(TRUNCATE) makes the file small again",
        )
    if can_tell() and not holders(files.path) and wal.committed:
        report.add(
            "advice",
            "wal_left",
            "no process has the database open, and its log was left: its commits are in the log",
            "never copy, move or delete the database without its -wal file; opening and closing "
            "the database once, by a program that may write, moves them in",
        )


def journal(files: Files, report: Report, recovered: bool) -> None:
    """The journal, once it is known whether the database needed recovery."""
    if not files.has_journal or files.wal is not None:
        return
    if not recovered:
        report.add("ok", "journal", "a transaction is being written (-journal)")
        return
    report.add(
        "advice",
        "journal",
        "a transaction was cut off: its journal (-journal) was left",
        "never delete the -journal file; the next program that opens the database and may write "
        "rolls the transaction back",
    )


def _place(files: Files, report: Report) -> None:
    header = files.header
    if files.is_remote:
        harm = (
            "WAL needs memory shared by all its processes, so they all have to be on one machine"
            if header is not None and header.wal
            else "locks there are often not what they should be"
        )
        report.add(
            "advice",
            "file_system",
            f"the file lies on {files.file_system}: {harm}",
            "keep the file on a disk of the machine that uses it",
        )
    else:
        report.add("ok", "file_system", f"file system: {files.file_system}")
    if files.links > 1:
        report.add(
            "advice",
            "links",
            f"the file has {files.links} names (hard links): the log of one name is not found by "
            "who opens another, which damages the database",
            "keep one name, or use symbolic links",
        )
    if not os.access(files.path, os.W_OK):
        report.add("info", "permissions", "this user may not write the file")
    elif not os.access(files.path.parent, os.W_OK):
        report.add(
            "info",
            "permissions",
            "this user may not write the directory, where SQLite makes journal and log",
        )


def _processes(files: Files, report: Report) -> None:
    found = holders(files.path)
    report.facts["processes"] = [
        {"pid": h.pid, "name": h.name, "locks": sorted(h.locks)} for h in found
    ]
    if found:
        who = [
            f"{h.pid} ({h.name}{': ' + ', '.join(sorted(h.locks)) if h.locks else ''})"
            for h in found
        ]
        report.add(
            "info",
            "processes",
            f"open in {some(len(who), 'process', 'processes')}: {', '.join(who)}",
        )


def examine(files: Files, report: Report) -> None:
    """Adds all of it."""
    _format(files, report)
    _log(files, report)
    _place(files, report)
    _processes(files, report)
    if beside(files.path, "-wal").is_symlink():
        report.add("advice", "links", "the -wal file is a symbolic link", "make it a plain file")
