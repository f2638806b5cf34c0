"""CPython's test_sqlite3 on looplite, as one of the suites: runs it in a child process and compares
with the list of tests that are known to differ (test_sqlite3_deviations.json), each under the
reason why. A test that fails and is not listed is a failure, and so is one that is listed and
passes.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time

from dependents.outcomes import BAD, counts, gist, read
from dependents.prepare import BUILD, HERE

NAME = "test_sqlite3"
WHAT = "CPython's own tests of sqlite3, on the asynchronous connection"
DEVIATIONS = HERE / "test_sqlite3_deviations.json"
LIMIT = 300


def expected() -> dict[str, str]:
    """The tests that are known to fail here: why."""
    listed = json.loads(DEVIATIONS.read_text())
    return {name: group["why"] for group in listed for name in group["tests"]}


def missing() -> str:
    """Why it cannot run: some distributions leave CPython's tests out."""
    try:
        found = importlib.util.find_spec("test.test_sqlite3")
    except ModuleNotFoundError:
        found = None
    if found is None:
        version = ".".join(map(str, sys.version_info[:2]))
        return f"this Python {version} has no test.test_sqlite3 (its distribution left it out)"
    return ""


def check() -> bool:
    """Runs it and prints what differs; whether nothing does."""
    print(f"== {NAME}: {WHAT}", flush=True)
    if why := missing():
        print(f"   skipped: {why}")
        return True
    record = BUILD / "test_sqlite3-looplite.jsonl"
    log = BUILD / "test_sqlite3-looplite.log"
    record.unlink(missing_ok=True)
    began = time.monotonic()
    with log.open("w") as output:
        try:
            status = subprocess.run(
                [sys.executable, HERE / "bridge_run.py", record],
                cwd=BUILD,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=LIMIT,
            ).returncode
        except subprocess.TimeoutExpired:
            status = -1
    run = read(record)
    took = time.monotonic() - began
    print(f"   looplite   {counts(each.outcome for each in run.values())} in {took:.0f} s")
    if status:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        print(f"   did not end by itself (exit status {status}):\n{tail}")
    known = expected()
    wrong = 0
    for name, each in sorted(run.items()):
        if (each.outcome in BAD) == (name in known):
            continue
        wrong += 1
        if name in known:
            print(f"   {name}: {each.outcome}, but listed: {known[name]}")
        else:
            print(f"   {name}: {each.outcome}\n        {gist(each.reason)}")
    listed = sum(name in run for name in known)
    print(f"   {listed} known deviations, with their reasons in {DEVIATIONS.name}")
    return not wrong and not status and bool(run)
