"""trio and anyio, through the same calls. Cancel scopes follow the rules of cancelled tasks."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from support import ENDLESS, lib, looplite_only
from support.guard import descriptors
from support.locks import make, rows, write_lock
from support.loops import on_the_loop, settled
from support.scripts import ran_clean, run_script

anyio = pytest.importorskip("anyio")
trio = pytest.importorskip("trio")

pytestmark = looplite_only

BIG_INSERT = "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 400000) SELECT x FROM c"  # noqa: E501


@pytest.fixture
def table(path: Path) -> Path:
    make(path, "CREATE TABLE t(v); PRAGMA journal_mode = WAL")
    return path


async def cancelled_at(call: Any, when: str) -> Any:
    """Awaits a call in a scope that is cancelled before it, or as soon as the call waits; gives the
    exception.
    """
    with trio.CancelScope() as scope:
        if when == "before":
            scope.cancel()
        else:
            trio.lowlevel.spawn_system_task(_cancel_when_blocked, scope)
        try:
            await call
        except trio.Cancelled as error:
            caught = error
            raise
    assert scope.cancelled_caught, "it was not cancelled"
    return caught


async def _cancel_when_blocked(scope: Any) -> None:
    """A few turns are enough: the call has waited from the first one on."""
    for _ in range(5):
        await trio.lowlevel.cancel_shielded_checkpoint()
    scope.cancel()


# ---- what works --------------------------------------------------------------------------------


def test_everything_once(table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            cursor = await db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(3)])
            assert cursor.rowcount == 3
            await db.commit()
            async with db.execute("SELECT v FROM t ORDER BY v") as cursor:
                assert await cursor.fetchone() == (0,)
                assert await cursor.fetchmany(1) == [(1,)]
                assert await cursor.fetchall() == [(2,)]
            assert await db.execute_insert("INSERT INTO t VALUES (9)") == (4,)
            await db.rollback()
            await db.executescript("BEGIN; INSERT INTO t VALUES (3); COMMIT")
            assert [row async for row in await db.execute("SELECT v FROM t ORDER BY v")] == [
                (0,),
                (1,),
                (2,),
                (3,),
            ]
            with pytest.raises(lib.OperationalError, match="no such table"):
                await db.execute("SELECT * FROM missing")
        assert db.closed

    trio.run(main)


def test_a_large_result_in_slices(table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            await db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(50_000)])
            assert len(await db.execute_fetchall("SELECT v FROM t")) == 50_000
            count = 0
            async for _ in await db.execute("SELECT v FROM t"):
                count += 1
            assert count == 50_000

    trio.run(main)


def test_a_nursery_of_many_tasks(table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:

            async def work(number: int) -> None:
                for n in range(10):
                    await db.execute("INSERT INTO t VALUES (?)", (number * 100 + n,))
                    async with db.execute("SELECT ?", (number,)) as cursor:
                        assert await cursor.fetchone() == (number,)

            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(work, number)

    trio.run(main)
    assert rows(table, "SELECT count(DISTINCT v) FROM t") == [(500,)]


def test_several_fetch_from_one_cursor(table: Path) -> None:
    make(
        table,
        "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 20000) SELECT x FROM c",  # noqa: E501
    )
    got: list[int] = []

    async def main() -> None:
        async with lib.connect(table) as db, db.execute("SELECT v FROM t") as cursor:

            async def take() -> None:
                while rows := await cursor.fetchmany(100):
                    got.extend(row[0] for row in rows)

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(take)

    trio.run(main)
    assert sorted(got) == list(range(1, 20001))


def test_reads_run_on_the_loop(table: Path) -> None:
    """The fast path is there, and asyncio's figures and trio's are apart."""

    async def main() -> None:
        async with lib.connect(table) as db:
            assert await on_the_loop(
                lambda: db.execute_fetchall("SELECT ?", (1,)), 100, 100, trio.lowlevel.checkpoint
            )

    trio.run(main)


def test_a_loop_of_inline_calls_lets_others_run(table: Path) -> None:
    """No call of it waits for anything, so only the turn's budget makes room."""

    async def main() -> None:
        others = 0

        async def other() -> None:
            nonlocal others
            while True:
                await trio.lowlevel.checkpoint()
                others += 1

        async with lib.connect(table) as db, trio.open_nursery() as nursery:
            nursery.start_soon(other)
            while others < 50:
                await db.execute_fetchall("SELECT 1")
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_deadline_ends_a_loop_of_inline_calls(table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            with trio.move_on_after(0.01) as scope:
                while not scope.cancelled_caught:
                    await db.execute_fetchall("SELECT 1")
            assert scope.cancelled_caught

    trio.run(main)


def test_two_runs_with_one_connection(table: Path) -> None:
    kept: list[Any] = []

    async def opening() -> None:
        kept.append(await lib.connect(table))
        await kept[0].execute("INSERT INTO t VALUES (1)")

    async def closing() -> None:
        await kept[0].commit()
        assert await kept[0].execute_fetchall("SELECT v FROM t") == [(1,)]
        await kept[0].close()

    trio.run(opening)
    trio.run(closing)


def test_asyncio_and_trio_in_turn_with_one_connection(table: Path) -> None:
    kept: list[Any] = []

    async def opening() -> None:
        kept.append(await lib.connect(table))

    async def using() -> None:
        await kept[0].execute("INSERT INTO t VALUES (1)")
        assert await kept[0].execute_fetchall("SELECT 1") == [(1,)]

    async def closing() -> None:
        await kept[0].commit()
        await kept[0].close()

    asyncio.run(opening())
    trio.run(using)
    asyncio.run(using())
    trio.run(using)
    asyncio.run(closing())
    assert rows(table, "SELECT v FROM t") == [(1,)] * 3


def test_both_at_once_in_two_threads(table: Path) -> None:
    failures: list[BaseException] = []

    async def work() -> None:
        async with lib.connect(table, isolation_level=None, timeout=60) as db:
            for n in range(25):
                await db.execute("INSERT INTO t VALUES (?)", (n,))

    def guarded(run: Callable[[], object]) -> None:
        try:
            run()
        except BaseException as error:
            failures.append(error)

    ways = [lambda: trio.run(work), lambda: asyncio.run(work())] * 2
    threads = [threading.Thread(target=guarded, args=(way,)) for way in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert rows(table, "SELECT count(*) FROM t") == [(100,)]


def test_asyncio_inside_a_trio_task(table: Path) -> None:
    """asyncio.run() in a function that a trio task calls: its calls wait as asyncio's do."""

    async def inner() -> None:
        async with lib.connect(table) as db:
            await db.execute("INSERT INTO t VALUES (1)")
            await db.commit()

    async def main() -> None:
        async with lib.connect(table) as db:
            asyncio.run(inner())
            assert await db.execute_fetchall("SELECT v FROM t") == [(1,)]

    trio.run(main)


def test_one_call_awaited_by_two_tasks(table: Path) -> None:
    """The second one is told, the first one goes on."""

    async def main() -> None:
        async with lib.connect(table) as db:
            call = db.execute_fetchall(ENDLESS)
            refused: list[BaseException] = []

            over = False

            async def first() -> None:
                nonlocal over
                with pytest.raises(lib.OperationalError, match="interrupted"):
                    await call
                over = True

            async def second() -> None:
                try:
                    await call
                except RuntimeError as error:
                    refused.append(error)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(first)
                for _ in range(3):
                    await trio.lowlevel.checkpoint()
                await second()
                while not over:
                    await db.interrupt()
                    await trio.lowlevel.checkpoint()
            assert "awaited already" in str(refused[0])

    trio.run(main)


def test_a_connection_closed_by_an_async_generator_at_the_end_of_the_run(table: Path) -> None:
    """The run takes no system tasks any more when it finalizes generators; what happens all the
    same, happens.
    """

    async def generate() -> AsyncIterator[Any]:
        db = await lib.connect(table)
        try:
            await db.execute("INSERT INTO t VALUES (1)")
            yield db
        finally:
            # Each of these is told of the cancellation, and does what it has to.
            try:
                await db.commit()
            finally:
                await db.close()

    kept: list[Any] = []

    async def main() -> None:
        generator = generate()
        kept.extend((generator, await generator.__anext__()))

    trio.run(main)
    assert kept[1].closed
    assert rows(table, "SELECT v FROM t") == [(1,)]
    assert settled(lambda: not [t for t in threading.enumerate() if t.name == "looplite"])


def test_the_end_of_a_run_frees_its_engine(table: Path) -> None:
    """The guard counts descriptors; here the token must be free to go."""
    tokens: list[Any] = []

    async def main() -> None:
        tokens.append(weakref.ref(trio.lowlevel.current_trio_token()))
        async with lib.connect(table) as db:
            await db.execute_fetchall("SELECT 1")

    for _ in range(20):
        trio.run(main)
    gc.collect()
    assert not [token for token in tokens if token() is not None]


@pytest.mark.parametrize("is_open", [False, True])
def test_the_end_of_a_run_whose_token_is_kept(table: Path, is_open: bool) -> None:
    """The engine goes with the run, not with whoever remembers it (the guard looks at the
    descriptors).
    """
    kept: list[Any] = []

    def engines() -> int:
        return sum(each == "anon_inode:[eventpoll]" for each in descriptors().values())

    async def main() -> None:
        kept.append(trio.lowlevel.current_trio_token())
        db = await lib.connect(table)
        await db.execute_fetchall("SELECT 1")
        if is_open:
            kept.append(db)
        else:
            await db.close()

    async def closing() -> None:
        kept.append(trio.lowlevel.current_trio_token())
        await kept[1].close()

    gc.collect()
    before = max(engines(), 1)  # the root's
    trio.run(main)
    assert settled(lambda: engines() <= before)
    if is_open:
        trio.run(closing)
        assert settled(lambda: engines() <= before)


def test_outside_any_run(table: Path) -> None:
    db = lib.connect(table)
    with pytest.raises(RuntimeError, match="loop"):
        db.__await__().send(None)


def test_trio_is_not_imported(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
        async def main():
            async with lib.connect(PATH) as db:
                await db.execute("CREATE TABLE t(v)")
                await asyncio.gather(*(db.execute_fetchall("SELECT 1") for _ in range(100)))

        asyncio.run(main())
        print([name for name in sys.modules if name.split(".")[0] in ("trio", "anyio", "sniffio")])
        """,
    )
    assert done.stdout == "[]\n"
    ran_clean(done)


def test_another_module_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "trio.py").write_text("lowlevel = None\n")
    done = run_script(
        tmp_path,
        """
        import trio

        async def main():
            async with lib.connect(PATH) as db:
                await db.execute("CREATE TABLE t(v)")
                print(await db.execute_fetchall("SELECT 1"))

        asyncio.run(main())
        """,
    )
    assert done.stdout == "[(1,)]\n"
    ran_clean(done)


def test_a_program_that_closes_nothing(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
        import trio
        warnings.simplefilter("ignore", ResourceWarning)
        kept = []

        async def main():
            db = await lib.connect(PATH, isolation_level=None)
            await db.execute("CREATE TABLE t(v)")
            kept.append(db)

        trio.run(main)
        print([thread.name for thread in threading.enumerate()][1:])
        """,
    )
    assert done.stdout == "[]\n"
    ran_clean(done)
    assert rows(tmp_path / "script.db", "SELECT v FROM t") == []


# ---- cancellation ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make_call",
    [
        lambda db: db.execute("INSERT INTO t VALUES (1)"),
        lambda db: db.executemany("INSERT INTO t VALUES (?)", [(1,)]),
        lambda db: db.executescript("INSERT INTO t VALUES (1)"),
        lambda db: db.execute_insert("INSERT INTO t VALUES (1)"),
        lambda db: db.execute_fetchall("SELECT 1"),
        lambda db: db.cursor(),
        lambda db: lib.connect(":memory:"),
    ],
    ids=["execute", "executemany", "executescript", "insert", "fetchall", "cursor", "connect"],
)
def test_what_is_begun_in_a_cancelled_scope_does_not_begin(
    table: Path, make_call: Callable[[Any], Any]
) -> None:
    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:
            error = await cancelled_at(make_call(db), "before")
            assert error.looplite_outcome == "not applied"

    trio.run(main)
    assert rows(table, "SELECT v FROM t") == []


@pytest.mark.parametrize("when", ["before", "while it waits"])
@pytest.mark.parametrize("what", ["commit", "rollback", "close"])
def test_commit_rollback_and_close_happen_all_the_same(table: Path, what: str, when: str) -> None:
    async def main() -> None:
        db = await lib.connect(table)
        await db.execute("INSERT INTO t VALUES (1)")
        if when != "before":
            # So that it has something to wait for.
            pending = db.execute(BIG_INSERT)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_run, pending)
                for _ in range(3):
                    await trio.lowlevel.checkpoint()
                error = await cancelled_at(getattr(db, what)(), when)
        else:
            error = await cancelled_at(getattr(db, what)(), when)
        assert error.looplite_outcome == "applied"
        if what == "close":
            assert db.closed
        else:
            assert not db.in_transaction
            await db.close()

    trio.run(main)
    found = rows(table, "SELECT count(*) > 0 FROM t")
    assert found == [(what == "commit",)]


