/* Opening and closing: what can be opened, what is refused and how, and what a close does to work that
 * is still on its way. */
#include "support/support.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_file(const char *path, const char *text, size_t size)
{
    FILE *file = fopen(path, "wb");
    T_CHECK(file != NULL);
    T_CHECK(fwrite(text, 1, size, file) == size);
    T_CHECK(fclose(file) == 0);
}

/* ---- what can be opened ---- */

static void opens_a_new_file(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    T_CHECK(t_state(conn).open);
    T_CHECK(!t_state(conn).closing);
    T_CHECK(t_state(conn).idle);
    T_CHECK(t_stats(t->engine).connections == 1);
    t_exec(conn, "CREATE TABLE t(x)");
    t_exec(conn, "INSERT INTO t VALUES(7)");
    t_close(conn);
    T_CHECK(t_stats(t->engine).connections == 0);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT x FROM t"), 7);
}

static void is_used_before_it_is_open(void **state)
{
    t_env *t = *state;
    ll_conn *conn = NULL;
    ll_request *open = NULL, *create = NULL, *count = NULL;
    ll_status opened = ll_conn_open(t->engine, t_path(t, "a.db"), NULL, NULL, &conn, &open);
    ll_status created = ll_exec(conn, "CREATE TABLE t AS SELECT 5 AS x", NULL, 0, NULL, &create);
    ll_status counted = ll_query(conn, "SELECT x FROM t", NULL, 0, NULL, &count);
    T_CHECK(t_end(counted, count) == LL_OK);
    T_CHECK(t_end(created, create) == LL_OK);
    T_CHECK(t_end(opened, open) == LL_OK);
    t_rows rows = {.request = count};
    T_CHECK(t_rows_next(&rows)[0].as.integer == 5);
    t_rows_done(&rows);
    ll_request_unref(create);
    ll_request_unref(open);
    t_close(conn);
}

static void memory_and_temporary_databases(void **state)
{
    t_env *t = *state;
    static const char *const names[] = {":memory:", ""};
    for (size_t i = 0; i < 2; i++) {
        ll_conn *conn = t_open_with(t->engine, names[i], NULL);
        t_exec(conn, "CREATE TABLE t(x)");
        T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
        t_close(conn);
    }
}

static void uri_names(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(x); INSERT INTO t VALUES(3)");
    ll_open_options options = {.flags = LL_OPEN_URI};
    ll_conn *conn = t_open_with(t->engine, t_printf(t, "file:%s/a.db?mode=ro", t->dir), &options);
    T_EQUAL(t_int(conn, "SELECT x FROM t"), 3);
    ll_request *request = t_exec_fails(conn, "INSERT INTO t VALUES(4)", LL_ESQL);
    T_CHECK((ll_request_error(request)->sqlite_code & 0xff) == SQLITE_READONLY);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    ll_request_unref(request);
    t_close(conn);
    t_open_fails(t->engine, t_printf(t, "file:%s/no.db?mode=rw", t->dir), &options, LL_ESQL,
                 SQLITE_CANTOPEN);
    T_CHECK(access(t_path(t, "no.db"), F_OK) != 0);
}

static void pragmas_run_in_order(void **state)
{
    t_env *t = *state;
    static const char *const pragmas[] = {"page_size=8192", "journal_mode=WAL", "foreign_keys=ON",
                                          "user_version=41", NULL};
    ll_open_options options = {.pragmas = pragmas};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    T_EQUAL(t_int(conn, "PRAGMA page_size"), 8192);
    T_EQUAL(t_int(conn, "PRAGMA foreign_keys"), 1);
    T_EQUAL(t_int(conn, "PRAGMA user_version"), 41);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'"), 1);
    t_close(conn);
}

static void a_pragma_that_fails_fails_the_open(void **state)
{
    t_env *t = *state;
    static const char *const pragmas[] = {"user_version=1", "user_version = = 2", NULL};
    ll_open_options options = {.pragmas = pragmas};
    t_open_fails(t->engine, t_path(t, "a.db"), &options, LL_ESQL, SQLITE_ERROR);
}

