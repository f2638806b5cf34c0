"""Statements and sequences whose every observable effect is compared with `sqlite3`'s.

A case is a list of steps. A bare string is executed and fetched; a tuple of a string and parameters likewise.
"""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oracle.steps import Call, Exec, Fetch, Level, Many, Script, Step

COMMIT, ROLLBACK = Call("commit"), Call("rollback")
T = "CREATE TABLE t(a INTEGER PRIMARY KEY, b)"
PAIRS = "INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, NULL)"
STRICT = "CREATE TABLE s(a INTEGER PRIMARY KEY, b TEXT NOT NULL UNIQUE, c CHECK (c > 0))"
PARENT = "CREATE TABLE p(id INTEGER PRIMARY KEY)"
CHILD = "CREATE TABLE k(id INTEGER PRIMARY KEY, p REFERENCES p DEFERRABLE INITIALLY DEFERRED)"


class Index:
    """Has __index__ and is no int."""

    def __index__(self) -> int:
        return 7


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Real(float):
    pass


class Sequenced:
    """A sequence that is no tuple and no list."""

    def __init__(self, *values: Any) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> Any:
        return self._values[index]


class Lying(Sequenced):
    """Says it is longer than it is."""

    def __len__(self) -> int:
        return len(self._values) + 1


class Missing(dict[str, Any]):
    """A dict that makes up what it has not."""

    def __missing__(self, key: str) -> str:
        return f"<{key}>"


VALUES: list[Any] = [
    None,
    0,
    1,
    -1,
    True,
    False,
    127,
    128,
    -129,
    32767,
    2**31 - 1,
    2**31,
    -(2**31) - 1,
    2**47,
    2**63 - 1,
    -(2**63),
    0.0,
    -0.0,
    1.5,
    -1e308,
    5e-324,
    1e-10,
    float("inf"),
    float("-inf"),
    float("nan"),
    0.1 + 0.2,
    "",
    "a",
    "nul\0in",
    "zażółć",
    "漢字",
    "\U0001f600",
    "\ud7ff\ue000",
    "x" * 5000,
    "'quoted' \"twice\"",
    b"",
    b"\0",
    b"\xff\xfe",
    bytes(range(256)),
    b"y" * 5000,
    bytearray(b"array"),
    memoryview(b"view"),
    Text("text subclass"),
    Number(5),
    Real(2.5),
]
BAD_VALUES: list[Any] = [
    2**63,
    -(2**63) - 1,
    2**100,
    "\ud800",
    "a\udfffb",
    object,
    [],
    (),
    {},
    {1},
    1j,
    Index(),
    range(3),
]

QUERIES = [
    "SELECT 1",
    "SELECT NULL",
    "SELECT 1.0",
    "SELECT 'x'",
    "SELECT x'0102'",
    "SELECT 1, 'two', 3.0, NULL, x'05'",
    "SELECT 1 AS a, 2 AS a",
    'SELECT 1 AS "two words", 2 AS "qu""ote"',
    'SELECT 1 AS "col [int]"',
    'SELECT 1 AS ""',
    "SELECT 1 WHERE 0",
    "VALUES (1), (2), (3)",
    "SELECT 9223372036854775807 + 1",
    "SELECT -9223372036854775808",
    "SELECT 9e999, -9e999",
    "SELECT 1/0",
    "SELECT CAST('12abc' AS INTEGER), CAST(x'31' AS TEXT)",
    "SELECT typeof(1), typeof(1.0), typeof(''), typeof(x''), typeof(NULL)",
    "SELECT char(0), length(char(0, 65))",
    "SELECT zeroblob(10)",
    "SELECT hex('ab'), quote(x'00ff'), unicode('é')",
    "SELECT upper('straße'), substr('hello', 2, 3), instr('abc', 'c')",
    "SELECT abs(-5), round(2.567, 1), max(1, 2.0), min('a', 'b')",
    "SELECT coalesce(NULL, 2), nullif(1, 1), ifnull(NULL, 'x')",
    "SELECT date('2020-02-29', '+1 year'), time('12:00'), julianday('2000-01-01')",
    "SELECT printf('%05d|%-5s|%.2f', 42, 'ab', 3.14159)",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 300) SELECT x FROM c",
    "SELECT count(*), sum(value), avg(value) FROM json_each('[1,2,3]')",
    "SELECT json('{\"a\": [1, 2]}'), json_extract('{\"a\": {\"b\": 5}}', '$.a.b')",
    "SELECT group_concat(column1, '-') FROM (VALUES ('a'), ('b'))",
    "SELECT column1, row_number() OVER (ORDER BY column1 DESC) FROM (VALUES (1), (2), (3))",
    "SELECT 'a' LIKE 'A', 'a' GLOB 'A', 1 IS NULL, NULL IS NULL, 3 BETWEEN 2 AND 4",
    "SELECT 5 % 3, 5 << 2, ~5, 5 || 5, NOT 5",
    "EXPLAIN QUERY PLAN SELECT 1",
    "PRAGMA user_version",
    "PRAGMA table_info(nothing)",
    "PRAGMA encoding",
    "PRAGMA page_size",
    "PRAGMA journal_mode",
    "PRAGMA foreign_keys",
    "PRAGMA nonsense",
    "PRAGMA compile_options('x')",
    "  SELECT 1  ",
    "\n\t-- comment\nSELECT 1 -- after\n",
    "/* before */ SELECT 1 /* after */;",
    "SELECT 1;",
    "SELECT 1; ",
    "SELECT 1; -- comment",
    "SELECT 1; /* comment */",
    "SELECT sqlite_version() = sqlite_version()",
    "SELECT total_changes(), changes(), last_insert_rowid()",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM pragma_table_info('x')",
    "SELECT 'nul' || char(0) || 'tail'",
    "SELECT CAST(x'ff' AS TEXT)",
    "SELECT CAST(x'61ff62' AS TEXT), 1",
]

