"""Runs ``python -m looplite``, as a process of its own.

A test run starts the command some hundred times, and most of the time would go into importing it.
So one process imports it once, and a fork of that does what ``python -m looplite`` does; `fresh`
starts it as a user would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import SCRIPT_SECONDS

_SERVER = """
import json, os, sys, traceback
import looplite.cli, looplite.cli.shell, looplite.cli.doctor
for line in sys.stdin:
    task = json.loads(line)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if task["folder"]:
                os.chdir(task["folder"])
            os.environ.update(task["env"])
            for number, name in enumerate(task["files"]):
                opened = os.open(name, os.O_RDWR)
                os.dup2(opened, number)
                os.close(opened)
            sys.stdin = open(0, closefd=False)
            looplite.cli.main(task["words"])
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                pass
        os._exit(status)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


def environment(**more: str) -> dict[str, str]:
    """This process's, without what belongs to pytest."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return {**kept, **more}


_servers: list[subprocess.Popen[str]] = []


@contextmanager
def server() -> Iterator[None]:
    """The process that imports it once."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        _servers.append(process)
        yield
        _servers.remove(process)


def _forked(words: list[str], stdin: bytes, folder: str | None, env: dict[str, str]) -> list[bytes]:
    with tempfile.TemporaryDirectory() as files:
        names = [f"{files}/{number}" for number in range(3)]
        Path(names[0]).write_bytes(stdin)
        for name in names[1:]:
            Path(name).touch()
        task = {"words": words, "folder": folder, "env": env, "files": names}
        (process,) = _servers
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        status = process.stdout.readline().encode()
        return [status, *(Path(name).read_bytes() for name in names[1:])]


def _fresh(words: list[str], stdin: bytes, folder: str | None, env: dict[str, str]) -> list[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "looplite", *words],
        input=stdin,
        cwd=folder,
        capture_output=True,
        timeout=SCRIPT_SECONDS,
        check=False,
        env=environment(**env),
    )
    return [str(done.returncode).encode(), done.stdout, done.stderr]


def looplite(
    *arguments: str | Path,
    stdin: str | bytes = b"",
    folder: Path | None = None,
    fresh: bool = False,
    **env: str,
) -> subprocess.CompletedProcess[str]:
    """Its status and what it said; line ends are as they were written."""
    words = [str(word) for word in arguments]
    given = stdin.encode() if isinstance(stdin, str) else stdin
    run = _fresh if fresh else _forked
    status, out, err = run(words, given, None if folder is None else str(folder), env)
    return subprocess.CompletedProcess(words, int(status), out.decode(), err.decode())
