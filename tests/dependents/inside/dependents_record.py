"""A pytest plugin that runs inside another project's own test run: it puts looplite where aiosqlite
is looked for, if asked to, and writes down what became of each test.

The runner (tests/dependents/run.py) loads it with `-p dependents_record`, which pytest does before
any conftest of the project is read, and tells it by two variables of the environment:

    DEPENDENTS_DRIVER   aiosqlite, or looplite: then looplite.install() comes first
    DEPENDENTS_RECORD   the file for the outcomes

The file has a line of JSON for each test: [name, outcome, reason]. A line is written when the test
begins ("hung") and once more when it is over, so that a run that was ended by force tells where it
stood. The last line of a name counts. This file must run on whatever pytest the project wants, and
imports nothing but it.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

if os.environ["DEPENDENTS_DRIVER"] == "looplite":
    import looplite

    looplite.install()

_REASON = 1500


class Record:
    """The file of outcomes."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "w", buffering=1)  # noqa: SIM115 - open as long as the run
        self.seen: dict[str, tuple[str, str]] = {}

    def line(self, name: str, outcome: str, reason: str = "") -> None:
        self.file.write(json.dumps([name, outcome, reason]) + "\n")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.seen[nodeid] = ("passed", "")
        self.line(nodeid, "hung")

    def pytest_runtest_logreport(self, report: Any) -> None:
        outcome = None
        if report.failed:
            outcome = "failed" if report.when == "call" else "error"
        elif report.skipped:
            outcome = "xfailed" if hasattr(report, "wasxfail") else "skipped"
        if outcome and self.seen.get(report.nodeid, ("passed",))[0] in ("passed", "skipped"):
            self.seen[report.nodeid] = (outcome, self.reason(report))

    @staticmethod
    def reason(report: Any) -> str:
        if isinstance(report.longrepr, tuple):  # of a skip: file, line, why
            return str(report.longrepr[2])[-_REASON:]
        return str(report.longrepr)[-_REASON:]

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.line(nodeid, *self.seen.pop(nodeid, ("passed", "")))

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.line(report.nodeid, "error", self.reason(report))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Record(os.environ["DEPENDENTS_RECORD"]), "dependents-record")
