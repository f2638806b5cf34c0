/* Transactions on one connection. */
#include "support/support.h"

static ll_status begin(ll_conn *conn, ll_begin mode)
{
    ll_request *request = NULL;
    ll_status status = t_end(ll_txn_begin(conn, mode, NULL, &request), request);
    ll_request_unref(request);
    return status;
}

static ll_status commit(ll_conn *conn)
{
    ll_request *request = NULL;
    ll_status status = t_end(ll_txn_commit(conn, NULL, &request), request);
    ll_request_unref(request);
    return status;
}

static ll_status rollback(ll_conn *conn)
{
    ll_request *request = NULL;
    ll_status status = t_end(ll_txn_rollback(conn, NULL, &request), request);
    ll_request_unref(request);
    return status;
}

static void modes_take_their_locks(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    T_CHECK(begin(conn, LL_BEGIN_DEFERRED) == LL_OK);
    T_CHECK(t_state(conn).in_transaction);
    t_raw(other, "BEGIN IMMEDIATE; COMMIT"); /* no lock yet */
    T_CHECK(rollback(conn) == LL_OK);
    T_CHECK(!t_state(conn).in_transaction);
    T_CHECK(begin(conn, LL_BEGIN_IMMEDIATE) == LL_OK);
    T_CHECK(t_raw_try(other, "BEGIN IMMEDIATE") == SQLITE_BUSY);
    T_CHECK(t_raw_int(other, "SELECT count(*) FROM t") == 0);
    T_CHECK(rollback(conn) == LL_OK);
    T_CHECK(begin(conn, LL_BEGIN_EXCLUSIVE) == LL_OK);
    T_CHECK(t_raw_try(other, "SELECT count(*) FROM t") == SQLITE_BUSY);
    T_CHECK(commit(conn) == LL_OK);
    t_raw(other, "BEGIN EXCLUSIVE; COMMIT");
    t_raw_close(other);
    t_close(conn);
}

static void commit_and_rollback(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    T_CHECK(begin(conn, LL_BEGIN_IMMEDIATE) == LL_OK);
    t_exec(conn, "INSERT INTO t VALUES(1)");
    T_CHECK(commit(conn) == LL_OK);
    T_CHECK(begin(conn, LL_BEGIN_DEFERRED) == LL_OK);
    t_exec(conn, "INSERT INTO t VALUES(2)");
    T_CHECK(rollback(conn) == LL_OK);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT sum(x) FROM t"), 1);
    t_close(conn);
}

static void nothing_open_is_finished_at_once(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = NULL;
    size_t called = 0;
    T_CHECK(t_state(conn).idle);
    T_CHECK(ll_txn_commit(conn, &(ll_submit){.done = t_count, .user = &called}, &request) == LL_OK);
    T_CHECK(ll_request_is_done(request));
    T_CHECK(ll_request_status(request) == LL_OK);
    ll_request_unref(request);
    T_CHECK(ll_txn_rollback(conn, &(ll_submit){.done = t_count, .user = &called}, &request) ==
            LL_OK);
    T_CHECK(ll_request_is_done(request));
    ll_request_unref(request);
    /* with a callback the request need not be given */
    T_CHECK(ll_txn_commit(conn, &(ll_submit){.done = t_count, .user = &called}, NULL) == LL_OK);
    t_exec(conn, "SELECT 1");
    T_CHECK(called == 0); /* the callback is not called for what was finished at once */
    T_CHECK(t_stats(t->engine).immediate >= 3);
    t_close(conn);
}

static void nested_begin(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    T_CHECK(begin(conn, LL_BEGIN_IMMEDIATE) == LL_OK);
    t_exec(conn, "INSERT INTO t VALUES(1)");
    ll_request *request = NULL;
    T_CHECK(t_end(ll_txn_begin(conn, LL_BEGIN_DEFERRED, NULL, &request), request) == LL_ESQL);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    T_SAME_TEXT(ll_request_error(request)->message,
                "cannot start a transaction within a transaction");
    ll_request_unref(request);
    T_CHECK(t_state(conn).in_transaction);
    T_CHECK(commit(conn) == LL_OK);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), 1);
    t_close(conn);
}

static void a_commit_that_is_busy_can_be_tried_again(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.busy_timeout_ns = 5 * T_MS};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    t_exec(conn, "CREATE TABLE t(x)");
    t_exec(conn, "INSERT INTO t VALUES(0), (0)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    sqlite3_stmt *reader = NULL;
    T_CHECK(sqlite3_prepare_v2(other, "SELECT x FROM t", -1, &reader, NULL) == SQLITE_OK);
    T_CHECK(sqlite3_step(reader) == SQLITE_ROW); /* holds SHARED */
    T_CHECK(begin(conn, LL_BEGIN_IMMEDIATE) == LL_OK);
    t_exec(conn, "INSERT INTO t VALUES(1)");
    for (int i = 0; i < 2; i++) {
        ll_request *request = NULL;
        T_CHECK(t_end(ll_txn_commit(conn, NULL, &request), request) == LL_EBUSY);
        t_is(request, LL_EBUSY, LL_NOT_APPLIED);
        T_CHECK((ll_request_error(request)->sqlite_code & 0xff) == SQLITE_BUSY);
        ll_request_unref(request);
        T_CHECK(t_state(conn).in_transaction);
    }
    T_EQUAL(t_int(conn, "SELECT sum(x) FROM t"), 1);
    T_CHECK(sqlite3_finalize(reader) == SQLITE_OK);
    T_CHECK(commit(conn) == LL_OK);
    T_CHECK(!t_state(conn).in_transaction);
    T_CHECK(t_raw_int(other, "SELECT sum(x) FROM t") == 1);
    t_raw_close(other);
    t_close(conn);
}

