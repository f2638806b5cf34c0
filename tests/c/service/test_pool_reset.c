/* What one owner of a connection leaves behind does not reach the next: statements, transactions, temporary objects,
 * attached files, settings, functions. A pool of one connection, so that the next owner gets the same one. */
#include "pool_ways.h"

static const char *const wal[] = {"journal_mode=WAL", "synchronous=OFF", NULL};
static const ll_pool_options single = {.max_size = 1, .open.pragmas = wal};

static ll_pool *make(t_env *t)
{
    ll_pool *pool = p_new(t, "a.db", &single);
    p_exec(pool, "CREATE TABLE t(x)");
    p_exec(pool, "INSERT INTO t VALUES(1)");
    return pool;
}

static void a_transaction_is_rolled_back(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t);
    ll_lease *lease = p_acquire(pool, NULL);
    t_exec(ll_lease_conn(lease), "BEGIN");
    t_exec(ll_lease_conn(lease), "INSERT INTO t VALUES(2)");
    t_exec(ll_lease_conn(lease), "UPDATE t SET x = x + 10");
    (void)t_int(ll_lease_conn(lease), "SELECT count(*) FROM t");
    struct p_released released = p_release(lease);
    T_CHECK(released.pub.rolled_back && released.pub.dropped_writes && !released.pub.retired);
    T_SAME_TEXT(released.last_write, "UPDATE t SET x = x + 10");
    T_EQUAL(p_int(pool, "SELECT sum(x) FROM t"), 1);
    /* one that only read loses nothing */
    lease = p_acquire(pool, NULL);
    t_exec(ll_lease_conn(lease), "BEGIN");
    (void)t_int(ll_lease_conn(lease), "SELECT count(*) FROM t");
    released = p_release(lease);
    T_CHECK(released.pub.rolled_back && !released.pub.dropped_writes);
    T_SAME_TEXT(released.last_write, "");
    T_EQUAL(p_stats(pool).rolled_back, 2);
    T_EQUAL(p_stats(pool).opened, 1);
    p_close(pool);
}

static void what_was_committed_is_no_dropped_write(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t);
    ll_lease *lease = p_acquire(pool, NULL);
    t_exec(ll_lease_conn(lease), "BEGIN");
    t_exec(ll_lease_conn(lease), "INSERT INTO t VALUES(2)");
    t_exec(ll_lease_conn(lease), "COMMIT");
    t_exec(ll_lease_conn(lease), "BEGIN");
    struct p_released released = p_release(lease);
    T_CHECK(released.pub.rolled_back && !released.pub.dropped_writes);
    T_SAME_TEXT(released.last_write, "");
    p_close(pool);
}

static void what_was_submitted_runs_before(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t);
    ll_lease *lease = p_acquire(pool, NULL);
    ll_request *write = NULL;
    T_CHECK(ll_exec(ll_lease_conn(lease), "INSERT INTO t VALUES(5)", NULL, 0,
                    &(ll_submit){.flags = LL_SUBMIT_NO_INLINE}, &write) == LL_PENDING);
    struct p_released released = p_release(lease);
    T_CHECK(!released.pub.rolled_back);
    T_EQUAL(t_end(LL_PENDING, write), LL_OK);
    ll_request_unref(write);
    T_EQUAL(p_int(pool, "SELECT sum(x) FROM t"), 6);
    p_close(pool);
}

static void cursors_end(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t);
    ll_lease *lease = p_acquire(pool, NULL);
    ll_request *request = NULL;
    T_EQUAL(
        t_end(ll_stream(ll_lease_conn(lease), T_ENDLESS "SELECT x, (SELECT max(x) FROM t) FROM c",
                        NULL, 0, NULL, &request),
              request),
        LL_OK);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    T_CHECK(cursor != NULL);
    T_CHECK(p_stats(pool).pinned_ns > 0);
    struct p_released released = p_release(lease);
    T_EQUAL(released.pub.statements, 1);
    T_CHECK(!released.pub.retired);
    T_EQUAL(p_stats(pool).pinned_ns, 0);
    /* its consumer gets what was read ahead, and then the reason */
    ll_status status;
    do {
        request = NULL;
        status = t_end(ll_cursor_next(cursor, NULL, &request), request);
        ll_batch_free(ll_request_take_batch(request));
        if (status != LL_OK)
            T_CHECK(strstr(ll_request_error(request)->message, "given back to its pool"));
        ll_request_unref(request);
    } while (status == LL_OK);
    T_EQUAL(status, LL_ECLOSED);
    lease = p_acquire(pool, NULL);
    T_EQUAL(t_state(ll_lease_conn(lease)).live_cursors, 0);
    (void)p_release(lease);
    ll_cursor_close(cursor);
    p_close(pool);
}

