/* run_many.c: one statement for many rows of parameters, and texts of many statements: one hop each.
 *
 * Both may meet a lock midway. What is done stays done and is remembered in the request (`progress`, the
 * script's `position`), the connection is parked, and the next run goes on where this one ended. When such
 * a request is stopped, it has an effect already, which its outcome tells.
 *
 * An atomic executemany runs inside a savepoint: on an error it is rolled back to it and nothing stays. While it
 * waits for a lock before its first row none is open: outside a transaction it would be one by itself. And none is
 * begun before what ends it was prepared, for in a shared cache whose schema is locked nothing can be, not even
 * ROLLBACK, and the transaction would stay open behind the request.
 * A statement that ends the whole transaction (OR ROLLBACK, a full disk) takes the savepoint with it; then
 * there is nothing left to roll back.
 *
 * Rows are an array, or come one after the other from a source (request.h), which may take its time, and may run code
 * of the program. It is asked for the first row before anything is locked. */
#include "db/bind.h"
#include "db/sqlerror.h"
#include "engine/run.h"

#include <string.h>

enum {
    WAIT_AT_GATE = -1
}; /* no code of SQLite */

static const char savepoint_text[] = "SAVEPOINT looplite_many";
static const char rollback_text[] = "ROLLBACK TO looplite_many";
static const char release_text[] = "RELEASE looplite_many";

/* Prepares a text, which stays in the cache. SQLITE_OK or its error. */
static int get_ready(ll_conn *conn, const char *sql)
{
    struct lli_stmt *stmt;
    struct lli_error error = {0};
    if (lli_stmt_take(&conn->db.cache, sql, strlen(sql), &stmt, &error) == LL_OK) {
        lli_stmt_give(&conn->db.cache, stmt);
        return SQLITE_OK;
    }
    int code = error.pub.sqlite_code != 0 ? error.pub.sqlite_code : SQLITE_NOMEM;
    lli_error_done(&error);
    return code;
}

static int begin_savepoint(ll_conn *conn, ll_request *request)
{
    int rc = get_ready(conn, rollback_text);
    if (rc == SQLITE_OK)
        rc = get_ready(conn, release_text);
    if (rc == SQLITE_OK)
        rc = lli_run_text(conn, savepoint_text);
    request->midway = rc == SQLITE_OK;
    return rc;
}

/* Ends the savepoint of an atomic run. `failed`: takes its rows back first. */
static int end_savepoint(ll_conn *conn, ll_request *request, bool failed)
{
    if (!request->midway || !lli_db_in_transaction(&conn->db)) {
        request->midway = false;
        return SQLITE_OK;
    }
    conn->db.guard.committing = true; /* a stop may not tear this apart */
    int rc = SQLITE_OK;
    if (failed)
        rc = lli_run_text(conn, rollback_text);
    if (rc == SQLITE_OK)
        rc = lli_run_text(conn, release_text);
    if (rc == SQLITE_OK)
        request->midway = false;
    return rc;
}

/* `stmt`: NULL if it could not be had. `released`: it was the end of the savepoint that failed. Outside a transaction
 * that is a COMMIT, of which nobody knows after an I/O error whether it has reached the disk. */
static void many_failed(ll_conn *conn, ll_request *request, struct lli_stmt *stmt, int64_t before,
                        bool released)
{
    /* OR FAIL keeps what the failing row has done; after an I/O error nobody knows. */
    bool doubtful = (request->error.pub.sqlite_code & 0xff) == SQLITE_IOERR;
    bool changed = lli_db_total_changes(&conn->db) != before || doubtful;
    if (stmt)
        lli_stmt_give(&conn->db.cache, stmt);
    bool atomic = request->in.many.many.atomic;
    int rc = end_savepoint(conn, request, true);
    if (rc != SQLITE_OK)
        lli_run_text(conn, "ROLLBACK"); /* the only thing left that takes the rows back */
    if (atomic) {
        request->outcome = released && doubtful ? LL_UNKNOWN : LL_NOT_APPLIED;
        request->changes = 0;
    } else {
        request->outcome = request->progress > 0 || changed ? LL_UNKNOWN : LL_NOT_APPLIED;
    }
}

