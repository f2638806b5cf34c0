"""looplite.testing: the fixtures, and what they say of a test that leaves something open."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import looplite_only

pytestmark = looplite_only
pytest_plugins = ["pytester"]

PREAMBLE = """\
import asyncio
import gc
import looplite
import pytest

MANY = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 99999) SELECT x FROM c"
kept = []

"""


@pytest.fixture
def check(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a test file in a pytest of its own, with none of our settings."""

    def run(source: str, *options: str) -> pytest.RunResult:
        if not options:  # whatever else is installed takes most of the time to load
            monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        pytester.makeini("[pytest]\nfilterwarnings = ignore::ResourceWarning\n")
        pytester.makeconftest('pytest_plugins = ["looplite.testing"]')
        pytester.makepyfile(PREAMBLE + source)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)

    return run


def test_a_database_of_its_own_for_each_test(check: Any) -> None:
    result = check(
        """
@pytest.mark.parametrize("number", range(3))
def test_file(looplite_db, number):
    async def main():
        async with looplite_db.connect() as db:
            await db.execute("CREATE TABLE t(v)")
            await db.execute("INSERT INTO t VALUES (?)", (number,))
            await db.commit()
        async with looplite.connect(looplite_db.path) as db:
            assert await db.execute_fetchall("SELECT v FROM t") == [(number,)]
        assert looplite_db.path.is_file() and str(looplite_db.path) == str(looplite_db)

    asyncio.run(main())

@pytest.mark.parametrize("number", range(3))
def test_memory(looplite_memory_db, number):
    async def main():
        async with looplite_memory_db.connect() as first, looplite_memory_db.connect() as second:
            await first.execute("CREATE TABLE t(v)")
            await first.execute("INSERT INTO t VALUES (?)", (number,))
            await first.commit()
            assert await second.execute_fetchall("SELECT v FROM t") == [(number,)]
        async with looplite.connect(looplite_memory_db.database, uri=True) as third:
            assert await third.execute_fetchall("SELECT v FROM t") == [(number,)]
        assert looplite_memory_db.path is None

    asyncio.run(main())

def test_options(looplite_db):
    async def main():
        async with looplite_db.connect(isolation_level=None) as db:
            assert db.isolation_level is None

    asyncio.run(main())
"""
    )
    result.assert_outcomes(passed=7)


LEAKS = {
    "connection": (
        "    kept.append(await looplite_db.connect())  # HERE\n",
        "a connection was not closed",
    ),
    "made by the code under test": (
        "    kept.append(await looplite.connect(':memory:'))  # HERE\n",
        "a connection was not closed",
    ),
    "dropped connection": (
        "    db = await looplite_db.connect()  # HERE\n    del db\n",
        "a connection was dropped without being closed",
    ),
    "connection in a cycle": (
        "    db = await looplite_db.connect()  # HERE\n    db.me = db\n    del db\n",
        "a connection was dropped without being closed",
    ),
    "transaction at close": (
        "    async with looplite_db.connect() as db:  # HERE\n"
        "        await db.execute('CREATE TABLE t(v)')\n"
        "        await db.execute('INSERT INTO t VALUES (1)')\n",
        "closed with a transaction open",
    ),
    "transaction on an open connection": (
        "    db = await looplite_db.connect()  # HERE\n"
        "    await db.execute('BEGIN')\n"
        "    kept.append(db)\n",
        "a transaction was left open",
    ),
    "cursor": (
        "    db = await looplite_db.connect()\n"
        "    kept.extend((db, await db.execute(MANY)))  # HERE\n",
        "a cursor was neither read to its end nor closed",
    ),
}


@pytest.mark.parametrize("name", list(LEAKS))
def test_a_leak_fails_the_test_and_says_where(check: Any, name: str) -> None:
    body, words = LEAKS[name]
    source = (
        "async def leaky_function(looplite_db):\n"
        + body
        + """
def test_leaky(looplite_db):
    asyncio.run(leaky_function(looplite_db))

def test_next(looplite_db):
    async def main():
        async with looplite_db.connect() as db:
            await db.execute("SELECT 1")

    asyncio.run(main())
"""
    )
    line = (
        (PREAMBLE + source)
        .split("\n")
        .index(next(each for each in (PREAMBLE + source).split("\n") if "# HERE" in each))
    )
    result = check(source)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines([f"*looplite: *{words}*"])
    result.stdout.fnmatch_lines([f"*.py:{line + 1}, in leaky_function", "*# HERE*"])
    assert "ERROR at teardown of test_leaky" in result.stdout.str()


def test_what_leaks_not(check: Any) -> None:
    result = check(
        """
def test_fine(looplite_db):
    async def main():
        async with looplite_db.connect() as db:
            await db.execute("CREATE TABLE t(v)")
            await db.execute("INSERT INTO t VALUES (1)")
            await asyncio.gather(db.commit(), db.execute("SELECT 1"))
            kept.append(await db.execute("SELECT v FROM t"))  # it holds nothing in SQLite
            cursor = await db.execute(MANY)
            await cursor.close()
            kept.append(cursor)
            kept.append(await db.execute(MANY))  # ends with its connection
            (await db.execute(MANY))  # dropped
            await db.execute("INSERT INTO t VALUES (2)")
            await db.rollback()
        db = await looplite_db.connect()
        await asyncio.gather(db.execute("INSERT INTO t VALUES (3)"), db.commit(), db.close())
        kept.append(looplite_db.connect())  # never awaited: nothing is open
        with pytest.raises(looplite.OperationalError):
            await looplite.connect(looplite_db.path.parent / "no" / "such")

    asyncio.run(main())

before = []

async def opened_before():
    before.append(await looplite.connect(":memory:"))

asyncio.run(opened_before())

def test_that_was_open_before(looplite_db):
    async def main():
        before.append(await before[0].execute(MANY))

    asyncio.run(main())

def test_the_end():
    asyncio.run(before[0].close())
"""
    )
    result.assert_outcomes(passed=3)


