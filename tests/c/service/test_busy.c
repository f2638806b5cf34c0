/* Locks held by somebody else: waited for without a thread, taken when they are free, given up after
 * the busy timeout. The locks are held by sqlite3 itself, in this process and in another one. */
#include "support/support.h"

#include <sys/wait.h>
#include <unistd.h>

static void parked_without_a_thread(void **state)
{
    enum {
        CONNECTIONS = 50
    };
    t_env *t = *state;
    t_engine(t, &(ll_engine_options){.max_workers = 1});
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *conns[CONNECTIONS];
    t_told told[CONNECTIONS] = {{0}};
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "CREATE TABLE t(x)");
    for (size_t i = 0; i < CONNECTIONS; i++)
        conns[i] = t_open_with(t->engine, path, &options);
    ll_conn *elsewhere = t_open(t, "b.db");
    sqlite3 *other = t_raw_open(path);
    t_raw(other, "BEGIN EXCLUSIVE");
    for (size_t i = 0; i < CONNECTIONS; i++)
        T_CHECK(ll_exec(conns[i], "INSERT INTO t VALUES(1)", NULL, 0,
                        &(ll_submit){.done = t_tell, .user = &told[i]}, NULL) == LL_PENDING);
    while (t_stats(t->engine).parks < CONNECTIONS)
        t_turn(t->engine);
    /* the only worker there may be is free for others */
    for (int i = 0; i < 20; i++)
        T_EQUAL(t_int(elsewhere, "SELECT 5"), 5);
    T_CHECK(t_stats(t->engine).threads_peak == 1);
    for (size_t i = 0; i < CONNECTIONS; i++)
        T_CHECK(told[i].calls == 0);
    t_raw(other, "COMMIT");
    for (size_t i = 0; i < CONNECTIONS; i++) {
        t_until(t->engine, &told[i].calls, 1);
        T_CHECK(told[i].status == LL_OK && told[i].outcome == LL_APPLIED);
    }
    T_EQUAL(t_raw_int(other, "SELECT count(*) FROM t"), CONNECTIONS);
    t_raw_close(other);
    for (size_t i = 0; i < CONNECTIONS; i++)
        t_close(conns[i]);
    t_close(elsewhere);
}

static void every_kind_of_request_waits(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "CREATE TABLE t(x); INSERT INTO t VALUES(1)");
    enum {
        KINDS = 7
    };
    ll_conn *conns[KINDS];
    ll_request *list[KINDS] = {NULL};
    for (size_t i = 0; i < KINDS; i++) {
        conns[i] = t_open_with(t->engine, path, &options);
        T_EQUAL(t_int(conns[i], "SELECT count(*) FROM t"), 1);
    }
    sqlite3 *other = t_raw_open(path);
    t_raw(other, "BEGIN EXCLUSIVE");
    const ll_value values[] = {ll_integer(2), ll_integer(3)};
    ll_many many = {.text = "INSERT INTO t VALUES(?)",
                    .size = LL_NUL_TERMINATED,
                    .values = values,
                    .rows = 2,
                    .width = 1,
                    .atomic = true};
    T_CHECK(ll_exec(conns[0], "INSERT INTO t VALUES(4)", NULL, 0, NULL, &list[0]) == LL_PENDING);
    T_CHECK(ll_query(conns[1], "SELECT x FROM t", NULL, 0, NULL, &list[1]) == LL_PENDING);
    T_CHECK(ll_stream(conns[2], "SELECT x FROM t", NULL, 0, NULL, &list[2]) == LL_PENDING);
    T_CHECK(ll_exec_many(conns[3], &many, NULL, &list[3]) == LL_PENDING);
    T_CHECK(ll_script(conns[4], "INSERT INTO t VALUES(5); INSERT INTO t VALUES(6)",
                      LL_NUL_TERMINATED, false, NULL, &list[4]) == LL_PENDING);
    T_CHECK(ll_txn_begin(conns[5], LL_BEGIN_DEFERRED, NULL, &list[5]) >= 0);
    const char *update = t_has(T_HAS_RETURNING) ? "UPDATE t SET x = x RETURNING x"
                                                : "UPDATE t SET x = x";
    T_CHECK(ll_query(conns[6], update, NULL, 0, NULL, &list[6]) == LL_PENDING);
    while (t_stats(t->engine).parks < 6)
        t_turn(t->engine);
    for (size_t i = 0; i < KINDS; i++)
        T_CHECK(i == 5 || !ll_request_is_done(list[i]));
    t_raw(other, "COMMIT");
    for (size_t i = 0; i < KINDS; i++) {
        if (!ll_request_is_done(list[i]))
            T_CHECK(ll_request_wait(list[i]) == LL_OK);
        t_is(list[i], LL_OK, LL_APPLIED);
        ll_request_unref(list[i]);
    }
    T_EQUAL(t_raw_int(other, "SELECT sum(x) FROM t"), 1 + 2 + 3 + 4 + 5 + 6);
    t_raw_close(other);
    for (size_t i = 0; i < KINDS; i++)
        t_close(conns[i]);
}

