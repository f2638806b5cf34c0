/* run_sql.c: one statement, from its text to its rows.
 *
 * Reads that stream stop after the first rows and go on as a cursor. Everything else is stepped to its end,
 * also a write with RETURNING: SQLite makes all its changes before the first row, but commits them with the
 * last step, so a write that is left half-read would keep its transaction open.
 *
 * An error behind some rows of a stream is told behind these rows, by the cursor, as it is when a program
 * steps by itself; without a stream the rows are dropped and the request fails.
 *
 * A statement that is exhausted is reset at once and releases its read lock ([M] a cursor left unread cut
 * durable commits twentyfold). */
#include "base/alloc.h"
#include "db/bind.h"
#include "db/inspect.h"
#include "engine/run.h"
#include "engine/stream.h"
#include "platform/clock.h"

enum {
    FIRST_ROWS = 256,
    FIRST_BYTES = 64 * 1024,
    WHOLE_BATCH_BYTES = 1024 * 1024
};
static const uint64_t first_batch_ns = 5 * LLI_MS;

/* Answers PRAGMA busy_timeout, which SQLite would answer by putting its own handler in our place. */
static void before_busy_pragma(ll_conn *conn)
{
    uint64_t ms = conn->busy_timeout_ns / LLI_MS;
    lli_sq.busy_timeout(conn->db.handle, ms > INT32_MAX ? INT32_MAX : (int)ms);
}

static void after_busy_pragma(ll_conn *conn, const ll_batch *batch)
{
    const ll_value *row = ll_batch_row(batch, 0);
    if (row && row[0].type == LL_INTEGER)
        conn->busy_timeout_ns = row[0].as.integer > 0 ? (uint64_t)row[0].as.integer * LLI_MS : 0;
    lli_guard_install(&conn->db.guard, conn->db.handle);
}

static ll_batch *last_batch(const ll_request *request)
{
    struct lli_node *node = lli_list_last(&request->batches);
    return node ? LLI_CONTAINER_OF(node, ll_batch, node) : NULL;
}

static ll_status keep_row(ll_conn *conn, ll_request *request, struct lli_stmt *stmt)
{
    ll_batch *batch = last_batch(request);
    if (!batch || batch->bytes >= WHOLE_BATCH_BYTES) {
        batch = lli_batch_new(ll_columns_count(request->columns));
        if (!batch)
            return LL_ENOMEM;
        lli_list_push(&request->batches, &batch->node);
    }
    return lli_batch_add(batch, conn->db.handle, stmt->raw);
}

static void drop_rows(ll_request *request)
{
    struct lli_node *node;
    while ((node = lli_list_pop(&request->batches)) != NULL)
        ll_batch_free(LLI_CONTAINER_OF(node, ll_batch, node));
}

/* Whether the rows that came with the request are enough for a stream's first answer. */
static bool first_rows_full(const ll_request *request, uint64_t until)
{
    const ll_batch *batch = last_batch(request);
    size_t most = request->in.sql.first_rows > 0 ? request->in.sql.first_rows : FIRST_ROWS;
    return batch->rows >= most || batch->bytes >= FIRST_BYTES ||
           ((batch->rows & 15) == 0 && lli_now_ns() >= until);
}

/* Takes the statement and binds. False: the request has its error. */
static bool set_up(ll_conn *conn, ll_request *request, struct lli_stmt **ret_stmt)
{
    struct lli_stmt *stmt;
    lli_run_arm(conn, request, true, false); /* preparing reads the schema and may meet a lock */
    if (lli_stmt_take(&conn->db.cache, request->in.sql.text, request->in.sql.size, &stmt,
                      &request->error) != LL_OK)
        return false;
    request->read_only = stmt->read_only;
    request->dml = stmt->kind == LLI_KIND_DML;
    *ret_stmt = stmt;
    if (!stmt->read_only && (request->in.sql.flags & LL_SQL_READ_ONLY)) {
        lli_error_set(&request->error, LL_EINVAL,
                      "the statement writes, but only reading is allowed");
        return false;
    }
    bool stays_live = stmt->read_only && (request->in.sql.flags & LL_SQL_STREAM);
    if (!stmt->raw)
        return true;
    return lli_bind(conn->db.handle, stmt->raw, &request->in.sql.params, stays_live,
                    &request->error) == LL_OK;
}

static void finish_ok(ll_conn *conn, ll_request *request, const struct lli_stmt *stmt,
                      int64_t before)
{
    bool moved = lli_db_total_changes(&conn->db) != before;
    if (stmt->kind == LLI_KIND_DML || (!stmt->read_only && moved))
        request->changes = lli_db_changes(&conn->db);
    request->outcome = LL_APPLIED;
}

