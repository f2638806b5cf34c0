"""The commands that begin with a dot: one function each, its docstring is its help.

The first line of a docstring is `usage: summary`; a name may be shortened as long as it is clear.
"""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import looplite
from looplite.cli.shell.modes import MODES
from looplite.cli.shell.session import WRONG, Interrupted, Session, ShellError, plain
from looplite.cli.shell.trouble import first_line
from looplite.crud.sql import quote_identifier as quoted

if TYPE_CHECKING:
    from looplite.cli.shell.reader import Reader

Arguments = list[str]
Command = Callable[["Commands", Arguments], None]


class Quit(Exception):  # noqa: N818 - not an error
    """The user wants to leave."""


class Commands:
    """Carries out commands for a session."""

    def __init__(self, session: Session, reader: Reader) -> None:
        self.session = session
        self.reader = reader

    def run(self, line: str) -> bool:
        """Runs one. False: it failed, and that was told."""
        try:
            words = shlex.split(line.strip()[1:])
            if not words:
                raise ShellError("the name of a command is missing; .help lists them")
            self._find(words[0])(self, words[1:])
        except ShellError as error:
            self.session.fail(f"error: {error}")
            return False
        except ValueError as error:
            self.session.fail(f"error: {error} in {line.strip()}")
            return False
        except WRONG as error:
            self.session.fail(first_line(error))
            return False
        except Interrupted as stop:
            if not stop.told:
                self.session.fail("interrupted")
                stop.told = True
            raise
        finally:
            self.session.out.flush()
        return True

    def _find(self, name: str) -> Command:
        if name in COMMANDS:
            return COMMANDS[name]
        fitting = [known for known in COMMANDS if known.startswith(name)]
        if not fitting:
            raise ShellError(f"there is no command .{name}; .help lists them")
        if len(fitting) > 1:
            raise ShellError(f".{name} may be {', '.join('.' + known for known in fitting)}")
        return COMMANDS[fitting[0]]

    def print(self, text: str) -> None:
        """A line of output."""
        self.session.out.write(text + "\n")

    def schemas(self) -> list[str]:
        """The names of the attached databases, main first."""
        return [plain(row[1]) for row in self.session.fetch("PRAGMA database_list")]


def _most(arguments: Arguments, count: int) -> None:
    if len(arguments) > count:
        raise ShellError(f"too many arguments: {' '.join(arguments[count:])}")


def _one(arguments: Arguments, what: str) -> str:
    if not arguments:
        raise ShellError(f"{what} is missing")
    _most(arguments, 1)
    return arguments[0]


def _on(arguments: Arguments, name: str) -> bool:
    value = _one(arguments, "on or off")
    if value not in ("on", "off"):
        raise ShellError(f".{name} takes on or off, not {value}")
    return value == "on"


def _master(schema: str) -> str:
    return "sqlite_temp_master" if schema == "temp" else f"{quoted(schema)}.sqlite_master"


