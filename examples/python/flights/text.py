"""What the demo prints: headings, small tables, a progress bar."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType

FIGURE = re.compile(r"-?\d[\d .:]*( x)?")  # "1 024", "-0.5", "07:00", "1.60 x"
BAR_WIDTH = 32
REDRAW_EVERY = 0.05  # seconds; a terminal shows no more than that anyway


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value)


def fine(value: float | None) -> str:
    """For times and ratios, which span orders of magnitude: two decimals where it is small."""
    return cell(value) if value is None or value >= 10 else f"{value:.2f}"


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], indent: str = "  ") -> None:
    """Print rows in columns; a column of figures is set to the right."""
    lines = [list(headers), *([cell(value) for value in row] for row in rows)]
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    figures = [any(map(FIGURE.fullmatch, column[1:])) for column in columns]

    def put(line: Sequence[str]) -> None:
        cells = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, figures, strict=True)
        )
        print((indent + "  ".join(cells)).rstrip())

    put(lines[0])
    put(["-" * width for width in widths])
    for line in lines[1:]:
        put(line)


class Progress:
    """A bar on a terminal; where there is none, a line when the work is done is all.

    with Progress("flights", total, unit="rows") as bar:
        bar.advance(5_000)

    Without a unit there is no line.
    """

    def __init__(self, label: str, total: int, unit: str = "") -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self.started = self.drawn = time.perf_counter()
        self.live = sys.stdout.isatty()

    def advance(self, count: int) -> None:
        self.done += count
        now = time.perf_counter()
        if self.live and now - self.drawn >= REDRAW_EVERY:
            self.drawn = now
            filled = min(BAR_WIDTH, BAR_WIDTH * self.done // self.total)
            bar = "#" * filled + "." * (BAR_WIDTH - filled)
            share = min(100, 100 * self.done // self.total)
            print(f"\r  {self.label:<9} [{bar}] {share:3d} %", end="", flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live:
            print("\r\x1b[K", end="")  # the bar makes room for what follows
        if kind is None and self.unit:
            seconds = time.perf_counter() - self.started
            print(
                f"  {self.label:<9} {cell(self.done):>9} {self.unit}  {seconds:5.2f} s", flush=True
            )
