"""The benchmarks run and report; how fast anything is, no test asks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


def run(*arguments: str | Path, program: str = "run.py") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCH / program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def measured(tmp_path: Path, *arguments: str) -> tuple[Any, str]:
    """The results, and the table as it was printed."""
    out = tmp_path / "results"
    done = run("--quick", "--folder", tmp_path, "--out", out, *arguments)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.json")
    assert path.with_suffix(".md").read_text() == done.stdout.removesuffix("\n")
    # No folder of this machine stands in what is published.
    assert str(tmp_path) not in path.read_text() + done.stdout
    return json.loads(path.read_text()), done.stdout


def test_rows_are_measured_and_written(tmp_path: Path) -> None:
    rows = ["point_read_wal", "open_close", "async_for"]
    results, table = measured(
        tmp_path, "--rows", ",".join(rows), "--peers", "sqlite3,aiosqlite,looplite", "--reps", "2"
    )
    assert [row["name"] for row in results["rows"]] == rows
    for row in results["rows"]:
        assert f"| {row['title']} |" in table
        assert set(row["peers"]) == {"sqlite3", "aiosqlite", "looplite"}
        for name, peer in row["peers"].items():
            assert not peer["failures"], (row["name"], name)
            assert len(peer["samples"]) == 2
            assert min(peer["samples"]) == peer["value"]["min"] > 0
        assert set(row["faster"]["looplite"]) == {"sqlite3", "aiosqlite"}
        assert row["targets"]
    assert results["machine"]["cores"]
    assert results["versions"]["aiosqlite"].startswith("0.22.1 ")


def test_a_row_whose_path_was_not_taken_is_never_met(tmp_path: Path) -> None:
    (row,) = measured(tmp_path, "--rows", "point_read_wal", "--peers", "looplite,sqlite3")[0][
        "rows"
    ]
    inline = row["peers"]["looplite"]["inline"]
    assert inline is not None, "no counter of looplite's tells which path was taken"
    if inline < 0.95:
        assert row["path"] == "not taken"
        assert "met" not in [target["verdict"] for target in row["targets"]]
    else:
        assert row["path"] == "taken"


def test_a_peer_that_fails_is_named_and_the_row_goes_on(tmp_path: Path) -> None:
    # pyturso has no rollback journal; where it is not installed, it is named as absent.
    results, table = measured(
        tmp_path, "--rows", "point_read_rollback", "--peers", "sqlite3,pyturso"
    )
    (row,) = results["rows"]
    assert row["peers"]["sqlite3"]["value"]
    assert "pyturso" in table
    assert [target["verdict"] for target in row["targets"]] == ["not measured"]


@pytest.mark.parametrize("wrong", ["nonsense", "point_read_wal,nonsense"])
def test_an_unknown_row_is_refused_with_the_names(wrong: str) -> None:
    done = run("--rows", wrong)
    assert done.returncode != 0
    assert "nonsense" in done.stderr
    assert "point_read_wal" in done.stderr


def test_curves_are_measured_and_written(tmp_path: Path) -> None:
    done = run("--quick", "--curves", "tasks", "--out", tmp_path, program="growth.py")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("growth-*.json")
    results = json.loads(path.read_text())
    assert path.with_suffix(".md").read_text() == done.stdout.removesuffix("\n")
    points = {row["name"]: row["peers"] for row in results["rows"]}
    assert {"tasks_1", "tasks_100"} <= set(points)
    for peers in points.values():
        for name in ("sqlite3", "looplite"):
            assert not peers[name]["failures"]
            assert peers[name]["value"]["min"] > 0
    assert "| tasks | sqlite3 |" in done.stdout
    assert "## fetchall" not in done.stdout  # it was not asked for
    assert run("--curves", "nope", program="growth.py").returncode == 2
