/* The engine: its descriptor, dispatching, waiting, ending with work in flight, several engines on the
 * same workers, and threads that come and go. */
#include "support/support.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

static bool readable(const ll_engine *engine)
{
    struct pollfd fd = {.fd = ll_engine_fd(engine), .events = POLLIN};
    int count = poll(&fd, 1, 0);
    T_CHECK(count >= 0);
    return count == 1;
}

static void until_readable(const ll_engine *engine)
{
    struct pollfd fd = {.fd = ll_engine_fd(engine), .events = POLLIN};
    T_CHECK(poll(&fd, 1, -1) == 1 && (fd.revents & POLLIN));
}

static size_t dispatch(ll_engine *engine)
{
    size_t count = 0;
    T_CHECK(ll_engine_dispatch(engine, &count) == LL_OK);
    return count;
}

/* Holds a connection busy until its gate opens. */
static t_gate *hold(t_env *t, ll_conn *conn, t_told *told)
{
    t_gate *gate = t_gate_new(t);
    memset(told, 0, sizeof *told);
    T_CHECK(ll_conn_call(conn, t_gate_call, gate, &(ll_submit){.done = t_tell, .user = told},
                         NULL) == LL_PENDING);
    t_gate_entered(gate, 1);
    return gate;
}

static void a_new_engine_is_quiet(void **state)
{
    t_env *t = *state;
    T_CHECK(ll_engine_fd(t->engine) >= 0);
    T_CHECK(!readable(t->engine));
    T_CHECK(dispatch(t->engine) == 0);
    T_CHECK(ll_engine_outstanding(t->engine) == 0);
    T_CHECK(ll_engine_wait(t->engine, -1, NULL) == LL_OK); /* nothing outstanding: at once */
    ll_stats stats = t_stats(t->engine);
    T_CHECK(stats.threads == 0 && stats.threads_started == 0); /* starts no thread */
    T_CHECK(stats.submitted == 0 && stats.completed == 0 && stats.connections == 0);
}

static void readable_when_there_is_something(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_told call;
    for (int i = 0; i < 20; i++) {
        t_gate *gate = hold(t, conn, &call);
        T_CHECK(!readable(t->engine)); /* it runs: nothing to do for the loop */
        T_CHECK(dispatch(t->engine) == 0 && call.calls == 0);
        t_gate_open(gate);
        until_readable(t->engine);
        T_CHECK(call.calls == 0); /* only from dispatch */
        T_CHECK(dispatch(t->engine) == 1 && call.calls == 1);
        T_CHECK(!readable(t->engine));
        T_CHECK(dispatch(t->engine) == 0);
    }
    /* many at once: all of them come, and then it is quiet */
    t_gate *gate = hold(t, conn, &call);
    size_t done = 0, count = 0;
    for (int i = 0; i < 100; i++)
        T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0, &(ll_submit){.done = t_count, .user = &done},
                        NULL) == LL_PENDING);
    T_CHECK(ll_engine_outstanding(t->engine) == 101);
    t_gate_open(gate);
    while (count < 101) {
        until_readable(t->engine);
        count += dispatch(t->engine);
    }
    T_CHECK(count == 101 && done == 100 && ll_engine_outstanding(t->engine) == 0);
    T_CHECK(!readable(t->engine));
    t_close(conn);
}

static void readable_when_a_deadline_has_passed(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_told call, told = {0};
    t_gate *gate = hold(t, conn, &call);
    T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &told, .timeout_ns = 2 * T_MS},
                    NULL) == LL_PENDING);
    while (told.calls == 0) {
        until_readable(t->engine); /* by the timer: the worker is held */
        dispatch(t->engine);
    }
    T_CHECK(told.status == LL_ETIMEOUT && call.calls == 0);
    T_CHECK(!readable(t->engine));
    /* a deadline far away makes nothing readable */
    t_told far = {0};
    T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &far, .timeout_ns = T_HOUR},
                    NULL) == LL_PENDING);
    T_CHECK(!readable(t->engine));
    t_gate_open(gate);
    t_until(t->engine, &far.calls, 1);
    T_CHECK(far.status == LL_OK);
    T_CHECK(!readable(t->engine));
    t_close(conn);
}

