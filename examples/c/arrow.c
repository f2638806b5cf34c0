/* arrow.c: a result as Arrow columns: adds up one of them, as a library that reads Arrow would; and such columns into a
 * table.
 *
 * Here the consumer is a loop of our own, and the source a result of another statement. Real ones get or give the
 * ArrowArrayStream and know nothing of SQLite. */
#include <looplite.h>

#include <inttypes.h>
#include <stdio.h>

/* Runs one statement, to its end. */
static ll_status columns_of(ll_conn *conn, const char *text, struct ArrowArrayStream *ret_stream)
{
    ll_sql sql = {.text = text, .size = LL_NUL_TERMINATED, .flags = LL_SQL_COLUMNS};
    ll_request *request = NULL;
    ll_status status = ll_conn_submit(conn, &sql, NULL, &request);
    if (status == LL_PENDING)
        status = ll_request_wait(request);
    if (status == LL_OK)
        status = ll_arrow_stream_of(request, ret_stream);
    ll_request_unref(request);
    return status;
}

/* Prints the columns and the sum of the first one. False when a batch could not be had. */
static bool consume(struct ArrowArrayStream *stream)
{
    struct ArrowSchema schema;
    struct ArrowArray array;
    if (stream->get_schema(stream, &schema) != 0)
        return false;
    for (int64_t i = 0; i < schema.n_children; i++)
        printf("%s: %s\n", schema.children[i]->name, schema.children[i]->format);
    schema.release(&schema);

    int64_t rows = 0, sum = 0;
    while (stream->get_next(stream, &array) == 0 && array.release) {
        const int64_t *numbers = array.children[0]->buffers[1];
        for (int64_t i = 0; i < array.length; i++)
            sum += numbers[i];
        rows += array.length;
        array.release(&array);
    }
    printf("%" PRId64 " rows, sum %" PRId64 "\n", rows, sum);
    return rows == 100000;
}

static ll_status run(ll_conn *conn, const char *sql)
{
    ll_request *request = NULL;
    ll_status status = ll_exec(conn, sql, NULL, 0, NULL, &request);
    if (status == LL_PENDING)
        status = ll_request_wait(request);
    ll_request_unref(request);
    return status;
}

/* Takes the stream. */
static ll_status load(ll_conn *conn, struct ArrowArrayStream *stream)
{
    ll_request *request = NULL;
    ll_status status = ll_arrow_load(conn, "number", stream, NULL, NULL, &request);
    if (status == LL_PENDING)
        status = ll_request_wait(request);
    if (status == LL_OK)
        printf("%zu rows loaded\n", ll_request_progress(request));
    else if (request)
        fprintf(stderr, "%s\n", ll_request_error(request)->message);
    ll_request_unref(request);
    return status;
}

int main(void)
{
    ll_engine *engine = NULL;
    ll_conn *conn = NULL;
    ll_request *opened = NULL;
    struct ArrowArrayStream stream;
    ll_status status = ll_engine_new(NULL, &engine);
    if (status == LL_OK)
        status = ll_conn_open(engine, ":memory:", NULL, NULL, &conn, &opened);
    if (status == LL_PENDING)
        status = ll_request_wait(opened);
    ll_request_unref(opened);
    if (status == LL_OK)
        status = columns_of(
            conn,
            "WITH RECURSIVE c(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM c"
            " WHERE n < 100000) SELECT n, n / 2.0 AS half, 'no. ' || n AS word FROM c",
            &stream);
    struct ArrowArrayStream source;
    if (status == LL_OK) {
        bool there = run(conn, "CREATE TABLE number(n INTEGER, square INTEGER)") == LL_OK &&
                     columns_of(conn, "SELECT 7 AS n, 49 AS square UNION ALL SELECT 8, 64",
                                &source) == LL_OK;
        if (!there || load(conn, &source) != LL_OK) {
            stream.release(&stream);
            status = LL_EINVAL;
        }
    }
    if (status != LL_OK)
        fprintf(stderr, "%s: %s\n", ll_status_name(status), ll_last_error());
    ll_conn_unref(conn);
    ll_engine_free(engine); /* the columns live on */
    if (status != LL_OK)
        return 1;
    bool good = consume(&stream);
    stream.release(&stream);
    return good ? 0 : 1;
}
