/* conn.c: the actor: its queue, its owner, and how it goes from one request to the next. What it waits for is
 * in conn_wait.c.
 *
 *             enqueue              own (worker)
 *    IDLE -------------> READY -----------------> OWNED
 *      ^                  ^  ^                     | | |
 *      |  queue empty     |  +---- yield ----------+ | |
 *      +------------------|--------------------------+ |
 *                         |   lock or gate not free    |
 *                         +------- PARKED <------------+
 *                  timer, turn, cancel
 *
 *          the turn is spent           a page is missing; the turn is spent
 *    IDLE -------------------> DELAYED <------------------------------------ OWNED (loop)
 *                               |   |                                           ^
 *      READY <------------------+   +-------------------------------------------+
 *             work for a worker            the loop comes round, or the time is over
 *
 * Invariants
 *  1. A connection is in the crew's line exactly while it is READY, and has an armed timer while PARKED.
 *     While it is DELAYED it is known to the loop of `delayer` (delay.c), and its whole queue is for that loop.
 *  2. Only the thread that made it OWNED touches `db`, `streams` and the request it runs.
 *  3. The queue is first in, first out. A parked request goes back to its front.
 *  4. IDLE means: the queue was empty when the owner let go, under mu.
 *  5. The connection is let go before its last request is told to be finished: whoever is told finds it
 *     idle, so what he does next may happen at once.
 *
 * Ownership moves only under mu. The request that runs is `current`; it is published under mu so that an
 * interrupt from another thread finds a request that is alive.
 *
 * Fairness: an owner gives way after TURN_REQUESTS requests or TURN_NS when other connections wait for a
 * thread. */
#include "engine/conn.h"

#include "base/alloc.h"
#include "base/sm.h"
#include "engine/delay.h"
#include "engine/engine.h"
#include "engine/facts.h"
#include "engine/group.h"
#include "engine/run.h"
#include "platform/clock.h"

enum {
    TURN_REQUESTS = 64
};
static const uint64_t turn_ns = 10 * LLI_MS;

static const char *const mode_names[] = {"IDLE", "READY", "OWNED", "PARKED", "DELAYED"};
static const uint32_t mode_moves[LLI_CONN_MODES] = {
    [LLI_CONN_IDLE] = LLI_SM_TO(LLI_CONN_READY) | LLI_SM_TO(LLI_CONN_OWNED) | /* by a loop */
                      LLI_SM_TO(LLI_CONN_DELAYED),
    [LLI_CONN_READY] = LLI_SM_TO(LLI_CONN_OWNED) |
                       LLI_SM_TO(LLI_CONN_IDLE), /* no thread to be had */
    [LLI_CONN_OWNED] = LLI_SM_TO(LLI_CONN_IDLE) | LLI_SM_TO(LLI_CONN_READY) |
                       LLI_SM_TO(LLI_CONN_PARKED) | LLI_SM_TO(LLI_CONN_DELAYED),
    [LLI_CONN_PARKED] = LLI_SM_TO(LLI_CONN_READY),
    [LLI_CONN_DELAYED] = LLI_SM_TO(LLI_CONN_OWNED) | LLI_SM_TO(LLI_CONN_READY),
};
static const struct lli_sm machine = {"connection", mode_names, mode_moves, LLI_CONN_MODES};

void lli_conn_set_mode(ll_conn *conn, enum lli_conn_mode mode)
{
    conn->mode = (enum lli_conn_mode)lli_sm_move(&machine, conn, conn->mode, mode);
    atomic_store_explicit(&conn->tenant.resting, mode == LLI_CONN_IDLE, memory_order_relaxed);
}

/* Waits inside SQLite, holding the write lock. */
static bool nap(void *arg, uint64_t span_ns)
{
    ll_conn *conn = arg;
    uint64_t until = lli_deadline_after(span_ns);
    bool stopped = false;
    lli_crew_nap_begin(conn->crew);
    lli_lock(&conn->mu);
    while (!stopped && lli_now_ns() < until) {
        lli_cond_wait_until(&conn->poked, &conn->mu, until);
        stopped = lli_guard_check(&conn->db.guard) != LLI_STOP_NONE;
    }
    lli_unlock(&conn->mu);
    lli_crew_nap_end(conn->crew);
    return true; /* the busy handler looks at the stop word itself, at its next call */
}

