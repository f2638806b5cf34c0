/* hello.c: the shortest program. It has no event loop: it submits, and waits for each answer.
 *
 *     cc hello.c $(pkg-config --cflags --libs looplite) && ./a.out */
#include <looplite.h>

#include <stdio.h>

/* What a submission came to: refused, or accepted and waited for. */
static int finished(ll_status status, ll_request *request)
{
    if (status >= 0)
        status = ll_request_wait(request); /* at once if it has finished already */
    if (status == LL_OK)
        return 1;
    fprintf(stderr, "%s: %s\n", ll_status_name(status),
            request ? ll_request_error(request)->message : ll_last_error());
    return 0;
}

int main(void)
{
    ll_engine *engine = NULL;
    ll_conn *conn = NULL;
    ll_request *open = NULL, *query = NULL;
    int code = 1;

    if (ll_engine_new(NULL, &engine) != LL_OK)
        return 1;
    ll_status status = ll_conn_open(engine, ":memory:", NULL, NULL, &conn, &open);
    if (!finished(status, open))
        goto done;
    ll_value name = ll_text("world");
    status = ll_query(conn, "SELECT 'hello, ' || ?1", &name, 1, NULL, &query);
    if (!finished(status, query))
        goto done;
    ll_batch *batch = ll_request_take_batch(query);
    puts(ll_batch_row(batch, 0)[0].as.text);
    ll_batch_free(batch);
    code = 0;

done:
    ll_request_unref(query);
    ll_request_unref(open);
    ll_conn_unref(conn);
    ll_engine_free(engine); /* closes what is open */
    return code;
}
