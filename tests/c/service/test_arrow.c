/* Arrow export: which type a column gets, that no value is lost, batches, cursors, errors, memory. */
#include "support/support.h"

#include "base/fault.h"

/* ---- reading what Arrow gives --------------------------------------------------------------------- */

/* A growing text. */
struct page {
    char text[4096];
    size_t size;
};

static void put(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct page *page, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int more = vsnprintf(page->text + page->size, sizeof page->text - page->size, format, args);
    va_end(args);
    T_CHECK(more >= 0 && page->size + (size_t)more < sizeof page->text);
    page->size += (size_t)more;
}

static bool is_null(const struct ArrowArray *array, int64_t row)
{
    const uint8_t *valid = array->buffers[0];
    return array->n_buffers == 0 || (valid && !(valid[row / 8] >> (row % 8) & 1));
}

static void put_value(struct page *page, char format, const struct ArrowArray *array, int64_t row)
{
    if (is_null(array, row)) {
        put(page, "NULL");
    } else if (format == 'l') {
        put(page, "%lld", (long long)((const int64_t *)array->buffers[1])[row]);
    } else if (format == 'g') {
        put(page, "%.17g", ((const double *)array->buffers[1])[row]);
    } else {
        const int32_t *offsets = array->buffers[1];
        const char *bytes = array->buffers[2];
        put(page, format == 'u' ? "'" : "x");
        for (int32_t i = offsets[row]; i < offsets[row + 1]; i++)
            put(page, format == 'z' ? "%02x" : bytes[i] ? "%c" : "<%u>", (unsigned char)bytes[i]);
        put(page, format == 'u' ? "'" : "");
    }
}

/* "name:format value value ...; name:format ..." of a whole stream, which is released. */
static void dump(struct ArrowArrayStream *stream, struct page *page)
{
    struct ArrowSchema schema;
    struct ArrowArray arrays[16];
    size_t count = 0;
    page->size = 0;
    T_EQUAL(stream->get_schema(stream, &schema), 0);
    T_SAME_TEXT(schema.format, "+s");
    for (;; count++) {
        T_CHECK(count < 16);
        T_EQUAL(stream->get_next(stream, &arrays[count]), 0);
        if (!arrays[count].release)
            break;
        T_EQUAL(arrays[count].n_children, schema.n_children);
        T_CHECK(arrays[count].null_count == 0 && arrays[count].n_buffers == 1);
    }
    stream->release(stream);
    T_CHECK(stream->release == NULL);
    for (int64_t c = 0; c < schema.n_children; c++) {
        const struct ArrowSchema *field = schema.children[c];
        T_CHECK(field->flags == ARROW_FLAG_NULLABLE);
        put(page, "%s%s:%s", c > 0 ? "; " : "", field->name, field->format);
        for (size_t i = 0; i < count; i++) {
            const struct ArrowArray *array = arrays[i].children[c];
            int64_t nulls = 0;
            T_EQUAL(array->length, arrays[i].length);
            for (int64_t row = 0; row < array->length; row++) {
                put(page, " ");
                put_value(page, field->format[0], array, row);
                nulls += is_null(array, row);
            }
            T_EQUAL(array->null_count, nulls);
        }
    }
    schema.release(&schema);
    for (size_t i = 0; i < count; i++)
        arrays[i].release(&arrays[i]);
}

static ll_request *ask(ll_conn *conn, const char *text, unsigned flags)
{
    ll_sql sql = {.text = text, .size = LL_NUL_TERMINATED, .flags = flags};
    ll_request *request = NULL;
    ll_status status = t_end(ll_conn_submit(conn, &sql, NULL, &request), request);
    T_EQUAL(status, LL_OK);
    return request;
}

/* What Arrow makes of a statement's columns, and that it makes the same of its rows. */
static void gives(ll_conn *conn, const char *sql, const char *expected)
{
    static const unsigned flags[] = {LL_SQL_COLUMNS, 0, LL_SQL_COLUMNS | LL_SQL_READ_ONLY};
    for (size_t i = 0; i < 3; i++) {
        ll_request *request = ask(conn, sql, flags[i]);
        struct ArrowArrayStream stream;
        static struct page page;
        ll_status status = ll_arrow_stream_of(request, &stream);
        if (status != LL_OK)
            t_fail(__FILE__, __LINE__, "%s: %s", sql, ll_last_error());
        dump(&stream, &page);
        T_SAME_TEXT(page.text, expected);
        ll_request_unref(request);
    }
}

