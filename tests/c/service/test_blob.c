/* Blobs: values that are read and written in pieces, beside sqlite3's own calls on the same file. */
#include "support/support.h"

enum {
    SIZE = 3000000 /* several slices, and an odd rest */
};

/* The oracle's value of a row: a pattern that tells where a byte came from. */
static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static void fill(const char *path, int rows)
{
    static unsigned char bytes[SIZE];
    sqlite3 *db = t_raw_open(path);
    sqlite3_stmt *stmt = NULL;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = pattern(i);
    t_raw(db, "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, data, other)");
    T_CHECK(sqlite3_prepare_v2(db, "INSERT INTO t VALUES(?, ?, 'text')", -1, &stmt, NULL) ==
            SQLITE_OK);
    for (int row = 1; row <= rows; row++) {
        sqlite3_bind_int(stmt, 1, row);
        sqlite3_bind_blob(stmt, 2, bytes, SIZE, SQLITE_STATIC);
        T_CHECK(sqlite3_step(stmt) == SQLITE_DONE);
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    t_raw_close(db);
}

static ll_request *open_request(ll_conn *conn, int64_t rowid, bool writable)
{
    ll_blob_place place = {.table = "t", .column = "data", .rowid = rowid, .writable = writable};
    ll_request *request = NULL;
    (void)t_end(ll_blob_open(conn, &place, NULL, &request), request);
    T_CHECK(request != NULL);
    return request;
}

static ll_blob_handle *open_blob(ll_conn *conn, int64_t rowid, bool writable)
{
    ll_request *request = open_request(conn, rowid, writable);
    t_is(request, LL_OK, LL_APPLIED);
    ll_blob_handle *blob = ll_request_take_blob(request);
    T_CHECK(blob && !ll_request_take_blob(request));
    ll_request_unref(request);
    return blob;
}

static ll_request *read_blob(ll_blob_handle *blob, size_t offset, size_t size)
{
    ll_request *request = NULL;
    (void)t_end(ll_blob_read(blob, offset, size, NULL, &request), request);
    T_CHECK(request != NULL);
    return request;
}

static ll_request *write_blob(ll_blob_handle *blob, size_t offset, const char *text)
{
    ll_request *request = NULL;
    (void)t_end(ll_blob_write(blob, offset, text, strlen(text), NULL, &request), request);
    T_CHECK(request != NULL);
    return request;
}

static void close_blob(ll_blob_handle *blob, ll_status status, ll_outcome outcome)
{
    ll_request *request = NULL;
    (void)t_end(ll_blob_close(blob, NULL, &request), request);
    t_is(request, status, outcome);
    ll_request_unref(request);
    ll_blob_free(blob);
}

static void fails(ll_request *request, ll_status status, int code, const char *words)
{
    t_is(request, status, LL_NOT_APPLIED);
    const ll_error *error = ll_request_error(request);
    T_EQUAL(error->sqlite_code & 0xff, code);
    if (!strstr(error->message, words))
        t_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", error->message, words);
    size_t size = 1;
    T_CHECK(ll_request_bytes(request, &size) == NULL && size == 0);
    T_CHECK(ll_request_take_blob(request) == NULL);
    ll_request_unref(request);
}

static void gives_what_sqlite_gives(void **state)
{
    static const struct {
        size_t offset, size;
    } pieces[] = {{0, 1},    {0, SIZE},         {1, SIZE - 1},     {SIZE - 1, 1},
                  {SIZE, 0}, {262143, 262146},  {1000000, 700000}, {0, 0},
                  {5, 2},    {4096 - 35, 4096}, {262144, 262144}};
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    fill(path, 1);
    ll_conn *conn = t_open(t, "a.db");
    sqlite3 *db = t_raw_open(path);
    sqlite3_blob *raw = NULL;
    T_CHECK(sqlite3_blob_open(db, "main", "t", "data", 1, 0, &raw) == SQLITE_OK);
    ll_blob_handle *blob = open_blob(conn, 1, false);
    T_EQUAL(ll_blob_size(blob), sqlite3_blob_bytes(raw));
    char *expected = malloc(SIZE);
    T_CHECK(expected != NULL);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        size_t size = 1;
        T_CHECK(sqlite3_blob_read(raw, expected, (int)pieces[i].size, (int)pieces[i].offset) ==
                SQLITE_OK);
        ll_request *request = read_blob(blob, pieces[i].offset, pieces[i].size);
        t_is(request, LL_OK, LL_APPLIED);
        const void *bytes = ll_request_bytes(request, &size);
        T_CHECK(bytes && size == pieces[i].size && memcmp(bytes, expected, size) == 0);
        T_CHECK(ll_request_bytes(request, NULL) == bytes && ll_request_is_read(request));
        ll_request_unref(request);
    }
    free(expected);
    sqlite3_blob_close(raw);
    t_raw_close(db);
    close_blob(blob, LL_OK, LL_APPLIED);
    t_close(conn);
}

