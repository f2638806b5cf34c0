/* When and where a request ran, as it tells itself; on a scripted clock. */
#include "world.h"

static const char *const wal[] = {"journal_mode=WAL", NULL};
static const char point_read[] = "SELECT x FROM t WHERE id = 7";
static const ll_submit timed = {.flags = LL_SUBMIT_TIMED};
static const ll_submit timed_worker = {.flags = LL_SUBMIT_TIMED | LL_SUBMIT_NO_INLINE};

static void begin(struct world *w, t_env *t, ll_conn **ret_conn)
{
    world_needs_guarded_files(t);
    world_begin(w, t);
    *ret_conn = world_open(w, "a.db", &(ll_open_options){.pragmas = wal});
    world_exec(w, *ret_conn, "CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
    world_exec(w, *ret_conn,
               "INSERT INTO t(id, x) " T_ENDLESS "SELECT x, 'row ' || x FROM c LIMIT 1000");
    world_exec(w, *ret_conn, point_read);
}

static void end(struct world *w, ll_conn *conn)
{
    world_close(w, conn);
    world_end(w);
}

static ll_timing timing_of(const ll_request *request)
{
    ll_timing timing;
    ll_request_get_timing(request, &timing);
    return timing;
}

static void on_the_loop(void **state)
{
    struct world w;
    ll_conn *conn;
    begin(&w, *state, &conn);
    bool on_loop;
    uint64_t before = lli_now_ns();
    ll_request *request = world_run(&w, conn, point_read, &timed, &on_loop);
    T_CHECK(on_loop);
    ll_timing timing = timing_of(request);
    T_EQUAL(timing.place, LL_PLACE_LOOP);
    T_CHECK(before <= timing.submitted_ns && timing.submitted_ns <= timing.begun_ns);
    T_CHECK(timing.begun_ns <= timing.ended_ns && timing.ended_ns <= lli_now_ns());
    ll_request_unref(request);
    end(&w, conn);
}

static void on_a_worker(void **state)
{
    struct world w;
    ll_conn *conn;
    begin(&w, *state, &conn);
    ll_request *request = NULL;
    uint64_t submitted = lli_now_ns();
    T_CHECK(ll_exec(conn, "INSERT INTO t(x) VALUES (1)", NULL, 0, &timed_worker, &request) ==
            LL_PENDING);
    ll_timing timing = timing_of(request); /* not before its end */
    T_CHECK(timing.submitted_ns == 0 && timing.place == LL_PLACE_NONE);
    lli_step_advance(&w.step, 5 * T_MS); /* it waits in the queue */
    uint64_t begun = lli_now_ns();
    T_CHECK(world_move(&w, request));
    timing = timing_of(request);
    T_EQUAL(timing.place, LL_PLACE_WORKER);
    T_CHECK(submitted <= timing.submitted_ns && timing.submitted_ns < begun);
    T_CHECK(begun <= timing.begun_ns && timing.begun_ns <= timing.ended_ns);
    lli_step_settle(&w.step);
    ll_request_unref(request);
    end(&w, conn);
}

static void nobody_asked(void **state)
{
    struct world w;
    ll_conn *conn;
    begin(&w, *state, &conn);
    bool on_loop;
    ll_request *request = world_run(&w, conn, point_read, NULL, &on_loop);
    ll_timing timing = timing_of(request);
    T_CHECK(timing.submitted_ns == 0 && timing.begun_ns == 0 && timing.ended_ns == 0);
    T_EQUAL(timing.place, LL_PLACE_NONE);
    ll_request_unref(request);
    end(&w, conn);
}

static void dropped_before_it_began(void **state)
{
    struct world w;
    ll_conn *conn;
    begin(&w, *state, &conn);
    ll_request *request = NULL;
    T_CHECK(ll_exec(conn, "INSERT INTO t(x) VALUES (1)", NULL, 0, &timed_worker, &request) ==
            LL_PENDING);
    lli_step_advance(&w.step, 5 * T_MS);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    ll_timing timing = timing_of(request);
    T_EQUAL(timing.place, LL_PLACE_NONE);
    T_EQUAL(timing.begun_ns, 0);
    T_CHECK(timing.ended_ns >= timing.submitted_ns + 5 * T_MS);
    lli_step_settle(&w.step);
    ll_request_unref(request);
    end(&w, conn);
}

/* The read takes too long on the loop: what is told is how the worker did it. */
static void tried_on_the_loop_first(void **state)
{
    struct world w;
    ll_conn *conn;
    begin(&w, *state, &conn);
    static const char scan[] = "WITH RECURSIVE c(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM c "
                               "WHERE n < 5000) SELECT sum(n) FROM c";
    world_exec(&w, conn, scan);
    T_CHECK(world_exec(&w, conn, scan)); /* cheap, as far as anybody knows */
    w.jump_ns = T_MS;
    ll_stats before = world_stats(&w);
    bool on_loop;
    ll_request *request = world_run(&w, conn, scan, &timed, &on_loop);
    T_CHECK(!on_loop);
    w.jump_ns = 0;
    T_CHECK(world_stats(&w).bounced_time > before.bounced_time);
    ll_timing timing = timing_of(request);
    T_EQUAL(timing.place, LL_PLACE_WORKER);
    T_CHECK(timing.begun_ns >= timing.submitted_ns + T_MS && timing.ended_ns >= timing.begun_ns);
    ll_request_unref(request);
    end(&w, conn);
}

static void a_commit_of_nothing(void **state)
{
    struct world w;
    ll_conn *conn;
    begin(&w, *state, &conn);
    ll_request *request = NULL;
    T_CHECK(ll_txn_commit(conn, &timed, &request) == LL_OK);
    ll_timing timing = timing_of(request);
    T_EQUAL(timing.place, LL_PLACE_NONE);
    T_EQUAL(timing.begun_ns, 0);
    ll_request_unref(request);
    end(&w, conn);
}

static void an_opening_and_a_close(void **state)
{
    struct world w;
    ll_conn *conn, *other = NULL;
    begin(&w, *state, &conn);
    ll_request *request = NULL;
    T_CHECK(ll_conn_open(w.step.engine, t_path(w.t, "b.db"), NULL, &timed, &other, &request) ==
            LL_PENDING);
    lli_step_advance(&w.step, 5 * T_MS);
    lli_step_settle(&w.step);
    ll_timing timing = timing_of(request);
    T_EQUAL(timing.place, LL_PLACE_WORKER);
    T_CHECK(timing.begun_ns >= timing.submitted_ns + 5 * T_MS &&
            timing.ended_ns >= timing.begun_ns);
    ll_request_unref(request);
    request = NULL;
    T_CHECK(ll_conn_close(other, &timed, &request) == LL_PENDING);
    lli_step_settle(&w.step);
    timing = timing_of(request);
    T_EQUAL(timing.place, LL_PLACE_WORKER);
    T_CHECK(timing.begun_ns > 0 && timing.ended_ns >= timing.begun_ns);
    ll_request_unref(request);
    ll_conn_unref(other);
    end(&w, conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(on_the_loop),
        T_TEST(on_a_worker),
        T_TEST(nobody_asked),
        T_TEST(dropped_before_it_began),
        T_TEST(tried_on_the_loop_first),
        T_TEST(a_commit_of_nothing),
        T_TEST(an_opening_and_a_close),
    };
    return T_RUN(tests);
}
