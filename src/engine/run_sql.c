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
#include "db/attempt.h"
#include "db/bind.h"
#include "db/colbatch.h"
#include "db/cost.h"
#include "db/inspect.h"
#include "engine/facts.h"
#include "engine/run.h"
#include "engine/stream.h"
#include "platform/clock.h"

enum {
    FIRST_ROWS = 256,
    FIRST_BYTES = 64 * 1024,
    WHOLE_BATCH_BYTES = 1024 * 1024
};
static const uint64_t first_batch_ns = 5 * LLI_MS;

static ll_batch *last_batch(const ll_request *request)
{
    struct lli_node *node = lli_list_last(&request->batches);
    return node ? LLI_CONTAINER_OF(node, ll_batch, node) : NULL;
}

ll_status lli_run_keep_row(ll_conn *conn, ll_request *request, struct lli_stmt *stmt)
{
    ll_batch *batch = last_batch(request);
    if (!batch || batch->bytes >= WHOLE_BATCH_BYTES) {
        size_t width = ll_columns_count(request->columns);
        batch = request->in.sql.flags & LL_SQL_COLUMNS ? lli_colbatch_new(width, batch)
                                                       : lli_batch_new(width);
        if (!batch)
            return LL_ENOMEM;
        lli_list_push(&request->batches, &batch->node);
    }
    if (conn->attempt) /* the handle's mutex is held */
        return lli_batch_add_locked(batch, stmt->raw);
    return lli_batch_add(batch, conn->db.handle, stmt->raw);
}

void lli_run_drop_rows(ll_request *request)
{
    struct lli_node *node;
    while ((node = lli_list_pop(&request->batches)) != NULL)
        ll_batch_free(LLI_CONTAINER_OF(node, ll_batch, node));
}

void lli_run_forget(ll_request *request)
{
    lli_run_drop_rows(request);
    ll_columns_unref(request->columns);
    request->columns = NULL;
    lli_error_done(&request->error);
}

/* Whether the rows that came with the request are enough for a stream's first answer. */
static bool first_rows_full(const ll_request *request, uint64_t until)
{
    const ll_batch *batch = last_batch(request);
    size_t most = request->in.sql.first_rows > 0 ? request->in.sql.first_rows : FIRST_ROWS;
    return batch->rows >= most || batch->bytes >= FIRST_BYTES ||
           ((batch->rows & 15) == 0 && lli_now_ns() >= until);
}

static bool bind(ll_conn *conn, ll_request *request, struct lli_stmt *stmt)
{
    /* A statement that may outlive the request, or the call that submits it, needs its own copies. */
    bool copy = (stmt->read_only && (request->in.sql.flags & LL_SQL_STREAM)) ||
                (conn->attempt && !(request->flags & LL_SUBMIT_BORROW));
    if (lli_bind(conn->db.handle, stmt->raw, &request->in.sql.params, copy, &request->error) !=
        LL_OK)
        return false;
    stmt->bound_numbers = lli_params_are_numbers(&request->in.sql.params);
    return true;
}

/* Takes the statement, unless that was done before, and binds. False: the request has its error. */
static bool set_up(ll_conn *conn, ll_request *request, struct lli_stmt **ret_stmt)
{
    struct lli_stmt *stmt = request->taken;
    request->taken = NULL;
    if (!stmt) {
        lli_run_arm(conn, request, true,
                    false); /* preparing reads the schema and may meet a lock */
        if (lli_stmt_take(&conn->db.cache, request->in.sql.text, request->in.sql.size, &stmt,
                          &request->error) != LL_OK)
            return false;
    }
    request->read_only = stmt->read_only;
    request->dml = stmt->kind == LLI_KIND_DML;
    *ret_stmt = stmt;
    if (!stmt->read_only && (request->in.sql.flags & LL_SQL_READ_ONLY)) {
        lli_error_set(&request->error, LL_EINVAL,
                      "the statement writes, but only reading is allowed");
        return false;
    }
    return bind(conn, request, stmt);
}

static void finish_ok(ll_conn *conn, ll_request *request, const struct lli_stmt *stmt,
                      int64_t before)
{
    bool moved = lli_db_total_changes(&conn->db) != before;
    if (stmt->kind == LLI_KIND_DML || (!stmt->read_only && moved))
        request->changes = lli_db_changes(&conn->db);
    request->outcome = LL_APPLIED;
}

/* Why stepping ended. */
enum stepped {
    STEPPED_END,    /* `rc` says how */
    STEPPED_STREAM, /* enough rows for a first answer */
    STEPPED_BUDGET  /* in an attempt: its time is over, between two rows */
};

ll_status lli_run_note_columns(ll_request *request, struct lli_stmt *stmt)
{
    ll_columns *columns;
    if (request->columns || !stmt->has_rows)
        return LL_OK;
    LL_TRY(lli_stmt_columns(stmt, &columns));
    request->columns = ll_columns_ref(columns);
    return LL_OK;
}

