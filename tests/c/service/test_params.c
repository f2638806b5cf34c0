/* Parameters: positional and named, of every type, what does not fit and what is copied. */
#include "support/support.h"

/* Runs `sql` with positional values and compares quote() of what came with what is expected. */
static void quoted(ll_conn *conn, ll_value value, const char *expected)
{
    t_rows rows = {
        .request = t_query_with(conn, "SELECT typeof(?1) || ' ' || quote(?1)", &value, 1)};
    const ll_value *row = t_rows_next(&rows);
    T_CHECK(row && row[0].type == LL_TEXT);
    T_SAME_TEXT(row[0].as.text, expected);
    t_rows_done(&rows);
}

static void every_type(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    quoted(conn, ll_null(), "null NULL");
    quoted(conn, ll_integer(0), "integer 0");
    quoted(conn, ll_integer(-1), "integer -1");
    quoted(conn, ll_integer(INT64_MAX), "integer 9223372036854775807");
    quoted(conn, ll_integer(INT64_MIN), "integer -9223372036854775808");
    quoted(conn, ll_real(0.5), "real 0.5");
    quoted(conn, ll_real(-1e300), "real -1.0e+300");
    quoted(conn, ll_text(""), "text ''");
    quoted(conn, ll_text("it's"), "text 'it''s'");
    quoted(conn, ll_text("\xc3\xa4\xf0\x9f\x90\x98"), "text '\xc3\xa4\xf0\x9f\x90\x98'");
    quoted(conn, ll_text_n("cut here", 3), "text 'cut'");
    quoted(conn, ll_text_n(NULL, 0), "text ''");
    quoted(conn, ll_blob("", 0), "blob X''");
    quoted(conn, ll_blob(NULL, 0), "blob X''");
    quoted(conn, ll_blob("\0\xff\0", 3), "blob X'00FF00'");
    t_close(conn);
}

static void values_come_back_as_they_went(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    const ll_value in[] = {ll_integer(-5), ll_real(1e-310), ll_text_n("a\0b", 3),
                           ll_blob("\0\1\2", 3), ll_null()};
    t_rows rows = {.request = t_query_with(conn, "SELECT ?, ?, ?, ?, ?", in, 5)};
    const ll_value *out = t_rows_next(&rows);
    for (size_t i = 0; i < 5; i++)
        T_CHECK(out[i].type == in[i].type && out[i].size == in[i].size);
    T_CHECK(out[0].as.integer == -5 && out[1].as.real == 1e-310);
    T_CHECK(memcmp(out[2].as.text, "a\0b\0", 4) == 0);
    T_CHECK(memcmp(out[3].as.blob, "\0\1\2", 3) == 0);
    t_rows_done(&rows);
    t_close(conn);
}

/* The request for a statement with parameters, finished. */
static ll_request *run(ll_conn *conn, const char *text, const ll_value *values,
                       const char *const *names, size_t count)
{
    ll_sql sql = {.text = text,
                  .size = LL_NUL_TERMINATED,
                  .params = {.values = values, .names = names, .count = count}};
    ll_request *request = NULL;
    ll_status status = t_end(ll_conn_submit(conn, &sql, NULL, &request), request);
    if (!request)
        t_fail(__FILE__, __LINE__, "%s: refused, %s: %s", text, ll_status_name(status),
               ll_last_error());
    return request;
}

static void gives(ll_conn *conn, const char *text, const ll_value *values, const char *const *names,
                  size_t count, const char *expected)
{
    t_rows rows = {.request = run(conn, text, values, names, count)};
    t_is(rows.request, LL_OK, LL_APPLIED);
    const ll_value *row = t_rows_next(&rows);
    T_CHECK(row && row[0].type == LL_TEXT);
    T_SAME_TEXT(row[0].as.text, expected);
    t_rows_done(&rows);
}

static void fails(ll_conn *conn, const char *text, const ll_value *values, const char *const *names,
                  size_t count, const char *word)
{
    ll_request *request = run(conn, text, values, names, count);
    t_is(request, LL_EPARAM, LL_NOT_APPLIED);
    if (!strstr(ll_request_error(request)->message, word))
        t_fail(__FILE__, __LINE__, "'%s' does not say '%s'", ll_request_error(request)->message,
               word);
    ll_request_unref(request);
}

