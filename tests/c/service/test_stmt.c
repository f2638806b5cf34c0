/* Prepared statements that a program holds by name. */
#include "support/support.h"

static ll_stmt *prepare(ll_conn *conn, const char *text)
{
    ll_request *request = NULL;
    ll_status status = t_end(ll_prepare(conn, text, LL_NUL_TERMINATED, NULL, &request), request);
    if (status != LL_OK)
        t_fail(__FILE__, __LINE__, "%s: %s: %s", text, ll_status_name(status),
               request ? ll_request_error(request)->message : ll_last_error());
    ll_stmt *stmt = ll_request_take_stmt(request);
    T_CHECK(stmt && !ll_request_take_stmt(request));
    ll_request_unref(request);
    return stmt;
}

static ll_request *run(ll_stmt *stmt, const ll_value *values, size_t count, unsigned flags)
{
    ll_params params = {.values = values, .count = count};
    ll_request *request = NULL;
    ll_status status = t_end(ll_stmt_submit(stmt, count ? &params : NULL, flags, NULL, &request),
                             request);
    if (!request)
        t_fail(__FILE__, __LINE__, "refused, %s: %s", ll_status_name(status), ll_last_error());
    return request;
}

static void what_is_known_before_the_first_run(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(a INTEGER, b VARCHAR(10))");
    ll_stmt *read = prepare(conn, "SELECT a AS first, b, ?5 FROM t WHERE a = :name");
    T_CHECK(ll_stmt_is_read(read));
    T_EQUAL(ll_stmt_parameters(read), 6);
    T_CHECK(ll_columns_count(ll_stmt_columns(read)) == 3);
    T_SAME_TEXT(ll_columns_name(ll_stmt_columns(read), 0), "first");
    T_SAME_TEXT(ll_columns_decltype(ll_stmt_columns(read), 1), "VARCHAR(10)");
    T_CHECK(ll_columns_decltype(ll_stmt_columns(read), 2) == NULL);
    ll_stmt *write = prepare(conn, "INSERT INTO t VALUES(?, ?)");
    T_CHECK(!ll_stmt_is_read(write) && ll_stmt_parameters(write) == 2);
    T_CHECK(ll_stmt_columns(write) == NULL);
    ll_stmt *nothing = prepare(conn, "-- nothing");
    T_CHECK(ll_stmt_parameters(nothing) == 0 && ll_stmt_columns(nothing) == NULL);
    ll_request *request = run(nothing, NULL, 0, 0);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    ll_stmt_free(read);
    ll_stmt_free(write);
    ll_stmt_free(nothing);
    t_close(conn);
}

static void runs_again_and_again(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.cached_statements = 1};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    t_exec(conn, "CREATE TABLE t(a)");
    t_exec(conn, "BEGIN");
    ll_stmt *insert = prepare(conn, "INSERT INTO t VALUES(?)");
    ll_stmt *sum = prepare(conn, "SELECT sum(a) FROM t WHERE a <= ?");
    int64_t total = 0;
    for (int64_t i = 1; i <= 200; i++) {
        ll_value value = ll_integer(i);
        ll_request_unref(run(insert, &value, 1, 0));
        T_EQUAL(t_int(conn, "SELECT 1"), 1); /* others come between and do not evict it */
        t_rows rows = {.request = run(sum, &value, 1, 0)};
        total += i;
        T_CHECK(t_rows_next(&rows)[0].as.integer == total);
        t_rows_done(&rows);
    }
    t_exec(conn, "COMMIT");
    ll_stmt_free(insert);
    ll_stmt_free(sum);
    t_close(conn);
}

static void flags_and_streams(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_stmt *stmt = prepare(conn, T_ENDLESS "SELECT x FROM c LIMIT 1000");
    ll_request *request = run(stmt, NULL, 0, LL_SQL_DISCARD);
    T_CHECK(!ll_request_take_batch(request));
    ll_request_unref(request);
    request = run(stmt, NULL, 0, LL_SQL_STREAM);
    ll_cursor *cursor = ll_request_take_cursor(request);
    T_CHECK(cursor != NULL);
    ll_request_unref(request);
    t_rows rows = {.request = run(stmt, NULL, 0, 0)}; /* while the stream is open */
    size_t count = 0;
    while (t_rows_next(&rows))
        count++;
    T_CHECK(count == 1000);
    t_rows_done(&rows);
    ll_stmt_free(stmt); /* while the stream is open */
    ll_request *next = NULL;
    T_CHECK(t_end(ll_cursor_next(cursor, NULL, &next), next) == LL_OK);
    ll_batch *batch = ll_request_take_batch(next);
    T_CHECK(batch && ll_batch_row(batch, 0)[0].as.integer > 1);
    ll_batch_free(batch);
    ll_request_unref(next);
    ll_cursor_close(cursor);
    t_close(conn);
}

