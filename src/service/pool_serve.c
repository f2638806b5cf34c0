/* pool_serve.c: who gets which connection, and when.
 *
 * There are three lines: for leases, for statements that read, and for those that may write. Each is first come first
 * served, and between their heads the one that has waited longest comes first; but a head that cannot go yet does not
 * hold up the others. A lease and a reading statement need a connection on which nothing runs. A writing statement
 * also waits until no other one runs: the gate of the file lets only one of them through anyhow, and the connections
 * that would stand in front of it can serve readers meanwhile. Statements are not spread over the connections ahead
 * of time, since one that stands behind a long scan would wait for it while another connection has nothing to do.
 *
 * On a database in memory a statement waits for all writes asked before it, and a write for all statements asked
 * before it: readers and a writer lock each other out there, and this way nobody meets a lock (and a statement may be
 * asked for before the table that it reads has been made).
 *
 * lli_pool_serve() is called whenever something may have become possible: somebody came, a connection came to rest, was
 * opened, reset or closed. It chooses one step under the pool's mutex and does it without, until there is none.
 * Connections are chosen lowest first: that keeps few of them warm, and lets the others become idle.
 *
 * There is no timer of the pool's own. What is due (a connection that is idle for too long) is found when it is used
 * the next time; a deadline of somebody in line is his request's, and the engine's. */
#include "service/pool.h"

#include "engine/engine.h"
#include "platform/clock.h"

#include <stdio.h>

enum what {
    NOTHING,
    GIVE,   /* a lease to a request */
    SUBMIT, /* a statement to a connection */
    REFUSE, /* the pool closes */
    CLOSED, /* ... and has closed */
    OPEN,
    LOOK,
    CLOSE,
    CHECKPOINT
};

struct step {
    enum what what;
    struct lli_slot *slot;
    ll_request *request; /* with the line's reference */
};

static ll_request *leave_line(ll_pool *pool, ll_request *request)
{
    lli_list_remove(&request->queue_node);
    atomic_fetch_sub_explicit(&pool->waiting, 1, memory_order_acq_rel);
    return request;
}

static uint64_t first_ticket(const ll_pool *pool, enum lli_line line)
{
    const ll_request *first = lli_line_first(pool, line);
    return first ? lli_waiter_of(first)->ticket : UINT64_MAX;
}

/* Whether a statement of this kind runs on a connection that nobody has leased, or is about to. */
static bool runs(const ll_pool *pool, enum lli_line kind)
{
    for (unsigned i = 0; i < pool->options.max_size; i++) {
        const struct lli_slot *slot = &pool->slots[i];
        if (slot->state == LLI_SLOT_FREE && slot->serves == kind && !lli_slot_is_idle(slot))
            return true;
    }
    return false;
}

/* Whether the next one that came with this ticket may go, as far as the others are concerned. */
static bool may_go(const ll_pool *pool, enum lli_line line, uint64_t ticket)
{
    if (line == LLI_LINE_ACQUIRE)
        return true;
    if (pool->memory_key == 0)
        return line == LLI_LINE_READ || !runs(pool, LLI_LINE_WRITE);
    if (line == LLI_LINE_READ)
        return !runs(pool, LLI_LINE_WRITE) && first_ticket(pool, LLI_LINE_WRITE) > ticket;
    return !runs(pool, LLI_LINE_WRITE) && !runs(pool, LLI_LINE_READ) &&
           first_ticket(pool, LLI_LINE_READ) > ticket;
}

/* The one that has waited longest of those that may go. */
static ll_request *next_in_line(const ll_pool *pool)
{
    ll_request *next = NULL;
    for (int line = 0; line < LLI_LINES; line++) {
        ll_request *first = lli_line_first(pool, (enum lli_line)line);
        if (!first)
            continue;
        uint64_t ticket = lli_waiter_of(first)->ticket;
        if ((!next || ticket < lli_waiter_of(next)->ticket) &&
            may_go(pool, (enum lli_line)line, ticket))
            next = first;
    }
    return next;
}

static unsigned count_state(const ll_pool *pool, enum lli_slot_state state)
{
    unsigned count = 0;
    for (unsigned i = 0; i < pool->options.max_size; i++)
        count += pool->slots[i].state == state;
    return count;
}

