/* The optional header: handles of the program's own, and calls with the handle of a connection. */
#include "support/support.h"

static void adopts_an_open_handle(void **state)
{
    t_env *t = *state;
    sqlite3 *db = t_raw_open(t_path(t, "a.db"));
    t_raw(db, "CREATE TABLE t(x); INSERT INTO t VALUES(3)");
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_adopt(t->engine, db, NULL, NULL, &conn, &request), request) == LL_OK);
    ll_request_unref(request);
    T_CHECK(t_state(conn).open);
    T_EQUAL(t_int(conn, "SELECT x FROM t"), 3);
    t_exec(conn, "INSERT INTO t VALUES(4)");
    t_exec(conn, "SELECT x FROM t");
    t_close(conn);
    /* ours again, with none of looplite's statements alive */
    T_CHECK(sqlite3_next_stmt(db, NULL) == NULL);
    T_CHECK(t_raw_int(db, "SELECT sum(x) FROM t") == 7);
    t_raw_close(db);
}

static void adopts_with_options(void **state)
{
    t_env *t = *state;
    sqlite3 *db = t_raw_open(t_path(t, "a.db"));
    static const char *const pragmas[] = {"foreign_keys=ON", NULL};
    ll_open_options options = {.pragmas = pragmas, .busy_timeout_ns = 5 * T_MS};
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_adopt(t->engine, db, &options, NULL, &conn, &request), request) == LL_OK);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "PRAGMA foreign_keys"), 1);
    t_exec(conn, "CREATE TABLE t(x)");
    sqlite3 *other = t_raw_open(t_path(t, "a.db"));
    t_raw(other, "BEGIN EXCLUSIVE");
    ll_request_unref(t_exec_fails(conn, "INSERT INTO t VALUES(1)", LL_EBUSY));
    t_close(conn);
    /* no busy handler is left behind */
    T_CHECK(t_raw_try(db, "INSERT INTO t VALUES(1)") == SQLITE_BUSY);
    t_raw(other, "COMMIT");
    t_raw_close(other);
    t_raw_close(db);
}

static void unref_gives_the_handle_back(void **state)
{
    t_env *t = *state;
    sqlite3 *db = t_raw_open(t_path(t, "a.db"));
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_adopt(t->engine, db, NULL, NULL, &conn, &request), request) == LL_OK);
    ll_request_unref(request);
    t_exec(conn, "CREATE TABLE t(x)");
    ll_conn_unref(conn);
    while (t_stats(t->engine).connections != 0)
        t_turn(t->engine);
    T_CHECK(sqlite3_next_stmt(db, NULL) == NULL);
    t_raw_close(db);
}

/* A handle that comes from functions of the program. */
struct source {
    const char *path;
    int open_code, close_code;
    const char *message;
    int opened, closed, released;
    bool statements; /* statements of looplite were alive at close */
    ll_conn *conn;   /* whom it was opened for */
    bool counts;     /* registers a progress handler */
    int progressed;
};

static int source_progress(void *arg)
{
    struct source *source = arg;
    source->progressed++;
    return ll_conn_must_stop(source->conn);
}

static int source_open(void *arg, sqlite3 **ret_db, char **ret_message)
{
    struct source *source = arg;
    source->opened++;
    source->conn = ll_adopt_conn();
    if (source->message) {
        *ret_message = malloc(strlen(source->message) + 1);
        T_CHECK(*ret_message != NULL);
        strcpy(*ret_message, source->message);
    }
    if (source->open_code)
        return source->open_code;
    int rc = sqlite3_open(source->path, ret_db);
    if (rc == SQLITE_OK && source->counts) {
        sqlite3_progress_handler(*ret_db, 1, source_progress, source);
        ll_conn_own_code(source->conn, LL_OWN_PROGRESS | LL_OWN_TOLD, 0);
    }
    return rc;
}

static int source_close(void *arg, sqlite3 *db)
{
    struct source *source = arg;
    source->closed++;
    source->statements = sqlite3_next_stmt(db, NULL) != NULL;
    int code = sqlite3_close(db);
    return code ? code : source->close_code;
}

