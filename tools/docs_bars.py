"""Small charts of benchmark rows for the documentation site.

A page asks for one by a comment that names the rows; what takes its place is HTML, which
docs/assets/site.css draws.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

_BARS = re.compile(r"<!-- bars: ([\w ]+) -->")


def chart(names: str) -> str:
    """A small chart for some rows of the newest results that have them: shorter is better."""
    found = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (ROOT / "bench/results").glob("20*.json")  # the showcase's have other rows
    ]
    rows: dict[str, Any] = {}
    for results in sorted(found, key=lambda results: str(results["date"])):
        rows.update({row["name"]: row for row in results["rows"]})
    out = ['<div class="bars">']
    for name in names.split():
        if name not in rows:
            raise ValueError(f"bench/results has no row {name}")
        row = rows[name]
        times = {
            peer: row["peers"][peer]["value"]["median"]
            for peer in ("aiosqlite", "sqlite3", row["subject"])
            if row["peers"].get(peer, {}).get("value")
        }
        title = re.sub(r" \(.*when quick\)", "", row["title"])
        unit = row["unit"].replace("us", "µs")
        out.append(f'<div class="bars-row"><p>{title}</p>')
        for peer, time in times.items():
            kind = "ours" if peer == row["subject"] else "other"
            width = max(100 * time / max(times.values()), 0.4)
            out.append(
                f'<div class="bar {kind}"><span class="who">{peer}</span>'
                f'<span class="track"><i style="width:{width:.1f}%"></i></span>'
                f'<span class="time">{time:.3g} {unit}</span></div>'
            )
        out.append("</div>")
    return "\n".join([*out, "</div>"])


def expanded(text: str) -> str:
    """A page with its charts. ValueError: no results have a row."""
    return _BARS.sub(lambda m: chart(m[1]), text)
