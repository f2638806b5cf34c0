/* request.c: the states of a request, and how it is stopped.
 *
 *          submit            claim (worker)            finish
 *   NEW ----------> QUEUED ----------------> RUNNING ----------> DONE
 *    |                 \                     ^    |               ^
 *    |                  \ claim (canceller)  |    | lock          |
 *    |                   +-------------------+    v               |
 *    |                                 claim +- PARKED            |
 *    +------------------- finished at once -----------------------+
 *                 (RUNNING -> QUEUED: a try on the loop was undone)
 *
 * Whoever moves a request to RUNNING, by compare-and-swap, is the only one that finishes it: a worker that
 * runs it or a canceller that drops it. So it is finished exactly once, and a request that was dropped
 * cannot run later. A dropped request stays in its queue as an empty shell until the queue passes it.
 * One that a loop took from the queue, tried and undid is QUEUED again, as if nobody had (delay.c).
 *
 * Stopping: a queued request is dropped on the spot. A parked one may have done part of its work (half a
 * script, an open savepoint), so its connection is woken and the worker ends it. A running one finds the
 * word in the guard. Requests that are shielded (a commit must not be lost by a cancelled task) only take
 * the stop of an engine that ends.
 *
 * References: the caller's, the engine's (until delivered), and the queue's (until passed). */
#include "engine/request.h"

#include "base/alloc.h"
#include "base/sm.h"
#include "db/attempt.h"
#include "engine/conn.h"
#include "engine/engine.h"
#include "engine/group.h"
#include "engine/run.h"
#include "engine/stream.h"
#include "platform/clock.h"

static const char *const state_names[] = {"NEW", "QUEUED", "RUNNING", "PARKED", "DONE"};
static const uint32_t state_moves[LLI_REQUEST_STATES] = {
    [LLI_REQUEST_NEW] = LLI_SM_TO(LLI_REQUEST_QUEUED) | LLI_SM_TO(LLI_REQUEST_DONE),
    [LLI_REQUEST_QUEUED] = LLI_SM_TO(LLI_REQUEST_RUNNING),
    [LLI_REQUEST_RUNNING] = LLI_SM_TO(LLI_REQUEST_PARKED) | LLI_SM_TO(LLI_REQUEST_DONE) |
                            LLI_SM_TO(
                                LLI_REQUEST_QUEUED), /* an internal one, or one that was undone */
    [LLI_REQUEST_PARKED] = LLI_SM_TO(LLI_REQUEST_RUNNING),
};
static const struct lli_sm machine = {"request", state_names, state_moves, LLI_REQUEST_STATES};

static bool move(ll_request *request, unsigned from, unsigned to)
{
    unsigned expected = from;
    if (!atomic_compare_exchange_strong_explicit(&request->state, &expected, to,
                                                 memory_order_acq_rel, memory_order_acquire))
        return false;
    lli_sm_move(&machine, request, from, to);
    return true;
}

static unsigned state_of(const ll_request *request)
{
    return atomic_load_explicit(&request->state, memory_order_acquire);
}

ll_request *lli_request_new(ll_engine *engine, ll_conn *conn, enum lli_op op, const ll_submit *how)
{
    ll_request *request = lli_new(sizeof *request);
    if (!request)
        return NULL;
    lli_request_init_internal(request, conn, op);
    lli_conn_ref(conn);
    request->engine = engine;
    if (engine != conn->engine) /* else the connection's reference serves */
        lli_engine_ref(engine);
    if (how) {
        request->flags = how->flags;
        request->done = how->done;
        request->user = how->user;
        if (how->timeout_ns > 0)
            request->deadline_ns = lli_deadline_after(how->timeout_ns);
        if (LLI_UNLIKELY(how->flags & LL_SUBMIT_TIMED))
            request->timing.submitted_ns = lli_now_ns();
    }
    if (LLI_UNLIKELY(conn->tenant.operation_timeout_ns > 0))
        lli_tenant_limit(conn, request);
    lli_live(+1);
    return request;
}

void lli_request_init_internal(ll_request *request, ll_conn *conn, enum lli_op op)
{
    request->conn = conn;
    request->op = op;
    request->deadline_ns = LLI_NEVER;
    atomic_init(&request->refs, 1);
    atomic_init(&request->state, LLI_REQUEST_NEW);
    atomic_init(&request->stop, LLI_STOP_NONE);
    lli_list_init(&request->batches);
}

void lli_request_enqueued(ll_request *request)
{
    unsigned from = state_of(request);
    if (LLI_UNLIKELY(request->wait != NULL) && from != LLI_REQUEST_NEW)
        return; /* it stood in another line: QUEUED, or dropped since */
    assert(from == LLI_REQUEST_NEW || lli_request_internal(request));
    bool moved = move(request, from, LLI_REQUEST_QUEUED);
    assert(moved);
    (void)moved;
}

