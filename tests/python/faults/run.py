"""Makes every call of the extension into CPython fail once, in every scenario, and looks at what is
left: the error has to reach the program, nothing may hang, and the database has to hold what was
acknowledged.

    tools/build.sh ext
    tests/python/faults/run.sh                        all scenarios, each place's first passings
    tests/python/faults/run.sh --all reads            every passing of one scenario
    tests/python/faults/run.sh --place 'decode.c:57 PyUnicode_New' --nth 3 reads

The calls are found by a run without a fault. A child process does the work, for a wrong path may
end in a crash; it is made anew behind the place that ended it. Each fault's outcome is one of

    told        the program got the fault's exception, or one that names it as its cause
    absorbed    the program went on; what it was told held
    reported    the loop's exception handler or sys.unraisablehook got it

and everything else is a finding.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import faulthandler
import gc
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import looplite

sys.path.insert(0, str(Path(__file__).parents[1]))
from faults.scenarios import SCENARIOS, SCHEMA, World

_core: Any = looplite._core
HANGS_AFTER = float(os.environ.get("LOOPLITE_FAULT_SECONDS", "30"))


#: What sqlite3 itself makes of any exception of the program's callables.
SQLITE3_SAYS = ("not authorized",)


class InjectedError(MemoryError):
    """The exception of a fault."""


def names_fault(error: BaseException | None, depth: int = 0) -> bool:
    """Whether it is the fault's exception, or came from it."""
    if error is None or depth > 20:
        return False
    if str(error).startswith(SQLITE3_SAYS):
        return True
    if isinstance(error, MemoryError):  # plain: a call that sets no exception
        return True
    return names_fault(error.__cause__, depth + 1) or names_fault(error.__context__, depth + 1)


class Run:
    """One scenario, once."""

    def __init__(self, name: str, template: Path, folder: Path) -> None:
        self.path = folder / "run.db"
        for suffix in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.path}{suffix}")
        shutil.copyfile(template, self.path)
        self.world = World(self.path)
        self.scenario = SCENARIOS[name]
        self.error: BaseException | None = None
        self.reported: list[BaseException | None] = []
        self.notes: list[str] = []

    def _on_loop(self, loop: Any, context: dict[str, Any]) -> None:
        self.reported.append(context.get("exception"))
        self.notes.append(str(context.get("message")))

    def _unraisable(self, args: Any) -> None:
        self.reported.append(args.exc_value)
        self.notes.append(str(args.err_msg))

    async def _main(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self._on_loop)
        await asyncio.wait_for(self.scenario(self.world), HANGS_AFTER)

    def go(self) -> None:
        sys.unraisablehook = self._unraisable
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self.error = error
        finally:
            gc.collect()
            sys.unraisablehook = sys.__unraisablehook__

    def verdict(self, injected: bool) -> tuple[str, str]:
        """The outcome's name, and for a finding what was found."""
        problem = self._problem(injected)
        if problem:
            return "finding", problem
        if self.error is not None:
            return "told", ""
        return ("reported", "") if self.reported else ("absorbed", "")

    def _problem(self, injected: bool) -> str:
        if isinstance(self.error, asyncio.TimeoutError):
            return "hangs"
        if self.error is not None and not (injected and names_fault(self.error)):
            return f"another error: {self.error!r}"
        for error in self.reported:
            if not (injected and names_fault(error)):
                return f"another error was reported: {error!r} {self.notes}"
        db = sqlite3.connect(self.path)
        try:
            if (state := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                return f"integrity_check: {state}"
            there = collections.Counter(v for (v,) in db.execute("SELECT v FROM t"))
            # Nothing of ours holds a lock any more.
            db.execute("PRAGMA busy_timeout = 0")
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            return f"the database is left unusable: {error!r}"
        finally:
            db.close()
        if lost := [v for v in self.world.done if v not in there]:
            return f"acknowledged and missing: {lost}"
        if odd := [v for v, times in there.items() if times > 1 or v < 0]:
            return f"twice, or not to be there: {odd}"
        return ""


def settled(condition: Any) -> bool:
    """Whether it comes true while workers end what they are at: counted in chances, not in time."""
    for _ in range(2000):
        if condition():
            return True
        time.sleep(0)
    return bool(condition())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def child(name: str, places: list[tuple[str, int]] | None, leaks: bool) -> None:
    """Goes through the places and tells the parent on stdout, one line of JSON before and after."""
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder, "template.db")
        db = sqlite3.connect(template)
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA)
        db.close()

        def once(place: str | None, nth: int) -> Run:
            run = Run(name, template, Path(folder))
            _core._fault_arm(place, nth, InjectedError)
            run.go()
            return run

        def fresh() -> Run:
            return Run(name, template, Path(folder))

        def tell(**what: Any) -> None:
            print(json.dumps(what), flush=True)

        # What is made once for the process is made before.
        for _ in range(3):
            run = once(None, 0)
            verdict, problem = run.verdict(injected=False)
            if verdict != "absorbed":
                tell(place="none", nth=0, verdict="finding", problem=problem or repr(run.error))
                return
        seen = dict(_core._fault_places())
        if places is None:
            tell(places=seen)
            return
        gc.collect()
        gc.freeze()
        usual = growth(fresh, None, 0) if leaks else 0  # classes that a scenario makes
        fds, threads = descriptors(), threading.active_count()
        for place, nth in places:
            if place not in seen:
                continue
            tell(place=place, nth=nth)
            faulthandler.dump_traceback_later(4 * HANGS_AFTER, exit=True)
            run = once(place, nth)
            fired = _core._fault_fired()
            verdict, problem = run.verdict(injected=True)
            if fired and verdict != "finding" and leaks:
                grown = growth(fresh, place, nth) - usual
                if grown > 0.9 and growth(fresh, place, nth) - usual > 0.9:
                    verdict, problem = "finding", f"leaves {grown:.1f} blocks each time"
            del run
            # The next run's loop buries what the last one's left.
            after = once(None, 0)
            if (again := after.verdict(injected=False))[0] != "absorbed":
                verdict, problem = "finding", f"afterwards: {again}"
            del after
            gc.collect()
            if not settled(lambda: descriptors() <= fds + 4):  # noqa: B023
                verdict, problem = "finding", f"descriptors: {fds} -> {descriptors()}"
                fds = descriptors()
            if not settled(lambda: threading.active_count() <= threads):  # noqa: B023
                verdict, problem = "finding", f"threads: {threading.enumerate()}"
                threads = threading.active_count()
            faulthandler.cancel_dump_traceback_later()
            tell(place=place, nth=nth, verdict=verdict if fired else "not reached", problem=problem)