void lli_run_many_done(ll_request *request)
{
    const struct lli_row_source *source = request->in.many.source;
    request->in.many.source = NULL;
    if (source)
        source->done(request->in.many.source_arg);
}

/* The values of the next row; NULL when the source has no more. */
static ll_status next_row(ll_request *request, const ll_value **ret_values)
{
    const ll_many *many = &request->in.many.many;
    const struct lli_row_source *source = request->in.many.source;
    if (LLI_UNLIKELY(source != NULL))
        return source->row(request->in.many.source_arg, request, request->progress, ret_values);
    *ret_values = many->values + request->progress * many->width; /* NULL if they are none wide */
    return LL_OK;
}

/* Runs the statement for one row. */
static int run_row(ll_conn *conn, ll_request *request, struct lli_stmt *stmt,
                   const ll_value *values)
{
    const ll_many *many = &request->in.many.many;
    ll_params params = {values, many->names, many->width};
    if (lli_bind(conn->db.handle, stmt->raw, &params, false, &request->error) != LL_OK)
        return SQLITE_ERROR;
    int rc;
    do
        rc = lli_run_step(conn, stmt->raw, stmt->read_only);
    while (rc == SQLITE_ROW);
    if (rc == SQLITE_DONE && stmt->kind == LLI_KIND_DML)
        request->changes += lli_db_changes(&conn->db);
    return rc;
}

/* What runs once before the first row, in its savepoint. */
static int run_before(ll_conn *conn, ll_request *request)
{
    if (!request->in.many.before || request->in.many.before_ran)
        return SQLITE_OK;
    int rc = lli_run_text(conn, request->in.many.before);
    request->in.many.before_ran = rc == SQLITE_OK;
    return rc;
}

