"""Extensions of SQLite: loading one, what it brings, and the errors, beside `sqlite3`. Where the
running Python can load any: Debian's can, one built without --enable-loadable-sqlite-extensions
has no such methods.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.errors import raised_by, same_error
from support.loops import caught

Run = Callable[..., Any]

pytestmark = [
    looplite_only,
    pytest.mark.skipif(
        not hasattr(sqlite3.Connection, "load_extension"),
        reason="this Python cannot load extensions",
    ),
]

HEADERS = Path(__file__).parents[3] / "third_party" / "sqlite"
SOURCE = """
#include <pthread.h>
#include "sqlite3ext.h"
SQLITE_EXTENSION_INIT1

static void twice(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3_result_int64(context, 2 * sqlite3_value_int64(values[0]));
}

static void thread(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    sqlite3_result_int64(context, (sqlite3_int64)pthread_self());
}

int sqlite3_extension_init(sqlite3 *db, char **error, const sqlite3_api_routines *api)
{
    (void)error;
    SQLITE_EXTENSION_INIT2(api)
    int rc = sqlite3_create_function(db, "twice", 1, SQLITE_UTF8, 0, twice, 0, 0);
    return rc ? rc : sqlite3_create_function(db, "thread", 0, SQLITE_UTF8, 0, thread, 0, 0);
}

int sqlite3_refuse_init(sqlite3 *db, char **error, const sqlite3_api_routines *api)
{
    (void)db;
    SQLITE_EXTENSION_INIT2(api)
    *error = sqlite3_mprintf("not today");
    return SQLITE_ERROR;
}
"""


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a built extension."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("extension")
    source, built = folder / "twice.c", folder / "twice.so"
    source.write_text(SOURCE)
    command = [compiler, "-shared", "-fPIC", f"-I{HEADERS}", "-o", str(built), str(source)]
    subprocess.run(command, check=True)
    return str(built)


@pytest.mark.parametrize("allowed", [None, True, False], ids=["untouched", "allowed", "forbidden"])
def test_when_it_is_allowed(run: Run, tmp_path: Path, extension: str, allowed: bool | None) -> None:
    """By the method and in SQL; what a connection allows at first is how SQLite was built."""
    missing = str(tmp_path / "missing")
    calls = (
        ("load_extension", (missing,)),
        ("load_extension", (extension,)),
        ("execute", ("SELECT load_extension(?)", (missing,))),
        ("execute", ("SELECT load_extension(?)", (extension,))),
        ("execute", ("SELECT twice(21)",)),
    )

    plain = sqlite3.connect(":memory:")
    if allowed is not None:
        plain.enable_load_extension(allowed)
    wanted: list[Any] = []
    for name, arguments in calls:
        try:
            getattr(plain, name)(*arguments)
            wanted.append(None)
        except sqlite3.Error as error:
            wanted.append((type(error), str(error)))
    plain.close()
    assert wanted[0] is not None

    async def main() -> None:
        found: list[Any] = []
        async with lib.connect(":memory:") as db:
            if allowed is not None:
                await db.enable_load_extension(value=allowed)
            for name, arguments in calls:
                try:
                    await getattr(db, name)(*arguments)
                    found.append(None)
                except sqlite3.Error as error:
                    found.append((type(error), str(error)))
        assert found == wanted

    run(main)


def load(connection: sqlite3.Connection, path: str) -> None:
    """As packages do that bring an extension: sqlite_vec.load() and the like."""
    connection.enable_load_extension(True)
    connection.load_extension(path)
    connection.enable_load_extension(False)


@pytest.mark.parametrize("way", ["methods", "_execute", "_conn"])
def test_its_functions_are_there(run: Run, path: Path, extension: str, way: str) -> None:
    """On its connection and no other; also for statements that are prepared already; and they run
    on a worker, whose time is not the loop's, however often.
    """

    async def main() -> None:
        async with lib.connect(path) as db, lib.connect(path) as other:
            assert "twice" in str(await caught(db.execute("SELECT twice(1)")))
            if way == "methods":
                await db.enable_load_extension(True)
                await db.load_extension(extension)
            elif way == "_execute":
                await db._execute(load, db._conn, extension)
            else:
                load(db._conn, extension)
            for value in range(20):
                assert await db.execute_fetchall("SELECT twice(?)", (value,)) == [(2 * value,)]
                ((thread,),) = await db.execute_fetchall("SELECT thread()")
                assert thread != threading.get_ident()
            assert "twice" in str(await caught(other.execute("SELECT twice(1)")))

    run(main)


def test_one_that_refuses(run: Run, tmp_path: Path, extension: str) -> None:
    """By an entry point that fails: Python below 3.12 can name one in SQL only."""
    refusing = str(shutil.copy(extension, tmp_path / "refuse.so"))
    plain = sqlite3.connect(":memory:")
    plain.enable_load_extension(True)
    in_sql = "SELECT load_extension(?, 'sqlite3_refuse_init')"
    refused = raised_by(lambda: plain.execute(in_sql, (refusing,)).fetchall())
    plain.close()
    assert "not today" in str(refused)

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.enable_load_extension(True)
            same_error(await caught(db.execute_fetchall(in_sql, (refusing,))), refused)
            if sys.version_info >= (3, 12):
                same_error(
                    await caught(db.load_extension(refusing, entrypoint="sqlite3_refuse_init")),
                    refused,
                )
            assert await db.execute_fetchall("SELECT 1") == [(1,)]

    run(main)