bool lli_request_claim(ll_request *request)
{
    return move(request, LLI_REQUEST_QUEUED, LLI_REQUEST_RUNNING) ||
           move(request, LLI_REQUEST_PARKED, LLI_REQUEST_RUNNING);
}

void lli_request_requeue(ll_request *request)
{
    bool moved = move(request, LLI_REQUEST_RUNNING, LLI_REQUEST_QUEUED);
    assert(moved);
    (void)moved;
}

bool lli_request_is_parked(const ll_request *request)
{
    return state_of(request) == LLI_REQUEST_PARKED;
}

void lli_request_park(ll_request *request)
{
    bool moved = move(request, LLI_REQUEST_RUNNING, LLI_REQUEST_PARKED);
    assert(moved);
    (void)moved;
}

static void time_end(ll_request *request)
{
    if (LLI_UNLIKELY(request->flags & LL_SUBMIT_TIMED))
        request->timing.ended_ns = lli_now_ns();
}

void lli_request_time_begin_at(ll_request *request, ll_place place)
{
    if (LLI_LIKELY(!(request->flags & LL_SUBMIT_TIMED)))
        return;
    if (request->timing.begun_ns == 0)
        request->timing.begun_ns = lli_now_ns();
    request->timing.place = place;
}

void lli_request_time_begin(ll_request *request)
{
    if (LLI_UNLIKELY(request->flags & LL_SUBMIT_TIMED))
        lli_request_time_begin_at(request, lli_attempt_now ? LL_PLACE_LOOP : LL_PLACE_WORKER);
}

void lli_request_time_undo(ll_request *request)
{
    request->timing.begun_ns = 0;
    request->timing.place = LL_PLACE_NONE;
}

void lli_request_finish(ll_request *request)
{
    if (lli_request_internal(request))
        return;
    time_end(request);
    bool moved = move(request, LLI_REQUEST_RUNNING, LLI_REQUEST_DONE);
    assert(moved);
    (void)moved;
    lli_engine_post(request->engine, request);
}

void lli_request_finish_now(ll_request *request)
{
    /* Nobody else has it: no compare-and-swap is needed. */
    assert(state_of(request) == LLI_REQUEST_NEW);
    time_end(request);
    lli_sm_move(&machine, request, LLI_REQUEST_NEW, LLI_REQUEST_DONE);
    atomic_store_explicit(&request->state, LLI_REQUEST_DONE, memory_order_release);
}

void lli_request_set_stopped(ll_request *request, enum lli_stop why, bool changed)
{
    switch (why) {
    case LLI_STOP_DEADLINE:
        lli_error_set(&request->error, LL_ETIMEOUT,
                      request->flags & LLI_SUBMIT_BREAKS
                          ? "the statement took longer than the operation timeout of its pool"
                          : "the deadline of the request has passed");
        break;
    case LLI_STOP_INTERRUPT:
        lli_error_set(&request->error, LL_ESQL, "interrupted");
        break;
    case LLI_STOP_CLOSE:
        lli_error_set(&request->error, LL_ECANCELLED,
                      "stopped by the end of its connection or engine");
        break;
    default:
        lli_error_set(&request->error, LL_ECANCELLED, "the request was cancelled");
        break;
    }
    if (request->error.pub.sqlite_code == 0)
        request->error.pub.sqlite_code = SQLITE_INTERRUPT;
    request->outcome = changed ? LL_UNKNOWN : LL_NOT_APPLIED;
}

/* Nobody has begun it: it never will. */
static bool drop(ll_request *request, enum lli_stop why)
{
    if (!move(request, LLI_REQUEST_QUEUED, LLI_REQUEST_RUNNING))
        return false;
    /* It may have been handed over with rows; its statement is given back when the queue passes it. */
    struct lli_node *node;
    while ((node = lli_list_pop(&request->batches)) != NULL)
        ll_batch_free(LLI_CONTAINER_OF(node, ll_batch, node));
    lli_request_set_stopped(request, why, false);
    lli_request_finish(request);
    return true;
}

void lli_request_stop(ll_request *request, enum lli_stop why)
{
    if ((request->flags & LL_SUBMIT_SHIELD) && why != LLI_STOP_CLOSE)
        return;
    unsigned none = LLI_STOP_NONE;
    if (why == LLI_STOP_CLOSE)
        atomic_store_explicit(&request->stop, why, memory_order_relaxed);
    else
        atomic_compare_exchange_strong_explicit(&request->stop, &none, why, memory_order_relaxed,
                                                memory_order_relaxed);
    if (request->op == LLI_OP_CLOSE) /* a close always happens */
        return;
    if (LLI_UNLIKELY(request->wait != NULL) && request->wait->stop(request, why))
        return;
    if (request->op == LLI_OP_NEXT) {
        lli_stream_stop_waiter(request, why, drop);
        return;
    }
    if (LLI_UNLIKELY(request->writer != NULL) && lli_group_stop(request, why))
        return;
    if (!drop(request, why))
        lli_conn_poke(request->conn, request);
}

