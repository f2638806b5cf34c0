/* Each allocation, thread start, descriptor, VFS call and try on the loop fails once, in turn, in scripted scenarios over
 * all that the core offers: open and close, reads and writes, streams, executemany, scripts, prepared statements,
 * transactions, pool, group commit, agents' sessions, Arrow, adopted handles, attached files, databases in memory.
 *
 * Where no thread is needed the engine is made of single steps (engine/step.h), so the n-th call is always the same one; with
 * threads it is not, and a fault is tried in whatever place it then meets. After each fault: every request has ended,
 * with an error that the fault explains; no object is alive; the file is sound; each row that was told to be applied is
 * in it once, and none that was told not to be. How many faults there were is printed. */
#include "faultrun.h"

static unsigned long injected;

/* ---- scenarios ---- */

static void reads_and_writes(struct run *r)
{
    ll_conn *conn = open_conn(r, r->path);
    for (size_t id = 1; id < 6; id++) {
        insert(r, conn, id);
        query(r, conn, "SELECT id, text FROM t WHERE id = 1");
    }
    query(r, conn, "SELECT * FROM t ORDER BY text");
    exec(r, conn, "ANALYZE");
    close_conn(r, conn);
}

static void a_stream(struct run *r)
{
    ll_conn *conn = open_conn(r, r->path);
    ll_request *request = NULL;
    ll_sql sql = {.text = T_ENDLESS "SELECT x, hex(randomblob(20)) FROM c LIMIT 200",
                  .size = LL_NUL_TERMINATED,
                  .flags = LL_SQL_STREAM,
                  .first_rows = 10};
    if (conn && end(r, "stream", ll_conn_submit(conn, &sql, NULL, &request), request)) {
        ll_cursor *cursor = ll_request_take_cursor(request);
        size_t rows = drain(request);
        T_CHECK(!cursor || ll_cursor_set_ahead(cursor, 2, 40) == LL_OK);
        bool more = cursor != NULL, whole = !more;
        size_t id = 1;
        while (more) {
            finish(&request);
            more = end(r, "next", ll_cursor_next(cursor, NULL, &request), request);
            ll_batch *batch = more ? ll_request_take_batch(request) : NULL;
            whole = more && !batch;
            rows += batch ? ll_batch_rows(batch) : 0;
            more = batch != NULL;
            ll_batch_free(batch);
            if (id < 20)
                insert(r, conn, id++); /* other requests run in between */
        }
        if (whole)
            T_EQUAL(rows, 200);
        if (cursor)
            ll_cursor_close(cursor);
    }
    finish(&request);
    close_conn(r, conn);
}

static void many_at_once(struct run *r)
{
    ll_conn *conn = open_conn(r, r->path);
    ll_value values[20];
    for (size_t i = 0; i < 20; i++)
        values[i] = ll_integer((int64_t)(10 + i));
    for (size_t half = 0; half < 2 && conn; half++) {
        ll_request *request = NULL;
        ll_many many = {.text = insert_text,
                        .size = LL_NUL_TERMINATED,
                        .values = values + 10 * half,
                        .rows = 10,
                        .width = 1,
                        .atomic = half == 0};
        end(r, "many", ll_exec_many(conn, &many, NULL, &request), request);
        note(r, 10 + 10 * half, 10, outcome_of(request));
        finish(&request);
    }
    close_conn(r, conn);
}

static void a_script(struct run *r)
{
    ll_conn *conn = open_conn(r, r->path);
    ll_request *request = NULL;
    if (conn)
        end(r, "script",
            ll_script(conn,
                      "BEGIN; INSERT INTO t(id) VALUES(1); INSERT INTO t(id) VALUES(2); COMMIT;"
                      "CREATE TABLE other(x); CREATE INDEX i ON other(x); DROP TABLE other;",
                      LL_NUL_TERMINATED, false, NULL, &request),
            request);
    ll_outcome outcome = outcome_of(request);
    note(r, 1, 2, outcome);
    finish(&request);
    close_conn(r, conn);
}

