"""load_from_arrow(): whatever speaks the Arrow PyCapsule interface, into a table, whole or not at
all, each value as the rule of docs/design/arrow.md says.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from looplite.adapters.aiosqlite import AiosqliteConfig, AiosqliteDriver
from looplite.exceptions import DataError, LoopliteError, UniqueViolationError
from support import lib, looplite_only
from support.scripts import run_script

pa: Any = pytest.importorskip("pyarrow")
pytestmark = looplite_only

Run = Callable[..., Any]
WORDS = {"a": [1, 2, None], "b": ["x", None, "zoé"]}


def stored(path: Path, sql: str = "SELECT * FROM t") -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def load(path: Path, source: Any, declared: str = "a, b", **options: Any) -> int:
    """The rows of t, which is made if it is not there, loaded by a plain connection."""

    async def main() -> int:
        async with lib.connect(path, isolation_level=None) as db:
            await db.execute(f"CREATE TABLE IF NOT EXISTS t({declared})")
            rows: int = await db.load_from_arrow("t", source, **options)
            assert not db.in_transaction
            return rows

    return asyncio.run(main())


def in_session(path: Path, work: Callable[[AiosqliteDriver], Any]) -> Any:
    async def main() -> Any:
        config = AiosqliteConfig(connection_config={"database": path})
        try:
            async with config.provide_session() as session:
                return await work(session)
        finally:
            await config.close_pool()

    return asyncio.run(main())


# ---- producers -----------------------------------------------------------------------------------


def generated(batches: int = 3, fail: Exception | None = None) -> Any:
    """A reader whose batches are made by Python code, one at a time."""
    schema = pa.schema([("a", pa.int64()), ("b", pa.string())])

    def make() -> Iterator[Any]:
        for i in range(batches):
            yield pa.record_batch([pa.array([i]), pa.array([f"no. {i}"])], schema)
        if fail:
            raise fail

    return pa.RecordBatchReader.from_batches(schema, make())


def polars_frame() -> Any:
    return pytest.importorskip("polars").DataFrame(WORDS)


def pandas_frame() -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"a": pandas.array([1, 2, None], "Int64"), "b": WORDS["b"]})


def duckdb_relation() -> Any:
    duckdb = pytest.importorskip("duckdb")
    return duckdb.sql("SELECT * FROM (VALUES (1, 'x'), (2, NULL), (NULL, 'zoé')) v(a, b)")


def nanoarrow_stream() -> Any:
    return pytest.importorskip("nanoarrow").ArrayStream(pa.table(WORDS))


@pytest.mark.parametrize(
    "make",
    [
        lambda: pa.table(WORDS),
        lambda: pa.record_batch(WORDS),  # __arrow_c_array__
        lambda: pa.table(WORDS).to_reader(max_chunksize=1),
        lambda: pa.table(WORDS).slice(0, 3),
        polars_frame,
        pandas_frame,
        duckdb_relation,
        nanoarrow_stream,
    ],
    ids=["table", "batch", "reader", "slice", "polars", "pandas", "duckdb", "nanoarrow"],
)
def test_producers(path: Path, make: Callable[[], Any]) -> None:
    assert load(path, make()) == 3
    assert stored(path) == list(zip(*WORDS.values(), strict=True))


def test_a_producer_in_python(run: Run, path: Path) -> None:
    """It takes the GIL itself, and so does a function of the program in the same statement."""
    seen: list[int] = []

    async def main() -> int:
        async with lib.connect(path) as db:
            await db.create_function("note", 1, seen.append)
            await db.execute("CREATE TABLE t(a, b)")
            await db.execute("CREATE TRIGGER n AFTER INSERT ON t BEGIN SELECT note(NEW.a); END")
            rows: int = await db.load_from_arrow("t", generated(50))
            await db.commit()
            return rows

    assert run(main) == 50
    assert seen == list(range(50))
    assert len(stored(path)) == 50


def test_results_of_looplite(path: Path, tmp_path: Path) -> None:
    """A result that was read, and one that is read while it is loaded."""

    async def main() -> None:
        async with lib.connect(path) as db, lib.connect(tmp_path / "from.db") as source:
            await db.execute("CREATE TABLE t(n INTEGER, s TEXT)")
            many = (
                "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) "
                "SELECT n, 'no. ' || n AS s FROM c"
            )
            assert await db.load_from_arrow("t", await source.execute(many)) == 20000
            assert await db.load_from_arrow("t", await source.execute("SELECT 1 AS n")) == 1
            with pytest.raises(sqlite3.DataError, match="use two connections"):
                await db.load_from_arrow("t", await db.execute(many))
            await db.commit()

    asyncio.run(main())
    assert stored(path, "SELECT count(*), sum(n), count(s) FROM t") == [(20001, 200010001, 20000)]


# ---- values --------------------------------------------------------------------------------------

UTC = dt.timezone.utc


def as_stored(value: Any) -> Any:
    """What sqlite3 gives for a value that was loaded into a column without a type."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, dt.datetime) and value.tzinfo:
        return value.astimezone(UTC).isoformat()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return value


