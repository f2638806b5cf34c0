/* Functions, aggregates, window functions and collations of the program's own: what they are given and give, compared
 * with the same ones registered through sqlite3; on which thread they run; and that `user` is given back once. */
#include "support/support.h"

#include <pthread.h>

static size_t given_back;

static void give_back(void *user)
{
    __atomic_add_fetch((size_t *)user, 1, __ATOMIC_SEQ_CST);
}

static size_t count_of(const size_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_SEQ_CST);
}

static ll_request *create(ll_conn *conn, const ll_function *function)
{
    ll_request *request = NULL;
    (void)t_end(ll_function_create(conn, function, NULL, &request), request);
    if (!request)
        t_fail(__FILE__, __LINE__, "refused: %s", ll_last_error());
    return request;
}

static void must_create(ll_conn *conn, const ll_function *function)
{
    ll_request *request = create(conn, function);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
}

static void must_collate(ll_conn *conn, const ll_collation *collation)
{
    ll_request *request = NULL;
    (void)t_end(ll_collation_create(conn, collation, NULL, &request), request);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
}

/* ---- what they do ------------------------------------------------------------------------------- */

/* Gives back what it is given. */
static void echo(ll_context *context, const ll_value *args, size_t count)
{
    (void)count;
    if (args[0].type == LL_TEXT)
        T_CHECK(args[0].as.text[args[0].size] == '\0');
    ll_context_result(context, &args[0]);
}

static void raw_echo(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3_result_value(context, values[0]);
}