static void the_timeout_ends_the_waiting(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.busy_timeout_ns = 5 * T_MS};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    t_exec(conn, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    t_raw(other, "BEGIN EXCLUSIVE");
    static const char *const list[] = {"INSERT INTO t VALUES(1)", "SELECT * FROM t",
                                       "BEGIN IMMEDIATE", "DROP TABLE t"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        ll_request *request = t_exec_fails(conn, list[i], LL_EBUSY);
        t_is(request, LL_EBUSY, LL_NOT_APPLIED);
        T_CHECK(ll_request_error(request)->sqlite_code == SQLITE_BUSY);
        T_SAME_TEXT(ll_request_error(request)->message, "database is locked");
        ll_request_unref(request);
    }
    t_raw(other, "COMMIT");
    t_exec(conn, "INSERT INTO t VALUES(2)");
    T_CHECK(t_raw_int(other, "SELECT sum(x) FROM t") == 2);
    t_raw_close(other);
    t_close(conn);
}

static void no_timeout_means_no_waiting(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.busy_timeout_ns = LL_NO_BUSY_TIMEOUT};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    t_exec(conn, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    t_raw(other, "BEGIN EXCLUSIVE");
    ll_request *request = t_exec_fails(conn, "INSERT INTO t VALUES(1)", LL_EBUSY);
    t_is(request, LL_EBUSY, LL_NOT_APPLIED);
    ll_request_unref(request);
    T_CHECK(t_stats(t->engine).parks == 0);
    t_raw(other, "COMMIT");
    t_raw_close(other);
    t_close(conn);
}

static void a_stale_snapshot_is_told_at_once(void **state)
{
    t_env *t = *state;
    static const char *const pragmas[] = {"journal_mode=WAL", NULL};
    ll_open_options options = {.pragmas = pragmas, .busy_timeout_ns = T_HOUR};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    t_exec(conn, "CREATE TABLE t(x)");
    t_exec(conn, "BEGIN");
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_file_sql(t_path(t, "a.db"), "INSERT INTO t VALUES(1)");
    ll_request *request = NULL;
    ll_status status = t_end(ll_exec(conn, "INSERT INTO t VALUES(2)", NULL, 0, NULL, &request),
                             request); /* waiting could never help */
    T_CHECK(status == LL_EBUSY || status == LL_ESQL);
    T_CHECK(ll_request_error(request)->sqlite_code == SQLITE_BUSY_SNAPSHOT);
    T_CHECK(ll_request_outcome(request) == LL_NOT_APPLIED);
    ll_request_unref(request);
    t_exec(conn, "ROLLBACK");
    t_close(conn);
}

static void two_connections_of_ours(void **state)
{
    enum {
        EACH = 50
    };
    t_env *t = *state;
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *conns[4];
    size_t done = 0, failed = 0;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(who, x)");
    for (size_t i = 0; i < 4; i++) {
        conns[i] = t_open_with(t->engine, t_path(t, "a.db"), &options);
        t_exec(conns[i], "PRAGMA synchronous=OFF");
    }
    for (int64_t k = 0; k < EACH; k++) {
        for (size_t i = 0; i < 4; i++) {
            ll_submit how = {.done = t_count, .user = &done};
            ll_value values[] = {ll_integer((int64_t)i), ll_integer(k)};
            ll_status status[] = {
                ll_txn_begin(conns[i], LL_BEGIN_IMMEDIATE, &how, NULL),
                ll_exec(conns[i], "INSERT INTO t VALUES(?, ?)", values, 2, &how, NULL),
                ll_txn_commit(conns[i], &how, NULL),
            };
            for (size_t s = 0; s < 3; s++) {
                failed += status[s] < 0;
                done += status[s] == LL_OK;
            }
        }
    }
    T_CHECK(failed == 0);
    t_until(t->engine, &done, 4 * 3 * EACH);
    T_CHECK(t_stats(t->engine).failed == 0);
    for (size_t i = 0; i < 4; i++)
        t_close(conns[i]);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), 4 * EACH);
}

