/* bridge.h: what every event-loop adapter promises, as tests. A test file defines its `host`, a loop with room
 * for two bridges, includes this, says by the seven functions below how such a loop is made, run and attached to,
 * and lists BRIDGE_TESTS beside what is special about its loop. */
#ifndef T_BRIDGE_H
#define T_BRIDGE_H

#include "support/support.h"

#include <poll.h>

static void host_init(host *self);
static void host_done(host *self); /* fails the test if something is left on the loop */
/* Attaches an engine as number `which`; what goes wrong later is told to bridge_failed(). */
static bool host_attach(host *self, ll_engine *engine, int which);
static void host_detach(host *self, int which);
/* One round: waits until something is ready, and runs it. */
static void host_step(host *self);
/* The same without waiting. */
static void host_poll(host *self);
/* In a child process: what the loop's own documentation asks for. */
static void host_forked(host *self);

/* What the tests know of a failure. */
static struct {
    host *host;
    size_t errors;
    bool detaches; /* the bridge is detached from inside the call that tells */
} bridge_told;

static void bridge_failed(void)
{
    bridge_told.errors++;
    if (bridge_told.detaches)
        host_detach(bridge_told.host, 0);
}

static void bridge_begin(host *self)
{
    memset(&bridge_told, 0, sizeof bridge_told);
    bridge_told.host = self;
    host_init(self);
}

static void bridge_end(host *self)
{
    host_done(self);
    T_EQUAL(bridge_told.errors, 0);
}

/* ---- callbacks come from the loop; detaching inside the last one ends it ---- */

struct chain {
    host *host;
    ll_conn *conn;
    size_t calls;
    bool in_loop;
};

static void chain_done(ll_request *request, void *user)
{
    struct chain *chain = user;
    T_CHECK(chain->in_loop);
    T_EQUAL(ll_request_status(request), LL_OK);
    chain->calls++;
    ll_submit how = {.done = chain_done, .user = chain, .flags = LL_SUBMIT_NO_INLINE};
    if (chain->calls < 10)
        T_EQUAL(ll_query(chain->conn, "SELECT 5", NULL, 0, &how, NULL), LL_PENDING);
    else if (chain->calls == 10)
        T_EQUAL(ll_conn_close(chain->conn, &how, NULL), LL_PENDING);
    else
        host_detach(chain->host, 0);
}

static void callbacks_come_from_the_loop(void **state)
{
    t_env *t = *state;
    host self;
    bridge_begin(&self);
    struct chain chain = {.host = &self};
    T_CHECK(host_attach(&self, t->engine, 0));
    ll_submit how = {.done = chain_done, .user = &chain, .flags = LL_SUBMIT_NO_INLINE};
    T_EQUAL(ll_conn_open(t->engine, t_path(t, "a.db"), NULL, &how, &chain.conn, NULL), LL_PENDING);
    chain.in_loop = true;
    while (chain.calls < 11)
        host_step(&self);
    ll_conn_unref(chain.conn);
    bridge_end(&self);
}

/* ---- detached, nothing calls back; attached again, everything does ---- */

static void a_detached_engine_waits(void **state)
{
    t_env *t = *state;
    host self;
    bridge_begin(&self);
    ll_conn *conn = t_open(t, "a.db");
    for (int i = 0; i < 3; i++) {
        size_t calls = 0;
        T_CHECK(host_attach(&self, t->engine, 0));
        ll_submit how = {.done = t_count, .user = &calls, .flags = LL_SUBMIT_NO_INLINE};
        T_EQUAL(ll_query(conn, "SELECT 1", NULL, 0, &how, NULL), LL_PENDING);
        host_detach(&self, 0);
        struct pollfd ready = {.fd = ll_engine_fd(t->engine), .events = POLLIN};
        T_EQUAL(poll(&ready, 1, -1), 1);
        host_poll(&self);
        host_poll(&self);
        T_EQUAL(calls, 0);
        T_CHECK(host_attach(&self, t->engine, 0));
        while (calls == 0)
            host_step(&self);
        host_detach(&self, 0);
    }
    bridge_end(&self);
    t_close(conn);
}

/* ---- cancelling and deadlines, on the loop ---- */

static void cancelled_on_the_loop(void **state)
{
    t_env *t = *state;
    host self;
    bridge_begin(&self);
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_gate_install(gate, conn);
    t_exec(conn, "CREATE TABLE t(x)");
    T_CHECK(host_attach(&self, t->engine, 0));

    t_told running = {0}, queued = {0}, write = {0}, late = {0};
    ll_request *first = NULL, *second = NULL;
    ll_submit how = {.done = t_tell, .user = &running};
    T_EQUAL(ll_query(conn, T_ENDLESS "SELECT gate(x) FROM c", NULL, 0, &how, &first), LL_PENDING);
    how.user = &queued;
    T_EQUAL(ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0, &how, &second), LL_PENDING);
    how.user = &write;
    T_EQUAL(ll_exec(conn, "INSERT INTO t VALUES(2)", NULL, 0, &how, NULL), LL_PENDING);
    t_gate_entered(gate, 1);
    T_EQUAL(ll_request_cancel(second), LL_OK);
    T_EQUAL(ll_request_cancel(first), LL_OK);
    t_gate_open(gate);
    while (write.calls == 0)
        host_step(&self);
    T_EQUAL(running.calls, 1);
    T_EQUAL(running.status, LL_ECANCELLED);
    T_EQUAL(running.outcome, LL_NOT_APPLIED);
    T_EQUAL(queued.calls, 1);
    T_EQUAL(queued.status, LL_ECANCELLED);
    T_EQUAL(queued.outcome, LL_NOT_APPLIED);
    T_EQUAL(write.status, LL_OK);
    ll_request_unref(first);
    ll_request_unref(second);

    /* a deadline comes by the same descriptor: no timer of the loop is needed */
    how = (ll_submit){.done = t_tell, .user = &late, .timeout_ns = 5 * T_MS};
    T_EQUAL(ll_query(conn, T_ENDLESS "SELECT max(x) FROM c", NULL, 0, &how, NULL), LL_PENDING);
    while (late.calls == 0)
        host_step(&self);
    T_EQUAL(late.status, LL_ETIMEOUT);
    host_detach(&self, 0);
    bridge_end(&self);
    T_EQUAL(t_int(conn, "SELECT group_concat(x) = '2' FROM t"), 1);
    t_close(conn);
}