static void values_come_and_go_unchanged(void **state)
{
    static const char *const list[] = {
        "SELECT echo(NULL), typeof(echo(NULL))",
        "SELECT echo(1), echo(-9223372036854775808), echo(9223372036854775807)",
        "SELECT echo(1.5), echo(-0.0), echo(1e300), typeof(echo(1.0))",
        "SELECT echo(''), echo('text'), echo('Ä€𐍈'), length(echo(char(0, 65)))",
        "SELECT echo(x''), typeof(echo(x'')), echo(x'00ff00'), length(echo(zeroblob(100000)))",
        "SELECT echo(CAST(x'c3' AS TEXT)), hex(echo(CAST(x'610062' AS TEXT)))",
        "SELECT group_concat(echo(x)) FROM (VALUES(1), ('a'), (NULL), (2.5)) AS v(x)",
        "SELECT echo(1, 2)",
        "SELECT echo()",
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    sqlite3 *db = t_raw_open(t_path(t, "a.db"));
    ll_function function = {.name = "echo", .args = 1, .call = echo};
    must_create(conn, &function);
    sqlite3_create_function_v2(db, "echo", 1, SQLITE_UTF8, NULL, raw_echo, NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        t_compare(conn, db, list[i]);
    t_compared();
    t_raw_close(db);
    t_close(conn);
}

static void sum_args(ll_context *context, const ll_value *args, size_t count)
{
    int64_t sum = *(const int64_t *)ll_context_user(context);
    for (size_t i = 0; i < count; i++)
        sum += args[i].as.integer;
    ll_value result = ll_integer(sum);
    ll_context_result(context, &result);
}

static void any_number_of_arguments(void **state)
{
    t_env *t = *state;
    int64_t base = 1000, other = 5;
    ll_conn *conn = t_open(t, "a.db");
    must_create(conn, &(ll_function){.name = "plus", .args = -1, .call = sum_args, .user = &base});
    T_EQUAL(t_int(conn, "SELECT plus()"), 1000);
    T_EQUAL(t_int(conn, "SELECT plus(1, 2, 3)"), 1006);
    T_EQUAL(t_int(conn, "SELECT plus(1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20)"), 1210);
    /* one that names the number goes first */
    must_create(conn, &(ll_function){.name = "PLUS", .args = 2, .call = sum_args, .user = &other});
    T_EQUAL(t_int(conn, "SELECT plus(1, 2)"), 8);
    T_EQUAL(t_int(conn, "SELECT plus(1, 2, 3)"), 1006);
    must_create(conn, &(ll_function){.name = "plus", .args = 2}); /* removed */
    must_create(conn, &(ll_function){.name = "plus", .args = -1});
    must_create(conn, &(ll_function){.name = "never_there", .args = 1});
    ll_request_unref(t_exec_fails(conn, "SELECT plus(1, 2)", LL_ESQL));
    ll_request_unref(t_exec_fails(conn, "SELECT plus(5)", LL_ESQL));
    t_close(conn);
}

/* A sum, for which a window can move. */
struct sum {
    int64_t rows, sum;
};

static void sum_step(ll_context *context, const ll_value *args, size_t count)
{
    (void)count;
    struct sum *state = ll_context_state(context, sizeof *state);
    T_CHECK(state == ll_context_state(context, 4)); /* the same one */
    state->rows++;
    state->sum += args[0].as.integer;
}

static void sum_inverse(ll_context *context, const ll_value *args, size_t count)
{
    (void)count;
    struct sum *state = ll_context_state(context, sizeof *state);
    state->rows--;
    state->sum -= args[0].as.integer;
}

static void sum_value(ll_context *context)
{
    const struct sum *state = ll_context_state(context, sizeof *state);
    ll_value result = state->rows > 0 ? ll_integer(state->sum) : ll_null();
    ll_context_result(context, &result);
}

static void aggregates_and_windows(void **state)
{
    static const char *const list[] = {
        "SELECT %s(x) FROM t",
        "SELECT %s(x) FROM t WHERE x > 1000",
        "SELECT x %% 3, %s(x) FROM t GROUP BY x %% 3",
        "SELECT x, %s(x) OVER (ORDER BY x ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) FROM t",
        "SELECT x, %s(x) OVER (PARTITION BY x %% 2 ORDER BY x) FROM t ORDER BY x",
        "SELECT %s(x) FILTER (WHERE x %% 2) FROM t",
    };
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"),
               "CREATE TABLE t(x); WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c "
               "LIMIT 20) INSERT INTO t SELECT i FROM c");
    ll_conn *conn = t_open(t, "a.db");
    ll_function function = {.name = "mysum",
                            .args = 1,
                            .flags = LL_FUNCTION_DETERMINISTIC | LL_FUNCTION_INNOCUOUS,
                            .step = sum_step,
                            .final = sum_value,
                            .value = sum_value,
                            .inverse = sum_inverse};
    must_create(conn, &function);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        t_rows own = {.request = t_query(conn, t_printf(t, list[i], "mysum"))};
        t_rows builtin = {.request = t_query(conn, t_printf(t, list[i], "sum"))};
#pragma GCC diagnostic pop
        const ll_value *row;
        size_t rows = 0;
        for (; (row = t_rows_next(&own)) != NULL; rows++) {
            const ll_value *expected = t_rows_next(&builtin);
            size_t last = ll_batch_columns(own.batch) - 1;
            T_CHECK(expected && row[last].type == expected[last].type);
            T_EQUAL(row[last].as.integer, expected[last].as.integer);
        }
        T_CHECK(rows > 0 && !t_rows_next(&builtin));
        t_rows_done(&own);
        t_rows_done(&builtin);
    }
    function.value = NULL;
    function.inverse = NULL;
    function.name = "plain";
    must_create(conn, &function);
    T_EQUAL(t_int(conn, "SELECT plain(x) FROM t"), 210);
    ll_request_unref(t_exec_fails(conn, "SELECT plain(x) OVER () FROM t", LL_ESQL));
    t_close(conn);
}

static void fails_as_asked(ll_context *context, const ll_value *args, size_t count)
{
    (void)count;
    ll_value refused = {.type = LL_REFUSED, .as.text = "refused by its value"};
    if (args[0].as.integer == 0)
        ll_context_error(context, 0, "in its own words");
    else if (args[0].as.integer == 1)
        ll_context_error(context, SQLITE_CONSTRAINT, "and with a code");
    else if (args[0].as.integer == 2)
        ll_context_error(context, SQLITE_FULL, NULL);
    else if (args[0].as.integer == 3)
        ll_context_result(context, &refused);
    T_CHECK(ll_context_state(context, 8) == NULL); /* it is no aggregate */
}

