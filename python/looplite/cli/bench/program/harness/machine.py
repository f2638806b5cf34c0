"""What the numbers were measured with: machine and versions. No host names, no paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

from harness.child import call
from harness.peers import PEERS


def _first(pattern: str, file: str, otherwise: str) -> str:
    try:
        match = re.search(pattern, Path(file).read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match[1].strip() if match else otherwise


def _file_system(folder: Path) -> str:
    """The type of the file system that a folder lies on."""
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if line.split()[2] == wanted:
                return line.split(" - ")[1].split()[0]
    except OSError:
        pass
    return "unknown"


def machine(folder: Path) -> dict[str, str]:
    """The machine, as far as it matters to a reader elsewhere."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": _first(r"^model name\s*:\s*(.*)$", "/proc/cpuinfo", platform.processor()),
        "cores": str(cores),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "file system": _file_system(folder),
        "libc": " ".join(platform.libc_ver()),
    }


def versions(names: Iterable[str] = PEERS) -> tuple[dict[str, str], dict[str, str]]:
    """Python's and each peer's version with that of its SQLite; and why some are missing."""
    found = {"Python": f"{platform.python_implementation()} {platform.python_version()}"}
    absent = {}
    for name in names:
        peer = PEERS[name]
        # In a fork: an import must not touch this process.
        answer = call(lambda peer=peer: {"sqlite": peer().load()}, 60.0)  # type: ignore[misc]
        if "failure" in answer:
            absent[name] = str(answer["failure"])
            continue
        own = importlib.metadata.version(peer.package) if peer.package else ""
        found[name] = f"{own} with SQLite {answer['sqlite']}".strip()
    return found, absent


def load_average() -> float:
    """How many others wanted to run lately: a number near zero makes a good bench."""
    return os.getloadavg()[0]
