/* Texts of many statements. */
#include "support/support.h"

static ll_request *run(ll_conn *conn, const char *text, bool commit_first)
{
    ll_request *request = NULL;
    ll_status status = t_end(ll_script(conn, text, LL_NUL_TERMINATED, commit_first, NULL, &request),
                             request);
    if (!request)
        t_fail(__FILE__, __LINE__, "refused, %s: %s", ll_status_name(status), ll_last_error());
    return request;
}

static void runs(ll_conn *conn, const char *text, size_t statements)
{
    ll_request *request = run(conn, text, false);
    t_is(request, LL_OK, LL_APPLIED);
    if (ll_request_progress(request) != statements)
        t_fail(__FILE__, __LINE__, "%zu statements, not %zu: %s", ll_request_progress(request),
               statements, text);
    T_CHECK(!ll_request_take_batch(request));
    ll_request_unref(request);
}

static void texts_of_all_kinds(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    runs(conn, "", 0);
    runs(conn, "  ;; ; -- nothing\n /* here */ ;", 0);
    runs(conn, "SELECT 1", 1);
    runs(conn, "SELECT 1; SELECT 2", 2);
    runs(conn, "-- first\nCREATE TABLE t(x);\n/* then; */ INSERT INTO t VALUES('a;b'); -- end", 2);
    runs(conn, "INSERT INTO t VALUES(';'), ('x;y'), ('[q;r]')", 1);
    runs(conn,
         "CREATE TABLE log(x);\n"
         "CREATE TRIGGER tr AFTER INSERT ON t BEGIN\n"
         "  INSERT INTO log VALUES(new.x); -- one;\n"
         "  UPDATE log SET x = CASE WHEN x = ';' THEN 'semicolon' ELSE x END;\n"
         "END;\n"
         "INSERT INTO t VALUES(';');\n"
         "SELECT * FROM t, log;",
         4);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM log WHERE x = 'semicolon'"), 1);
    runs(conn, "BEGIN; INSERT INTO t VALUES(1); COMMIT; BEGIN; INSERT INTO t VALUES(2); ROLLBACK",
         6);
    runs(conn, "PRAGMA user_version = 9; PRAGMA user_version", 2);
    runs(conn, T_ENDLESS "SELECT x FROM c LIMIT 100000; SELECT 2", 2);
    t_close(conn);
}

static void a_large_script(void **state)
{
    enum {
        COUNT = 3000
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    char *text = malloc(COUNT * 64 + 64), *end = text;
    end += sprintf(end, "BEGIN; CREATE TABLE t(x);");
    for (int i = 0; i < COUNT; i++)
        end += sprintf(end, "INSERT INTO t VALUES(%d);\n", i);
    sprintf(end, "COMMIT");
    runs(conn, text, COUNT + 3);
    free(text);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), COUNT);
    t_close(conn);
}

static void an_error_midway(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = run(conn,
                              "CREATE TABLE t(x UNIQUE); INSERT INTO t VALUES(1);"
                              "INSERT INTO t VALUES(1); INSERT INTO t VALUES(2);",
                              false);
    t_is(request, LL_ESQL, LL_UNKNOWN);
    T_CHECK(ll_request_error(request)->sqlite_code == SQLITE_CONSTRAINT_UNIQUE);
    T_CHECK(ll_request_progress(request) == 2);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 1);

    static const char bad[] = "INSERT INTO t VALUES(5); SELEC 1; INSERT INTO t VALUES(6)";
    request = run(conn, bad, false);
    t_is(request, LL_ESQL, LL_UNKNOWN);
    T_CHECK(ll_request_progress(request) == 1);
    /* the place counts from the start of the whole text */
    T_EQUAL(ll_request_error(request)->sql_offset,
            t_has(T_HAS_ARROWS) ? strstr(bad, "SELEC") - bad : -1);
    ll_request_unref(request);

    request = run(conn, "SELEC 1; INSERT INTO t VALUES(7)", false);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    T_CHECK(ll_request_progress(request) == 0);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT sum(x) FROM t"), 6);

    /* parameters have no values here: NULL, as SQLite says, or an error; never a crash */
    request = run(conn, "SELECT ?1; SELECT :a", false);
    T_CHECK(ll_request_status(request) == LL_OK || ll_request_status(request) == LL_EPARAM);
    ll_request_unref(request);
    t_close(conn);
}

static void a_transaction_left_open(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = run(
        conn, "CREATE TABLE t(x); BEGIN; INSERT INTO t VALUES(1); INSERT INTO nowhere VALUES(1)",
        false);
    t_is(request, LL_ESQL, LL_UNKNOWN);
    T_CHECK(ll_request_progress(request) == 3);
    T_CHECK(t_state(conn).in_transaction);
    ll_request_unref(request);
    t_exec(conn, "ROLLBACK");
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_close(conn);
}

static void commit_first(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    t_exec(conn, "BEGIN");
    t_exec(conn, "INSERT INTO t VALUES(1)");
    ll_request *request = run(conn, "BEGIN; INSERT INTO t VALUES(2); ROLLBACK", true);
    t_is(request, LL_OK, LL_APPLIED);
    T_CHECK(ll_request_progress(request) == 3);
    ll_request_unref(request);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT sum(x) FROM t"), 1);
    request = run(conn, "INSERT INTO t VALUES(4)", true); /* nothing is open: nothing happens */
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    t_exec(conn, "BEGIN");
    t_exec(conn, "INSERT INTO t VALUES(8)");
    request = run(conn, "INSERT INTO t VALUES(16); ROLLBACK", false);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT sum(x) FROM t"), 5);
    t_close(conn);
}

static void a_sized_text(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    static const char text[] = "CREATE TABLE t(x); DROP TABLE t";
    ll_request *request = NULL;
    T_CHECK(t_end(ll_script(conn, text, strlen("CREATE TABLE t(x);"), false, NULL, &request),
                  request) == LL_OK);
    T_CHECK(ll_request_progress(request) == 1);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_close(conn);
}

static void or_fail_in_the_first_statement(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x INTEGER PRIMARY KEY)");
    t_exec(conn, "INSERT INTO t VALUES(1000)");
    ll_request *request = run(
        conn, "INSERT OR FAIL INTO t SELECT * FROM (VALUES(1), (2), (1000)); SELECT 1", false);
    t_is(request, LL_ESQL, LL_UNKNOWN);
    T_CHECK(ll_request_progress(request) == 0);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 3);
    request = run(conn, "INSERT OR FAIL INTO t VALUES(1000); SELECT 1", false);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    ll_request_unref(request);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(texts_of_all_kinds),
        T_TEST(a_large_script),
        T_TEST(an_error_midway),
        T_TEST(a_transaction_left_open),
        T_TEST(commit_first),
        T_TEST(a_sized_text),
        T_TEST(or_fail_in_the_first_statement),
    };
    return T_RUN(tests);
}
