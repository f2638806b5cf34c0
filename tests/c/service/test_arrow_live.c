/* Arrow export of a result as it is read: batches under backpressure, types, ends: read to its end, dropped half-way,
 * closed by another thread, cancelled; that it holds no more memory than it reads ahead; loading from one. */
#include "support/support.h"

#include "base/fault.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

/* Statements that are live on a connection, once it has done all that it was asked for. */
static size_t live(ll_conn *conn)
{
    T_EQUAL(t_int(conn, "SELECT 1"), 1);
    return t_state(conn).live_cursors;
}

#define COUNTING(n) \
    "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < " n ") "

static ll_request *ask(ll_conn *conn, const char *text, unsigned flags)
{
    ll_sql sql = {.text = text, .size = LL_NUL_TERMINATED, .flags = flags};
    ll_request *request = NULL;
    T_EQUAL(t_end(ll_conn_submit(conn, &sql, NULL, &request), request), LL_OK);
    return request;
}

static struct ArrowArrayStream stream_of(ll_conn *conn, const char *text)
{
    struct ArrowArrayStream stream;
    ll_request *request = ask(conn, text, LL_SQL_STREAM | LL_SQL_COLUMNS);
    T_EQUAL(ll_arrow_stream_of(request, &stream), LL_OK);
    ll_request_unref(request);
    return stream;
}

/* Reads int64 values that count up in the first column; gives the code of the last get_next. */
static int count_up(struct ArrowArrayStream *stream, int64_t *ret_rows)
{
    struct ArrowArray array;
    for (;;) {
        int code = stream->get_next(stream, &array);
        if (code != 0 || !array.release)
            return code;
        const int64_t *numbers = array.children[0]->buffers[1];
        for (int64_t i = 0; i < array.length; i++)
            T_EQUAL(numbers[i], ++*ret_rows);
        array.release(&array);
    }
}

/* ---- rows ----------------------------------------------------------------------------------------- */

static void all_rows_come(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    struct ArrowArrayStream stream = stream_of(conn,
                                               COUNTING("100000") "SELECT x, 'n' || x FROM c");
    struct ArrowSchema schema;
    struct ArrowArray array;
    int64_t rows = 0;
    T_EQUAL(stream.get_schema(&stream, &schema), 0);
    T_SAME_TEXT(schema.children[0]->format, "l");
    T_SAME_TEXT(schema.children[1]->format, "u");
    schema.release(&schema);
    T_EQUAL(count_up(&stream, &rows), 0);
    T_EQUAL(rows, 100000);
    T_EQUAL(live(conn), 0); /* though the stream is there still */
    T_EQUAL(stream.get_next(&stream, &array), 0);
    T_CHECK(!array.release); /* the end remains the end */
    stream.release(&stream);
    t_close(conn);
}

static void rows_that_somebody_has_had_are_left_out(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = ask(conn, COUNTING("5000") "SELECT x FROM c", LL_SQL_STREAM);
    ll_batch *batch = ll_request_take_batch(request);
    /* A batch ends early where reading it takes long. */
    size_t had = ll_batch_rows(batch) < 100 ? ll_batch_rows(batch) : 100;
    T_EQUAL(ll_batch_row(batch, had - 1)->as.integer, had);
    ll_cursor *rest = ll_request_take_cursor(request);
    struct ArrowArrayStream stream;
    T_EQUAL(ll_arrow_stream_live(&batch, 1, had, rest, NULL, &stream), LL_OK);
    ll_request_unref(request);
    int64_t rows = (int64_t)had;
    T_EQUAL(count_up(&stream, &rows), 0);
    T_EQUAL(rows, 5000);
    stream.release(&stream);
    t_close(conn);
}

/* Types come from the first batch, and for that it is read. */
static void nothing_was_read_before(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE e(i INTEGER, s TEXT, r REAL, x)");
    static const char *const texts[] = {COUNTING("5000") "SELECT x FROM c",
                                        COUNTING("300") "SELECT x FROM c"};
    static const int64_t all[] = {5000, 300};
    for (size_t i = 0; i < 2; i++) {
        ll_request *request = ask(conn, texts[i], LL_SQL_STREAM);
        ll_batch *first = ll_request_take_batch(request);
        int64_t rows = (int64_t)ll_batch_rows(
            first); /* 256, or fewer where reading them takes long */
        ll_batch_free(first);
        struct ArrowArrayStream stream;
        struct ArrowSchema schema;
        T_EQUAL(ll_arrow_stream_live(NULL, 0, 0, ll_request_take_cursor(request), NULL, &stream),
                LL_OK);
        ll_request_unref(request);
        T_EQUAL(stream.get_schema(&stream, &schema), 0);
        T_SAME_TEXT(schema.children[0]->format, "l");
        schema.release(&schema);
        T_EQUAL(count_up(&stream, &rows), 0);
        T_EQUAL(rows, all[i]);
        stream.release(&stream);
    }
    t_close(conn);
}