async def _run(call: Any) -> None:
    await call


def test_with_nothing_to_commit_it_is_a_checkpoint_too(table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            for call in (db.commit(), db.rollback(), (await db.cursor()).close()):
                error = await cancelled_at(call, "before")
                assert error.looplite_outcome == "applied"

    trio.run(main)


def test_running_read_is_interrupted(table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table) as db:
            await db.execute("INSERT INTO t VALUES (1)")
            error = await cancelled_at(db.execute_fetchall(ENDLESS), "while it waits")
            assert error.looplite_outcome == "not applied"
            assert db.in_transaction
            await db.commit()

    trio.run(main)
    assert rows(table, "SELECT v FROM t") == [(1,)]


def test_queued_statement_is_dropped(table: Path) -> None:
    async def main() -> None:
        async with (
            lib.connect(table, isolation_level=None) as db,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_run, db.execute_fetchall(ENDLESS))
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            error = await cancelled_at(db.execute("INSERT INTO t VALUES (1)"), "while it waits")
            assert error.looplite_outcome == "not applied"
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert rows(table, "SELECT v FROM t") == []


def test_running_write_finishes(table: Path) -> None:
    """Whenever the cancellation comes, what is said is what is in the file."""
    told = ""

    async def main() -> None:
        nonlocal told
        async with lib.connect(table, isolation_level=None) as db:
            error = await cancelled_at(db.execute(BIG_INSERT), "while it waits")
            told = error.looplite_outcome

    trio.run(main)
    assert told in ("applied", "not applied")
    assert rows(table, "SELECT count(*) FROM t") == [(400_000 if told == "applied" else 0,)]


def test_waiting_for_a_lock_is_left_at_once(table: Path) -> None:
    async def main() -> None:
        async with lib.connect(table, isolation_level=None, timeout=600) as db:
            with write_lock(table):
                error = await cancelled_at(db.execute("INSERT INTO t VALUES (1)"), "while it waits")
                assert error.looplite_outcome == "not applied"
            await db.execute("INSERT INTO t VALUES (2)")

    trio.run(main)
    assert rows(table, "SELECT v FROM t") == [(2,)]


def test_cancel_while_it_is_opened(table: Path) -> None:
    """The task is not kept waiting, and what arrives is closed (the guard looks)."""

    async def main() -> None:
        for _ in range(10):
            db = lib.connect(table)
            with trio.CancelScope() as scope:
                trio.lowlevel.spawn_system_task(_cancel_when_blocked, scope)
                await db
                await db.close()
            assert db.closed

    trio.run(main)


def test_a_scope_around_async_with(table: Path) -> None:
    """The blocks close what they opened, and the scope ends as it should."""

    async def main() -> None:
        with trio.move_on_after(0.05) as scope:
            async with lib.connect(table) as db:
                await db.execute("INSERT INTO t VALUES (1)")
                async with db.execute("SELECT v FROM t") as cursor:
                    assert await cursor.fetchone() == (1,)
                    await trio.sleep(math.inf)
        assert scope.cancelled_caught
        assert db.closed

    trio.run(main)
    assert rows(table, "SELECT v FROM t") == []


def test_a_failing_task_ends_its_nursery(table: Path) -> None:
    """The others are cancelled in the middle of their reads, and the connection is good."""

    async def main() -> None:
        async with lib.connect(table) as db:
            try:
                async with trio.open_nursery() as nursery:
                    for _ in range(3):
                        nursery.start_soon(_run, db.execute_fetchall(ENDLESS))
                    nursery.start_soon(_run, lib.connect(table.parent / "no" / "such.db"))
            except BaseException as error:
                found = getattr(error, "exceptions", (error,))
                assert [type(each) for each in found] == [lib.OperationalError]
            else:
                raise AssertionError("nothing was raised")
            assert await db.execute_fetchall("SELECT 1") == [(1,)]

    trio.run(main)


@pytest.mark.parametrize("seed", range(5))
def test_random_cancellations_tell_the_truth(table: Path, seed: int) -> None:
    """Inserts in scopes that are cancelled at random; the table holds what the tasks were told."""
    draw = random.Random(seed)
    there: set[int] = set()
    told: set[str] = set()

    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:

            async def insert(number: int, scope: Any) -> None:
                with scope:
                    try:
                        await db.execute("INSERT INTO t VALUES (?)", (number,))
                    except trio.Cancelled as error:
                        told.add(error.looplite_outcome)
                        if error.looplite_outcome == "applied":
                            there.add(number)
                        raise
                    there.add(number)

            async with trio.open_nursery() as nursery:
                scopes = []
                for number in range(300):
                    scopes.append(trio.CancelScope())
                    nursery.start_soon(insert, number, scopes[-1])
                    if draw.random() < 0.3:
                        await trio.lowlevel.checkpoint()
                    if draw.random() < 0.5:
                        draw.choice(scopes).cancel()
            assert await db.execute_fetchall("SELECT 1") == [(1,)]

    trio.run(main)
    found = {v for (v,) in rows(table, "SELECT v FROM t")}
    assert found == there, f"seed {seed}"
    assert 0 < len(found) < 300
    assert told <= {"applied", "not applied"}


# ---- trio as a guest ---------------------------------------------------------------------------


def test_guest_of_asyncio(table: Path) -> None:
    """Tasks of both use one connection in one thread."""

    async def guest() -> str:
        async with lib.connect(table) as db:
            await db.execute("INSERT INTO t VALUES ('trio')")
            await db.commit()
            error = await cancelled_at(db.execute_fetchall(ENDLESS), "while it waits")
            assert error.looplite_outcome == "not applied"
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(_run, db.execute_fetchall("SELECT count(*) FROM t"))
        return "done"

    async def host() -> None:
        loop = asyncio.get_running_loop()
        finished: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=finished.set_result,
        )
        async with lib.connect(table, isolation_level=None, timeout=60) as db:
            for n in range(20):
                await db.execute("INSERT INTO t VALUES (?)", (n,))
                await asyncio.sleep(0)
            assert (await finished).unwrap() == "done"

    asyncio.run(host())
    assert rows(table, "SELECT count(*) FROM t") == [(21,)]