static void readable_when_something_was_cancelled(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_told call, told = {0};
    t_gate *gate = hold(t, conn, &call);
    ll_request *request = NULL;
    T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0, &(ll_submit){.done = t_tell, .user = &told},
                    &request) == LL_PENDING);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    until_readable(t->engine);
    T_CHECK(dispatch(t->engine) == 1 && told.calls == 1);
    T_CHECK(!readable(t->engine));
    t_gate_open(gate);
    t_until(t->engine, &call.calls, 1);
    ll_request_unref(request);
    t_close(conn);
}

/* ---- inside callbacks ---- */

struct inside {
    ll_status dispatch, wait, request_wait;
    size_t dispatched, waited;
    bool has_words;
    ll_engine *engine;
    ll_conn *conn;
    ll_request *other;
    size_t calls;
};

static void tries_to_dispatch(ll_request *request, void *user)
{
    struct inside *inside = user;
    inside->dispatch = ll_engine_dispatch(inside->engine, &inside->dispatched);
    inside->has_words = ll_last_error()[0] != '\0';
    inside->wait = ll_engine_wait(inside->engine, 0, &inside->waited);
    inside->request_wait = ll_request_wait(inside->other);
    inside->calls++;
    (void)request;
}

static void dispatching_inside_a_callback_is_refused(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db"), *busy = t_open(t, "b.db");
    t_told call;
    struct inside inside = {.engine = t->engine, .dispatched = 77, .waited = 77};
    t_gate *gate = hold(t, busy, &call);
    T_CHECK(ll_exec(busy, "SELECT 1", NULL, 0, NULL, &inside.other) == LL_PENDING);
    t_gate *other_gate = t_gate_new(t);
    T_CHECK(ll_conn_call(conn, t_gate_call, other_gate,
                         &(ll_submit){.done = tries_to_dispatch, .user = &inside},
                         NULL) == LL_PENDING);
    t_gate_open(other_gate);
    t_until(t->engine, &inside.calls, 1);
    T_CHECK(inside.dispatch == LL_EINVAL && inside.wait == LL_EINVAL && inside.has_words);
    T_CHECK(inside.request_wait == LL_EINVAL && !ll_request_is_done(inside.other));
    T_CHECK(inside.dispatched == 77 && inside.waited == 77); /* set on success only */
    t_gate_open(gate);
    T_CHECK(ll_request_wait(inside.other) == LL_OK);
    ll_request_unref(inside.other);
    t_close(conn);
    t_close(busy);
}

static void submits_and_closes(ll_request *request, void *user)
{
    struct inside *inside = user;
    ll_conn *conn = inside->conn;
    T_CHECK(ll_request_user(request) == user);
    inside->calls++;
    size_t before = inside->calls;
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(2)", NULL, 0,
                    &(ll_submit){.done = t_count, .user = &inside->calls}, NULL) == LL_PENDING);
    T_CHECK(ll_conn_close(conn, &(ll_submit){.done = t_count, .user = &inside->calls}, NULL) ==
            LL_PENDING);
    T_CHECK(inside->calls == before); /* never from inside */
    ll_conn_unref(conn);
}

static void callbacks_submit_and_close(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    struct inside inside = {.engine = t->engine};
    t_gate *gate = t_gate_new(t);
    t_exec(conn, "CREATE TABLE t(x)");
    inside.conn = conn;
    T_CHECK(ll_conn_call(conn, t_gate_call, gate,
                         &(ll_submit){.done = submits_and_closes, .user = &inside},
                         NULL) == LL_PENDING);
    t_gate_open(gate);
    t_until(t->engine, &inside.calls, 3);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT x FROM t"), 2);
}

