"""A shop on Starlette: an order is written whole, or not at all.

python examples/python/web_starlette.py shop.db        (with uvicorn, on port 8000)
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from looplite import SQLSpec
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.exceptions import CheckViolationError
from looplite.extensions.starlette import SQLSpecPlugin
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

SCHEMA = """
CREATE TABLE IF NOT EXISTS stock(sku TEXT PRIMARY KEY, count INT NOT NULL CHECK(count >= 0));
CREATE TABLE IF NOT EXISTS placed(ref TEXT PRIMARY KEY, lines INT NOT NULL);
CREATE TABLE IF NOT EXISTS line(ref TEXT NOT NULL, sku TEXT NOT NULL, count INT NOT NULL);
INSERT OR IGNORE INTO stock VALUES ('apple', 100000), ('plum', 100000), ('quince', 3);
"""


async def place(request: Request) -> Response:
    db: AiosqliteDriver = request.state.db_session
    order = await request.json()
    await db.execute("INSERT INTO placed VALUES (?, ?)", order["ref"], len(order["lines"]))
    for line in order["lines"]:
        take = "UPDATE stock SET count = count - ? WHERE sku = ?"
        try:
            taken = await db.execute(take, line["count"], line["sku"])
        except CheckViolationError:
            return JSONResponse({"error": f"too few of {line['sku']}"}, 409)  # rolls back
        if not taken.rows_affected:
            raise HTTPException(404, f"there is no {line['sku']}")  # so does this
        insert = "INSERT INTO line VALUES (?, ?, ?)"
        await db.execute(insert, order["ref"], line["sku"], line["count"])
    return JSONResponse({"ref": order["ref"]}, 201)  # committed before it is sent


async def show(request: Request) -> Response:
    db: AiosqliteDriver = request.state.db_session
    ref = request.path_params["ref"]
    order = await db.select_one_or_none("SELECT ref, lines FROM placed WHERE ref = ?", ref)
    if order is None:
        raise HTTPException(404, f"there is no order {ref}")
    lines = await db.select("SELECT sku, count FROM line WHERE ref = ?", ref)
    return JSONResponse({"ref": ref, "promised": order["lines"], "lines": lines})


async def export(request: Request) -> Response:
    db: AiosqliteDriver = request.state.db_session

    async def body() -> AsyncIterator[str]:
        async with db.select_stream("SELECT ref, sku, count FROM line") as rows:
            async for row in rows:
                yield json.dumps(row) + "\n"

    return StreamingResponse(body(), media_type="application/x-ndjson")


def create_app(path: str) -> Starlette:
    sqlspec = SQLSpec()
    config = sqlspec.add_config(
        AiosqliteConfig(
            connection_config={"database": path},
            extension_config={"starlette": {"commit_mode": "autocommit"}},
        )
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with config.provide_session() as db:
            await db.execute_script(SCHEMA)
        yield

    routes = [
        Route("/orders", place, methods=["POST"]),
        Route("/orders/{ref}", show),
        Route("/export", export),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    SQLSpecPlugin(sqlspec, app)
    return app


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(create_app(sys.argv[1]), port=8000)
