/* Stops that come at an awkward moment: between two steps of a submission, while a script waits. */
#include "world.h"

#include <pthread.h>
#include <sched.h>

enum {
    ROUNDS = 6000
};

/* A script that cannot be cancelled can be interrupted, and then does not try again until it is too late. */
static void a_parked_shielded_script_is_interrupted(void **state)
{
    t_env *t = *state;
    struct world w;
    world_begin(&w, t);
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *conn = world_open(&w, "a.db", &options);
    world_exec(&w, conn, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    for (int begun = 0; begun < 2; begun++) {
        t_raw(other, "BEGIN EXCLUSIVE");
        ll_request *script = NULL;
        ll_submit how = {.flags = LL_SUBMIT_SHIELD};
        const char *text = begun ? "SELECT 1; INSERT INTO t VALUES(1)" : "INSERT INTO t VALUES(1)";
        uint64_t parks = world_stats(&w).parks;
        T_CHECK(ll_script(conn, text, LL_NUL_TERMINATED, false, &how, &script) == LL_PENDING);
        T_CHECK(!world_move(&w, script));
        T_EQUAL(world_stats(&w).parks, parks + 1);
        T_CHECK(ll_request_cancel(script) == LL_OK); /* changes nothing */
        T_CHECK(!world_move(&w, script));
        T_CHECK(ll_conn_interrupt(conn) == LL_OK);
        T_CHECK(world_move(&w, script)); /* no time has passed */
        T_CHECK(ll_request_status(script) == LL_ESQL);
        T_EQUAL(ll_request_error(script)->sqlite_code & 0xff, SQLITE_INTERRUPT);
        T_EQUAL(ll_request_progress(script), begun);
        T_EQUAL(world_stats(&w).parks, parks + 1);
        ll_request_unref(script);
        t_raw(other, "COMMIT");
        lli_step_settle(&w.step);
    }
    T_EQUAL(t_raw_int(other, "SELECT count(*) FROM t"), 0);
    t_raw_close(other);
    world_close(&w, conn);
    world_end(&w);
}

/* The lock's wait is over, and no worker has come yet: it counts as running still. */
static void interrupted_between_two_tries(void **state)
{
    t_env *t = *state;
    struct world w;
    world_begin(&w, t);
    ll_conn *conn = world_open(&w, "a.db", &(ll_open_options){.busy_timeout_ns = T_HOUR});
    world_exec(&w, conn, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    t_raw(other, "BEGIN EXCLUSIVE");
    ll_request *insert = NULL, *behind = NULL;
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0, NULL, &insert) == LL_PENDING);
    T_CHECK(!world_move(&w, insert));
    T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0, NULL, &behind) == LL_PENDING);
    lli_conn_unpark(conn); /* as the timer does, and whoever has left the gate */
    T_CHECK(ll_conn_interrupt(conn) == LL_OK);
    t_raw(other, "COMMIT"); /* it could go on now */
    lli_step_settle(&w.step);
    t_is(insert, LL_ESQL, LL_NOT_APPLIED);
    T_EQUAL(ll_request_error(insert)->sqlite_code & 0xff, SQLITE_INTERRUPT);
    t_is(behind, LL_OK, LL_APPLIED);
    /* what has not begun is not interrupted */
    ll_request_unref(insert);
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(2)", NULL, 0, NULL, &insert) == LL_PENDING);
    T_CHECK(ll_conn_interrupt(conn) == LL_OK);
    lli_step_settle(&w.step);
    t_is(insert, LL_OK, LL_APPLIED);
    T_EQUAL(t_raw_int(other, "SELECT sum(x) FROM t"), 2);
    ll_request_unref(insert);
    ll_request_unref(behind);
    t_raw_close(other);
    world_close(&w, conn);
    world_end(&w);
}

/* ---- a deadline between two steps of a submission ---- */

struct submitter {
    ll_conn *conn;
    ll_request *request;
    ll_status status;
};

/* Stopped where SQLite looks, which is also on its way out of a statement that has halted: what was written then
 * is there, and that is told. */
