/* stream.c: reading ahead under a bound.
 *
 *   statement --pump--> ready: [batch][batch][batch] --next--> consumer
 *                        ^ at most `credit` of them, else the statement rests
 *
 * The pump is an internal request in the connection's queue: it fills one batch, then goes to the end of
 * the queue again if there is credit left, so other requests of the connection run between two batches.
 * It only starts when the consumer asks for the first batch after those that came with execute; a result
 * that nobody reads costs nothing more.
 *
 * A waiting request (ll_cursor_next() with nothing ready) belongs to the cursor, not to the queue. It is
 * claimed by the pump that has a batch for it, or by a canceller; never by both.
 *
 * Errors and the end come in order: batches that were read before are delivered first.
 *
 * End of life: ll_cursor_close() marks it closed, so that the pump does not queue itself again, and queues
 * `end` behind whatever is queued. `end` gives the statement back. The memory goes with the last
 * reference: the handle's, which `end` gives back, or a waiting request's. */
#include "engine/stream.h"

#include "base/alloc.h"
#include "db/api.h"
#include "engine/conn.h"
#include "engine/engine.h"
#include "engine/run.h"
#include "engine/submit.h"
#include "platform/clock.h"

enum {
    DEFAULT_CREDIT = 3,
    MOST_CREDIT = 64,
    DEFAULT_BATCH_ROWS = 1024
};

ll_cursor *lli_stream_new(ll_conn *conn)
{
    ll_cursor *cursor = lli_new(sizeof *cursor);
    if (!cursor)
        return NULL;
    cursor->conn = lli_conn_ref(conn);
    atomic_init(&cursor->refs, 1);
    lli_mutex_init(&cursor->mu);
    lli_list_init(&cursor->ready);
    lli_list_init(&cursor->waiters);
    lli_cond_init(&cursor->changed);
    cursor->credit = DEFAULT_CREDIT;
    cursor->batch_rows = DEFAULT_BATCH_ROWS;
    lli_request_init_internal(&cursor->pump, conn, LLI_OP_PUMP);
    lli_request_init_internal(&cursor->end, conn, LLI_OP_END);
    cursor->pump.in.cursor = cursor->end.in.cursor = cursor;
    lli_live(+1);
    return cursor;
}

void lli_stream_begin(ll_cursor *cursor, struct lli_stmt *stmt, ll_columns *columns)
{
    cursor->stmt = stmt;
    cursor->columns = ll_columns_ref(columns);
    lli_list_push(&cursor->conn->streams, &cursor->stream_node);
    cursor->conn->stream_count++;
}

static void free_ready(ll_cursor *cursor)
{
    struct lli_node *node;
    while ((node = lli_list_pop(&cursor->ready)) != NULL)
        ll_batch_free(LLI_CONTAINER_OF(node, ll_batch, node));
    cursor->ready_count = 0;
}

void lli_stream_ref(ll_cursor *cursor)
{
    atomic_fetch_add_explicit(&cursor->refs, 1, memory_order_relaxed);
}

void lli_stream_unref(ll_cursor *cursor)
{
    if (!cursor || atomic_fetch_sub_explicit(&cursor->refs, 1, memory_order_acq_rel) != 1)
        return;
    free_ready(cursor);
    ll_columns_unref(cursor->columns);
    lli_error_done(&cursor->error);
    lli_cond_done(&cursor->changed);
    lli_mutex_done(&cursor->mu);
    lli_conn_unref(cursor->conn);
    lli_live(-1);
    lli_free(cursor);
}

void lli_stream_fail(ll_cursor *cursor, ll_columns *columns, struct lli_error *error)
{
    cursor->columns = ll_columns_ref(columns);
    cursor->state = LLI_STREAM_FAILED;
    lli_error_move(&cursor->error, error);
}

/* Owner: gives the statement back. */
static void end_statement(ll_cursor *cursor)
{
    if (!cursor->stmt)
        return;
    lli_stmt_give(&cursor->conn->db.cache, cursor->stmt);
    cursor->stmt = NULL;
    lli_list_remove(&cursor->stream_node);
    cursor->conn->stream_count--;
}

void lli_stream_end(ll_cursor *cursor)
{
    end_statement(cursor);
}

