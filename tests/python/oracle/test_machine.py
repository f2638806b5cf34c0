"""A machine that makes up calls, one after the other, and does each on `sqlite3` and on the module
under test: results, errors, and afterwards every attribute of every cursor and of the connection
have to be equal. Three cursors, whose statements are interleaved; factories; isolation levels;
executemany with rows that fail; scripts; a file or memory.

What is known to differ, because a statement's rows are read ahead (docs/migrate/aiosqlite.md lists
it), is kept out here, and nowhere else:

- rows that are left of a cursor when something is written: `sqlite3` may show them changed. Such a
  cursor is `stale`: what it still gives is not compared;
- statements that wait for, or are refused because of, a half-read cursor (DROP TABLE, COMMIT beside
  a half-read RETURNING): the cursors are read to their end before;
- the row before the one that fails in the middle of a result: `sqlite3` loses it;
- rowcount and total_changes between INSERT .. RETURNING and its last row: it is read at once.

And what is `sqlite3`'s own fault:

- a cursor whose executemany() was refused because its statement only reads: CPython 3.11 leaves it
  the statement, and it takes the rows of another cursor that executes the same one. It is closed,
  and another takes its place.

The seed is in the message of a failure: LL_SEED=... pytest tests/python/oracle/test_machine.py
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from support import lib

from oracle.steps import error_shown, shown

SEED = int(os.environ.get("LL_SEED", "0")) or random.randrange(1, 2**32)
CURSORS = 3

cursors = st.integers(0, CURSORS - 1)
small = st.integers(0, 6)
value = st.one_of(
    small,
    st.none(),
    st.sampled_from([1.5, "text", "", b"", b"blob", 2**63 - 1, -(2**63), True]),
)
wrong = st.sampled_from([2**63, object, "\ud800", 1j, [1]])
parameter = st.one_of(value, value, value, value, wrong)


def dictionary(cursor: Any, row: Any) -> Any:
    """The row factory of sqlite3's documentation."""
    return {column[0]: item for column, item in zip(cursor.description, row, strict=True)}


def picky(cursor: Any, row: Any) -> Any:
    """A row factory that fails now and then."""
    if row[0] == 3:
        raise ValueError("three")
    return list(row)


ROW_FACTORIES: tuple[Any, ...] = (None, sqlite3.Row, dictionary, picky)
TEXT_FACTORIES: tuple[Any, ...] = (str, bytes, bytearray, lambda raw: raw.decode().upper())

READS = (
    ("SELECT a, b FROM t ORDER BY a", 0),
    ("SELECT * FROM t WHERE a > ?", 1),
    ("SELECT count(*), sum(a) AS total FROM t", 0),
    ("SELECT b AS a, a AS b FROM t WHERE b IS NOT NULL LIMIT ?", 1),
    ("SELECT a FROM t UNION ALL SELECT x FROM u", 0),
    ("SELECT * FROM nothing", 0),
    ("SELECT 1 WHERE 0", 0),
    ("SELECT ?, ?, typeof(?)", 3),
    ("VALUES (1), (2), (3), (4)", 0),
    ("WITH c(n) AS (VALUES (1), (2)) SELECT n, n * 2 FROM c", 0),
    ("SELECT abs(-9223372036854775807 - 1) FROM t", 0),
    ("PRAGMA table_info(t)", 0),
    ("EXPLAIN QUERY PLAN SELECT * FROM t", 0),
)
WRITES = (
    ("INSERT INTO t VALUES (?, ?)", 2),
    ("INSERT INTO t(b) VALUES (?)", 1),
    ("INSERT OR IGNORE INTO t VALUES (?, ?)", 2),
    ("REPLACE INTO t VALUES (?, ?)", 2),
    ("INSERT OR ROLLBACK INTO t VALUES (?, ?)", 2),
    ("INSERT OR FAIL INTO t SELECT a + ?, b FROM t", 1),
    ("UPDATE t SET b = ? WHERE a = ?", 2),
    ("UPDATE OR ABORT t SET a = a + 1", 0),
    ("DELETE FROM t WHERE a = ?", 1),
    ("DELETE FROM t", 0),
    ("INSERT INTO u VALUES (?)", 1),
    ("/* a comment */ INSERT INTO u VALUES (?)", 1),
    ("WITH c(n) AS (VALUES (7)) INSERT INTO u SELECT n FROM c", 0),
    ("INSERT INTO t SELECT ?, ? WHERE 0", 2),
    ("NONSENSE", 0),
    ("", 0),
    ("  -- nothing", 0),
    ("SELECT 1; SELECT 2", 0),
)
RETURNING = (
    ("INSERT INTO t(b) VALUES (?) RETURNING a, b", 1),
    ("UPDATE t SET b = b RETURNING a", 0),
    ("DELETE FROM t WHERE a > ? RETURNING *", 1),
)
# What needs that no cursor is half read.
ALONE = (
    "BEGIN",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT one",
    "ROLLBACK TO one",
    "RELEASE one",
    "CREATE TABLE IF NOT EXISTS v(y)",
    "CREATE TABLE v(y)",
    "DROP TABLE v",
    "DROP TABLE IF EXISTS v",
    "ALTER TABLE v RENAME TO w",
    "CREATE INDEX i ON t(b)",
    "DROP INDEX i",
    "VACUUM",
    "PRAGMA user_version = 5",
    "PRAGMA user_version",
    "PRAGMA foreign_keys = ON",
    "REINDEX",
    "ANALYZE",
)
SCRIPTS = (
    "",
    "INSERT INTO u VALUES (1); INSERT INTO u VALUES (2);",
    "BEGIN; INSERT INTO u VALUES (3); COMMIT;",
    "INSERT INTO t(b) VALUES (9); INSERT INTO nothing VALUES (1); INSERT INTO u VALUES (4)",
    "SELECT * FROM t; -- only read\n",
    "SELECT 1; NONSENSE",
    "CREATE TABLE v(y); DROP TABLE v;",
    "INSERT INTO u VALUES (:name)",
)
LEVELS: tuple[Any, ...] = (
    None,
    "",
    "DEFERRED",
    "IMMEDIATE",
    "EXCLUSIVE",
    "immediate",
    "nonsense",
    3,
)


