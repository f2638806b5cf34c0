"""Drives the shop of examples/python/web_*.py over real HTTP, and looks at what it left.

Server and clients run on one loop, each connection is a real one on the loopback interface, and the
server listens on a socket that the test made, on a free port. Clients that leave do so after a
number of turns of the loop that is drawn by a seed. What is in the database is read with sqlite3.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import random
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "python"
REQUESTS = 200
IN_STOCK = {"apple": 100000, "plum": 100000, "quince": 3}

Serve = Callable[[Path], AbstractAsyncContextManager[str]]


def example(name: str) -> ModuleType:
    """A fresh copy of an example's module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations are looked up there
    spec.loader.exec_module(module)
    return module


def listening() -> socket.socket:
    """A socket on a free port."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(512)
    sock.setblocking(False)
    return sock


def url(sock: socket.socket) -> str:
    return f"http://127.0.0.1:{sock.getsockname()[1]}"


@asynccontextmanager
async def uvicorn_serves(app: Any) -> AsyncIterator[str]:
    """An ASGI application under uvicorn."""
    import uvicorn

    class Server(uvicorn.Server):
        up: asyncio.Event

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.up.set()

    sock = listening()
    # Idle connections: the client drops its own after 5 s. With the same 5 s here, uvicorn's usual
    # ones, it could send on one that is being closed.
    config = uvicorn.Config(
        app, log_config=None, log_level=100, lifespan="on", ws="none", timeout_keep_alive=60
    )
    server = Server(config)
    server.up = asyncio.Event()
    running = asyncio.create_task(server.serve(sockets=[sock]))
    came_up = asyncio.create_task(server.up.wait())
    await asyncio.wait([running, came_up], return_when=asyncio.FIRST_COMPLETED)
    assert server.started, "the application did not start"
    try:
        yield url(sock)
    finally:
        server.should_exit = True
        await running
        sock.close()


def order(ref: str, *lines: tuple[str, Any]) -> dict[str, Any]:
    return {"ref": ref, "lines": [{"sku": sku, "count": count} for sku, count in lines]}


async def leaves(base: str, content: dict[str, Any], *, turns: int, part: float = 1.0) -> None:
    """A client that sends (a part of) an order, and is gone some turns later."""
    host, _, port = base.removeprefix("http://").partition(":")
    body = json.dumps(content).encode()
    head = (
        f"POST /orders HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + body[: int(len(body) * part)])
    with suppress(ConnectionError):
        await writer.drain()
    for _ in range(turns):
        await asyncio.sleep(0)
    writer.transport.abort()


class Load:
    """200 requests at once, of seven kinds; `statuses` is what each order was told."""

    def __init__(self, base: str, seed: int) -> None:
        self.base = base
        self.random = random.Random(seed)
        self.statuses: dict[str, int | None] = {}
        """By the order's name; None if its client did not wait for an answer."""

    async def run(self) -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=self.base, timeout=60, limits=limits) as client:
            kinds: list[Callable[[httpx.AsyncClient, str], Awaitable[None]]] = [
                self.buys,
                self.buys,
                self.reads,
                self.asks_for_too_much,
                self.asks_for_unknown,
                self.breaks_it,
                self.walks_away,
                self.exports,
            ]
            work = [kinds[i % len(kinds)](client, f"r{i}") for i in range(REQUESTS)]
            self.random.shuffle(work)
            await asyncio.gather(*work)

    async def post(self, client: httpx.AsyncClient, content: dict[str, Any], status: int) -> None:
        answer = await client.post("/orders", json=content)
        self.statuses[content["ref"]] = answer.status_code
        assert answer.status_code == status, answer.text

    async def buys(self, client: httpx.AsyncClient, ref: str) -> None:
        await self.post(client, order(ref, ("apple", 1), ("plum", 2), ("apple", 3)), 201)
        answer = await client.get(f"/orders/{ref}")  # its own write, through another request
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["lines"]) == answer.json()["promised"] == 3

    async def reads(self, client: httpx.AsyncClient, ref: str) -> None:
        answer = await client.get(f"/orders/{ref}")
        assert answer.status_code == 404

    async def asks_for_too_much(self, client: httpx.AsyncClient, ref: str) -> None:
        await self.post(client, order(ref, ("apple", 1), ("quince", 4)), 409)

    async def asks_for_unknown(self, client: httpx.AsyncClient, ref: str) -> None:
        await self.post(client, order(ref, ("plum", 1), ("durian", 1)), 404)

    async def breaks_it(self, client: httpx.AsyncClient, ref: str) -> None:
        """The second line violates NOT NULL, or is not what the framework wants."""
        content = order(ref, ("plum", 1), ("plum", None))
        answer = await client.post("/orders", json=content)
        self.statuses[ref] = answer.status_code
        assert answer.status_code in (400, 422, 500), answer.text

    async def walks_away(self, client: httpx.AsyncClient, ref: str) -> None:
        self.statuses[ref] = None
        part = self.random.choice((1.0, 1.0, 1.0, 0.5))
        content = order(ref, *[("apple", 1)] * 8)
        await leaves(self.base, content, turns=self.random.randrange(60), part=part)

    async def exports(self, client: httpx.AsyncClient, ref: str) -> None:
        """Every second one does not wait for the end."""
        async with client.stream("GET", "/export") as answer:
            assert answer.status_code == 200
            async for row in answer.aiter_lines():
                assert json.loads(row)["count"] > 0
                if self.random.random() < 0.5:
                    break