static void a_value_that_does_not_fit_ends_it(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    struct ArrowArrayStream stream = stream_of(
        conn, COUNTING("300000") "SELECT CASE x WHEN 200000 THEN 'word' ELSE x END AS v FROM c");
    int64_t rows = 0;
    T_EQUAL(count_up(&stream, &rows), EINVAL);
    T_CHECK(rows > 1000 && rows < 200000);
    T_CHECK(strstr(stream.get_last_error(&stream), "column 0 (v) began as int64") != NULL);
    T_EQUAL(live(conn), 0);
    T_EQUAL(count_up(&stream, &rows), ECANCELED); /* no rows behind a gap */
    stream.release(&stream);
    t_close(conn);
}

static void an_error_comes_behind_the_rows_before_it(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    struct ArrowArrayStream stream = stream_of(
        conn,
        COUNTING(
            "5000") "SELECT CASE x WHEN 4000 THEN abs(-9223372036854775808) ELSE x END FROM c");
    int64_t rows = 0;
    T_EQUAL(count_up(&stream, &rows), EIO);
    T_EQUAL(rows, 3999);
    T_SAME_TEXT(stream.get_last_error(&stream), "integer overflow");
    T_EQUAL(live(conn), 0);
    stream.release(&stream);
    t_close(conn);
}

/* ---- ends ----------------------------------------------------------------------------------------- */

/* A consumer that drops it leaves no statement, and so no lock. */
static void dropped_half_way(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t AS " COUNTING("50000") "SELECT x FROM c");
    for (int pulls = 0; pulls < 3; pulls++) {
        struct ArrowArrayStream stream = stream_of(conn, "SELECT x FROM t");
        for (int i = 0; i < pulls; i++) {
            struct ArrowArray array;
            T_EQUAL(stream.get_next(&stream, &array), 0);
            array.release(&array);
        }
        stream.release(&stream);
        T_EQUAL(live(conn), 0);
        t_file_sql(t_path(t, "a.db"), "BEGIN EXCLUSIVE; COMMIT"); /* fails while anybody reads */
    }
    t_close(conn);
}

/* The pump has let go of the batch and is about to stand in the queue again: the end of its cursor comes before it. */
static void dropped_right_behind_a_batch(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    for (int i = 0; i < 200; i++) {
        struct ArrowArray array;
        ll_request *request = ask(conn, T_ENDLESS "SELECT x FROM c", LL_SQL_STREAM);
        ll_batch_free(ll_request_take_batch(request));
        struct ArrowArrayStream stream;
        T_EQUAL(ll_arrow_stream_live(NULL, 0, 0, ll_request_take_cursor(request), NULL, &stream),
                LL_OK);
        ll_request_unref(request);
        T_EQUAL(stream.get_next(&stream, &array), 0); /* wakes up when the pump has it */
        stream.release(&stream);
        array.release(&array);
    }
    T_EQUAL(live(conn), 0);
    t_close(conn);
}

struct puller {
    struct ArrowArrayStream stream;
    int64_t rows;
    int code;
};

static void *pull(void *arg)
{
    struct puller *puller = arg;
    puller->code = count_up(&puller->stream, &puller->rows);
    return NULL;
}

static void closed_while_another_thread_waits(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_gate_install(gate, conn);
    ll_request *request = ask(conn, T_ENDLESS "SELECT x, CASE x WHEN 2000 THEN gate() END FROM c",
                              LL_SQL_STREAM);
    ll_batch *batch = ll_request_take_batch(request);
    ll_arrow_tap *tap = NULL;
    struct puller puller = {.rows = 0};
    T_EQUAL(
        ll_arrow_stream_live(&batch, 1, 0, ll_request_take_cursor(request), &tap, &puller.stream),
        LL_OK);
    ll_request_unref(request);
    pthread_t thread;
    T_EQUAL(pthread_create(&thread, NULL, pull, &puller), 0);
    t_gate_entered(gate, 1);
    ll_arrow_tap_close(tap);
    pthread_join(thread, NULL); /* though the statement is held still */
    t_gate_open(gate);
    T_EQUAL(puller.code, ECANCELED);
    T_CHECK(puller.rows < 2000);
    T_CHECK(strstr(puller.stream.get_last_error(&puller.stream), "closed") != NULL);
    T_EQUAL(count_up(&puller.stream, &puller.rows), ECANCELED);
    puller.stream.release(&puller.stream);
    T_EQUAL(t_int(conn, "SELECT 1"), 1);
    T_EQUAL(live(conn), 0);
    t_close(conn);
}

