/* inline.c: the policy of running on the loop.
 *
 * [M] A point read takes SQLite 3 us; handing it to a sleeping thread and back takes 46. So what cannot
 * block runs where it was asked for. A statement is tried on the loop when
 *   1. the connection is idle (so order is kept), and its file can be read without blocking;
 *   2. its program is bounded, or its history says that it is cheap;
 *   3. it only reads; or it begins, ends or marks a transaction in which nothing was written; or it is a
 *      bounded write in a transaction that holds the write lock already, in a journal mode that writes
 *      nothing before the commit;
 *   4. the turn still has time.
 * Everything else, and everything unknown, goes to a worker.
 *
 * While it runs, the guards of attempt.h end it at the first thing that could wait. Then nothing has
 * happened, and it goes to the front of the queue, whole, for a worker, or, if only a page was missing, for
 * another try (delay.c). If only the time is over, and that between two
 * rows, nothing is thrown away: the live statement itself goes to the worker.
 *
 * A write cannot be taken back half done (an interrupted write rolls its transaction back), so it is tried
 * only when it is bounded and its pages were there before; a miss inside one is counted as a stall.
 *
 * The connection's own mutex is only tried for, never waited for: a program that uses an adopted handle
 * beside us may hold it, and may be waiting for the very thread that we are on. */
#include "engine/inline.h"

#include "db/attempt.h"
#include "db/cost.h"
#include "db/inspect.h"
#include "engine/delay.h"
#include "engine/facts.h"
#include "engine/hold.h"
#include "engine/run.h"
#include "engine/turn.h"
#include "platform/clock.h"

#include <string.h>
#include <strings.h>

enum {
    WRITES_BETWEEN_CACHE_CHECKS = 16,
    LONGEST_INLINE_TEXT = 16 * 1024
};

/* Whether BEGIN takes no lock: it is DEFERRED, in words or by default. */
static bool begins_deferred(const char *text, size_t size)
{
    static const char immediate[] = "IMMEDIATE", exclusive[] = "EXCLUSIVE";
    for (size_t i = 0; i < size; i++) {
        size_t left = size - i;
        if (left >= sizeof immediate - 1 && !strncasecmp(text + i, immediate, sizeof immediate - 1))
            return false;
        if (left >= sizeof exclusive - 1 && !strncasecmp(text + i, exclusive, sizeof exclusive - 1))
            return false;
    }
    return true;
}

/* What can be said before the connection is taken. */
static bool worth_a_look(const ll_request *request)
{
    if (request->op != LLI_OP_SQL || request->in.sql.size > LONGEST_INLINE_TEXT)
        return false;
    switch (request->kind) {
    case LLI_KIND_SELECT:
    case LLI_KIND_DML:
    case LLI_KIND_OTHER: /* WITH, VALUES; what it is shows when it is prepared */
    case LLI_KIND_COMMIT:
    case LLI_KIND_ROLLBACK:
    case LLI_KIND_RELEASE:
    case LLI_KIND_SAVEPOINT:
        return true;
    case LLI_KIND_BEGIN:
        return begins_deferred(request->in.sql.text, request->in.sql.size);
    default:
        return false;
    }
}

/* Whether the page cache has room: one that is nearly full of dirty pages may spill some in the middle. SQLite
 * counts the pages, not the dirty ones. So the first time a worker flushes them (lli_facts_make_room()), and from
 * then on it is the first spill that tells: one page, behind others in the WAL, which needs no sync. */
static bool cache_has_room(ll_conn *conn)
{
    if (!conn->cache_is_full && conn->inline_writes++ % WRITES_BETWEEN_CACHE_CHECKS == 0) {
        int now = 0, most = 0;
        int what = conn->cache_is_flushed ? SQLITE_DBSTATUS_CACHE_SPILL
                                          : SQLITE_DBSTATUS_CACHE_USED;
        if (lli_sq.db_status(conn->db.handle, what, &now, &most, 0) != SQLITE_OK)
            return false;
        conn->cache_is_full = conn->cache_is_flushed ? now != conn->spilled
                                                     : now > conn->cache_bytes / 4 * 3;
    }
    return !conn->cache_is_full;
}

enum verdict {
    REFUSED,
    ADMITTED,
    ADMITTED_WRITE
};

/* Whether the program is of the schema that this write transaction sees: nobody else can change it while
 * the write lock is held, and our own DDL forgets the cookie. */
static bool same_schema(ll_conn *conn, const struct lli_program *program)
{
    if (!conn->cookie_known)
        conn->cookie_known = lli_schema_cookie(&conn->db.cache, &conn->cookie) == LL_OK;
    return conn->cookie_known && program->cookie == conn->cookie;
}

