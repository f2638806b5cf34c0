"""`make dependents`: runs other projects' own tests with the real aiosqlite and with looplite in
its place, and CPython's test_sqlite3 through a bridge; names every test that differs.

    run.py                     everything (an hour on two cores)
    run.py --fast              what belongs to `make test` (two minutes)
    run.py --suite tortoise    one suite, or all whose name begins so; may be repeated
    run.py --baseline          measures aiosqlite again and stores the outcomes, nothing else
    run.py --list              names the suites
    run.py --report            also writes results.md, as a run of everything does

The outcomes on aiosqlite are stored (baselines/), so that a run needs looplite's half only; with
another Python or SQLite they are measured first. The exit status is 1 when a test fails with
looplite that does not fail with aiosqlite, and 2 when a suite could not run at all.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

# It is a script, and its modules are those of the package around it.
sys.path[0] = str(Path(__file__).parents[1])

from dependents import bridge_suite  # noqa: E402
from dependents.outcomes import Run, Wanted, counts, read  # noqa: E402
from dependents.prepare import (  # noqa: E402
    BUILD,
    HERE,
    NotHereError,
    environment,
    looplite_path,
    sources,
)
from dependents.report import Result, write  # noqa: E402
from dependents.suites import SUITES, Suite  # noqa: E402

BASELINES = HERE / "baselines"
RESULTS = HERE / "results.md"
# How many lines of output stand for a run that broke.
_TAIL = 25


def _files_with(word: str, folder: Path, source: Path) -> list[str]:
    found = [p for p in sorted(folder.rglob("test_*.py")) if word in p.read_text()]
    return [str(path.relative_to(source)) for path in found]


def _arguments(suite: Suite, source: Path) -> list[str]:
    """With `{grep:word:folder}` replaced by the files there that have the word."""
    arguments: list[str] = []
    for argument in suite.arguments:
        if argument.startswith("{grep:"):
            _, word, folder = argument[1:-1].split(":")
            arguments += _files_with(word, source / folder, source)
        else:
            arguments.append(argument)
    return arguments


def _run(suite: Suite, driver: str) -> Run:
    """One run of a suite; its outcomes."""
    python = environment(suite.project)
    source = sources(suite.project)
    name = suite.name.replace(":", "-")
    record = BUILD / f"{name}-{driver}.jsonl"
    log = BUILD / f"{name}-{driver}.log"
    record.unlink(missing_ok=True)
    scratch = BUILD / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    variables = {
        **{key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
        **suite.environment,
        "DEPENDENTS_DRIVER": driver,
        "DEPENDENTS_RECORD": str(record),
        "PYTHONPATH": os.pathsep.join([str(HERE / "inside"), str(looplite_path())]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [python, "-m", "pytest", "-p", "dependents_record", "-q", "-p", "no:cacheprovider"]
    command += ["--rootdir", source, "--basetemp", scratch, *_arguments(suite, source)]
    with log.open("w") as output:
        child = subprocess.Popen(
            list(map(str, command)),
            cwd=source,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            status = child.wait(suite.limit)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            status = -1
    run = read(record, suite.noise)
    # 0 all passed, 1 some did not; anything else, and the run is not whole.
    if status not in (0, 1) or not run:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:])
        what = f"was ended after {suite.limit} s" if status == -1 else f"exit status {status}"
        print(f"   {driver}: {what}; the end of {log.relative_to(BUILD.parents[1])}:\n{tail}")
        if not any(each.outcome == "hung" for each in run.values()):
            raise NotHereError(f"the run with {driver} is not whole ({what})")
    return run


def _stored(suite: Suite) -> Path:
    return BASELINES / f"{suite.baseline.replace(':', '-')}.json"


def measure(suite: Suite, into: Path) -> Wanted:
    """Runs a suite on aiosqlite and stores the outcomes."""
    began = time.monotonic()
    wanted = Wanted.of(_run(suite, "aiosqlite"))
    wanted.store(into)
    print(f"   aiosqlite  {wanted.summary()} in {time.monotonic() - began:.0f} s")
    return wanted


def _wanted(suite: Suite) -> Wanted:
    """The suite's outcomes on aiosqlite: stored, or measured now."""
    local = BUILD / "baselines" / _stored(suite).name
    for place in (_stored(suite), local):
        if (stored := Wanted.load(place)) is not None:
            print(f"   aiosqlite  {stored.summary()} (stored)")
            return stored
    if suite.like:
        suite = next(each for each in SUITES if each.name == suite.like)
    return measure(suite, local)