static void a_prepared_statement(struct run *r)
{
    ll_conn *conn = open_conn(r, r->path);
    ll_request *request = NULL;
    if (conn)
        end(r, "prepare", ll_prepare(conn, insert_text, LL_NUL_TERMINATED, NULL, &request),
            request);
    ll_stmt *stmt = request ? ll_request_take_stmt(request) : NULL;
    finish(&request);
    for (size_t id = 1; id < 5 && stmt; id++) {
        ll_value value = ll_integer((int64_t)id);
        ll_params params = {.values = &value, .count = 1};
        end(r, "prepared insert", ll_stmt_submit(stmt, &params, 0, NULL, &request), request);
        note(r, id, 1, outcome_of(request));
        finish(&request);
    }
    ll_stmt_free(stmt);
    close_conn(r, conn);
}

/* A transaction over rows first, first + 1; with a savepoint that is taken back. */
static void transact(struct run *r, ll_conn *conn, size_t first)
{
    ll_request *request = NULL;
    ll_outcome outcome = LL_NOT_APPLIED;
    if (!conn)
        return;
    bool ok = end(r, "begin", ll_txn_begin(conn, LL_BEGIN_IMMEDIATE, NULL, &request), request);
    finish(&request);
    for (size_t i = 0; i < 2 && ok; i++) {
        ll_value value = ll_integer((int64_t)(first + i));
        ok = end(r, "insert in a transaction",
                 ll_exec(conn, insert_text, &value, 1, NULL, &request), request);
        finish(&request);
    }
    ok = ok && exec(r, conn, "SAVEPOINT s") && exec(r, conn, "DELETE FROM t") &&
         exec(r, conn, "ROLLBACK TO s");
    if (ok) {
        end(r, "commit", ll_txn_commit(conn, NULL, &request), request);
        outcome = outcome_of(request);
        finish(&request);
    }
    end(r, "rollback", ll_txn_rollback(conn, NULL, &request), request);
    finish(&request);
    note(r, first, 2, outcome);
}

static void transactions(struct run *r)
{
    ll_conn *conn = open_conn(r, r->path);
    transact(r, conn, 1);
    transact(r, conn, 3);
    insert(r, conn, 5);
    close_conn(r, conn);
}

static void attached_files(struct run *r)
{
    char text[800];
    snprintf(text, sizeof text, "ATTACH '%s2' AS other", r->path);
    ll_conn *conn = open_conn(r, r->path);
    if (exec(r, conn, text)) {
        exec(r, conn, "CREATE TABLE other.o(x)");
        exec(r, conn, "INSERT INTO other.o VALUES(1)");
        transact(r, conn, 1);
        exec(r, conn, "DETACH other");
    }
    exec(r, conn, "CREATE TEMP TABLE mine AS SELECT 1 AS x");
    insert(r, conn, 3);
    close_conn(r, conn);
    snprintf(text, sizeof text, "%s2", r->path);
    unlink(text);
}

