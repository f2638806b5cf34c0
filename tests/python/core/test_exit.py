"""The end of a program: it comes, with the right status, silently, and what was committed is there."""  # noqa: E501

from __future__ import annotations

from pathlib import Path

import pytest
from support import looplite_only
from support.locks import make, rows
from support.scripts import ran_clean, run_script

pytestmark = looplite_only

QUIET = 'warnings.simplefilter("ignore", ResourceWarning)\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make(tmp_path / "script.db", "PRAGMA journal_mode = WAL; CREATE TABLE t(v)")
    return tmp_path


def committed(folder: Path) -> list[object]:
    return [v for (v,) in rows(folder / "script.db", "SELECT v FROM t ORDER BY v")]


BODY = """
async def main():
    global db
    db = await lib.connect(PATH)
    await db.execute("INSERT INTO t VALUES (1)")
    await db.commit()
    await db.execute("INSERT INTO t VALUES (2)")
    {end}
asyncio.run(main())
{after}
"""


@pytest.mark.parametrize(
    ("end", "after", "status"),
    [
        ("pass", "", 0),
        ("pass", "sys.exit(7)", 7),
        ("sys.exit(5)", "", 5),
        ("raise SystemExit(4)", "", 4),
        ("await asyncio.create_task(asyncio.sleep(0)); sys.exit(6)", "", 6),
        ("db.keep = db", "", 0),
        ("sys.modules['kept'] = db", "", 0),
        ("await db.execute('SELECT 1')", "", 0),
        ("globals().update(cursor=await db.execute('SELECT * FROM t, t a'))", "", 0),
        ("globals().update(pending=db.execute('SELECT 1')); await pending", "del db", 0),
    ],
    ids=[
        "falls-off",
        "exit-after",
        "exit-in-main",
        "SystemExit",
        "exit-after-task",
        "cycle",
        "kept-in-sys",
        "cursor",
        "cursor-kept",
        "deleted",
    ],
)
def test_exit_without_close(folder: Path, end: str, after: str, status: int) -> None:
    done = run_script(folder, QUIET + BODY.format(end=end, after=after))
    ran_clean(done, status)
    assert committed(folder) == [1]


def test_it_warns(folder: Path) -> None:
    done = run_script(folder, BODY.format(end="pass", after=""), "-W", "default")
    assert done.returncode == 0, done.stderr
    assert "ResourceWarning" in done.stderr
    assert "was deleted before being closed" in done.stderr
    assert "Traceback" not in done.stderr


DEV = """
async def main():
    db = await lib.connect(PATH, isolation_level=None)
    print(db.closed)
    await db.execute("INSERT INTO t VALUES (1)")
    return db if {kept} else None

{run}
print("after")
"""


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "dropped"])
@pytest.mark.parametrize(
    "way",
    ["kept = asyncio.run(main())", "kept = asyncio.run(main(), debug=True)", "trio"],
    ids=["asyncio", "debug", "trio"],
)
def test_development_mode(folder: Path, way: str, kept: bool) -> None:
    """`python -X dev` shows one ResourceWarning, with the place where the connection was made, and
    the program ends.
    """
    if way == "trio":
        pytest.importorskip("trio")
        way = "import trio; kept = trio.run(main)"
    done = run_script(folder, DEV.format(kept=kept, run=way), "-X", "dev", "-X", "tracemalloc=5")
    assert (done.returncode, done.stdout) == (0, "False\nafter\n"), done.stderr
    assert done.stderr.count("ResourceWarning: <looplite.Connection object") == 1, done.stderr
    assert done.stderr.count("Warning") == 1, done.stderr
    assert "Object allocated at" in done.stderr
    assert "db = await lib.connect(PATH, isolation_level=None)" in done.stderr
    assert committed(folder) == [1]


def test_development_mode_says_nothing_of_what_was_closed(folder: Path) -> None:
    source = """
async def main():
    async with lib.connect(PATH) as db:
        await db.execute("SELECT 1")
        async with db.execute("SELECT * FROM t") as cursor:
            await cursor.fetchall()
    print(db.closed)
    never = lib.connect(PATH)
    print(never.closed)
    failed = lib.connect(str(Path(PATH) / "no"))
    try:
        await failed
    except sqlite3.OperationalError:
        print(failed.closed)

asyncio.run(main(), debug=True)
"""
    done = run_script(folder, source, "-X", "dev")
    assert done.stdout == "True\nFalse\nTrue\n"
    ran_clean(done)


def test_an_exception_ends_the_program(folder: Path) -> None:
    done = run_script(folder, QUIET + BODY.format(end="raise ZeroDivisionError('mine')", after=""))
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.rstrip().endswith("ZeroDivisionError: mine")
    assert committed(folder) == [1]


def test_sys_exit_in_a_task(folder: Path) -> None:
    done = run_script(
        folder,
        QUIET
        + """
async def other(db):
    await db.execute("INSERT INTO t VALUES (1)")
    await db.commit()
    sys.exit(9)

async def main():
    async with lib.connect(PATH) as db:
        await asyncio.create_task(other(db))
asyncio.run(main())
""",
    )
    assert done.returncode == 9, done.stderr
    assert committed(folder) == [1]


