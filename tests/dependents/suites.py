"""The suites that `make dependents` runs: whose they are, what they need, how they are started.

A Project is a set of packages (requirements/NAME.txt, pinned) and a tree of tests, both from the
package registry: one virtual environment and one folder of sources. A Suite is one run of its
tests by pytest. Each suite runs with the real aiosqlite and with looplite in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Project:
    """What is installed, and where the tests come from."""

    name: str
    # What has the tests: `name==version` of a source distribution, or of a wheel.
    tests: str
    wheel: bool = False
    # A folder of the wheel, and the name under which it is a package of its own.
    rename: tuple[str, str] = ("", "")
    # Files that are written into the tree: name and text.
    adds: tuple[tuple[str, str], ...] = ()
    # Packages of the system (Debian's names) without which the packages cannot be imported.
    system: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """One run of a project's tests."""

    name: str
    project: Project
    what: str
    # pytest's. `{grep:WORD:FOLDER}` stands for the test files of a folder that have the word.
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    # Compared with the outcomes of that suite on aiosqlite; empty: with its own.
    like: str = ""
    # Tests that a driver of this name is not meant for: a pattern of their names, and why.
    other: Mapping[str, str] = field(default_factory=dict)
    # Belongs to `make test`.
    fast: bool = False
    # A pattern that is removed from the tests' names before they are compared.
    noise: str = ""
    # Seconds after which the run is ended.
    limit: int = 600

    @property
    def baseline(self) -> str:
        """The suite whose outcomes on aiosqlite are what is wanted."""
        return self.like or self.name


AIOSQLITE = Project(
    "aiosqlite",
    tests="aiosqlite==0.22.1",
    wheel=True,
    # looplite owns the name aiosqlite while they run.
    rename=("aiosqlite/tests", "aiosqlite_tests"),
)
# The databases of the dialect `sqlite+looplite`, beside those of SQLAlchemy's own setup.cfg.
_DATABASES = (
    (
        "test.cfg",
        "[db]\n"
        "looplite = sqlite+looplite:///:memory:\n"
        "looplite_file = sqlite+looplite:///async_querytest.db\n",
    ),
)
SQLALCHEMY_21 = Project("sqlalchemy-2.1", tests="sqlalchemy==2.1.9", adds=_DATABASES)
SQLALCHEMY_20 = Project("sqlalchemy-2.0", tests="sqlalchemy==2.0.58", adds=_DATABASES)
SQLSPEC = Project("sqlspec", tests="sqlspec==0.69.0", system=("libodbc2",))
LANGGRAPH = Project("langgraph", tests="langgraph-checkpoint-sqlite==3.1.2")
CLIENT_CACHE = Project("aiohttp-client-cache", tests="aiohttp-client-cache==0.15.0")
MAUTRIX = Project("mautrix", tests="mautrix==0.21.1")
TORTOISE = Project("tortoise", tests="tortoise-orm==1.1.9")
DATABASES = Project("databases", tests="databases==0.9.0")

# SQLAlchemy names the driver and SQLite's version in the names of its tests.
_BACKEND = r"_sqlite\+\w+?_\d+_\d+_\d+"
_SQLALCHEMY = ("-p", "no:logging")
# What SQLAlchemy's tests decide by the driver's name, and looplite's they do not know: they skip a
# test, take a cursor for one of the client, or expect a failure that does not come.
_LASTROWID = "lists the drivers that have lastrowid by name"
_SUCCEEDS = "expects a failure of drivers that it does not list by name, and it passes"
_BY_DRIVER_NAME: Mapping[str, str] = {
    r"::LastrowidTest::test_native_lastrowid_autoinc: passed -> skipped": _LASTROWID,
    r"::CursorResultTest::test_lastrowid: passed -> skipped": _LASTROWID,
    r"::TableInsertTest::test_implicit_pk\w*: passed -> failed\s+.*Unexpected success": _SUCCEEDS,
    r"::ServerSideCursorsTest::test_(conn_option|ss_cursor_status|stmt_enabled_conn_option)\b.*"
    r": passed -> failed": "asks whether a cursor is the server's by the driver's name",
    r"::AsyncEngineTest::test_active_await_close: passed -> skipped": (
        "lists the drivers whose cursors' close() is awaited by name"
    ),
}
_SMOKE = ("test/ext/asyncio", "test/dialect/sqlite")
_SQLSPEC = (
    *("-p", "anyio", "-p", "pytest_mock", "-p", "pytest_timeout"),
    *("-o", "addopts=", "-o", "filterwarnings="),
)


