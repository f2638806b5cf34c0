"""Functions, aggregates, window functions and collations of the program: they are sqlite3's own,
run on the worker, in the context of the call, and never on the loop.
"""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ENDLESS, forks_beside_threads, lib, looplite_only
from support.errors import raised_by, same_error
from support.functions import ROWS, Sum, on_loop, where
from support.locks import make
from support.loops import Ticks, caught, on_the_loop, turns, until
from support.scripts import ran_clean, run_script

pytestmark = looplite_only

Run = Callable[..., Any]


# ---- as sqlite3 ---------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "int": lambda: 5,
    "float": lambda: 2.5,
    "none": lambda: None,
    "text": lambda: "ä\N{GRINNING FACE}",
    "bytes": lambda: b"\0\1",
    "bytearray": lambda: bytearray(b"xyz"),
    "bool": lambda: True,
    "large": lambda: 1 << 70,
    "object": object,
    "surrogate": lambda: "\udcff",
    "raises": lambda: 1 // 0,
    "memory": lambda: (_ for _ in ()).throw(MemoryError()),
    "overflow": lambda: (_ for _ in ()).throw(OverflowError()),
    "arguments": lambda one: one,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_sqlite3s(run: Run, name: str) -> None:
    function = FUNCTIONS[name]
    plain = sqlite3.connect(":memory:")
    plain.create_function("f", 0, function)

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            assert await db.create_function("f", 0, function) is None
            try:
                expected = plain.execute("SELECT f(), typeof(f())").fetchall()
            except Exception as error:
                same_error(await caught(db.execute_fetchall("SELECT f(), typeof(f())")), error)
            else:
                found = await db.execute_fetchall("SELECT f(), typeof(f())")
                assert found == expected
                assert [type(v) for v in found[0]] == [type(v) for v in expected[0]]

    run(main)
    plain.close()


@pytest.mark.parametrize("value", [None, 7, 1.5, "text", b"blob", "\0"])
def test_what_a_function_gets(run: Run, value: Any) -> None:
    async def main() -> None:
        got: list[Any] = []
        async with lib.connect(":memory:") as db:
            await db.create_function("f", -1, lambda *args: got.extend(args))
            await db.execute("SELECT f(?, ?)", (value, 1))
            assert got == [value, 1]
            assert type(got[0]) is type(value)

    run(main)


def mistakes() -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    return [
        ("create_function", ("f", 0), {}),
        ("create_function", ("f", "x", int), {}),
        ("create_function", (1, 0, int), {}),
        ("create_function", ("f", 2000, int), {}),  # the most are 127, or 1000
        ("create_function", ("f", 0, int), {"other": 1}),
        ("create_function", ("f\0g", 0, int), {}),
        ("create_aggregate", ("f", 0), {}),
        ("create_aggregate", ("f", -10, Sum), {}),
        ("create_collation", ("c", 5), {}),
        ("create_collation", ("c",), {}),
        ("create_collation", ("\udcff", int), {}),
        ("set_authorizer", (), {}),
        ("set_progress_handler", (None,), {}),
        ("set_progress_handler", (int, "x"), {}),
        ("set_trace_callback", (), {}),
        ("getlimit", (1111,), {}),
        ("setlimit", (1111, 1), {}),
        ("getlimit", ("x",), {}),
        ("setlimit", (0, "x"), {}),
        ("serialize", (), {"name": "other"}),
        ("serialize", (1,), {}),
        ("deserialize", (5,), {}),
        ("deserialize", (b"",), {"name": "other"}),
        ("blobopen", ("t", "x"), {}),
        ("blobopen", ("t", "x", 1), {}),
        ("getconfig", (0,), {}),
        ("setconfig", (0,), {}),
        ("backup", (5,), {}),
        ("iterdump", (1,), {}),
    ]


