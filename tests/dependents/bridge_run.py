"""Runs CPython's test.test_sqlite3 with the stand-in for `sqlite3`, in a process of its own, and
writes the outcomes as dependents_record does. bridge_suite.py starts it.

    bridge_run.py FILE [NAME...]     all tests, or those whose name contains one of the words
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import pkgutil
import sys
import traceback
import unittest
import warnings
from pathlib import Path
from typing import Any

# A test that needs longer hangs: the process ends, and the file says in which one.
LIMIT = 60.0
PACKAGE = "test.test_sqlite3"


class Recorder(unittest.TestResult):
    """Writes a line when a test begins and one when it has ended."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.file = open(path, "w", buffering=1)  # noqa: SIM115 - open as long as the run
        self.found = ("passed", "")

    @staticmethod
    def name(test: unittest.TestCase) -> str:
        return test.id().removeprefix(PACKAGE + ".")

    def line(self, test: unittest.TestCase, outcome: str, reason: str) -> None:
        self.file.write(json.dumps([self.name(test), outcome, reason]) + "\n")

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().startTest(test)
        self.found = ("passed", "")
        self.line(test, "hung", "")
        faulthandler.dump_traceback_later(LIMIT, exit=True)

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().stopTest(test)
        faulthandler.cancel_dump_traceback_later()
        self.line(test, *self.found)

    def bad(self, outcome: str, error: Any) -> None:
        if self.found[0] == "passed":
            self.found = (outcome, "".join(traceback.format_exception(*error))[-1500:])

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        if test.id().startswith(PACKAGE):
            self.bad("error", err)
        else:  # the setup of a module or a class: no test of it is run
            self.file.write(json.dumps([str(test), "error", str(err[1])]) + "\n")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self.bad("failed", err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        if err is not None:
            self.bad("failed", err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        self.found = ("skipped", reason)


def tests(words: list[str]) -> unittest.TestSuite:
    """All tests of the package."""
    package = importlib.import_module(PACKAGE)
    loader = unittest.defaultTestLoader
    suite = unittest.TestSuite()
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("test_"):
            suite.addTests(loader.loadTestsFromName(f"{PACKAGE}.{module.name}"))
    return chosen(suite, words) if words else suite


def chosen(suite: unittest.TestSuite, words: list[str]) -> unittest.TestSuite:
    picked = unittest.TestSuite()
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            picked.addTest(chosen(each, words))
        elif any(word in each.id() for word in words):
            picked.addTest(each)
    return picked


def main() -> None:
    sys.path[0] = str(Path(__file__).parents[1])
    bridge = importlib.import_module(
        "dependents.bridge"
    )  # before the name sqlite3 means something else
    # The stand-in goes where the tests look; what was imported before keeps the real module.
    sys.modules["sqlite3"] = bridge.module()
    # sqlite3's connections may be dropped unclosed without a word, looplite's may not.
    warnings.filterwarnings("ignore", category=ResourceWarning)
    tests(sys.argv[2:]).run(Recorder(sys.argv[1]))


if __name__ == "__main__":
    main()
