/* pool_slot.c: one place of a pool, and the connection in it.
 *
 *              open                  lease
 *     EMPTY --------> OPENING -----> FREE <-------> LEASED
 *       ^                |            | ^  release    |
 *       |    it fails    |      look, | |             | release, if there is something to undo
 *       +----------------+            v |             v
 *       |                           RESETTING <-------+
 *       |   closed                    |
 *       +--------------- CLOSING <----+ unfit
 *                           ^
 *                           +--- FREE: idle for too long, suspect, or the pool closes
 *
 * OPENING, RESETTING and CLOSING are work for a worker. Each is a request in the queue of the connection itself, so
 * it comes behind whatever was submitted there before, and it lies inside the slot, so it needs no memory: a lease
 * can always be given back. What it found is looked at by `end`, when the connection has been let go.
 *
 * The connection refers to the pool (struct lli_tenant), since it tells it when it has nothing to do; the pool lets
 * go of the connection when it is closed, so the two are never a circle for long. */
#include "service/pool.h"

#include "base/alloc.h"
#include "base/sm.h"
#include "engine/run.h"
#include "platform/clock.h"
#include "service/conn.h"

#include <stdio.h>
#include <string.h>

static const char *const state_names[] = {"EMPTY",  "OPENING",   "FREE",
                                          "LEASED", "RESETTING", "CLOSING"};
static const uint32_t state_moves[LLI_SLOT_STATES] = {
    [LLI_SLOT_EMPTY] = LLI_SM_TO(LLI_SLOT_OPENING),
    [LLI_SLOT_OPENING] = LLI_SM_TO(LLI_SLOT_FREE) | LLI_SM_TO(LLI_SLOT_EMPTY),
    [LLI_SLOT_FREE] = LLI_SM_TO(LLI_SLOT_LEASED) | LLI_SM_TO(LLI_SLOT_RESETTING) |
                      LLI_SM_TO(LLI_SLOT_CLOSING),
    [LLI_SLOT_LEASED] = LLI_SM_TO(LLI_SLOT_FREE) | LLI_SM_TO(LLI_SLOT_RESETTING),
    [LLI_SLOT_RESETTING] = LLI_SM_TO(LLI_SLOT_FREE) | LLI_SM_TO(LLI_SLOT_CLOSING),
    [LLI_SLOT_CLOSING] = LLI_SM_TO(LLI_SLOT_EMPTY),
};
static const struct lli_sm machine = {"slot", state_names, state_moves, LLI_SLOT_STATES};

void lli_slot_move(struct lli_slot *slot, enum lli_slot_state state)
{
    slot->state = (enum lli_slot_state)lli_sm_move(&machine, slot, slot->state, state);
}

bool lli_slot_needs_look(const struct lli_slot *slot, uint64_t now_ns)
{
    uint64_t interval = slot->pool->options.health_interval_ns;
    return !slot->fresh && interval != LL_POOL_NEVER && now_ns - slot->looked_ns >= interval;
}

void lli_slot_share(struct lli_slot *slot, enum lli_line line, uint64_t now_ns)
{
    slot->users++;
    slot->serves = line;
    slot->used_ns = now_ns;
    slot->fresh = false;
    slot->pool->stats.executed++;
}

void lli_slot_lease(struct lli_slot *slot, ll_lease *lease, uint64_t now_ns)
{
    lli_slot_move(slot, LLI_SLOT_LEASED);
    slot->lease = lease;
    slot->used_ns = now_ns;
    slot->fresh = false;
    lease->pool = lli_pool_ref(slot->pool);
    lease->slot = slot;
    lease->conn = slot->conn;
    lease->since_ns = now_ns;
    slot->pool->stats.acquired++;
}

/* ---- what a connection tells ---- */

static void want(ll_pool *pool)
{
    atomic_store_explicit(&pool->wanted, true, memory_order_relaxed);
}

static void on_wal_grew(void *arg, uint32_t frames)
{
    ll_pool *pool = ((struct lli_slot *)arg)->pool;
    uint32_t due = atomic_load_explicit(&pool->wal_due, memory_order_relaxed);
    if (due > 0 && frames < due && frames > due / 2)
        return; /* the last one was in somebody's way: not before there is more */
    atomic_store_explicit(&pool->wal_grew, true, memory_order_relaxed);
    want(pool);
}

