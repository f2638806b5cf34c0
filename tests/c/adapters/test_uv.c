/* The libuv adapter: callbacks come from the loop, detaching works everywhere, wrong arguments and a
 * loop that goes on or ends as its user says. */
#include "support/support.h"

#include <looplite_uv.h>

struct world {
    uv_loop_t loop;
    ll_uv *bridge;
    ll_conn *conn;
    size_t calls, errors;
    int code;
};

static void failed(int code, void *user)
{
    struct world *world = user;
    world->errors++;
    world->code = code;
}

static void attach(t_env *t, struct world *world)
{
    memset(world, 0, sizeof *world);
    T_CHECK(uv_loop_init(&world->loop) == 0);
    T_CHECK(ll_uv_attach(&world->loop, t->engine, failed, world, &world->bridge) == 0);
    T_CHECK(uv_is_active(ll_uv_handle(world->bridge)));
}

static void end(struct world *world)
{
    uv_run(&world->loop, UV_RUN_NOWAIT);
    T_CHECK(uv_loop_close(&world->loop) == 0); /* nothing is left on it */
    T_CHECK(world->errors == 0);
}

static void close_done(ll_request *request, void *user)
{
    struct world *world = user;
    T_CHECK(ll_request_status(request) == LL_OK);
    world->calls++;
    ll_uv_detach(world->bridge); /* inside a callback: the loop ends by itself */
}

static void query_done(ll_request *request, void *user)
{
    struct world *world = user;
    T_CHECK(ll_request_status(request) == LL_OK);
    world->calls++;
    T_CHECK(ll_conn_close(world->conn, &(ll_submit){.done = close_done, .user = world}, NULL) ==
            LL_PENDING);
}

static void open_done(ll_request *request, void *user)
{
    struct world *world = user;
    T_CHECK(ll_request_status(request) == LL_OK);
    world->calls++;
    ll_request *query = NULL;
    ll_status status = ll_query(world->conn, "SELECT 5", NULL, 0,
                                &(ll_submit){.done = query_done, .user = world}, &query);
    T_CHECK(status >= 0);
    if (status == LL_OK)
        query_done(query, world);
    ll_request_unref(query);
}

static void callbacks_come_from_the_loop(void **state)
{
    t_env *t = *state;
    struct world world;
    attach(t, &world);
    T_CHECK(ll_conn_open(t->engine, t_path(t, "a.db"), NULL,
                         &(ll_submit){.done = open_done, .user = &world}, &world.conn,
                         NULL) == LL_PENDING);
    T_CHECK(uv_run(&world.loop, UV_RUN_DEFAULT) == 0);
    T_CHECK(world.calls == 3);
    ll_conn_unref(world.conn);
    end(&world);
}

static void an_unreferenced_bridge_keeps_nobody(void **state)
{
    t_env *t = *state;
    struct world world;
    attach(t, &world);
    uv_unref(ll_uv_handle(world.bridge));
    T_CHECK(uv_run(&world.loop, UV_RUN_DEFAULT) == 0); /* returns */
    ll_uv_detach(world.bridge);
    ll_uv_detach(NULL);
    end(&world);
}

static void attached_again(void **state)
{
    t_env *t = *state;
    for (int i = 0; i < 3; i++) {
        struct world world;
        attach(t, &world);
        ll_conn *conn = NULL;
        T_CHECK(ll_conn_open(t->engine, ":memory:", NULL,
                             &(ll_submit){.done = t_count, .user = &world.calls}, &conn,
                             NULL) == LL_PENDING);
        while (world.calls == 0)
            uv_run(&world.loop, UV_RUN_ONCE);
        ll_uv_detach(world.bridge);
        end(&world);
        t_close(conn);
    }
}

static void wrong_arguments(void **state)
{
    t_env *t = *state;
    uv_loop_t loop;
    ll_uv *bridge = NULL;
    T_CHECK(uv_loop_init(&loop) == 0);
    T_CHECK(ll_uv_attach(NULL, t->engine, NULL, NULL, &bridge) == UV_EINVAL);
    T_CHECK(ll_uv_attach(&loop, NULL, NULL, NULL, &bridge) == UV_EINVAL);
    T_CHECK(ll_uv_attach(&loop, t->engine, NULL, NULL, NULL) == UV_EINVAL);
    T_CHECK(bridge == NULL);
    T_CHECK(uv_loop_close(&loop) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(callbacks_come_from_the_loop),
        T_TEST(an_unreferenced_bridge_keeps_nobody),
        T_TEST(attached_again),
        T_TEST(wrong_arguments),
    };
    return T_RUN(tests);
}
