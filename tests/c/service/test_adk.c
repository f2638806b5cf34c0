/* Sessions and events: what is stored comes back, in its order, in both layouts; what must fail does; many are all
 * or none. */
#include "support/support.h"

#include "base/fault.h"

#define US INT64_C(1700000000000000)

static const ll_open_options with_keys = {
    .pragmas = (const char *const[]){"foreign_keys=ON", "journal_mode=WAL", NULL}};

static ll_adk *tables(ll_conn *conn, const ll_adk_options *options)
{
    ll_adk *adk = NULL;
    if (ll_adk_new(options, &adk) != LL_OK)
        t_fail(__FILE__, __LINE__, "%s", ll_last_error());
    ll_request *request = NULL;
    T_CHECK(t_end(ll_script(conn, ll_adk_schema(adk), LL_NUL_TERMINATED, false, NULL, &request),
                  request) == LL_OK);
    ll_request_unref(request);
    return adk;
}

/* Runs a call and gives the finished request. */
static ll_request *run(ll_conn *conn, ll_status filled, const ll_adk_call *call)
{
    if (filled != LL_OK)
        t_fail(__FILE__, __LINE__, "%s: %s", ll_status_name(filled), ll_last_error());
    ll_request *request = NULL;
    (void)t_end(ll_conn_submit(conn, &call->sql, NULL, &request), request);
    T_CHECK(request != NULL);
    return request;
}

/* Runs one that works; the number of rows it changed. */
static int64_t does(ll_conn *conn, ll_status filled, const ll_adk_call *call)
{
    ll_request *request = run(conn, filled, call);
    t_is(request, LL_OK, LL_APPLIED);
    int64_t changes = ll_request_changes(request);
    ll_request_unref(request);
    return changes;
}

/* Runs one that SQLite refuses with this code. */
static void refused(ll_conn *conn, ll_status filled, const ll_adk_call *call, int code)
{
    ll_request *request = run(conn, filled, call);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    T_EQUAL(ll_request_error(request)->sqlite_code, code);
    ll_request_unref(request);
}

static ll_adk_session a_session(const char *id, const char *user, int64_t us)
{
    return (ll_adk_session){.id = id,
                            .app_name = "app",
                            .user_id = user,
                            .state = "{\"n\":1}",
                            .create_time_us = us,
                            .update_time_us = us};
}

static ll_adk_event an_event(const char *id, const char *session, int64_t us)
{
    return (ll_adk_event){.id = id,
                          .session_id = session,
                          .app_name = "app",
                          .user_id = "ann",
                          .invocation_id = "i1",
                          .timestamp_us = us,
                          .data = "{\"author\":\"user\"}",
                          .author = "user"};
}

static void add_session(ll_conn *conn, const ll_adk *adk, const char *id, const char *user,
                        int64_t us)
{
    ll_adk_call call;
    ll_adk_session session = a_session(id, user, us);
    T_EQUAL(does(conn, ll_adk_create_session(adk, &session, &call), &call), 1);
}

static void add_event(ll_conn *conn, const ll_adk *adk, const char *id, const char *session,
                      int64_t us)
{
    ll_adk_call call;
    ll_adk_event event = an_event(id, session, us);
    T_EQUAL(does(conn, ll_adk_append_event(adk, &event, &call), &call), 1);
}

/* The ids of a list of sessions or events, with spaces between them. */
static void ids(ll_conn *conn, ll_status filled, const ll_adk_call *call, const char *expected)
{
    char text[256] = "";
    t_rows rows = {.request = run(conn, filled, call)};
    t_is(rows.request, LL_OK, LL_APPLIED);
    for (const ll_value *row; (row = t_rows_next(&rows));) {
        if (*text)
            strcat(text, " ");
        strcat(text, row[0].as.text);
    }
    t_rows_done(&rows);
    T_SAME_TEXT(text, expected);
}

