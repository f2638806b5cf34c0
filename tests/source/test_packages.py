"""What is packed, and what installing says where looplite does not run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

WINDOWS = """
[binaries]
c = 'no-such-compiler'
[host_machine]
system = 'windows'
cpu_family = 'x86_64'
cpu = 'x86_64'
endian = 'little'
"""


def test_windows_is_told_in_one_sentence(tmp_path: Path) -> None:
    """Also where there is no compiler."""
    meson = Path(sys.executable).parent / "meson"
    if not meson.exists():
        pytest.skip("no meson beside this Python")
    cross = tmp_path / "windows.ini"
    cross.write_text(WINDOWS)
    done = subprocess.run(
        [str(meson), "setup", str(tmp_path / "build"), str(ROOT), "--cross-file", str(cross)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    (told,) = (line for line in done.stdout.splitlines() if "ERROR" in line)
    assert told.endswith("looplite does not support Windows yet: it needs Linux or macOS.")


def test_the_source_archive_holds_what_is_needed_and_no_more(tmp_path: Path) -> None:
    """`meson dist`, which makes it, packs what `git archive` gives."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no repository")
    archive = tmp_path / "source.tar"
    subprocess.run(["git", "archive", "-o", str(archive), "HEAD"], cwd=ROOT, check=True)
    with tarfile.open(archive) as tar:
        names = set(tar.getnames())
    needed = {
        "LICENSE",
        "README.md",
        "include/looplite.h",
        "meson.build",
        "meson_options.txt",
        "pyproject.toml",
        "python/_core/module.c",
        "python/looplite/py.typed",
        "src/looplite.map",
        "tests/python/conftest.py",
        "third_party/sqlite/sqlite3.h",
    }
    assert needed <= names
    junk = (".ci", "tests/dependents/baselines", "tools/spikes")
    assert not [name for name in names if name.startswith(junk)]
    assert not [name for name in names if name.startswith("bench/results/") and name.endswith("on")]
    # No SQLite: its two headers only.
    assert not [name for name in names if name.endswith(("sqlite3.c", ".a", ".so", ".db"))]