MISTAKES: list[Any] = [
    "",
    " ",
    ";",
    "-- only a comment",
    "/* unfinished",
    "SELEC 1",
    "SELECT",
    "SELECT * FROM nothing",
    "SELECT nothing",
    "SELECT nosuchfunction(1)",
    "SELECT abs()",
    "SELECT abs(1, 2)",
    "SELECT abs(-9223372036854775808)",
    "SELECT 'unterminated",
    'SELECT "unterminated',
    "SELECT 1; SELECT 2",
    "SELECT 1;; SELECT 2",
    "SELECT 1 UNION SELECT 1, 2",
    "SELECT json('{')",
    "SELECT json_extract('[', '$')",
    "SELECT x'0'",
    "SELECT 1 FROM (SELECT 2",
    "CREATE TABLE t(",
    "CREATE TABLE sqlite_mine(a)",
    "CREATE TABLE t(a, a)",
    "DROP TABLE nothing",
    "DROP VIEW nothing",
    "ALTER TABLE nothing ADD COLUMN b",
    "INSERT INTO nothing VALUES (1)",
    "UPDATE nothing SET a = 1",
    "DELETE FROM nothing",
    "ATTACH 'no/such/folder/x.db' AS x",
    "DETACH x",
    "SAVEPOINT",
    "RELEASE nothing",
    "ROLLBACK TO nothing",
    "COMMIT",
    "ROLLBACK",
    "END",
    "REINDEX nothing",
    "SELECT '" + "x" * 1_000_001,
    "SELECT\0 1",
    "SELECT 1\0",
    "SELECT '\0'",
    "\0",
    "SELECT '\ud800'",
    "SELECT zeroblob(3000000000)",
    "SELECT " + "(" * 2000 + "1" + ")" * 2000,
    "SELECT " + ", ".join("1" for _ in range(3000)),
    "SELECT ?100000",
    b"SELECT 1",
    None,
    1,
    ["SELECT 1"],
]

