"""looplite.aiosqlite, install() and uninstall()."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import logging
import sqlite3
import threading
from pathlib import Path
from types import ModuleType

import pytest
from support import lib, looplite_only
from support.scripts import ran_clean, run_script

pytestmark = looplite_only

NAMES = (
    "DatabaseError",
    "Error",
    "IntegrityError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Row",
    "Warning",
    "paramstyle",
    "register_adapter",
    "register_converter",
    "sqlite_version",
    "sqlite_version_info",
)


def facade() -> ModuleType:
    return importlib.import_module("looplite.aiosqlite")


def real() -> ModuleType:
    module: ModuleType = pytest.importorskip("aiosqlite")
    return module


def test_every_public_name_of_aiosqlite_is_there() -> None:
    assert set(real().__all__) <= set(facade().__all__)
    for name in real().__all__:
        assert hasattr(facade(), name)
    for name in ("core", "cursor", "context"):
        there = importlib.import_module(f"aiosqlite.{name}")
        ours = importlib.import_module(f"looplite.aiosqlite.{name}")
        assert getattr(facade(), name) is ours
        for member in getattr(there, "__all__", ()):
            assert hasattr(ours, member), f"{name}.{member}"


def test_classes_have_every_public_member_of_aiosqlites() -> None:
    for name in ("Connection", "Cursor"):
        missing = {
            member
            for member in vars(getattr(real(), name))
            # (what a class statement leaves there since Python 3.13)
            if member not in {"__weakref__", "__firstlineno__", "__static_attributes__"}
            and not hasattr(getattr(facade(), name), member)
        }
        # Python compiled without them; the implementation's own helpers
        assert missing <= {
            "enable_load_extension",
            "load_extension",
            "_execute_insert",
            "_execute_fetchall",
            "_fetch_chunked",
        }


def test_names_are_the_same_objects() -> None:
    for name in NAMES:
        assert getattr(facade(), name) is getattr(sqlite3, name)
    assert facade().Connection is lib.Connection
    assert facade().Cursor is lib.Cursor
    assert facade().connect is lib.connect
    assert facade().context.Result is lib.Result
    core = facade().core
    assert core.Connection is lib.Connection
    assert core.sqlite3 is sqlite3
    assert core.Thread is threading.Thread
    assert core.LOG is logging.getLogger("aiosqlite")
    assert callable(core._connection_worker_thread)
    assert core._STOP_RUNNING_SENTINEL is not None
    assert not hasattr(facade(), "InterfaceError")


def test_version_and_spec() -> None:
    assert tuple(int(part) for part in facade().__version__.split(".")) >= (0, 22, 1)
    for name in ("", ".core", ".cursor", ".context"):
        assert importlib.util.find_spec(f"looplite.aiosqlite{name}") is not None


def test_annotations_and_generics() -> None:
    assert facade().context.Result[facade().Cursor]
    assert inspect.isclass(facade().context.Result)


def test_settling_futures() -> None:
    async def main() -> None:
        core = facade().core
        future = asyncio.get_running_loop().create_future()
        core.set_result(future, 1)
        core.set_result(future, 2)
        core.set_exception(future, ValueError())
        assert await future == 1
        future = asyncio.get_running_loop().create_future()
        core.set_exception(future, ValueError("x"))
        with pytest.raises(ValueError, match="x"):
            await future

    asyncio.run(main())


def test_install(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
        import importlib.util
        lib.install()
        lib.install()
        import aiosqlite
        import aiosqlite.core
        from aiosqlite import core, connect
        from aiosqlite.cursor import Cursor
        from aiosqlite.context import Result, contextmanager
        from aiosqlite.__version__ import __version__
        assert aiosqlite is lib.aiosqlite and connect is lib.connect and Cursor is lib.Cursor
        assert importlib.util.find_spec("aiosqlite") is not None
        assert importlib.util.find_spec("aiosqlite.core") is not None
        assert importlib.reload(aiosqlite) is aiosqlite
        try:
            import aiosqlite.no_such_module
        except ModuleNotFoundError:
            pass
        else:
            sys.exit("found")
        async def main():
            async with aiosqlite.connect(PATH) as db:
                async with db.execute("SELECT 1") as cursor:
                    assert await cursor.fetchone() == (1,)
        asyncio.run(main())
        lib.uninstall()
        lib.uninstall()
        assert not any(name.split(".")[0] == "aiosqlite" for name in sys.modules)
        import aiosqlite as real
        assert real is not lib.aiosqlite
        lib.uninstall()
        assert sys.modules["aiosqlite"] is real
        """,
    )
    ran_clean(done)


def test_install_where_aiosqlite_is_not_installed(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
        class Nowhere:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "aiosqlite":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Nowhere())
        try:
            import aiosqlite
        except ModuleNotFoundError:
            lib.install()
        import aiosqlite
        from aiosqlite.core import Connection
        assert Connection is lib.Connection
        """,
    )
    ran_clean(done)


def test_install_too_late(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
        import aiosqlite
        try:
            lib.install()
        except RuntimeError as exc:
            assert "imported already" in str(exc) and "python -m looplite run" in str(exc)
            assert aiosqlite.__file__ in str(exc)
        else:
            sys.exit("no error")
        assert sys.modules["aiosqlite"] is aiosqlite
        """,
    )
    ran_clean(done)