static void what_is_written_is_there_when_it_is_closed(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                     "INSERT INTO t VALUES(1, zeroblob(1000000)), (2, zeroblob(10)), (3, 'text')");
    ll_conn *conn = t_open(t, "a.db");
    ll_blob_handle *blob = open_blob(conn, 1, true);
    char *many = malloc(900000);
    T_CHECK(many != NULL);
    memset(many, 'x', 900000);
    ll_request *request = NULL;
    T_CHECK(ll_blob_write(blob, 50000, many, 900000, NULL, &request) == LL_PENDING);
    memset(many, 'y', 900000); /* it was copied */
    T_CHECK(ll_request_wait(request) == LL_OK && !ll_request_is_read(request));
    ll_request_unref(request);
    ll_request_unref(write_blob(blob, 0, "begin"));
    ll_request_unref(write_blob(blob, 999997, "end"));
    T_EQUAL(t_file_int(path, "SELECT hex(substr(data, 1, 5)) = '626567696E' FROM t"), 0);
    close_blob(blob, LL_OK, LL_APPLIED);
    T_EQUAL(t_file_int(path, "SELECT substr(data, 1, 5) = CAST('begin' AS BLOB) AND "
                             "substr(data, 50001, 900000) = CAST(replace(hex(zeroblob(450000)), '0'"
                             ", 'x') AS BLOB) AND substr(data, 950001, 10) = zeroblob(10) AND "
                             "substr(data, -3) = CAST('end' AS BLOB) FROM t WHERE id = 1"),
            1);
    /* text is a value too; borrowed bytes are not copied */
    blob = open_blob(conn, 3, true);
    request = NULL;
    T_CHECK(t_end(ll_blob_write(blob, 1, "E", 1, &(ll_submit){.flags = LL_SUBMIT_BORROW}, &request),
                  request) == LL_OK);
    ll_request_unref(request);
    close_blob(blob, LL_OK, LL_APPLIED);
    T_EQUAL(t_file_int(path, "SELECT data = 'tExt' FROM t WHERE id = 3"), 1);
    free(many);
    t_close(conn);
}

static void in_a_transaction_it_is_part_of_it(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                     "INSERT INTO t VALUES(1, 'abcdef')");
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "BEGIN");
    ll_blob_handle *blob = open_blob(conn, 1, true);
    ll_request_unref(write_blob(blob, 0, "XYZ"));
    ll_request_unref(t_exec_fails(conn, "COMMIT", LL_EBUSY)); /* SQLite: statements in progress */
    close_blob(blob, LL_OK, LL_APPLIED);
    T_EQUAL(t_file_int(path, "SELECT data = 'abcdef' FROM t"), 1);
    t_exec(conn, "COMMIT");
    T_EQUAL(t_file_int(path, "SELECT data = 'XYZdef' FROM t"), 1);
    t_exec(conn, "BEGIN");
    blob = open_blob(conn, 1, true);
    ll_request_unref(write_blob(blob, 3, "QQQ"));
    t_exec(conn, "ROLLBACK");
    fails(write_blob(blob, 0, "no"), LL_ESQL, SQLITE_ABORT, "has expired");
    close_blob(blob, LL_ESQL, LL_NOT_APPLIED); /* SQLite: abort due to ROLLBACK */
    T_EQUAL(t_file_int(path, "SELECT data = 'XYZdef' FROM t"), 1);
    t_close(conn);
}