static void sessions(void **state)
{
    t_env *t = *state;
    for (int layout = LL_ADK_COLUMNS; layout <= LL_ADK_DOCUMENT; layout++) {
        ll_conn *conn = t_open_with(t->engine, t_path(t, layout ? "b.db" : "a.db"), &with_keys);
        ll_adk *adk = tables(conn, &(ll_adk_options){.layout = (ll_adk_layout)layout});
        T_CHECK((int)ll_adk_get_layout(adk) == layout);
        ll_adk_call call;
        add_session(conn, adk, "s1", "ann", US);
        add_session(conn, adk, "s2", "bob", US + 1000000);
        add_session(conn, adk, "s3", "ann", US + 2000000);

        t_rows rows = {.request = run(conn, ll_adk_get_session(adk, "s1", &call), &call)};
        ll_adk_session session;
        T_CHECK(ll_adk_session_of(t_rows_next(&rows), &session) == LL_OK);
        T_SAME_TEXT(session.id, "s1");
        T_SAME_TEXT(session.app_name, "app");
        T_SAME_TEXT(session.user_id, "ann");
        T_SAME_TEXT(session.state, "{\"n\":1}");
        T_EQUAL(session.create_time_us, ll_adk_rounded_us(US));
        T_EQUAL(session.update_time_us, ll_adk_rounded_us(US));
        T_CHECK(t_rows_next(&rows) == NULL);
        t_rows_done(&rows);

        ids(conn, ll_adk_get_session(adk, "s9", &call), &call, "");
        ids(conn, ll_adk_list_sessions(adk, "app", NULL, &call), &call, "s3 s2 s1");
        ids(conn, ll_adk_list_sessions(adk, "app", "ann", &call), &call, "s3 s1");
        ids(conn, ll_adk_list_sessions(adk, "none", NULL, &call), &call, "");
        T_EQUAL(does(conn, ll_adk_update_state(adk, "s1", "{}", US + 3000000, &call), &call), 1);
        T_EQUAL(does(conn, ll_adk_update_state(adk, "s9", "{}", US, &call), &call), 0);
        ids(conn, ll_adk_list_sessions(adk, "app", NULL, &call), &call, "s1 s3 s2");
        T_EQUAL(t_int(conn, "SELECT state = '{}' FROM adk_sessions WHERE id = 's1'"), 1);

        ll_adk_session again = a_session("s2", "eve", US);
        refused(conn, ll_adk_create_session(adk, &again, &call), &call,
                SQLITE_CONSTRAINT_PRIMARYKEY);
        again = (ll_adk_session){.id = "s4", .app_name = "app", .user_id = "ann"};
        does(conn, ll_adk_create_session(adk, &again, &call), &call);
        T_EQUAL(t_int(conn, "SELECT state = '{}' AND create_time = 2440587.5 FROM adk_sessions"
                            " WHERE id = 's4'"),
                1);

        add_event(conn, adk, "e1", "s1", US);
        add_event(conn, adk, "e2", "s2", US);
        T_EQUAL(does(conn, ll_adk_delete_session(adk, "s1", &call), &call), 1);
        T_EQUAL(does(conn, ll_adk_delete_session(adk, "s1", &call), &call), 0);
        T_EQUAL(t_int(conn, "SELECT count(*) FROM adk_events"), 1);
        ll_adk_free(adk);
        t_close(conn);
    }
}