static void waiting_has_an_end(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_told call;
    t_gate *gate = hold(t, conn, &call);
    size_t count = 77;
    T_CHECK(ll_engine_wait(t->engine, 0, &count) == LL_OK && count == 0);
    count = 77;
    T_CHECK(ll_engine_wait(t->engine, 1, &count) == LL_OK && count == 0);
    T_CHECK(ll_engine_wait(t->engine, (int64_t)T_MS, &count) == LL_OK && count == 0);
    t_gate_open(gate);
    while (call.calls == 0)
        T_CHECK(ll_engine_wait(t->engine, -1, &count) == LL_OK);
    T_CHECK(count == 1);
    t_close(conn);
}

/* ---- the end ---- */

static void free_with_work_in_flight(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db"), *reader = t_open(t, "b.db"), *writer = t_open(t, "c.db");
    t_gate *gate = t_gate_new(t), *write_gate = t_gate_new(t);
    t_exec(conn, "CREATE TABLE t(x)");
    t_exec(writer, "CREATE TABLE t(x)");
    t_gate_install(gate, reader);
    t_gate_install(write_gate, writer);
    t_told read = {0}, queued = {0}, write = {0}, queued_write = {0};
    T_CHECK(ll_query(reader, T_ENDLESS "SELECT count(seen(x)) FROM c", NULL, 0,
                     &(ll_submit){.done = t_tell, .user = &read}, NULL) == LL_PENDING);
    T_CHECK(ll_query(reader, "SELECT 1", NULL, 0, &(ll_submit){.done = t_tell, .user = &queued},
                     NULL) == LL_PENDING);
    T_CHECK(ll_exec(writer,
                    "INSERT INTO t " T_ENDLESS
                    "SELECT CASE x WHEN 1 THEN seen(x) ELSE x END FROM c",
                    NULL, 0, &(ll_submit){.done = t_tell, .user = &write}, NULL) == LL_PENDING);
    T_CHECK(ll_exec(writer, "DELETE FROM t", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &queued_write}, NULL) == LL_PENDING);
    t_gate_entered(gate, 1);
    t_gate_entered(write_gate, 1);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_CHECK(read.calls == 1 && queued.calls == 1 && write.calls == 1 && queued_write.calls == 1);
    T_CHECK(read.status != LL_OK && read.outcome == LL_NOT_APPLIED);
    T_CHECK(queued.status == LL_ECANCELLED && queued.outcome == LL_NOT_APPLIED);
    /* a running write, an endless one, is interrupted and undone whole */
    if (write.status != LL_ECANCELLED || write.outcome != LL_NOT_APPLIED)
        t_fail(__FILE__, __LINE__, "the running write: %s, outcome %d",
               ll_status_name(write.status), write.outcome);
    T_CHECK(queued_write.status == LL_ECANCELLED && queued_write.outcome == LL_NOT_APPLIED);
    /* the connections were closed: another one gets every lock */
    t_file_sql(t_path(t, "b.db"), "BEGIN EXCLUSIVE; COMMIT");
    T_EQUAL(t_file_int(t_path(t, "c.db"), "SELECT count(*) FROM t"), 0);
    T_CHECK(!t_state(conn).open && !t_state(reader).open && !t_state(writer).open);
    ll_conn_unref(conn);
    ll_conn_unref(reader);
    ll_conn_unref(writer);
}

/* Whenever the worker sees that what runs has been stopped: what waits behind it has been stopped before. */
static void what_waits_is_never_begun_by_the_end(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(x)");
    for (int round = 0; round < 100; round++) {
        ll_engine *engine = NULL;
        T_EQUAL(ll_engine_new(NULL, &engine), LL_OK);
        ll_conn *conn = t_open_with(engine, t_path(t, "a.db"), NULL);
        t_told read = {0}, write = {0};
        T_EQUAL(ll_query(conn, T_ENDLESS "SELECT max(x) FROM c", NULL, 0,
                         &(ll_submit){.done = t_tell, .user = &read}, NULL),
                LL_PENDING);
        T_EQUAL(ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0,
                        &(ll_submit){.done = t_tell, .user = &write}, NULL),
                LL_PENDING);
        ll_engine_free(engine);
        ll_conn_unref(conn);
        T_EQUAL(read.status, LL_ECANCELLED);
        T_EQUAL(write.status, LL_ECANCELLED);
        T_EQUAL(write.outcome, LL_NOT_APPLIED);
    }
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), 0);
}

