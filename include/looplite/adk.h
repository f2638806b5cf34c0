/* adk.h: the sessions and events of agents (Google's Agent Development Kit), in two tables of a database.
 *
 * An ll_adk knows names and layout of the tables and has no connection. Its functions fill an *ll_adk_call* each: one
 * statement with its values, to be run wherever the program wants,
 *
 *     ll_adk_call call;
 *     if (ll_adk_append_event(adk, &event, &call) == LL_OK)
 *         ll_conn_submit(conn, &call.sql, &how, &request);
 *
 * on a connection, or by ll_pool_exec(). Each is one statement, so each is a transaction of its own or part of one that
 * is open; appending an event reads no history. Rows that come back are looked at with ll_adk_session_of() and
 * ll_adk_event_of().
 *
 * Connections must have foreign keys on (ll_open_options.pragmas: "foreign_keys=ON"): deleting a session deletes its
 * events by them, and an event of a session that does not exist is refused by them.
 *
 * Two layouts: LL_ADK_COLUMNS has a column for each part of an event, LL_ADK_DOCUMENT has the whole event as one JSON
 * document, as in the tables that newer SQLSpec makes. JSON is text, and is stored and given as it is.
 *
 * Times are microseconds since 1970 (UTC). Tables hold them as Julian days, a REAL that has a step of 40 microseconds
 * in our time: ll_adk_rounded_us() gives the time that comes back. What was read once does not change any more. */
#ifndef LOOPLITE_ADK_H
#define LOOPLITE_ADK_H

#include <looplite/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Names and layout of the tables, and the statements for them. Immutable. */
typedef struct ll_adk ll_adk;

/* How an event lies in its table. */
typedef enum ll_adk_layout {
    LL_ADK_COLUMNS = 0, /* a column for each part of an event */
    LL_ADK_DOCUMENT = 1 /* an event is one JSON document */
} ll_adk_layout;

/* Zero-initialise; every zero means "the default". Table names may be any text; they are quoted. */
typedef struct ll_adk_options {
    const char *session_table;   /* NULL: adk_sessions */
    const char *events_table;    /* NULL: adk_events */
    const char *app_state_table; /* NULL: adk_app_states. State that all sessions of an app share */
    const char
        *user_state_table;    /* NULL: adk_user_states. ... that all of a user of an app share */
    const char *owner_column; /* NULL, or one more column of the sessions, as CREATE TABLE has it:
                                     "account_id INTEGER NOT NULL REFERENCES account(id)" */
    ll_adk_layout layout;
} ll_adk_options;

/* The statements, for programs that run them with other means (bindings). Parameters in their order; rows of sessions
 * and of events have the columns that ll_adk_session_of() and ll_adk_event_of() read; times are Julian days. */
typedef enum ll_adk_statement {
    LL_ADK_FIND_LAYOUT =
        0, /* (): one row: the layout of the table of events, an ll_adk_layout (2: documents without
                                  app and user, which SQLSpec made for some time and which is none of ours; NULL: no
                                  such table), and whether that of the sessions has the owner's column (1, 0; NULL: no
                                  such table, or no owner's column is wanted) */
    LL_ADK_ADD_OWNER = 1, /* (): adds the owner's column to the sessions; NULL without one */
    LL_ADK_CREATE_SESSION =
        2, /* id, app, user, state, created, updated and, with an owner's column, the owner */
    LL_ADK_GET_SESSION = 3,        /* id */
    LL_ADK_UPDATE_STATE = 4,       /* id, state, updated */
    LL_ADK_LIST_SESSIONS = 5,      /* app: newest update first */
    LL_ADK_LIST_USER_SESSIONS = 6, /* app, user */
    LL_ADK_DELETE_SESSION = 7,     /* id */
    LL_ADK_APPEND_EVENT = 8,       /* the columns of an event, in the order of ll_adk_event_of() */
    LL_ADK_GET_EVENTS = 9,         /* session, later than, at most (-1: all): oldest first */
    LL_ADK_RECENT_EVENTS = 10,     /* session, not before, at most: the newest, newest first */
    LL_ADK_LAST_EVENT = 11,        /* session: the id of the newest event */
    /* rows of a session with the state of its app and of its user behind it, each NULL if there is none */
    LL_ADK_GET_SCOPED = 12,       /* id, app, user */
    LL_ADK_LIST_SCOPED = 13,      /* app: oldest update first */
    LL_ADK_LIST_USER_SCOPED = 14, /* app, user */
    LL_ADK_TOUCH_SESSION = 15,    /* id, updated, state or NULL: as it is */
    LL_ADK_GET_APP_STATE = 16,    /* app */
    LL_ADK_SET_APP_STATE = 17,    /* app, state, updated */
    LL_ADK_GET_USER_STATE = 18,   /* app, user */
    LL_ADK_SET_USER_STATE = 19,   /* app, user, state, updated */
    /* as LL_ADK_UPDATE_STATE and LL_ADK_DELETE_SESSION, if the session is theirs */
    LL_ADK_UPDATE_USER_STATE = 20,   /* id, state, updated, app, user */
    LL_ADK_DELETE_USER_SESSION = 21, /* id, app, user */
    LL_ADK_STATEMENTS = 22           /* how many there are */
} ll_adk_statement;

