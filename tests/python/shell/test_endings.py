"""How a program ends whose connections are still open, by whichever way it got them: connect(), a
connector of its own, aiosqlite's name after install(), SQLAlchemy's pools; and whatever ran its
loop: asyncio, uvloop, trio, threads with a loop each. It ends, silently, with status 0, and what
was committed is in the file.

What the core does at the end of a program is in core/test_exit.py; here the ways are compared.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support import looplite_only
from support.locks import make, rows
from support.scripts import ran_clean, run_script

pytestmark = looplite_only

_GENERIC = "Connection(lambda: sqlite3.connect(PATH), 64)"
WAYS = {
    "connect": "connect = lambda: lib.connect(PATH)",
    "connector": f"connect = lambda: lib.{_GENERIC}",
    "installed": "lib.install(); import aiosqlite; connect = lambda: aiosqlite.connect(PATH)",
    "installed-connector": f"lib.install(); import aiosqlite; connect = lambda: aiosqlite.{_GENERIC}",  # noqa: E501
}

# Each defines run(main), which ends when main(number, meet) has, once or in several threads.
# `meet` waits for the others; the one whose number is 0 may keep a lock from then on.
RUNNERS = {
    "asyncio": "run = lambda main: asyncio.run(main(0, int))",
    "uvloop": "import uvloop; run = lambda main: uvloop.run(main(0, int))",
    "trio": "import trio; run = lambda main: trio.run(main, 0, int)",
    "threads": """