static void a_commit_waits_for_readers(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    t_exec(conn, "CREATE TABLE t(x)");
    t_exec(conn, "INSERT INTO t VALUES(0), (0)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    sqlite3_stmt *reader = NULL;
    T_CHECK(sqlite3_prepare_v2(other, "SELECT x FROM t", -1, &reader, NULL) == SQLITE_OK);
    T_CHECK(sqlite3_step(reader) == SQLITE_ROW);
    T_CHECK(begin(conn, LL_BEGIN_IMMEDIATE) == LL_OK);
    t_exec(conn, "INSERT INTO t VALUES(1)");
    ll_request *request = NULL;
    T_CHECK(ll_txn_commit(conn, NULL, &request) == LL_PENDING);
    /* it can only be waiting, however long we look */
    for (int i = 0; i < 3; i++)
        T_CHECK(ll_engine_wait(t->engine, (int64_t)T_MS, NULL) == LL_OK);
    T_CHECK(!ll_request_is_done(request));
    T_CHECK(sqlite3_finalize(reader) == SQLITE_OK);
    T_CHECK(ll_request_wait(request) == LL_OK);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    T_CHECK(t_raw_int(other, "SELECT sum(x) FROM t") == 1);
    t_raw_close(other);
    t_close(conn);
}

static void a_deferred_constraint_fails_the_commit(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "PRAGMA foreign_keys=ON");
    t_exec(conn, "CREATE TABLE p(id INTEGER PRIMARY KEY)");
    t_exec(conn, "CREATE TABLE c(p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)");
    T_CHECK(begin(conn, LL_BEGIN_IMMEDIATE) == LL_OK);
    t_exec(conn, "INSERT INTO c VALUES(1)");
    ll_request *request = NULL;
    T_CHECK(t_end(ll_txn_commit(conn, NULL, &request), request) == LL_ESQL);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    T_CHECK(ll_request_error(request)->sqlite_code == SQLITE_CONSTRAINT_FOREIGNKEY);
    ll_request_unref(request);
    T_CHECK(t_state(conn).in_transaction);
    t_exec(conn, "INSERT INTO p VALUES(1)");
    T_CHECK(commit(conn) == LL_OK);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM c"), 1);
    t_close(conn);
}

static void begin_before_a_change(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    static const struct {
        const char *sql;
        bool begins;
    } cases[] = {
        {"INSERT INTO t VALUES(1)", true},  {" /* c */ UPDATE t SET x = 2", true},
        {"DELETE FROM t WHERE 0", true},    {"REPLACE INTO t VALUES(1)", true},
        {"SELECT * FROM t", false},         {"CREATE TABLE IF NOT EXISTS t(x)", false},
        {"PRAGMA user_version = 3", false}, {"", false},
    };
    for (ll_begin mode = LL_BEGIN_DEFERRED; mode <= LL_BEGIN_EXCLUSIVE; mode++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            ll_sql sql = {.text = cases[i].sql, .size = LL_NUL_TERMINATED, .begin_before = mode};
            ll_request *request = NULL;
            T_CHECK(t_end(ll_conn_submit(conn, &sql, NULL, &request), request) == LL_OK);
            ll_request_unref(request);
            if (t_state(conn).in_transaction != cases[i].begins)
                t_fail(__FILE__, __LINE__, "begins or not, wrongly: %s", cases[i].sql);
            T_CHECK(rollback(conn) == LL_OK);
        }
    }
    /* an error of the statement leaves the transaction it began, as sqlite3 of Python does; one of
     * the preparation begins none */
    ll_sql sql = {.text = "INSERT INTO nowhere VALUES(1)",
                  .size = LL_NUL_TERMINATED,
                  .begin_before = LL_BEGIN_IMMEDIATE};
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_submit(conn, &sql, NULL, &request), request) == LL_ESQL);
    ll_request_unref(request);
    T_CHECK(!t_state(conn).in_transaction);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_close(conn);
}

static void savepoints(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    t_exec(conn, "SAVEPOINT outer");
    T_CHECK(t_state(conn).in_transaction);
    t_exec(conn, "INSERT INTO t VALUES(1)");
    t_exec(conn, "SAVEPOINT inner");
    t_exec(conn, "INSERT INTO t VALUES(2)");
    t_exec(conn, "ROLLBACK TO inner");
    t_exec(conn, "RELEASE inner");
    t_exec(conn, "RELEASE outer");
    T_CHECK(!t_state(conn).in_transaction);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT sum(x) FROM t"), 1);
    t_close(conn);
}

static void rollback_with_an_open_stream(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    T_CHECK(begin(conn, LL_BEGIN_IMMEDIATE) == LL_OK);
    t_exec(conn, "INSERT INTO t " T_ENDLESS "SELECT x FROM c LIMIT 10000");
    ll_request *request = NULL;
    T_CHECK(t_end(ll_stream(conn, "SELECT x FROM t", NULL, 0, NULL, &request), request) == LL_OK);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    T_CHECK(rollback(conn) == LL_OK);
    T_CHECK(!t_state(conn).in_transaction);
    ll_cursor_close(cursor);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(modes_take_their_locks),
        T_TEST(commit_and_rollback),
        T_TEST(nothing_open_is_finished_at_once),
        T_TEST(nested_begin),
        T_TEST(a_commit_that_is_busy_can_be_tried_again),
        T_TEST(a_commit_waits_for_readers),
        T_TEST(a_deferred_constraint_fails_the_commit),
        T_TEST(begin_before_a_change),
        T_TEST(savepoints),
        T_TEST(rollback_with_an_open_stream),
    };
    return T_RUN(tests);
}
