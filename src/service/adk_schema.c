/* adk_schema.c: names, tables and statements of the ADK store.
 *
 * All texts are made once, when an ll_adk is made, from templates in which `$x` stands for a name (enum part). Names come
 * from configurations, so none goes into a text but quoted; of the owner's column, which is a piece of CREATE TABLE, it is
 * checked that it is one column and not the end of the statement and the beginning of another one.
 *
 * Events are ordered by their time and, where times are the same, by rowid: the order in which they were appended. An
 * index ends with the rowid, so this costs no sorting.
 *
 * The index of the document layout begins with app and user in what SQLSpec made. The session has them: the statements ask
 * for them by subqueries, else each would look at all events of all sessions. What we make has the same columns under the same
 * name, but begins with the session, so that the foreign key of a session that is deleted finds its events, too; in
 * SQLSpec's databases a deletion looks at all events of all sessions. They stay as they are.
 *
 * Julian days. A double has steps of 2^-31 day there, 40 us. From microseconds to the nearest step and back to the
 * nearest microsecond: that is off by half a microsecond at most, so the way there finds the same step again. The
 * subtraction of the epoch is exact, and days and fraction are handled apart, for their product with 86 400 000 000 would
 * not be. */
#include "service/adk.h"

#include "base/alloc.h"

#include <string.h>

/* ---- names ------------------------------------------------------------------------------------- */

enum part {
    PART_SESSIONS,    /* $s: the four tables, as identifiers */
    PART_EVENTS,      /* $e */
    PART_APP_STATES,  /* $a */
    PART_USER_STATES, /* $u */
    PART_SESSIONS_T,  /* $S: as texts */
    PART_EVENTS_T,    /* $E */
    PART_APP_USER,    /* $1: the indexes, as identifiers */
    PART_UPDATE_TIME, /* $2 */
    PART_SESSION,     /* $3 */
    PART_INVOCATION,  /* $4 */
    PART_TIMESTAMP,   /* $5 */
    PART_APP_TIME,    /* $6 */
    PART_OWNER,       /* $o: the owner's column: its definition, or nothing */
    PART_OWNER_T,     /* $O: ... its name, as a text */
    PART_OWNER_NAME,  /* $c: ... ", name", or nothing */
    PART_OWNER_VALUE, /* $v: ... ", ?7", or nothing */
    PART_OWNER_ALONE, /* $A: ... its definition without the comma, or nothing */
    PARTS
};

static const char part_letters[] = "seauSE123456oOcvA";

static_assert(sizeof part_letters == PARTS + 1, "a letter for each part");

/* ---- templates --------------------------------------------------------------------------------- */

static const char sessions_schema[] = "CREATE TABLE IF NOT EXISTS $s(\n"
                                      "    id TEXT PRIMARY KEY,\n"
                                      "    app_name TEXT NOT NULL,\n"
                                      "    user_id TEXT NOT NULL,$o\n"
                                      "    state TEXT NOT NULL DEFAULT '{}',\n"
                                      "    create_time REAL NOT NULL,\n"
                                      "    update_time REAL NOT NULL);\n"
                                      "CREATE INDEX IF NOT EXISTS $1 ON $s(app_name, user_id);\n"
                                      "CREATE INDEX IF NOT EXISTS $2 ON $s(update_time DESC);\n"
                                      "CREATE TABLE IF NOT EXISTS $a(\n"
                                      "    app_name TEXT PRIMARY KEY,\n"
                                      "    state TEXT NOT NULL DEFAULT '{}',\n"
                                      "    update_time REAL NOT NULL);\n"
                                      "CREATE TABLE IF NOT EXISTS $u(\n"
                                      "    app_name TEXT NOT NULL,\n"
                                      "    user_id TEXT NOT NULL,\n"
                                      "    state TEXT NOT NULL DEFAULT '{}',\n"
                                      "    update_time REAL NOT NULL,\n"
                                      "    PRIMARY KEY(app_name, user_id));\n";