static void on_broken(void *arg, ll_conn *conn)
{
    struct lli_slot *slot = arg;
    lli_lock(&slot->pool->mu);
    if (slot->conn == conn)
        slot->suspect = true;
    lli_unlock(&slot->pool->mu);
    want(slot->pool);
}

/* The connection is let go (`resting` is set) before this looks at `waiting`; who comes to wait counts himself there
 * and looks at the connections afterwards. Both change `waiting`, one after the other: whoever is second sees what the
 * first one did before. */
static void on_rested(void *arg)
{
    ll_pool *pool = ((struct lli_slot *)arg)->pool;
    if (atomic_fetch_add_explicit(&pool->waiting, 0, memory_order_acq_rel) > 0 ||
        atomic_load_explicit(&pool->wanted, memory_order_relaxed))
        lli_pool_serve(pool);
}

static void on_gone(void *arg)
{
    lli_pool_unref(((struct lli_slot *)arg)->pool);
}

static const struct lli_landlord landlord = {on_wal_grew, on_broken, on_rested, on_gone};

/* ---- chores ---- */

static struct lli_slot *slot_of(ll_request *chore)
{
    return LLI_CONTAINER_OF(chore, struct lli_slot, chore);
}

/* The connection's queue gets it. (Internal requests are always taken; without any thread they wait for a kick.) */
static void begin(struct lli_slot *slot, ll_conn *conn,
                  int (*run)(ll_conn *, ll_request *, uint64_t *),
                  void (*end)(ll_conn *, ll_request *))
{
    lli_error_done(&slot->chore.error);
    memset(&slot->chore, 0, sizeof slot->chore);
    lli_request_init_internal(&slot->chore, conn, LLI_OP_CHORE);
    slot->chore.in.chore.run = run;
    slot->chore.in.chore.end = end;
    ll_status status = lli_conn_enqueue(conn, &slot->chore);
    assert(status == LL_OK);
    (void)status;
}

/* Under mu: a connection cannot be opened. The one that has waited longest is to be told, and leaves its line; NULL:
 * nobody waits. In the same step as the slot becomes EMPTY, or another one would be opened for him meanwhile. */
static ll_request *note_open_failure(ll_pool *pool, const struct lli_slot *slot)
{
    ll_request *oldest = NULL;
    pool->stats.open_failures++;
    if (lli_slot_is_own(slot) && pool->memory_key == 0) {
        /* Nobody waits for it: not before somebody writes again. */
        atomic_store_explicit(&pool->wal_grew, false, memory_order_relaxed);
        pool->scribe_wanted = false;
        return NULL;
    }
    pool->keep_trying = false;
    for (int line = 0; line < LLI_LINES; line++) {
        ll_request *first = lli_line_first(pool, (enum lli_line)line);
        if (first && (!oldest || lli_waiter_of(first)->ticket < lli_waiter_of(oldest)->ticket))
            oldest = first;
    }
    if (oldest) {
        lli_list_remove(&oldest->queue_node);
        atomic_fetch_sub_explicit(&pool->waiting, 1, memory_order_acq_rel);
    }
    return oldest;
}

static void tell_open_failure(ll_request *request, const struct lli_error *error)
{
    if (!request)
        return;
    if (lli_request_claim(request)) {
        lli_error_set(&request->error, error->pub.status, "%s", error->pub.message);
        request->error.pub.sqlite_code = error->pub.sqlite_code;
        request->error.pub.sys_errno = error->pub.sys_errno;
        request->outcome = LL_NOT_APPLIED;
        lli_request_finish(request);
    }
    ll_request_unref(request);
}

