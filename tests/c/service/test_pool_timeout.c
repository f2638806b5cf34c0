/* Time in a pool: statements that take too long, transactions that are aborted by that, connections that are idle or
 * were not looked at for long. Most of it with a scripted clock. */
#include "pool_ways.h"

#include "engine/step.h"
#include "platform/clock.h"

static const char *const wal[] = {"journal_mode=WAL", "synchronous=OFF", NULL};

/* An endless write: it can only be interrupted. */
#define ENDLESS_INSERT "INSERT INTO t " T_ENDLESS "SELECT x FROM c"

static void a_slow_statement_is_stopped(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db",
                          &((ll_pool_options){.max_size = 1, .operation_timeout_ns = 20 * T_MS}));
    p_exec(pool, "CREATE TABLE t(x)");
    for (int i = 0; i < 2; i++) {
        ll_request *request = p_run(pool, T_ENDLESS "SELECT max(x) FROM c", LL_ETIMEOUT);
        T_CHECK(strstr(ll_request_error(request)->message, "operation timeout"));
        ll_request_unref(request);
        request = p_run(pool, ENDLESS_INSERT, LL_ETIMEOUT); /* a write, too */
        t_is(request, LL_ETIMEOUT, LL_NOT_APPLIED);
        ll_request_unref(request);
        T_EQUAL(p_int(pool, "SELECT count(*) FROM t"), 0);
    }
    T_EQUAL(p_stats(pool).opened, 1); /* its connection stays good */
    T_EQUAL(p_stats(pool).retired, 0);
    p_close(pool);
}

static void a_timeout_of_ones_own_takes_its_place(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db",
                          &((ll_pool_options){.max_size = 1, .operation_timeout_ns = T_HOUR}));
    ll_request *request = NULL;
    ll_submit how = {.timeout_ns = 10 * T_MS};
    T_EQUAL(t_end(p_submit(pool, T_ENDLESS "SELECT max(x) FROM c", &how, &request), request),
            LL_ETIMEOUT);
    ll_request_unref(request);
    p_close(pool);
}

static void an_interrupted_write_aborts_its_transaction(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db",
                          &((ll_pool_options){.max_size = 1,
                                              .operation_timeout_ns = 1000 * T_MS,
                                              .open.pragmas = wal}));
    p_exec(pool, "CREATE TABLE t(x)");
    ll_lease *lease = p_acquire(pool, NULL);
    ll_conn *conn = ll_lease_conn(lease);
    t_exec(conn, "BEGIN IMMEDIATE");
    t_exec(conn, "INSERT INTO t VALUES(1)");
    ll_request_unref(t_exec_fails(conn, ENDLESS_INSERT, LL_ETIMEOUT));
    /* Nothing is committed piece by piece now. */
    static const char *const refused[] = {
        "INSERT INTO t VALUES(2)", "SELECT 1", "COMMIT", "SAVEPOINT a", "ROLLBACK TO a", "BEGIN",
        "PRAGMA foreign_keys"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        ll_request *request = t_exec_fails(conn, refused[i], LL_EABORTED);
        t_is(request, LL_EABORTED, LL_NOT_APPLIED);
        ll_request_unref(request);
    }
    ll_request *request = NULL;
    T_EQUAL(t_end(ll_txn_commit(conn, NULL, &request), request), LL_EABORTED);
    ll_request_unref(request);
    request = NULL;
    T_EQUAL(t_end(ll_script(conn, "SELECT 1", LL_NUL_TERMINATED, false, NULL, &request), request),
            LL_EABORTED);
    ll_request_unref(request);
    request = NULL;
    T_EQUAL(t_end(ll_txn_rollback(conn, NULL, &request), request), LL_OK);
    ll_request_unref(request);
    t_exec(conn, "INSERT INTO t VALUES(3)");
    T_EQUAL(t_int(conn, "SELECT sum(x) FROM t"), 3);
    (void)p_release(lease);
    /* One that is given back without a ROLLBACK says what was lost. */
    lease = p_acquire(pool, NULL);
    conn = ll_lease_conn(lease);
    t_exec(conn, "BEGIN");
    t_exec(conn, "INSERT INTO t VALUES(4)");
    ll_request_unref(
        t_exec_fails(conn, "INSERT OR ROLLBACK INTO t SELECT x FROM missing", LL_ESQL));
    T_EQUAL(t_state(conn).in_transaction, true); /* that one was never prepared */
    ll_request_unref(t_exec_fails(conn, ENDLESS_INSERT, LL_ETIMEOUT));
    struct p_released released = p_release(lease);
    T_CHECK(released.pub.rolled_back && released.pub.dropped_writes && !released.pub.retired);
    T_SAME_TEXT(released.last_write, "INSERT INTO t VALUES(4)");
    T_EQUAL(p_int(pool, "SELECT sum(x) FROM t"), 3);
    p_close(pool);
}