ll_status lli_conn_new(ll_engine *engine, ll_conn **ret_conn)
{
    ll_conn *conn = lli_new(sizeof *conn);
    if (!conn)
        return LL_ENOMEM;
    conn->crew = lli_crew_ref(engine->crew);
    conn->engine = lli_engine_ref(engine);
    atomic_init(&conn->refs, 1);
    atomic_init(&conn->handles, 1);
    lli_mutex_init(&conn->mu);
    lli_cond_init(&conn->poked);
    lli_list_init(&conn->queue);
    lli_list_init(&conn->residents);
    lli_list_init(&conn->streams);
    lli_list_init(&conn->prepared);
    conn->seat.conn = conn->turns.conn = conn;
    atomic_init(&conn->tenant.resting, true);
    lli_request_init_internal(&conn->autoclose, conn, LLI_OP_AUTOCLOSE);
    conn->db.guard.point = conn->crew->point;
    conn->db.guard.point_arg = conn->crew->point_arg;
    if (!conn->crew->step) {
        conn->db.guard.nap = nap;
        conn->db.guard.nap_arg = conn;
    }
    lli_live(+1);
    *ret_conn = conn;
    return LL_OK;
}

ll_conn *lli_conn_ref(ll_conn *conn)
{
    atomic_fetch_add_explicit(&conn->refs, 1, memory_order_relaxed);
    return conn;
}

void lli_conn_unref(ll_conn *conn)
{
    if (atomic_fetch_sub_explicit(&conn->refs, 1, memory_order_acq_rel) != 1)
        return;
    assert(conn->seat.count == 0 && conn->turns.count == 0);
    assert(!conn->db.handle && lli_list_empty(&conn->queue) && conn->mode == LLI_CONN_IDLE);
    assert(lli_list_empty(&conn->residents));
    if (conn->tenant.landlord)
        conn->tenant.landlord->gone(conn->tenant.arg);
    if (conn->adopt.release)
        conn->adopt.release(conn->adopt.arg);
    lli_error_done(&conn->open_error);
    for (char **pragma = conn->pragmas; pragma && *pragma; pragma++)
        lli_free(*pragma);
    lli_free(conn->pragmas);
    lli_free(conn->path);
    lli_free(conn->vfs);
    lli_cond_done(&conn->poked);
    lli_mutex_done(&conn->mu);
    lli_crew_unref(conn->crew);
    lli_engine_unref(conn->engine);
    lli_live(-1);
    lli_free(conn);
}

/* Whether a request may still be queued. Under mu. */
static bool admits(const ll_conn *conn, const ll_request *request)
{
    return !conn->closing || request->op == LLI_OP_CLOSE || lli_request_internal(request);
}