/* Resetting a statement halts it as well as stepping it to its end does, so behind its last row a step is saved.
 * What EXPLAIN has shown need not be the very plan that runs (statistics, settings), but that at most one row comes
 * of it then follows from the text and the schema, and a program of another schema is prepared again by the step that
 * found the row: then the two counts of preparations differ. */
bool lli_run_is_last_row(const struct lli_stmt *stmt)
{
    return stmt->inspected == LLI_INSPECTED_OWN && stmt->program.single &&
           stmt->inspected_at == stmt->reprepared;
}

static enum stepped step_all(ll_conn *conn, ll_request *request, struct lli_stmt *stmt, int *ret_rc)
{
    bool stream = stmt->read_only && (request->in.sql.flags & LL_SQL_STREAM);
    bool keep = !(request->in.sql.flags & LL_SQL_DISCARD);
    const struct lli_attempt *attempt = conn->attempt;
    uint64_t until = 0;
    if (stream)
        until = lli_deadline_from(attempt ? attempt->begun_ns : lli_now_ns(), first_batch_ns);
    size_t rows = 0;
    while ((*ret_rc = lli_run_step(conn, stmt->raw, stmt->read_only)) == SQLITE_ROW) {
        if (lli_run_note_columns(request, stmt) != LL_OK ||
            (keep && lli_run_keep_row(conn, request, stmt) != LL_OK)) {
            *ret_rc = SQLITE_NOMEM;
            return STEPPED_END;
        }
        if (lli_run_is_last_row(stmt)) {
            *ret_rc = SQLITE_DONE;
            return STEPPED_END;
        }
        if (stream && keep && first_rows_full(request, until))
            return STEPPED_STREAM;
        if (attempt && !attempt->shielded && (++rows & 15) == 0 &&
            lli_now_ns() >= attempt->deadline_ns)
            return stream ? STEPPED_STREAM : STEPPED_BUDGET;
    }
    if (*ret_rc == SQLITE_DONE && lli_run_note_columns(request, stmt) != LL_OK)
        *ret_rc = SQLITE_NOMEM;
    return STEPPED_END;
}

/* As if the run had not been: for one that is repeated. */
static void undo(ll_conn *conn, ll_request *request, struct lli_stmt *stmt)
{
    if (stmt)
        lli_stmt_give(&conn->db.cache, stmt);
    lli_run_forget(request);
}

static bool bounced(const ll_conn *conn)
{
    return conn->attempt && conn->attempt->bounce != LLI_BOUNCE_NONE;
}

/* A statement that could not even be set up: the lock may be the reason. */
static enum lli_run_result not_set_up(ll_conn *conn, ll_request *request, struct lli_stmt *stmt,
                                      uint64_t *ret_park_ns)
{
    if (bounced(conn)) {
        undo(conn, request, stmt);
        return LLI_RUN_BOUNCED;
    }
    int code = request->error.pub.sqlite_code;
    enum lli_kind kind = stmt ? stmt->kind : LLI_KIND_OTHER;
    if (stmt)
        lli_stmt_give(&conn->db.cache, stmt);
    /* Preparing reads the schema without running a program, and SQLite only asks a busy handler that
     * has declined before again when a program starts. The lock is worth waiting for all the same. */
    conn->db.guard.lock_asked = true;
    if (lli_run_should_park(conn, request, code, kind, ret_park_ns)) {
        lli_error_done(&request->error);
        return LLI_RUN_PARK;
    }
    request->outcome = LL_NOT_APPLIED;
    return LLI_RUN_DONE;
}

