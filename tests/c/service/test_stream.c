/* Streams: a result that is read ahead under a bound, beside other work on the same connection, and
 * that can be ended at any moment without leaving a lock behind. */
#include "support/support.h"

/* Starts a stream and gives the finished request. */
static ll_request *start(ll_conn *conn, const char *text, size_t first_rows)
{
    ll_sql sql = {
        .text = text, .size = LL_NUL_TERMINATED, .flags = LL_SQL_STREAM, .first_rows = first_rows};
    ll_request *request = NULL;
    ll_status status = t_end(ll_conn_submit(conn, &sql, NULL, &request), request);
    if (status != LL_OK)
        t_fail(__FILE__, __LINE__, "%s: %s: %s", text, ll_status_name(status),
               request ? ll_request_error(request)->message : ll_last_error());
    return request;
}

/* The status of the next batch, and the batch. */
static ll_status next(ll_cursor *cursor, ll_batch **ret_batch)
{
    ll_request *request = NULL;
    ll_status status = t_end(ll_cursor_next(cursor, NULL, &request), request);
    *ret_batch = NULL;
    if (request && status == LL_OK) {
        *ret_batch = ll_request_take_batch(request);
        T_CHECK(!ll_request_take_batch(request)); /* one batch an answer */
    }
    ll_request_unref(request);
    return status;
}

/* Checks that a batch goes on counting from *last; frees it. */
static void counts_on(ll_batch *batch, int64_t *last)
{
    for (size_t i = 0; i < ll_batch_rows(batch); i++) {
        const ll_value *row = ll_batch_row(batch, i);
        T_CHECK(row[0].type == LL_INTEGER && row[0].as.integer == *last + 1);
        ++*last;
    }
    ll_batch_free(batch);
}

static void first_batches(ll_request *request, int64_t *last)
{
    for (ll_batch *batch; (batch = ll_request_take_batch(request)) != NULL;)
        counts_on(batch, last);
}

static void all_rows_in_order(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = NULL;
    T_CHECK(t_end(ll_stream(conn, T_ENDLESS "SELECT x, x || ' text' AS words FROM c LIMIT 50000",
                            NULL, 0, NULL, &request),
                  request) == LL_OK);
    T_CHECK(ll_request_is_read(request));
    int64_t last = 0;
    first_batches(request, &last);
    T_CHECK(last <= 256);
    ll_cursor *cursor = ll_request_take_cursor(request);
    T_CHECK(cursor && !ll_request_take_cursor(request));
    ll_request_unref(request);
    T_CHECK(t_state(conn).live_cursors == 1);
    T_SAME_TEXT(ll_columns_name(ll_cursor_columns(cursor), 1), "words");
    ll_batch *batch = NULL;
    while (next(cursor, &batch) == LL_OK && batch) {
        T_CHECK(ll_batch_rows(batch) > 0 && ll_batch_rows(batch) <= 1024);
        counts_on(batch, &last);
    }
    T_EQUAL(last, 50000);
    T_CHECK(next(cursor, &batch) == LL_OK && !batch); /* complete remains complete */
    ll_cursor_close(cursor);
    T_EQUAL(t_int(conn, "SELECT 1"), 1);
    T_CHECK(t_state(conn).live_cursors == 0);
    t_close(conn);
}

