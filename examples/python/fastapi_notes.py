"""A FastAPI application whose requests each have a connection, and are each a transaction.

    uvicorn fastapi_notes:app --app-dir examples/python
    python examples/python/fastapi_notes.py         asks it a few things without a server

The page is docs/guide/crud.md.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import looplite
from fastapi import Depends, FastAPI, HTTPException
from looplite.crud import (
    apply_schema,
    classify_error,
    fetch_all,
    insert,
    make_fastapi_db_dependency,
)

PATH = os.environ.get("NOTES_DB") or os.path.join(tempfile.mkdtemp(), "notes.db")

get_db = make_fastapi_db_dependency(PATH)
Database = Annotated[looplite.Connection, Depends(get_db, scope="function")]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with get_db() as db:
        await apply_schema(
            db, "CREATE TABLE IF NOT EXISTS note(id INTEGER PRIMARY KEY, text UNIQUE)"
        )
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/notes", status_code=201)
async def add(text: str, db: Database) -> dict[str, int]:
    try:
        return {"id": await insert(db, "note", {"text": text})}
    except looplite.Error as error:
        raise HTTPException(409, classify_error(error)) from error


@app.get("/notes")
async def notes(db: Database) -> list[str]:
    return [row["text"] for row in await fetch_all(db, "SELECT text FROM note ORDER BY id")]


async def main() -> None:
    transport = httpx.ASGITransport(app)
    async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        for text in ("milk", "bread", "milk"):
            answer = await client.post("/notes", params={"text": text})
            print(answer.status_code, answer.json())
        print((await client.get("/notes")).json())


if __name__ == "__main__":
    asyncio.run(main())
