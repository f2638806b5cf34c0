/* What a statement may meet on the loop, or must never bring there: a lock of another process, a busy handler that is
 * not ours, virtual tables, large values, a text that is quick with one parameter and slow with the next, and a worker
 * that stands still inside SQLite's own mutex. The clock is scripted but for the last one, so to the history every
 * statement looks as if it took no time at all: what keeps it off the loop is the rule and not the measurement. */
#include "support/other.h"
#include "world.h"

#include "base/fault.h"

#include <fcntl.h>
#include <pthread.h>

static const char *const wal[] = {"journal_mode=WAL", "synchronous=OFF", NULL};
static const char *const plain[] = {"synchronous=OFF", NULL};
static const char point_read[] = "SELECT x FROM t WHERE id = 7";

static ll_conn *begin(struct world *w, t_env *t, const char *const *pragmas)
{
    world_needs_guarded_files(t);
    world_begin(w, t);
    ll_conn *conn = world_open(w, "a.db", &(ll_open_options){.pragmas = pragmas});
    world_exec(w, conn, "CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
    world_exec(w, conn,
               "INSERT INTO t(id, x) " T_ENDLESS "SELECT x, 'row ' || x FROM c LIMIT 1000");
    T_CHECK(world_exec(w, conn, point_read));
    return conn;
}

static void end(struct world *w, ll_conn *conn)
{
    world_close(w, conn);
    world_end(w);
}

/* ---- locks ---- */

/* A read that meets a lock: it bounces, is parked without a thread, and gives its row when the lock is gone. */
static void meets_lock(struct world *w, ll_conn *conn, const struct other *other)
{
    other_does(other, "BEGIN EXCLUSIVE");
    ll_stats before = world_stats(w);
    ll_request *request = NULL;
    T_CHECK(ll_query(conn, point_read, NULL, 0, NULL, &request) == LL_PENDING);
    ll_stats after = world_stats(w);
    T_EQUAL(after.bounced_lock, before.bounced_lock + 1);
    T_CHECK(!world_move(w, request));
    T_EQUAL(world_stats(w).parks, before.parks + 1);
    other_does(other, "UPDATE t SET x = 'changed' WHERE id = 7; COMMIT");
    lli_step_settle(&w->step);
    t_is(request, LL_OK, LL_APPLIED);
    t_rows rows = {.request = request};
    T_SAME_TEXT(t_rows_next(&rows)[0].as.text, "changed");
    t_rows_done(&rows);
    T_CHECK(world_exec(w, conn, point_read));
}

static void a_lock_of_another_process(void **state)
{
    t_env *t = *state;
    struct world w;
    struct other other = other_start(t_path(t, "a.db"));
    ll_conn *conn = begin(&w, t, plain);
    for (int i = 0; i < 3; i++)
        meets_lock(&w, conn, &other);
    /* In WAL mode nobody who reads is locked out, and the loop sees what was committed last. */
    world_exec(&w, conn, "PRAGMA journal_mode = WAL");
    world_exec(&w, conn, point_read);
    for (int i = 0; i < 3; i++) {
        other_does(&other, "BEGIN EXCLUSIVE; UPDATE t SET x = x || '!' WHERE id = 7");
        T_CHECK(world_exec(&w, conn, point_read));
        other_does(&other, "COMMIT");
        T_CHECK(world_exec(&w, conn, point_read));
    }
    other_end(&other);
    end(&w, conn);
}

static size_t sleeps;
static int (*real_sleep)(sqlite3_vfs *, int);

static int counted_sleep(sqlite3_vfs *vfs, int microseconds)
{
    sleeps++;
    return real_sleep(vfs, microseconds);
}

static int set_raw_timeout(sqlite3 *db, void *arg)
{
    (void)arg;
    return sqlite3_busy_timeout(db, 60000);
}

/* However SQLite's own busy handler comes into the place of ours: nobody sleeps in it. */
static void a_busy_timeout_of_the_user(void **state)
{
    t_env *t = *state;
    struct world w;
    struct other other = other_start(t_path(t, "a.db"));
    ll_conn *conn = begin(&w, t, plain);
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    real_sleep = vfs->xSleep;
    vfs->xSleep = counted_sleep;
    sleeps = 0;
    for (int way = 0; way < 3; way++) {
        ll_request *request = NULL;
        if (way == 0)
            world_exec(&w, conn, "PRAGMA busy_timeout = 60000");
        else if (way == 1)
            T_CHECK(ll_script(conn, "SELECT 1; PRAGMA busy_timeout = 60000", LL_NUL_TERMINATED,
                              false, NULL, &request) == LL_PENDING);
        else
            T_CHECK(ll_conn_call(conn, set_raw_timeout, NULL, NULL, &request) == LL_PENDING);
        lli_step_settle(&w.step);
        ll_request_unref(request);
        world_exec(&w, conn, point_read);
        T_CHECK(world_exec(&w, conn, point_read));
        meets_lock(&w, conn, &other);
    }
    vfs->xSleep = real_sleep;
    T_EQUAL(sleeps, 0);
    other_end(&other);
    end(&w, conn);
}

/* ---- virtual tables ---- */

static const char *const virtual_ones[] = {
    "SELECT count(*) FROM box WHERE x0 > 100",
    "SELECT x0 FROM box WHERE id = 5",
    "SELECT rowid FROM words WHERE words MATCH 'row7'",
    "SELECT body FROM words WHERE rowid = 7",
    "SELECT t.x, box.x1 FROM t JOIN box ON box.id = t.id WHERE t.id = 3",
    "SELECT (SELECT count(*) FROM box) FROM t WHERE id = 1",
    "SELECT sum(value) FROM json_each('[1, 2, 3]')",
    "SELECT name FROM pragma_table_info('t') ORDER BY cid",
    "SELECT * FROM pragma_integrity_check",
    "PRAGMA integrity_check",
    "PRAGMA quick_check",
    "PRAGMA foreign_key_check",
};

static char *rows_of(struct world *w, ll_conn *conn, const char *sql, bool *ret_on_loop)
{
    sqlite3_str *text = sqlite3_str_new(NULL);
    ll_request *request = world_run(w, conn, sql, NULL, ret_on_loop);
    if (ll_request_status(request) != LL_OK)
        t_fail(__FILE__, __LINE__, "%s: %s", sql, ll_request_error(request)->message);
    size_t width = ll_columns_count(ll_request_columns(request));
    t_rows rows = {.request = request};
    for (const ll_value *row; (row = t_rows_next(&rows)) != NULL;)
        for (size_t i = 0; i < width; i++)
            if (row[i].type == LL_TEXT)
                sqlite3_str_appendf(text, "%s;", row[i].as.text);
            else
                sqlite3_str_appendf(text, "%lld;",
                                    row[i].type == LL_FLOAT ? (long long)row[i].as.real
                                                            : (long long)row[i].as.integer);
    t_rows_done(&rows);
    return sqlite3_str_finish(text);
}

/* In the middle of a transaction that has changed them, too, where an R*Tree whose query was cut off answers
 * nothing any more (db/test_why.c). Each read of the loop would be cut off here. */
static void virtual_tables_are_for_workers(void **state)
{
    t_env *t = *state;
    struct world w;
    ll_conn *conn = begin(&w, t, wal);
    ll_request *made = NULL;
    T_CHECK(ll_script(conn,
                      "CREATE VIRTUAL TABLE box USING rtree(id, x0, x1);"
                      "CREATE VIRTUAL TABLE words USING fts5(body);"
                      "INSERT INTO box SELECT id, id, id + 1 FROM t;"
                      "INSERT INTO words(rowid, body) SELECT id, 'row' || id || ' word' FROM t;",
                      LL_NUL_TERMINATED, false, NULL, &made) == LL_PENDING);
    lli_step_settle(&w.step);
    if (ll_request_status(made) != LL_OK) {
        print_message("skipped: %s\n", ll_request_error(made)->message);
        ll_request_unref(made);
        end(&w, conn);
        skip();
    }
    ll_request_unref(made);
    for (int round = 0; round < 6; round++) {
        bool in_transaction = round % 3 > 0, writes = round % 3 == 2;
        if (in_transaction)
            world_exec(&w, conn, "BEGIN");
        if (writes) {
            world_exec(&w, conn, "UPDATE box SET x1 = x1 + 1 WHERE id % 3 = 0");
            world_exec(&w, conn, "UPDATE words SET body = body || ' more' WHERE rowid % 50 = 0");
            world_exec(&w, conn, "UPDATE t SET x = x WHERE id = 1");
        }
        for (size_t i = 0; i < LLI_COUNT(virtual_ones); i++) {
            char *first = NULL;
            for (int k = 0; k < 4; k++) {
                bool on_loop;
                lli_fault_arm(LLI_FAULT_ATTEMPT, 1 + (unsigned)k);
                char *rows = rows_of(&w, conn, virtual_ones[i], &on_loop);
                lli_fault_disarm();
                if (on_loop)
                    t_fail(__FILE__, __LINE__, "on the loop: %s", virtual_ones[i]);
                if (!first) {
                    first = rows;
                    continue;
                }
                T_SAME_TEXT(rows, first);
                sqlite3_free(rows);
            }
            if (strstr(virtual_ones[i], "integrity") || strstr(virtual_ones[i], "quick"))
                T_SAME_TEXT(first, "ok;");
            sqlite3_free(first);
        }
        T_EQUAL(t_state(conn).in_transaction, in_transaction);
        if (in_transaction)
            world_exec(&w, conn, round > 3 ? "COMMIT" : "ROLLBACK");
    }
    T_CHECK(world_exec(&w, conn, point_read));
    end(&w, conn);
}

/* A cancelled read of a virtual table is left to finish inside a transaction, and ended outside. */
static void a_cancelled_read_of_a_virtual_table(void **state)
{
    t_env *t = *state;
    struct world w;
    ll_conn *conn = begin(&w, t, wal);
    ll_request *request = NULL;
    static const char text[] = "SELECT count(*) FROM json_each('[1, 2, 3]') AS j, t, t AS u";
    for (int in_transaction = 0; in_transaction < 2; in_transaction++) {
        world_exec(&w, conn, in_transaction ? "BEGIN IMMEDIATE" : "SELECT 1");
        if (in_transaction)
            world_exec(&w, conn, "UPDATE t SET x = 'mine' WHERE id = 1");
        T_CHECK(ll_query(conn, text, NULL, 0, NULL, &request) == LL_PENDING);
        w.cancel = request;
        lli_step_settle(&w.step);
        T_CHECK(!w.cancel);
        if (in_transaction)
            t_is(request, LL_OK, LL_APPLIED);
        else
            t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
        ll_request_unref(request);
        T_EQUAL(t_state(conn).in_transaction, in_transaction);
        if (in_transaction)
            world_exec(&w, conn, "COMMIT");
    }
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t WHERE x = 'mine'"), 1);
    end(&w, conn);
}

/* ---- large values ---- */

enum {
    LARGE = 400000
};

static void large_parameters(void **state)
{
    T_NEEDS(T_HAS_ARROWS);
    static const char *const texts[] = {"SELECT length(?1)", "SELECT upper(?1) IS NULL",
                                        "SELECT ?1 -> '$.a'", "SELECT x FROM t WHERE id = ?1"};
    t_env *t = *state;
    struct world w;
    ll_conn *conn = begin(&w, t, wal);
    char *bytes = malloc(LARGE + 1);
    T_CHECK(bytes);
    memset(bytes, ' ', LARGE);
    memcpy(bytes, "{\"a\": 1}", 8);
    bytes[LARGE] = '\0';
    for (size_t i = 0; i < LLI_COUNT(texts); i++)
        for (int k = 0; k < 6; k++) {
            bool large = k % 2 == 1;
            ll_value value = ll_text_n(bytes, large ? LARGE : 8);
            ll_request *request = NULL;
            ll_status status = ll_query(conn, texts[i], &value, 1, NULL, &request);
            lli_step_settle(&w.step);
            T_CHECK(status == (large ? LL_PENDING : LL_OK));
            t_is(request, LL_OK, LL_APPLIED);
            ll_request_unref(request);
        }
    free(bytes);
    end(&w, conn);
}

/* Large ones in the file, used by functions that give little. SQLite reads them page by page, and there the clock is
 * looked at; here it says that the time is over. */
static void large_values_of_the_file(void **state)
{
    T_NEEDS(T_HAS_ARROWS);
    static const char *const texts[] = {"SELECT x -> '$.a' FROM t WHERE id = 2000",
                                        "SELECT length(upper(x)) FROM t WHERE id = 2000",
                                        "SELECT x = x || 'x' FROM t WHERE id = 2000"};
    t_env *t = *state;
    struct world w;
    ll_conn *conn = begin(&w, t, wal);
    world_exec(&w, conn,
               "INSERT INTO t VALUES(2000, '{\"a\": 1, \"b\": \"' || "
               "printf('%.*c', 4000000, 'x') || '\"}')");
    for (size_t i = 0; i < LLI_COUNT(texts); i++) {
        ll_stats before = world_stats(&w);
        uint64_t attempt_ns = w.step.engine->attempt_ns;
        w.step.engine->attempt_ns = 0;
        T_CHECK(!world_exec(&w, conn, texts[i]));
        w.step.engine->attempt_ns = attempt_ns;
        T_EQUAL(world_stats(&w).bounced_time, before.bounced_time + 1);
        T_CHECK(!world_exec(&w, conn, texts[i])); /* and not again at once */
    }
    end(&w, conn);
}

/* ---- the same text, quick and slow ---- */

static void the_same_delete(void **state)
{
    const int64_t many = getenv("LL_TEST_SLOW") ? 20000 : 400000;
    static const char text[] = "DELETE FROM d WHERE g = ?";
    static const char by_key[] = "DELETE FROM d WHERE id = ?";
    t_env *t = *state;
    struct world w;
    ll_conn *conn = begin(&w, t, wal);
    world_exec(&w, conn, "CREATE TABLE d(id INTEGER PRIMARY KEY, g)");
    world_exec(&w, conn, "CREATE INDEX dg ON d(g)");
    world_exec(
        &w, conn,
        t_printf(t, "INSERT INTO d(g) " T_ENDLESS "SELECT 2 FROM c LIMIT %lld", (long long)many));
    world_exec(&w, conn, "BEGIN IMMEDIATE");
    ll_value value = ll_integer(1);
    for (int i = 0; i < 30; i++) { /* a history of one row, in no time */
        ll_request *request = NULL;
        world_exec(&w, conn, "INSERT INTO d(id, g) VALUES(-1, 1)");
        T_CHECK(ll_exec(conn, text, &value, 1, NULL, &request) == LL_PENDING);
        lli_step_settle(&w.step);
        T_EQUAL(ll_request_changes(request), 1);
        ll_request_unref(request);
    }
    for (int64_t id = 1; id <= 3; id++) { /* by its key it may: that bounds it */
        ll_request *request = NULL;
        value = ll_integer(id);
        ll_status status = ll_exec(conn, by_key, &value, 1, NULL, &request);
        lli_step_settle(&w.step);
        T_CHECK(id == 1 || status == LL_OK);
        T_EQUAL(ll_request_changes(request), 1);
        ll_request_unref(request);
    }
    ll_request *request = NULL;
    value = ll_integer(2);
    T_CHECK(ll_exec(conn, text, &value, 1, NULL, &request) == LL_PENDING);
    lli_step_settle(&w.step);
    T_EQUAL(ll_request_changes(request), many - 3);
    ll_request_unref(request);
    world_exec(&w, conn, "COMMIT");
    end(&w, conn);
}

/* ---- mutexes: with true threads ---- */

static struct {
    pthread_t loop;
    pthread_mutex_t mu;
    pthread_cond_t changed;
    bool armed, inside, let; /* under mu */
} stop = {.mu = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
static int (*real_fcntl)(int, int, ...);

/* The first worker that locks stands still there, inside os_unix's mutex of the file. */
static int stopping_fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *);
    va_end(args);
    if (command == F_SETLK && !pthread_equal(pthread_self(), stop.loop)) {
        pthread_mutex_lock(&stop.mu);
        if (stop.armed) {
            stop.armed = false;
            stop.inside = true;
            pthread_cond_broadcast(&stop.changed);
            while (!stop.let)
                pthread_cond_wait(&stop.changed, &stop.mu);
        }
        pthread_mutex_unlock(&stop.mu);
    }
    return real_fcntl(fd, command, arg);
}

