/* fuzz_rows.c: values through row batches: what is bound comes back, in whatever batches, as rows and as columns.
 *
 * Input: a byte for the columns (1 to 6), one for the way, one for how many rows the first answer may have, one for the
 * rows of a batch; then the values, row after row, until it is over (fuzz.h). They are written to a table in memory and
 * read as one result, as a stream, or as columns for Arrow. */
#include "fuzz.h"

enum {
    MOST_COLUMNS = 6,
    MOST_ROWS = 300
};

struct world {
    struct fuzz_world w;
    ll_conn *conn;
    unsigned columns;
    size_t rows;
    ll_value values[MOST_ROWS * MOST_COLUMNS];
};

/* NaN is NULL for SQLite. */
static void same(const ll_value *got, const ll_value *put)
{
    if (put->type == LL_FLOAT && put->as.real != put->as.real) {
        T_EQUAL(got->type, LL_NULL);
        return;
    }
    T_EQUAL(got->type, put->type);
    T_EQUAL(got->size, put->size);
    if (put->type == LL_INTEGER)
        T_EQUAL(got->as.integer, put->as.integer);
    else if (put->type == LL_FLOAT)
        T_CHECK(got->as.real == put->as.real);
    else if (put->size > 0)
        T_CHECK(memcmp(got->as.blob, put->as.blob, put->size) == 0);
    if (put->type == LL_TEXT)
        T_EQUAL(got->as.text[got->size], '\0');
}

static size_t compare(struct world *world, ll_batch *batch, size_t at)
{
    T_CHECK(ll_batch_rows(batch) > 0 && ll_batch_columns(batch) == world->columns);
    for (size_t i = 0; i < ll_batch_rows(batch); i++, at++) {
        const ll_value *row = ll_batch_row(batch, i);
        T_CHECK(at < world->rows);
        for (unsigned c = 0; c < world->columns; c++)
            same(&row[c], &world->values[at * world->columns + c]);
    }
    ll_batch *columns = ll_batch_to_columns(batch);
    T_CHECK(columns != NULL);
    ll_batch_free(columns);
    ll_batch_free(batch);
    return at;
}

static void write_rows(struct world *world)
{
    static const char *const tables[] = {
        "t(a)",          "t(a, b)",          "t(a, b, c)",
        "t(a, b, c, d)", "t(a, b, c, d, e)", "t(a, b, c, d, e, f)"};
    char text[100];
    ll_request *request = NULL;
    snprintf(text, sizeof text, "CREATE TABLE %s", tables[world->columns - 1]);
    ll_status status = ll_exec(world->conn, text, NULL, 0, NULL, &request);
    T_CHECK(fuzz_wait(&world->w, status, request) == LL_OK);
    ll_request_unref(request);
    snprintf(text, sizeof text, "INSERT INTO t VALUES(?%.*s)", (int)(2 * (world->columns - 1)),
             ",?,?,?,?,?");
    ll_many many = {.text = text,
                    .size = LL_NUL_TERMINATED,
                    .values = world->values,
                    .rows = world->rows,
                    .width = world->columns};
    request = NULL;
    status = fuzz_wait(&world->w, ll_exec_many(world->conn, &many, NULL, &request), request);
    T_CHECK(status == LL_OK && ll_request_progress(request) == world->rows);
    ll_request_unref(request);
}

/* Numbers beside bytes, or beside text that may be no UTF-8: no type of Arrow holds such a column. */
static bool bytes_are_mixed(const struct world *world)
{
    for (unsigned c = 0; c < world->columns; c++) {
        bool bytes = false, numbers = false;
        for (size_t i = 0; i < world->rows; i++) {
            const ll_value *v = &world->values[i * world->columns + c];
            bytes = bytes || v->type == LL_BLOB;
            for (uint32_t k = 0; v->type == LL_TEXT && k < v->size; k++)
                bytes = bytes || (v->as.text[k] & 0x80);
            numbers = numbers || v->type == LL_INTEGER || v->type == LL_FLOAT;
        }
        if (bytes && numbers)
            return true;
    }
    return false;
}