def row_shown(found: Any) -> Any:
    """As shown(), and a sqlite3.Row with its names."""
    if isinstance(found, sqlite3.Row):
        return "Row", found.keys(), shown(tuple(found))
    if isinstance(found, list):
        return [row_shown(each) for each in found]
    if isinstance(found, dict):
        return {name: shown(item) for name, item in found.items()}
    return shown(found)


class Machine(RuleBasedStateMachine):
    """Both sides, and which cursors are half read."""

    def __init__(self) -> None:
        super().__init__()
        note(f"LL_SEED={SEED}")
        self.loop = asyncio.new_event_loop()
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.half = [False] * CURSORS
        self.stale = [False] * CURSORS

    # ---- both sides

    @initialize(
        memory=st.booleans(),
        wal=st.booleans(),
        level=st.sampled_from([None, "", "DEFERRED", "IMMEDIATE"]),
    )
    def open(self, memory: bool, wal: bool, level: Any) -> None:
        paths = [":memory:"] * 2
        if not memory:
            self.folder = tempfile.TemporaryDirectory()
            paths = [str(Path(self.folder.name, name)) for name in ("a.db", "b.db")]
        self.plain = sqlite3.connect(paths[0], isolation_level=level)
        self.tested = self.wait(
            lambda: lib.connect(paths[1], isolation_level=level, check_same_thread=False)
        )
        self.calm = self.plain.cursor()
        self.mine = [self.plain.cursor() for _ in range(CURSORS)]
        self.theirs = [self.wait(self.tested.cursor) for _ in range(CURSORS)]
        if wal:
            self.both(0, lambda c: c.execute("PRAGMA journal_mode = WAL"), fetch="fetchall")
        # Behind the largest number SQLite makes up keys at random, on each side its own.
        key = f"a INTEGER PRIMARY KEY CHECK (a < {2**63 - 1})"
        script = f"CREATE TABLE t({key}, b UNIQUE); CREATE TABLE u(x)"
        self.both(0, lambda c: c.executescript(script))
        rows = [(n, n * 10) for n in range(5)]
        self.both(0, lambda c: c.executemany("INSERT INTO t VALUES (?, ?)", rows))
        self.both_connections(lambda c: c.commit())

    def wait(self, call: Callable[[], Any]) -> Any:
        async def main() -> Any:
            return await call()

        return self.loop.run_until_complete(main())

    def outcome(self, call: Callable[[], Any], waits: bool) -> Any:
        try:
            result = self.wait(call) if waits else call()
        except Exception as error:
            return error_shown(error)
        return result

    def both(
        self, number: int, call: Callable[[Any], Any], fetch: str = "", compared: bool = True
    ) -> Any:
        """One call on a cursor of each side, then maybe a fetch; what sqlite3 gave."""
        mine, theirs = self.mine[number], self.theirs[number]
        # A value that cannot be bound makes `sqlite3` tell SQLite's last error, if there was one
        # before: of a statement long gone.
        self.calm.execute("SELECT 1").fetchone()
        want = self.outcome(lambda: call(mine), waits=False)
        have = self.outcome(lambda: call(theirs), waits=True)
        if want is mine and have is theirs:  # execute gives its cursor
            want = have = "itself"
            if fetch:
                return self.both(number, lambda c: getattr(c, fetch)(), compared=compared)
        if compared:
            assert row_shown(want) == row_shown(have), f"sqlite3: {want!r}, here: {have!r}"
        self.attributes()
        return want

    def both_connections(self, call: Callable[[Any], Any]) -> None:
        want = self.outcome(lambda: call(self.plain), waits=False)
        have = self.outcome(lambda: call(self.tested), waits=True)
        assert shown(want) == shown(have)
        self.attributes()

    def attributes(self) -> None:
        for number in range(CURSORS):
            mine, theirs = self.mine[number], self.theirs[number]
            for name in ("rowcount", "lastrowid", "description", "arraysize"):
                want, have = getattr(mine, name), getattr(theirs, name)
                assert shown(want) == shown(have), f"cursor {number}: {name}: {want} {have}"
        for name in ("in_transaction", "total_changes", "isolation_level"):
            want, have = getattr(self.plain, name), getattr(self.tested, name)
            assert shown(want) == shown(have), f"{name}: {want} {have}"

    # ---- what is half read

    def written(self) -> None:
        for number in range(CURSORS):
            self.stale[number] = self.stale[number] or self.half[number]

    def drained(self) -> None:
        for number in range(CURSORS):
            while self.half[number]:  # a row factory may raise in between
                found = self.both(number, lambda c: c.fetchall(), compared=not self.stale[number])
                self.half[number] = not isinstance(found, list)

    def begun(self, number: int, half: bool) -> None:
        self.half[number], self.stale[number] = half, False

    def replaced(self, number: int) -> None:
        """A new cursor in the place of a closed one."""
        self.mine[number] = self.plain.cursor()
        self.theirs[number] = self.wait(self.tested.cursor)
        self.begun(number, False)
        self.attributes()

    # ---- rules

    @rule(number=cursors, read=st.sampled_from(READS), data=st.data())
    def read(self, number: int, read: tuple[str, int], data: st.DataObject) -> None:
        sql, count = read
        values = data.draw(st.tuples(*[parameter] * count))
        self.both(number, lambda c: c.execute(sql, values))
        self.begun(number, self.mine[number].description is not None)

    @rule(number=cursors, size=st.sampled_from([None, None, -1, 0, 1, 2, 7]))
    def fetchmany(self, number: int, size: int | None) -> None:
        def call(cursor: Any) -> Any:
            return cursor.fetchmany() if size is None else cursor.fetchmany(size)

        found = self.both(number, call, compared=not self.stale[number])
        if found == []:
            self.half[number] = False

    @rule(number=cursors)
    def fetchone(self, number: int) -> None:
        found = self.both(number, lambda c: c.fetchone(), compared=not self.stale[number])
        if found is None:
            self.half[number] = False

    @rule(number=cursors)
    def fetchall(self, number: int) -> None:
        found = self.both(number, lambda c: c.fetchall(), compared=not self.stale[number])
        if isinstance(found, list):
            self.half[number] = False

    @rule(number=cursors, write=st.sampled_from(WRITES), data=st.data())
    def write(self, number: int, write: tuple[str, int], data: st.DataObject) -> None:
        sql, count = write
        given = data.draw(st.sampled_from([count, count, count, count, count + 1]))
        values = data.draw(st.tuples(*[parameter] * given))
        self.begun(number, False)
        self.written()
        self.both(number, lambda c: c.execute(sql, values))

    @rule(number=cursors, write=st.sampled_from(RETURNING), data=st.data())
    def returning(self, number: int, write: tuple[str, int], data: st.DataObject) -> None:
        sql, count = write
        values = data.draw(st.tuples(*[value] * count))
        self.mine[number].row_factory = self.theirs[number].row_factory = None
        self.begun(number, False)
        self.written()
        self.both(number, lambda c: c.execute(sql, values), fetch="fetchall")

    @rule(number=cursors, write=st.sampled_from(WRITES + READS), data=st.data())
    def many(self, number: int, write: tuple[str, int], data: st.DataObject) -> None:
        sql, count = write
        rows = data.draw(st.lists(st.tuples(*[parameter] * count), max_size=4))
        stops = data.draw(st.sampled_from([None, None, None, 0, 1, 2]))

        def given() -> Iterator[Any]:
            for at, row in enumerate(rows):
                if at == stops:
                    raise KeyError("no more")
                yield row

        self.begun(number, False)
        self.written()
        self.both(number, lambda c: c.executemany(sql, given()))
        self.begun(number, False)
        if write in READS:
            self.both(number, lambda c: c.close())
            self.replaced(number)

    @rule(number=cursors, named=st.dictionaries(st.sampled_from("abcd"), parameter, max_size=4))
    def named(self, number: int, named: dict[str, Any]) -> None:
        sql = "INSERT INTO u SELECT coalesce(:a, $b, @c)"
        self.begun(number, False)
        self.written()
        self.both(number, lambda c: c.execute(sql, named))

    @rule(number=cursors, sql=st.sampled_from(ALONE))
    def alone(self, number: int, sql: str) -> None:
        self.drained()
        self.both(number, lambda c: c.execute(sql))
        self.begun(number, self.mine[number].description is not None)
        self.drained()

    @rule(number=cursors, text=st.sampled_from(SCRIPTS))
    def script(self, number: int, text: str) -> None:
        self.drained()
        self.both(number, lambda c: c.executescript(text))

    @rule(name=st.sampled_from(["commit", "rollback"]))
    def end(self, name: str) -> None:
        if name == "rollback":
            self.drained()
        self.both_connections(lambda c: getattr(c, name)())

    @rule(level=st.sampled_from(LEVELS))
    def isolation(self, level: Any) -> None:
        self.drained()  # None commits

        def change(connection: Any) -> Any:
            connection.isolation_level = level

        want = self.outcome(lambda: change(self.plain), waits=False)
        have = self.outcome(lambda: change(self.tested), waits=False)
        assert shown(want) == shown(have)
        self.attributes()

    @rule(number=cursors, factory=st.sampled_from(ROW_FACTORIES), everywhere=st.booleans())
    def rows(self, number: int, factory: Any, everywhere: bool) -> None:
        """For one cursor, or for those that are made later."""
        if everywhere:
            self.plain.row_factory = self.tested.row_factory = factory
        else:
            self.mine[number].row_factory = self.theirs[number].row_factory = factory

    @rule(factory=st.sampled_from(TEXT_FACTORIES))
    def texts(self, factory: Any) -> None:
        """`sqlite3` makes the next row before it is asked for: nothing may be half read."""
        self.drained()
        self.plain.text_factory = self.tested.text_factory = factory

    @rule(number=cursors, size=st.integers(-1, 3))
    def arraysize(self, number: int, size: int) -> None:
        self.mine[number].arraysize = self.theirs[number].arraysize = size

    @rule(number=cursors)
    def another(self, number: int) -> None:
        """A new cursor in the place of one that is closed."""
        self.both(number, lambda c: c.close())
        self.both(number, lambda c: c.fetchone())
        self.both(number, lambda c: c.execute("SELECT 1"))
        self.both(number, lambda c: c.close())
        self.replaced(number)

    @rule(number=cursors, wrong=st.sampled_from([None, 3, b"SELECT 1", "SELECT 1\0", "\ud800"]))
    def no_sql(self, number: int, wrong: Any) -> None:
        self.both(number, lambda c: c.execute(wrong))
        self.begun(number, self.mine[number].description is not None and self.half[number])

    @rule(number=cursors, wrong=st.sampled_from([3, "ab", {"a": 1}, iter([1]), [1, 2, 3], ()]))
    def no_parameters(self, number: int, wrong: Any) -> None:
        self.begun(number, False)
        self.both(number, lambda c: c.execute("SELECT ?, ?", wrong))
        self.begun(number, self.mine[number].description is not None)

    def teardown(self) -> None:
        try:
            if hasattr(self, "tested"):
                tables = ("t", "u")
                for table in tables:
                    sql = f"SELECT * FROM {table} ORDER BY rowid"
                    self.plain.text_factory = self.tested.text_factory = str
                    self.plain.row_factory = self.tested.row_factory = None
                    want = self.plain.execute(sql).fetchall()
                    have = self.wait(partial(self.tested.execute_fetchall, sql))
                    assert shown([tuple(row) for row in want]) == shown(
                        [tuple(row) for row in have]
                    )
        finally:
            if hasattr(self, "tested"):
                self.wait(self.tested.close)
                self.plain.close()
            self.loop.close()
            if self.folder:
                self.folder.cleanup()


@pytest.mark.parametrize("steps", [12, 40], ids=["short", "long"])
def test_machine(steps: int) -> None:
    machine = seed(SEED)(Machine)
    machine.TestCase.settings = settings(
        deadline=None,
        stateful_step_count=steps,
        max_examples=int(os.environ.get("LL_EXAMPLES", "100" if steps < 20 else "40")),
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        database=None,  # so that the seed says all
    )
    test = machine.TestCase("runTest")
    try:
        test.runTest()
    except BaseException as error:
        if hasattr(error, "add_note"):
            error.add_note(f"LL_SEED={SEED}")
        raise
