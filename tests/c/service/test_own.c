/* The program's own use of an adopted handle: entering it from outside, code that SQLite calls, hooks. */
#include "support/support.h"

#include "engine/conn.h"

#include <pthread.h>
#include <sched.h>

struct adopted {
    sqlite3 *db;
    ll_conn *conn;
};

static struct adopted adopt(t_env *t)
{
    struct adopted made = {.db = t_raw_open(t_path(t, "a.db"))};
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_adopt(t->engine, made.db, NULL, NULL, &made.conn, &request), request) ==
            LL_OK);
    ll_request_unref(request);
    return made;
}

static void done_with(struct adopted *made)
{
    t_close(made->conn);
    t_raw_close(made->db);
}

static void enters_an_idle_connection(void **state)
{
    t_env *t = *state;
    struct adopted made = adopt(t);
    t_exec(made.conn, "CREATE TABLE t(x)");
    sqlite3 *db = NULL;
    T_CHECK(ll_conn_enter(made.conn, &db) == LL_OK);
    T_CHECK(db == made.db);
    t_raw(db, "BEGIN; INSERT INTO t VALUES(1)");
    T_CHECK(t_state(made.conn).in_transaction); /* at once */
    T_EQUAL(t_state(made.conn).total_changes, 1);
    /* What is asked for meanwhile waits. */
    ll_request *request = NULL;
    ll_status status = ll_exec(made.conn, "INSERT INTO t VALUES(2)", NULL, 0, NULL, &request);
    T_CHECK(status == LL_PENDING);
    sqlite3 *again = NULL;
    T_CHECK(ll_conn_enter(made.conn, &again) == LL_OK); /* nested */
    ll_conn_leave(made.conn);
    T_CHECK(!ll_request_is_done(request));
    ll_conn_leave(made.conn);
    T_CHECK(t_end(status, request) == LL_OK);
    ll_request_unref(request);
    T_CHECK(t_state(made.conn).in_transaction);
    t_exec(made.conn, "COMMIT");
    T_EQUAL(t_int(made.conn, "SELECT sum(x) FROM t"), 3);
    done_with(&made);
}

static void refuses_what_cannot_be_entered(void **state)
{
    t_env *t = *state;
    struct adopted made = adopt(t);
    sqlite3 *db = NULL;
    ll_conn *ours = t_open(t, "ours.db");
    T_CHECK(ll_conn_enter(ours, &db) == LL_EINVAL); /* not adopted */
    T_CHECK(ll_conn_try_enter(ours, &db) == LL_EINVAL);
    t_close(ours);
    T_CHECK(ll_conn_enter(NULL, &db) == LL_EINVAL);
    T_CHECK(ll_conn_enter(made.conn, NULL) == LL_EINVAL);
    ll_conn *kept = ll_conn_ref(made.conn);
    done_with(&made);
    T_CHECK(ll_conn_enter(kept, &db) == LL_ECLOSED);
    T_CHECK(ll_conn_try_enter(kept, &db) == LL_ECLOSED);
    ll_conn_unref(kept);
}

static void tries_while_a_worker_has_it(void **state)
{
    t_env *t = *state;
    struct adopted made = adopt(t);
    t_gate *gate = t_gate_new(t);
    ll_request *request = NULL;
    ll_status status = ll_conn_call(made.conn, t_gate_call, gate, NULL, &request);
    T_CHECK(status == LL_PENDING);
    t_gate_entered(gate, 1);
    sqlite3 *db = NULL;
    T_CHECK(ll_conn_try_enter(made.conn, &db) == LL_EBUSY);
    t_gate_open(gate);
    T_CHECK(t_end(status, request) == LL_OK);
    ll_request_unref(request);
    T_CHECK(ll_conn_try_enter(made.conn, &db) == LL_OK);
    ll_conn_leave(made.conn);
    done_with(&made);
}

struct user {
    ll_conn *conn;
    int failed;
};

static void *insert_once(void *arg)
{
    struct user *user = arg;
    sqlite3 *db = NULL;
    if (ll_conn_enter(user->conn, &db) != LL_OK) {
        user->failed++;
        return NULL;
    }
    user->failed += sqlite3_exec(db, "INSERT INTO t VALUES(7)", NULL, NULL, NULL) != SQLITE_OK;
    ll_conn_leave(user->conn);
    return NULL;
}