static void errors_of_the_functions(void **state)
{
    static const struct {
        const char *sql;
        int code;
        const char *message;
    } cases[] = {
        {"SELECT f(0)", SQLITE_ERROR, "in its own words"},
        {"SELECT f(1)", SQLITE_CONSTRAINT, "and with a code"},
        {"SELECT f(2)", SQLITE_FULL, "database or disk is full"},
        {"SELECT f(3)", SQLITE_ERROR, "refused by its value"},
        {"SELECT f(1, 2)", SQLITE_ERROR, "wrong number of arguments to function f()"},
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    must_create(conn, &(ll_function){.name = "f", .args = 1, .call = fails_as_asked});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ll_request *request = t_exec_fails(conn, cases[i].sql, LL_ESQL);
        T_EQUAL(ll_request_error(request)->sqlite_code, cases[i].code);
        T_SAME_TEXT(ll_request_error(request)->message, cases[i].message);
        ll_request_unref(request);
    }
    t_rows rows = {.request = t_query(conn, "SELECT f(4)")}; /* no result: NULL */
    T_CHECK(t_rows_next(&rows)[0].type == LL_NULL);
    t_rows_done(&rows);
    t_close(conn);
}

static int by_length(void *user, const char *a, size_t a_size, const char *b, size_t b_size)
{
    (void)a;
    (void)b;
    if (user)
        __atomic_add_fetch((size_t *)user, 1, __ATOMIC_SEQ_CST);
    return a_size < b_size ? -1 : a_size > b_size;
}

static int all_equal(void *user, const char *a, size_t a_size, const char *b, size_t b_size)
{
    (void)user, (void)a, (void)a_size, (void)b, (void)b_size;
    return 0;
}

static void collations(void **state)
{
    t_env *t = *state;
    size_t calls = 0;
    ll_conn *conn = t_open(t, "a.db");
    must_collate(conn, &(ll_collation){.name = "length", .compare = by_length, .user = &calls});
    t_exec(conn, "CREATE TABLE t(x TEXT COLLATE length UNIQUE)");
    t_exec(conn, "INSERT INTO t VALUES('ccc'), ('a'), ('bb')");
    ll_request_unref(t_exec_fails(conn, "INSERT INTO t VALUES('zz')", LL_ESQL)); /* equal to bb */
    t_rows rows = {.request = t_query(conn, "SELECT x FROM t ORDER BY x")};
    T_SAME_TEXT(t_rows_next(&rows)[0].as.text, "a");
    T_SAME_TEXT(t_rows_next(&rows)[0].as.text, "bb");
    T_SAME_TEXT(t_rows_next(&rows)[0].as.text, "ccc");
    t_rows_done(&rows);
    T_EQUAL(t_int(conn, "SELECT x = 'ZZZ' FROM t WHERE length(x) = 3"), 1);
    T_CHECK(count_of(&calls) > 0);
    t_exec(conn, "DROP TABLE t");
    must_collate(conn, &(ll_collation){.name = "length"});
    ll_request_unref(t_exec_fails(conn, "SELECT 'a' COLLATE length < 'b'", LL_ESQL));
    t_close(conn);
}