@pytest.mark.parametrize("case", mistakes(), ids=lambda case: f"{case[0]}{case[1]!r}")
def test_mistakes_are_sqlite3s(run: Run, case: tuple[str, tuple[Any, ...], dict[str, Any]]) -> None:
    method, args, named = case
    if not hasattr(sqlite3.Connection, method):
        assert not hasattr(lib.Connection, method)
        pytest.skip("not in this Python")
    plain = sqlite3.connect(":memory:")
    expected = raised_by(getattr(plain, method), *args, **named)
    plain.close()

    async def main() -> None:
        async with lib.connect(":memory:") as db:

            async def call() -> Any:
                result = getattr(db, method)(*args, **named)
                return [line async for line in result] if method == "iterdump" else await result

            found = await caught(call())
            if method == "backup":  # its arguments are checked by the call
                assert type(found) is type(expected)
            else:
                same_error(found, expected)

    run(main)


def test_what_this_python_lacks_is_lacking() -> None:
    for name in [
        "create_window_function",
        "enable_load_extension",
        "load_extension",
        "blobopen",
        "serialize",
        "deserialize",
        "getlimit",
        "setlimit",
        "getconfig",
        "setconfig",
    ]:
        assert hasattr(lib.Connection, name) == hasattr(sqlite3.Connection, name), name


def test_names_of_parameters(run: Run) -> None:
    """aiosqlite's, and sqlite3's."""

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.create_function(name="f", num_params=0, func=lambda: 1, deterministic=True)
            await db.create_function("g", narg=0, func=lambda: 2)
            await db.create_function("h", 0, lambda: 3, True)
            await db.set_trace_callback(handler=None)
            await db.set_progress_handler(handler=None, n=0)
            await db.set_authorizer(authorizer_callback=lambda *_: 0)
            assert await db.execute_fetchall("SELECT f(), g(), h()") == [(1, 2, 3)]
            await db.execute("CREATE TABLE t(a, b AS (f()) STORED)")  # deterministic
            await db.execute("CREATE TABLE u(a, b AS (h()) STORED)")
            with pytest.raises(sqlite3.OperationalError):
                await db.execute("CREATE TABLE v(a, b AS (g()) STORED)")

    run(main)


def test_before_and_after_it_is_open(run: Run) -> None:
    async def main() -> None:
        db = lib.connect(":memory:")
        with pytest.raises(ValueError, match="no active connection"):
            await db.create_function("f", 0, int)
        await db
        await db.close()
        with pytest.raises(ValueError, match="no active connection"):
            await db.create_function("f", 0, int)

    run(main)


def test_aggregates_windows_and_collations(run: Run) -> None:
    def compare(a: str, b: str) -> int:
        return (a[::-1] > b[::-1]) - (a[::-1] < b[::-1])

    plain: Any = sqlite3.connect(":memory:")
    plain.create_aggregate("s", -1, Sum)
    plain.create_collation("backwards", compare)
    statements = [
        ROWS.format("s(x, 1)"),
        "SELECT s(1) WHERE 0",
        "SELECT * FROM (VALUES ('ab'), ('ba'), ('aa')) ORDER BY 1 COLLATE backwards",
    ]
    if hasattr(sqlite3.Connection, "create_window_function"):
        plain.create_window_function("w", 1, Sum)
        statements.append(ROWS.format("w(x) OVER (ROWS 2 PRECEDING)"))

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.create_aggregate("s", -1, Sum)
            await db.create_collation("backwards", compare)
            if hasattr(db, "create_window_function"):
                await db.create_window_function("w", 1, Sum)
            for sql in statements:
                assert await db.execute_fetchall(sql) == plain.execute(sql).fetchall(), sql
            await db.create_collation("backwards", None)
            with pytest.raises(sqlite3.OperationalError, match="no such collation"):
                await db.execute(statements[2])

    run(main)
    plain.close()


class Bad:
    """An aggregate that fails where `at` says."""

    at = "step"

    def __init__(self) -> None:
        self.fail("init")

    def fail(self, here: str) -> None:
        if here == type(self).at:
            raise ZeroDivisionError(here)

    def step(self, value: int) -> None:
        self.fail("step")

    def finalize(self) -> int:
        self.fail("finalize")
        return 1


