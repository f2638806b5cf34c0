"""What mocks, patches and subclasses of programs' tests need of the classes."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import weakref
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, MagicMock, create_autospec, patch

import pytest
from support import lib, looplite_only
from support.loops import caught

Connect = Callable[..., Any]
Run = Callable[..., Any]

PLAIN = (  # async def in aiosqlite
    "__aenter__",
    "__aexit__",
    "_connect",
    "_execute",
    "close",
    "commit",
    "interrupt",
    "rollback",
)
GIVING_A_RESULT = (
    "cursor",
    "execute",
    "execute_fetchall",
    "execute_insert",
    "executemany",
    "executescript",
)
OF_CURSOR = (
    "__aenter__",
    "__aexit__",
    "_execute",
    "close",
    "execute",
    "executemany",
    "executescript",
    "fetchall",
    "fetchmany",
    "fetchone",
)


@pytest.mark.parametrize("of", [asyncio, inspect])
def test_coroutine_functions(of: Any) -> None:
    for name in PLAIN:
        assert of.iscoroutinefunction(getattr(lib.Connection, name)), name
    for name in GIVING_A_RESULT:
        assert not of.iscoroutinefunction(getattr(lib.Connection, name)), name
    for name in OF_CURSOR:
        assert of.iscoroutinefunction(getattr(lib.Cursor, name)), name
    db = lib.connect(":memory:")
    assert of.iscoroutinefunction(db.commit)
    assert not of.iscoroutinefunction(db.execute)
    assert not of.iscoroutinefunction(lib.connect)


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        ("Connection", "commit", ["self"]),
        ("Connection", "execute", ["self", "sql", "parameters"]),
        ("Connection", "executemany", ["self", "sql", "parameters"]),
        ("Connection", "executescript", ["self", "sql_script"]),
        ("Connection", "_execute", ["self", "fn", "args", "kwargs"]),
        ("Connection", "close", ["self"]),
        ("Connection", "stop", ["self"]),
        ("Cursor", "execute", ["self", "sql", "parameters"]),
        ("Cursor", "fetchmany", ["self", "size"]),
        ("Cursor", "fetchall", ["self"]),
    ],
)
def test_signatures(owner: str, name: str, parameters: list[str]) -> None:
    signature = inspect.signature(getattr(getattr(lib, owner), name))
    assert list(signature.parameters) == parameters


def test_signature_of_a_bound_method() -> None:
    db = lib.connect(":memory:")
    assert list(inspect.signature(db.commit).parameters) == []
    assert list(inspect.signature(db.execute).parameters) == ["sql", "parameters"]


@looplite_only
def test_async_methods_look_like_functions() -> None:
    commit: Any = lib.Connection.commit
    assert commit.__name__ == "commit"
    assert commit.__qualname__ == "Connection.commit"
    assert commit.__module__ == "looplite"
    assert commit.__doc__
    assert commit.__objclass__ is lib.Connection
    assert "commit" in repr(commit)
    assert inspect.isroutine(lib.Connection.commit)
    assert not inspect.iscoroutinefunction(lib.Connection.stop)
    with pytest.raises(TypeError, match="needs an argument"):
        commit()
    with pytest.raises(TypeError, match=r"Connection\.commit"):
        commit(object())
    with pytest.raises(TypeError, match="takes no arguments"):
        lib.connect(":memory:").commit(1)
    with pytest.raises(TypeError, match="takes no arguments"):
        lib.connect(":memory:").commit(x=1)
    with pytest.raises(TypeError, match="cannot create"):
        type(commit)()


@pytest.mark.parametrize(
    "make",
    [
        lambda cls: AsyncMock(spec=cls),
        lambda cls: MagicMock(spec=cls),
        lambda cls: create_autospec(cls, instance=True),
    ],
    ids=["AsyncMock", "MagicMock", "autospec"],
)
def test_mocks_with_a_spec(make: Callable[[Any], Any]) -> None:
    async def main() -> None:
        db = make(lib.Connection)
        assert isinstance(db, lib.Connection)
        for name in ("commit", "close", "rollback", "_execute", "interrupt"):
            assert isinstance(getattr(db, name), AsyncMock), name
        await db.commit()
        db.commit.assert_awaited_once()
        for name in GIVING_A_RESULT:
            assert not isinstance(getattr(db, name), AsyncMock), name
        with pytest.raises(AttributeError):
            _ = db.no_such_name
        async with db as entered:
            assert entered is not None
        cursor = make(lib.Cursor)
        for name in ("execute", "fetchall", "fetchmany", "fetchone", "close"):
            assert isinstance(getattr(cursor, name), AsyncMock), name

    asyncio.run(main())


def test_patched_methods(run: Run, connect: Connect) -> None:
    async def main() -> None:
        async with connect(":memory:") as db:
            for name in ("execute", "commit", "rollback", "stop", "cursor"):
                with patch.object(lib.Connection, name, return_value=name) as replaced:
                    made = getattr(db, name)()
                    assert (await made if inspect.isawaitable(made) else made) == name
                    replaced.assert_called_once()
            with patch.object(lib.Cursor, "fetchall", AsyncMock(return_value=["x"])):
                assert await (await db.execute("SELECT 1")).fetchall() == ["x"]
            assert await (await db.execute("SELECT 1")).fetchall() == [(1,)]

    run(main)


def test_close_is_called_when_a_block_is_left(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = connect(":memory:")
        with patch.object(lib.Connection, "close", AsyncMock()) as closed:
            async with db:
                pass
        closed.assert_awaited_once()
        assert db._connection is not None
        await db.close()
        db = await connect(":memory:")
        cursor = await db.cursor()
        with patch.object(lib.Cursor, "close", AsyncMock()) as closed:
            async with cursor:
                pass
            async with db.execute("SELECT 1"):
                pass
        assert closed.await_count == 2
        await db.close()

    run(main)


def test_patched_init_and_del(connect: Connect) -> None:
    with patch.object(lib.Connection, "__init__", lambda self, *args, **kwargs: None):
        connect(":memory:")
    gone: list[Any] = []
    with patch.object(lib.Connection, "__del__", lambda self: gone.append(self)):
        db = connect(":memory:")
        del db
    assert len(gone) == 1
    gone[0]._connection  # noqa: B018 - it is whole


def test_a_replaced_execute_sees_everything(run: Run, connect: Connect) -> None:
    """On an object, in a subclass and on the class: aiosqlite sends all calls through it."""
    seen: list[str] = []

    async def main(how: str) -> None:
        db = connect(":memory:")
        original = lib.Connection._execute
        if how == "class":
            patcher = patch.object(lib.Connection, "_execute", spy_method(original))
            patcher.start()
        elif how == "object":
            bound = db._execute

            async def on_object(fn: Any, *args: Any, **kwargs: Any) -> Any:
                seen.append(fn.__name__)
                return await bound(fn, *args, **kwargs)

            db._execute = on_object
        else:
            db = type("Sub", (lib.Connection,), {"_execute": spy_method(original)})(
                db._connector, 64
            )
        try:
            seen.clear()
            async with db:
                await db.execute("CREATE TABLE t(v)")
                await db.execute("INSERT INTO t VALUES (?)", (5,))
                await db.commit()
                async with db.execute("SELECT v FROM t") as cursor:
                    assert [row async for row in cursor] == [(5,)]
                assert await db.execute_fetchall("SELECT v + 1 FROM t") == [(6,)]
                cursor = await db.cursor()
                await cursor.execute("SELECT 1 AS x")
                assert cursor.description[0][0] == "x"
                assert await cursor.fetchone() == (1,)
                assert await cursor.fetchmany(3) == []
                assert seen[:4] == ["execute", "execute", "commit", "execute"]
                assert {"fetchmany", "close", "cursor", "fetchone"} <= set(seen)
                seen.clear()
            assert len(seen) == 1  # the connection's close()
            assert db._connection is None
        finally:
            if how == "class":
                patcher.stop()

    def spy_method(original: Any) -> Any:
        async def spy(self: Any, fn: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(fn.__name__)
            return await original(self, fn, *args, **kwargs)

        return spy

    for how in ("object", "subclass", "class"):
        run(main, how)


def test_a_close_that_fails_in_a_replaced_execute(run: Run, connect: Connect) -> None:
    async def main() -> None:
        db = await connect(":memory:")

        async def fail(fn: Any, *args: Any, **kwargs: Any) -> Any:
            raise sqlite3.OperationalError("as asked")

        db._execute = fail
        error = await caught(db.close())
        assert str(error) == "as asked"
        assert db._connection is None
        assert not db._running
        await db.close()

    run(main)


def test_a_replaced_stop_is_called(run: Run, connect: Connect) -> None:
    async def main() -> None:
        stopped: list[int] = []

        class Sub(lib.Connection):  # type: ignore[misc]
            def stop(self) -> Any:
                stopped.append(1)
                return super().stop()

        db = await Sub(connect(":memory:")._connector, 64)
        await db.close()
        assert stopped == [1]
        db = await Sub(connect(":memory:")._connector, 64)
        with pytest.warns(ResourceWarning):
            del db
        assert stopped == [1, 1]

    run(main)


def test_a_replaced_connect_is_called(run: Run, connect: Connect) -> None:
    class Sub(lib.Connection):  # type: ignore[misc]
        async def _connect(self) -> Any:
            db = await super()._connect()
            await db.execute("PRAGMA foreign_keys = ON")
            return db

    async def main() -> None:
        async with Sub(connect(":memory:")._connector, 64) as db:
            assert type(db) is Sub
            assert await db.execute_fetchall("PRAGMA foreign_keys") == [(1,)]

    run(main)


def test_a_replaced_fetchmany_serves_the_iteration(run: Run, connect: Connect) -> None:
    class Sub(lib.Cursor):  # type: ignore[misc]
        async def fetchmany(self, size: int | None = None) -> list[Any]:
            return [("own", *row) for row in await super().fetchmany(size)]

    async def main() -> None:
        async with connect(":memory:") as db:
            raw = await db._execute(db._conn.execute, "SELECT 1 UNION SELECT 2")
            cursor = Sub(db, raw)
            assert [row async for row in cursor] == [("own", 1), ("own", 2)]
            assert cursor.iter_chunk_size == 64
            assert cursor._cursor is raw
            await cursor.close()

    run(main)


def test_subclasses_with_an_execute_of_their_own(run: Run, connect: Connect) -> None:
    class Traced(lib.Connection):  # type: ignore[misc]
        def __init__(self, *args: Any, label: str, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.label = label
            self.statements: list[str] = []

        async def execute(self, sql: str, *parameters: Any) -> Any:
            self.statements.append(sql)
            return await super().execute(sql, parameters)

    async def main() -> None:
        db = await Traced(connector=connect(":memory:")._connector, iter_chunk_size=3, label="a")
        cursor = await db.execute("SELECT ?, ?", 1, 2)
        assert await cursor.fetchone() == (1, 2)
        assert await db.execute_fetchall("SELECT 1") == [(1,)]  # not through execute()
        assert db.statements == ["SELECT ?, ?"]
        assert db.label == "a"
        await db.close()

    run(main)


def test_objects_are_ordinary(connect: Connect) -> None:
    db: Any = connect(":memory:")
    other = connect(":memory:")
    db.anything = 1
    assert "anything" in db.__dict__
    assert id(weakref.ref(db)()) == id(db)
    assert db == db
    assert db != other
    assert hash(db) != hash(other)
    lib.Connection.for_all = 5
    try:
        assert db.for_all == 5
    finally:
        del lib.Connection.for_all


def test_context_manager_and_result(run: Run) -> None:
    context: Any = pytest.importorskip(
        "looplite.aiosqlite.context" if lib.__name__ == "looplite" else "aiosqlite.context"
    )
    closed: list[str] = []

    class Repository:
        def __init__(self, db: Any) -> None:
            self.db = db

        @context.contextmanager  # type: ignore[untyped-decorator]
        async def rows(self, sql: str) -> Any:
            """Documented."""
            return await self.db.execute(sql)

        @context.contextmanager  # type: ignore[untyped-decorator]
        async def fails(self) -> Any:
            raise ValueError("as asked")

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            repository = Repository(db)
            assert repository.rows.__doc__ == "Documented."
            made = repository.rows("SELECT 1")
            assert isinstance(made, context.Result)
            assert asyncio.iscoroutine(made)
            cursor = await made
            assert await cursor.fetchall() == [(1,)]
            assert type(await caught(made)) is RuntimeError
            async with repository.rows("SELECT 2") as cursor:
                assert await cursor.fetchone() == (2,)
            assert (await asyncio.gather(repository.rows("SELECT 3"), asyncio.sleep(0)))[0]
            assert await asyncio.create_task(repository.rows("SELECT 4"))
            assert str(await caught(repository.fails())) == "as asked"

            async def forever() -> None:
                try:
                    await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    closed.append("cancelled")
                    raise

            task = asyncio.ensure_future(context.Result(forever()))
            await asyncio.sleep(0)
            task.cancel()
            assert isinstance(await caught(task), asyncio.CancelledError)
            assert closed[-1] == "cancelled"
            left = context.Result(forever())
            left.send(None)
            left.close()

    run(main)
    assert context.Result[int]


@looplite_only
def test_a_result_needs_a_coroutine() -> None:
    with pytest.raises(TypeError, match="takes a coroutine, not 'int'"):
        lib.Result(5)
    with pytest.raises(TypeError):
        lib.Result()