static void a_short_result_needs_no_cursor(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    static const struct {
        const char *sql;
        size_t first, rows;
    } cases[] = {
        {"SELECT 1 AS x WHERE 0", 0, 0},
        {"SELECT 1 AS x", 0, 1},
        {"VALUES(1), (2), (3)", 0, 3},
        {"VALUES(1), (2), (3)", 10, 3},
        {"", 0, 0},
        {"CREATE TABLE t(x)", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ll_request *request = start(conn, cases[i].sql, cases[i].first);
        int64_t last = 0;
        first_batches(request, &last);
        T_CHECK((size_t)last == cases[i].rows);
        T_CHECK(!ll_request_take_cursor(request));
        ll_request_unref(request);
    }
    t_close(conn);
}

static void first_rows_is_a_bound(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    for (size_t first = 1; first <= 7; first += 3) {
        ll_request *request = start(conn, T_ENDLESS "SELECT x FROM c LIMIT 20", first);
        int64_t last = 0;
        first_batches(request, &last);
        T_CHECK(last >= 1 && (size_t)last <= first);
        ll_cursor *cursor = ll_request_take_cursor(request);
        T_CHECK(cursor != NULL);
        ll_batch *batch = NULL;
        while (next(cursor, &batch) == LL_OK && batch)
            counts_on(batch, &last);
        T_CHECK(last == 20);
        ll_cursor_close(cursor);
        ll_request_unref(request);
    }
    t_close(conn);
}

static void large_rows_come_in_small_batches(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = start(conn, T_ENDLESS "SELECT x, zeroblob(100000) FROM c LIMIT 64", 64);
    int64_t last = 0;
    first_batches(request, &last);
    T_CHECK(last < 64);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_batch *batch = NULL;
    while (next(cursor, &batch) == LL_OK && batch) {
        T_CHECK(ll_batch_rows(batch) <= 4); /* ends at 256 KiB */
        counts_on(batch, &last);
    }
    T_CHECK(last == 64);
    ll_cursor_close(cursor);
    ll_request_unref(request);
    t_close(conn);
}

static void the_reader_is_not_run_away_from(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_gate_install(gate, conn);
    ll_request *request = start(conn, T_ENDLESS "SELECT seen(x) FROM c", 10);
    int64_t last = 0;
    first_batches(request, &last);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    enum {
        CREDIT = 2,
        ROWS = 10
    };
    T_CHECK(ll_cursor_set_ahead(cursor, CREDIT, ROWS) == LL_OK);
    /* what was read ahead before the setting counts, too: three batches of 1024 at most */
    size_t bound = 10 + 3 * 1024 + CREDIT * ROWS + 8;
    ll_batch *batch = NULL;
    for (int i = 0; i < 400; i++) {
        for (int k = 0; k < 3; k++)
            T_EQUAL(t_int(conn, "SELECT 5"), 5); /* an endless statement blocks nobody */
        T_CHECK(t_gate_times(gate) <= (size_t)last + bound);
        T_CHECK(next(cursor, &batch) == LL_OK && batch);
        counts_on(batch, &last);
    }
    /* now only the setting counts */
    T_CHECK(last > 400);
    int64_t before = last;
    while (last < before + 4000) {
        T_CHECK(next(cursor, &batch) == LL_OK && batch);
        T_CHECK(ll_batch_rows(batch) <= ROWS);
        counts_on(batch, &last);
    }
    T_CHECK(t_gate_times(gate) <= (size_t)last + CREDIT * ROWS + 8);
    ll_cursor_close(cursor);
    T_EQUAL(t_int(conn, "SELECT 5"), 5);
    size_t end = t_gate_times(gate);
    T_EQUAL(t_int(conn, "SELECT 5"), 5);
    T_CHECK(t_gate_times(gate) == end);
    t_close(conn);
}

/* Whatever is read ahead while somebody is about to wait for it: the batch that was read first comes first. */
static void a_batch_does_not_overtake(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    size_t rounds = getenv("LL_TEST_SLOW") ? 2000 : 20000;
    ll_request *request = start(conn, T_ENDLESS "SELECT x FROM c", 1);
    int64_t last = 0;
    first_batches(request, &last);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    ll_batch *batch = NULL;
    T_CHECK(ll_cursor_set_ahead(cursor, 2, 1) == LL_OK);
    for (size_t i = 0; i < rounds; i++) {
        T_CHECK(next(cursor, &batch) == LL_OK && batch);
        counts_on(batch, &last);
    }
    ll_cursor_close(cursor);
    t_close(conn);
}

static void wrong_settings(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = start(conn, T_ENDLESS "SELECT x FROM c", 1);
    ll_cursor *cursor = ll_request_take_cursor(request);
    T_CHECK(ll_cursor_set_ahead(cursor, 0, 10) == LL_EINVAL);
    T_CHECK(strstr(ll_last_error(), "credit") != NULL);
    T_CHECK(ll_cursor_set_ahead(cursor, 65, 10) == LL_EINVAL);
    T_CHECK(ll_cursor_set_ahead(cursor, 1, 0) == LL_EINVAL);
    T_CHECK(strstr(ll_last_error(), "rows") != NULL);
    T_CHECK(ll_cursor_set_ahead(cursor, 64, 1) == LL_OK);
    T_CHECK(ll_cursor_next(cursor, NULL, NULL) == LL_EINVAL);
    ll_cursor_close(cursor);
    ll_request_unref(request);
    t_close(conn);
}

static void other_work_between_batches(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    t_exec(conn, "CREATE TABLE other(x)");
    t_exec(conn, "INSERT INTO t " T_ENDLESS "SELECT x FROM c LIMIT 20000");
    ll_request *one = start(conn, "SELECT x FROM t ORDER BY rowid", 5);
    ll_request *two = start(conn, "SELECT x FROM t ORDER BY rowid", 5);
    int64_t a = 0, b = 0;
    first_batches(one, &a);
    first_batches(two, &b);
    ll_cursor *first = ll_request_take_cursor(one), *second = ll_request_take_cursor(two);
    ll_request_unref(one);
    ll_request_unref(two);
    T_CHECK(t_state(conn).live_cursors == 2);
    int64_t inserted = 0;
    for (bool more = true; more;) {
        ll_batch *batch = NULL;
        T_CHECK(next(first, &batch) == LL_OK);
        more = batch != NULL;
        counts_on(batch, &a);
        t_exec(conn, "INSERT INTO other VALUES(1)");
        inserted++;
        T_CHECK(next(second, &batch) == LL_OK);
        counts_on(batch, &b);
    }
    ll_batch *batch = NULL;
    while (next(second, &batch) == LL_OK && batch)
        counts_on(batch, &b);
    T_CHECK(a == 20000 && b == 20000);
    ll_cursor_close(first);
    ll_cursor_close(second);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM other"), inserted);
    t_close(conn);
}

static void many_rows(t_env *t, ll_conn *conn)
{
    (void)t;
    t_exec(conn, "CREATE TABLE t(x)");
    t_exec(conn, "INSERT INTO t " T_ENDLESS "SELECT x FROM c LIMIT 20000");
}

static void closing_midway_frees_the_lock(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    many_rows(t, conn);
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    for (int i = 0; i < 4; i++) {
        ll_request *request = start(conn, "SELECT x FROM t", 5);
        T_CHECK(t_raw_try(other, "BEGIN EXCLUSIVE") == SQLITE_BUSY); /* the stream reads */
        ll_cursor *cursor = ll_request_take_cursor(request);
        if (i % 2) {
            ll_batch *batch = NULL;
            T_CHECK(next(cursor, &batch) == LL_OK && batch);
            ll_batch_free(batch);
        }
        ll_request_unref(request);
        ll_cursor_close(cursor);
        T_EQUAL(t_int(conn, "SELECT 1"), 1); /* it is ended before the next thing */
        T_CHECK(t_state(conn).live_cursors == 0);
        t_raw(other, "BEGIN EXCLUSIVE; INSERT INTO t VALUES(0); COMMIT");
    }
    t_raw_close(other);
    t_close(conn);
}

static void a_cursor_that_nobody_took_ends_with_its_request(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    many_rows(t, conn);
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    ll_request_unref(start(conn, "SELECT x FROM t", 5));
    T_EQUAL(t_int(conn, "SELECT 1"), 1);
    T_CHECK(t_state(conn).live_cursors == 0);
    t_raw(other, "BEGIN EXCLUSIVE; COMMIT");
    t_raw_close(other);
    t_close(conn);
}

static void reading_to_the_end_frees_the_lock(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    many_rows(t, conn);
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    ll_request *request = start(conn, "SELECT x FROM t", 5);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    ll_batch *batch = NULL;
    while (next(cursor, &batch) == LL_OK && batch)
        ll_batch_free(batch);
    t_raw(other, "BEGIN EXCLUSIVE; COMMIT"); /* the cursor is not closed yet */
    ll_cursor_close(cursor);
    t_raw_close(other);
    t_close(conn);
}

static void cancelling_the_next_batch(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_gate_install(gate, conn);
    /* ten rows, and then it looks for the eleventh for ever */
    ll_request *request = start(
        conn, T_ENDLESS "SELECT x FROM c WHERE x <= 10 OR (x > 10 AND seen(x) < 0)", 10);
    int64_t last = 0;
    first_batches(request, &last);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    T_CHECK(cursor != NULL);
    ll_batch *batch = NULL;
    while (last < 10) {
        T_CHECK(next(cursor, &batch) == LL_OK && batch);
        counts_on(batch, &last);
    }
    ll_request *waiting = NULL;
    T_CHECK(ll_cursor_next(cursor, NULL, &waiting) == LL_PENDING);
    t_gate_entered(gate, 100);
    T_CHECK(ll_request_cancel(waiting) == LL_OK);
    T_CHECK(ll_request_wait(waiting) == LL_ECANCELLED);
    ll_request_unref(waiting);
    T_CHECK(next(cursor, &batch) < 0); /* it has ended, and not by completing */
    ll_cursor_close(cursor);
    T_EQUAL(t_int(conn, "SELECT 5"), 5);
    t_close(conn);
}

static void closing_interrupts_the_batch_that_is_being_read(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_gate_install(gate, conn);
    ll_request *request = start(
        conn, T_ENDLESS "SELECT x FROM c WHERE x <= 10 OR (x > 10 AND seen(x) < 0)", 10);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    t_told told[2] = {{0}};
    size_t waiting = 0;
    for (size_t i = 0; i < 2; i++) {
        ll_request *one = NULL;
        ll_status status = ll_cursor_next(cursor, &(ll_submit){.done = t_tell, .user = &told[i]},
                                          &one);
        T_CHECK(status >= 0);
        waiting += status == LL_PENDING;
        ll_request_unref(one);
    }
    t_gate_entered(gate, 100);
    ll_cursor_close(cursor);
    while (ll_engine_outstanding(t->engine) > 0)
        T_CHECK(ll_engine_wait(t->engine, -1, NULL) == LL_OK);
    T_CHECK(told[0].calls + told[1].calls == waiting);
    T_CHECK(!told[1].calls || told[1].status == LL_ECLOSED);
    T_EQUAL(t_int(conn, "SELECT 5"), 5);
    t_close(conn);
}

static void several_next_are_served_in_order(void **state)
{
    enum {
        WAITING = 8
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = start(conn, T_ENDLESS "SELECT x FROM c LIMIT 200", 1);
    int64_t last = 0;
    first_batches(request, &last);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    T_CHECK(ll_cursor_set_ahead(cursor, 1, 50) == LL_OK);
    ll_request *list[WAITING] = {NULL};
    ll_status submitted[WAITING];
    for (size_t i = 0; i < WAITING; i++)
        submitted[i] = ll_cursor_next(cursor, NULL, &list[i]);
    for (size_t i = 0; i < WAITING; i++) {
        T_CHECK(t_end(submitted[i], list[i]) == LL_OK);
        counts_on(ll_request_take_batch(list[i]), &last);
        ll_request_unref(list[i]);
    }
    ll_batch *batch = NULL;
    while (next(cursor, &batch) == LL_OK && batch)
        counts_on(batch, &last);
    T_CHECK(last == 200);
    ll_cursor_close(cursor);
    t_close(conn);
}

static void a_batch_read_ahead_is_there_at_once(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = start(conn, T_ENDLESS "SELECT x FROM c", 1);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    ll_batch *batch = NULL;
    T_CHECK(next(cursor, &batch) == LL_OK && batch);
    ll_batch_free(batch);
    /* it reads ahead by itself: some next one is finished when it is asked for */
    for (bool at_once = false; !at_once;) {
        t_turn(t->engine);
        ll_request *ask = NULL;
        ll_status status = ll_cursor_next(cursor, NULL, &ask);
        at_once = status == LL_OK;
        T_CHECK(t_end(status, ask) == LL_OK);
        ll_request_unref(ask);
    }
    ll_cursor_close(cursor);
    t_close(conn);
}

static void a_cursor_outlives_its_connection(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    many_rows(t, conn);
    ll_request *request = start(conn, "SELECT x FROM t", 5);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    t_close(conn);
    t_file_sql(t_path(t, "a.db"), "BEGIN EXCLUSIVE; DELETE FROM t; COMMIT");
    ll_batch *batch = NULL;
    ll_status status;
    while ((status = next(cursor, &batch)) == LL_OK && batch)
        ll_batch_free(batch); /* what was read ahead may still come */
    T_CHECK(status == LL_ECLOSED);
    T_SAME_TEXT(ll_columns_name(ll_cursor_columns(cursor), 0), "x");
    ll_cursor_close(cursor);
}

static void a_cursor_outlives_its_engine(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    many_rows(t, conn);
    ll_request *request = start(conn, "SELECT x FROM t", 5);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_SAME_TEXT(ll_columns_name(ll_cursor_columns(cursor), 0), "x");
    ll_cursor_close(cursor);
    ll_conn_unref(conn);
    t_file_sql(t_path(t, "a.db"), "BEGIN EXCLUSIVE; DELETE FROM t; COMMIT");
}

static void an_error_in_the_middle(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    t_exec(conn, "INSERT INTO t " T_ENDLESS
                 "SELECT CASE x WHEN 3001 THEN -9223372036854775808 ELSE x END FROM c LIMIT 5000");
    ll_request *request = start(conn, "SELECT abs(x) FROM t ORDER BY rowid", 0);
    int64_t last = 0;
    first_batches(request, &last);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    ll_request *ask = NULL;
    ll_status status;
    while ((status = t_end(ll_cursor_next(cursor, NULL, &ask), ask)) == LL_OK) {
        ll_batch *batch = ll_request_take_batch(ask);
        T_CHECK(batch != NULL); /* an error is no end */
        counts_on(batch, &last);
        ll_request_unref(ask);
        ask = NULL;
    }
    T_CHECK(status == LL_ESQL);
    T_CHECK(ll_request_error(ask)->sqlite_code == SQLITE_ERROR);
    T_SAME_TEXT(ll_request_error(ask)->message, "integer overflow");
    ll_request_unref(ask);
    T_EQUAL(last, 3000); /* every row before it came */
    ll_batch *batch = NULL;
    T_CHECK(next(cursor, &batch) < 0);
    ll_cursor_close(cursor);
    T_EQUAL(t_int(conn, "SELECT 5"), 5);
    T_CHECK(t_state(conn).live_cursors == 0);
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    t_raw(other, "BEGIN EXCLUSIVE; COMMIT");
    t_raw_close(other);
    t_close(conn);
}

static void an_error_at_the_start(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = NULL;
    T_CHECK(t_end(ll_stream(conn, "SELECT * FROM nowhere", NULL, 0, NULL, &request), request) ==
            LL_ESQL);
    T_CHECK(!ll_request_take_cursor(request) && !ll_request_take_batch(request));
    ll_request_unref(request);
    t_close(conn);
}

static void a_statement_that_writes_runs_to_its_end(void **state)
{
    T_NEEDS(T_HAS_RETURNING);
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    ll_request *request = start(
        conn, "INSERT INTO t " T_ENDLESS "SELECT x FROM c LIMIT 3000 RETURNING x", 5);
    T_CHECK(ll_request_outcome(request) == LL_APPLIED);
    T_CHECK(ll_request_changes(request) == 3000);
    T_CHECK(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t") == 3000); /* committed */
    int64_t last = 0;
    first_batches(request, &last);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_batch *batch = NULL;
    while (cursor && next(cursor, &batch) == LL_OK && batch)
        counts_on(batch, &last);
    T_CHECK(last == 3000);
    ll_cursor_close(cursor);
    ll_request_unref(request);
    t_close(conn);
}

static void a_stream_sees_its_snapshot(void **state)
{
    t_env *t = *state;
    static const char *const pragmas[] = {"journal_mode=WAL", NULL};
    ll_open_options options = {.pragmas = pragmas};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    many_rows(t, conn);
    ll_request *request = start(conn, "SELECT x FROM t ORDER BY rowid", 5);
    int64_t last = 0;
    first_batches(request, &last);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    t_file_sql(t_path(t, "a.db"), "DELETE FROM t"); /* somebody else */
    ll_batch *batch = NULL;
    while (next(cursor, &batch) == LL_OK && batch)
        counts_on(batch, &last);
    T_CHECK(last == 20000);
    ll_cursor_close(cursor);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_close(conn);
}

static void close_from_a_callback(ll_request *request, void *user)
{
    (void)request;
    ll_cursor_close(*(ll_cursor **)user);
    *(ll_cursor **)user = NULL;
}

static void closing_inside_a_callback(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = start(conn, T_ENDLESS "SELECT x FROM c", 1);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    ll_request *ask = NULL;
    ll_status status;
    do {
        ll_request_unref(ask);
        status = ll_cursor_next(cursor,
                                &(ll_submit){.done = close_from_a_callback, .user = &cursor}, &ask);
    } while (status == LL_OK);
    T_CHECK(status == LL_PENDING);
    T_CHECK(ll_request_wait(ask) == LL_OK);
    T_CHECK(cursor == NULL);
    ll_request_unref(ask);
    T_EQUAL(t_int(conn, "SELECT 5"), 5);
    T_CHECK(t_state(conn).live_cursors == 0);
    t_close(conn);
}

/* An interrupt that comes when a batch has all its rows ends that batch or nothing: the next one is
 * another piece of work. Where exactly SQLite looks for it is its own business, so batches of several
 * lengths are tried. */
static void a_late_interrupt_does_not_end_a_later_batch(void **state)
{
    t_env *t = *state;
    size_t late = 0;
    for (int length = 3000; length < 3008; length++) {
        ll_conn *conn = t_open(t, "a.db");
        t_gate *gate = t_gate_new(t);
        t_gate_install(gate, conn);
        t_gate_let(gate, 1);
        ll_request *request = start(
            conn, t_printf(t, T_ENDLESS "SELECT gate(x) FROM c WHERE x %% %d = 1", length), 1);
        ll_cursor *cursor = ll_request_take_cursor(request);
        ll_request_unref(request);
        T_CHECK(ll_cursor_set_ahead(cursor, 1, 1) == LL_OK);
        ll_request *first = NULL;
        T_CHECK(ll_cursor_next(cursor, NULL, &first) == LL_PENDING);
        t_gate_entered(gate, 2);
        T_CHECK(ll_conn_interrupt(conn) == LL_OK);
        t_gate_open(gate);
        ll_status status = ll_request_wait(first);
        ll_request_unref(first);
        if (status == LL_OK) { /* not noticed */
            late++;
            for (int64_t k = 2; k < 5; k++) {
                ll_batch *batch = NULL;
                T_CHECK(next(cursor, &batch) == LL_OK && batch);
                T_EQUAL(ll_batch_row(batch, 0)[0].as.integer, k * length + 1);
                ll_batch_free(batch);
            }
        }
        ll_cursor_close(cursor);
        t_close(conn);
    }
    T_CHECK(late > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(all_rows_in_order),
        T_TEST(a_short_result_needs_no_cursor),
        T_TEST(first_rows_is_a_bound),
        T_TEST(large_rows_come_in_small_batches),
        T_TEST(the_reader_is_not_run_away_from),
        T_TEST(a_batch_does_not_overtake),
        T_TEST(wrong_settings),
        T_TEST(other_work_between_batches),
        T_TEST(closing_midway_frees_the_lock),
        T_TEST(a_cursor_that_nobody_took_ends_with_its_request),
        T_TEST(reading_to_the_end_frees_the_lock),
        T_TEST(cancelling_the_next_batch),
        T_TEST(closing_interrupts_the_batch_that_is_being_read),
        T_TEST(several_next_are_served_in_order),
        T_TEST(a_batch_read_ahead_is_there_at_once),
        T_TEST(a_cursor_outlives_its_connection),
        T_TEST(a_cursor_outlives_its_engine),
        T_TEST(an_error_in_the_middle),
        T_TEST(an_error_at_the_start),
        T_TEST(a_statement_that_writes_runs_to_its_end),
        T_TEST(a_stream_sees_its_snapshot),
        T_TEST(closing_inside_a_callback),
        T_TEST(a_late_interrupt_does_not_end_a_later_batch),
    };
    return T_RUN(tests);
}