static void handles_stay_valid_after_free(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *done = t_query(conn, "SELECT 5"), *pending = NULL, *later = NULL;
    t_gate *gate = t_gate_new(t);
    t_gate_install(gate, conn);
    T_CHECK(ll_query(conn, T_ENDLESS "SELECT count(seen(x)) FROM c", NULL, 0, NULL, &pending) ==
            LL_PENDING);
    t_gate_entered(gate, 1);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_CHECK(ll_request_is_done(pending));
    T_CHECK(ll_request_outcome(pending) == LL_NOT_APPLIED);
    T_CHECK(ll_request_cancel(pending) == LL_OK);
    t_rows rows = {.request = done};
    T_CHECK(t_rows_next(&rows)[0].as.integer == 5);
    t_rows_done(&rows);
    T_CHECK(ll_query(conn, "SELECT 1", NULL, 0, NULL, &later) < 0 && !later);
    ll_request_unref(pending);
    ll_conn_unref(conn);
}

static void never_called(ll_request *request, void *user)
{
    (void)request;
    ++*(size_t *)user;
}

static void abandon_calls_nobody_back(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_exec(conn, "CREATE TABLE t(x)");
    t_gate_install(gate, conn);
    static size_t called;
    called = 0;
    ll_request *kept = NULL;
    T_CHECK(ll_exec(conn, "INSERT INTO t SELECT gate(3)", NULL, 0,
                    &(ll_submit){.done = never_called, .user = &called}, &kept) == LL_PENDING);
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(4)", NULL, 0,
                    &(ll_submit){.done = never_called, .user = &called}, NULL) == LL_PENDING);
    t_gate_entered(gate, 1);
    ll_engine_abandon(t->engine); /* waits for nothing: the gate is closed */
    t->engine = NULL;
    T_CHECK(called == 0);
    t_gate_open(gate);
    while (!ll_request_is_done(kept)) /* ends by itself */
        sched_yield();
    t_is(kept, LL_OK, LL_APPLIED);
    T_CHECK(called == 0);
    ll_request_unref(kept);
    ll_conn_unref(conn);
    while (ll_live_objects() > t->live_before) /* and takes everything with it */
        sched_yield();
    T_CHECK(called == 0);
    T_CHECK(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t WHERE x = 3") == 1);
}

static void abandon_an_idle_engine(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    ll_engine_abandon(t->engine);
    t->engine = NULL;
    ll_conn_unref(conn);
    while (ll_live_objects() > t->live_before)
        sched_yield();
    t_file_sql(t_path(t, "a.db"), "BEGIN EXCLUSIVE; COMMIT");
}

/* ---- several engines ---- */