static void refuses(ll_conn *conn, const char *sql, const char *word)
{
    ll_request *request = ask(conn, sql, LL_SQL_COLUMNS);
    struct ArrowArrayStream stream = {0};
    T_EQUAL(ll_arrow_stream_of(request, &stream), LL_EINVAL);
    T_CHECK(stream.release == NULL);
    if (!strstr(ll_last_error(), word))
        t_fail(__FILE__, __LINE__, "'%s' does not say '%s'", ll_last_error(), word);
    ll_request_unref(request);
}

/* ---- types --------------------------------------------------------------------------------------- */

static void one_type_a_column(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(i INTEGER, r REAL, s VARCHAR(9), b BLOB, x)");
    t_exec(conn, "INSERT INTO t VALUES(1, 0.5, 'one', x'00ff', 7),"
                 "(NULL, NULL, NULL, NULL, NULL), (-9223372036854775808, 2, '', x'', 8)");
    gives(conn, "SELECT * FROM t",
          "i:l 1 NULL -9223372036854775808; r:g 0.5 NULL 2; s:u 'one' NULL ''; b:z x00ff NULL x; "
          "x:l 7 NULL 8");
    gives(conn, "SELECT i, s AS i FROM t WHERE i = 1", "i:l 1; i:u 'one'");
    gives(conn, "SELECT 'a' || char(0) || 'b' AS s, 9e999 AS r", "s:u 'a<0>b'; r:g inf");
    t_close(conn);
}

static void mixed_types(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    static const struct {
        const char *values, *expected;
    } cases[] = {
        {"(1), (0.5), (NULL)", "x:g 1 0.5 NULL"},
        {"(0.5), (NULL), (9007199254740992)", "x:g 0.5 NULL 9007199254740992"},
        {"(0.5), (9007199254740993), (1e22)", "x:u '0.5' '9007199254740993' '1e+22'"},
        {"(9223372036854775807), (2.0)", "x:u '9223372036854775807' '2.0'"},
        {"(-9223372036854775808), (0.5)", "x:g -9.2233720368547758e+18 0.5"},
        {"(4611686018427387904), (0.5)", "x:g 4.6116860184273879e+18 0.5"},
        {"(1), (NULL), ('a'), (0.1)", "x:u '1' NULL 'a' '0.1'"},
        {"('a'), (1), ('bc'), (9e999)", "x:u 'a' '1' 'bc' 'inf'"},
        {"('a'), (x'00'), ('b')", "x:z x61 x00 x62"},
        {"(NULL), (x'ff'), ('b'), (NULL)", "x:z NULL xff x62 NULL"},
        {"(CAST(x'ff' AS TEXT)), ('b')", "x:z xff x62"},
        {"(CAST(x'c3a4' AS TEXT)), (1)", "x:u '\xc3\xa4' '1'"},
        {"(CAST(x'eda080' AS TEXT))", "x:z xeda080"},             /* a surrogate */
        {"(CAST(x'c080' AS TEXT))", "x:z xc080"},                 /* too long a form */
        {"(CAST(x'f4908080' AS TEXT))", "x:z xf4908080"},         /* beyond the last one */
        {"(CAST(x'41424344e282' AS TEXT))", "x:z x41424344e282"}, /* cut off */
        {"(NULL), (NULL)", "x:n NULL NULL"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        t_exec(conn, "DROP TABLE IF EXISTS t");
        t_exec(conn, "CREATE TABLE t(x)");
        t_exec(conn, t_printf(t, "INSERT INTO t VALUES %s", cases[i].values));
        gives(conn, "SELECT x FROM t ORDER BY rowid", cases[i].expected);
    }
    t_close(conn);
}

static void what_no_type_holds_is_refused(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    refuses(conn, "SELECT 1 AS odd UNION ALL SELECT x'00'", "(odd) holds numbers beside blobs");
    refuses(conn, "SELECT 0.5 UNION ALL SELECT CAST(x'ff' AS TEXT)", "no UTF-8");
    refuses(conn, "CREATE TABLE t(x)", "no columns");
    t_close(conn);
}

static void declared_types_count_when_all_values_are_of_them(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn,
           "CREATE TABLE t(i BIGINT, r DOUBLE, d DECIMAL(10, 2), s NCHAR(5), b blob, w DATE, x)");
    gives(conn, "SELECT * FROM t", "i:l; r:g; d:g; s:u; b:z; w:n; x:n");
    t_exec(conn, "INSERT INTO t(i) VALUES(NULL)");
    gives(conn, "SELECT * FROM t",
          "i:l NULL; r:g NULL; d:g NULL; s:u NULL; b:z NULL; w:n NULL; x:n NULL");
    gives(conn, "SELECT max(i) AS m, i + 1 AS n FROM t",
          "m:n NULL; n:n NULL"); /* no declared type */
    t_exec(conn, "UPDATE t SET i = 'word', d = 3, b = 'text', w = '2026-01-01'");
    gives(conn, "SELECT i, d, b, w FROM t", "i:u 'word'; d:g 3; b:u 'text'; w:u '2026-01-01'");
    t_exec(conn, "UPDATE t SET d = 9007199254740993");
    gives(conn, "SELECT d FROM t", "d:l 9007199254740993");
    t_close(conn);
}

