/* Arrow import: all rows or none, in the transaction that is open or in one of their own; cancelled, locked, out of
 * memory; where the source is asked, and that it is always released. */
#include "support/arrays.h"

#include "base/fault.h"

#include <errno.h>

/* Two rows a batch: (1, 'a'), (2, NULL). */
static const int64_t numbers[] = {1, 2};
static const uint8_t valid[] = {0x01};
static const int32_t offsets[] = {0, 1, 1};
static const t_array columns[] = {
    {.format = "l", .name = "n", .length = 2, .n_buffers = 2, .buffers = {NULL, numbers}},
    {.format = "u",
     .name = "Text \"q\"",
     .length = 2,
     .null_count = 1,
     .n_buffers = 3,
     .buffers = {valid, offsets, "a"}},
};
#define TABLE "CREATE TABLE t(\"Text \"\"q\"\"\" TEXT, n INTEGER, other DEFAULT 7)"

static t_source source_of(size_t batches)
{
    return (t_source){.columns = columns, .width = 2, .rows = 2, .batches = batches};
}

static ll_status load(ll_conn *conn, const char *table, t_source *source,
                      const ll_arrow_load_options *options, ll_request **ret_request)
{
    struct ArrowArrayStream stream = t_stream(source);
    ll_status status = t_end(ll_arrow_load(conn, table, &stream, options, NULL, ret_request),
                             *ret_request);
    T_CHECK(stream.release == NULL);
    T_EQUAL(atomic_load(&source->alive), 0); /* also while the request lives */
    return status;
}

static void loads(ll_conn *conn, t_source *source, const ll_arrow_load_options *options,
                  size_t rows)
{
    ll_request *request = NULL;
    ll_status status = load(conn, "t", source, options, &request);
    if (status != LL_OK)
        t_fail(__FILE__, __LINE__, "%s", ll_request_error(request)->message);
    T_EQUAL(ll_request_progress(request), rows);
    T_EQUAL(ll_request_changes(request), rows);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
}

static void fails(ll_conn *conn, const char *table, t_source *source,
                  const ll_arrow_load_options *options, ll_status status, const char *words)
{
    ll_request *request = NULL;
    T_EQUAL(load(conn, table, source, options, &request), status);
    if (!strstr(ll_request_error(request)->message, words))
        t_fail(__FILE__, __LINE__, "'%s' does not say '%s'", ll_request_error(request)->message,
               words);
    t_is(request, status, LL_NOT_APPLIED);
    ll_request_unref(request);
}

/* ---- rows ----------------------------------------------------------------------------------------- */

static void columns_go_by_name(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, TABLE);
    t_source source = source_of(3);
    loads(conn, &source, NULL, 6);
    T_EQUAL(t_int(conn,
                  "SELECT count(*) FROM t WHERE n = 1 AND \"Text \"\"q\"\"\" = 'a' AND other = 7"),
            3);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t WHERE n = 2 AND \"Text \"\"q\"\"\" IS NULL"), 3);
    T_CHECK(!t_state(conn).in_transaction);
    source = source_of(0); /* no rows are fine, too */
    loads(conn, &source, NULL, 0);
    T_EQUAL(source.asked, 1);
    t_close(conn);
}

static void the_source_is_asked_on_a_worker(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, TABLE);
    t_source source = source_of(1);
    loads(conn, &source, NULL, 2);
    T_CHECK(!pthread_equal(source.thread, pthread_self()));
    t_close(conn);
}

