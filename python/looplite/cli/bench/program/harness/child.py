"""One measurement in a process of its own: a fork of the bench, which has imported no peer.

What a peer leaves behind (threads, hooks, a million tuples) goes with its process. The garbage
collector is left on, as a user has it.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.data import Databases
from harness.path import Probe
from harness.peers import UnsupportedError
from harness.spec import Context, Row, Sample


@dataclass(frozen=True)
class Outcome:
    """What came of a measurement: a sample, or the reason why there is none."""

    sample: Sample | None
    failure: str = ""


def _in_child(writing: int, work: Callable[[], dict[str, Any]]) -> None:
    """Runs the work and writes its answer; does not return."""
    answer: dict[str, Any]
    try:
        answer = work()
    except UnsupportedError as error:
        answer = {"failure": f"unsupported: {error}"}
    except BaseException as error:  # told to the parent, whatever it is
        answer = {"failure": f"{type(error).__name__}: {error}"}
    with os.fdopen(writing, "w") as pipe:
        json.dump(answer, pipe)
    # No exit of a peer's threads is waited for: some hang.
    os._exit(0)


def call(work: Callable[[], dict[str, Any]], limit: float) -> dict[str, Any]:
    """Runs `work` in a fork; its answer, or {"failure": why}."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _in_child(writing, work)
    os.close(writing)
    text = b""
    deadline = time.monotonic() + limit
    failure = ""
    while True:
        ready, _, _ = select.select([reading], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            failure = f"gave no answer in {limit:g} s"
            break
        if not (part := os.read(reading, 65536)):
            break
        text += part
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    if failure:
        return {"failure": failure}
    if not text:
        return {"failure": f"died, status {os.waitstatus_to_exitcode(status)}"}
    answer = json.loads(text)
    assert isinstance(answer, dict)
    return answer


def measure(row: Row, peer_name: str, databases: Databases, scratch: Path, quick: bool) -> Outcome:
    """One measurement of one row with one peer."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    database = databases.take(row.database, folder)

    def work() -> dict[str, Any]:
        context = Context(peer_name, Probe(peer_name), database, folder, quick)

        async def run() -> Sample:
            return await row.run(context)

        return asdict(asyncio.run(run()))

    try:
        answer = call(work, row.limit / 6 if quick else row.limit)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if "failure" in answer:
        # Messages name the file; results name no folder of anybody's machine.
        return Outcome(None, answer["failure"].replace(str(folder), "").replace(str(scratch), ""))
    answer["missing"] = tuple(answer["missing"])
    return Outcome(Sample(**answer))