/* No thread could be started for what is queued: everybody but `mine` is told by completion. */
static void fail_queued(ll_conn *conn, ll_request *mine)
{
    struct lli_list failed, kept, stranded;
    ll_writer *writer = NULL;
    lli_conn_pass_gate(conn); /* READY and in no line of a crew: it is this thread's */
    if (conn->turns.asked)
        lli_gate_give_back(&conn->turns);
    lli_list_init(&failed);
    lli_list_init(&kept);
    lli_list_init(&stranded);
    lli_lock(&conn->mu);
    struct lli_node *node;
    while ((node = lli_list_pop(&conn->queue)) != NULL) {
        ll_request *request = LLI_CONTAINER_OF(node, ll_request, queue_node);
        bool strands = request->op == LLI_OP_CHORE && request->in.chore.strand;
        lli_list_push(strands ? &stranded : lli_request_internal(request) ? &kept : &failed, node);
        if (request->op == LLI_OP_GROUP)
            writer = lli_group_ref(request->in.writer);
    }
    while ((node = lli_list_pop(&kept)) != NULL) /* these wait for the next worker */
        lli_list_push(&conn->queue, node);
    lli_conn_set_mode(conn, LLI_CONN_IDLE);
    if (conn->asking > 0)
        lli_cond_broadcast(&conn->poked);
    lli_unlock(&conn->mu);
    while ((node = lli_list_pop(&failed)) != NULL) {
        ll_request *request = LLI_CONTAINER_OF(node, ll_request, queue_node);
        if (request->op == LLI_OP_CLOSE) {
            lli_lock(&conn->mu);
            conn->closing = conn->autoclosing; /* it can be closed again */
            lli_unlock(&conn->mu);
        }
        if (request != mine && lli_request_claim(request)) {
            if (request->op == LLI_OP_TASK && request->in.task.ops->lost)
                request->in.task.ops->lost(request);
            lli_error_set(&request->error, LL_ESYS, "%s", ll_last_error());
            lli_request_finish(request);
        }
        ll_request_unref(request);
    }
    while ((node = lli_list_pop(&stranded)) != NULL) {
        ll_request *request = LLI_CONTAINER_OF(node, ll_request, queue_node);
        request->in.chore.strand(request);
    }
    if (writer) {
        lli_group_strand(writer);
        lli_group_unref(writer);
    }
}

/* Puts the connection in line. If there is no thread at all, those in its queue are told. */
static ll_status call_worker_or_fail(ll_conn *conn, ll_request *request)
{
    bool internal = lli_request_internal(request); /* what it lies in may go */
    ll_status status = lli_crew_ready(conn->crew, conn, false);
    if (status == LL_OK)
        return LL_OK;
    fail_queued(conn, request);
    lli_conn_unref(conn);
    if (internal)
        return LL_OK; /* it stays queued, or was told */
    /* A canceller may have been quicker: then it is finished already, and has told so. */
    return lli_request_claim(request) ? status : LL_OK;
}

/* Under mu: a write whose submitter has given it up may finish by itself, unless the connection closes. */
static void hasten(ll_conn *conn, ll_request *current)
{
    unsigned stop = atomic_load_explicit(&current->stop, memory_order_relaxed);
    if (stop != LLI_STOP_CANCEL && stop != LLI_STOP_DEADLINE)
        return;
    atomic_store_explicit(&current->stop, LLI_STOP_CLOSE, memory_order_relaxed);
    lli_cond_broadcast(&conn->poked);
}

/* Whether a loop may try it, as far as can be told before it is prepared. Under mu. */
static bool suits_loop(const ll_conn *conn, const ll_request *request)
{
    switch (request->kind) {
    case LLI_KIND_DML:
        return request->loopable && conn->writing;
    case LLI_KIND_COMMIT:
    case LLI_KIND_ROLLBACK:
    case LLI_KIND_RELEASE:
        return request->loopable && !conn->writing;
    default:
        return request->loopable;
    }
}

/* Whether it is for the loop that the connection waits for, or is served by. Under mu. */
static bool is_for_delayer(const ll_conn *conn, const ll_request *request, const ll_engine *engine)
{
    return engine && request->engine == engine && suits_loop(conn, request);
}

void lli_conn_call_worker(ll_conn *conn, bool unpark)
{
    if (lli_crew_ready(conn->crew, conn, unpark) == LL_OK)
        return;
    /* No thread at all: all that waits is told so. */
    fail_queued(conn, NULL);
    lli_conn_unref(conn);
}

/* A request that its loop could have run goes to a worker, or waits for the loop. */
static void count_queued(const ll_request *request, bool waits)
{
    if (request->loopable)
        atomic_fetch_add_explicit(waits ? &request->engine->stats.deferred
                                        : &request->engine->stats.inline_refused,
                                  1, memory_order_relaxed);
}