static void engines_that_share_workers(void **state)
{
    t_env *t = *state;
    ll_engine *second = NULL, *stranger = NULL;
    T_CHECK(ll_engine_new(&(ll_engine_options){.workers_of = t->engine}, &second) == LL_OK);
    T_CHECK(ll_engine_new(NULL, &stranger) == LL_OK);
    T_CHECK(ll_engine_fd(second) != ll_engine_fd(t->engine));
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    t_told call;
    t_gate *gate = hold(t, conn, &call); /* calls back on the first */
    t_told told = {0};
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &told, .engine = second},
                    NULL) == LL_PENDING);
    T_CHECK(ll_engine_outstanding(second) == 1 && ll_engine_outstanding(t->engine) == 1);
    T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &told, .engine = stranger},
                    NULL) == LL_EINVAL);
    T_CHECK(strstr(ll_last_error(), "engine") != NULL);
    t_gate_open(gate);
    until_readable(second);
    T_CHECK(told.calls == 0);
    t_until(t->engine, &call.calls, 1);
    T_CHECK(dispatch(t->engine) == 0 && told.calls == 0); /* not the first one's business */
    T_CHECK(dispatch(second) == 1 && told.calls == 1 && told.status == LL_OK);
    ll_request *request = NULL;
    T_CHECK(t_end(ll_exec(conn, "INSERT INTO t VALUES(2)", NULL, 0, &(ll_submit){.engine = second},
                          &request),
                  request) == LL_OK);
    ll_request_unref(request);
    T_CHECK(t_stats(t->engine).threads == t_stats(second).threads);
    T_CHECK(t_stats(stranger).threads_started == 0);
    ll_engine_free(stranger);
    /* the first one goes: workers and connection live on for the second */
    ll_engine_free(t->engine);
    t->engine = NULL;
    request = NULL;
    T_CHECK(t_end(ll_exec(conn, "INSERT INTO t VALUES(3)", NULL, 0, &(ll_submit){.engine = second},
                          &request),
                  request) == LL_OK);
    ll_request_unref(request);
    request = NULL;
    T_CHECK(t_end(ll_conn_close(conn, &(ll_submit){.engine = second}, &request), request) == LL_OK);
    ll_request_unref(request);
    ll_conn_unref(conn);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT sum(x) FROM t"), 6);
    ll_engine_free(second);
}

static void a_second_engine_of_a_second_one(void **state)
{
    t_env *t = *state;
    ll_engine *second = NULL, *third = NULL;
    T_CHECK(ll_engine_new(&(ll_engine_options){.workers_of = t->engine}, &second) == LL_OK);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_CHECK(ll_engine_new(&(ll_engine_options){.workers_of = second}, &third) == LL_OK);
    ll_conn *conn = t_open_with(third, t_path(t, "a.db"), NULL);
    ll_request *request = NULL;
    T_CHECK(
        t_end(ll_exec(conn, "CREATE TABLE t(x)", NULL, 0, &(ll_submit){.engine = second}, &request),
              request) == LL_OK);
    ll_request_unref(request);
    t_close(conn);
    ll_engine_free(second);
    ll_engine_free(third);
}

/* ---- threads ---- */

static void no_more_workers_than_allowed(void **state)
{
    enum {
        WORKERS = 3,
        CONNECTIONS = 12
    };
    t_env *t = *state;
    t_engine(t, &(ll_engine_options){.max_workers = WORKERS});
    ll_conn *conns[CONNECTIONS];
    t_gate *gate = t_gate_new(t);
    size_t done = 0;
    for (size_t i = 0; i < CONNECTIONS; i++)
        conns[i] = t_open_with(t->engine, ":memory:", NULL);
    for (size_t i = 0; i < CONNECTIONS; i++)
        T_CHECK(ll_conn_call(conns[i], t_gate_call, gate,
                             &(ll_submit){.done = t_count, .user = &done}, NULL) == LL_PENDING);
    t_gate_entered(gate, WORKERS); /* so many run beside each other */
    T_CHECK(t_stats(t->engine).threads == WORKERS);
    T_CHECK(t_gate_times(gate) == WORKERS);
    t_gate_open(gate);
    t_until(t->engine, &done, CONNECTIONS);
    T_CHECK(t_gate_times(gate) == CONNECTIONS);
    T_CHECK(t_stats(t->engine).threads_peak == WORKERS);
    for (size_t i = 0; i < CONNECTIONS; i++)
        t_close(conns[i]);
}

static void threads_leave_and_come_back(void **state)
{
    t_env *t = *state;
    t_engine(t, &(ll_engine_options){.linger_ns = T_MS});
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    for (int i = 0; i < 3; i++) {
        while (t_stats(t->engine).threads != 0)
            t_turn(t->engine);
        T_CHECK(t_stats(t->engine).threads_idle == 0);
        t_exec(conn, "INSERT INTO t VALUES(1)");
        T_CHECK(t_stats(t->engine).threads_started >= (uint64_t)i + 2);
    }
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 3);
    t_close(conn);
}