IN_FLIGHT = (
    QUIET
    + """
async def main():
    global db, task
    db = await lib.connect(PATH, isolation_level=None, timeout=600)
    await db.execute("INSERT INTO t VALUES (1)")
    task = db.execute(SQL)
    await begin(task)
    for _ in range(20):
        await asyncio.sleep(0)
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
"""
)


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "loop.close()"])
def test_a_read_in_flight(folder: Path, end: str) -> None:
    done = run_script(folder, "SQL = ENDLESS\n" + IN_FLIGHT + end)
    assert done.returncode == (3 if "3" in end else 0), done.stderr
    assert "Traceback" not in done.stderr
    assert committed(folder) == [1]


def test_a_write_in_flight_is_whole_or_absent(folder: Path) -> None:
    sql = "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 2 UNION ALL SELECT x + 1 FROM c LIMIT 500000) SELECT x FROM c"  # noqa: E501
    done = run_script(folder, f"SQL = {sql!r}\n" + IN_FLIGHT + "loop.close()")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(committed(folder)) in (1, 500_001)


def test_an_endless_write_does_not_keep_the_program(folder: Path) -> None:
    sql = "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 2 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c WHERE x < 0"  # noqa: E501
    done = run_script(folder, f"SQL = {sql!r}\n" + IN_FLIGHT + "loop.close()")
    assert done.returncode == 0, done.stderr
    assert committed(folder) == [1]


def test_waiting_for_a_lock_does_not_keep_the_program(folder: Path) -> None:
    prepare = """
outside = sqlite3.connect(PATH, isolation_level=None)
SQL = "BEGIN IMMEDIATE"
"""
    lock = IN_FLIGHT.replace(
        "    task = db", '    outside.execute("BEGIN IMMEDIATE")\n    task = db'
    )
    done = run_script(folder, prepare + lock + "loop.close()")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert committed(folder) == [1]


@pytest.mark.parametrize("uri", [False, True], ids=["path", "uri"])
def test_a_connection_opened_but_for_the_last_step(folder: Path, uri: bool) -> None:
    """A path may be opened inside the first step, a URI is opened by a worker."""
    database = 'lib.connect(f"file:{PATH}", uri=True)' if uri else "lib.connect(PATH)"
    done = run_script(
        folder,
        QUIET
        + f"""
async def main():
    global pending
    pending = {database}
    waiting = pending.__await__()
    try:
        waiting.send(None)
    except StopIteration:
        assert not {uri}
    globals()["waiting"] = waiting
asyncio.run(main())
""",
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_from_a_daemon_thread(folder: Path) -> None:
    """A loop that runs in a daemon thread, in the middle of queries, when the main thread leaves."""  # noqa: E501
    done = run_script(
        folder,
        QUIET
        + """
ready = threading.Event()

async def main():
    db = await lib.connect(PATH, isolation_level=None)
    await db.execute("INSERT INTO t VALUES (1)")
    while True:
        await db.execute_fetchall("SELECT * FROM t")
        ready.set()

threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
ready.wait()
print("leaving")
sys.exit(2)
""",
    )
    assert done.stdout == "leaving\n"
    assert done.returncode == 2, done.stderr
    assert "Fatal" not in done.stderr
    assert committed(folder) == [1]


def test_from_a_thread_that_has_ended(folder: Path) -> None:
    done = run_script(
        folder,
        QUIET
        + """
kept = []
async def main():
    db = await lib.connect(PATH)
    await db.execute("INSERT INTO t VALUES (1)")
    await db.commit()
    kept.append(db)
thread = threading.Thread(target=lambda: asyncio.run(main()))
thread.start()
thread.join()
""",
    )
    ran_clean(done)
    assert committed(folder) == [1]


def test_interrupted_from_the_keyboard(folder: Path) -> None:
    done = run_script(
        folder,
        QUIET
        + """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
async def main():
    async with lib.connect(PATH, isolation_level=None) as db:
        await db.execute("INSERT INTO t VALUES (1)")
        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
        await db.execute_fetchall(ENDLESS)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(8)
""",
    )
    assert done.returncode == 8, done.stderr
    assert committed(folder) == [1]


def test_used_in_atexit_and_in_finalizers(folder: Path) -> None:
    """Late calls get an answer or an error, never a hang or a crash."""
    done = run_script(
        folder,
        QUIET
        + """
import atexit
class Late:
    def __init__(self, db): self.db = db
    def __del__(self):
        try:
            self.db.stop()
        except Exception:
            pass

async def main():
    db = await lib.connect(PATH)
    await db.execute("INSERT INTO t VALUES (1)")
    await db.commit()
    sys.modules["late"] = Late(db)
    globals()["db"] = db
asyncio.run(main())

async def late():
    await db.execute("INSERT INTO t VALUES (2)")
    await db.commit()

atexit.register(lambda: asyncio.run(late()))
""",
    )
    assert done.returncode == 0, done.stderr
    assert committed(folder) == [1, 2]


def test_a_thousand_open_connections(folder: Path) -> None:
    done = run_script(
        folder,
        QUIET
        + """
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
COUNT = min(1000, (hard if hard != resource.RLIM_INFINITY else 8192) // 4)
resource.setrlimit(resource.RLIMIT_NOFILE, (COUNT * 4, hard))
async def main():
    global kept
    kept = [await lib.connect(PATH) for _ in range(COUNT)]
    await asyncio.gather(*(db.execute_fetchall("SELECT * FROM t") for db in kept))
asyncio.run(main())
""",
    )
    ran_clean(done)