static struct lli_slot *find(const ll_pool *pool, enum lli_slot_state state)
{
    for (unsigned i = 0; i < pool->options.max_size; i++)
        if (pool->slots[i].state == state)
            return &pool->slots[i];
    return NULL;
}

/* The first one on which nothing runs; if there is a choice, one that need not be looked at. */
static struct lli_slot *find_idle(const ll_pool *pool, uint64_t now)
{
    struct lli_slot *stale = NULL;
    for (unsigned i = 0; i < pool->options.max_size; i++) {
        struct lli_slot *slot = &pool->slots[i];
        if (!lli_slot_is_idle(slot) || slot->suspect)
            continue;
        if (!lli_slot_needs_look(slot, now))
            return slot;
        stale = stale ? stale : slot;
    }
    return stale;
}

struct lli_slot *lli_pool_pick(ll_pool *pool, enum lli_line line, uint64_t now_ns)
{
    if (lli_line_first(pool, LLI_LINE_ACQUIRE) || lli_line_first(pool, LLI_LINE_READ) ||
        (line == LLI_LINE_WRITE && lli_line_first(pool, LLI_LINE_WRITE)))
        return NULL;
    if (!may_go(pool, line, UINT64_MAX - 1))
        return NULL;
    struct lli_slot *slot = find_idle(pool, now_ns);
    return slot && !lli_slot_needs_look(slot, now_ns) ? slot : NULL;
}

/* What a pool that closes has to do. */
static bool choose_closing(ll_pool *pool, struct step *step)
{
    for (int line = 0; line < LLI_LINES; line++) {
        ll_request *first = lli_line_first(pool, (enum lli_line)line);
        if (first) {
            *step = (struct step){REFUSE, NULL, leave_line(pool, first)};
            return true;
        }
    }
    unsigned empty = 0;
    for (unsigned i = 0; i < pool->options.max_size; i++) {
        struct lli_slot *slot = &pool->slots[i];
        empty += slot->state == LLI_SLOT_EMPTY;
        if (slot->state == LLI_SLOT_FREE && slot->users == 0) {
            lli_slot_move(slot, LLI_SLOT_CLOSING);
            *step = (struct step){CLOSE, slot, NULL};
            return true;
        }
    }
    if (lli_slot_is_idle(&pool->scribe)) { /* nothing stands in its line */
        lli_slot_move(&pool->scribe, LLI_SLOT_CLOSING);
        *step = (struct step){CLOSE, &pool->scribe, NULL};
        return true;
    }
    if (empty < pool->options.max_size || pool->scribe.state != LLI_SLOT_EMPTY)
        return false;
    if (pool->keeper.state == LLI_SLOT_FREE && !pool->checkpointing) {
        lli_slot_move(&pool->keeper, LLI_SLOT_CLOSING);
        *step = (struct step){CLOSE, &pool->keeper, NULL};
        return true;
    }
    struct lli_node *closer = pool->keeper.state == LLI_SLOT_EMPTY ? lli_list_pop(&pool->closers)
                                                                   : NULL;
    if (closer)
        *step = (struct step){CLOSED, NULL, LLI_CONTAINER_OF(closer, ll_request, queue_node)};
    return closer != NULL;
}

static bool choose_suspect(ll_pool *pool, struct step *step)
{
    for (unsigned i = 0; i < pool->options.max_size; i++) {
        struct lli_slot *slot = &pool->slots[i];
        if (slot->suspect && lli_slot_is_idle(slot)) {
            lli_slot_move(slot, LLI_SLOT_CLOSING);
            pool->stats.retired++;
            *step = (struct step){CLOSE, slot, NULL};
            return true;
        }
    }
    return false;
}

/* Whether some connection will be free before anything else: it is being opened, or only looked at, or a thread has not
 * yet said that it has submitted a statement which is done by now. */
static bool is_one_coming(const ll_pool *pool)
{
    for (unsigned i = 0; i < pool->options.max_size; i++) {
        const struct lli_slot *slot = &pool->slots[i];
        if (slot->state == LLI_SLOT_OPENING || (slot->state == LLI_SLOT_RESETTING && slot->look) ||
            (slot->state == LLI_SLOT_FREE && slot->users > 0 &&
             atomic_load_explicit(&slot->conn->tenant.resting, memory_order_relaxed)))
            return true;
    }
    return false;
}