/* The result of a waiting request that was claimed: a batch, the end, or the error. */
static void answer(ll_cursor *cursor, ll_request *request, ll_batch *batch)
{
    request->read_only = true;
    request->columns = ll_columns_ref(cursor->columns);
    request->outcome = LL_APPLIED;
    if (batch) {
        lli_list_push(&request->batches, &batch->node);
    } else if (cursor->state == LLI_STREAM_FAILED) {
        lli_error_set(&request->error, cursor->error.pub.status, "%s", cursor->error.pub.message);
        request->error.pub.sqlite_code = cursor->error.pub.sqlite_code;
        request->outcome = LL_NOT_APPLIED;
    } else if (cursor->state == LLI_STREAM_CLOSED) {
        lli_error_set(&request->error, LL_ECLOSED, "the cursor is closed");
        request->outcome = LL_NOT_APPLIED;
    }
}

/* Under mu: the next waiting request that nobody has dropped, claimed, with its reference; or NULL. */
static ll_request *claim_waiter(ll_cursor *cursor)
{
    struct lli_node *node;
    while ((node = lli_list_pop(&cursor->waiters)) != NULL) {
        ll_request *request = LLI_CONTAINER_OF(node, ll_request, queue_node);
        if (lli_request_claim(request))
            return request;
        ll_request_unref(request); /* dropped, and perhaps told already */
    }
    return NULL;
}

/* Under mu: wakes who is blocked; something was added to `ready`, or the state has changed. */
static void wake(ll_cursor *cursor)
{
    if (cursor->blocked > 0)
        lli_cond_broadcast(&cursor->changed);
}

/* Under mu: the batch that was read first goes to who has waited longest: the request, answered, or NULL. Whoever
 * adds to one of the two lists calls it before mu is let go, so outside of mu one of them is empty, and neither
 * rows nor requests overtake. */
static ll_request *pair(ll_cursor *cursor)
{
    ll_request *request = cursor->ready_count > 0 ? claim_waiter(cursor) : NULL;
    if (request) {
        struct lli_node *node = lli_list_pop(&cursor->ready);
        cursor->ready_count--;
        answer(cursor, request, LLI_CONTAINER_OF(node, ll_batch, node));
    }
    return request;
}

/* Tells who was answered, if anybody was. */
static void tell(ll_request *answered)
{
    if (!answered)
        return;
    ll_request_unref(answered); /* the cursor's; the engine still has one */
    lli_request_finish(answered);
}

void *lli_stream_waiting(ll_cursor *cursor)
{
    lli_lock(&cursor->mu);
    struct lli_node *node = lli_list_first(&cursor->waiters);
    void *user = node ? LLI_CONTAINER_OF(node, ll_request, queue_node)->user : NULL;
    lli_unlock(&cursor->mu);
    return user;
}

/* Answers all who wait with the end or the error. Any thread; the state is final. */
static void answer_all(ll_cursor *cursor)
{
    for (;;) {
        lli_lock(&cursor->mu);
        ll_request *request = claim_waiter(cursor);
        if (request)
            answer(cursor, request, NULL);
        lli_unlock(&cursor->mu);
        if (!request)
            return;
        tell(request);
    }
}

/* Under mu: whether the pump should run (again). */
static bool wants_pump(const ll_cursor *cursor)
{
    return cursor->state == LLI_STREAM_LIVE && !cursor->pumping &&
           (cursor->ready_count < cursor->credit || !lli_list_empty(&cursor->waiters));
}

/* Under mu, before queue_pump(): which then needs no lock. Until the pump has run it has a reference: between the two,
 * somebody may take what there is and close the cursor, and its end stand in the queue before the pump. */
static void begin_pumping(ll_cursor *cursor)
{
    cursor->pumping = true;
    lli_stream_ref(cursor);
}

static void queue_pump(ll_cursor *cursor)
{
    if (lli_conn_enqueue(cursor->conn, &cursor->pump) != LL_OK)
        assert(false); /* internal requests are always admitted */
}