WARM, REPEATED = 40, 80


def growth(make: Callable[[], Run], place: str | None, nth: int) -> float:
    """Blocks of memory that a repetition leaves, in one loop, for making one leaves some."""

    async def again() -> None:
        run = make()
        _core._fault_arm(place, nth, InjectedError)
        with contextlib.suppress(BaseException):
            await asyncio.wait_for(run.scenario(run.world), HANGS_AFTER)

    async def blocks() -> int:
        for _ in range(200):  # what workers close has gone
            await asyncio.sleep(0)
        gc.collect()
        return sys.getallocatedblocks()

    async def main() -> float:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        for _ in range(WARM):
            await again()
        before = await blocks()
        for _ in range(REPEATED):
            await again()
        return (await blocks() - before) / REPEATED

    sys.unraisablehook = lambda _: None
    try:
        return asyncio.run(main())
    finally:
        sys.unraisablehook = sys.__unraisablehook__


def ask(name: str, places: list[tuple[str, int]] | None, leaks: bool) -> tuple[list[Any], str]:
    """What a child says, and what it said on stderr if it died."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--child", name, *(["--leaks"] if leaks else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(json.dumps(places))
    said = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    died = f"status {process.returncode}: {err[-6000:]}" if process.returncode else ""
    return said, died


def go_through(name: str, chosen: list[tuple[str, int]], leaks: bool) -> collections.Counter[str]:
    """All chosen faults of a scenario; prints the findings."""
    totals: collections.Counter[str] = collections.Counter()
    while chosen:
        said, died = ask(name, chosen, leaks)
        ended = [s for s in said if "verdict" in s]
        for s in ended:
            totals[s["verdict"]] += 1
            if s["verdict"] == "finding":
                print(f"FOUND {name}: {s['place']} nth {s['nth']}: {s['problem']}", flush=True)
        if not died:
            break
        begun = [s for s in said if "place" in s and "verdict" not in s]
        if len(begun) == len(ended):
            print(f"FOUND {name}: the process died outside of a fault\n{died}", flush=True)
            totals["finding"] += 1
            break
        last = (begun[-1]["place"], begun[-1]["nth"])
        print(f"FOUND {name}: {last[0]} nth {last[1]}: the process died\n{died}", flush=True)
        totals["finding"] += 1
        chosen = chosen[chosen.index(last) + 1 :]
    return totals


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("scenarios", nargs="*", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--all", action="store_true", help="every passing of each place")
    parser.add_argument("--leaks", action="store_true", help="repeat each, and compare memory")
    parser.add_argument("--passings", type=int, default=1, metavar="N", help="of each place")
    parser.add_argument("--place", help="one place only")
    parser.add_argument("--nth", type=int, default=1, help="that passing of it")
    parser.add_argument("--child", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not hasattr(_core, "_fault_arm"):
        print(f"{looplite.__file__} is no build with faults: tools/build.sh ext", file=sys.stderr)
        return 2
    if options.child:
        places = json.loads(sys.stdin.read())
        child(options.child, places and [tuple(p) for p in places], options.leaks)
        return 0
    totals: collections.Counter[str] = collections.Counter()
    everywhere: set[str] = set()
    for name in options.scenarios or SCENARIOS:
        said, died = ask(name, None, False)
        if died or not said or "places" not in said[-1]:
            print(f"FOUND {name}: fails without a fault: {said} {died}")
            totals["finding"] += 1
            continue
        seen: dict[str, int] = said[-1]["places"]
        everywhere.update(seen)
        if options.place:
            chosen = [(options.place, options.nth)]
        else:
            most = 1 << 30 if options.all else options.passings
            chosen = [(p, n) for p, times in seen.items() for n in range(1, min(times, most) + 1)]
        counts = go_through(name, chosen, options.leaks)
        totals += counts
        print(f"{name:18} {len(seen):4} places  {dict(counts)}", flush=True)
    print(f"faults: {sum(totals.values())} at {len(everywhere)} places: {dict(totals)}")
    return 1 if totals["finding"] else 0


if __name__ == "__main__":
    sys.exit(main())