static enum lli_run_result run_many(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    const ll_many *many = &request->in.many.many;
    const struct lli_row_source *source = request->in.many.source;
    int64_t before = lli_db_total_changes(&conn->db);
    struct lli_stmt *stmt;
    lli_run_arm(conn, request, true, false);
    if (lli_stmt_take(&conn->db.cache, many->text, request->in.many.size, &stmt, &request->error) !=
        LL_OK) {
        int code = request->error.pub.sqlite_code;
        conn->db.guard.lock_asked = true; /* as in run_sql.c: preparing may not ask */
        if (request->progress == 0 &&
            lli_run_should_park(conn, request, code, LLI_KIND_OTHER, ret_park_ns)) {
            lli_error_done(&request->error);
            return LLI_RUN_PARK;
        }
        many_failed(conn, request, NULL, before, false);
        return LLI_RUN_DONE;
    }
    request->read_only = stmt->read_only;
    request->dml = stmt->kind == LLI_KIND_DML;
    if (many->dml_only && !request->dml) {
        lli_stmt_give(&conn->db.cache, stmt);
        lli_error_set(&request->error, LL_EINVAL, "executemany() can only execute DML statements.");
        return LLI_RUN_DONE;
    }
    enum lli_stop stop = (enum lli_stop)atomic_load_explicit(&request->stop, memory_order_relaxed);
    if (stop != LLI_STOP_NONE) { /* taken up again after a lock, but stopped meanwhile */
        lli_request_set_stopped(request, stop, request->progress > 0);
        many_failed(conn, request, stmt, before, false);
        return LLI_RUN_DONE;
    }
    const ll_value *values = NULL;
    ll_status got = LL_OK;
    if (source && request->progress == 0) { /* it may take its time: nothing is locked yet */
        got = next_row(request, &values);
        if (got != LL_OK && got != LL_ECANCELLED) {
            many_failed(conn, request, stmt, before, false);
            return LLI_RUN_DONE;
        }
        if (!request->in.many.asked)
            request->started = false; /* what it took is not for locks */
        request->in.many.asked = true;
    }
    bool interruptible = stmt->read_only || (request->flags & LL_SUBMIT_INTERRUPT);
    lli_run_arm(conn, request, interruptible, false);
    if (lli_run_must_wait(conn, request, !stmt->read_only, stmt->kind, stmt->sql, stmt->entry.size,
                          ret_park_ns)) {
        lli_stmt_give(&conn->db.cache, stmt);
        return LLI_RUN_PARK;
    }
    int rc = lli_run_begin(conn, many->begin_before, stmt->kind);
    if (rc == SQLITE_OK && many->atomic && !request->midway)
        rc = begin_savepoint(conn, request);
    if (rc == SQLITE_OK)
        rc = run_before(conn, request);
    rc = rc == SQLITE_OK ? SQLITE_DONE : rc;
    while (rc == SQLITE_DONE && stmt->raw && (source || request->progress < many->rows)) {
        /* Between two rows anything may stop it; inside one only what is interruptible. */
        stop = (enum lli_stop)atomic_load_explicit(&request->stop, memory_order_relaxed);
        if (stop != LLI_STOP_NONE) { /* never set by cancelling what is shielded */
            conn->db.guard.stopped = stop;
            rc = SQLITE_INTERRUPT;
            break;
        }
        got = next_row(request, &values);
        if (got == LL_ECANCELLED)
            continue;
        if (got != LL_OK)
            rc = SQLITE_ERROR;
        if (rc == SQLITE_DONE && source && !values &&
            atomic_load_explicit(&request->stop, memory_order_relaxed) != LLI_STOP_NONE)
            continue; /* stopped while the source was asked whether there is more */
        if (rc != SQLITE_DONE || (source && !values))
            break;
        rc = run_row(conn, request, stmt, values);
        lli_sq.reset(stmt->raw);
        if (rc == SQLITE_DONE)
            request->progress++;
    }
    request->rowid = lli_sq.last_insert_rowid(conn->db.handle);
    lli_tally_forget(conn);
    bool released = rc == SQLITE_DONE;
    if (released) {
        rc = end_savepoint(conn, request, false);
        if (rc == SQLITE_OK) {
            lli_stmt_give(&conn->db.cache, stmt);
            request->outcome = LL_APPLIED;
            return LLI_RUN_DONE;
        }
    }
    if (request->error.pub.status == LL_OK &&
        lli_run_should_park(conn, request, rc, stmt->kind, ret_park_ns)) {
        lli_stmt_give(&conn->db.cache, stmt);
        if (request->progress == 0) {
            (void)end_savepoint(conn, request, true);
            request->in.many.before_ran = false;
        }
        return LLI_RUN_PARK;
    }
    if (request->error.pub.status == LL_OK)
        lli_run_fail(conn, request, rc, false);
    many_failed(conn, request, stmt, before, released);
    return LLI_RUN_DONE;
}

enum lli_run_result lli_run_many(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    const struct lli_row_source *source = request->in.many.source;
    if (source && !request->in.many.begun) {
        if (source->begin(request->in.many.source_arg, request) != LL_OK) {
            request->outcome = LL_NOT_APPLIED;
            lli_run_many_done(request);
            return LLI_RUN_DONE;
        }
        request->in.many.begun = true;
    }
    enum lli_run_result result = run_many(conn, request, ret_park_ns);
    if (result == LLI_RUN_DONE)
        lli_run_many_done(request);
    return result;
}

/* Whether the script is past its last statement. */
static bool script_at_end(const ll_request *request)
{
    size_t at = request->position;
    return at >= request->in.script.size ||
           lli_classify(request->in.script.text + at, request->in.script.size - at) ==
               LLI_KIND_EMPTY;
}