static void read_only(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.flags = LL_OPEN_READONLY};
    t_open_fails(t->engine, t_path(t, "a.db"), &options, LL_ESQL, SQLITE_CANTOPEN);
    T_CHECK(access(t_path(t, "a.db"), F_OK) != 0);
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(x); INSERT INTO t VALUES(3)");
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    T_EQUAL(t_int(conn, "SELECT x FROM t"), 3);
    ll_request *request = t_exec_fails(conn, "DELETE FROM t", LL_ESQL);
    T_CHECK((ll_request_error(request)->sqlite_code & 0xff) == SQLITE_READONLY);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    ll_request_unref(request);
    t_close(conn);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), 1);
}

static void no_create(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.flags = LL_OPEN_NO_CREATE};
    t_open_fails(t->engine, t_path(t, "a.db"), &options, LL_ESQL, SQLITE_CANTOPEN);
    T_CHECK(access(t_path(t, "a.db"), F_OK) != 0);
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(x)");
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    t_exec(conn, "INSERT INTO t VALUES(1)");
    t_close(conn);
}

static void no_follow(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(x)");
    T_CHECK(symlink(t_path(t, "a.db"), t_path(t, "link")) == 0);
    ll_open_options options = {.flags = LL_OPEN_NO_FOLLOW};
    t_open_fails(t->engine, t_path(t, "link"), &options, LL_ESQL, SQLITE_CANTOPEN);
    ll_conn *conn = t_open_with(t->engine, t_path(t, "link"), NULL);
    T_EQUAL(t_int(conn, "SELECT count(*) FROM t"), 0);
    t_close(conn);
}

static void a_vfs_by_name(void **state)
{
    t_env *t = *state;
    ll_open_options options = {.vfs = "unix"};
    ll_conn *conn = t_open_with(t->engine, t_path(t, "a.db"), &options);
    t_exec(conn, "CREATE TABLE t(x)");
    t_close(conn);
    options.vfs = "no such vfs";
    t_open_fails(t->engine, t_path(t, "b.db"), &options, LL_ESQL, 0);
}

/* ---- what cannot ---- */

static void a_directory_a_missing_directory_and_a_long_name(void **state)
{
    t_env *t = *state;
    T_CHECK(mkdir(t_path(t, "folder"), 0777) == 0);
    t_open_fails(t->engine, t_path(t, "folder"), NULL, LL_ESQL, SQLITE_CANTOPEN);
    t_open_fails(t->engine, t_path(t, "missing/a.db"), NULL, LL_ESQL, SQLITE_CANTOPEN);
    char name[6000];
    memset(name, 'x', sizeof name);
    name[0] = '/';
    name[sizeof name - 1] = '\0';
    t_open_fails(t->engine, name, NULL, LL_ESQL, SQLITE_CANTOPEN);
}

static void what_is_no_database(void **state)
{
    t_env *t = *state;
    char page[8192];
    t->damaged = true;
    memset(page, 'z', sizeof page);
    write_file(t_path(t, "junk"), page, sizeof page);
    t_open_fails(t->engine, t_path(t, "junk"), NULL, LL_ESQL, SQLITE_NOTADB);
}

static void a_damaged_page_is_an_error_and_the_connection_lives(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t->damaged = true;
    t_file_sql(path, "PRAGMA page_size=4096; CREATE TABLE t(x); CREATE TABLE u(x);"
                     "INSERT INTO t VALUES(1); INSERT INTO u VALUES(2)");
    int fd = open(path, O_WRONLY);
    char junk[4096];
    memset(junk, 0xff, sizeof junk);
    T_CHECK(fd >= 0 && pwrite(fd, junk, sizeof junk, 4096) == (ssize_t)sizeof junk);
    T_CHECK(close(fd) == 0);
    ll_conn *conn = t_open_with(t->engine, path, NULL);
    ll_request *request = t_exec_fails(conn, "SELECT * FROM t", LL_ESQL);
    T_CHECK((ll_request_error(request)->sqlite_code & 0xff) == SQLITE_CORRUPT);
    t_is(request, LL_ESQL, LL_NOT_APPLIED);
    ll_request_unref(request);
    T_EQUAL(t_int(conn, "SELECT x FROM u"), 2);
    t_close(conn);
}

