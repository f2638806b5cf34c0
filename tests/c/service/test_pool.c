/* The pool: how many connections it has, who gets them in which order, what it says when there is none, and how it
 * ends. */
#include "pool_ways.h"

#include <pthread.h>

static const char *const wal[] = {"journal_mode=WAL", "synchronous=OFF", "foreign_keys=ON", NULL};

static void a_lease_is_a_connection_of_ones_own(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.open.pragmas = wal}));
    T_EQUAL(p_stats(pool).size, 0); /* nothing is opened before it is needed */
    ll_lease *one = p_acquire(pool, "one"), *two = p_acquire(pool, "two");
    T_CHECK(ll_lease_conn(one) != ll_lease_conn(two));
    T_EQUAL(t_int(ll_lease_conn(two), "PRAGMA foreign_keys"), 1); /* the warm-up */
    t_exec(ll_lease_conn(one), "CREATE TABLE t(x)");
    t_exec(ll_lease_conn(one), "BEGIN");
    t_exec(ll_lease_conn(one), "INSERT INTO t VALUES(1)");
    T_EQUAL(t_int(ll_lease_conn(two), "SELECT count(*) FROM t"), 0);
    ll_pool_stats stats = p_stats(pool);
    T_EQUAL(stats.leased, 2);
    T_SAME_TEXT(stats.oldest_label, "one");
    T_CHECK(stats.writing);
    T_SAME_TEXT(stats.writer_label, "one");
    t_exec(ll_lease_conn(one), "COMMIT");
    T_EQUAL(t_int(ll_lease_conn(two), "SELECT count(*) FROM t"), 1);
    T_CHECK(!p_release(two).at_once); /* a PRAGMA may have changed something */
    T_CHECK(p_release(one).at_once);  /* a transaction that was ended leaves nothing */
    T_EQUAL(p_stats(pool).opened, 2);
    ll_lease *again = p_acquire(pool, NULL);
    T_EQUAL(p_stats(pool).immediate, 1);
    (void)p_release(again);
    T_EQUAL(p_stats(pool).opened, 2);
    p_close(pool);
}

static void min_size_is_opened_and_restored(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.min_size = 3, .max_size = 4}));
    while (p_stats(pool).idle < 3)
        t_turn(t->engine);
    T_EQUAL(p_stats(pool).opened, 3);
    ll_lease *lease = p_acquire(pool, NULL);
    t_exec(ll_lease_conn(lease), "ATTACH ':memory:' AS other");
    T_CHECK(p_release(lease).pub.retired);
    while (p_stats(pool).idle < 3)
        t_turn(t->engine);
    T_EQUAL(p_stats(pool).opened, 4);
    p_close(pool);
}

static void who_asks_first_is_served_first(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.max_size = 1}));
    ll_lease *lease = p_acquire(pool, NULL);
    t_told told[5] = {{0}};
    ll_request *requests[5] = {NULL};
    for (size_t i = 0; i < 5; i++)
        T_CHECK(ll_pool_acquire(pool, NULL, &(ll_submit){.done = t_tell, .user = &told[i]},
                                &requests[i]) == LL_PENDING);
    T_EQUAL(p_stats(pool).waiting, 5);
    T_CHECK(ll_request_cancel(requests[1]) == LL_OK);
    t_until(t->engine, &told[1].calls, 1);
    t_is(requests[1], LL_ECANCELLED, LL_NOT_APPLIED);
    T_CHECK(ll_request_take_lease(requests[1]) == NULL);
    size_t order = 0;
    for (size_t i = 0; i < 5; i++) {
        if (i == 1)
            continue;
        T_EQUAL(told[i].calls, 0);
        (void)p_release(lease);
        t_until(t->engine, &told[i].calls, 1);
        T_EQUAL(told[i].status, LL_OK);
        T_CHECK(told[i].order > order);
        order = told[i].order;
        lease = ll_request_take_lease(requests[i]);
        T_CHECK(lease != NULL);
    }
    for (size_t i = 0; i < 5; i++)
        ll_request_unref(requests[i]);
    (void)p_release(lease);
    T_EQUAL(p_stats(pool).opened, 1);
    p_close(pool);
}

