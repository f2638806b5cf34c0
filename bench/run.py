"""Measures looplite beside sqlite3, aiosqlite, apsw, rapsqlite and pyturso (`make bench`).

    bench/run.py                     all rows, five repetitions, into bench/results/
    bench/run.py --quick             all rows once, in less than a minute, into build/bench-quick/
    bench/run.py --rows idle,fetchall --reps 7
    bench/run.py --list              the names of the rows

Within a repetition the peers of a row are measured one after the other, in an order that changes,
on the same file, each in a process of its own. Run it on a machine that does nothing else: the
load before and after is in the results.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import packaged  # noqa: F401 - makes `harness` found
import report
from harness.machine import load_average, machine, versions
from harness.plot import svg
from harness.rows import all_rows
from harness.session import Session, choose, say
from harness.spec import C_SUBJECT, Row

ROOT = Path(__file__).resolve().parents[1]
QUICK_SECONDS = 45.0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small numbers, once")
    parser.add_argument("--rows", default="", help="names with commas; default: all")
    parser.add_argument("--peers", default="", help="names with commas; default: all")
    parser.add_argument("--reps", type=int, help="repetitions; default 5, with --quick 1")
    parser.add_argument("--folder", type=Path, help="where databases lie; default: build/")
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--list", action="store_true", help="only list the rows")
    return parser.parse_args()


def build_c(rows: list[Row], quick: bool) -> None:
    """Builds the C programs if a row needs them; --quick takes what is built."""
    if quick or not any(C_SUBJECT in row.peers for row in rows):
        return
    say("bench: building bench/c")
    done = subprocess.run(
        [ROOT / "tools" / "build.sh", "bench"], stdout=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        say("bench: bench/c could not be built; its rows are left out")


def write(results: dict[str, Any], folder: Path) -> Path:
    """JSON, table and plot. The name has the date and a checksum."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1) + "\n"
    identity = hashlib.sha256(text.encode()).hexdigest()[:8]
    path = folder / f"{results['date'][:10]}-{identity}.json"
    path.write_text(text)
    path.with_suffix(".md").write_text(report.markdown(results))
    path.with_suffix(".svg").write_text(svg(results["rows"]))
    return path


def main() -> int:
    options = arguments()
    rows = choose(options.rows, all_rows())
    if options.list:
        for row in all_rows():
            print(f"{row.name:24}{row.title}")
        return 0
    options.reps = options.reps or (1 if options.quick else 5)
    build_c(rows, options.quick)
    found, absent = versions()
    for name, why in absent.items():
        say(f"bench: without {name}: {why}")
    load_before = load_average()
    session = Session(
        folder=options.folder or ROOT / "build",
        quick=options.quick,
        reps=options.reps,
        wanted=frozenset(filter(None, options.peers.split(","))),
        absent=absent,
        limit=QUICK_SECONDS if options.quick and not options.rows else None,
    )
    done, left_out = session.run(rows)
    results: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%MZ"),
        "quick": options.quick,
        "repetitions": options.reps,
        "machine": machine(session.folder),
        "load average": {"before": load_before, "after": load_average()},
        "garbage collector": "on",
        "versions": found,
        "absent": absent,
        "left out": left_out,
        "rows": done,
    }
    default = ROOT / "build" / "bench-quick" if options.quick else ROOT / "bench" / "results"
    path = write(results, options.out or default)
    print(report.markdown(results))
    say(f"written: {path.name} and its table")
    return 0


if __name__ == "__main__":
    sys.exit(main())
