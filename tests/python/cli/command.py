"""Runs ``python -m looplite`` as a program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support import SCRIPT_SECONDS


def environment(**more: str) -> dict[str, str]:
    """This process's, without what belongs to pytest."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return {**kept, "PYTHONIOENCODING": "", **more}


def looplite(
    *arguments: str | Path, stdin: str | bytes = b"", folder: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Its status and what it said; line ends are as they were written."""
    done = subprocess.run(
        [sys.executable, "-m", "looplite", *map(str, arguments)],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        cwd=folder,
        capture_output=True,
        timeout=SCRIPT_SECONDS,
        check=False,
        env=environment(**env),
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )
