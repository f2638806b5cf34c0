"""What the module says of subinterpreters and of Python without the GIL: refused by name, and the
process that tried goes on.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.scripts import ran_clean, run_script

pytestmark = looplite_only

TRY = """
    import importlib
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            interpreters = importlib.import_module(name)
            break
        except ImportError:
            continue
    SOURCE = (
        "import sys; sys.path[:] = {path!r}\\n"
        "try:\\n"
        "    import looplite\\n"
        "except ImportError as error:\\n"
        "    assert 'subinterpreter' in str(error), error\\n"
        "else:\\n"
        "    raise AssertionError('imported')\\n"
    ).format(path=sys.path)

    async def main():
        async with lib.connect(PATH) as db:
            await db.execute("CREATE TABLE t(v)")

            def attempt():
                return interpreters.run_string(interpreters.create(), SOURCE)

            for _ in range(3):
                failed = await asyncio.to_thread(attempt)
                assert failed is None, failed
                await db.execute("INSERT INTO t VALUES (1)")
            await db.commit()
            assert await db.execute_fetchall("SELECT count(*) FROM t") == [(3,)]

    asyncio.run(main())
"""


def test_a_subinterpreter_is_refused(tmp_path: Path) -> None:
    ran_clean(run_script(tmp_path, TRY))


def test_the_gil_is_asked_for() -> None:
    """A build of Python without the GIL takes it back when looplite is imported."""
    assert lib._core
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this Python always has the GIL")
    enabled: Any = getattr(sys, "_is_gil_enabled")  # noqa: B009
    assert enabled()
