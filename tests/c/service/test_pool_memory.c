/* Databases in memory that a pool's connections share: named and nameless ones, no lock errors, no dirty reads, and
 * statements in the order in which they were asked for. */
#include "pool_ways.h"

#include "platform/clock.h"

static void each_pool_has_its_own(void **state)
{
    static const char *const names[] = {NULL, "", ":memory:", "file::memory:"};
    t_env *t = *state;
    for (size_t i = 0; i < 4; i++) {
        ll_pool_options options = {.open.flags = LL_OPEN_URI};
        ll_pool *one = p_new_path(t->engine, names[i], &options);
        ll_pool *two = p_new_path(t->engine, names[i], &options);
        p_exec(one, "CREATE TABLE t(x)");
        ll_request_unref(p_run(two, "SELECT * FROM t", LL_ESQL));
        ll_lease *a = p_acquire(one, NULL), *b = p_acquire(one, NULL);
        t_exec(ll_lease_conn(a), "INSERT INTO t VALUES(1)");
        T_EQUAL(t_int(ll_lease_conn(b), "SELECT count(*) FROM t"),
                1); /* all of one pool share it */
        (void)p_release(a);
        (void)p_release(b);
        p_close(one);
        p_close(two);
    }
}

static void a_name_is_shared_by_all_that_name_it(void **state)
{
    static const char *const names[] = {
        "file::memory:?cache=shared", "file:shared-name?mode=memory",
        "file:shared-name?mode=memory&cache=shared", "file:/shared-name?vfs=memdb"};
    t_env *t = *state;
    ll_pool_options options = {.open.flags = LL_OPEN_URI};
    for (size_t i = 0; i < (t_has(T_HAS_MEMDB) ? 4 : 3); i++) {
        ll_pool *one = p_new_path(t->engine, names[i], &options);
        ll_pool *two = p_new_path(t->engine, names[i], &options);
        p_exec(one, "CREATE TABLE t(x)");
        p_exec(two, "INSERT INTO t VALUES(1)");
        p_close(two);
        T_EQUAL(p_int(one, "SELECT count(*) FROM t"), 1);
        p_close(one);
        /* gone with the last one */
        one = p_new_path(t->engine, names[i], &options);
        T_EQUAL(p_int(one, "SELECT count(*) FROM sqlite_master"), 0);
        p_close(one);
    }
    /* without URIs that is the name of a file */
    char uri[64] = "x";
    T_CHECK(ll_pool_memory_uri("file:a?mode=memory", 0, uri, sizeof uri) == LL_OK);
    T_SAME_TEXT(uri, "");
    T_CHECK(ll_pool_memory_uri("file:a?mode=memory", LL_OPEN_URI, uri, sizeof uri) == LL_OK);
    T_SAME_TEXT(uri, t_has(T_HAS_MEMDB) ? "file:/a?vfs=memdb" : "file:a?mode=memory&cache=shared");
    T_CHECK(ll_pool_memory_uri("file:a?mode=memory", LL_OPEN_URI, uri, 5) == LL_EINVAL);
    T_CHECK(ll_pool_memory_uri("file:a.db?mode=rw", LL_OPEN_URI, uri, sizeof uri) == LL_OK);
    T_SAME_TEXT(uri, "");
}

static void it_lives_while_no_connection_is_used(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new_path(t->engine, NULL, &((ll_pool_options){.max_size = 1}));
    p_exec(pool, "CREATE TABLE t(x)");
    ll_lease *lease = p_acquire(pool, NULL);
    t_exec(ll_lease_conn(lease), "ATTACH ':memory:' AS other");
    T_CHECK(p_release(lease).pub.retired); /* the only connection there was */
    T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), 0);
    T_EQUAL(p_stats(pool).size, 1);
    p_close(pool);
}

