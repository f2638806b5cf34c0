"""Numbers and results as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from harness.path import SUBJECT
from harness.summary import RowResult

ORDER = (
    "sqlite3",
    "sqlite3_step",
    "aiosqlite",
    "apsw",
    "rapsqlite",
    "pyturso",
    "looplite",
    "liblooplite",
)


def number(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    if value < 0:
        return f"-{number(-value)}"
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}" if value >= 0.001 else "0"


def one_line(row: RowResult) -> str:
    """A row for the terminal while others are still measured."""
    values = [
        f"{name} {number(peer['value']['median'])}"
        for name, peer in row["peers"].items()
        if peer["value"]
    ]
    return f"{row['name']} ({row['unit']}): {', '.join(values)}"


def ratio(row: RowResult, baseline: str) -> str:
    """How many times as fast as `baseline` the row's subject is."""
    found = row["faster"].get(row["subject"], {}).get(baseline)
    return f"{number(found['median'])} x" if found else ""


def columns(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table; all columns but the first to the right."""
    rows = [list(head), *map(list, lines)]
    wide = [max(len(row[at]) for row in rows) for at in range(len(head))]
    text = ""
    for row in rows:
        cells = [row[0].ljust(wide[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], wide[1:], strict=True)]
        text += "  ".join(cells).rstrip() + "\n"
    return text


def table(rows: Sequence[RowResult]) -> str:
    """The medians, looplite's ratios, and the share of its operations that ran on the loop."""
    present = [name for name in ORDER if any(name in row["peers"] for row in rows)]
    lines = []
    for row in rows:
        cells = [f"{row['title']}, {row['unit']}".replace("`", "")]
        for name in present:
            peer = row["peers"].get(name)
            value = peer["value"] if peer else None
            cells.append(number(value["median"]) if value else "-" if peer else "")
        subject = row["peers"].get(SUBJECT)
        share = subject["inline"] if subject else None
        cells += [
            ratio(row, "sqlite3"),
            ratio(row, "aiosqlite"),
            "" if share is None else f"{share:.0%}",
        ]
        lines.append(cells)
    head = ["time of one operation", *present, "x sqlite3", "x aiosqlite", "on the loop"]
    return columns(head, lines)
