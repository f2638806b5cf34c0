/* A corpus of statements whose every answer is compared with sqlite3's own: values to the bit, column
 * names and declared types, changes, rowids, and of errors the extended code, the words and the place.
 * The statements of a list run one after another on the same two databases. */
#include "support/support.h"

static const char *const values[] = {
    "SELECT 1",
    "SELECT NULL",
    "SELECT 0, -1, 9223372036854775807, -9223372036854775808",
    "SELECT 9223372036854775808",
    "SELECT 0.0, -0.0, 1.5, 1e308, -1e-308, 4.9e-324",
    "SELECT 1e999, -1e999",
    "SELECT 0.1 + 0.2",
    "SELECT ''",
    "SELECT 'text', 'it''s'",
    "SELECT x''",
    "SELECT x'00', x'0001020300', zeroblob(1000)",
    "SELECT 'a' || char(0) || 'b'",
    "SELECT cast(x'610062' AS TEXT)",
    "SELECT '\xc3\xa4\xc3\xb6\xc3\xbc \xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x90\x98'",
    "SELECT char(0x1F418, 0x10FFFF, 0xD7FF, 0xFFFD)",
    "SELECT hex(zeroblob(300000))",
    "SELECT zeroblob(5000000)",
    "SELECT replace(hex(zeroblob(100000)), '0', '\xc3\xa4')",
    "SELECT typeof(1), typeof(1.0), typeof('1'), typeof(x'31'), typeof(NULL)",
    "SELECT 1 AS \"a b\", 2 AS [c], 3 AS `d`, 4 AS ''",
    "SELECT 1 AS x, 2 AS x, 3 AS x",
    "SELECT 'a', 1, NULL, 2.5, x'ff' UNION ALL SELECT NULL, 'b', 3, x'', 0.5",
    "VALUES(1, 'one'), (2, 'two'), (3, NULL)",
    "SELECT 1 WHERE 0",
    "SELECT true, false, not true",
    "SELECT 1; ",
    "SELECT 1 -- with a comment",
    "SELECT /* inside */ 1 /* and behind */ ;  \n\t -- and this\n",
    "",
    "   \n\t ",
    ";",
    "-- nothing but a comment",
    "/* nothing but a comment */",
};

static const char *const expressions[] = {
    "SELECT 7 / 2, -7 / 2, 7 % 3, -7 % 3, 7.0 / 2",
    "SELECT 1 / 0, 1 % 0, 1.0 / 0.0",
    "SELECT 1 << 3, 256 >> 4, 5 & 3, 5 | 3, ~5",
    "SELECT 9223372036854775807 + 1",
    "SELECT -9223372036854775808 - 1",
    "SELECT 'a' < 'b', 1 < '1', 'a' = 'A', 'a' = 'A' COLLATE NOCASE",
    "SELECT NULL = NULL, NULL IS NULL, NULL AND 0, NULL OR 1",
    "SELECT 3 BETWEEN 1 AND 5, 3 IN (1, 2, 3), 3 NOT IN (SELECT 4)",
    "SELECT CASE WHEN 1 THEN 'yes' ELSE 'no' END, iif(0, 1, 2)",
    "SELECT coalesce(NULL, NULL, 3), nullif(1, 1), ifnull(NULL, 'x')",
    "SELECT cast('12abc' AS INTEGER), cast(3.99 AS INTEGER), cast(65 AS TEXT)",
    "SELECT abs(-5), round(2.567, 2), max(1, 2, 3), min('a', 'b')",
    "SELECT length('\xc3\xa4'), length(x'c3a4'), upper('abc'), substr('hello', 2, 3)",
    "SELECT instr('hello', 'l'), trim('  x '), ltrim('xxa', 'x'), replace('aba', 'a', 'c')",
    "SELECT 'abc' LIKE 'A%', 'abc' GLOB 'a*', 'a_c' LIKE 'a\\_c' ESCAPE '\\'",
    "SELECT printf('%05d|%-5s|%.3f', 42, 'ab', 3.14159), quote('it''s'), quote(x'01')",
    "SELECT date('2024-02-29', '+1 year'), julianday('2000-01-01 12:00')",
    "SELECT strftime('%Y-%j', '2023-12-31'), time('12:34:56')",
    "SELECT json('{\"a\": [1, 2]}'), json_extract('{\"a\": [1, 2.5, \"x\", null]}', '$.a[1]')",
    "SELECT json_extract('{\"a\": \"t\"}', '$.a'), json_array(1, 'x', NULL), '{\"a\":1}' ->> 'a'",
    "SELECT value, type FROM json_each('[1, 2.5, \"x\", null, true]')",
    "SELECT sqlite_version() = sqlite_version(), changes() >= 0",
    "SELECT unicode('\xf0\x9f\x90\x98'), hex('\xf0\x9f\x90\x98')",
};