static void requests_stand_in_the_connections_order(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                                  "INSERT INTO t VALUES(1, 'aaaaaa')");
    ll_conn *conn = t_open(t, "a.db");
    ll_blob_handle *blob = open_blob(conn, 1, true);
    t_gate *gate = t_gate_new(t);
    ll_request *hold = NULL, *first = NULL, *second = NULL, *read = NULL, *query = NULL;
    T_CHECK(ll_conn_call(conn, t_gate_call, gate, NULL, &hold) == LL_PENDING);
    t_gate_entered(gate, 1);
    T_CHECK(ll_blob_write(blob, 0, "bb", 2, NULL, &first) == LL_PENDING);
    T_CHECK(ll_blob_write(blob, 1, "cc", 2, NULL, &second) == LL_PENDING);
    T_CHECK(ll_blob_read(blob, 0, 6, NULL, &read) == LL_PENDING);
    T_CHECK(ll_query(conn, "SELECT data FROM t", NULL, 0, NULL, &query) == LL_PENDING);
    ll_blob_free(blob); /* behind all of it */
    t_gate_open(gate);
    T_CHECK(ll_request_wait(query) == LL_OK);
    T_CHECK(memcmp(ll_request_bytes(read, NULL), "bccaaa", 6) == 0);
    t_rows rows = {.request = query};
    T_SAME_TEXT(t_rows_next(&rows)[0].as.text, "bccaaa");
    t_rows_done(&rows);
    T_CHECK(ll_request_wait(hold) == LL_OK);
    ll_request_unref(hold);
    ll_request_unref(first);
    ll_request_unref(second);
    ll_request_unref(read);
    t_exec(conn, "CREATE TABLE u(x)");
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT data = 'bccaaa' FROM t"), 1);
    t_close(conn);
}

static void reopens(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                                  "INSERT INTO t VALUES(1, 'one'), (2, 'second'), (3, 3)");
    ll_conn *conn = t_open(t, "a.db");
    ll_blob_handle *blob = open_blob(conn, 1, false);
    ll_request *request = NULL;
    T_CHECK(t_end(ll_blob_reopen(blob, 2, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
    T_EQUAL(ll_blob_size(blob), 6);
    request = read_blob(blob, 0, 6);
    T_CHECK(memcmp(ll_request_bytes(request, NULL), "second", 6) == 0);
    ll_request_unref(request);
    request = NULL;
    (void)t_end(ll_blob_reopen(blob, 3, NULL, &request), request);
    fails(request, LL_ESQL, SQLITE_ERROR, "cannot open value of type integer");
    fails(read_blob(blob, 0, 1), LL_ESQL, SQLITE_ABORT, "has expired");
    close_blob(blob, LL_OK, LL_APPLIED);
    blob = open_blob(conn, 1, false);
    request = NULL;
    (void)t_end(ll_blob_reopen(blob, 99, NULL, &request), request);
    fails(request, LL_ESQL, SQLITE_ERROR, "no such rowid: 99");
    close_blob(blob, LL_OK, LL_APPLIED);
    t_close(conn);
}

static void expires_when_its_row_is_changed(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                                  "INSERT INTO t VALUES(1, 'one'), (2, 'two')");
    ll_conn *conn = t_open(t, "a.db");
    ll_blob_handle *blob = open_blob(conn, 1, true), *other = open_blob(conn, 2, false);
    t_exec(conn, "UPDATE t SET data = 'new' WHERE id = 1");
    fails(read_blob(blob, 0, 3), LL_ESQL, SQLITE_ABORT, "has expired");
    fails(write_blob(blob, 0, "x"), LL_ESQL, SQLITE_ABORT, "has expired");
    ll_request *request = read_blob(other, 0, 3);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    close_blob(blob, LL_OK, LL_APPLIED);
    close_blob(other, LL_OK, LL_APPLIED);
    t_close(conn);
}

static void what_cannot_be_opened(void **state)
{
    static const struct {
        ll_blob_place place;
        const char *words;
    } cases[] = {
        {{.table = "nowhere", .column = "data", .rowid = 1}, "no such table: main.nowhere"},
        {{.table = "t", .column = "nothing", .rowid = 1}, "no such column: \"nothing\""},
        {{.table = "t", .column = "data", .rowid = 7}, "no such rowid: 7"},
        {{.table = "t", .column = "data", .rowid = 2}, "cannot open value of type null"},
        {{.table = "v", .column = "data", .rowid = 1}, "cannot open view: v"},
        {{.table = "w", .column = "data", .rowid = 1}, "cannot open table without rowid: w"},
        {{.table = "t", .column = "key", .rowid = 1, .writable = true},
         "cannot open indexed column for writing"},
        {{.schema = "other", .table = "t", .column = "data", .rowid = 1}, "no such table: other.t"},
    };
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(id INTEGER PRIMARY KEY, data, key TEXT UNIQUE);"
                                  "CREATE VIEW v AS SELECT * FROM t;"
                                  "CREATE TABLE w(data PRIMARY KEY) WITHOUT ROWID;"
                                  "INSERT INTO t VALUES(1, 'one', 'k'), (2, NULL, NULL)");
    ll_conn *conn = t_open(t, "a.db");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ll_request *request = NULL;
        (void)t_end(ll_blob_open(conn, &cases[i].place, NULL, &request), request);
        fails(request, LL_ESQL, SQLITE_ERROR, cases[i].words);
    }
    T_CHECK(!t_state(conn).in_transaction);
    t_exec(conn, "INSERT INTO t VALUES(3, 'free', 'x')"); /* nothing is left open */
    t_close(conn);
}