static void the_numbers(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    ll_request_unref(t_exec_fails(conn, "SELEC", LL_ESQL));
    t_told call;
    t_gate *gate = hold(t, conn, &call);
    ll_request *cancelled = NULL;
    t_told late = {0};
    T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0, NULL, &cancelled) == LL_PENDING);
    T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &late, .timeout_ns = 1},
                    NULL) == LL_PENDING);
    T_CHECK(ll_request_cancel(cancelled) == LL_OK);
    T_CHECK(ll_request_wait(cancelled) == LL_ECANCELLED);
    t_until(t->engine, &late.calls, 1);
    ll_stats stats = t_stats(t->engine);
    T_CHECK(stats.submitted == 6); /* open, create, the wrong one, the call, two more */
    T_CHECK(stats.completed == 5 && ll_engine_outstanding(t->engine) == 1);
    T_CHECK(stats.failed == 1 && stats.cancelled == 1 && stats.timed_out == 1);
    T_CHECK(stats.connections == 1 && stats.threads >= 1 && stats.threads_peak >= stats.threads);
    T_CHECK(stats.threads_started >= stats.threads_peak && stats.threads >= stats.threads_idle);
    T_CHECK(stats.dispatches >= 1 && stats.wakeups >= 1 && stats.hops >= 1);
    T_CHECK(stats.worker_runs + stats.immediate >= 3);
    t_gate_open(gate);
    t_until(t->engine, &call.calls, 1);
    stats = t_stats(t->engine);
    T_CHECK(stats.completed == stats.submitted);
    ll_request_unref(cancelled);
    t_close(conn);
}

static void live_objects_are_counted(void **state)
{
    t_env *t = *state;
    size_t base = ll_live_objects();
    T_CHECK(base == t->live_before + 1); /* the engine */
    ll_conn *conn = t_open(t, "a.db");
    T_CHECK(ll_live_objects() > base);
    size_t idle = ll_live_objects();
    ll_request *request = t_query(conn, "SELECT 1 AS x");
    T_CHECK(ll_live_objects() > idle);
    ll_request_unref(request);
    t_close(conn);
    while (ll_live_objects() > base) /* a worker may be letting go still */
        sched_yield();
    T_CHECK(ll_live_objects() == base);
}

#ifdef __linux__
static size_t mappings(void)
{
    FILE *file = fopen("/proc/self/maps", "r");
    T_CHECK(file != NULL);
    size_t count = 0;
    for (int c; (c = fgetc(file)) != EOF;)
        count += c == '\n';
    fclose(file);
    return count;
}

/* One thread comes, does something and leaves. */
static void come_and_leave(t_env *t, ll_conn *conn)
{
    T_EQUAL(t_int(conn, "PRAGMA user_version"), 0);
    while (t_stats(t->engine).threads != 0)
        t_turn(t->engine);
}

/* A thread that nobody joins keeps its stack: two mappings, with the guard page. */
static void threads_that_left_leave_no_stacks(void **state)
{
    enum {
        TIMES = 150
    };
    t_env *t = *state;
    t_engine(t, &(ll_engine_options){.linger_ns = 1});
    ll_conn *conn = t_open(t, "a.db");
    for (int i = 0; i < 5; i++)
        come_and_leave(t, conn);
    size_t before = mappings();
    for (int i = 0; i < TIMES; i++)
        come_and_leave(t, conn);
    T_CHECK(t_stats(t->engine).threads_started >= TIMES);
    size_t after = mappings();
    if (after > before + TIMES / 2)
        t_fail(__FILE__, __LINE__, "%zu mappings have become %zu", before, after);
    t_close(conn);
}
#else
static void threads_that_left_leave_no_stacks(void **state)
{
    (void)state;
    skip(); /* the mappings cannot be counted */
}
#endif