/* As a user who may do nothing, for root may do everything. */
static int without_rights(void *arg)
{
    t_env *t = arg;
    ll_engine *engine = NULL;
    static const char *const names[] = {"unreadable.db", "readonly.db"};
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        return 0;
    T_CHILD(ll_engine_new(NULL, &engine) == LL_OK);
    for (size_t i = 0; i < 2; i++) {
        ll_conn *conn = NULL;
        ll_request *request = NULL;
        ll_status status = ll_conn_open(engine, t_path(t, names[i]), NULL, NULL, &conn, &request);
        T_CHILD(status >= 0);
        if (status == LL_PENDING)
            status = ll_request_wait(request);
        if (i == 0) {
            T_CHILD(status == LL_ESQL);
            T_CHILD((ll_request_error(request)->sqlite_code & 0xff) == SQLITE_CANTOPEN);
        } else {
            /* SQLite itself falls back to reading */
            ll_request *write = NULL, *read = NULL;
            T_CHILD(status == LL_OK);
            status = ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0, NULL, &write);
            if (status == LL_PENDING)
                status = ll_request_wait(write);
            T_CHILD(status == LL_ESQL);
            T_CHILD((ll_request_error(write)->sqlite_code & 0xff) == SQLITE_READONLY);
            T_CHILD(ll_request_outcome(write) == LL_NOT_APPLIED);
            status = ll_exec(conn, "SELECT * FROM t", NULL, 0, NULL, &read);
            if (status == LL_PENDING)
                status = ll_request_wait(read);
            T_CHILD(status == LL_OK);
            ll_request_unref(write);
            ll_request_unref(read);
        }
        ll_request_unref(request);
        ll_conn_unref(conn);
    }
    ll_engine_free(engine);
    return 0;
}

static void unreadable_and_read_only_files(void **state)
{
    t_env *t = *state;
    t_file_sql(t_path(t, "unreadable.db"), "CREATE TABLE t(x)");
    t_file_sql(t_path(t, "readonly.db"), "CREATE TABLE t(x)");
    T_CHECK(chmod(t_path(t, "unreadable.db"), 0) == 0);
    T_CHECK(chmod(t_path(t, "readonly.db"), 0444) == 0);
    T_CHECK(chmod(t->dir, 0755) == 0);
    t_in_child(without_rights, t);
    T_CHECK(chmod(t_path(t, "unreadable.db"), 0644) == 0);
}

static void what_waits_behind_a_failed_open_fails(void **state)
{
    t_env *t = *state;
    ll_conn *conn = NULL;
    ll_request *open = NULL, *write = NULL, *begin = NULL;
    ll_status opened = ll_conn_open(t->engine, t_path(t, "missing/a.db"), NULL, NULL, &conn, &open);
    ll_status written = ll_exec(conn, "CREATE TABLE t(x)", NULL, 0, NULL, &write);
    ll_status begun = ll_txn_begin(conn, LL_BEGIN_DEFERRED, NULL, &begin);
    T_CHECK(t_end(opened, open) == LL_ESQL);
    T_CHECK(t_end(written, write) == LL_ECLOSED);
    T_CHECK(t_end(begun, begin) == LL_ECLOSED);
    if (write)
        t_is(write, LL_ECLOSED, LL_NOT_APPLIED);
    ll_request_unref(open);
    ll_request_unref(write);
    ll_request_unref(begin);
    t_close(conn);
}

/* ---- arguments ---- */

/* Counts what is not refused as it should be, so that one run tells all. */
static size_t wrong;

static void refused(ll_status status, const char *name, const char *call)
{
    if (status == LL_EINVAL && strstr(ll_last_error(), name))
        return;
    print_error("%s: gave %s, '%s', expected LL_EINVAL naming '%s'\n", call, ll_status_name(status),
                ll_last_error(), name);
    wrong++;
}