/* A truth value that may be missing. */
typedef enum ll_adk_flag {
    LL_ADK_UNSET = 0,
    LL_ADK_FALSE = 1,
    LL_ADK_TRUE = 2
} ll_adk_flag;

/* A session without its events. NULL: SQL's NULL. */
typedef struct ll_adk_session {
    const char *id, *app_name, *user_id;
    const char *state; /* JSON; NULL when it is created: {} */
    int64_t create_time_us, update_time_us;
    ll_value owner; /* creating only, and only with an owner's column */
} ll_adk_session;

/* An event. NULL: SQL's NULL, where the table allows it. */
typedef struct ll_adk_event {
    const char *id, *session_id, *app_name, *user_id, *invocation_id;
    int64_t timestamp_us;
    /* LL_ADK_DOCUMENT */
    const char *data; /* JSON */
    /* LL_ADK_COLUMNS */
    const char *author;
    const void *actions; /* bytes as they are; NULL: none */
    size_t actions_size;
    const char *long_running_tool_ids_json, *branch;
    const char *content, *grounding_metadata, *custom_metadata; /* JSON */
    ll_adk_flag partial, turn_complete, interrupted;
    const char *error_code, *error_message;
} ll_adk_event;

enum {
    LL_ADK_MOST_VALUES = 18 /* of one statement */
};

/* One statement with its values. `sql` points into it, so it is not to be copied, and into what it was filled with,
 * which has to stay until the statement was submitted (with LL_SUBMIT_BORROW: until it has finished). */
typedef struct ll_adk_call {
    ll_sql sql;
    ll_value values[LL_ADK_MOST_VALUES];
} ll_adk_call;

#define LL_ADK_ALWAYS INT64_MIN /* of a time after which events are wanted: all */
#define LL_ADK_ALL    SIZE_MAX  /* of how many are wanted at most */

/* Makes the statements for these tables.
 * Thread: any. Owns: the caller frees it with ll_adk_free(); the options are copied. Errors: LL_EINVAL (an empty name, two
 * tables of one name, an owner_column that is not one column), LL_ENOMEM. After fork: works. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_adk_new(const ll_adk_options *options, ll_adk **ret_adk);

/* Frees it. Calls that were filled by it may not be submitted any more.
 * Thread: any. Owns: takes it; NULL is fine. Errors: none. Since: 0.1 */
LL_API void ll_adk_free(ll_adk *adk);

/* What creates the tables and indexes that do not exist: for ll_script().
 * Thread: any. Owns: lives as long as `adk`. Errors: NULL for NULL. Since: 0.1 */
LL_API const char *ll_adk_schema(const ll_adk *adk);

/* The text of one statement.
 * Thread: any. Owns: lives as long as `adk`. Errors: NULL for what there is not. Since: 0.1 */
LL_API const char *ll_adk_text(const ll_adk *adk, ll_adk_statement statement);

/* The name of the owner's column, unquoted.
 * Thread: any. Owns: lives as long as `adk`. Errors: NULL without one. Since: 0.1 */
LL_API const char *ll_adk_owner_name(const ll_adk *adk);

/* The layout it was made for.
 * Thread: any. Owns: nothing. Errors: LL_ADK_COLUMNS for NULL. Since: 0.1 */
LL_API ll_adk_layout ll_adk_get_layout(const ll_adk *adk);

