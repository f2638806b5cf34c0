/* own.c: the program's own use of a connection's handle: calls in its turn, use from outside, and code that SQLite
 * calls back.
 *
 * An adopted handle is used by two parties: by us, and by the program, which has it as an object of its own (in Python
 * a sqlite3.Connection) and may use it on any thread, at any time. SQLite's mutex of the connection keeps one call from
 * another, but not more: the text of an error belongs to the last call, whosever it was; a held snapshot is in the way of
 * a VACUUM; the guard points to the request that ran last, which may be freed. So whoever comes from outside gets the
 * whole connection first (ll_conn_enter()): an idle one becomes OWNED; else the worker that has it lends it between two
 * requests, and waits meanwhile.
 *
 *     worker    --- [ request ] - lends ------------- [ request ] ---
 *     outside   ------- asks ---- [ enter ... leave ] ---------------
 *
 * Both hold SQLite's mutex of the connection while they use it, by which a thread knows that it is inside already,
 * and which keeps out who uses the handle without asking, for the length of a request.
 *
 * Order: the connection comes before every lock of a language around us (Python's GIL), for callbacks take that one
 * while somebody has the connection. So it must not be asked for with that lock held. A loop that owns a connection
 * calls SQLite with that lock held; therefore nobody else may have the mutex then, and the mutex alone is not
 * enough to enter.
 *
 * Who only looks (ll_conn_get_state()) does not wait: since SQLite 3.51 even sqlite3_get_autocommit(),
 * sqlite3_total_changes() and sqlite3_last_insert_rowid() take the mutex, which a worker keeps while its function
 * written in that language waits for the lock that the one who looks has. So the mutex is only tried for, and while
 * somebody else has it what was noted after the last request is the answer.
 *
 * `inside` counts who is inside, all of one thread, for the mutex is recursive: what is nested changes nothing.
 *
 * While a program uses the handle nothing can be put back into a queue, so a lock is waited for inside SQLite, as long
 * as the busy timeout says (guard.h: `waits`). */
#include "db/api.h"
#include "db/attempt.h"
#include "db/snapshot.h"
#include "engine/engine.h"
#include "engine/facts.h"
#include "engine/inline.h"
#include "engine/run.h"
#include "engine/stmt.h"
#include "engine/stream.h"
#include "platform/clock.h"

/* ---- the mutex ---------------------------------------------------------------------------------- */

/* No request is behind what is done with the handle. */
static void disarm(ll_conn *conn)
{
    struct lli_guard *guard = &conn->db.guard;
    lli_guard_arm(guard);
    guard->stop = NULL;
    guard->deadline_ns = LLI_NEVER;
    guard->interruptible = guard->deadline_breaks = guard->committing = false;
}

bool lli_own_lock(ll_conn *conn, enum lli_op op)
{
    /* (A chore is a pool's, when nobody else has the connection, and may close it.) */
    if (!conn->db.adopted || !conn->db.handle || op == LLI_OP_CLOSE || op == LLI_OP_AUTOCLOSE ||
        op == LLI_OP_CHORE)
        return false;
    lli_sq.mutex_enter(lli_sq.db_mutex(conn->db.handle));
    conn->inside++;
    return true;
}

void lli_own_unlock(ll_conn *conn)
{
    if (--conn->inside == 0) /* the request may be gone before the handle is used again */
        disarm(conn);
    lli_sq.mutex_leave(lli_sq.db_mutex(conn->db.handle));
}

void lli_own_lend(ll_conn *conn, const ll_request *request)
{
    lli_lock(&conn->mu);
    bool asked = conn->asking > 0 && lli_own_may_lend(request);
    lli_unlock(&conn->mu);
    if (LLI_LIKELY(!asked))
        return;
    /* A request that has waited for its turn in a shared cache would have it now, while the program takes its time. */
    if (conn->turns.asked)
        lli_gate_give_back(&conn->turns);
    lli_crew_nap_begin(conn->crew);
    lli_lock(&conn->mu);
    conn->lent = conn->asking > 0;
    lli_cond_broadcast(&conn->poked);
    while (conn->lent)
        lli_cond_wait(&conn->poked, &conn->mu);
    lli_unlock(&conn->mu);
    lli_crew_nap_end(conn->crew);
}

void lli_own_wait_outside(ll_conn *conn)
{
    lli_lock(&conn->mu);
    conn->leaving = true;
    lli_cond_broadcast(&conn->poked);
    while (conn->outside > 0)
        lli_cond_wait(&conn->poked, &conn->mu);
    lli_unlock(&conn->mu);
}

bool lli_own_keep_outside(ll_conn *conn)
{
    lli_lock(&conn->mu);
    bool nobody = conn->outside == 0;
    conn->leaving = conn->leaving || nobody;
    lli_unlock(&conn->mu);
    return nobody;
}

void lli_own_admit_outside(ll_conn *conn)
{
    lli_lock(&conn->mu);
    conn->leaving = false;
    lli_unlock(&conn->mu);
}

void lli_own_look(ll_conn *conn, ll_conn_state *state)
{
    /* The handle stays while mu is held: it is closed behind lli_own_wait_outside() only, or its like. */
    if (!conn->adopt.open || !conn->snapshot.open || conn->leaving)
        return;
    sqlite3 *db = conn->db.handle;
    sqlite3_mutex *mutex = lli_sq.db_mutex(db);
    if (lli_sq.mutex_try(mutex) != SQLITE_OK)
        return;
    state->in_transaction = lli_db_in_transaction(&conn->db);
    state->total_changes += lli_db_total_changes(&conn->db) - conn->counted;
    state->rowid = lli_sq.last_insert_rowid(db);
    lli_sq.mutex_leave(mutex);
}

/* ---- what the program has registered ------------------------------------------------------------- */

void ll_conn_own_code(ll_conn *conn, unsigned add, unsigned remove)
{
    if (!conn || lli_engine_foreign(conn->engine))
        return;
    atomic_fetch_and_explicit(&conn->own_code, ~remove, memory_order_relaxed);
    atomic_fetch_or_explicit(&conn->own_code, add, memory_order_relaxed);
}

void lli_own_install_guard(ll_conn *conn)
{
    unsigned own = atomic_load_explicit(&conn->own_code, memory_order_relaxed);
    conn->db.guard.progress_is_taken = (own & LL_OWN_PROGRESS) != 0;
    lli_guard_install(&conn->db.guard, conn->db.handle);
}

int ll_conn_must_stop(ll_conn *conn)
{
    return conn ? lli_guard_progress(&conn->db.guard) : 0;
}

void ll_conn_wait_begin(ll_conn *conn)
{
    if (conn && !conn->crew->step)
        lli_crew_nap_begin(conn->crew);
}

void ll_conn_wait_end(ll_conn *conn)
{
    if (conn && !conn->crew->step)
        lli_crew_nap_end(conn->crew);
}

int ll_refuses_own_code(void)
{
    if (!lli_attempt_now)
        return 0;
    lli_attempt_bounce(lli_attempt_now, LLI_BOUNCE_FOREIGN);
    return 1;
}

void *ll_conn_running(ll_conn *conn)
{
    if (!conn || conn->from_outside)
        return NULL;
    const ll_request *request = conn->current; /* written by who owns the connection: this thread */
    if (!request)
        return NULL;
    return request->op == LLI_OP_PUMP ? lli_stream_waiting(request->in.cursor) : request->user;
}

void ll_conn_tidy(ll_conn *conn)
{
    if (!conn || lli_engine_foreign(conn->engine) || !lli_conn_try_own(conn, NULL))
        return;
    sqlite3_mutex *mutex = lli_sq.db_mutex(conn->db.handle);
    if (lli_snapshot_held(&conn->db.snapshot) && lli_sq.mutex_try(mutex) == SQLITE_OK) {
        lli_snapshot_release(&conn->db);
        lli_sq.mutex_leave(mutex);
    }
    lli_conn_let_go(conn);
}

/* ---- the program uses the handle ----------------------------------------------------------------- */

/* Looks whether the program has set another busy timeout. */
static void read_timeout(ll_conn *conn)
{
    unsigned own = atomic_load_explicit(&conn->own_code, memory_order_relaxed);
    if (own &
        (LL_OWN_AUTHORIZER | LL_OWN_TRACE | LL_OWN_PROGRESS)) /* which would see the question */
        return;
    static const char sql[] = "PRAGMA busy_timeout";
    struct lli_stmt *stmt;
    struct lli_error error = {0};
    if (lli_stmt_take(&conn->db.cache, sql, sizeof sql - 1, &stmt, &error) == LL_OK) {
        if (lli_sq.step(stmt->raw) == SQLITE_ROW) {
            int ms = lli_sq.column_int(stmt->raw, 0);
            if (ms != conn->db.guard.lent_ms)
                conn->busy_timeout_ns = ms > 0 ? (uint64_t)ms * LLI_MS : 0;
        }
        lli_stmt_give(&conn->db.cache, stmt);
    }
    lli_error_done(&error);
}

static void begin_use(ll_conn *conn)
{
    lli_own_install_guard(conn);
    lli_guard_lend(&conn->db.guard, conn->busy_timeout_ns);
}

static void end_use(ll_conn *conn)
{
    if (conn->db.adopted)
        read_timeout(conn);
    lli_guard_return(&conn->db.guard);
    lli_own_install_guard(conn);
}

void lli_run_call(ll_conn *conn, ll_request *request)
{
    lli_run_arm(conn, request, true, false);
    if (!(atomic_load_explicit(&conn->own_code, memory_order_relaxed) & LL_OWN_TOLD))
        ll_conn_own_code(conn, LL_OWN_FUNCTIONS, 0); /* nobody can tell what it registers */
    begin_use(conn);
    int rc = request->in.call.call(conn->db.handle, request->in.call.arg);
    request->rowid = lli_sq.last_insert_rowid(conn->db.handle);
    if (rc == SQLITE_OK)
        request->outcome = LL_APPLIED;
    else
        lli_run_fail(conn, request, rc, true);
    end_use(conn);
}

/* As nap() of conn.c, on a thread that is none of the crew's. */
static bool nap_outside(void *arg, uint64_t span_ns)
{
    ll_conn *conn = arg;
    uint64_t until = lli_deadline_after(span_ns);
    lli_lock(&conn->mu);
    while (lli_now_ns() < until)
        lli_cond_wait_until(&conn->poked, &conn->mu, until);
    lli_unlock(&conn->mu);
    return true;
}

static void left_outside(ll_conn *conn)
{
    lli_lock(&conn->mu);
    conn->outside--;
    lli_cond_broadcast(&conn->poked);
    lli_unlock(&conn->mu);
    lli_conn_unref(conn);
}

/* Gets the connection itself: it is idle, or a worker lends it between two requests. */
static ll_status borrow(ll_conn *conn, bool wait, const char *caller)
{
    enum {
        ASKS,
        OWNS,
        BORROWS,
        LATE,
        BUSY
    } state = ASKS;
    lli_lock(&conn->mu);
    conn->asking++;
    while (state == ASKS) {
        bool delayed = conn->mode == LLI_CONN_DELAYED, parked = conn->mode == LLI_CONN_PARKED;
        if (conn->leaving || !conn->snapshot.open)
            state = LATE;
        else if (conn->lent && !conn->borrowed)
            state = BORROWS;
        else if (conn->mode == LLI_CONN_IDLE && lli_list_empty(&conn->queue))
            state = OWNS;
        else if (!wait)
            state = BUSY;
        else if (!delayed && !parked)
            lli_cond_wait(&conn->poked, &conn->mu);
        if (state == ASKS && (delayed || parked)) {
            /* Its loop, or who keeps it waiting, may be the thread that waits here. */
            lli_unlock(&conn->mu);
            if (delayed)
                lli_conn_release(conn);
            else
                lli_conn_unpark(conn);
            lli_lock(&conn->mu);
        }
    }
    if (state == BORROWS)
        conn->borrowed = true;
    if (state == OWNS) {
        lli_conn_set_mode(conn, LLI_CONN_OWNED);
        conn->current = NULL;
    }
    conn->asking--;
    if (state >= LATE && conn->lent && !conn->borrowed && conn->asking == 0)
        conn->lent = false; /* the worker need not wait for who gave up */
    lli_cond_broadcast(&conn->poked);
    lli_unlock(&conn->mu);
    if (state == LATE)
        return lli_refuse(LL_ECLOSED, "%s: the connection is closed", caller);
    if (state == BUSY)
        return lli_refuse(LL_EBUSY, "%s: the connection is in use", caller);
    if (state == OWNS)
        lli_conn_ref(conn);
    conn->entered = state == OWNS; /* it is ours: nobody else looks at it */
    return LL_OK;
}

/* Whether this thread is inside already. */
static bool is_inside(ll_conn *conn, sqlite3_mutex *mutex)
{
    if (lli_sq.mutex_try(mutex) != SQLITE_OK)
        return false;
    if (conn->inside > 0)
        return true; /* entered once more */
    lli_sq.mutex_leave(mutex);
    return false;
}

static ll_status enter(ll_conn *conn, sqlite3 **ret_db, bool wait, const char *caller)
{
    if (!conn || !ret_db)
        return lli_refuse(LL_EINVAL, "%s: %s is NULL", caller, conn ? "ret_db" : "conn");
    LL_TRY(lli_engine_check(conn->engine, caller));
    if (!conn->adopt.open) /* nobody but looplite has its handle */
        return lli_refuse(LL_EINVAL, "%s: the connection was not adopted", caller);
    lli_lock(&conn->mu);
    bool open = conn->snapshot.open && !conn->leaving;
    conn->outside += open;
    lli_unlock(&conn->mu);
    if (!open)
        return lli_refuse(LL_ECLOSED, "%s: the connection is closed", caller);
    lli_conn_ref(conn);
    sqlite3_mutex *mutex = lli_sq.db_mutex(conn->db.handle);
    *ret_db = conn->db.handle;
    if (is_inside(conn, mutex)) {
        conn->inside++;
        return LL_OK;
    }
    ll_status status = borrow(conn, wait, caller);
    if (status != LL_OK) {
        left_outside(conn);
        return status;
    }
    lli_sq.mutex_enter(mutex); /* free, but for who uses the handle behind our back */
    conn->inside++;
    /* What others do meanwhile goes to a worker, which looks at everything anew. */
    ll_conn_own_code(conn, LLI_OWN_TOUCHED, 0);
    conn->from_outside = true;
    if (lli_snapshot_held(&conn->db.snapshot))
        lli_snapshot_release(&conn->db);
    disarm(conn);
    begin_use(conn);
    conn->nap_inside = conn->db.guard.nap;
    if (conn->db.guard.nap)
        conn->db.guard.nap = nap_outside;
    return LL_OK;
}

ll_status ll_conn_enter(ll_conn *conn, sqlite3 **ret_db)
{
    return enter(conn, ret_db, true, "ll_conn_enter");
}

ll_status ll_conn_try_enter(ll_conn *conn, sqlite3 **ret_db)
{
    return enter(conn, ret_db, false, "ll_conn_try_enter");
}

void ll_conn_leave(ll_conn *conn)
{
    if (!conn || lli_engine_foreign(conn->engine))
        return;
    sqlite3_mutex *mutex = lli_sq.db_mutex(conn->db.handle);
    bool last = conn->inside == 1;
    if (last) {
        end_use(conn);
        conn->db.guard.nap = conn->nap_inside;
        conn->from_outside = false;
    }
    conn->inside--;
    lli_sq.mutex_leave(mutex);
    if (last && conn->entered) { /* gives the gate back, and notes what the connection looks like */
        ll_request nobody = {.op = LLI_OP_CALL};
        conn->entered = false;
        lli_conn_disown(conn, &nobody);
    } else if (last) {
        lli_lock(&conn->mu);
        conn->borrowed = conn->lent = false;
        lli_cond_broadcast(&conn->poked);
        lli_unlock(&conn->mu);
    }
    left_outside(conn);
}