/* Whatever a tap does when all was read, or the stream is gone. */
static void taps(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    for (int way = 0; way < 4; way++) {
        ll_request *request = ask(conn, COUNTING("1000") "SELECT x FROM c", LL_SQL_STREAM);
        ll_batch *batch = ll_request_take_batch(request);
        ll_arrow_tap *tap = NULL;
        struct ArrowArrayStream stream;
        int64_t rows = 0, read_before = (int64_t)ll_batch_rows(batch);
        T_EQUAL(ll_arrow_stream_live(&batch, 1, 0, ll_request_take_cursor(request), &tap, &stream),
                LL_OK);
        ll_request_unref(request);
        if (way & 1)
            T_EQUAL(count_up(&stream, &rows), 0);
        if (way & 2)
            stream.release(&stream);
        ll_arrow_tap_close(tap);
        if (!(way & 2)) {
            T_EQUAL(count_up(&stream, &rows), way & 1 ? 0 : ECANCELED);
            stream.release(&stream);
        }
        T_EQUAL(rows, way & 1 ? 1000 : way == 0 ? read_before : 0);
    }
    ll_arrow_tap_close(NULL);
    ll_arrow_tap_free(NULL);
    T_EQUAL(live(conn), 0);
    t_close(conn);
}

static void the_connection_closes_meanwhile(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    struct ArrowArrayStream stream = stream_of(conn, T_ENDLESS "SELECT x FROM c");
    struct ArrowArray array;
    T_EQUAL(stream.get_next(&stream, &array), 0);
    array.release(&array);
    t_close(conn);
    int64_t rows = 0;
    int code;
    while ((code = stream.get_next(&stream, &array)) == 0 && array.release && rows++ < 10)
        array.release(&array); /* what was read ahead */
    T_EQUAL(code, ECANCELED);
    T_CHECK(strstr(stream.get_last_error(&stream), "clos") != NULL);
    stream.release(&stream);
}

static void the_engine_ends_meanwhile(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    struct ArrowArrayStream stream = stream_of(conn, T_ENDLESS "SELECT x FROM c");
    ll_conn_unref(conn);
    ll_engine_free(t->engine);
    t->engine = NULL;
    struct ArrowArray array;
    int code;
    int pulls = 0;
    while ((code = stream.get_next(&stream, &array)) == 0 && pulls++ < 10)
        array.release(&array);
    T_CHECK(code != 0);
    stream.release(&stream);
}

static void what_cannot_be_a_stream(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    struct ArrowArrayStream stream;
    ll_request *request = ask(conn, COUNTING("1000") "SELECT x FROM c", LL_SQL_STREAM);
    ll_batch *batch = ll_request_take_batch(request);
    T_EQUAL(ll_arrow_stream_live(&batch, 1, 0, NULL, NULL, &stream), LL_EINVAL);
    T_CHECK(strstr(ll_last_error(), "rest is NULL") != NULL);
    T_EQUAL(ll_arrow_stream_live(NULL, 0, 0, ll_request_take_cursor(request), NULL, NULL),
            LL_EINVAL);
    T_CHECK(strstr(ll_last_error(), "ret_stream is NULL") != NULL);
    ll_request_unref(request);
    t_close(conn);
}

/* ---- memory --------------------------------------------------------------------------------------- */

static atomic_llong held, most; /* bytes of the library */

static void *counting_resize(void *block, size_t size)
{
    size_t before = 0;
    char *old = block;
    if (old) {
        old -= 16;
        memcpy(&before, old, sizeof before);
    }
    char *made = realloc(old, size + 16);
    if (!made)
        return NULL;
    memcpy(made, &size, sizeof size);
    long long now = atomic_fetch_add(&held, (long long)size - (long long)before) + (long long)size -
                    (long long)before;
    long long high = atomic_load(&most);
    while (now > high && !atomic_compare_exchange_weak(&most, &high, now)) {}
    return made + 16;
}

static void counting_release(void *block)
{
    if (!block)
        return;
    char *old = (char *)block - 16;
    size_t size;
    memcpy(&size, old, sizeof size);
    atomic_fetch_sub(&held, (long long)size);
    free(old);
}

/* The most that is held over a whole result of so many rows, in bytes. */
static long long peak_of(t_env *t, const char *rows)
{
    ll_conn *conn = t_open(t, "a.db");
    struct ArrowArrayStream stream = stream_of(
        conn, t_printf(t,
                       "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE"
                       " x < %s) SELECT x, x / 2.0, 'row number ' || x FROM c",
                       rows));
    int64_t count = 0;
    long long before = atomic_load(&held);
    atomic_store(&most, before);
    T_EQUAL(count_up(&stream, &count), 0);
    T_EQUAL(count, strtoll(rows, NULL, 10));
    stream.release(&stream);
    long long peak = atomic_load(&most) - before;
    t_close(conn);
    return peak;
}