WITH_PARAMETERS: list[tuple[Any, Any]] = [
    ("SELECT ?", (1,)),
    ("SELECT ?", [1]),
    ("SELECT ?", Sequenced(1)),
    ("SELECT ?, ?", Lying(1)),
    ("SELECT ?, ?", (1, "b")),
    ("SELECT ?2, ?1", (1, 2)),
    ("SELECT ?1, ?1", (1,)),
    ("SELECT ?3", (1, 2, 3)),
    ("SELECT ?, ?5", (1, 2, 3, 4, 5)),
    ("SELECT :a", {"a": 1}),
    ("SELECT @a", {"a": 1}),
    ("SELECT $a", {"a": 1}),
    ("SELECT :a, :b, :a", {"a": 1, "b": 2}),
    ("SELECT :a", {"a": 1, "unused": 2}),
    ("SELECT :a", Missing()),
    ("SELECT :ä", {"ä": 1}),
    ("SELECT :a", {}),
    ("SELECT :a", {"A": 1}),
    ("SELECT :a, :b", {"a": 1}),
    ("SELECT ?", {"a": 1}),
    ("SELECT ?", {}),
    ("SELECT ?1", {"1": 5}),
    ("SELECT ?", ()),
    ("SELECT ?", (1, 2)),
    ("SELECT 1", (1,)),
    ("SELECT 1", {}),
    ("SELECT 1", {"a": 1}),
    ("SELECT 1", []),
    ("SELECT ?, ?", (1,)),
    ("SELECT ?", "x"),
    ("SELECT ?", "xy"),
    ("SELECT ?", b"x"),
    ("SELECT ?", 5),
    ("SELECT ?", 1.5),
    ("SELECT ?", {1}),
    ("SELECT ?", iter([1])),
    ("SELECT ?", range(1)),
    ("SELECT ? || ?", ("a", None)),
    ("SELECT ? LIKE ?", ("abc", "a%")),
    ("SELECT '?', ?", (1,)),
    ("SELECT /* ? */ ?", (1,)),
    ("SELECT * FROM (VALUES (1), (2)) LIMIT ?", (1,)),
    ("SELECT * FROM (VALUES (1), (2)) LIMIT ?", ("x",)),
    ("PRAGMA user_version = ?", (1,)),
    ("CREATE TABLE x(a DEFAULT (?))", (1,)),
    ("SELECT 1; SELECT ?", (1,)),
]