static void a_worker_that_stands_still(void **state)
{
    t_env *t = *state;
    world_needs_guarded_files(t);
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    sqlite3_syscall_ptr real = vfs->xGetSystemCall(vfs, "fcntl");
    real_fcntl = (int (*)(int, int, ...))real;
    stop.loop = pthread_self();
    for (int with_wal = 0; with_wal < 2; with_wal++) {
        lli_cost_clear();
        t_engine(t, &(ll_engine_options){.turn_ns = T_HOUR, .attempt_ns = T_HOUR});
        ll_open_options options = {.pragmas = with_wal ? wal : plain};
        const char *path = t_path(t, with_wal ? "wal.db" : "plain.db");
        ll_conn *slow = t_open_with(t->engine, path, &options);
        t_exec(slow, "CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
        t_exec(slow, "INSERT INTO t VALUES(7, 'row 7')");
        ll_conn *quick = t_open_with(t->engine, path, &options);
        for (int i = 0; i < 3; i++) {
            t_int(slow, "SELECT id FROM t WHERE id = 7");
            t_int(quick, "SELECT id FROM t WHERE id = 7");
        }
        ll_request *held = NULL, *read = NULL;
        T_CHECK(ll_engine_dispatch(t->engine, NULL) == LL_OK); /* nothing is held any more */
        vfs->xSetSystemCall(vfs, "fcntl", (sqlite3_syscall_ptr)stopping_fcntl);
        stop.armed = true;
        stop.inside = stop.let = false;
        T_CHECK(ll_query(slow, point_read, NULL, 0, &(ll_submit){.flags = LL_SUBMIT_NO_INLINE},
                         &held) == LL_PENDING);
        pthread_mutex_lock(&stop.mu);
        while (!stop.inside)
            pthread_cond_wait(&stop.changed, &stop.mu);
        pthread_mutex_unlock(&stop.mu);
        /* Were the loop to enter, it would wait for the worker, which waits for us. */
        ll_stats before = t_stats(t->engine);
        T_CHECK(ll_query(quick, point_read, NULL, 0, NULL, &read) == LL_PENDING);
        T_EQUAL(t_stats(t->engine).bounced_mutex, before.bounced_mutex + 1);
        T_CHECK(ll_engine_dispatch(t->engine, NULL) == LL_OK && !ll_request_is_done(held));
        pthread_mutex_lock(&stop.mu);
        stop.let = true;
        pthread_cond_broadcast(&stop.changed);
        pthread_mutex_unlock(&stop.mu);
        T_CHECK(ll_request_wait(held) == LL_OK && ll_request_wait(read) == LL_OK);
        ll_request_unref(held);
        ll_request_unref(read);
        t_close(slow);
        t_close(quick);
        ll_engine_free(t->engine); /* no worker is on its way through the hook */
        t->engine = NULL;
        vfs->xSetSystemCall(vfs, "fcntl", real);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(a_lock_of_another_process),
        T_TEST(a_busy_timeout_of_the_user),
        T_TEST(virtual_tables_are_for_workers),
        T_TEST(a_cancelled_read_of_a_virtual_table),
        T_TEST(large_parameters),
        T_TEST(large_values_of_the_file),
        T_TEST(the_same_delete),
        T_TEST(a_worker_that_stands_still),
    };
    return T_RUN(tests);
}