void lli_stream_pump(ll_cursor *cursor)
{
    lli_lock(&cursor->mu);
    bool live = cursor->state == LLI_STREAM_LIVE;
    size_t rows = cursor->batch_rows;
    bool columns = cursor->keeps_columns;
    cursor->pump_runs = live;
    /* A stop that came before it ran was meant for what is gone. */
    atomic_store(&cursor->pump.stop, LLI_STOP_NONE);
    lli_unlock(&cursor->mu);

    struct lli_error error = {0};
    ll_batch *batch = NULL;
    bool more = false;
    if (live)
        batch = lli_run_batch(cursor->conn, cursor->stmt, &cursor->pump, rows, columns, &more,
                              &error);
    if (!more)
        end_statement(cursor);

    ll_request *waiter = NULL;
    lli_lock(&cursor->mu);
    cursor->pump_runs = cursor->pumping = false;
    if (cursor->state == LLI_STREAM_LIVE && !more) {
        cursor->state = error.pub.status < 0 ? LLI_STREAM_FAILED : LLI_STREAM_ENDED;
        lli_error_move(&cursor->error, &error);
    }
    if (cursor->state == LLI_STREAM_CLOSED) {
        ll_batch_free(batch);
    } else if (batch) {
        lli_list_push(&cursor->ready, &batch->node);
        cursor->ready_count++;
        waiter = pair(cursor);
    }
    wake(cursor);
    bool again = wants_pump(cursor);
    if (again)
        begin_pumping(cursor);
    bool final = cursor->state != LLI_STREAM_LIVE;
    lli_unlock(&cursor->mu);
    lli_error_done(&error);
    if (again)
        queue_pump(cursor);
    tell(waiter);
    if (final)
        answer_all(cursor);
}

void lli_stream_cut(ll_cursor *cursor, const char *why)
{
    end_statement(cursor);
    lli_lock(&cursor->mu);
    if (cursor->state == LLI_STREAM_LIVE) {
        cursor->state = LLI_STREAM_FAILED;
        lli_error_set(&cursor->error, LL_ECLOSED, "%s", why);
    }
    wake(cursor);
    lli_unlock(&cursor->mu);
    answer_all(cursor);
}

void lli_stream_stop_waiter(ll_request *request, enum lli_stop why,
                            bool (*drop)(ll_request *, enum lli_stop))
{
    ll_cursor *cursor = request->in.cursor;
    if (!drop(request, why))
        return;
    lli_lock(&cursor->mu);
    bool others = false;
    for (struct lli_node *node = lli_list_first(&cursor->waiters); node;
         node = lli_list_next(&cursor->waiters, node)) {
        ll_request *waiter = LLI_CONTAINER_OF(node, ll_request, queue_node);
        others |= atomic_load(&waiter->state) == LLI_REQUEST_QUEUED;
    }
    if (!others && cursor->pump_runs) {
        unsigned none = LLI_STOP_NONE;
        atomic_compare_exchange_strong(&cursor->pump.stop, &none, LLI_STOP_CANCEL);
    }
    lli_unlock(&cursor->mu);
}

ll_status ll_cursor_set_ahead(ll_cursor *cursor, unsigned credit, size_t rows)
{
    if (!cursor)
        return lli_refuse(LL_EINVAL, "ll_cursor_set_ahead: cursor is NULL");
    if (credit < 1 || credit > MOST_CREDIT)
        return lli_refuse(LL_EINVAL, "ll_cursor_set_ahead: credit is %u, must be 1 to %d", credit,
                          (int)MOST_CREDIT);
    if (rows < 1)
        return lli_refuse(LL_EINVAL, "ll_cursor_set_ahead: rows is 0, must be at least 1");
    lli_lock(&cursor->mu);
    cursor->credit = credit;
    cursor->batch_rows = rows;
    lli_unlock(&cursor->mu);
    return LL_OK;
}

void lli_stream_keep_columns(ll_cursor *cursor, size_t rows)
{
    lli_lock(&cursor->mu);
    cursor->keeps_columns = true;
    cursor->batch_rows = rows;
    lli_unlock(&cursor->mu);
}

const ll_columns *ll_cursor_columns(const ll_cursor *cursor)
{
    return cursor ? cursor->columns : NULL;
}