# ---- anyio -------------------------------------------------------------------------------------


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_anyio(table: Path, backend: str) -> None:
    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:

            async def work(number: int) -> None:
                await db.execute("INSERT INTO t VALUES (?)", (number,))

            async with anyio.create_task_group() as group:
                for number in range(50):
                    group.start_soon(work, number)
            assert await db.execute_fetchall("SELECT count(*) FROM t") == [(50,)]
            with pytest.raises(TimeoutError), anyio.fail_after(0.05):
                await db.execute_fetchall(ENDLESS)
            assert await db.execute_fetchall("SELECT 1") == [(1,)]

    anyio.run(main, backend=backend)


def test_anyio_says_what_became_of_a_statement(table: Path, backend: str) -> None:
    """Its scopes cancel a task of asyncio again in each turn, which is one cancellation all the
    same.
    """
    told: list[str] = []

    async def main() -> None:
        async with lib.connect(table, isolation_level=None) as db:
            for sql in (ENDLESS, BIG_INSERT):
                async with anyio.create_task_group() as group:

                    async def work(sql: str = sql) -> None:
                        try:
                            await db.execute_fetchall(sql)
                        except anyio.get_cancelled_exc_class() as error:
                            told.append(error.looplite_outcome)
                            raise

                    group.start_soon(work)
                    for _ in range(5):
                        await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()

    anyio.run(main, backend=backend)
    assert told[0] == "not applied"
    assert told[1] in ("applied", "not applied")
    assert rows(table, "SELECT count(*) FROM t") == [(400_000 if told[1] == "applied" else 0,)]


def test_anyio_cancelled_commit_and_close(table: Path, backend: str) -> None:
    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with lib.connect(table) as db:
                await db.execute("INSERT INTO t VALUES (1)")
                scope.cancel()
                await db.commit()
                await anyio.sleep(math.inf)
        assert db.closed

    anyio.run(main, backend=backend)
    assert rows(table, "SELECT v FROM t") == [(1,)]


def test_the_module_is_thin() -> None:
    """Nothing of looplite imports trio by itself; here somebody has."""
    assert "looplite._trio" in sys.modules or "trio" in sys.modules
