/* run.c: what every kind of request has in common when it runs.
 *
 * Stops. Before a request touches SQLite, and whenever it is taken up again after a lock, its stop word is
 * looked at; while a statement runs the guard does so. If a guard fired during a read, the result is thrown
 * away whatever sqlite3_step() returned ([M] integrity_check swallows the interruption and reports
 * corruption that is not there). A write that came to its end in spite of it is reported as applied.
 *
 * Locks. SQLITE_BUSY is waited for only where SQLite would have called its busy handler; then the statement
 * has done nothing yet (or was rolled back whole, in autocommit) and is run again from its start after a
 * short, even step. PRAGMA journal_mode is the exception: switching a file to WAL reports a lock without
 * ever asking the handler.
 *
 * Outcomes. A statement that fails has no effect; SQLite undoes it. The exceptions are told as unknown:
 * OR FAIL keeps the rows before the error (then total_changes() has moved), and after an I/O error inside
 * a commit nobody can say what reached the disk. */
#include "engine/run.h"

#include "base/alloc.h"
#include "db/attempt.h"
#include "db/colbatch.h"
#include "db/inspect.h"
#include "db/sqlerror.h"
#include "engine/engine.h"
#include "engine/facts.h"
#include "engine/group.h"
#include "engine/stmt.h"
#include "engine/stream.h"
#include "platform/clock.h"

#include <string.h>

/* Steps while waiting for a lock: short at first, for most locks are held for one commit. */
static const uint64_t park_steps_ns[] = {1 * LLI_MS, 1 * LLI_MS, 2 * LLI_MS, 2 * LLI_MS,
                                         5 * LLI_MS};

enum {
    BATCH_BYTES = 256 * 1024
};
static const uint64_t batch_ns = 5 * LLI_MS;

void lli_run_arm(ll_conn *conn, ll_request *request, bool interruptible, bool committing)
{
    struct lli_guard *guard = &conn->db.guard;
    lli_guard_arm(guard);
    guard->stop = &request->stop;
    guard->deadline_ns = request->flags & LL_SUBMIT_SHIELD ? LLI_NEVER : request->deadline_ns;
    guard->interruptible = interruptible;
    guard->deadline_breaks = (request->flags & (LLI_SUBMIT_BREAKS | LL_SUBMIT_SHIELD)) ==
                             LLI_SUBMIT_BREAKS;
    guard->committing = committing;
    lli_request_time_begin(request);
    if (!request->started) {
        request->started = true;
        /* (A try on the loop waits for no lock, and is over before this could be wrong by much.) */
        uint64_t now = conn->attempt ? conn->attempt->begun_ns : lli_now_ns();
        request->busy_until_ns = conn->busy_timeout_ns > 0
                                   ? lli_deadline_from(now, conn->busy_timeout_ns)
                                   : 0;
    }
    guard->busy_until_ns = request->busy_until_ns;
}

int lli_run_step(ll_conn *conn, sqlite3_stmt *stmt, bool read_only)
{
    sqlite3_stmt *outer = conn->db.guard.writer;
    conn->db.guard.writer = read_only ? NULL : stmt;
    int rc = lli_sq.step(stmt);
    conn->db.guard.writer = outer;
    if (LLI_UNLIKELY(conn->db.guard.stopped != LLI_STOP_NONE) && (read_only || rc != SQLITE_DONE))
        return SQLITE_INTERRUPT;
    return rc;
}

/* On a table, or on the whole cache, by a connection that shares it. SQLite asks no busy handler then. (The plain
 * SQLITE_LOCKED is a conflict inside the connection, which waiting does not end.) */
static bool met_table_lock(ll_conn *conn, int rc)
{
    return LLI_UNLIKELY((rc & 0xff) == SQLITE_LOCKED) && conn->turns.count > 0 &&
           (rc == SQLITE_LOCKED_SHAREDCACHE ||
            lli_sq.extended_errcode(conn->db.handle) == SQLITE_LOCKED_SHAREDCACHE);
}

bool lli_run_met_lock(ll_conn *conn, int rc)
{
    return (rc & 0xff) == SQLITE_BUSY || met_table_lock(conn, rc);
}

/* Whether it stands in line now, behind others. One that writes does already; a read that met the lock of a table
 * comes with the writers, so that they do not keep it out for ever. */
static bool stands_in_line(ll_conn *conn, uint64_t now, uint64_t *ret_again_ns)
{
    if (conn->seat.asked || lli_sq.txn_state(conn->db.handle, NULL) != SQLITE_TXN_NONE)
        return false;
    if (lli_gate_enter(&conn->seat, now, ret_again_ns))
        return false;
    atomic_fetch_add_explicit(&conn->crew->stats.gate_waits, 1, memory_order_relaxed);
    return true;
}