def _not_meant(suite: Suite, line: str) -> str:
    """Why this difference is none that counts; empty if it does."""
    for pattern, why in suite.other.items():
        if re.search(pattern, line):
            return why
    return ""


def check(suite: Suite, again: bool, results: list[Result]) -> bool:
    """Runs one suite and prints what differs; whether looplite is at least as good."""
    print(f"== {suite.name}: {suite.what} ({suite.project.tests})", flush=True)
    if again:
        if not suite.like:
            measure(suite, _stored(suite))
        return True
    wanted = _wanted(suite)
    began = time.monotonic()
    run = _run(suite, "looplite")
    took = time.monotonic() - began
    passed = counts(each.outcome for each in run.values())
    print(f"   looplite   {passed} in {took:.0f} s")
    found, better = wanted.differences(run)
    worse = [line for line in found if not _not_meant(suite, line)]
    other = [
        f"{line.splitlines()[0].partition(' (')[0]} (it {why})"
        for line in found
        if (why := _not_meant(suite, line))
    ]
    told = [f"worse   {line}" for line in worse]
    told += [f"other   {line}" for line in other] + [f"better  {line}" for line in better]
    for line in told:
        print(f"   {line}")
    results.append(Result(suite.name, suite.project.tests, wanted.summary(), passed, told))
    return not worse


def chosen(names: list[str], fast: bool) -> list[Suite]:
    """The suites that are asked for."""
    suites = [suite for suite in SUITES if suite.fast or not fast]
    if names:
        suites = [s for s in suites if any(_begins(s.name, name) for name in names)]
    return suites


def _begins(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith((wanted + ":", wanted + "-"))


def main() -> int:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--suite", action="append", default=[], metavar="NAME")
    parser.add_argument("--fast", action="store_true", help="what belongs to `make test`")
    parser.add_argument("--baseline", action="store_true", help="measure aiosqlite again")
    parser.add_argument("--list", action="store_true", help="name the suites")
    parser.add_argument("--report", action="store_true", help="write results.md")
    options = parser.parse_args()
    suites = chosen(options.suite, options.fast)
    with_bridge = not options.suite or any(
        _begins(bridge_suite.NAME, name) for name in options.suite
    )
    if not suites and not with_bridge:
        parser.error("no such suite; --list names them")
    if options.list:
        for suite in suites:
            print(f"{suite.name:36} {suite.what}{' (fast)' if suite.fast else ''}")
        print(f"{bridge_suite.NAME:36} {bridge_suite.WHAT} (fast)")
        return 0
    BUILD.mkdir(parents=True, exist_ok=True)
    # Ends pytest's search for a configuration before it finds that of looplite.
    (BUILD / "pytest.ini").write_text("[pytest]\n")
    worse, broken = [], []
    results: list[Result] = []
    if with_bridge and not options.baseline and not bridge_suite.check():
        worse.append(bridge_suite.NAME)
    for suite in suites:
        try:
            if not check(suite, options.baseline, results):
                worse.append(suite.name)
        except NotHereError as error:
            print(f"   {error}")
            broken.append(suite.name)
    whole = not (options.suite or options.fast or options.baseline)
    if results and (whole or options.report):
        write(RESULTS, results, [suite.name for suite in SUITES])
        print(f"dependents: written: {RESULTS.name}")
    if worse:
        print(f"dependents: worse with looplite than with aiosqlite: {', '.join(worse)}")
    if broken:
        print(f"dependents: could not run: {', '.join(broken)}")
    if not worse and not broken:
        print("dependents: nothing fails with looplite that does not fail with aiosqlite")
    return 1 if worse else 2 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
