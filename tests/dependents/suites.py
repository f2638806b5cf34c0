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
SQLALCHEMY_21 = Project("sqlalchemy-2.1", tests="sqlalchemy==2.1.9")
SQLALCHEMY_20 = Project("sqlalchemy-2.0", tests="sqlalchemy==2.0.58")
SQLSPEC = Project("sqlspec", tests="sqlspec==0.69.0", system=("libodbc2",))
LANGGRAPH = Project("langgraph", tests="langgraph-checkpoint-sqlite==3.1.2")
CLIENT_CACHE = Project("aiohttp-client-cache", tests="aiohttp-client-cache==0.15.0")
MAUTRIX = Project("mautrix", tests="mautrix==0.21.1")
TORTOISE = Project("tortoise", tests="tortoise-orm==1.1.9")
DATABASES = Project("databases", tests="databases==0.9.0")

# SQLAlchemy names the driver and SQLite's version in the names of its tests.
_BACKEND = r"_sqlite\+\w+?_\d+_\d+_\d+"
_SQLALCHEMY = ("-p", "no:logging")
_SMOKE = ("test/ext/asyncio", "test/dialect/sqlite")
_SQLSPEC = (
    *("-p", "anyio", "-p", "pytest_mock", "-p", "pytest_timeout"),
    *("-o", "addopts=", "-o", "filterwarnings="),
)


def _sqlalchemy(project: Project, smoke_only: bool) -> list[Suite]:
    """The runs of one version: its asyncio and SQLite tests, and all that uses a database."""
    suites = []
    name = project.name
    for database in ("aiosqlite", "aiosqlite_file"):
        options = (*_SQLALCHEMY, "--db", database)
        if not smoke_only or database == "aiosqlite":
            suites.append(
                Suite(
                    f"{name}:{database}:smoke",
                    project,
                    f"asyncio and SQLite tests, {database}",
                    (*options, *_SMOKE),
                    fast=name == "sqlalchemy-2.1",
                    noise=_BACKEND,
                )
            )
    for database in ("aiosqlite", "aiosqlite_file"):
        suites.append(
            Suite(
                f"{name}:{database}",
                project,
                f"all backend tests, {database}",
                (*_SQLALCHEMY, "--db", database, "--backend-only"),
                noise=_BACKEND,
                limit=1800,
            )
        )
    return suites


SUITES: tuple[Suite, ...] = (
    Suite(
        "aiosqlite", AIOSQLITE, "aiosqlite's own tests", ("aiosqlite_tests/smoke.py",), fast=True
    ),
    *_sqlalchemy(SQLALCHEMY_21, smoke_only=False),
    *_sqlalchemy(SQLALCHEMY_20, smoke_only=True),
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
