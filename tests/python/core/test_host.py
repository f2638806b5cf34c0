"""Interpreters whose SQLite cannot be reached: one sentence says so, and what to do.

The hosts that can be reached, with a hidden static SQLite too, are built by tools/test_hosts.sh.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import lib, looplite_only

# sqlite3 as it would be where its SQLite is static and hidden, and loads no extensions: its connect
# is in no file that has SQLite's functions, and its Connection has no enable_load_extension.
HIDDEN = """
import _sqlite3
real = _sqlite3.connect
_sqlite3.connect = lambda *args, **keywords: real(*args, **keywords)
_sqlite3.Connection = type("Connection", (), {})
try:
    import looplite
except ImportError as error:
    print(error)
"""


@looplite_only
def test_a_sqlite_that_cannot_be_reached() -> None:
    if "global scope" in lib.engine_info()["sqlite_found"]:
        pytest.skip("this one is in everybody's sight")
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (told,) = done.stdout.splitlines()
    assert told.startswith("looplite cannot reach the SQLite of this Python's sqlite3 module (")
    assert "the global scope of the process: " in told
    assert "the file of the _sqlite3 module: it is part of the interpreter" in told
    assert "this Python cannot load extensions" in told
    assert told.endswith(
        "use a Python whose sqlite3 module is linked with a shared SQLite of 3.34.1 or newer, "
        "or which has sqlite3.Connection.enable_load_extension"
    )