static void tables_are_named_exactly(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, t_printf(t, "ATTACH '%s' AS \"o t\"", t_path(t, "b.db")));
    t_exec(conn, TABLE);
    t_exec(conn, "CREATE TABLE \"o t\".t(n, \"Text \"\"q\"\"\")");
    t_exec(conn, "CREATE TABLE \"o t\".\"x\"\"); DROP TABLE t; --\"(n, \"Text \"\"q\"\"\")");
    t_source source = source_of(1);
    ll_arrow_load_options options = {.schema = "o t"};
    loads(conn, &source, &options, 2);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM main.t"), 0);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM \"o t\".t"), 2);
    ll_request *request = NULL;
    T_EQUAL(load(conn, "x\"); DROP TABLE t; --", &source, NULL, &request), LL_OK);
    ll_request_unref(request);
    fails(conn, "nothing", &source, NULL, LL_ESQL, "no such table: nothing");
    options.schema = "no";
    fails(conn, "t", &source, &options, LL_ESQL, "no.t");
    t_exec(conn, "DROP TABLE main.t");
    t_exec(conn, "CREATE TABLE main.t(\"Text \"\"q\"\"\")");
    fails(conn, "t", &source, NULL, LL_ESQL, "no column named n");
    t_close(conn);
}

static void views_and_generated_columns(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE kept(a)");
    t_exec(conn, "CREATE VIEW t AS SELECT 0 AS n, 0 AS \"Text \"\"q\"\"\"");
    t_source source = source_of(1);
    fails(conn, "t", &source, NULL, LL_ESQL, "cannot modify t because it is a view");
    t_exec(conn,
           "CREATE TRIGGER tr INSTEAD OF INSERT ON t BEGIN INSERT INTO kept VALUES(NEW.n); END");
    ll_request *request = NULL;
    T_EQUAL(load(conn, "t", &source, NULL, &request), LL_OK);
    T_EQUAL(ll_request_progress(request), 2);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT sum(a) FROM kept"), 3);
    t_exec(conn, "CREATE TABLE g(n AS (1), \"Text \"\"q\"\"\")");
    fails(conn, "g", &source, NULL, LL_ESQL, "generated column");
    t_close(conn);
}

/* ---- all or nothing ------------------------------------------------------------------------------- */

static void a_source_that_fails_leaves_nothing(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, TABLE);
    t_source source = source_of(3);
    source.next_fails = EIO;
    source.error = "the disk of the source is gone";
    fails(conn, "t", &source, NULL, LL_EINVAL,
          "the Arrow source failed: the disk of the source is gone");
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    T_CHECK(!t_state(conn).in_transaction);
    source.next_fails = ENOMEM;
    source.error = NULL;
    fails(conn, "t", &source, NULL, LL_ENOMEM, "Cannot allocate memory");
    t_close(conn);
}

static void a_row_that_fails_leaves_nothing(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, TABLE);
    t_exec(conn, "CREATE UNIQUE INDEX u ON t(n)");
    t_exec(conn, "INSERT INTO t(n) VALUES(10)");
    t_source source = source_of(2);
    fails(conn, "t", &source, NULL, LL_ESQL, "UNIQUE constraint failed: t.n");
    T_EQUAL(t_int(conn, "SELECT sum(n) FROM t"), 10);
    t_exec(conn, "BEGIN");
    t_exec(conn, "INSERT INTO t(n) VALUES(11)");
    fails(conn, "t", &source, NULL, LL_ESQL, "UNIQUE constraint failed: t.n");
    T_CHECK(t_state(conn).in_transaction); /* the program's own goes on */
    t_exec(conn, "COMMIT");
    T_EQUAL(t_int(conn, "SELECT sum(n) FROM t"), 21);
    t_close(conn);
}

static void it_is_part_of_the_open_transaction(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, TABLE);
    t_source source = source_of(1);
    t_exec(conn, "BEGIN");
    loads(conn, &source, NULL, 2);
    T_CHECK(t_state(conn).in_transaction);
    t_exec(conn, "ROLLBACK");
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    ll_arrow_load_options options = {.begin_before = LL_BEGIN_IMMEDIATE};
    loads(conn, &source, &options, 2);
    T_CHECK(t_state(conn).in_transaction);
    t_exec(conn, "COMMIT");
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 2);
    t_close(conn);
}

