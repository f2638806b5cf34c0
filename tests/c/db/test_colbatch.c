/* test_colbatch.c: columns filled from a statement are those of its rows, wherever SQLite keeps a row: it is asked for
 * all values of the first one, later for both ends of each. */
#include "support/support.h"

#include "db/colbatch.h"

#include <string.h>

static const char schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, c);"
    "CREATE TABLE u(a, b, c);"
    "CREATE TABLE n(a INTEGER NOT NULL, b REAL, c TEXT);"
    "WITH RECURSIVE x(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM x WHERE i < 300)"
    "INSERT INTO t SELECT i, i % 7, 'text ' || i, iif(i % 5, i / 4.0, NULL) FROM x;"
    "INSERT INTO u SELECT b, c, a FROM t WHERE id < 100;"
    "INSERT INTO u VALUES (x'00ff', 9007199254740993, 'a' || char(0) || 'b'), ('', x'', CAST(x'ff' AS TEXT));"
    "INSERT INTO n SELECT id, id / 8.0, b FROM t";

/* The ends of a row are the same in all of them, what is between is not; or rows come from several places. */
static const char *const queries[] = {
    "SELECT 1, a, b, c, 2 FROM t",
    "SELECT 1, a, b, 2 FROM t UNION ALL SELECT 1, b, c, 2 FROM u",
    "SELECT 1, a, 2 FROM t UNION ALL SELECT 1, 2, c FROM u UNION ALL SELECT a, 1, 2 FROM t",
    "SELECT a, b, c FROM t UNION ALL SELECT * FROM (SELECT c, a, b FROM u LIMIT 5)",
    "SELECT a, b, c FROM u INTERSECT SELECT a, b, c FROM u",
    "SELECT a, b, c FROM t UNION SELECT c, b, a FROM u",
    "SELECT a, b, c FROM t EXCEPT SELECT a, b, c FROM u ORDER BY 3, 2, 1",
    "VALUES (1, 2, 3), (4, 'five', 6.5), (NULL, x'', 1)",
    "SELECT 1, a, b, c, 1 FROM t ORDER BY b DESC, c",
    "SELECT 1, a, count(*), max(b), total(c), 1 FROM t GROUP BY a",
    "SELECT 1, id, lag(b) OVER w, sum(id) OVER w, 1 FROM t WINDOW w AS (PARTITION BY a ORDER BY id)",
    "WITH RECURSIVE x(i, j) AS (VALUES(1, 'a') UNION ALL SELECT i + 1, j || i FROM x LIMIT 50) SELECT 0, i, j, 0 FROM x",
    "SELECT DISTINCT 1, a, typeof(c), 1 FROM t",
    "SELECT t.id, u.a, u.b, t.c, t.id FROM t LEFT JOIN u ON u.b = t.id / 4.0",
    "SELECT 1, (SELECT b FROM u WHERE rowid = t.id), EXISTS (SELECT 1 FROM u WHERE a = t.b), 1 FROM t",
    "SELECT * FROM n",
    "SELECT a, a, a FROM n",
    "SELECT a FROM t",
    "SELECT a, b FROM u",
    "SELECT 1, 2, 3 WHERE 0",
    "INSERT INTO n SELECT id, c, b FROM t RETURNING 1, a, b, c, rowid, 1",
    "PRAGMA table_info(t)",
    "EXPLAIN SELECT a, b FROM t ORDER BY c",
};

static void check_column(const struct lli_col *column, const struct lli_col *expected, size_t rows)
{
    T_EQUAL(column->kind, expected->kind);
    T_EQUAL(column->seen, expected->seen);
    T_EQUAL(column->inexact, expected->inexact);
    T_EQUAL(column->not_utf8, expected->not_utf8);
    T_EQUAL(column->size, expected->size);
    T_CHECK(!column->valid == !expected->valid);
    for (size_t row = 0; row < rows; row++) {
        if (column->valid)
            T_EQUAL(column->valid[row / 8] >> (row % 8) & 1,
                    expected->valid[row / 8] >> (row % 8) & 1);
        if (column->words)
            T_EQUAL(column->words[row], expected->words[row]);
        if (column->offsets)
            T_EQUAL(column->offsets[row + 1], expected->offsets[row + 1]);
        if (column->tags)
            T_EQUAL(column->tags[row], expected->tags[row]);
    }
    T_CHECK(column->size == 0 || memcmp(column->bytes, expected->bytes, column->size) == 0);
}

/* Its rows taken apart while it is stepped, and afterwards. */
static void check_query(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    t_raw(db, "BEGIN");
    T_CHECK(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK);
    size_t width = (size_t)sqlite3_column_count(stmt);
    ll_batch *rows = lli_batch_new(width), *columns = lli_colbatch_new(width, NULL);
    T_CHECK(rows && columns);
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        T_CHECK(lli_batch_add(rows, db, stmt) == LL_OK);
        T_CHECK(lli_batch_add(columns, db, stmt) == LL_OK);
    }
    T_CHECK(rc == SQLITE_DONE);
    sqlite3_finalize(stmt);
    t_raw(db, "ROLLBACK");
    ll_batch *expected = ll_batch_to_columns(rows);
    T_EQUAL(columns->rows, expected->rows);
    for (size_t i = 0; i < width; i++)
        check_column(&columns->columns[i], &expected->columns[i], columns->rows);
    ll_batch_free(expected);
    ll_batch_free(columns);
    ll_batch_free(rows);
}

static void columns_are_those_of_the_rows(void **state)
{
    (void)state;
    sqlite3 *db = t_raw_open(":memory:");
    t_raw(db, schema);
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        if (strstr(queries[i], "RETURNING") && sqlite3_libversion_number() < 3035000)
            continue;
        check_query(db, queries[i]);
    }
    t_raw_close(db);
}

/* The statement is prepared again in the middle: its registers are others. */
static void the_schema_changes_between_two_rows(void **state)
{
    (void)state;
    sqlite3 *db = t_raw_open(":memory:");
    t_raw(db, schema);
    sqlite3_stmt *stmt = NULL;
    T_CHECK(sqlite3_prepare_v2(db, "SELECT * FROM n LIMIT 3", -1, &stmt, NULL) == SQLITE_OK);
    ll_batch *batch = lli_colbatch_new(3, NULL);
    for (int round = 0; round < 5; round++) {
        while (sqlite3_step(stmt) == SQLITE_ROW)
            T_CHECK(lli_batch_add(batch, db, stmt) == LL_OK);
        sqlite3_reset(stmt);
        sqlite3_free(sqlite3_malloc(100 + 300 * round)); /* so that memory lies elsewhere */
        t_raw(db, "CREATE TABLE other(x); DROP TABLE other");
    }
    T_EQUAL(batch->rows, 15);
    for (size_t row = 0; row < 15; row++) {
        double real;
        memcpy(&real, &batch->columns[1].words[row], sizeof real);
        T_EQUAL(batch->columns[0].words[row], (int64_t)row % 3 + 1);
        T_CHECK(real * 8 == (double)(row % 3 + 1));
    }
    sqlite3_finalize(stmt);
    ll_batch_free(batch);
    t_raw_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(columns_are_those_of_the_rows),
        T_TEST(the_schema_changes_between_two_rows),
    };
    return T_RUN(tests);
}
