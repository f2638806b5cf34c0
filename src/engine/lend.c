/* lend.c: the shortest way to a row: a prepared handle, read on the loop, its rows lent.
 *
 * What inline.c does for a request, without one. A point read takes SQLite 0.4 us once its snapshot is held, and
 * half of what came on top was the request: its memory, that of its batch, and the counting of references to
 * what outlives it anyway, for the caller has the handle in his hand. So the handle keeps a batch, which it fills
 * again for each read, and a request that stands for "what runs" while somebody may interrupt it, and is never
 * queued.
 *
 * Who may is the same as there, and so are the guards; but only what went well ends here:
 *   - not known yet (never run, prepared anew by SQLite, not admitted): the ordinary way finds out;
 *   - an error of SQLite's or of the parameters: the ordinary way meets it again and tells it in a request;
 *   - a missing page: the ordinary way meets it again, and waits for it;
 *   - any other guard, and rows that do not fit: a worker gets it.
 * All of these are reads of which nothing was delivered, so nobody can tell that they were begun before.
 *
 * The statement stays in the cache's list of idle ones: nothing else runs on the connection while we own it,
 * and it is reset before it is let go. The handle's mutex, as ever on a loop, is only tried for.
 *
 * Owner of `rows` and `reading`: the loop, inside ll_stmt_read(); the lent rows are read by whoever called it. */
#include "engine/lend.h"

#include "db/attempt.h"
#include "db/bind.h"
#include "db/cost.h"
#include "db/inspect.h"
#include "engine/delay.h"
#include "engine/facts.h"
#include "engine/hold.h"
#include "engine/inline.h"
#include "engine/run.h"
#include "engine/turn.h"
#include "platform/clock.h"

enum {
    MOST_BYTES = 1024 * 1024 /* of rows that are lent; a result that is larger comes in batches */
};

/* The batch, empty, for rows of this width; NULL: no memory. */
static ll_batch *empty_rows(ll_stmt *handle, size_t width)
{
    ll_batch *rows = handle->rows;
    if (LLI_LIKELY(rows && lli_batch_reuse(rows, width)))
        return rows;
    ll_batch_free(rows);
    handle->rows = lli_batch_new(width);
    return handle->rows;
}

/* Steps to the end. SQLITE_DONE with the rows in the batch; anything else: it did not end well. */
static int collect(ll_stmt *handle, struct lli_stmt *stmt, struct lli_attempt *attempt)
{
    ll_conn *conn = handle->conn;
    ll_batch *rows = NULL;
    for (;;) {
        int rc = lli_run_step(conn, stmt->raw, true);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
            return rc;
        if (!rows) { /* only now it is certain which columns it has */
            ll_columns *columns;
            if (lli_stmt_columns(stmt, &columns) != LL_OK ||
                !(rows = empty_rows(handle, ll_columns_count(columns))))
                return SQLITE_NOMEM;
        }
        if (rc == SQLITE_DONE)
            return rc;
        if (lli_batch_add_locked(rows, stmt->raw) != LL_OK)
            return SQLITE_NOMEM;
        if (lli_run_is_last_row(stmt))
            return SQLITE_DONE;
        if (rows->bytes >= MOST_BYTES)
            return SQLITE_TOOBIG;
        if ((rows->rows & 15) == 0 && lli_now_ns() >= attempt->deadline_ns) {
            lli_attempt_bounce(attempt, LLI_BOUNCE_TIME);
            return SQLITE_INTERRUPT;
        }
    }
}

