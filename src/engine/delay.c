/* delay.c: connections that wait for their loop.
 *
 * Two things would run on the loop, but not now; a hop to a worker would cost 46 us in place of 3.
 *
 *   A page is missing. The kernel has begun to read it: preadv2(RWF_NOWAIT) starts reading ahead before it
 *   says EAGAIN ([M] Linux 6.18, ext4, 2 000 random pages of a cold file: the refused call took 17 us, the
 *   page was there after 48 us at the median, 99.6 % of them after 100 us, all after 150). So the connection
 *   waits for retry_ns on a timer of the engine, and the same request is tried again. ([M] 600 cold reads one
 *   after the other, from Python: 95 % of the retries hit whether after 100, 150 or 200 us, the rest missed
 *   the next level of the tree; a read took 190, 240 and 290 us. By way of a worker it took 150 us, and two
 *   threads, and five times the hops.) A second miss goes to a
 *   worker. So does a miss where that call does not start reading (mincore), and one with others queued
 *   behind it: a worker reads what they all need without a hop for each.
 *
 *   The turn is spent. The request, and what is asked of its connection behind it, waits for the next
 *   dispatch, for which the descriptor is made readable at once. A host that gives way by itself before it
 *   asks (ll_engine_options.host_turns) has done so already: there a worker gets it, as ever.
 *
 * What waits is the connection: DELAYED (conn.c), its requests QUEUED. So order is the queue's, and a
 * cancellation, a deadline and the end of the engine find a request that has not begun: they drop it on the
 * spot. Whoever queues what is not for this loop (another engine's, a close, a script) calls a worker at
 * once, who then runs all of it in order; nobody waits for a loop that does not come round.
 *
 * Dispatch serves the retries that are due, then the deferred connections, one request each in turn, until
 * the turn's time is spent. What does not fit stays, for MOST_TURNS at most: then the loop has more to do
 * than it has time, and workers take over.
 *
 * Misses are bounded: [M] a burst of them with nobody waiting stalls for 650 us now and then, where the
 * kernel's queue is full. After MOST_MISSES in a turn, files that can miss are for workers until it ends. And
 * retries have to pay: on a disk that takes milliseconds (or a kernel before 5.9, which does not start
 * reading) each would miss twice. `retry_trust` falls with each retry that missed again, and when none is
 * left the next PAUSE misses go to workers at once.
 *
 * Membership. `deferred`, `retries`, and a connection's fields for them belong to the loop; a connection is in
 * one of the two, of one engine (`delayer`), with a reference. Another thread that takes it away moves its
 * mode only, so what is found here may be stale: lli_conn_resume() tells. */
#include "engine/delay.h"

#include "engine/inline.h"
#include "platform/clock.h"

enum {
    MOST_MISSES = 8,
    MOST_TURNS = 4,
    FULL_TRUST = 16,
    LITTLE_TRUST = 4,
    COST_OF_A_SECOND_MISS = 2,
    PAUSE = 64
};
static const uint64_t retry_ns = LLI_MS / 10;

/* ---- membership ---- */

static bool is_member(const ll_conn *conn)
{
    return lli_node_linked(&conn->delay_node) || lli_timer_armed(&conn->retry);
}

/* Makes this engine the one that the connection waits for. False: it is another's. */
static bool claim(ll_engine *engine, ll_conn *conn)
{
    ll_engine *none = NULL;
    return atomic_compare_exchange_strong(&conn->delayer, &none, engine) || none == engine;
}

static void unclaim(ll_conn *conn)
{
    if (!is_member(conn))
        atomic_store(&conn->delayer, NULL);
}

/* Takes it out of wherever it is; a stale membership may be there still. True: it has its reference. */
static bool take_out(ll_engine *engine, ll_conn *conn)
{
    bool member = is_member(conn);
    if (lli_node_linked(&conn->delay_node))
        lli_list_remove(&conn->delay_node);
    lli_timer_disarm(&engine->retries, &conn->retry);
    return member;
}

static void put_in_line(ll_engine *engine, ll_conn *conn)
{
    if (!take_out(engine, conn))
        lli_conn_ref(conn);
    lli_list_push(&engine->deferred, &conn->delay_node);
}

static void arm(ll_engine *engine, ll_conn *conn)
{
    if (!take_out(engine, conn))
        lli_conn_ref(conn);
    uint64_t due = lli_deadline_after(retry_ns);
    lli_timer_arm(&engine->retries, &conn->retry, due);
    atomic_fetch_add_explicit(&engine->stats.retries, 1, memory_order_relaxed);
    lli_lock(&engine->mu);
    if (due < engine->pollset.timer_due)
        lli_pollset_set_timer(&engine->pollset, due);
    lli_unlock(&engine->mu);
}

/* Out of the lists already: it does not wait for us any more. */
static void leave(ll_conn *conn)
{
    unclaim(conn);
    lli_conn_unref(conn);
}

void lli_delay_init(ll_engine *engine)
{
    lli_list_init(&engine->deferred);
    engine->retry_trust = FULL_TRUST;
}

/* ---- in ---- */

bool lli_delay_may_defer(ll_conn *conn, const ll_request *request)
{
    ll_engine *engine = request->engine;
    return !engine->host_turns && engine->turn_used_ns >= engine->turn_ns && conn->can_inline &&
           conn->snapshot.open && !conn->needs_worker && claim(engine, conn);
}