static void source_release(void *arg)
{
    ((struct source *)arg)->released++;
}

static const ll_adopt adopt_template = {.open = source_open,
                                        .close = source_close,
                                        .release = source_release};

static void a_handle_from_functions(void **state)
{
    t_env *t = *state;
    struct source source = {.path = t_path(t, "a.db")};
    ll_adopt adopt = adopt_template;
    adopt.arg = &source;
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    ll_status status = ll_conn_open_adopted(t->engine, &adopt, NULL, NULL, &conn, &request);
    memset(&adopt, 0xff, sizeof adopt); /* it was copied */
    T_CHECK(t_end(status, request) == LL_OK);
    ll_request_unref(request);
    T_CHECK(source.opened == 1 && source.closed == 0 && source.released == 0);
    t_exec(conn, "CREATE TABLE t(x)");
    t_exec(conn, "INSERT INTO t VALUES(1)");
    t_close(conn);
    T_CHECK(source.closed == 1 && !source.statements);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_CHECK(source.opened == 1 && source.closed == 1 && source.released == 1);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT x FROM t"), 1);
}

static void an_open_function_knows_its_connection(void **state)
{
    t_env *t = *state;
    struct source source = {.path = t_path(t, "a.db"), .counts = true};
    ll_adopt adopt = adopt_template;
    adopt.arg = &source;
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(ll_adopt_conn() == NULL);
    T_CHECK(t_end(ll_conn_open_adopted(t->engine, &adopt, NULL, NULL, &conn, &request), request) ==
            LL_OK);
    ll_request_unref(request);
    T_CHECK(source.conn == conn);
    T_CHECK(ll_adopt_conn() == NULL);
    /* what it has registered there stays: its handler, in SQLite's only slot */
    t_exec(conn, "CREATE TABLE t(x)");
    T_CHECK(source.progressed > 0);
    t_close(conn);
}

static void an_open_function_that_fails(void **state)
{
    t_env *t = *state;
    for (int with_words = 0; with_words < 2; with_words++) {
        struct source source = {.open_code = SQLITE_CANTOPEN,
                                .message = with_words ? "no key for this file" : NULL};
        ll_adopt adopt = adopt_template;
        adopt.arg = &source;
        ll_conn *conn = NULL;
        ll_request *request = NULL;
        T_CHECK(t_end(ll_conn_open_adopted(t->engine, &adopt, NULL, NULL, &conn, &request),
                      request) == LL_ESQL);
        t_is(request, LL_ESQL, LL_NOT_APPLIED);
        T_CHECK((ll_request_error(request)->sqlite_code & 0xff) == SQLITE_CANTOPEN);
        if (with_words)
            T_SAME_TEXT(ll_request_error(request)->message, "no key for this file");
        else
            T_CHECK(ll_request_error(request)->message[0] != '\0');
        ll_request_unref(request);
        ll_conn_unref(conn);
        t_engine(t, NULL); /* the old one is freed */
        T_CHECK(source.opened == 1 && source.closed == 0 && source.released == 1);
    }
}

static void a_close_function_that_fails(void **state)
{
    t_env *t = *state;
    struct source source = {.path = t_path(t, "a.db"), .close_code = SQLITE_IOERR};
    ll_adopt adopt = adopt_template;
    adopt.arg = &source;
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_open_adopted(t->engine, &adopt, NULL, NULL, &conn, &request), request) ==
            LL_OK);
    ll_request_unref(request);
    request = NULL;
    T_CHECK(t_end(ll_conn_close(conn, NULL, &request), request) == LL_ESQL);
    T_CHECK((ll_request_error(request)->sqlite_code & 0xff) == SQLITE_IOERR);
    ll_request_unref(request);
    T_CHECK(!t_state(conn).open);
    ll_conn_unref(conn);
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_CHECK(source.closed == 1 && source.released == 1);
}

