/* Who of several workers is woken, and who keeps the time of what waits for a lock, whatever the others do. */
#include "support/support.h"

enum {
    ROUNDS = 60
};

/* Two workers that have nothing to do and do not leave. */
static ll_engine *with_two_workers(t_env *t)
{
    ll_engine *engine = NULL;
    ll_engine_options options = {.max_workers = 2, .linger_ns = 3600 * 1000 * T_MS};
    T_EQUAL(ll_engine_new(&options, &engine), LL_OK);
    ll_conn *one = t_open_with(engine, t_path(t, "one.db"), NULL);
    ll_conn *two = t_open_with(engine, t_path(t, "two.db"), NULL);
    t_gate *first = t_gate_new(t), *second = t_gate_new(t);
    size_t called = 0;
    ll_submit how = {.done = t_count, .user = &called};
    T_EQUAL(ll_conn_call(one, t_gate_call, first, &how, NULL), LL_PENDING);
    T_EQUAL(ll_conn_call(two, t_gate_call, second, &how, NULL), LL_PENDING);
    t_gate_entered(first, 1);
    t_gate_entered(second, 1);
    t_gate_open(first);
    t_gate_open(second);
    t_until(engine, &called, 2);
    t_close(one);
    t_close(two);
    T_EQUAL(t_stats(engine).threads, 2);
    return engine;
}

/* The worker that has met the lock takes the next work, which never ends, before it sleeps; the other one sleeps already,
 * and not for this lock. The waiting goes on. */
static void the_time_is_kept_beside_endless_work(void **state)
{
    t_env *t = *state;
    ll_engine *engine = with_two_workers(t);
    ll_conn *waiting = t_open_with(engine, t_path(t, "a.db"), NULL);
    ll_conn *busy = t_open_with(engine, t_path(t, "b.db"), NULL);
    t_exec(waiting, "PRAGMA journal_mode = WAL"); /* a reader keeps nobody from committing */
    t_exec(waiting, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    for (size_t round = 1; round <= ROUNDS; round++) {
        t_raw(other, "BEGIN IMMEDIATE");
        t_told written = {0}, endless = {0};
        ll_request *running = NULL;
        uint64_t parks = t_stats(engine).parks;
        T_EQUAL(ll_exec(waiting, "INSERT INTO t VALUES(1)", NULL, 0,
                        &(ll_submit){.done = t_tell, .user = &written}, NULL),
                LL_PENDING);
        while (t_stats(engine).parks == parks) {}
        T_EQUAL(
            ll_query(busy, T_ENDLESS "SELECT max(x) FROM c", NULL, 0,
                     &(ll_submit){.done = t_tell, .user = &endless, .flags = LL_SUBMIT_NO_INLINE},
                     &running),
            LL_PENDING);
        t_raw(other, "COMMIT");
        t_until(engine, &written.calls, 1);
        T_EQUAL(written.status, LL_OK);
        T_EQUAL(endless.calls, 0);
        T_EQUAL(ll_request_cancel(running), LL_OK);
        t_until(engine, &endless.calls, 1);
        ll_request_unref(running);
    }
    sqlite3_close(other);
    t_close(waiting);
    t_close(busy);
    ll_engine_free(engine);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), ROUNDS);
}

/* Work for both comes at once, however awake they are: neither waits for what the other does. */
static void both_are_woken_for_two(void **state)
{
    t_env *t = *state;
    ll_engine *engine = with_two_workers(t);
    ll_conn *one = t_open_with(engine, t_path(t, "a.db"), NULL);
    ll_conn *two = t_open_with(engine, t_path(t, "b.db"), NULL);
    size_t called = 0, expected = 0;
    ll_submit how = {.done = t_count, .user = &called, .flags = LL_SUBMIT_NO_INLINE};
    for (size_t round = 0; round < ROUNDS; round++) {
        t_gate *gate = t_gate_new(t);
        T_EQUAL(ll_query(one, "SELECT 1", NULL, 0, &how, NULL),
                LL_PENDING); /* one looks for work */
        t_until(engine, &called, ++expected);
        T_EQUAL(ll_conn_call(one, t_gate_call, gate, &how, NULL), LL_PENDING);
        T_EQUAL(ll_query(two, "SELECT 1", NULL, 0, &how, NULL), LL_PENDING);
        t_until(engine, &called, ++expected); /* the query: the gate is shut */
        t_gate_open(gate);
        t_until(engine, &called, ++expected);
    }
    t_close(one);
    t_close(two);
    ll_engine_free(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(the_time_is_kept_beside_endless_work),
        T_TEST(both_are_woken_for_two),
    };
    return T_RUN(tests);
}
