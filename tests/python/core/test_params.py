"""Parameters: positions, names, wrong ones, and the containers they come in."""

from __future__ import annotations

import sqlite3
import warnings
from collections import OrderedDict, UserDict, UserList, deque
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import pytest
from support import lib
from support.errors import raised_by, same_error
from support.loops import caught

Run = Callable[..., Any]


def like_sqlite3(run: Run, sql: Any, parameters: Any) -> None:
    """The error is sqlite3's, nothing is left open, and the connection goes on."""
    reference = sqlite3.connect(":memory:")
    reference.execute("CREATE TABLE t(a, b)")
    expected = raised_by(reference.execute, sql, parameters)
    reference.close()

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute("CREATE TABLE t(a, b)")
            same_error(await caught(db.execute(sql, parameters)), expected)
            async with db.execute("SELECT count(*) FROM t") as cursor:
                assert await cursor.fetchone() == (0,)

    run(main)


@pytest.mark.parametrize("given", [(), (1,), (1, 2, 3), [], [1]], ids=repr)
def test_wrong_number(run: Run, given: Any) -> None:
    like_sqlite3(run, "INSERT INTO t VALUES (?, ?)", given)


@pytest.mark.parametrize(
    "given", [{}, {"a": 1}, {"A": 1, "B": 2}, {":a": 1, ":b": 2}, {b"a": 1}, {1: 1}], ids=repr
)
def test_names_not_given(run: Run, given: Any) -> None:
    like_sqlite3(run, "INSERT INTO t VALUES (:a, :b)", given)