static const char *const tables[] = {
    "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL, data BLOB, n NUMERIC)",
    "CREATE TABLE IF NOT EXISTS t(id)",
    "CREATE TABLE typed(a INT, b VARCHAR(10), c DECIMAL(5,2), d, e \"my type\")",
    "INSERT INTO t(name, price, data, n) VALUES('one', 1.5, x'00ff', '12')",
    "INSERT INTO t(name, price, data, n) VALUES('two', NULL, NULL, 'text'), ('three', 3, x'', 1e3)",
    "INSERT INTO t VALUES(10, 'ten', 10.0, zeroblob(10), NULL)",
    "INSERT INTO t SELECT id + 100, name || '!', price, data, n FROM t WHERE id < 10",
    "SELECT * FROM t",
    "SELECT rowid, * FROM t ORDER BY id DESC",
    "SELECT id AS key, upper(name), t.price, data FROM t WHERE price > 1 ORDER BY 2",
    "SELECT a, b, c, d, e FROM typed",
    "INSERT INTO typed VALUES('1', 2, '3.5', '4', 5)",
    "SELECT * FROM typed",
    "SELECT typeof(a), typeof(b), typeof(c), typeof(d), typeof(e) FROM typed",
    "UPDATE t SET price = price + 1 WHERE price IS NOT NULL",
    "UPDATE t SET price = 0 WHERE id = 4242",
    "SELECT count(*), sum(price), avg(price), min(price), max(price), total(n) FROM t",
    "SELECT group_concat(name) FROM (SELECT name FROM t ORDER BY id)",
    "SELECT price IS NULL, count(*) FROM t GROUP BY 1 HAVING count(*) > 0 ORDER BY 1",
    "SELECT DISTINCT length(name) FROM t ORDER BY 1 LIMIT 2 OFFSET 1",
    "DELETE FROM t WHERE id > 100",
    "DELETE FROM t WHERE id > 100",
    "REPLACE INTO t(id, name) VALUES(10, 'again')",
    "INSERT OR IGNORE INTO t(id, name) VALUES(10, 'ignored')",
    "INSERT OR REPLACE INTO t(id, name) VALUES(10, 'replaced')",
    "INSERT INTO t(id, name) VALUES(10, 'x') ON CONFLICT(id) DO UPDATE SET name = excluded.name",
    "INSERT INTO t(id, name) VALUES(10, 'x') ON CONFLICT DO NOTHING",
    "INSERT INTO t(name) VALUES('r1'), ('r2') RETURNING id, name, price AS p",
    "UPDATE t SET name = 'u' WHERE name LIKE 'r%' RETURNING id, name",
    "DELETE FROM t WHERE name = 'u' RETURNING *",
    "DELETE FROM t WHERE 0 RETURNING *",
    "CREATE TABLE parts(id INTEGER PRIMARY KEY, t_id INTEGER REFERENCES t(id), label TEXT)",
    "INSERT INTO parts(t_id, label) VALUES(1, 'a'), (1, 'b'), (2, 'c'), (NULL, 'd')",
    "SELECT t.name, parts.label FROM t JOIN parts ON parts.t_id = t.id ORDER BY parts.id",
    "SELECT t.name, parts.label FROM t LEFT JOIN parts ON parts.t_id = t.id ORDER BY t.id, 2",
    "SELECT count(*) FROM t CROSS JOIN parts",
    "SELECT * FROM t JOIN parts USING(id) ORDER BY id",
    "SELECT name FROM t WHERE EXISTS (SELECT 1 FROM parts WHERE t_id = t.id) ORDER BY 1",
    "SELECT (SELECT label FROM parts WHERE t_id = t.id ORDER BY 1 LIMIT 1) AS sub FROM t ORDER BY id",
    "SELECT id FROM t INTERSECT SELECT t_id FROM parts ORDER BY 1",
    "SELECT id FROM t EXCEPT SELECT t_id FROM parts ORDER BY 1",
    "WITH big AS (SELECT * FROM t WHERE id >= 3) SELECT name FROM big ORDER BY id",
    "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < 3000) SELECT x FROM c",
    ("WITH RECURSIVE f(a, b) AS (VALUES(0, 1) UNION ALL SELECT b, a + b FROM f LIMIT 60)"
     " SELECT a FROM f"),
    ("WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < 700)"
     " SELECT x, x * 0.5, hex(x), x'00', NULL FROM c"),
    "WITH src(n) AS (VALUES('w1'), ('w2')) INSERT INTO t(name) SELECT n FROM src",
    "SELECT id, row_number() OVER (ORDER BY id), sum(id) OVER (ORDER BY id) FROM t",
    "SELECT name, rank() OVER (PARTITION BY length(name) ORDER BY name) FROM t ORDER BY 1, 2",
    "SELECT id, lag(id, 1, -1) OVER w, lead(id) OVER w FROM t WINDOW w AS (ORDER BY id)",
    "SELECT id, avg(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM t",
    "CREATE VIEW v AS SELECT id, name FROM t",
    "SELECT * FROM v ORDER BY id",
    "CREATE INDEX by_name ON t(name COLLATE NOCASE)",
    "CREATE UNIQUE INDEX by_label ON parts(label)",
    "EXPLAIN QUERY PLAN SELECT * FROM t WHERE name = 'one' COLLATE NOCASE",
    "ALTER TABLE t ADD COLUMN extra TEXT DEFAULT 'dflt'",
    "SELECT * FROM t ORDER BY id",
    "ALTER TABLE t RENAME COLUMN extra TO more",
    "SELECT id, more FROM t ORDER BY id",
    "CREATE TABLE log(what TEXT, id INTEGER)",
    ("CREATE TRIGGER logs AFTER INSERT ON t BEGIN INSERT INTO log VALUES('insert', new.id);"
     " INSERT INTO log VALUES('again', new.id); END"),
    "INSERT INTO t(name) VALUES('logged')",
    "SELECT * FROM log",
    "CREATE TRIGGER through INSTEAD OF INSERT ON v BEGIN INSERT INTO t(name) VALUES(new.name); END",
    "INSERT INTO v(name) VALUES('by view')",
    "SELECT name FROM t WHERE name = 'by view'",
    "CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID",
    "INSERT INTO w VALUES('a', 1), ('b', x'00')",
    "SELECT * FROM w",
    "CREATE TABLE s(a INTEGER, b TEXT) STRICT",
    "CREATE TABLE g(a INTEGER, b INTEGER GENERATED ALWAYS AS (a * 2) VIRTUAL, c AS (a + 1) STORED)",
    "INSERT INTO g(a) VALUES(1), (2)",
    "SELECT * FROM g",
    "CREATE TABLE copy AS SELECT id, name, price FROM t",
    "SELECT * FROM copy ORDER BY id",
    "CREATE TEMP TABLE tmp(x)",
    "INSERT INTO tmp VALUES(1)",
    "SELECT * FROM temp.tmp",
    "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name",
    "PRAGMA table_info(t)",
    "PRAGMA index_list(t)",
    "PRAGMA foreign_key_list(parts)",
    "PRAGMA user_version",
    "PRAGMA user_version = 77",
    "PRAGMA user_version",
    "PRAGMA encoding",
    "PRAGMA integrity_check",
    "PRAGMA foreign_keys = ON",
    "PRAGMA foreign_keys",
    "SELECT name FROM pragma_table_info('t') ORDER BY cid",
    "ATTACH ':memory:' AS other",
    "CREATE TABLE other.o(x)",
    "INSERT INTO other.o VALUES(5)",
    "SELECT * FROM other.o, main.w ORDER BY k",
    "DETACH other",
    "ANALYZE",
    "REINDEX",
    "VACUUM",
    "BEGIN",
    "INSERT INTO log VALUES('txn', 1)",
    "SAVEPOINT one",
    "INSERT INTO log VALUES('txn', 2)",
    "ROLLBACK TO one",
    "RELEASE one",
    "SELECT count(*) FROM log",
    "ROLLBACK",
    "SELECT count(*) FROM log",
    "BEGIN IMMEDIATE",
    "DELETE FROM log",
    "COMMIT",
    "DROP VIEW v",
    "DROP INDEX by_name",
    "DROP TABLE copy",
    "DROP TABLE IF EXISTS copy",
};

