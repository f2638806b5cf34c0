/* One statement, many rows of parameters: how far it came, what stands after an error, and the
 * transaction around it. */
#include "support/support.h"

static ll_request *run(ll_conn *conn, const ll_many *many)
{
    ll_request *request = NULL;
    ll_status status = t_end(ll_exec_many(conn, many, NULL, &request), request);
    if (!request)
        t_fail(__FILE__, __LINE__, "refused, %s: %s", ll_status_name(status), ll_last_error());
    return request;
}

static void all_rows(void **state)
{
    enum {
        ROWS = 1000
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "PRAGMA synchronous=OFF");
    t_exec(conn, "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)");
    ll_value *values = calloc(2 * ROWS, sizeof *values);
    for (size_t i = 0; i < ROWS; i++) {
        values[2 * i] = ll_integer((int64_t)i);
        values[2 * i + 1] = ll_text("same");
    }
    ll_many many = {.text = "INSERT INTO t(a, b) VALUES(?, ?)",
                    .size = LL_NUL_TERMINATED,
                    .values = values,
                    .rows = ROWS,
                    .width = 2,
                    .begin_before = LL_BEGIN_IMMEDIATE,
                    .dml_only = true};
    ll_request *request = run(conn, &many);
    t_is(request, LL_OK, LL_APPLIED);
    T_CHECK(ll_request_progress(request) == ROWS);
    T_CHECK(ll_request_changes(request) == ROWS);
    T_CHECK(ll_request_rowid(request) == ROWS);
    T_CHECK(ll_request_is_dml(request) && !ll_request_is_read(request));
    T_CHECK(t_state(conn).in_transaction);
    ll_request_unref(request);
    t_exec(conn, "COMMIT");
    T_EQUAL(t_int(conn, "SELECT sum(a) FROM t WHERE b = 'same'"), ROWS * (ROWS - 1) / 2);

    many = (ll_many){.text = "UPDATE t SET b = ?2 WHERE a >= ?1",
                     .size = LL_NUL_TERMINATED,
                     .values = values,
                     .rows = 3,
                     .width = 2,
                     .dml_only = true};
    request = run(conn, &many); /* 1000 + 999 + 998 */
    T_CHECK(ll_request_changes(request) == 2997 && ll_request_progress(request) == 3);
    ll_request_unref(request);
    free(values);
    t_close(conn);
}

static void no_rows_and_no_width(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(a)");
    ll_many many = {.text = "INSERT INTO t VALUES(?)", .size = LL_NUL_TERMINATED, .width = 1};
    ll_request *request = run(conn, &many);
    t_is(request, LL_OK, LL_APPLIED);
    T_CHECK(ll_request_progress(request) == 0 && ll_request_changes(request) == 0);
    ll_request_unref(request);
    many = (ll_many){.text = "INSERT INTO t VALUES(7)", .size = LL_NUL_TERMINATED, .rows = 5};
    request = run(conn, &many);
    T_CHECK(ll_request_progress(request) == 5 && ll_request_changes(request) == 5);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 5);
    t_close(conn);
}

static void names(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(a, b)");
    const char *const list[] = {"b", ":unused", "a"};
    const ll_value values[] = {ll_integer(1), ll_null(), ll_integer(10),
                               ll_integer(2), ll_null(), ll_integer(20)};
    ll_many many = {.text = "INSERT INTO t VALUES(:a, :b)",
                    .size = LL_NUL_TERMINATED,
                    .values = values,
                    .names = list,
                    .rows = 2,
                    .width = 3};
    ll_request *request = run(conn, &many);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT sum(a) * 100 + sum(b) FROM t"), 3003);
    many.text = "INSERT INTO t VALUES(:a, :missing)";
    request = run(conn, &many);
    t_is(request, LL_EPARAM, LL_NOT_APPLIED);
    ll_request_unref(request);
    t_close(conn);
}

static void an_error_at_row_k(void **state)
{
    enum {
        ROWS = 10
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_value values[ROWS];
    ll_many many = {.text = "INSERT INTO t VALUES(?)",
                    .size = LL_NUL_TERMINATED,
                    .values = values,
                    .rows = ROWS,
                    .width = 1};
    t_exec(conn, "CREATE TABLE t(x INTEGER PRIMARY KEY)");
    for (int atomic = 0; atomic < 2; atomic++) {
        for (int open = 0; open < 2; open++) {
            for (size_t k = 0; k < ROWS; k += 3) {
                t_exec(conn, "DELETE FROM t");
                t_exec(conn, "INSERT INTO t VALUES(1000)");
                for (size_t i = 0; i < ROWS; i++)
                    values[i] = ll_integer(i == k ? 1000 : (int64_t)i);
                if (open)
                    t_exec(conn, "BEGIN");
                many.atomic = atomic;
                ll_request *request = run(conn, &many);
                bool stands = !atomic && k > 0;
                t_is(request, LL_ESQL, stands ? LL_UNKNOWN : LL_NOT_APPLIED);
                T_CHECK(ll_request_error(request)->sqlite_code == SQLITE_CONSTRAINT_PRIMARYKEY);
                T_CHECK(ll_request_progress(request) == k);
                ll_request_unref(request);
                T_CHECK(t_state(conn).in_transaction == (open == 1));
                T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 1 + (stands ? (int64_t)k : 0));
                if (open)
                    t_exec(conn, "COMMIT");
            }
        }
    }
    t_close(conn);
}

