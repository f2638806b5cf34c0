/* memory.c: a database file worked on in memory: read as bytes, opened from them, changed, and written back as bytes.
 *
 *     cc memory.c $(pkg-config --cflags --libs looplite) && ./a.out */
#include <looplite.h>

#include <stdio.h>

/* What a submission came to: refused, or accepted and waited for. */
static int finished(ll_status status, ll_request *request)
{
    if (status >= 0)
        status = ll_request_wait(request);
    if (status == LL_OK)
        return 1;
    fprintf(stderr, "%s: %s\n", ll_status_name(status),
            request ? ll_request_error(request)->message : ll_last_error());
    return 0;
}

static int run(ll_conn *conn, const char *text)
{
    ll_request *request = NULL;
    ll_status status = ll_exec(conn, text, NULL, 0, NULL, &request);
    int fine = finished(status, request);
    ll_request_unref(request);
    return fine;
}

static ll_conn *open_in_memory(ll_engine *engine)
{
    ll_conn *conn = NULL;
    ll_request *open = NULL;
    ll_status status = ll_conn_open(engine, ":memory:", NULL, NULL, &conn, &open);
    (void)finished(status, open); /* what is submitted to one that is not open fails */
    ll_request_unref(open);
    return conn;
}

/* Puts a copy of one connection's database into another connection. */
static int hand_over(ll_conn *from, ll_conn *to)
{
    ll_request *bytes_of = NULL, *put = NULL;
    ll_status status = ll_serialize(from, NULL, NULL, &bytes_of);
    if (status == LL_ESQL) { /* this SQLite was built without it */
        puts(ll_last_error());
        return 1;
    }
    int fine = finished(status, bytes_of);
    if (fine) {
        size_t size;
        const void *bytes = ll_request_bytes(bytes_of, &size);
        ll_submit how = {.flags = LL_SUBMIT_BORROW}; /* the worker copies them */
        printf("%zu bytes\n", size);
        status = ll_deserialize(to, NULL, bytes, size, 0, &how, &put);
        fine = finished(status, put);
    }
    ll_request_unref(put);
    ll_request_unref(bytes_of); /* and with it the bytes */
    return fine;
}

int main(void)
{
    ll_engine *engine = NULL;
    if (ll_engine_new(NULL, &engine) != LL_OK)
        return 1;
    ll_conn *first = open_in_memory(engine), *second = open_in_memory(engine);
    int fine = run(first, "CREATE TABLE note(text)") &&
               run(first, "INSERT INTO note VALUES('remember')") && hand_over(first, second) &&
               run(second, "INSERT INTO note SELECT text || ' it' FROM note") &&
               hand_over(second, first) &&
               run(first, "DELETE FROM note WHERE text = 'remember it'");
    ll_conn_unref(first);
    ll_conn_unref(second);
    ll_engine_free(engine);
    return fine ? 0 : 1;
}
