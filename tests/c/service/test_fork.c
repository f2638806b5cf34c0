/* After fork() the child may use nothing that the parent made, and can make what it needs anew; the
 * parent notices nothing. */
#include "support/support.h"

#include <poll.h>
#include <unistd.h>

/* ThreadSanitizer cannot follow a child that starts threads when its parent had some; in AddressSanitizer's runtime (GCC
 * 12) a lock may be left behind that the first thread waits for. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#    define STARTS_THREADS false
#elif defined(__has_feature)
#    if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#        define STARTS_THREADS false
#    endif
#endif
#ifndef STARTS_THREADS
#    define STARTS_THREADS true
#endif

/* What the parent made. */
struct made {
    t_env *t;
    ll_engine *engine;
    ll_conn *conn;
    ll_request *finished, *pending;
    ll_batch *batch;
    ll_cursor *cursor;
    ll_stmt *stmt;
};

static int everything_is_refused(void *arg)
{
    struct made *made = arg;
    ll_request *request = NULL;
    ll_conn *conn = NULL;
    ll_value value = ll_integer(1);
    ll_many many = {
        .text = "SELECT ?", .size = LL_NUL_TERMINATED, .values = &value, .rows = 1, .width = 1};
    T_CHILD(ll_engine_fd(made->engine) == -1);
    T_CHILD(ll_engine_dispatch(made->engine, NULL) == LL_EFORK);
    T_CHILD(ll_last_error()[0] != '\0');
    T_CHILD(ll_engine_wait(made->engine, -1, NULL) == LL_EFORK);
    T_CHILD(ll_conn_open(made->engine, t_path(made->t, "child.db"), NULL, NULL, &conn, &request) ==
            LL_EFORK);
    T_CHILD(ll_exec(made->conn, "SELECT 1", NULL, 0, NULL, &request) == LL_EFORK);
    T_CHILD(ll_query(made->conn, "SELECT 1", NULL, 0, NULL, &request) == LL_EFORK);
    T_CHILD(ll_stream(made->conn, "SELECT 1", NULL, 0, NULL, &request) == LL_EFORK);
    T_CHILD(ll_exec_many(made->conn, &many, NULL, &request) == LL_EFORK);
    T_CHILD(ll_script(made->conn, "", 0, false, NULL, &request) == LL_EFORK);
    T_CHILD(ll_prepare(made->conn, "SELECT 1", LL_NUL_TERMINATED, NULL, &request) == LL_EFORK);
    T_CHILD(ll_stmt_submit(made->stmt, NULL, 0, NULL, &request) == LL_EFORK);
    T_CHILD(ll_txn_begin(made->conn, LL_BEGIN_DEFERRED, NULL, &request) == LL_EFORK);
    T_CHILD(ll_txn_commit(made->conn, NULL, &request) == LL_EFORK);
    T_CHILD(ll_txn_rollback(made->conn, NULL, &request) == LL_EFORK);
    T_CHILD(ll_conn_call(made->conn, t_gate_call, NULL, NULL, &request) == LL_EFORK);
    T_CHILD(ll_conn_interrupt(made->conn) == LL_EFORK);
    T_CHILD(ll_conn_close(made->conn, NULL, &request) == LL_EFORK);
    T_CHILD(ll_cursor_next(made->cursor, NULL, &request) == LL_EFORK);
    T_CHILD(ll_request_cancel(made->pending) == LL_EFORK);
    T_CHILD(ll_request_wait(made->pending) == LL_EFORK);
    T_CHILD(request == NULL && conn == NULL);
    ll_stats stats = t_stats(made->engine);
    T_CHILD(stats.submitted == 0 && stats.threads == 0 && stats.connections == 0);
    ll_conn_state state = t_state(made->conn);
    T_CHILD(!state.open && state.rowid == 0 && state.total_changes == 0);
    /* memory that it holds may be read */
    T_CHILD(ll_batch_row(made->batch, 0)[0].as.integer == 5);
    T_CHILD(ll_request_status(made->finished) == LL_OK);
    /* given back: nothing is touched */
    ll_batch_free(made->batch);
    ll_cursor_close(made->cursor);
    ll_stmt_free(made->stmt);
    ll_request_unref(made->finished);
    ll_request_unref(made->pending);
    ll_conn_unref(made->conn);
    ll_engine_free(made->engine);
    T_CHILD(strcmp(ll_status_name(LL_EFORK), "LL_EFORK") == 0);
    return 0;
}

/* Makes an engine of its own and works with it. */
static int begins_anew(void *arg)
{
    struct made *made = arg;
    ll_engine *engine = NULL;
    T_CHILD(ll_engine_new(NULL, &engine) == LL_OK);
    for (int i = 0; i < 2 && (STARTS_THREADS || !made->engine); i++) {
        ll_conn *conn = NULL;
        ll_request *request = NULL;
        ll_status status = ll_conn_open(engine, i ? t_path(made->t, "child.db") : ":memory:", NULL,
                                        NULL, &conn, &request);
        T_CHILD(status >= 0);
        T_CHILD((status == LL_PENDING ? ll_request_wait(request) : status) == LL_OK);
        ll_request_unref(request);
        static const char *const list[] = {"CREATE TABLE IF NOT EXISTS t(x)",
                                           "INSERT INTO t VALUES(7)", "SELECT * FROM t"};
        for (size_t k = 0; k < 3; k++) {
            request = NULL;
            status = ll_exec(conn, list[k], NULL, 0, NULL, &request);
            T_CHILD(status >= 0);
            T_CHILD((status == LL_PENDING ? ll_request_wait(request) : status) == LL_OK);
            ll_request_unref(request);
        }
        T_CHILD(t_stats(engine).connections == 1);
        request = NULL;
        status = ll_conn_close(conn, NULL, &request);
        T_CHILD((status == LL_PENDING ? ll_request_wait(request) : status) == LL_OK);
        ll_request_unref(request);
        ll_conn_unref(conn);
    }
    ll_engine_free(engine);
    return 0;
}