def check(path: Path, statuses: dict[str, int | None]) -> dict[str, int]:
    """What is in the database against what the clients were told; how many of each."""
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        promised = dict(db.execute("SELECT ref, lines FROM placed"))
        there = dict(db.execute("SELECT ref, count(*) FROM line GROUP BY ref"))
        stock = dict(db.execute("SELECT sku, count FROM stock"))
        sold = dict(db.execute("SELECT sku, sum(count) FROM line GROUP BY sku"))
    finally:
        db.close()
    assert there == promised, "an order is there in part"
    assert set(promised) <= set(statuses)
    assert stock == {sku: count - sold.get(sku, 0) for sku, count in IN_STOCK.items()}
    seen = {"committed": 0, "not committed": 0, "left: whole": 0, "left: absent": 0}
    for ref, status in statuses.items():
        if status is None:
            seen["left: whole" if ref in promised else "left: absent"] += 1
        elif status < 300:
            assert ref in promised, f"{ref} was answered {status} and is not there"
            seen["committed"] += 1
        else:
            assert ref not in promised, f"{ref} was answered {status} and is there"
            seen["not committed"] += 1
    return seen


def idle(pool: Any) -> bool:
    """Whether all connections of a pool are back."""
    return not pool.stats()["leased"]


async def until(condition: Callable[[], bool]) -> None:
    """Lets others run until something is so; the watchdog of the tests ends it if it never is."""
    while not condition():  # noqa: ASYNC110 - nobody else tells
        await asyncio.sleep(0)


def seed() -> int:
    """The seed of a run; printed, and given by LL_SEED to run the same again."""
    value = int(os.environ.get("LL_SEED") or random.SystemRandom().randrange(2**31))
    print(f"LL_SEED={value}")
    return value


async def mixed_load(serve: Serve, path: Path, pool_of: Callable[[], Any]) -> None:
    """The whole of it; afterwards the pool has all connections, and the application still works."""
    async with serve(path) as base:
        load = Load(base, seed())
        await load.run()
        await until(lambda: idle(pool_of()))
        after = Load(base, 1)
        async with httpx.AsyncClient(base_url=base, timeout=60) as client:
            await asyncio.gather(*(after.buys(client, f"after{i}") for i in range(20)))
        pool = pool_of()
    assert pool.is_closed
    seen = check(path, load.statuses | after.statuses)
    assert seen["committed"] == 70
    assert seen["not committed"] == 75
    assert seen["left: whole"] + seen["left: absent"] == 25


async def all_leave(serve: Serve, path: Path, pool_of: Callable[[], Any]) -> None:
    """Clients leave while their requests wait for the lock of another process; the requests are
    whole or absent, and nothing stays behind."""
    statuses: dict[str, int | None] = {}
    async with serve(path) as base:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            for i in range(30):
                statuses[f"gone{i}"] = None
                content = order(f"gone{i}", ("apple", 1), ("plum", 1))
                await leaves(base, content, turns=50)
            await until(lambda: not idle(pool_of()))
        finally:
            other.execute("ROLLBACK")
            other.close()
        load = Load(base, 1)
        async with httpx.AsyncClient(base_url=base, timeout=60) as client:
            await asyncio.gather(*(load.buys(client, f"stayed{i}") for i in range(20)))
        await until(lambda: idle(pool_of()))
    seen = check(path, statuses | load.statuses)
    assert seen["committed"] == 20


async def commit_fails(serve: Serve, path: Path, pool_of: Callable[[], Any], patch: Any) -> None:
    """An answer of which the commit failed is a 500, and nothing of its request is there."""
    from looplite.exceptions import BusyError
    from looplite.extensions._web import RequestSession

    commit = RequestSession.commit
    left = 5

    async def fails(session: RequestSession) -> None:
        nonlocal left
        if session.in_transaction and left:
            left -= 1
            raise BusyError("database is locked")
        await commit(session)

    statuses: dict[str, int | None] = {}
    async with serve(path) as base, httpx.AsyncClient(base_url=base, timeout=60) as client:
        patch.setattr(RequestSession, "commit", fails)
        for i in range(10):
            content = order(f"c{i}", ("apple", 1), ("plum", 1))
            statuses[f"c{i}"] = (await client.post("/orders", json=content)).status_code
        await until(lambda: idle(pool_of()))
    assert list(statuses.values()) == [500] * 5 + [201] * 5
    assert check(path, statuses)["committed"] == 5