static void positions_and_numbers(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    const ll_value abc[] = {ll_text("a"), ll_text("b"), ll_text("c")};
    gives(conn, "SELECT ? || ? || ?", abc, NULL, 3, "abc");
    gives(conn, "SELECT ?3 || ?1 || ?2", abc, NULL, 3, "cab");
    gives(conn, "SELECT ?1 || ?1 || ?1", abc, NULL, 1, "aaa");
    gives(conn, "SELECT ?3 || ?3", abc, NULL, 3, "cc"); /* the largest index counts */
    gives(conn, "SELECT :x || @y || $z", abc, NULL, 3, "abc");
    gives(conn, "SELECT :x || @y || :x || ?", abc, NULL, 3, "abac");
    gives(conn, "SELECT 'none'", NULL, NULL, 0, "none");
    t_close(conn);
}

static void names(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    const ll_value abc[] = {ll_text("a"), ll_text("b"), ll_text("c")};
    const char *const plain[] = {"x", "y", "z"};
    const char *const marked[] = {":x", "@y", "$z"};
    const char *const turned[] = {"z", "x", "y"};
    gives(conn, "SELECT :x || @y || $z", abc, plain, 3, "abc");
    gives(conn, "SELECT :x || @y || $z", abc, marked, 3, "abc");
    gives(conn, "SELECT :x || :y || :z", abc, turned, 3, "bca");
    gives(conn, "SELECT :x || :x", abc, plain, 3, "aa"); /* unknown ones are ignored */
    gives(conn, "SELECT 'none'", abc, plain, 3, "none");
    t_close(conn);
}

static void what_does_not_fit(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    const ll_value abc[] = {ll_text("a"), ll_text("b"), ll_text("c")};
    const char *const names_of[] = {"x", "y", "z"};
    t_exec(conn, "CREATE TABLE t(a, b)");
    fails(conn, "INSERT INTO t VALUES(?, ?)", abc, NULL, 1, "2");
    fails(conn, "INSERT INTO t VALUES(?, ?)", NULL, NULL, 0, "2");
    fails(conn, "INSERT INTO t VALUES(?, ?)", abc, NULL, 3, "3");
    fails(conn, "INSERT INTO t VALUES(1, 2)", abc, NULL, 1, "1");
    fails(conn, "INSERT INTO t VALUES(?5, 1)", abc, NULL, 3, "5");
    fails(conn, "INSERT INTO t VALUES(:x, :missing)", abc, names_of, 3, "missing");
    fails(conn, "INSERT INTO t VALUES(:x, :y)", abc, names_of, 1, "y");
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_close(conn);
}

static void refused_values_say_why(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    static const char why[] = "a set cannot be bound";
    ll_value refused = ll_text(why);
    refused.type = LL_REFUSED;
    const ll_value list[] = {ll_text("a"), refused};
    const char *const names_of[] = {"x", "y"};
    fails(conn, "SELECT ? || ?", list, NULL, 2, why);
    fails(conn, "SELECT :x || :y", list, names_of, 2, why);
    gives(conn, "SELECT :x || :x", list, names_of, 2, "aa"); /* not used: not asked */
    ll_value strange = ll_integer(1);
    strange.type = 4242;
    ll_request *request = NULL;
    ll_status status = t_end(ll_query(conn, "SELECT ?", &strange, 1, NULL, &request), request);
    T_CHECK(status == LL_EPARAM || status == LL_EINVAL);
    ll_request_unref(request);
    t_close(conn);
}