def column(arrow: Any, values: Any) -> Any:
    return st.lists(st.one_of(st.none(), values), max_size=20).map(lambda v: pa.array(v, arrow))


def integers(bits: int, *, signed: bool = True) -> Any:
    top = 2 ** (bits - 1)
    return st.integers(-top, top - 1) if signed else st.integers(0, 2 * top - 1)


REALS = st.floats(allow_nan=False)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
DATES = st.dates()
MOMENTS = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30))
COLUMNS = st.one_of(
    *(
        column(arrow, values)
        for arrow, values in (
            (pa.null(), st.none()),
            (pa.bool_(), st.booleans()),
            (pa.int8(), integers(8)),
            (pa.uint8(), integers(8, signed=False)),
            (pa.int16(), integers(16)),
            (pa.uint16(), integers(16, signed=False)),
            (pa.int32(), integers(32)),
            (pa.uint32(), integers(32, signed=False)),
            (pa.int64(), integers(64)),
            (pa.uint64(), integers(63, signed=False)),
            (pa.float32(), st.floats(width=32, allow_nan=False)),
            (pa.float64(), REALS),
            (pa.string(), TEXTS),
            (pa.large_string(), TEXTS),
            (pa.string_view(), TEXTS),
            (pa.binary(), st.binary(max_size=30)),
            (pa.large_binary(), st.binary(max_size=30)),
            (pa.binary_view(), st.binary(max_size=30)),
            (pa.binary(3), st.binary(min_size=3, max_size=3)),
            (pa.dictionary(pa.int8(), pa.string()), TEXTS),
            (pa.date32(), DATES),
            (pa.date64(), DATES),
            (pa.time32("s"), st.times().map(lambda t: t.replace(microsecond=0))),
            (pa.time64("us"), st.times()),
            (pa.timestamp("s"), MOMENTS.map(lambda t: t.replace(microsecond=0))),
            (pa.timestamp("us"), MOMENTS),
            (pa.timestamp("us", "Europe/Berlin"), MOMENTS.map(lambda t: t.replace(tzinfo=UTC))),
            (pa.decimal128(38, 9), st.decimals(-(10**20), 10**20, places=9)),
            (pa.decimal256(76, 2), st.decimals(-(10**60), 10**60, places=2)),
        )
    )
)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(COLUMNS, st.integers(0, 20), st.integers(1, 7))
def test_generated_columns(path: Path, values: Any, skip: int, chunk: int) -> None:
    """Slices and chunks of them, too."""
    path.unlink(missing_ok=True)
    table = pa.table({"v": values}).slice(skip)
    assert load(path, table.to_reader(max_chunksize=chunk), "v") == table.num_rows
    expected = [as_stored(value) for value in table.column("v").to_pylist()]
    got = [value for (value,) in stored(path, "SELECT v FROM t ORDER BY rowid")]
    assert got == expected
    assert [type(value) for value in got] == [type(value) for value in expected]