/* ---- sizes --------------------------------------------------------------------------------------- */

#define COUNTING(n) \
    "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < " n ") "

static void types_are_those_of_all_batches(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = ask(
        conn,
        COUNTING("200000") "SELECT x, CASE WHEN x = 200000 THEN 0.5 ELSE x END,"
                           " CASE WHEN x % 3 THEN x || '' END FROM c",
        LL_SQL_COLUMNS);
    struct ArrowArrayStream stream;
    struct ArrowSchema schema;
    struct ArrowArray array;
    T_EQUAL(ll_arrow_stream_of(request, &stream), LL_OK);
    ll_request_unref(request);
    T_EQUAL(stream.get_schema(&stream, &schema), 0);
    T_SAME_TEXT(schema.children[1]->format, "g");
    schema.release(&schema);
    int64_t rows = 0, batches = 0;
    for (;; batches++) {
        T_EQUAL(stream.get_next(&stream, &array), 0);
        if (!array.release)
            break;
        for (int64_t i = 0; i < array.length; i++) {
            char text[24];
            const int64_t *x = array.children[0]->buffers[1];
            const double *y = array.children[1]->buffers[1];
            const int32_t *offsets = array.children[2]->buffers[1];
            int size = snprintf(text, sizeof text, "%lld", (long long)++rows);
            T_CHECK(x[i] == rows && y[i] == (rows == 200000 ? 0.5 : (double)rows));
            T_CHECK(is_null(array.children[2], i) == (rows % 3 == 0));
            T_CHECK(offsets[i + 1] - offsets[i] == (rows % 3 ? size : 0));
            T_CHECK(rows % 3 == 0 ||
                    memcmp((const char *)array.children[2]->buffers[2] + offsets[i], text,
                           (size_t)size) == 0);
        }
        array.release(&array);
    }
    T_CHECK(rows == 200000 && batches > 2);
    T_EQUAL(stream.get_next(&stream, &array), 0); /* the end remains the end */
    T_CHECK(!array.release);
    stream.release(&stream);
    t_close(conn);
}

/* Each batch expects as much as the one before held: here come more and shorter rows, and columns that begin late. */
static void batches_need_not_be_alike(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = ask(
        conn,
        COUNTING("60000") "SELECT CASE WHEN x < 3000 THEN hex(zeroblob(500)) ELSE 't' || x END,"
                          " CASE WHEN x > 55000 THEN x END FROM c",
        LL_SQL_COLUMNS);
    struct ArrowArrayStream stream;
    struct ArrowArray array;
    T_EQUAL(ll_arrow_stream_of(request, &stream), LL_OK);
    ll_request_unref(request);
    int64_t rows = 0, most = 0, least = INT64_MAX;
    for (;;) {
        T_EQUAL(stream.get_next(&stream, &array), 0);
        if (!array.release)
            break;
        const int32_t *offsets = array.children[0]->buffers[1];
        const char *bytes = array.children[0]->buffers[2];
        const int64_t *late = array.children[1]->buffers[1];
        for (int64_t i = 0; i < array.length; i++) {
            char text[24];
            int size = snprintf(text, sizeof text, "t%lld", (long long)++rows);
            if (rows < 3000)
                T_EQUAL(offsets[i + 1] - offsets[i], 1000);
            else
                T_CHECK(offsets[i + 1] - offsets[i] == size &&
                        memcmp(bytes + offsets[i], text, (size_t)size) == 0);
            T_CHECK(is_null(array.children[1], i) == (rows <= 55000));
            T_CHECK(rows <= 55000 || late[i] == rows);
        }
        most = array.length > most ? array.length : most;
        least = array.length < least ? array.length : least;
        array.release(&array);
    }
    T_CHECK(rows == 60000 && most > 8 * least);
    stream.release(&stream);
    t_close(conn);
}