static void exhausted_says_who_is_out(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.max_size = 2}));
    ll_lease *one = p_acquire(pool, "orders.py:12"), *two = p_acquire(pool, NULL);
    ll_request *request = NULL;
    ll_submit how = {.timeout_ns = T_MS};
    T_EQUAL(t_end(ll_pool_acquire(pool, "late", &how, &request), request), LL_EEXHAUSTED);
    t_is(request, LL_EEXHAUSTED, LL_NOT_APPLIED);
    const char *message = ll_request_error(request)->message;
    if (!strstr(message, "2 of the 2") || !strstr(message, "(orders.py:12)"))
        t_fail(__FILE__, __LINE__, "%s", message);
    ll_request_unref(request);
    T_EQUAL(p_stats(pool).exhausted, 1);
    T_EQUAL(p_stats(pool).waiting, 0);
    (void)p_release(one);
    one = p_acquire(pool, NULL); /* usable as before */
    (void)p_release(one);
    (void)p_release(two);
    p_close(pool);
}

static void a_lease_that_nobody_takes_goes_back(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.max_size = 1}));
    for (int i = 0; i < 3; i++) {
        ll_request *request = NULL;
        T_EQUAL(t_end(ll_pool_acquire(pool, NULL, NULL, &request), request), LL_OK);
        T_EQUAL(p_stats(pool).leased, 1);
        ll_request_unref(request);
        while (p_stats(pool).leased > 0) /* the worker that gave it may have the last reference */
            t_turn(t->engine);
    }
    p_close(pool);
}

static void a_hundred_statements_share_five(void **state)
{
    enum {
        TASKS = 100,
        EACH = 5
    };
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.open.pragmas = wal}));
    p_exec(pool, "CREATE TABLE t(task, n)");
    size_t done = 0;
    ll_request *requests[TASKS * EACH * 2] = {NULL};
    size_t count = 0;
    for (int64_t n = 0; n < EACH; n++)
        for (int64_t task = 0; task < TASKS; task++) {
            ll_value values[] = {ll_integer(task), ll_integer(n)};
            ll_sql insert = {.text = "INSERT INTO t VALUES(?, ?)",
                             .size = LL_NUL_TERMINATED,
                             .params = {.values = values, .count = 2}};
            ll_submit how = {.done = t_count, .user = &done};
            T_CHECK(ll_pool_exec(pool, &insert, &how, &requests[count++]) == LL_PENDING);
            ll_status read = p_submit(pool, "SELECT count(*) FROM t", &how, &requests[count++]);
            T_CHECK(read >= 0);
            done += read == LL_OK;
        }
    t_until(t->engine, &done, count);
    for (size_t i = 0; i < count; i++) {
        t_is(requests[i], LL_OK, LL_APPLIED);
        ll_request_unref(requests[i]);
    }
    T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), TASKS * EACH);
    T_EQUAL(p_int(pool, "SELECT count(DISTINCT task * 1000 + n) FROM t"), TASKS * EACH);
    /* asked in order, written in order */
    T_EQUAL(
        p_int(pool, "SELECT count(*) FROM t a JOIN t b ON b.rowid = a.rowid + 1 WHERE b.n < a.n"),
        0);
    ll_pool_stats stats = p_stats(pool);
    T_CHECK(stats.size <= 5);
    T_EQUAL(stats.exhausted, 0);
    T_EQUAL(stats.leased, 0);
    T_EQUAL(stats.executed, count + 4);
    p_close(pool);
}

static void readers_run_beside_a_writer(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.max_size = 2, .open.pragmas = wal}));
    p_exec(pool, "CREATE TABLE t(x)");
    ll_lease *lease = p_acquire(pool, NULL);
    t_exec(ll_lease_conn(lease), "BEGIN IMMEDIATE");
    t_exec(ll_lease_conn(lease), "INSERT INTO t VALUES(1)");
    t_told write = {0};
    ll_request *request = NULL;
    /* It would stand in front of the gate on the last connection, and would wait for it as long as it may: */
    T_CHECK(p_submit(pool, "INSERT INTO t VALUES(2)", &(ll_submit){.done = t_tell, .user = &write},
                     &request) == LL_PENDING);
    t_exec(ll_lease_conn(lease), "COMMIT");
    t_until(t->engine, &write.calls, 1);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    T_EQUAL(p_int(pool, "SELECT sum(x) FROM t"), 3);
    (void)p_release(lease);
    p_close(pool);
}

