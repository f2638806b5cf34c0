"""looplite at work: a year of flights, loaded, asked, served and compared.

All flights that left New York City's airports in 2013 (336 776 of them, with airlines, airports,
planes and the weather) are loaded into a WAL database. Then one event loop answers questions
about them, serves a hundred readers beside a writer and a scanner, and tells how long it was held
up. At the end the same work is done with `sqlite3`, aiosqlite and looplite.

    python examples/python/demo.py [--seconds N] [--keep] [--quick] [--data DIR]

The data is fetched once by tools/fetch_data.py into .data/, where the database is made, too.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from flights.compare import CompareError, compare
from flights.load import LoadError, check, load
from flights.questions import ask_all
from flights.serve import ServeError, serve
from flights.text import heading

ROOT = Path(__file__).resolve().parent.parent.parent


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="looplite at work on a year of flights.")
    parser.add_argument(
        "--seconds", type=float, metavar="N", help="how long to serve (8; with --quick 2)"
    )
    parser.add_argument("--keep", action="store_true", help="use the database of the last run")
    parser.add_argument("--quick", action="store_true", help="serve and compare for a short time")
    parser.add_argument("--data", type=Path, default=ROOT / ".data", metavar="DIR")
    options = parser.parse_args()
    if options.seconds is None:
        options.seconds = 2.0 if options.quick else 8.0
    if not 0.1 <= options.seconds <= 3600:
        parser.error("--seconds must lie between 0.1 and 3600")
    return options


def fetch(data: Path) -> Path:
    """Let tools/fetch_data.py see to it that the CSV files are there."""
    script = ROOT / "tools" / "fetch_data.py"
    command = [sys.executable, str(script), "--data", str(data)]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0:
        raise LoadError("there is no data to work on (see above)")
    return data / "nycflights13"


async def main(options: argparse.Namespace) -> None:
    database = options.data / "flights.db"
    if options.keep and database.exists():
        print(f"Using {database} as it is")
    else:
        folder = fetch(options.data)
        heading(f"Loading {database}")
        await load(database, folder)
    try:
        await check(database)
    except (LoadError, sqlite3.Error) as error:
        hint = "; run again without --keep" if options.keep else ""
        raise LoadError(f"{database} cannot be used: {error}{hint}") from error
    await ask_all(database)
    await serve(database, options.seconds)
    await compare(database, rounds=1 if options.quick else 3)


if __name__ == "__main__":
    started = time.perf_counter()
    try:
        asyncio.run(main(arguments()))
    except KeyboardInterrupt:
        print("\ndemo: stopped", file=sys.stderr)
        sys.exit(130)
    except (LoadError, ServeError, CompareError, sqlite3.Error, OSError) as error:
        sys.exit(f"demo: {type(error).__name__}: {error}")
    print(f"\nDone in {time.perf_counter() - started:.0f} s")
