/* The libevent adapter: what every adapter promises (bridge.h), a loop that ends when the bridge is gone,
 * priorities, wrong arguments. */
#include "support/support.h"

#include <looplite_event.h>

typedef struct host {
    struct event_base *base;
    ll_event *bridges[2];
} host;

#include "adapters/bridge.h"

static void on_failure(ll_status status, void *user)
{
    T_CHECK(user == bridge_told.host);
    T_CHECK(status < 0);
    bridge_failed();
}

static void host_init(host *self)
{
    memset(self, 0, sizeof *self);
    self->base = event_base_new();
    T_CHECK(self->base);
}

static void host_done(host *self)
{
    T_EQUAL(event_base_get_num_events(self->base, EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_ACTIVE),
            0);
    event_base_free(self->base);
}

static bool host_attach(host *self, ll_engine *engine, int which)
{
    return ll_event_attach(self->base, engine, on_failure, self, &self->bridges[which]) == LL_OK;
}

static void host_detach(host *self, int which)
{
    ll_event_detach(self->bridges[which]);
    self->bridges[which] = NULL;
}

static void host_step(host *self)
{
    T_CHECK(event_base_loop(self->base, EVLOOP_ONCE) >= 0);
}

static void host_poll(host *self)
{
    T_CHECK(event_base_loop(self->base, EVLOOP_NONBLOCK) >= 0);
}

static void host_forked(host *self)
{
    T_EQUAL(event_reinit(self->base), 0); /* or it would share its epoll with the parent */
}

/* ---- the loop ends with the bridge ---- */

static void detach(ll_request *request, void *user)
{
    (void)request;
    host_detach(user, 0);
}

static void the_loop_ends_with_the_bridge(void **state)
{
    t_env *t = *state;
    host self;
    bridge_begin(&self);
    ll_conn *conn = t_open(t, "a.db");
    T_CHECK(host_attach(&self, t->engine, 0));
    T_CHECK(event_pending(ll_event_handle(self.bridges[0]), EV_READ, NULL));
    ll_submit how = {.done = detach, .user = &self, .flags = LL_SUBMIT_NO_INLINE};
    T_EQUAL(ll_query(conn, "SELECT 1", NULL, 0, &how, NULL), LL_PENDING);
    T_EQUAL(event_base_dispatch(self.base), 1); /* 1: no event is left */
    T_CHECK(self.bridges[0] == NULL);
    ll_event_detach(NULL);
    bridge_end(&self);
    t_close(conn);
}

/* ---- the event is one like others ---- */

static void before(evutil_socket_t fd, short what, void *user)
{
    (void)fd;
    (void)what;
    size_t *calls = user;
    T_EQUAL(*calls, 0);
}

static void a_lower_priority_comes_later(void **state)
{
    t_env *t = *state;
    host self;
    bridge_begin(&self);
    T_EQUAL(event_base_priority_init(self.base, 2), 0);
    ll_conn *conn = t_open(t, "a.db");
    T_CHECK(host_attach(&self, t->engine, 0));
    T_EQUAL(event_priority_set(ll_event_handle(self.bridges[0]), 1), 0);
    size_t calls = 0;
    ll_submit how = {.done = t_count, .user = &calls, .flags = LL_SUBMIT_NO_INLINE};
    T_EQUAL(ll_query(conn, "SELECT 1", NULL, 0, &how, NULL), LL_PENDING);
    struct pollfd ready = {.fd = ll_engine_fd(t->engine), .events = POLLIN};
    T_EQUAL(poll(&ready, 1, -1), 1);
    struct event *first = event_new(self.base, -1, 0, before, &calls);
    T_CHECK(first);
    T_EQUAL(event_priority_set(first, 0), 0);
    event_active(first, EV_TIMEOUT, 1);
    while (calls == 0)
        host_step(&self);
    event_free(first);
    host_detach(&self, 0);
    bridge_end(&self);
    t_close(conn);
}

static int attach_in_child(void *arg)
{
    struct event_base *base = event_base_new();
    ll_event *bridge = NULL;
    T_CHILD(base != NULL);
    T_CHILD(ll_event_attach(base, arg, NULL, NULL, &bridge) == LL_EFORK);
    T_CHILD(bridge == NULL);
    event_base_free(base);
    return 0;
}

static void wrong_arguments(void **state)
{
    t_env *t = *state;
    host self;
    bridge_begin(&self);
    ll_event *bridge = NULL;
    T_EQUAL(ll_event_attach(NULL, t->engine, NULL, NULL, &bridge), LL_EINVAL);
    T_EQUAL(ll_event_attach(self.base, NULL, NULL, NULL, &bridge), LL_EINVAL);
    T_EQUAL(ll_event_attach(self.base, t->engine, NULL, NULL, NULL), LL_EINVAL);
    T_CHECK(bridge == NULL);
    t_in_child(attach_in_child, t->engine);
    bridge_end(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BRIDGE_TESTS,
        T_TEST(the_loop_ends_with_the_bridge),
        T_TEST(a_lower_priority_comes_later),
        T_TEST(wrong_arguments),
    };
    return T_RUN(tests);
}
