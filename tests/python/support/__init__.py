"""What the Python tests share: the module under test, loops, subprocess scripts, waiting without
sleeping.

`LOOPLITE_TEST_MODULE` names the module under test. With `aiosqlite` there, the tests of what both
have in common
run on it, which shows that they ask for the right thing; tests of what looplite promises beyond it
are marked
`looplite_only` and are skipped then.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest

NAME = os.environ.get("LOOPLITE_TEST_MODULE", "looplite")
lib: Any = importlib.import_module(NAME)
IS_LOOPLITE = NAME == "looplite"

looplite_only = pytest.mark.skipif(not IS_LOOPLITE, reason=f"{NAME} does not promise this")

# Programs that fork beside threads. AddressSanitizer (that of GCC 12) locks nothing over a fork: a
# thread that is being made in that moment leaves the child a lock that nobody opens, and its first
# thread waits for ever. A dozen lines of C without looplite show it.
forks_beside_threads = pytest.mark.skipif(
    not hasattr(os, "fork") or "libasan" in os.environ.get("LD_PRELOAD", ""),
    reason="no fork here, or AddressSanitizer, which does not support it beside threads",
)

# What a hung test is allowed before the run is ended with a traceback of every thread. It measures
# nothing:
# whatever reaches it is stuck.
WATCHDOG_SECONDS = int(os.environ.get("LOOPLITE_TEST_WATCHDOG", "180"))
# The same for a program started by a test.
SCRIPT_SECONDS = WATCHDOG_SECONDS // 2

# For how long the only call of a loop stays for its answer (python/_core/linger.c). Whether an
# answer comes in time is chance, so every test has to pass with "0" and with "10", where it never
# does and always does.
STAY = os.environ.get("LOOPLITE_TEST_STAY")

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
"""A read that never ends by itself and has no row to give before its end."""
