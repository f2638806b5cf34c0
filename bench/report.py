"""Turns results of bench/run.py into a Markdown table and a plot.

bench/report.py                          the newest file in bench/results/, table to stdout
bench/report.py FILE --plot OUT.svg      the plot
bench/report.py FILE --short             the table of ratios alone, for the README
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import packaged  # noqa: F401 - makes `harness` found
from harness.plot import svg
from harness.summary import PeerResult, RowResult, Spread
from harness.text import ORDER, number, ratio

RESULTS = Path(__file__).parent / "results"


def _spread(spread: Spread) -> str:
    middle = number(spread["median"])
    if spread["min"] == spread["max"]:
        return middle
    return f"{middle} ({number(spread['min'])}-{number(spread['max'])})"


def _cell(result: PeerResult | None) -> str:
    if result is None:
        return ""
    if result["value"] is None:
        return "-"
    return _spread(result["value"]) + (" [partly]" if result["missing"] else "")


def _target(row: RowResult) -> str:
    parts = []
    for target in row["targets"]:
        measured = "" if target["measured"] is None else f": {number(target['measured'])}"
        parts.append(f"{target['text']}{measured} **{target['verdict']}**")
    return "; ".join(parts)


def _table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in rows)


def short(results: dict[str, Any]) -> str:
    """looplite against the standard module and aiosqlite, with targets."""
    lines = [
        [
            row["title"],
            ratio(row, "sqlite3") or ratio(row, "sqlite3_step"),
            ratio(row, "aiosqlite"),
            _target(row),
        ]
        for row in results["rows"]
    ]
    return _table(["work", "times sqlite3", "times aiosqlite", "target: measured"], lines)


def _notes(results: dict[str, Any]) -> list[str]:
    """What went otherwise than meant."""
    notes = []
    for row in results["rows"]:
        subject = row["peers"].get(row["subject"])
        if row["path"].startswith("not") and subject and subject["value"]:
            share = subject["inline"]
            counted = "no counter tells" if share is None else f"{share:.0%} of it on the loop"
            notes.append(f"`{row['name']}`: the path it means was {row['path']} ({counted})")
        for name, peer in row["peers"].items():
            notes += [f"`{row['name']}`, {name}: {failure}" for failure in peer["failures"]]
            if peer["missing"]:
                notes.append(f"`{row['name']}`, {name}: without {', '.join(peer['missing'])}")
    if results["left out"]:
        notes.append(f"no time was left for: {', '.join(results['left out'])}")
    notes += [f"{name} is not installed: {why}" for name, why in results["absent"].items()]
    return notes


def _details(results: dict[str, Any]) -> str:
    lines = [
        [
            f"`{row['name']}`",
            name,
            ", ".join(f"{key} {_spread(value)}" for key, value in peer["details"].items()),
        ]
        for row in results["rows"]
        for name, peer in row["peers"].items()
        if peer["details"]
    ]
    return _table(["row", "peer", "details"], lines)


def markdown(results: dict[str, Any]) -> str:
    """The whole report."""
    rows: list[RowResult] = results["rows"]
    present = [name for name in ORDER if any(name in row["peers"] for row in rows)]
    lines = [
        [
            row["title"],
            row["unit"],
            *(_cell(row["peers"].get(name)) for name in present),
            ratio(row, "sqlite3") or ratio(row, "sqlite3_step"),
            ratio(row, "aiosqlite"),
            _target(row),
        ]
        for row in rows
    ]
    head = ["work", "unit", *present, "times sqlite3", "times aiosqlite", "target: measured"]
    load = results["load average"]
    machine = ", ".join(f"{key}: {value}" for key, value in results["machine"].items())
    times = "once" if results["repetitions"] == 1 else f"{results['repetitions']} repetitions"
    kind = "quick, these numbers are not to be quoted; " if results["quick"] else ""
    parts = [
        f"# Measured {results['date']}\n",
        f"Medians and ranges, less is better ({kind}{times}; a ratio is the median of the "
        "repetitions' ratios). Garbage collector on.\n",
        f"Machine: {machine}; load average {load['before']:.2f} before, {load['after']:.2f} after."
        "\n",
        "".join(f"- {name} {version}\n" for name, version in results["versions"].items()),
        _table(head, lines),
    ]
    if notes := _notes(results):
        parts += ["## Notes\n", "".join(f"- {note}\n" for note in notes)]
    return "\n".join([*parts, "## Details\n", _details(results)])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    files = [options.file] if options.file else sorted(RESULTS.glob("*.json"))
    if not files:
        parser.error("there are no results yet")
    results = json.loads(files[-1].read_text())
    if options.plot:
        options.plot.write_text(svg(results["rows"]))
    else:
        print(short(results) if options.short else markdown(results), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