static const char *const errors[] = {
    "CREATE TABLE e(id INTEGER PRIMARY KEY, u TEXT UNIQUE, n TEXT NOT NULL, c INT CHECK(c > 0))",
    "CREATE TABLE f(e_id INTEGER REFERENCES e(id))",
    "CREATE TABLE st(a INTEGER) STRICT",
    "CREATE TABLE wr(k TEXT PRIMARY KEY) WITHOUT ROWID",
    "PRAGMA foreign_keys = ON",
    "INSERT INTO e VALUES(1, 'u', 'n', 1)",
    "INSERT INTO wr VALUES('k')",
    /* constraints, with their extended codes */
    "INSERT INTO e VALUES(1, 'other', 'n', 1)",
    "INSERT INTO e VALUES(2, 'u', 'n', 1)",
    "INSERT INTO e VALUES(3, 'v', NULL, 1)",
    "INSERT INTO e VALUES(4, 'w', 'n', -1)",
    "INSERT INTO f VALUES(99)",
    "INSERT INTO wr VALUES('k')",
    "INSERT INTO st VALUES('text')",
    "INSERT INTO e VALUES(5, 'x', 'n', 1), (1, 'y', 'n', 1)",
    "INSERT OR FAIL INTO e VALUES(6, 'z', 'n', 1), (1, 'zz', 'n', 1)",
    "SELECT count(*) FROM e",
    "DELETE FROM e WHERE id = 6",
    "UPDATE e SET id = 'text'",
    "CREATE TRIGGER no BEFORE DELETE ON e BEGIN SELECT RAISE(ABORT, 'not this one'); END",
    "DELETE FROM e",
    "BEGIN",
    "INSERT OR ROLLBACK INTO e VALUES(1, 'q', 'n', 1)",
    "COMMIT",
    /* what does not parse, and where */
    "SELEC 1",
    "SELECT",
    "SELECT 1 FROM",
    "SELECT * FROM e WHERE",
    "SELECT )",
    "SELECT 'open",
    "SELECT x'0'",
    "SELECT 1 1",
    "INSERT INTO e",
    "CREATE TABLE",
    "SELECT \xc3\xa4\xc3\xb6 FROM e",
    "SELECT '\xc3\xa4', nope FROM e",
    "SELECT 1e",
    "@",
    "SELECT [open",
    "/* open comment SELECT",
    /* what does not exist */
    "SELECT * FROM nowhere",
    "SELECT nothing FROM e",
    "SELECT e.nothing FROM e",
    "SELECT nofunction(1)",
    "SELECT abs()",
    "SELECT abs(1, 2)",
    "INSERT INTO e(nothing) VALUES(1)",
    "INSERT INTO e VALUES(1)",
    "INSERT INTO nowhere VALUES(1)",
    "UPDATE e SET nothing = 1",
    "DROP TABLE nowhere",
    "DROP INDEX nowhere",
    "ALTER TABLE nowhere ADD COLUMN x",
    "CREATE TABLE e(x)",
    "CREATE INDEX i ON e(nothing)",
    "SELECT * FROM nowhere.e",
    "SELECT 'a' COLLATE nocoll",
    "SELECT id FROM e UNION SELECT 1, 2",
    "SELECT max(id) FROM e WHERE max(id) > 1",
    "SELECT id FROM e JOIN f USING(nothing)",
    "SELECT id FROM e a, e b",
    "DETACH nowhere",
    "ATTACH ':memory:' AS main",
    /* what fails while it runs */
    "SELECT abs(-9223372036854775808)",
    "SELECT json('{')",
    "SELECT zeroblob(3000000000)",
    "SELECT json_extract('{}', 'bad path')",
    ("WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < 10)"
     " SELECT abs(CASE x WHEN 5 THEN -9223372036854775808 ELSE x END) FROM c"),
    "SELECT sum(x) FROM (SELECT 9223372036854775807 AS x UNION ALL SELECT 1)",
    "SELECT 'a' LIKE 'b' ESCAPE 'long'",
    "COMMIT",
    "ROLLBACK",
    "RELEASE nowhere",
    "SAVEPOINT s",
    "ROLLBACK TO nowhere",
    "BEGIN",
    "RELEASE s",
    "BEGIN",
    "BEGIN",
    "VACUUM",
    "COMMIT",
    "PRAGMA user_version = = 1",
    "SELECT count(*) FROM e",
};