/* Another process that takes the lock, says so, and holds it until it is told to let go. */
struct holder {
    const char *path;
    int told[2], asked[2];
};

static int hold(struct holder *holder)
{
    sqlite3 *db = NULL;
    char byte = 0;
    close(holder->told[0]);
    close(holder->asked[1]);
    if (sqlite3_open(holder->path, &db) != SQLITE_OK ||
        sqlite3_exec(db, "BEGIN EXCLUSIVE; INSERT INTO t VALUES(100)", NULL, NULL, NULL))
        return 1;
    if (write(holder->told[1], "x", 1) != 1 || read(holder->asked[0], &byte, 1) != 1)
        return 2;
    if (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) || sqlite3_close(db))
        return 3;
    return 0;
}

static void another_process_holds_the_lock(void **state)
{
    t_env *t = *state;
    struct holder holder = {.path = t_path(t, "a.db")};
    t_file_sql(holder.path, "CREATE TABLE t(x)");
    T_CHECK(pipe(holder.told) == 0 && pipe(holder.asked) == 0);
    fflush(NULL);
    pid_t child = fork(); /* no thread of ours runs yet */
    T_CHECK(child >= 0);
    if (child == 0) {
        t_watchdog();
        _exit(hold(&holder));
    }
    close(holder.told[1]);
    close(holder.asked[0]);
    char byte = 0;
    T_CHECK(read(holder.told[0], &byte, 1) == 1);
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *conn = NULL;
    ll_request *open = NULL, *insert = NULL;
    ll_status opened = ll_conn_open(t->engine, holder.path, &options, NULL, &conn, &open);
    ll_status inserted = ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0, NULL, &insert);
    T_CHECK(inserted == LL_PENDING);
    while (t_stats(t->engine).parks == 0 && !ll_request_is_done(insert))
        t_turn(t->engine);
    if (ll_request_is_done(insert))
        t_fail(__FILE__, __LINE__, "it did not wait: %s: %s, code %d; the open: %s",
               ll_status_name(ll_request_status(insert)), ll_request_error(insert)->message,
               ll_request_error(insert)->sqlite_code, ll_request_error(open)->message);
    T_CHECK(write(holder.asked[1], "x", 1) == 1);
    T_CHECK(t_end(opened, open) == LL_OK);
    T_CHECK(t_end(inserted, insert) == LL_OK);
    t_is(insert, LL_OK, LL_APPLIED);
    int result = 0;
    T_CHECK(waitpid(child, &result, 0) == child);
    T_CHECK(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    close(holder.told[0]);
    close(holder.asked[1]);
    ll_request_unref(open);
    ll_request_unref(insert);
    T_EQUAL(t_int(conn, "SELECT sum(x) FROM t"), 101);
    t_close(conn);
}

static void closing_while_parked(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    t_exec(conn, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    t_raw(other, "BEGIN EXCLUSIVE");
    ll_request *insert = NULL, *closing = NULL;
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0, NULL, &insert) == LL_PENDING);
    while (t_stats(t->engine).parks == 0)
        t_turn(t->engine);
    T_CHECK(ll_conn_close(conn, NULL, &closing) == LL_PENDING);
    t_raw(other, "COMMIT");
    T_CHECK(ll_request_wait(closing) == LL_OK); /* after what was submitted before */
    t_is(insert, LL_OK, LL_APPLIED);
    ll_request_unref(insert);
    ll_request_unref(closing);
    ll_conn_unref(conn);
    T_CHECK(t_raw_int(other, "SELECT count(*) FROM t") == 1);
    t_raw_close(other);
}

static void freeing_the_engine_while_parked(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    t_exec(conn, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    t_raw(other, "BEGIN EXCLUSIVE");
    t_told told = {0};
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0,
                    &(ll_submit){.done = t_tell, .user = &told}, NULL) == LL_PENDING);
    while (t_stats(t->engine).parks == 0)
        t_turn(t->engine);
    ll_engine_free(t->engine); /* does not wait for an hour */
    t->engine = NULL;
    T_CHECK(told.calls == 1 && told.status == LL_ECANCELLED && told.outcome == LL_NOT_APPLIED);
    ll_conn_unref(conn);
    t_raw(other, "COMMIT");
    T_CHECK(t_raw_int(other, "SELECT count(*) FROM t") == 0);
    t_raw_close(other);
}