static void flags_reach_sqlite(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    must_create(conn, &(ll_function){.name = "plain", .args = 1, .call = echo});
    must_create(conn,
                &(ll_function){
                    .name = "pure", .args = 1, .call = echo, .flags = LL_FUNCTION_DETERMINISTIC});
    must_create(conn,
                &(ll_function){
                    .name = "direct", .args = 1, .call = echo, .flags = LL_FUNCTION_DIRECT_ONLY});
    must_create(conn,
                &(ll_function){
                    .name = "harmless", .args = 1, .call = echo, .flags = LL_FUNCTION_INNOCUOUS});
    ll_request_unref(t_exec_fails(conn, "CREATE INDEX i ON t(plain(x))", LL_ESQL));
    t_exec(conn, "CREATE INDEX i ON t(pure(x))");
    t_exec(conn, "CREATE VIEW v AS SELECT direct(1)");
    ll_request_unref(t_exec_fails(conn, "SELECT * FROM v", LL_ESQL));
    t_exec(conn, "PRAGMA trusted_schema=OFF");
    t_exec(conn, "CREATE VIEW w AS SELECT plain(1)");
    ll_request_unref(t_exec_fails(conn, "SELECT * FROM w", LL_ESQL));
    t_exec(conn, "CREATE VIEW u AS SELECT harmless(7)");
    T_EQUAL(t_int(conn, "SELECT * FROM u"), 7);
    t_exec(conn, "DROP INDEX i"); /* for whoever looks at the file later */
    t_close(conn);
}

/* ---- where they run ----------------------------------------------------------------------------- */

static pthread_t last_thread;
static size_t calls_on_loop, calls_elsewhere;

static void where(ll_context *context, const ll_value *args, size_t count)
{
    const pthread_t *loop = ll_context_user(context);
    bool here = pthread_equal(*loop, pthread_self());
    __atomic_add_fetch(here ? &calls_on_loop : &calls_elsewhere, 1, __ATOMIC_SEQ_CST);
    last_thread = pthread_self();
    echo(context, args, count);
}

/* Runs a statement so often that the loop would have it by now if it may. */
static void run_often(ll_conn *conn, const char *sql)
{
    for (int i = 0; i < 20; i++) {
        ll_request *request = NULL;
        T_CHECK(t_end(ll_exec(conn, sql, NULL, 0, NULL, &request), request) == LL_OK);
        ll_request_unref(request);
        ll_engine_new_turn(NULL);
    }
}

static void only_what_was_declared_short_runs_on_the_loop(void **state)
{
    static const char *const reads[] = {"SELECT f(1)", "SELECT f(x) FROM t WHERE id = 1",
                                        "SELECT id FROM t WHERE id = 1 AND f(x) = 'one'"};
    t_env *t = *state;
    pthread_t loop = pthread_self();
    t_file_sql(t_path(t, "a.db"), "PRAGMA journal_mode=WAL;"
                                  "CREATE TABLE t(id INTEGER PRIMARY KEY, x);"
                                  "INSERT INTO t VALUES(1, 'one')");
    ll_conn *conn = t_open(t, "a.db");
    run_often(conn, "SELECT x FROM t WHERE id = 1");
    T_CHECK(t_stats(t->engine).inline_hits > 0); /* this engine does run reads here */
    ll_function function = {.name = "f", .args = 1, .call = where, .user = &loop};
    calls_on_loop = calls_elsewhere = 0;
    must_create(conn, &function);
    for (size_t i = 0; i < 3; i++)
        run_often(conn, reads[i]);
    T_EQUAL(count_of(&calls_on_loop), 0);
    T_CHECK(count_of(&calls_elsewhere) >= 60);
    t_exec(conn, "BEGIN IMMEDIATE");
    run_often(conn, "UPDATE t SET x = f('one') WHERE id = 1");
    t_exec(conn, "COMMIT");
    T_EQUAL(count_of(&calls_on_loop), 0);
    function.flags = LL_FUNCTION_ON_LOOP;
    must_create(conn, &function);
    for (size_t i = 0; i < 3; i++) {
        size_t before = count_of(&calls_on_loop);
        run_often(conn, reads[i]);
        if (count_of(&calls_on_loop) == before)
            t_fail(__FILE__, __LINE__, "%s never ran on the loop", reads[i]);
    }
    t_exec(conn, "BEGIN IMMEDIATE");
    t_exec(conn, "UPDATE t SET x = 'one' WHERE id = 1");
    size_t before = count_of(&calls_on_loop);
    run_often(conn, "UPDATE t SET x = f('one') WHERE id = 1");
    T_CHECK(count_of(&calls_on_loop) > before);
    /* and back again, at once: also for a write, which cannot be refused in the middle */
    function.flags = 0;
    must_create(conn, &function);
    calls_on_loop = 0;
    run_often(conn, "UPDATE t SET x = f('one') WHERE id = 1");
    t_exec(conn, "COMMIT");
    for (size_t i = 0; i < 3; i++)
        run_often(conn, reads[i]);
    T_EQUAL(count_of(&calls_on_loop), 0);
    t_close(conn);
}

