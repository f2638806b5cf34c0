"""The program behind `python -m looplite bench`: measures, prints the table, writes the plot.

It is run as a folder (`python .../program`), by which `harness` and `rows` are importable and
looplite is not imported here: each library is imported in the fork that measures it, and sqlite3
is measured as it is without looplite in the process.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

# Where looplite's package lies, if Python finds it no other way (a working directory that was
# sys.path[0] for `python -m looplite` and is not for a folder).
sys.path.append(str(Path(__file__).resolve().parents[4]))

from harness.machine import load_average, machine, versions
from harness.path import SUBJECT
from harness.peers import PEERS
from harness.plot import svg
from harness.session import Session, choose, say
from harness.spec import Row
from harness.text import table
from rows import async_for, fetchall, insert_awaited, naive_commit, point_read

ROWS: tuple[Row, ...] = (
    *point_read.ROWS,
    *insert_awaited.ROWS,
    *naive_commit.ROWS,
    *fetchall.ROWS,
    *async_for.ROWS,
)
# Others have rows in bench/ alone.
LIBRARIES = tuple(name for name in PEERS if any(name in row.peers for row in ROWS))
PLOT = "looplite-bench.svg"


def arguments() -> argparse.Namespace:
    """The command line."""
    names = "\n".join(f"  {row.name:<22}{row.title}".replace("`", "") for row in ROWS)
    parser = argparse.ArgumentParser(
        prog="python -m looplite bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measures this machine: looplite beside sqlite3, and whatever of aiosqlite,\n"
        "apsw, rapsqlite and pyturso is installed. Prints a table and writes a plot.\n"
        "Some minutes, on a machine that does nothing else.",
        epilog=f"rows:\n{names}",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small numbers, once: some seconds, less certain"
    )
    parser.add_argument("--rows", default="", metavar="NAMES", help="with commas; default: all")
    parser.add_argument("--peers", default="", metavar="NAMES", help="with commas; default: all")
    parser.add_argument("--reps", type=int, metavar="N", help="repetitions (3; 1 with --quick)")
    parser.add_argument(
        "--folder", type=Path, help="where the databases lie meanwhile (that for temporary files)"
    )
    parser.add_argument(
        "--plot",
        type=Path,
        default=Path(PLOT),
        metavar="FILE",
        help=f"where the plot goes ({PLOT})",
    )
    parser.add_argument("--no-plot", action="store_true", help="only the table")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers into a file")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    rows = choose(options.rows, ROWS)
    wanted = frozenset(filter(None, options.peers.split(",")))
    if unknown := wanted - set(LIBRARIES):
        known = ", ".join(LIBRARIES)
        raise SystemExit(f"no such library: {', '.join(unknown)}; there are {known}")
    found, absent = versions(LIBRARIES)
    if SUBJECT in absent:
        raise SystemExit(f"looplite cannot be imported: {absent[SUBJECT]}")
    session = Session(
        folder=options.folder or Path(tempfile.gettempdir()),
        quick=options.quick,
        reps=options.reps or (1 if options.quick else 3),
        wanted=wanted,
        absent=absent,
    )
    here = machine(session.folder)
    before = load_average()
    try:
        results, _ = session.run(rows)
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    print(table(results))
    print("The median of each; x: how many times as fast looplite is. On the loop: the share of")
    print("looplite's operations that took no thread. A dash: not possible with that library.\n")
    print(", ".join(f"{name} {version}" for name, version in found.items()))
    if absent:
        print(f"not installed: {', '.join(absent)}")
    print(", ".join(f"{key}: {value}" for key, value in here.items()) + f"; load {before:.2f}")
    if options.json:
        facts = {"machine": here, "versions": found, "rows": results}
        options.json.write_text(json.dumps(facts, indent=1) + "\n")
    if not options.no_plot:
        options.plot.write_text(svg(results))
        say(f"written: {options.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
