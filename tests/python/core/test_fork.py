"""fork: the child may not use what its parent opened and is told so; the parent notices nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import forks_beside_threads, looplite_only
from support.locks import make, rows
from support.scripts import run_script

pytestmark = [looplite_only, forks_beside_threads]

# os.fork() warns from 3.12 on when threads run, which is what is tested here.
START = """
warnings.simplefilter("ignore")

def in_child(work):
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            status = work() or 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def fresh(main):
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make(tmp_path / "script.db", "CREATE TABLE t(v)")
    return tmp_path


def passed(folder: Path, source: str) -> str:
    done = run_script(folder, START + source)
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


USE = """
def child():
    async def use():
        try:
            await db.execute("INSERT INTO t VALUES ('child')")
        except Exception as error:
            print(type(error).__name__, error)
            return 0
        return 1
    return fresh(use)
"""


@pytest.mark.parametrize("where", ["inside the loop", "after the loop"])
def test_child_gets_a_clear_error_and_the_parent_goes_on(folder: Path, where: str) -> None:
    inside = where == "inside the loop"
    out = passed(
        folder,
        USE.replace("fresh(use)", "in_thread(use)" if inside else "fresh(use)")
        + f"""
def in_thread(main):
    # The child inherits a loop that counts as running.
    asyncio._set_running_loop(None)
    return fresh(main)

async def main():
    global db
    db = await lib.connect(PATH, isolation_level=None)
    await db.execute("INSERT INTO t VALUES (1)")
    if {inside}:
        assert in_child(child) == 0
    await db.execute("INSERT INTO t VALUES (2)")

async def later():
    await db.execute("INSERT INTO t VALUES (3)")
    await db.close()

fresh(main)
if not {inside}:
    assert in_child(child) == 0
fresh(later)
""",
    )
    assert "fork" in out.lower(), out
    assert [v for (v,) in rows(folder / "script.db", "SELECT v FROM t")] == [1, 2, 3]


def test_child_opens_its_own(folder: Path) -> None:
    passed(
        folder,
        """
async def main():
    global db
    db = await lib.connect(PATH, isolation_level=None)
    await db.execute("INSERT INTO t VALUES ('parent')")
fresh(main)

def child():
    async def use():
        async with lib.connect(PATH, isolation_level=None, timeout=60) as own:
            await own.execute("INSERT INTO t VALUES ('child')")
            return 0 if len(list(await own.execute_fetchall("SELECT * FROM t"))) == 2 else 1
    return fresh(use)

assert in_child(child) == 0
async def end():
    assert len(list(await db.execute_fetchall("SELECT * FROM t"))) == 2
    await db.close()
fresh(end)
""",
    )


def test_child_drops_the_parents_connection(folder: Path) -> None:
    """Dropping it there must not close the file: that would take the parent's locks away."""
    passed(
        folder,
        """
async def main():
    global db
    db = await lib.connect(PATH, isolation_level=None)
    await db.execute("BEGIN IMMEDIATE")
    await db.execute("INSERT INTO t VALUES (1)")
fresh(main)

def child():
    global db
    del db
    gc.collect()
    other = sqlite3.connect(PATH, timeout=0, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        return 0 if "locked" in str(error) else 2
    return 1

assert in_child(child) == 0
async def end():
    await db.commit()
    await db.close()
fresh(end)
""",
    )
    assert rows(folder / "script.db", "SELECT v FROM t") == [(1,)]


def test_child_exits_normally(folder: Path) -> None:
    """sys.exit in the child runs finalizers there; it ends all the same."""
    out = passed(
        folder,
        """
async def main():
    global db
    db = await lib.connect(PATH, isolation_level=None)
    await db.execute_fetchall("SELECT 1")
fresh(main)
# Python's own watchdog would wait in the child for a thread that is not there.
faulthandler.cancel_dump_traceback_later()
pid = os.fork()
if pid == 0:
    sys.exit(11)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 11
async def end():
    await db.execute("INSERT INTO t VALUES (1)")
    await db.close()
fresh(end)
print("parent well")
""",
    )
    assert out == "parent well\n"


def test_fork_while_work_is_in_flight(folder: Path) -> None:
    out = passed(
        folder,
        """
async def main():
    db = await lib.connect(PATH, isolation_level=None)
    sql = "WITH RECURSIVE c(x) AS (VALUES (0) UNION ALL SELECT x + 1 FROM c LIMIT 300000) SELECT count(*) FROM c"
    tasks = [asyncio.ensure_future(db.execute_fetchall(sql)) for _ in range(4)]
    for _ in range(8):
        await asyncio.sleep(0)
        assert in_child(lambda: 0) == 0
    print([list(found) for found in await asyncio.gather(*tasks)])
    await db.close()
fresh(main)
""",  # noqa: E501
    )
    assert out == f"{[[(300000,)]] * 4}\n"


def test_multiprocessing(folder: Path) -> None:
    passed(
        folder,
        """
import multiprocessing

async def insert(n):
    async with lib.connect(PATH, isolation_level=None, timeout=60) as db:
        await db.execute("INSERT INTO t VALUES (?)", (n,))

def work(n):
    asyncio.run(insert(n))

if __name__ == "__main__":
    asyncio.run(insert(-1))
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(n,)) for n in range(4)]
    for process in processes: process.start()
    for process in processes: process.join()
    assert [p.exitcode for p in processes] == [0] * 4
""",
    )
    assert rows(folder / "script.db", "SELECT count(*) FROM t") == [(5,)]
