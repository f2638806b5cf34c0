/* Cancelling: before a request begins, while it runs, while it waits for a lock and after it ended; and
 * that what the request says of itself is true, by looking into the file. */
#include "support/support.h"

#include <pthread.h>

/* A connection that is busy with a call until its gate opens. */
struct busy {
    ll_conn *conn;
    t_gate *gate;
    t_told call;
};

static void make_busy(t_env *t, struct busy *busy)
{
    memset(busy, 0, sizeof *busy);
    busy->conn = t_open(t, "a.db");
    busy->gate = t_gate_new(t);
    t_exec(busy->conn, "CREATE TABLE t(x)");
    t_gate_install(busy->gate, busy->conn);
    T_CHECK(ll_conn_call(busy->conn, t_gate_call, busy->gate,
                         &(ll_submit){.done = t_tell, .user = &busy->call}, NULL) == LL_PENDING);
    t_gate_entered(busy->gate, 1);
}

static int64_t rows(ll_conn *conn)
{
    return t_int(conn, "SELECT count(*) FROM t");
}

static void before_it_begins(void **state)
{
    t_env *t = *state;
    struct busy busy;
    make_busy(t, &busy);
    t_told told = {0};
    ll_request *request = NULL;
    T_CHECK(ll_exec(busy.conn, "INSERT INTO t VALUES(1)", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &told}, &request) == LL_PENDING);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    T_CHECK(told.calls == 0); /* never from inside */
    T_CHECK(ll_request_cancel(request) == LL_OK);
    t_until(t->engine, &told.calls, 1); /* although the connection is busy */
    t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
    T_CHECK(busy.call.calls == 0);
    t_gate_open(busy.gate);
    t_until(t->engine, &busy.call.calls, 1);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
    T_CHECK(told.calls == 1);
    T_EQUAL(rows(busy.conn), 0);
    T_CHECK(t_stats(t->engine).cancelled == 1);
    ll_request_unref(request);
    t_close(busy.conn);
}

static void only_the_one_that_was_meant(void **state)
{
    t_env *t = *state;
    struct busy busy;
    make_busy(t, &busy);
    ll_request *list[9] = {NULL};
    for (int64_t i = 0; i < 9; i++) {
        ll_value value = ll_integer(i);
        T_CHECK(ll_exec(busy.conn, "INSERT INTO t VALUES(?)", &value, 1, NULL, &list[i]) ==
                LL_PENDING);
    }
    for (size_t i = 0; i < 9; i += 2)
        T_CHECK(ll_request_cancel(list[i]) == LL_OK);
    t_gate_open(busy.gate);
    for (size_t i = 0; i < 9; i++) {
        T_CHECK(ll_request_wait(list[i]) == (i % 2 ? LL_OK : LL_ECANCELLED));
        t_is(list[i], i % 2 ? LL_OK : LL_ECANCELLED, i % 2 ? LL_APPLIED : LL_NOT_APPLIED);
        ll_request_unref(list[i]);
    }
    T_EQUAL(t_int(busy.conn, "SELECT group_concat(x, '') + 0 FROM t"), 1357);
    t_close(busy.conn);
}

static void a_running_read_is_interrupted(void **state)
{
    t_env *t = *state;
    struct busy busy;
    make_busy(t, &busy);
    t_gate_open(busy.gate);
    ll_request *request = NULL;
    size_t before = t_gate_times(busy.gate);
    T_CHECK(ll_query(busy.conn, T_ENDLESS "SELECT count(seen(x)) FROM c", NULL, 0, NULL,
                     &request) == LL_PENDING);
    t_gate_entered(busy.gate, before + 100);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    T_CHECK(ll_request_wait(request) == LL_ECANCELLED);
    t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
    T_CHECK(!ll_request_take_batch(request));
    ll_request_unref(request);
    t_exec(busy.conn, "INSERT INTO t VALUES(1)"); /* the connection is healthy */
    T_EQUAL(rows(busy.conn), 1);
    t_close(busy.conn);
}

static void a_read_inside_a_transaction(void **state)
{
    t_env *t = *state;
    struct busy busy;
    make_busy(t, &busy);
    t_gate_open(busy.gate);
    t_exec(busy.conn, "BEGIN");
    t_exec(busy.conn, "INSERT INTO t VALUES(1)");
    ll_request *request = NULL;
    size_t before = t_gate_times(busy.gate);
    T_CHECK(ll_query(busy.conn, T_ENDLESS "SELECT count(seen(x)) FROM c", NULL, 0, NULL,
                     &request) == LL_PENDING);
    t_gate_entered(busy.gate, before + 1);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    T_CHECK(ll_request_wait(request) == LL_ECANCELLED);
    ll_request_unref(request);
    T_CHECK(t_state(busy.conn).in_transaction); /* cancelling a read does not end it */
    t_exec(busy.conn, "COMMIT");
    t_close(busy.conn);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), 1);
}