static bool choose_from_line(ll_pool *pool, uint64_t now, struct step *step)
{
    ll_request *next = next_in_line(pool);
    struct lli_slot *slot = next ? find_idle(pool, now) : NULL;
    if (!slot)
        return false;
    if (lli_slot_needs_look(slot, now)) {
        if (is_one_coming(pool))
            return false;
        lli_slot_move(slot, LLI_SLOT_RESETTING);
        slot->look = true;
        *step = (struct step){LOOK, slot, NULL};
        return true;
    }
    struct lli_waiter *waiter = lli_waiter_of(leave_line(pool, next));
    if (waiter->line == LLI_LINE_ACQUIRE) {
        lli_slot_lease(slot, waiter->lease, now);
        *step = (struct step){GIVE, slot, next};
        return true;
    }
    lli_slot_share(slot, waiter->line, now);
    next->conn = lli_conn_ref(
        slot->conn); /* (the anchor's reference is given back behind the lock) */
    next->deadline_ns = waiter->deadline_ns;
    if (next->flags & LLI_SUBMIT_BREAKS)
        next->deadline_ns = lli_deadline_from(now, pool->options.operation_timeout_ns);
    *step = (struct step){SUBMIT, slot, next};
    return true;
}

/* Opens for those who wait and could go, and up to min_size. */
static bool choose_opening(ll_pool *pool, struct step *step)
{
    unsigned size = pool->options.max_size - count_state(pool, LLI_SLOT_EMPTY);
    /* One that may go and was not given a connection wants one; with one on its way it is enough for now. */
    bool wanted = next_in_line(pool) && !is_one_coming(pool);
    bool fill = size < pool->options.min_size && pool->keep_trying;
    bool keeper = pool->memory_key != 0 && pool->keeper.state != LLI_SLOT_FREE;
    if (!(wanted || fill) || size == pool->options.max_size)
        return false;
    if (keeper && pool->keeper.state != LLI_SLOT_EMPTY)
        return false; /* first the one that keeps the database */
    struct lli_slot *slot = keeper ? &pool->keeper : find(pool, LLI_SLOT_EMPTY);
    lli_slot_move(slot, LLI_SLOT_OPENING);
    *step = (struct step){OPEN, slot, NULL};
    return true;
}

static bool choose_expired(ll_pool *pool, uint64_t now, struct step *step)
{
    uint64_t timeout = pool->options.idle_timeout_ns;
    unsigned size = pool->options.max_size - count_state(pool, LLI_SLOT_EMPTY);
    if (timeout == LL_POOL_NEVER)
        return false;
    for (unsigned i = pool->options.max_size; i-- > 0 && size > pool->options.min_size;) {
        struct lli_slot *slot = &pool->slots[i];
        if (lli_slot_is_idle(slot) && now - slot->used_ns >= timeout) {
            lli_slot_move(slot, LLI_SLOT_CLOSING);
            pool->stats.expired++;
            *step = (struct step){CLOSE, slot, NULL};
            return true;
        }
    }
    return false;
}

static bool choose_checkpoint(ll_pool *pool, struct step *step)
{
    if (pool->checkpointing || !atomic_load_explicit(&pool->wal_grew, memory_order_relaxed))
        return false;
    if (pool->keeper.state == LLI_SLOT_EMPTY) {
        lli_slot_move(&pool->keeper, LLI_SLOT_OPENING);
        *step = (struct step){OPEN, &pool->keeper, NULL};
        return true;
    }
    if (pool->keeper.state != LLI_SLOT_FREE)
        return false;
    atomic_store_explicit(&pool->wal_grew, false, memory_order_relaxed);
    pool->checkpointing = true;
    *step = (struct step){CHECKPOINT, &pool->keeper, NULL};
    return true;
}

/* The connection of the writer: opened, looked at, and closed as the others, but always beside them: while it is not
 * there, writes go the ordinary way. */
