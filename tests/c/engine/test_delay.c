/* Requests that wait for their loop: for a page that is on its way, or for the next turn. The misses are
 * made by fault points, so that each comes where it is wanted; test_cold.c makes true ones. */
#include "world.h"

#include "base/fault.h"
#include "engine/delay.h"

#include <poll.h>
#include <pthread.h>

static const char point_read[] = "SELECT x FROM t WHERE id = 7";

enum {
    CONNS = 10
};

struct delay {
    struct world w;
    ll_conn *conns[CONNS];
};

static void add_conn(struct delay *d, unsigned i)
{
    d->conns[i] = world_open(&d->w, "a.db", NULL);
    if (i == 0) {
        world_exec(&d->w, d->conns[0], "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, x)");
        world_exec(&d->w, d->conns[0],
                   "INSERT OR IGNORE INTO t(id, x) " T_ENDLESS
                   "SELECT x, 'row ' || x FROM c LIMIT 100");
    }
    for (int k = 0; k < 2; k++) /* the text is known, and its first read has been */
        world_exec(&d->w, d->conns[i], point_read);
    T_CHECK(world_exec(&d->w, d->conns[i], point_read));
}

static void begin(struct delay *d, t_env *t, unsigned count)
{
    *d = (struct delay){.conns = {NULL}};
    world_needs_guarded_files(t);
    world_begin(&d->w, t);
    for (unsigned i = 0; i < count; i++)
        add_conn(d, i);
    if (d->conns[0]->disk != LLI_DISK_NOWAIT) {
        print_message(
            "skipped: the guard of the temporary files is \"%s\": nothing is tried again\n",
            lli_disk_guard_name(d->conns[0]->disk));
        for (unsigned i = 0; i < count; i++)
            world_close(&d->w, d->conns[i]);
        world_end(&d->w);
        skip();
    }
    T_CHECK(ll_engine_dispatch(d->w.step.engine, NULL) == LL_OK); /* a new turn */
}

static void end(struct delay *d)
{
    lli_fault_disarm();
    for (unsigned i = 0; i < CONNS; i++)
        if (d->conns[i])
            world_close(&d->w, d->conns[i]);
    world_end(&d->w);
}

/* A read that meets a missing page. */
static ll_request *miss(struct delay *d, unsigned i, const ll_submit *how)
{
    ll_request *request = NULL;
    lli_fault_arm(LLI_FAULT_ATTEMPT, 1);
    T_CHECK(ll_query(d->conns[i], point_read, NULL, 0, how, &request) == LL_PENDING);
    T_CHECK(lli_fault_fired());
    lli_fault_disarm();
    return request;
}

static void retry_now(struct delay *d)
{
    uint64_t due = lli_delay_next(d->w.step.engine);
    T_CHECK(due != LLI_NEVER);
    if (due > d->w.step.now_ns)
        lli_step_advance(&d->w.step, due - d->w.step.now_ns);
    T_CHECK(ll_engine_dispatch(d->w.step.engine, NULL) == LL_OK);
}

/* ... and gives it back. */
static void is_row(ll_request *request)
{
    t_is(request, LL_OK, LL_APPLIED);
    t_rows rows = {.request = request};
    T_SAME_TEXT(t_rows_next(&rows)[0].as.text, "row 7");
    T_CHECK(!t_rows_next(&rows));
    t_rows_done(&rows);
}

