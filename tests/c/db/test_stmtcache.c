/* The statement cache: reuse, the same text twice at once, age, pins, what it refuses. */
#include "support/support.h"

#include "base/fault.h"
#include "db/stmtcache.h"

static sqlite3 *db;
static struct lli_stmtcache cache;

static void open_cache(t_env *t, size_t limit)
{
    db = t_raw_open(t_path(t, "a.db"));
    T_CHECK(lli_stmtcache_init(&cache, db, limit) == LL_OK);
}

static void close_cache(void)
{
    lli_stmtcache_done(&cache);
    T_CHECK(sqlite3_next_stmt(db, NULL) == NULL);
    t_raw_close(db);
}

static struct lli_stmt *take(const char *sql)
{
    struct lli_error error = {0};
    struct lli_stmt *stmt = NULL;
    if (lli_stmt_take(&cache, sql, strlen(sql), &stmt, &error) != LL_OK)
        t_fail(__FILE__, __LINE__, "%s: %s", sql, error.pub.message);
    return stmt;
}

static ll_status refused(const char *sql)
{
    struct lli_error error = {0};
    struct lli_stmt *stmt = NULL;
    ll_status status = lli_stmt_take(&cache, sql, strlen(sql), &stmt, &error);
    T_CHECK(stmt == NULL && error.pub.status == status);
    lli_error_done(&error);
    return status;
}

static void same_text_same_statement(void **state)
{
    open_cache(*state, 4);
    struct lli_stmt *one = take("SELECT ?");
    struct lli_stmt *twin = take("SELECT ?"); /* while the first is out */
    T_CHECK(one != twin && one->cached && !twin->cached);
    sqlite3_bind_int(one->raw, 1, 5);
    T_CHECK(sqlite3_step(one->raw) == SQLITE_ROW);
    lli_stmt_give(&cache, one);
    lli_stmt_give(&cache, twin);
    struct lli_stmt *again = take("SELECT ?");
    T_CHECK(again == one && !sqlite3_stmt_busy(again->raw));
    T_CHECK(sqlite3_step(again->raw) == SQLITE_ROW);
    T_CHECK(sqlite3_column_type(again->raw, 0) == SQLITE_NULL); /* nothing of the last user */
    lli_stmt_give(&cache, again);
    struct lli_stmt *other = take("SELECT  ?"); /* compared by letter */
    T_CHECK(other != one);
    lli_stmt_give(&cache, other);
    close_cache();
}

static void oldest_leaves_first(void **state)
{
    open_cache(*state, 2);
    struct lli_stmt *a = take("SELECT 1"), *b, *c;
    lli_stmt_give(&cache, a);
    b = take("SELECT 2");
    lli_stmt_give(&cache, b);
    T_CHECK(take("SELECT 1") == a); /* younger again */
    lli_stmt_give(&cache, a);
    c = take("SELECT 3");
    lli_stmt_give(&cache, c);
    T_CHECK(cache.map.count == 2);
    T_CHECK(take("SELECT 1") == a);
    lli_stmt_give(&cache, a);
    a->pins = 1; /* somebody has a handle on it */
    for (int i = 10; i < 20; i++) {
        char text[32];
        snprintf(text, sizeof text, "SELECT %d", i);
        lli_stmt_give(&cache, take(text));
    }
    T_CHECK(take("SELECT 1") == a);
    a->pins = 0;
    lli_stmt_give(&cache, a);
    close_cache();
}

static void no_cache_at_all(void **state)
{
    open_cache(*state, 0);
    lli_stmt_give(&cache, take("SELECT 1"));
    T_CHECK(cache.map.count == 0 && sqlite3_next_stmt(db, NULL) == NULL);
    close_cache();
}

static void what_it_knows_of_a_statement(void **state)
{
    open_cache(*state, 8);
    t_raw(db, "CREATE TABLE t(x INT)");
    struct lli_stmt *stmt = take("SELECT x AS y FROM t");
    ll_columns *columns = NULL, *again = NULL;
    T_CHECK(stmt->read_only && stmt->has_rows && stmt->kind == LLI_KIND_SELECT);
    T_CHECK(lli_stmt_columns(stmt, &columns) == LL_OK && ll_columns_count(columns) == 1);
    T_SAME_TEXT(ll_columns_name(columns, 0), "y");
    T_SAME_TEXT(ll_columns_decltype(columns, 0), "INT");
    T_CHECK(lli_stmt_columns(stmt, &again) == LL_OK && again == columns);
    lli_stmt_give(&cache, stmt);
    stmt = take("SELECT * FROM t");
    T_CHECK(lli_stmt_columns(stmt, &columns) == LL_OK && ll_columns_count(columns) == 1);
    t_raw(db, "ALTER TABLE t ADD COLUMN z");
    sqlite3_step(stmt->raw); /* prepares it again */
    T_CHECK(lli_stmt_columns(stmt, &columns) == LL_OK && ll_columns_count(columns) == 2);
    lli_stmt_give(&cache, stmt);
    stmt = take("INSERT INTO t VALUES(1, 2)");
    T_CHECK(!stmt->read_only && !stmt->has_rows);
    T_CHECK(lli_stmt_columns(stmt, &columns) == LL_OK && columns == NULL);
    lli_stmt_give(&cache, stmt);
    stmt = take(" -- nothing");
    T_CHECK(stmt->raw == NULL && stmt->read_only && !stmt->has_rows);
    lli_stmt_give(&cache, stmt);
    close_cache();
}

static void refuses(void **state)
{
    open_cache(*state, 4);
    T_CHECK(refused("SELECT 1; SELECT 2") == LL_ESTATEMENTS);
    T_CHECK(refused("SELEC 1") == LL_ESQL);
    T_CHECK(refused("SELECT * FROM nowhere") == LL_ESQL);
    lli_stmt_give(&cache, take("SELECT 1; -- that is all\n ;"));
    lli_fault_arm(LLI_FAULT_ALLOC, 1);
    T_CHECK(refused("SELECT 3") == LL_ENOMEM);
    lli_fault_disarm();
    T_CHECK(cache.map.count == 1);
    close_cache();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(same_text_same_statement),
        T_TEST(oldest_leaves_first),
        T_TEST(no_cache_at_all),
        T_TEST(what_it_knows_of_a_statement),
        T_TEST(refuses),
    };
    return T_RUN(tests);
}