static const char columns_schema[] =
    "CREATE TABLE IF NOT EXISTS $e(\n"
    "    id TEXT PRIMARY KEY,\n"
    "    session_id TEXT NOT NULL REFERENCES $s(id) ON DELETE CASCADE,\n"
    "    app_name TEXT NOT NULL,\n"
    "    user_id TEXT NOT NULL,\n"
    "    invocation_id TEXT NOT NULL,\n"
    "    author TEXT NOT NULL,\n"
    "    actions BLOB NOT NULL,\n"
    "    long_running_tool_ids_json TEXT,\n"
    "    branch TEXT,\n"
    "    timestamp REAL NOT NULL,\n"
    "    content TEXT,\n"
    "    grounding_metadata TEXT,\n"
    "    custom_metadata TEXT,\n"
    "    partial INTEGER,\n"
    "    turn_complete INTEGER,\n"
    "    interrupted INTEGER,\n"
    "    error_code TEXT,\n"
    "    error_message TEXT);\n"
    "CREATE INDEX IF NOT EXISTS $3 ON $e(session_id, timestamp ASC);\n";

static const char document_schema[] =
    "CREATE TABLE IF NOT EXISTS $e(\n"
    "    id TEXT PRIMARY KEY,\n"
    "    app_name TEXT NOT NULL,\n"
    "    user_id TEXT NOT NULL,\n"
    "    session_id TEXT NOT NULL REFERENCES $s(id) ON DELETE CASCADE,\n"
    "    invocation_id TEXT,\n"
    "    timestamp REAL NOT NULL,\n"
    "    event_data TEXT NOT NULL);\n"
    "CREATE INDEX IF NOT EXISTS $3 ON $e(session_id, app_name, user_id, timestamp ASC);\n"
    "CREATE INDEX IF NOT EXISTS $4 ON $e(invocation_id);\n"
    "CREATE INDEX IF NOT EXISTS $5 ON $e(timestamp ASC);\n"
    "CREATE INDEX IF NOT EXISTS $6 ON $e(app_name, timestamp ASC);\n";

#define SESSION "id, app_name, user_id, state, create_time, update_time"
#define EVENT   "id, session_id, app_name, user_id, invocation_id, timestamp, "
#define COLUMNS                                                                        \
    EVENT "author, actions, long_running_tool_ids_json, branch, content, "             \
          "grounding_metadata, custom_metadata, partial, turn_complete, interrupted, " \
          "error_code, error_message"
#define DOCUMENT EVENT "event_data"

/* The events of session ?1. */
#define OF_SESSION "WHERE session_id = ?1"
#define OF_SESSION_IN_DOCUMENTS                                \
    "WHERE app_name = (SELECT app_name FROM $s WHERE id = ?1)" \
    " AND user_id = (SELECT user_id FROM $s WHERE id = ?1) AND session_id = ?1"
#define OLDEST_FIRST " AND timestamp > ?2 ORDER BY timestamp, rowid LIMIT ?3"
#define NEWEST_FIRST " AND timestamp >= ?2 ORDER BY timestamp DESC, rowid DESC LIMIT ?3"
#define LAST         " ORDER BY timestamp DESC, rowid DESC LIMIT 1"

/* The state of app and user of a row of the sessions. */
#define SCOPED                                                       \
    SESSION                                                          \
    ", (SELECT a.state FROM $a AS a WHERE a.app_name = s.app_name)," \
    " (SELECT u.state FROM $u AS u WHERE u.app_name = s.app_name AND u.user_id = s.user_id)"