static bool choose_scribe(ll_pool *pool, uint64_t now, struct step *step)
{
    struct lli_slot *scribe = &pool->scribe;
    if (scribe->state == LLI_SLOT_EMPTY && pool->scribe_wanted) {
        lli_slot_move(scribe, LLI_SLOT_OPENING);
        *step = (struct step){OPEN, scribe, NULL};
        return true;
    }
    if (!lli_slot_is_idle(scribe))
        return false;
    if (scribe->suspect) {
        lli_slot_move(scribe, LLI_SLOT_CLOSING);
        pool->stats.retired++;
        *step = (struct step){CLOSE, scribe, NULL};
        return true;
    }
    if (!pool->scribe_wanted || !lli_slot_needs_look(scribe, now))
        return false;
    lli_slot_move(scribe, LLI_SLOT_RESETTING);
    scribe->look = true;
    *step = (struct step){LOOK, scribe, NULL};
    return true;
}

static struct step choose(ll_pool *pool, uint64_t now)
{
    struct step step = {NOTHING, NULL, NULL};
    /* (A pool that closes waits for its connections to rest.) */
    atomic_store_explicit(&pool->wanted, pool->closing, memory_order_relaxed);
    if (pool->closing)
        (void)choose_closing(pool, &step);
    else
        (void)(choose_suspect(pool, &step) || choose_from_line(pool, now, &step) ||
               choose_scribe(pool, now, &step) || choose_opening(pool, &step) ||
               choose_expired(pool, now, &step) || choose_checkpoint(pool, &step));
    return step;
}

static void finish(ll_request *request, ll_status status, const char *text)
{
    if (lli_request_claim(request)) {
        if (status < 0)
            lli_error_set(&request->error, status, "%s", text);
        request->outcome = status < 0 ? LL_NOT_APPLIED : LL_APPLIED;
        lli_request_finish(request);
    }
    ll_request_unref(request);
}

static void submit(ll_pool *pool, struct lli_slot *slot, ll_request *request)
{
    lli_conn_unref(pool->anchor);
    lli_engine_move_deadline(request->engine, request, request->deadline_ns);
    lli_conn_enqueue_waited(slot->conn, request);
    lli_lock(&pool->mu);
    slot->users--;
    lli_unlock(&pool->mu);
    ll_request_unref(request);
}

static void make(ll_pool *pool, struct step *step)
{
    switch (step->what) {
    case NOTHING:
        return;
    case GIVE:
        finish(step->request, LL_OK, NULL);
        return;
    case SUBMIT:
        submit(pool, step->slot, step->request);
        return;
    case REFUSE:
        finish(step->request, LL_ECLOSED, "the pool is closed");
        return;
    case CLOSED:
        finish(step->request, LL_OK, NULL);
        return;
    case OPEN:
        lli_slot_open(step->slot);
        return;
    case LOOK:
        lli_slot_reset(step->slot);
        return;
    case CLOSE:
        lli_slot_close(step->slot);
        return;
    case CHECKPOINT:
        lli_slot_checkpoint(step->slot);
        return;
    }
}

void lli_pool_serve(ll_pool *pool)
{
    struct step step;
    lli_pool_ref(pool);
    do {
        uint64_t now = lli_now_ns();
        lli_lock(&pool->mu);
        step = choose(pool, now);
        lli_unlock(&pool->mu);
        make(pool, &step);
    } while (step.what != NOTHING);
    lli_pool_unref(pool);
}

/* Calls workers again for what was left when no thread could be started. */
static void kick(ll_pool *pool)
{
    for (unsigned i = 0; i < pool->options.max_size + 2; i++) {
        struct lli_slot *slot = i < pool->options.max_size  ? &pool->slots[i]
                              : i == pool->options.max_size ? &pool->keeper
                                                            : &pool->scribe;
        lli_lock(&pool->mu);
        bool chore = slot->conn && slot->state != LLI_SLOT_FREE && slot->state != LLI_SLOT_LEASED;
        ll_conn *conn = chore ? lli_conn_ref(slot->conn) : NULL;
        lli_unlock(&pool->mu);
        if (conn) {
            lli_conn_kick(conn);
            lli_conn_unref(conn);
        }
    }
}

