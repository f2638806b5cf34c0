"""Load the CSV files into a WAL database.

The rows go in by `executemany`, some thousands at a time, each table in one transaction; the
indexes are made afterwards, when each costs one sort. `NA` in a file is NULL in the database.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import looplite

from .text import Progress

Value = int | float | str | None

CHUNK = 4_000  # rows per executemany: large enough to make the hop cheap, small enough for a bar


class LoadError(Exception):
    """The data files are not what they should be."""


class Table(NamedTuple):
    name: str
    file: str
    rows: int  # what the data set is known to hold
    columns: str  # as in CREATE TABLE, in the order of the file, "name TYPE ..." each
    first: str = ""  # a key that is not in the file


TABLES = (
    Table("airlines", "airlines.csv", 16, "carrier TEXT PRIMARY KEY, name TEXT"),
    Table(
        "airports",
        "airports.csv",
        1_458,
        "faa TEXT PRIMARY KEY, name TEXT, lat REAL, lon REAL, alt INTEGER, tz INTEGER, dst TEXT,"
        " tzone TEXT",
    ),
    Table(
        "planes",
        "planes.csv",
        3_322,
        "tailnum TEXT PRIMARY KEY, year INTEGER, type TEXT, manufacturer TEXT, model TEXT,"
        " engines INTEGER, seats INTEGER, speed INTEGER, engine TEXT",
    ),
    Table(
        "weather",
        "weather.csv",
        26_115,
        "origin TEXT, year INTEGER, month INTEGER, day INTEGER, hour INTEGER, temp REAL,"
        " dewp REAL, humid REAL, wind_dir INTEGER, wind_speed REAL, wind_gust REAL, precip REAL,"
        " pressure REAL, visib REAL, time_hour TEXT",
    ),
    Table(
        "flights",
        "flights.csv.zip",
        336_776,
        "year INTEGER, month INTEGER, day INTEGER, dep_time INTEGER, sched_dep_time INTEGER,"
        " dep_delay INTEGER, arr_time INTEGER, sched_arr_time INTEGER, arr_delay INTEGER,"
        " carrier TEXT, flight INTEGER, tailnum TEXT, origin TEXT, dest TEXT, air_time INTEGER,"
        " distance INTEGER, hour INTEGER, minute INTEGER, time_hour TEXT",
        first="id INTEGER PRIMARY KEY, ",
    ),
)
FLIGHTS = TABLES[-1].rows

INDEXES = (
    "CREATE INDEX flights_route ON flights(origin, dest, month, day)",
    "CREATE INDEX flights_plane ON flights(tailnum)",
    "CREATE INDEX flights_weather ON flights(origin, time_hour)",
    "CREATE INDEX weather_time ON weather(origin, time_hour)",
    "ANALYZE",
)

CONVERT: dict[str, Callable[[str], Value]] = {"INTEGER": int, "REAL": float, "TEXT": str}


def open_csv(path: Path) -> io.TextIOWrapper:
    data = path.read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(path.stem)
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")


def read_csv(table: Table, folder: Path) -> Iterator[tuple[Value, ...]]:
    """Yield the rows of a table's file as typed values."""
    path = folder / table.file
    names, kinds = zip(*(column.split()[:2] for column in table.columns.split(",")), strict=True)
    converters = [CONVERT[kind] for kind in kinds]
    lines = csv.reader(open_csv(path))
    header = next(lines, [])
    if header != list(names):
        raise LoadError(f"{path} has other columns than expected: {', '.join(header)}")
    for line in lines:
        if len(line) != len(names):
            raise LoadError(f"{path}, line {lines.line_num}: {len(line)} values")
        try:
            yield tuple(
                None if text == "NA" else convert(text)
                for convert, text in zip(converters, line, strict=True)
            )
        except ValueError as error:
            raise LoadError(f"{path}, line {lines.line_num}: {error}") from None


async def load_table(db: looplite.Connection, table: Table, folder: Path) -> None:
    names = [column.split()[0] for column in table.columns.split(",")]
    insert = f"INSERT INTO {table.name}({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    await db.execute(f"CREATE TABLE {table.name}({table.first}{table.columns})")
    rows = read_csv(table, folder)
    with Progress(table.name, table.rows, unit="rows") as bar:
        await db.execute("BEGIN")
        while chunk := list(islice(rows, CHUNK)):
            await db.executemany(insert, chunk)
            bar.advance(len(chunk))
        await db.execute("COMMIT")


async def load(path: Path, folder: Path) -> None:
    """Make the database anew from the CSV files in `folder`."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    async with looplite.connect(path, isolation_level=None) as db:
        async with db.execute("PRAGMA journal_mode = WAL") as cursor:
            mode = await cursor.fetchone()
        if mode is None or mode[0] != "wal":
            raise LoadError(f"{path} cannot be used in WAL mode (on a network file system?)")
        for table in TABLES:
            await load_table(db, table, folder)
        with Progress("indexes", len(INDEXES), unit="made") as bar:
            for statement in INDEXES:
                await db.execute(statement)
                bar.advance(1)
        await db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def check(path: Path) -> None:
    """Raise LoadError unless the database is whole."""
    async with looplite.connect(path, isolation_level=None) as db:
        for table in TABLES:
            async with db.execute(f"SELECT count(*) FROM {table.name}") as cursor:
                row = await cursor.fetchone()
            if row is None or row[0] != table.rows:
                raise LoadError(f"{table.name} has {row and row[0]} rows, not {table.rows}")
        async with db.execute(
            "SELECT sum(typeof(dep_delay) = 'integer'), sum(dep_delay IS NULL),"
            " min(time_hour), max(time_hour) FROM flights"
        ) as cursor:
            found = await cursor.fetchone()
        # Independent figures: 8 255 flights were cancelled; the first hour is 5 am Eastern, in UTC.
        expected = (FLIGHTS - 8_255, 8_255, "2013-01-01T10:00:00Z", "2014-01-01T04:00:00Z")
        if found is None or tuple(found) != expected:
            raise LoadError(f"the delays or hours were loaded wrongly: {found}, not {expected}")