static void events_in_their_order(void **state)
{
    t_env *t = *state;
    for (int layout = LL_ADK_COLUMNS; layout <= LL_ADK_DOCUMENT; layout++) {
        ll_conn *conn = t_open_with(t->engine, t_path(t, layout ? "b.db" : "a.db"), &with_keys);
        ll_adk *adk = tables(conn, &(ll_adk_options){.layout = (ll_adk_layout)layout});
        ll_adk_call call;
        add_session(conn, adk, "s1", "ann", US);
        add_session(conn, adk, "s2", "ann", US);
        add_event(conn, adk, "z", "s1", US + 1000); /* z and a at one time: as they were appended */
        add_event(conn, adk, "a", "s1", US + 1000);
        add_event(conn, adk, "m", "s1", US + 2000);
        add_event(conn, adk, "first", "s1", US);
        add_event(conn, adk, "other", "s2", US);
        ids(conn, ll_adk_get_events(adk, "s1", LL_ADK_ALWAYS, LL_ADK_ALL, &call), &call,
            "first z a m");
        ids(conn, ll_adk_get_events(adk, "s1", LL_ADK_ALWAYS, 2, &call), &call, "first z");
        ids(conn, ll_adk_get_events(adk, "s1", LL_ADK_ALWAYS, 0, &call), &call, "");
        ids(conn, ll_adk_get_events(adk, "s1", US, LL_ADK_ALL, &call), &call, "z a m");
        ids(conn, ll_adk_get_events(adk, "s1", US + 1000, LL_ADK_ALL, &call), &call, "m");
        ids(conn, ll_adk_recent_events(adk, "s1", LL_ADK_ALWAYS, 3, &call), &call, "m a z");
        ids(conn, ll_adk_recent_events(adk, "s1", US + 1000, LL_ADK_ALL, &call), &call, "m a z");
        ids(conn, ll_adk_get_events(adk, "none", LL_ADK_ALWAYS, LL_ADK_ALL, &call), &call, "");

        ll_adk_event event = an_event("z", "s1", US);
        refused(conn, ll_adk_append_event(adk, &event, &call), &call, SQLITE_CONSTRAINT_PRIMARYKEY);
        event = an_event("new", "no session", US);
        refused(conn, ll_adk_append_event(adk, &event, &call), &call, SQLITE_CONSTRAINT_FOREIGNKEY);
        ll_adk_free(adk);
        t_close(conn);
    }
}

static void all_of_an_event(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &with_keys);
    ll_adk *adk = tables(conn, NULL);
    add_session(conn, adk, "s1", "ann", US);
    static const unsigned char actions[] = {0x80, 0, 5, 0xff, '"'};
    const ll_adk_event event = {.id = "e1",
                                .session_id = "s1",
                                .app_name = "app",
                                .user_id = "ann",
                                .invocation_id = "i1",
                                .timestamp_us = US + 12345,
                                .author = "agent",
                                .actions = actions,
                                .actions_size = sizeof actions,
                                .long_running_tool_ids_json = "[\"x\"]",
                                .branch = "a.b",
                                .content = "{\"parts\":[]}",
                                .grounding_metadata = "{}",
                                .custom_metadata = "{\"k\":\"\xc3\xa9\"}",
                                .partial = LL_ADK_FALSE,
                                .turn_complete = LL_ADK_TRUE,
                                .interrupted = LL_ADK_UNSET,
                                .error_code = "E",
                                .error_message = "it's wrong"};
    ll_adk_call call;
    does(conn, ll_adk_append_event(adk, &event, &call), &call);
    t_rows rows = {
        .request = run(conn, ll_adk_get_events(adk, "s1", LL_ADK_ALWAYS, 1, &call), &call)};
    ll_adk_event got;
    T_CHECK(ll_adk_event_of(adk, t_rows_next(&rows), &got) == LL_OK);
    T_SAME_TEXT(got.id, event.id);
    T_SAME_TEXT(got.session_id, event.session_id);
    T_SAME_TEXT(got.invocation_id, event.invocation_id);
    T_EQUAL(got.timestamp_us, ll_adk_rounded_us(event.timestamp_us));
    T_SAME_TEXT(got.author, event.author);
    T_EQUAL(got.actions_size, sizeof actions);
    T_CHECK(memcmp(got.actions, actions, sizeof actions) == 0);
    T_SAME_TEXT(got.long_running_tool_ids_json, event.long_running_tool_ids_json);
    T_SAME_TEXT(got.branch, event.branch);
    T_SAME_TEXT(got.content, event.content);
    T_SAME_TEXT(got.grounding_metadata, event.grounding_metadata);
    T_SAME_TEXT(got.custom_metadata, event.custom_metadata);
    T_CHECK(got.partial == LL_ADK_FALSE && got.turn_complete == LL_ADK_TRUE &&
            got.interrupted == LL_ADK_UNSET);
    T_SAME_TEXT(got.error_code, event.error_code);
    T_SAME_TEXT(got.error_message, event.error_message);
    t_rows_done(&rows);

    /* the least: everything that may be missing is */
    ll_adk_event least = an_event("e2", "s1", US);
    does(conn, ll_adk_append_event(adk, &least, &call), &call);
    T_EQUAL(t_int(conn,
                  "SELECT typeof(actions) = 'blob' AND length(actions) = 0 AND content IS NULL"
                  " AND partial IS NULL AND error_code IS NULL AND branch IS NULL"
                  " FROM adk_events WHERE id = 'e2'"),
            1);

    /* a row that somebody else has made a mess of */
    const ll_value mess[LL_ADK_MOST_VALUES] = {ll_integer(1)};
    T_CHECK(ll_adk_event_of(adk, mess, &got) == LL_EINVAL);
    T_SAME_TEXT(ll_last_error(), "ll_adk_event_of: id is no text");
    ll_adk_free(adk);
    t_close(conn);
}