/* One that takes the place of a function that may run there must not, in reads and in writes. */
static void one_in_the_place_of_sqlites_own(void **state)
{
    t_env *t = *state;
    pthread_t loop = pthread_self();
    t_file_sql(t_path(t, "a.db"), "PRAGMA journal_mode=WAL;"
                                  "CREATE TABLE t(id INTEGER PRIMARY KEY, x);"
                                  "INSERT INTO t VALUES(1, 'one')");
    ll_conn *conn = t_open(t, "a.db");
    run_often(conn, "SELECT upper(x) FROM t WHERE id = 1");
    calls_on_loop = calls_elsewhere = 0;
    must_create(conn, &(ll_function){.name = "Upper", .args = 1, .call = where, .user = &loop});
    run_often(conn, "SELECT upper(x) FROM t WHERE id = 1");
    t_exec(conn, "BEGIN IMMEDIATE");
    run_often(conn, "UPDATE t SET x = upper('one') WHERE id = 1");
    t_exec(conn, "COMMIT");
    T_EQUAL(count_of(&calls_on_loop), 0);
    T_EQUAL(count_of(&calls_elsewhere), 40);
    size_t compared = 0;
    must_collate(conn, &(ll_collation){.name = "nocase", .compare = by_length, .user = &compared});
    T_EQUAL(t_int(conn, "SELECT 'a' = 'b' COLLATE NOCASE"), 1);
    t_close(conn);
}

/* ---- ending ------------------------------------------------------------------------------------- */

static void endless(ll_context *context, const ll_value *args, size_t count)
{
    (void)args;
    (void)count;
    size_t *entered = ll_context_user(context);
    __atomic_add_fetch(entered, 1, __ATOMIC_SEQ_CST);
    while (!ll_context_must_stop(context)) {}
}

static void a_long_one_can_be_stopped(void **state)
{
    t_env *t = *state;
    size_t entered = 0;
    ll_conn *conn = t_open(t, "a.db");
    must_create(conn, &(ll_function){.name = "endless", .call = endless, .user = &entered});
    ll_request *request = NULL;
    T_CHECK(ll_exec(conn, "SELECT endless()", NULL, 0, NULL, &request) == LL_PENDING);
    while (count_of(&entered) < 1)
        t_turn(t->engine);
    T_CHECK(ll_request_cancel(request) == LL_OK && ll_request_wait(request) == LL_ECANCELLED);
    t_is(request, LL_ECANCELLED, LL_NOT_APPLIED);
    ll_request_unref(request);
    request = NULL;
    T_CHECK(t_end(ll_exec(conn, "SELECT endless()", NULL, 0, &(ll_submit){.timeout_ns = 2 * T_MS},
                          &request),
                  request) == LL_ETIMEOUT);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT 5"), 5);
    t_close(conn);
}

static void user_is_given_back_once(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    size_t first = 0, second = 0, third = 0, fourth = 0, fifth = 0;
    ll_function function = {
        .name = "f", .args = 1, .call = echo, .user = &first, .destroy = give_back};
    ll_collation collation = {
        .name = "c", .compare = by_length, .user = &third, .destroy = give_back};
    must_create(conn, &function);
    T_EQUAL(count_of(&first), 0);
    function.user = &second;
    must_create(conn, &function); /* replaced */
    T_EQUAL(count_of(&first), 1);
    must_collate(conn, &collation);
    must_create(conn, &(ll_function){.name = "f",
                                     .args = 1,
                                     .user = &fourth,
                                     .destroy = give_back}); /* removed: both */
    T_CHECK(count_of(&second) == 1 && count_of(&fourth) == 1);
    function.user = &fifth;
    must_create(conn, &function);
    t_close(conn);
    T_CHECK(count_of(&first) == 1 && count_of(&second) == 1 && count_of(&third) == 1);
    T_CHECK(count_of(&fourth) == 1 && count_of(&fifth) == 1);
}