def _sqlalchemy(project: Project, smoke: tuple[str, ...]) -> list[Suite]:
    """The runs of one version: its asyncio and SQLite tests, and all that uses a database. Those
    on looplite's own dialect are compared with the same ones on aiosqlite.
    """
    suites = []
    databases = ("aiosqlite", "aiosqlite_file", "looplite", "looplite_file")
    for whole in (False, True):
        for database in databases:
            if not whole and database not in smoke:
                continue
            kind = "" if whole else ":smoke"
            name = f"{project.name}:{database}{kind}"
            model = f"{project.name}:{database.replace('looplite', 'aiosqlite')}{kind}"
            what = "all backend tests" if whole else "asyncio and SQLite tests"
            suites.append(
                Suite(
                    name,
                    project,
                    f"{what}, {database}",
                    (*_SQLALCHEMY, "--db", database, *(("--backend-only",) if whole else _SMOKE)),
                    like="" if model == name else model,
                    other={} if model == name else _BY_DRIVER_NAME,
                    fast=not whole and project is SQLALCHEMY_21,
                    noise=_BACKEND,
                    limit=1800 if whole else 600,
                )
            )
    return suites


SUITES: tuple[Suite, ...] = (
    Suite(
        "aiosqlite", AIOSQLITE, "aiosqlite's own tests", ("aiosqlite_tests/smoke.py",), fast=True
    ),
    *_sqlalchemy(SQLALCHEMY_21, smoke=("aiosqlite", "aiosqlite_file", "looplite")),
    *_sqlalchemy(SQLALCHEMY_20, smoke=("aiosqlite", "looplite")),
    Suite(
        "sqlspec:unit",
        SQLSPEC,
        "unit tests of files that name aiosqlite",
        (*_SQLSPEC, "--confcutdir=tests/unit", "{grep:aiosqlite:tests/unit}"),
    ),
    Suite(
        "sqlspec:integration",
        SQLSPEC,
        "integration tests of the SQLite family",
        (*_SQLSPEC, "tests/integration/adapters/sqlite"),
    ),
    Suite(
        "langgraph",
        LANGGRAPH,
        "all tests",
        (
            *("-p", "asyncio", "-p", "pytest_mock", "-p", "pytest_retry.retry_plugin"),
            *("-p", "no:warnings", "-o", "addopts=", "tests"),
        ),
    ),
    Suite(
        "aiohttp-client-cache",
        CLIENT_CACHE,
        "SQLite cache tests",
        (
            *("-p", "asyncio", "-p", "aiohttp", "test/integration/test_sqlite.py"),
            *("-k", "TestSQLiteCache or TestSQLitePickleCache"),
        ),
    ),
    Suite(
        "mautrix",
        MAUTRIX,
        "state store tests",
        ("-p", "asyncio", "mautrix/client/state_store/tests"),
    ),
    Suite(
        "tortoise",
        TORTOISE,
        "all tests but those of other frameworks",
        (
            *("-p", "asyncio", "-p", "tortoise_fixtures"),
            *("--ignore=tests/contrib", "--ignore=tests/benchmarks", "tests"),
        ),
        environment={"TORTOISE_TEST_DB": "sqlite://:memory:"},
    ),
    Suite(
        "databases",
        DATABASES,
        "all tests on SQLite",
        (
            *("tests/test_databases.py", "tests/test_integration.py"),
            "tests/test_database_url.py",
        ),
        environment={
            "TEST_DATABASE_URLS": "sqlite:///testsuite,sqlite+aiosqlite:///testsuite",
        },
    ),
)