#define REFUSED(call, name) refused(call, name, #call)

static void wrong_arguments_are_named(void **state)
{
    t_env *t = *state;
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    ll_engine *engine = NULL;
    const char *path = t_path(t, "a.db");
    REFUSED(ll_engine_new(NULL, NULL), "ret_engine");
    REFUSED(ll_engine_dispatch(NULL, NULL), "engine");
    REFUSED(ll_engine_wait(NULL, 0, NULL), "engine");
    REFUSED(ll_conn_open(NULL, path, NULL, NULL, &conn, &request), "engine");
    REFUSED(ll_conn_open(t->engine, NULL, NULL, NULL, &conn, &request), "path");
    REFUSED(ll_conn_open(t->engine, path, NULL, NULL, NULL, &request), "ret_conn");
    T_CHECK(!conn && !request && !engine);
    T_CHECK(access(path, F_OK) != 0);

    conn = t_open(t, "a.db");
    ll_many many = {.text = NULL, .size = LL_NUL_TERMINATED};
    REFUSED(ll_exec(NULL, "SELECT 1", NULL, 0, NULL, &request), "conn");
    REFUSED(ll_exec(conn, NULL, NULL, 0, NULL, &request), "sql");
    REFUSED(ll_exec(conn, "SELECT ?", NULL, 1, NULL, &request), "values");
    REFUSED(ll_exec(conn, "SELECT 1", NULL, 0, NULL, NULL), "ret_request");
    REFUSED(ll_query(NULL, "SELECT 1", NULL, 0, NULL, &request), "conn");
    REFUSED(ll_query(conn, NULL, NULL, 0, NULL, &request), "sql");
    REFUSED(ll_stream(conn, NULL, NULL, 0, NULL, &request), "sql");
    REFUSED(ll_conn_submit(conn, NULL, NULL, &request), "sql");
    const char *const no_name[] = {NULL};
    const ll_value one = ll_integer(1);
    ll_sql nameless = {.text = "SELECT :a",
                       .size = LL_NUL_TERMINATED,
                       .params = {.values = &one, .names = no_name, .count = 1}};
    REFUSED(ll_conn_submit(conn, &nameless, NULL, &request), "names");
    REFUSED(ll_exec_many(conn, NULL, NULL, &request), "many");
    REFUSED(ll_exec_many(conn, &many, NULL, &request), "text");
    many.text = "INSERT INTO t VALUES(?)";
    many.rows = 3;
    many.width = 1;
    REFUSED(ll_exec_many(conn, &many, NULL, &request), "values");
    REFUSED(ll_script(conn, NULL, 0, false, NULL, &request), "text");
    REFUSED(ll_script(NULL, "", 0, false, NULL, &request), "conn");
    REFUSED(ll_prepare(conn, NULL, 0, NULL, &request), "text");
    REFUSED(ll_stmt_submit(NULL, NULL, 0, NULL, &request), "stmt");
    REFUSED(ll_txn_begin(NULL, LL_BEGIN_DEFERRED, NULL, &request), "conn");
    REFUSED(ll_txn_begin(conn, LL_BEGIN_NONE, NULL, &request), "mode");
    REFUSED(ll_txn_begin(conn, (ll_begin)17, NULL, &request), "mode");
    REFUSED(ll_txn_commit(NULL, NULL, &request), "conn");
    REFUSED(ll_txn_rollback(NULL, NULL, &request), "conn");
    REFUSED(ll_conn_close(NULL, NULL, &request), "conn");
    REFUSED(ll_conn_interrupt(NULL), "conn");
    REFUSED(ll_conn_call(conn, NULL, NULL, NULL, &request), "call");
    REFUSED(ll_conn_adopt(t->engine, NULL, NULL, NULL, &conn, &request), "db");
    REFUSED(ll_cursor_next(NULL, NULL, &request), "cursor");
    REFUSED(ll_cursor_set_ahead(NULL, 1, 1), "cursor");
    REFUSED(ll_request_cancel(NULL), "request");
    T_CHECK(!request);
    T_CHECK(wrong == 0);
    /* the answers that need no status */
    ll_conn_unref(NULL);
    ll_request_unref(NULL);
    ll_cursor_close(NULL);
    ll_stmt_free(NULL);
    ll_batch_free(NULL);
    ll_columns_unref(NULL);
    ll_engine_free(NULL);
    ll_engine_abandon(NULL);
    T_CHECK(ll_batch_rows(NULL) == 0 && ll_batch_columns(NULL) == 0);
    T_CHECK(ll_columns_count(NULL) == 0);
    t_close(conn);
}