def run(main):
    meet = threading.Barrier(3).wait
    threads = [
        threading.Thread(target=lambda number=number: asyncio.run(main(number, meet)))
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
""",
}
LOOPS = {"asyncio": "asyncio.new_event_loop", "uvloop": "__import__('uvloop').new_event_loop"}

QUIET = 'warnings.simplefilter("ignore", ResourceWarning)\n'


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return QUIET + WAYS[request.param] + "\n"


@pytest.fixture(params=RUNNERS)
def runner(request: pytest.FixtureRequest) -> str:
    """The source of `run(main)`."""
    if request.param in ("uvloop", "trio"):
        pytest.importorskip(request.param)
    return RUNNERS[request.param] + "\n"


@pytest.fixture(params=LOOPS)
def new_loop(request: pytest.FixtureRequest) -> str:
    """The source of what makes a loop."""
    pytest.importorskip(request.param)
    return LOOPS[request.param]


@pytest.fixture(params=["looplite", "aiosqlite"])
def engine(request: pytest.FixtureRequest) -> str:
    """Makes a SQLAlchemy engine: by looplite's dialect, or by its own for aiosqlite."""
    for module in ("greenlet", "sqlalchemy"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    return QUIET + (
        "lib.install()\n"
        "import sqlalchemy as sa\n"
        "from sqlalchemy.ext.asyncio import create_async_engine\n"
        f"def engine(): return create_async_engine('sqlite+{request.param}:///' + PATH)\n"
        "async def insert(conn, value):\n"
        "    await conn.execute(sa.text(f'INSERT INTO t VALUES ({value})'))\n"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make(tmp_path / "script.db", "PRAGMA journal_mode = WAL; CREATE TABLE t(v)")
    return tmp_path


def committed(folder: Path) -> list[object]:
    return [v for (v,) in rows(folder / "script.db", "SELECT v FROM t ORDER BY v")]


def test_every_close_is_forgotten(folder: Path, way: str, runner: str) -> None:
    """One connection idle, one with rows not read, one in a transaction, one never opened."""
    done = run_script(
        folder,
        way
        + runner
        + """
kept = []
async def main(number, meet):
    idle, reading, writing = await connect(), await connect(), await connect()
    await idle.execute("INSERT INTO t VALUES (1)")
    await idle.commit()
    half = await reading.execute("SELECT * FROM t, t a, t b")
    await half.fetchone()
    meet()
    if number == 0:
        await writing.execute("INSERT INTO t VALUES (2)")
    kept.extend([idle, reading, writing, half, connect()])
run(main)
print(len(kept) // 5)
""",
    )
    ran_clean(done)
    assert committed(folder) == [1] * int(done.stdout)


def test_closes_at_once(folder: Path, way: str) -> None:
    """All return, also those that come while a statement runs, and the ones behind the end."""
    done = run_script(
        folder,
        way
        + """
async def main():
    db = await connect()
    await db.execute("INSERT INTO t VALUES (1)")
    await db.commit()
    await asyncio.gather(db.close(), db.close(), db.close())
    await db.close()

    busy = await connect()
    begun, release = threading.Event(), threading.Event()
    def wait():
        begun.set()
        release.wait()
    running = asyncio.ensure_future(busy._execute(wait))
    while not begun.is_set():
        await asyncio.sleep(0)
    closing = [asyncio.ensure_future(busy.close()) for _ in range(2)]
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(running, *closing)
    await busy.close()
    print("closed")
asyncio.run(main())
""",
    )
    ran_clean(done)
    assert done.stdout == "closed\n"
    assert committed(folder) == [1]


@pytest.mark.parametrize("work", ["read", "write", "commit", "close", "connect"])
@pytest.mark.parametrize("thread", [False, True], ids=["main", "thread"])
def test_a_loop_closed_with_work_in_flight(
    folder: Path, way: str, work: str, new_loop: str, thread: bool
) -> None:
    done = run_script(
        folder,
        way
        + f"""
work = {work!r}
async def main():
    global kept
    db = await connect()
    await db.execute("INSERT INTO t VALUES (1)")
    await db.commit()
    await db.execute("INSERT INTO t VALUES (2)")
    call = {{
        "read": lambda: db.execute_fetchall(ENDLESS),
        "write": lambda: db.execute("INSERT INTO t VALUES (3)"),
        "commit": db.commit,
        "close": db.close,
        "connect": lambda: connect().__aenter__(),
    }}[work]()
    kept = [db, call]
    try:
        call.send(None)  # by hand: no task is left that complains of its loop
    except StopIteration:
        pass  # it has ended inside the call
def run():
    loop = {new_loop}()
    loop.run_until_complete(main())
    loop.close()
    print("closed")
    if work in ("read", "write", "commit", "close"):
        kept[1].close()
if {thread}:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
else:
    run()
""",
    )
    assert done.stdout == "closed\n", done.stderr
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert committed(folder) in ([[1], [1, 2]] if work == "commit" else [[1]])


def test_engines_are_never_disposed(folder: Path, engine: str, new_loop: str) -> None:
    """Connections in the pool, one in use, one in a transaction, an engine that was not used."""
    done = run_script(
        folder,
        engine
        + """
async def main():
    global kept
    one, other, unused = engine(), engine(), engine()
    async with one.begin() as conn:
        await insert(conn, 1)
    first, second = await one.connect(), await one.connect()
    await first.execute(sa.text("SELECT * FROM t"))
    await second.rollback()
    writing = await other.connect()
    await insert(writing, 2)
    kept = [one, other, unused, first, second, writing]
loop = """
        + new_loop
        + """()
loop.run_until_complete(main())
loop.close()
""",
    )
    ran_clean(done)
    assert committed(folder) == [1]


def test_an_engine_is_used_in_one_loop_after_the_other(folder: Path, engine: str) -> None:
    """And is disposed of in none."""
    done = run_script(
        folder,
        engine
        + """
kept = engine()
async def main(value):
    async with kept.begin() as conn:
        await insert(conn, value)
for value in range(5):
    asyncio.run(main(value))
""",
    )
    ran_clean(done)
    assert committed(folder) == [0, 1, 2, 3, 4]


def test_a_loop_closed_in_the_middle_of_a_query_of_an_engine(folder: Path, engine: str) -> None:
    done = run_script(
        folder,
        engine
        + """
async def query(conn):
    await conn.execute(sa.text(ENDLESS))
async def main():
    global kept
    one = engine()
    async with one.begin() as conn:
        await insert(conn, 1)
    conn = await one.connect()
    await insert(conn, 2)
    call = query(conn)
    kept = [one, conn, call]
    await begin(call)
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
print("closed")
sys.exit(3)
""",
    )
    assert done.stdout == "closed\n", done.stderr
    assert done.returncode == 3, done.stderr
    assert "Fatal" not in done.stderr
    assert committed(folder) == [1]
