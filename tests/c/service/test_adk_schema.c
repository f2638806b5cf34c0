/* Names that try to be SQL, the owner's column, which layout a database has, and times as Julian days. */
#include "support/support.h"

static ll_adk *made(const ll_adk_options *options)
{
    ll_adk *adk = NULL;
    if (ll_adk_new(options, &adk) != LL_OK)
        t_fail(__FILE__, __LINE__, "%s", ll_last_error());
    return adk;
}

static void create(ll_conn *conn, const ll_adk *adk)
{
    for (int i = 0; i < 2; i++) { /* the second time there is nothing to do */
        ll_request *request = NULL;
        (void)t_end(ll_script(conn, ll_adk_schema(adk), LL_NUL_TERMINATED, false, NULL, &request),
                    request);
        t_is(request, LL_OK, LL_APPLIED);
        ll_request_unref(request);
    }
}

/* The two answers of LL_ADK_FIND_LAYOUT; -1: NULL. */
static void layout_is(ll_conn *conn, const ll_adk *adk, int document, int owner)
{
    t_rows rows = {.request = t_query(conn, ll_adk_text(adk, LL_ADK_FIND_LAYOUT))};
    const ll_value *row = t_rows_next(&rows);
    T_CHECK(row != NULL);
    T_EQUAL(row[0].type == LL_NULL ? -1 : row[0].as.integer, document);
    T_EQUAL(row[1].type == LL_NULL ? -1 : row[1].as.integer, owner);
    t_rows_done(&rows);
}

static void the_schema(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_adk *adk = made(NULL), *documents = made(&(ll_adk_options){.layout = LL_ADK_DOCUMENT});
    layout_is(conn, adk, -1, -1);
    create(conn, adk);
    layout_is(conn, adk, 0, -1);
    /* 6 + 18 columns as they are specified, by name, type, NOT NULL and primary key */
    T_EQUAL(
        t_int(conn,
              "SELECT group_concat(name || ' ' || type || ' ' || \"notnull\" || pk, ', ') ="
              " 'id TEXT 01, app_name TEXT 10, user_id TEXT 10, state TEXT 10,"
              " create_time REAL 10, update_time REAL 10' FROM pragma_table_info('adk_sessions')"),
        1);
    T_EQUAL(
        t_int(conn,
              "SELECT group_concat(name || ' ' || type || ' ' || \"notnull\" || pk, ', ') ="
              " 'id TEXT 01, session_id TEXT 10, app_name TEXT 10, user_id TEXT 10,"
              " invocation_id TEXT 10, author TEXT 10, actions BLOB 10,"
              " long_running_tool_ids_json TEXT 00, branch TEXT 00, timestamp REAL 10,"
              " content TEXT 00, grounding_metadata TEXT 00, custom_metadata TEXT 00,"
              " partial INTEGER 00, turn_complete INTEGER 00, interrupted INTEGER 00,"
              " error_code TEXT 00, error_message TEXT 00' FROM pragma_table_info('adk_events')"),
        1);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name IN"
                        " ('idx_adk_sessions_app_user', 'idx_adk_sessions_update_time',"
                        " 'idx_adk_events_session')"),
            3);
    T_EQUAL(t_int(conn, "SELECT \"table\" = 'adk_sessions' AND on_delete = 'CASCADE'"
                        " FROM pragma_foreign_key_list('adk_events')"),
            1);
    t_close(conn);
    conn = t_open(t, "b.db");
    create(conn, documents);
    layout_is(conn, adk, 1, -1);
    t_exec(conn, "ALTER TABLE adk_events RENAME TO other");
    t_exec(conn, "CREATE TABLE adk_events(id TEXT PRIMARY KEY, session_id, timestamp, event_data)");
    layout_is(conn, adk, 2, -1);
    t_close(conn);
    ll_adk_free(adk);
    ll_adk_free(documents);
}

/* Neither sorts nor looks at all events. */
static void the_plans(void **state)
{
    t_env *t = *state;
    static const ll_adk_statement by_index[] = {LL_ADK_GET_EVENTS, LL_ADK_RECENT_EVENTS,
                                                LL_ADK_LAST_EVENT, LL_ADK_GET_SCOPED};
    for (int layout = LL_ADK_COLUMNS; layout <= LL_ADK_DOCUMENT; layout++) {
        ll_conn *conn = t_open(t, layout ? "b.db" : "a.db");
        ll_adk *adk = made(&(ll_adk_options){.layout = (ll_adk_layout)layout});
        create(conn, adk);
        for (size_t i = 0; i < sizeof by_index / sizeof *by_index; i++) {
            const char *sql = t_printf(t, "EXPLAIN QUERY PLAN %s", ll_adk_text(adk, by_index[i]));
            const ll_value values[3] = {ll_text("s"), ll_text("a"), ll_text("u")};
            size_t count = by_index[i] == LL_ADK_LAST_EVENT ? 1 : 3;
            t_rows rows = {.request = t_query_with(conn, sql, values, count)};
            size_t steps = 0;
            for (const ll_value *row; (row = t_rows_next(&rows)); steps++)
                T_CHECK(!strstr(row[3].as.text, "SCAN") && !strstr(row[3].as.text, "B-TREE"));
            T_CHECK(steps > 0);
            t_rows_done(&rows);
        }
        ll_adk_free(adk);
        t_close(conn);
    }
}