static void a_cursor_gives_record_batches(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = ask(conn, COUNTING("5000") "SELECT x, 'n' || x AS s FROM c",
                              LL_SQL_COLUMNS | LL_SQL_STREAM);
    ll_batch *batch = ll_request_take_batch(request);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_arrow_shape *shape = NULL;
    T_CHECK(batch && cursor && !ll_batch_row(batch, 0));
    T_EQUAL(ll_arrow_shape_new(ll_request_columns(request), (const ll_batch *const *)&batch, 1,
                               true, &shape),
            LL_OK);
    ll_request_unref(request);
    T_EQUAL(ll_cursor_set_ahead(cursor, 2, 100), LL_OK);
    int64_t rows = 0;
    while (batch) {
        struct ArrowArray array;
        T_EQUAL(ll_arrow_array(shape, batch, &array), LL_OK);
        for (int64_t i = 0; i < array.length; i++)
            T_EQUAL(((const int64_t *)array.children[0]->buffers[1])[i], ++rows);
        array.release(&array);
        T_EQUAL(t_end(ll_cursor_next(cursor, NULL, &request), request), LL_OK);
        batch = ll_request_take_batch(request);
        T_CHECK(!batch || ll_batch_rows(batch) <= 100);
        ll_request_unref(request);
    }
    T_EQUAL(rows, 5000);
    ll_arrow_shape_free(shape);
    ll_cursor_close(cursor);
    t_close(conn);
}

static void a_later_batch_has_to_fit(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(a INTEGER, b, c REAL)");
    t_exec(conn, "INSERT INTO t VALUES(1, NULL, 0.5), (2, 3, 0.5), (0.5, 4, 0.5)");
    ll_request *first = ask(conn, "SELECT * FROM t WHERE rowid = 1", LL_SQL_COLUMNS);
    ll_request *fits = ask(conn, "SELECT * FROM t WHERE rowid = 2", LL_SQL_COLUMNS);
    ll_request *differs = ask(conn, "SELECT * FROM t WHERE rowid = 3", LL_SQL_COLUMNS);
    ll_request *rows = ask(conn, "SELECT * FROM t", 0);
    ll_batch *batch = ll_request_take_batch(first);
    ll_arrow_shape *shape = NULL;
    struct ArrowArray array = {0};
    T_EQUAL(ll_arrow_shape_new(ll_request_columns(first), (const ll_batch *const *)&batch, 1, true,
                               &shape),
            LL_OK);
    ll_batch_free(batch);
    T_EQUAL(ll_arrow_array(shape, ll_request_take_batch(fits), &array), LL_OK);
    struct page page = {.size = 0};
    put_value(&page, 'u', array.children[1], 0); /* only NULLs at first: text */
    T_SAME_TEXT(page.text, "'3'");
    array.release(&array);
    T_EQUAL(ll_arrow_array(shape, ll_request_take_batch(differs), &array), LL_EINVAL);
    T_CHECK(strstr(ll_last_error(), "column 0 (a) began as int64") != NULL);
    T_EQUAL(ll_arrow_array(shape, ll_request_take_batch(rows), &array), LL_EINVAL);
    T_CHECK(strstr(ll_last_error(), "LL_SQL_COLUMNS") != NULL);
    T_CHECK(array.release == NULL);
    ll_arrow_shape_free(shape);
    ll_request_unref(first);
    ll_request_unref(fits);
    ll_request_unref(differs);
    ll_request_unref(rows);
    t_close(conn);
}

/* ---- life ---------------------------------------------------------------------------------------- */

static void children_may_outlive_their_parent(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = ask(conn, "SELECT 1 AS a, 'two' AS b", LL_SQL_COLUMNS);
    struct ArrowArrayStream stream;
    struct ArrowSchema schema, field;
    struct ArrowArray array, child;
    T_EQUAL(ll_arrow_stream_of(request, &stream), LL_OK);
    T_EQUAL(stream.get_schema(&stream, &schema), 0);
    T_EQUAL(stream.get_next(&stream, &array), 0);
    stream.release(&stream);
    ll_request_unref(request);
    t_close(conn);
    field = *schema.children[1];
    schema.children[1]->release = NULL; /* moved, as the specification has it */
    child = *array.children[1];
    array.children[1]->release = NULL;
    schema.release(&schema);
    array.release(&array);
    T_SAME_TEXT(field.name, "b");
    T_CHECK(memcmp(child.buffers[2], "two", 3) == 0);
    field.release(&field);
    child.release(&child);
}