static void what_is_refused_is_given_back_too(void **state)
{
    static const struct {
        ll_function function;
        const char *words;
    } cases[] = {
        {{.call = echo}, "function->name is NULL"},
        {{.name = "", .call = echo}, "function->name is empty"},
        {{.name = "f", .args = -2, .call = echo}, "function->args is -2"},
        {{.name = "f", .flags = 1u << 20, .call = echo}, "unknown bits: 0x100000"},
        {{.name = "f", .call = echo, .step = echo}, "not both"},
        {{.name = "f", .step = echo}, "function->step and function->final"},
        {{.name = "f", .step = sum_step, .final = sum_value, .value = sum_value},
         "needs function->step, final"},
    };
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = NULL;
    given_back = 0;
    size_t expected = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ll_function function = cases[i].function;
        function.user = &given_back;
        function.destroy = give_back;
        T_CHECK(ll_function_create(conn, &function, NULL, &request) == LL_EINVAL && !request);
        if (!strstr(ll_last_error(), cases[i].words))
            t_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", ll_last_error(),
                   cases[i].words);
        T_EQUAL(count_of(&given_back), ++expected);
    }
    char longer[300];
    memset(longer, 'n', sizeof longer);
    longer[299] = '\0';
    ll_function function = {
        .name = longer, .call = echo, .user = &given_back, .destroy = give_back};
    T_CHECK(ll_function_create(conn, &function, NULL, &request) == LL_EINVAL);
    T_EQUAL(count_of(&given_back), ++expected);
    T_CHECK(ll_function_create(conn, NULL, NULL, &request) == LL_EINVAL);
    function.name = "f";
    T_CHECK(ll_function_create(NULL, &function, NULL, &request) == LL_EINVAL);
    T_EQUAL(count_of(&given_back), ++expected);
    T_CHECK(ll_function_create(conn, &function, NULL, NULL) == LL_EINVAL);
    T_EQUAL(count_of(&given_back), ++expected);
    ll_collation collation = {.user = &given_back, .destroy = give_back};
    T_CHECK(ll_collation_create(conn, &collation, NULL, &request) == LL_EINVAL);
    T_EQUAL(count_of(&given_back), ++expected);
    ll_hooks hooks = {.user = &given_back, .destroy = give_back};
    T_CHECK(ll_hooks_set(NULL, &hooks, NULL, &request) == LL_EINVAL && !request);
    T_EQUAL(count_of(&given_back), ++expected);
    /* SQLite says no: too many arguments */
    function.args = 100000;
    request = create(conn, &function);
    T_CHECK(ll_request_status(request) == LL_ESQL);
    T_EQUAL(count_of(&given_back), ++expected);
    ll_request_unref(request);
    /* dropped before it began; and behind a close */
    t_gate *gate = t_gate_new(t);
    ll_request *hold = NULL, *close = NULL;
    T_CHECK(ll_conn_call(conn, t_gate_call, gate, NULL, &hold) == LL_PENDING);
    t_gate_entered(gate, 1);
    function.args = 1;
    request = NULL;
    T_CHECK(ll_function_create(conn, &function, NULL, &request) == LL_PENDING);
    T_CHECK(ll_request_cancel(request) == LL_OK && ll_request_wait(request) == LL_ECANCELLED);
    ll_request_unref(request);
    request = NULL;
    T_CHECK(ll_conn_close(conn, NULL, &close) == LL_PENDING);
    T_CHECK(ll_function_create(conn, &function, NULL, &request) == LL_ECLOSED && !request);
    t_gate_open(gate);
    T_CHECK(ll_request_wait(close) == LL_OK);
    T_EQUAL(count_of(&given_back), expected + 2);
    ll_request_unref(hold);
    ll_request_unref(close);
    ll_conn_unref(conn);
}