static void compare_list(t_env *t, const char *const *list, size_t count)
{
    ll_conn *conn = t_open(t, "ours.db");
    sqlite3 *db = t_raw_open(t_path(t, "theirs.db"));
    for (size_t i = 0; i < count; i++)
        t_compare(conn, db, list[i]);
    t_close(conn);
    t_raw_close(db);
    t_compared();
}

#define COMPARE(list) compare_list(*state, list, sizeof list / sizeof *list)

static void all_kinds_of_values(void **state)
{
    COMPARE(values);
}

static void all_kinds_of_expressions(void **state)
{
    COMPARE(expressions);
}

static void all_kinds_of_statements(void **state)
{
    COMPARE(tables);
}

static void all_kinds_of_errors(void **state)
{
    COMPARE(errors);
}

static void everything_twice_from_the_statement_cache(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.cached_statements = 2};
    ll_conn *conn = t_open_with(t->engine, ":memory:", &options);
    sqlite3 *db = t_raw_open(":memory:");
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof values / sizeof *values; i++)
            t_compare(conn, db, values[i]);
        t_compare(conn, db, "SELECT 1 AS again");
        t_compare(conn, db, "SELECT 1 AS again");
    }
    /* a cached statement sees a changed schema */
    t_compare(conn, db, "CREATE TABLE t(a)");
    t_compare(conn, db, "INSERT INTO t VALUES(1)");
    t_compare(conn, db, "SELECT * FROM t");
    t_compare(conn, db, "ALTER TABLE t ADD COLUMN b DEFAULT 'b'");
    t_compare(conn, db, "SELECT * FROM t");
    t_compare(conn, db, "DROP TABLE t");
    t_compare(conn, db, "SELECT * FROM t");
    t_close(conn);
    t_raw_close(db);
    t_compared();
}

