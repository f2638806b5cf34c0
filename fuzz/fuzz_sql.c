/* fuzz_sql.c: statements and parameters, on looplite and on sqlite3 itself: the same rows, numbers and transactions.
 *
 * Input: statements with a byte 0 behind each; behind that a byte for how many parameters follow (0 to 5), and these
 * (fuzz.h); then the next statement. Both databases are in memory; nothing can be attached. What gives something else
 * each time (random(), the time, ...) is run and not compared, and so is everything behind it. */
#include "fuzz.h"

enum {
    MOST_STATEMENTS = 12,
    MOST_PARAMETERS = 5,
    MOST_LENGTH = 100000
};

static int tame(sqlite3 *db, void *arg)
{
    (void)arg;
    sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, MOST_LENGTH);
    sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, 4000);
    sqlite3_limit(db, SQLITE_LIMIT_EXPR_DEPTH, 100);
    sqlite3_limit(db, SQLITE_LIMIT_COMPOUND_SELECT, 20);
    return SQLITE_OK;
}

static int count_down(void *arg)
{
    int *left = arg;
    return --*left < 0;
}

static bool has_word(const char *text, const char *word)
{
    size_t size = strlen(word);
    for (; *text; text++)
        if (sqlite3_strnicmp(text, word, (int)size) == 0)
            return true;
    return false;
}

/* What is another thing each time, asks for the handle's own counters in its own way, or speaks of memory. */
static bool differs(const char *text)
{
    static const char *const words[] = {"random",    "now",      "current_", "date",   "time",
                                        "unixepoch", "sqlite_",  "pragma",   "stat",   "changes",
                                        "rowid",     "strftime", "vacuum",   "fts",    "dbpage",
                                        "rtree",     "explain",  "analyze",  "dbstat", "pointer"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (has_word(text, words[i]))
            return true;
    return false;
}

static void same_value(const ll_value *value, sqlite3_stmt *stmt, int column)
{
    static const int types[] = {[LL_NULL] = SQLITE_NULL,
                                [LL_INTEGER] = SQLITE_INTEGER,
                                [LL_FLOAT] = SQLITE_FLOAT,
                                [LL_TEXT] = SQLITE_TEXT,
                                [LL_BLOB] = SQLITE_BLOB};
    T_EQUAL(types[value->type], sqlite3_column_type(stmt, column));
    double real = value->as.real, other;
    switch (value->type) {
    case LL_INTEGER:
        T_EQUAL(value->as.integer, sqlite3_column_int64(stmt, column));
        break;
    case LL_FLOAT:
        other = sqlite3_column_double(stmt, column);
        T_CHECK(memcmp(&real, &other, sizeof real) == 0);
        break;
    case LL_TEXT:
    case LL_BLOB: {
        const void *bytes = value->type == LL_TEXT ? (const void *)sqlite3_column_text(stmt, column)
                                                   : sqlite3_column_blob(stmt, column);
        T_EQUAL(value->size, sqlite3_column_bytes(stmt, column));
        T_CHECK(value->size == 0 || memcmp(value->as.blob, bytes, value->size) == 0);
        break;
    }
    default:
        break;
    }
}

static void bind(sqlite3_stmt *stmt, const ll_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const ll_value *v = &values[i];
        int at = (int)i + 1;
        if (v->type == LL_INTEGER)
            sqlite3_bind_int64(stmt, at, v->as.integer);
        else if (v->type == LL_FLOAT)
            sqlite3_bind_double(stmt, at, v->as.real);
        else if (v->type == LL_TEXT)
            sqlite3_bind_text(stmt, at, v->as.text, (int)v->size, SQLITE_STATIC);
        else if (v->type == LL_BLOB)
            sqlite3_bind_blob(stmt, at, v->size ? v->as.blob : "", (int)v->size, SQLITE_STATIC);
    }
}

