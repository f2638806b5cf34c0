/* oracle.c: the same statement by sqlite3 itself, compared in everything that can be seen: columns,
 * declared types, each value to the bit, changes, rowid, and of an error its code, text and place. */
#include "support.h"

#include <dlfcn.h>

/* Goes on after a difference, so that one run tells all of them; t_compared() fails the test. */
static size_t differences;

#define DIFFERS(...) differs(file, line, __VA_ARGS__)

__attribute__((format(printf, 3, 4))) static void differs(const char *file, int line,
                                                          const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_error("%s:%d: differs from sqlite3: %s\n", file, line, text);
    differences++;
}

void t_compared_(const char *file, int line)
{
    size_t found = differences;
    differences = 0;
    if (found > 0)
        t_fail(file, line, "%zu differences from sqlite3", found);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void compare_value(const ll_value *value, sqlite3_stmt *stmt, int column, const char *sql,
                          const char *file, int line)
{
    static const uint32_t types[] = {
        [SQLITE_INTEGER] = LL_INTEGER, [SQLITE_FLOAT] = LL_FLOAT, [SQLITE_TEXT] = LL_TEXT,
        [SQLITE_BLOB] = LL_BLOB,       [SQLITE_NULL] = LL_NULL,
    };
    uint32_t type = types[sqlite3_column_type(stmt, column)];
    if (value->type != type) {
        DIFFERS("column %d has type %u, not %u: %s", column, value->type, type, sql);
        return;
    }
    if (type == LL_INTEGER) {
        if (value->as.integer != sqlite3_column_int64(stmt, column))
            DIFFERS("column %d is %lld: %s", column, (long long)value->as.integer, sql);
    } else if (type == LL_FLOAT) {
        double real = sqlite3_column_double(stmt, column);
        if (memcmp(&value->as.real, &real, sizeof real) != 0)
            DIFFERS("column %d is %.17g, not %.17g: %s", column, value->as.real, real, sql);
    } else if (type != LL_NULL) {
        const void *bytes = type == LL_TEXT ? (const void *)sqlite3_column_text(stmt, column)
                                            : sqlite3_column_blob(stmt, column);
        size_t size = (size_t)sqlite3_column_bytes(stmt, column);
        if (value->size != size || (size && memcmp(value->as.blob, bytes, size) != 0))
            DIFFERS("column %d has %u bytes, not %zu, or others: %s", column, value->size, size,
                    sql);
        if (type == LL_TEXT && value->as.text[size] != '\0')
            DIFFERS("no NUL behind the text of column %d: %s", column, sql);
    }
    if (type < LL_TEXT && value->size != 0)
        DIFFERS("column %d has a size: %s", column, sql);
}

/* sqlite3_error_offset(), which an older SQLite has not: then nobody knows the place. */
static int place_of_error(sqlite3 *db)
{
    union {
        void *object;
        int (*function)(sqlite3 *);
    } offset = {.object = dlsym(RTLD_DEFAULT, "sqlite3_error_offset")};
    return offset.object ? offset.function(db) : -1;
}

static void compare_error(const ll_request *request, sqlite3 *db, const char *sql, const char *file,
                          int line)
{
    const ll_error *error = ll_request_error(request);
    int code = sqlite3_extended_errcode(db);
    int offset = place_of_error(db);
    if (error->status != LL_ESQL && error->status != LL_EBUSY)
        DIFFERS("status %s instead of error %d (%s): %s", ll_status_name(error->status), code,
                sqlite3_errmsg(db), sql);
    if (error->sqlite_code != code)
        DIFFERS("code %d, not %d: %s", error->sqlite_code, code, sql);
    if (!same_text(error->message, sqlite3_errmsg(db)))
        DIFFERS("message '%s', not '%s': %s", error->message, sqlite3_errmsg(db), sql);
    if (error->sql_offset != offset)
        DIFFERS("offset %d, not %d: %s", error->sql_offset, offset, sql);
}

static void compare_columns(const ll_columns *columns, sqlite3_stmt *stmt, const char *sql,
                            const char *file, int line)
{
    int count = sqlite3_column_count(stmt);
    if ((columns != NULL) != (count > 0) || ll_columns_count(columns) != (size_t)count)
        DIFFERS("%zu columns, not %d: %s", ll_columns_count(columns), count, sql);
    for (int i = 0; i < count; i++) {
        if (!same_text(ll_columns_name(columns, (size_t)i), sqlite3_column_name(stmt, i)))
            DIFFERS("the name of column %d: %s", i, sql);
        if (!same_text(ll_columns_decltype(columns, (size_t)i), sqlite3_column_decltype(stmt, i)))
            DIFFERS("the declared type of column %d: %s", i, sql);
    }
    if (ll_columns_name(columns, (size_t)count) || ll_columns_decltype(columns, (size_t)count))
        DIFFERS("there is a column out of range: %s", sql);
}

void t_compare_(ll_conn *conn, sqlite3 *db, const char *sql, const char *file, int line)
{
    ll_request *request = NULL;
    ll_status status = t_end_(ll_query(conn, sql, NULL, 0, NULL, &request), &request, file, line);
    if (!request)
        t_fail(file, line, "refused, %s (%s): %s", ll_status_name(status), ll_last_error(), sql);

    sqlite3_stmt *stmt = NULL;
    int before = sqlite3_total_changes(db);
    int code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    bool read = stmt == NULL || sqlite3_stmt_readonly(stmt);
    t_rows rows = {.request = request};
    if (code == SQLITE_OK && stmt) {
        if (status == LL_OK)
            compare_columns(ll_request_columns(request), stmt, sql, file, line);
        size_t row = 0;
        while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
            row++;
            if (status != LL_OK)
                continue; /* rows before an error: not promised */
            const ll_value *values = t_rows_next(&rows);
            if (!values)
                t_fail(file, line, "row %zu is missing: %s", row, sql);
            if (ll_batch_columns(rows.batch) != (size_t)sqlite3_column_count(stmt))
                t_fail(file, line, "%zu columns: %s", ll_batch_columns(rows.batch), sql);
            for (int i = 0; i < sqlite3_column_count(stmt); i++)
                compare_value(&values[i], stmt, i, sql, file, line);
        }
        if (code == SQLITE_DONE && t_rows_next(&rows))
            DIFFERS("more rows than %zu: %s", row, sql);
    }
    if (code != SQLITE_OK && code != SQLITE_DONE) {
        if (status == LL_OK)
            DIFFERS("success, but it is an error (%s): %s", sqlite3_errmsg(db), sql);
        compare_error(request, db, sql, file, line);
    } else {
        if (status != LL_OK)
            DIFFERS("%s (%s), but it is none: %s", ll_status_name(status),
                    ll_request_error(request)->message, sql);
        int64_t changes = sqlite3_total_changes(db) != before ? sqlite3_changes(db) : 0;
        if (ll_request_changes(request) != changes)
            DIFFERS("%lld changes, not %lld: %s", (long long)ll_request_changes(request),
                    (long long)changes, sql);
        if (ll_request_is_read(request) != read)
            DIFFERS("is_read is %d: %s", ll_request_is_read(request), sql);
        t_is_(request, LL_OK, LL_APPLIED, file, line);
    }
    if (ll_request_rowid(request) != sqlite3_last_insert_rowid(db))
        DIFFERS("rowid %lld, not %lld: %s", (long long)ll_request_rowid(request),
                (long long)sqlite3_last_insert_rowid(db), sql);
    sqlite3_finalize(stmt);
    ll_conn_state state = t_state(conn);
    if (state.in_transaction != !sqlite3_get_autocommit(db))
        DIFFERS("in a transaction: %d: %s", state.in_transaction, sql);
    if (state.total_changes != sqlite3_total_changes(db))
        DIFFERS("%lld total changes, not %d: %s", (long long)state.total_changes,
                sqlite3_total_changes(db), sql);
    t_rows_done(&rows);
}
