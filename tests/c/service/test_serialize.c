/* A database as bytes and back, compared with sqlite3_serialize(), sqlite3_deserialize() and the file itself. */
#include "support/support.h"

#include "base/fault.h"
#include "db/api.h"

#include <stdio.h>

static const char schema[] = "CREATE TABLE t(id INTEGER PRIMARY KEY, x);"
                             "INSERT INTO t(x) SELECT hex(randomblob(300)) FROM "
                             "(WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c "
                             "LIMIT 100) SELECT i FROM c)";

static ll_request *serialize(ll_conn *conn, const char *name)
{
    ll_request *request = NULL;
    (void)t_end(ll_serialize(conn, name, NULL, &request), request);
    T_CHECK(request != NULL);
    return request;
}

static ll_request *deserialize(ll_conn *conn, const char *name, const void *bytes, size_t size,
                               unsigned flags)
{
    ll_request *request = NULL;
    (void)t_end(ll_deserialize(conn, name, bytes, size, flags, NULL, &request), request);
    T_CHECK(request != NULL);
    return request;
}

static void fails(ll_request *request, ll_status status, int code, const char *words)
{
    t_is(request, status, LL_NOT_APPLIED);
    T_EQUAL(ll_request_error(request)->sqlite_code & 0xff, code);
    if (!strstr(ll_request_error(request)->message, words))
        t_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", ll_request_error(request)->message,
               words);
    T_CHECK(ll_request_bytes(request, NULL) == NULL);
    ll_request_unref(request);
}

/* The bytes of a file; the caller frees them. */
static char *slurp(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    T_CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    long size = ftell(file);
    char *bytes = malloc((size_t)size + 1);
    T_CHECK(bytes && fseek(file, 0, SEEK_SET) == 0);
    T_CHECK(fread(bytes, 1, (size_t)size, file) == (size_t)size);
    fclose(file);
    *ret_size = (size_t)size;
    return bytes;
}

static void gives_the_file(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path, schema);
    size_t size, expected_size;
    char *expected = slurp(path, &expected_size);
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = serialize(conn, NULL);
    t_is(request, LL_OK, LL_APPLIED);
    const void *bytes = ll_request_bytes(request, &size);
    T_CHECK(size == expected_size && memcmp(bytes, expected, size) == 0);
    t_close(conn); /* the bytes are the request's */
    T_CHECK(memcmp(bytes, expected, size) == 0);
    ll_request_unref(request);
    free(expected);
}

static void there_and_back(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *conn = t_open(t, "a.db"), *copy = t_open(t, "b.db");
    t_exec(copy, "CREATE TABLE mine(x)");
    t_exec(conn, "BEGIN");
    t_exec(conn, "INSERT INTO t VALUES(1000, 'not committed')"); /* is part of what it sees */
    ll_request *request = serialize(conn, "main");
    size_t size;
    const void *bytes = ll_request_bytes(request, &size);
    t_exec(conn, "ROLLBACK");
    /* statements that were kept, and what was known of the file, are of another database now */
    T_EQUAL(t_int(copy, "SELECT count(*) FROM mine"), 0);
    ll_request_unref(deserialize(copy, NULL, bytes, size, 0));
    ll_request_unref(request);
    T_EQUAL(t_int(copy, "SELECT count(*) FROM t"), 101);
    T_EQUAL(t_int(copy, "SELECT x = 'not committed' FROM t WHERE id = 1000"), 1);
    t_exec(copy, "INSERT INTO t VALUES(1001, 'grows')");
    t_exec(copy, "BEGIN");
    for (int i = 0; i < 3; i++)
        t_exec(copy, "INSERT INTO t(x) SELECT x FROM t");
    t_exec(copy, "COMMIT");
    T_EQUAL(t_int(copy, "SELECT count(*) FROM t"), 102 * 8);
    T_EQUAL(t_int(copy, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"),
            1);
    ll_request_unref(t_exec_fails(copy, "SELECT * FROM mine", LL_ESQL));
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 100);
    t_close(copy);
    t_close(conn);
    T_EQUAL(t_file_int(t_path(t, "b.db"), "SELECT count(*) FROM mine"), 0); /* untouched */
}