static void group_commit(struct run *r)
{
    ll_conn *writing = open_conn(r, r->path);
    ll_conn *homes[3] = {open_conn(r, r->path), open_conn(r, r->path), open_conn(r, r->path)};
    ll_writer *writer = NULL;
    ll_request *requests[12] = {NULL};
    if (writing) {
        ll_status status = ll_writer_new(writing, NULL, &writer);
        explain(r, "writer", status, 0, ll_last_error());
    }
    for (size_t round = 0; round < 2 && writer; round++) {
        for (size_t i = 0; i < 6; i++) {
            size_t id = 1 + 6 * round + i;
            ll_value value = ll_integer((int64_t)id);
            ll_sql sql = {.text = i == 4 && t_has(T_HAS_RETURNING)
                                    ? "INSERT INTO t(id) VALUES(?1) RETURNING id, text"
                                    : insert_text,
                          .size = LL_NUL_TERMINATED,
                          .params = {.values = &value, .count = 1}};
            ll_status status = ll_writer_submit(writer, i == 5 ? NULL : homes[i % 3], &sql, NULL,
                                                &requests[id - 1]);
            if (status < 0) {
                explain(r, "submit to the writer", status, 0, ll_last_error());
                note(r, id, 1, LL_NOT_APPLIED);
            }
        }
        for (size_t id = 1 + 6 * round; id < 7 + 6 * round; id++)
            if (requests[id - 1]) {
                end(r, "grouped insert", ll_request_is_done(requests[id - 1]) ? LL_OK : LL_PENDING,
                    requests[id - 1]);
                note(r, id, 1, outcome_of(requests[id - 1]));
                finish(&requests[id - 1]);
            }
    }
    ll_writer_free(writer);
    for (size_t i = 0; i < 3; i++)
        close_conn(r, homes[i]);
    close_conn(r, writing);
}

static void pool_insert(struct run *r, ll_pool *pool, size_t id)
{
    ll_request *request = NULL;
    ll_value value = ll_integer((int64_t)id);
    ll_sql sql = {
        .text = insert_text, .size = LL_NUL_TERMINATED, .params = {.values = &value, .count = 1}};
    end(r, "insert by the pool", ll_pool_exec(pool, &sql, NULL, &request), request);
    note(r, id, 1, outcome_of(request));
    finish(&request);
}

static void use_lease(struct run *r, ll_pool *pool, size_t first)
{
    ll_request *request = NULL;
    end(r, "acquire", ll_pool_acquire(pool, "fault", NULL, &request), request);
    ll_lease *lease = request ? ll_request_take_lease(request) : NULL;
    finish(&request);
    if (!lease)
        return;
    ll_conn *conn = ll_lease_conn(lease);
    transact(r, conn, first);
    exec(r, conn, "PRAGMA cache_size = 7"); /* to be set back */
    exec(r, conn, "CREATE TEMP TABLE left_behind(x)");
    if (exec(r, conn, "BEGIN IMMEDIATE")) {
        ll_value value = ll_integer((int64_t)first + 2);
        ll_status status = ll_exec(conn, insert_text, &value, 1, NULL, &request);
        end(r, "insert that nobody commits", status, request);
        finish(&request);
        note(r, first + 2, 1, LL_NOT_APPLIED);
    }
    end(r, "release", ll_pool_release(lease, NULL, &request), request);
    finish(&request);
}

static void use_pool(struct run *r, const char *path, bool grouped)
{
    static const char *const pragmas[] = {"synchronous=OFF", NULL};
    ll_pool_options options = {.max_size = 2,
                               .min_size = 1,
                               .connect_timeout_ns = 500 * T_MS,
                               .checkpoint_frames = 4,
                               .wal_bound_frames = 12,
                               .open = {.pragmas = pragmas, .busy_timeout_ns = 100 * T_MS},
                               .group_commit = grouped};
    ll_pool *pool = NULL;
    ll_request *request = NULL;
    ll_status status = ll_pool_new(r->engine, path, &options, &pool);
    explain(r, "pool", status, 0, ll_last_error());
    if (!pool)
        return;
    if (path != r->path) { /* in memory: nothing of it is in the file */
        ll_sql sql = {.text = "CREATE TABLE t(id, text)", .size = LL_NUL_TERMINATED};
        end(r, "create", ll_pool_exec(pool, &sql, NULL, &request), request);
        finish(&request);
    }
    pool_insert(r, pool, 1);
    use_lease(r, pool, 10);
    for (size_t id = 2; id < 6; id++)
        pool_insert(r, pool, id);
    use_lease(r, pool, 20);
    end(r, "close the pool", ll_pool_close(pool, NULL, &request), request);
    finish(&request);
    ll_pool_unref(pool);
    if (path != r->path)
        memset(r->told, 0, sizeof r->told);
}