static const char *const templates[LL_ADK_STATEMENTS] = {
    [LL_ADK_FIND_LAYOUT] = "SELECT (SELECT sum(name = 'event_data') * (2 - sum(name = 'app_name'))"
                           " FROM pragma_table_info($E)),"
                           " (SELECT max(name = $O COLLATE NOCASE) FROM pragma_table_info($S))",
    [LL_ADK_CREATE_SESSION] = "INSERT INTO $s(" SESSION "$c) VALUES(?1, ?2, ?3, ?4, ?5, ?6$v)",
    [LL_ADK_GET_SESSION] = "SELECT " SESSION " FROM $s WHERE id = ?1",
    [LL_ADK_UPDATE_STATE] = "UPDATE $s SET state = ?2, update_time = ?3 WHERE id = ?1",
    [LL_ADK_LIST_SESSIONS] = "SELECT " SESSION " FROM $s WHERE app_name = ?1"
                             " ORDER BY update_time DESC, rowid DESC",
    [LL_ADK_LIST_USER_SESSIONS] = "SELECT " SESSION " FROM $s WHERE app_name = ?1 AND user_id = ?2"
                                  " ORDER BY update_time DESC, rowid DESC",
    [LL_ADK_DELETE_SESSION] = "DELETE FROM $s WHERE id = ?1",
    [LL_ADK_APPEND_EVENT] = "INSERT INTO $e(" COLUMNS ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,"
                            " ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    [LL_ADK_GET_EVENTS] = "SELECT " COLUMNS " FROM $e " OF_SESSION OLDEST_FIRST,
    [LL_ADK_RECENT_EVENTS] = "SELECT " COLUMNS " FROM $e " OF_SESSION NEWEST_FIRST,
    [LL_ADK_LAST_EVENT] = "SELECT id FROM $e " OF_SESSION LAST,
    [LL_ADK_GET_SCOPED] = "SELECT " SCOPED " FROM $s AS s"
                          " WHERE id = ?1 AND app_name = ?2 AND user_id = ?3",
    [LL_ADK_LIST_SCOPED] = "SELECT " SCOPED " FROM $s AS s WHERE app_name = ?1"
                           " ORDER BY update_time, user_id, id",
    [LL_ADK_LIST_USER_SCOPED] = "SELECT " SCOPED " FROM $s AS s WHERE app_name = ?1"
                                " AND user_id = ?2 ORDER BY update_time, id",
    [LL_ADK_TOUCH_SESSION] = "UPDATE $s SET update_time = ?2, state = coalesce(?3, state)"
                             " WHERE id = ?1",
    [LL_ADK_GET_APP_STATE] = "SELECT state FROM $a WHERE app_name = ?1",
    [LL_ADK_SET_APP_STATE] = "INSERT INTO $a(app_name, state, update_time) VALUES(?1, ?2, ?3)"
                             " ON CONFLICT(app_name) DO UPDATE SET state = excluded.state,"
                             " update_time = excluded.update_time",
    [LL_ADK_GET_USER_STATE] = "SELECT state FROM $u WHERE app_name = ?1 AND user_id = ?2",
    [LL_ADK_SET_USER_STATE] = "INSERT INTO $u(app_name, user_id, state, update_time)"
                              " VALUES(?1, ?2, ?3, ?4)"
                              " ON CONFLICT(app_name, user_id) DO UPDATE SET"
                              " state = excluded.state, update_time = excluded.update_time",
    [LL_ADK_UPDATE_USER_STATE] = "UPDATE $s SET state = ?2, update_time = ?3"
                                 " WHERE id = ?1 AND app_name = ?4 AND user_id = ?5",
    [LL_ADK_DELETE_USER_SESSION] = "DELETE FROM $s"
                                   " WHERE id = ?1 AND app_name = ?2 AND user_id = ?3",
};

/* What the document layout has instead. */
static const char *const document_templates[LL_ADK_STATEMENTS] = {
    [LL_ADK_APPEND_EVENT] = "INSERT INTO $e(" DOCUMENT ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [LL_ADK_GET_EVENTS] = "SELECT " DOCUMENT " FROM $e " OF_SESSION_IN_DOCUMENTS OLDEST_FIRST,
    [LL_ADK_RECENT_EVENTS] = "SELECT " DOCUMENT " FROM $e " OF_SESSION_IN_DOCUMENTS NEWEST_FIRST,
    [LL_ADK_LAST_EVENT] = "SELECT id FROM $e " OF_SESSION_IN_DOCUMENTS LAST,
};

