"""1 000 different point SELECTs, once each, on ten fresh connections: nothing is prepared yet.

Opening and closing is not timed (that is another row), preparing is. The process is new, so
looplite has no history of these statements either.
"""

from __future__ import annotations

from time import perf_counter

from harness.spec import Context, Ratio, Row, Sample

CONNECTIONS = 10
TEXTS_EACH = 100


def _texts(connection: int) -> list[str]:
    return [
        f"SELECT name AS name_{n}, price AS price_{n} FROM item WHERE id = ?"
        for n in range(connection * TEXTS_EACH, (connection + 1) * TEXTS_EACH)
    ]


async def run(ctx: Context) -> Sample:
    """All of them, one after the other."""
    peer = ctx.peer
    conns = [await peer.open(ctx.database) for _ in range(CONNECTIONS)]
    # Reading the schema, once for each connection, is part of opening.
    for conn in conns:
        await peer.rows(conn, "SELECT count(*) FROM sqlite_master")
    ctx.probe.watch(*conns)
    texts = [_texts(n) for n in range(CONNECTIONS)]
    count = CONNECTIONS * TEXTS_EACH
    ctx.probe.begin()
    began = perf_counter()
    for conn, some in zip(conns, texts, strict=True):
        await peer.read_texts(conn, some, 17)
    took = perf_counter() - began
    inline = ctx.probe.end(count)
    for conn in conns:
        await peer.close(conn)
    return Sample(took / count * 1e6, {"reads": count}, inline)


ROWS = (
    Row(
        name="first_reads",
        title="1 000 different point SELECTs, once each, fresh connections",
        unit="us",
        run=run,
        targets=(Ratio("aiosqlite", 3.0),),
        path="inline",
    ),
)