static void a_miss_and_then_a_hit(void **state)
{
    struct delay d;
    begin(&d, *state, 1);
    for (int i = 0; i < 3; i++) {
        ll_stats before = world_stats(&d.w);
        ll_request *request = miss(&d, 0, NULL);
        ll_stats after = world_stats(&d.w);
        T_EQUAL(after.misses, before.misses + 1);
        T_EQUAL(after.bounced_disk, before.bounced_disk + 1);
        T_EQUAL(after.retries, before.retries + 1);
        T_EQUAL(d.conns[0]->mode, LLI_CONN_DELAYED);
        T_CHECK(!t_state(d.conns[0]).idle);
        T_CHECK(ll_engine_dispatch(d.w.step.engine, NULL) == LL_OK); /* not due yet */
        T_CHECK(!world_move(&d.w, request));                         /* and nothing for a worker */
        retry_now(&d);
        T_CHECK(ll_request_is_done(request));
        after = world_stats(&d.w);
        T_EQUAL(after.retry_hits, before.retry_hits + 1);
        T_EQUAL(after.inline_hits, before.inline_hits + 1);
        T_EQUAL(after.completed, before.completed + 1);
        T_EQUAL(after.immediate, before.immediate);
        T_EQUAL(after.hops, before.hops);
        T_CHECK(t_state(d.conns[0]).idle);
        is_row(request);
    }
    end(&d);
}

static void a_second_miss_goes_to_a_worker(void **state)
{
    struct delay d;
    begin(&d, *state, 1);
    ll_stats before = world_stats(&d.w);
    ll_request *request = miss(&d, 0, NULL);
    lli_fault_arm(LLI_FAULT_ATTEMPT, 1);
    retry_now(&d);
    T_CHECK(lli_fault_fired() && !ll_request_is_done(request));
    T_CHECK(world_move(&d.w, request));
    ll_stats after = world_stats(&d.w);
    T_EQUAL(after.misses, before.misses + 2);
    T_EQUAL(after.retries, before.retries + 1);
    T_EQUAL(after.retry_hits, before.retry_hits);
    T_EQUAL(after.worker_runs, before.worker_runs + 1);
    T_EQUAL(lli_delay_next(d.w.step.engine), LLI_NEVER);
    is_row(request);
    end(&d);
}

static void eight_misses_a_turn(void **state)
{
    struct delay d;
    begin(&d, *state, CONNS);
    ll_request *requests[CONNS];
    ll_stats before = world_stats(&d.w);
    for (unsigned i = 0; i < 8; i++)
        requests[i] = miss(&d, i, NULL);
    T_EQUAL(world_stats(&d.w).retries, before.retries + 8);
    for (unsigned i = 8; i < CONNS; i++) { /* these are not tried at all */
        T_CHECK(ll_query(d.conns[i], point_read, NULL, 0, NULL, &requests[i]) == LL_PENDING);
        T_EQUAL(d.conns[i]->mode, LLI_CONN_READY);
        T_CHECK(world_move(&d.w, requests[i]));
    }
    ll_stats after = world_stats(&d.w);
    T_EQUAL(after.misses, before.misses + 8);
    T_EQUAL(after.inline_refused, before.inline_refused + CONNS - 8);
    T_EQUAL(after.worker_runs, before.worker_runs + CONNS - 8);
    ll_engine_new_turn(d.w.step.engine);
    T_CHECK(world_exec(&d.w, d.conns[9], point_read));
    retry_now(&d); /* all of them, in one turn */
    T_EQUAL(world_stats(&d.w).retry_hits, before.retry_hits + 8);
    for (unsigned i = 0; i < CONNS; i++) {
        is_row(requests[i]);
    }
    end(&d);
}

static void retries_that_do_not_pay(void **state)
{
    struct delay d;
    begin(&d, *state, 1);
    ll_stats before = world_stats(&d.w);
    unsigned tried = 0;
    for (int i = 0; i < 60; i++) {
        ll_request *request = miss(&d, 0, NULL);
        if (d.conns[0]->mode == LLI_CONN_DELAYED) {
            tried++;
            lli_fault_arm(LLI_FAULT_ATTEMPT, 1);
            retry_now(&d);
        }
        T_CHECK(world_move(&d.w, request));
        T_CHECK(ll_engine_dispatch(d.w.step.engine, NULL) == LL_OK);
        is_row(request);
    }
    T_EQUAL(tried, 8); /* the trust of a new engine, two for each */
    T_EQUAL(world_stats(&d.w).retries, before.retries + tried);
    end(&d);
}

