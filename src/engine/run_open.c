/* run_open.c: opening and closing a connection, and prepared handles.
 *
 * Opening runs the pragmas of the options in order; one that meets a lock parks the connection, as a
 * statement would ("PRAGMA journal_mode=WAL" while the last other connection closes is the usual case).
 *
 * Closing ends the live statements of all cursors first, for SQLite refuses to close a handle that has
 * any; the cursors' consumers are told when they ask. A handle that was adopted goes back to whom it
 * belongs, free of our statements and handlers. */
#include "base/alloc.h"
#include "db/columns.h"
#include "db/sqlerror.h"
#include "db/vfs_shim.h"
#include "engine/facts.h"
#include "engine/resident.h"
#include "engine/run.h"
#include "engine/stmt.h"
#include "engine/stream.h"

#include <stdlib.h>
#include <string.h>

/* Whose handle this thread is about to get. */
static _Thread_local ll_conn *adopting;

ll_conn *ll_adopt_conn(void)
{
    return adopting;
}

ll_status lli_run_adopt(ll_conn *conn, ll_request *request)
{
    sqlite3 *handle = NULL;
    char *message = NULL;
    adopting = conn;
    int rc = conn->adopt.open(conn->adopt.arg, &handle, &message);
    adopting = NULL;
    if (rc != SQLITE_OK) {
        lli_error_set(&request->error, lli_sql_status(rc), "%s",
                      message ? message : lli_sq.errstr(rc));
        request->error.pub.sqlite_code = rc;
        free(message);
        return request->error.pub.status;
    }
    free(message);
    /* Whoever opened it may have registered code of his own meanwhile. */
    conn->db.guard.progress_is_taken = lli_own_has(conn, LL_OWN_PROGRESS);
    ll_status status = lli_db_adopt(&conn->db, handle, conn->options.cached_statements,
                                    &request->error);
    if (status != LL_OK && conn->adopt.close)
        conn->adopt.close(conn->adopt.arg, handle);
    return status;
}

/* Closes a handle whose opening failed halfway. */
static void abandon_handle(ll_conn *conn)
{
    struct lli_error ignored = {0};
    lli_gate_leave(&conn->turns);
    lli_gate_leave(&conn->seat);
    if (!conn->db.handle)
        return;
    if (conn->db.adopted) {
        sqlite3 *handle = lli_db_release(&conn->db);
        if (conn->adopt.close)
            conn->adopt.close(conn->adopt.arg, handle);
    } else {
        lli_db_close(&conn->db, &ignored);
    }
    lli_error_done(&ignored);
}

static int run_pragma(ll_conn *conn, const char *pragma, enum lli_kind *ret_kind)
{
    size_t size = strlen(pragma);
    char *text = lli_resize(NULL, size + sizeof "PRAGMA ");
    if (!text)
        return SQLITE_NOMEM;
    memcpy(text, "PRAGMA ", 7);
    memcpy(text + 7, pragma, size + 1);
    *ret_kind = lli_classify(text, size + 7);
    bool busy_pragma = *ret_kind == LLI_KIND_PRAGMA_BUSY_TIMEOUT;
    if (busy_pragma)
        lli_run_before_busy_pragma(conn);
    /* An adopted handle may be in a transaction, empty yet, for which most pragmas have to step aside. */
    bool between = conn->db.adopted && lli_db_in_transaction(&conn->db);
    int rc = between ? lli_run_text(conn, "COMMIT") : SQLITE_OK;
    if (rc == SQLITE_OK)
        rc = lli_run_text(conn, text);
    int begun = between ? lli_run_text(conn, "BEGIN") : SQLITE_OK;
    if (busy_pragma)
        lli_run_after_busy_pragma(conn);
    lli_free(text);
    return rc != SQLITE_OK ? rc : begun;
}

enum lli_run_result lli_run_open(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    ll_status status = LL_OK;
    enum lli_stop stop = (enum lli_stop)atomic_load_explicit(&request->stop, memory_order_relaxed);
    if (stop != LLI_STOP_NONE) {
        lli_request_set_stopped(request, stop, false);
        status = request->error.pub.status;
    } else if (!conn->db.handle) {
        lli_request_time_begin(request);
        lli_mapping_now = (conn->options.flags & LL_OPEN_NO_INLINE) != 0;
        if (conn->adopt.open)
            status = lli_run_adopt(conn, request);
        else
            status = lli_db_open(&conn->db, conn->path, &conn->options, &request->error);
        lli_mapping_now = false;
        if (status == LL_OK)
            lli_facts_share(conn);
    }
    while (status == LL_OK && conn->pragmas && conn->pragmas[request->position]) {
        enum lli_kind kind = LLI_KIND_PRAGMA;
        lli_run_arm(conn, request, true, false);
        int rc = run_pragma(conn, conn->pragmas[request->position], &kind);
        if (rc != SQLITE_OK) {
            if (lli_run_should_park(conn, request, rc, kind, ret_park_ns))
                return LLI_RUN_PARK;
            struct lli_error cause = {0};
            lli_error_from_sqlite(&cause, conn->db.handle, rc);
            lli_error_set(&request->error, cause.pub.status, "PRAGMA %s: %s",
                          conn->pragmas[request->position], cause.pub.message);
            request->error.pub.sqlite_code = cause.pub.sqlite_code;
            lli_error_done(&cause);
            status = request->error.pub.status;
            break;
        }
        request->position++;
        request->started = false; /* each has the whole busy timeout */
    }
    if (status == LL_OK) {
        request->outcome = LL_APPLIED;
        conn->facts_stale = !conn->db.adopted;
        return LLI_RUN_DONE;
    }
    lli_error_set(&conn->open_error, request->error.pub.status, "%s", request->error.pub.message);
    conn->open_error.pub.sqlite_code = request->error.pub.sqlite_code;
    abandon_handle(conn);
    request->outcome = LL_NOT_APPLIED;
    return LLI_RUN_DONE;
}