def test_run_ends_and_halves(path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    ends = pa.array([2, 3, 6], pa.int32())
    runs = pa.RunEndEncodedArray.from_arrays(ends, pa.array(["x", None, "y"]))
    halves = pa.array(numpy.array([0.5, 7.0, -2.0, 1.0, 0.0, 3.0], "float16"))
    assert load(path, pa.table({"a": runs, "b": halves}).slice(1)) == 5
    assert stored(path) == [("x", 7.0), (None, -2.0), ("y", 1.0), ("y", 0.0), ("y", 3.0)]


def test_nanoseconds_and_durations(path: Path) -> None:
    moments = pa.array([1, 1000, None], pa.timestamp("ns"))
    spans = pa.array([1, -5, None], pa.duration("ms"))
    load(path, pa.table({"a": moments, "b": spans}))
    assert stored(path) == [
        ("1970-01-01T00:00:00.000000001", 1),
        ("1970-01-01T00:00:00.000001", -5),
        (None, None),
    ]


def test_what_comes_back_through_type_adapters(path: Path) -> None:
    """What a session reads of what was loaded are the values that went in."""
    values: dict[str, list[Any]] = {
        "day": [dt.date(2026, 7, 3)],
        "at": [dt.datetime(2026, 7, 3, 12, 30, 15, 250000, UTC)],
        "clock": [dt.time(12, 30, 15, 250000)],
        "price": [decimal.Decimal("1234567890.125")],
        "exact": [decimal.Decimal("12345678901234567890.125")],
        "good": [True],
    }

    async def work(session: AiosqliteDriver) -> None:
        await session.execute(
            "CREATE TABLE t(day DATE, at TIMESTAMP, clock TIME, price DECIMAL(13, 3), exact TEXT,"
            " good BOOLEAN)"
        )
        await session.load_from_arrow("t", pa.table(values))
        row = await session.select_one("SELECT * FROM t")
        assert decimal.Decimal(row["exact"]) == values["exact"][0]
        del row["exact"]
        assert row == {key: value[0] for key, value in values.items() if key != "exact"}

    in_session(path, work)


@pytest.mark.parametrize(
    ("declared", "values", "words"),
    [
        ("INTEGER", pa.array([2**63], pa.uint64()), "9223372036854775808 is larger"),
        ("REAL", pa.array([2**53 + 1]), "9007199254740993 is no double"),
        ("REAL", pa.array([math.nan]), "NaN would become NULL"),
        ("DECIMAL", pa.array([decimal.Decimal("1234567890.1234567")]), "more digits"),
        ("", pa.array([[1, 2]]), "is a list"),
        ("", pa.array([{"x": 1}]), "is a struct"),
        ("", pa.array([2**40], pa.timestamp("s")), "ISO 8601"),
    ],
    ids=["uint64", "int in REAL", "NaN", "decimal", "list", "struct", "far away"],
)
def test_what_would_be_lost_is_refused(path: Path, declared: str, values: Any, words: str) -> None:
    table = pa.table({"v": pa.concat_arrays([pa.nulls(1, values.type), values])})
    with pytest.raises(sqlite3.DataError, match=words) as caught:
        load(path, table, f"v {declared}")
    assert "column 'v'" in str(caught.value)
    assert stored(path) == []


def test_text_columns_keep_every_digit(path: Path) -> None:
    values = [0.1 + 0.2, 1e300, 5e-324, math.inf, math.nan]
    load(path, pa.table({"v": pa.array(values)}), "v TEXT")
    got = [float(text) for (text,) in stored(path)]
    assert got[:4] == values[:4]
    assert math.isnan(got[4])


# ---- all or nothing ------------------------------------------------------------------------------


def test_a_producer_that_raises(path: Path) -> None:
    with pytest.raises(sqlite3.DataError, match=r"the Arrow source failed: .*no more of it"):
        load(path, generated(3, RuntimeError("no more of it")))
    assert stored(path) == []


def test_it_is_part_of_the_transaction(run: Run, path: Path) -> None:
    """As executemany() is, in every kind of transaction control."""

    async def main() -> None:
        async with lib.connect(path) as db:
            await db.execute("CREATE TABLE t(a, b)")
            await db.load_from_arrow("t", pa.table(WORDS))
            assert db.in_transaction
            await db.rollback()
            await db.execute("INSERT INTO t VALUES (7, NULL)")
            with pytest.raises(sqlite3.DataError):
                await db.load_from_arrow("t", generated(2, RuntimeError("late")), overwrite=True)
            assert db.in_transaction
            await db.commit()
            assert db.total_changes >= 1

    run(main)
    assert stored(path) == [(7, None)]


def test_cancelled(path: Path) -> None:
    """In the middle: the source asks for its own end."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        schema = pa.schema([("a", pa.int64())])

        def make() -> Iterator[Any]:
            for i in range(1_000_000):
                if i == 3:
                    loop.call_soon_threadsafe(task.cancel)
                yield pa.record_batch([pa.array([i])], schema)

        async with lib.connect(path) as db:
            await db.execute("CREATE TABLE t(a)")
            await db.execute("INSERT INTO t VALUES ('before')")
            await db.commit()
            reader = pa.RecordBatchReader.from_batches(schema, make())
            task = asyncio.ensure_future(db.load_from_arrow("t", reader, overwrite=True))
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            assert caught.value.looplite_outcome == "not applied"  # type: ignore[attr-defined]
            await db.rollback()
            assert await db.execute_fetchall("SELECT * FROM t") == [("before",)]

    asyncio.run(main())
    assert stored(path) == [("before",)]


def test_the_end_of_a_program(tmp_path: Path) -> None:
    """A source that never ends does not keep it from ending."""
    body = """
import threading, pyarrow as pa
schema = pa.schema([("a", pa.int64())])
begun = threading.Event()
def make():
    yield pa.record_batch([pa.array([1])], schema)
    begun.set()
    threading.Event().wait()
async def main():
    db = await lib.connect(PATH)
    await db.execute("CREATE TABLE t(a)")
    call = asyncio.ensure_future(
        db.load_from_arrow("t", pa.RecordBatchReader.from_batches(schema, make())))
    await asyncio.to_thread(begun.wait)
    return call
warnings.simplefilter("ignore", ResourceWarning)
loop = asyncio.new_event_loop()
call = loop.run_until_complete(main())  # nobody cancels it
sys.exit(3)
"""
    status = run_script(tmp_path, body)
    assert status.returncode == 3, status


# ---- calls ---------------------------------------------------------------------------------------


def test_sources_that_are_none(path: Path) -> None:
    for wrong in (None, 5, "text", [(1, 2)], {"a": [1]}):
        with pytest.raises(TypeError, match=r"needs a source with __arrow_c_stream__\(\)"):
            load(path, wrong)
    reader = generated()
    reader.read_all()
    assert load(path, reader) == 0  # it is at its end
    with pytest.raises(sqlite3.DataError, match="not record batches"):
        load(path, pa.chunked_array([[1, 2]]))
    with pytest.raises(TypeError):
        load(path, pa.table(WORDS), schema=7)


def test_errors_of_sqlite(path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no column named b"):
        load(path, pa.table(WORDS), "a")
    with pytest.raises(sqlite3.OperationalError, match=r"no such table: temp\.t"):
        load(path, pa.table(WORDS), schema="temp")
    path.unlink()
    with pytest.raises(sqlite3.IntegrityError, match=r"NOT NULL constraint failed: t\.a"):
        load(path, pa.table(WORDS), "a NOT NULL, b")


def test_on_statement(path: Path) -> None:
    told: list[str] = []

    async def main() -> None:
        async with lib.connect(path, on_statement=lambda e: told.append(e.sql)) as db:
            await db.execute("CREATE TABLE t(a, b)")
            await db.load_from_arrow("t", pa.table(WORDS))

    asyncio.run(main())
    assert told[-1] == "INSERT INTO t"


def test_sessions(path: Path) -> None:
    async def work(session: AiosqliteDriver) -> None:
        await session.execute("CREATE TABLE t(a INTEGER UNIQUE, b TEXT)")
        job = await session.load_from_arrow(
            "t", pa.table(WORDS), partitioner={"kind": "fixed"}, telemetry={"config": "mine"}
        )
        assert job.status == "completed"
        assert job.telemetry == {
            "config": "mine",
            "destination": "t",
            "rows_processed": 3,
            "format": "arrow",
            "bytes_processed": pa.table(WORDS).nbytes,
            "extra": {"partitioner": {"kind": "fixed"}},
        }
        with pytest.raises(UniqueViolationError):
            await session.load_from_arrow("main.t", pa.table(WORDS))
        rows = [{"a": 7, "b": "seven"}, {"a": 8, "b": None}]
        job = await session.load_from_arrow("main.t", rows, overwrite=True)
        assert job.telemetry["rows_processed"] == 2
        assert await session.select("SELECT * FROM t") == rows
        with pytest.raises(DataError, match="late"):
            await session.load_from_arrow("t", generated(2, RuntimeError("late")), overwrite=True)
        assert await session.select_value("SELECT count(*) FROM t") == 2
        result = await session.execute("SELECT a + 10 AS a FROM t")
        job = await session.load_from_arrow("t", result)
        assert "bytes_processed" not in job.telemetry

        async def undone() -> None:
            async with session.transaction():
                await session.load_from_arrow("t", generated(3))
                raise RuntimeError("never mind")

        with pytest.raises(RuntimeError, match="never mind"):
            await undone()
        assert await session.select_value("SELECT sum(a) FROM t") == 50
        for wrong in ("", None, 5):
            with pytest.raises(TypeError, match="table"):
                await session.load_from_arrow(wrong, pa.table(WORDS))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not int"):
            await session.load_from_arrow("t", 5)
        evil = 't"; DROP TABLE t; --'
        with pytest.raises(LoopliteError, match="no such table"):
            await session.load_from_arrow(evil, pa.table(WORDS))
        assert await session.select_value("SELECT changes()") is not None
        assert session._lease is None  # nothing is left out

    in_session(path, work)