static void overwriting_is_undone_too(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, TABLE);
    t_exec(conn, "INSERT INTO t(n) VALUES(10), (11), (12)");
    t_source source = source_of(2);
    ll_arrow_load_options options = {.overwrite = true};
    source.next_fails = EIO;
    fails(conn, "t", &source, &options, LL_EINVAL, "Input/output error");
    T_EQUAL(t_int(conn, "SELECT sum(n) FROM t"), 33);
    source.next_fails = 0;
    loads(conn, &source, &options, 4);
    T_EQUAL(t_int(conn, "SELECT sum(n) FROM t"), 6);
    source = source_of(0);
    loads(conn, &source, &options, 0);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_exec(conn, "CREATE TABLE child(n REFERENCES parent(n))");
    t_exec(conn, "CREATE TABLE parent(n UNIQUE, \"Text \"\"q\"\"\")");
    t_exec(conn, "INSERT INTO parent(n) VALUES(5)");
    t_exec(conn, "INSERT INTO child VALUES(5)");
    t_exec(conn, "PRAGMA foreign_keys = ON");
    source = source_of(1);
    fails(conn, "parent", &source, &options, LL_ESQL, "FOREIGN KEY constraint failed");
    T_EQUAL(t_int(conn, "SELECT n FROM parent"), 5);
    t_close(conn);
}

/* ---- stops and locks ------------------------------------------------------------------------------ */

static void cancel_third(t_source *source)
{
    ll_request **request = source->point_arg;
    if (source->asked == 3)
        T_EQUAL(ll_request_cancel(*request), LL_OK);
}

static void cancelling_takes_all_back(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, TABLE);
    t_exec(conn, "INSERT INTO t(n) VALUES(10)");
    t_gate *gate = t_gate_new(t);
    ll_request *request = NULL, *held = NULL;
    ll_arrow_load_options options = {.overwrite = true};
    static const size_t batches[] = {
        5, 2}; /* in the middle; in the very question that has no answer */
    for (size_t i = 0; i < 2; i++) {
        t_source source = source_of(batches[i]);
        source.point = cancel_third;
        source.point_arg = &request;
        struct ArrowArrayStream stream = t_stream(&source);
        /* `request` is set before the worker comes to it */
        ll_status waits = ll_conn_call(conn, t_gate_call, gate, NULL, &held);
        ll_status status = ll_arrow_load(conn, "t", &stream, &options, NULL, &request);
        t_gate_let(gate, 1);
        T_EQUAL(t_end(waits, held), LL_OK);
        T_EQUAL(t_end(status, request), LL_ECANCELLED);
        t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
        T_EQUAL(source.asked, 3);
        T_EQUAL(atomic_load(&source.alive), 0);
        ll_request_unref(request);
        ll_request_unref(held);
        T_EQUAL(t_int(conn, "SELECT sum(n) FROM t"), 10);
        T_CHECK(!t_state(conn).in_transaction);
    }
    t_close(conn);
}

static void one_that_never_ran_is_released(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, TABLE);
    t_gate *gate = t_gate_new(t);
    t_source source = source_of(1);
    struct ArrowArrayStream stream = t_stream(&source);
    ll_request *held = NULL, *request = NULL;
    ll_status waits = ll_conn_call(conn, t_gate_call, gate, NULL, &held);
    T_EQUAL(ll_arrow_load(conn, "t", &stream, NULL, NULL, &request), LL_PENDING);
    T_EQUAL(ll_request_cancel(request), LL_OK);
    T_EQUAL(t_end(LL_PENDING, request), LL_ECANCELLED);
    t_gate_let(gate, 1);
    T_EQUAL(t_end(waits, held), LL_OK);
    ll_request_unref(held);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0); /* the queue has passed it */
    T_CHECK(atomic_load(&source.alive) == 0 && source.asked == 0);
    t_close(conn);
}