static void prepared_handles_end_with_the_lease(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t);
    for (int with_reset = 0; with_reset < 2; with_reset++) {
        ll_lease *lease = p_acquire(pool, NULL);
        ll_request *request = NULL;
        T_EQUAL(t_end(ll_prepare(ll_lease_conn(lease), "SELECT x FROM t", LL_NUL_TERMINATED, NULL,
                                 &request),
                      request),
                LL_OK);
        ll_stmt *stmt = ll_request_take_stmt(request);
        ll_request_unref(request);
        request = NULL;
        T_EQUAL(t_end(ll_stmt_submit(stmt, NULL, 0, NULL, &request), request), LL_OK);
        ll_request_unref(request);
        if (with_reset)
            t_exec(ll_lease_conn(lease), "BEGIN");
        T_EQUAL(p_release(lease).at_once, !with_reset);
        request = NULL;
        T_CHECK(ll_stmt_submit(stmt, NULL, 0, NULL, &request) == LL_ECLOSED);
        const ll_batch *rows = NULL;
        T_CHECK(ll_stmt_read(stmt, NULL, NULL, &rows, &request) == LL_ECLOSED);
        T_CHECK(!request && !rows);
        ll_stmt_free(stmt);
    }
    T_EQUAL(p_stats(pool).opened, 1);
    p_close(pool);
}

static void settings_are_set_back(void **state)
{
    static const struct {
        const char *change, *look;
    } list[] = {
        {"PRAGMA foreign_keys=ON", "PRAGMA foreign_keys"},
        {"PRAGMA recursive_triggers=ON", "PRAGMA recursive_triggers"},
        {"PRAGMA query_only=ON", "PRAGMA query_only"},
        {"PRAGMA ignore_check_constraints=ON", "PRAGMA ignore_check_constraints"},
        {"PRAGMA writable_schema=ON", "PRAGMA writable_schema"},
        {"PRAGMA trusted_schema=OFF", "PRAGMA trusted_schema"},
        {"PRAGMA cache_size=77", "PRAGMA cache_size"},
        {"PRAGMA synchronous=FULL", "PRAGMA synchronous"},
        {"PRAGMA temp_store=MEMORY", "PRAGMA temp_store"},
        {"PRAGMA automatic_index=OFF", "PRAGMA automatic_index"},
        {"PRAGMA cell_size_check=ON", "PRAGMA cell_size_check"},
        {"PRAGMA fullfsync=ON", "PRAGMA fullfsync"},
        {"PRAGMA checkpoint_fullfsync=ON", "PRAGMA checkpoint_fullfsync"},
        {"PRAGMA reverse_unordered_selects=ON", "PRAGMA reverse_unordered_selects"},
        {"PRAGMA legacy_alter_table=ON", "PRAGMA legacy_alter_table"},
        {"PRAGMA read_uncommitted=ON", "PRAGMA read_uncommitted"},
        {"PRAGMA wal_autocheckpoint=5", "PRAGMA wal_autocheckpoint"},
        {"PRAGMA journal_size_limit=4096", "PRAGMA journal_size_limit"},
        {"PRAGMA case_sensitive_like=ON", "SELECT 'a' LIKE 'A'"},
        {"PRAGMA busy_timeout=1", "PRAGMA busy_timeout"},
        {"PRAGMA max_page_count=1000", "PRAGMA max_page_count"},
        {"PRAGMA analysis_limit=7", "PRAGMA analysis_limit"},
        {"PRAGMA secure_delete=FAST", "PRAGMA secure_delete"},
    };
    t_env *t = *state;
    ll_pool *pool = make(t);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        ll_lease *lease = p_acquire(pool, NULL);
        int64_t before = t_int(ll_lease_conn(lease), list[i].look);
        t_exec(ll_lease_conn(lease), list[i].change);
        if (t_int(ll_lease_conn(lease), list[i].look) == before)
            t_fail(__FILE__, __LINE__, "%s changes nothing", list[i].change);
        struct p_released released = p_release(lease);
        if (!released.pub.undone || released.pub.retired)
            t_fail(__FILE__, __LINE__, "%s: undone %d, retired %d: %s", list[i].change,
                   released.pub.undone, released.pub.retired, released.reason);
        lease = p_acquire(pool, NULL);
        int64_t now = t_int(ll_lease_conn(lease), list[i].look);
        if (now != before)
            t_fail(__FILE__, __LINE__, "%s: %lld before, %lld after", list[i].look,
                   (long long)before, (long long)now);
        (void)p_release(lease);
    }
    T_EQUAL(p_stats(pool).opened, 1); /* it was the same one all the time */
    p_close(pool);
}