static void wrong_arguments(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                                  "INSERT INTO t VALUES(1, '0123456789')");
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = NULL;
    ll_blob_place place = {.column = "data"};
    T_CHECK(ll_blob_open(conn, NULL, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_blob_open(conn, &place, NULL, &request) == LL_EINVAL);
    T_CHECK(strstr(ll_last_error(), "place->table is NULL"));
    place = (ll_blob_place){.table = "t"};
    T_CHECK(ll_blob_open(conn, &place, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_blob_read(NULL, 0, 0, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_blob_close(NULL, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_blob_size(NULL) == 0 && ll_request_take_blob(NULL) == NULL);
    T_CHECK(ll_request_bytes(NULL, NULL) == NULL);
    ll_blob_free(NULL);
    ll_blob_handle *blob = open_blob(conn, 1, false);
    T_CHECK(ll_blob_write(blob, 0, NULL, 3, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_blob_write(blob, 0, "abc", SIZE_MAX, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_blob_read(blob, 0, 1, NULL, NULL) == LL_EINVAL && request == NULL);
    fails(read_blob(blob, 8, 3), LL_EINVAL, 0,
          "3 bytes at offset 8 do not lie in a value of 10 bytes");
    fails(read_blob(blob, 11, 0), LL_EINVAL, 0, "0 bytes at offset 11");
    fails(read_blob(blob, SIZE_MAX, 2), LL_EINVAL, 0, "2 bytes at offset");
    fails(read_blob(blob, 2, SIZE_MAX), LL_EINVAL, 0, "in a value of 10 bytes");
    fails(write_blob(blob, 0, "x"), LL_ESQL, SQLITE_READONLY, "opened for reading only");
    close_blob(blob, LL_OK, LL_APPLIED);
    t_close(conn);
}

static void closing_twice_and_using_what_is_closed(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                                  "INSERT INTO t VALUES(1, 'one')");
    ll_conn *conn = t_open(t, "a.db");
    ll_blob_handle *blob = open_blob(conn, 1, false);
    ll_request *request = NULL;
    for (int i = 0; i < 2; i++) {
        T_CHECK(t_end(ll_blob_close(blob, NULL, &request), request) == LL_OK);
        ll_request_unref(request);
        request = NULL;
    }
    fails(read_blob(blob, 0, 1), LL_ECLOSED, 0, "the blob is closed: ll_blob_close() was called");
    ll_blob_free(blob);
    ll_request_unref(open_request(conn, 1, true)); /* not taken: closed with the request */
    t_exec(conn, "INSERT INTO t VALUES(2, 'two')");
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), 2);
    t_close(conn);
}

/* The connection ends its blobs: what was written stays. */
static void is_closed_with_its_connection(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                     "INSERT INTO t VALUES(1, 'one'), (2, 'two')");
    ll_conn *conn = t_open(t, "a.db");
    ll_blob_handle *blob = open_blob(conn, 1, true), *second = open_blob(conn, 2, false);
    ll_request_unref(write_blob(blob, 0, "O"));
    ll_request *close = NULL, *read = NULL;
    ll_status status = ll_conn_close(conn, NULL, &close);
    T_CHECK(ll_blob_read(second, 0, 1, NULL, &read) == LL_ECLOSED);
    T_CHECK(t_end(status, close) == LL_OK);
    ll_request_unref(close);
    T_EQUAL(t_file_int(path, "SELECT data = 'One' FROM t WHERE id = 1"), 1);
    T_CHECK(ll_blob_close(blob, NULL, &read) == LL_ECLOSED && read == NULL);
    T_EQUAL(ll_blob_size(blob), 3);
    ll_conn_unref(conn);
    ll_blob_free(blob);
    ll_engine_free(t->engine); /* and the last one after its engine */
    t->engine = NULL;
    ll_blob_free(second);
}

static void an_engine_that_ends_ends_them_too(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                                  "INSERT INTO t VALUES(1, 'one')");
    ll_conn *conn = t_open(t, "a.db");
    ll_blob_handle *blob = open_blob(conn, 1, true);
    t_told told = {0};
    T_CHECK(ll_blob_write(blob, 0, "x", 1, &(ll_submit){.done = t_tell, .user = &told}, NULL) ==
            LL_PENDING);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_CHECK(told.calls == 1);
    ll_conn_unref(conn);
    ll_blob_free(blob);
}