static int both(void *arg)
{
    int code = everything_is_refused(arg);
    return code ? code : begins_anew(arg);
}

/* Abandoning is for engines whose loop is gone: the parent's, seen from the child. */
static int abandons(void *arg)
{
    struct made *made = arg;
    ll_engine_abandon(made->engine);
    return begins_anew(arg);
}

static void make(t_env *t, struct made *made, t_gate *gate)
{
    memset(made, 0, sizeof *made);
    made->t = t;
    made->engine = t->engine;
    made->conn = t_open(t, "a.db");
    t_exec(made->conn, "CREATE TABLE t(x)");
    t_gate_install(gate, made->conn);
    made->finished = t_query(made->conn, "SELECT 5");
    made->batch = ll_request_take_batch(made->finished);
    ll_request *request = NULL;
    T_CHECK(t_end(ll_prepare(made->conn, "SELECT 1", LL_NUL_TERMINATED, NULL, &request), request) ==
            LL_OK);
    made->stmt = ll_request_take_stmt(request);
    ll_request_unref(request);
    request = NULL;
    T_CHECK(t_end(ll_stream(made->conn, T_ENDLESS "SELECT x FROM c", NULL, 0, NULL, &request),
                  request) == LL_OK);
    made->cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    T_CHECK(ll_exec(made->conn, "INSERT INTO t SELECT gate(9)", NULL, 0, NULL, &made->pending) ==
            LL_PENDING);
}

/* The parent goes on as if nothing had been. */
static void go_on(struct made *made, t_gate *gate)
{
    t_gate_open(gate);
    T_CHECK(ll_request_wait(made->pending) == LL_OK);
    t_is(made->pending, LL_OK, LL_APPLIED);
    ll_request *request = NULL;
    T_CHECK(t_end(ll_cursor_next(made->cursor, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
    ll_batch_free(made->batch);
    ll_cursor_close(made->cursor);
    ll_stmt_free(made->stmt);
    ll_request_unref(made->finished);
    ll_request_unref(made->pending);
    t_exec(made->conn, "INSERT INTO t VALUES(1)");
    T_EQUAL(t_int(made->conn, "SELECT sum(x) FROM t"), 10);
    struct pollfd poll_fd = {.fd = ll_engine_fd(made->engine), .events = POLLIN};
    T_CHECK(poll(&poll_fd, 1, 0) == 0);
    t_close(made->conn);
}

static void with_work_in_flight(void **state)
{
    t_env *t = *state;
    struct made made;
    t_gate *gate = t_gate_new(t);
    make(t, &made, gate);
    t_gate_entered(gate, 1); /* a worker is inside SQLite */
    t_in_child(both, &made);
    t_in_child(begins_anew, &made);
    go_on(&made, gate);
    if (STARTS_THREADS)
        T_EQUAL(t_file_int(t_path(t, "child.db"), "SELECT count(*) FROM t"), 2);
}

static void with_something_to_dispatch(void **state)
{
    t_env *t = *state;
    struct made made;
    t_gate *gate = t_gate_new(t);
    make(t, &made, gate);
    t_gate_open(gate);
    struct pollfd poll_fd = {.fd = ll_engine_fd(t->engine), .events = POLLIN};
    T_CHECK(poll(&poll_fd, 1, -1) == 1);
    t_in_child(both, &made); /* the child drains nothing */
    T_CHECK(poll(&poll_fd, 1, 0) == 1);
    go_on(&made, gate);
}

static void with_a_timer_armed(void **state)
{
    t_env *t = *state;
    struct made made;
    t_gate *gate = t_gate_new(t);
    t_told told = {0};
    make(t, &made, gate);
    t_gate_entered(gate, 1);
    T_CHECK(ll_exec(made.conn, "INSERT INTO t VALUES(1000)", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &told, .timeout_ns = T_MS},
                    NULL) == LL_PENDING);
    t_in_child(abandons, &made);
    t_until(t->engine, &told.calls, 1); /* the child has not changed the timer */
    T_CHECK(told.status == LL_ETIMEOUT);
    go_on(&made, gate);
}

static void idle(void **state)
{
    t_env *t = *state;
    struct made made = {.t = t};
    t_in_child(begins_anew, &made);
    t_exec(made.conn = t_open(t, "a.db"), "CREATE TABLE t(x)");
    t_close(made.conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(idle),
        T_TEST(with_work_in_flight),
        T_TEST(with_something_to_dispatch),
        T_TEST(with_a_timer_armed),
    };
    return T_RUN(tests);
}