/* ---- what reaches a request that waits ---- */

static void stopped_while_it_waits(void **state)
{
    struct delay d;
    begin(&d, *state, 1);
    ll_request *request = miss(&d, 0, NULL);
    T_CHECK(ll_request_cancel(request) == LL_OK);
    T_CHECK(ll_request_is_done(request)); /* at once */
    t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
    ll_request_unref(request);
    ll_request *behind = NULL; /* waits behind the shell */
    T_CHECK(ll_query(d.conns[0], point_read, NULL, 0, NULL, &behind) == LL_PENDING);
    retry_now(&d);
    is_row(behind);
    T_CHECK(t_state(d.conns[0]).idle);

    ll_submit how = {.timeout_ns = T_MS / 10};
    request = miss(&d, 0, &how);
    lli_step_advance(&d.w.step, T_MS / 10);
    T_CHECK(ll_engine_dispatch(d.w.step.engine, NULL) == LL_OK);
    t_is(request, LL_ETIMEOUT, LL_NOT_APPLIED);
    ll_request_unref(request);
    lli_step_settle(&d.w.step);

    request = miss(&d, 0, NULL);
    T_CHECK(ll_conn_interrupt(d.conns[0]) == LL_OK);
    T_CHECK(ll_request_is_done(request));
    T_CHECK(ll_request_status(request) == LL_ESQL);
    T_EQUAL(ll_request_error(request)->sqlite_code, SQLITE_INTERRUPT);
    ll_request_unref(request);
    lli_step_settle(&d.w.step);
    T_CHECK(world_exec(&d.w, d.conns[0], point_read));
    end(&d);
}

static void closed_while_it_waits(void **state)
{
    struct delay d;
    begin(&d, *state, 2);
    ll_request *request = miss(&d, 0, NULL), *close = NULL;
    T_CHECK(ll_conn_close(d.conns[0], NULL, &close) == LL_PENDING);
    T_EQUAL(d.conns[0]->mode, LLI_CONN_READY); /* a worker does both, in order */
    T_CHECK(world_move(&d.w, close));
    is_row(request);
    ll_request_unref(close);
    retry_now(&d); /* finds nothing */
    /* The last handle goes. */
    request = miss(&d, 1, NULL);
    ll_conn_unref(d.conns[1]);
    d.conns[1] = NULL;
    lli_step_settle(&d.w.step);
    is_row(request);
    end(&d);
}

static void the_engine_ends_while_it_waits(void **state)
{
    for (int abandoned = 0; abandoned < 2; abandoned++) {
        struct delay d;
        t_told told = {0};
        begin(&d, *state, 2);
        ll_submit how = {.done = t_tell, .user = &told};
        ll_request *request = miss(&d, 0, &how);
        ll_request *deferred = NULL;
        ll_engine_turn_charge(d.w.step.engine, T_HOUR);
        T_CHECK(ll_query(d.conns[1], point_read, NULL, 0, NULL, &deferred) == LL_PENDING);
        T_EQUAL(d.conns[1]->mode, LLI_CONN_DELAYED);
        struct lli_crew *crew = lli_crew_ref(d.w.step.engine->crew);
        if (abandoned)
            ll_engine_abandon(d.w.step.engine);
        else
            ll_engine_free(d.w.step.engine);
        lli_crew_run_here(crew);
        lli_crew_unref(crew);
        T_EQUAL(told.calls, abandoned ? 0 : 1);
        t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
        t_is(deferred, LL_ECANCELLED, LL_NOT_APPLIED);
        ll_request_unref(request);
        ll_request_unref(deferred);
        ll_conn_unref(d.conns[0]);
        ll_conn_unref(d.conns[1]);
        lli_clock_real();
    }
}

/* ---- order ---- */

