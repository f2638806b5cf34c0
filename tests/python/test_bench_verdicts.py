"""What the benchmarks make of samples: ratios within a repetition, verdicts, shares of the path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCH = str(Path(__file__).resolve().parents[2] / "bench")
sys.path.append(BENCH)

import packaged  # noqa: E402, F401 - found by the line above
from harness.child import Outcome  # noqa: E402 - found by the line above
from harness.measure import percentile, shares  # noqa: E402
from harness.path import inline_share, path_taken  # noqa: E402
from harness.spec import Bound, Context, Extra, Ratio, Row, Sample, Target  # noqa: E402
from harness.summary import RowResult, summarize  # noqa: E402


async def unused(ctx: Context) -> Sample:
    raise NotImplementedError


def outcome(value: float, inline: float | None = 1.0, *missing: str) -> Outcome:
    return Outcome(Sample(value, {"late": value * 2}, inline, missing))


def summary(own: list[Outcome], other: list[Outcome], *targets: Target) -> RowResult:
    row = Row("r", "a row", "us", unused, targets=targets, path="inline")
    return summarize(row, {"looplite": own, "sqlite3": other})


def verdicts(own: list[Outcome], other: list[Outcome], *targets: Target) -> list[str]:
    return [target["verdict"] for target in summary(own, other, *targets)["targets"]]


def test_a_ratio_is_the_median_of_ratios_within_repetitions() -> None:
    # The machine became ten times slower in the second repetition, for both.
    got = summary([outcome(1), outcome(10), outcome(1)], [outcome(2), outcome(20), outcome(3)])
    assert got["faster"]["looplite"]["sqlite3"] == {"median": 2, "min": 2, "max": 3}


def test_a_failed_repetition_has_no_ratio_and_is_not_met() -> None:
    own = [outcome(1), Outcome(None, "died")]
    other = [outcome(4), outcome(1)]
    assert verdicts(own, other, Ratio("sqlite3", 2)) == ["incomplete"]


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (Ratio("sqlite3", 1.5), "met"),
        (Ratio("sqlite3", 2.5), "missed"),
        (Ratio("aiosqlite", 1), "not measured"),
        (Bound("", 1, "us"), "met"),
        (Bound("late", 1, "us"), "missed"),
        (Extra("sqlite3", 0, "KB"), "met"),
        (Extra("sqlite3", -2, "KB"), "missed"),
    ],
)
def test_verdicts(target: Target, verdict: str) -> None:
    assert verdicts([outcome(1)], [outcome(2)], target) == [verdict]


@pytest.mark.parametrize(
    ("own", "verdict"),
    [
        ([outcome(1, 0.5), outcome(1)], "path not taken"),
        ([outcome(1, None)], "path not known"),
        ([outcome(1, 1.0, "backup")], "incomplete"),
        ([outcome(1, 0.96)], "met"),
    ],
)
def test_what_was_not_measured_as_meant_is_not_met(own: list[Outcome], verdict: str) -> None:
    assert verdicts(own, [outcome(2)] * len(own), Ratio("sqlite3", 1)) == [verdict]


def test_the_share_on_the_loop_comes_from_whichever_counter_there_is() -> None:
    assert inline_share({"inline_hits": 5}, {"inline_hits": 95, "worker_runs": 7}, 100) == 0.9
    assert inline_share({"worker_runs": 5}, {"worker_runs": 30}, 100) == 0.75
    assert inline_share({}, {"something": 1}, 100) is None
    both = ("inline_opens", "inline_closes")
    assert (
        inline_share({"inline_opens": 1}, {"inline_opens": 11, "inline_closes": 8}, 10, both) == 0.9
    )
    assert path_taken("any", None) == "taken"


def test_percentiles_and_shares() -> None:
    assert percentile(range(1, 1001), 99.9) == 999
    assert percentile([7], 99.9) == 7
    assert shares(list(range(5)), 2) == [[0, 2, 4], [1, 3]]
    assert shares([1], 3) == [[1]]
