/* tenant.c: what is noted of a connection while somebody has it from a pool.
 *
 * A pool hands one connection to many owners in turn, so what one does must not reach the next. What costs nothing
 * is noted here as it happens, behind each request and by its owner: that a setting may have changed, that a
 * transaction is open and who wrote in it, that reading goes on. Giving back a connection for which nothing was noted
 * then needs no look at it, and no worker; the look itself is reset.c's.
 *
 * An aborted transaction. SQLite rolls a transaction back by itself when a statement in it is interrupted while it
 * writes, or meets a full disk, an I/O error, the end of memory, or OR ROLLBACK. The connection is then in autocommit
 * mode, and the rest of what was meant to be one transaction would be committed piece by piece. So here it is marked,
 * and each statement is refused with LL_EABORTED until the transaction is ended by a ROLLBACK, or the connection is
 * given back. (Connections without a pool go on as sqlite3 does.) */
#include "db/vfs_shim.h"
#include "engine/conn.h"
#include "engine/engine.h"
#include "engine/resident.h"
#include "engine/stream.h"
#include "platform/clock.h"

#include <string.h>
#include <strings.h>

void lli_tenant_limit(ll_conn *conn, ll_request *request)
{
    if (request->deadline_ns != LLI_NEVER)
        return;
    switch (request->op) {
    case LLI_OP_SQL:
    case LLI_OP_MANY:
    case LLI_OP_SCRIPT:
    case LLI_OP_NEXT:
        break;
    case LLI_OP_TASK:
        if (request->in.task.ops && request->in.task.ops->timed)
            break;
        return;
    default:
        return;
    }
    request->deadline_ns = lli_deadline_after(conn->tenant.operation_timeout_ns);
    request->flags |= LLI_SUBMIT_BREAKS;
}

/* Notes that settings may change. */
static void mind(struct lli_tenant *tenant, const ll_request *request)
{
    switch (request->op) {
    case LLI_OP_SQL:
    case LLI_OP_PREPARE:
        if (lli_classify_may_stay(request->in.sql.text, request->in.sql.size))
            tenant->touched = true;
        return;
    case LLI_OP_MANY:
        if (lli_classify_may_stay(request->in.many.many.text, request->in.many.size))
            tenant->touched = true;
        return;
    case LLI_OP_SCRIPT:
        tenant->touched = true;
        return;
    case LLI_OP_CALL:
        tenant->handle_used = true;
        return;
    case LLI_OP_TASK:
        tenant->handle_used = tenant->handle_used || request->in.task.ops->stays;
        return;
    default:
        return;
    }
}

bool lli_tenant_admits(ll_conn *conn, ll_request *request)
{
    struct lli_tenant *tenant = &conn->tenant;
    if (LLI_LIKELY(!tenant->aborted)) {
        mind(tenant, request);
        return true;
    }
    if (request->op == LLI_OP_TASK && request->in.task.ops->ends)
        return true;
    if (request->taken)
        lli_stmt_give(&conn->db.cache, request->taken);
    request->taken = NULL;
    request->live = false;
    if (request->op == LLI_OP_SQL && request->kind == LLI_KIND_ROLLBACK &&
        lli_classify_rolls_all_back(request->in.sql.text, request->in.sql.size)) {
        lli_lock(&conn->mu);
        tenant->aborted = false;
        lli_unlock(&conn->mu);
        request->outcome = LL_APPLIED;
        return false;
    }
    lli_error_set(&request->error, LL_EABORTED,
                  "the transaction was rolled back by an earlier error; it has to be ended by "
                  "ROLLBACK before the next statement");
    request->outcome = LL_NOT_APPLIED;
    return false;
}

/* Whether a request that found a transaction open and leaves none has lost it. */
static bool has_lost_it(const ll_request *request)
{
    bool failed = request->error.pub.status < 0;
    switch (request->op) {
    case LLI_OP_SQL:
        return failed && request->kind != LLI_KIND_COMMIT && request->kind != LLI_KIND_ROLLBACK &&
               request->kind != LLI_KIND_RELEASE;
    case LLI_OP_MANY:
    case LLI_OP_SCRIPT:
    case LLI_OP_TASK:
        return failed;
    case LLI_OP_PUMP:
        return true;
    default:
        return false;
    }
}

static bool text_of(const ll_request *request, const char **ret_text, size_t *ret_size)
{
    switch (request->op) {
    case LLI_OP_SQL:
        *ret_text = request->in.sql.text;
        *ret_size = request->in.sql.size;
        return true;
    case LLI_OP_MANY:
        *ret_text = request->in.many.many.text;
        *ret_size = request->in.many.size;
        return true;
    case LLI_OP_SCRIPT:
        *ret_text = request->in.script.text;
        *ret_size = request->in.script.size;
        return true;
    case LLI_OP_TASK:
        *ret_text = request->in.task.ops->name;
        *ret_size = strlen(*ret_text);
        return true;
    default:
        return false;
    }
}

static void keep_text(char *to, const ll_request *request)
{
    const char *text;
    size_t size;
    if (!text_of(request, &text, &size))
        return;
    if (size >= LLI_TENANT_TEXT) { /* not in the middle of a character */
        size = LLI_TENANT_TEXT - 1;
        while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80)
            size--;
    }
    memcpy(to, text, size);
    to[size] = '\0';
}