static void text_and_parameters_are_copied(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_exec(conn, "CREATE TABLE t(a TEXT, b BLOB)");
    ll_request *call = NULL, *one = NULL, *many = NULL, *script = NULL;
    ll_status called = ll_conn_call(conn, t_gate_call, gate, NULL, &call);
    t_gate_entered(gate, 1);

    char text[] = "INSERT INTO t VALUES(:a, :b)";
    char script_text[] = "INSERT INTO t VALUES('kept', x'6b657074')";
    char a[] = "kept", b[] = "kept", name_a[] = "a", name_b[] = "b";
    const char *names_of[] = {name_a, name_b};
    ll_value list[] = {ll_text(a), ll_blob(b, 4)};
    ll_sql sql = {.text = text,
                  .size = LL_NUL_TERMINATED,
                  .params = {.values = list, .names = names_of, .count = 2}};
    ll_many rows = {.text = text,
                    .size = LL_NUL_TERMINATED,
                    .values = list,
                    .names = names_of,
                    .rows = 1,
                    .width = 2};
    ll_status submitted = ll_conn_submit(conn, &sql, NULL, &one);
    ll_status submitted_many = ll_exec_many(conn, &rows, NULL, &many);
    ll_status submitted_script = ll_script(conn, script_text, LL_NUL_TERMINATED, false, NULL,
                                           &script);
    memset(text, 'x', sizeof text - 1);
    memset(script_text, 'x', sizeof script_text - 1);
    memset(a, 'x', sizeof a);
    memset(b, 'x', sizeof b);
    name_a[0] = name_b[0] = 'x';
    names_of[0] = names_of[1] = NULL;
    memset(list, 0xff, sizeof list);
    t_gate_open(gate);
    T_CHECK(t_end(called, call) == LL_OK);
    T_CHECK(t_end(submitted, one) == LL_OK);
    T_CHECK(t_end(submitted_many, many) == LL_OK);
    T_CHECK(t_end(submitted_script, script) == LL_OK);
    ll_request_unref(call);
    ll_request_unref(one);
    ll_request_unref(many);
    ll_request_unref(script);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t WHERE a = 'kept' AND b = x'6b657074'"), 3);
    t_close(conn);
}

static void borrowed_parameters(void **state)
{
    enum {
        SIZE = 3000000
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(a, b)");
    char *large = malloc(SIZE);
    T_CHECK(large != NULL);
    memset(large, 'b', SIZE);
    const ll_value list[] = {ll_blob(large, SIZE), ll_text_n(large, SIZE)};
    ll_request *request = NULL;
    ll_submit how = {.flags = LL_SUBMIT_BORROW};
    T_CHECK(t_end(ll_exec(conn, "INSERT INTO t VALUES(?, ?)", list, 2, &how, &request), request) ==
            LL_OK);
    memset(large, 'x', SIZE); /* it has finished: ours again */
    free(large);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT length(a) + length(b) FROM t"), 2 * SIZE);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t WHERE cast(a AS TEXT) = b"
                        " AND replace(b, 'b', '') = ''"),
            1);
    t_close(conn);
}

static void parameters_of_one_run_do_not_reach_the_next(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    const char *const x[] = {"x"};
    const ll_value value = ll_text("secret");
    gives(conn, "SELECT ifnull(:x, 'empty')", &value, x, 1, "secret");
    fails(conn, "SELECT ifnull(:x, 'empty')", NULL, NULL, 0, "1");
    const ll_value null = ll_null();
    gives(conn, "SELECT ifnull(:x, 'empty')", &null, x, 1, "empty");
    t_close(conn);
}

static void many_parameters(void **state)
{
    enum {
        COUNT = 1000
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    static ll_value list[COUNT];
    static char text[64 + 2 * COUNT];
    strcpy(text, "SELECT count(*) WHERE 999 IN (-1");
    for (size_t i = 0; i < COUNT; i++) {
        list[i] = ll_integer((int64_t)i);
        strcat(text, ",?");
    }
    strcat(text, ")");
    t_rows rows = {.request = t_query_with(conn, text, list, COUNT)};
    T_CHECK(t_rows_next(&rows)[0].as.integer == 1);
    t_rows_done(&rows);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(every_type),
        T_TEST(values_come_back_as_they_went),
        T_TEST(positions_and_numbers),
        T_TEST(names),
        T_TEST(what_does_not_fit),
        T_TEST(refused_values_say_why),
        T_TEST(text_and_parameters_are_copied),
        T_TEST(borrowed_parameters),
        T_TEST(parameters_of_one_run_do_not_reach_the_next),
        T_TEST(many_parameters),
    };
    return T_RUN(tests);
}
