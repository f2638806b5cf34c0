"""The tutorial's program: short links, with a pool, transactions, and a web application.

uvicorn --factory links:create_app        (in this folder; the database is links.db)
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import RedirectResponse
from looplite import SQLSpec
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.exceptions import UniqueViolationError
from looplite.extensions.fastapi import SQLSpecPlugin
from pydantic import BaseModel, HttpUrl

SCHEMA = """
CREATE TABLE IF NOT EXISTS link(slug TEXT PRIMARY KEY, url TEXT NOT NULL, visits INT DEFAULT 0);
CREATE TABLE IF NOT EXISTS visit(slug TEXT NOT NULL REFERENCES link(slug), at TEXT NOT NULL);
"""


def configure(path: str) -> AiosqliteConfig:
    return AiosqliteConfig(
        connection_config={"database": path, "pool_size": 5},
        # what a request has written is committed when its answer is a 2xx or a 3xx
        extension_config={"fastapi": {"commit_mode": "autocommit_include_redirect"}},
    )


# The database


async def add(db: AiosqliteDriver, url: str) -> str:
    while True:
        slug = secrets.token_urlsafe(4)
        try:
            await db.execute("INSERT INTO link(slug, url) VALUES (?, ?)", slug, url)
        except UniqueViolationError:
            continue  # somebody has it: take another one
        return slug


async def visit(db: AiosqliteDriver, slug: str) -> str | None:
    async with db.transaction():
        count = "UPDATE link SET visits = visits + 1 WHERE slug = ? RETURNING url"
        link = await db.select_one_or_none(count, slug)
        if link is None:
            return None
        await db.execute("INSERT INTO visit VALUES (?, datetime('now'))", slug)
    return str(link["url"])


# The web application


class Link(BaseModel):
    url: HttpUrl


sqlspec = SQLSpec()
plugin = SQLSpecPlugin(sqlspec)
Session = Annotated[AiosqliteDriver, Depends(plugin.provide_session())]


async def post_link(link: Link, db: Session) -> dict[str, str]:
    return {"slug": await add(db, str(link.url))}


async def follow(slug: str, db: Session) -> RedirectResponse:
    url = await visit(db, slug)
    if url is None:
        raise HTTPException(404, f"there is no link {slug}")
    return RedirectResponse(url)


async def visits(slug: str, db: Session) -> dict[str, int]:
    count = await db.select_value_or_none("SELECT visits FROM link WHERE slug = ?", slug)
    if count is None:
        raise HTTPException(404, f"there is no link {slug}")
    return {"visits": count}


def create_app(path: str = "links.db") -> FastAPI:
    config = sqlspec.add_config(configure(path))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with config.provide_session() as db:
            await db.execute_script(SCHEMA)
        yield

    app = FastAPI(lifespan=lifespan)
    app.post("/links", status_code=201)(post_link)
    app.get("/links/{slug}/visits")(visits)
    app.get("/{slug}")(follow)
    plugin.init_app(app)
    return app
