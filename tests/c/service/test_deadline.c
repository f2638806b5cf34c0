/* Deadlines: behind a long statement, in one, and while waiting for a lock. The tests know that a
 * deadline has passed because a later one with the same length has been told, never by the clock. */
#include "support/support.h"

static void queued_behind_a_long_statement(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_exec(conn, "CREATE TABLE t(x)");
    t_told call = {0}, told = {0}, late = {0};
    T_CHECK(ll_conn_call(conn, t_gate_call, gate, &(ll_submit){.done = t_tell, .user = &call},
                         NULL) == LL_PENDING);
    t_gate_entered(gate, 1);
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &told, .timeout_ns = T_MS},
                    NULL) == LL_PENDING);
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(2)", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &late, .timeout_ns = T_HOUR},
                    NULL) == LL_PENDING);
    t_until(t->engine, &told.calls, 1); /* told while the call still runs */
    T_CHECK(told.status == LL_ETIMEOUT && told.outcome == LL_NOT_APPLIED);
    T_CHECK(call.calls == 0 && late.calls == 0);
    t_gate_open(gate);
    t_until(t->engine, &late.calls, 1);
    T_CHECK(late.status == LL_OK && late.outcome == LL_APPLIED);
    T_CHECK(told.calls == 1);
    T_CHECK(t_stats(t->engine).timed_out == 1);
    T_EQUAL(t_int(conn, "SELECT sum(x) FROM t"), 2);
    t_close(conn);
}

static void a_read_that_never_ends(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = NULL;
    T_CHECK(ll_query(conn, T_ENDLESS "SELECT count(*) FROM c", NULL, 0,
                     &(ll_submit){.timeout_ns = 20 * T_MS}, &request) == LL_PENDING);
    T_CHECK(ll_request_wait(request) == LL_ETIMEOUT);
    t_is(request, LL_ETIMEOUT, LL_NOT_APPLIED);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT 5"), 5);
    t_close(conn);
}

static void a_write_that_may_be_interrupted(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    ll_request *request = NULL;
    T_CHECK(ll_exec(conn, "INSERT INTO t " T_ENDLESS "SELECT x FROM c", NULL, 0,
                    &(ll_submit){.timeout_ns = 20 * T_MS, .flags = LL_SUBMIT_INTERRUPT},
                    &request) == LL_PENDING);
    T_CHECK(ll_request_wait(request) == LL_ETIMEOUT);
    t_is(request, LL_ETIMEOUT, LL_NOT_APPLIED);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_close(conn);
}

static void a_running_write_ends_by_itself(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db"), *clock = t_open(t, "b.db");
    t_gate *gate = t_gate_new(t), *clock_gate = t_gate_new(t);
    size_t called = 0;
    t_exec(conn, "CREATE TABLE t(x)");
    t_gate_install(gate, conn);
    T_CHECK(ll_conn_call(clock, t_gate_call, clock_gate,
                         &(ll_submit){.done = t_count, .user = &called}, NULL) == LL_PENDING);
    for (uint64_t timeout = T_MS;; timeout *= 2) {
        t_told write = {0}, tick = {0};
        T_CHECK(ll_exec(conn, "INSERT INTO t SELECT gate(7)", NULL, 0,
                        &(ll_submit){.done = t_tell, .user = &write, .timeout_ns = timeout},
                        NULL) == LL_PENDING);
        T_CHECK(ll_exec(clock, "SELECT 1", NULL, 0,
                        &(ll_submit){.done = t_tell, .user = &tick, .timeout_ns = timeout},
                        NULL) == LL_PENDING);
        t_until(t->engine, &tick.calls, 1);
        T_CHECK(tick.status == LL_ETIMEOUT);
        if (write.calls) { /* the machine was slow: it had not begun */
            T_CHECK(write.status == LL_ETIMEOUT && write.outcome == LL_NOT_APPLIED);
            continue;
        }
        t_gate_open(gate);
        t_until(t->engine, &write.calls, 1);
        if (write.status == LL_ETIMEOUT) { /* it had not, and was not told yet */
            T_CHECK(write.outcome == LL_NOT_APPLIED && t_gate_times(gate) == 0);
            T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
        } else {
            T_CHECK(write.status == LL_OK && write.outcome == LL_APPLIED);
            T_EQUAL(t_int(conn, "SELECT x FROM t"), 7);
        }
        break;
    }
    t_gate_open(clock_gate);
    t_until(t->engine, &called, 1);
    t_close(conn);
    t_close(clock);
}