static void or_rollback_aborts_too(void **state)
{
    t_env *t = *state;
    ll_pool *pool = p_new(t, "a.db", &((ll_pool_options){.max_size = 1}));
    p_exec(pool, "CREATE TABLE t(x UNIQUE)");
    ll_lease *lease = p_acquire(pool, NULL);
    ll_conn *conn = ll_lease_conn(lease);
    t_exec(conn, "BEGIN");
    t_exec(conn, "INSERT INTO t VALUES(1)");
    ll_request_unref(t_exec_fails(conn, "INSERT OR ROLLBACK INTO t VALUES(1)", LL_ESQL));
    ll_request_unref(t_exec_fails(conn, "INSERT INTO t VALUES(2)", LL_EABORTED));
    t_exec(conn, "ROLLBACK");
    t_exec(conn, "INSERT INTO t VALUES(2)");
    /* A failure that leaves the transaction open does not. */
    t_exec(conn, "BEGIN");
    ll_request_unref(t_exec_fails(conn, "INSERT INTO t VALUES(2)", LL_ESQL));
    t_exec(conn, "INSERT INTO t VALUES(3)");
    t_exec(conn, "COMMIT");
    (void)p_release(lease);
    T_EQUAL(p_int(pool, "SELECT sum(x) FROM t"), 5);
    p_close(pool);
}

/* ---- scripted time ---- */

struct stepped {
    struct lli_step step;
    ll_pool *pool;
};

static void begin(struct stepped *s, t_env *t, ll_pool_options options)
{
    T_CHECK(lli_step_new(&s->step, 3, NULL, NULL) == LL_OK);
    options.open.pragmas = wal;
    s->pool = p_new_path(s->step.engine, t_path(t, "a.db"), &options);
    lli_step_settle(&s->step);
}

static ll_lease *take(struct stepped *s)
{
    ll_request *request = NULL;
    T_CHECK(ll_pool_acquire(s->pool, NULL, NULL, &request) >= 0);
    lli_step_settle(&s->step);
    t_is(request, LL_OK, LL_APPLIED);
    ll_lease *lease = ll_request_take_lease(request);
    ll_request_unref(request);
    return lease;
}

static void give(struct stepped *s, ll_lease *lease)
{
    T_CHECK(ll_pool_release(lease, NULL, NULL) == LL_OK);
    lli_step_settle(&s->step);
}

static void end(struct stepped *s)
{
    ll_request *request = NULL;
    T_CHECK(ll_pool_close(s->pool, NULL, &request) >= 0);
    lli_step_settle(&s->step);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    ll_pool_unref(s->pool);
    lli_step_free(&s->step);
}

static void idle_connections_are_closed(void **state)
{
    struct stepped s;
    begin(&s, *state,
          (ll_pool_options){.min_size = 1, .max_size = 4, .idle_timeout_ns = 60 * LLI_SECOND});
    ll_lease *leases[4];
    for (int i = 0; i < 4; i++)
        leases[i] = take(&s);
    for (int i = 0; i < 4; i++)
        give(&s, leases[i]);
    lli_step_advance(&s.step, 59 * LLI_SECOND);
    T_EQUAL(p_stats(s.pool).size, 4);
    leases[0] = take(&s); /* the first one is kept in use */
    give(&s, leases[0]);
    lli_step_advance(&s.step, 2 * LLI_SECOND);
    (void)p_stats(s.pool);
    lli_step_settle(&s.step);
    ll_pool_stats stats = p_stats(s.pool);
    T_EQUAL(stats.size, 1);
    T_EQUAL(stats.expired, 3);
    lli_step_advance(&s.step, 3600 * LLI_SECOND);
    (void)p_stats(s.pool);
    lli_step_settle(&s.step);
    T_EQUAL(p_stats(s.pool).size, 1); /* min_size */
    end(&s);
}

static void health_is_looked_at(void **state)
{
    struct stepped s;
    begin(&s, *state, (ll_pool_options){.max_size = 1, .health_interval_ns = 10 * LLI_SECOND});
    give(&s, take(&s));
    T_EQUAL(p_stats(s.pool).resets, 0);
    lli_step_advance(&s.step, 11 * LLI_SECOND);
    give(&s, take(&s));
    T_EQUAL(p_stats(s.pool).resets, 1);
    give(&s, take(&s));
    T_EQUAL(p_stats(s.pool).resets, 1);
    lli_step_advance(&s.step, 11 * LLI_SECOND);
    ll_request *request = NULL; /* for a statement as well */
    T_CHECK(p_submit(s.pool, "SELECT 1", NULL, &request) == LL_PENDING);
    lli_step_settle(&s.step);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    T_EQUAL(p_stats(s.pool).resets, 2);
    T_EQUAL(p_stats(s.pool).opened, 1);
    end(&s);
}