static bool is_entered(ll_conn *conn)
{
    lli_lock(&conn->mu);
    bool entered = conn->outside > 0;
    lli_unlock(&conn->mu);
    return entered;
}

static void *try_in_vain(void *arg)
{
    struct adopted *made = arg;
    sqlite3 *db = NULL;
    T_CHECK(ll_conn_try_enter(made->conn, &db) == LL_EBUSY);
    T_CHECK(!t_state(made->conn).in_transaction); /* as noted: it does not wait for a look */
    return NULL;
}

/* Who was refused has changed nothing for who is inside: the connection comes back. */
static void tries_while_another_thread_is_inside(void **state)
{
    t_env *t = *state;
    struct adopted made = adopt(t);
    sqlite3 *db = NULL;
    pthread_t thread;
    T_CHECK(ll_conn_enter(made.conn, &db) == LL_OK);
    t_raw(db, "BEGIN");
    T_CHECK(pthread_create(&thread, NULL, try_in_vain, &made) == 0);
    pthread_join(thread, NULL);
    ll_conn_leave(made.conn);
    T_CHECK(t_state(made.conn).in_transaction);
    t_raw(made.db, "COMMIT"); /* behind our back */
    T_CHECK(!t_state(made.conn).in_transaction);
    T_EQUAL(t_int(made.conn, "SELECT 5"), 5);
    T_CHECK(t_state(made.conn).idle);
    done_with(&made);
}

/* A request that waits at a gate has no thread: the connection is free for whoever asks. (The one who keeps it waiting
 * may be who asks.) */
static void enters_while_a_request_waits_at_a_gate(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "PRAGMA journal_mode = WAL; CREATE TABLE t(x)");
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *writer = t_open_with(t->engine, t_path(t, "a.db"), &options);
    sqlite3 *raw = NULL, *db = NULL;
    T_CHECK(sqlite3_open_v2(t_path(t, "a.db"), &raw, SQLITE_OPEN_READWRITE, "looplite") ==
            SQLITE_OK);
    struct adopted made = {.db = raw};
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_adopt(t->engine, raw, &options, NULL, &made.conn, &request), request) ==
            LL_OK);
    ll_request_unref(request);
    t_exec(made.conn, "SELECT 1"); /* its gates are known behind the first statement */
    t_exec(writer, "BEGIN IMMEDIATE");
    request = NULL;
    T_CHECK(ll_exec(made.conn, "INSERT INTO t VALUES(1)", NULL, 0, NULL, &request) == LL_PENDING);
    while (t_stats(t->engine).gate_waits == 0)
        t_turn(t->engine);
    for (int i = 0; i < 2; i++) {
        T_CHECK(ll_conn_enter(made.conn, &db) == LL_OK);
        T_EQUAL(t_raw_int(db, "SELECT count(*) FROM t"), 0);
        ll_conn_leave(made.conn);
    }
    T_CHECK(!ll_request_is_done(request));
    t_exec(writer, "COMMIT");
    T_CHECK(t_end(LL_PENDING, request) == LL_OK);
    ll_request_unref(request);
    T_EQUAL(t_int(made.conn, "SELECT count(*) FROM t"), 1);
    t_close(writer);
    done_with(&made);
}

/* An executemany that is all or nothing waits for a lock: what the program does meanwhile is not undone with it. */
static void what_is_done_beside_an_atomic_executemany(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(x UNIQUE)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    struct adopted made = adopt(t);
    t_exec(made.conn, "SELECT 1");
    t_raw(other, "BEGIN IMMEDIATE");
    const ll_value values[] = {ll_integer(1), ll_integer(1)};
    ll_many many = {.text = "INSERT INTO t VALUES(?)",
                    .size = LL_NUL_TERMINATED,
                    .values = values,
                    .rows = 2,
                    .width = 1,
                    .atomic = true};
    ll_request *request = NULL;
    T_CHECK(ll_exec_many(made.conn, &many, NULL, &request) == LL_PENDING);
    while (t_stats(t->engine).parks == 0)
        t_turn(t->engine);
    struct user user = {.conn = made.conn};
    pthread_t thread;
    T_CHECK(pthread_create(&thread, NULL, insert_once, &user) == 0);
    while (!is_entered(made.conn)) /* it waits for the lock, too, or to be let in */
        sched_yield();
    /* whoever asks for the lock holds a shared one for a moment */
    while (t_raw_try(other, "COMMIT") == SQLITE_BUSY)
        sched_yield();
    T_CHECK(t_end(LL_PENDING, request) == LL_ESQL);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    ll_request_unref(request);
    pthread_join(thread, NULL);
    T_EQUAL(user.failed, 0);
    T_EQUAL(t_int(made.conn, "SELECT x FROM t"), 7);
    t_raw_close(other);
    done_with(&made);
}