static void a_write_that_has_halted_is_not_stopped(void **state)
{
    static const char *const texts[] = {
        "INSERT INTO t VALUES(1)", "UPDATE t SET x = x + 1 WHERE rowid < 40",
        "CREATE TABLE IF NOT EXISTS made(x)", "DROP TABLE IF EXISTS made"};
    t_env *t = *state;
    struct world w;
    world_begin(&w, t);
    ll_conn *conn = world_open(&w, "a.db", NULL);
    world_exec(&w, conn, "PRAGMA journal_mode = WAL");
    world_exec(&w, conn, "PRAGMA synchronous = OFF");
    world_exec(&w, conn, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    int64_t version = t_raw_int(other, "PRAGMA data_version"); /* moves with each commit */
    size_t stopped = 0, applied = 0;
    ll_submit how = {.flags = LL_SUBMIT_INTERRUPT | LL_SUBMIT_NO_INLINE};
    for (size_t i = 0; i < ROUNDS; i++) {
        const char *text = texts[i % 50 < 48 ? i % 2 : 2 + i % 2];
        ll_request *request = NULL;
        T_EQUAL(ll_exec(conn, text, NULL, 0, &how, &request), LL_PENDING);
        w.cancel = request;
        lli_step_settle(&w.step);
        w.cancel = NULL;
        ll_status status = ll_request_status(request);
        T_CHECK(status == LL_OK || status == LL_ECANCELLED);
        t_is(request, status, status == LL_OK ? LL_APPLIED : LL_NOT_APPLIED);
        ll_request_unref(request);
        int64_t now = t_raw_int(other, "PRAGMA data_version");
        T_CHECK(now == version || status == LL_OK);
        version = now;
        *(status == LL_OK ? &applied : &stopped) += 1;
    }
    T_CHECK(applied > 0 && stopped > 0);
    t_raw_close(other);
    world_close(&w, conn);
    world_end(&w);
}

static void *submit_with_deadline(void *arg)
{
    struct submitter *self = arg;
    ll_submit how = {.timeout_ns = T_MS};
    self->status = ll_exec(self->conn, "INSERT INTO t VALUES(1)", NULL, 0, &how, &self->request);
    return NULL;
}

static void *dispatch(void *arg)
{
    T_CHECK(ll_engine_dispatch(arg, NULL) == LL_OK);
    return NULL;
}

/* Whether the engine knows a request that was told to stop. */
static bool one_is_stopped(ll_engine *engine)
{
    bool stopped = false;
    lli_lock(&engine->mu);
    for (struct lli_node *node = lli_list_first(&engine->outstanding); node;
         node = lli_list_next(&engine->outstanding, node))
        stopped |= atomic_load(&LLI_CONTAINER_OF(node, ll_request, engine_node)->stop) !=
                   LLI_STOP_NONE;
    lli_unlock(&engine->mu);
    return stopped;
}

/* The connection's lock holds the submitting thread between telling the engine and standing in the queue.
 * Meanwhile the loop's thread finds the deadline passed. No worker moves: whoever is not dropped now would
 * wait for its turn, however long that takes. */
static void a_deadline_between_two_steps_of_a_submission(void **state)
{
    t_env *t = *state;
    struct world w;
    world_begin(&w, t);
    ll_conn *conn = world_open(&w, "a.db", NULL);
    world_exec(&w, conn, "CREATE TABLE t(x)");
    struct submitter submitter = {.conn = conn};
    pthread_t submits, dispatches;
    lli_lock(&conn->mu);
    T_CHECK(pthread_create(&submits, NULL, submit_with_deadline, &submitter) == 0);
    while (ll_engine_outstanding(w.step.engine) == 0)
        sched_yield();
    lli_step_advance(&w.step, 2 * T_MS);
    T_CHECK(pthread_create(&dispatches, NULL, dispatch, w.step.engine) == 0);
    while (!one_is_stopped(w.step.engine))
        sched_yield();
    lli_unlock(&conn->mu);
    T_CHECK(pthread_join(submits, NULL) == 0 && pthread_join(dispatches, NULL) == 0);
    T_CHECK(submitter.status == LL_PENDING);
    T_CHECK(ll_request_is_done(submitter.request));
    t_is(submitter.request, LL_ETIMEOUT, LL_NOT_APPLIED);
    lli_step_settle(&w.step);
    ll_request_unref(submitter.request);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), 0);
    world_close(&w, conn);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(a_parked_shielded_script_is_interrupted),
        T_TEST(interrupted_between_two_tries),
        T_TEST(a_write_that_has_halted_is_not_stopped),
        T_TEST(a_deadline_between_two_steps_of_a_submission),
    };
    return T_RUN(tests);
}