static void many_are_all_or_none(void **state)
{
    enum {
        COUNT = 5
    };
    t_env *t = *state;
    for (int layout = LL_ADK_COLUMNS; layout <= LL_ADK_DOCUMENT; layout++) {
        ll_conn *conn = t_open_with(t->engine, t_path(t, layout ? "b.db" : "a.db"), &with_keys);
        ll_adk *adk = tables(conn, &(ll_adk_options){.layout = (ll_adk_layout)layout});
        add_session(conn, adk, "s1", "ann", US);
        ll_adk_event events[COUNT];
        static const char *const names[COUNT] = {"a", "b", "c", "d", "e"};
        ll_value values[COUNT * LL_ADK_MOST_VALUES];
        for (size_t i = 0; i < COUNT; i++)
            events[i] = an_event(names[i], "s1", US);
        for (int bad = 1; bad >= 0; bad--) {
            events[3].session_id = bad ? "none" : "s1";
            ll_many many;
            T_CHECK(ll_adk_append_events(adk, events, COUNT, values, &many) == LL_OK);
            ll_request *request = NULL;
            (void)t_end(ll_exec_many(conn, &many, NULL, &request), request);
            t_is(request, bad ? LL_ESQL : LL_OK, bad ? LL_NOT_APPLIED : LL_APPLIED);
            ll_request_unref(request);
            T_EQUAL(t_int(conn, "SELECT count(*) FROM adk_events"), bad ? 0 : COUNT);
            T_CHECK(!t_state(conn).in_transaction);
        }
        ll_adk_call call;
        ids(conn, ll_adk_get_events(adk, "s1", LL_ADK_ALWAYS, LL_ADK_ALL, &call), &call,
            "a b c d e");
        ll_adk_free(adk);
        t_close(conn);
    }
}

