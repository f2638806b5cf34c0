"""The same shop on aiohttp's server.

python examples/python/web_aiohttp.py shop.db        (on port 8000)
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator

from aiohttp import web
from looplite import SQLSpec
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.exceptions import CheckViolationError
from looplite.extensions.aiohttp import SQLSpecPlugin

SCHEMA = """
CREATE TABLE IF NOT EXISTS stock(sku TEXT PRIMARY KEY, count INT NOT NULL CHECK(count >= 0));
CREATE TABLE IF NOT EXISTS placed(ref TEXT PRIMARY KEY, lines INT NOT NULL);
CREATE TABLE IF NOT EXISTS line(ref TEXT NOT NULL, sku TEXT NOT NULL, count INT NOT NULL);
INSERT OR IGNORE INTO stock VALUES ('apple', 100000), ('plum', 100000), ('quince', 3);
"""


async def place(request: web.Request) -> web.Response:
    db: AiosqliteDriver = request["db_session"]
    order = await request.json()
    await db.execute("INSERT INTO placed VALUES (?, ?)", order["ref"], len(order["lines"]))
    for line in order["lines"]:
        take = "UPDATE stock SET count = count - ? WHERE sku = ?"
        try:
            taken = await db.execute(take, line["count"], line["sku"])
        except CheckViolationError:
            error = {"error": f"too few of {line['sku']}"}
            return web.json_response(error, status=409)  # rolls back
        if not taken.rows_affected:
            raise web.HTTPNotFound(text=f"there is no {line['sku']}")  # so does this
        insert = "INSERT INTO line VALUES (?, ?, ?)"
        await db.execute(insert, order["ref"], line["sku"], line["count"])
    return web.json_response({"ref": order["ref"]}, status=201)  # committed before it is sent


async def show(request: web.Request) -> web.Response:
    db: AiosqliteDriver = request["db_session"]
    ref = request.match_info["ref"]
    order = await db.select_one_or_none("SELECT ref, lines FROM placed WHERE ref = ?", ref)
    if order is None:
        raise web.HTTPNotFound(text=f"there is no order {ref}")
    lines = await db.select("SELECT sku, count FROM line WHERE ref = ?", ref)
    return web.json_response({"ref": ref, "promised": order["lines"], "lines": lines})


async def export(request: web.Request) -> web.StreamResponse:
    db: AiosqliteDriver = request["db_session"]
    response = web.StreamResponse()
    await response.prepare(request)
    async with db.select_stream("SELECT ref, sku, count FROM line") as rows:
        async for row in rows:
            await response.write(json.dumps(row).encode() + b"\n")
    return response


def create_app(path: str) -> web.Application:
    sqlspec = SQLSpec()
    config = sqlspec.add_config(
        AiosqliteConfig(
            connection_config={"database": path},
            extension_config={"aiohttp": {"commit_mode": "autocommit"}},
        )
    )

    async def schema(app: web.Application) -> AsyncIterator[None]:
        async with config.provide_session() as db:
            await db.execute_script(SCHEMA)
        yield

    app = web.Application()
    app.router.add_post("/orders", place)
    app.router.add_get("/orders/{ref}", show)
    app.router.add_get("/export", export)
    SQLSpecPlugin(sqlspec, app)
    app.cleanup_ctx.append(schema)
    return app


if __name__ == "__main__":
    web.run_app(create_app(sys.argv[1]), port=8000)
