"""The plot, as SVG: how many times as fast as the synchronous module each library is.

A line of the picture for each row, on a logarithmic scale, with a mark for the median of each
library and a bar from its lowest ratio to its highest. Nothing is needed to draw it, and the same
results give the same file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from harness.summary import RowResult, Spread

# Distinguishable without colours too: Okabe and Ito's palette, and a shape each.
LOOKS = {
    "aiosqlite": ("#0072B2", "s"),
    "apsw": ("#E69F00", "^"),
    "rapsqlite": ("#CC79A7", "v"),
    "pyturso": ("#56B4E9", "P"),
    "looplite": ("#D55E00", "o"),
    "liblooplite": ("#D55E00", "D"),
}

_SCALE, _RIGHT, _TOP, _LINE, _BOTTOM = 480, 24, 56, 34, 52
_LETTER = 5.8  # as wide as one is in the middle, at this size
_SHAPES = {
    "s": "M-4,-4h8v8h-8z",
    "^": "M0,-5L5,4H-5z",
    "v": "M0,5L5,-4H-5z",
    "P": "M-1.5,-5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z",
    "o": "M-6,0a6,6 0 1,0 12,0a6,6 0 1,0 -12,0z",
    "D": "M0,-7L7,0L0,7L-7,0z",
}


def _ratio(row: RowResult, name: str) -> Spread | None:
    against = row["faster"].get(name, {})
    return against.get("sqlite3") or against.get("sqlite3_step")


class _Scale:
    """Ratios to places, logarithmic, from a step of 1, 2, 5, 10, ... to another."""

    def __init__(self, left: float, lowest: float, highest: float) -> None:
        self._left = left
        steps = [d * 10.0**power for power in range(-6, 7) for d in (1, 2, 5)]
        self._low = max([step for step in steps if step <= min(lowest, 0.99)], default=steps[0])
        self._high = min([step for step in steps if step >= max(highest, 1.01)], default=steps[-1])
        inside = [step for step in steps if self._low <= step <= self._high]
        # Not more labels than there is room for.
        self.steps = inside if len(inside) <= 12 else [s for s in inside if f"{s:e}"[0] == "1"]

    def __call__(self, ratio: float) -> float:
        share = math.log(ratio / self._low) / math.log(self._high / self._low)
        return round(self._left + share * _SCALE, 1)


def _mark(name: str, x: float, y: float) -> str:
    colour, shape = LOOKS[name]
    return f'<path d="{_SHAPES[shape]}" transform="translate({x},{y})" fill="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _library(row: RowResult, name: str, scale: _Scale, y: float) -> str:
    ratio = _ratio(row, name)
    if ratio is None:
        return ""
    low, middle, high = (scale(ratio[key]) for key in ("min", "median", "max"))
    bar = f'<path d="M{low},{y}H{high}" stroke="{LOOKS[name][0]}"/>' if high > low else ""
    return f"<g><title>{name}: {ratio['median']:.3g} x</title>{bar}{_mark(name, middle, y)}</g>"


def svg(results: Sequence[RowResult]) -> str:
    """The picture; rows without ratios are left out."""
    rows = [row for row in results if row["ratios"] and any(_ratio(row, name) for name in LOOKS)]
    ratios = [ratio for row in rows for name in LOOKS if (ratio := _ratio(row, name))]
    left = round(30 + _LETTER * max((len(row["title"]) for row in rows), default=0))
    width = left + _SCALE + _RIGHT
    scale = _Scale(
        left,
        min((ratio["min"] for ratio in ratios), default=1),
        max((ratio["max"] for ratio in ratios), default=1),
    )
    bottom = _TOP + len(rows) * _LINE
    height = bottom + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for step in scale.steps:
        x = scale(step)
        look = 'stroke="#444444"' if step == 1 else 'stroke="#dddddd"'
        parts.append(f'<path d="M{x},{_TOP - 12}V{bottom}" {look}/>')
        parts.append(_text(x, bottom + 18, f"{step:g}", "middle"))
    middle = left + _SCALE / 2
    what = "times as fast as synchronous sqlite3 (C: as sqlite3_step)"
    parts.append(_text(middle, bottom + 40, what, "middle"))
    present = [name for name in LOOKS if any(_ratio(row, name) for row in rows)]
    x = float(left)
    for name in present:
        parts += [_mark(name, x, 20), _text(x + 11, 24, name)]
        x += 30 + 7 * len(name)
    for at, row in enumerate(rows):
        y = _TOP + at * _LINE + 8
        parts.append(_text(left - 14, y + 4, row["title"].replace("`", ""), "end"))
        parts += [_library(row, name, scale, y) for name in present]
    return "\n".join(part for part in parts if part) + "\n</svg>\n"