@pytest.mark.parametrize("at", ["init", "step", "finalize", "no step", "no finalize"])
def test_an_aggregate_that_fails(run: Run, at: str) -> None:
    class This(Bad):
        pass

    This.at = at
    bad: Any = {
        "no step": type("A", (), {"finalize": lambda self: 1}),
        "no finalize": type("A", (), {"step": lambda self, x: None}),
    }.get(at, This)
    plain = sqlite3.connect(":memory:")
    plain.create_aggregate("s", 1, bad)
    expected = raised_by(lambda: plain.execute("SELECT s(1)").fetchall())
    plain.close()

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.create_aggregate("s", 1, bad)
            found = await caught(db.execute_fetchall("SELECT s(1)"))
            if type(expected) is AttributeError:  # 3.10 leaves it to whoever comes next
                assert type(found) is sqlite3.OperationalError
            else:
                same_error(found, expected)
            assert await db.execute_fetchall("SELECT 1") == [(1,)]

    run(main)


def test_exceptions_are_shown_as_sqlite3_does(run: Run, guard: Any) -> None:
    def broken() -> None:
        raise ZeroDivisionError("in here")

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.create_function("f", 0, broken)
            for shown in (False, True):
                sqlite3.enable_callback_tracebacks(shown)
                with pytest.raises(sqlite3.OperationalError, match="raised exception"):
                    await db.execute_fetchall("SELECT f()")
                noted = guard.forget_uncaught()
                if hasattr(sqlite3, "SQLITE_BUSY"):  # 3.10 prints
                    assert len(noted) == shown
                    assert all("broken" in text and "in here" in text for text in noted)

    try:
        run(main)
    finally:
        sqlite3.enable_callback_tracebacks(False)


# ---- where they run -----------------------------------------------------------------------------


def ways() -> dict[str, Callable[[Any, str, Callable[..., Any]], Any]]:
    """All the ways to register a function."""

    async def directly(db: Any, name: str, function: Callable[..., Any]) -> None:
        db._conn.create_function(name, -1, function)

    async def by_execute(db: Any, name: str, function: Callable[..., Any]) -> None:
        await db._execute(lambda: db._conn.create_function(name, -1, function))

    async def method_by_execute(db: Any, name: str, function: Callable[..., Any]) -> None:
        await db._execute(db._conn.create_function, name, -1, function)

    async def by_method(db: Any, name: str, function: Callable[..., Any]) -> None:
        await db.create_function(name, -1, function)

    async def other_thread(db: Any, name: str, function: Callable[..., Any]) -> None:
        await asyncio.to_thread(db._conn.create_function, name, -1, function)

    return {
        f.__name__: f for f in (directly, by_execute, method_by_execute, by_method, other_thread)
    }


ARROW = pytest.param(
    "->", marks=pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 38), reason="no such operator")
)


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize("name", ["mine", "lower", "Abs", "sum", "count", "like", ARROW])
def test_never_on_the_loop(run: Run, path: Path, way: str, name: str) -> None:
    """Also when it takes the place of one of SQLite's that runs there."""
    make(
        path,
        "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'A')",  # noqa: E501
    )
    sql = {
        "like": "SELECT v LIKE 'x' FROM t WHERE id = ?",
        "->": "SELECT v -> 'x' FROM t WHERE id = ?",
    }.get(name, f"SELECT {name}(v) FROM t WHERE id = ?")

    async def main() -> None:
        here = on_loop()
        seen: list[bool] = []
        async with lib.connect(path, isolation_level=None) as db:
            for _ in range(8):
                await db.execute_fetchall("SELECT v FROM t WHERE id = ?", (1,))

            def function(*args: Any) -> str:
                seen.append(here())
                return "mine"

            narg = {"like": 2, "->": 2}.get(name, 1)
            original = function
            await ways()[way](db, name, original)
            await db._execute(db._conn.create_function, name, narg, original)
            for _ in range(8):
                assert await db.execute_fetchall(sql, (1,)) == [("mine",)]
            assert seen
            assert not any(seen)

    if name in ("sum", "count"):
        pytest.skip("aggregates are replaced by aggregates")
    run(main)


