"""What all web frameworks share: settings, a request's sessions, and when they are committed.

Each framework's module is thin: it makes a `Work` when a request comes in, calls `finish(status)`
when the status of the answer is known *and before it is sent*, and leaves the `async with` block
when the request is over, however it ends. So:

    the answer says    manual            autocommit, autocommit_include_redirect
    2xx                nothing           commit, and only then the answer
    3xx                nothing           commit with ..._include_redirect, else roll back
    4xx, 5xx           nothing           roll back
    nothing (client left, error, cancelled): roll back

A commit that fails raises where the answer would be sent, which the framework answers with 500.

The transaction of a request is opened by the first statement that needs it, not by the request: one
that does not use the database holds no connection. It begins IMMEDIATE, so what was read in it is
still true when it writes; in a request that is to change nothing (GET, HEAD, OPTIONS) it begins
DEFERRED, so readers do not stand in line with writers. Behind `finish` (in the body of a streamed
answer, in a background task) the session goes on, with each statement by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Generator, Iterable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.adapters.aiosqlite._settings import wrong
from looplite.adapters.aiosqlite._text import facts
from looplite.adapters.aiosqlite.stream import RowStream
from looplite.base import SQLSpec
from looplite.exceptions import ImproperConfigurationError

if TYPE_CHECKING:
    from types import TracebackType

    from looplite._core import Connection, Pool
    from looplite.adapters.aiosqlite import transaction as _transaction

CommitMode = Literal["manual", "autocommit", "autocommit_include_redirect"]

COMMIT_MODES = ("manual", "autocommit", "autocommit_include_redirect")
DEFAULT_COMMIT_MODE: CommitMode = "manual"
DEFAULT_CONNECTION_KEY = "db_connection"
DEFAULT_POOL_KEY = "db_pool"
DEFAULT_SESSION_KEY = "db_session"

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
KEYS = (
    "connection_key",
    "pool_key",
    "session_key",
    "commit_mode",
    "extra_commit_statuses",
    "extra_rollback_statuses",
    "disable_di",
)
# These open no transaction: they open or end one themselves, or cannot be in one.
OUTSIDE = frozenset(
    ("BEGIN", "COMMIT", "END", "ROLLBACK", "PRAGMA", "ATTACH", "DETACH", "VACUUM", "")
)


# ---- settings -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConfigState:
    """One configuration as a framework uses it."""

    config: AiosqliteConfig
    connection_key: str = DEFAULT_CONNECTION_KEY
    pool_key: str = DEFAULT_POOL_KEY
    session_key: str = DEFAULT_SESSION_KEY
    commit_mode: CommitMode = DEFAULT_COMMIT_MODE
    extra_commit_statuses: frozenset[int] = frozenset()
    extra_rollback_statuses: frozenset[int] = frozenset()
    disable_di: bool = False

    def should_commit(self, status_code: int) -> bool:
        """Whether an answer with this status makes what was written last."""
        if self.commit_mode == "manual" or status_code in self.extra_rollback_statuses:
            return False
        end = 300 if self.commit_mode == "autocommit" else 400
        return 200 <= status_code < end or status_code in self.extra_commit_statuses

    def should_rollback(self, status_code: int) -> bool:
        """Whether an answer with this status undoes what was written."""
        return self.commit_mode != "manual" and not self.should_commit(status_code)


def _key(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isidentifier():
        raise wrong(where, value, "a name")
    return value


def _statuses(where: str, value: Any) -> frozenset[int]:
    if value is None:
        return frozenset()
    fine = isinstance(value, Collection) and not isinstance(value, (str, bytes))
    if not fine or any(
        isinstance(one, bool) or not isinstance(one, int) or not 100 <= one <= 599 for one in value
    ):
        raise wrong(where, value, "a set of HTTP statuses (100 to 599), or None")
    return frozenset(int(one) for one in value)


def state_of(
    config: AiosqliteConfig, frameworks: tuple[str, ...], extra_keys: tuple[str, ...] = ()
) -> ConfigState:
    """The settings of `config.extension_config` for the first of the frameworks that it names."""
    framework = next((name for name in frameworks if name in config.extension_config), "")
    given: Mapping[str, Any] = config.extension_config.get(framework, {})
    where = f"extension_config[{framework!r}]"
    known = KEYS + extra_keys
    for key, value in given.items():
        if key not in known:
            raise ImproperConfigurationError(
                f"{where} has the unknown key {key!r} (its value is {value!r}); known are "
                f"{', '.join(known)}"
            )
    mode = given.get("commit_mode", DEFAULT_COMMIT_MODE)
    if mode not in COMMIT_MODES:
        raise wrong(f"{where}['commit_mode']", mode, f"one of {', '.join(COMMIT_MODES)}")
    disable = given.get("disable_di", False)
    if not isinstance(disable, bool):
        raise wrong(f"{where}['disable_di']", disable, "True or False")

    def key_of(name: str, default: str) -> str:
        return _key(f"{where}[{name!r}]", given.get(name, default))

    def statuses_of(name: str) -> frozenset[int]:
        return _statuses(f"{where}[{name!r}]", given.get(name))

    commit, rollback = statuses_of("extra_commit_statuses"), statuses_of("extra_rollback_statuses")
    if both := commit & rollback:
        raise ImproperConfigurationError(
            f"{where}: {min(both)} is in extra_commit_statuses and in extra_rollback_statuses"
        )
    return ConfigState(
        config,
        key_of("connection_key", DEFAULT_CONNECTION_KEY),
        key_of("pool_key", DEFAULT_POOL_KEY),
        key_of("session_key", DEFAULT_SESSION_KEY),
        mode,
        commit,
        rollback,
        disable,
    )


class SQLSpecConfig:
    """Configurations for a plugin, for programs that have no registry of their own."""

    __slots__ = ("sqlspec",)

    def __init__(self, configs: Iterable[AiosqliteConfig]) -> None:
        self.sqlspec = SQLSpec()
        for config in configs:
            self.sqlspec.add_config(config)

    @property
    def configs(self) -> list[AiosqliteConfig]:
        """The configurations, in their order."""
        return list(self.sqlspec.configs.values())


# ---- sessions -----------------------------------------------------------------------------------


class RequestStream(RowStream):
    """A stream that opens the request's transaction first."""

    async def _open(self) -> None:
        if self._cursor is None and not self._ended:
            await cast("RequestSession", self._session)._ensure()
        await super()._open()