/* Of ten writes one runs at a time, so that the other connections are there for readers. */
static void writes_take_one_connection(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.max_size = 3, .open.pragmas = wal}));
    p_exec(pool, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    t_raw(other, "BEGIN IMMEDIATE");
    size_t done = 0;
    for (int i = 0; i < 10; i++)
        T_CHECK(p_submit(pool, "INSERT INTO t VALUES(1)",
                         &(ll_submit){.done = t_count, .user = &done}, NULL) == LL_PENDING);
    for (int i = 0; i < 10; i++)
        T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), 0);
    T_EQUAL(done, 0);
    t_raw(other, "COMMIT");
    t_raw_close(other);
    t_until(t->engine, &done, 10);
    T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), 10);
    T_EQUAL(p_stats(pool).opened, 2);
    p_close(pool);
}

static void each_sees_his_own_last_commit(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.min_size = 4, .open.pragmas = wal}));
    p_exec(pool, "CREATE TABLE t(x)");
    p_exec(pool, "INSERT INTO t VALUES(0)");
    for (int i = 1; i <= 50; i++) {
        p_exec(pool, "UPDATE t SET x = x + 1");
        T_EQUAL(p_int(pool, "SELECT x FROM t"), i);
        ll_lease *lease = p_acquire(pool, NULL);
        T_EQUAL(t_int(ll_lease_conn(lease), "SELECT x FROM t"), i);
        (void)p_release(lease);
    }
    p_close(pool);
}

static void what_needs_a_lease_is_refused(void **state)
{
    static const char *const needy[] = {"BEGIN",
                                        " /* x */ begin immediate",
                                        "COMMIT",
                                        "END",
                                        "ROLLBACK",
                                        "SAVEPOINT a",
                                        "RELEASE a",
                                        "PRAGMA foreign_keys=OFF",
                                        "EXPLAIN PRAGMA foreign_keys=OFF",
                                        "EXPLAIN QUERY PLAN PRAGMA foreign_keys",
                                        "ATTACH 'x' AS y",
                                        "DETACH y",
                                        "CREATE TEMP TABLE a(x)",
                                        "CREATE TEMPORARY VIEW v AS SELECT 1",
                                        "CREATE TABLE temp.a(x)",
                                        "CREATE TABLE \"temp\".a(x)",
                                        "SELECT changes()",
                                        "SELECT total_changes ()",
                                        "INSERT INTO t VALUES(last_insert_rowid())",
                                        "SELECT \"changes\"()",
                                        "SELECT /**/ CHANGES /**/ ()",
                                        "; BEGIN"};
    static const char *const fine[] = {"SELECT 'changes()'",
                                       "SELECT 1 -- changes()",
                                       "CREATE TABLE t(temp)",
                                       "SELECT temp FROM t",
                                       "SELECT 1 AS changes, 2 AS total_changes",
                                       "CREATE VIEW w AS SELECT 1 AS temp",
                                       "EXPLAIN SELECT 1",
                                       "VALUES(1)",
                                       "",
                                       "WITH c(x) AS (VALUES(1)) INSERT INTO t SELECT x FROM c",
                                       "DELETE FROM t",
                                       "REINDEX",
                                       "VACUUM"};
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", NULL);
    for (size_t i = 0; i < sizeof needy / sizeof *needy; i++) {
        ll_request *request = NULL;
        ll_status status = p_submit(pool, needy[i], NULL, &request);
        if (status != LL_ENEEDSLEASE || request || !strstr(ll_last_error(), "ll_pool_acquire"))
            t_fail(__FILE__, __LINE__, "%s: %s, %s", needy[i], ll_status_name(status),
                   ll_last_error());
    }
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        p_exec(pool, fine[i]);
    ll_request *request = NULL;
    ll_sql stream = {.text = "SELECT 1", .size = 8, .flags = LL_SQL_STREAM};
    T_CHECK(ll_pool_exec(pool, &stream, NULL, &request) == LL_ENEEDSLEASE);
    ll_sql begins = {.text = "DELETE FROM t", .size = 13, .begin_before = LL_BEGIN_DEFERRED};
    T_CHECK(ll_pool_exec(pool, &begins, NULL, &request) == LL_ENEEDSLEASE);
    T_EQUAL(p_stats(pool).leased, 0);
    p_close(pool);
}