ll_status ll_request_cancel(ll_request *request)
{
    if (!request)
        return lli_refuse(LL_EINVAL, "ll_request_cancel: request is NULL");
    LL_TRY(lli_engine_check(request->engine, "ll_request_cancel"));
    if (state_of(request) != LLI_REQUEST_DONE)
        lli_request_stop(request, LLI_STOP_CANCEL);
    return LL_OK;
}

bool ll_request_is_done(const ll_request *request)
{
    return request && state_of(request) == LLI_REQUEST_DONE;
}

ll_status ll_request_status(const ll_request *request)
{
    return ll_request_error(request)->status;
}

const ll_error *ll_request_error(const ll_request *request)
{
    static const ll_error pending = {LL_PENDING, 0, 0, -1, "not finished yet"};
    static const ll_error fine = {LL_OK, 0, 0, -1, "no error"};
    static const ll_error missing = {LL_EINVAL, 0, 0, -1, "request is NULL"};
    if (!request)
        return &missing;
    if (!ll_request_is_done(request))
        return &pending;
    return request->error.pub.status < 0 ? &request->error.pub : &fine;
}

ll_outcome ll_request_outcome(const ll_request *request)
{
    return ll_request_is_done(request) ? request->outcome : LL_UNKNOWN;
}

int64_t ll_request_changes(const ll_request *request)
{
    return ll_request_is_done(request) ? request->changes : 0;
}

int64_t ll_request_rowid(const ll_request *request)
{
    return ll_request_is_done(request) ? request->rowid : 0;
}

size_t ll_request_progress(const ll_request *request)
{
    return ll_request_is_done(request) ? request->progress : 0;
}

bool ll_request_is_read(const ll_request *request)
{
    return ll_request_is_done(request) && request->read_only;
}

bool ll_request_is_dml(const ll_request *request)
{
    return ll_request_is_done(request) && request->dml;
}

void ll_request_get_timing(const ll_request *request, ll_timing *ret_timing)
{
    if (ret_timing)
        *ret_timing = ll_request_is_done(request) ? request->timing : (ll_timing){0};
}

const ll_columns *ll_request_columns(const ll_request *request)
{
    return ll_request_is_done(request) ? request->columns : NULL;
}

ll_batch *ll_request_take_batch(ll_request *request)
{
    if (!ll_request_is_done(request))
        return NULL;
    struct lli_node *node = lli_list_pop(&request->batches);
    return node ? LLI_CONTAINER_OF(node, ll_batch, node) : NULL;
}

ll_cursor *ll_request_take_cursor(ll_request *request)
{
    if (!ll_request_is_done(request))
        return NULL;
    ll_cursor *cursor = request->cursor;
    request->cursor = NULL;
    return cursor;
}

ll_stmt *ll_request_take_stmt(ll_request *request)
{
    if (!ll_request_is_done(request))
        return NULL;
    ll_stmt *stmt = request->stmt;
    request->stmt = NULL;
    return stmt;
}

const void *ll_request_bytes(const ll_request *request, size_t *ret_size)
{
    bool done = ll_request_is_done(request);
    if (ret_size)
        *ret_size = done ? request->size : 0;
    return done ? request->bytes : NULL;
}

void *ll_request_user(const ll_request *request)
{
    return request ? request->user : NULL;
}

ll_request *ll_request_ref(ll_request *request)
{
    if (request)
        atomic_fetch_add_explicit(&request->refs, 1, memory_order_relaxed);
    return request;
}

void ll_request_unref(ll_request *request)
{
    if (!request || lli_request_internal(request))
        return;
    /* Whoever sees 1 has the only reference, and nobody can make another one out of none. */
    if (atomic_load_explicit(&request->refs, memory_order_acquire) != 1 &&
        atomic_fetch_sub_explicit(&request->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (lli_engine_foreign(request->engine))
        return; /* in the child of a fork: the parent's memory is left alone */
    if (LLI_UNLIKELY(request->wait != NULL))
        request->wait->gone(request);
    struct lli_node *node;
    while ((node = lli_list_pop(&request->batches)) != NULL)
        ll_batch_free(LLI_CONTAINER_OF(node, ll_batch, node));
    if (request->cursor)
        ll_cursor_close(request->cursor);
    ll_stmt_free(request->stmt);
    ll_columns_unref(request->columns);
    lli_error_done(&request->error);
    if (request->op == LLI_OP_TASK && request->in.task.ops->gone)
        request->in.task.ops->gone(request);
    if (request->free_bytes)
        request->free_bytes(request->bytes);
    lli_arena_done(&request->arena);
    if (request->op == LLI_OP_NEXT)
        lli_stream_unref(request->in.cursor);
    if (request->op == LLI_OP_MANY)
        lli_run_many_done(request); /* it never ran */
    if (request->writer)
        lli_group_unref(request->writer);
    if (request->engine != request->conn->engine)
        lli_engine_unref(request->engine);
    lli_conn_unref(request->conn);
    lli_live(-1);
    lli_free(request);
}