static void names_and_texts(void **state)
{
    (void)state;
    for (int status = LL_ESTATEMENTS; status <= LL_PENDING; status++) {
        T_CHECK(strncmp(ll_status_name((ll_status)status), "LL_", 3) == 0);
        T_CHECK(strcmp(ll_status_name((ll_status)status), "LL_?") != 0);
        T_CHECK(ll_status_text((ll_status)status)[0] != '\0');
    }
    T_SAME_TEXT(ll_status_name((ll_status)-4000), "LL_?");
    T_CHECK(ll_status_text((ll_status)-4000) != NULL);
    T_SAME_TEXT(ll_status_name(LL_EBUSY), "LL_EBUSY");
    T_SAME_TEXT(ll_version(), LL_VERSION);
}

/* ---- closing ---- */

static void after_close_all_is_refused(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    ll_conn_ref(conn);
    t_close(conn);
    T_CHECK(t_state(conn).closing && !t_state(conn).open);
    ll_request *request = NULL;
    ll_value values[1] = {ll_integer(1)};
    ll_many many = {.text = "SELECT 1", .size = LL_NUL_TERMINATED};
    T_CHECK(ll_exec(conn, "SELECT 1", NULL, 0, NULL, &request) == LL_ECLOSED);
    T_CHECK(ll_last_error()[0] != '\0');
    T_CHECK(ll_query(conn, "SELECT ?", values, 1, NULL, &request) == LL_ECLOSED);
    T_CHECK(ll_stream(conn, "SELECT 1", NULL, 0, NULL, &request) == LL_ECLOSED);
    T_CHECK(ll_exec_many(conn, &many, NULL, &request) == LL_ECLOSED);
    T_CHECK(ll_script(conn, "", 0, false, NULL, &request) == LL_ECLOSED);
    T_CHECK(ll_txn_begin(conn, LL_BEGIN_DEFERRED, NULL, &request) == LL_ECLOSED);
    T_CHECK(ll_txn_commit(conn, NULL, &request) == LL_ECLOSED);
    T_CHECK(ll_txn_rollback(conn, NULL, &request) == LL_ECLOSED);
    T_CHECK(ll_prepare(conn, "SELECT 1", LL_NUL_TERMINATED, NULL, &request) == LL_ECLOSED);
    T_CHECK(ll_conn_call(conn, t_gate_call, NULL, NULL, &request) == LL_ECLOSED);
    T_CHECK(request == NULL);
    T_CHECK(ll_conn_interrupt(conn) == LL_OK);
    ll_conn_unref(conn);
}

static void a_second_close_waits_for_the_first(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    ll_request *call = NULL, *first = NULL, *second = NULL, *third = NULL;
    ll_status called = ll_conn_call(conn, t_gate_call, gate, NULL, &call);
    t_gate_entered(gate, 1);
    ll_status one = ll_conn_close(conn, NULL, &first);
    ll_status two = ll_conn_close(conn, NULL, &second);
    T_CHECK(one == LL_PENDING && two == LL_PENDING);
    T_CHECK(t_state(conn).closing && t_state(conn).open);
    t_gate_open(gate);
    T_CHECK(t_end(two, second) == LL_OK);
    T_CHECK(t_end(one, first) == LL_OK);
    T_CHECK(t_end(called, call) == LL_OK);
    T_CHECK(t_end(ll_conn_close(conn, NULL, &third), third) == LL_OK);
    ll_request_unref(call);
    ll_request_unref(first);
    ll_request_unref(second);
    ll_request_unref(third);
    ll_conn_unref(conn);
}