static void not_while_it_is_in_use(void **state)
{
    t_env *t = *state;
    size_t back = 0;
    ll_conn *conn = t_open(t, "a.db");
    ll_function function = {.name = "f", .args = 1, .call = echo};
    must_create(conn, &function);
    ll_request *request = NULL;
    ll_sql sql = {.text = T_ENDLESS "SELECT f(x) FROM c",
                  .size = LL_NUL_TERMINATED,
                  .flags = LL_SQL_STREAM,
                  .first_rows = 1};
    T_CHECK(t_end(ll_conn_submit(conn, &sql, NULL, &request), request) == LL_OK);
    ll_cursor *cursor = ll_request_take_cursor(request);
    ll_request_unref(request);
    function.user = &back;
    function.destroy = give_back;
    request = create(conn, &function);
    t_is(request, LL_EBUSY, LL_NOT_APPLIED);
    T_CHECK(strstr(ll_request_error(request)->message, "due to active statements"));
    T_EQUAL(count_of(&back), 1);
    ll_request_unref(request);
    ll_cursor_close(cursor);
    must_create(conn, &function);
    t_close(conn);
    T_EQUAL(count_of(&back), 2);
}

/* An adopted handle goes back without them. */
static void adopted_handles_are_given_back_clean(void **state)
{
    t_env *t = *state;
    size_t back = 0;
    sqlite3 *db = t_raw_open(t_path(t, "a.db"));
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_adopt(t->engine, db, NULL, NULL, &conn, &request), request) == LL_OK);
    ll_request_unref(request);
    must_create(
        conn,
        &(ll_function){.name = "f", .args = 1, .call = echo, .user = &back, .destroy = give_back});
    must_collate(conn, &(ll_collation){
                           .name = "c", .compare = all_equal, .user = &back, .destroy = give_back});
    T_EQUAL(t_int(conn, "SELECT f(7) WHERE 'a' = 'b' COLLATE c"), 7);
    t_close(conn);
    T_EQUAL(count_of(&back), 2);
    T_CHECK(t_raw_try(db, "SELECT f(7)") == SQLITE_ERROR);
    t_raw_close(db);
}

/* What the owner's own live statement uses stays until he closes the handle. */
static void one_that_cannot_be_taken_away(void **state)
{
    t_env *t = *state;
    size_t back = 0;
    sqlite3 *db = t_raw_open(":memory:");
    sqlite3_stmt *stmt = NULL;
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_adopt(t->engine, db, NULL, NULL, &conn, &request), request) == LL_OK);
    ll_request_unref(request);
    ll_function function = {
        .name = "f", .args = 1, .call = echo, .user = &back, .destroy = give_back};
    must_create(conn, &function);
    sqlite3 *entered;
    T_CHECK(ll_conn_enter(conn, &entered) == LL_OK);
    T_CHECK(sqlite3_prepare_v2(db, T_ENDLESS "SELECT f(x) FROM c", -1, &stmt, NULL) == SQLITE_OK);
    T_CHECK(sqlite3_step(stmt) == SQLITE_ROW);
    ll_conn_leave(conn);
    t_close(conn);
    T_EQUAL(count_of(&back), 0);
    T_CHECK(sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_int(stmt, 0) == 2);
    sqlite3_finalize(stmt);
    t_raw_close(db);
    T_EQUAL(count_of(&back), 1);
}