static void cancelling(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                     "INSERT INTO t VALUES(1, 'one')");
    ll_conn *conn = t_open(t, "a.db");
    ll_blob_handle *blob = open_blob(conn, 1, true);
    t_gate *gate = t_gate_new(t);
    ll_request *hold = NULL, *write = NULL, *read = NULL, *late = NULL, *close = NULL;
    T_CHECK(ll_conn_call(conn, t_gate_call, gate, NULL, &hold) == LL_PENDING);
    t_gate_entered(gate, 1);
    T_CHECK(ll_blob_write(blob, 0, "x", 1, NULL, &write) == LL_PENDING);
    T_CHECK(ll_blob_read(blob, 0, 1, NULL, &read) == LL_PENDING);
    T_CHECK(ll_blob_read(blob, 0, 1, &(ll_submit){.timeout_ns = T_MS}, &late) == LL_PENDING);
    T_CHECK(ll_blob_close(blob, NULL, &close) == LL_PENDING);
    T_CHECK(ll_request_cancel(write) == LL_OK && ll_request_cancel(read) == LL_OK);
    T_CHECK(ll_request_cancel(close) == LL_OK); /* which changes nothing */
    T_CHECK(ll_request_wait(write) == LL_ECANCELLED && ll_request_wait(read) == LL_ECANCELLED);
    T_CHECK(ll_request_wait(late) == LL_ETIMEOUT);
    t_is(write, LL_ECANCELLED, LL_NOT_APPLIED);
    t_gate_open(gate);
    T_CHECK(ll_request_wait(close) == LL_OK && ll_request_wait(hold) == LL_OK);
    T_EQUAL(t_file_int(path, "SELECT data = 'one' FROM t"), 1);
    ll_request_unref(hold);
    ll_request_unref(write);
    ll_request_unref(read);
    ll_request_unref(late);
    ll_request_unref(close);
    ll_blob_free(blob);
    t_close(conn);
}