static const char add_owner_template[] = "ALTER TABLE $s ADD COLUMN $A";

/* ---- texts ------------------------------------------------------------------------------------- */

/* Copies a template with its parts in their places into `to`, or only counts if that is NULL. The size without NUL. */
static size_t expand_into(char *to, const char *template, const char *const *parts)
{
    size_t size = 0;
    for (const char *at = template; *at; at++) {
        const char *piece = at;
        size_t length = 1;
        if (*at == '$') {
            at++;
            piece = parts[strchr(part_letters, *at) - part_letters];
            length = strlen(piece);
        }
        if (to)
            memcpy(to + size, piece, length);
        size += length;
    }
    return size;
}

static const char *expand(struct lli_arena *arena, const char *template, const char *const *parts)
{
    size_t size = expand_into(NULL, template, parts);
    char *text = lli_arena_take(arena, size + 1);
    if (text) {
        expand_into(text, template, parts);
        text[size] = '\0';
    }
    return text;
}

/* before + name + after between quotation marks `mark`, doubled inside; NULL without memory. */
static const char *quote(struct lli_arena *arena, char mark, const char *before, const char *name,
                         const char *after)
{
    const char *const pieces[] = {before, name, after};
    size_t size = 3;
    for (size_t i = 0; i < LLI_COUNT(pieces); i++)
        for (const char *at = pieces[i]; *at; at++)
            size += *at == mark ? 2 : 1;
    char *text = lli_arena_take(arena, size), *to = text;
    if (!text)
        return NULL;
    *to++ = mark;
    for (size_t i = 0; i < LLI_COUNT(pieces); i++)
        for (const char *at = pieces[i]; *at; at++) {
            if (*at == mark)
                *to++ = mark;
            *to++ = *at;
        }
    *to++ = mark;
    *to = '\0';
    return text;
}

/* ---- the owner's column ------------------------------------------------------------------------ */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* Behind a quoted piece that begins at `at`; NULL if it does not end. */
static const char *skip_quoted(const char *at)
{
    char mark = *at == '[' ? ']' : *at;
    for (at++; *at; at++)
        if (*at == mark) {
            if (mark == ']' || at[1] != mark)
                return at + 1;
            at++;
        }
    return NULL;
}

/* Looks whether the rest of a definition of a column is no more than that. NULL: it is; else what is wrong. */
static const char *find_fault(const char *at)
{
    size_t depth = 0;
    while (*at) {
        if (strchr("'\"`[", *at)) {
            at = skip_quoted(at);
            if (!at)
                return "a quotation mark is not closed";
            continue;
        }
        if (*at == ';')
            return "it has a semicolon";
        if ((at[0] == '-' && at[1] == '-') || (at[0] == '/' && at[1] == '*'))
            return "it has a comment";
        if (*at == ',' && depth == 0)
            return "it is more than one column";
        if (*at == ')' && depth-- == 0)
            return "a parenthesis is not open";
        depth += *at == '(';
        at++;
    }
    return depth > 0 ? "a parenthesis is not closed" : NULL;
}