ll_status lli_pool_wait(ll_pool *pool, ll_request *request, ll_request **ret_request)
{
    struct lli_waiter *waiter = lli_waiter_of(request);
    ll_status status = lli_engine_add(request->engine, request);
    if (status == LL_OK) {
        lli_lock(&pool->mu);
        if (pool->closing) {
            status = LL_ECLOSED;
        } else {
            lli_request_enqueued(request);
            ll_request_ref(request);
            waiter->ticket = ++pool->ticket;
            lli_list_push(&pool->lines[waiter->line], &request->queue_node);
            atomic_fetch_add_explicit(&pool->waiting, 1, memory_order_acq_rel);
        }
        lli_unlock(&pool->mu);
        if (status != LL_OK) {
            lli_engine_remove(request->engine, request);
            (void)lli_refuse(status, "the pool is closed");
        }
    }
    if (status != LL_OK) {
        ll_request_unref(request);
        return status;
    }
    unsigned stop = atomic_load_explicit(&request->stop, memory_order_relaxed);
    if (stop != LLI_STOP_NONE) /* its deadline passed before it stood in line */
        lli_request_stop(request, (enum lli_stop)stop);
    lli_pool_serve(pool);
    kick(pool);
    if (ret_request)
        *ret_request = request;
    else
        ll_request_unref(request);
    return LL_PENDING;
}

/* ---- the end of waiting ---- */

static bool all_leased(const ll_pool *pool)
{
    return count_state(pool, LLI_SLOT_LEASED) == pool->options.max_size;
}

/* A statement that waited for as long as one waits for a connection, while others were served: it goes on waiting, as
 * it is not the pool that is exhausted. */
static bool goes_on(ll_pool *pool, ll_request *request, uint64_t now)
{
    const struct lli_waiter *waiter = lli_waiter_of(request);
    if (waiter->line == LLI_LINE_ACQUIRE || now >= waiter->deadline_ns || all_leased(pool))
        return false;
    unsigned expired = LLI_STOP_DEADLINE;
    return atomic_compare_exchange_strong_explicit(&request->stop, &expired, LLI_STOP_NONE,
                                                   memory_order_relaxed, memory_order_relaxed);
}

static bool stop_waiting(ll_request *request, enum lli_stop why)
{
    ll_pool *pool = request->waits_for;
    char text[512] = "";
    uint64_t now = lli_now_ns(), again = 0;
    lli_lock(&pool->mu);
    bool waits = request->conn == pool->anchor && lli_node_linked(&request->queue_node);
    const struct lli_waiter *waiter = lli_waiter_of(request);
    bool own_deadline = now >= waiter->deadline_ns && waiter->line != LLI_LINE_ACQUIRE;
    if (waits && why == LLI_STOP_DEADLINE && goes_on(pool, request, now)) {
        again = lli_deadline_from(now, pool->options.connect_timeout_ns);
        again = again < waiter->deadline_ns ? again : waiter->deadline_ns;
    } else if (waits) {
        leave_line(pool, request);
        if (why == LLI_STOP_DEADLINE && !own_deadline) {
            pool->stats.exhausted++;
            lli_pool_describe(pool, now, text, sizeof text);
        }
    }
    lli_unlock(&pool->mu);
    if (again > 0) {
        lli_engine_move_deadline(request->engine, request, again);
        return true;
    }
    if (!waits)
        return request->op == LLI_OP_WAIT; /* it was given its lease, or will be told */
    if (lli_request_claim(request)) {
        if (text[0])
            lli_error_set(&request->error, LL_EEXHAUSTED, "no connection after %.1f s: %s",
                          (double)(now - waiter->since_ns) / 1e9, text);
        lli_request_set_stopped(request, why, false);
        if (text[0])
            request->error.pub.sqlite_code = 0;
        lli_request_finish(request);
    }
    ll_request_unref(request);
    return true;
}

/* The last reference: what nobody took goes back. */
static void acquire_gone(ll_request *request)
{
    ll_pool *pool = request->waits_for;
    struct lli_waiter *waiter = lli_waiter_of(request);
    if (waiter->lease)
        (void)ll_pool_release(waiter->lease, NULL, NULL);
    lli_pool_unref(pool);
}

static void exec_gone(ll_request *request)
{
    lli_pool_unref(request->waits_for);
}

const struct lli_wait_ops lli_pool_acquire_ops = {stop_waiting, acquire_gone};
const struct lli_wait_ops lli_pool_exec_ops = {stop_waiting, exec_gone};
