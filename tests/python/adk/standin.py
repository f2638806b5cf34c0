"""A configuration with the little that a store needs of one: connections of looplite, one of them
kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import looplite


class Config:
    """Hands out one connection after another; who comes while it is out gets a new one."""

    def __init__(
        self,
        path: Path | str,
        adk: Mapping[str, Any] | None = None,
        keys: bool = True,
        **options: Any,
    ) -> None:
        self.path = path
        self.extension_config: dict[str, Any] = {} if adk is None else {"adk": adk}
        self.connection_config = {"enable_foreign_keys": keys}
        self.options = {"isolation_level": None, **options}
        self.pragmas = {"journal_mode": "WAL", **({"foreign_keys": True} if keys else {})}
        self.idle: list[looplite.Connection] = []
        self.all: list[looplite.Connection] = []

    def provide_connection(self) -> AbstractAsyncContextManager[looplite.Connection]:
        return self._provide()

    @asynccontextmanager
    async def _provide(self) -> AsyncIterator[looplite.Connection]:
        if self.idle:
            connection = self.idle.pop()
        else:
            connection = await looplite.connect(self.path, pragmas=self.pragmas, **self.options)
            self.all.append(connection)
        try:
            yield connection
        finally:
            assert not connection.in_transaction
            self.idle.append(connection)

    async def __aenter__(self) -> Config:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self.all:
            await connection.close()