/* The turn that it has waited for is not kept from others while the program has the connection. */
static void lends_without_its_turn_in_a_shared_cache(void **state)
{
    t_env *t = *state;
    static const char uri[] = "file:lends?mode=memory&cache=shared";
    ll_open_options shared = {.flags = LL_OPEN_URI}, adopts = {.flags = LL_OPEN_SHARED_CACHE};
    ll_conn *first = t_open_with(t->engine, uri, &shared);
    ll_conn *third = t_open_with(t->engine, uri, &shared);
    sqlite3 *db = NULL;
    struct adopted made = {0};
    T_CHECK(sqlite3_open_v2(uri, &made.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, "looplite") ==
            SQLITE_OK);
    ll_request *request = NULL, *waits = NULL;
    T_CHECK(t_end(ll_conn_adopt(t->engine, made.db, &adopts, NULL, &made.conn, &request),
                  request) == LL_OK);
    ll_request_unref(request);
    t_gate *gate = t_gate_new(t);
    t_gate_install(gate, first);
    request = NULL;
    T_CHECK(ll_exec(first, "SELECT gate(1)", NULL, 0, NULL, &request) == LL_PENDING);
    t_gate_entered(gate, 1);
    T_CHECK(ll_exec(made.conn, "SELECT 2", NULL, 0, NULL, &waits) == LL_PENDING);
    while (t_stats(t->engine).cache_waits == 0)
        t_turn(t->engine);
    T_CHECK(ll_conn_enter(made.conn, &db) == LL_OK);
    t_gate_open(gate);
    T_CHECK(t_end(LL_PENDING, request) == LL_OK);
    ll_request_unref(request);
    T_EQUAL(t_int(third, "SELECT 3"), 3);
    T_CHECK(!ll_request_is_done(waits));
    ll_conn_leave(made.conn);
    T_CHECK(t_end(LL_PENDING, waits) == LL_OK);
    ll_request_unref(waits);
    t_close(first);
    t_close(third);
    done_with(&made);
}

enum {
    THREADS = 3,
    ROUNDS = 200
};

static void *use(void *arg)
{
    struct user *user = arg;
    for (int i = 0; i < ROUNDS; i++) {
        sqlite3 *db = NULL;
        if (ll_conn_enter(user->conn, &db) != LL_OK) {
            user->failed++;
            continue;
        }
        /* Nobody comes between the two. */
        user->failed += sqlite3_exec(db, "BEGIN; UPDATE t SET x = x + 1", NULL, NULL, NULL) !=
                        SQLITE_OK;
        user->failed += sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK;
        ll_conn_leave(user->conn);
    }
    return NULL;
}

