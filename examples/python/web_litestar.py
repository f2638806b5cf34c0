"""The same shop on Litestar, with server-side sessions in the same database.

python examples/python/web_litestar.py shop.db        (with uvicorn, on port 8000)
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from litestar import Litestar, Request, get, post
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, NotFoundException
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.params import FromPath, JSONBody
from litestar.response import Stream
from looplite import SQLSpec
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.exceptions import CheckViolationError
from looplite.extensions.litestar import AiosqliteStore, SQLSpecPlugin

SCHEMA = """
CREATE TABLE IF NOT EXISTS stock(sku TEXT PRIMARY KEY, count INT NOT NULL CHECK(count >= 0));
CREATE TABLE IF NOT EXISTS placed(ref TEXT PRIMARY KEY, lines INT NOT NULL);
CREATE TABLE IF NOT EXISTS line(ref TEXT NOT NULL, sku TEXT NOT NULL, count INT NOT NULL);
INSERT OR IGNORE INTO stock VALUES ('apple', 100000), ('plum', 100000), ('quince', 3);
"""


@dataclass
class Line:
    sku: str
    count: int


@dataclass
class Order:
    ref: str
    lines: list[Line]


@dataclass
class Placed:
    ref: str
    promised: int
    lines: list[Line]


@post("/orders")
async def place(
    data: JSONBody[Order],
    db_session: NamedDependency[AiosqliteDriver],
    request: Request[Any, Any, Any],
) -> dict[str, str]:
    await db_session.execute("INSERT INTO placed VALUES (?, ?)", data.ref, len(data.lines))
    for line in data.lines:
        take = "UPDATE stock SET count = count - ? WHERE sku = ?"
        try:
            taken = await db_session.execute(take, line.count, line.sku)
        except CheckViolationError:
            raise HTTPException(f"too few of {line.sku}", status_code=409) from None  # rolls back
        if not taken.rows_affected:
            raise NotFoundException(f"there is no {line.sku}")  # so does this
        insert = "INSERT INTO line VALUES (?, ?, ?)"
        await db_session.execute(insert, data.ref, line.sku, line.count)
    request.session["last"] = data.ref
    return {"ref": data.ref}  # committed before it is sent


@get("/orders/{ref:str}")
async def show(ref: FromPath[str], db_session: NamedDependency[AiosqliteDriver]) -> Placed:
    order = await db_session.select_one_or_none("SELECT lines FROM placed WHERE ref = ?", ref)
    if order is None:
        raise NotFoundException(f"there is no order {ref}")
    select = "SELECT sku, count FROM line WHERE ref = ?"
    lines = await db_session.select(select, ref, schema_type=Line)
    return Placed(ref, order["lines"], lines)


@get("/last")
async def last(request: Request[Any, Any, Any]) -> dict[str, str | None]:
    return {"ref": request.session.get("last")}


@get("/export")
async def export(db_session: NamedDependency[AiosqliteDriver]) -> Stream:
    async def body() -> AsyncIterator[str]:
        async with db_session.select_stream("SELECT ref, sku, count FROM line") as rows:
            async for row in rows:
                yield json.dumps(row) + "\n"

    return Stream(body(), media_type="application/x-ndjson")


def create_app(path: str) -> Litestar:
    sqlspec = SQLSpec()
    config = sqlspec.add_config(
        AiosqliteConfig(
            connection_config={"database": path},
            extension_config={"litestar": {"commit_mode": "autocommit"}},
        )
    )

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with config.provide_session() as db:
            await db.execute_script(SCHEMA)
        yield

    return Litestar(
        route_handlers=[place, show, last, export],
        plugins=[SQLSpecPlugin(sqlspec)],
        stores={"sessions": AiosqliteStore(config)},
        middleware=[ServerSideSessionConfig().middleware],
        lifespan=[lifespan],
        logging_config=None,
    )


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(create_app(sys.argv[1]), port=8000)