/* ---- two engines on one loop: each has its own callbacks, and one leaves while the other works ---- */

static void two_engines_on_one_loop(void **state)
{
    t_env *t = *state;
    host self;
    bridge_begin(&self);
    ll_engine *other = NULL;
    T_EQUAL(ll_engine_new(NULL, &other), LL_OK);
    T_CHECK(host_attach(&self, t->engine, 0));
    T_CHECK(host_attach(&self, other, 1));
    ll_conn *a = NULL, *b = NULL;
    size_t calls_a = 0, calls_b = 0;
    ll_submit how_a = {.done = t_count, .user = &calls_a, .flags = LL_SUBMIT_NO_INLINE};
    ll_submit how_b = {.done = t_count, .user = &calls_b, .flags = LL_SUBMIT_NO_INLINE};
    T_EQUAL(ll_conn_open(t->engine, t_path(t, "a.db"), NULL, &how_a, &a, NULL), LL_PENDING);
    T_EQUAL(ll_conn_open(other, t_path(t, "b.db"), NULL, &how_b, &b, NULL), LL_PENDING);
    while (calls_a == 0 || calls_b == 0)
        host_step(&self);
    for (size_t i = 2; i < 20; i++) {
        T_EQUAL(ll_query(a, "SELECT 1", NULL, 0, &how_a, NULL), LL_PENDING);
        T_EQUAL(ll_query(b, "SELECT 1", NULL, 0, &how_b, NULL), LL_PENDING);
        while (calls_a < i || calls_b < i)
            host_step(&self);
    }
    T_EQUAL(ll_query(a, "SELECT 1", NULL, 0, &how_a, NULL), LL_PENDING);
    host_detach(&self, 1);
    ll_conn_unref(b);
    ll_engine_free(other);
    while (calls_a < 20)
        host_step(&self);
    T_EQUAL(calls_b, 19);
    host_detach(&self, 0);
    bridge_end(&self);
    t_close(a);
}

/* ---- the order of an end in the middle of work: detach, free the engine, end the loop ---- */

static void ended_in_the_middle(void **state)
{
    t_env *t = *state;
    host self;
    bridge_begin(&self);
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    T_CHECK(host_attach(&self, t->engine, 0));
    t_told running = {0}, queued = {0};
    ll_submit how = {.done = t_tell, .user = &running};
    T_EQUAL(ll_query(conn, T_ENDLESS "SELECT max(x) FROM c", NULL, 0, &how, NULL), LL_PENDING);
    how.user = &queued;
    T_EQUAL(ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0, &how, NULL), LL_PENDING);
    host_detach(&self, 0);
    host_poll(&self);
    ll_engine_free(t->engine); /* calls back what is owed */
    t->engine = NULL;
    T_EQUAL(running.calls, 1);
    T_EQUAL(running.status, LL_ECANCELLED);
    T_EQUAL(queued.calls, 1);
    T_EQUAL(queued.outcome, LL_NOT_APPLIED);
    host_poll(&self);
    ll_conn_unref(conn);
    bridge_end(&self);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), 0);
}

/* ---- dispatching fails: told once, and then the loop is left alone ---- */

struct broken {
    host *host;
    bool detaches;
};

/* In a child the engine is of no use any more, but its descriptor is as ready as it was. */
static int loop_in_child(void *arg)
{
    struct broken *broken = arg;
    bridge_told.detaches = broken->detaches;
    host_forked(broken->host);
    host_step(broken->host);
    T_CHILD(bridge_told.errors == 1);
    host_poll(broken->host);
    host_poll(broken->host);
    T_CHILD(bridge_told.errors == 1);
    if (!broken->detaches)
        host_detach(broken->host, 0);
    return 0;
}

static void a_failure_is_told_once(void **state)
{
    t_env *t = *state;
    host self;
    bridge_begin(&self);
    ll_conn *conn = t_open(t, "a.db");
    size_t calls = 0;
    T_CHECK(host_attach(&self, t->engine, 0));
    ll_submit how = {.done = t_count, .user = &calls, .flags = LL_SUBMIT_NO_INLINE};
    T_EQUAL(ll_query(conn, "SELECT 1", NULL, 0, &how, NULL), LL_PENDING);
    struct pollfd ready = {.fd = ll_engine_fd(t->engine), .events = POLLIN};
    T_EQUAL(poll(&ready, 1, -1), 1);
    struct broken broken = {.host = &self};
    t_in_child(loop_in_child, &broken);
    broken.detaches = true;
    t_in_child(loop_in_child, &broken);
    while (calls == 0)
        host_step(&self);
    host_detach(&self, 0);
    bridge_end(&self);
    t_close(conn);
}

#define BRIDGE_TESTS                                                       \
    T_TEST(callbacks_come_from_the_loop), T_TEST(a_detached_engine_waits), \
        T_TEST(cancelled_on_the_loop), T_TEST(two_engines_on_one_loop),    \
        T_TEST(ended_in_the_middle), T_TEST(a_failure_is_told_once)

#endif