/* A call is a statement: it runs on whatever connection a pool has. */
static void through_a_pool(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &with_keys);
    ll_adk *adk = tables(conn, NULL);
    add_session(conn, adk, "s1", "ann", US);
    ll_pool *pool = NULL;
    const ll_pool_options options = {.open = with_keys};
    T_CHECK(ll_pool_new(t->engine, t_path(t, "a.db"), &options, &pool) == LL_OK);
    for (int i = 0; i < 2; i++) {
        ll_adk_call call;
        ll_adk_event event = an_event("e1", i ? "none" : "s1", US);
        ll_request *request = NULL;
        T_CHECK(ll_adk_append_event(adk, &event, &call) == LL_OK);
        (void)t_end(ll_pool_exec(pool, &call.sql, NULL, &request), request);
        t_is(request, i ? LL_ESQL : LL_OK, i ? LL_NOT_APPLIED : LL_APPLIED);
        ll_request_unref(request);
    }
    ll_request *closed = NULL;
    T_CHECK(t_end(ll_pool_close(pool, NULL, &closed), closed) == LL_OK);
    ll_request_unref(closed);
    ll_pool_unref(pool);
    ll_adk_call call;
    ids(conn, ll_adk_get_events(adk, "s1", LL_ADK_ALWAYS, LL_ADK_ALL, &call), &call, "e1");
    ll_adk_free(adk);
    t_close(conn);
}

/* The texts that bindings run: state that is shared by an app or a user. */
static void shared_state(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &with_keys);
    ll_adk *adk = tables(conn, NULL);
    add_session(conn, adk, "s1", "ann", US);
    add_session(conn, adk, "s2", "bob", US + 1000);
    const ll_value key[] = {ll_text("s1"), ll_text("app"), ll_text("ann")};
    t_rows rows = {.request = t_query_with(conn, ll_adk_text(adk, LL_ADK_GET_SCOPED), key, 3)};
    const ll_value *row = t_rows_next(&rows);
    T_CHECK(row[6].type == LL_NULL && row[7].type == LL_NULL);
    t_rows_done(&rows);
    for (int i = 0; i < 2; i++) { /* the second time it is replaced */
        const ll_value app[] = {ll_text("app"), ll_text(i ? "{\"a\":2}" : "{}"), ll_real(1)};
        const ll_value user[] = {ll_text("app"), ll_text("ann"), ll_text(i ? "{\"u\":3}" : "{}"),
                                 ll_real(1)};
        ll_request_unref(t_query_with(conn, ll_adk_text(adk, LL_ADK_SET_APP_STATE), app, 3));
        ll_request_unref(t_query_with(conn, ll_adk_text(adk, LL_ADK_SET_USER_STATE), user, 4));
    }
    rows = (t_rows){
        .request = t_query_with(conn, ll_adk_text(adk, LL_ADK_LIST_SCOPED), key + 1, 1)};
    row = t_rows_next(&rows);
    T_SAME_TEXT(row[0].as.text, "s1");
    T_SAME_TEXT(row[6].as.text, "{\"a\":2}");
    T_SAME_TEXT(row[7].as.text, "{\"u\":3}");
    row = t_rows_next(&rows);
    T_SAME_TEXT(row[0].as.text, "s2");
    T_SAME_TEXT(row[6].as.text, "{\"a\":2}");
    T_CHECK(row[7].type == LL_NULL);
    t_rows_done(&rows);
    /* only the session of this app and user */
    const ll_value wrong[] = {ll_text("s1"), ll_text("app"), ll_text("bob")};
    rows = (t_rows){.request = t_query_with(conn, ll_adk_text(adk, LL_ADK_GET_SCOPED), wrong, 3)};
    T_CHECK(t_rows_next(&rows) == NULL);
    t_rows_done(&rows);
    /* touching: the state stays, or is replaced */
    const ll_value touch[] = {ll_text("s1"), ll_real(2460000.5), ll_null()};
    ll_request_unref(t_query_with(conn, ll_adk_text(adk, LL_ADK_TOUCH_SESSION), touch, 3));
    T_EQUAL(t_int(conn, "SELECT state = '{\"n\":1}' AND update_time = 2460000.5 FROM adk_sessions"
                        " WHERE id = 's1'"),
            1);
    const ll_value change[] = {ll_text("s1"), ll_real(2460001.5), ll_text("[]")};
    ll_request_unref(t_query_with(conn, ll_adk_text(adk, LL_ADK_TOUCH_SESSION), change, 3));
    T_EQUAL(t_int(conn, "SELECT state = '[]' FROM adk_sessions WHERE id = 's1'"), 1);
    ll_adk_free(adk);
    t_close(conn);
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    ll_adk *adk = NULL, *documents = NULL;
    ll_adk_call call;
    T_CHECK(ll_adk_new(NULL, &adk) == LL_OK);
    T_CHECK(ll_adk_new(&(ll_adk_options){.layout = LL_ADK_DOCUMENT}, &documents) == LL_OK);