static void what_cannot_be_set_back_ends_the_connection(void **state)
{
    static const struct {
        const char *change, *probe; /* fails, or gives 0, for the next owner */
    } list[] = {
        {"CREATE TEMP TABLE tt(x)", "SELECT count(*) FROM tt"},
        {"CREATE TEMP VIEW vv AS SELECT 1", "SELECT * FROM vv"},
        {"CREATE TEMP TRIGGER gg AFTER INSERT ON t BEGIN DELETE FROM t; END",
         "SELECT 1 FROM sqlite_temp_master, nothing"},
        {"ATTACH ':memory:' AS other", "SELECT * FROM other.sqlite_master"},
        {"PRAGMA locking_mode=EXCLUSIVE", NULL},
    };
    t_env *t = *state;
    ll_pool *pool = make(t);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        ll_lease *lease = p_acquire(pool, NULL);
        t_exec(ll_lease_conn(lease), list[i].change);
        struct p_released released = p_release(lease);
        if (!released.pub.retired || released.reason[0] == '\0')
            t_fail(__FILE__, __LINE__, "%s was left: %s", list[i].change, released.reason);
        lease = p_acquire(pool, NULL);
        if (list[i].probe)
            ll_request_unref(t_exec_fails(ll_lease_conn(lease), list[i].probe, LL_ESQL));
        t_exec(ll_lease_conn(lease), "INSERT INTO t VALUES(1)");
        T_EQUAL(t_int(ll_lease_conn(lease), "SELECT changes()"), 1);
        (void)p_release(lease);
        T_EQUAL(p_stats(pool).retired, i + 1);
    }
    p_close(pool);
}

static int all_equal(void *arg, int size, const void *text, int other_size, const void *other)
{
    (void)arg;
    (void)text;
    (void)other;
    return size - other_size;
}

static int makes_collation(sqlite3 *db, void *arg)
{
    return sqlite3_create_collation(db, "mine", SQLITE_UTF8, arg, all_equal);
}

static void what_the_program_did_itself_ends_it_too(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t);
    ll_lease *lease = p_acquire(pool, NULL);
    ll_request *request = NULL;
    T_EQUAL(
        t_end(ll_conn_call(ll_lease_conn(lease), makes_collation, NULL, NULL, &request), request),
        LL_OK);
    ll_request_unref(request);
    T_CHECK(p_release(lease).pub.retired);
    T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), 1);
    p_close(pool);
}

static void a_script_is_looked_behind(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t);
    ll_lease *lease = p_acquire(pool, NULL);
    ll_request *request = NULL;
    T_EQUAL(t_end(ll_script(ll_lease_conn(lease),
                            "INSERT INTO t VALUES(3); PRAGMA foreign_keys=ON; BEGIN; DELETE FROM t",
                            LL_NUL_TERMINATED, false, NULL, &request),
                  request),
            LL_OK);
    ll_request_unref(request);
    struct p_released released = p_release(lease);
    T_CHECK(released.pub.rolled_back && released.pub.dropped_writes && released.pub.undone);
    T_EQUAL(p_int(pool, "SELECT sum(x) FROM t"), 4);
    lease = p_acquire(pool, NULL);
    T_EQUAL(t_int(ll_lease_conn(lease), "PRAGMA foreign_keys"), 0);
    (void)p_release(lease);
    p_close(pool);
}

static void a_change_of_the_journal_mode_is_everybodys(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.max_size = 1}));
    ll_lease *lease = p_acquire(pool, NULL);
    t_exec(ll_lease_conn(lease), "PRAGMA journal_mode=WAL");
    T_CHECK(!p_release(lease).pub.retired);
    lease = p_acquire(pool, NULL);
    t_exec(ll_lease_conn(lease), "PRAGMA foreign_keys=ON");
    T_CHECK(!p_release(lease).pub.retired);
    p_close(pool);
    T_EQUAL(t_file_int(t_path(t, "a.db"),
                       "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"),
            1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(a_transaction_is_rolled_back),
        T_TEST(what_was_committed_is_no_dropped_write),
        T_TEST(what_was_submitted_runs_before),
        T_TEST(cursors_end),
        T_TEST(prepared_handles_end_with_the_lease),
        T_TEST(settings_are_set_back),
        T_TEST(what_cannot_be_set_back_ends_the_connection),
        T_TEST(what_the_program_did_itself_ends_it_too),
        T_TEST(a_script_is_looked_behind),
        T_TEST(a_change_of_the_journal_mode_is_everybodys),
    };
    return T_RUN(tests);
}
