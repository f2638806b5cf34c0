"""Standing in for aiosqlite: ``import aiosqlite`` gives looplite in this process."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

_NAMES = ("", ".__version__", ".context", ".core", ".cursor")


def _ours() -> dict[str, ModuleType]:
    return {
        f"aiosqlite{name}": importlib.import_module(f"looplite.aiosqlite{name}") for name in _NAMES
    }


def install() -> None:
    """Makes ``import aiosqlite`` give looplite from now on, whether or not aiosqlite is installed.

    Called before anything imports aiosqlite: whoever has imported it holds its classes already,
    which nothing could exchange, so a RuntimeError is raised then. Twice is fine.
    """
    ours = _ours()
    there = sys.modules.get("aiosqlite")
    if there is not None and there is not ours["aiosqlite"]:
        where = getattr(there, "__file__", None) or "not from a file"
        raise RuntimeError(
            f"aiosqlite was imported already ({where}): call looplite.install() before the first "
            "import of aiosqlite and of what imports it, or start the program with "
            "`python -m looplite run`"
        )
    sys.modules.update(ours)


def uninstall() -> None:
    """Takes install() back: the next ``import aiosqlite`` looks for aiosqlite itself.

    What was imported before keeps what it has. Without install() nothing happens.
    """
    for name, module in _ours().items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