/* Inside the attempt. True: all rows are there. */
static bool read(ll_stmt *handle, struct lli_stmt *stmt, const ll_params *params,
                 struct lli_attempt *attempt)
{
    ll_conn *conn = handle->conn;
    struct lli_error error = {0};
    atomic_store_explicit(&handle->reading.stop, LLI_STOP_NONE, memory_order_relaxed);
    lli_run_arm(conn, &handle->reading, true, false);
    lli_hold_read(conn->engine, conn, attempt->begun_ns);
    if (attempt->bounce != LLI_BOUNCE_NONE)
        return false;
    bool good = lli_bind(conn->db.handle, stmt->raw, params, false, &error) == LL_OK &&
                collect(handle, stmt, attempt) == SQLITE_DONE;
    stmt->bound_numbers = lli_params_are_numbers(params);
    lli_stmt_rest(stmt);
    lli_error_done(&error);
    return good && attempt->bounce == LLI_BOUNCE_NONE;
}

/* Whether it may run here, as far as is known without asking SQLite. */
static bool is_known(const ll_conn *conn, const struct lli_stmt *stmt, const ll_params *params)
{
    return stmt && !stmt->in_use && conn->can_inline && !conn->tenant.aborted &&
           !lli_own_has(conn, LLI_OWN_ANYTHING | LLI_OWN_TOUCHED) && lli_inline_is_read(stmt) &&
           lli_stmt_is_explained(stmt) &&
           lli_inline_admits_read(conn, stmt, &stmt->program, params);
}

/* What the try has cost, and whether the statement may be tried again. */
static void account(ll_engine *engine, struct lli_stmt *stmt, const struct lli_attempt *attempt,
                    const ll_batch *rows)
{
    uint64_t spent = lli_now_ns() - attempt->begun_ns;
    lli_turn_charge(engine, spent);
    if (!rows) {
        lli_inline_judge(stmt->cost, attempt->bounce);
        return;
    }
    lli_cost_ran(stmt->cost, spent, true);
    if (rows->rows > 0 && rows->bytes / rows->rows > LLI_LARGE_VALUE)
        lli_cost_forbid(stmt->cost, LLI_FORBID_LARGE);
    lli_stat_add(&engine->stats.inline_hits, 1);
    lli_stat_add(&engine->stats.immediate_here, 1);
}

static enum lli_lend read_owned(ll_stmt *handle, const ll_params *params)
{
    ll_conn *conn = handle->conn;
    ll_engine *engine = conn->engine;
    struct lli_stmt *stmt = handle->pinned;
    if (!is_known(conn, stmt, params) || !lli_delay_may_miss(engine, conn))
        return LLI_LEND_NO;
    if (lli_sq.mutex_try(conn->db.mutex) != SQLITE_OK)
        return LLI_LEND_NO; /* it is asked for once more there, and counted */
    struct lli_attempt attempt;
    lli_attempt_begin(&attempt, engine->attempt_ns, false);
    conn->attempt = &attempt;
    if (conn->db.adopted) /* its owner may have put other handlers there meanwhile */
        lli_own_install_guard(conn);
    conn->inside++;
    bool good = read(handle, stmt, params, &attempt);
    conn->attempt = NULL;
    lli_attempt_end(&attempt);
    if (!good)
        lli_snapshot_release(&conn->db);
    conn->inside--;
    lli_sq.mutex_leave(conn->db.mutex);
    account(engine, stmt, &attempt, good ? handle->rows : NULL);
    if (good)
        return LLI_LEND_DONE;
    if (attempt.bounce == LLI_BOUNCE_NONE || attempt.bounce == LLI_BOUNCE_DISK)
        return LLI_LEND_NO;
    lli_inline_count_bounce(engine, attempt.bounce);
    return LLI_LEND_BOUNCED;
}

enum lli_lend lli_lend_rows(ll_stmt *handle, const ll_params *params)
{
    ll_conn *conn = handle->conn;
    ll_engine *engine = conn->engine;
    if (!lli_turn_is_loop(engine) || engine->turn_used_ns >= engine->turn_ns ||
        !lli_conn_borrow(conn, &handle->reading))
        return LLI_LEND_NO;
    enum lli_lend tried = read_owned(handle, params);
    lli_conn_return(conn, &handle->reading, tried == LLI_LEND_DONE);
    return tried;
}