/* Finds the name of the column and what stands behind it. Errors: LL_EINVAL, LL_ENOMEM. */
static ll_status split_owner(struct lli_arena *arena, const char *text, const char **ret_name,
                             const char **ret_rest)
{
    static const char what[] = "ll_adk_new: options->owner_column";
    while (is_space(*text))
        text++;
    const char *end = text;
    char *name = NULL;
    if (*text && strchr("\"`[", *text)) {
        end = skip_quoted(text);
        if (!end)
            return lli_refuse(LL_EINVAL, "%s: a quotation mark is not closed", what);
        name = lli_arena_copy(arena, text + 1, (size_t)(end - text) - 2);
        if (!name)
            return lli_refuse(LL_ENOMEM, "ll_adk_new: out of memory");
        char *to = name;
        for (const char *at = name; *at; at++) {
            *to++ = *at;
            at += *text != '[' && *at == *text; /* doubled inside */
        }
        *to = '\0';
    } else {
        while (is_name(*end))
            end++;
        name = lli_arena_copy(arena, text, (size_t)(end - text));
        if (!name)
            return lli_refuse(LL_ENOMEM, "ll_adk_new: out of memory");
    }
    if (!*name || (*end && !is_space(*end)))
        return lli_refuse(LL_EINVAL, "%s: \"%s\" does not begin with the name of a column", what,
                          text);
    const char *fault = find_fault(end);
    if (fault)
        return lli_refuse(LL_EINVAL, "%s: %s: \"%s\"", what, fault, text);
    *ret_name = name;
    *ret_rest = end;
    return LL_OK;
}

/* ---- making one -------------------------------------------------------------------------------- */

static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        char x = *a, y = *b;
        x = x >= 'A' && x <= 'Z' ? (char)(x + 32) : x;
        y = y >= 'A' && y <= 'Z' ? (char)(y + 32) : y;
        if (x != y)
            return false;
    }
    return *a == *b;
}

static ll_status check_tables(const char *const *names)
{
    static const char *const fields[] = {"session_table", "events_table", "app_state_table",
                                         "user_state_table"};
    for (size_t i = 0; i < LLI_COUNT(fields); i++) {
        if (!names[i][0])
            return lli_refuse(LL_EINVAL, "ll_adk_new: options->%s is empty", fields[i]);
        for (size_t k = 0; k < i; k++)
            if (same_name(names[i], names[k]))
                return lli_refuse(LL_EINVAL,
                                  "ll_adk_new: options->%s and options->%s are both "
                                  "\"%s\"",
                                  fields[k], fields[i], names[i]);
    }
    return LL_OK;
}

/* The pieces that templates are filled with. Errors: LL_ENOMEM without a word. */
static ll_status make_parts(ll_adk *adk, const char *const *names, const char *owner_rest,
                            const char **parts)
{
    struct lli_arena *arena = &adk->arena;
    static const char *const endings[] = {"_app_user",   "_update_time", "_session",
                                          "_invocation", "_timestamp",   "_app_timestamp"};
    for (size_t i = 0; i < 4; i++)
        parts[PART_SESSIONS + i] = quote(arena, '"', "", names[i], "");
    parts[PART_SESSIONS_T] = quote(arena, '\'', "", names[0], "");
    parts[PART_EVENTS_T] = quote(arena, '\'', "", names[1], "");
    for (size_t i = 0; i < LLI_COUNT(endings); i++)
        parts[PART_APP_USER + i] = quote(arena, '"', "idx_", names[i < 2 ? 0 : 1], endings[i]);
    parts[PART_OWNER] = parts[PART_OWNER_NAME] = parts[PART_OWNER_VALUE] = "";
    parts[PART_OWNER_ALONE] = "";
    parts[PART_OWNER_T] = "NULL";
    if (adk->owner_name) {
        const char *name = quote(arena, '"', "", adk->owner_name, "");
        size_t size = name ? strlen(name) : 0, rest = strlen(owner_rest);
        char *column = lli_arena_take(arena, 7 + size + rest); /* "\n    " name rest "," */
        char *comma = lli_arena_take(arena, 3 + size);
        parts[PART_OWNER_T] = quote(arena, '\'', "", adk->owner_name, "");
        if (!name || !column || !comma)
            return LL_ENOMEM;
        memcpy(column, "\n    ", 5);
        memcpy(column + 5, name, size);
        memcpy(column + 5 + size, owner_rest, rest);
        memcpy(column + 5 + size + rest, ",", 2);
        memcpy(comma, ", ", 2);
        memcpy(comma + 2, name, size + 1);
        parts[PART_OWNER] = column;
        parts[PART_OWNER_NAME] = comma;
        parts[PART_OWNER_VALUE] = ", ?7";
        parts[PART_OWNER_ALONE] = lli_arena_copy(arena, column + 5, size + rest);
    }
    for (size_t i = 0; i < PARTS; i++)
        if (!parts[i])
            return LL_ENOMEM;
    return LL_OK;
}