static void many_rows_come_in_order(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_rows rows = {.request = t_query(conn, T_ENDLESS "SELECT x, 'row ' || x FROM c LIMIT 100000")};
    int64_t expected = 0;
    for (const ll_value *row; (row = t_rows_next(&rows)) != NULL;) {
        char text[32];
        int size = snprintf(text, sizeof text, "row %lld", (long long)++expected);
        T_CHECK(row[0].type == LL_INTEGER && row[0].as.integer == expected);
        T_CHECK(row[1].type == LL_TEXT && row[1].size == (uint32_t)size);
        T_CHECK(memcmp(row[1].as.text, text, (size_t)size + 1) == 0);
    }
    T_EQUAL(expected, 100000);
    t_rows_done(&rows);
    t_close(conn);
}

static void a_batch_outlives_everything(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = t_query(conn, "SELECT 'kept', x'0102', 3 AS three");
    ll_columns *columns = ll_columns_ref(ll_request_columns(request));
    ll_batch *batch = ll_request_take_batch(request);
    T_CHECK(batch && !ll_request_take_batch(request));
    T_CHECK(!ll_request_take_cursor(request));
    ll_request_unref(request);
    t_close(conn);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_CHECK(ll_batch_rows(batch) == 1 && ll_batch_columns(batch) == 3);
    const ll_value *row = ll_batch_row(batch, 0);
    T_CHECK(row[0].size == 4 && memcmp(row[0].as.text, "kept", 5) == 0);
    T_CHECK(row[1].type == LL_BLOB && row[1].size == 2);
    T_CHECK(!ll_batch_row(batch, 1));
    T_CHECK(ll_columns_count(columns) == 3);
    T_SAME_TEXT(ll_columns_name(columns, 2), "three");
    T_CHECK(!ll_columns_name(columns, 3) && !ll_columns_decltype(columns, 3));
    ll_batch_free(batch);
    ll_columns_unref(columns);
}