static void a_lock_is_waited_for(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path, TABLE);
    ll_open_options open = {.busy_timeout_ns = 30 * T_MS};
    ll_conn *conn = t_open_with(t->engine, path, &open);
    sqlite3 *other = t_raw_open(path);
    t_raw(other, "BEGIN IMMEDIATE");
    t_source source = source_of(2);
    ll_arrow_load_options options = {.overwrite = true};
    ll_request *request = NULL;
    T_EQUAL(load(conn, "t", &source, &options, &request), LL_EBUSY);
    t_is(request, LL_EBUSY, LL_NOT_APPLIED);
    ll_request_unref(request);
    T_EQUAL(source.asked, 1); /* the first batch was kept over all tries */
    T_CHECK(!t_state(conn).in_transaction);
    t_exec(conn, "PRAGMA busy_timeout = 3600000");
    struct ArrowArrayStream stream = t_stream(&source);
    T_EQUAL(ll_arrow_load(conn, "t", &stream, &options, NULL, &request), LL_PENDING);
    while (t_stats(t->engine).parks == 0)
        t_turn(t->engine);
    t_raw(other, "ROLLBACK");
    T_EQUAL(t_end(LL_PENDING, request), LL_OK);
    T_EQUAL(ll_request_progress(request), 4);
    ll_request_unref(request);
    T_EQUAL(source.asked, 3);
    t_raw_close(other);
    t_close(conn);
}

static void write_first(t_source *source)
{
    if (source->asked == 1)
        t_file_sql(source->point_arg, "INSERT INTO t(n) VALUES(100)");
}

static void others_write_while_the_source_begins(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "PRAGMA journal_mode = WAL");
    t_exec(conn, TABLE);
    t_source source = source_of(1);
    source.point = write_first;
    source.point_arg = t_printf(t, "%s", t_path(t, "a.db"));
    loads(conn, &source, NULL, 2);
    T_EQUAL(t_int(conn, "SELECT sum(n) FROM t"), 103);
    t_close(conn);
}

/* ---- calls ---------------------------------------------------------------------------------------- */

static void what_is_refused_at_once(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, TABLE);
    ll_request *request = NULL;
    struct ArrowArrayStream nothing = {0};
    t_source source = source_of(1);
    T_EQUAL(ll_arrow_load(conn, "t", NULL, NULL, NULL, &request), LL_EINVAL);
    T_EQUAL(ll_arrow_load(conn, "t", &nothing, NULL, NULL, &request), LL_EINVAL);
    T_CHECK(strstr(ll_last_error(), "released already") != NULL);
    static const char *const tables[] = {NULL, "", "t", "t"};
    static const char *const words[] = {"table is NULL", "table is empty", "conn is NULL",
                                        "ret_request is NULL"};
    for (size_t i = 0; i < 4; i++) {
        struct ArrowArrayStream stream = t_stream(&source);
        T_EQUAL(ll_arrow_load(i == 2 ? NULL : conn, tables[i], &stream, NULL, NULL,
                              i == 3 ? NULL : &request),
                LL_EINVAL);
        T_CHECK(strstr(ll_last_error(), words[i]) != NULL);
        T_CHECK(atomic_load(&source.alive) == 0 && !stream.release);
    }
    struct ArrowArrayStream stream = t_stream(&source);
    ll_arrow_load_options options = {.begin_before = (ll_begin)9};
    T_EQUAL(ll_arrow_load(conn, "t", &stream, &options, NULL, &request), LL_EINVAL);
    T_CHECK(strstr(ll_last_error(), "begin_before is 9") != NULL);
    ll_conn *closed = ll_conn_ref(conn);
    t_close(conn);
    stream = t_stream(&source);
    T_EQUAL(ll_arrow_load(closed, "t", &stream, NULL, NULL, &request), LL_ECLOSED);
    T_CHECK(atomic_load(&source.alive) == 0 && source.asked == 0);
    ll_conn_unref(closed);
}

