"""Results as Arrow: equal to pyarrow's own tables of what sqlite3 gives, types by the rule of
docs/design/arrow.md.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.exceptions import (
    DataError,
    MissingDependencyError,
    OperationalError,
    ProgrammingError,
)

pa: Any = pytest.importorskip("pyarrow")

Run = Callable[..., Any]


def on(path: Path, work: Callable[[AiosqliteDriver], Any]) -> Any:
    """What `work(session)` gives, on a loop of its own."""

    async def main() -> Any:
        config = AiosqliteConfig(connection_config={"database": path})
        try:
            async with config.provide_session() as session:
                return await work(session)
        finally:
            await config.close_pool()

    return asyncio.run(main())


# ---- the rule, once more -------------------------------------------------------------------------


def is_exact(number: int) -> bool:
    return int(float(number)) == number


def rule(declared: str, values: list[Any]) -> Any:
    """The type of a column; None if there is none."""
    kinds = {type(value) for value in values if value is not None}
    exact = all(is_exact(value) for value in values if type(value) is int)
    wanted = next(
        (
            arrow
            for words, arrow in (
                (("INT",), pa.int64()),
                (("CHAR", "CLOB", "TEXT"), pa.string()),
                (("BLOB",), pa.binary()),
                (("REAL", "FLOA", "DOUB", "DEC", "NUM"), pa.float64()),
            )
            if any(word in declared for word in words)
        ),
        pa.null(),
    )
    if not kinds:
        return wanted
    if kinds <= {int, float} and exact and (wanted == pa.float64() or float in kinds):
        return pa.float64()
    if kinds == {int}:
        return pa.int64()
    if bytes not in kinds:
        return pa.string()
    return pa.binary() if kinds <= {bytes, str} else None


def as_type(value: Any, arrow: Any) -> Any:
    if value is None:
        return None
    if arrow == pa.float64():
        return float(value)
    if arrow == pa.binary() and isinstance(value, str):
        return value.encode()
    return value


def same_column(column: Any, arrow: Any, values: list[Any]) -> None:
    assert column.type == arrow
    got = column.to_pylist()
    if arrow != pa.string():
        made = pa.array([as_type(value, arrow) for value in values], arrow)
        assert column.combine_chunks().equals(made)
        return
    assert len(got) == len(values)
    for text, value in zip(got, values, strict=True):
        # A number comes back from its digits.
        assert (text if value is None or isinstance(value, str) else type(value)(text)) == value


def same_table(table: Any, declared: list[str], rows: list[tuple[Any, ...]]) -> None:
    table.validate(full=True)
    assert table.num_rows == len(rows)
    for i, what in enumerate(declared):
        values = [row[i] for row in rows]
        same_column(table.column(i), rule(what, values), values)


# ---- generated tables ----------------------------------------------------------------------------

INTEGERS = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 2**62, -(2**63), 2**63 - 1]),
)
REALS = st.floats(allow_nan=False)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
BLOBS = st.binary(max_size=12)
VALUES = st.one_of(
    *(
        st.lists(st.one_of(st.none(), *kinds), min_size=12, max_size=12)
        for kinds in (
            (INTEGERS,),
            (REALS,),
            (TEXTS,),
            (BLOBS,),
            (INTEGERS, REALS),
            (st.integers(-9, 9), REALS),
            (TEXTS, REALS, INTEGERS),
            (TEXTS, BLOBS),
            (INTEGERS, BLOBS),
            (),
        )
    )
)
DECLARED = st.sampled_from(
    ["", "INTEGER", "BIGINT", "REAL", "DECIMAL(9, 2)", "VARCHAR(5)", "TEXT", "BLOB", "DATE"]
)
TABLES = st.lists(st.tuples(DECLARED, VALUES), min_size=1, max_size=5)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(TABLES, st.integers(0, 12))
def test_generated_tables(path: Path, columns: list[tuple[str, list[Any]]], count: int) -> None:
    declared = [what for what, _ in columns]
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE IF EXISTS t")
        db.execute("CREATE TABLE t(" + ", ".join(f"c{i} {d}" for i, d in enumerate(declared)) + ")")
        places = ", ".join("?" * len(columns))
        rows = [tuple(values[i] for _, values in columns) for i in range(count)]
        db.executemany(f"INSERT INTO t VALUES({places})", rows)
        db.commit()
        stored = db.execute("SELECT * FROM t ORDER BY rowid").fetchall()
    sql = "SELECT * FROM t ORDER BY rowid"

    async def work(session: AiosqliteDriver) -> tuple[Any, Any]:
        try:
            direct = await session.select_to_arrow(sql)
        except DataError as error:
            direct = error
        result = await session.execute(sql)
        try:
            return direct, result.to_arrow()
        except DataError as error:
            return direct, error

    for table in on(path, work):
        if any(rule(d, [row[i] for row in stored]) is None for i, d in enumerate(declared)):
            assert isinstance(table, DataError)
            assert "CAST" in str(table)
        else:
            same_table(table, declared, stored)


def test_a_long_result(path: Path) -> None:
    """All types, NULLs, columns whose last value decides; LL_TEST_ROWS=1000000: the long form."""
    count = int(os.environ.get("LL_TEST_ROWS", "100000"))
    declared = ["INTEGER", "TEXT", "REAL", "", "BLOB", "", ""]
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t(id INTEGER, word TEXT, part REAL, odd, raw BLOB, wide, empty)")
        db.executemany(
            "INSERT INTO t VALUES(?, ?, ?, ?, ?, ?, NULL)",
            (
                (
                    i,
                    f"word {i}" if i % 7 else None,
                    i / 3,
                    "last" if i == count - 1 else i,
                    i.to_bytes(4, "big") if i % 5 else None,
                    i + 0.5 if i == count - 1 else i,
                )
                for i in range(count)
            ),
        )
        db.commit()
        rows = db.execute("SELECT * FROM t ORDER BY rowid").fetchall()
    table = on(path, lambda session: session.select_to_arrow("SELECT * FROM t ORDER BY rowid"))
    assert table.column_names == ["id", "word", "part", "odd", "raw", "wide", "empty"]
    assert table.column("id").num_chunks > 1
    same_table(table, declared, rows)


# ---- the ways to ask -----------------------------------------------------------------------------


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 35), reason="RETURNING")
def test_results_and_answers(run: Run, path: Path) -> None:
    async def main() -> None:
        config = AiosqliteConfig(connection_config={"database": path})
        async with config.provide_session() as session:
            await session.execute("CREATE TABLE t(a INTEGER, b TEXT)")
            inserted = await session.execute(
                "INSERT INTO t VALUES (?, ?), (2, NULL) RETURNING a, b", 1, "x"
            )
            expected = {"a": [1, 2], "b": ["x", None]}
            assert inserted.to_arrow().to_pydict() == expected
            table = await session.execute("SELECT * FROM t").to_arrow()
            assert table.to_pydict() == expected
            result = await session.execute("SELECT * FROM t WHERE a = :a", a=2)
            for _ in range(2):  # a result keeps its rows
                assert pa.table(result).to_pydict() == {"a": [2], "b": [None]}
            assert result.all() == [{"a": 2, "b": None}]
            table = await session.select_to_arrow("SELECT * FROM t WHERE a = ?", 1)
            assert table.to_pydict() == {"a": [1], "b": ["x"]}
            table = await session.select_to_arrow("DELETE FROM t RETURNING a")
            assert table.to_pydict() == {"a": [1, 2]}
            assert await session.select_value("SELECT changes()") == 2
            async with session.transaction():  # on a connection of its own
                await session.execute("INSERT INTO t VALUES (3, 'mine')")
                table = await session.select_to_arrow("SELECT * FROM t")
                assert table.to_pydict() == {"a": [3], "b": ["mine"]}
        await config.close_pool()

    run(main)


def test_an_empty_result_has_its_types(path: Path) -> None:
    async def work(session: AiosqliteDriver) -> None:
        await session.execute("CREATE TABLE t(a INT, b REAL, c TEXT, d BLOB, e)")
        for table in (
            await session.select_to_arrow("SELECT *, a + 1 AS f FROM t"),
            await session.execute("SELECT *, a + 1 AS f FROM t").to_arrow(),
        ):
            assert table.num_rows == 0
            assert table.schema.types == [
                pa.int64(),
                pa.float64(),
                pa.string(),
                pa.binary(),
                pa.null(),
                pa.null(),
            ]

    on(path, work)


def test_polars_and_pandas(path: Path) -> None:
    polars = pytest.importorskip("polars")
    pandas = pytest.importorskip("pandas")

    async def work(session: AiosqliteDriver) -> None:
        sql = "SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, NULL"
        frame = await session.execute(sql).to_polars()
        assert isinstance(frame, polars.DataFrame)
        assert frame.to_dict(as_series=False) == {"a": [1, 2], "b": ["x", None]}
        frame = await session.execute(sql).to_pandas()
        assert isinstance(frame, pandas.DataFrame)
        assert frame["a"].tolist() == [1, 2]
        assert frame["b"][0] == "x"
        assert pandas.isna(frame["b"][1])

    on(path, work)


def test_a_missing_package_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(session: AiosqliteDriver) -> None:
        result = await session.execute("SELECT 1 AS a")
        for name, call in (
            ("pyarrow", result.to_arrow),
            ("pandas", result.to_pandas),
            ("polars", result.to_polars),
        ):
            with monkeypatch.context() as patch:
                patch.setitem(sys.modules, name, None)
                with pytest.raises(MissingDependencyError, match=name):
                    call()
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(MissingDependencyError, match=r"select_to_arrow\(\) needs pyarrow"):
            await session.select_to_arrow("CREATE TABLE never(x)")
        assert not await session.select("SELECT * FROM sqlite_master")

    on(path, work)


def test_errors(path: Path) -> None:
    async def work(session: AiosqliteDriver) -> None:
        with pytest.raises(OperationalError, match="no such table"):
            await session.select_to_arrow("SELECT * FROM absent")
        with pytest.raises(ProgrammingError, match="gives no columns"):
            await session.select_to_arrow("CREATE TABLE t(x)")
        result = await session.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(ProgrammingError, match="gives no columns"):
            result.to_arrow()
        many = await session.execute_many("INSERT INTO t VALUES (?)", [(1,)])
        with pytest.raises(ProgrammingError, match="gives no columns"):
            many.to_arrow()
        with pytest.raises(DataError, match=r"column 0 \(odd\) holds numbers beside blobs"):
            await session.select_to_arrow("SELECT 1 AS odd UNION ALL SELECT x'00'")

    on(path, work)


def test_columns_are_given_once_and_freed(path: Path) -> None:
    from looplite import _core
    from looplite.adapters.aiosqlite.driver import COLUMNS

    async def work(session: AiosqliteDriver) -> None:
        columns = await session._execute("SELECT 1 AS a", (), {}, COLUMNS)
        assert type(columns) is _core.Columns
        capsule = columns.__arrow_c_stream__()
        with pytest.raises(sqlite3.ProgrammingError, match="given away"):
            columns.__arrow_c_stream__()
        del capsule  # nobody has read it
        await session._execute("SELECT 1 AS a", (), {}, COLUMNS)  # nobody has asked
        gc.collect()

    on(path, work)


def test_cancelled(path: Path) -> None:
    endless = (
        "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    )

    async def work(session: AiosqliteDriver) -> None:
        task = asyncio.ensure_future(session.select_to_arrow(endless))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await session.select_to_arrow("SELECT 1 AS a")).to_pydict() == {"a": [1]}

    on(path, work)
