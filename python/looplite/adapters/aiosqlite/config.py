"""`AiosqliteConfig`: one database, its settings, and the pool of connections to it.

The pool is made when it is first needed, so a configuration can be made where no loop runs, at
import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from looplite._core import Connection, Pool
from looplite.adapters.aiosqlite import _connect, _settings
from looplite.adapters.aiosqlite.driver import AiosqliteDriver, _caller, warn_of_dropped
from looplite.exceptions import ImproperConfigurationError

if TYPE_CHECKING:
    from types import TracebackType

    from looplite._core import Lease


class AiosqliteConfig:
    """The configuration of a database, its pool, and where sessions come from.

    `connection_config` has the database, how it is opened, and the pool's size and times (in
    seconds); `driver_features` how values are stored and read, functions, group commit;
    `extension_config` the settings of extensions, by their names. docs/guide/pool.md says what each
    key does. A key that does not exist, and a value of the wrong type, is an
    ImproperConfigurationError here. `pool_config` is another name of `connection_config`.

    Making one opens nothing: the pool is made by the first session, and may be used from several
    loops and threads. ``await config.close_pool()`` ends it.
    """

    driver_type: ClassVar[type[AiosqliteDriver]] = AiosqliteDriver
    connection_type: ClassVar[type[Connection]] = Connection
    is_async: ClassVar[bool] = True
    supports_connection_pooling: ClassVar[bool] = True
    supports_transactional_ddl: ClassVar[bool] = True

    def __init__(
        self,
        *,
        connection_config: _settings.AiosqlitePoolParams | Mapping[str, Any] | None = None,
        pool_config: _settings.AiosqlitePoolParams | Mapping[str, Any] | None = None,
        driver_features: _settings.AiosqliteDriverFeatures | Mapping[str, Any] | None = None,
        extension_config: Mapping[str, Any] | None = None,
        bind_key: str | None = None,
    ) -> None:
        if connection_config is not None and pool_config is not None:
            raise ImproperConfigurationError(
                "connection_config and pool_config are two names for one thing; give one of them"
            )
        if bind_key is not None and not isinstance(bind_key, str):
            raise _settings.wrong("bind_key", bind_key, "a str")
        given = connection_config if pool_config is None else pool_config
        self.connection_config: dict[str, Any]
        self.connection_config, self._is_named = _settings.connection_settings(given)
        self.driver_features: dict[str, Any] = _settings.feature_settings(driver_features)
        self.extension_config: dict[str, dict[str, Any]] = _settings.extension_settings(
            extension_config
        )
        _settings.check_both(self.connection_config, self.driver_features)
        self.bind_key = bind_key
        self._pool: Pool | None = None
        self._types = _connect.types_of(self.driver_features)

    @property
    def is_in_memory(self) -> bool:
        """Whether the database is in memory, and ends with the pool."""
        database, uri = self.connection_config["database"], self.connection_config["uri"]
        if database in ("", ":memory:"):
            return True
        name, _, query = database[5:].partition("?")
        options = query.split("#")[0].split("&")
        return bool(
            uri and (name in ("", ":memory:") or "mode=memory" in options or "vfs=memdb" in options)
        )

    def __repr__(self) -> str:
        return f"<AiosqliteConfig of {self.connection_config['database']!r}>"

    # ---- the pool -------------------------------------------------------------------------------

    @property
    def connection_instance(self) -> Pool | None:
        """The pool, or None while there is none."""
        return self._pool

    pool_instance = connection_instance

    async def create_pool(self) -> Pool:
        """The pool, made if there is none."""
        pool = self._pool
        if pool is None or pool.is_closed:
            pool = self._pool = _connect.make_pool(self)
        return pool

    async def close_pool(self) -> None:
        """Closes the pool, if there is one; the next session makes another one.

        Who waits for a connection gets PoolClosedError. Connections that are out may be used until
        they are given back, and this waits for them.
        """
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    provide_pool = create_pool

    def stats(self) -> dict[str, Any]:
        """What the pool counts, as a dict of numbers and texts; empty while there is none."""
        return {} if self._pool is None else self._pool.stats()

    async def _acquire(self, pool: Pool, label: str) -> Lease:
        """A connection, as the program wants it."""
        lease = await pool.acquire(label)
        prepare = self.driver_features.get("on_connection_create")
        if prepare is not None and lease.is_new:
            try:
                await prepare(lease.connection)
            except BaseException:
                await lease.release()
                raise
        lease.settled()
        return lease

    async def create_connection(self) -> Connection:
        """A connection outside of the pool, opened as those of the pool; its caller closes it."""
        return await _connect.alone(self)

    # ---- sessions -------------------------------------------------------------------------------

    def provide_session(self) -> SessionContext:
        """A session: ``async with config.provide_session() as session``.

        Takes no connection yet. Its end rolls back a transaction that is open, with a
        DroppedWritesWarning if something was written in it.
        """
        return SessionContext(self)

    def provide_connection(self) -> ConnectionContext:
        """A connection for its caller alone: ``async with config.provide_connection() as conn``.

        Waits in line for up to `connect_timeout` seconds, then PoolExhaustedError. It is made as it
        was before it is given to the next one, and is closed for whoever keeps it.
        """
        return ConnectionContext(self)


class SessionContext:
    """`async with config.provide_session() as session:`"""

    __slots__ = ("_config", "_session")

    def __init__(self, config: AiosqliteConfig) -> None:
        self._config = config
        self._session: AiosqliteDriver | None = None

    async def __aenter__(self) -> AiosqliteDriver:
        if self._session is not None:
            raise RuntimeError("this session is entered already; call provide_session() again")
        await self._config.create_pool()
        self._session = self._config.driver_type(config=self._config)
        return self._session

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session._end(quiet=error is not None)


class ConnectionContext:
    """`async with config.provide_connection() as connection:`"""

    __slots__ = ("_config", "_lease")

    def __init__(self, config: AiosqliteConfig) -> None:
        self._config = config
        self._lease: Lease | None = None

    async def __aenter__(self) -> Connection:
        if self._lease is not None:
            raise RuntimeError("this connection is taken already; call provide_connection() again")
        label = _caller()
        pool = await self._config.create_pool()
        self._lease = await self._config._acquire(pool, label)
        return self._lease.connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        lease, self._lease = self._lease, None
        assert lease is not None
        warn_of_dropped(await lease.release(), "connection", quiet=error is not None)
