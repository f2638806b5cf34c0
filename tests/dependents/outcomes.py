"""What became of the tests of a run, how two runs differ, and the stored runs on aiosqlite.

A stored run (baselines/NAME.json) names every test that did not pass, and how many passed in each
file: enough to find each test that fails with looplite, or is missing, without ten thousand names.
It belongs to a version of Python and of SQLite; on others the runner measures a new one.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Outcomes that say that a test found what it looks for.
GOOD = ("passed", "xfailed")
BAD = ("failed", "error", "hung")


@dataclass(frozen=True)
class Outcome:
    """What became of one test."""

    outcome: str
    reason: str = ""


Run = dict[str, Outcome]


def read(path: Path, noise: str = "") -> Run:
    """The outcomes that the plugin wrote down."""
    run: Run = {}
    if not path.is_file():
        return run
    for line in path.read_text().splitlines():
        name, outcome, reason = json.loads(line)
        run[re.sub(noise, "", name) if noise else name] = Outcome(outcome, reason)
    return run


def file_of(name: str) -> str:
    """The file that a test stands in."""
    return name.partition("::")[0]


def counts(outcomes: Iterable[str]) -> str:
    """How many of each, the common ones first."""
    found = Counter(outcomes)
    order = ("passed", "failed", "error", "hung", "skipped", "xfailed")
    parts = [f"{found.pop(name)} {name}" for name in order if found[name]]
    return ", ".join(parts + [f"{n} {name}" for name, n in found.items()]) or "nothing"


def gist(reason: str) -> str:
    """The line of a traceback that says what went wrong."""
    lines = reason.strip().splitlines()
    told = [line[1:].strip() for line in lines if line.startswith("E ")]
    return told[-1] if told else lines[-1].strip() if lines else ""


class Wanted:
    """A run on aiosqlite, measured now or stored."""

    def __init__(self, others: dict[str, str], passed: Counter[str]) -> None:
        self.others = others  # every test that did not pass: its outcome
        self.passed = passed  # passed tests in each file

    @classmethod
    def of(cls, run: Run) -> Wanted:
        others = {name: each.outcome for name, each in run.items() if each.outcome != "passed"}
        return cls(others, Counter(file_of(name) for name in run if name not in others))

    def summary(self) -> str:
        return counts([*["passed"] * self.passed.total(), *self.others.values()])

    def differences(self, run: Run) -> tuple[list[str], list[str]]:
        """Tests that are worse than here, and tests that are better."""
        worse, better = [], []
        passed: Counter[str] = Counter()
        for name, each in sorted(run.items()):
            was = self.others.get(name, "passed")
            if was == "passed":
                passed[file_of(name)] += 1
            if each.outcome == was:
                continue
            line = f"{name}: {was} -> {each.outcome}"
            if each.outcome in BAD and was not in BAD:
                worse.append(f"{line}\n        {gist(each.reason)}".rstrip())
            elif was == "passed":
                worse.append(f"{line} ({each.reason})")
            elif each.outcome not in BAD:
                better.append(line)
        for name in sorted(set(self.others) - set(run)):
            worse.append(f"{name}: {self.others[name]} -> did not run")
        for name, number in sorted(self.passed.items()):
            if passed[name] != number:
                worse.append(f"{name}: {number} tests passed, of which {passed[name]} did run")
        return worse, better

    def as_json(self) -> dict[str, Any]:
        grouped: dict[str, dict[str, list[str]]] = {}
        for name, outcome in sorted(self.others.items()):
            file, _, rest = name.partition("::")
            grouped.setdefault(outcome, {}).setdefault(file, []).append(rest)
        return {**platform(), "passed": dict(sorted(self.passed.items())), "others": grouped}

    @classmethod
    def load(cls, path: Path) -> Wanted | None:
        """The stored run, if it is of this Python and SQLite."""
        if not path.is_file():
            return None
        stored = json.loads(path.read_text())
        if any(stored[key] != value for key, value in platform().items()):
            return None
        others = {
            f"{file}::{rest}" if rest else file: outcome
            for outcome, files in stored["others"].items()
            for file, names in files.items()
            for rest in names
        }
        return cls(others, Counter(stored["passed"]))

    def store(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_json(), indent=0) + "\n")


def platform() -> dict[str, Any]:
    """What the outcomes of other projects' tests depend on besides their versions."""
    return {
        "python": ".".join(map(str, sys.version_info[:2])),
        "sqlite": sqlite3.sqlite_version,
        "load_extension": hasattr(sqlite3.Connection, "enable_load_extension"),
    }