static void a_running_write_ends_by_itself(void **state)
{
    t_env *t = *state;
    struct busy busy;
    make_busy(t, &busy);
    t_gate_let(busy.gate, 1);
    ll_request *request = NULL;
    T_CHECK(ll_exec(busy.conn, "INSERT INTO t SELECT gate(5) UNION ALL SELECT 6", NULL, 0, NULL,
                    &request) == LL_PENDING);
    t_gate_entered(busy.gate, 2);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    T_CHECK(!ll_request_is_done(request));
    t_gate_open(busy.gate);
    T_CHECK(ll_request_wait(request) == LL_OK);
    t_is(request, LL_OK, LL_APPLIED);
    T_CHECK(ll_request_changes(request) == 2);
    ll_request_unref(request);
    t_close(busy.conn);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT sum(x) FROM t"), 11);
}

static void a_running_write_that_may_be_interrupted(void **state)
{
    t_env *t = *state;
    struct busy busy;
    make_busy(t, &busy);
    t_gate_open(busy.gate);
    ll_request *request = NULL;
    size_t before = t_gate_times(busy.gate);
    T_CHECK(ll_exec(busy.conn, "INSERT INTO t " T_ENDLESS "SELECT seen(x) FROM c", NULL, 0,
                    &(ll_submit){.flags = LL_SUBMIT_INTERRUPT}, &request) == LL_PENDING);
    t_gate_entered(busy.gate, before + 100);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    T_CHECK(ll_request_wait(request) == LL_ECANCELLED);
    t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
    ll_request_unref(request);
    T_EQUAL(rows(busy.conn), 0);
    t_exec(busy.conn, "INSERT INTO t VALUES(1)");
    t_close(busy.conn);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), 1);
}

static void an_interrupted_write_inside_a_transaction(void **state)
{
    t_env *t = *state;
    struct busy busy;
    make_busy(t, &busy);
    t_gate_open(busy.gate);
    t_exec(busy.conn, "BEGIN IMMEDIATE");
    t_exec(busy.conn, "INSERT INTO t VALUES(1)");
    ll_request *request = NULL;
    size_t before = t_gate_times(busy.gate);
    T_CHECK(ll_exec(busy.conn, "INSERT INTO t " T_ENDLESS "SELECT seen(x) FROM c", NULL, 0,
                    &(ll_submit){.flags = LL_SUBMIT_INTERRUPT}, &request) == LL_PENDING);
    t_gate_entered(busy.gate, before + 1);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    T_CHECK(ll_request_wait(request) == LL_ECANCELLED);
    t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
    ll_request_unref(request);
    /* SQLite may have rolled the whole transaction back; the state says which */
    bool open = t_state(busy.conn).in_transaction;
    T_EQUAL(rows(busy.conn), open ? 1 : 0);
    if (open)
        t_exec(busy.conn, "COMMIT");
    t_close(busy.conn);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), open ? 1 : 0);
}

static void a_shielded_one_runs(void **state)
{
    t_env *t = *state;
    struct busy busy;
    make_busy(t, &busy);
    ll_request *queued = NULL, *read = NULL;
    ll_submit how = {.flags = LL_SUBMIT_SHIELD};
    T_CHECK(ll_exec(busy.conn, "INSERT INTO t VALUES(1)", NULL, 0, &how, &queued) == LL_PENDING);
    T_CHECK(ll_query(busy.conn, "SELECT gate(7)", NULL, 0, &how, &read) == LL_PENDING);
    T_CHECK(ll_request_cancel(queued) == LL_OK);
    t_gate_let(busy.gate, 1);
    t_gate_entered(busy.gate, 2);
    T_CHECK(ll_request_cancel(read) == LL_OK);
    t_gate_open(busy.gate);
    T_CHECK(ll_request_wait(queued) == LL_OK);
    T_CHECK(ll_request_wait(read) == LL_OK);
    t_is(queued, LL_OK, LL_APPLIED);
    t_is(read, LL_OK, LL_APPLIED);
    ll_request_unref(queued);
    ll_request_unref(read);
    T_EQUAL(rows(busy.conn), 1);
    t_close(busy.conn);
}

static void after_it_ended(void **state)
{
    t_env *t = *state;
    struct busy busy;
    make_busy(t, &busy);
    t_gate_open(busy.gate);
    ll_request *request = NULL;
    T_CHECK(t_end(ll_exec(busy.conn, "INSERT INTO t VALUES(1)", NULL, 0, NULL, &request),
                  request) == LL_OK);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    T_EQUAL(rows(busy.conn), 1);
    T_EQUAL(t_stats(t->engine).cancelled, 0);
    t_close(busy.conn);
}

