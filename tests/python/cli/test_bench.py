"""``python -m looplite bench`` measures, reports and draws; how fast anything is, no test asks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from cli.command import environment, looplite
from looplite.cli.bench import PROGRAM
from support import SCRIPT_SECONDS, looplite_only

pytestmark = looplite_only

SVG = "{http://www.w3.org/2000/svg}"
FEW = ("--quick", "--rows", "point_read_wal,async_for", "--peers", "sqlite3,looplite")


def bench(folder: Path, *words: str) -> Any:
    return looplite("bench", "--folder", str(folder), *words, folder=folder, fresh=True)


def test_it_measures_and_draws(tmp_path: Path) -> None:
    done = bench(tmp_path, *FEW, "--json", "all.json")
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert re.split(r"  +", head) == [
        "time of one operation",
        "sqlite3",
        "looplite",
        "x sqlite3",
        "x aiosqlite",
        "on the loop",
    ]
    point, each = lines[:2]
    assert point.startswith("point read, one task, WAL, us ")
    assert re.search(r" \d+%$", point)
    assert each.startswith("async for over 100 000 rows, each, ns ")
    rows = {row["name"]: row for row in json.loads((tmp_path / "all.json").read_text())["rows"]}
    assert set(rows) == {"point_read_wal", "async_for"}
    for row in rows.values():
        assert set(row["peers"]) == {"sqlite3", "looplite"}
        assert not any(peer["failures"] for peer in row["peers"].values())
    # A mark in the legend and one for each row.
    drawn = ElementTree.parse(tmp_path / "looplite-bench.svg").getroot()
    assert len(list(drawn.iter(f"{SVG}title"))) == 2
    texts = [text.text for text in drawn.iter(f"{SVG}text")]
    assert {"looplite", "point read, one task, WAL"} <= set(texts)
    # The databases are gone.
    assert {path.name for path in tmp_path.iterdir()} == {"all.json", "looplite-bench.svg"}


@pytest.mark.parametrize("words", [("--rows", "nonsense"), ("--peers", "nonsense")])
def test_what_is_not_there_is_refused(tmp_path: Path, words: tuple[str, str]) -> None:
    done = bench(tmp_path, *words)
    assert done.returncode == 1
    assert "nonsense" in done.stderr
    assert "point_read_wal" in done.stderr or "aiosqlite" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_looplite_is_not_in_the_process_that_measures_sqlite3(tmp_path: Path) -> None:
    program = f"""
import runpy, sys
sys.argv = ["bench", "--quick", "--rows", "point_read_wal", "--peers", "sqlite3", "--no-plot"]
try:
    runpy.run_path({str(PROGRAM)!r}, run_name="__main__")
except SystemExit as end:
    assert end.code == 0
assert "harness.spec" in sys.modules
assert "looplite" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=SCRIPT_SECONDS,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