static void exec_drops_rows(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = NULL;
    T_CHECK(t_end(ll_exec(conn, "VALUES(1), (2)", NULL, 0, NULL, &request), request) == LL_OK);
    T_CHECK(!ll_request_take_batch(request));
    T_CHECK(!ll_request_take_cursor(request));
    ll_request_unref(request);
    t_close(conn);
}

static void exec_drops_returned_rows(void **state)
{
    T_NEEDS(T_HAS_RETURNING);
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = NULL;
    t_exec(conn, "CREATE TABLE t(x)");
    T_CHECK(
        t_end(ll_exec(conn, "INSERT INTO t VALUES(1), (2) RETURNING x", NULL, 0, NULL, &request),
              request) == LL_OK);
    T_CHECK(ll_request_changes(request) == 2 && ll_request_rowid(request) == 2);
    T_CHECK(!ll_request_take_batch(request));
    T_CHECK(ll_request_is_dml(request) && !ll_request_is_read(request));
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 2);
    t_close(conn);
}

static void is_dml_by_its_first_word(void **state)
{
    static const struct {
        const char *sql;
        bool dml, read;
    } cases[] = {
        {"INSERT INTO t VALUES(1)", true, false},
        {"  insert into t values(1)", true, false},
        {"/* c */ -- d\n UPDATE t SET x = 2", true, false},
        {"dElEtE FROM t", true, false},
        {"REPLACE INTO t VALUES(1)", true, false},
        {"WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", false, false},
        {"SELECT 1", false, true},
        {"CREATE TABLE u(x)", false, false},
        {"EXPLAIN INSERT INTO t VALUES(1)", false, false}, /* as without EXPLAIN */
        {"BEGIN", false, true},
        {"COMMIT", false, true},
        {"-- INSERT", false, true},
        {"PRAGMA user_version", false, true},
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ll_request *request = t_query(conn, cases[i].sql);
        if (ll_request_is_dml(request) != cases[i].dml)
            t_fail(__FILE__, __LINE__, "is_dml is wrong: %s", cases[i].sql);
        if (ll_request_is_read(request) != cases[i].read)
            t_fail(__FILE__, __LINE__, "is_read is wrong: %s", cases[i].sql);
        ll_request_unref(request);
    }
    t_close(conn);
}

