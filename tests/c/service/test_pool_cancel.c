/* Cancelling at every await of what a task does with a pool, after every number of steps; and random schedules of many
 * tasks. Afterwards the pool is full, no transaction is open, no lock is held, and what each request said of its
 * outcome is what the file says. One thread, in steps (engine/step.h): the same seed gives the same history. */
#include "pool_ways.h"

#include "engine/step.h"
#include "platform/clock.h"

static const char *const wal[] = {"journal_mode=WAL", "synchronous=OFF", NULL};

struct stepped {
    t_env *t;
    struct lli_step step;
    ll_pool *pool;
    uint64_t random;
};

static void begin(struct stepped *s, t_env *t, const char *path, ll_pool_options options)
{
    *s = (struct stepped){.t = t};
    T_CHECK(lli_step_new(&s->step, 3, NULL, NULL) == LL_OK);
    if (path)
        options.open.pragmas = wal;
    s->pool = p_new_path(s->step.engine, path, &options);
    lli_step_settle(&s->step);
}

static ll_request *run_text(struct stepped *s, ll_lease *lease, const char *sql)
{
    ll_request *request = NULL;
    ll_status status = lease ? ll_query(ll_lease_conn(lease), sql, NULL, 0, NULL, &request)
                             : p_submit(s->pool, sql, NULL, &request);
    if (status < 0)
        t_fail(__FILE__, __LINE__, "%s: %s", sql, ll_last_error());
    lli_step_settle(&s->step);
    if (ll_request_status(request) != LL_OK)
        t_fail(__FILE__, __LINE__, "%s: %s", sql, ll_request_error(request)->message);
    return request;
}

static int64_t number(struct stepped *s, ll_lease *lease, const char *sql)
{
    t_rows rows = {.request = run_text(s, lease, sql)};
    int64_t value = t_rows_next(&rows)[0].as.integer;
    t_rows_done(&rows);
    return value;
}