void lli_delay_defer(ll_engine *engine, ll_conn *conn)
{
    bool first = lli_list_empty(&engine->deferred);
    conn->delayed_turn = engine->turn;
    put_in_line(engine, conn);
    if (first && !engine->dispatching)
        lli_pollset_wake(&engine->pollset);
}

bool lli_delay_may_miss(const ll_engine *engine, const ll_conn *conn)
{
    return engine->turn_misses < MOST_MISSES || conn->disk != LLI_DISK_NOWAIT;
}

bool lli_delay_may_retry(ll_engine *engine, ll_conn *conn, const ll_request *request)
{
    if (request->missed != 1 || conn->disk != LLI_DISK_NOWAIT)
        return false;
    if (engine->retry_pause > 0) {
        engine->retry_pause--;
        return false;
    }
    if (lli_timers_reserve(&engine->retries, engine->retries.count + 1) != LL_OK)
        return false;
    return claim(engine, conn);
}

void lli_delay_retry(ll_engine *engine, ll_conn *conn, bool does)
{
    if (does)
        arm(engine, conn);
    else if (atomic_load(&conn->delayer) == engine)
        unclaim(conn);
}

/* ---- out ---- */

static void judge_retry(ll_engine *engine, bool hit)
{
    if (hit) {
        atomic_fetch_add_explicit(&engine->stats.retry_hits, 1, memory_order_relaxed);
        engine->retry_trust += engine->retry_trust < FULL_TRUST;
        return;
    }
    engine->retry_trust -= COST_OF_A_SECOND_MISS;
    if (engine->retry_trust > 0)
        return;
    engine->retry_trust = LITTLE_TRUST;
    engine->retry_pause = PAUSE;
}

/* Runs one request of a connection that was taken out and is owned. */
static void serve(ll_engine *engine, ll_conn *conn)
{
    ll_request *request = lli_conn_next_here(conn, engine);
    if (!request) {
        leave(conn);
        return;
    }
    unsigned before = request->missed;
    enum lli_inline tried = lli_inline_try_owned(request);
    if (before > 0 && (tried == LLI_INLINE_DONE || request->missed > before))
        judge_retry(engine, tried == LLI_INLINE_DONE);
    if (tried == LLI_INLINE_DONE) {
        bool waits = lli_conn_complete(conn, request) && lli_conn_put_back(conn, NULL, true);
        if (waits)
            lli_list_push(&engine->deferred, &conn->delay_node);
        else
            leave(conn);
        return;
    }
    bool may = before == 0 && lli_delay_may_retry(engine, conn, request);
    if (lli_conn_put_back(conn, request, may)) {
        arm(engine, conn); /* takes a reference of its own */
        lli_conn_unref(conn);
    } else {
        leave(conn);
    }
}

/* The retries that are due stand in line before what was deferred. */
static void line_up(ll_engine *engine)
{
    struct lli_list line;
    struct lli_timer *timer;
    struct lli_node *node;
    lli_list_init(&line);
    uint64_t now = lli_now_ns();
    while ((timer = lli_timers_pop_due(&engine->retries, now)) != NULL) {
        ll_conn *conn = LLI_CONTAINER_OF(timer, ll_conn, retry);
        conn->delayed_turn = engine->turn;
        lli_list_push(&line, &conn->delay_node);
    }
    while ((node = lli_list_pop(&engine->deferred)) != NULL)
        lli_list_push(&line, node);
    while ((node = lli_list_pop(&line)) != NULL)
        lli_list_push(&engine->deferred, node);
}

/* The turn is spent: what has waited for several goes to workers. */
static void give_up_old(ll_engine *engine)
{
    struct lli_node *node = lli_list_first(&engine->deferred);
    while (node) {
        ll_conn *conn = LLI_CONTAINER_OF(node, ll_conn, delay_node);
        node = lli_list_next(&engine->deferred, node);
        if (engine->turn - conn->delayed_turn < MOST_TURNS)
            continue;
        lli_list_remove(&conn->delay_node);
        lli_conn_release(conn);
        leave(conn);
    }
}

void lli_delay_run(ll_engine *engine)
{
    if (engine->retries.count == 0 && lli_list_empty(&engine->deferred))
        return;
    line_up(engine);
    while (engine->turn_used_ns < engine->turn_ns) {
        struct lli_node *node = lli_list_pop(&engine->deferred);
        if (!node)
            return;
        ll_conn *conn = LLI_CONTAINER_OF(node, ll_conn, delay_node);
        if (lli_conn_resume(conn))
            serve(engine, conn);
        else
            leave(conn);
    }
    give_up_old(engine);
}

void lli_delay_announce(ll_engine *engine)
{
    if (!lli_list_empty(&engine->deferred))
        lli_pollset_wake(&engine->pollset);
}

uint64_t lli_delay_next(const ll_engine *engine)
{
    return lli_timers_next(&engine->retries);
}

void lli_delay_flush(ll_engine *engine)
{
    for (;;) {
        struct lli_timer *timer = lli_timers_pop_due(&engine->retries, LLI_NEVER);
        struct lli_node *node = timer ? NULL : lli_list_pop(&engine->deferred);
        if (!timer && !node)
            return;
        ll_conn *conn = timer ? LLI_CONTAINER_OF(timer, ll_conn, retry)
                              : LLI_CONTAINER_OF(node, ll_conn, delay_node);
        lli_conn_release(conn);
        leave(conn);
    }
}
