/* Group commit in a pool: single writes of many tasks share transactions, each with its own result, and everything else
 * of the pool goes on as without it. The rules of groups themselves are test_groupcommit.c's. */
#include "pool_ways.h"

#include <unistd.h>

static const char *const wal[] = {"journal_mode=WAL", "synchronous=OFF", NULL};

static ll_pool *make(t_env *t, ll_pool_options options)
{
    options.group_commit = true;
    options.open.pragmas = wal;
    ll_pool *pool = p_new_path(t->engine, t_path(t, "a.db"), &options);
    p_exec(pool, "CREATE TABLE t(id INTEGER PRIMARY KEY, x UNIQUE)");
    /* The first ones go the ordinary way, while its connection is being opened. */
    while (p_stats(pool).group.members == 0) {
        p_exec(pool, "INSERT INTO t(x) VALUES(NULL)");
        p_exec(pool, "DELETE FROM t");
    }
    return pool;
}

static void many_share_transactions(void **state)
{
    T_NEEDS(T_HAS_RETURNING);
    enum {
        TASKS = 100
    };
    t_env *t = *state;
    ll_pool *pool = make(t, (ll_pool_options){.max_size = 2});
    ll_pool_stats before = p_stats(pool);
    size_t done = 0;
    ll_request *requests[TASKS] = {NULL};
    for (int64_t i = 0; i < TASKS; i++) {
        ll_value values[] = {ll_integer(i + 1),
                             ll_integer(i % 10 == 9 ? 0 : i)}; /* each tenth fails */
        ll_sql insert = {.text = "INSERT INTO t VALUES(?, ?) RETURNING id",
                         .size = LL_NUL_TERMINATED,
                         .params = {.values = values, .count = 2}};
        T_CHECK(ll_pool_exec(pool, &insert, &(ll_submit){.done = t_count, .user = &done},
                             &requests[i]) == LL_PENDING);
    }
    t_until(t->engine, &done, TASKS);
    for (int64_t i = 0; i < TASKS; i++) {
        if (i % 10 == 9) {
            t_is(requests[i], LL_ESQL, LL_NOT_APPLIED);
            T_EQUAL(ll_request_error(requests[i])->sqlite_code, SQLITE_CONSTRAINT_UNIQUE);
            ll_request_unref(requests[i]);
            continue;
        }
        t_is(requests[i], LL_OK, LL_APPLIED);
        T_EQUAL(ll_request_rowid(requests[i]), i + 1);
        T_EQUAL(ll_request_changes(requests[i]), 1);
        t_rows rows = {.request = requests[i]};
        T_EQUAL(t_rows_next(&rows)[0].as.integer, i + 1);
        t_rows_done(&rows);
    }
    ll_pool_stats stats = p_stats(pool);
    T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), TASKS - TASKS / 10);
    T_EQUAL(stats.group.members - before.group.members, TASKS);
    T_CHECK(stats.group.batches - before.group.batches < TASKS);
    T_CHECK(stats.size <= 2); /* the writer's own is none of them */
    p_close(pool);
    T_EQUAL(t_stats(t->engine).connections, 0);
}

static void each_sees_his_own(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t, (ll_pool_options){.max_size = 3});
    for (int i = 1; i <= 30; i++) {
        p_exec(pool, "INSERT INTO t(x) VALUES(NULL)");
        T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), i);
    }
    /* beside a lease that writes */
    ll_lease *lease = p_acquire(pool, NULL);
    t_exec(ll_lease_conn(lease), "BEGIN IMMEDIATE");
    t_exec(ll_lease_conn(lease), "DELETE FROM t");
    t_told told = {0};
    T_CHECK(p_submit(pool, "INSERT INTO t(x) VALUES(7)",
                     &(ll_submit){.done = t_tell, .user = &told}, NULL) == LL_PENDING);
    t_exec(ll_lease_conn(lease), "COMMIT");
    t_until(t->engine, &told.calls, 1);
    T_EQUAL(told.status, LL_OK);
    (void)p_release(lease);
    T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), 1);
    p_close(pool);
}