ll_status ll_cursor_next(ll_cursor *cursor, const ll_submit *how, ll_request **ret_request)
{
    if (!cursor)
        return lli_refuse(LL_EINVAL, "ll_cursor_next: cursor is NULL");
    ll_conn *conn = cursor->conn;
    ll_engine *engine;
    LL_TRY(lli_engine_for(conn, how, "ll_cursor_next", &engine));
    if (!ret_request && !(how && how->done))
        return lli_refuse(LL_EINVAL, "ll_cursor_next: neither ret_request nor a callback is given");
    ll_request *request = lli_request_new(engine, conn, LLI_OP_NEXT, how);
    if (!request)
        return lli_refuse(LL_ENOMEM, "ll_cursor_next: out of memory");
    request->in.cursor = cursor;
    lli_stream_ref(cursor);
    ll_status status = LL_OK;
    bool pump = false;
    lli_lock(&cursor->mu);
    struct lli_node *node = lli_list_pop(&cursor->ready);
    if (node) {
        cursor->ready_count--;
        answer(cursor, request, LLI_CONTAINER_OF(node, ll_batch, node));
        lli_request_finish_now(request);
    } else if (cursor->state != LLI_STREAM_LIVE) {
        answer(cursor, request, NULL);
        lli_request_finish_now(request);
    } else {
        status = LL_PENDING;
    }
    if (status == LL_OK && (pump = wants_pump(cursor)) == true)
        begin_pumping(cursor);
    lli_unlock(&cursor->mu);
    if (status == LL_PENDING) {
        ll_status added = lli_engine_add(engine, request);
        if (added != LL_OK) {
            ll_request_unref(request);
            return added;
        }
        lli_lock(&cursor->mu);
        lli_request_enqueued(request);
        lli_list_push(&cursor->waiters, &request->queue_node);
        ll_request_ref(request);
        ll_request *answered = pair(cursor); /* it has changed in between */
        pump = wants_pump(cursor);
        if (pump)
            begin_pumping(cursor);
        bool final = cursor->state != LLI_STREAM_LIVE;
        lli_unlock(&cursor->mu);
        tell(answered);
        if (final)
            answer_all(cursor);
        unsigned stop = atomic_load_explicit(&request->stop, memory_order_relaxed);
        if (stop != LLI_STOP_NONE) /* it was stopped before it could be dropped */
            lli_request_stop(request, (enum lli_stop)stop);
    } else {
        lli_engine_count_immediate(engine, request, false);
    }
    if (pump)
        queue_pump(cursor);
    if (ret_request)
        *ret_request = request;
    else
        ll_request_unref(request);
    return status;
}

ll_status lli_stream_wait(ll_cursor *cursor, ll_batch **ret_batch, struct lli_error *error)
{
    bool pump = true;
    *ret_batch = NULL;
    lli_lock(&cursor->mu);
    cursor->blocked++;
    for (;;) {
        struct lli_node *node = lli_list_pop(&cursor->ready);
        if (node) {
            cursor->ready_count--;
            *ret_batch = LLI_CONTAINER_OF(node, ll_batch, node);
        }
        pump = wants_pump(cursor);
        if (pump)
            begin_pumping(cursor);
        if (node || cursor->state != LLI_STREAM_LIVE)
            break;
        if (pump) { /* without the lock, and then once more */
            lli_unlock(&cursor->mu);
            queue_pump(cursor);
            lli_lock(&cursor->mu);
            continue;
        }
        lli_cond_wait(&cursor->changed, &cursor->mu);
    }
    cursor->blocked--;
    if (!*ret_batch && cursor->state == LLI_STREAM_FAILED) {
        lli_error_set(error, cursor->error.pub.status, "%s", cursor->error.pub.message);
        error->pub.sqlite_code = cursor->error.pub.sqlite_code;
    } else if (!*ret_batch && cursor->state == LLI_STREAM_CLOSED) {
        lli_error_set(error, LL_ECLOSED, "the cursor is closed");
    }
    lli_unlock(&cursor->mu);
    if (pump)
        queue_pump(cursor);
    return error->pub.status;
}

/* On an idle connection the statement ends here and now: it holds a read lock that a writer may be waiting
 * for. The handle's mutex is only tried for: whoever has it may need this very thread. */
static bool end_at_once(ll_cursor *cursor)
{
    ll_conn *conn = cursor->conn;
    if (!lli_conn_try_own(conn, &cursor->end))
        return false;
    sqlite3_mutex *mutex = conn->db.mutex;
    /* What may not run on the loop may not end there either: a shared cache has a mutex of its own. */
    bool ended = conn->can_inline && lli_sq.mutex_try(mutex) == SQLITE_OK;
    if (ended) {
        lli_stream_end(cursor);
        lli_sq.mutex_leave(mutex);
    }
    lli_conn_disown(conn, &cursor->end);
    if (ended)
        lli_stream_unref(cursor);
    return ended;
}

void ll_cursor_close(ll_cursor *cursor)
{
    if (!cursor || lli_engine_foreign(cursor->conn->engine))
        return;
    lli_lock(&cursor->mu);
    if (cursor->state == LLI_STREAM_FAILED)
        lli_error_done(&cursor->error);
    cursor->state = LLI_STREAM_CLOSED;
    free_ready(cursor);
    atomic_store(&cursor->pump.stop, LLI_STOP_CANCEL);
    wake(cursor);
    lli_unlock(&cursor->mu);
    answer_all(cursor);
    if (end_at_once(cursor))
        return;
    if (lli_conn_enqueue(cursor->conn, &cursor->end) != LL_OK)
        assert(false); /* internal requests are always admitted */
}