static bool writes(const ll_request *request)
{
    switch (request->op) {
    case LLI_OP_SQL:
    case LLI_OP_TASK:
        return !request->read_only;
    case LLI_OP_MANY:
    case LLI_OP_SCRIPT:
        return true;
    default:
        return false;
    }
}

static bool breaks(int code)
{
    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CANTOPEN:
        return true;
    case SQLITE_IOERR:
        return code != SQLITE_IOERR_NOMEM;
    case SQLITE_READONLY:
        return code == SQLITE_READONLY_DBMOVED;
    default:
        return false;
    }
}

void lli_tenant_note_error(ll_conn *conn, int sqlite_code)
{
    if (!breaks(sqlite_code) || conn->tenant.broken)
        return;
    lli_lock(&conn->mu);
    conn->tenant.broken = true;
    lli_unlock(&conn->mu);
    if (conn->tenant.landlord)
        conn->tenant.landlord->broken(conn->tenant.arg, conn);
}

static void note_wal(ll_conn *conn, const ll_request *request, bool writing)
{
    uint32_t frames, filled;
    if (conn->tenant.wal_step == 0 || writing || !conn->db.snapshot.file ||
        !(writes(request) || request->op == LLI_OP_GROUP || request->kind == LLI_KIND_COMMIT ||
          request->kind == LLI_KIND_RELEASE))
        return;
    if (lli_snapshot_frames(conn->db.snapshot.file, &frames, &filled) &&
        frames - filled >= conn->tenant.wal_step)
        conn->tenant.landlord->wal_grew(conn->tenant.arg, frames);
}

void lli_tenant_note(ll_conn *conn, const ll_request *request, bool in_transaction, bool writing)
{
    struct lli_tenant *tenant = &conn->tenant;
    if (request->op == LLI_OP_CHORE || request->op == LLI_OP_OPEN)
        return;
    if (!tenant->pooled) { /* a pool's own: nobody leaves anything there */
        note_wal(conn, request, writing);
        return;
    }
    bool was = conn->snapshot.in_transaction; /* (written by the owner only) */
    bool lost = was && !in_transaction && has_lost_it(request);
    bool wrote = in_transaction && writing && writes(request) && request->outcome != LL_NOT_APPLIED;
    bool reading = conn->stream_count > 0 || lli_resident_any(conn) ||
                   (in_transaction && lli_sq.txn_state(conn->db.handle, NULL) != SQLITE_TXN_NONE);
    bool forget = !in_transaction && !tenant->aborted && tenant->wrote[0] != '\0';
    if (lost || wrote || forget || reading != (tenant->pin_ns > 0)) {
        uint64_t now = reading ? lli_now_ns() : 0;
        lli_lock(&conn->mu);
        tenant->aborted = tenant->aborted || lost;
        if (wrote)
            keep_text(tenant->wrote, request);
        else if (forget && !lost)
            tenant->wrote[0] = '\0';
        if (!reading) {
            tenant->pin_ns = 0;
            tenant->pin[0] = '\0';
        } else if (tenant->pin_ns == 0) {
            tenant->pin_ns = now;
            keep_text(tenant->pin, request);
        }
        lli_unlock(&conn->mu);
    }
    if (LLI_UNLIKELY(request->error.pub.status < 0) && request->op != LLI_OP_CALL)
        lli_tenant_note_error(conn, request->error.pub.sqlite_code);
    note_wal(conn, request, writing);
}

bool lli_tenant_is_broken(ll_conn *conn)
{
    lli_lock(&conn->mu);
    bool broken = conn->tenant.broken;
    lli_unlock(&conn->mu);
    return broken;
}

bool lli_tenant_is_clean(ll_conn *conn)
{
    const struct lli_tenant *tenant = &conn->tenant;
    lli_lock(&conn->mu);
    bool clean = conn->mode == LLI_CONN_IDLE && lli_list_empty(&conn->queue) &&
                 conn->snapshot.open && !conn->snapshot.in_transaction &&
                 conn->snapshot.live_cursors == 0 && lli_list_empty(&conn->residents) &&
                 !conn->closing && !tenant->touched && !tenant->handle_used && !tenant->broken &&
                 !tenant->aborted && conn->outside == 0 && !lli_own_has(conn, LLI_OWN_TOUCHED);
    lli_unlock(&conn->mu);
    return clean;
}

uint64_t lli_tenant_reading(ll_conn *conn, char *ret_text, bool *ret_writing)
{
    lli_lock(&conn->mu);
    uint64_t since = conn->tenant.pin_ns;
    memcpy(ret_text, conn->tenant.pin, LLI_TENANT_TEXT);
    const ll_request *current = conn->current;
    if (since == 0 && current && text_of(current, &(const char *){NULL}, &(size_t){0})) {
        since = conn->tenant.current_ns > 0 ? conn->tenant.current_ns : lli_now_ns();
        keep_text(ret_text, current);
    }
    *ret_writing = conn->writing;
    lli_unlock(&conn->mu);
    return since;
}