/* All texts. Errors: LL_ENOMEM without a word. */
static ll_status make_texts(ll_adk *adk, const char *const *parts)
{
    const char *sessions = expand(&adk->arena, sessions_schema, parts);
    const char *events = expand(
        &adk->arena, adk->layout == LL_ADK_DOCUMENT ? document_schema : columns_schema, parts);
    if (!sessions || !events)
        return LL_ENOMEM;
    size_t size = strlen(sessions);
    char *schema = lli_arena_take(&adk->arena, size + strlen(events) + 1);
    if (!schema)
        return LL_ENOMEM;
    memcpy(schema, sessions, size);
    strcpy(schema + size, events);
    adk->schema = schema;
    for (size_t i = 0; i < LL_ADK_STATEMENTS; i++) {
        const char *template = templates[i];
        if (adk->layout == LL_ADK_DOCUMENT && document_templates[i])
            template = document_templates[i];
        if (i == LL_ADK_ADD_OWNER && adk->owner_name)
            template = add_owner_template;
        if (!template)
            continue;
        adk->texts[i] = expand(&adk->arena, template, parts);
        if (!adk->texts[i])
            return LL_ENOMEM;
        adk->sizes[i] = strlen(adk->texts[i]);
    }
    return LL_OK;
}

ll_status ll_adk_new(const ll_adk_options *options, ll_adk **ret_adk)
{
    static const ll_adk_options defaults;
    if (!ret_adk)
        return lli_refuse(LL_EINVAL, "ll_adk_new: ret_adk is NULL");
    if (!options)
        options = &defaults;
    if (options->layout != LL_ADK_COLUMNS && options->layout != LL_ADK_DOCUMENT)
        return lli_refuse(LL_EINVAL, "ll_adk_new: options->layout is %d", (int)options->layout);
    const char *const names[] = {
        options->session_table ? options->session_table : "adk_sessions",
        options->events_table ? options->events_table : "adk_events",
        options->app_state_table ? options->app_state_table : "adk_app_states",
        options->user_state_table ? options->user_state_table : "adk_user_states",
    };
    LL_TRY(check_tables(names));
    ll_adk *adk = lli_new(sizeof *adk);
    if (!adk)
        return lli_refuse(LL_ENOMEM, "ll_adk_new: out of memory");
    lli_live(+1);
    adk->layout = options->layout;
    const char *rest = NULL, *parts[PARTS];
    ll_status status = LL_OK;
    if (options->owner_column)
        status = split_owner(&adk->arena, options->owner_column, &adk->owner_name, &rest);
    if (status == LL_OK) {
        status = make_parts(adk, names, rest, parts);
        if (status == LL_OK)
            status = make_texts(adk, parts);
        if (status != LL_OK)
            (void)lli_refuse(status, "ll_adk_new: out of memory");
    }
    if (status != LL_OK) {
        ll_adk_free(adk);
        return status;
    }
    *ret_adk = adk;
    return LL_OK;
}

void ll_adk_free(ll_adk *adk)
{
    if (!adk)
        return;
    lli_arena_done(&adk->arena);
    lli_free(adk);
    lli_live(-1);
}

const char *ll_adk_schema(const ll_adk *adk)
{
    return adk ? adk->schema : NULL;
}

const char *ll_adk_text(const ll_adk *adk, ll_adk_statement statement)
{
    return adk && (unsigned)statement < LL_ADK_STATEMENTS ? adk->texts[statement] : NULL;
}