static void parked_on_a_lock(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    t_exec(conn, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    t_raw(other, "BEGIN EXCLUSIVE");
    ll_request *request = NULL, *behind = NULL;
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0, NULL, &request) == LL_PENDING);
    T_CHECK(ll_query(conn, "SELECT 5", NULL, 0, NULL, &behind) == LL_PENDING);
    while (t_stats(t->engine).parks == 0)
        t_turn(t->engine);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    T_CHECK(ll_request_wait(request) == LL_ECANCELLED); /* the lock is still held */
    t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
    T_CHECK(ll_request_wait(behind) == LL_OK); /* it needs no lock and goes on */
    t_raw(other, "COMMIT");
    ll_request_unref(request);
    ll_request_unref(behind);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_raw_close(other);
    t_close(conn);
}

static void begin_parked_on_a_lock(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    t_exec(conn, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    t_raw(other, "BEGIN IMMEDIATE");
    ll_request *request = NULL;
    T_CHECK(ll_txn_begin(conn, LL_BEGIN_IMMEDIATE, NULL, &request) == LL_PENDING);
    while (t_stats(t->engine).parks == 0)
        t_turn(t->engine);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    T_CHECK(ll_request_wait(request) == LL_ECANCELLED);
    t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
    T_CHECK(!t_state(conn).in_transaction);
    ll_request_unref(request);
    t_raw(other, "COMMIT");
    t_raw_close(other);
    t_close(conn);
}

static void an_open_that_has_not_begun(void **state)
{
    t_env *t = *state;
    t_engine(t, &(ll_engine_options){.max_workers = 1});
    struct busy busy;
    make_busy(t, &busy); /* the only worker */
    ll_conn *conn = NULL;
    ll_request *open = NULL, *statement = NULL;
    ll_status opened = ll_conn_open(t->engine, t_path(t, "b.db"), NULL, NULL, &conn, &open);
    T_CHECK(opened == LL_PENDING);
    T_CHECK(ll_exec(conn, "CREATE TABLE t(x)", NULL, 0, NULL, &statement) == LL_PENDING);
    T_CHECK(ll_request_cancel(open) == LL_OK);
    T_CHECK(t_end(opened, open) == LL_ECANCELLED);
    t_is(open, LL_ECANCELLED, LL_NOT_APPLIED);
    t_gate_open(busy.gate);
    T_CHECK(ll_request_wait(statement) == LL_ECLOSED);
    t_is(statement, LL_ECLOSED, LL_NOT_APPLIED);
    T_CHECK(!t_state(conn).open);
    ll_request_unref(open);
    ll_request_unref(statement);
    ll_conn_unref(conn);
    t_close(busy.conn);
}

static void commit_and_rollback_are_not_dropped(void **state)
{
    t_env *t = *state;
    struct busy busy;
    make_busy(t, &busy);
    ll_request *list[6] = {NULL};
    T_CHECK(ll_txn_begin(busy.conn, LL_BEGIN_IMMEDIATE, NULL, &list[0]) == LL_PENDING);
    T_CHECK(ll_exec(busy.conn, "INSERT INTO t VALUES(1)", NULL, 0, NULL, &list[1]) == LL_PENDING);
    T_CHECK(ll_txn_commit(busy.conn, NULL, &list[2]) == LL_PENDING);
    T_CHECK(ll_txn_begin(busy.conn, LL_BEGIN_IMMEDIATE, NULL, &list[3]) == LL_PENDING);
    T_CHECK(ll_exec(busy.conn, "INSERT INTO t VALUES(2)", NULL, 0, NULL, &list[4]) == LL_PENDING);
    T_CHECK(ll_txn_rollback(busy.conn, NULL, &list[5]) == LL_PENDING);
    T_CHECK(ll_request_cancel(list[2]) == LL_OK);
    T_CHECK(ll_request_cancel(list[5]) == LL_OK);
    t_gate_open(busy.gate);
    for (size_t i = 0; i < 6; i++) {
        T_CHECK(ll_request_wait(list[i]) == LL_OK);
        t_is(list[i], LL_OK, LL_APPLIED);
        ll_request_unref(list[i]);
    }
    T_CHECK(!t_state(busy.conn).in_transaction);
    t_close(busy.conn);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT sum(x) FROM t"), 1);
}

static void a_script_in_its_middle(void **state)
{
    t_env *t = *state;
    struct busy busy;
    make_busy(t, &busy);
    t_gate_open(busy.gate);
    size_t before = t_gate_times(busy.gate);
    ll_request *request = NULL;
    T_CHECK(ll_script(busy.conn,
                      "INSERT INTO t VALUES(1);"
                      "INSERT INTO t " T_ENDLESS "SELECT seen(x) FROM c; INSERT INTO t VALUES(3);",
                      LL_NUL_TERMINATED, false, &(ll_submit){.flags = LL_SUBMIT_INTERRUPT},
                      &request) == LL_PENDING);
    t_gate_entered(busy.gate, before + 1);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    T_CHECK(ll_request_wait(request) == LL_ECANCELLED);
    t_is(request, LL_ECANCELLED, LL_UNKNOWN); /* its first statement stands */
    T_CHECK(ll_request_progress(request) == 1);
    ll_request_unref(request);
    T_EQUAL(t_int(busy.conn, "SELECT sum(x) FROM t"), 1);
    t_close(busy.conn);
}

/* Cancels from another thread, at random moments, while all of it runs. */
enum {
    CROWD = 400
};

struct crowd {
    ll_request *list[CROWD];
};

static void *cancel_some(void *arg)
{
    struct crowd *crowd = arg;
    for (size_t i = 0; i < CROWD; i++)
        if ((i * 7919) % 3 != 0)
            T_CHECK(ll_request_cancel(crowd->list[CROWD - 1 - i]) == LL_OK);
    return NULL;
}

static void outcomes_are_told_truly(void **state)
{
    t_env *t = *state;
    struct crowd crowd;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "PRAGMA synchronous=OFF");
    t_exec(conn, "CREATE TABLE t(x INTEGER PRIMARY KEY)");
    for (int64_t i = 0; i < CROWD; i++) {
        ll_value value = ll_integer(i);
        ll_submit how = {.flags = i % 2 ? LL_SUBMIT_INTERRUPT : 0};
        T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(?)", &value, 1, &how, &crowd.list[i]) >= 0);
    }
    pthread_t thread;
    T_CHECK(pthread_create(&thread, NULL, cancel_some, &crowd) == 0);
    while (ll_engine_outstanding(t->engine) > 0)
        T_CHECK(ll_engine_wait(t->engine, -1, NULL) == LL_OK);
    T_CHECK(pthread_join(thread, NULL) == 0);
    sqlite3 *db = t_raw_open(t_path(t, "a.db"));
    for (int64_t i = 0; i < CROWD; i++) {
        char sql[64];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM t WHERE x = %lld", (long long)i);
        bool there = t_raw_int(db, sql) == 1;
        ll_status status = ll_request_status(crowd.list[i]);
        T_CHECK(status == LL_OK || status == LL_ECANCELLED);
        t_is(crowd.list[i], status, there ? LL_APPLIED : LL_NOT_APPLIED);
        T_CHECK(there == (status == LL_OK));
        ll_request_unref(crowd.list[i]);
    }
    t_raw_close(db);
    t_close(conn);
}