/* What another connection writes is another's affair from then on. */
static void leaves_its_file_and_its_place_in_line(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
    ll_conn *conn = t_open(t, "a.db"), *other = t_open(t, "a.db");
    for (int i = 0; i < 5; i++) /* some of them on the loop, with a held snapshot */
        T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    ll_request *request = serialize(conn, NULL);
    size_t size;
    const void *bytes = ll_request_bytes(request, &size);
    ll_request_unref(deserialize(conn, NULL, bytes, size, 0));
    ll_request_unref(request);
    t_exec(other, "BEGIN IMMEDIATE");
    t_exec(other, "INSERT INTO t VALUES(1)");
    t_exec(conn, "INSERT INTO t VALUES(2)"); /* waits for nobody */
    for (int i = 0; i < 5; i++)
        T_EQUAL(t_int(conn, "SELECT count(*) FROM t WHERE x = 2"), 1);
    t_exec(other, "COMMIT");
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 1);
    T_EQUAL(t_int(other, "SELECT count(*) FROM t WHERE x = 1"), 1);
    t_close(conn);
    t_close(other);
}

static void empty_and_read_only(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open_with(t->engine, ":memory:", NULL);
    ll_request *request = serialize(conn, "main");
    size_t size = 1;
    t_is(request, LL_OK, LL_APPLIED);
    (void)ll_request_bytes(request, &size);
    /* (Newer versions of SQLite make an empty database one page long first.) */
    T_CHECK(size == 0 || size % 512 == 0);
    ll_request_unref(request);
    ll_request_unref(deserialize(conn, NULL, NULL, 0, 0));
    t_exec(conn, "CREATE TABLE u(x)");
    request = serialize(conn, NULL);
    const void *bytes = ll_request_bytes(request, &size);
    ll_conn *second = t_open_with(t->engine, ":memory:", NULL);
    ll_request_unref(deserialize(second, NULL, bytes, size, LL_DESERIALIZE_READONLY));
    ll_request_unref(request);
    T_EQUAL(t_int(second, "SELECT count(*) FROM u"), 0);
    request = t_exec_fails(second, "INSERT INTO u VALUES(1)", LL_ESQL);
    T_EQUAL(ll_request_error(request)->sqlite_code & 0xff, SQLITE_READONLY);
    ll_request_unref(request);
    t_close(second);
    t_close(conn);
}

static void attached_databases(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_file_sql(t_path(t, "b.db"), schema);
    t_exec(conn, t_printf(t, "ATTACH '%s' AS side", t_path(t, "b.db")));
    ll_request *request = serialize(conn, "side");
    size_t size;
    const void *bytes = ll_request_bytes(request, &size);
    t_exec(conn, "DETACH side");
    t_exec(conn, "ATTACH ':memory:' AS other");
    ll_request_unref(deserialize(conn, "other", bytes, size, 0));
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM other.t"), 100);
    t_close(conn);
}

static void errors(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = NULL;
    fails(serialize(conn, "nowhere"), LL_ESQL, SQLITE_ERROR, "\"nowhere\" cannot be serialized");
    fails(deserialize(conn, "nowhere", "x", 1, 0), LL_ESQL, SQLITE_ERROR, "");
    fails(deserialize(conn, "Temp", "x", 1, 0), LL_ESQL, SQLITE_ERROR, "cannot be replaced");
    T_CHECK(ll_deserialize(conn, NULL, NULL, 5, 0, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_deserialize(conn, NULL, "x", SIZE_MAX, 0, NULL, &request) == LL_EINVAL);
    T_CHECK(ll_deserialize(conn, NULL, "x", 1, 8, NULL, &request) == LL_EINVAL);
    T_CHECK(strstr(ll_last_error(), "0x8") != NULL);
    T_CHECK(ll_serialize(NULL, NULL, NULL, &request) == LL_EINVAL && request == NULL);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 100); /* as it was */
    /* what is no database shows at its first use */
    char junk[2000];
    memset(junk, 'x', sizeof junk);
    ll_request_unref(deserialize(conn, NULL, junk, sizeof junk, 0));
    request = t_exec_fails(conn, "SELECT * FROM t", LL_ESQL);
    T_EQUAL(ll_request_error(request)->sqlite_code, SQLITE_NOTADB);
    ll_request_unref(request);
    t_close(conn);
    T_CHECK(ll_serialize(conn = NULL, NULL, NULL, &request) == LL_EINVAL);
}