/* Whether both are still the same afterwards, so that the next one can be compared. */
static bool run(struct fuzz_world *w, ll_conn *conn, sqlite3 *db, const char *text, size_t size,
                const ll_value *values, size_t count, bool compare)
{
    ll_request *request = NULL;
    ll_sql sql = {.text = text, .size = size, .params = {.values = values, .count = count}};
    ll_status status = fuzz_wait(
        w, ll_conn_submit(conn, &sql, &(ll_submit){.flags = LL_SUBMIT_INTERRUPT}, &request),
        request);
    bool same = compare && !w->stopped && !differs(text);
    sqlite3_stmt *stmt = NULL;
    const char *tail = NULL;
    int left = FUZZ_POINTS + 5;
    sqlite3_progress_handler(db, 1000, count_down, &left);
    int rc = same ? sqlite3_prepare_v2(db, text, (int)size, &stmt, &tail) : SQLITE_OK;
    if (same && rc == SQLITE_OK && stmt && status != LL_EPARAM && status != LL_ESTATEMENTS &&
        sqlite3_bind_parameter_count(stmt) == (int)count) {
        t_rows rows = {.request = request};
        bind(stmt, values, count);
        size_t read = 0;
        while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
            const ll_value *row = status == LL_OK ? t_rows_next(&rows) : NULL;
            for (int i = 0; row && i < sqlite3_column_count(stmt); i++)
                same_value(&row[i], stmt, i);
            T_CHECK(row || status != LL_OK);
            read++;
        }
        if (left >= 0) {
            T_CHECK(status != LL_OK || !t_rows_next(&rows));
            T_EQUAL(rc == SQLITE_DONE, status == LL_OK);
            int code = sqlite3_extended_errcode(db);
            if (rc != SQLITE_DONE)
                T_EQUAL(ll_request_error(request)->sqlite_code & 0xff, code & 0xff);
        }
        ll_batch_free(rows.batch);
    } else if (same && rc != SQLITE_OK) {
        T_CHECK(status != LL_OK);
    }
    sqlite3_finalize(stmt);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    same = same && left >= 0 && (status == LL_OK || status == LL_ESQL);
    if (same) {
        ll_conn_state state = t_state(conn);
        T_EQUAL(state.in_transaction, !sqlite3_get_autocommit(db));
        T_EQUAL(state.total_changes,
                sqlite3_total_changes(db)); /* (nothing here changes as many as do not fit) */
        T_EQUAL(state.rowid, sqlite3_last_insert_rowid(db));
    }
    ll_request_unref(request);
    return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const schema[] = {"CREATE TABLE t(a INTEGER PRIMARY KEY, b, c TEXT UNIQUE)",
                                         "INSERT INTO t VALUES(1, 2.5, 'x'), (2, NULL, x'00')"};
    struct fuzz_world w;
    struct fuzz_input in = {data, size};
    sqlite3 *db = NULL;
    fuzz_begin(&w);
    ll_conn *conn = fuzz_open(&w, ":memory:", NULL);
    T_CHECK(conn && sqlite3_open(":memory:", &db) == SQLITE_OK);
    ll_request *request = NULL;
    T_CHECK(fuzz_wait(&w, ll_conn_call(conn, tame, NULL, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
    tame(db, NULL);
    bool same = true;
    for (size_t i = 0; i < 2; i++)
        same = run(&w, conn, db, schema[i], strlen(schema[i]), NULL, 0, same);
    T_CHECK(same);
    for (size_t i = 0; i < MOST_STATEMENTS && in.size > 0; i++) {
        char text[2048];
        ll_value values[MOST_PARAMETERS];
        size_t length = 0;
        for (unsigned byte; in.size > 0 && (byte = fuzz_byte(&in)) != 0;)
            if (length < sizeof text - 1)
                text[length++] = (char)byte;
        text[length] = '\0';
        size_t count = fuzz_byte(&in) % (MOST_PARAMETERS + 1);
        for (size_t k = 0; k < count; k++)
            values[k] = fuzz_value(&in);
        if (has_word(text, "_directory")) /* a setting of the process */
            continue;
        same = run(&w, conn, db, text, length, values, count, same);
    }
    sqlite3_close(db);
    ll_conn_unref(conn);
    fuzz_end(&w);
    return 0;
}
