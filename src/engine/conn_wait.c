/* conn_wait.c: what a connection with work waits for, if not for a worker: a lock, a gate, or its loop; and what
 * ends the wait. The drawing is in conn.c.
 *
 * Parking: the timer is armed before the mode becomes PARKED. A wake-up that comes between the two finds the
 * connection OWNED and leaves `unpark_pending`; the owner sees it when it wants to park and goes on.
 *
 * A turn in a shared cache is waited for as long as it takes, as SQLite would wait in the cache's mutex: for one
 * statement of another connection, or one batch of its rows. It is held while a request runs, and never while the
 * connection is parked; who holds it waits for no gate. A request that was stopped does not stand in line: it has
 * to end now, and if that takes SQLite (half a script is to be rolled back) it waits in the mutex, on its worker.
 * So does the opening of a connection, which cannot know yet whose cache it will share.
 *
 * Waiting for the loop has no timer of its own here: which loop, and for how long, is delay.c's. Everybody may
 * end it by moving the connection to READY; the loop finds that out when it comes. */
#include "engine/conn.h"

#include "platform/clock.h"

bool lli_conn_park(ll_conn *conn, ll_request *request, uint64_t span_ns)
{
    lli_crew_park(conn->crew, conn, lli_deadline_after(span_ns));
    lli_lock(&conn->mu);
    conn->current = NULL;
    lli_request_park(request);
    lli_list_push_front(&conn->queue, &request->queue_node);
    bool go_on = conn->unpark_pending || (conn->asking > 0 && lli_own_may_lend(request)) ||
                 atomic_load_explicit(&request->stop, memory_order_relaxed) != LLI_STOP_NONE;
    if (!go_on)
        lli_conn_set_mode(conn, LLI_CONN_PARKED);
    lli_unlock(&conn->mu);
    return go_on;
}

void lli_conn_pass_gate(ll_conn *conn)
{
    if (conn->seat.asked && lli_sq.txn_state(conn->db.handle, NULL) != SQLITE_TXN_WRITE)
        lli_gate_give_back(&conn->seat);
}

bool lli_conn_take_turn(ll_conn *conn, const ll_request *request)
{
    uint64_t again;
    if (atomic_load_explicit(&request->stop, memory_order_relaxed) != LLI_STOP_NONE)
        return true;
    bool first = !conn->turns.asked;
    if (lli_gate_enter(&conn->turns, lli_now_ns(), &again))
        return true;
    if (first)
        atomic_fetch_add_explicit(&conn->crew->stats.cache_waits, 1, memory_order_relaxed);
    return false;
}

bool lli_conn_resume(ll_conn *conn)
{
    lli_lock(&conn->mu);
    bool mine = conn->mode == LLI_CONN_DELAYED;
    if (mine)
        lli_conn_set_mode(conn, LLI_CONN_OWNED);
    lli_unlock(&conn->mu);
    return mine;
}

bool lli_conn_put_back(ll_conn *conn, ll_request *request, bool delay)
{
    lli_lock(&conn->mu);
    conn->current = NULL;
    bool waits = delay && !conn->needs_worker && conn->asking == 0;
    if (request) {
        waits = waits && lli_list_empty(&conn->queue);
        lli_request_requeue(request);
        lli_list_push_front(&conn->queue, &request->queue_node);
    }
    lli_conn_set_mode(conn, waits ? LLI_CONN_DELAYED : LLI_CONN_READY);
    lli_unlock(&conn->mu);
    if (!waits)
        lli_conn_call_worker(conn, false);
    return waits;
}

void lli_conn_pass_on(ll_conn *conn, ll_request *request, bool begun)
{
    lli_lock(&conn->mu);
    conn->current = NULL;
    if (begun)
        lli_request_park(request);
    else
        lli_request_requeue(request);
    lli_list_push_front(&conn->queue, &request->queue_node);
    lli_conn_set_mode(conn, LLI_CONN_READY);
    lli_unlock(&conn->mu);
    lli_conn_call_worker(conn, false);
}

void lli_conn_queue_again(ll_conn *conn, ll_request *request)
{
    lli_lock(&conn->mu);
    lli_request_requeue(request);
    lli_list_push(&conn->queue, &request->queue_node);
    conn->needs_worker = true;
    lli_unlock(&conn->mu);
}

bool lli_conn_is_closing(ll_conn *conn)
{
    lli_lock(&conn->mu);
    bool closing = conn->closing;
    lli_unlock(&conn->mu);
    return closing;
}

void lli_conn_release(ll_conn *conn)
{
    lli_lock(&conn->mu);
    bool delayed = conn->mode == LLI_CONN_DELAYED;
    if (delayed)
        lli_conn_set_mode(conn, LLI_CONN_READY);
    lli_unlock(&conn->mu);
    if (delayed)
        lli_conn_call_worker(conn, false);
}

void lli_conn_unpark(ll_conn *conn)
{
    lli_lock(&conn->mu);
    bool parked = conn->mode == LLI_CONN_PARKED;
    if (parked)
        lli_conn_set_mode(conn, LLI_CONN_READY);
    else
        conn->unpark_pending = true;
    lli_cond_broadcast(&conn->poked);
    lli_unlock(&conn->mu);
    if (parked)
        lli_conn_call_worker(conn, true);
}

void lli_conn_stop_current(ll_conn *conn, enum lli_stop why)
{
    lli_lock(&conn->mu);
    if (conn->current)
        atomic_store_explicit(&conn->current->stop, why, memory_order_relaxed);
    /* A statement that waits for a lock counts as running; also when the wait is over and no worker has come yet. */
    struct lli_node *front = lli_list_first(&conn->queue);
    ll_request *waits = front ? LLI_CONTAINER_OF(front, ll_request, queue_node) : NULL;
    bool parked = waits && lli_request_is_parked(waits);
    if (parked)
        atomic_store_explicit(&waits->stop, why, memory_order_relaxed);
    ll_request *missed = NULL; /* ... and so does one that was begun and waits for a page */
    if (conn->mode == LLI_CONN_DELAYED) {
        struct lli_node *first = lli_list_first(&conn->queue);
        ll_request *waiting = LLI_CONTAINER_OF(first, ll_request, queue_node);
        if (waiting->missed > 0)
            missed = ll_request_ref(waiting);
    }
    bool wake = parked || conn->current;
    if (conn->current && conn->current->writer) /* ... or for its turn to be written */
        missed = ll_request_ref(conn->current);
    lli_unlock(&conn->mu);
    if (wake)
        lli_conn_unpark(conn);
    if (missed) {
        lli_request_stop(missed, why);
        ll_request_unref(missed);
    }
}
