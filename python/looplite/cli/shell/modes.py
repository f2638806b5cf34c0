"""The forms in which a result is written, row by row as it comes: table, list, line, csv, json.

None holds a whole result. A table has to know its widths before its first line: it looks at the
first WINDOW rows and keeps to what it saw; a wider value further down pushes its own row out of
line and is not cut for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

from looplite.cli.shell.values import cell, csv_field, cut, json_value, width

WINDOW = 500
Write = Callable[[str], object]
Rows = Sequence[tuple[object, ...]]


class Mode:
    """Writes one result: rows() for each batch, then end()."""

    headers_by_default = False

    def __init__(self, write: Write, names: Sequence[str], headers: bool, limit: int) -> None:
        self._write = write
        self._names = list(names)
        self._headers = headers
        self._limit = limit
        self.begin()

    def begin(self) -> None:
        """Before the first row."""

    def rows(self, rows: Rows) -> None:
        """Some more rows."""
        raise NotImplementedError

    def end(self) -> None:
        """After the last row; not called for a result that broke off."""


class Table(Mode):
    """For people."""

    headers_by_default = True

    def begin(self) -> None:
        self._widths: list[int] = []
        self._seen: list[tuple[object, ...]] = []
        self._started = False

    def rows(self, rows: Rows) -> None:
        if self._started:
            self._lines(rows)
            return
        self._seen += rows
        if len(self._seen) >= WINDOW:
            self.flush()

    def flush(self) -> None:
        """Settles the widths, and writes what was held back for them."""
        if self._started:
            return
        self._started = True
        cells = [[self._cell(value) for value in row] for row in self._seen]
        names = [self._cell(name) for name in self._names]
        self._widths = [width(name) if self._headers else 0 for name in names]
        for row in cells:
            self._widths = [max(w, width(c)) for w, c in zip(self._widths, row, strict=True)]
        if self._headers:
            pairs = zip(names, self._widths, strict=True)
            self._write(" | ".join(n + " " * (w - width(n)) for n, w in pairs).rstrip() + "\n")
            self._write("-+-".join("-" * w for w in self._widths) + "\n")
        self._lines(self._seen)
        self._seen = []

    def _cell(self, value: object) -> str:
        return cut(cell(value), self._limit)

    def _lines(self, rows: Rows) -> None:
        lines = []
        for row in rows:
            parts = []
            for value, wide in zip(row, self._widths, strict=True):
                text = self._cell(value)
                gap = " " * (wide - width(text))
                # Numbers to the right: the text '1' is told from the number by its place.
                parts.append(gap + text if isinstance(value, (int, float)) else text + gap)
            lines.append(" | ".join(parts).rstrip() + "\n")
        self._write("".join(lines))

    def end(self) -> None:
        self.flush()


class List(Mode):
    """The values of a row with | between them, as the sqlite3 program does it."""

    def begin(self) -> None:
        if self._headers:
            self._write("|".join(map(cell, self._names)) + "\n")

    def rows(self, rows: Rows) -> None:
        self._write("".join("|".join(map(cell, row)) + "\n" for row in rows))


class Line(Mode):
    """A line for each value, an empty one between rows."""

    headers_by_default = True

    def begin(self) -> None:
        wide = max(map(width, self._names))
        self._labels = (
            [" " * (wide - width(name)) + f"{cell(name)} = " for name in self._names]
            if self._headers
            else []
        )
        self._first = True

    def rows(self, rows: Rows) -> None:
        texts = []
        for row in rows:
            pairs = zip_longest(self._labels, map(cell, row), fillvalue="")
            texts.append("".join(f"{label}{value}\n" for label, value in pairs))
        self._write(("" if self._first else "\n") + "\n".join(texts))
        self._first = False


class Csv(Mode):
    """RFC 4180, lines ending in CR LF."""

    headers_by_default = True

    def begin(self) -> None:
        if self._headers:
            self.rows([tuple(self._names)])

    def rows(self, rows: Rows) -> None:
        self._write("".join(",".join(map(csv_field, row)) + "\r\n" for row in rows))


class Json(Mode):
    """An array of objects. Of two columns of one name the second is called `name:1`."""

    def begin(self) -> None:
        used: set[str] = set()
        self._keys = []
        for name in self._names:
            key, number = name, 0
            while key in used:
                number += 1
                key = f"{name}:{number}"
            used.add(key)
            self._keys.append(json_value(key) + ": ")
        self._between = "[\n"

    def rows(self, rows: Rows) -> None:
        objects = [
            "{" + ", ".join([k + json_value(v) for k, v in zip(self._keys, row, strict=True)]) + "}"
            for row in rows
        ]
        self._write(self._between + ",\n".join(objects))
        self._between = ",\n"

    def end(self) -> None:
        self._write("[]\n" if self._between == "[\n" else "\n]\n")


MODES: dict[str, type[Mode]] = {
    "table": Table,
    "list": List,
    "line": Line,
    "csv": Csv,
    "json": Json,
}