static void end_open(ll_conn *conn, ll_request *chore)
{
    struct lli_slot *slot = slot_of(chore);
    ll_pool *pool = lli_pool_ref(slot->pool);
    struct lli_error error = {0};
    bool open = chore->error.pub.status == LL_OK;
    lli_error_move(&error, &chore->error);
    ll_writer *writer = NULL;
    if (open &&
        slot == &pool->scribe) /* without memory there is none, and writes go the ordinary way */
        (void)lli_group_new(conn, &pool->options.group, &writer);
    lli_lock(&pool->mu);
    if (writer)
        pool->writer = writer;
    lli_slot_move(slot, open ? LLI_SLOT_FREE : LLI_SLOT_EMPTY);
    slot->used_ns = slot->looked_ns = lli_now_ns();
    slot->fresh = true;
    slot->serves = LLI_LINE_READ;
    slot->suspect = false;
    if (open && !lli_slot_is_own(slot))
        pool->stats.opened++;
    ll_request *told = NULL;
    if (open) {
        pool->keep_trying = true;
    } else {
        slot->conn = NULL;
        told = note_open_failure(pool, slot);
    }
    lli_unlock(&pool->mu);
    if (!open)
        ll_conn_unref(conn);
    tell_open_failure(told, &error);
    lli_error_done(&error);
    lli_pool_serve(pool);
    lli_pool_unref(pool);
}

/* A connection as all of the pool are, not opened yet. */
static ll_status make_conn(struct lli_slot *slot, ll_conn **ret_conn)
{
    ll_pool *pool = slot->pool;
    ll_conn *conn;
    LL_TRY(lli_service_conn_new(pool->engine, pool->adopt.open ? NULL : pool->path,
                                &pool->options.open, &conn));
    if (pool->adopt.open) {
        conn->adopt = pool->adopt;
        conn->adopt.release = NULL; /* the pool's */
        conn->adopt.path = NULL;
    }
    struct lli_tenant *tenant = &conn->tenant;
    tenant->landlord = &landlord;
    tenant->arg = slot;
    lli_pool_ref(pool);
    tenant->memory_key = pool->memory_key;
    tenant->no_checkpoints = pool->memory_key == 0;
    if (slot != &pool->keeper) {
        tenant->pooled = slot != &pool->scribe;
        tenant->operation_timeout_ns = pool->options.operation_timeout_ns;
        tenant->wal_step = pool->checkpoints ? pool->options.checkpoint_frames : 0;
    }
    *ret_conn = conn;
    return LL_OK;
}

void lli_slot_open(struct lli_slot *slot)
{
    ll_pool *pool = slot->pool;
    ll_conn *conn = NULL;
    if (make_conn(slot, &conn) != LL_OK) {
        struct lli_error error = {0};
        lli_error_set(&error, LL_ENOMEM, "out of memory for a connection");
        lli_lock(&pool->mu);
        lli_slot_move(slot, LLI_SLOT_EMPTY);
        ll_request *told = note_open_failure(pool, slot);
        lli_unlock(&pool->mu);
        tell_open_failure(told, &error);
        lli_error_done(&error);
        return;
    }
    lli_lock(&pool->mu);
    slot->conn = conn;
    lli_unlock(&pool->mu);
    begin(slot, conn, lli_tenant_open, end_open);
}

static int run_reset(ll_conn *conn, ll_request *chore, uint64_t *ret_park_ns)
{
    struct lli_slot *slot = slot_of(chore);
    (void)ret_park_ns;
    lli_reset_run(conn, slot->look, &slot->reset);
    return LLI_RUN_DONE;
}

/* Tells who gave the lease back. */
static void tell_released(ll_request *request, const struct lli_reset *reset)
{
    struct lli_released *released = request->extra;
    if (lli_request_claim(request)) {
        released->reset = *reset;
        released->pub.rolled_back = reset->rolled_back || reset->was_aborted;
        released->pub.dropped_writes = reset->dropped_writes ||
                                       (reset->was_aborted && reset->wrote[0] != '\0');
        released->pub.undone = reset->undone;
        released->pub.retired = reset->unfit;
        released->pub.statements = reset->statements;
        released->pub.last_write = released->reset.wrote;
        released->pub.reason = released->reset.why;
        request->outcome = LL_APPLIED;
        lli_request_finish(request);
    }
    ll_request_unref(request);
}