static void errors_of_statements_are_theirs(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", NULL);
    ll_request *request = p_run(pool, "SELECT * FROM missing", LL_ESQL);
    T_CHECK(strstr(ll_request_error(request)->message, "no such table"));
    ll_request_unref(request);
    p_exec(pool, "CREATE TABLE t(x UNIQUE)");
    p_exec(pool, "INSERT INTO t VALUES(1)");
    request = p_run(pool, "INSERT INTO t VALUES(1)", LL_ESQL);
    T_EQUAL(ll_request_error(request)->sqlite_code, SQLITE_CONSTRAINT_UNIQUE);
    ll_request_unref(request);
    request = p_run(pool, "SELECT 1; SELECT 2", LL_ESTATEMENTS);
    ll_request_unref(request);
    p_exec(pool, "INSERT INTO t VALUES(2)");
    T_EQUAL(p_stats(pool).retired, 0);
    p_close(pool);
}

static void mistakes_are_named(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    static const struct {
        ll_pool_options options;
        const char *word;
    } wrong[] = {
        {{.max_size = 1025}, "max_size"},
        {{.max_size = 2, .min_size = 3}, "min_size"},
        {{.min_size = 6}, "min_size"},
        {{.open.flags = 1u << 30}, "open.flags"},
        {{.checkpoint_frames = 100, .wal_bound_frames = 99}, "wal_bound_frames"},
    };
    ll_pool *pool = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        T_CHECK(ll_pool_new(t->engine, path, &wrong[i].options, &pool) == LL_EINVAL);
        if (!strstr(ll_last_error(), wrong[i].word))
            t_fail(__FILE__, __LINE__, "%s", ll_last_error());
    }
    T_CHECK(ll_pool_new(NULL, path, NULL, &pool) == LL_EINVAL);
    T_CHECK(ll_pool_new(t->engine, path, NULL, NULL) == LL_EINVAL);
    T_CHECK(pool == NULL);
    ll_request *request = NULL;
    T_CHECK(ll_pool_acquire(NULL, NULL, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_pool_exec(NULL, NULL, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_pool_close(NULL, NULL, &request) == LL_EINVAL);
    pool = p_new_path(t->engine, path, NULL);
    T_CHECK(ll_pool_exec(pool, NULL, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_pool_acquire(pool, NULL, NULL, NULL) == LL_EINVAL);
    T_CHECK(p_submit(pool, NULL, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_pool_release(NULL, NULL, NULL) == LL_OK);
    ll_pool_unref(NULL);
    T_CHECK(ll_lease_conn(NULL) == NULL);
    p_close(pool);
}

static void closing_waits_for_leases(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.max_size = 2}));
    p_exec(pool, "CREATE TABLE t(x)");
    ll_lease *one = p_acquire(pool, NULL), *two = p_acquire(pool, NULL);
    t_told waits = {0}, statement = {0}, first = {0}, second = {0};
    ll_request *waiting = NULL, *executing = NULL;
    T_CHECK(ll_pool_acquire(pool, NULL, &(ll_submit){.done = t_tell, .user = &waits}, &waiting) ==
            LL_PENDING);
    T_CHECK(p_submit(pool, "SELECT 1", &(ll_submit){.done = t_tell, .user = &statement},
                     &executing) == LL_PENDING);
    T_CHECK(ll_pool_close(pool, &(ll_submit){.done = t_tell, .user = &first}, NULL) == LL_PENDING);
    T_CHECK(ll_pool_close(pool, &(ll_submit){.done = t_tell, .user = &second}, NULL) == LL_PENDING);
    t_until(t->engine, &waits.calls, 1);
    t_until(t->engine, &statement.calls, 1);
    t_is(waiting, LL_ECLOSED, LL_NOT_APPLIED);
    t_is(executing, LL_ECLOSED, LL_NOT_APPLIED);
    ll_request_unref(waiting);
    ll_request_unref(executing);
    ll_request *request = NULL;
    T_CHECK(ll_pool_acquire(pool, NULL, NULL, &request) == LL_ECLOSED);
    T_CHECK(p_submit(pool, "SELECT 1", NULL, &request) == LL_ECLOSED);
    t_exec(ll_lease_conn(one), "INSERT INTO t VALUES(1)"); /* still of use */
    (void)p_release(one);
    T_EQUAL(first.calls, 0);
    t_exec(ll_lease_conn(two), "INSERT INTO t VALUES(2)");
    (void)p_release(two);
    t_until(t->engine, &first.calls, 1);
    t_until(t->engine, &second.calls, 1);
    T_CHECK(first.status == LL_OK && second.status == LL_OK);
    T_CHECK(ll_pool_close(pool, NULL, &request) == LL_OK);
    ll_request_unref(request);
    T_EQUAL(t_stats(t->engine).connections, 0);
    ll_pool_unref(pool);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT sum(x) FROM t"), 3);
}