/* gather(create_table(), insert(), select()) */
static void statements_run_in_the_order_of_asking(void **state)
{
    enum {
        ROUNDS = 50
    };
    t_env *t = *state;
    ll_pool *pool = p_new_path(t->engine, NULL, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        ll_request *requests[5] = {NULL};
        const char *texts[5] = {
            t_printf(t, "CREATE TABLE t%d(x)", round),
            t_printf(t, "INSERT INTO t%d VALUES(1), (2)", round),
            t_printf(t, "SELECT count(*) FROM t%d", round),
            t_printf(t, "DELETE FROM t%d WHERE x = 1", round),
            t_printf(t, "SELECT count(*) FROM t%d", round),
        };
        ll_status submitted[5];
        for (int i = 0; i < 5; i++) {
            submitted[i] = p_submit(pool, texts[i], NULL, &requests[i]);
            T_CHECK(submitted[i] >= 0);
        }
        for (int i = 0; i < 5; i++) {
            if (t_end(submitted[i], requests[i]) != LL_OK)
                t_fail(__FILE__, __LINE__, "%s: %s", texts[i],
                       ll_request_error(requests[i])->message);
            if (i == 2 || i == 4) {
                t_rows rows = {.request = requests[i]};
                T_EQUAL(t_rows_next(&rows)[0].as.integer, i == 2 ? 2 : 1);
                t_rows_done(&rows);
            } else {
                ll_request_unref(requests[i]);
            }
        }
    }
    p_close(pool);
}

static void no_dirty_reads_and_no_lock_errors(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new_path(t->engine, NULL, NULL);
    p_exec(pool, "CREATE TABLE t(x)");
    ll_lease *lease = p_acquire(pool, NULL);
    t_exec(ll_lease_conn(lease), "BEGIN IMMEDIATE");
    t_exec(ll_lease_conn(lease), "INSERT INTO t VALUES(1)");
    t_told read = {0}, write = {0};
    ll_request *reading = NULL, *writing = NULL;
    T_CHECK(p_submit(pool, "SELECT count(*) FROM t", &(ll_submit){.done = t_tell, .user = &read},
                     &reading) == LL_PENDING); /* a lock, which is waited for */
    T_CHECK(p_submit(pool, "INSERT INTO t VALUES(2)", &(ll_submit){.done = t_tell, .user = &write},
                     &writing) == LL_PENDING);
    t_exec(ll_lease_conn(lease), "INSERT INTO t VALUES(3)");
    T_EQUAL(read.calls, 0);
    T_EQUAL(write.calls, 0);
    t_exec(ll_lease_conn(lease), "ROLLBACK");
    t_until(t->engine, &read.calls, 1);
    t_until(t->engine, &write.calls, 1);
    t_rows rows = {.request = reading};
    T_EQUAL(t_rows_next(&rows)[0].as.integer, 0);
    t_rows_done(&rows);
    t_is(writing, LL_OK, LL_APPLIED);
    ll_request_unref(writing);
    (void)p_release(lease);
    T_EQUAL(p_int(pool, "SELECT sum(x) FROM t"), 2);
    p_close(pool);
}

static void many_writers_and_readers(void **state)
{
    enum {
        TASKS = 100,
        EACH = 10
    };
    t_env *t = *state;
    ll_pool *pool = p_new_path(t->engine, ":memory:", NULL);
    p_exec(pool, "CREATE TABLE t(task, n)");
    size_t done = 0, count = 0;
    static ll_request *requests[TASKS * EACH * 2];
    for (int64_t n = 0; n < EACH; n++)
        for (int64_t task = 0; task < TASKS; task++) {
            ll_value values[] = {ll_integer(task), ll_integer(n)};
            ll_sql insert = {.text = "INSERT INTO t VALUES(?, ?)",
                             .size = LL_NUL_TERMINATED,
                             .params = {.values = values, .count = 2}};
            ll_submit how = {.done = t_count, .user = &done};
            ll_status status = ll_pool_exec(pool, &insert, &how, &requests[count++]);
            T_CHECK(status == LL_PENDING || status == LL_OK);
            done += status == LL_OK; /* inside the call: then nobody is called back */
            status = p_submit(pool, "SELECT count(*) FROM t", &how, &requests[count++]);
            T_CHECK(status == LL_PENDING || status == LL_OK);
            done += status == LL_OK;
        }
    t_until(t->engine, &done, count);
    for (size_t i = 0; i < count; i++) {
        t_is(requests[i], LL_OK, LL_APPLIED);
        if (i % 2) { /* each read sees the writes asked before it, and no other */
            t_rows rows = {.request = requests[i]};
            T_EQUAL(t_rows_next(&rows)[0].as.integer, i / 2 + 1);
            t_rows_done(&rows);
        } else {
            ll_request_unref(requests[i]);
        }
    }
    T_EQUAL(p_int(pool, "SELECT count(DISTINCT task * 1000 + n) FROM t"), TASKS * EACH);
    p_close(pool);
}