SEQUENCES: dict[str, list[Any]] = {
    "ddl": [T, "CREATE INDEX i ON t(b)", "CREATE VIEW v AS SELECT b FROM t", PAIRS, "SELECT * FROM v",
            "DROP VIEW v", "DROP INDEX i", "DROP TABLE t"],
    "create_twice": [T, T, "CREATE TABLE IF NOT EXISTS t(x)", "DROP TABLE IF EXISTS u"],
    "create_as": [T, PAIRS, "CREATE TABLE u AS SELECT * FROM t WHERE a > 1", "SELECT * FROM u"],
    "alter": [T, PAIRS, "ALTER TABLE t ADD COLUMN c DEFAULT 9", "SELECT * FROM t",
              "ALTER TABLE t RENAME COLUMN c TO d", "SELECT * FROM t", "ALTER TABLE t RENAME TO u", "SELECT d FROM u"],
    "schema_changes_under_cached_statement": [T, PAIRS, "SELECT * FROM t", "ALTER TABLE t ADD COLUMN c",
                                              "SELECT * FROM t", "DROP TABLE t", "SELECT * FROM t",
                                              "CREATE TABLE t(z)", "SELECT * FROM t"],
    "temp_table": ["CREATE TEMP TABLE x(a)", "INSERT INTO x VALUES (1)", "SELECT * FROM temp.x"],
    "without_rowid": ["CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID", "INSERT INTO w VALUES ('a', 1)",
                      "SELECT * FROM w"],
    "generated": ["CREATE TABLE g(a, b AS (a * 2) STORED)", "INSERT INTO g(a) VALUES (4)", "SELECT * FROM g",
                  "INSERT INTO g(a, b) VALUES (1, 2)"],
    "virtual_table": ["CREATE VIRTUAL TABLE f USING nothing(x)"],
    "insert_lastrowid": [T, "INSERT INTO t(b) VALUES ('x')", "INSERT INTO t(b) VALUES ('y')",
                         "INSERT INTO t VALUES (50, 'z')", "SELECT last_insert_rowid()", "UPDATE t SET b = 1",
                         "DELETE FROM t", "INSERT INTO t(b) VALUES ('again')"],
    "negative_rowid": [T, "INSERT INTO t VALUES (-5, 'x')", "SELECT * FROM t"],
    "largest_rowid": [T, "INSERT INTO t VALUES (9223372036854775807, 'x')", "SELECT * FROM t",
                      "INSERT INTO t VALUES (9223372036854775808, 'x')"],
    "insert_or": [STRICT, "INSERT INTO s VALUES (1, 'x', 1)", "INSERT OR IGNORE INTO s VALUES (1, 'y', 1)",
                  "INSERT OR REPLACE INTO s VALUES (2, 'x', 2)", "REPLACE INTO s VALUES (3, 'x', 3)",
                  "INSERT OR FAIL INTO s VALUES (4, 'n', 1), (3, 'x', 1), (5, 'm', 1)",
                  "INSERT OR ABORT INTO s VALUES (6, 'n6', 1), (3, 'x', 1)",
                  "INSERT OR ROLLBACK INTO s VALUES (3, 'x', 1)", "SELECT * FROM s"],
    "upsert": [STRICT, "INSERT INTO s VALUES (1, 'x', 1)",
               "INSERT INTO s VALUES (1, 'y', 5) ON CONFLICT(a) DO UPDATE SET c = excluded.c",
               "INSERT INTO s VALUES (1, 'y', 6) ON CONFLICT DO NOTHING", "SELECT * FROM s"],
    "constraints": [STRICT, "INSERT INTO s VALUES (1, 'x', 1)", "INSERT INTO s VALUES (1, 'y', 1)",
                    "INSERT INTO s VALUES (2, 'x', 1)", "INSERT INTO s VALUES (3, NULL, 1)",
                    "INSERT INTO s VALUES (4, 'z', 0)", "UPDATE s SET c = -1", "UPDATE s SET b = NULL",
                    "INSERT INTO s VALUES ('text', 'q', 1)", "INSERT INTO s VALUES (1)", "SELECT * FROM s"],
    "strict_table": ["CREATE TABLE st(a INTEGER, b ANY) STRICT", "INSERT INTO st VALUES ('x', 1)",
                     "INSERT INTO st VALUES (1, x'00')", "SELECT * FROM st"],
    "foreign_keys": ["PRAGMA foreign_keys = ON", "PRAGMA foreign_keys", PARENT, "CREATE TABLE k(p REFERENCES p)",
                     "INSERT INTO k VALUES (1)", "INSERT INTO p VALUES (1)", "INSERT INTO k VALUES (1)",
                     "DELETE FROM p", "SELECT * FROM k"],
    "deferred_foreign_key_at_commit": ["PRAGMA foreign_keys = ON", PARENT, CHILD, COMMIT, "BEGIN",
                                       "INSERT INTO k VALUES (1, 99)", COMMIT, "SELECT * FROM k", ROLLBACK,
                                       "SELECT * FROM k"],
    "raise_in_trigger": [T, "CREATE TRIGGER r BEFORE INSERT ON t WHEN new.a = 0 BEGIN SELECT RAISE(ABORT, 'no zero'); END",
                         "INSERT INTO t VALUES (0, 1)", "INSERT INTO t VALUES (1, 1)", "SELECT * FROM t"],
    "raise_rollback": [T, "CREATE TRIGGER r BEFORE DELETE ON t BEGIN SELECT RAISE(ROLLBACK, 'never'); END", COMMIT,
                       PAIRS, "DELETE FROM t", "SELECT * FROM t"],
    "raise_ignore": [T, "CREATE TRIGGER r BEFORE DELETE ON t BEGIN SELECT RAISE(IGNORE); END", PAIRS, "DELETE FROM t",
                     "SELECT count(*) FROM t"],
    "trigger_counts": [T, "CREATE TABLE log(a)", "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.a); END",
                       PAIRS, "SELECT * FROM log", "SELECT changes(), total_changes()"],
    "update_counts": [T, PAIRS, "UPDATE t SET b = 'x'", "UPDATE t SET b = 'y' WHERE a = 1", "UPDATE t SET b = 1 WHERE 0",
                      "DELETE FROM t WHERE a > 1", "DELETE FROM t", "DELETE FROM t"],
    "lower_case_words": [T, "insert into t values (1, 'x')", "update t set b = 2", "delete from t", "select * from t",
                         "replace into t values (9, 9)"],
    "comment_before_write": [T, "/* c */ INSERT INTO t VALUES (1, 1)", "-- c\nINSERT INTO t VALUES (2, 1)",
                             "\n  UPDATE t SET b = 3", ROLLBACK, "SELECT count(*) FROM t"],
    "with_before_write": [T, "WITH x(v) AS (VALUES (1), (2)) INSERT INTO t SELECT v, v FROM x",
                          "WITH x(v) AS (VALUES (1)) DELETE FROM t WHERE a IN x", COMMIT, ROLLBACK, "SELECT * FROM t"],
    "returning": [T, "INSERT INTO t(b) VALUES ('x') RETURNING a, b", "INSERT INTO t(b) VALUES ('y'), ('z') RETURNING a",
                  "UPDATE t SET b = 'w' RETURNING *", "UPDATE t SET b = 'w' WHERE 0 RETURNING *",
                  "DELETE FROM t WHERE a = 1 RETURNING a AS gone", COMMIT, "SELECT * FROM t"],
    "returning_error": [STRICT, "INSERT INTO s VALUES (1, 'x', 1) RETURNING nothing",
                        "INSERT INTO s VALUES (1, 'x', 0) RETURNING a", "SELECT * FROM s"],
    "returning_fetch_by_one": [T, Exec("INSERT INTO t VALUES (1, 1), (2, 2) RETURNING a", fetch=False), Fetch("fetchall"),
                               COMMIT, "SELECT * FROM t"],
    "pragma_set": ["PRAGMA user_version = 5", "PRAGMA user_version", "PRAGMA application_id = 7", "PRAGMA application_id"],
    "pragma_functions": [T, "SELECT name, type, pk FROM pragma_table_info('t')", "PRAGMA table_info(t)",
                         "PRAGMA index_list(t)", "PRAGMA foreign_key_list(t)", "PRAGMA database_list"],
    "pragma_checks": [T, PAIRS, COMMIT, "PRAGMA integrity_check", "PRAGMA quick_check", "PRAGMA foreign_key_check"],
    "query_only": [T, COMMIT, "PRAGMA query_only = ON", PAIRS, "PRAGMA query_only = OFF", PAIRS],
    "recursive_trigger_depth": ["PRAGMA recursive_triggers = ON", "CREATE TABLE r(n)",
                                "CREATE TRIGGER x AFTER INSERT ON r WHEN new.n < 2000 BEGIN INSERT INTO r VALUES (new.n + 1); END",
                                "INSERT INTO r VALUES (0)", "SELECT count(*) FROM r"],
    "legacy_begin": [T, PAIRS, ROLLBACK, "SELECT * FROM t"],
    "legacy_commit": [T, PAIRS, COMMIT, ROLLBACK, "SELECT * FROM t"],
    "commit_nothing": [COMMIT, ROLLBACK, COMMIT, "SELECT 1", COMMIT],
    "begin_twice": ["BEGIN", "BEGIN", "COMMIT"],
    "begin_kinds": ["BEGIN DEFERRED", "COMMIT", "BEGIN IMMEDIATE", "END", "BEGIN EXCLUSIVE", "ROLLBACK", "BEGIN NONSENSE"],
    "explicit_transaction": [T, "BEGIN", PAIRS, "ROLLBACK", "SELECT * FROM t", "BEGIN", PAIRS, "COMMIT", "SELECT * FROM t"],
    "explicit_then_methods": [T, "BEGIN", PAIRS, ROLLBACK, "SELECT * FROM t", "BEGIN", PAIRS, COMMIT, "SELECT * FROM t"],
    "ddl_in_transaction": ["BEGIN", T, PAIRS, ROLLBACK, "SELECT * FROM t"],
    "ddl_after_dml": [T, PAIRS, "CREATE TABLE u(x)", ROLLBACK, "SELECT * FROM t", "SELECT * FROM u"],
    "savepoints": [T, "SAVEPOINT one", PAIRS, "SAVEPOINT two", "DELETE FROM t", "ROLLBACK TO two", "SELECT count(*) FROM t",
                   "RELEASE one", "SELECT count(*) FROM t"],
    "savepoint_then_commit": [T, "SAVEPOINT one", PAIRS, COMMIT, "SELECT count(*) FROM t", "RELEASE one"],
    "error_keeps_transaction": [T, PAIRS, "INSERT INTO t VALUES (1, 'again')", "SELECT count(*) FROM t", COMMIT,
                                "SELECT count(*) FROM t"],
    "vacuum_in_transaction": [T, PAIRS, "VACUUM", COMMIT, "VACUUM"],
    "analyze": [T, PAIRS, "CREATE INDEX i ON t(b)", "ANALYZE", "SELECT tbl, idx, stat FROM sqlite_stat1"],
    "attach_memory": ["ATTACH ':memory:' AS other", "CREATE TABLE other.x(a)", "INSERT INTO other.x VALUES (1)", COMMIT,
                      "SELECT * FROM x", "DETACH other", "SELECT * FROM x"],
    "attach_in_transaction": [T, PAIRS, "ATTACH ':memory:' AS other", COMMIT],
    "levels": [T, Level("IMMEDIATE"), PAIRS, COMMIT, Level("EXCLUSIVE"), "DELETE FROM t", ROLLBACK, Level(None),
               "DELETE FROM t", Level("DEFERRED"), "INSERT INTO t VALUES (9, 9)", ROLLBACK, "SELECT * FROM t"],
    "level_none_commits": [T, PAIRS, Level(None), ROLLBACK, "SELECT count(*) FROM t"],
    "level_wrong": [Level("NONSENSE"), T, PAIRS, COMMIT],
    "level_lower_case": [Level("immediate"), T, PAIRS, COMMIT],
    "many": [T, Many("INSERT INTO t VALUES (?, ?)", [(1, "a"), (2, "b"), (3, "c")]), COMMIT, "SELECT * FROM t",
             Many("UPDATE t SET b = ? WHERE a = ?", [("x", 1), ("y", 9)]), Many("DELETE FROM t WHERE a = ?", [(1,), (2,)])],
    "many_named": [T, Many("INSERT INTO t VALUES (:a, :b)", [{"a": 1, "b": 2}, {"a": 2, "b": 3}]), "SELECT * FROM t"],
    "many_generator": [T, Many("INSERT INTO t VALUES (?, ?)", lambda: ((i, i) for i in range(5))), "SELECT * FROM t"],
    "many_iterator": [T, Many("INSERT INTO t(b) VALUES (?)", lambda: iter([("x",), ["y"], Sequenced("z")])), "SELECT * FROM t"],
    "many_empty": [T, Many("INSERT INTO t VALUES (?, ?)", []), "SELECT * FROM t", ROLLBACK],
    "many_select": [Many("SELECT ?", [(1,)])],
    "many_select_empty": [Many("SELECT ?", [])],
    "many_ddl": [Many("CREATE TABLE m(a)", [()]), "SELECT * FROM m"],
    "many_pragma": [Many("PRAGMA user_version", [()])],
    "many_no_parameters": [T, Many("INSERT INTO t(b) VALUES (1)", [(), ()]), "SELECT * FROM t"],
    "many_fails_midway": [T, Many("INSERT INTO t VALUES (?, ?)", [(1, 1), (2, 2), (1, 3), (4, 4)]), "SELECT * FROM t", ROLLBACK,
                          "SELECT * FROM t"],
    "many_bad_value_midway": [T, Many("INSERT INTO t VALUES (?, ?)", [(1, 1), (2, object), (3, 3)]), "SELECT * FROM t"],
    "many_wrong_count_midway": [T, Many("INSERT INTO t VALUES (?, ?)", [(1, 1), (2,), (3, 3)]), "SELECT * FROM t"],
    "many_unknown_name": [T, Many("INSERT INTO t VALUES (:a, :b)", [{"a": 1}]), "SELECT * FROM t"],
    "many_not_iterable": [T, Many("INSERT INTO t VALUES (?, ?)", 5), Many("INSERT INTO t VALUES (?, ?)", [1])],
    "many_row_is_text": [T, Many("INSERT INTO t(b) VALUES (?)", ["x", "y"]), "SELECT * FROM t"],
    "many_dict_as_rows": [T, Many("INSERT INTO t(b) VALUES (?)", {"x": 1, "y": 2}), "SELECT * FROM t"],
    "many_two_statements": [T, Many("INSERT INTO t(b) VALUES (?); SELECT 1", [(1,)]), "SELECT * FROM t"],
    "many_syntax_error": [Many("INSRT", [(1,)])],
    "many_no_table": [Many("INSERT INTO nothing VALUES (?)", [(1,)])],
    "many_then_execute": [T, Many("INSERT INTO t(b) VALUES (?)", [(1,), (2,)]), "INSERT INTO t(b) VALUES (3)", "SELECT * FROM t"],
    "many_after_explicit_begin": [T, "BEGIN", Many("INSERT INTO t(b) VALUES (?)", [(1,)]), ROLLBACK, "SELECT * FROM t"],
    "script": [Script("CREATE TABLE a(x); INSERT INTO a VALUES (1); INSERT INTO a VALUES (2);"), "SELECT * FROM a"],
    "script_empty": [Script(""), Script(" ; ;; "), Script("-- comment")],
    "script_unfinished_last": [Script("CREATE TABLE a(x); INSERT INTO a VALUES (1)"), "SELECT * FROM a"],
    "script_error": [Script("CREATE TABLE a(x); INSERT INTO a VALUES (1); NONSENSE; INSERT INTO a VALUES (2);"),
                     "SELECT * FROM a", ROLLBACK, "SELECT * FROM a"],
    "script_constraint": [Script("CREATE TABLE a(x UNIQUE); INSERT INTO a VALUES (1); INSERT INTO a VALUES (1); INSERT INTO a VALUES (2)"),
                          "SELECT * FROM a"],
    "script_commits_first": [T, PAIRS, Script("SELECT 1"), ROLLBACK, "SELECT count(*) FROM t"],
    "script_opens_transaction": [T, Script("BEGIN; INSERT INTO t VALUES (1, 1);"), ROLLBACK, "SELECT * FROM t"],
    "script_selects": [Script("SELECT 1; SELECT 2;"), Fetch("fetchall"), Fetch("fetchone")],
    "script_trigger": [T, Script("CREATE TRIGGER g AFTER INSERT ON t BEGIN UPDATE t SET b = 1; SELECT 2; END; INSERT INTO t VALUES (1, 0)"),
                       "SELECT * FROM t"],
    "script_bad_types": [Script(b"SELECT 1"), Script(None), Script("SELECT 1\0"), Script("SELECT '\ud800'")],
    "script_comments": [Script("-- a\nCREATE TABLE x(a); /* b; c */ INSERT INTO x VALUES (';'); -- end"), "SELECT * FROM x"],
    "script_keeps_rowcount": [T, PAIRS, Script("DELETE FROM t"), "SELECT total_changes()"],
    "fetch_ways": [T, PAIRS, Exec("SELECT * FROM t", fetch=False), Fetch("fetchone"), Fetch("fetchmany", 1), Fetch("fetchmany", 5),
                   Fetch("fetchone"), Fetch("fetchall"), Fetch("fetchmany")],
    "fetchmany_sizes": [Exec("VALUES (1), (2), (3), (4), (5)", fetch=False), Fetch("fetchmany"), Fetch("fetchmany", 2),
                        Fetch("fetchmany", 0), Fetch("fetchmany", 100)],
    "fetchmany_negative": [Exec("VALUES (1), (2), (3)", fetch=False), Fetch("fetchmany", -1)],
    "fetch_without_execute": [Fetch("fetchone"), Fetch("fetchmany", 3), Fetch("fetchall")],
    "fetch_after_write": [T, Exec(PAIRS, fetch=False), Fetch("fetchone"), Fetch("fetchall")],
    "fetch_after_error": [Exec("SELECT 1", fetch=False), "NONSENSE", Fetch("fetchall"), Fetch("fetchone")],
    "execute_drops_rest": [Exec("VALUES (1), (2), (3)", fetch=False), Fetch("fetchone"), Exec("VALUES (7), (8)", fetch=False),
                           Fetch("fetchall")],
    "two_cursors": [Exec("VALUES (1), (2)", fetch=False), Exec("VALUES (7), (8)", cursor=1, fetch=False), Fetch("fetchone"),
                    Fetch("fetchone", cursor=1), Fetch("fetchall"), Fetch("fetchall", cursor=1)],
    "same_statement_two_cursors": [Exec("VALUES (1), (2)", fetch=False), Exec("VALUES (1), (2)", cursor=1, fetch=False),
                                   Fetch("fetchone"), Fetch("fetchall", cursor=1), Fetch("fetchall")],
    "runtime_error_late": [Exec("SELECT abs(column1) FROM (VALUES (1), (2), (-9223372036854775808), (4))")],
    "runtime_error_first": ["SELECT abs(-9223372036854775807 - 1)"],
    "json_error_late": [Exec("SELECT json_extract(column1, '$') FROM (VALUES ('1'), ('{'), ('2'))")],
    "bad_text_late": [Exec("SELECT CAST(column1 AS TEXT) FROM (VALUES (x'61'), (x'ff'), (x'62'))")],
    "integer_overflow_sum": ["SELECT sum(column1) FROM (VALUES (9223372036854775807), (1))"],
    "affinity": ["CREATE TABLE f(i INTEGER, r REAL, t TEXT, n NUMERIC, b BLOB)",
                 ("INSERT INTO f VALUES (?, ?, ?, ?, ?)", ("5", 5, 5, "5.5", "5")),
                 ("INSERT INTO f VALUES (?, ?, ?, ?, ?)", (5.0, "x", b"x", "1e2", 5)),
                 "SELECT *, typeof(i), typeof(r), typeof(t), typeof(n), typeof(b) FROM f"],
    "collations": ["SELECT 'a' = 'A' COLLATE NOCASE, 'a ' = 'a' COLLATE RTRIM", "SELECT 'a' COLLATE nothing < 'b'"],
    "like_and_blobs": [T, ("INSERT INTO t VALUES (?, ?)", (1, b"\x00\x01")), ("SELECT b = ?, length(b) FROM t", (b"\x00\x01",))],
    "wide_row": ["SELECT " + ", ".join(str(i) for i in range(200))],
    "rowcount_of_replace": [T, PAIRS, "REPLACE INTO t VALUES (1, 'r'), (9, 's')", "INSERT INTO t SELECT a + 100, b FROM t"],
    "commit_as_text": [T, PAIRS, "COMMIT", ROLLBACK, "SELECT count(*) FROM t"],
    "rollback_as_text": [T, PAIRS, "ROLLBACK", "SELECT count(*) FROM t"],
    "rowid_names": [T, PAIRS, "SELECT rowid, oid, _rowid_ FROM t", "SELECT t.a, t.b, t.* FROM t"],
    "joins": [T, PAIRS, "SELECT x.a, y.a FROM t x JOIN t y ON x.a < y.a", "SELECT x.b, y.b FROM t x LEFT JOIN t y ON y.a = x.a + 1"],
    "ambiguous": [T, "SELECT a FROM t x JOIN t y", "SELECT nothing.a FROM t"],
    "like_escape": ["SELECT 'a%' LIKE 'a\\%' ESCAPE '\\'", "SELECT 'a' LIKE 'a' ESCAPE 'xx'"],
    "insert_wrong_columns": [T, "INSERT INTO t VALUES (1)", "INSERT INTO t(c) VALUES (1)", "INSERT INTO t(a, a) VALUES (1, 2)",
                             "SELECT count(*) FROM t"],
    "insert_wrong_type": [T, "INSERT INTO t VALUES ('x', 1)", "INSERT INTO t VALUES (1.5, 1)", "INSERT INTO t VALUES ('7', 1)",
                          "SELECT * FROM t"],
}  # fmt: skip