static ll_status enqueue(ll_conn *conn, ll_request *request)
{
    bool call = false, defer = false;
    lli_lock(&conn->mu);
    if (!admits(conn, request)) {
        lli_unlock(&conn->mu);
        return lli_refuse(LL_ECLOSED, "the connection is closed");
    }
    if (request->op == LLI_OP_CLOSE) {
        conn->closing = true;
        if (conn->current)
            hasten(conn, conn->current);
    }
    lli_request_enqueued(request);
    if (!lli_request_internal(request))
        ll_request_ref(request);
    lli_list_push(&conn->queue, &request->queue_node);
    conn->snapshot.idle = false;
    bool here = is_for_delayer(conn, request, atomic_load(&conn->delayer));
    if (conn->mode == LLI_CONN_IDLE) {
        here = defer = suits_loop(conn, request) && lli_delay_may_defer(conn, request);
        lli_conn_set_mode(conn, defer ? LLI_CONN_DELAYED : LLI_CONN_READY);
        lli_conn_ref(conn); /* the line's, then the owner's */
        call = !defer;
    } else if (conn->mode == LLI_CONN_DELAYED && !here) {
        lli_conn_set_mode(conn, LLI_CONN_READY);
        call = true;
    }
    conn->needs_worker = conn->needs_worker || !here;
    count_queued(request, here);
    lli_unlock(&conn->mu);
    if (defer)
        lli_delay_defer(request->engine, conn);
    return call ? call_worker_or_fail(conn, request) : LL_OK;
}

ll_status lli_conn_enqueue(ll_conn *conn, ll_request *request)
{
    /* When no thread is left (the last engine is gone) the request runs here and now, and what it lies in
     * may hold the last reference. */
    lli_conn_ref(conn);
    ll_status status = enqueue(conn, request);
    lli_conn_unref(conn);
    return status;
}

void lli_conn_autoclose(ll_conn *conn)
{
    lli_lock(&conn->mu);
    bool mine = !conn->closing && !conn->autoclosing;
    if (mine) {
        conn->closing = conn->autoclosing = true;
        lli_conn_ref(conn); /* given back when it has run */
    }
    lli_unlock(&conn->mu);
    if (mine)
        (void)lli_conn_enqueue(conn, &conn->autoclose); /* internal: stays queued in any case */
}

void lli_conn_kick(ll_conn *conn)
{
    lli_lock(&conn->mu);
    bool call = conn->mode == LLI_CONN_IDLE && !lli_list_empty(&conn->queue);
    if (call) {
        lli_conn_set_mode(conn, LLI_CONN_READY);
        lli_conn_ref(conn);
    }
    lli_unlock(&conn->mu);
    if (call)
        lli_conn_call_worker(conn, false);
}

void lli_conn_enqueue_waited(ll_conn *conn, ll_request *request)
{
    ll_status status = lli_conn_enqueue(conn, request);
    /* (Without a thread it was claimed already; closed, somebody else may have dropped it.) */
    if (status == LL_OK || (status == LL_ECLOSED && !lli_request_claim(request)))
        return;
    lli_error_set(&request->error, status, "%s", ll_last_error());
    request->outcome = LL_NOT_APPLIED;
    lli_request_finish(request);
}

bool lli_conn_begin_close(ll_conn *conn)
{
    lli_lock(&conn->mu);
    bool mine = !conn->autoclosing;
    conn->closing = conn->autoclosing = true;
    lli_unlock(&conn->mu);
    return mine;
}

void lli_conn_own(ll_conn *conn)
{
    lli_lock(&conn->mu);
    lli_conn_set_mode(conn, LLI_CONN_OWNED);
    lli_unlock(&conn->mu);
}

/* The queue is empty. Under mu. */
static void come_to_rest(ll_conn *conn)
{
    lli_conn_set_mode(conn, LLI_CONN_IDLE);
    conn->snapshot.idle = true;
    conn->needs_worker = false;
    if (conn->asking > 0)
        lli_cond_broadcast(&conn->poked);
}

/* Whether a statement came to its end that takes the write lock, or needs it, and gives up no transaction but with an
 * error. */
static bool was_dml(const ll_request *request)
{
    return request->op == LLI_OP_SQL && request->kind == LLI_KIND_DML &&
           request->outcome == LL_APPLIED && request->error.pub.status == LL_OK;
}