static void a_shielded_one_runs(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_exec(conn, "CREATE TABLE t(x)");
    t_told call = {0}, shielded = {0}, tick = {0};
    T_CHECK(ll_conn_call(conn, t_gate_call, gate, &(ll_submit){.done = t_tell, .user = &call},
                         NULL) == LL_PENDING);
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0,
                    &(ll_submit){.done = t_tell,
                                 .user = &shielded,
                                 .timeout_ns = T_MS,
                                 .flags = LL_SUBMIT_SHIELD},
                    NULL) == LL_PENDING);
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(2)", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &tick, .timeout_ns = T_MS},
                    NULL) == LL_PENDING);
    t_until(t->engine, &tick.calls, 1);
    T_CHECK(shielded.calls == 0);
    t_gate_open(gate);
    t_until(t->engine, &shielded.calls, 1);
    T_CHECK(shielded.status == LL_OK && shielded.outcome == LL_APPLIED);
    T_EQUAL(t_int(conn, "SELECT sum(x) FROM t"), 1);
    t_close(conn);
}

static void waiting_for_a_lock(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    t_exec(conn, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    t_raw(other, "BEGIN EXCLUSIVE");
    static const char *const list[] = {"INSERT INTO t VALUES(1)", "SELECT * FROM t",
                                       "BEGIN IMMEDIATE"};
    for (size_t i = 0; i < 3; i++) {
        ll_request *request = NULL;
        T_CHECK(ll_exec(conn, list[i], NULL, 0, &(ll_submit){.timeout_ns = 20 * T_MS}, &request) ==
                LL_PENDING);
        T_CHECK(ll_request_wait(request) == LL_ETIMEOUT);
        t_is(request, LL_ETIMEOUT, LL_NOT_APPLIED);
        ll_request_unref(request);
    }
    t_raw(other, "COMMIT");
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_raw_close(other);
    t_close(conn);
}

static void the_busy_timeout_comes_before_the_deadline(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.busy_timeout_ns = 5 * T_MS};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    t_exec(conn, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    t_raw(other, "BEGIN EXCLUSIVE");
    ll_request *request = NULL;
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0, &(ll_submit){.timeout_ns = T_HOUR},
                    &request) == LL_PENDING);
    T_CHECK(ll_request_wait(request) == LL_EBUSY);
    t_is(request, LL_EBUSY, LL_NOT_APPLIED);
    ll_request_unref(request);
    t_raw(other, "COMMIT");
    t_raw_close(other);
    t_close(conn);
}

static void many_deadlines_in_any_order(void **state)
{
    enum {
        COUNT = 200
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_told told[COUNT] = {{0}}, call = {0};
    T_CHECK(ll_conn_call(conn, t_gate_call, gate, &(ll_submit){.done = t_tell, .user = &call},
                         NULL) == LL_PENDING);
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t timeout = (i * 7919) % 2 ? T_HOUR + i : ((i * 7919) % 10 + 1) * T_MS;
        T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0,
                        &(ll_submit){.done = t_tell, .user = &told[i], .timeout_ns = timeout},
                        NULL) == LL_PENDING);
    }
    for (size_t i = 0; i < COUNT; i += 2)
        t_until(t->engine, &told[i].calls, 1);
    t_gate_open(gate);
    for (size_t i = 0; i < COUNT; i++) {
        t_until(t->engine, &told[i].calls, 1);
        T_CHECK(told[i].status == (i % 2 ? LL_OK : LL_ETIMEOUT) && told[i].calls == 1);
    }
    T_CHECK(t_stats(t->engine).timed_out == COUNT / 2);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(queued_behind_a_long_statement),
        T_TEST(a_read_that_never_ends),
        T_TEST(a_write_that_may_be_interrupted),
        T_TEST(a_running_write_ends_by_itself),
        T_TEST(a_shielded_one_runs),
        T_TEST(waiting_for_a_lock),
        T_TEST(the_busy_timeout_comes_before_the_deadline),
        T_TEST(many_deadlines_in_any_order),
    };
    return T_RUN(tests);
}