/* Steps the statement. SQLITE_DONE: at its end; SQLITE_ROW: `*cursor` has taken it over. */
static int step_all(ll_conn *conn, ll_request *request, struct lli_stmt *stmt, ll_cursor **cursor)
{
    bool stream = stmt->read_only && (request->in.sql.flags & LL_SQL_STREAM);
    bool keep = !(request->in.sql.flags & LL_SQL_DISCARD);
    uint64_t until = lli_deadline_after(first_batch_ns);
    int rc;
    while ((rc = lli_run_step(conn, stmt->raw, stmt->read_only)) == SQLITE_ROW) {
        if (!request->columns) {
            ll_columns *columns;
            if (lli_stmt_columns(stmt, &columns) != LL_OK)
                return SQLITE_NOMEM;
            request->columns = ll_columns_ref(columns);
        }
        if (!keep)
            continue;
        if (keep_row(conn, request, stmt) != LL_OK)
            return SQLITE_NOMEM;
        if (stream && first_rows_full(request, until)) {
            if (!(*cursor = lli_stream_new(conn)))
                return SQLITE_NOMEM;
            return SQLITE_ROW;
        }
    }
    if (rc == SQLITE_DONE && stmt->has_rows && !request->columns) {
        ll_columns *columns;
        if (lli_stmt_columns(stmt, &columns) != LL_OK)
            return SQLITE_NOMEM;
        request->columns = ll_columns_ref(columns);
    }
    return rc;
}

/* A statement that could not even be set up: the lock may be the reason. */
static enum lli_run_result not_set_up(ll_conn *conn, ll_request *request, struct lli_stmt *stmt,
                                      uint64_t *ret_park_ns)
{
    int code = request->error.pub.sqlite_code;
    enum lli_kind kind = stmt ? stmt->kind : LLI_KIND_OTHER;
    if (stmt)
        lli_stmt_give(&conn->db.cache, stmt);
    /* Preparing reads the schema without running a program, and SQLite only asks a busy handler that has
     * declined before again when a program starts. The lock is worth waiting for all the same. */
    conn->db.guard.lock_asked = true;
    if (request->error.pub.status == LL_EBUSY &&
        lli_run_should_park(conn, request, code, kind, ret_park_ns)) {
        lli_error_done(&request->error);
        return LLI_RUN_PARK;
    }
    request->outcome = LL_NOT_APPLIED;
    return LLI_RUN_DONE;
}

enum lli_run_result lli_run_sql(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    if (request->in.sql.only_in_transaction && !lli_db_in_transaction(&conn->db)) {
        request->outcome = LL_APPLIED;
        return LLI_RUN_DONE;
    }
    struct lli_stmt *stmt = NULL;
    if (!set_up(conn, request, &stmt))
        return not_set_up(conn, request, stmt, ret_park_ns);
    if (!stmt->raw) { /* nothing but comments */
        lli_stmt_give(&conn->db.cache, stmt);
        request->outcome = LL_APPLIED;
        return LLI_RUN_DONE;
    }
    bool was_open = lli_db_in_transaction(&conn->db);
    bool interruptible = stmt->read_only ? !was_open || !lli_stmt_uses_vtab(&conn->db.cache, stmt)
                                         : (request->flags & LL_SUBMIT_INTERRUPT) != 0;
    bool committing = stmt->kind == LLI_KIND_COMMIT || stmt->kind == LLI_KIND_RELEASE ||
                      stmt->kind == LLI_KIND_ROLLBACK;
    lli_run_arm(conn, request, interruptible, committing);
    int64_t before = lli_db_total_changes(&conn->db);
    int rc = lli_run_begin(conn, request->in.sql.begin_before, stmt->kind);
    ll_cursor *cursor = NULL;
    if (rc == SQLITE_OK) {
        if (stmt->kind == LLI_KIND_PRAGMA_BUSY_TIMEOUT)
            before_busy_pragma(conn);
        rc = step_all(conn, request, stmt, &cursor);
        if (stmt->kind == LLI_KIND_PRAGMA_BUSY_TIMEOUT)
            after_busy_pragma(conn, last_batch(request));
    }
    request->rowid = lli_sq.last_insert_rowid(conn->db.handle);
    if (rc == SQLITE_ROW) {
        lli_stream_begin(cursor, stmt, request->columns);
        request->cursor = cursor;
        request->outcome = LL_APPLIED;
        return LLI_RUN_DONE;
    }
    if (rc == SQLITE_DONE) {
        finish_ok(conn, request, stmt, before);
        lli_stmt_give(&conn->db.cache, stmt);
        return LLI_RUN_DONE;
    }
    bool first = lli_list_empty(&request->batches);
    if ((first || !stmt->read_only) &&
        lli_run_should_park(conn, request, rc, stmt->kind, ret_park_ns)) {
        drop_rows(request);
        ll_columns_unref(request->columns);
        request->columns = NULL;
        lli_stmt_give(&conn->db.cache, stmt);
        return LLI_RUN_PARK;
    }
    lli_run_fail(conn, request, rc, lli_db_total_changes(&conn->db) != before);
    bool stream = stmt->read_only && (request->in.sql.flags & LL_SQL_STREAM);
    lli_stmt_give(&conn->db.cache, stmt);
    if (stream && !first && conn->db.guard.stopped == LLI_STOP_NONE &&
        (request->cursor = lli_stream_new(conn)) != NULL) {
        lli_stream_fail(request->cursor, request->columns, &request->error);
        request->outcome = LL_APPLIED; /* the rows before the error come before it */
        return LLI_RUN_DONE;
    }
    drop_rows(request);
    return LLI_RUN_DONE;
}