/* Whether it has the write lock now. A read outside a transaction cannot have taken it, and a write inside the one that
 * has it leaves it there: then SQLite need not be asked, which takes its mutex. (`writing` is written by the owner
 * only: he may look.) */
static bool is_writing(const ll_conn *conn, const ll_request *request, bool in_transaction,
                       bool read)
{
    if (read && !in_transaction && !conn->writing)
        return false;
    if (conn->writing && in_transaction && was_dml(request))
        return true;
    return lli_sq.txn_state(conn->db.handle, NULL) == SQLITE_TXN_WRITE;
}

/* It was let go, and the caller still has a reference: its pool may have use for it. */
static void tell_rested(ll_conn *conn)
{
    if (LLI_UNLIKELY(conn->tenant.landlord != NULL))
        conn->tenant.landlord->rested(conn->tenant.arg);
}

/* After a request: notes what the connection looks like now, and lets go of it when nothing else is
 * queued. False: it is no longer ours. `read` as lli_conn_return(). *ret_writing: whether it has the write lock. */
static bool settle(ll_conn *conn, ll_request *request, bool read, bool *ret_writing)
{
    bool open = conn->db.handle != NULL;
    bool in_transaction = open && lli_db_in_transaction(&conn->db);
    int64_t counted = open ? lli_db_total_changes(&conn->db) : 0;
    int64_t rowid = open ? lli_sq.last_insert_rowid(conn->db.handle) : 0;
    request->rowid = rowid;
    bool writing = *ret_writing = open && is_writing(conn, request, in_transaction, read);
    if (LLI_UNLIKELY(conn->seat.asked) && !writing)
        lli_gate_give_back(&conn->seat);
    if (!writing)
        conn->cookie_known = conn->cache_is_flushed = conn->cache_is_full = false;
    if (LLI_UNLIKELY(conn->tenant.landlord != NULL) && open)
        lli_tenant_note(conn, request, in_transaction, writing);
    lli_lock(&conn->mu);
    conn->current = NULL;
    conn->writing = writing;
    conn->snapshot.open = open;
    conn->snapshot.in_transaction = in_transaction;
    if (open) {
        conn->snapshot.total_changes = counted + lli_tally_total(conn);
        conn->counted = counted;
        conn->snapshot.rowid = rowid;
    }
    conn->snapshot.live_cursors = conn->stream_count;
    bool more = !lli_list_empty(&conn->queue);
    if (!more)
        come_to_rest(conn);
    lli_unlock(&conn->mu);
    return more;
}

static bool borrow(ll_conn *conn, ll_request *request, bool open, bool waits)
{
    lli_lock(&conn->mu);
    bool mine = conn->mode == LLI_CONN_IDLE && lli_list_empty(&conn->queue) && !conn->closing &&
                conn->snapshot.open == open && conn->asking == 0;
    if (mine) {
        lli_conn_set_mode(conn, LLI_CONN_OWNED);
        conn->current = request;
        conn->snapshot.idle = !waits;
        conn->tenant.current_ns = 0;
    }
    lli_unlock(&conn->mu);
    return mine;
}

bool lli_conn_borrow(ll_conn *conn, ll_request *request)
{
    return borrow(conn, request, true, false);
}

bool lli_conn_try_own(ll_conn *conn, ll_request *request)
{
    bool mine = borrow(conn, request, true, false);
    if (mine)
        lli_conn_ref(conn);
    return mine;
}

bool lli_conn_try_own_new(ll_conn *conn, ll_request *request)
{
    bool mine = borrow(conn, request, false, false);
    if (mine)
        lli_conn_ref(conn);
    return mine;
}

bool lli_conn_try_own_waiting(ll_conn *conn, ll_request *request)
{
    bool mine = borrow(conn, request, true, true);
    if (mine)
        lli_conn_ref(conn);
    return mine;
}

void lli_conn_set_closing(ll_conn *conn)
{
    lli_lock(&conn->mu);
    conn->closing = true;
    lli_unlock(&conn->mu);
}