static void a_pool(struct run *r)
{
    use_pool(r, r->path, false);
}

static void a_pool_with_group_commit(struct run *r)
{
    use_pool(r, r->path, true);
}

static void a_pool_in_memory(struct run *r)
{
    use_pool(r, ":memory:", false);
}

static bool adk_call(struct run *r, ll_conn *conn, const char *what, const ll_adk_call *call,
                     size_t *ret_rows)
{
    ll_request *request = NULL;
    bool ok = end(r, what, ll_conn_submit(conn, &call->sql, NULL, &request), request);
    *ret_rows = ok ? drain(request) : 0;
    finish(&request);
    return ok;
}

static void agents_sessions(struct run *r)
{
    ll_adk *adk = NULL;
    ll_adk_call call;
    size_t rows, events = 0;
    ll_request *request = NULL;
    ll_status status = ll_adk_new(&(ll_adk_options){.layout = LL_ADK_DOCUMENT}, &adk);
    explain(r, "adk", status, 0, ll_last_error());
    ll_conn *conn = adk ? open_conn(r, r->path) : NULL;
    if (conn && end(r, "schema",
                    ll_script(conn, ll_adk_schema(adk), LL_NUL_TERMINATED, false, NULL, &request),
                    request)) {
        finish(&request);
        ll_adk_session session = {
            .id = "s", .app_name = "a", .user_id = "u", .create_time_us = 1, .update_time_us = 1};
        ll_adk_event list[3];
        for (size_t i = 0; i < 3; i++)
            list[i] = (ll_adk_event){.id = (const char *const[]){"1", "2", "3"}[i],
                                     .session_id = "s",
                                     .app_name = "a",
                                     .user_id = "u",
                                     .invocation_id = "i",
                                     .timestamp_us = (int64_t)i + 1,
                                     .data = "{\"text\": \"hello\"}"};
        T_CHECK(ll_adk_create_session(adk, &session, &call) == LL_OK);
        bool there = adk_call(r, conn, "create a session", &call, &rows);
        T_CHECK(ll_adk_append_event(adk, &list[0], &call) == LL_OK);
        if (there)
            events += adk_call(r, conn, "append an event", &call, &rows);
        ll_value values[2 * LL_ADK_MOST_VALUES];
        ll_many many;
        T_CHECK(ll_adk_append_events(adk, list + 1, 2, values, &many) == LL_OK);
        if (there && end(r, "append events", ll_exec_many(conn, &many, NULL, &request), request))
            events += 2;
        finish(&request);
        T_CHECK(ll_adk_update_state(adk, "s", "{\"x\": 1}", 5, &call) == LL_OK);
        adk_call(r, conn, "update the state", &call, &rows);
        T_CHECK(ll_adk_get_events(adk, "s", LL_ADK_ALWAYS, LL_ADK_ALL, &call) == LL_OK);
        if (adk_call(r, conn, "get events", &call, &rows) && r->kind != LLI_FAULT_VFS)
            T_CHECK(rows >= events);
    }
    finish(&request);
    close_conn(r, conn);
    ll_adk_free(adk);
}

static void arrow(struct run *r)
{
    ll_conn *conn = open_conn(r, r->path);
    ll_request *request = NULL;
    ll_sql sql = {.text = T_ENDLESS
                  "SELECT x, x * 0.5, hex(x), CASE x % 3 WHEN 0 THEN NULL ELSE x END,"
                  " CASE x % 2 WHEN 0 THEN 'mixed' ELSE x END FROM c LIMIT 300",
                  .size = LL_NUL_TERMINATED,
                  .flags = LL_SQL_COLUMNS};
    struct ArrowArrayStream stream = {0};
    if (conn && end(r, "columns", ll_conn_submit(conn, &sql, NULL, &request), request)) {
        ll_status status = ll_arrow_stream_of(request, &stream);
        explain(r, "arrow", status, 0, ll_last_error());
        struct ArrowSchema schema = {0};
        struct ArrowArray array = {0};
        int64_t rows = 0;
        bool ok = status == LL_OK && stream.get_schema(&stream, &schema) == 0;
        while (ok && (ok = stream.get_next(&stream, &array) == 0) && array.release) {
            rows += array.length;
            array.release(&array);
            array.release = NULL;
        }
        if (ok)
            T_EQUAL(rows, 300);
        else
            T_CHECK(lli_fault_fired());
        if (!ok && status == LL_OK)
            r->errors++;
        if (schema.release)
            schema.release(&schema);
        if (stream.release)
            stream.release(&stream);
    }
    finish(&request);
    close_conn(r, conn);
}

