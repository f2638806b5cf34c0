"""A run over some rows: the peers of a row one after the other, in an order that changes with each
repetition.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.child import Outcome, measure
from harness.data import Databases
from harness.spec import Row
from harness.summary import RowResult, summarize
from harness.text import one_line


def say(text: str) -> None:
    """Progress, to the terminal."""
    print(text, file=sys.stderr, flush=True)


def choose(names: str, rows: Sequence[Row]) -> list[Row]:
    """Rows by a list of names with commas; every row when it is empty."""
    if not names:
        return list(rows)
    known = {row.name: row for row in rows}
    if unknown := [name for name in names.split(",") if name not in known]:
        raise SystemExit(f"no such row: {', '.join(unknown)}; the rows are: {', '.join(known)}")
    return [known[name] for name in names.split(",")]


@dataclass(frozen=True)
class Session:
    """How it is measured."""

    folder: Path  # databases lie in a folder of their own below it, deleted afterwards
    quick: bool
    reps: int
    wanted: frozenset[str]  # names of peers; empty: all
    absent: dict[str, str]  # peers that cannot be imported
    limit: float | None = None  # seconds after which no row is begun any more

    def _row(self, row: Row, peers: list[str], databases: Databases, scratch: Path) -> RowResult:
        outcomes: dict[str, list[Outcome]] = {peer: [] for peer in peers}
        for repetition in range(self.reps):
            order = random.Random(f"{row.name} {repetition}").sample(peers, len(peers))
            for peer in order:
                outcome = measure(row, peer, databases, scratch, self.quick)
                outcomes[peer].append(outcome)
                if outcome.sample is None:
                    say(f"  {row.name}: {peer}: {outcome.failure}")
        return summarize(row, outcomes)

    def run(self, rows: list[Row]) -> tuple[list[RowResult], list[str]]:
        """The results, and the rows that no time was left for."""
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="bench-data-", dir=self.folder))
        results: list[RowResult] = []
        left_out: list[str] = []
        began = time.monotonic()
        try:
            databases = Databases(scratch, self.quick)
            for row in rows:
                if self.limit is not None and time.monotonic() - began > self.limit:
                    left_out.append(row.name)
                    continue
                if row.database != "none":
                    databases.template(row.database)
                peers = [
                    peer
                    for peer in row.peers
                    if peer not in self.absent and (not self.wanted or peer in self.wanted)
                ]
                started = time.monotonic()
                results.append(self._row(row, peers, databases, scratch))
                say(f"{time.monotonic() - started:6.1f} s  {one_line(results[-1])}")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return results, left_out
