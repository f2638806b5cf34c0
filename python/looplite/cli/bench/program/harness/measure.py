"""Timing: how long one operation takes, and percentiles."""

from __future__ import annotations

import gc
import math
import random
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from harness.path import Probe

T = TypeVar("T")

_SEED = 20240229


@dataclass(frozen=True)
class Rate:
    """The outcome of rate()."""

    seconds: float  # of one operation
    count: int  # how many were timed
    inline: float | None


async def rate(
    probe: Probe,
    make: Callable[[int], T],
    run: Callable[[T], Awaitable[None]],
    seconds: float,
    first: int = 32,
) -> Rate:
    """Times run(make(n)) with an n that takes about `seconds`; make() itself is not timed.

    Peers differ a thousandfold, so n is found by runs that grow fourfold; they are the warm-up
    too. What they and the set-up left behind is collected before: the collector stays on, and
    what the timed run makes is what it has to look at.
    """
    count = first
    while True:
        work = make(count)
        began = perf_counter()
        await run(work)
        took = perf_counter() - began
        if took >= seconds / 6:
            break
        count *= 4
    count = max(1, round(count * seconds / took))
    work = make(count)
    gc.collect()
    probe.begin()
    began = perf_counter()
    await run(work)
    took = perf_counter() - began
    return Rate(took / count, count, probe.end(count))


def keys(count: int, rows: int) -> list[int]:
    """`count` keys of a table with the keys 1 to `rows`; the same ones every time."""
    chosen = random.Random(_SEED).choices(range(1, rows + 1), k=min(count, 50_000))
    return (chosen * (count // len(chosen) + 1))[:count] if chosen else []


def distinct_keys(count: int, rows: int) -> list[int]:
    """`count` different keys, the same ones every time."""
    return random.Random(_SEED).sample(range(1, rows + 1), count)


def shares(work: Sequence[T], parts: int) -> list[Sequence[T]]:
    """The work dealt out to `parts` tasks; none of them is empty-handed if it can be helped."""
    return [part for n in range(parts) if (part := work[n::parts])]


def percentile(values: Sequence[float], per_cent: float) -> float:
    """The smallest value that at least `per_cent` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered), max(1, math.ceil(len(ordered) * per_cent / 100))) - 1]


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return statistics.fmean(values)