/* A function takes time in proportion to its arguments, in one step of the machine, where no guard looks: [M] upper()
 * of a parameter of 20 MB takes 47 ms. */
static bool small_parameters(const ll_params *params)
{
    size_t bytes = 0;
    for (size_t i = 0; i < params->count; i++)
        if (params->values[i].type == LL_TEXT || params->values[i].type == LL_BLOB)
            bytes += params->values[i].size;
    return bytes <= LLI_LARGE_VALUE;
}

bool lli_inline_admits_read(const ll_conn *conn, const struct lli_stmt *stmt,
                            const struct lli_program *program, const ll_params *params)
{
    return program->known && !program->uses_vtab && !program->attached && !program->foreign &&
           !(lli_own_has(conn, LL_OWN_FUNCTIONS) &&
             (program->calls > 0 || program->why == LLI_HAS_OPCODE)) &&
           small_parameters(params) &&
           lli_cost_admit(stmt->cost, lli_program_bounded(program)) == LLI_ADMIT_INLINE;
}

static enum verdict admit(ll_conn *conn, const ll_request *request, struct lli_stmt *stmt,
                          bool plain_read)
{
    if (!plain_read && lli_snapshot_held(&conn->db.snapshot))
        lli_snapshot_release(&conn->db);
    switch (stmt->kind) {
    case LLI_KIND_EMPTY:
    case LLI_KIND_BEGIN:
    case LLI_KIND_SAVEPOINT:
        return ADMITTED;
    case LLI_KIND_COMMIT:
    case LLI_KIND_ROLLBACK:
    case LLI_KIND_RELEASE:
        return lli_sq.txn_state(conn->db.handle, NULL) == SQLITE_TXN_WRITE ||
                       lli_own_has(conn, LLI_OWN_HOOKS)
                 ? REFUSED
                 : ADMITTED;
    default:
        break;
    }
    if (!stmt->raw)
        return ADMITTED;
    if (stmt->read_only) {
        const struct lli_program *program = lli_stmt_program(&conn->db.cache, stmt);
        return lli_inline_admits_read(conn, stmt, program, &request->in.sql.params) ? ADMITTED
                                                                                    : REFUSED;
    }
    if (stmt->kind != LLI_KIND_DML || !conn->writes_late || lli_own_has(conn, LLI_OWN_HOOKS) ||
        lli_sq.txn_state(conn->db.handle, NULL) != SQLITE_TXN_WRITE)
        return REFUSED;
    const struct lli_program *program = lli_stmt_program(&conn->db.cache, stmt);
    if (!lli_program_bounded(program) || program->attached || program->temp ||
        (program->calls > 0 && (conn->db.adopted || lli_own_has(conn, LL_OWN_FUNCTIONS))) ||
        !small_parameters(&request->in.sql.params))
        return REFUSED;
    /* To free or replace a row costs as much as the row is large, and its size is not known before ([M] a
     * DELETE by key of a row of 10 MB takes 14 ms): such a text needs a history of its own. */
    if (program->overwrites && lli_cost_average_ns(stmt->cost) == 0)
        return REFUSED;
    if (lli_cost_admit(stmt->cost, true) != LLI_ADMIT_INLINE || !same_schema(conn, program) ||
        !cache_has_room(conn))
        return REFUSED;
    return ADMITTED_WRITE;
}

void lli_inline_judge(struct lli_cost *cost, enum lli_bounce why)
{
    if (why == LLI_BOUNCE_TIME)
        lli_cost_overran(cost);
    else if (why == LLI_BOUNCE_FOREIGN)
        lli_cost_forbid(cost, LLI_FORBID_FOREIGN);
}

void lli_inline_count_bounce(ll_engine *engine, enum lli_bounce why)
{
    atomic_fetch_add_explicit(&engine->stats.bounced[why], 1, memory_order_relaxed);
}

/* [M] Functions on a value of 13 MB took 36 ms in ten steps of the machine, where no guard looks. */
static bool met_large_value(const ll_request *request)
{
    struct lli_node *node = lli_list_first(&request->batches);
    const ll_batch *batch = node ? LLI_CONTAINER_OF(node, ll_batch, node) : NULL;
    return batch && batch->rows > 0 && batch->bytes / batch->rows > LLI_LARGE_VALUE;
}

/* Takes and admits the statement, and runs it inside `attempt`. *ret_ended_ns: the clock at the end, 0 if nobody
 * has looked. */