static void a_pool_that_nobody_closes(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.min_size = 2}));
    ll_lease *lease = p_acquire(pool, NULL);
    ll_pool_unref(pool);
    t_exec(ll_lease_conn(lease), "CREATE TABLE t(x)");
    T_CHECK(ll_pool_release(lease, NULL, NULL) == LL_OK);
    while (t_stats(t->engine).connections > 0)
        t_turn(t->engine);
}

static void an_engine_that_ends_first(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.max_size = 1, .min_size = 1}));
    ll_lease *lease = p_acquire(pool, NULL);
    t_told acquire = {0}, close = {0};
    T_CHECK(ll_pool_acquire(pool, NULL, &(ll_submit){.done = t_tell, .user = &acquire}, NULL) ==
            LL_PENDING);
    t_exec(ll_lease_conn(lease), "CREATE TABLE t(x)");
    t_exec(ll_lease_conn(lease), "BEGIN");
    t_exec(ll_lease_conn(lease), "INSERT INTO t VALUES(1)");
    T_CHECK(ll_pool_close(pool, &(ll_submit){.done = t_tell, .user = &close}, NULL) == LL_PENDING);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_CHECK(acquire.calls == 1 && close.calls == 1);
    T_CHECK(acquire.status == LL_ECLOSED || acquire.status == LL_ECANCELLED);
    T_EQUAL(close.status, LL_ECANCELLED);
    T_CHECK(ll_pool_release(lease, NULL, NULL) == LL_OK);
    ll_pool_unref(pool);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), 0);
}

static void an_engine_that_ends_before_an_idle_pool(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.min_size = 2}));
    ll_lease *lease = p_acquire(pool, NULL);
    (void)p_release(lease);
    ll_engine_free(t->engine);
    t->engine = NULL;
    ll_request *request = NULL;
    T_CHECK(ll_pool_acquire(pool, NULL, NULL, &request) == LL_ECLOSED);
    T_CHECK(request == NULL);
    ll_pool_unref(pool);
}

static int child_refuses(void *arg)
{
    void **made = arg;
    ll_pool *pool = made[0];
    ll_lease *lease = made[1];
    ll_request *request = NULL;
    ll_pool_stats stats;
    T_CHILD(ll_pool_acquire(pool, NULL, NULL, &request) == LL_EFORK);
    T_CHILD(p_submit(pool, "SELECT 1", NULL, &request) == LL_EFORK);
    T_CHILD(ll_pool_close(pool, NULL, &request) == LL_EFORK);
    ll_pool_get_stats(pool, &stats);
    T_CHILD(stats.size == 0 && stats.acquired == 0);
    (void)ll_pool_release(lease, NULL, NULL);
    ll_request_unref(made[2]);
    ll_pool_unref(pool);
    return 0;
}

static void a_child_of_a_fork_leaves_it_alone(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.max_size = 1}));
    ll_lease *lease = p_acquire(pool, NULL);
    ll_request *request = NULL;
    T_CHECK(ll_pool_acquire(pool, NULL, NULL, &request) == LL_PENDING);
    void *made[] = {pool, lease, request};
    t_in_child(child_refuses, made);
    (void)p_release(lease);
    T_EQUAL(t_end(LL_PENDING, request), LL_OK);
    ll_request_unref(request);
    p_close(pool);
}

