/* tiny.c: one question on an event loop, which is poll() here: the sample of the README.
 *
 *     cc tiny.c $(pkg-config --cflags --libs looplite) && ./a.out */
#include <looplite.h>

#include <poll.h>
#include <stdio.h>

static void on_answer(ll_request *request, void *user)
{
    (void)user;
    ll_batch *batch = ll_request_take_batch(request);
    puts(batch ? ll_batch_row(batch, 0)[0].as.text : ll_request_error(request)->message);
    ll_batch_free(batch);
}

int main(void)
{
    ll_engine *engine;
    ll_conn *conn;
    ll_request *open, *query;
    ll_submit how = {.done = on_answer};
    if (ll_engine_new(NULL, &engine) < 0 ||
        ll_conn_open(engine, ":memory:", NULL, NULL, &conn, &open) < 0 ||
        ll_query(conn, "SELECT 'hello, loop'", NULL, 0, &how, &query) < 0)
        return 1; /* ll_last_error() says why */
    struct pollfd loop = {.fd = ll_engine_fd(engine), .events = POLLIN};
    while (ll_engine_outstanding(engine) > 0 && poll(&loop, 1, -1) > 0)
        if (ll_engine_dispatch(engine, NULL) < 0) /* calls on_answer() */
            return 1;
    ll_request_unref(query);
    ll_request_unref(open);
    ll_conn_unref(conn);
    ll_engine_free(engine);
    return 0;
}