static void what_is_asked_behind_it(void **state)
{
    struct delay d;
    begin(&d, *state, 1);
    t_told told[3] = {{0}};
    ll_submit how[3];
    for (int i = 0; i < 3; i++)
        how[i] = (ll_submit){.done = t_tell, .user = &told[i]};
    /* Reads wait behind it, and run on the loop as well. */
    ll_stats before = world_stats(&d.w);
    ll_request *first = miss(&d, 0, &how[0]), *second = NULL, *third = NULL;
    T_CHECK(ll_query(d.conns[0], point_read, NULL, 0, &how[1], &second) == LL_PENDING);
    T_CHECK(ll_query(d.conns[0], point_read, NULL, 0, &how[2], &third) == LL_PENDING);
    T_CHECK(!world_move(&d.w, third));
    retry_now(&d);
    T_CHECK(told[0].calls == 1 && told[1].calls == 1 && told[2].calls == 1);
    T_CHECK(told[0].order < told[1].order && told[1].order < told[2].order);
    T_EQUAL(world_stats(&d.w).worker_runs, before.worker_runs);
    ll_request_unref(first);
    ll_request_unref(second);
    ll_request_unref(third);
    /* A write takes a worker, at once, who does what came before it first. */
    for (int i = 0; i < 3; i++)
        told[i] = (t_told){0};
    first = miss(&d, 0, &how[0]);
    T_CHECK(ll_exec(d.conns[0], "UPDATE t SET x = 'new' WHERE id = 7", NULL, 0, &how[1], &second) ==
            LL_PENDING);
    T_CHECK(ll_query(d.conns[0], point_read, NULL, 0, &how[2], &third) == LL_PENDING);
    T_CHECK(world_move(&d.w, third)); /* no time has passed */
    T_CHECK(ll_engine_dispatch(d.w.step.engine, NULL) == LL_OK);
    T_CHECK(told[0].order < told[1].order && told[1].order < told[2].order);
    T_EQUAL(world_stats(&d.w).worker_runs, before.worker_runs + 3);
    is_row(first); /* the old one */
    t_rows rows = {.request = third};
    T_SAME_TEXT(t_rows_next(&rows)[0].as.text, "new");
    t_rows_done(&rows);
    ll_request_unref(second);
    end(&d);
}

/* ---- the spent turn ---- */

static bool readable(const struct delay *d)
{
    struct pollfd poller = {.fd = ll_engine_fd(d->w.step.engine), .events = POLLIN};
    return poll(&poller, 1, 0) == 1;
}

static void kept_for_the_next_turn(void **state)
{
    struct delay d;
    begin(&d, *state, 3);
    t_told told[6] = {{0}};
    ll_request *requests[6];
    ll_stats before = world_stats(&d.w);
    T_CHECK(!readable(&d));
    ll_engine_turn_charge(d.w.step.engine, T_HOUR);
    for (int i = 0; i < 6; i++) {
        ll_submit how = {.done = t_tell, .user = &told[i]};
        T_CHECK(ll_query(d.conns[i % 3], point_read, NULL, 0, &how, &requests[i]) == LL_PENDING);
    }
    T_CHECK(readable(&d));
    T_EQUAL(world_stats(&d.w).deferred, before.deferred + 6);
    T_CHECK(!world_move(&d.w, requests[5]));
    T_CHECK(ll_engine_dispatch(d.w.step.engine, NULL) == LL_OK);
    T_CHECK(!readable(&d));
    for (int i = 0; i < 6; i++) {
        T_EQUAL(told[i].calls, 1);
        T_CHECK(i == 0 || told[i - 1].order < told[i].order); /* first come, first served */
        is_row(requests[i]);
    }
    T_EQUAL(world_stats(&d.w).hops, before.hops);
    T_EQUAL(world_stats(&d.w).inline_hits, before.inline_hits + 6);
    /* What cannot run there does not wait, nor what waits for a worker anyway. */
    ll_engine_turn_charge(d.w.step.engine, T_HOUR);
    T_CHECK(ll_exec(d.conns[0], "DELETE FROM t WHERE id = 1", NULL, 0, NULL, &requests[0]) ==
            LL_PENDING);
    T_EQUAL(d.conns[0]->mode, LLI_CONN_READY);
    T_CHECK(ll_query(d.conns[0], point_read, NULL, 0, NULL, &requests[1]) == LL_PENDING);
    T_CHECK(world_move(&d.w, requests[1]));
    T_EQUAL(world_stats(&d.w).deferred, before.deferred + 6);
    ll_request_unref(requests[0]);
    ll_request_unref(requests[1]);
    end(&d);
}

