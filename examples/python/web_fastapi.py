"""The same shop on FastAPI, with a dependency and models.

python examples/python/web_fastapi.py shop.db        (with uvicorn, on port 8000)
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from looplite import SQLSpec
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.exceptions import CheckViolationError
from looplite.extensions.fastapi import SQLSpecPlugin
from pydantic import BaseModel

SCHEMA = """
CREATE TABLE IF NOT EXISTS stock(sku TEXT PRIMARY KEY, count INT NOT NULL CHECK(count >= 0));
CREATE TABLE IF NOT EXISTS placed(ref TEXT PRIMARY KEY, lines INT NOT NULL);
CREATE TABLE IF NOT EXISTS line(ref TEXT NOT NULL, sku TEXT NOT NULL, count INT NOT NULL);
INSERT OR IGNORE INTO stock VALUES ('apple', 100000), ('plum', 100000), ('quince', 3);
"""


class Line(BaseModel):
    sku: str
    count: int


class Order(BaseModel):
    ref: str
    lines: list[Line]


class Placed(BaseModel):
    ref: str
    promised: int
    lines: list[Line]


sqlspec = SQLSpec()
plugin = SQLSpecPlugin(sqlspec)
Session = Annotated[AiosqliteDriver, Depends(plugin.provide_session())]


async def place(order: Order, db: Session) -> dict[str, str]:
    await db.execute("INSERT INTO placed VALUES (?, ?)", order.ref, len(order.lines))
    for line in order.lines:
        take = "UPDATE stock SET count = count - ? WHERE sku = ?"
        try:
            taken = await db.execute(take, line.count, line.sku)
        except CheckViolationError:
            raise HTTPException(409, f"too few of {line.sku}") from None  # rolls back
        if not taken.rows_affected:
            raise HTTPException(404, f"there is no {line.sku}")  # so does this
        await db.execute("INSERT INTO line VALUES (?, ?, ?)", order.ref, line.sku, line.count)
    return {"ref": order.ref}  # committed before it is sent


async def show(ref: str, db: Session) -> Placed:
    order = await db.select_one_or_none("SELECT ref, lines FROM placed WHERE ref = ?", ref)
    if order is None:
        raise HTTPException(404, f"there is no order {ref}")
    lines = await db.select("SELECT sku, count FROM line WHERE ref = ?", ref, schema_type=Line)
    return Placed(ref=ref, promised=order["lines"], lines=lines)


async def export(db: Session) -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        async with db.select_stream("SELECT ref, sku, count FROM line") as rows:
            async for row in rows:
                yield json.dumps(row) + "\n"

    return StreamingResponse(body(), media_type="application/x-ndjson")


def create_app(path: str) -> FastAPI:
    config = sqlspec.add_config(
        AiosqliteConfig(
            connection_config={"database": path},
            extension_config={"fastapi": {"commit_mode": "autocommit"}},
        )
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with config.provide_session() as db:
            await db.execute_script(SCHEMA)
        yield

    app = FastAPI(lifespan=lifespan)
    app.post("/orders", status_code=201)(place)
    app.get("/orders/{ref}")(show)
    app.get("/export")(export)
    plugin.init_app(app)
    return app


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(create_app(sys.argv[1]), port=8000)