static void released_also_when_it_is_refused(void **state)
{
    t_env *t = *state;
    struct source source = {.path = t_path(t, "a.db")};
    ll_adopt adopt = adopt_template;
    adopt.arg = &source;
    ll_request *request = NULL;
    T_CHECK(ll_conn_open_adopted(t->engine, &adopt, NULL, NULL, NULL, &request) == LL_EINVAL);
    T_CHECK(source.opened == 0 && source.released == 1);
    ll_conn *conn = NULL;
    T_CHECK(ll_conn_open_adopted(NULL, &adopt, NULL, NULL, &conn, &request) == LL_EINVAL);
    T_CHECK(source.opened == 0 && source.released == 2);
    T_CHECK(ll_conn_open_adopted(t->engine, NULL, NULL, NULL, &conn, &request) == LL_EINVAL);
    T_CHECK(!conn && !request);
}

/* ---- calls ---- */

struct call {
    int code;
    int calls;
    int64_t changes;
};

static int inserts(sqlite3 *db, void *arg)
{
    struct call *call = arg;
    call->calls++;
    if (sqlite3_exec(db, "INSERT INTO t VALUES(1), (2)", NULL, NULL, NULL) != SQLITE_OK)
        return sqlite3_errcode(db);
    call->changes = sqlite3_changes(db);
    return call->code;
}

static int fails_in_sql(sqlite3 *db, void *arg)
{
    (void)arg;
    return sqlite3_exec(db, "INSERT INTO nowhere VALUES(1)", NULL, NULL, NULL);
}

static void a_call_in_its_turn(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    struct call call = {0};
    ll_request *create = NULL, *request = NULL;
    ll_status created = ll_exec(conn, "CREATE TABLE t(x)", NULL, 0, NULL, &create);
    ll_status called = ll_conn_call(conn, inserts, &call, NULL, &request);
    T_CHECK(t_end(called, request) == LL_OK);
    T_CHECK(t_end(created, create) == LL_OK);
    t_is(request, LL_OK, LL_APPLIED);
    T_CHECK(call.calls == 1 && call.changes == 2);
    ll_request_unref(create);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT sum(x) FROM t"), 3);
    T_CHECK(t_state(conn).total_changes == 2);
    t_close(conn);
}

static void a_call_that_fails(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_request *request = NULL;
    T_CHECK(t_end(ll_conn_call(conn, fails_in_sql, NULL, NULL, &request), request) == LL_ESQL);
    t_is(request, LL_ESQL, LL_UNKNOWN);
    T_SAME_TEXT(ll_request_error(request)->message, "no such table: nowhere");
    T_CHECK((ll_request_error(request)->sqlite_code & 0xff) == SQLITE_ERROR);
    ll_request_unref(request);
    t_exec(conn, "CREATE TABLE t(x)");
    struct call call = {.code = SQLITE_ABORT};
    request = NULL;
    T_CHECK(t_end(ll_conn_call(conn, inserts, &call, NULL, &request), request) == LL_ESQL);
    t_is(request, LL_ESQL, LL_UNKNOWN);
    T_CHECK((ll_request_error(request)->sqlite_code & 0xff) == SQLITE_ABORT);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 2);
    t_close(conn);
}

static void a_call_that_is_cancelled_before_it_begins(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_exec(conn, "CREATE TABLE t(x)");
    struct call call = {0};
    ll_request *first = NULL, *second = NULL;
    ll_status held = ll_conn_call(conn, t_gate_call, gate, NULL, &first);
    T_CHECK(ll_conn_call(conn, inserts, &call, NULL, &second) == LL_PENDING);
    T_CHECK(ll_request_cancel(second) == LL_OK);
    t_gate_open(gate);
    T_CHECK(ll_request_wait(second) == LL_ECANCELLED);
    T_CHECK(t_end(held, first) == LL_OK);
    t_is(second, LL_ECANCELLED, LL_NOT_APPLIED);
    T_CHECK(call.calls == 0);
    ll_request_unref(first);
    ll_request_unref(second);
    t_close(conn);
}