def step(given: Any) -> Step:
    if isinstance(given, (Exec, Many, Script, Fetch, Call, Level)):
        return given
    if isinstance(given, tuple):
        return Exec(*given)
    return Exec(given)


def cases() -> Iterator[tuple[str, list[Step]]]:
    """Every case with its name."""
    for number, value in enumerate(VALUES):
        yield (
            f"value_{number}_{type(value).__name__}",
            [
                Exec("SELECT ?, typeof(?1), length(?1), hex(?1)", (value,)),
                Exec(T),
                Exec("INSERT INTO t VALUES (1, :v)", {"v": value}),
                Exec("SELECT b, typeof(b) FROM t"),
                Many("INSERT INTO t(b) VALUES (?)", [(value,), (value,)]),
                Exec("SELECT b FROM t"),
            ],
        )
    for number, value in enumerate(BAD_VALUES):
        yield (
            f"bad_value_{number}_{type(value).__name__}",
            [
                # In a transaction already: whether a statement that is never run begins one differs (documented).
                Exec(T),
                Exec("BEGIN"),
                Exec("SELECT ?", (value,)),
                Exec("SELECT :v", {"v": value}),
                Exec("SELECT ?, ?", (1, value)),
                Exec("INSERT INTO t(b) VALUES (?)", (value,)),
                Many("INSERT INTO t(b) VALUES (?)", [(1,), (value,)]),
                Exec("SELECT * FROM t"),
            ],
        )
    for number, sql in enumerate(QUERIES):
        yield f"query_{number}", [Exec(sql), Exec(sql), Exec(sql, fetch=False), Fetch("fetchone")]
    for number, sql in enumerate(MISTAKES):
        yield (
            f"mistake_{number}",
            [Exec(sql), Fetch("fetchall"), Exec("SELECT 1"), Exec(sql), Exec("SELECT 2")],
        )
    for number, (sql, parameters) in enumerate(WITH_PARAMETERS):
        yield f"parameters_{number}", [Exec(sql, parameters), Exec("SELECT 1")]
    for name, given in SEQUENCES.items():
        yield name, [step(each) for each in given]