class RequestSession(AiosqliteDriver):
    """A session whose first statement opens the request's transaction."""

    _opens: str | None = None
    """How a transaction is to begin, until the request's is ended."""
    _opening: asyncio.Lock

    async def _ensure(self) -> None:
        if self._opens is None or self._failed:
            return
        conn = self._conn
        if conn is not None and conn.in_transaction:
            return
        async with self._opening:
            if self._opens is not None:
                await self.begin(self._opens)

    async def _execute(
        self, sql: str, given: tuple[Any, ...], named: dict[str, Any], want: int = 0
    ) -> Any:
        if self._opens is not None and isinstance(sql, str) and facts(sql).word not in OUTSIDE:
            await self._ensure()
        return await super()._execute(sql, given, named, want)

    async def _enter_block(
        self, block: _transaction.Block, mode: str | None, durability: str | None
    ) -> int:
        await self._ensure()
        return await super()._enter_block(block, mode, durability)

    async def own_connection(self) -> Any:
        """A connection that is this session's until it ends, inside the request's transaction."""
        await self._ensure()
        return await super().own_connection()

    def select_stream(
        self,
        statement: str,
        /,
        *params: Any,
        schema_type: Any = None,
        chunk_size: int = 1000,
        **named: Any,
    ) -> RowStream:
        """The rows one by one, as they are read: for `async for`, better inside `async with`."""
        return RequestStream(self, statement, params, named, schema_type, chunk_size)


_request_types: dict[type[AiosqliteDriver], type[RequestSession]] = {
    AiosqliteDriver: RequestSession
}


def _request_type(driver: type[AiosqliteDriver]) -> type[RequestSession]:
    """The same for a program's own driver."""
    found = _request_types.get(driver)
    if found is None:
        found = type(f"Request{driver.__name__}", (RequestSession, driver), {})
        _request_types[driver] = found
    return found


class RequestConnection:
    """What stands under `connection_key` where nothing can be awaited: `await` it, as often as you
    like, for the connection that is the request's own."""

    __slots__ = ("_session",)

    def __init__(self, session: AiosqliteDriver) -> None:
        self._session = session

    def __await__(self) -> Generator[Any, Any, Connection]:
        return self._session.own_connection().__await__()