def test_the_missing_name_is_in_the_message(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            error = await caught(db.execute("SELECT :first, :second", {"first": 1}))
            assert isinstance(error, sqlite3.ProgrammingError)
            assert ":second" in str(error)

    run(main)


@pytest.mark.parametrize(
    "given",
    [5, 1.5, {1, 2}, iter([1, 2]), object(), True, MappingProxyType({"a": 1})],
    ids=lambda v: type(v).__name__,
)
def test_no_container_at_all(run: Run, given: Any) -> None:
    like_sqlite3(run, "INSERT INTO t VALUES (?, ?)", given)


@pytest.mark.parametrize(
    "value", [2**63, -(2**63) - 1, 10**40], ids=["2**63", "-2**63-1", "10**40"]
)
def test_integers_beyond_64_bits(run: Run, value: int) -> None:
    like_sqlite3(run, "INSERT INTO t VALUES (?, 1)", (value,))
    like_sqlite3(run, "INSERT INTO t VALUES (:v, 1)", {"v": value})


@pytest.mark.parametrize("value", ["\ud800", "ok\udfff", "\udc80" * 3], ids=ascii)
def test_lone_surrogates(run: Run, value: str) -> None:
    like_sqlite3(run, "INSERT INTO t VALUES (?, 1)", (value,))
    like_sqlite3(run, f"SELECT '{value}'", ())


@pytest.mark.parametrize(
    "sql", ["SELECT 1\0", "\0", "SELECT '\0'", "INSERT INTO t VALUES (1, 2)\0 -- x"], ids=ascii
)
def test_nul_in_sql(run: Run, sql: str) -> None:
    like_sqlite3(run, sql, ())


@pytest.mark.parametrize(
    "sql", [b"SELECT 1", None, 1, ["SELECT 1"], object()], ids=lambda v: type(v).__name__
)
def test_sql_that_is_no_text(run: Run, sql: Any) -> None:
    like_sqlite3(run, sql, ())


def test_str_subclass_as_sql(run: Run) -> None:
    class Query(str):
        __slots__ = ()

    async def main() -> None:
        async with lib.connect(":memory:") as db, db.execute(Query("SELECT 1")) as cursor:
            assert await cursor.fetchone() == (1,)

    run(main)


def test_nul_in_text(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:  # noqa: SIM117
            async with db.execute(
                "SELECT v, length(CAST(v AS BLOB)) FROM (SELECT ? AS v)", ("a\0b",)
            ) as cursor:
                assert await cursor.fetchone() == ("a\0b", 3)

    run(main)


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1; SELECT 2", "INSERT INTO t VALUES (1, 1); DELETE FROM t", "SELECT 1;;SELECT 2"],
)
def test_several_statements(run: Run, sql: str) -> None:
    """sqlite3.Warning up to 3.10, ProgrammingError from 3.11 on; the first statement has not run
    either.
    """
    like_sqlite3(run, sql, ())


class Sized:
    """The least that sqlite3 takes for a sequence."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        return self.values[index]


@pytest.mark.parametrize(
    "given",
    [
        (1, 2),
        [1, 2],
        Sized(1, 2),
        UserList([1, 2]),
        deque([1, 2]),
        range(1, 3),
        b"\x01\x02",
        memoryview(b"\x01\x02"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_sequences(run: Run, given: Any) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db, db.execute("SELECT ?, ?", given) as cursor:
            assert await cursor.fetchone() == (1, 2)

    run(main)


class Absent(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"no {key}"


class Keyed:
    """A mapping by protocol alone."""

    def __getitem__(self, key: str) -> Any:
        return {"a": 1, "b": 2}[key]

    def __len__(self) -> int:
        return 2

    def keys(self) -> Any:
        return ["a", "b"]


@pytest.mark.parametrize(
    "given",
    [
        {"a": 1, "b": 2},
        {"a": 1, "b": 2, "spare": 3},
        OrderedDict(a=1, b=2),
    ],
    ids=lambda v: type(v).__name__,
)
@pytest.mark.parametrize("mark", [":", "@", "$"])
def test_mappings(run: Run, given: Any, mark: str) -> None:
    async def main() -> None:
        sql = f"SELECT {mark}a, {mark}b, {mark}a"
        async with lib.connect(":memory:") as db, db.execute(sql, given) as cursor:
            assert await cursor.fetchone() == (1, 2, 1)

    run(main)


def test_dict_subclass_with_missing(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db, db.execute("SELECT :x", Absent()) as cursor:
            assert await cursor.fetchone() == ("no x",)

    run(main)


class BadLength(list[int]):
    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[int]:
        raise ZeroDivisionError


class BadItem(Sized):
    def __getitem__(self, index: int) -> Any:
        raise ZeroDivisionError


class NegativeLength(Sized):
    def __len__(self) -> int:
        return -1


@pytest.mark.parametrize(
    "given",
    [BadLength(), BadItem(1, 2), NegativeLength(), Keyed(), UserDict(a=1, b=2)],
    ids=lambda v: type(v).__name__,
)
def test_containers_that_fail(run: Run, given: Any) -> None:
    like_sqlite3(run, "INSERT INTO t VALUES (?, ?)", given)


def test_a_mapping_that_fails(run: Run) -> None:
    class Failing(dict[str, Any]):
        def __missing__(self, key: str) -> Any:
            raise ZeroDivisionError(key)

    like_sqlite3(run, "INSERT INTO t VALUES (:a, 1)", Failing())


def test_none_means_no_parameters(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            async with db.execute("SELECT 1", None) as cursor:
                assert await cursor.fetchone() == (1,)
            cursor = await db.cursor()
            await cursor.execute("SELECT 2", None)
            assert await cursor.fetchone() == (2,)

    run(main)


def test_keywords(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            async with db.execute(sql="SELECT ?", parameters=(1,)) as cursor:
                assert await cursor.fetchone() == (1,)
            await db.execute("CREATE TABLE t(a)")
            await db.executemany(sql="INSERT INTO t VALUES (?)", parameters=[(1,)])
            await db.executescript(sql_script="DELETE FROM t")
            cursor = await db.cursor()
            await cursor.execute(sql="SELECT ?", parameters=(2,))
            assert await cursor.fetchone() == (2,)

    run(main)


def test_wrong_python_arguments(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            call: Callable[..., Any]
            for call in (
                lambda: db.execute(),
                lambda: db.execute("SELECT 1", (), 3),
                lambda: db.execute("SELECT 1", nonsense=1),
                lambda: db.executemany("SELECT 1"),
                lambda: db.executescript(),
            ):
                with pytest.raises(TypeError):
                    await call()

    run(main)


def numbers(count: int) -> Iterator[tuple[int, str]]:
    for n in range(count):
        yield n, f"n{n}"


@pytest.mark.parametrize(
    "rows",
    [
        lambda: [(n, f"n{n}") for n in range(1000)],
        lambda: tuple((n, f"n{n}") for n in range(1000)),
        lambda: numbers(1000),
        lambda: iter([[n, f"n{n}"] for n in range(1000)]),
        lambda: (Sized(n, f"n{n}") for n in range(1000)),
        lambda: deque((n, f"n{n}") for n in range(1000)),
    ],
    ids=["list", "tuple", "generator", "iterator", "sequences", "deque"],
)
def test_executemany_sources(run: Run, rows: Callable[[], Any]) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute("CREATE TABLE t(a, b)")
            cursor = await db.executemany("INSERT INTO t VALUES (?, ?)", rows())
            assert cursor.rowcount == 1000
            await cursor.execute("SELECT * FROM t ORDER BY a")
            assert await cursor.fetchall() == list(numbers(1000))

    run(main)


def test_executemany_of_dicts(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute("CREATE TABLE t(a, b)")
            rows = ({"a": n, "b": n * 2, "unused": None} for n in range(10))
            await db.executemany("INSERT INTO t VALUES (:a, :b)", rows)
            async with db.execute("SELECT sum(a), sum(b) FROM t") as cursor:
                assert await cursor.fetchone() == (45, 90)

    run(main)


def test_generator_that_fails_midway(run: Run) -> None:
    """Its own exception comes out; the transaction that was opened stays open, for the caller to
    decide.
    """

    def rows() -> Iterator[tuple[int]]:
        yield (1,)
        yield (2,)
        raise ZeroDivisionError("in the generator")

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute("CREATE TABLE t(a)")
            await db.commit()
            with pytest.raises(ZeroDivisionError, match="in the generator"):
                await db.executemany("INSERT INTO t VALUES (?)", rows())
            await db.rollback()
            async with db.execute("SELECT count(*) FROM t") as cursor:
                assert await cursor.fetchone() == (0,)

    run(main)


def test_value_that_fails_midway(run: Run) -> None:
    expected: list[tuple[Any, ...]] = []
    reference = sqlite3.connect(":memory:", isolation_level=None)
    reference.execute("CREATE TABLE t(a)")
    error = raised_by(reference.executemany, "INSERT INTO t VALUES (?)", [(1,), (2**64,), (3,)])
    expected = reference.execute("SELECT a FROM t").fetchall()
    reference.close()

    async def main() -> None:
        async with lib.connect(":memory:", isolation_level=None) as db:
            await db.execute("CREATE TABLE t(a)")
            same_error(
                await caught(db.executemany("INSERT INTO t VALUES (?)", [(1,), (2**64,), (3,)])),
                error,
            )
            async with db.execute("SELECT a FROM t") as cursor:
                assert await cursor.fetchall() == expected

    run(main)


def test_executemany_refuses_what_gives_rows(run: Run) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            with pytest.raises(sqlite3.ProgrammingError, match="executemany"):
                await db.executemany("SELECT ?", [(1,)])

    run(main)


def test_generator_whose_row_fails(run: Run) -> None:
    """A long source with a row that cannot be inserted: the rows before it are there, and none
    after it.
    """

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            await db.execute("CREATE TABLE t(a UNIQUE)")
            with pytest.raises(sqlite3.IntegrityError):
                await db.executemany(
                    "INSERT INTO t VALUES (?)", ((n % 5000,) for n in range(50_000))
                )
            assert list(await db.execute_fetchall("SELECT count(*) FROM t")) == [(5000,)]

    run(main)


def test_numbered_and_named_marks_with_a_sequence(run: Run) -> None:
    """Named marks given a sequence work by position, with a DeprecationWarning from 3.12 on."""
    import sys

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            with warnings.catch_warnings(record=True) as noted:
                warnings.simplefilter("always")
                async with db.execute("SELECT ?2, ?1, ?2", ("a", "b")) as cursor:
                    assert await cursor.fetchone() == ("b", "a", "b")
                async with db.execute("SELECT :x, :y", (1, 2)) as cursor:
                    assert await cursor.fetchone() == (1, 2)
            assert bool(noted) == (sys.version_info >= (3, 12)), noted

    run(main)


@pytest.mark.parametrize(
    "marks",
    [
        "?, ?",
        "?1, ?2",
        "?2, ?1",
        "?, ?1, ?",
        "?, :a, ?1",
        ":a, @a, $a, :a",
        "?3, :a, ?",
        "'?1', ?, \"?2\", /* ?3 */ ? -- ?4",
        ":a, 'b:c', ?1",
        "?002, ?2, ?1",
    ],
)
def test_a_sequence_for_marks_with_names_warns_as_sqlite3_does(run: Run, marks: str) -> None:
    sql = f"SELECT {marks}"
    plain = sqlite3.connect(":memory:")
    count = 0
    while True:  # as many as there are
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = plain.execute(sql, tuple(range(count))).fetchall()
        except sqlite3.ProgrammingError:
            count += 1
        else:
            break
    values = tuple(range(count))
    with warnings.catch_warnings(record=True) as of_sqlite3:
        warnings.simplefilter("always")
        plain.execute(sql, values)
    plain.close()

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            with warnings.catch_warnings(record=True) as noted:
                warnings.simplefilter("always")
                rows = list(await db.execute_fetchall(sql, values))
            assert rows == expected
            assert [(w.category, str(w.message)) for w in noted] == [
                (w.category, str(w.message)) for w in of_sqlite3
            ]

    run(main)


@pytest.mark.parametrize("count", [999, 32766])
def test_as_many_as_sqlite_takes(run: Run, count: int) -> None:
    async def main() -> None:
        async with lib.connect(":memory:") as db:
            marks = ",".join("(?)" for _ in range(count))
            async with db.execute(
                f"SELECT sum(column1) FROM (VALUES {marks})", list(range(count))
            ) as cursor:
                assert await cursor.fetchone() == (sum(range(count)),)

    run(main)


def test_a_parameter_that_touches_its_own_connection(run: Run) -> None:
    """Code run while parameters are read may do anything to the connection: an error or a row,
    never a crash.
    """

    class Rude(Sized):
        def __getitem__(self, index: int) -> Any:
            self.values[0].row_factory = None
            return index

    async def main() -> None:
        async with lib.connect(":memory:") as db:
            given = Rude(db, db)
            async with db.execute("SELECT ?, ?", given) as cursor:
                assert await cursor.fetchone() == (0, 1)

    run(main)