/* The foreign key of a session that is deleted finds its events, in what we made. */
static void deletions_find_events(void **state)
{
    t_env *t = *state;
    for (int layout = LL_ADK_COLUMNS; layout <= LL_ADK_DOCUMENT; layout++) {
        ll_conn *conn = t_open(t, layout ? "b.db" : "a.db");
        ll_adk *adk = made(&(ll_adk_options){.layout = (ll_adk_layout)layout});
        create(conn, adk);
        T_EQUAL(t_int(conn, "SELECT count(*) FROM pragma_index_info('idx_adk_events_session')"
                            " WHERE seqno = 0 AND name = 'session_id'"),
                1);
        ll_adk_free(adk);
        t_close(conn);
    }
}

static void names_are_names(void **state)
{
    t_env *t = *state;
    static const ll_adk_options hostile = {
        .session_table = "a\"; DROP TABLE victim; --",
        .events_table = "e'); DROP TABLE victim; --",
        .app_state_table = "select",
        .user_state_table = "two words",
        .owner_column = "\"owner \"\" id\" INTEGER DEFAULT (7)",
    };
    for (int layout = LL_ADK_COLUMNS; layout <= LL_ADK_DOCUMENT; layout++) {
        ll_conn *conn = t_open(t, layout ? "b.db" : "a.db");
        t_exec(conn, "CREATE TABLE victim(x)");
        ll_adk_options options = hostile;
        options.layout = (ll_adk_layout)layout;
        ll_adk *adk = made(&options);
        T_SAME_TEXT(ll_adk_owner_name(adk), "owner \" id");
        layout_is(conn, adk, -1, -1);
        create(conn, adk);
        layout_is(conn, adk, layout, 1);
        T_EQUAL(t_int(conn, "SELECT count(*) FROM sqlite_master WHERE type = 'table'"), 5);
        ll_adk_session session = {
            .id = "s", .app_name = "a", .user_id = "u", .owner = ll_integer(3)};
        ll_adk_call call;
        T_CHECK(ll_adk_create_session(adk, &session, &call) == LL_OK);
        ll_request *request = NULL;
        (void)t_end(ll_conn_submit(conn, &call.sql, NULL, &request), request);
        t_is(request, LL_OK, LL_APPLIED);
        ll_request_unref(request);
        T_EQUAL(t_int(conn, "SELECT \"owner \"\" id\" FROM \"a\"\"; DROP TABLE victim; --\""), 3);
        t_close(conn);
        /* each of the others is accepted, too */
        sqlite3 *db = t_raw_open(t_path(t, layout ? "b.db" : "a.db"));
        for (int i = 0; i < LL_ADK_STATEMENTS; i++) {
            T_CHECK(ll_adk_text(adk, (ll_adk_statement)i) != NULL);
            if (i != LL_ADK_ADD_OWNER)
                t_raw(db, t_printf(t, "EXPLAIN %s", ll_adk_text(adk, (ll_adk_statement)i)));
        }
        t_raw_close(db);
        ll_adk_free(adk);
    }
}

static void the_owner_is_added(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_adk *plain = made(NULL);
    create(conn, plain);
    ll_adk *adk = made(
        &(ll_adk_options){.owner_column = "account_id INTEGER CHECK(account_id > 0)"});
    layout_is(conn, adk, 0, 0);
    t_exec(conn, ll_adk_text(adk, LL_ADK_ADD_OWNER));
    layout_is(conn, adk, 0, 1);
    ll_adk_free(plain);
    ll_adk_free(adk);
    t_close(conn);
}

