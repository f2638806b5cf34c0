"""The same shop on Sanic, and its server.

python examples/python/web_sanic.py shop.db        (on port 8000)
"""

from __future__ import annotations

import json
import sys
from typing import Any

from looplite import SQLSpec
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.exceptions import CheckViolationError
from looplite.extensions.sanic import SQLSpecPlugin
from sanic import HTTPResponse, Request, Sanic
from sanic.exceptions import NotFound
from sanic.response import json as json_response

SCHEMA = """
CREATE TABLE IF NOT EXISTS stock(sku TEXT PRIMARY KEY, count INT NOT NULL CHECK(count >= 0));
CREATE TABLE IF NOT EXISTS placed(ref TEXT PRIMARY KEY, lines INT NOT NULL);
CREATE TABLE IF NOT EXISTS line(ref TEXT NOT NULL, sku TEXT NOT NULL, count INT NOT NULL);
INSERT OR IGNORE INTO stock VALUES ('apple', 100000), ('plum', 100000), ('quince', 3);
"""


async def place(request: Request) -> HTTPResponse:
    db: AiosqliteDriver = request.ctx.db_session
    order = request.json
    await db.execute("INSERT INTO placed VALUES (?, ?)", order["ref"], len(order["lines"]))
    for line in order["lines"]:
        take = "UPDATE stock SET count = count - ? WHERE sku = ?"
        try:
            taken = await db.execute(take, line["count"], line["sku"])
        except CheckViolationError:
            return json_response({"error": f"too few of {line['sku']}"}, 409)  # rolls back
        if not taken.rows_affected:
            raise NotFound(f"there is no {line['sku']}")  # so does this
        insert = "INSERT INTO line VALUES (?, ?, ?)"
        await db.execute(insert, order["ref"], line["sku"], line["count"])
    return json_response({"ref": order["ref"]}, 201)  # committed before it is sent


async def show(request: Request, ref: str) -> HTTPResponse:
    db: AiosqliteDriver = request.ctx.db_session
    order = await db.select_one_or_none("SELECT ref, lines FROM placed WHERE ref = ?", ref)
    if order is None:
        raise NotFound(f"there is no order {ref}")
    lines = await db.select("SELECT sku, count FROM line WHERE ref = ?", ref)
    return json_response({"ref": ref, "promised": order["lines"], "lines": lines})


async def export(request: Request) -> None:
    db: AiosqliteDriver = request.ctx.db_session
    response: Any = await request.respond(content_type="application/x-ndjson")
    async with db.select_stream("SELECT ref, sku, count FROM line") as rows:
        async for row in rows:
            await response.send(json.dumps(row) + "\n")
    await response.eof()


def create_app(path: str) -> Sanic[Any, Any]:
    sqlspec = SQLSpec()
    config = sqlspec.add_config(
        AiosqliteConfig(
            connection_config={"database": path},
            extension_config={"sanic": {"commit_mode": "autocommit"}},
        )
    )

    async def schema(app: Sanic[Any, Any]) -> None:
        async with config.provide_session() as db:
            await db.execute_script(SCHEMA)

    app: Sanic[Any, Any] = Sanic("shop")
    app.add_route(place, "/orders", methods=["POST"])
    app.add_route(show, "/orders/<ref:str>")
    app.add_route(export, "/export")
    SQLSpecPlugin(sqlspec, app)
    app.register_listener(schema, "before_server_start")
    return app


if __name__ == "__main__":
    create_app(sys.argv[1]).run(port=8000, single_process=True)