static void the_vfs_has_a_name(void **state)
{
    t_env *t = *state;
    const char *name = NULL, *again = NULL;
    T_CHECK(ll_vfs_install(&name) == LL_OK && ll_vfs_install(&again) == LL_OK);
    T_SAME_TEXT(name, again);
    T_CHECK(sqlite3_vfs_find(name) != NULL);
    T_CHECK(sqlite3_vfs_find(NULL) != sqlite3_vfs_find(name)); /* not the default one */
    /* it works for sqlite3 itself, too */
    sqlite3 *db = NULL;
    T_CHECK(sqlite3_open_v2(t_path(t, "a.db"), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                            name) == SQLITE_OK);
    t_raw(db, "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1)");
    T_CHECK(t_raw_int(db, "SELECT x FROM t") == 1);
    t_raw_close(db);
    ll_open_options options = {.vfs = name};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    T_EQUAL(t_int(conn, "SELECT x FROM t"), 1);
    t_close(conn);
}

static ll_symbol find_nothing(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return NULL;
}

static void another_sqlite_comes_too_late(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    T_CHECK(ll_sqlite_use(find_nothing, NULL) == LL_EINVAL);
    T_CHECK(ll_last_error()[0] != '\0');
    t_exec(conn, "SELECT 1");
    t_close(conn);
    T_CHECK(ll_sqlite_use(NULL, NULL) == LL_EINVAL);
}

static void *counted_resize(void *memory, size_t size)
{
    T_CHECK(size != 0);
    return realloc(memory, size);
}

static void the_allocator_comes_first(void **state)
{
    (void)state;
    T_CHECK(ll_set_allocator(counted_resize, free) == LL_EINVAL); /* an engine is alive */
    T_CHECK(ll_last_error()[0] != '\0');
    T_CHECK(ll_set_allocator(NULL, free) == LL_EINVAL);
    T_CHECK(ll_set_allocator(counted_resize, NULL) == LL_EINVAL);
}

static void a_commit_of_what_was_begun_beside_us(void **state)
{
    t_env *t = *state;
    for (int commit = 0; commit < 2; commit++) {
        sqlite3 *db = t_raw_open(t_path(t, "a.db"));
        t_raw(db, "CREATE TABLE IF NOT EXISTS t(x)");
        ll_conn *conn = NULL;
        ll_request *request = NULL;
        T_CHECK(t_end(ll_conn_adopt(t->engine, db, NULL, NULL, &conn, &request), request) == LL_OK);
        ll_request_unref(request);
        T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
        t_raw(db, "BEGIN; INSERT INTO t VALUES(1)"); /* the connection is idle */
        ll_status status = commit ? ll_txn_commit(conn, NULL, &request)
                                  : ll_txn_rollback(conn, NULL, &request);
        T_CHECK(t_end(status, request) == LL_OK);
        t_is(request, LL_OK, LL_APPLIED);
        ll_request_unref(request);
        T_CHECK(sqlite3_get_autocommit(db));
        T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), commit);
        t_close(conn);
        t_raw_close(db);
    }
}

int main(void)
{
    /* before the first object */
    if (ll_set_allocator(counted_resize, free) != LL_OK)
        return 99;
    const struct CMUnitTest tests[] = {
        T_TEST(adopts_an_open_handle),
        T_TEST(adopts_with_options),
        T_TEST(unref_gives_the_handle_back),
        T_TEST(a_handle_from_functions),
        T_TEST(an_open_function_knows_its_connection),
        T_TEST(an_open_function_that_fails),
        T_TEST(a_close_function_that_fails),
        T_TEST(released_also_when_it_is_refused),
        T_TEST(a_call_in_its_turn),
        T_TEST(a_call_that_fails),
        T_TEST(a_call_that_is_cancelled_before_it_begins),
        T_TEST(the_vfs_has_a_name),
        T_TEST(another_sqlite_comes_too_late),
        T_TEST(the_allocator_comes_first),
        T_TEST(a_commit_of_what_was_begun_beside_us),
    };
    return T_RUN(tests);
}