static void what_is_no_column(void **state)
{
    (void)state;
    static const struct {
        const char *column, *message;
    } bad[] = {
        {"", "ll_adk_new: options->owner_column: \"\" does not begin with the name of a column"},
        {"(x)",
         "ll_adk_new: options->owner_column: \"(x)\" does not begin with the name of a column"},
        {"a;b",
         "ll_adk_new: options->owner_column: \"a;b\" does not begin with the name of a column"},
        {"\"\" TEXT",
         "ll_adk_new: options->owner_column: \"\"\" TEXT\" does not begin with the name of a column"},
        {"\"a", "ll_adk_new: options->owner_column: a quotation mark is not closed"},
        {"a TEXT); DROP TABLE x",
         "ll_adk_new: options->owner_column: a parenthesis is not open: \"a TEXT); DROP TABLE x\""},
        {"a TEXT; DROP TABLE x",
         "ll_adk_new: options->owner_column: it has a semicolon: \"a TEXT; DROP TABLE x\""},
        {"a TEXT, b TEXT",
         "ll_adk_new: options->owner_column: it is more than one column: \"a TEXT, b TEXT\""},
        {"a TEXT --", "ll_adk_new: options->owner_column: it has a comment: \"a TEXT --\""},
        {"a TEXT /* ", "ll_adk_new: options->owner_column: it has a comment: \"a TEXT /* \""},
        {"a CHECK(a",
         "ll_adk_new: options->owner_column: a parenthesis is not closed: \"a CHECK(a\""},
        {"a DEFAULT 'x",
         "ll_adk_new: options->owner_column: a quotation mark is not closed: \"a DEFAULT 'x\""},
    };
    ll_adk *adk = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        T_CHECK(ll_adk_new(&(ll_adk_options){.owner_column = bad[i].column}, &adk) == LL_EINVAL);
        T_SAME_TEXT(ll_last_error(), bad[i].message);
    }
    static const char *const good[] = {"a", " a TEXT", "[a b] DEFAULT ';,--'",
                                       "`a` CHECK(f(a, ','))"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ll_adk_free(made(&(ll_adk_options){.owner_column = good[i]}));
    T_CHECK(ll_adk_new(&(ll_adk_options){.events_table = ""}, &adk) == LL_EINVAL);
    T_SAME_TEXT(ll_last_error(), "ll_adk_new: options->events_table is empty");
    T_CHECK(ll_adk_new(&(ll_adk_options){.events_table = "ADK_sessions"}, &adk) == LL_EINVAL);
    T_SAME_TEXT(ll_last_error(), "ll_adk_new: options->session_table and options->events_table are "
                                 "both \"ADK_sessions\"");
    T_CHECK(ll_adk_new(&(ll_adk_options){.layout = (ll_adk_layout)2}, &adk) == LL_EINVAL);
    T_CHECK(ll_adk_new(NULL, NULL) == LL_EINVAL);
    T_CHECK(adk == NULL);
}

static void times(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    T_CHECK(ll_adk_julian(0) == 2440587.5);
    T_EQUAL(ll_adk_time_us(2440587.5), 0);
    T_EQUAL(ll_adk_time_us(0.0 / 0.0 * 0.0), 0);
    T_CHECK(ll_adk_time_us(1e300) == INT64_MAX && ll_adk_time_us(-1e300) == INT64_MIN);
    /* SQLite's own idea of some days */
    static const struct {
        const char *day;
        int64_t s;
    } days[] = {{"0001-01-01", INT64_C(-62135596800)},
                {"1969-12-31 23:59:59", -1},
                {"2026-11-25 12:34:56", INT64_C(1795610096)},
                {"9999-12-31", INT64_C(253402214400)}};
    for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
        T_EQUAL(
            t_int(conn, t_printf(t, "SELECT CAST(strftime('%%s', '%s') AS INTEGER)", days[i].day)),
            days[i].s);
        T_EQUAL(
            t_int(conn,
                  t_printf(t, "SELECT CAST(round((julianday('%s') - %.17g) * 10000) AS INTEGER)",
                           days[i].day, ll_adk_julian(days[i].s * 1000000))),
            0);
    }
    /* there and back: half a step off at most, and not further the second time */
    uint64_t seed = 42;
    for (int i = 0; i < 200000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        int64_t span = INT64_C(315537897600000000); /* the years 1 to 9999 */
        int64_t us = (int64_t)((seed >> 1) % (uint64_t)span) - INT64_C(62135596800000000);
        double julian = ll_adk_julian(us);
        int64_t once = ll_adk_rounded_us(us);
        int64_t off = once > us ? once - us : us - once;
        T_CHECK(off <= 41);
        T_CHECK(ll_adk_julian(once) == julian);
        T_EQUAL(ll_adk_rounded_us(once), once);
        double next = ll_adk_next_julian(julian, us);
        T_CHECK(next > julian && ll_adk_time_us(next) > once);
        T_CHECK(ll_adk_julian(ll_adk_time_us(next)) == next);
        T_CHECK(ll_adk_next_julian(julian, us + 100) > julian);
        T_CHECK(ll_adk_next_julian(julian, us + 1000000) == ll_adk_julian(us + 1000000));
    }
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(the_schema),      T_TEST(the_plans),          T_TEST(deletions_find_events),
        T_TEST(names_are_names), T_TEST(the_owner_is_added), T_TEST(what_is_no_column),
        T_TEST(times),
    };
    return T_RUN(tests);
}