def test_connections_of_fixtures_that_stand_on_it(check: Any) -> None:
    """They are closed after the test and before the look."""
    result = check(
        """
@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()

@pytest.fixture
def db(loop, looplite_db):
    db = loop.run_until_complete(looplite_db.connect().__aenter__())
    yield db
    loop.run_until_complete(db.close())

def test_it(loop, db):
    loop.run_until_complete(db.execute("SELECT 1"))
"""
    )
    result.assert_outcomes(passed=1)


def test_only_the_watch(check: Any) -> None:
    result = check(
        """
pytestmark = pytest.mark.usefixtures("looplite_leaks")

async def leak():
    kept.append(await looplite.connect(":memory:"))

def test_leaky():
    asyncio.run(leak())

def test_fine():
    async def main():
        async with looplite.connect(":memory:"):
            pass

    asyncio.run(main())
"""
    )
    result.assert_outcomes(passed=2, errors=1)


def test_what_a_test_may_leave(check: Any) -> None:
    result = check(
        """
async def leave(db, what):
    await db.execute("CREATE TABLE t(v)")
    if what == "transaction":
        await db.execute("INSERT INTO t VALUES (1)")
    elif what == "cursor":
        kept.append(await db.execute(MANY))
    if what != "transaction":
        kept.append(db)
    else:
        await db.close()

async def main(looplite_db, what):
    await leave(await looplite_db.connect(), what)

@pytest.mark.looplite_allow("transaction")
def test_transaction(looplite_db):
    asyncio.run(main(looplite_db, "transaction"))

@pytest.mark.looplite_allow("connection", "cursor")
def test_cursor(looplite_db):
    asyncio.run(main(looplite_db, "cursor"))

@pytest.mark.looplite_allow("cursor")
def test_more_than_allowed(looplite_db):
    asyncio.run(main(looplite_db, "cursor"))

@pytest.mark.looplite_allow("everything")
def test_wrong(looplite_db):
    pass
""",
        "--strict-markers",
    )
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(["*looplite_allow() takes 'connection', *not 'everything'*"])


def test_a_test_that_fails_is_not_blamed_twice(check: Any) -> None:
    result = check(
        """
async def fail(looplite_db):
    db = await looplite_db.connect()
    await db.execute("BEGIN")
    raise ValueError("its own failure")

def test_it(looplite_db):
    asyncio.run(fail(looplite_db))
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*its own failure*"])


def test_a_place_behind_an_installed_package(check: Any, pytester: pytest.Pytester) -> None:
    """An ORM's line is named, and the one of the program that called it."""
    package = pytester.mkdir("site-packages") / "orm.py"
    package.write_text(
        "import looplite\n\nasync def opening(where):\n    return await looplite.connect(where)\n"
    )
    result = check(
        """
import sys
sys.path.insert(0, "site-packages")
import orm

async def use(looplite_db):
    kept.append(await orm.opening(looplite_db.path))

def test_it(looplite_db):
    asyncio.run(use(looplite_db))
"""
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*orm.py:4, in opening", "*", "*.py:*, in use", "*"])


PLUGINS = {
    "pytest_asyncio": (
        """
@pytest.mark.asyncio
async def test_fine(looplite_db):
    async with looplite_db.connect() as db:
        await db.execute("SELECT 1")

@pytest.mark.asyncio
async def test_leaky(looplite_db):
    kept.append(await looplite_db.connect())
""",
        ("-p", "pytest_asyncio", "-p", "no:anyio"),
        {"passed": 2, "errors": 1},
    ),
    "anyio": (
        """
@pytest.mark.anyio
async def test_fine(looplite_db):
    async with looplite_db.connect() as db:
        await db.execute("SELECT 1")

@pytest.mark.anyio
async def test_leaky(looplite_db):
    kept.append(await looplite_db.connect())
""",
        ("-p", "anyio", "-p", "no:asyncio"),
        {"passed": 4, "errors": 2},  # on asyncio and on trio
    ),
}


@pytest.mark.parametrize("plugin", list(PLUGINS))
def test_with_other_plugins(check: Any, plugin: str) -> None:
    if importlib.util.find_spec(plugin) is None or importlib.util.find_spec("trio") is None:
        pytest.skip(f"{plugin} is not installed")
    source, options, outcomes = PLUGINS[plugin]
    result = check(source, *options)
    result.assert_outcomes(**outcomes)


def test_it_is_not_loaded_by_itself(tmp_path: Path) -> None:
    """Installing looplite changes nobody's test runs."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n\ndef test_it():\n    assert not [m for m in sys.modules if m.startswith('looplite')]\n"  # noqa: E501
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