static void as_columns(struct world *world)
{
    ll_request *request = NULL;
    struct ArrowArrayStream stream;
    struct ArrowSchema schema;
    struct ArrowArray array;
    ll_sql sql = {.text = "SELECT * FROM t", .size = LL_NUL_TERMINATED, .flags = LL_SQL_COLUMNS};
    ll_status status = ll_conn_submit(world->conn, &sql, NULL, &request);
    T_CHECK(fuzz_wait(&world->w, status, request) == LL_OK);
    status = ll_arrow_stream_of(request, &stream);
    ll_request_unref(request);
    if (status != LL_OK) {
        T_CHECK(status == LL_EINVAL && bytes_are_mixed(world));
        return;
    }
    T_EQUAL(stream.get_schema(&stream, &schema), 0);
    T_EQUAL(schema.n_children, world->columns);
    int64_t rows = 0;
    while (stream.get_next(&stream, &array) == 0 && array.release) {
        T_EQUAL(array.n_children, world->columns);
        for (unsigned c = 0; c < world->columns; c++) {
            int64_t nulls = 0;
            for (int64_t i = 0; i < array.length; i++) {
                const ll_value *v = &world->values[(size_t)(rows + i) * world->columns + c];
                nulls += v->type == LL_NULL || (v->type == LL_FLOAT && v->as.real != v->as.real);
            }
            T_EQUAL(array.children[c]->length, array.length);
            T_CHECK(array.children[c]->n_buffers == 0 || array.children[c]->null_count < 0 ||
                    array.children[c]->null_count == nulls);
        }
        rows += array.length;
        array.release(&array);
    }
    T_EQUAL(rows, world->rows);
    schema.release(&schema);
    stream.release(&stream);
}

static void as_rows(struct world *world, unsigned way, size_t first, size_t ahead)
{
    ll_request *request = NULL;
    size_t at = 0;
    ll_sql sql = {.text = "SELECT * FROM t",
                  .size = LL_NUL_TERMINATED,
                  .flags = way == 0 ? 0 : LL_SQL_STREAM,
                  .first_rows = first};
    ll_status status = ll_conn_submit(world->conn, &sql, NULL, &request);
    T_CHECK(fuzz_wait(&world->w, status, request) == LL_OK);
    ll_cursor *cursor = ll_request_take_cursor(request);
    if (cursor)
        T_CHECK(ll_cursor_set_ahead(cursor, 1 + (unsigned)ahead % 3, 1 + ahead) == LL_OK);
    for (ll_batch *batch; (batch = ll_request_take_batch(request)) != NULL;)
        at = compare(world, batch, at);
    for (bool more = cursor != NULL; more;) {
        ll_request_unref(request);
        request = NULL;
        status = fuzz_wait(&world->w, ll_cursor_next(cursor, NULL, &request), request);
        T_CHECK(status == LL_OK);
        ll_batch *batch = ll_request_take_batch(request);
        more = batch != NULL;
        if (batch)
            at = compare(world, batch, at);
    }
    T_EQUAL(at, world->rows);
    if (cursor)
        ll_cursor_close(cursor);
    ll_request_unref(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world; /* large */
    struct fuzz_input in = {data, size};
    fuzz_begin(&world.w);
    world.columns = 1 + fuzz_byte(&in) % MOST_COLUMNS;
    unsigned way = fuzz_byte(&in) % 3;
    size_t first = fuzz_byte(&in), ahead = fuzz_byte(&in);
    for (world.rows = 0; world.rows < MOST_ROWS && in.size > 0; world.rows++)
        for (unsigned c = 0; c < world.columns; c++) {
            ll_value *value = &world.values[world.rows * world.columns + c];
            *value = fuzz_value(&in);
        }
    world.conn = fuzz_open(&world.w, ":memory:", NULL);
    T_CHECK(world.conn != NULL);
    write_rows(&world);
    if (way == 2 && world.rows > 0)
        as_columns(&world);
    else
        as_rows(&world, way, first, ahead);
    ll_conn_unref(world.conn);
    fuzz_end(&world.w);
    return 0;
}