static void while_it_is_read(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_open_options options = {.busy_timeout_ns = LL_NO_BUSY_TIMEOUT};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    ll_request *request = NULL;
    ll_sql sql = {.text = "SELECT * FROM t",
                  .size = LL_NUL_TERMINATED,
                  .flags = LL_SQL_STREAM,
                  .first_rows = 1};
    T_CHECK(t_end(ll_conn_submit(conn, &sql, NULL, &request), request) == LL_OK);
    ll_cursor *cursor = ll_request_take_cursor(request);
    T_CHECK(cursor != NULL);
    ll_request_unref(request);
    request = serialize(conn, NULL); /* which only reads */
    size_t size;
    const void *bytes = ll_request_bytes(request, &size);
    T_CHECK(size > 0);
    ll_request *busy = deserialize(conn, NULL, bytes, size, 0);
    t_is(busy, LL_EBUSY, LL_NOT_APPLIED);
    ll_request_unref(busy);
    ll_cursor_close(cursor);
    ll_request_unref(deserialize(conn, NULL, bytes, size, 0));
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 100);
    t_close(conn);
}

static void a_locked_file(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    sqlite3 *db = t_raw_open(t_path(t, "a.db"));
    t_raw(db, "BEGIN EXCLUSIVE");
    ll_request *request = NULL, *given_up = NULL;
    T_CHECK(ll_serialize(conn, NULL, NULL, &request) == LL_PENDING);
    T_CHECK(ll_serialize(conn, NULL, NULL, &given_up) == LL_PENDING);
    uint64_t parks = t_stats(t->engine).parks;
    while (t_stats(t->engine).parks < parks + 2)
        t_turn(t->engine);
    T_CHECK(ll_request_cancel(given_up) == LL_OK && ll_request_wait(given_up) == LL_ECANCELLED);
    t_raw(db, "COMMIT");
    T_CHECK(ll_request_wait(request) == LL_OK);
    ll_request_unref(request);
    ll_request_unref(given_up);
    t_raw_close(db);
    t_close(conn);
}

/* sqlite3_serialize() says nothing of a page that cannot be read: we do. */
static void a_page_that_cannot_be_read(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    for (unsigned long nth = 1;; nth++) {
        ll_conn *conn = t_open(t, "a.db");
        lli_fault_arm(LLI_FAULT_VFS, nth);
        ll_request *request = serialize(conn, NULL);
        bool fired = lli_fault_fired();
        lli_fault_disarm();
        if (ll_request_status(request) == LL_OK) {
            size_t size, expected_size;
            char *expected = slurp(t_path(t, "a.db"), &expected_size);
            const void *bytes = ll_request_bytes(request, &size);
            T_CHECK(size == expected_size && memcmp(bytes, expected, size) == 0);
            free(expected);
        } else {
            T_CHECK(fired && ll_request_outcome(request) == LL_NOT_APPLIED);
            T_CHECK(ll_request_bytes(request, NULL) == NULL);
            T_CHECK(ll_request_error(request)->sqlite_code != 0);
        }
        ll_request_unref(request);
        t_close(conn);
        if (!fired) {
            T_CHECK(nth > 10);
            return;
        }
    }
}