@pytest.mark.parametrize("name", ["mine", "nocase", "BINARY", "RTrim"])
def test_collations_never_on_the_loop(run: Run, path: Path, name: str) -> None:
    make(
        path,
        "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'A'), (2, 'b')",  # noqa: E501
    )

    async def main() -> None:
        here = on_loop()
        seen: list[bool] = []
        async with lib.connect(path, isolation_level=None) as db:
            sql = f"SELECT v = 'a' COLLATE {name} FROM t WHERE id = 1"
            if name != "mine":
                for _ in range(8):
                    await db.execute_fetchall(sql)

            def compare(a: str, b: str) -> int:
                seen.append(here())
                return 0

            db._conn.create_collation(name, compare)
            for _ in range(8):
                assert await db.execute_fetchall(sql) == [(1,)]
            assert seen
            assert not any(seen)

    run(main)


def test_others_still_run_on_the_loop(run: Run, path: Path) -> None:
    """What is registered under a name of its own concerns only what uses it."""
    make(
        path,
        "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'A')",  # noqa: E501
    )

    async def main() -> None:
        async with lib.connect(path, isolation_level=None) as db:
            await db.create_function("mine", 1, str)
            await db.create_collation("mine", lambda a, b: 0)
            sql = "SELECT lower(v) FROM t WHERE id = 1"

            async def read() -> None:
                assert await db.execute_fetchall(sql) == [("a",)]

            assert await on_the_loop(read, 20, 20)

    run(main)


def test_a_scan_with_a_function_beside_point_reads(run: Run, path: Path) -> None:
    """One holds SQLite's mutex and wants the GIL; the other has the GIL."""
    make(
        path,
        "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, v);"
        "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 3000) SELECT x, x FROM c",  # noqa: E501
    )

    async def main() -> None:
        here = on_loop()
        seen: set[bool] = set()
        async with lib.connect(path) as slow, lib.connect(path, isolation_level=None) as fast:
            enough = threading.Event()

            def function(x: int) -> int:
                seen.add(here())
                if x == 1500:
                    enough.wait()
                return x

            await slow.create_function("f", 1, function)
            async with Ticks() as ticks:
                scan = asyncio.ensure_future(
                    slow.execute_fetchall(
                        "SELECT sum(f(a.v)) FROM t a, (VALUES (1), (2), (3), (4))"
                    )
                )
                reads = 0
                while not scan.done():
                    n = reads % 3000 + 1
                    sql = "SELECT v FROM t WHERE id = ?"
                    assert await fast.execute_fetchall(sql, (n,)) == [(n,)]
                    # The same connection waits for its scan; the loop does not.
                    assert slow._conn.in_transaction is False
                    reads += 1
                    if reads == 50:
                        enough.set()
                    await turns(1)
            assert await scan == [(4 * sum(range(3001)),)]
            assert seen == {False}
            assert reads >= 50
            assert ticks.count >= 50

    run(main)


# ---- contexts -----------------------------------------------------------------------------------