/* Opening waits for a lock as a statement does: off the worker, for as long as the busy timeout says. */
static void waits_for_the_write_lock(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path,
               "CREATE TABLE t(id INTEGER PRIMARY KEY, data); INSERT INTO t VALUES(1, 'one')");
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *conn = t_open_with(t->engine, path, &options);
    ll_open_options impatient = {.busy_timeout_ns = LL_NO_BUSY_TIMEOUT};
    ll_conn *hasty = t_open_with(t->engine, path, &impatient);
    sqlite3 *db = t_raw_open(path);
    t_raw(db, "BEGIN IMMEDIATE");
    ll_blob_place place = {.table = "t", .column = "data", .rowid = 1, .writable = true};
    ll_request *request = NULL, *cancelled = NULL;
    T_CHECK(ll_blob_open(conn, &place, NULL, &request) == LL_PENDING);
    fails(open_request(hasty, 1, true), LL_EBUSY, SQLITE_BUSY, "locked");
    uint64_t parks = t_stats(t->engine).parks;
    while (t_stats(t->engine).parks < parks + 3)
        t_turn(t->engine);
    T_CHECK(!ll_request_is_done(request));
    t_raw(db, "COMMIT");
    T_CHECK(ll_request_wait(request) == LL_OK);
    ll_blob_handle *blob = ll_request_take_blob(request);
    T_CHECK(t_raw_try(db, "BEGIN IMMEDIATE") == SQLITE_BUSY); /* the blob has the lock */
    close_blob(blob, LL_OK, LL_APPLIED);
    t_raw(db, "BEGIN IMMEDIATE");
    T_CHECK(ll_blob_open(conn, &place, NULL, &cancelled) == LL_PENDING);
    parks = t_stats(t->engine).parks;
    while (t_stats(t->engine).parks < parks + 1)
        t_turn(t->engine);
    T_CHECK(ll_request_cancel(cancelled) == LL_OK);
    T_CHECK(ll_request_wait(cancelled) == LL_ECANCELLED);
    T_CHECK(ll_request_take_blob(cancelled) == NULL);
    t_raw(db, "COMMIT");
    t_raw_close(db);
    ll_request_unref(request);
    ll_request_unref(cancelled);
    t_close(hasty);
    t_close(conn);
}

/* In one process writers stand in line: one that has a blob open is one of them. */
static void other_writers_wait_for_the_blob(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path,
               "CREATE TABLE t(id INTEGER PRIMARY KEY, data); INSERT INTO t VALUES(1, 'one')");
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *conn = t_open_with(t->engine, path, &options),
            *other = t_open_with(t->engine, path, &options);
    ll_blob_handle *blob = open_blob(conn, 1, true);
    ll_request *insert = NULL;
    T_CHECK(ll_exec(other, "INSERT INTO t VALUES(2, 'two')", NULL, 0, NULL, &insert) == LL_PENDING);
    while (t_stats(t->engine).gate_waits == 0)
        t_turn(t->engine);
    ll_request_unref(write_blob(blob, 0, "O"));
    T_CHECK(!ll_request_is_done(insert));
    ll_blob_free(blob);
    T_CHECK(ll_request_wait(insert) == LL_OK);
    ll_request_unref(insert);
    T_EQUAL(t_file_int(path, "SELECT count(*) FROM t WHERE data IN ('One', 'two')"), 2);
    t_close(conn);
    t_close(other);
}

/* Reads see the snapshot of when the blob was opened, and hold it. */
static void holds_its_snapshot(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                     "INSERT INTO t VALUES(1, 'one')");
    ll_conn *conn = t_open(t, "a.db");
    ll_blob_handle *blob = open_blob(conn, 1, false);
    t_file_sql(path, "UPDATE t SET data = 'new'");
    ll_request *request = read_blob(blob, 0, 3);
    T_CHECK(memcmp(ll_request_bytes(request, NULL), "one", 3) == 0);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT data = 'one' FROM t"), 1);
    T_EQUAL(t_int(conn, "SELECT data = 'one' FROM t"), 1);
    close_blob(blob, LL_OK, LL_APPLIED);
    T_EQUAL(t_int(conn, "SELECT data = 'new' FROM t"), 1);
    t_close(conn);
}

