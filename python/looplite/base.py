"""`SQLSpec`: the registry of configurations that programs written for SQLSpec have.

It holds configurations and closes their pools; everything else is the configurations' own, and a
program with one database needs no registry.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from looplite.exceptions import ImproperConfigurationError

if TYPE_CHECKING:
    from looplite._core import Connection, Pool
    from looplite.adapters.aiosqlite.config import (
        AiosqliteConfig,
        ConnectionContext,
        SessionContext,
    )

__all__ = ["SQLSpec"]

_Config = TypeVar("_Config", bound="AiosqliteConfig")


class SQLSpec:
    """Configurations, by themselves; as ``async with`` it closes their pools at its end."""

    __slots__ = ("__weakref__", "_configs")

    def __init__(self) -> None:
        self._configs: dict[int, AiosqliteConfig] = {}

    async def __aenter__(self) -> SQLSpec:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close_all_pools()

    @property
    def configs(self) -> dict[int, AiosqliteConfig]:
        """The configurations by their identity."""
        return dict(self._configs)

    def add_config(self, config: _Config) -> _Config:
        """Adds a configuration, and gives it back: it is the handle for the other methods."""
        from looplite.adapters.aiosqlite.config import AiosqliteConfig

        if not isinstance(config, AiosqliteConfig):
            raise ImproperConfigurationError(
                f"add_config() takes an AiosqliteConfig, not {config!r}"
            )
        self._configs[id(config)] = config
        return config

    def _known(self, config: _Config) -> _Config:
        if id(config) not in self._configs:
            raise ImproperConfigurationError(
                f"{config!r} was not added to this registry: add_config() comes first"
            )
        return config

    def provide_session(self, config: AiosqliteConfig) -> SessionContext:
        """A session, for ``async with``."""
        return self._known(config).provide_session()

    def provide_connection(self, config: AiosqliteConfig) -> ConnectionContext:
        """A connection for its caller alone, for ``async with``."""
        return self._known(config).provide_connection()

    async def get_connection(self, config: AiosqliteConfig) -> Connection:
        """A connection outside of the pool, which its caller closes."""
        return await self._known(config).create_connection()

    async def get_pool(self, config: AiosqliteConfig) -> Pool:
        """The pool of a configuration, made if there is none."""
        return await self._known(config).create_pool()

    async def close_pool(self, config: AiosqliteConfig) -> None:
        """Closes the pool of one configuration."""
        await self._known(config).close_pool()

    async def close_all_pools(self) -> None:
        """Closes the pools of all, also if closing one of them fails."""
        closing = [config.close_pool() for config in self._configs.values()]
        for result in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