/* By the real clock: whatever a read takes, it is more than a nanosecond, so one fits into a turn. Each text
 * is new, so that none has a history of being slow. */
static void what_does_not_fit(void **state)
{
    t_env *t = *state;
    world_needs_guarded_files(t);
    lli_cost_clear();
    for (int host = 0; host < 2; host++) {
        t_engine(t, &(ll_engine_options){
                        .turn_ns = 1, .attempt_ns = T_HOUR, .max_workers = 2, .host_turns = host});
        ll_conn *conns[7];
        for (int i = 0; i < 7; i++) {
            conns[i] = t_open(t, "b.db");
            if (i == 0)
                t_exec(conns[0], "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, x)");
            for (int k = 0; k < 3; k++) {
                T_CHECK(ll_engine_dispatch(t->engine, NULL) == LL_OK);
                t_exec(conns[i], point_read);
            }
        }
        T_CHECK(ll_engine_dispatch(t->engine, NULL) == LL_OK);
        ll_stats before = t_stats(t->engine);
        ll_request *requests[7];
        size_t told = 0;
        for (int i = 0; i < 7; i++) {
            ll_submit how = {.done = t_count, .user = &told};
            T_CHECK(ll_exec(conns[i], t_printf(t, "SELECT x FROM t WHERE id = %d%d", host + 1, i),
                            NULL, 0, &how, &requests[i]) == (i == 0 ? LL_OK : LL_PENDING));
        }
        ll_stats after = t_stats(t->engine);
        T_EQUAL(after.deferred - before.deferred, host ? 0 : 6);
        T_EQUAL(after.inline_refused - before.inline_refused, host ? 6 : 0);
        for (size_t turn = 1; turn <= 4 && !host; turn++) {
            T_CHECK(ll_engine_dispatch(t->engine, NULL) == LL_OK);
            T_EQUAL(t_stats(t->engine).inline_hits - before.inline_hits, 1 + turn);
        }
        t_until(t->engine, &told, 6); /* the last two have waited for four turns: workers */
        after = t_stats(t->engine);
        T_EQUAL(after.worker_runs - before.worker_runs, host ? 6 : 2);
        for (int i = 0; i < 7; i++) {
            ll_request_unref(requests[i]);
            t_close(conns[i]);
        }
    }
}

/* A read transaction that was kept for the turn is not kept while its connection waits. */
static void a_held_snapshot_is_let_go(void **state)
{
    struct delay d;
    begin(&d, *state, 1);
    world_exec(&d.w, d.conns[0], "PRAGMA journal_mode=WAL");
    for (int i = 0; i < 3; i++)
        world_exec(&d.w, d.conns[0], point_read);
    ll_engine_new_turn(d.w.step.engine);
    ll_request *request = NULL;
    for (int i = 0; i < 3; i++)
        T_CHECK(world_exec(&d.w, d.conns[0], point_read));
    T_CHECK(lli_snapshot_held(&d.conns[0]->db.snapshot));
    ll_engine_turn_charge(d.w.step.engine, T_HOUR);
    T_CHECK(ll_query(d.conns[0], point_read, NULL, 0, NULL, &request) == LL_PENDING);
    T_EQUAL(d.conns[0]->mode, LLI_CONN_DELAYED);
    ll_engine_new_turn(d.w.step.engine);
    T_CHECK(!lli_snapshot_held(&d.conns[0]->db.snapshot));
    T_EQUAL(d.conns[0]->mode, LLI_CONN_DELAYED);
    T_CHECK(ll_engine_dispatch(d.w.step.engine, NULL) == LL_OK);
    is_row(request);
    end(&d);
}