def test_contexts_reach_functions(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.create_function("here", 0, where.get)
            await db.create_aggregate("all_here", 0, Here)

            async def ask(name: str) -> tuple[str, ...]:
                where.set(name)
                return tuple((await db.execute_fetchall("SELECT here(), all_here()"))[0])

            names = [str(n) for n in range(20)]
            assert await asyncio.gather(*map(ask, names)) == [(n, f"{n}{n}{n}") for n in names]
            assert where.get() == "nowhere"
            assert await db.execute_fetchall("SELECT here()") == [("nowhere",)]
            cursors = []
            for name in names[:3]:
                where.set(name)
                cursors.append(await db.execute(ROWS.format("here()").replace("100", "5000")))
            where.set("fetching")
            rows = [await cursor.fetchall() for cursor in cursors]
            assert [len(r) for r in rows] == [5000] * 3
            assert {r[0][0] for r in rows} == set(names[:3])

    run(main)


class Here:
    def __init__(self) -> None:
        self.names = where.get()

    def step(self) -> None:
        self.names += where.get()

    def finalize(self) -> str:
        return self.names + where.get()


def test_a_context_is_not_the_callers_own(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.create_function("change", 1, where.set)
            where.set("mine")
            with pytest.raises(sqlite3.OperationalError):  # a token is no value
                await db.execute_fetchall("SELECT change('theirs')")
            assert where.get() == "mine"

    run(main)


def test_nested_statements(run: Run) -> None:
    """A function may use the sqlite3.Connection it is called by, whose statements call it again."""

    async def main() -> None:
        async with lib.connect(":memory:") as db:

            def deep(n: int) -> str:
                if n == 0:
                    return where.get()
                return str(db._conn.execute("SELECT deep(?)", (n - 1,)).fetchone()[0])

            await db.create_function("deep", 1, deep)
            where.set("deep down")
            assert await db.execute_fetchall("SELECT deep(5)") == [("deep down",)]
            assert await db._execute(lambda: db._conn.execute("SELECT deep(3)").fetchone()) == (
                "deep down",
            )

    run(main)


# ---- ends ---------------------------------------------------------------------------------------

ENDS = {
    "sync": "def f(x): inside.set(); return x",
    "sleeping": "def f(x): inside.set(); threading.Event().wait()",
    "looping": "def f(x):\n    inside.set()\n    while True: pass",
    "async": "async def f(x): inside.set(); await asyncio.Event().wait()",
}


@pytest.mark.parametrize("body", ENDS)
@pytest.mark.parametrize("end", ["", "loop.close()"])
def test_a_function_does_not_keep_a_program_from_ending(
    tmp_path: Path, body: str, end: str
) -> None:
    done = run_script(
        tmp_path,
        f"""
warnings.simplefilter("ignore")
inside = threading.Event()
{ENDS[body]}

async def main():
    global db, call
    db = await lib.connect(PATH, isolation_level=None)
    await db.execute("CREATE TABLE t(v)")
    await db.execute("INSERT INTO t VALUES (1)")
    await db.create_function("f", 1, f)
    call = db.execute(ENDLESS.replace("x + 1", "f(x) + 1"))
    await begin(call)
    while not inside.is_set():
        await asyncio.sleep(0)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
{end}
""",
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@forks_beside_threads
def test_after_a_fork_the_child_leaves_functions_alone(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
warnings.simplefilter("ignore")
async def main():
    db = await lib.connect(PATH)
    await db.create_function("f", 0, lambda: 1)
    assert await db.execute_fetchall("SELECT f()") == [(1,)]
    child = os.fork()
    if child == 0:
        try:
            try:
                db._conn.execute("SELECT f()")
            except sqlite3.ProgrammingError as error:
                assert "before fork()" in str(error), error
            else:
                os._exit(3)
            async def mine():
                async with lib.connect(":memory:") as mine:
                    await mine.create_function("f", 0, lambda: 2)
                    return (await mine.execute_fetchall("SELECT f()"))[0][0]
            import asyncio.events
            asyncio.events._set_running_loop(None)
            os._exit(asyncio.new_event_loop().run_until_complete(mine()))
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert await db.execute_fetchall("SELECT f()") == [(1,)]
    await db.close()
asyncio.run(main())
""",
    )
    ran_clean(done)


def test_signatures() -> None:
    assert "fn" in str(inspect.signature(lib.Connection._execute))
    assert ENDLESS


def test_functions_are_freed(run: Run) -> None:
    import gc
    import weakref

    class Mine:
        def __call__(self) -> int:
            return 1

    async def main() -> None:
        function = Mine()
        gone = weakref.ref(function)
        async with lib.connect(":memory:") as db:
            await db.create_function("f", 0, function)
            assert await db.execute_fetchall("SELECT f()") == [(1,)]
        del function
        await turns(2)
        gc.collect()
        assert gone() is None

    run(main)


def test_until_is_used(run: Run) -> None:
    """A function that is slow keeps its own connection only."""

    async def main() -> None:
        inside, go = threading.Event(), threading.Event()

        def wait() -> int:
            inside.set()
            go.wait()
            return 1

        async with lib.connect(":memory:") as db, lib.connect(":memory:") as other:
            await db.create_function("wait", 0, wait)
            task = asyncio.ensure_future(db.execute_fetchall("SELECT wait()"))
            await until(inside.is_set)
            assert await other.execute_fetchall("SELECT 1") == [(1,)]
            assert not task.done()
            go.set()
            assert await task == [(1,)]

    run(main)
