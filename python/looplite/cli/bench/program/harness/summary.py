"""From samples to a row of results: medians, ranges, ratios, and whether the targets are met.

A ratio is the median of the ratios within each repetition, where both peers ran within seconds of
each other: the machine's moods cancel out there, as they do not between two medians.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TypedDict

from harness.child import Outcome
from harness.path import path_taken
from harness.spec import Bound, Extra, Ratio, Row, Sample, Target

BASELINES = ("sqlite3", "aiosqlite", "sqlite3_step")


class Spread(TypedDict):
    """Median and range."""

    median: float
    min: float
    max: float


class PeerResult(TypedDict):
    """What one peer did in a row."""

    value: Spread | None
    samples: list[float]
    details: dict[str, Spread]
    inline: float | None
    missing: list[str]
    failures: list[str]


class TargetResult(TypedDict):
    """One target, what was measured for it, and the verdict."""

    text: str
    measured: float | None
    verdict: str


class RowResult(TypedDict):
    """One row of the results."""

    name: str
    title: str
    unit: str
    subject: str
    ratios: bool
    peers: dict[str, PeerResult]
    # peer -> baseline -> how many times as fast
    faster: dict[str, dict[str, Spread]]
    path: str
    targets: list[TargetResult]


Outcomes = Mapping[str, Sequence[Outcome]]


def spread(values: Sequence[float]) -> Spread:
    """Median and range of at least one value."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def _samples(outcomes: Sequence[Outcome]) -> list[Sample]:
    return [outcome.sample for outcome in outcomes if outcome.sample is not None]


def _peer(outcomes: Sequence[Outcome]) -> PeerResult:
    samples = _samples(outcomes)
    names = dict.fromkeys(name for sample in samples for name in sample.details)
    shares = [sample.inline for sample in samples if sample.inline is not None]
    return {
        "value": spread([sample.value for sample in samples]) if samples else None,
        "samples": [sample.value for sample in samples],
        "details": {
            name: spread([s.details[name] for s in samples if name in s.details]) for name in names
        },
        # The worst repetition counts: each of them is to have taken the path.
        "inline": min(shares) if shares else None,
        "missing": sorted({part for sample in samples for part in sample.missing}),
        "failures": sorted({outcome.failure for outcome in outcomes if outcome.failure}),
    }


def _pairs(outcomes: Outcomes, one: str, other: str) -> list[tuple[float, float]]:
    """The values of two peers in the repetitions where both have one."""
    return [
        (a.sample.value, b.sample.value)
        for a, b in zip(outcomes.get(one, ()), outcomes.get(other, ()), strict=False)
        if a.sample is not None and b.sample is not None
    ]


def _ratio(outcomes: Outcomes, peer: str, baseline: str) -> Spread | None:
    pairs = [(own, base) for own, base in _pairs(outcomes, peer, baseline) if own > 0]
    return spread([base / own for own, base in pairs]) if pairs else None


def describe(target: Target) -> str:
    """A target in words."""
    if isinstance(target, Ratio):
        return f"{target.times:g} x {target.peer}"
    if isinstance(target, Extra):
        return f"at most {target.most:g} {target.unit} more than {target.peer}"
    return f"{target.key or 'value'} at most {target.most:g} {target.unit}"


def _measured(target: Target, row: Row, outcomes: Outcomes) -> tuple[float | None, bool]:
    """What stands for a target, and whether it is enough."""
    if isinstance(target, Ratio):
        ratio = _ratio(outcomes, row.subject, target.peer)
        return (ratio["median"], ratio["median"] >= target.times) if ratio else (None, False)
    if isinstance(target, Extra):
        pairs = _pairs(outcomes, row.subject, target.peer)
        extra = median([own - base for own, base in pairs]) if pairs else None
        return extra, extra is not None and extra <= target.most
    assert isinstance(target, Bound)
    samples = _samples(outcomes.get(row.subject, ()))
    values = [s.details[target.key] if target.key else s.value for s in samples]
    value = median(values) if values else None
    return value, value is not None and value <= target.most


def summarize(row: Row, outcomes: Outcomes) -> RowResult:
    """One row of results."""
    peers = {name: _peer(some) for name, some in outcomes.items()}
    subject = peers.get(row.subject)
    path = path_taken(row.path, subject["inline"] if subject else None)
    targets: list[TargetResult] = []
    for target in row.targets:
        measured, enough = _measured(target, row, outcomes)
        if subject is None or measured is None:
            verdict = "not measured"
        elif not enough:
            verdict = "missed"
        elif subject["missing"] or subject["failures"]:
            verdict = "incomplete"
        else:
            verdict = "met" if path == "taken" else f"path {path}"
        targets.append({"text": describe(target), "measured": measured, "verdict": verdict})
    faster: dict[str, dict[str, Spread]] = {}
    for peer in outcomes if row.ratios else ():
        against = {base: _ratio(outcomes, peer, base) for base in BASELINES if base != peer}
        faster[peer] = {base: ratio for base, ratio in against.items() if ratio}
    return {
        "name": row.name,
        "title": row.title,
        "unit": row.unit,
        "subject": row.subject,
        "ratios": row.ratios,
        "peers": peers,
        "faster": faster,
        "path": path if subject and subject["value"] else "not measured",
        "targets": targets,
    }