static void many_threads_beside_requests(void **state)
{
    t_env *t = *state;
    struct adopted made = adopt(t);
    t_exec(made.conn, "PRAGMA journal_mode = WAL");
    t_exec(made.conn, "PRAGMA synchronous = OFF");
    t_exec(made.conn, "CREATE TABLE t(x)");
    t_exec(made.conn, "INSERT INTO t VALUES(0)");
    pthread_t threads[THREADS];
    struct user users[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        users[i].conn = made.conn;
        T_CHECK(pthread_create(&threads[i], NULL, use, &users[i]) == 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        t_exec(made.conn, "UPDATE t SET x = x + 1");
        (void)t_int(made.conn, "SELECT x FROM t");
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        T_EQUAL(users[i].failed, 0);
    }
    T_EQUAL(t_int(made.conn, "SELECT x FROM t"), (THREADS + 1) * ROUNDS);
    done_with(&made);
}

static void *enter_until_closed(void *arg)
{
    struct user *user = arg;
    sqlite3 *db = NULL;
    while (ll_conn_enter(user->conn, &db) == LL_OK) {
        user->failed += sqlite3_exec(db, "SELECT 1", NULL, NULL, NULL) != SQLITE_OK;
        ll_conn_leave(user->conn);
    }
    return NULL;
}

static void closing_waits_for_who_is_inside(void **state)
{
    t_env *t = *state;
    for (int i = 0; i < 20; i++) {
        struct adopted made = adopt(t);
        struct user user = {.conn = ll_conn_ref(made.conn)};
        pthread_t thread;
        T_CHECK(pthread_create(&thread, NULL, enter_until_closed, &user) == 0);
        t_close(made.conn);
        pthread_join(thread, NULL);
        T_EQUAL(user.failed, 0);
        ll_conn_unref(user.conn);
        t_raw_close(made.db);
    }
}

/* ---- code that SQLite calls ---- */

static ll_conn *asked;
static void *seen;

static void who(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    seen = ll_conn_running(asked);
    sqlite3_result_int(context, 1);
}

static int create_who(sqlite3 *db, void *arg)
{
    return sqlite3_create_function(db, "who", 0, SQLITE_UTF8, arg, who, NULL, NULL);
}

static void knows_the_request_that_runs(void **state)
{
    t_env *t = *state;
    struct adopted made = adopt(t);
    ll_request *request = NULL;
    asked = made.conn;
    T_CHECK(t_end(ll_conn_call(made.conn, create_who, NULL, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
    int mark;
    request = NULL;
    ll_submit how = {.user = &mark};
    T_CHECK(t_end(ll_exec(made.conn, "SELECT who()", NULL, 0, &how, &request), request) == LL_OK);
    ll_request_unref(request);
    T_CHECK(seen == &mark);
    sqlite3 *db = NULL;
    T_CHECK(ll_conn_enter(made.conn, &db) == LL_OK);
    t_raw(db, "SELECT who()");
    T_CHECK(seen == NULL);
    ll_conn_leave(made.conn);
    done_with(&made);
}

static int progress(void *conn)
{
    return ll_conn_must_stop(conn);
}

static int set_progress(sqlite3 *db, void *conn)
{
    sqlite3_progress_handler(db, 100, progress, conn);
    ll_conn_own_code(conn, LL_OWN_PROGRESS, 0);
    return SQLITE_OK;
}

static void a_progress_handler_of_the_programs(void **state)
{
    t_env *t = *state;
    struct adopted made = adopt(t);
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_call(made.conn, set_progress, made.conn, NULL, &request), request) ==
            LL_OK);
    ll_request_unref(request);
    request = NULL;
    ll_status status = ll_exec(
        made.conn,
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
        NULL, 0, NULL, &request);
    T_CHECK(status == LL_PENDING);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    T_CHECK(t_end(status, request) == LL_ECANCELLED);
    ll_request_unref(request);
    t_exec(made.conn, "SELECT 1");
    done_with(&made);
}

static void names(void **state)
{
    (void)state;
    T_EQUAL(ll_own_function("LOWER"), LL_OWN_FUNCTIONS);
    T_EQUAL(ll_own_function("count"), LL_OWN_FUNCTIONS);
    T_EQUAL(ll_own_function("mine"), 0);
    T_EQUAL(ll_own_function(NULL), 0);
    T_EQUAL(ll_own_collation("NoCase"), LL_OWN_COLLATIONS);
    T_EQUAL(ll_own_collation("b"), LL_OWN_COLLATIONS);
    T_EQUAL(ll_own_collation("NOCASE,B"), LL_OWN_COLLATIONS);
    T_EQUAL(ll_own_collation("mine"), 0);
    T_EQUAL(ll_own_collation(NULL), 0);
    T_EQUAL(ll_refuses_own_code(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(enters_an_idle_connection),
        T_TEST(refuses_what_cannot_be_entered),
        T_TEST(tries_while_a_worker_has_it),
        T_TEST(many_threads_beside_requests),
        T_TEST(tries_while_another_thread_is_inside),
        T_TEST(enters_while_a_request_waits_at_a_gate),
        T_TEST(lends_without_its_turn_in_a_shared_cache),
        T_TEST(what_is_done_beside_an_atomic_executemany),
        T_TEST(closing_waits_for_who_is_inside),
        T_TEST(knows_the_request_that_runs),
        T_TEST(a_progress_handler_of_the_programs),
        T_TEST(names),
    };
    return T_RUN(tests);
}