static void connect_timeout_is_waited_and_no_longer(void **state)
{
    struct stepped s;
    begin(&s, *state, (ll_pool_options){.max_size = 1, .connect_timeout_ns = 30 * LLI_SECOND});
    ll_lease *lease = take(&s);
    ll_request *acquire = NULL, *statement = NULL;
    T_CHECK(ll_pool_acquire(s.pool, NULL, NULL, &acquire) == LL_PENDING);
    T_CHECK(p_submit(s.pool, "SELECT 1", NULL, &statement) == LL_PENDING);
    lli_step_advance(&s.step, 29 * LLI_SECOND);
    lli_step_settle(&s.step);
    T_CHECK(!ll_request_is_done(acquire) && !ll_request_is_done(statement));
    lli_step_advance(&s.step, 2 * LLI_SECOND);
    lli_step_settle(&s.step);
    t_is(acquire, LL_EEXHAUSTED, LL_NOT_APPLIED);
    t_is(statement, LL_EEXHAUSTED, LL_NOT_APPLIED);
    T_CHECK(strstr(ll_request_error(acquire)->message, "after 31.0 s: 1 of the 1"));
    T_EQUAL(p_stats(s.pool).exhausted, 2);
    ll_request_unref(acquire);
    ll_request_unref(statement);
    give(&s, lease);
    end(&s);
}

/* Others are served before it for longer than one waits for a connection: that is no exhaustion. */
static void a_statement_behind_others_goes_on_waiting(void **state)
{
    struct stepped s;
    begin(&s, *state, (ll_pool_options){.max_size = 1, .connect_timeout_ns = 30 * LLI_SECOND});
    ll_lease *lease = take(&s);
    ll_request *made = NULL;
    T_CHECK(ll_exec(ll_lease_conn(lease), "CREATE TABLE t(x)", NULL, 0, NULL, &made) >= 0);
    lli_step_settle(&s.step);
    t_is(made, LL_OK, LL_APPLIED);
    ll_request_unref(made);
    give(&s, lease);
    ll_request *first = NULL, *second = NULL;
    T_CHECK(p_submit(s.pool, "INSERT INTO t VALUES(1)", NULL, &first) == LL_PENDING);
    T_CHECK(p_submit(s.pool, "INSERT INTO t VALUES(2)", NULL, &second) == LL_PENDING);
    for (int i = 0; i < 3; i++) { /* no worker comes */
        lli_step_advance(&s.step, 31 * LLI_SECOND);
        T_CHECK(ll_engine_dispatch(s.step.engine, NULL) == LL_OK);
    }
    T_CHECK(!ll_request_is_done(second));
    lli_step_settle(&s.step);
    t_is(first, LL_OK, LL_APPLIED);
    t_is(second, LL_OK, LL_APPLIED);
    ll_request_unref(first);
    ll_request_unref(second);
    end(&s);
}

/* The time of a statement begins when it has its connection. */
static void waiting_in_line_is_no_operation(void **state)
{
    struct stepped s;
    begin(&s, *state, (ll_pool_options){.max_size = 1, .operation_timeout_ns = 5 * LLI_SECOND});
    ll_lease *lease = take(&s);
    ll_request *statement = NULL, *with_own = NULL;
    T_CHECK(p_submit(s.pool, "SELECT 1", NULL, &statement) == LL_PENDING);
    T_CHECK(p_submit(s.pool, "SELECT 1", &(ll_submit){.timeout_ns = 2 * LLI_SECOND}, &with_own) ==
            LL_PENDING);
    lli_step_advance(&s.step, 10 * LLI_SECOND);
    lli_step_settle(&s.step);
    t_is(with_own, LL_ETIMEOUT, LL_NOT_APPLIED);
    T_CHECK(!ll_request_is_done(statement));
    give(&s, lease);
    t_is(statement, LL_OK, LL_APPLIED);
    ll_request_unref(statement);
    ll_request_unref(with_own);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(a_slow_statement_is_stopped),
        T_TEST(a_timeout_of_ones_own_takes_its_place),
        T_TEST(an_interrupted_write_aborts_its_transaction),
        T_TEST(or_rollback_aborts_too),
        T_TEST(idle_connections_are_closed),
        T_TEST(health_is_looked_at),
        T_TEST(connect_timeout_is_waited_and_no_longer),
        T_TEST(a_statement_behind_others_goes_on_waiting),
        T_TEST(waiting_in_line_is_no_operation),
    };
    return T_RUN(tests);
}