static enum lli_run_result run(ll_conn *conn, ll_request *request, struct lli_attempt *attempt,
                               bool *ret_refused, uint64_t *ret_ended_ns)
{
    struct lli_stmt *stmt;
    *ret_refused = false;
    *ret_ended_ns = 0;
    lli_run_arm(conn, request, true, false);
    if (lli_stmt_take(&conn->db.cache, request->in.sql.text, request->in.sql.size, &stmt,
                      &request->error) != LL_OK) {
        bool lock = request->error.pub.status == LL_EBUSY;
        if (lock)
            lli_attempt_bounce(attempt, LLI_BOUNCE_LOCK);
        if (attempt->bounce != LLI_BOUNCE_NONE) {
            lli_error_done(&request->error);
            return LLI_RUN_BOUNCED;
        }
        request->outcome = LL_NOT_APPLIED;
        return LLI_RUN_DONE; /* a mistake in the text is told at once */
    }
    request->taken = stmt;
    bool looked = stmt->inspected == LLI_INSPECTED_NOT; /* then that is not what the run costs */
    lli_facts_cost(conn, stmt);
    bool was_open = lli_db_in_transaction(&conn->db);
    bool plain_read = lli_inline_is_read(stmt);
    enum verdict verdict = admit(conn, request, stmt, plain_read);
    if (was_open && !lli_db_in_transaction(&conn->db)) {
        /* Our own question met an error that ends transactions: the user has to know. */
        request->taken = NULL;
        lli_stmt_give(&conn->db.cache, stmt);
        lli_error_set(&request->error, LL_ENOMEM,
                      "the transaction was rolled back: a statement could not be looked at");
        request->outcome = LL_NOT_APPLIED;
        attempt->bounce = LLI_BOUNCE_NONE;
        return LLI_RUN_DONE;
    }
    if (attempt->bounce != LLI_BOUNCE_NONE || verdict == REFUSED) {
        *ret_refused = attempt->bounce == LLI_BOUNCE_NONE;
        request->taken = NULL;
        lli_stmt_give(&conn->db.cache, stmt);
        return LLI_RUN_BOUNCED;
    }
    attempt->shielded = verdict == ADMITTED_WRITE;
    if (plain_read) {
        lli_hold_read(request->engine, conn, attempt->begun_ns);
        if (attempt->bounce != LLI_BOUNCE_NONE) {
            request->taken = NULL;
            lli_stmt_give(&conn->db.cache, stmt);
            return LLI_RUN_BOUNCED;
        }
    }
    struct lli_cost *cost = stmt->cached ? stmt->cost : NULL; /* others go with the run */
    uint64_t begun = looked ? lli_now_ns() : attempt->begun_ns, park_ns;
    enum lli_run_result result;
    if (plain_read) {
        request->taken = NULL;
        result = lli_run_read(conn, request, stmt, &park_ns);
    } else {
        result = lli_run_sql(conn, request, &park_ns);
    }
    if (result == LLI_RUN_PARK)
        lli_attempt_bounce(attempt, LLI_BOUNCE_LOCK);
    bool waited = attempt->shielded && attempt->misses > 0;
    if (result == LLI_RUN_LIVE || waited)
        lli_cost_overran(cost);
    else if (attempt->bounce != LLI_BOUNCE_NONE)
        lli_inline_judge(cost, attempt->bounce);
    else
        lli_cost_ran(cost, (*ret_ended_ns = lli_now_ns()) - begun, true);
    if (met_large_value(request))
        lli_cost_forbid(cost, LLI_FORBID_LARGE);
    return attempt->bounce != LLI_BOUNCE_NONE ? LLI_RUN_BOUNCED : result;
}

/* Notes the pages that were missing. */
static void count_misses(ll_engine *engine, ll_conn *conn, ll_request *request,
                         const struct lli_attempt *attempt)
{
    if (LLI_LIKELY(attempt->misses == 0))
        return;
    atomic_fetch_add_explicit(&engine->stats.misses, attempt->misses, memory_order_relaxed);
    if (conn->disk == LLI_DISK_NOWAIT)
        engine->turn_misses += attempt->misses;
    if (attempt->bounce == LLI_BOUNCE_DISK)
        request->missed++;
    if (attempt->shielded)
        atomic_fetch_add_explicit(&engine->stats.stalls, 1, memory_order_relaxed);
}

enum lli_inline lli_inline_try_owned(ll_request *request)
{
    ll_conn *conn = request->conn;
    ll_engine *engine = request->engine;
    bool able = conn->can_inline && !conn->tenant.aborted &&
                !lli_own_has(conn, LLI_OWN_ANYTHING | LLI_OWN_TOUCHED) &&
                lli_delay_may_miss(engine, conn);
    sqlite3_mutex *mutex = able ? conn->db.mutex : NULL;
    if (!mutex || lli_sq.mutex_try(mutex) != SQLITE_OK) {
        if (mutex)
            lli_inline_count_bounce(engine, LLI_BOUNCE_MUTEX);
        atomic_fetch_add_explicit(&engine->stats.inline_refused, 1, memory_order_relaxed);
        request->loopable = false;
        return LLI_INLINE_NO;
    }
    struct lli_attempt attempt;
    bool refused;
    uint64_t ended_ns;
    conn->inside++;
    lli_attempt_begin(&attempt, engine->attempt_ns, false);
    conn->attempt = &attempt;
    if (conn->db.adopted) /* its owner may have put other handlers there meanwhile */
        lli_own_install_guard(conn);
    enum lli_run_result result = run(conn, request, &attempt, &refused, &ended_ns);
    conn->attempt = NULL;
    lli_attempt_end(&attempt);
    if (result != LLI_RUN_DONE)
        lli_snapshot_release(&conn->db);
    conn->inside--;
    lli_sq.mutex_leave(mutex);
    lli_turn_charge(engine, (ended_ns > 0 ? ended_ns : lli_now_ns()) - attempt.begun_ns);
    count_misses(engine, conn, request, &attempt);
    if (result == LLI_RUN_DONE) {
        lli_stat_add(&engine->stats.inline_hits, 1);
        return LLI_INLINE_DONE;
    }
    if (result == LLI_RUN_LIVE)
        atomic_fetch_add_explicit(&engine->stats.handovers, 1, memory_order_relaxed);
    else if (refused)
        atomic_fetch_add_explicit(&engine->stats.inline_refused, 1, memory_order_relaxed);
    else
        lli_inline_count_bounce(engine, attempt.bounce);
    if (result != LLI_RUN_LIVE)
        lli_request_time_undo(request);
    request->started = false; /* the busy timeout begins with the first run on a worker */
    return LLI_INLINE_BOUNCED;
}

/* A read that came to its end and left no live statement. (What failed may have rolled a transaction back.) */
static bool was_quiet_read(const ll_request *request, enum lli_inline tried)
{
    return tried == LLI_INLINE_DONE && request->read_only && !request->cursor &&
           request->error.pub.status == LL_OK &&
           (request->kind == LLI_KIND_SELECT || request->kind == LLI_KIND_OTHER);
}

enum lli_inline lli_inline_try(ll_request *request)
{
    ll_conn *conn = request->conn;
    ll_engine *engine = request->engine;
    if ((request->flags & LL_SUBMIT_NO_INLINE) || !lli_turn_is_loop(engine) ||
        !worth_a_look(request))
        return LLI_INLINE_NO;
    request->loopable = true; /* now, or when the loop comes round: the queue decides, and counts */
    if (engine->turn_used_ns >= engine->turn_ns || !lli_conn_borrow(conn, request))
        return LLI_INLINE_NO;
    enum lli_inline tried = lli_inline_try_owned(request);
    if (tried == LLI_INLINE_BOUNCED)
        lli_conn_ref(conn); /* it goes to the line with it */
    else
        lli_conn_return(conn, request, was_quiet_read(request, tried));
    return tried;
}

ll_status lli_inline_hand_over(ll_request *request, ll_request **ret_request)
{
    ll_conn *conn = request->conn;
    ll_status status = lli_engine_add(request->engine, request);
    if (status != LL_OK) {
        lli_inline_release(request);
        ll_request_unref(request);
        return status;
    }
    lli_conn_ref(conn);
    bool delay = lli_delay_may_retry(request->engine, conn, request);
    status = lli_conn_hand_over(conn, request, &delay);
    lli_delay_retry(request->engine, conn, delay);
    if (status != LL_OK) {
        if (request->live && lli_conn_try_own(conn, request)) /* nobody runs: it is ours again */
            lli_inline_release(request);
        lli_engine_remove(request->engine, request);
        ll_request_unref(request);
        lli_conn_unref(conn);
        return status;
    }
    lli_conn_unref(conn);
    if (ret_request)
        *ret_request = request;
    else
        ll_request_unref(request);
    return LL_PENDING;
}

void lli_inline_release(ll_request *request)
{
    ll_conn *conn = request->conn;
    if (request->taken)
        lli_stmt_give(&conn->db.cache, request->taken);
    request->taken = NULL;
    request->live = false;
    lli_conn_disown(conn, request);
}