/* Ten times the rows, the same memory: what is read ahead. LL_TEST_ROWS gives another number for the larger one. */
static void memory_stays_flat(void **state)
{
    t_env *t = *state;
    const char *rows = getenv("LL_TEST_ROWS");
    bool slow = getenv("LL_TEST_SLOW") != NULL;
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_EQUAL(ll_set_allocator(counting_resize, counting_release), LL_OK);
    T_EQUAL(ll_engine_new(NULL, &t->engine), LL_OK);
    long long few = peak_of(t, slow ? "10000" : "50000");
    if (rows)
        alarm(0); /* it takes as long as it takes */
    long long many = peak_of(t, rows ? rows : slow ? "100000" : "500000");
    fprintf(stderr, "held at most: %lld and %lld bytes\n", few, many);
    /* three batches ahead, one being read, one with the consumer: 256 KiB of values each, in buffers that
     * grow by doubling */
    T_CHECK(many < 5 * 4 * 256 * 1024);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_EQUAL(atomic_load(&held), 0);
    T_EQUAL(ll_set_allocator(realloc, free), LL_OK);
}

static void memory_runs_out(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    size_t failures = 0;
    bool fired = true;
    for (unsigned long nth = 1; fired; nth++) {
        ll_request *request = ask(conn, COUNTING("600") "SELECT x, 'n' || x FROM c", LL_SQL_STREAM);
        ll_batch *batch = ll_request_take_batch(request);
        ll_cursor *rest = ll_request_take_cursor(request);
        struct ArrowArrayStream stream = {0};
        struct ArrowArray array;
        int64_t rows = 0;
        lli_fault_arm(LLI_FAULT_ALLOC, nth);
        ll_status status = ll_arrow_stream_live(&batch, 1, 0, rest, NULL, &stream);
        int code = 0;
        while (status == LL_OK && (code = stream.get_next(&stream, &array)) == 0 && array.release) {
            rows += array.length;
            array.release(&array);
        }
        fired = lli_fault_fired();
        lli_fault_disarm();
        T_CHECK(status == LL_OK || (fired && status == LL_ENOMEM));
        T_CHECK(code == 0 || (fired && code == ENOMEM));
        if (status == LL_OK && code == 0)
            T_EQUAL(rows, 600);
        else
            failures++;
        if (stream.release)
            stream.release(&stream);
        ll_request_unref(request);
    }
    /* 34: 21 on this thread, the others on the worker that reads ahead; in which order is up to the two. */
    T_CHECK(failures > 8);
    t_close(conn);
}

/* ---- loading from one ----------------------------------------------------------------------------- */

static void loading_from_another_connection(void **state)
{
    t_env *t = *state;
    ll_engine_options options = {.max_workers = 1}; /* the loading one waits for the reading one */
    t_engine(t, &options);
    ll_conn *from = t_open(t, "a.db"), *to = t_open(t, "b.db");
    t_exec(to, "CREATE TABLE t(x, s)");
    struct ArrowArrayStream stream = stream_of(from,
                                               COUNTING("20000") "SELECT x, 'n' || x AS s FROM c");
    ll_request *request = NULL;
    T_EQUAL(t_end(ll_arrow_load(to, "t", &stream, NULL, NULL, &request), request), LL_OK);
    T_EQUAL(ll_request_progress(request), 20000);
    ll_request_unref(request);
    T_EQUAL(t_int(to, "SELECT sum(x) FROM t WHERE s = 'n' || x"), 200010000);
    T_EQUAL(live(from), 0);
    t_close(from);
    t_close(to);
}

static void loading_from_the_same_connection_is_refused(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    struct ArrowArrayStream stream = stream_of(conn, COUNTING("20000") "SELECT x FROM c");
    ll_request *request = NULL;
    T_EQUAL(t_end(ll_arrow_load(conn, "t", &stream, NULL, NULL, &request), request), LL_EINVAL);
    T_CHECK(strstr(ll_request_error(request)->message, "use two connections") != NULL);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    T_EQUAL(live(conn), 0);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(all_rows_come),
        T_TEST(rows_that_somebody_has_had_are_left_out),
        T_TEST(nothing_was_read_before),
        T_TEST(a_value_that_does_not_fit_ends_it),
        T_TEST(an_error_comes_behind_the_rows_before_it),
        T_TEST(dropped_half_way),
        T_TEST(dropped_right_behind_a_batch),
        T_TEST(closed_while_another_thread_waits),
        T_TEST(taps),
        T_TEST(the_connection_closes_meanwhile),
        T_TEST(the_engine_ends_meanwhile),
        T_TEST(what_cannot_be_a_stream),
        T_TEST(memory_stays_flat),
        T_TEST(memory_runs_out),
        T_TEST(loading_from_another_connection),
        T_TEST(loading_from_the_same_connection_is_refused),
    };
    return T_RUN(tests);
}