static void close_comes_after_what_was_submitted(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    t_exec(conn, "CREATE TABLE t(x)");
    t_told call = {0}, inserts[20] = {{0}}, closing = {0};
    T_CHECK(ll_conn_call(conn, t_gate_call, gate, &(ll_submit){.done = t_tell, .user = &call},
                         NULL) == LL_PENDING);
    for (size_t i = 0; i < 20; i++)
        T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0,
                        &(ll_submit){.done = t_tell, .user = &inserts[i]}, NULL) == LL_PENDING);
    T_CHECK(ll_conn_close(conn, &(ll_submit){.done = t_tell, .user = &closing}, NULL) ==
            LL_PENDING);
    ll_request *late = NULL;
    T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(2)", NULL, 0, NULL, &late) == LL_ECLOSED);
    T_CHECK(!late);
    t_gate_open(gate);
    t_until(t->engine, &closing.calls, 1);
    T_CHECK(closing.status == LL_OK);
    for (size_t i = 0; i < 20; i++)
        T_CHECK(inserts[i].calls == 1 && inserts[i].status == LL_OK &&
                inserts[i].outcome == LL_APPLIED && inserts[i].order < closing.order);
    ll_conn_unref(conn);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t WHERE x = 1"), 20);
}

static void a_close_cannot_be_cancelled(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    ll_request *call = NULL, *closing = NULL;
    ll_status called = ll_conn_call(conn, t_gate_call, gate, NULL, &call);
    ll_status closed = ll_conn_close(conn, NULL, &closing);
    T_CHECK(ll_request_cancel(closing) == LL_OK);
    t_gate_open(gate);
    T_CHECK(t_end(closed, closing) == LL_OK);
    T_CHECK(t_end(called, call) == LL_OK);
    T_CHECK(!t_state(conn).open);
    ll_request_unref(call);
    ll_request_unref(closing);
    ll_conn_unref(conn);
}

static void close_rolls_back(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    t_exec(conn, "BEGIN IMMEDIATE");
    t_exec(conn, "INSERT INTO t VALUES(1)");
    t_close(conn);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), 0);
}

static void unref_closes_after_the_work(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_gate *gate = t_gate_new(t);
    size_t done = 0;
    t_exec(conn, "CREATE TABLE t(x)");
    T_CHECK(ll_conn_call(conn, t_gate_call, gate, &(ll_submit){.done = t_count, .user = &done},
                         NULL) == LL_PENDING);
    for (size_t i = 0; i < 10; i++)
        T_CHECK(ll_exec(conn, "INSERT INTO t VALUES(1)", NULL, 0,
                        &(ll_submit){.done = t_count, .user = &done}, NULL) == LL_PENDING);
    ll_conn_unref(conn);
    t_gate_open(gate);
    t_until(t->engine, &done, 11);
    while (t_stats(t->engine).connections != 0)
        t_turn(t->engine);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), 10);
}

static void unref_of_an_idle_connection_and_engine_free(void **state)
{
    t_env *t = *state;
    ll_conn *conn = t_open(t, "a.db");
    t_exec(conn, "CREATE TABLE t(x)");
    ll_conn_unref(conn);
    ll_conn *open = t_open(t, "b.db");
    t_exec(open, "CREATE TABLE t(x)");
    ll_engine_free(t->engine);
    t->engine = NULL;
    T_CHECK(!t_state(open).open);
    ll_request *request = NULL;
    T_CHECK(ll_exec(open, "SELECT 1", NULL, 0, NULL, &request) < 0);
    ll_conn_unref(open);
}