#define NAMES(call_, words)                  \
    do {                                     \
        T_CHECK((call_) == LL_EINVAL);       \
        T_SAME_TEXT(ll_last_error(), words); \
    } while (0)
    NAMES(ll_adk_get_session(adk, NULL, &call), "ll_adk_get_session: session_id is NULL");
    NAMES(ll_adk_get_session(NULL, "a", &call), "ll_adk_get_session: adk is NULL");
    NAMES(ll_adk_get_session(adk, "a", NULL), "ll_adk_get_session: ret_call is NULL");
    NAMES(ll_adk_list_sessions(adk, NULL, "u", &call), "ll_adk_list_sessions: app_name is NULL");
    NAMES(ll_adk_update_state(adk, "a", NULL, 0, &call), "ll_adk_update_state: state is NULL");
    NAMES(ll_adk_create_session(adk, NULL, &call), "ll_adk_create_session: session is NULL");
    ll_adk_session session = a_session("s", "u", 0);
    session.owner = ll_integer(1);
    NAMES(ll_adk_create_session(adk, &session, &call),
          "ll_adk_create_session: session->owner is given, but the sessions have no column for it "
          "(ll_adk_options.owner_column)");
    ll_adk_event event = an_event("e", "s", 0);
    event.author = NULL;
    NAMES(ll_adk_append_event(adk, &event, &call), "ll_adk_append_event: event->author is NULL");
    T_CHECK(ll_adk_append_event(documents, &event, &call) == LL_OK);
    event.data = NULL;
    NAMES(ll_adk_append_event(documents, &event, &call),
          "ll_adk_append_event: event->data is NULL");
    event = an_event("e", "s", 0);
    event.actions_size = 1;
    NAMES(ll_adk_append_event(adk, &event, &call),
          "ll_adk_append_event: event->actions is NULL, but actions_size is 1");
    ll_many many;
    NAMES(ll_adk_append_events(adk, &event, 1, NULL, &many),
          "ll_adk_append_events: values is NULL, but count is 1");
    T_CHECK(ll_adk_text(adk, LL_ADK_STATEMENTS) == NULL);
    T_CHECK(ll_adk_text(adk, LL_ADK_ADD_OWNER) == NULL && ll_adk_owner_name(adk) == NULL);
    ll_adk_free(adk);
    ll_adk_free(documents);
    ll_adk_free(NULL);
}

static void without_memory(void **state)
{
    (void)state;
    const ll_adk_options options = {.owner_column = "\"a b\" TEXT"};
    for (unsigned long n = 1;; n++) {
        ll_adk *adk = NULL;
        lli_fault_arm(LLI_FAULT_ALLOC, n);
        ll_status status = ll_adk_new(&options, &adk);
        bool fired = lli_fault_fired();
        lli_fault_disarm();
        T_CHECK(status == (fired ? LL_ENOMEM : LL_OK));
        T_CHECK(!adk == fired);
        ll_adk_free(adk);
        if (!fired) {
            T_CHECK(n > 2);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(sessions),
        T_TEST(events_in_their_order),
        T_TEST(all_of_an_event),
        T_TEST(many_are_all_or_none),
        T_TEST(through_a_pool),
        T_TEST(shared_state),
        T_TEST(what_is_missing_is_named),
        T_TEST(without_memory),
    };
    return T_RUN(tests);
}