/* Runs the statement at the script's position and moves behind it. */
static int run_script_statement(ll_conn *conn, ll_request *request, enum lli_kind *ret_kind,
                                uint64_t *ret_park_ns)
{
    const char *text = request->in.script.text + request->position;
    size_t size = request->in.script.size - request->position;
    *ret_kind = lli_classify(text, size);
    lli_run_arm(conn, request, true, *ret_kind == LLI_KIND_COMMIT || *ret_kind == LLI_KIND_RELEASE);
    sqlite3_stmt *stmt = NULL;
    const char *tail = NULL;
    bool busy_pragma = *ret_kind == LLI_KIND_PRAGMA_BUSY_TIMEOUT;
    if (busy_pragma) /* it acts while it is prepared */
        lli_run_before_busy_pragma(conn);
    int rc = lli_sq.prepare_v3(conn->db.handle, text, (int)size, 0, &stmt, &tail);
    if (rc != SQLITE_OK) {
        conn->db.guard.lock_asked = true; /* as in run_sql.c: preparing may not ask */
        if (busy_pragma)
            lli_run_after_busy_pragma(conn);
        return rc;
    }
    if (stmt) {
        bool read_only = lli_sq.stmt_readonly(stmt) != 0;
        request->read_only = request->read_only && read_only;
        if (lli_run_must_wait(conn, request, !read_only, *ret_kind, text, (size_t)(tail - text),
                              ret_park_ns)) {
            lli_sq.finalize(stmt);
            return WAIT_AT_GATE;
        }
        conn->db.guard.interruptible = read_only || (request->flags & LL_SUBMIT_INTERRUPT);
        while ((rc = lli_run_step(conn, stmt, read_only)) == SQLITE_ROW) {}
        if (!read_only)
            lli_tally_forget(conn);
        if (busy_pragma)
            lli_run_after_busy_pragma(conn);
        /* The error has to be read before the statement is finalised. */
        if (rc != SQLITE_DONE && (rc & 0xff) != SQLITE_INTERRUPT && !lli_run_met_lock(conn, rc))
            lli_run_fail(conn, request, rc, false);
        lli_sq.finalize(stmt);
    }
    if (rc == SQLITE_OK || rc == SQLITE_DONE) {
        request->position += (size_t)(tail - text);
        request->progress += stmt != NULL;
        request->started = false; /* each statement has the whole busy timeout */
        lli_conn_pass_gate(conn);
        return SQLITE_OK;
    }
    return rc;
}

enum lli_run_result lli_run_script(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    int64_t before = lli_db_total_changes(&conn->db);
    int rc = SQLITE_OK;
    enum lli_kind kind = LLI_KIND_COMMIT;
    if (request->position == 0 &&
        lli_sql_fits(conn->db.handle, request->in.script.size, &request->error) != LL_OK) {
        request->outcome = LL_NOT_APPLIED;
        return LLI_RUN_DONE;
    }
    if (request->in.script.commit_first && lli_db_in_transaction(&conn->db)) {
        lli_run_arm(conn, request, false, true);
        rc = lli_run_text(conn, "COMMIT");
    }
    if (rc == SQLITE_OK)
        request->in.script.commit_first = false;
    if (request->progress == 0 && request->position == 0)
        request->read_only = true;
    while (rc == SQLITE_OK && !script_at_end(request)) {
        enum lli_stop stop = (enum lli_stop)atomic_load_explicit(&request->stop,
                                                                 memory_order_relaxed);
        if (stop != LLI_STOP_NONE) { /* never set by cancelling what is shielded */
            conn->db.guard.stopped = stop;
            rc = SQLITE_INTERRUPT;
            break;
        }
        rc = run_script_statement(conn, request, &kind, ret_park_ns);
    }
    request->rowid = lli_sq.last_insert_rowid(conn->db.handle);
    request->changes += lli_db_total_changes(&conn->db) - before;
    if (rc == SQLITE_OK) {
        request->outcome = LL_APPLIED;
        return LLI_RUN_DONE;
    }
    if (rc == WAIT_AT_GATE || lli_run_should_park(conn, request, rc, kind, ret_park_ns))
        return LLI_RUN_PARK;
    bool changed = lli_db_total_changes(&conn->db) != before;
    if (request->error.pub.status == LL_OK)
        lli_run_fail(conn, request, rc, changed);
    if (request->error.pub.sql_offset >= 0) /* from the start of the whole text */
        request->error.pub.sql_offset += (int)request->position;
    request->outcome = request->progress > 0 || changed || request->outcome == LL_UNKNOWN
                         ? LL_UNKNOWN
                         : LL_NOT_APPLIED;
    return LLI_RUN_DONE;
}