/* A callback that cancels the next one and gives its own request back. */
static void cancel_next(ll_request *request, void *user)
{
    ll_request **next = user;
    T_CHECK(ll_request_status(request) == LL_OK);
    T_CHECK(ll_request_cancel(*next) == LL_OK);
}

static void from_a_callback(void **state)
{
    t_env *t = *state;
    struct busy busy;
    make_busy(t, &busy);
    ll_request *second = NULL;
    t_told told = {0};
    T_CHECK(ll_exec(busy.conn, "INSERT INTO t VALUES(1)", NULL, 0,
                    &(ll_submit){.done = cancel_next, .user = &second}, NULL) == LL_PENDING);
    T_CHECK(ll_exec(busy.conn, "INSERT INTO t SELECT gate(2)", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &told}, &second) == LL_PENDING);
    t_gate_let(busy.gate, 1);
    t_gate_entered(busy.gate, 2); /* the second one runs, the first has not called back */
    T_CHECK(ll_engine_wait(t->engine, -1, NULL) == LL_OK);
    t_gate_open(busy.gate);
    t_until(t->engine, &told.calls, 1);
    T_CHECK(told.status == LL_OK && told.outcome == LL_APPLIED);
    ll_request_unref(second);
    T_EQUAL(rows(busy.conn), 2);
    t_close(busy.conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(before_it_begins),
        T_TEST(only_the_one_that_was_meant),
        T_TEST(a_running_read_is_interrupted),
        T_TEST(a_read_inside_a_transaction),
        T_TEST(a_running_write_ends_by_itself),
        T_TEST(a_running_write_that_may_be_interrupted),
        T_TEST(an_interrupted_write_inside_a_transaction),
        T_TEST(a_shielded_one_runs),
        T_TEST(after_it_ended),
        T_TEST(parked_on_a_lock),
        T_TEST(begin_parked_on_a_lock),
        T_TEST(an_open_that_has_not_begun),
        T_TEST(commit_and_rollback_are_not_dropped),
        T_TEST(a_script_in_its_middle),
        T_TEST(outcomes_are_told_truly),
        T_TEST(from_a_callback),
    };
    return T_RUN(tests);
}