static void opening_that_fails_is_told(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "no/such/folder.db", &((ll_pool_options){.min_size = 1}));
    for (int i = 0; i < 2; i++) {
        ll_request *request = p_run(pool, "SELECT 1", LL_ESQL);
        T_EQUAL(ll_request_error(request)->sqlite_code & 0xff, SQLITE_CANTOPEN);
        ll_request_unref(request);
        request = NULL;
        T_EQUAL(t_end(ll_pool_acquire(pool, NULL, NULL, &request), request), LL_ESQL);
        T_CHECK(ll_request_take_lease(request) == NULL);
        ll_request_unref(request);
    }
    T_CHECK(p_stats(pool).open_failures >= 4);
    T_EQUAL(p_stats(pool).size, 0);
    p_close(pool);
}

/* ---- many threads ---- */

struct crowd {
    ll_pool *pool;
    size_t done, leases; /* on the loop */
};

static void on_lease(ll_request *request, void *user)
{
    struct crowd *crowd = user;
    crowd->done++;
    ll_lease *lease = ll_request_take_lease(request);
    T_CHECK(lease != NULL);
    crowd->leases++;
    T_CHECK(ll_pool_release(lease, NULL, NULL) == LL_OK);
}

static void on_statement(ll_request *request, void *user)
{
    struct crowd *crowd = user;
    t_is(request, LL_OK, LL_APPLIED);
    crowd->done++;
}

enum {
    CROWD = 4,
    TURNS = 50
};

static void *comes_and_goes(void *arg)
{
    struct crowd *crowd = arg;
    for (int i = 0; i < TURNS; i++) {
        ll_request *request = NULL;
        ll_submit how = {.done = on_lease, .user = crowd};
        ll_status status = ll_pool_acquire(crowd->pool, "crowd", &how, &request);
        T_CHECK(status >= 0);
        if (status == LL_OK) { /* no callback comes: it is ours */
            ll_lease *lease = ll_request_take_lease(request);
            T_CHECK(ll_pool_release(lease, NULL, NULL) == LL_OK);
            how.done = on_statement;
            T_CHECK(p_submit(crowd->pool, "INSERT INTO t VALUES(0)", &how, NULL) == LL_PENDING);
        }
        ll_request_unref(request);
        how.done = on_statement;
        T_CHECK(p_submit(crowd->pool, "INSERT INTO t VALUES(1)", &how, NULL) == LL_PENDING);
        T_CHECK(p_submit(crowd->pool, "SELECT count(*) FROM t", &how, NULL) == LL_PENDING);
        if (i % 10 == 0)
            (void)p_stats(crowd->pool);
    }
    return NULL;
}

static void threads_use_it_at_once(void **state)
{
    t_env *t = *state;
    struct crowd crowd = {
        .pool = p_new(
            t, "a.db",
            &((ll_pool_options){.max_size = 3, .open.pragmas = wal, .checkpoint_frames = 10}))};
    p_exec(crowd.pool, "CREATE TABLE t(x)");
    pthread_t threads[CROWD];
    for (int i = 0; i < CROWD; i++)
        T_CHECK(pthread_create(&threads[i], NULL, comes_and_goes, &crowd) == 0);
    while (crowd.done < (size_t)CROWD * TURNS * 3)
        t_turn(t->engine);
    for (int i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
    T_EQUAL(p_int(crowd.pool, "SELECT sum(x) FROM t"), CROWD * TURNS);
    T_EQUAL(p_stats(crowd.pool).exhausted, 0);
    p_close(crowd.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(a_lease_is_a_connection_of_ones_own),
        T_TEST(min_size_is_opened_and_restored),
        T_TEST(who_asks_first_is_served_first),
        T_TEST(exhausted_says_who_is_out),
        T_TEST(a_lease_that_nobody_takes_goes_back),
        T_TEST(a_hundred_statements_share_five),
        T_TEST(readers_run_beside_a_writer),
        T_TEST(writes_take_one_connection),
        T_TEST(each_sees_his_own_last_commit),
        T_TEST(what_needs_a_lease_is_refused),
        T_TEST(errors_of_statements_are_theirs),
        T_TEST(mistakes_are_named),
        T_TEST(closing_waits_for_leases),
        T_TEST(a_pool_that_nobody_closes),
        T_TEST(an_engine_that_ends_first),
        T_TEST(an_engine_that_ends_before_an_idle_pool),
        T_TEST(a_child_of_a_fork_leaves_it_alone),
        T_TEST(opening_that_fails_is_told),
        T_TEST(threads_use_it_at_once),
    };
    return T_RUN(tests);
}
