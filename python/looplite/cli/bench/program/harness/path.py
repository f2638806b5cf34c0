"""Which path looplite's statements took: on the loop, or on a worker.

All that is known about the names of looplite's counters stands here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Literal

SUBJECT = "looplite"

# Less than this share on the loop, and the row measured something else than it says.
LEAST_INLINE = 0.95

Verdict = Literal["taken", "not taken", "not known"]


def _numbers(answer: object) -> dict[str, int]:
    """A statistics object, whatever its form, as a dictionary of its whole numbers."""
    if callable(answer):
        answer = answer()
    if hasattr(answer, "_asdict"):
        answer = answer._asdict()
    if not isinstance(answer, Mapping):
        answer = getattr(answer, "__dict__", {})
    return {k: v for k, v in answer.items() if isinstance(v, int)}


def counters(conn: Any) -> dict[str, int]:
    """looplite's counters: the connection's if it has some, or the process's."""
    for source in (conn, importlib.import_module(SUBJECT)):
        if hasattr(source, "stats") and (found := _numbers(source.stats)):
            return found
    core = importlib.import_module(f"{SUBJECT}._core")
    return _numbers(core._stats) if hasattr(core, "_stats") else {}


def inline_share(
    before: Mapping[str, int],
    after: Mapping[str, int],
    count: int,
    names: tuple[str, ...] = ("inline_hits",),
) -> float | None:
    """The share of `count` operations that ran on the loop between two readings; `names` are the
    counters of what one operation does there.
    """

    def grown(name: str) -> int:
        return after[name] - before.get(name, 0)

    if all(name in after for name in names):
        share = sum(grown(name) for name in names) / (count * len(names))
    elif "worker_runs" in after:
        share = 1 - grown("worker_runs") / count
    else:
        return None
    return min(1.0, max(0.0, share))


def path_taken(meant: Literal["inline", "any"], inline: float | None) -> Verdict:
    """Whether the path that a row means was taken."""
    if meant == "any":
        return "taken"
    if inline is None:
        return "not known"
    return "taken" if inline >= LEAST_INLINE else "not taken"


class Probe:
    """Reads the counters around the part that is timed; for other peers it does nothing."""

    def __init__(self, peer: str) -> None:
        self._is_subject = peer == SUBJECT
        self._conns: list[Any] = []
        self._before: dict[str, int] = {}
        self._names: tuple[str, ...] = ("inline_hits",)

    def counts(self, *names: str) -> None:
        """The counters that tell what of an operation ran on the loop, if it is no statement."""
        self._names = names

    def watch(self, *conns: Any) -> None:
        """The connections whose statements are to be counted."""
        self._conns = list(conns)

    def _read(self) -> dict[str, int]:
        total: dict[str, int] = {}
        own = [conn for conn in self._conns if hasattr(conn, "stats")]
        # Without counters of their own all connections share those of the process.
        for conn in own or [None]:
            for name, value in counters(conn).items():
                total[name] = total.get(name, 0) + value
        return total

    def begin(self) -> None:
        """Before the clock starts."""
        if self._is_subject:
            self._before = self._read()

    def end(self, count: int) -> float | None:
        """After the clock has stopped: the share of `count` operations that ran on the loop."""
        if not self._is_subject:
            return None
        return inline_share(self._before, self._read(), count, self._names)
