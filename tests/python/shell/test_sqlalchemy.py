"""SQLAlchemy on looplite: the dialect ``sqlite+looplite``, and its own for aiosqlite after
install().
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import lib, looplite_only
from support.loops import caught, turns, until
from support.scripts import ran_clean, run_script

pytest.importorskip("greenlet")
sa = pytest.importorskip("sqlalchemy")
aio = pytest.importorskip("sqlalchemy.ext.asyncio")
orm = pytest.importorskip("sqlalchemy.orm")

pytestmark = looplite_only

Run = Callable[..., Any]


Base: Any = orm.declarative_base()


class User(Base):  # type: ignore[misc]
    __tablename__ = "users"

    id = orm.mapped_column(sa.Integer, primary_key=True)
    name = orm.mapped_column(sa.String, unique=True, nullable=False)
    notes = orm.relationship("Note", back_populates="user", order_by="Note.id")


class Note(Base):  # type: ignore[misc]
    __tablename__ = "notes"

    id = orm.mapped_column(sa.Integer, primary_key=True)
    user_id = orm.mapped_column(sa.ForeignKey("users.id"))
    text = orm.mapped_column(sa.String)
    user = orm.relationship("User", back_populates="notes")


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return (
        f"sqlite+looplite:///{tmp_path}/sa.db" if request.param == "file" else "sqlite+looplite://"
    )


async def prepared(url: str, **keywords: Any) -> Any:
    engine = aio.create_async_engine(url, **keywords)
    async with engine.begin() as conn:
        await conn.run_sync(Base.metadata.create_all)
    return engine


def test_the_dialect_is_found(url: str) -> None:
    engine = aio.create_async_engine(url)
    assert engine.dialect.name == "sqlite"
    assert engine.dialect.driver == "looplite"
    assert engine.dialect.is_async
    assert type(engine.dialect).__module__ == "looplite.sqlalchemy"
    expected = "StaticPool" if url.endswith("//") else "AsyncAdaptedQueuePool"
    assert type(engine.pool).__name__ == expected


def test_core(run: Run, url: str) -> None:
    async def main() -> None:
        engine = await prepared(url)
        users = User.__table__
        async with engine.begin() as conn:
            got = await conn.execute(sa.insert(users).values(name="a"))
            assert got.inserted_primary_key == (1,)
            await conn.execute(sa.insert(users), [{"name": "b"}, {"name": "c"}])
            got = await conn.execute(sa.update(users).values(name="z").where(users.c.id == 3))
            assert got.rowcount == 1
            got = await conn.execute(sa.insert(users).values(name="d").returning(users.c.id))
            assert got.scalar_one() == 4
        async with engine.connect() as conn:
            rows = (await conn.execute(sa.select(users.c.name).order_by(users.c.id))).all()
            assert [row.name for row in rows] == ["a", "b", "z", "d"]
            streamed = await conn.stream(sa.select(users.c.id).order_by(users.c.id))
            assert [row.id async for row in streamed] == [1, 2, 3, 4]
            streamed = await conn.stream(sa.select(users.c.id).order_by(users.c.id))
            assert (await streamed.fetchone()).id == 1
            assert [row.id for row in await streamed.fetchmany(2)] == [2, 3]
            await streamed.close()
            assert (await conn.execute(sa.text("SELECT :x + 1"), {"x": 41})).scalar() == 42
            assert (await conn.execute(sa.text("SELECT 'ab' REGEXP 'a.'"))).scalar() == 1
            raw = await conn.get_raw_connection()
            assert isinstance(raw.driver_connection, lib.Connection)
        async with engine.connect() as conn:
            await conn.execute(sa.insert(users).values(name="gone"))
            await conn.rollback()
            count = sa.select(sa.func.count()).select_from(users)
            assert (await conn.execute(count)).scalar() == 4
        await engine.dispose()

    run(main)


def test_orm(run: Run, url: str) -> None:
    async def main() -> None:
        engine = await prepared(url)
        session = aio.async_sessionmaker(engine, expire_on_commit=False)
        async with session() as s, s.begin():
            s.add_all([User(name=f"u{i}", notes=[Note(text=f"n{i}")]) for i in range(20)])
        async with session() as s:
            user = await s.get(User, 7)
            assert user.name == "u6"
            loaded = await s.scalars(
                sa.select(User).options(orm.selectinload(User.notes)).order_by(User.id)
            )
            assert [u.notes[0].text for u in loaded] == [f"n{i}" for i in range(20)]
            joined = await s.execute(sa.select(Note.text).join(User).where(User.name == "u3"))
            assert joined.scalar_one() == "n3"
            lazy = await s.get(User, 1)
            assert type(await caught(s.run_sync(lambda _: int(lazy.name)))) is ValueError
        async with session() as s:
            s.add(User(name="u0"))
            assert isinstance(await caught(s.commit()), sa.exc.IntegrityError)
            await s.rollback()
            async with s.begin_nested() as savepoint:
                s.add(User(name="inner"))
                await s.flush()
                await savepoint.rollback()
            s.add(User(name="outer"))
            await s.commit()
            names = set(await s.scalars(sa.select(User.name)))
            assert "outer" in names
            assert "inner" not in names
        await engine.dispose()

    run(main)


def test_errors_are_wrapped(run: Run, url: str) -> None:
    async def main() -> None:
        engine = await prepared(url)
        async with engine.connect() as conn:
            error = await caught(conn.execute(sa.text("SELECT * FROM nothing")))
            assert isinstance(error, sa.exc.OperationalError)
            assert isinstance(error.orig, sqlite3.OperationalError)
            await conn.rollback()
            error = await caught(
                conn.execute(sa.text("INSERT INTO users(id, name) VALUES (1, NULL)"))
            )
            assert isinstance(error, sa.exc.IntegrityError)
            assert isinstance(error.orig, lib.IntegrityError)
        await engine.dispose()

    run(main)


def test_a_closed_connection_is_a_disconnect(run: Run, url: str) -> None:
    async def main() -> None:
        engine = await prepared(url)
        async with engine.connect() as conn:
            raw = await conn.get_raw_connection()
            await raw.driver_connection.close()
            error = await caught(conn.execute(sa.text("SELECT 1")))
            assert isinstance(error, sa.exc.OperationalError), error
            assert error.connection_invalidated
        async with engine.connect() as conn:
            assert (await conn.execute(sa.text("SELECT 1"))).scalar() == 1
        await engine.dispose()

    run(main)


def test_events_reach_the_sqlite3_connection(run: Run, url: str) -> None:
    async def main() -> None:
        engine = aio.create_async_engine(url)

        def on_connect(dbapi_connection: Any, _record: Any) -> None:
            cursor = dbapi_connection.cursor()
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.close()
            dbapi_connection.create_function("twice", 1, lambda value: value * 2)
            connection = dbapi_connection.driver_connection._conn
            assert isinstance(connection, sqlite3.Connection)
            connection.create_function("thrice", 1, lambda value: value * 3)

        sa.event.listen(engine.sync_engine, "connect", on_connect)
        async with engine.connect() as conn:
            assert (await conn.execute(sa.text("PRAGMA foreign_keys"))).scalar() == 1
            assert (await conn.execute(sa.text("SELECT twice(21)"))).scalar() == 42
            assert (await conn.execute(sa.text("SELECT thrice(14)"))).scalar() == 42
        await engine.dispose()

    run(main)


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "READ UNCOMMITTED", "SERIALIZABLE"])
def test_isolation_levels(run: Run, url: str, level: str) -> None:
    async def main() -> None:
        engine = await prepared(url)
        async with engine.connect() as conn:
            conn = await conn.execution_options(isolation_level=level)
            assert await conn.get_isolation_level() in (level, "SERIALIZABLE")
            await conn.execute(sa.insert(User).values(name="x"))
            raw = await conn.get_raw_connection()
            assert raw.driver_connection.in_transaction is (level != "AUTOCOMMIT")
            await conn.rollback()
        async with engine.connect() as conn:
            count = (await conn.execute(sa.select(sa.func.count()).select_from(User))).scalar()
            assert count == (1 if level == "AUTOCOMMIT" else 0)
        await engine.dispose()

    run(main)


def test_a_pool_of_readers_and_writers(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        engine = await prepared(
            f"sqlite+looplite:///{tmp_path}/pool.db", pool_size=4, max_overflow=0
        )
        session = aio.async_sessionmaker(engine)

        async def write(i: int) -> None:
            async with session() as s, s.begin():
                s.add(User(name=f"u{i}"))

        async def read() -> int:
            async with session() as s:
                return len((await s.scalars(sa.select(User))).all())

        counts = await asyncio.gather(*(f for i in range(30) for f in (write(i), read())))
        assert await read() == 30
        assert len(counts) == 60
        assert engine.pool.checkedout() == 0
        await engine.dispose()

    run(main)


def test_a_cancelled_task_gives_its_connection_back(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        engine = await prepared(
            f"sqlite+looplite:///{tmp_path}/cancel.db", pool_size=1, max_overflow=0
        )
        begun, release = threading.Event(), threading.Event()

        def on_connect(dbapi_connection: Any, _record: Any) -> None:
            def wait() -> int:
                begun.set()
                release.wait()
                return 1

            dbapi_connection.create_function("wait", 0, wait)

        sa.event.listen(engine.sync_engine, "connect", on_connect)
        await engine.dispose()

        async def use() -> None:
            async with engine.connect() as conn:
                await conn.execute(sa.text("SELECT wait()"))

        task = asyncio.ensure_future(use())
        await until(begun.is_set)
        task.cancel()
        await turns(3)
        release.set()
        assert isinstance(await caught(task), asyncio.CancelledError)
        await until(lambda: engine.pool.checkedout() == 0)
        async with engine.connect() as conn:
            assert (await conn.execute(sa.text("SELECT 1"))).scalar() == 1
        await engine.dispose()

    run(main)


def test_outside_of_a_greenlet(run: Run, url: str) -> None:
    async def main() -> None:
        engine = await prepared(url)
        async with engine.connect() as conn:
            raw = await conn.get_raw_connection()
            adapted = raw.dbapi_connection
            with pytest.raises(sa.exc.MissingGreenlet):
                adapted.cursor().execute("SELECT 1")
        await engine.dispose()
        gc.collect()

    run(main)


def test_a_creator_that_runs_greenlets_of_its_own(run: Run, tmp_path: Path) -> None:
    """And waits in them more than once."""
    waits = getattr(sa.util, "await_", None) or sa.util.await_only

    async def opened() -> Any:
        await asyncio.sleep(0)
        return await lib.connect(tmp_path / "sa.db")

    def inside() -> Any:
        waits(asyncio.sleep(0))
        return waits(opened())

    async def creator() -> Any:
        return await sa.util.greenlet_spawn(inside)

    async def main() -> None:
        engine = aio.create_async_engine("sqlite+looplite://", async_creator=creator)
        async with engine.connect() as conn:
            assert (await conn.execute(sa.text("SELECT 7"))).scalar() == 7
            raw = await conn.get_raw_connection()
            assert isinstance(raw.driver_connection, lib.Connection)
        await engine.dispose()

    run(main)


@pytest.mark.parametrize("driver", ["looplite", "aiosqlite"])
def test_a_program_that_forgets_dispose(tmp_path: Path, driver: str) -> None:
    done = run_script(
        tmp_path,
        f"""
        warnings.simplefilter("ignore", ResourceWarning)
        lib.install()
        import sqlalchemy as sa
        from sqlalchemy.ext.asyncio import create_async_engine
        async def main():
            engine = create_async_engine("sqlite+{driver}:///" + PATH)
            async with engine.begin() as conn:
                await conn.execute(sa.text("CREATE TABLE t(v)"))
                await conn.execute(sa.text("INSERT INTO t VALUES (5)"))
                raw = await conn.get_raw_connection()
                assert isinstance(raw.driver_connection, lib.Connection)
            async with engine.connect() as conn:
                print((await conn.execute(sa.text("SELECT v FROM t"))).scalar())
        asyncio.run(main())
        """,
    )
    ran_clean(done)
    assert done.stdout == "5\n"