class Work:
    """The sessions of one request."""

    __slots__ = ("_finished", "_quiet", "_sessions", "states")

    def __init__(self, states: list[ConfigState]) -> None:
        self.states = states
        self._sessions: list[AiosqliteDriver] = []
        self._finished = False
        self._quiet = False

    async def start(self, method: str | None) -> Work:
        """Makes the sessions. `method` is None for what is no request, a WebSocket: these have no
        transaction by themselves."""
        for state in self.states:
            config = state.config
            await config.create_pool()
            if method is None or state.commit_mode == "manual":
                self._sessions.append(config.driver_type(config=config))
                continue
            session = _request_type(config.driver_type)(config=config)
            session._opens = "DEFERRED" if method.upper() in SAFE_METHODS else "IMMEDIATE"
            session._opening = asyncio.Lock()
            self._sessions.append(session)
        return self

    async def __aenter__(self) -> Work:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close(error)

    def session(self, state: ConfigState) -> AiosqliteDriver:
        """The session on one of the configurations."""
        return self._sessions[self.states.index(state)]

    def attach(self, state: MutableMapping[str, Any]) -> None:
        """Puts the sessions where the request's handler looks for them."""
        for one, session in zip(self.states, self._sessions, strict=True):
            state[one.session_key] = session
            state[one.connection_key] = RequestConnection(session)

    async def finish(self, status: int) -> None:
        """Ends the transactions as the status says; to be called before it is sent. Again: nothing.

        Several databases are committed one after the other, and those behind one that fails are
        rolled back.
        """
        if self._finished:
            return
        self._finished = True
        self._quiet = status >= 400
        failed: BaseException | None = None
        for state, session in zip(self.states, self._sessions, strict=True):
            if not isinstance(session, RequestSession) or session._opens is None:
                continue
            session._opens = None
            try:
                await _end(session, commit=failed is None and state.should_commit(status))
            except BaseException as error:
                failed = failed or error
        if failed is not None:
            self._quiet = True
            raise failed

    async def close(self, error: BaseException | None = None) -> None:
        """Ends the sessions; what is still open is rolled back."""
        quiet = self._quiet or error is not None
        failed: BaseException | None = None
        for session in self._sessions:
            if isinstance(session, RequestSession) and session._opens is not None:
                session._opens = None
                quiet = True  # there was no answer
            try:
                await session._end(quiet=quiet)
            except BaseException as problem:
                failed = failed or problem
        if failed is not None:
            raise failed


async def _end(session: AiosqliteDriver, *, commit: bool) -> None:
    if not commit:
        await session.rollback()
        return
    try:
        await session.commit()
    except BaseException:
        await session.rollback()
        raise


# ---- plugins ------------------------------------------------------------------------------------


class PluginBase:
    """What the plugins of all frameworks have."""

    frameworks: ClassVar[tuple[str, ...]] = ()
    """The keys of `extension_config` that are read, the first that is there."""
    extra_keys: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, sqlspec: SQLSpec | None = None, *, config: SQLSpecConfig | None = None
    ) -> None:
        if (sqlspec is None) == (config is None):
            raise ImproperConfigurationError(
                "a plugin takes a registry, SQLSpecPlugin(sqlspec), or configurations, "
                "SQLSpecPlugin(config=SQLSpecConfig(configs=[...]))"
            )
        if sqlspec is not None and not isinstance(sqlspec, SQLSpec):
            raise wrong("the registry of a plugin", sqlspec, "a looplite.SQLSpec")
        if config is not None and not isinstance(config, SQLSpecConfig):
            raise wrong("config", config, "a SQLSpecConfig")
        self.sqlspec: SQLSpec = sqlspec if config is None else config.sqlspec  # type: ignore[assignment]
        self._states: list[ConfigState] | None = None

    @property
    def states(self) -> list[ConfigState]:
        """The configurations, with their settings; read when they are first needed."""
        if self._states is None:
            configs = self.sqlspec.configs.values()
            states = [state_of(one, self.frameworks, self.extra_keys) for one in configs]
            if not states:
                raise ImproperConfigurationError(
                    "the plugin has no configuration: add_config() comes before the application"
                )
            used: set[str] = set()
            for state in states:
                for key in (state.session_key, state.connection_key, state.pool_key):
                    if key in used:
                        raise ImproperConfigurationError(
                            f"two things of the plugin have the key {key!r}; with several "
                            f"configurations each has its own session_key, connection_key and "
                            f"pool_key in extension_config[{self.frameworks[0]!r}]"
                        )
                    used.add(key)
            self._states = states
        return self._states

    @property
    def injected(self) -> list[ConfigState]:
        """Those without `disable_di`."""
        return [state for state in self.states if not state.disable_di]

    def state_for(self, key: str | AiosqliteConfig | None = None) -> ConfigState:
        """One of them, by its session_key, connection_key or pool_key, or itself; the first."""
        for state in self.injected:
            names = (state.session_key, state.connection_key, state.pool_key)
            if key is None or key is state.config or (isinstance(key, str) and key in names):
                return state
        known = ", ".join(state.session_key for state in self.injected)
        raise ImproperConfigurationError(
            f"there is no configuration under {key!r}; the session keys are: {known or 'none'}"
        )

    async def work(self, method: str | None) -> Work:
        """What a request begins with."""
        return await Work(self.injected).start(method)

    async def open_pools(self) -> dict[str, Pool]:
        """The pools by their keys."""
        return {state.pool_key: await state.config.create_pool() for state in self.states}

    async def close_pools(self) -> None:
        """Closes all pools, also if closing one of them fails."""
        await self.sqlspec.close_all_pools()

    @asynccontextmanager
    async def pools(self) -> AsyncIterator[dict[str, Pool]]:
        """The pools, for as long as an application runs."""
        try:
            yield await self.open_pools()
        finally:
            await self.close_pools()
