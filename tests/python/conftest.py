"""Fixtures of all Python tests: loops to run on, paths, and the guard that each test leaves nothing
behind.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("support", "oracle")

from support import STAY, WATCHDOG_SECONDS, lib  # noqa: E402
from support.guard import Guard  # noqa: E402
from support.loops import LOOPS, run_on  # noqa: E402

_stderr: int | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Keeps the real stderr, which is captured while a test runs, for the watchdog.

    And takes Ctrl-C, which a shell has those of its programs ignore that run in the background,
    and they have theirs: tests press it.
    """
    global _stderr
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _stderr = os.dup(2)


def pytest_unconfigure(config: pytest.Config) -> None:
    global _stderr
    if _stderr is not None:
        os.close(_stderr)
        _stderr = None


def pytest_report_header(config: pytest.Config) -> str:
    return f"module under test: {lib.__name__} on SQLite {lib.sqlite_version}, loops: {', '.join(LOOPS)}"  # noqa: E501


@pytest.fixture(scope="session", autouse=True)
def _first_use() -> None:
    """What is made once for the whole process is made before the first test takes stock."""

    if STAY is not None:
        lib._core._stay(float(STAY), float(STAY))

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await (await db.execute("SELECT 1")).fetchall()

    for factory in LOOPS.values():
        run_on(factory, main)
    gc.collect()


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remembers a failure: its traceback keeps what the test had open, so the guard has nothing to
    say then.
    """
    outcome: Any = yield
    if outcome.get_result().failed:
        item.stash[FAILED] = True


@pytest.fixture(autouse=True)
def guard(_first_use: None, request: pytest.FixtureRequest) -> Iterator[Guard]:
    """Fails a test that leaves a thread, a descriptor or an uncaught exception; ends a run that
    hangs.
    """
    assert _stderr is not None
    faulthandler.dump_traceback_later(WATCHDOG_SECONDS, exit=True, file=_stderr)
    watch = Guard()
    try:
        yield watch
        problems = [] if request.node.stash.get(FAILED, False) else watch.problems()
    finally:
        watch.restore()
        faulthandler.cancel_dump_traceback_later()
    assert not problems, "\n".join(problems)


@pytest.fixture(params=list(LOOPS))
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return LOOPS[request.param]


@pytest.fixture
def run(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> Callable[..., Any]:
    """Runs a coroutine function on a fresh loop, once under each kind of loop."""

    def call(main: Callable[..., Any], *args: Any) -> Any:
        return run_on(loop_factory, main, *args)

    return call


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a database can be made; nothing is there yet."""
    return tmp_path / "test.db"