bool lli_run_should_park(ll_conn *conn, ll_request *request, int rc, enum lli_kind kind,
                         uint64_t *ret_park_ns)
{
    if (!lli_run_met_lock(conn, rc) || conn->db.guard.stopped != LLI_STOP_NONE)
        return false;
    bool table = (rc & 0xff) == SQLITE_LOCKED;
    if (!conn->db.guard.lock_asked && !table && kind != LLI_KIND_PRAGMA_JOURNAL_MODE)
        return false;
    uint64_t now = lli_now_ns(), again;
    uint64_t deadline = conn->db.guard.deadline_ns;
    lli_gate_note_lock(&conn->seat, now);
    if (now >= deadline) { /* the loop may be too busy to say so */
        conn->db.guard.stopped = LLI_STOP_DEADLINE;
        return false;
    }
    if (now >= request->busy_until_ns)
        return false;
    uint64_t waited = conn->busy_timeout_ns - (request->busy_until_ns - now);
    size_t step = 0;
    uint64_t sum = 0;
    while (step + 1 < LLI_COUNT(park_steps_ns) && (sum += park_steps_ns[step]) <= waited)
        step++;
    uint64_t left = request->busy_until_ns - now;
    uint64_t span = park_steps_ns[step];
    if (table && stands_in_line(conn, now, &again))
        span = again - now;
    if (span > left)
        span = left;
    if (span > deadline - now)
        span = deadline - now;
    *ret_park_ns = span;
    return true;
}

void lli_run_fail(ll_conn *conn, ll_request *request, int rc, bool changed)
{
    enum lli_stop stopped = conn->db.guard.stopped;
    if (stopped != LLI_STOP_NONE && (rc & 0xff) == SQLITE_INTERRUPT) {
        lli_request_set_stopped(request, stopped, changed);
        return;
    }
    if (stopped != LLI_STOP_NONE && lli_run_met_lock(conn, rc)) { /* given up while waiting */
        lli_request_set_stopped(request, stopped, changed);
        return;
    }
    lli_error_from_sqlite(&request->error, conn->db.handle, rc);
    int primary = rc & 0xff;
    /* A COMMIT counts as one that reads only (sqlite3_stmt_readonly()). */
    bool doubtful = primary == SQLITE_IOERR && (!request->read_only || conn->db.guard.committing);
    request->outcome = changed || doubtful ? LL_UNKNOWN : LL_NOT_APPLIED;
}

/* The program tells; it is only asked for when the answer saves a wait. (EXPLAIN sets changes() to 0, as inspect.c
 * says; the statement sets it anew.) */
static bool writes_temp_only(ll_conn *conn, enum lli_kind kind, const char *sql, size_t size)
{
    /* (What runs out of memory in a transaction ends it.) */
    if ((kind != LLI_KIND_DML && kind != LLI_KIND_OTHER) || lli_db_in_transaction(&conn->db))
        return false;
    struct lli_program program = lli_explain(conn->db.handle, sql, size);
    return program.known && program.writes && !program.writes_other_than_temp;
}

bool lli_run_wait_at_gate(ll_conn *conn, ll_request *request, enum lli_kind kind, const char *sql,
                          size_t size, uint64_t *ret_park_ns)
{
    if (conn->seat.count == 0 || conn->busy_timeout_ns == 0 || conn->attempt ||
        kind == LLI_KIND_PRAGMA_JOURNAL_MODE || /* it answers at once where nothing is to be done */
        lli_sq.txn_state(conn->db.handle, NULL) != SQLITE_TXN_NONE)
        return false;
    bool first = !conn->seat.asked;
    uint64_t now = lli_now_ns(), again;
    if (lli_gate_enter(&conn->seat, now, &again))
        return false;
    if (first && writes_temp_only(conn, kind, sql, size)) {
        lli_gate_give_back(&conn->seat);
        return false;
    }
    uint64_t deadline = conn->db.guard.deadline_ns;
    uint64_t until = request->busy_until_ns < deadline ? request->busy_until_ns : deadline;
    if (now >= until)
        return false; /* it has waited long enough: SQLite says what is to be said */
    if (first)
        atomic_fetch_add_explicit(&conn->crew->stats.gate_waits, 1, memory_order_relaxed);
    *ret_park_ns = (again < until ? again : until) - now;
    return true;
}

void lli_run_before_busy_pragma(ll_conn *conn)
{
    uint64_t ms = conn->busy_timeout_ns / LLI_MS;
    lli_sq.busy_timeout(conn->db.handle, ms > INT32_MAX ? INT32_MAX : (int)ms);
}

