"""Values and short call sequences that hypothesis makes up, compared with `sqlite3`."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle.steps import Call, Exec, Fetch, Level, Many, Script, Step, compare

# No deadline: nothing here is about speed. Function-scoped fixtures: the guard looks after all
# examples at once.
relaxed = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    print_blob=True,
)

value = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-300, 300),
    st.floats(),
    st.text(),
    st.binary(),
)
wild = st.one_of(
    value,
    st.integers(),
    st.text(st.characters(categories=("Cs", "L"))),
    st.complex_numbers(),
    st.lists(st.integers(), max_size=2),
    st.decimals(),
)


@relaxed
@given(st.lists(value, min_size=1, max_size=8))
def test_values_come_back(values: list[Any]) -> None:
    marks = ", ".join("?" for _ in values)
    names = ", ".join(f"c{i}" for i in range(len(values)))
    compare(
        [
            Exec(f"SELECT {marks}", tuple(values)),
            Exec(f"CREATE TABLE t({names})"),
            Exec(f"INSERT INTO t VALUES ({marks})", values),
            Many(f"INSERT INTO t VALUES ({marks})", [values, values]),
            Exec("SELECT * FROM t"),
        ]
    )


@relaxed
@given(st.lists(wild, max_size=4), st.integers(0, 4))
def test_wild_values_and_counts(values: list[Any], wanted: int) -> None:
    marks = ", ".join("?" for _ in range(wanted)) or "1"
    compare([Exec(f"SELECT {marks}", values), Exec("SELECT 1")])


@relaxed
@given(st.text(max_size=30))
def test_any_text_as_sql(sql: str) -> None:
    compare([Exec(sql), Script(sql), Exec("SELECT 1")])


@relaxed
@given(st.text(max_size=12), value)
def test_names_of_parameters(name: str, bound: Any) -> None:
    compare([Exec(f"SELECT :{name}", {name: bound}), Exec("SELECT :a", {name: bound})])


@relaxed
@given(
    st.lists(st.tuples(st.floats(allow_nan=True), st.integers(-(2**63), 2**63 - 1)), max_size=20)
)
def test_order_of_numbers(pairs: list[tuple[float, int]]) -> None:
    pairs = [(f, i) for f, i in pairs if not math.isnan(f)]
    compare(
        [
            Exec("CREATE TABLE t(a REAL, b INTEGER)"),
            Many("INSERT INTO t VALUES (?, ?)", pairs),
            Exec("SELECT * FROM t ORDER BY a, b"),
        ]
    )


small = st.integers(0, 5)
fetching = st.one_of(
    st.just(("fetchone", None)),
    st.just(("fetchmany", None)),
    st.tuples(st.just("fetchmany"), st.integers(0, 4)),
)


@st.composite
def reading(draw: st.DrawFn) -> list[Step]:
    """A query, taken in pieces and then to its end."""
    cursor = draw(st.integers(0, 2))
    sql = draw(
        st.sampled_from(
            [
                "SELECT * FROM t ORDER BY a",
                "SELECT b, count(*) FROM t GROUP BY b",
                "SELECT a FROM t WHERE a > 2",
                "SELECT * FROM nothing",
                "SELECT * FROM u",
            ]
        )
    )
    steps: list[Step] = [Exec(sql, cursor=cursor, fetch=False)]
    steps += [Fetch(how, size, cursor) for how, size in draw(st.lists(fetching, max_size=3))]
    return [*steps, Fetch("fetchall", cursor=cursor)]


@st.composite
def writing(draw: st.DrawFn) -> list[Step]:
    """One step that changes something, or fails to."""
    cursor = draw(st.integers(0, 2))
    sql, count = draw(
        st.sampled_from(
            [
                ("INSERT INTO t VALUES (?, ?)", 2),
                ("INSERT INTO t(b) VALUES (?)", 1),
                ("INSERT INTO t(b) VALUES (?) RETURNING b", 1),
                ("INSERT OR REPLACE INTO t VALUES (?, ?)", 2),
                ("INSERT OR ROLLBACK INTO t VALUES (?, ?)", 2),
                ("UPDATE t SET b = ? WHERE a = ?", 2),
                ("UPDATE t SET a = a + ?", 1),
                ("DELETE FROM t WHERE a = ?", 1),
                ("CREATE TABLE u(x)", 0),
                ("DROP TABLE u", 0),
                ("SAVEPOINT one", 0),
                ("ROLLBACK TO one", 0),
                ("RELEASE one", 0),
                ("BEGIN", 0),
                ("COMMIT", 0),
                ("ROLLBACK", 0),
                ("NONSENSE", 0),
            ]
        )
    )
    parameters = draw(st.tuples(*[small] * count))
    if count and "RETURNING" not in sql and draw(st.booleans()):
        rows = draw(st.lists(st.tuples(*[small] * count), max_size=3))
        return [Many(sql, rows, cursor)]
    return [Exec(sql, parameters, cursor)]


other = st.one_of(
    st.sampled_from(
        [
            Call("commit"),
            Call("rollback"),
            Script("INSERT INTO t(b) VALUES (8); DELETE FROM t WHERE b = 8;"),
        ]
    ),
    st.sampled_from([Level(None), Level(""), Level("IMMEDIATE")]),
).map(lambda made: [made])


@relaxed
@given(
    st.lists(st.one_of(writing(), writing(), reading(), other), max_size=14),
    st.sampled_from([None, "", "DEFERRED", "IMMEDIATE"]),
)
def test_call_sequences(parts: list[list[Step]], level: str | None) -> None:
    steps: list[Step] = [Exec("CREATE TABLE t(a INTEGER PRIMARY KEY, b UNIQUE)")]
    for part in parts:
        steps += part
    compare(steps, isolation_level=level)