static pthread_key_t last_words;

static int has_last_words(sqlite3 *db, void *gate)
{
    (void)db;
    return pthread_setspecific(last_words, gate) == 0 ? SQLITE_OK : SQLITE_NOMEM;
}

static void speak(void *gate)
{
    (void)t_gate_call(NULL, gate);
}

/* A thread that has left may wait in its destructors for something that the loop has, as a language's lock. */
static void new_engine_waits_for_no_thread_that_left(void **state)
{
    t_env *t = *state;
    t_engine(t, &(ll_engine_options){.linger_ns = 1});
    T_CHECK(pthread_key_create(&last_words, speak) == 0);
    t_gate *gate = t_gate_new(t);
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_call(conn, has_last_words, gate, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
    t_gate_entered(gate, 1);
    while (t_stats(t->engine).threads != 0)
        t_turn(t->engine);
    ll_engine *other = NULL;
    T_CHECK(ll_engine_new(&(ll_engine_options){.workers_of = t->engine}, &other) == LL_OK);
    t_gate_open(gate);
    ll_engine_free(other);
    t_close(conn);
    t_engine(t, NULL); /* the threads are gone with the engine */
    pthread_key_delete(last_words);
}

static void frees_the_engine(ll_request *request, void *user)
{
    ll_engine *engine = *(ll_engine **)user;
    ll_engine_free(engine);
    T_CHECK(strstr(ll_last_error(), "inside a callback") != NULL);
    T_CHECK(ll_request_is_done(request));
    *(ll_engine **)user = NULL;
}

static void freeing_inside_a_callback_is_refused(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_engine *seen = t->engine;
    ll_request *request = NULL;
    t_told told = {0};
    T_CHECK(
        ll_exec(conn, "SELECT 1", NULL, 0,
                &(ll_submit){.done = frees_the_engine, .user = &seen, .flags = LL_SUBMIT_NO_INLINE},
                &request) == LL_PENDING);
    T_CHECK(ll_exec(conn, "SELECT 2", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &told, .flags = LL_SUBMIT_NO_INLINE},
                    NULL) == LL_PENDING);
    T_CHECK(ll_request_wait(request) == LL_OK);
    ll_request_unref(request);
    T_CHECK(seen == NULL); /* it was called */
    t_until(t->engine, &told.calls, 1);
    T_CHECK(told.status == LL_OK); /* nothing was stopped */
    T_EQUAL(t_int(conn, "SELECT 5"), 5);
    t_close(conn);
}