/* ---- with true threads ---- */

enum {
    ROUNDS = 200
};

struct other_loop {
    ll_engine *first; /* whose workers it shares */
    ll_conn *conn;
    unsigned wrong;
};

/* Asks the same connection from a loop of its own. */
static void *other_loop(void *arg)
{
    struct other_loop *self = arg;
    ll_engine *engine = NULL;
    ll_engine_options options = {.workers_of = self->first, .turn_ns = 1, .attempt_ns = T_HOUR};
    if (ll_engine_new(&options, &engine) != LL_OK) {
        self->wrong++;
        return NULL;
    }
    for (int i = 0; i < ROUNDS; i++) {
        ll_request *requests[2] = {NULL, NULL};
        ll_submit how = {.engine = engine};
        self->wrong += ll_engine_dispatch(engine, NULL) != LL_OK;
        for (int k = 0; k < 2; k++)
            self->wrong += ll_query(self->conn, point_read, NULL, 0, &how, &requests[k]) < 0;
        if (i % 3 == 0)
            self->wrong += ll_request_cancel(requests[0]) != LL_OK;
        for (int k = 0; k < 2; k++) {
            ll_status status = ll_request_wait(requests[k]);
            self->wrong += status != LL_OK && status != LL_ECANCELLED && status != LL_ESQL;
            ll_request_unref(requests[k]);
        }
    }
    ll_engine_free(engine);
    return NULL;
}

/* Two loops and the workers take one connection from each other, while pages are missed and turns spent. */
static void a_connection_of_two_loops(void **state)
{
    t_env *t = *state;
    world_needs_guarded_files(t);
    lli_cost_clear();
    t_engine(t, &(ll_engine_options){.turn_ns = 1, .attempt_ns = T_HOUR});
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
    struct other_loop other = {.first = t->engine, .conn = conn};
    pthread_t thread;
    T_CHECK(pthread_create(&thread, NULL, other_loop, &other) == 0);
    size_t told = 0, wanted = 0;
    for (int i = 0; i < ROUNDS; i++) {
        ll_request *requests[3];
        lli_fault_arm(LLI_FAULT_ATTEMPT, 1 + (unsigned)i % 5);
        for (int k = 0; k < 3; k++) {
            ll_submit how = {.done = t_count, .user = &told};
            const char *text = k == 2 && i % 8 == 0 ? "INSERT INTO t(x) VALUES(1)" : point_read;
            ll_status status = ll_query(conn, text, NULL, 0, &how, &requests[k]);
            T_CHECK(status >= 0);
            wanted += status == LL_PENDING;
        }
        if (i % 4 == 0)
            T_CHECK(ll_request_cancel(requests[1]) == LL_OK);
        if (i % 16 == 0)
            T_CHECK(ll_conn_interrupt(conn) == LL_OK);
        t_until(t->engine, &told, wanted);
        for (int k = 0; k < 3; k++)
            ll_request_unref(requests[k]);
    }
    lli_fault_disarm();
    T_CHECK(pthread_join(thread, NULL) == 0);
    T_EQUAL(other.wrong, 0);
    T_EQUAL(told, wanted);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(a_miss_and_then_a_hit),
        T_TEST(a_second_miss_goes_to_a_worker),
        T_TEST(eight_misses_a_turn),
        T_TEST(retries_that_do_not_pay),
        T_TEST(stopped_while_it_waits),
        T_TEST(closed_while_it_waits),
        T_TEST(the_engine_ends_while_it_waits),
        T_TEST(what_is_asked_behind_it),
        T_TEST(kept_for_the_next_turn),
        T_TEST(what_does_not_fit),
        T_TEST(a_held_snapshot_is_let_go),
        T_TEST(a_connection_of_two_loops),
    };
    return T_RUN(tests);
}