/* Fills a call that creates a session. An id that exists: SQLITE_CONSTRAINT_PRIMARYKEY.
 * Thread: any. Owns: nothing; see ll_adk_call. Errors: LL_EINVAL (NULL, a time that no table can hold). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_adk_create_session(const ll_adk *adk,
                                                    const ll_adk_session *session,
                                                    ll_adk_call *ret_call);

/* Fills a call that reads one session: one row or none.
 * Thread: any. Owns: nothing. Errors: LL_EINVAL. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_adk_get_session(const ll_adk *adk, const char *session_id,
                                                 ll_adk_call *ret_call);

/* Fills a call that replaces the state of a session. No such session: no row changes.
 * Thread: any. Owns: nothing. Errors: LL_EINVAL. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_adk_update_state(const ll_adk *adk, const char *session_id,
                                                  const char *state, int64_t now_us,
                                                  ll_adk_call *ret_call);

/* Fills a call that lists the sessions of an app, newest update first; user_id NULL: of all its users.
 * Thread: any. Owns: nothing. Errors: LL_EINVAL. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_adk_list_sessions(const ll_adk *adk, const char *app_name,
                                                   const char *user_id, ll_adk_call *ret_call);

/* Fills a call that deletes a session and, by the foreign key, its events.
 * Thread: any. Owns: nothing. Errors: LL_EINVAL. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_adk_delete_session(const ll_adk *adk, const char *session_id,
                                                    ll_adk_call *ret_call);

/* Fills a call that appends an event. It does not touch the session's row.
 * Thread: any. Owns: nothing. Errors: LL_EINVAL (NULL where the table wants a value: the message names it). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_adk_append_event(const ll_adk *adk, const ll_adk_event *event,
                                                  ll_adk_call *ret_call);

/* Fills what appends many, for ll_exec_many(): all or none. `values` is room for count * LL_ADK_MOST_VALUES.
 * Thread: any. Owns: `values` is the caller's; ret_many points to it. Errors: as ll_adk_append_event(). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_adk_append_events(const ll_adk *adk, const ll_adk_event *events,
                                                   size_t count, ll_value *values,
                                                   ll_many *ret_many);

/* Fills a call that reads events of a session, oldest first: those later than after_us (LL_ADK_ALWAYS), and of
 * these the oldest `limit` (LL_ADK_ALL).
 * Thread: any. Owns: nothing. Errors: LL_EINVAL. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_adk_get_events(const ll_adk *adk, const char *session_id,
                                                int64_t after_us, size_t limit,
                                                ll_adk_call *ret_call);

/* The same for the newest `limit` that are not before from_us, newest first.
 * Thread: any. Owns: nothing. Errors: LL_EINVAL. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_adk_recent_events(const ll_adk *adk, const char *session_id,
                                                   int64_t from_us, size_t limit,
                                                   ll_adk_call *ret_call);

/* Looks at a row of a session: id, app, user, state, created, updated.
 * Thread: any. Owns: the texts live as long as the row. Errors: LL_EINVAL (a value has the wrong type). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_adk_session_of(const ll_value *row, ll_adk_session *ret_session);

/* Looks at a row of an event: id, session, app, user, invocation, timestamp, then event_data, or: author, actions,
 * long_running_tool_ids_json, branch, content, grounding_metadata, custom_metadata, partial, turn_complete,
 * interrupted, error_code, error_message.
 * Thread: any. Owns: the texts live as long as the row. Errors: LL_EINVAL (a value has the wrong type). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_adk_event_of(const ll_adk *adk, const ll_value *row,
                                              ll_adk_event *ret_event);

/* A time as a Julian day.
 * Thread: any. Owns: nothing. Errors: none. Since: 0.1 */
LL_API double ll_adk_julian(int64_t us);

/* A Julian day as a time, to the microsecond; ll_adk_julian() of it is that Julian day again, for the years 1 to 9999.
 * Thread: any. Owns: nothing. Errors: INT64_MIN or INT64_MAX for what is out of range, 0 for what is no number. Since: 0.1 */
LL_API int64_t ll_adk_time_us(double julian);

/* What a time is after it was stored and read.
 * Thread: any. Owns: nothing. Errors: none. Since: 0.1 */
LL_API int64_t ll_adk_rounded_us(int64_t us);

/* The update time of a session that is changed now, at `us`, and was `before` (a Julian day): later than before by
 * one step at least, so that each change can be told from the last one by its time.
 * Thread: any. Owns: nothing. Errors: none. Since: 0.1 */
LL_API double ll_adk_next_julian(double before, int64_t us);

#ifdef __cplusplus
}
#endif
#endif