static void one_batch_as_a_stream(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, TABLE);
    t_source source = source_of(1);
    struct ArrowArrayStream from = t_stream(&source), stream = {0};
    struct ArrowSchema schema, again;
    struct ArrowArray batch;
    for (int used = 0; used < 2; used++) {
        source.asked = 0;
        T_EQUAL(from.get_schema(&from, &schema), 0);
        T_EQUAL(from.get_next(&from, &batch), 0);
        T_EQUAL(ll_arrow_stream_of_batch(&schema, &batch, &stream), LL_OK);
        T_CHECK(!schema.release && !batch.release);
        if (used == 0) {
            T_EQUAL(stream.get_schema(&stream, &again), 0);
            T_EQUAL(stream.get_schema(&stream, &schema), EINVAL);
            T_SAME_TEXT(stream.get_last_error(&stream), "the schema was given already");
            again.release(&again);
            stream.release(&stream);
            continue;
        }
        ll_request *request = NULL;
        T_EQUAL(t_end(ll_arrow_load(conn, "t", &stream, NULL, NULL, &request), request), LL_OK);
        T_EQUAL(ll_request_progress(request), 2);
        ll_request_unref(request);
    }
    T_EQUAL(from.get_schema(&from, &schema), 0);
    T_EQUAL(ll_arrow_stream_of_batch(&schema, NULL, &stream), LL_EINVAL);
    T_CHECK(!schema.release && strstr(ll_last_error(), "batch is NULL or released"));
    from.release(&from);
    T_EQUAL(atomic_load(&source.alive), 0);
    t_close(conn);
}

static void memory_runs_out(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), TABLE);
    static const t_array words = {
        .format = "u", .length = 2, .n_buffers = 3, .buffers = {NULL, offsets, "a"}};
    static const t_array encoded[] = {
        {.format = "l", .name = "n", .length = 2, .n_buffers = 2, .buffers = {NULL, numbers}},
        {.format = "c",
         .name = "Text \"q\"",
         .length = 2,
         .n_buffers = 2,
         .buffers = {NULL, "\0\1"},
         .dictionary = &words},
    };
    size_t failures = 0;
    bool fired = true;
    ll_arrow_load_options options = {.schema = "main", .overwrite = true};
    for (unsigned long nth = 1; fired; nth++) {
        t_source source = {.columns = encoded, .width = 2, .rows = 2, .batches = 2};
        struct ArrowArrayStream stream = t_stream(&source);
        ll_request *request = NULL;
        ll_conn *conn = t_open(t, "a.db"); /* with nothing prepared by the load before */
        lli_fault_arm(LLI_FAULT_ALLOC, nth);
        ll_status status = t_end(ll_arrow_load(conn, "t", &stream, &options, NULL, &request),
                                 request);
        fired = lli_fault_fired();
        lli_fault_disarm();
        T_CHECK(!stream.release && atomic_load(&source.alive) == 0);
        T_CHECK(status == LL_OK || (status == LL_ENOMEM && fired));
        failures += status != LL_OK;
        ll_request_unref(request);
        T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), status == LL_OK ? 4 : 0);
        t_exec(conn, "DELETE FROM t");
        t_close(conn);
    }
    /* Eight that no load goes without: seven of its own (itself, its request, that one's text, three arrays, the
     * dictionary's column) and the INSERT. When another worker still has the lock, the question whether this INSERT needs it
     * comes before, whose failure means "it does". */
    T_CHECK(failures >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(columns_go_by_name),
        T_TEST(the_source_is_asked_on_a_worker),
        T_TEST(tables_are_named_exactly),
        T_TEST(views_and_generated_columns),
        T_TEST(a_source_that_fails_leaves_nothing),
        T_TEST(a_row_that_fails_leaves_nothing),
        T_TEST(it_is_part_of_the_open_transaction),
        T_TEST(overwriting_is_undone_too),
        T_TEST(cancelling_takes_all_back),
        T_TEST(one_that_never_ran_is_released),
        T_TEST(a_lock_is_waited_for),
        T_TEST(others_write_while_the_source_begins),
        T_TEST(what_is_refused_at_once),
        T_TEST(one_batch_as_a_stream),
        T_TEST(memory_runs_out),
    };
    return T_RUN(tests);
}