static void borrowed_bytes_cancelled(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    size_t size;
    char *bytes = slurp(t_path(t, "a.db"), &size);
    ll_conn *conn = t_open_with(t->engine, ":memory:", NULL);
    t_gate *gate = t_gate_new(t);
    ll_request *hold = NULL, *request = NULL, *dropped = NULL;
    T_CHECK(ll_conn_call(conn, t_gate_call, gate, NULL, &hold) == LL_PENDING);
    t_gate_entered(gate, 1);
    ll_submit how = {.flags = LL_SUBMIT_BORROW};
    T_CHECK(ll_deserialize(conn, NULL, bytes, size, 0, NULL, &dropped) == LL_PENDING);
    T_CHECK(ll_deserialize(conn, NULL, bytes, size, 0, &how, &request) == LL_PENDING);
    T_CHECK(ll_request_cancel(dropped) == LL_OK && ll_request_wait(dropped) == LL_ECANCELLED);
    t_gate_open(gate);
    T_CHECK(ll_request_wait(request) == LL_OK);
    free(bytes); /* finished: SQLite has its own */
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 100);
    T_CHECK(ll_request_wait(hold) == LL_OK);
    ll_request_unref(hold);
    ll_request_unref(request);
    ll_request_unref(dropped);
    t_close(conn);
}

static void a_sqlite_without_it(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open_with(t->engine, ":memory:", NULL);
    struct lli_sqlite whole = lli_sq;
    ll_request *request = NULL;
    lli_sq.serialize = NULL;
    lli_sq.deserialize = NULL;
    T_CHECK(ll_serialize(conn, NULL, NULL, &request) == LL_ESQL);
    T_CHECK(strstr(ll_last_error(), "has no sqlite3_serialize()") != NULL);
    T_CHECK(ll_deserialize(conn, NULL, "x", 1, 0, NULL, &request) == LL_ESQL && request == NULL);
    T_CHECK(strstr(ll_last_error(), "has no sqlite3_deserialize()") != NULL);
    lli_sq = whole;
    t_close(conn);
}

static void on_a_pools_connection(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), schema);
    ll_pool *pool = NULL;
    ll_pool_options options = {.max_size = 1};
    T_CHECK(ll_pool_new(t->engine, t_path(t, "a.db"), &options, &pool) == LL_OK);
    ll_request *request = NULL;
    T_CHECK(t_end(ll_pool_acquire(pool, "test", NULL, &request), request) == LL_OK);
    ll_lease *lease = ll_request_take_lease(request);
    ll_request_unref(request);
    ll_request_unref(deserialize(ll_lease_conn(lease), NULL, NULL, 0, 0));
    request = NULL;
    T_CHECK(t_end(ll_pool_release(lease, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
    request = NULL;
    ll_sql sql = {.text = "SELECT count(*) FROM t", .size = LL_NUL_TERMINATED};
    T_CHECK(t_end(ll_pool_exec(pool, &sql, NULL, &request), request) == LL_OK);
    t_rows rows = {.request = request};
    T_EQUAL(t_rows_next(&rows)[0].as.integer, 100); /* the next owner has the file */
    t_rows_done(&rows);
    request = NULL;
    T_CHECK(t_end(ll_pool_close(pool, NULL, &request), request) == LL_OK);
    ll_request_unref(request);
    ll_pool_unref(pool);
}

static int is_refused_in_a_child(void *arg)
{
    ll_request *request = NULL;
    T_CHILD(ll_serialize(arg, NULL, NULL, &request) == LL_EFORK);
    T_CHILD(ll_deserialize(arg, NULL, "x", 1, 0, NULL, &request) == LL_EFORK && !request);
    return 0;
}

static void forked(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open_with(t->engine, ":memory:", NULL);
    t_in_child(is_refused_in_a_child, conn);
    t_close(conn);
}

int main(void)
{
    const struct CMUnitTest without[] = {T_TEST(a_sqlite_without_it)};
    const struct CMUnitTest tests[] = {
        T_TEST(gives_the_file),
        T_TEST(there_and_back),
        T_TEST(leaves_its_file_and_its_place_in_line),
        T_TEST(empty_and_read_only),
        T_TEST(attached_databases),
        T_TEST(errors),
        T_TEST(while_it_is_read),
        T_TEST(a_locked_file),
        T_TEST(a_page_that_cannot_be_read),
        T_TEST(borrowed_bytes_cancelled),
        T_TEST(a_sqlite_without_it),
        T_TEST(on_a_pools_connection),
        T_TEST(forked),
    };
    /* (Before 3.36 it had to be asked for when SQLite was built.) */
    bool there = lli_sqlite_ready() == LL_OK && lli_sq.serialize && lli_sq.deserialize;
    return there ? T_RUN(tests) : T_RUN(without);
}