static void freed_while_it_is_used(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_exec(conn, "CREATE TABLE t(a)");
    t_gate_install(gate, conn);
    ll_stmt *stmt = prepare(conn, "INSERT INTO t VALUES(gate(?))");
    ll_request *list[3] = {NULL};
    for (int64_t i = 0; i < 3; i++) {
        ll_value value = ll_integer(i);
        ll_params params = {.values = &value, .count = 1};
        T_CHECK(ll_stmt_submit(stmt, &params, 0, NULL, &list[i]) == LL_PENDING);
    }
    t_gate_entered(gate, 1);
    ll_stmt_free(stmt);
    t_gate_open(gate);
    for (size_t i = 0; i < 3; i++) {
        T_CHECK(ll_request_wait(list[i]) == LL_OK);
        ll_request_unref(list[i]);
    }
    T_EQUAL(t_int(conn, "SELECT sum(a) FROM t"), 3);
    t_close(conn);
}

static void errors(void **state)
{
    static const struct {
        const char *text;
        ll_status status;
    } cases[] = {
        {"SELEC 1", LL_ESQL},
        {"SELECT * FROM nowhere", LL_ESQL},
        {"SELECT 1; SELECT 2", LL_ESTATEMENTS},
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ll_request *request = NULL;
        ll_status status = t_end(ll_prepare(conn, cases[i].text, LL_NUL_TERMINATED, NULL, &request),
                                 request);
        T_CHECK(status == cases[i].status);
        t_is(request, cases[i].status, LL_NOT_APPLIED);
        T_CHECK(ll_request_take_stmt(request) == NULL);
        ll_request_unref(request);
    }
    ll_stmt *stmt = prepare(conn, "SELECT ?");
    ll_request *request = run(stmt, NULL, 0, 0);
    t_is(request, LL_EPARAM, LL_NOT_APPLIED);
    ll_request_unref(request);
    ll_stmt_free(stmt);
    t_close(conn);
}

static void a_changed_schema(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(a)");
    t_exec(conn, "INSERT INTO t VALUES(1)");
    ll_stmt *stmt = prepare(conn, "SELECT * FROM t");
    t_exec(conn, "ALTER TABLE t ADD COLUMN b DEFAULT 2");
    T_CHECK(ll_columns_count(ll_stmt_columns(stmt)) == 1); /* as it was */
    t_rows rows = {.request = run(stmt, NULL, 0, 0)};
    const ll_value *row = t_rows_next(&rows);
    T_CHECK(ll_batch_columns(rows.batch) == 2 && row[1].as.integer == 2);
    T_CHECK(ll_columns_count(ll_request_columns(rows.request)) == 2);
    t_rows_done(&rows);
    t_exec(conn, "DROP TABLE t");
    ll_request *request = run(stmt, NULL, 0, 0);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    ll_request_unref(request);
    ll_stmt_free(stmt);
    t_close(conn);
}

static void outlives_its_connection_and_its_engine(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_stmt *stmt = prepare(conn, "SELECT 1 AS one"), *second = prepare(conn, "SELECT 2");
    ll_request *request = NULL;
    T_CHECK(t_end(ll_prepare(conn, "SELECT 3", LL_NUL_TERMINATED, NULL, &request), request) ==
            LL_OK);
    ll_request_unref(request); /* the handle was not taken */
    t_close(conn);
    request = NULL;
    T_CHECK(t_end(ll_stmt_submit(stmt, NULL, 0, NULL, &request), request) == LL_ECLOSED);
    ll_request_unref(request);
    T_SAME_TEXT(ll_columns_name(ll_stmt_columns(stmt), 0), "one");
    ll_stmt_free(stmt);
    ll_engine_free(t->engine);
    t->engine = NULL;
    ll_stmt_free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(what_is_known_before_the_first_run),
        T_TEST(runs_again_and_again),
        T_TEST(flags_and_streams),
        T_TEST(freed_while_it_is_used),
        T_TEST(errors),
        T_TEST(a_changed_schema),
        T_TEST(outlives_its_connection_and_its_engine),
    };
    return T_RUN(tests);
}