static void several_statements_are_refused(void **state)
{
    static const char *const list[] = {
        "INSERT INTO t VALUES(1); INSERT INTO t VALUES(2)",
        "INSERT INTO t VALUES(1); -- and\n SELECT 1",
        "INSERT INTO t VALUES(1);;SELECT 1",
        "INSERT INTO t VALUES(1); nonsense",
        "; INSERT INTO t VALUES(1); SELECT 1",
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        ll_request *request = t_exec_fails(conn, list[i], LL_ESTATEMENTS);
        t_is(request, LL_ESTATEMENTS, LL_NOT_APPLIED);
        ll_request_unref(request);
    }
    t_exec(conn, "INSERT INTO t VALUES(1); ; -- nothing more\n ;");
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 1);
    t_close(conn);
}

static void a_nul_inside_the_text_is_refused(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    static const char text[] = "CREATE TABLE t(x)\0; DROP TABLE t";
    ll_request *request = NULL;
    ll_sql sql = {.text = text, .size = sizeof text - 1};
    T_CHECK(ll_conn_submit(conn, &sql, NULL, &request) == LL_EINVAL);
    T_CHECK(!request && ll_last_error()[0] != '\0');
    T_CHECK(ll_script(conn, text, sizeof text - 1, false, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_prepare(conn, text, sizeof text - 1, NULL, &request) == LL_EINVAL);
    ll_many many = {.text = text, .size = sizeof text - 1, .rows = 1};
    T_CHECK(ll_exec_many(conn, &many, NULL, &request) == LL_EINVAL);
    T_CHECK(!request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM sqlite_master"), 0);
    /* a size cuts the text */
    sql.size = strlen("CREATE TABLE t(x)");
    T_CHECK(t_end(ll_conn_submit(conn, &sql, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM sqlite_master"), 1);
    t_close(conn);
}

static void read_only_statements_only(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    ll_request *request = NULL;
    ll_sql sql = {
        .text = "INSERT INTO t VALUES(1)", .size = LL_NUL_TERMINATED, .flags = LL_SQL_READ_ONLY};
    T_CHECK(t_end(ll_conn_submit(conn, &sql, NULL, &request), request) == LL_EINVAL);
    if (request)
        t_is(request, LL_EINVAL, LL_NOT_APPLIED);
    ll_request_unref(request);
    request = NULL;
    sql.text = "SELECT count(*) FROM t";
    T_CHECK(t_end(ll_conn_submit(conn, &sql, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_close(conn);
}

static void before_the_end_a_request_says_nothing(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_gate_install(gate, conn);
    ll_request *request = NULL;
    T_CHECK(ll_query(conn, "SELECT gate(), 5 AS x", NULL, 0, &(ll_submit){.user = gate},
                     &request) == LL_PENDING);
    t_gate_entered(gate, 1);
    T_CHECK(!ll_request_is_done(request));
    T_CHECK(ll_request_status(request) == LL_PENDING);
    T_CHECK(ll_request_error(request)->status == LL_PENDING);
    T_CHECK(ll_request_error(request)->message != NULL);
    T_CHECK(ll_request_outcome(request) == LL_UNKNOWN);
    T_CHECK(ll_request_changes(request) == 0 && ll_request_rowid(request) == 0);
    T_CHECK(ll_request_progress(request) == 0);
    T_CHECK(!ll_request_is_read(request) && !ll_request_is_dml(request));
    T_CHECK(!ll_request_columns(request) && !ll_request_take_batch(request));
    T_CHECK(!ll_request_take_cursor(request) && !ll_request_take_stmt(request));
    T_CHECK(ll_request_user(request) == gate);
    T_CHECK(!t_state(conn).idle);
    T_CHECK(ll_engine_outstanding(t->engine) == 1);
    t_gate_open(gate);
    T_CHECK(ll_request_wait(request) == LL_OK);
    T_CHECK(ll_request_wait(request) == LL_OK); /* again: at once */
    T_CHECK(ll_request_is_read(request));
    T_CHECK(ll_engine_outstanding(t->engine) == 0);
    T_CHECK(t_state(conn).idle);
    ll_request_unref(ll_request_ref(request));
    ll_request_unref(request);
    t_close(conn);
}

static void what_became_of_a_failed_statement(void **state)
{
    static const struct {
        const char *sql;
        ll_outcome outcome;
        int64_t rows;
    } cases[] = {
        {"INSERT INTO t VALUES(2), (1)", LL_NOT_APPLIED, 1},
        {"INSERT OR ABORT INTO t VALUES(2), (1)", LL_NOT_APPLIED, 1},
        {"INSERT OR FAIL INTO t VALUES(2), (1)", LL_UNKNOWN, 2}, /* the first row stands */
        {"UPDATE OR FAIL t SET x = 7 - 3 * (x = 1)", LL_UNKNOWN, 2},
        {"INSERT INTO nowhere VALUES(1)", LL_NOT_APPLIED, 2},
        {"DELETE FROM t WHERE abs(CASE x WHEN 4 THEN -9223372036854775808 ELSE x END) > 0",
         LL_NOT_APPLIED, 2},
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x INTEGER PRIMARY KEY CHECK(x <> 7))");
    t_exec(conn, "INSERT INTO t VALUES(1)");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ll_request *request = t_exec_fails(conn, cases[i].sql, LL_ESQL);
        if (ll_request_outcome(request) != cases[i].outcome)
            t_fail(__FILE__, __LINE__, "outcome %d: %s", ll_request_outcome(request), cases[i].sql);
        ll_request_unref(request);
        T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), cases[i].rows);
    }
    /* one that ends the transaction around it */
    t_exec(conn, "BEGIN");
    t_exec(conn, "INSERT INTO t VALUES(100)");
    ll_request *request = t_exec_fails(conn, "INSERT OR ROLLBACK INTO t VALUES(2)", LL_ESQL);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    ll_request_unref(request);
    T_CHECK(!t_state(conn).in_transaction);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t WHERE x = 100"), 0);
    t_close(conn);
}

static void interrupt_ends_what_runs(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_gate_install(gate, conn);
    T_CHECK(ll_conn_interrupt(conn) == LL_OK); /* nothing runs: nothing happens */
    T_EQUAL(t_int(conn, "SELECT 5"), 5);
    ll_request *request = NULL;
    T_CHECK(ll_query(conn, T_ENDLESS "SELECT count(x), seen() FROM c WHERE seen(x) > 0", NULL, 0,
                     NULL, &request) == LL_PENDING);
    t_gate_entered(gate, 10);
    T_CHECK(ll_conn_interrupt(conn) == LL_OK);
    T_CHECK(ll_request_wait(request) == LL_ESQL);
    T_CHECK(ll_request_error(request)->sqlite_code == SQLITE_INTERRUPT);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT 5"), 5);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(all_kinds_of_values),
        T_TEST(all_kinds_of_expressions),
        T_TEST(all_kinds_of_statements),
        T_TEST(all_kinds_of_errors),
        T_TEST(everything_twice_from_the_statement_cache),
        T_TEST(many_rows_come_in_order),
        T_TEST(a_batch_outlives_everything),
        T_TEST(exec_drops_rows),
        T_TEST(exec_drops_returned_rows),
        T_TEST(is_dml_by_its_first_word),
        T_TEST(several_statements_are_refused),
        T_TEST(a_nul_inside_the_text_is_refused),
        T_TEST(read_only_statements_only),
        T_TEST(before_the_end_a_request_says_nothing),
        T_TEST(what_became_of_a_failed_statement),
        T_TEST(interrupt_ends_what_runs),
    };
    return T_RUN(tests);
}