static void end_reset(ll_conn *conn, ll_request *chore)
{
    struct lli_slot *slot = slot_of(chore);
    ll_pool *pool = lli_pool_ref(slot->pool);
    struct lli_reset reset = slot->reset;
    (void)conn;
    lli_lock(&pool->mu);
    ll_request *releasing = slot->releasing;
    slot->releasing = NULL;
    uint64_t now = lli_now_ns();
    if (slot->look) {
        slot->looked_ns = now;
        slot->fresh = true;
    } else {
        slot->used_ns = now;
    }
    slot->serves = LLI_LINE_READ;
    pool->stats.resets++;
    pool->stats.rolled_back += reset.rolled_back || reset.was_aborted;
    pool->stats.retired += reset.unfit;
    lli_slot_move(slot, reset.unfit ? LLI_SLOT_CLOSING : LLI_SLOT_FREE);
    if (!reset.unfit)
        slot->suspect = false;
    lli_unlock(&pool->mu);
    if (releasing)
        tell_released(releasing, &reset);
    if (reset.unfit)
        lli_slot_close(slot);
    lli_pool_serve(pool);
    lli_pool_unref(pool);
}

void lli_slot_reset(struct lli_slot *slot)
{
    begin(slot, slot->conn, run_reset, end_reset);
}

static int run_close(ll_conn *conn, ll_request *chore, uint64_t *ret_park_ns)
{
    (void)ret_park_ns;
    if (slot_of(chore)->closes)
        lli_run_close(conn, chore);
    return LLI_RUN_DONE;
}

static void end_close(ll_conn *conn, ll_request *chore)
{
    struct lli_slot *slot = slot_of(chore);
    ll_pool *pool = lli_pool_ref(slot->pool);
    lli_error_done(&chore->error); /* nobody asks for it */
    lli_lock(&pool->mu);
    lli_slot_move(slot, LLI_SLOT_EMPTY);
    slot->conn = NULL;
    slot->suspect = false;
    lli_unlock(&pool->mu);
    ll_conn_unref(conn);
    lli_pool_serve(pool);
    lli_pool_unref(pool);
}

/* Its numbers stay. Nobody has the writer but through a FREE slot. */
static void end_writer(ll_pool *pool)
{
    ll_writer_stats last, *sum = &pool->stats.group;
    lli_lock(&pool->mu);
    ll_writer *writer = pool->writer;
    pool->writer = NULL;
    ll_writer_get_stats(writer, &last);
    sum->batches += last.batches;
    sum->members += last.members;
    sum->alone += last.alone;
    sum->reruns += last.reruns;
    sum->largest = last.largest > sum->largest ? last.largest : sum->largest;
    lli_unlock(&pool->mu);
    ll_writer_free(writer);
}

void lli_slot_close(struct lli_slot *slot)
{
    if (slot == &slot->pool->scribe)
        end_writer(slot->pool);
    slot->closes = lli_conn_begin_close(slot->conn);
    begin(slot, slot->conn, run_close, end_close);
}

static int run_checkpoint(ll_conn *conn, ll_request *chore, uint64_t *ret_park_ns)
{
    return lli_checkpoint_run(conn, &slot_of(chore)->checkpoint, ret_park_ns);
}

static void end_checkpoint(ll_conn *conn, ll_request *chore)
{
    struct lli_slot *keeper = slot_of(chore);
    ll_pool *pool = lli_pool_ref(keeper->pool);
    const struct lli_checkpoint *made = &keeper->checkpoint;
    (void)conn;
    lli_lock(&pool->mu);
    pool->checkpointing = false;
    pool->stats.checkpoints += !made->none;
    pool->stats.checkpoints_blocked += !made->none && made->busy;
    pool->stats.wal_frames = made->frames;
    pool->stats.wal_filled = made->filled;
    /* One that somebody was in the way of is tried again when there is a quarter more. */
    uint32_t due = made->filled < made->frames
                     ? made->frames + pool->options.checkpoint_frames / 4 + 1
                     : 0;
    atomic_store_explicit(&pool->wal_due, due, memory_order_relaxed);
    lli_unlock(&pool->mu);
    lli_pool_serve(pool);
    lli_pool_unref(pool);
}

void lli_slot_checkpoint(struct lli_slot *keeper)
{
    keeper->checkpoint = (struct lli_checkpoint){.bound = keeper->pool->options.wal_bound_frames};
    begin(keeper, keeper->conn, run_checkpoint, end_checkpoint);
}