/* Steps a statement that is set up, and says what came of it. */
static enum lli_run_result carry_on(ll_conn *conn, ll_request *request, struct lli_stmt *stmt,
                                    int64_t before, uint64_t *ret_park_ns)
{
    int rc = SQLITE_OK;
    enum stepped stepped = step_all(conn, request, stmt, &rc);
    if (LLI_UNLIKELY(conn->tally != NULL) && !stmt->read_only)
        lli_tally_forget(conn);
    if (bounced(conn)) { /* whatever it returned */
        undo(conn, request, stmt);
        return LLI_RUN_BOUNCED;
    }
    if (stepped == STEPPED_BUDGET) {
        request->taken = stmt;
        request->live = true;
        request->changes_before = before;
        return LLI_RUN_LIVE;
    }
    if (stepped == STEPPED_STREAM) {
        ll_cursor *cursor = lli_stream_new(conn);
        if (cursor) {
            cursor->keeps_columns = (request->in.sql.flags & LL_SQL_COLUMNS) != 0;
            lli_stream_begin(cursor, stmt, request->columns);
            request->cursor = cursor;
            request->outcome = LL_APPLIED;
            return LLI_RUN_DONE;
        }
        rc = SQLITE_NOMEM;
    }
    if (rc == SQLITE_DONE) {
        finish_ok(conn, request, stmt, before);
        if (!stmt->read_only && !conn->attempt)
            lli_facts_make_room(conn);
        if (request->begun_ns > 0 && !conn->attempt) {
            lli_facts_cost(conn, stmt);
            lli_cost_ran(stmt->cost, lli_now_ns() - request->begun_ns, false);
        }
        lli_stmt_give(&conn->db.cache, stmt);
        return LLI_RUN_DONE;
    }
    bool first = lli_list_empty(&request->batches);
    if ((first || !stmt->read_only) &&
        lli_run_should_park(conn, request, rc, stmt->kind, ret_park_ns)) {
        undo(conn, request, stmt);
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
    lli_run_drop_rows(request);
    return LLI_RUN_DONE;
}

static void arm_for(ll_conn *conn, ll_request *request, struct lli_stmt *stmt)
{
    bool interruptible = (request->flags & LL_SUBMIT_INTERRUPT) != 0;
    if (stmt->read_only)
        interruptible = lli_run_may_break(conn, stmt);
    bool committing = stmt->kind == LLI_KIND_COMMIT || stmt->kind == LLI_KIND_RELEASE ||
                      stmt->kind == LLI_KIND_ROLLBACK;
    lli_run_arm(conn, request, interruptible, committing);
}

/* Parameters that do not fit are found out when they are bound, which in Python's sqlite3 is behind the BEGIN. So that
 * a program finds the same transaction open, it is begun here too. (On the loop a statement that begins one is never
 * tried.) */
static bool begins_all_the_same(const ll_conn *conn, const ll_request *request,
                                const struct lli_stmt *stmt)
{
    return stmt && stmt->raw && stmt->kind == LLI_KIND_DML && !conn->attempt &&
           request->error.pub.status == LL_EPARAM &&
           request->in.sql.begin_before != LL_BEGIN_NONE && !lli_db_in_transaction(&conn->db);
}

/* The transaction is open: now the parameters' error may be told. */
static enum lli_run_result refuse(ll_conn *conn, ll_request *request, struct lli_stmt *stmt,
                                  struct lli_error *refused)
{
    lli_stmt_give(&conn->db.cache, stmt);
    lli_error_move(&request->error, refused);
    request->outcome = LL_NOT_APPLIED;
    return LLI_RUN_DONE;
}

static enum lli_run_result run_from_start(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    struct lli_stmt *stmt = NULL;
    struct lli_error refused = {0};
    if (!set_up(conn, request, &stmt)) {
        if (!begins_all_the_same(conn, request, stmt))
            return not_set_up(conn, request, stmt, ret_park_ns);
        lli_error_move(&refused, &request->error);
    }
    if (!stmt->raw) { /* nothing but comments */
        lli_stmt_give(&conn->db.cache, stmt);
        request->outcome = LL_APPLIED;
        return LLI_RUN_DONE;
    }
    arm_for(conn, request, stmt);
    if (!conn->attempt && stmt->cached)
        request->begun_ns = lli_now_ns();
    if (lli_run_must_wait(conn, request, !stmt->read_only, stmt->kind, stmt->sql, stmt->entry.size,
                          ret_park_ns)) {
        lli_error_done(&refused);
        lli_stmt_give(&conn->db.cache, stmt);
        return LLI_RUN_PARK;
    }
    int64_t before = lli_db_total_changes(&conn->db);
    int rc = lli_run_begin(conn, request->in.sql.begin_before, stmt->kind);
    if (rc == SQLITE_OK && refused.pub.status < 0)
        return refuse(conn, request, stmt, &refused);
    lli_error_done(&refused);
    if (rc != SQLITE_OK) {
        enum lli_kind kind = stmt->kind;
        if (lli_run_should_park(conn, request, rc, kind, ret_park_ns)) {
            lli_stmt_give(&conn->db.cache, stmt);
            return LLI_RUN_PARK;
        }
        lli_run_fail(conn, request, rc, false);
        lli_stmt_give(&conn->db.cache, stmt);
        return LLI_RUN_DONE;
    }
    return carry_on(conn, request, stmt, before, ret_park_ns);
}

enum lli_run_result lli_run_read(ll_conn *conn, ll_request *request, struct lli_stmt *stmt,
                                 uint64_t *ret_park_ns)
{
    request->read_only = true;
    if (!bind(conn, request, stmt))
        return not_set_up(conn, request, stmt, ret_park_ns);
    return carry_on(conn, request, stmt, lli_db_total_changes(&conn->db), ret_park_ns);
}

enum lli_run_result lli_run_sql(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    if (request->live) {
        struct lli_stmt *stmt = request->taken;
        request->taken = NULL;
        request->live = false;
        arm_for(conn, request, stmt);
        return carry_on(conn, request, stmt, request->changes_before, ret_park_ns);
    }
    if (request->in.sql.only_in_transaction && !lli_db_in_transaction(&conn->db)) {
        request->outcome = LL_APPLIED;
        if (request->taken)
            lli_stmt_give(&conn->db.cache, request->taken);
        request->taken = NULL;
        return LLI_RUN_DONE;
    }
    /* It acts while it is prepared. */
    bool busy_pragma = request->kind == LLI_KIND_PRAGMA_BUSY_TIMEOUT;
    if (busy_pragma)
        lli_run_before_busy_pragma(conn);
    enum lli_run_result result = run_from_start(conn, request, ret_park_ns);
    if (busy_pragma)
        lli_run_after_busy_pragma(conn);
    return result;
}
