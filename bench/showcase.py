"""Measures the showcase server beside its peer: the same server that calls sqlite3 on the loop.

    .venv/bin/python bench/showcase.py [--quick] [--seconds N] [--output FOLDER]

wrk holds 1 000 connections to the one server and then to the other, on loopback; both serve the
same file. Meanwhile another client has the whole table read, again and again: by a search, or as a
stream. "5 000 a second" is asked for by 1 000 clients that rest for 0.2 s after each answer: then
latency says how long the server takes. "At full speed" they do not rest, so that requests stand in
line all the time, and requests per second say it. wrk corrects its percentiles for what it would
have asked while a server stood still.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import packaged  # noqa: F401 - makes `harness` found
from harness.machine import load_average, machine

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {"looplite": "httpd", "sqlite3 on the loop": "httpd_sqlite"}
CONNECTIONS = 1000


@dataclass(frozen=True)
class Scenario:
    """What goes on while wrk asks."""

    name: str
    pause: int  # ms that a connection rests after an answer
    writes: int  # in a hundred requests
    beside: str | None  # what another client asks for all the time


SEARCH = "/search?nowhere"
SCENARIOS = (
    Scenario("5 000 reads a second, nothing else", 200, 0, None),
    Scenario("5 000 reads a second beside searches", 200, 0, SEARCH),
    Scenario("5 000 reads a second beside a stream", 200, 0, "/notes"),
    Scenario("5 000 a second, 5 % durable writes, beside searches", 200, 5, SEARCH),
    Scenario("reads at full speed, nothing else", 0, 0, None),
    Scenario("at full speed, 5 % durable writes, nothing else", 0, 5, None),
    Scenario("at full speed, 5 % durable writes, beside searches", 0, 5, SEARCH),
)


@dataclass
class Measured:
    """One server in one scenario; times in milliseconds."""

    server: str
    scenario: str
    requests_per_second: float
    p50: float
    p99: float
    p999: float
    longest: float
    failed: int
    beside: int  # how often the other client was answered
    beside_seconds: float  # how long that took in the middle
    peak_mib: float  # of the server's memory


def make_file(path: Path, notes: int) -> None:
    """A table of notes of 100 bytes."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(
            "CREATE TABLE note(id INTEGER PRIMARY KEY, changed INTEGER NOT NULL,"
            " text TEXT NOT NULL)"
        )
        db.execute(
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO note SELECT i, 0, printf('%0100d', i) FROM n",
            (notes,),
        )


class Beside(threading.Thread):
    """Has the whole table read again and again."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__()
        self.port, self.path = port, path
        self.stop = threading.Event()
        self.times: list[float] = []

    def run(self) -> None:
        while not self.stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            began = datetime.datetime.now()
            connection.request("GET", self.path)
            answer = connection.getresponse()
            while answer.read(1 << 20) and not self.stop.is_set():
                pass
            if not self.stop.is_set():
                self.times.append((datetime.datetime.now() - began).total_seconds())
            connection.close()


@contextlib.contextmanager
def serving(program: Path, database: Path) -> Iterator[tuple[int, int]]:
    """A server; its port and its process."""
    with subprocess.Popen(
        [program, "--database", database, "--port", "0", "--timeout-ms", "60000"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        port = int(process.stdout.readline().rsplit(":", 1)[1].split("/")[0])
        yield port, process.pid
        process.send_signal(signal.SIGTERM)
        if process.wait(60) != 0:
            sys.exit(f"{program.name} ended with {process.returncode}")


def peak_mib(pid: int) -> float:
    """The most memory that a process had at once."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def ask(port: int, seconds: int, scenario: Scenario, notes: int) -> list[int]:
    """Runs wrk; its numbers, as load.lua prints them."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s"]
    command += ["-s", str(ROOT / "bench/http/load.lua"), f"http://127.0.0.1:{port}"]
    out = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env=os.environ
        | {
            "NOTES": str(notes),
            "WRITES": str(scenario.writes),
            "PAUSE": str(scenario.pause),
        },
    ).stdout
    line = next(line for line in out.splitlines() if line.startswith("numbers "))
    return [int(word) for word in line.split()[1:]]


def measure(
    server: str, program: Path, database: Path, scenario: Scenario, seconds: int, notes: int
) -> Measured:
    """One server in one scenario."""
    with serving(program, database) as (port, pid):
        ask(port, 1, Scenario("", 0, 0, None), notes)  # its caches are warm
        beside = Beside(port, scenario.beside) if scenario.beside else None
        if beside:
            beside.start()
        numbers = ask(port, seconds, scenario, notes)
        peak = peak_mib(pid)
        if beside:
            beside.stop.set()
            beside.join()
    requests, duration, p50, p99, p999, longest, errors, statuses = numbers
    times = sorted(beside.times) if beside else []
    return Measured(
        server,
        scenario.name,
        requests / duration * 1e6,
        p50 / 1e3,
        p99 / 1e3,
        p999 / 1e3,
        longest / 1e3,
        errors + statuses,
        len(times),
        times[len(times) // 2] if times else 0.0,
        peak,
    )


def table(found: list[Measured]) -> str:
    """The measurements as a table of a page."""
    lines = [
        "| 1 000 connections | server | requests/s | p50 ms | p99 ms | p99.9 ms | longest ms "
        "| failed | whole tables read | each s | memory MiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for m in found:
        times = f"{m.p50:.1f} | {m.p99:.1f} | {m.p999:.1f} | {m.longest:.0f}"
        beside = f"{m.beside} | {m.beside_seconds:.2f}" if "beside" in m.scenario else " | "
        lines.append(
            f"| {m.scenario} | {m.server} | {m.requests_per_second:,.0f} | {times} "
            f"| {m.failed} | {beside} | {m.peak_mib:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--notes", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="2 seconds, 100 000 notes")
    parser.add_argument("--output", type=Path, help="a folder for the numbers")
    args = parser.parse_args()
    seconds, notes = (2, 100_000) if args.quick else (args.seconds, args.notes)
    if not shutil.which("wrk"):
        sys.exit("showcase: wrk is missing (tools/need-apt.sh wrk)")
    before = load_average()
    found = []
    with tempfile.TemporaryDirectory(prefix="showcase-", dir=ROOT / "build") as folder:
        database = Path(folder, "notes.db")
        make_file(database, notes)
        about = machine(Path(folder))
        for scenario in SCENARIOS:
            for server, name in PROGRAMS.items():
                program = ROOT / "build/bench/examples/c/httpd" / name
                found.append(measure(server, program, database, scenario, seconds, notes))
                print(table(found[-1:]).splitlines()[-1], flush=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short=8", "HEAD"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    now = datetime.datetime.now(datetime.timezone.utc)
    facts = ", ".join(f"{name}: {value}" for name, value in about.items())
    text = (
        f"# The showcase, measured {now:%Y-%m-%dT%H:%MZ}\n\n"
        f"`bench/showcase.py`, commit {commit}: {notes:,} notes of 100 bytes, {seconds} s each, "
        f"wrk with one thread on the same machine, SQLite {sqlite3.sqlite_version}.\n\n"
        f"Machine: {facts}; load average {before:.2f} before.\n\n{table(found)}"
    )
    print(f"\n{text}")
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        stem = args.output / f"showcase-{now:%Y-%m-%d}-{commit}"
        stem.with_suffix(".md").write_text(text)
        rows = {"machine": about, "commit": commit, "rows": [asdict(m) for m in found]}
        stem.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
