/* The libuv adapter: what every adapter promises (bridge.h), a loop that goes on or ends as its user says,
 * wrong arguments. */
#include "support/support.h"

#include <looplite_uv.h>

typedef struct host {
    uv_loop_t loop;
    ll_uv *bridges[2];
} host;

#include "adapters/bridge.h"

static void on_failure(int code, void *user)
{
    T_CHECK(user == bridge_told.host);
    T_CHECK(code < 0);
    bridge_failed();
}

static void host_init(host *self)
{
    memset(self, 0, sizeof *self);
    T_CHECK(uv_loop_init(&self->loop) == 0);
}

static void host_done(host *self)
{
    uv_run(&self->loop, UV_RUN_NOWAIT);
    T_CHECK(uv_loop_close(&self->loop) == 0); /* nothing is left on it */
}

static bool host_attach(host *self, ll_engine *engine, int which)
{
    if (ll_uv_attach(&self->loop, engine, on_failure, self, &self->bridges[which]) != 0)
        return false;
    T_CHECK(uv_is_active(ll_uv_handle(self->bridges[which])));
    return true;
}

static void host_detach(host *self, int which)
{
    ll_uv_detach(self->bridges[which]);
    self->bridges[which] = NULL;
}

static void host_step(host *self)
{
    uv_run(&self->loop, UV_RUN_ONCE);
}

static void host_poll(host *self)
{
    uv_run(&self->loop, UV_RUN_NOWAIT);
}

static void host_forked(host *self)
{
    T_CHECK(uv_loop_fork(&self->loop) == 0);
}

static void detach(ll_request *request, void *user)
{
    T_CHECK(ll_request_status(request) == LL_OK);
    host_detach(user, 0);
}

static void the_loop_ends_with_the_bridge(void **state)
{
    t_env *t = *state;
    host self;
    bridge_begin(&self);
    ll_conn *conn = t_open(t, "a.db");
    T_CHECK(host_attach(&self, t->engine, 0));
    ll_submit how = {.done = detach, .user = &self, .flags = LL_SUBMIT_NO_INLINE};
    T_EQUAL(ll_query(conn, "SELECT 1", NULL, 0, &how, NULL), LL_PENDING);
    T_EQUAL(uv_run(&self.loop, UV_RUN_DEFAULT), 0);
    T_CHECK(self.bridges[0] == NULL);
    bridge_end(&self);
    t_close(conn);
}

static void an_unreferenced_bridge_keeps_nobody(void **state)
{
    t_env *t = *state;
    host self;
    bridge_begin(&self);
    T_CHECK(host_attach(&self, t->engine, 0));
    uv_unref(ll_uv_handle(self.bridges[0]));
    T_CHECK(uv_run(&self.loop, UV_RUN_DEFAULT) == 0); /* returns */
    host_detach(&self, 0);
    ll_uv_detach(NULL);
    bridge_end(&self);
}

static int attach_in_child(void *arg)
{
    uv_loop_t loop;
    ll_uv *bridge = NULL;
    T_CHILD(uv_loop_init(&loop) == 0);
    T_CHILD(ll_uv_attach(&loop, arg, NULL, NULL, &bridge) == UV_EINVAL);
    T_CHILD(bridge == NULL);
    T_CHILD(uv_loop_close(&loop) == 0);
    return 0;
}

static void wrong_arguments(void **state)
{
    t_env *t = *state;
    host self;
    bridge_begin(&self);
    ll_uv *bridge = NULL;
    T_CHECK(ll_uv_attach(NULL, t->engine, NULL, NULL, &bridge) == UV_EINVAL);
    T_CHECK(ll_uv_attach(&self.loop, NULL, NULL, NULL, &bridge) == UV_EINVAL);
    T_CHECK(ll_uv_attach(&self.loop, t->engine, NULL, NULL, NULL) == UV_EINVAL);
    T_CHECK(bridge == NULL);
    t_in_child(attach_in_child, t->engine);
    bridge_end(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BRIDGE_TESTS,
        T_TEST(the_loop_ends_with_the_bridge),
        T_TEST(an_unreferenced_bridge_keeps_nobody),
        T_TEST(wrong_arguments),
    };
    return T_RUN(tests);
}