void lli_conn_let_go(ll_conn *conn)
{
    lli_lock(&conn->mu);
    conn->current = NULL;
    bool more = !lli_list_empty(&conn->queue);
    if (more) {
        lli_conn_set_mode(conn, LLI_CONN_READY);
        if (conn->asking > 0)
            lli_cond_broadcast(&conn->poked);
    } else {
        come_to_rest(conn);
    }
    lli_unlock(&conn->mu);
    if (more) {
        lli_conn_call_worker(conn, false);
    } else {
        tell_rested(conn);
        lli_conn_unref(conn);
    }
}

void lli_conn_disown(ll_conn *conn, ll_request *request)
{
    bool writing;
    if (settle(conn, request, false, &writing)) {
        (void)lli_conn_put_back(conn, NULL, false); /* others came meanwhile, from other threads */
    } else {
        tell_rested(conn);
        lli_conn_unref(conn);
    }
}

void lli_conn_return(ll_conn *conn, ll_request *request, bool read)
{
    bool writing;
    if (settle(conn, request, read, &writing)) {
        lli_conn_ref(conn); /* the line's */
        (void)lli_conn_put_back(conn, NULL, false);
    } else {
        tell_rested(conn); /* (the request has a reference) */
    }
}

ll_status lli_conn_hand_over(ll_conn *conn, ll_request *request, bool *delay)
{
    lli_lock(&conn->mu);
    conn->current = NULL;
    conn->snapshot.idle = false;
    *delay = *delay && lli_list_empty(&conn->queue) && conn->asking == 0;
    lli_request_enqueued(request);
    ll_request_ref(request);
    lli_list_push_front(&conn->queue, &request->queue_node);
    lli_conn_set_mode(conn, *delay ? LLI_CONN_DELAYED : LLI_CONN_READY);
    lli_unlock(&conn->mu);
    if (*delay)
        return LL_OK;
    lli_conn_ref(conn);
    ll_status status = call_worker_or_fail(conn, request);
    lli_conn_unref(conn);
    return status;
}

void lli_conn_yield(ll_conn *conn)
{
    lli_lock(&conn->mu);
    lli_conn_set_mode(conn, LLI_CONN_READY);
    lli_unlock(&conn->mu);
    if (lli_crew_ready(conn->crew, conn, false) != LL_OK) {
        lli_conn_own(conn); /* cannot be: the caller is a thread of the crew */
        assert(false);
    }
}

/* Takes the next request that nobody has dropped, or lets go of the connection. On a loop, only what is for
 * that loop: a worker gets the rest. */
static ll_request *next_request(ll_conn *conn, const ll_engine *loop)
{
    ll_request *dropped = NULL, *request = NULL;
    for (;;) {
        lli_lock(&conn->mu);
        conn->unpark_pending = false;
        struct lli_node *node = lli_list_first(&conn->queue);
        request = node ? LLI_CONTAINER_OF(node, ll_request, queue_node) : NULL;
        if (request && loop && !is_for_delayer(conn, request, loop)) {
            lli_conn_set_mode(conn, LLI_CONN_READY);
            lli_unlock(&conn->mu);
            lli_conn_call_worker(conn, false);
            return NULL;
        }
        if (request)
            lli_list_remove(node);
        if (!request) {
            come_to_rest(conn);
        } else if (lli_request_claim(request)) {
            conn->current = request;
            if (LLI_UNLIKELY(conn->tenant.pooled))
                conn->tenant.current_ns = lli_now_ns();
        } else {
            dropped = request;
        }
        lli_unlock(&conn->mu);
        if (!request) {
            tell_rested(conn);
            lli_conn_unref(conn);
        }
        if (!dropped)
            return request;
        if (dropped->taken) /* handed over live, and dropped before a worker came */
            lli_stmt_give(&conn->db.cache, dropped->taken);
        dropped->taken = NULL;
        ll_request_unref(dropped);
        dropped = NULL;
    }
}

ll_request *lli_conn_next_here(ll_conn *conn, const ll_engine *engine)
{
    return next_request(conn, engine);
}