/* In a child, which may ruin its limits: no descriptor can be polled. */
static int wait_without_descriptors(void *arg)
{
    ll_engine *engine = NULL;
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    struct rlimit limit;
    size_t count = 1;
    T_CHILD(ll_engine_new(NULL, &engine) == LL_OK);
    T_CHILD(ll_conn_open(engine, arg, NULL, NULL, &conn, &request) == LL_PENDING);
    T_CHILD(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    T_CHILD(setrlimit(RLIMIT_NOFILE, &none) == 0);
    /* valgrind keeps this limit for itself; a_descriptor_that_was_closed() asks the same question there */
    struct pollfd any = {.fd = ll_engine_fd(engine), .events = POLLIN};
    if (poll(&any, 1, 0) < 0) {
        T_CHILD(ll_engine_wait(engine, -1, &count) == LL_ESYS && count == 0);
        T_CHILD(strstr(ll_last_error(), "polled") != NULL);
        T_CHILD(ll_request_wait(request) == LL_ESYS || ll_request_is_done(request));
    }
    T_CHILD(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    T_CHILD(ll_request_wait(request) < LL_PENDING); /* it can be polled again */
    ll_request_unref(request);
    ll_conn_unref(conn);
    ll_engine_free(engine);
    return 0;
}

static void a_descriptor_that_cannot_be_polled(void **state)
{
    t_env *t = *state;
    union {
        const char *text;
        void *arg;
    } path = {.text = t_path(t, "a.db")};
    t_in_child(wait_without_descriptors, path.arg);
}

/* In a child: somebody has closed the number of the descriptor, and nobody opens a file who would get the same. */
static int wait_on_a_closed_descriptor(void *arg)
{
    t_env *t = arg;
    ll_engine *engine = NULL;
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHILD(ll_engine_new(NULL, &engine) == LL_OK);
    T_CHILD(ll_conn_open(engine, t_path(t, "a.db"), NULL, NULL, &conn, &request) == LL_PENDING);
    T_CHILD(ll_request_wait(request) == LL_OK);
    ll_request_unref(request);
    t_gate *gate = t_gate_new(t);
    T_CHILD(ll_conn_call(conn, t_gate_call, gate, NULL, &request) == LL_PENDING);
    t_gate_entered(gate, 1);
    T_CHILD(close(ll_engine_fd(engine)) == 0);
    T_CHILD(ll_engine_wait(engine, -1, NULL) == LL_ESYS);
    return 0;
}

static void a_descriptor_that_was_closed(void **state)
{
    t_in_child(wait_on_a_closed_descriptor, *state);
}

/* A running write and the commit behind it are what the user asked for: they happen. */
static void abandon_lets_writes_and_commits_end(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_exec(conn, "CREATE TABLE t(x)");
    t_gate_install(gate, conn);
    t_exec(conn, "BEGIN");
    ll_request *write = NULL, *dropped = NULL, *commit = NULL;
    /* the gate first, then long enough to look whether it was stopped */
    T_CHECK(ll_exec(conn,
                    "INSERT INTO t SELECT x FROM (" T_ENDLESS
                    "SELECT CASE x WHEN 1 THEN gate(x) ELSE x END AS x FROM c LIMIT 5000)",
                    NULL, 0, NULL, &write) == LL_PENDING);
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(-1)", NULL, 0, NULL, &dropped) == LL_PENDING);
    T_CHECK(ll_txn_commit(conn, NULL, &commit) == LL_PENDING);
    t_gate_entered(gate, 1);
    ll_engine_abandon(t->engine);
    t->engine = NULL;
    t_gate_open(gate);
    while (!ll_request_is_done(commit))
        sched_yield();
    t_is(write, LL_OK, LL_APPLIED);
    t_is(dropped, LL_ECANCELLED, LL_NOT_APPLIED);
    t_is(commit, LL_OK, LL_APPLIED);
    ll_request_unref(write);
    ll_request_unref(dropped);
    ll_request_unref(commit);
    ll_conn_unref(conn);
    while (ll_live_objects() > t->live_before)
        sched_yield();
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(a_new_engine_is_quiet),
        T_TEST(readable_when_there_is_something),
        T_TEST(readable_when_a_deadline_has_passed),
        T_TEST(readable_when_something_was_cancelled),
        T_TEST(dispatching_inside_a_callback_is_refused),
        T_TEST(callbacks_submit_and_close),
        T_TEST(waiting_has_an_end),
        T_TEST(free_with_work_in_flight),
        T_TEST(what_waits_is_never_begun_by_the_end),
        T_TEST(handles_stay_valid_after_free),
        T_TEST(abandon_calls_nobody_back),
        T_TEST(abandon_an_idle_engine),
        T_TEST(engines_that_share_workers),
        T_TEST(a_second_engine_of_a_second_one),
        T_TEST(no_more_workers_than_allowed),
        T_TEST(threads_leave_and_come_back),
        T_TEST(the_numbers),
        T_TEST(live_objects_are_counted),
        T_TEST(threads_that_left_leave_no_stacks),
        T_TEST(new_engine_waits_for_no_thread_that_left),
        T_TEST(freeing_inside_a_callback_is_refused),
        T_TEST(a_descriptor_that_cannot_be_polled),
        T_TEST(abandon_lets_writes_and_commits_end),
        T_TEST(a_descriptor_that_was_closed),
    };
    return T_RUN(tests);
}