void lli_run_unopen(ll_conn *conn, ll_request *request)
{
    abandon_handle(conn);
    lli_error_done(&request->error);
    lli_error_done(&conn->open_error);
    request->outcome = LL_NOT_APPLIED;
    request->position = 0;
    request->started = false;
}

void lli_run_close(ll_conn *conn, ll_request *request)
{
    request->outcome = LL_APPLIED;
    struct lli_node *node;
    if (conn->db.adopted)
        lli_own_wait_outside(conn);
    lli_tally_leave(conn);
    while ((node = lli_list_first(&conn->streams)) != NULL)
        lli_stream_cut(LLI_CONTAINER_OF(node, ll_cursor, stream_node), "the connection was closed");
    if (lli_resident_any(conn))
        lli_run_arm(conn, request, false, true); /* what is written to a blob is committed */
    (void)lli_resident_cut(conn, "the connection was closed");
    while ((node = lli_list_pop(&conn->prepared)) != NULL)
        LLI_CONTAINER_OF(node, ll_stmt, node)->pinned = NULL;
    if (conn->db.handle) {
        lli_vfs_about_to_close(conn->db.handle);
        if (conn->db.adopted) {
            sqlite3 *handle = lli_db_release(&conn->db);
            int rc = conn->adopt.close ? conn->adopt.close(conn->adopt.arg, handle) : SQLITE_OK;
            if (rc != SQLITE_OK)
                lli_error_from_sqlite(&request->error, NULL, rc);
        } else {
            lli_db_close(&conn->db, &request->error);
        }
    }
    lli_facts_forget(conn);
    if (request->op == LLI_OP_AUTOCLOSE)
        lli_error_done(&request->error); /* nobody asks for it */
    lli_crew_remove(conn->crew, conn);
}

enum lli_run_result lli_run_prepare(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    struct lli_stmt *stmt;
    request->outcome = LL_NOT_APPLIED;
    lli_run_arm(conn, request, true, false);
    bool busy_pragma = lli_classify(request->in.sql.text, request->in.sql.size) ==
                       LLI_KIND_PRAGMA_BUSY_TIMEOUT;
    if (busy_pragma) /* it acts while it is prepared */
        lli_run_before_busy_pragma(conn);
    ll_status status = lli_stmt_take(&conn->db.cache, request->in.sql.text, request->in.sql.size,
                                     &stmt, &request->error);
    if (busy_pragma)
        lli_run_after_busy_pragma(conn);
    if (status != LL_OK) {
        conn->db.guard.lock_asked = true; /* as in run_sql.c: preparing may not ask */
        if (!lli_run_should_park(conn, request, request->error.pub.sqlite_code, LLI_KIND_OTHER,
                                 ret_park_ns))
            return LLI_RUN_DONE;
        lli_error_done(&request->error);
        return LLI_RUN_PARK;
    }
    ll_stmt *handle = lli_new(sizeof *handle);
    ll_columns *columns = NULL;
    if (handle)
        handle->text = lli_copy_text(request->in.sql.text, request->in.sql.size);
    if (!handle || !handle->text || lli_stmt_columns(stmt, &columns) != LL_OK) {
        lli_error_set(&request->error, LL_ENOMEM, "out of memory for a prepared statement");
        if (handle)
            lli_free(handle->text);
        lli_free(handle);
        lli_stmt_give(&conn->db.cache, stmt);
        return LLI_RUN_DONE;
    }
    handle->conn = lli_conn_ref(conn);
    handle->size = request->in.sql.size;
    handle->parameters = stmt->raw ? (size_t)lli_sq.bind_parameter_count(stmt->raw) : 0;
    handle->kind = stmt->kind;
    handle->lease = atomic_load_explicit(&conn->tenant.lease, memory_order_relaxed);
    handle->read_only = stmt->read_only;
    handle->columns = ll_columns_ref(columns);
    if (stmt->cached) {
        stmt->pins++;
        handle->pinned = stmt;
        lli_list_push(&conn->prepared, &handle->node);
    }
    lli_request_init_internal(&handle->end, conn, LLI_OP_UNPREPARE);
    handle->end.in.stmt = handle;
    lli_request_init_internal(&handle->reading, conn, LLI_OP_LEND);
    lli_stmt_give(&conn->db.cache, stmt);
    lli_live(+1);
    request->read_only = handle->read_only;
    request->stmt = handle;
    request->outcome = LL_APPLIED;
    return LLI_RUN_DONE;
}

void lli_run_unprepare(ll_conn *conn, ll_request *request)
{
    ll_stmt *handle = request->in.stmt;
    (void)conn;
    if (!handle->pinned)
        return;
    handle->pinned->pins--;
    lli_list_remove(&handle->node);
    handle->pinned = NULL;
}