static void parameters_that_do_not_fit(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(a)");
    const ll_value values[] = {ll_integer(1), ll_integer(2), ll_integer(3), ll_integer(4)};
    ll_many many = {.text = "INSERT INTO t VALUES(?)",
                    .size = LL_NUL_TERMINATED,
                    .values = values,
                    .rows = 2,
                    .width = 2};
    ll_request *request = run(conn, &many);
    t_is(request, LL_EPARAM, LL_NOT_APPLIED);
    ll_request_unref(request);
    ll_value refused[] = {ll_integer(1), ll_text("a list cannot be bound")};
    refused[1].type = LL_REFUSED;
    many = (ll_many){.text = "INSERT INTO t VALUES(?)",
                     .size = LL_NUL_TERMINATED,
                     .values = refused,
                     .rows = 2,
                     .width = 1,
                     .atomic = true};
    request = run(conn, &many);
    t_is(request, LL_EPARAM, LL_NOT_APPLIED);
    T_CHECK(strstr(ll_request_error(request)->message, "a list cannot be bound") != NULL);
    T_CHECK(ll_request_progress(request) == 1);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_close(conn);
}

static void changes_only(void **state)
{
    static const char *const refused[] = {
        "SELECT ?",
        "CREATE TABLE u(x)",
        "PRAGMA user_version = 5",
        "BEGIN",
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(a)");
    const ll_value value = ll_integer(1);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        bool takes = strchr(refused[i], '?') != NULL;
        ll_many many = {.text = refused[i],
                        .size = LL_NUL_TERMINATED,
                        .values = takes ? &value : NULL,
                        .rows = 1,
                        .width = takes,
                        .dml_only = true};
        ll_request *request = NULL;
        ll_status status = t_end(ll_exec_many(conn, &many, NULL, &request), request);
        if (status != LL_EINVAL)
            t_fail(__FILE__, __LINE__, "%s gave %s", refused[i], ll_status_name(status));
        if (request)
            t_is(request, LL_EINVAL, LL_NOT_APPLIED);
        ll_request_unref(request);
    }
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM sqlite_master"), 1);
    T_CHECK(!t_state(conn).in_transaction);
    t_close(conn);
}

static void begin_before(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(a)");
    const ll_value value = ll_integer(1);
    ll_many many = {.text = "INSERT INTO t VALUES(?)",
                    .size = LL_NUL_TERMINATED,
                    .values = &value,
                    .rows = 1,
                    .width = 1};
    for (ll_begin mode = LL_BEGIN_DEFERRED; mode <= LL_BEGIN_EXCLUSIVE; mode++) {
        many.begin_before = mode;
        ll_request_unref(run(conn, &many));
        T_CHECK(t_state(conn).in_transaction);
        ll_request_unref(run(conn, &many)); /* one is open: none is begun */
        t_exec(conn, "ROLLBACK");
    }
    many.text = "SELECT ?";
    ll_request *request = run(conn, &many); /* no change, no transaction */
    ll_request_unref(request);
    T_CHECK(!t_state(conn).in_transaction);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_close(conn);
}

static void several_statements_and_bad_text(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_many many = {.text = "SELECT 1; SELECT 2", .size = LL_NUL_TERMINATED, .rows = 1};
    ll_request *request = run(conn, &many);
    t_is(request, LL_ESTATEMENTS, LL_NOT_APPLIED);
    ll_request_unref(request);
    many.text = "SELEC";
    request = run(conn, &many);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    T_EQUAL(ll_request_error(request)->sql_offset, t_has(T_HAS_ARROWS) ? 0 : -1);
    ll_request_unref(request);
    t_close(conn);
}

/* OR FAIL keeps the rows before the one that fails, also those of the first row of parameters. */
static void or_fail_in_the_first_row(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x INTEGER PRIMARY KEY)");
    t_exec(conn, "INSERT INTO t VALUES(1000)");
    ll_value values[] = {ll_integer(1000)};
    ll_many many = {
        .text = "INSERT OR FAIL INTO t SELECT * FROM (VALUES(1), (2), (?1), (3))",
        .size = LL_NUL_TERMINATED,
        .values = values,
        .rows = 1,
        .width = 1,
    };
    ll_request *request = run(conn, &many);
    t_is(request, LL_ESQL, LL_UNKNOWN);
    T_CHECK(ll_request_progress(request) == 0);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 3);

    many.atomic = true; /* takes them back */
    t_exec(conn, "DELETE FROM t WHERE x < 1000");
    request = run(conn, &many);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 1);

    many.atomic = false; /* nothing stands */
    many.text = "INSERT OR FAIL INTO t VALUES(?1)";
    request = run(conn, &many);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    ll_request_unref(request);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(all_rows),
        T_TEST(no_rows_and_no_width),
        T_TEST(names),
        T_TEST(an_error_at_row_k),
        T_TEST(parameters_that_do_not_fit),
        T_TEST(changes_only),
        T_TEST(begin_before),
        T_TEST(several_statements_and_bad_text),
        T_TEST(or_fail_in_the_first_row),
    };
    return T_RUN(tests);
}