enum how_set {
    BY_EXEC,
    BY_QUERY,
    BY_SCRIPT,
    BY_OPEN,
    HOWS
};

/* A connection whose busy timeout is set by PRAGMA. */
static ll_conn *open_with_pragma(t_env *t, const char *path, enum how_set how, const char *pragma)
{
    const char *const pragmas[] = {pragma, NULL};
    /* more milliseconds than fit into an int */
    ll_open_options options = {.busy_timeout_ns = 1000 * T_HOUR};
    if (how == BY_OPEN)
        options.pragmas = pragmas;
    ll_conn *conn = t_open_with(t->engine, path, &options);
    const char *text = t_printf(t, "PRAGMA %s", pragma);
    if (how == BY_EXEC)
        t_exec(conn, text);
    if (how == BY_QUERY)
        ll_request_unref(t_query(conn, text));
    if (how == BY_SCRIPT) {
        ll_request *request = NULL;
        text = t_printf(t, "SELECT 1; %s; SELECT 2", text);
        T_CHECK(t_end(ll_script(conn, text, LL_NUL_TERMINATED, false, NULL, &request), request) ==
                LL_OK);
        ll_request_unref(request);
    }
    return conn;
}

static void pragma_busy_timeout_has_effect(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(path);
    for (int how = 0; how < HOWS; how++) {
        ll_conn *conn = open_with_pragma(t, path, (enum how_set)how, "busy_timeout=50");
        T_EQUAL(t_int(conn, "PRAGMA busy_timeout"), 50);
        T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
        t_raw(other, "BEGIN EXCLUSIVE");
        uint64_t parks = t_stats(t->engine).parks;
        ll_request *request = t_exec_fails(conn, "INSERT INTO t VALUES(1)", LL_EBUSY);
        t_is(request, LL_EBUSY, LL_NOT_APPLIED);
        ll_request_unref(request);
        T_CHECK(t_stats(t->engine).parks > parks); /* without a thread, not in SQLite's sleep */
        t_exec(conn, "PRAGMA busy_timeout=0");
        T_EQUAL(t_int(conn, "PRAGMA busy_timeout"), 0);
        parks = t_stats(t->engine).parks;
        ll_request_unref(t_exec_fails(conn, "INSERT INTO t VALUES(1)", LL_EBUSY));
        T_CHECK(t_stats(t->engine).parks == parks);
        t_raw(other, "COMMIT");
        t_close(conn);
    }
    t_raw_close(other);
}

/* To ask for the timeout does not change it, though it may be more than SQLite can say. */
static void pragma_busy_timeout_that_only_asks(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(path);
    for (int how = 0; how < HOWS; how++) {
        ll_conn *conn = open_with_pragma(t, path, (enum how_set)how, "busy_timeout");
        T_CHECK(t_int(conn, "PRAGMA busy_timeout") == INT32_MAX);
        T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), how);
        t_raw(other, "BEGIN EXCLUSIVE");
        uint64_t parks = t_stats(t->engine).parks;
        ll_request *request = NULL;
        T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0, NULL, &request) == LL_PENDING);
        while (t_stats(t->engine).parks == parks && !ll_request_is_done(request))
            t_turn(t->engine);
        t_raw(other, "COMMIT");
        T_CHECK(ll_request_wait(request) == LL_OK);
        ll_request_unref(request);
        t_close(conn);
    }
    t_raw_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(another_process_holds_the_lock),  T_TEST(parked_without_a_thread),
        T_TEST(every_kind_of_request_waits),     T_TEST(the_timeout_ends_the_waiting),
        T_TEST(no_timeout_means_no_waiting),     T_TEST(a_stale_snapshot_is_told_at_once),
        T_TEST(two_connections_of_ours),         T_TEST(closing_while_parked),
        T_TEST(freeing_the_engine_while_parked), T_TEST(pragma_busy_timeout_that_only_asks),
        T_TEST(pragma_busy_timeout_has_effect),
    };
    return T_RUN(tests);
}