static void what_is_not_read_is_freed(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = ask(conn, COUNTING("100000") "SELECT x, x FROM c", LL_SQL_COLUMNS);
    struct ArrowArrayStream stream;
    struct ArrowArray array;
    T_EQUAL(ll_arrow_stream_of(request, &stream), LL_OK);
    T_EQUAL(stream.get_next(&stream, &array), 0);
    stream.release(&stream);
    array.release(&array);
    T_EQUAL(ll_arrow_stream_of(request, &stream), LL_OK); /* its batches are gone: no rows */
    T_EQUAL(stream.get_next(&stream, &array), 0);
    T_CHECK(array.release == NULL);
    stream.release(&stream);
    ll_request_unref(request);
    t_close(conn);
}

static void what_cannot_be_a_stream(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    struct ArrowArrayStream stream = {0};
    T_EQUAL(ll_arrow_stream_of(NULL, &stream), LL_EINVAL);
    ll_request *request = t_exec_fails(conn, "SELECT nothing", LL_ESQL);
    T_EQUAL(ll_arrow_stream_of(request, &stream), LL_ESQL);
    T_CHECK(strstr(ll_last_error(), "nothing") != NULL);
    ll_request_unref(request);
    T_CHECK(!stream.release);
    t_close(conn);
}

static void it_can_be_cancelled(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_gate_install(gate, conn);
    ll_sql sql = {.text = T_ENDLESS "SELECT x, CASE WHEN x = 1000 THEN gate() END FROM c",
                  .size = LL_NUL_TERMINATED,
                  .flags = LL_SQL_COLUMNS};
    ll_request *request = NULL;
    ll_status submitted = ll_conn_submit(conn, &sql, NULL, &request);
    t_gate_entered(gate, 1);
    T_EQUAL(ll_request_cancel(request), LL_OK);
    t_gate_open(gate);
    T_EQUAL(t_end(submitted, request), LL_ECANCELLED);
    struct ArrowArrayStream stream;
    T_EQUAL(ll_arrow_stream_of(request, &stream), LL_ECANCELLED);
    ll_request_unref(request);
    t_close(conn);
}

/* Each allocation fails once, in turn: an error and no leak (the end of the test counts), or the right answer. */
static void memory_runs_out(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_sql sql = {.text = COUNTING(
                      "100") "SELECT x, CASE x WHEN 90 THEN 'a' WHEN 95 THEN 0.5 WHEN 7 THEN NULL"
                             " ELSE x END AS y, 'w' || x AS z FROM c",
                  .size = LL_NUL_TERMINATED,
                  .flags = LL_SQL_COLUMNS};
    size_t failures = 0;
    bool fired = true;
    for (unsigned long nth = 1; fired; nth++) {
        ll_request *request = NULL;
        struct ArrowArrayStream stream = {0};
        struct ArrowSchema schema = {0};
        struct ArrowArray array = {0};
        lli_fault_arm(LLI_FAULT_ALLOC, nth);
        ll_status status = t_end(ll_conn_submit(conn, &sql, NULL, &request), request);
        if (status == LL_OK)
            status = ll_arrow_stream_of(request, &stream);
        int code = status == LL_OK ? stream.get_schema(&stream, &schema) : 0;
        if (status == LL_OK && code == 0)
            code = stream.get_next(&stream, &array);
        fired = lli_fault_fired();
        lli_fault_disarm();
        if (status == LL_OK && code == 0) {
            T_EQUAL(array.length, 100);
            T_SAME_TEXT(schema.children[1]->format, "u");
        } else {
            T_CHECK(fired && (status == LL_ENOMEM || (status == LL_OK && code != 0)));
            T_CHECK(status != LL_OK || strstr(stream.get_last_error(&stream), "memory"));
            failures++;
        }
        if (array.release)
            array.release(&array);
        if (schema.release)
            schema.release(&schema);
        if (stream.release)
            stream.release(&stream);
        ll_request_unref(request);
    }
    T_CHECK(failures > 20);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(one_type_a_column),
        T_TEST(mixed_types),
        T_TEST(what_no_type_holds_is_refused),
        T_TEST(declared_types_count_when_all_values_are_of_them),
        T_TEST(types_are_those_of_all_batches),
        T_TEST(batches_need_not_be_alike),
        T_TEST(a_cursor_gives_record_batches),
        T_TEST(a_later_batch_has_to_fit),
        T_TEST(children_may_outlive_their_parent),
        T_TEST(what_is_not_read_is_freed),
        T_TEST(what_cannot_be_a_stream),
        T_TEST(it_can_be_cancelled),
        T_TEST(memory_runs_out),
    };
    return T_RUN(tests);
}