/* A connection that goes back to its pool leaves no blob behind. */
static void ends_with_its_lease(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path,
               "CREATE TABLE t(id INTEGER PRIMARY KEY, data); INSERT INTO t VALUES(1, 'one')");
    ll_pool *pool = NULL;
    ll_pool_options options = {.max_size = 1};
    T_CHECK(ll_pool_new(t->engine, path, &options, &pool) == LL_OK);
    ll_blob_handle *blobs[2];
    for (int i = 0; i < 2; i++) {
        ll_request *request = NULL;
        T_CHECK(t_end(ll_pool_acquire(pool, "test", NULL, &request), request) == LL_OK);
        ll_lease *lease = ll_request_take_lease(request);
        ll_request_unref(request);
        request = NULL;
        blobs[i] = open_blob(ll_lease_conn(lease), 1, i == 1);
        if (i == 1)
            ll_request_unref(write_blob(blobs[i], 0, "O"));
        T_CHECK(t_end(ll_pool_release(lease, NULL, &request), request) == LL_OK);
        ll_request_unref(request);
        request = NULL;
        T_CHECK(ll_blob_read(blobs[i], 0, 1, NULL, &request) == LL_ECLOSED && request == NULL);
        T_CHECK(strstr(ll_last_error(), "lease") != NULL);
    }
    T_EQUAL(t_file_int(path, "SELECT data = 'One' FROM t"),
            1); /* closed as if it had been asked for */
    t_file_sql(path, "INSERT INTO t VALUES(2, 'two')");
    ll_pool_stats stats;
    ll_pool_get_stats(pool, &stats);
    T_EQUAL(stats.opened, 1); /* the connection was still good */
    ll_request *request = NULL;
    T_CHECK(t_end(ll_pool_close(pool, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
    ll_pool_unref(pool);
    ll_blob_free(blobs[0]);
    ll_blob_free(blobs[1]);
}

static int is_refused_in_a_child(void *arg)
{
    ll_blob_handle *blob = arg;
    ll_request *request = NULL;
    T_CHILD(ll_blob_read(blob, 0, 1, NULL, &request) == LL_EFORK);
    T_CHILD(ll_blob_write(blob, 0, "x", 1, NULL, &request) == LL_EFORK);
    T_CHILD(ll_blob_reopen(blob, 1, NULL, &request) == LL_EFORK);
    T_CHILD(ll_blob_close(blob, NULL, &request) == LL_EFORK && request == NULL);
    T_CHILD(ll_blob_size(blob) == 3);
    ll_blob_free(blob);
    return 0;
}

static void forked(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(id INTEGER PRIMARY KEY, data);"
                                  "INSERT INTO t VALUES(1, 'one')");
    ll_conn *conn = t_open(t, "a.db");
    ll_blob_handle *blob = open_blob(conn, 1, true);
    t_in_child(is_refused_in_a_child, blob);
    ll_request_unref(write_blob(blob, 0, "O"));
    close_blob(blob, LL_OK, LL_APPLIED);
    T_EQUAL(t_int(conn, "SELECT data = 'One' FROM t"), 1);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(gives_what_sqlite_gives),
        T_TEST(what_is_written_is_there_when_it_is_closed),
        T_TEST(in_a_transaction_it_is_part_of_it),
        T_TEST(requests_stand_in_the_connections_order),
        T_TEST(reopens),
        T_TEST(expires_when_its_row_is_changed),
        T_TEST(what_cannot_be_opened),
        T_TEST(wrong_arguments),
        T_TEST(closing_twice_and_using_what_is_closed),
        T_TEST(is_closed_with_its_connection),
        T_TEST(an_engine_that_ends_ends_them_too),
        T_TEST(cancelling),
        T_TEST(waits_for_the_write_lock),
        T_TEST(other_writers_wait_for_the_blob),
        T_TEST(holds_its_snapshot),
        T_TEST(ends_with_its_lease),
        T_TEST(forked),
    };
    return T_RUN(tests);
}