def _columns(names: list[str]) -> list[str]:
    """Names in columns, down then across, for a terminal of 80."""
    if not names:
        return []
    wide = max(map(len, names)) + 2
    across = max(1, 80 // wide)
    down = -(-len(names) // across)
    rows = [names[at::down] for at in range(down)]
    return ["".join(name.ljust(wide) for name in row).rstrip() for row in rows]


def backup(on: Commands, arguments: Arguments) -> None:
    """.backup FILE: copy the database into another file

    What the file held before is replaced.
    """
    path = _one(arguments, "the file")
    on.session.not_the_database(path)
    on.session.run(on.session.backup(path))


def bail(on: Commands, arguments: Arguments) -> None:
    """.bail on|off: end a script at its first error; off at first"""
    on.session.bail = _on(arguments, "bail")


def databases(on: Commands, arguments: Arguments) -> None:
    """.databases: the names and files of what is attached"""
    _most(arguments, 0)
    for _, name, file in on.session.fetch("PRAGMA database_list"):
        on.print(f"{plain(name)}: {plain(file) or '(in memory)'}")


def dump(on: Commands, arguments: Arguments) -> None:
    """.dump [TABLE]: the database as SQL

    TABLE is a LIKE pattern: only tables of fitting names.
    """
    _most(arguments, 1)
    on.session.run(on.session.dump(arguments[0] if arguments else "%"))


def headers(on: Commands, arguments: Arguments) -> None:
    """.headers on|off|auto: the names of columns before the rows

    auto, as at first: in the modes table, csv and line. JSON always has them.
    """
    value = _one(arguments, "on, off or auto")
    if value not in ("on", "off", "auto"):
        raise ShellError(f".headers takes on, off or auto, not {value}")
    on.session.headers = {"on": True, "off": False, "auto": None}[value]


def help_(on: Commands, arguments: Arguments) -> None:
    """.help [COMMAND]: this list, or more about a command"""
    _most(arguments, 1)
    if arguments:
        lines = (on._find(arguments[0].removeprefix(".")).__doc__ or "").strip().splitlines()
        on.print("\n".join(line.removeprefix("    ") for line in lines))
        return
    for command in dict.fromkeys(COMMANDS.values()):
        usage, _, summary = (command.__doc__ or "").split("\n", 1)[0].partition(": ")
        on.print(f"{usage:<26} {summary}")
    on.print("Anything else is SQL, and ends with a semicolon.")


def indexes(on: Commands, arguments: Arguments) -> None:
    """.indexes [TABLE]: the names of indexes, with their tables

    TABLE is a LIKE pattern.
    """
    _most(arguments, 1)
    pattern = arguments[0] if arguments else "%"
    for schema in on.schemas():
        found = on.session.fetch(
            f"SELECT name, tbl_name FROM {_master(schema)}"
            " WHERE type = 'index' AND tbl_name LIKE ? ORDER BY tbl_name, name",
            (pattern,),
        )
        prefix = "" if schema == "main" else f"{schema}."
        for name, table in found:
            on.print(f"{prefix}{plain(name)} on {plain(table)}")


def mode(on: Commands, arguments: Arguments) -> None:
    """.mode [table|list|line|csv|json]: the form of results; without one: which it is

    table  columns side by side, for people; long values are cut (.width)
    list   values with | between them
    line   a line for each value
    csv    RFC 4180; NULL is an empty field, an empty text is "", a blob is x'..'
    json   an array of objects; a blob is {"base64": "..."}, infinity is 9e999
    """
    if not arguments:
        on.print(on.session.mode)
        return
    value = _one(arguments, "the mode")
    if value not in MODES:
        raise ShellError(f"there is no mode {value}; there are {', '.join(MODES)}")
    on.session.mode = value


def open_(on: Commands, arguments: Arguments) -> None:
    """.open [--readonly] FILE: another database in place of this one"""
    readonly = "--readonly" in arguments
    path = _one([word for word in arguments if word != "--readonly"], "the file")
    on.session.open(path, readonly)


def output(on: Commands, arguments: Arguments) -> None:
    """.output [FILE]: write results into a file; without one: here again"""
    _most(arguments, 1)
    on.reader.redirect(arguments[0] if arguments else None)


def quit_(on: Commands, arguments: Arguments) -> None:
    """.quit: leave; an open transaction is rolled back"""
    _most(arguments, 0)
    raise Quit


def read(on: Commands, arguments: Arguments) -> None:
    """.read FILE: run the SQL and the commands of a file"""
    path = _one(arguments, "the file")
    on.reader.read_file(Path(path))


def schema(on: Commands, arguments: Arguments) -> None:
    """.schema [TABLE]: the CREATE statements

    TABLE is a LIKE pattern; its indexes and triggers are shown, too.
    """
    _most(arguments, 1)
    pattern = arguments[0] if arguments else "%"
    for name in on.schemas():
        found = on.session.fetch(
            f"SELECT sql FROM {_master(name)} WHERE sql IS NOT NULL AND tbl_name LIKE ?"
            " AND (? <> '%' OR name NOT LIKE 'sqlite\\_%' ESCAPE '\\') ORDER BY rowid",
            (pattern, pattern),
        )
        for (sql,) in found:
            on.print(plain(sql) + ";")


def tables(on: Commands, arguments: Arguments) -> None:
    """.tables [PATTERN]: the names of tables and views

    PATTERN is that of LIKE: % for any characters, _ for one.
    """
    _most(arguments, 1)
    names = []
    for schema in on.schemas():
        found = on.session.fetch(
            f"SELECT name FROM {_master(schema)} WHERE type IN ('table', 'view')"
            " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name LIKE ? ORDER BY name",
            (arguments[0] if arguments else "%",),
        )
        prefix = "" if schema == "main" else f"{schema}."
        names += [prefix + plain(name) for (name,) in found]
    for line in _columns(names):
        on.print(line)


def timer(on: Commands, arguments: Arguments) -> None:
    """.timer on|off: how long each statement took, and where it ran

    "on the loop": it could not block, and ran within the call; "on a worker": on a thread.
    """
    on.session.timer = _on(arguments, "timer")


def version(on: Commands, arguments: Arguments) -> None:
    """.version: of looplite, SQLite and Python"""
    _most(arguments, 0)
    on.print(versions())


def versions() -> str:
    """What runs here."""
    return f"looplite {looplite.__version__}, SQLite {sqlite3.sqlite_version}"


def width(on: Commands, arguments: Arguments) -> None:
    """.width N: where a value in a table is cut; 0 never cuts; 100 at first"""
    value = _one(arguments, "the number")
    if not value.isdecimal():
        raise ShellError(f".width takes a number from 0 on, not {value}")
    on.session.limit = int(value)


COMMANDS: dict[str, Command] = {
    "backup": backup,
    "bail": bail,
    "databases": databases,
    "dump": dump,
    "headers": headers,
    "help": help_,
    "indexes": indexes,
    "mode": mode,
    "open": open_,
    "output": output,
    "quit": quit_,
    "exit": quit_,
    "read": read,
    "schema": schema,
    "tables": tables,
    "timer": timer,
    "version": version,
    "width": width,
}