static void open_and_close_leave_nothing_behind(void **state)
{
    /* no descriptor and no object is left behind: a leak of descriptors ends at the limit */
    t_env *t = *state;
    struct rlimit limit, low;
    T_CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    low = limit;
    if (low.rlim_cur > 128)
        low.rlim_cur = 128;
    T_CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    for (int i = 0; i < 500; i++) {
        ll_conn *conn = t_open(t, "a.db");
        if (i % 50 == 0)
            t_exec(conn, "CREATE TABLE IF NOT EXISTS t(x)");
        t_close(conn);
    }
    T_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void a_thousand_connections(void **state)
{
    enum {
        CONNECTIONS = 1000,
        WORKERS = 4
    };
    t_env *t = *state;
    t_engine(t, &(ll_engine_options){.max_workers = WORKERS, .linger_ns = T_MS});
    struct rlimit limit, high;
    T_CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    high = limit;
    if (high.rlim_cur < 4096)
        high.rlim_cur = high.rlim_max < 4096 ? high.rlim_max : 4096;
    bool files = setrlimit(RLIMIT_NOFILE, &high) == 0 && high.rlim_cur >= 1200;
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE t(x); INSERT INTO t VALUES(1)");
    const char *path = files ? t_path(t, "a.db") : ":memory:";
    const char *sql = files ? "SELECT x FROM t" : "SELECT 1";
    ll_conn **conns = calloc(CONNECTIONS, sizeof *conns);
    size_t opened = 0, read = 0, closed = 0;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        ll_status status = ll_conn_open(
            t->engine, path, NULL, &(ll_submit){.done = t_count, .user = &opened}, &conns[i], NULL);
        T_CHECK(status >= 0);
        opened += status == LL_OK;
    }
    t_until(t->engine, &opened, CONNECTIONS);
    T_CHECK(t_stats(t->engine).connections == CONNECTIONS);
    for (int round = 0; round < 3; round++) {
        read = 0;
        for (size_t i = 0; i < CONNECTIONS; i++) {
            ll_status status = ll_exec(conns[i], sql, NULL, 0,
                                       &(ll_submit){.done = t_count, .user = &read}, NULL);
            T_CHECK(status >= 0);
            read += status == LL_OK;
        }
        t_until(t->engine, &read, CONNECTIONS);
    }
    ll_stats stats = t_stats(t->engine);
    T_CHECK(stats.threads_peak >= 1 && stats.threads_peak <= WORKERS);
    T_CHECK(stats.failed == 0 && stats.submitted == 4 * CONNECTIONS);
    T_CHECK(stats.completed == 4 * CONNECTIONS);
    while (t_stats(t->engine).threads != 0) /* idle connections cost no thread */
        t_turn(t->engine);
    T_CHECK(t_stats(t->engine).connections == CONNECTIONS);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        ll_status status = ll_conn_close(conns[i], &(ll_submit){.done = t_count, .user = &closed},
                                         NULL);
        T_CHECK(status >= 0);
        closed += status == LL_OK;
        ll_conn_unref(conns[i]);
    }
    t_until(t->engine, &closed, CONNECTIONS);
    T_CHECK(t_stats(t->engine).connections == 0);
    free(conns);
    T_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(opens_a_new_file),
        T_TEST(is_used_before_it_is_open),
        T_TEST(memory_and_temporary_databases),
        T_TEST(uri_names),
        T_TEST(pragmas_run_in_order),
        T_TEST(a_pragma_that_fails_fails_the_open),
        T_TEST(read_only),
        T_TEST(no_create),
        T_TEST(no_follow),
        T_TEST(a_vfs_by_name),
        T_TEST(a_directory_a_missing_directory_and_a_long_name),
        T_TEST(what_is_no_database),
        T_TEST(a_damaged_page_is_an_error_and_the_connection_lives),
        T_TEST(unreadable_and_read_only_files),
        T_TEST(what_waits_behind_a_failed_open_fails),
        T_TEST(wrong_arguments_are_named),
        T_TEST(names_and_texts),
        T_TEST(after_close_all_is_refused),
        T_TEST(a_second_close_waits_for_the_first),
        T_TEST(close_comes_after_what_was_submitted),
        T_TEST(a_close_cannot_be_cancelled),
        T_TEST(close_rolls_back),
        T_TEST(unref_closes_after_the_work),
        T_TEST(unref_of_an_idle_connection_and_engine_free),
        T_TEST(open_and_close_leave_nothing_behind),
        T_TEST(a_thousand_connections),
    };
    return T_RUN(tests);
}