/* Runs it, on a worker, while nobody else uses an adopted handle. */
static enum lli_run_result run_alone(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    if (conn->db.adopted)
        lli_own_lend(conn, request);
    if (LLI_UNLIKELY(conn->turns.count > 0) && !lli_conn_take_turn(conn, request))
        return LLI_RUN_PARK;
    bool locked = lli_own_lock(conn, request->op);
    if (lli_snapshot_held(&conn->db.snapshot))
        lli_snapshot_release(&conn->db);
    if (lli_own_has(conn, LLI_OWN_TOUCHED)) {
        ll_conn_own_code(conn, 0, LLI_OWN_TOUCHED);
        lli_facts_mind(conn, LLI_KIND_PRAGMA);
    }
    enum lli_run_result result = lli_run(conn, request, ret_park_ns);
    if (result != LLI_RUN_PARK && result != LLI_RUN_AWAY && conn->facts_stale)
        lli_facts_learn(conn);
    if (LLI_UNLIKELY(conn->turns.asked))
        lli_gate_give_back(&conn->turns);
    if (locked)
        lli_own_unlock(conn);
    return result;
}

bool lli_conn_run_one(ll_conn *conn)
{
    ll_request *request = next_request(conn, NULL);
    if (!request)
        return false;
    atomic_fetch_add_explicit(&conn->crew->stats.runs, 1, memory_order_relaxed);
    uint64_t park_ns = LLI_NEVER;
    enum lli_run_result result = run_alone(conn, request, &park_ns);
    if (result == LLI_RUN_PARK)
        return lli_conn_park(conn, request, park_ns);
    if (LLI_UNLIKELY(result == LLI_RUN_GROUPED)) {
        lli_group_join(request);
        return false;
    }
    if (LLI_UNLIKELY(result == LLI_RUN_AWAY)) {
        request->in.task.ops->leave(request);
        return false;
    }
    return lli_conn_complete(conn, request);
}

bool lli_conn_complete(ll_conn *conn, ll_request *request)
{
    enum lli_op op = request->op;
    struct lli_crew *crew = conn->crew; /* the request's engine has it, too */
    bool writing;
    bool more = settle(conn, request, false, &writing);
    atomic_store_explicit(&crew->within, writing, memory_order_relaxed);
    if (!more) {
        tell_rested(conn);
        lli_conn_unref(conn); /* the request, or what it lies in, has another until it is told */
    }
    lli_run_end(conn, request, op);
    return more;
}

void lli_conn_run(ll_conn *conn)
{
    uint64_t until = lli_deadline_after(turn_ns);
    for (unsigned count = 1; lli_conn_run_one(conn); count++) {
        if (!lli_crew_waiting(conn->crew))
            continue;
        if (count >= TURN_REQUESTS || lli_now_ns() >= until) {
            lli_conn_yield(conn);
            return;
        }
    }
}

void lli_conn_poke(ll_conn *conn, ll_request *request)
{
    lli_lock(&conn->mu);
    struct lli_node *first = lli_list_first(&conn->queue);
    if (conn->closing && conn->current == request)
        hasten(conn, request);
    bool concerns = conn->current == request || (first && first == &request->queue_node);
    lli_unlock(&conn->mu);
    if (concerns)
        lli_conn_unpark(conn);
}

bool lli_conn_is_at_rest(ll_conn *conn)
{
    lli_lock(&conn->mu);
    ll_conn_state now = conn->snapshot;
    lli_own_look(conn, &now); /* an adopted handle may be used beside us: what it says now counts */
    bool rest = conn->mode == LLI_CONN_IDLE && lli_list_empty(&conn->queue) && now.open &&
                !now.in_transaction && !conn->closing && !conn->tenant.aborted;
    lli_unlock(&conn->mu);
    return rest;
}

bool lli_conn_is_closed(ll_conn *conn)
{
    lli_lock(&conn->mu);
    bool closed = conn->closing && conn->mode == LLI_CONN_IDLE && lli_list_empty(&conn->queue);
    lli_unlock(&conn->mu);
    return closed;
}