/* All connections can be had at once, each without a transaction, and each can write. */
static void is_whole(struct stepped *s, unsigned size)
{
    ll_lease *leases[8];
    for (unsigned i = 0; i < size; i++) {
        ll_request *request = NULL;
        T_CHECK(ll_pool_acquire(s->pool, NULL, NULL, &request) >= 0);
        lli_step_settle(&s->step);
        t_is(request, LL_OK, LL_APPLIED);
        leases[i] = ll_request_take_lease(request);
        ll_request_unref(request);
        T_CHECK(!t_state(ll_lease_conn(leases[i])).in_transaction);
    }
    for (unsigned i = 0; i < size; i++) {
        ll_request_unref(run_text(s, leases[i], "BEGIN IMMEDIATE"));
        ll_request_unref(run_text(s, leases[i], "DELETE FROM t"));
        ll_request_unref(run_text(s, leases[i], "ROLLBACK"));
    }
    for (unsigned i = 0; i < size; i++)
        T_CHECK(ll_pool_release(leases[i], NULL, NULL) == LL_OK);
    lli_step_settle(&s->step);
    ll_pool_stats stats = p_stats(s->pool);
    T_EQUAL(stats.leased, 0);
    T_EQUAL(stats.waiting, 0);
    T_EQUAL(stats.size, size);
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

static uint64_t draw(struct stepped *s, uint64_t below)
{
    s->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = s->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

/* Some moves of the workers, as they come; no time passes and nothing is delivered. */
static void moves(struct stepped *s, unsigned count)
{
    while (count-- > 0) {
        struct lli_step_move list[LLI_STEP_MOVES];
        size_t some = lli_step_moves(&s->step, list), i = 0;
        while (i < some && (list[i].kind == LLI_STEP_YIELD || list[i].kind == LLI_STEP_TIMER ||
                            list[i].kind == LLI_STEP_RETRY))
            i++;
        if (i == some)
            return;
        lli_step_make(&s->step, list[i]);
    }
}

/* ---- every await ---- */

enum await {
    ACQUIRE,
    BEGIN,
    WRITE,
    COMMIT,
    RELEASE,
    AWAITS
};

struct scenario {
    enum await at;   /* cancelled here, */
    unsigned behind; /* after so many moves */
};

/* Waits for what was submitted, or cancels it. True: it was carried out. */
static bool await(struct stepped *s, const struct scenario *scenario, enum await which,
                  ll_status submitted, ll_request *request)
{
    T_CHECK(submitted >= 0);
    if (which == scenario->at && submitted == LL_PENDING) {
        moves(s, scenario->behind);
        T_CHECK(ll_request_cancel(request) == LL_OK);
    }
    lli_step_settle(&s->step);
    T_CHECK(ll_request_is_done(request));
    ll_outcome outcome = ll_request_outcome(request);
    T_CHECK(outcome != LL_UNKNOWN);
    T_CHECK((ll_request_status(request) == LL_OK) == (outcome == LL_APPLIED));
    return outcome == LL_APPLIED;
}

/* A task: takes a connection, writes in a transaction, commits, gives back. It is cancelled once, and cleans up as
 * `async with` does. Gives whether its row is to be there. */
static bool task(struct stepped *s, const struct scenario *scenario, bool others)
{
    ll_request *request = NULL, *other = NULL;
    ll_lease *blocker = NULL;
    if (others) { /* it has to wait for its connection */
        T_CHECK(ll_pool_acquire(s->pool, NULL, NULL, &other) >= 0);
        lli_step_settle(&s->step);
        blocker = ll_request_take_lease(other);
        ll_request_unref(other);
    }
    ll_status status = ll_pool_acquire(s->pool, "task", NULL, &request);
    if (others && scenario->at != ACQUIRE)
        T_CHECK(ll_pool_release(blocker, NULL, NULL) == LL_OK);
    bool done = await(s, scenario, ACQUIRE, status, request);
    if (others && scenario->at == ACQUIRE)
        T_CHECK(ll_pool_release(blocker, NULL, NULL) == LL_OK);
    ll_lease *lease = ll_request_take_lease(request);
    ll_request_unref(request);
    T_CHECK(done == (lease != NULL));
    if (!lease)
        return false;
    ll_conn *conn = ll_lease_conn(lease);
    bool committed = false;
    request = NULL;
    status = ll_txn_begin(conn, LL_BEGIN_IMMEDIATE, NULL, &request);
    done = await(s, scenario, BEGIN, status, request);
    ll_request_unref(request);
    if (done) {
        request = NULL;
        status = ll_exec(conn, "INSERT INTO t VALUES(7)", NULL, 0, NULL, &request);
        done = await(s, scenario, WRITE, status, request);
        ll_request_unref(request);
    }
    if (done) {
        request = NULL;
        status = ll_txn_commit(conn, NULL, &request);
        committed = await(s, scenario, COMMIT, status, request);
        ll_request_unref(request);
    }
    request = NULL;
    status = ll_pool_release(lease, NULL, &request);
    T_CHECK(await(s, scenario, RELEASE, status, request)); /* cannot be cancelled */
    ll_released released;
    ll_request_get_released(request, &released);
    T_CHECK(!released.retired);
    T_CHECK(!(committed && released.dropped_writes));
    ll_request_unref(request);
    return committed;
}

static void at_every_await(void **state)
{
    t_env *t = *state;
    unsigned number_of = 0;
    for (int others = 0; others < 2; others++)
        for (int at = 0; at < AWAITS; at++)
            for (unsigned behind = 0; behind < 6; behind++) {
                struct stepped s;
                begin(&s, t, t_path(t, t_printf(t, "%u.db", number_of++)),
                      (ll_pool_options){.max_size = 1});
                ll_request_unref(run_text(&s, NULL, "CREATE TABLE t(x)"));
                struct scenario scenario = {(enum await)at, behind};
                bool there = task(&s, &scenario, others);
                lli_step_settle(&s.step);
                is_whole(&s, 1);
                T_EQUAL(number(&s, NULL, "SELECT count(*) FROM t"), there);
                end(&s);
            }
}

static void a_statement_in_line_and_running(void **state)
{
    t_env *t = *state;
    for (unsigned behind = 0; behind < 8; behind++) {
        struct stepped s;
        begin(&s, t, t_path(t, t_printf(t, "%u.db", behind)), (ll_pool_options){.max_size = 2});
        ll_request_unref(run_text(&s, NULL, "CREATE TABLE t(x)"));
        ll_request *requests[6] = {NULL};
        for (int i = 0; i < 6; i++)
            T_CHECK(p_submit(s.pool, i % 2 ? "SELECT count(*) FROM t" : "INSERT INTO t VALUES(1)",
                             NULL, &requests[i]) >= 0);
        moves(&s, behind);
        for (int i = 0; i < 6; i += 2)
            T_CHECK(ll_request_cancel(requests[i]) == LL_OK);
        lli_step_settle(&s.step);
        int64_t applied = 0;
        for (int i = 0; i < 6; i++) {
            T_CHECK(ll_request_is_done(requests[i]));
            if (i % 2)
                t_is(requests[i], LL_OK, LL_APPLIED);
            else
                applied += ll_request_outcome(requests[i]) == LL_APPLIED;
            ll_request_unref(requests[i]);
        }
        is_whole(&s, 2);
        T_EQUAL(number(&s, NULL, "SELECT count(*) FROM t"), applied);
        end(&s);
    }
}

/* ---- random schedules ---- */

enum {
    TASKS = 12,
    SIZE = 3
};

enum doing {
    NOTHING,
    WAITING_FOR_LEASE,
    HOLDING,
    RELEASING,
    EXECUTING
};

struct task {
    enum doing doing;
    ll_lease *lease;
    ll_request *request; /* what it waits for */
    bool in_transaction, unsure;
    int64_t pending, here; /* rows in the open transaction; the one that is being written */
};

struct totals {
    int64_t rows, acquired, executed, cancelled, ended;
};

static void learn(struct task *task, struct totals *totals)
{
    ll_request *request = task->request;
    ll_status status = ll_request_status(request);
    bool applied = ll_request_outcome(request) == LL_APPLIED;
    totals->ended++;
    totals->cancelled += status == LL_ECANCELLED;
    /* (A transaction may be left open for longer, in scripted time, than a lock is waited for.) */
    if (status != LL_OK && status != LL_ECANCELLED && status != LL_EBUSY)
        t_fail(__FILE__, __LINE__, "%s", ll_request_error(request)->message);
    T_CHECK(applied == (status == LL_OK));
    switch (task->doing) {
    case WAITING_FOR_LEASE:
        task->lease = ll_request_take_lease(request);
        T_CHECK((task->lease != NULL) == applied);
        task->doing = task->lease ? HOLDING : NOTHING;
        totals->acquired += applied;
        break;
    case EXECUTING:
        totals->rows += applied ? task->here : 0;
        totals->executed += applied;
        task->doing = NOTHING;
        break;
    case RELEASING:
        task->doing = NOTHING;
        break;
    default: /* a statement of the lease */
        if (task->here == -1) {
            task->in_transaction = applied;
        } else if (task->here == -2) {
            if (applied) {
                totals->rows += task->pending;
                task->pending = 0;
                task->in_transaction = false;
            }
        } else if (applied && task->in_transaction) {
            task->pending += task->here;
        } else if (applied) {
            totals->rows += task->here;
        }
        break;
    }
    ll_request_unref(request);
    task->request = NULL;
}

static void act(struct stepped *s, struct task *task, struct totals *totals)
{
    ll_status status = LL_PENDING;
    if (task->request) {
        if (ll_request_is_done(task->request))
            learn(task, totals);
        else if (draw(s, 6) == 0)
            T_CHECK(ll_request_cancel(task->request) == LL_OK);
        return;
    }
    if (task->doing == NOTHING) {
        if (draw(s, 2)) {
            task->doing = WAITING_FOR_LEASE;
            status = ll_pool_acquire(s->pool, "random", NULL, &task->request);
        } else {
            bool write = draw(s, 2);
            task->doing = EXECUTING;
            task->here = write;
            status = p_submit(s->pool, write ? "INSERT INTO t VALUES(1)" : "SELECT count(*) FROM t",
                              NULL, &task->request);
        }
    } else {
        ll_conn *conn = ll_lease_conn(task->lease);
        switch (draw(s, 5)) {
        case 0:
            task->here = -1;
            if (!task->in_transaction)
                status = ll_txn_begin(conn, LL_BEGIN_IMMEDIATE, NULL, &task->request);
            break;
        case 1:
            task->here = 1;
            status = ll_exec(conn, "INSERT INTO t VALUES(2)", NULL, 0, NULL, &task->request);
            break;
        case 2:
            task->here = 0;
            status = ll_query(conn, "SELECT count(*) FROM t", NULL, 0, NULL, &task->request);
            break;
        case 3:
            task->here = -2;
            status = ll_txn_commit(conn, NULL, &task->request);
            break;
        default: /* with or without a transaction */
            task->doing = RELEASING;
            task->pending = 0;
            task->in_transaction = false;
            status = ll_pool_release(task->lease, NULL, &task->request);
            task->lease = NULL;
            break;
        }
    }
    if (status < 0)
        t_fail(__FILE__, __LINE__, "%s", ll_last_error());
}

static void history(t_env *t, uint64_t seed, bool memory)
{
    struct stepped s;
    struct task tasks[TASKS] = {{0}};
    struct totals totals = {0};
    begin(&s, t, memory ? NULL : t_path(t, t_printf(t, "%u.db", (unsigned)seed)),
          (ll_pool_options){.max_size = SIZE,
                            .connect_timeout_ns = LL_POOL_NEVER,
                            .checkpoint_frames = 5,
                            .health_interval_ns = 20 * T_MS});
    s.random = seed;
    ll_request_unref(run_text(&s, NULL, "CREATE TABLE t(x)"));
    for (int i = 0; i < 600; i++) {
        struct lli_step_move list[LLI_STEP_MOVES];
        size_t some = lli_step_moves(&s.step, list);
        if (draw(&s, 3) == 0)
            act(&s, &tasks[draw(&s, TASKS)], &totals);
        else if (some > 0 && draw(&s, 4))
            lli_step_make(&s.step, list[draw(&s, some)]);
        else
            T_CHECK(ll_engine_dispatch(s.step.engine, NULL) == LL_OK);
    }
    /* Everybody comes to an end: what is waited for is waited for no more, what is held is given back. */
    for (int i = 0; i < TASKS; i++)
        if (tasks[i].request)
            T_CHECK(ll_request_cancel(tasks[i].request) == LL_OK);
    for (int round = 0, busy = 1; busy; round++) {
        T_CHECK(round < 10);
        lli_step_settle(&s.step);
        busy = 0;
        for (int i = 0; i < TASKS; i++) {
            struct task *task = &tasks[i];
            if (task->request && ll_request_is_done(task->request))
                learn(task, &totals);
            busy += task->request != NULL;
            if (!task->request && task->lease) {
                T_CHECK(ll_pool_release(task->lease, NULL, NULL) == LL_OK);
                task->lease = NULL;
                task->doing = NOTHING;
                busy++;
            }
        }
    }
    is_whole(&s, SIZE);
    T_EQUAL(number(&s, NULL, "SELECT count(*) FROM t"), totals.rows);
    T_EQUAL(p_stats(s.pool).exhausted, 0);
    end(&s);
}

static void random_schedules(void **state)
{
    const char *only = getenv("LL_SEED"), *more = getenv("LL_HISTORIES");
    uint64_t first = only ? strtoull(only, NULL, 10) : 1;
    uint64_t count = more ? strtoull(more, NULL, 10) : only ? 1 : getenv("LL_TEST_SLOW") ? 10 : 60;
    for (uint64_t seed = first; seed < first + count; seed++) {
        printf("seed %llu\n", (unsigned long long)seed);
        history(*state, seed, seed % 3 == 0 && t_has(T_HAS_MEMDB));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(at_every_await),
        T_TEST(a_statement_in_line_and_running),
        T_TEST(random_schedules),
    };
    return T_RUN(tests);
}