void lli_run_after_busy_pragma(ll_conn *conn)
{
    static const char sql[] = "PRAGMA busy_timeout";
    struct lli_stmt *stmt;
    struct lli_error error = {0};
    if (lli_stmt_take(&conn->db.cache, sql, sizeof sql - 1, &stmt, &error) == LL_OK) {
        if (lli_sq.step(stmt->raw) == SQLITE_ROW) {
            int ms = lli_sq.column_int(stmt->raw, 0);
            conn->busy_timeout_ns = ms > 0 ? (uint64_t)ms * LLI_MS : 0;
        }
        lli_stmt_give(&conn->db.cache, stmt);
    }
    lli_error_done(&error);
    lli_own_install_guard(conn);
}

int lli_run_text(ll_conn *conn, const char *sql)
{
    struct lli_stmt *stmt;
    struct lli_error error = {0};
    if (lli_stmt_take(&conn->db.cache, sql, strlen(sql), &stmt, &error) != LL_OK) {
        int code = error.pub.sqlite_code != 0 ? error.pub.sqlite_code : SQLITE_NOMEM;
        lli_error_done(&error);
        return code;
    }
    int rc;
    do
        rc = lli_sq.step(stmt->raw);
    while (rc == SQLITE_ROW);
    lli_stmt_give(&conn->db.cache, stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int lli_run_begin(ll_conn *conn, ll_begin begin, enum lli_kind kind)
{
    static const char *const texts[] = {
        [LL_BEGIN_DEFERRED] = "BEGIN DEFERRED",
        [LL_BEGIN_IMMEDIATE] = "BEGIN IMMEDIATE",
        [LL_BEGIN_EXCLUSIVE] = "BEGIN EXCLUSIVE",
        [LL_BEGIN_DEFAULT] = "BEGIN ",
    };
    if (begin == LL_BEGIN_NONE || kind != LLI_KIND_DML || lli_db_in_transaction(&conn->db))
        return SQLITE_OK;
    return lli_run_text(conn, texts[begin]);
}

bool lli_run_may_break(ll_conn *conn, struct lli_stmt *stmt)
{
    if (!lli_db_in_transaction(&conn->db))
        return true;
    return !lli_own_has(conn, LL_OWN_AUTHORIZER | LL_OWN_TRACE) &&
           !lli_stmt_uses_vtab(&conn->db.cache, stmt);
}

ll_batch *lli_run_batch(ll_conn *conn, struct lli_stmt *stmt, ll_request *request, size_t rows,
                        bool columns, bool *ret_more, struct lli_error *error)
{
    *ret_more = false;
    lli_run_arm(conn, request, lli_run_may_break(conn, stmt), false);
    uint64_t until = lli_deadline_after(batch_ns);
    ll_batch *batch = NULL;
    for (;;) {
        int rc = lli_run_step(conn, stmt->raw, true);
        if (rc == SQLITE_DONE)
            return batch;
        ll_status status = LL_OK;
        if (rc == SQLITE_ROW) {
            size_t width = ll_columns_count(stmt->columns);
            if (!batch && !(batch = columns ? lli_colbatch_new(width, NULL) : lli_batch_new(width)))
                status = LL_ENOMEM;
            else
                status = lli_batch_add(batch, conn->db.handle, stmt->raw);
        }
        if (status != LL_OK) {
            lli_error_set(error, status, "out of memory for a row");
        } else if (rc != SQLITE_ROW) {
            if (conn->db.guard.stopped != LLI_STOP_NONE) {
                lli_error_set(error, LL_ESQL, "interrupted");
                error->pub.sqlite_code = SQLITE_INTERRUPT;
            } else {
                lli_error_from_sqlite(error, conn->db.handle, rc);
            }
        }
        if (error->pub.status < 0)
            return batch; /* the rows before the error are delivered before it */
        if (batch->rows >= rows || batch->bytes >= BATCH_BYTES ||
            ((batch->rows & 15) == 0 && lli_now_ns() >= until)) {
            *ret_more = true;
            return batch;
        }
    }
}

/* Whether the connection can serve the request; sets its error if not. */
static bool can_serve(ll_conn *conn, ll_request *request)
{
    if (conn->db.handle)
        return true;
    bool opens = request->op == LLI_OP_TASK && request->in.task.ops->opens;
    if (conn->open_error.pub.status < 0 && opens) {
        lli_error_set(&request->error, conn->open_error.pub.status, "%s",
                      conn->open_error.pub.message);
        request->error.pub.sqlite_code = conn->open_error.pub.sqlite_code;
    } else if (conn->open_error.pub.status < 0)
        lli_error_set(&request->error, LL_ECLOSED, "the connection was never opened: %s",
                      conn->open_error.pub.message);
    else
        lli_error_set(&request->error, LL_ECLOSED, "the connection is closed");
    request->outcome = LL_NOT_APPLIED;
    return false;
}

enum lli_run_result lli_run(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    switch (request->op) { /* these happen whatever was said meanwhile */
    case LLI_OP_CLOSE:
    case LLI_OP_AUTOCLOSE:
        lli_request_time_begin(request);
        lli_run_close(conn, request);
        return LLI_RUN_DONE;
    case LLI_OP_PUMP:
        lli_stream_pump(request->in.cursor);
        return LLI_RUN_DONE;
    case LLI_OP_END:
        lli_stream_end(request->in.cursor);
        return LLI_RUN_DONE;
    case LLI_OP_UNPREPARE:
        lli_run_unprepare(conn, request);
        return LLI_RUN_DONE;
    case LLI_OP_GROUP:
        return lli_run_group(conn, request, ret_park_ns);
    case LLI_OP_CHORE:
    case LLI_OP_LEAVE:
        return (enum lli_run_result)request->in.chore.run(conn, request, ret_park_ns);
    default:
        break;
    }
    if (LLI_UNLIKELY(request->member.answered)) {
        lli_group_apply(conn, request);
        return LLI_RUN_DONE;
    }
    if (request->op == LLI_OP_OPEN)
        return lli_run_open(conn, request, ret_park_ns);
    enum lli_stop stop = (enum lli_stop)atomic_load_explicit(&request->stop, memory_order_relaxed);
    if (stop != LLI_STOP_NONE && request->progress == 0 && !request->midway) {
        lli_request_set_stopped(request, stop, false);
        return LLI_RUN_DONE;
    }
    if (!can_serve(conn, request))
        return LLI_RUN_DONE;
    if (LLI_UNLIKELY(conn->tenant.pooled) && !lli_tenant_admits(conn, request))
        return LLI_RUN_DONE;
    if (conn->db.adopted) /* its owner may have put other handlers there meanwhile */
        lli_own_install_guard(conn);
    switch (request->op) {
    case LLI_OP_SQL:
        if (LLI_UNLIKELY(request->writer != NULL) && lli_group_admits(conn, request))
            return LLI_RUN_GROUPED;
        if (!request->taken)
            lli_facts_before(conn, request);
        lli_facts_mind(conn, request->kind);
        return lli_run_sql(conn, request, ret_park_ns);
    case LLI_OP_MANY:
        lli_facts_mind(conn, lli_classify(request->in.many.many.text, request->in.many.size));
        return lli_run_many(conn, request, ret_park_ns);
    case LLI_OP_SCRIPT:
        lli_facts_mind(conn, LLI_KIND_PRAGMA);
        return lli_run_script(conn, request, ret_park_ns);
    case LLI_OP_CALL:
        lli_facts_mind(conn, LLI_KIND_PRAGMA);
        lli_run_call(conn, request);
        return LLI_RUN_DONE;
    case LLI_OP_TASK:
        lli_facts_mind(conn, request->in.task.ops->kind);
        return (enum lli_run_result)request->in.task.ops->run(conn, request, ret_park_ns);
    case LLI_OP_PREPARE: /* a PRAGMA may act while it is prepared */
        lli_facts_mind(conn, lli_classify(request->in.sql.text, request->in.sql.size));
        return lli_run_prepare(conn, request, ret_park_ns);
    default:
        assert(false);
        return LLI_RUN_DONE;
    }
}

static void handle_free(ll_stmt *handle)
{
    ll_conn *conn = handle->conn;
    ll_columns_unref(handle->columns);
    ll_batch_free(handle->rows);
    lli_free(handle->text);
    lli_free(handle);
    lli_live(-1);
    lli_conn_unref(conn);
}

void lli_run_end(ll_conn *conn, ll_request *request, enum lli_op op)
{
    switch (op) {
    case LLI_OP_PUMP:
    case LLI_OP_END:
        lli_stream_unref(request->in.cursor);
        return;
    case LLI_OP_UNPREPARE:
        handle_free(request->in.stmt);
        return;
    case LLI_OP_AUTOCLOSE:
        lli_conn_unref(conn);
        return;
    case LLI_OP_GROUP:
        lli_group_unref(request->in.writer);
        return;
    case LLI_OP_CHORE:
    case LLI_OP_LEAVE:
        request->in.chore.end(conn, request);
        return;
    default:
        ll_request_unref(request); /* the queue's; the engine still has one */
        lli_request_finish(request);
        return;
    }
}