static void leases_that_write_stand_in_line(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new_path(t->engine, NULL, &((ll_pool_options){.max_size = 4}));
    p_exec(pool, "CREATE TABLE t(x)");
    ll_lease *leases[4];
    ll_request *begins[4] = {NULL};
    size_t done[4] = {0};
    for (int i = 0; i < 4; i++) {
        leases[i] = p_acquire(pool, NULL);
        (void)t_int(ll_lease_conn(leases[i]), "SELECT count(*) FROM t");
    }
    for (int i = 0; i < 4; i++) {
        uint64_t waits = t_stats(t->engine).gate_waits;
        T_CHECK(ll_txn_begin(ll_lease_conn(leases[i]), LL_BEGIN_IMMEDIATE,
                             &(ll_submit){.done = t_count, .user = &done[i]},
                             &begins[i]) == LL_PENDING);
        /* the next one comes when this one has it, or stands in line */
        while (i == 0 ? done[0] == 0 : t_stats(t->engine).gate_waits == waits)
            t_turn(t->engine);
    }
    for (int i = 0; i < 4; i++) {
        t_until(t->engine, &done[i], 1);
        t_is(begins[i], LL_OK, LL_APPLIED);
        ll_request_unref(begins[i]);
        for (int k = i + 1; k < 4; k++)
            T_EQUAL(done[k], 0);
        t_exec(ll_lease_conn(leases[i]), "INSERT INTO t VALUES(1)");
        t_exec(ll_lease_conn(leases[i]), "COMMIT");
    }
    for (int i = 0; i < 4; i++)
        (void)p_release(leases[i]);
    T_EQUAL(p_int(pool, "SELECT sum(x) FROM t"), 4);
    p_close(pool);
}

/* The scan waits inside the function, on a worker; reads on the loop neither wait for it nor hang. */
static void a_slow_function_stalls_no_reader(void **state)
{
    T_NEEDS(T_HAS_MEMDB); /* a shared cache has one mutex for all */
    t_env *t = *state;
    t_engine(t, &(ll_engine_options){.turn_ns = T_HOUR, .attempt_ns = T_HOUR});
    ll_pool *pool = p_new_path(t->engine, NULL, &((ll_pool_options){.max_size = 2}));
    p_exec(pool, "CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
    p_exec(pool, "INSERT INTO t VALUES(1, 10), (2, 20), (3, 30)");
    ll_lease *lease = p_acquire(pool, NULL);
    t_gate *gate = t_gate_new(t);
    t_gate_install(gate, ll_lease_conn(lease));
    t_told scan = {0};
    ll_request *request = NULL;
    T_CHECK(ll_query(ll_lease_conn(lease), "SELECT sum(gate(x)) FROM t", NULL, 0,
                     &(ll_submit){.done = t_tell, .user = &scan}, &request) == LL_PENDING);
    t_gate_entered(gate, 1);
    p_exec(pool, "SELECT x FROM t WHERE id = 2"); /* on a worker, so that it is known */
    uint64_t before = t_stats(t->engine).inline_hits;
    /* Here, on the loop; but not all: a worker that had the one before may not have given its connection back yet, so it
     * is let do that. If none ever runs here, this does not end. */
    for (int i = 0; i < 20 || t_stats(t->engine).inline_hits == before; i++) {
        T_EQUAL(p_int(pool, "SELECT x FROM t WHERE id = 2"), 20);
        t_turn(t->engine);
    }
    T_EQUAL(scan.calls, 0);
    t_gate_open(gate);
    t_until(t->engine, &scan.calls, 1);
    t_rows rows = {.request = request};
    T_EQUAL(t_rows_next(&rows)[0].as.integer, 60);
    t_rows_done(&rows);
    (void)p_release(lease);
    p_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(each_pool_has_its_own),
        T_TEST(a_name_is_shared_by_all_that_name_it),
        T_TEST(it_lives_while_no_connection_is_used),
        T_TEST(statements_run_in_the_order_of_asking),
        T_TEST(no_dirty_reads_and_no_lock_errors),
        T_TEST(many_writers_and_readers),
        T_TEST(leases_that_write_stand_in_line),
        T_TEST(a_slow_function_stalls_no_reader),
    };
    return T_RUN(tests);
}