static void a_pool_does_not_hand_them_on(void **state)
{
    t_env *t = *state;
    size_t back = 0;
    ll_pool *pool = NULL;
    ll_pool_options options = {.max_size = 1};
    T_CHECK(ll_pool_new(t->engine, t_path(t, "a.db"), &options, &pool) == LL_OK);
    ll_request *request = NULL;
    T_CHECK(t_end(ll_pool_acquire(pool, "test", NULL, &request), request) == LL_OK);
    ll_lease *lease = ll_request_take_lease(request);
    ll_request_unref(request);
    must_create(
        ll_lease_conn(lease),
        &(ll_function){.name = "f", .args = 1, .call = echo, .user = &back, .destroy = give_back});
    T_EQUAL(t_int(ll_lease_conn(lease), "SELECT f(3)"), 3);
    request = NULL;
    T_CHECK(t_end(ll_pool_release(lease, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
    request = NULL;
    ll_sql sql = {.text = "SELECT f(3)", .size = LL_NUL_TERMINATED};
    T_CHECK(t_end(ll_pool_exec(pool, &sql, NULL, &request), request) == LL_ESQL);
    ll_request_unref(request);
    request = NULL;
    T_CHECK(t_end(ll_pool_close(pool, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
    ll_pool_unref(pool);
    T_EQUAL(count_of(&back), 1);
}

/* A group's writer knows nothing of a home's functions. */
static void a_write_that_calls_one_is_not_grouped(void **state)
{
    t_env *t = *state;
    int64_t home_base = 100, writer_base = 200;
    t_file_sql(t_path(t, "a.db"), "PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
    ll_conn *home = t_open(t, "a.db"), *writing = t_open(t, "a.db");
    ll_writer *writer = NULL;
    T_CHECK(ll_writer_new(writing, NULL, &writer) == LL_OK);
    for (int quick = 0; quick < 2; quick++) {
        ll_function function = {.name = "f",
                                .args = 1,
                                .call = sum_args,
                                .user = &home_base,
                                .flags = quick ? LL_FUNCTION_ON_LOOP : 0};
        must_create(home, &function);
        function.user = &writer_base;
        must_create(writing, &function);
        ll_sql sql = {.text = "INSERT INTO t VALUES(f(1))", .size = LL_NUL_TERMINATED};
        ll_request *request = NULL;
        T_CHECK(t_end(ll_writer_submit(writer, home, &sql, NULL, &request), request) == LL_OK);
        ll_request_unref(request);
    }
    T_EQUAL(t_int(home, "SELECT sum(x) FROM t"), 202);
    ll_writer_free(writer);
    t_close(home);
    t_close(writing);
}

static int is_refused_in_a_child(void *arg)
{
    size_t back = 0;
    ll_request *request = NULL;
    ll_function function = {
        .name = "f", .args = 1, .call = echo, .user = &back, .destroy = give_back};
    T_CHILD(ll_function_create(arg, &function, NULL, &request) == LL_EFORK && !request);
    T_CHILD(back == 1);
    T_CHILD(ll_hooks_set(arg, NULL, NULL, &request) == LL_EFORK);
    return 0;
}

static void forked(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    must_create(conn, &(ll_function){.name = "f", .args = 1, .call = echo});
    t_in_child(is_refused_in_a_child, conn);
    T_EQUAL(t_int(conn, "SELECT f(4)"), 4);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(values_come_and_go_unchanged),
        T_TEST(any_number_of_arguments),
        T_TEST(aggregates_and_windows),
        T_TEST(errors_of_the_functions),
        T_TEST(collations),
        T_TEST(flags_reach_sqlite),
        T_TEST(only_what_was_declared_short_runs_on_the_loop),
        T_TEST(one_in_the_place_of_sqlites_own),
        T_TEST(a_long_one_can_be_stopped),
        T_TEST(user_is_given_back_once),
        T_TEST(what_is_refused_is_given_back_too),
        T_TEST(not_while_it_is_in_use),
        T_TEST(adopted_handles_are_given_back_clean),
        T_TEST(one_that_cannot_be_taken_away),
        T_TEST(a_pool_does_not_hand_them_on),
        T_TEST(a_write_that_calls_one_is_not_grouped),
        T_TEST(forked),
    };
    return T_RUN(tests);
}