const char *ll_adk_owner_name(const ll_adk *adk)
{
    return adk ? adk->owner_name : NULL;
}

ll_adk_layout ll_adk_get_layout(const ll_adk *adk)
{
    return adk ? adk->layout : LL_ADK_COLUMNS;
}

/* ---- filling calls, looking at rows ------------------------------------------------------------ */

ll_status lli_adk_begin(const ll_adk *adk, ll_adk_statement statement, ll_adk_call *call,
                        const char *caller)
{
    if (!adk)
        return lli_refuse(LL_EINVAL, "%s: adk is NULL", caller);
    if (!call)
        return lli_refuse(LL_EINVAL, "%s: ret_call is NULL", caller);
    memset(&call->sql, 0, sizeof call->sql);
    call->sql.text = adk->texts[statement];
    call->sql.size = adk->sizes[statement];
    call->sql.params.values = call->values;
    return LL_OK;
}

ll_status lli_adk_may(const char *text, const char *caller, const char *name, ll_value *ret_value)
{
    *ret_value = ll_null();
    if (!text)
        return LL_OK;
    size_t size = strlen(text);
    if (size > UINT32_MAX)
        return lli_refuse(LL_EINVAL, "%s: %s has %zu bytes", caller, name, size);
    *ret_value = ll_text_n(text, (uint32_t)size);
    return LL_OK;
}

ll_status lli_adk_need(const char *text, const char *caller, const char *name, ll_value *ret_value)
{
    if (!text)
        return lli_refuse(LL_EINVAL, "%s: %s is NULL", caller, name);
    return lli_adk_may(text, caller, name, ret_value);
}

ll_status lli_adk_text_of(const ll_value *value, const char *caller, const char *name,
                          const char **ret_text)
{
    if (value->type != LL_NULL && value->type != LL_TEXT)
        return lli_refuse(LL_EINVAL, "%s: %s is no text", caller, name);
    *ret_text = value->type == LL_TEXT ? value->as.text : NULL;
    return LL_OK;
}

ll_status lli_adk_time_of(const ll_value *value, const char *caller, const char *name,
                          int64_t *ret_us)
{
    if (value->type == LL_FLOAT)
        *ret_us = ll_adk_time_us(value->as.real);
    else if (value->type == LL_INTEGER) /* a table without types */
        *ret_us = ll_adk_time_us((double)value->as.integer);
    else
        return lli_refuse(LL_EINVAL, "%s: %s is no number", caller, name);
    return LL_OK;
}

/* ---- times ------------------------------------------------------------------------------------- */

#define DAY_US INT64_C(86400000000)
#define EPOCH  2440587.5 /* 1970-01-01 00:00 UTC */

double ll_adk_julian(int64_t us)
{
    int64_t days = us / DAY_US, rest = us % DAY_US;
    if (rest < 0) {
        days--;
        rest += DAY_US;
    }
    return ((double)days + EPOCH) + (double)rest / (double)DAY_US;
}

int64_t ll_adk_time_us(double julian)
{
    double since = julian - EPOCH;
    if (since != since)
        return 0;
    if (since >= 1e8 || since <= -1e8) /* 270 000 years: no int64_t holds it */
        return since > 0 ? INT64_MAX : INT64_MIN;
    int64_t days = (int64_t)since;
    if ((double)days > since)
        days--;
    return days * DAY_US + (int64_t)((since - (double)days) * (double)DAY_US + 0.5);
}

int64_t ll_adk_rounded_us(int64_t us)
{
    return ll_adk_time_us(ll_adk_julian(us));
}

double ll_adk_next_julian(double before, int64_t us)
{
    double now = ll_adk_julian(us);
    if (now > before || before != before || before <= 0)
        return now;
    uint64_t bits; /* of a positive double: one more is the next one */
    memcpy(&bits, &before, sizeof bits);
    bits++;
    memcpy(&now, &bits, sizeof now);
    return now;
}