static int open_raw(void *arg, sqlite3 **ret_db, char **ret_message)
{
    (void)ret_message;
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(arg, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "looplite");
    if (rc == SQLITE_OK)
        *ret_db = db;
    else
        sqlite3_close(db); /* SQLite gives one even so */
    return rc;
}

static int close_raw(void *arg, sqlite3 *db)
{
    (void)arg;
    return sqlite3_close(db);
}

static void adopted_handles(struct run *r)
{
    char path[700];
    snprintf(path, sizeof path, "%s", r->path);
    ll_request *request = NULL;
    ll_conn *conn = NULL;
    static const char *const pragmas[] = {"synchronous=OFF", NULL};
    ll_open_options options = {.pragmas = pragmas, .busy_timeout_ns = 100 * T_MS};
    if (sqlite3_open_v2(path, &r->raw, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK) {
        end(r, "adopt", ll_conn_adopt(r->engine, r->raw, &options, NULL, &conn, &request), request);
        finish(&request);
        insert(r, conn, 1);
        transact(r, conn, 2);
        close_conn(r, conn);
    }
    conn = NULL;
    ll_adopt adopt = {.open = open_raw, .close = close_raw, .arg = path};
    end(r, "open an adopted one",
        ll_conn_open_adopted(r->engine, &adopt, &options, NULL, &conn, &request), request);
    finish(&request);
    insert(r, conn, 5);
    query(r, conn, "SELECT count(*) FROM t");
    close_conn(r, conn);
}

static void closing_with_work_left(struct run *r)
{
    ll_conn *conn = open_conn(r, r->path);
    ll_request *requests[4] = {NULL};
    for (size_t i = 0; i < 4 && conn; i++) {
        ll_value value = ll_integer((int64_t)i + 1);
        ll_status status = ll_exec(conn, insert_text, &value, 1, NULL, &requests[i]);
        if (status < 0)
            explain(r, "insert", status, 0, ll_last_error());
    }
    close_conn(r, conn);
    for (size_t i = 0; i < 4; i++) {
        if (requests[i])
            end(r, "insert before a close", ll_request_is_done(requests[i]) ? LL_OK : LL_PENDING,
                requests[i]);
        note(r, i + 1, 1, outcome_of(requests[i]));
        finish(&requests[i]);
    }
}

static const struct scenario {
    const char *name;
    void (*play)(struct run *r);
} scenarios[] = {
    {"reads and writes", reads_and_writes},
    {"a stream", a_stream},
    {"executemany", many_at_once},
    {"a script", a_script},
    {"a prepared statement", a_prepared_statement},
    {"transactions", transactions},
    {"attached files", attached_files},
    {"group commit", group_commit},
    {"a pool", a_pool},
    {"a pool with group commit", a_pool_with_group_commit},
    {"a pool in memory", a_pool_in_memory},
    {"agents' sessions", agents_sessions},
    {"Arrow", arrow},
    {"adopted handles", adopted_handles},
    {"closing with work left", closing_with_work_left},
};

/* ---- the loop ---- */

static void check_rows(const struct run *r)
{
    sqlite3 *db = t_raw_open(r->path);
    sqlite3_stmt *stmt = NULL;
    int found[ROWS] = {0};
    t_raw(db, "PRAGMA synchronous = OFF"); /* the disk is not what is tested here */
    T_CHECK(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL) == SQLITE_OK &&
            sqlite3_step(stmt) == SQLITE_ROW);
    if (strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0)
        bad(r, "afterwards", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    T_CHECK(sqlite3_prepare_v2(db, "SELECT id FROM t", -1, &stmt, NULL) == SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(stmt, 0);
        T_CHECK(id >= 0 && id < ROWS);
        found[id]++;
    }
    sqlite3_finalize(stmt);
    t_raw_close(db);
    char said[100];
    for (int id = 0; id < ROWS; id++) {
        ll_outcome outcome = r->told[id] ? r->outcome[id] : LL_NOT_APPLIED;
        snprintf(said, sizeof said, "row %d was told %d and is there %d times", id, (int)outcome,
                 found[id]);
        if (found[id] > 1 || (outcome == LL_APPLIED && !found[id]) ||
            (outcome == LL_NOT_APPLIED && found[id]))
            bad(r, "afterwards", said);
    }
}

/* False: there is no nth. */
static bool play(t_env *t, const struct scenario *scenario, enum lli_fault_kind kind, bool stepped,
                 bool wal, unsigned long nth)
{
    struct run r = {
        .t = t, .scenario = scenario->name, .stepped = stepped, .kind = kind, .nth = nth};
    char path[600], name[640];
    snprintf(path, sizeof path, "%s/f", t->dir);
    r.path = path;
    t_file_sql(path, wal ? "PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL;"
                           "CREATE TABLE t(id, text)"
                         : "PRAGMA synchronous = OFF; CREATE TABLE t(id, text)");
    alarm(0);
    t_watchdog();
    lli_cost_clear();
    size_t before = ll_live_objects();
    lli_fault_arm(kind, nth);
    ll_status status = stepped ? lli_step_new(&r.step, 2, NULL, NULL)
                               : ll_engine_new(NULL, &r.engine);
    if (stepped && status == LL_OK)
        r.engine = r.step.engine;
    explain(&r, "engine", status, 0, ll_last_error());
    if (status == LL_OK) {
        scenario->play(&r);
        if (stepped)
            lli_step_free(&r.step);
        else
            ll_engine_free(r.engine);
    }
    T_CHECK(sqlite3_close(r.raw) == SQLITE_OK);
    bool fired = lli_fault_fired();
    lli_fault_disarm();
    if (ll_live_objects() != before)
        bad(&r, "afterwards", "objects are left over");
    if (!fired && r.errors > 0)
        bad(&r, "afterwards", "errors without a fault");
    check_rows(&r);
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    injected += fired;
    return fired;
}

static void each_once(t_env *t, enum lli_fault_kind kind, bool stepped)
{
    unsigned long stride = getenv("LL_TEST_SLOW") ? 11 : 1, before = injected;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        for (int wal = 0; wal < 2; wal++) {
            unsigned long nth = 1;
            while (play(t, &scenarios[i], kind, stepped, wal, nth))
                nth += nth < 10 ? 1 : stride;
        }
    T_CHECK(injected > before);
    print_message("%s%s: %lu faults; so far %lu\n", kind_names[kind], stepped ? "" : ", threads",
                  injected - before, injected);
}

static void allocations(void **state)
{
    each_once(*state, LLI_FAULT_ALLOC, true);
}

static void vfs_calls(void **state)
{
    each_once(*state, LLI_FAULT_VFS, true);
}

static void tries_on_the_loop(void **state)
{
    each_once(*state, LLI_FAULT_ATTEMPT, true);
}

static void thread_starts(void **state)
{
    each_once(*state, LLI_FAULT_THREAD, false);
}

static void descriptors(void **state)
{
    each_once(*state, LLI_FAULT_FD, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(allocations),   T_TEST(vfs_calls),   T_TEST(tries_on_the_loop),
        T_TEST(thread_starts), T_TEST(descriptors),
    };
    return T_RUN(tests);
}
