/* The GLib adapter: what every adapter promises (bridge.h), contexts other than the default one, a main
 * loop inside a callback, priorities, wrong arguments. */
#include "support/support.h"

#include <looplite_glib.h>

typedef struct host {
    GMainContext *context;
    ll_glib *bridges[2];
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
    self->context = g_main_context_new();
}

static void host_done(host *self)
{
    T_CHECK(!g_main_context_find_source_by_user_data(self->context, NULL));
    T_CHECK(!g_main_context_pending(self->context));
    g_main_context_unref(self->context);
}

static bool host_attach(host *self, ll_engine *engine, int which)
{
    return ll_glib_attach(self->context, engine, on_failure, self, &self->bridges[which]) == LL_OK;
}

static void host_detach(host *self, int which)
{
    ll_glib_detach(self->bridges[which]);
    self->bridges[which] = NULL;
}

static void host_step(host *self)
{
    g_main_context_iteration(self->context, TRUE);
}

static void host_poll(host *self)
{
    g_main_context_iteration(self->context, FALSE);
}

static void host_forked(host *self)
{
    (void)self; /* it polls: nothing is shared with the parent */
}

/* ---- a loop inside a callback, as a modal dialog runs one ---- */

struct dialog {
    host self;
    ll_conn *conn;
    size_t calls, rounds;
    bool inside;
};

static gboolean next_round(gpointer user)
{
    struct dialog *dialog = user;
    return ++dialog->rounds < 5 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void dialog_done(ll_request *request, void *user)
{
    struct dialog *dialog = user;
    T_EQUAL(ll_request_status(request), LL_OK);
    T_CHECK(!dialog->inside); /* nothing calls back meanwhile */
    dialog->calls++;
    if (dialog->calls > 1)
        return;
    dialog->inside = true;
    ll_submit how = {.done = dialog_done, .user = dialog, .flags = LL_SUBMIT_NO_INLINE};
    T_EQUAL(ll_query(dialog->conn, "SELECT 2", NULL, 0, &how, NULL), LL_PENDING);
    GSource *timer = g_timeout_source_new(1);
    g_source_set_callback(timer, next_round, dialog, NULL);
    g_source_attach(timer, dialog->self.context);
    while (dialog->rounds < 5)
        host_step(&dialog->self);
    g_source_unref(timer);
    dialog->inside = false;
}

static void a_loop_inside_a_callback(void **state)
{
    t_env *t = *state;
    struct dialog dialog = {0};
    bridge_begin(&dialog.self);
    T_CHECK(host_attach(&dialog.self, t->engine, 0));
    dialog.conn = t_open(t, "a.db");
    ll_submit how = {.done = dialog_done, .user = &dialog, .flags = LL_SUBMIT_NO_INLINE};
    T_EQUAL(ll_query(dialog.conn, "SELECT 1", NULL, 0, &how, NULL), LL_PENDING);
    while (dialog.calls < 2)
        host_step(&dialog.self);
    host_detach(&dialog.self, 0);
    bridge_end(&dialog.self);
    t_close(dialog.conn);
}

/* ---- the source is one like others ---- */

static gboolean before(gpointer user)
{
    size_t *calls = user;
    T_EQUAL(*calls, 0); /* it goes first, and is gone then */
    return G_SOURCE_REMOVE;
}

static void a_lower_priority_comes_later(void **state)
{
    t_env *t = *state;
    host self;
    bridge_begin(&self);
    ll_conn *conn = t_open(t, "a.db");
    T_CHECK(host_attach(&self, t->engine, 0));
    g_source_set_priority(ll_glib_source(self.bridges[0]), G_PRIORITY_LOW);
    size_t calls = 0;
    ll_submit how = {.done = t_count, .user = &calls, .flags = LL_SUBMIT_NO_INLINE};
    T_EQUAL(ll_query(conn, "SELECT 1", NULL, 0, &how, NULL), LL_PENDING);
    struct pollfd ready = {.fd = ll_engine_fd(t->engine), .events = POLLIN};
    T_EQUAL(poll(&ready, 1, -1), 1);
    GSource *idle = g_idle_source_new();
    g_source_set_callback(idle, before, &calls, NULL);
    g_source_attach(idle, self.context);
    host_step(&self);
    T_EQUAL(calls, 0);
    while (calls == 0)
        host_step(&self);
    g_source_unref(idle);
    host_detach(&self, 0);
    bridge_end(&self);
    t_close(conn);
}

static void stop(ll_request *request, void *user)
{
    (void)request;
    g_main_loop_quit(user);
}

static void on_the_default_context(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    GMainLoop *loop = g_main_loop_new(NULL, FALSE);
    ll_glib *bridge = NULL;
    T_EQUAL(ll_glib_attach(NULL, t->engine, NULL, NULL, &bridge), LL_OK);
    ll_submit how = {.done = stop, .user = loop, .flags = LL_SUBMIT_NO_INLINE};
    T_EQUAL(ll_query(conn, "SELECT 1", NULL, 0, &how, NULL), LL_PENDING);
    g_main_loop_run(loop);
    ll_glib_detach(bridge);
    ll_glib_detach(NULL);
    g_main_loop_unref(loop);
    t_close(conn);
}

static int attach_in_child(void *arg)
{
    ll_glib *bridge = NULL;
    T_CHILD(ll_glib_attach(NULL, arg, NULL, NULL, &bridge) == LL_EFORK);
    T_CHILD(bridge == NULL);
    return 0;
}

static void wrong_arguments(void **state)
{
    t_env *t = *state;
    ll_glib *bridge = NULL;
    T_EQUAL(ll_glib_attach(NULL, NULL, NULL, NULL, &bridge), LL_EINVAL);
    T_EQUAL(ll_glib_attach(NULL, t->engine, NULL, NULL, NULL), LL_EINVAL);
    T_CHECK(bridge == NULL);
    t_in_child(attach_in_child, t->engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BRIDGE_TESTS,
        T_TEST(a_loop_inside_a_callback),
        T_TEST(a_lower_priority_comes_later),
        T_TEST(on_the_default_context),
        T_TEST(wrong_arguments),
    };
    return T_RUN(tests);
}
