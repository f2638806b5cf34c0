"""Programs of their own: for exits, forks, closed loops and warnings, which a test process cannot
show in itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from support import NAME, SCRIPT_SECONDS

PREAMBLE = f"""\
import asyncio, faulthandler, gc, os, sqlite3, sys, threading, warnings
import {NAME} as lib
from pathlib import Path
PATH = sys.argv[1]
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
async def begin(call):
    try:
        while call.send(None) is None:
            await asyncio.sleep(0)
    except StopIteration:
        pass
faulthandler.enable()
faulthandler.dump_traceback_later({SCRIPT_SECONDS * 0.8}, exit=True)
"""


def run_script(
    folder: Path, source: str, *options: str, database: str = "script.db"
) -> subprocess.CompletedProcess[str]:
    """Runs a program with `lib` imported and `PATH` naming a database in the folder."""
    program = folder / "program.py"
    program.write_text(PREAMBLE + textwrap.dedent(source))
    command = [sys.executable, *options, str(program), str(folder / database)]
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=SCRIPT_SECONDS,
            check=False,
            env=env,
            cwd=folder,
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(
            f"the program hangs\nstdout: {error.stdout!r}\nstderr: {error.stderr!r}"
        ) from None


def ran_clean(done: subprocess.CompletedProcess[str], status: int = 0) -> None:
    """The program ended with that status and said nothing on stderr."""
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert done.stderr == "", done.stderr
