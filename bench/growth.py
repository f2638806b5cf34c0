"""How the cost of one operation grows: with the rows of a result, with tasks, with connections.

bench/growth.py                    all curves, three repetitions, into bench/results/
bench/growth.py --curves rows      some of them: rows, tasks, connections
bench/growth.py --quick            fewer points, once, into build/bench-quick/

Each point is a row of harness/spec.py, measured as `make bench` measures its own: peers one after
the other, each in a process of its own. The plot has a panel for each curve, both axes
logarithmic, a line through the medians and a band from the lowest to the highest.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import hashlib
import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import packaged  # noqa: F401 - makes `harness` found
from harness.data import ITEMS, LARGE, LARGE_QUICK, READ_ITEM
from harness.machine import load_average, machine, versions
from harness.measure import keys, rate, shares
from harness.plot import LOOKS
from harness.session import Session, say
from harness.spec import Context, Row, Sample
from harness.text import number

ROOT = Path(__file__).resolve().parents[1]
PEERS = ("sqlite3", "aiosqlite", "apsw", "looplite")
_COLOURS = {name: LOOKS[name][0] if name in LOOKS else "#444444" for name in PEERS}
_MARKERS = dict(zip(PEERS, "xs^o", strict=True))
SQL = "SELECT name, price, stock FROM item"


async def _rows(ctx: Context, count: int) -> Sample:
    """fetchall of so many rows, again and again for some time; ns a row."""
    peer = ctx.peer
    conn = await peer.open(ctx.database)
    text = f"{SQL} LIMIT {count}"
    await peer.rows(conn, text)
    times = 0
    began = perf_counter()
    while (took := perf_counter() - began) < ctx.scale(0.3, 0.05):
        rows = await peer.rows(conn, text)
        times += 1
    assert len(rows) == count
    await peer.close(conn)
    return Sample(took / times / count * 1e9)


async def _tasks(ctx: Context, count: int) -> Sample:
    """Point reads by so many tasks that share one connection; us a read."""
    peer = ctx.peer
    conn = await peer.open(ctx.database)
    got = await _reads(ctx, [conn] * count)
    await peer.close(conn)
    return got


async def _connections(ctx: Context, count: int) -> Sample:
    """Point reads by so many tasks, each on a connection of its own; us a read."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    peer = ctx.peer
    conns = [await peer.open(ctx.database) for _ in range(count)]
    got = await _reads(ctx, conns)
    for conn in conns:
        await peer.close(conn)
    return got


async def _reads(ctx: Context, conns: Sequence[Any]) -> Sample:
    async def run(parts: Sequence[Sequence[int]]) -> None:
        pairs = zip(conns, parts, strict=False)  # a slow peer has fewer reads than tasks
        await asyncio.gather(*(ctx.peer.read_each(conn, READ_ITEM, part) for conn, part in pairs))

    got = await rate(
        ctx.probe,
        lambda count: shares(keys(count, ITEMS), len(conns)),
        run,
        ctx.scale(0.3, 0.05),
        first=2 * len(conns),
    )
    return Sample(got.seconds * 1e6, {"reads": got.count})


@dataclass(frozen=True)
class Curve:
    """One panel."""

    name: str
    title: str
    along: str
    unit: str
    each: str
    points: tuple[int, ...]
    run: Any
    database: str = "items-wal"

    def rows(self, quick: bool) -> list[Row]:
        most = LARGE_QUICK if quick else LARGE
        points = [point for point in self.points if point <= most][:: 2 if quick else 1]
        return [
            Row(
                name=f"{self.name}_{point}",
                title=f"{self.title}: {point}",
                unit=self.unit,
                run=partial(self.run, count=point),
                database=self.database,  # type: ignore[arg-type]
                peers=PEERS,
            )
            for point in points
        ]


CURVES = (
    Curve(
        "rows", "fetchall", "rows of the result", "ns", "a row",
        (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000), _rows, "large",
    ),
    Curve(
        "tasks", "point read, tasks on one connection", "tasks", "us", "a read",
        (1, 3, 10, 30, 100, 300, 1_000), _tasks,
    ),
    Curve(
        "connections", "point read, a connection for each task", "connections", "us", "a read",
        (1, 3, 10, 30, 100, 300), _connections,
    ),
)  # fmt: skip


def _lines(results: dict[str, Any], curve: Curve) -> dict[str, list[tuple[int, Any]]]:
    """Points and spreads of each peer."""
    lines: dict[str, list[tuple[int, Any]]] = {peer: [] for peer in PEERS}
    for row in results["rows"]:
        name, _, point = row["name"].rpartition("_")
        for peer in PEERS if name == curve.name else ():
            found = row["peers"].get(peer)
            if found and found["value"]:
                lines[peer].append((int(point), found["value"]))
    return {peer: line for peer, line in lines.items() if line}


def markdown(results: dict[str, Any]) -> str:
    """A table for each curve: medians."""
    parts = [f"# Growth, measured {results['date']}", ""]
    parts.append(f"Medians of {results['repetitions']}, less is better. `bench/growth.py`")
    parts += ["", "Machine: " + ", ".join(f"{k}: {v}" for k, v in results["machine"].items()), ""]
    for curve in CURVES:
        lines = _lines(results, curve)
        if not lines:
            continue
        parts += [f"## {curve.title} ({curve.unit} {curve.each})", ""]
        parts += [f"| {curve.along} | {' | '.join(lines)} |", "|---" * (len(lines) + 1) + "|"]
        for point in curve.points:
            cells = [next((v for p, v in line if p == point), None) for line in lines.values()]
            if any(cells):
                texts = [number(cell["median"]) if cell else "-" for cell in cells]
                parts.append(f"| {point:,} | ".replace(",", " ") + " | ".join(texts) + " |")
        parts.append("")
    return "\n".join(parts)


def plot(results: dict[str, Any], path: Path) -> None:
    """The picture, as SVG."""
    try:
        import matplotlib as mpl
    except ImportError:
        say("bench: no plot, for matplotlib is not installed (tools/venv.sh bench)")
        return
    mpl.use("Agg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "looplite", "font.size": 9})
    import matplotlib.pyplot as plt

    curves = [(curve, lines) for curve in CURVES if (lines := _lines(results, curve))]
    figure, axes = plt.subplots(
        1, len(curves), figsize=(4.4 * len(curves), 3.6), squeeze=False, layout="constrained"
    )
    for (curve, lines), axis in zip(curves, axes[0], strict=True):
        for peer, line in lines.items():
            x = [point for point, _ in line]
            axis.plot(
                x, [v["median"] for _, v in line], label=peer, color=_COLOURS[peer],
                marker=_MARKERS[peer], markersize=4, linewidth=1.2,
            )  # fmt: skip
            low, high = ([v[key] for _, v in line] for key in ("min", "max"))
            axis.fill_between(x, low, high, color=_COLOURS[peer], alpha=0.15, linewidth=0)
        axis.set(xscale="log", yscale="log", title=curve.title, xlabel=curve.along)
        axis.set_ylabel(f"{curve.unit} {curve.each}")
        axis.grid(which="major", color="#dddddd", linewidth=0.6)
    axes[0][0].legend(frameon=False)
    figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer points, once")
    parser.add_argument("--curves", default="", help="names with commas; default: all")
    parser.add_argument("--reps", type=int, help="repetitions; default 3, with --quick 1")
    parser.add_argument("--out", type=Path, help="folder of the results")
    options = parser.parse_args()
    wanted = set(filter(None, options.curves.split(",")))
    if unknown := wanted - {curve.name for curve in CURVES}:
        parser.error(f"no such curve: {', '.join(sorted(unknown))}")
    reps = options.reps or (1 if options.quick else 3)
    found, absent = versions()
    before = load_average()
    session = Session(ROOT / "build", options.quick, reps, frozenset(PEERS), absent)
    rows = [
        row
        for curve in CURVES
        if not wanted or curve.name in wanted
        for row in curve.rows(options.quick)
    ]
    done, _ = session.run(rows)
    results: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%MZ"),
        "quick": options.quick,
        "repetitions": reps,
        "machine": machine(session.folder),
        "load average": {"before": before, "after": load_average()},
        "versions": {name: found[name] for name in PEERS if name in found},
        "rows": done,
    }
    folder = options.out or ROOT / ("build/bench-quick" if options.quick else "bench/results")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1) + "\n"
    identity = hashlib.sha256(text.encode()).hexdigest()[:8]
    path = folder / f"growth-{results['date'][:10]}-{identity}.json"
    path.write_text(text)
    path.with_suffix(".md").write_text(markdown(results))
    plot(results, path.with_suffix(".svg"))
    print(markdown(results))
    say(f"written: {path.name}, its table and its plot")
    return 0


if __name__ == "__main__":
    sys.exit(main())
