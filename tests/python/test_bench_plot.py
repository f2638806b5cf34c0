"""The plot of the benchmarks: well-formed, in order, the same for the same results."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))

import packaged  # noqa: F401 - found by the line above
from harness.plot import svg
from harness.summary import RowResult, Spread
from harness.text import columns, number

SVG = "{http://www.w3.org/2000/svg}"


def row(title: str, **ratios: float) -> RowResult:
    faster: dict[str, dict[str, Spread]] = {
        name: {"sqlite3": {"median": ratio, "min": ratio / 1.5, "max": ratio}}
        for name, ratio in ratios.items()
    }
    return {
        "name": title,
        "title": title,
        "unit": "us",
        "subject": "looplite",
        "ratios": True,
        "peers": {},
        "faster": faster,
        "path": "taken",
        "targets": [],
    }


def places(text: str) -> dict[str, float]:
    """Where the mark of each library stands in the first row."""
    found: dict[str, float] = {}
    for group in ElementTree.fromstring(text).iter(f"{SVG}g"):
        title, *_, mark = group
        assert title.text is not None
        place = mark.attrib["transform"].removeprefix("translate(").split(",")[0]
        found.setdefault(title.text.split(":")[0], float(place))
    return found


def test_faster_is_further_to_the_right() -> None:
    rows = [row("a <row> & more", aiosqlite=0.02, apsw=0.5, looplite=2.7), row("two", looplite=1)]
    text = svg(rows)
    found = places(text)
    assert found["aiosqlite"] < found["apsw"] < found["looplite"]
    drawn = ElementTree.fromstring(text)
    width = float(drawn.attrib["width"])
    assert all(0 < place < width for place in found.values())
    assert "a <row> & more" in [t.text for t in drawn.iter(f"{SVG}text")]
    assert svg(rows) == text


def test_rows_without_ratios_are_left_out() -> None:
    assert "nothing" not in svg([row("nothing"), row("something", looplite=3)])
    ElementTree.fromstring(svg([]))


def test_text() -> None:
    assert columns(["a", "bb"], [["x", "1"], ["longer", "22"]]) == (
        "a       bb\nx        1\nlonger  22\n"
    )
    assert [number(n) for n in (1234567.0, 12.345, 0.0123, -2.0)] == [
        "1 234 567",
        "12.3",
        "0.0123",
        "-2",
    ]