static void a_slow_one_is_stopped(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t, (ll_pool_options){.operation_timeout_ns = 30 * T_MS});
    ll_request *request = p_run(pool, "INSERT INTO t(x) " T_ENDLESS "SELECT -x FROM c",
                                LL_ETIMEOUT);
    t_is(request, LL_ETIMEOUT, LL_NOT_APPLIED);
    ll_request_unref(request);
    T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), 0);
    p_close(pool);
}

static void the_file_is_looked_at(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t, (ll_pool_options){.health_interval_ns = 1});
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++)
        unlink(t_printf(t, "%s%s", t_path(t, "a.db"), ends[i]));
    p_exec(pool, "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, x UNIQUE)");
    int64_t rows = 0;
    uint64_t members = p_stats(pool).group.members;
    while (rows < 10 || p_stats(pool).group.members == members) { /* until it is grouped again */
        ll_request *request = NULL;
        ll_status status = t_end(p_submit(pool, "INSERT INTO t(x) VALUES(NULL)", NULL, &request),
                                 request);
        if (status == LL_OK)
            rows++;
        else /* the writer's connection was opened before, and not looked at again in time */
            T_EQUAL(ll_request_error(request)->sqlite_code, SQLITE_READONLY_DBMOVED);
        ll_request_unref(request);
    }
    T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), rows);
    p_close(pool);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), rows);
}

static void the_wal_is_kept_short(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t, (ll_pool_options){.checkpoint_frames = 20});
    uint64_t made = p_stats(pool).checkpoints;
    for (int i = 0; i < 40; i++)
        p_exec(pool, "INSERT INTO t(x) VALUES(randomblob(3000))");
    while (p_stats(pool).checkpoints == made) {
        p_exec(pool, "INSERT INTO t(x) VALUES(randomblob(3000))");
        t_turn(t->engine);
    }
    p_close(pool);
}

static void what_is_in_line_is_carried_out_before_it_closes(void **state)
{
    enum {
        MANY = 200
    };
    t_env *t = *state;
    ll_pool *pool = make(t, (ll_pool_options){.group.max_members = 3});
    size_t done = 0;
    for (int i = 0; i < MANY; i++)
        T_CHECK(p_submit(pool, "INSERT INTO t(x) VALUES(NULL)",
                         &(ll_submit){.done = t_count, .user = &done}, NULL) == LL_PENDING);
    p_close(pool);
    t_until(t->engine, &done, MANY);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), MANY);
}

static void an_engine_that_ends_first(void **state)
{
    t_env *t = *state;
    ll_pool *pool = make(t, (ll_pool_options){.max_size = 2});
    size_t done = 0;
    for (int i = 0; i < 50; i++)
        T_CHECK(p_submit(pool, "INSERT INTO t(x) VALUES(NULL)",
                         &(ll_submit){.done = t_count, .user = &done}, NULL) == LL_PENDING);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_EQUAL(done, 50);
    ll_pool_unref(pool);
}

static void not_in_memory(void **state)
{
    t_env *t = *state;
    ll_pool *pool = NULL;
    T_CHECK(ll_pool_new(t->engine, NULL, &(ll_pool_options){.group_commit = true}, &pool) ==
            LL_EINVAL);
    T_CHECK(strstr(ll_last_error(), "group_commit"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(many_share_transactions),   T_TEST(each_sees_his_own),
        T_TEST(a_slow_one_is_stopped),     T_TEST(the_file_is_looked_at),
        T_TEST(the_wal_is_kept_short),     T_TEST(what_is_in_line_is_carried_out_before_it_closes),
        T_TEST(an_engine_that_ends_first), T_TEST(not_in_memory),
    };
    return T_RUN(tests);
}
