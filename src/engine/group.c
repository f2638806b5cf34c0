/* group.c: group commit: the line in front of a writer, and how connections go into it and come back.
 *
 * A durable commit costs an fsync, a millisecond or so, whatever is in it. So many small writes of many connections
 * ("homes") are carried out by one writer, on a connection of its own: BEGIN IMMEDIATE, the members one after the
 * other, COMMIT; only then is anybody answered (run_group.c).
 *
 *     home   IDLE --> OWNED by its member ------------------------------------------> IDLE
 *                        |                                                     ^
 *     line               +--> [ m1 m2 m3 ]                                     | answer
 *                                  | take                                      |
 *     writer       gate, BEGIN ----+--- m1 m2 m3 --- line empty: COMMIT -------+
 *                                            \
 *                                             +--> sent home: READY, its own worker runs it alone
 *
 * A statement may also have no home: it belongs to nobody's connection (a pool shares one between many sessions), so
 * many of one submitter stand in line at once. What of these cannot be grouped is run by the writer's connection as
 * an ordinary request, between two transactions, in its place in the line: `solo`.
 *
 * The home goes with its member. It stays OWNED from when the member joins the line until it is answered, dropped or
 * sent home, without a thread; whoever holds the member is its owner. So the order of a connection needs no rule of
 * its own: what is submitted behind waits in its queue, and finds the member's write committed. An idle home is taken
 * by the submission itself, and let go by the writer: it costs no hop. A busy one joins when its queue gets there, on
 * a worker, which also is where it is looked at for the first time (fit.c).
 *
 * Members stay in line until the transaction is open: whoever is cancelled, or has waited for as long as its home's
 * busy timeout says, is dropped on the spot. Taking one from the line and dropping it both happen under mu.
 *
 * When in doubt, home: whatever the writer cannot do exactly as the home would, or does not know, the home does
 * itself, as if it had never been here. That is a statement's only other way, so errors of preparing are always told
 * by the connection they belong to.
 *
 * A request's stop word is stored before lli_group_stop() looks at the line, and read after joining it: one of the
 * two sees the other. A drop that was begun while the member still stood in its home's queue may win against its
 * joining; it is then a shell in our line, and its home is let go when it is met.
 *
 * Locks: mu guards the line; never held across SQLite, a callback, or another lock.
 * References: a member has one to its writer; the line has the one to the member that the home's queue had. */
#include "engine/group.h"

#include "base/alloc.h"
#include "engine/engine.h"
#include "platform/clock.h"

#include <string.h>

enum {
    MOST_MEMBERS = 256,
    MOST_BYTES = 1024 * 1024
};
static const uint64_t most_ns = 5 * LLI_MS;

ll_status lli_group_new(ll_conn *conn, const ll_writer_options *options, ll_writer **ret_writer)
{
    static const ll_writer_options defaults;
    if (!options)
        options = &defaults;
    ll_writer *writer = lli_new(sizeof *writer);
    if (!writer)
        return LL_ENOMEM;
    writer->conn = ll_conn_ref(conn);
    writer->most_members = options->max_members > 0 ? options->max_members : MOST_MEMBERS;
    writer->most_bytes = options->max_bytes > 0 ? options->max_bytes : MOST_BYTES;
    writer->most_ns = options->max_ns > 0 ? options->max_ns : most_ns;
    writer->synchronous = writer->base_synchronous = -1;
    atomic_init(&writer->refs, 1);
    lli_mutex_init(&writer->mu);
    lli_list_init(&writer->line);
    lli_list_init(&writer->batch);
    lli_list_init(&writer->again);
    lli_list_init(&writer->solo);
    /* (The timeout in force belongs to the owner of the connection, which may still be opening.) */
    writer->busy_timeout_ns = conn->options.busy_timeout_ns == LL_NO_BUSY_TIMEOUT ? 0
                            : conn->options.busy_timeout_ns > 0 ? conn->options.busy_timeout_ns
                                                                : LL_DEFAULT_BUSY_TIMEOUT_NS;
    lli_request_init_internal(&writer->run, conn, LLI_OP_GROUP);
    writer->run.in.writer = writer;
    lli_live(+1);
    *ret_writer = writer;
    return LL_OK;
}

ll_writer *lli_group_ref(ll_writer *writer)
{
    atomic_fetch_add_explicit(&writer->refs, 1, memory_order_relaxed);
    return writer;
}

void lli_group_unref(ll_writer *writer)
{
    if (atomic_fetch_sub_explicit(&writer->refs, 1, memory_order_acq_rel) != 1)
        return;
    assert(lli_list_empty(&writer->line) && lli_list_empty(&writer->batch));
    assert(lli_list_empty(&writer->again) && lli_list_empty(&writer->solo));
    ll_conn *conn = writer->conn;
    lli_mutex_done(&writer->mu);
    lli_live(-1);
    lli_free(writer);
    ll_conn_unref(conn);
}

void lli_group_count_alone(ll_writer *writer)
{
    atomic_fetch_add_explicit(&writer->stats.alone, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&writer->conn->crew->stats.group_alone, 1, memory_order_relaxed);
}

/* ---- into the line ---- */

/* Whether the writer is set as the home is, as far as it has told. */
static bool suits(ll_writer *writer, const ll_conn *home)
{
    lli_lock(&writer->mu);
    bool suits = !writer->print_known ||
                 memcmp(&writer->print, &home->fit.print, sizeof writer->print) == 0;
    lli_unlock(&writer->mu);
    return suits;
}

void lli_group_show_print(ll_writer *writer)
{
    const struct lli_fit *fit = &writer->conn->fit;
    lli_lock(&writer->mu);
    writer->print_known = fit->known && !fit->unfit;
    writer->print = fit->print;
    lli_unlock(&writer->mu);
}

bool lli_group_admits(ll_conn *home, ll_request *request)
{
    if (request->alone)
        return false;
    lli_fit_learn(home);
    if (lli_fit_is_free(home) && suits(request->writer, home))
        return true;
    request->alone = true;
    lli_group_count_alone(request->writer);
    return false;
}

/* Whether an idle home can be handed over here and now, by the thread that submits. */
static bool fits_here(ll_conn *home, ll_writer *writer)
{
    sqlite3_mutex *mutex = home->db.adopted ? home->db.mutex : NULL;
    if (mutex && lli_sq.mutex_try(mutex) != SQLITE_OK)
        return false; /* somebody is in it; a worker may wait */
    if (home->fit.known && lli_snapshot_held(&home->db.snapshot))
        lli_snapshot_release(&home->db);
    bool fits = lli_fit_is_free(home) && suits(writer, home);
    if (mutex)
        lli_sq.mutex_leave(mutex);
    return fits;
}

ll_status lli_group_enqueue(ll_request *request)
{
    ll_conn *home = request->conn;
    if (lli_group_has_no_home(request)) {
        if (lli_conn_is_closing(home))
            return lli_refuse(LL_ECLOSED, "the connection is closed");
        lli_group_join(ll_request_ref(request));
        return LL_OK;
    }
    if (!lli_conn_try_own_waiting(home, request))
        return lli_conn_enqueue(home, request);
    if (fits_here(home, request->writer)) {
        lli_group_join(ll_request_ref(request));
        return LL_OK;
    }
    bool delay = false;
    lli_conn_ref(home); /* as lli_conn_enqueue() */
    ll_status status = lli_conn_hand_over(home, request, &delay);
    lli_conn_unref(home);
    return status;
}

void lli_group_join(ll_request *request)
{
    ll_writer *writer = lli_group_ref(request->writer);
    const ll_conn *home = request->conn;
    ll_request_ref(request); /* it may be answered before we are done */
    if (!request->started) {
        request->started = true;
        request->busy_until_ns = lli_deadline_after(
            lli_group_has_no_home(request) ? writer->busy_timeout_ns : home->busy_timeout_ns);
    }
    lli_lock(&writer->mu);
    /* Until here nobody can drop it: it is NEW, or RUNNING by its home. */
    if (atomic_load_explicit(&request->state, memory_order_relaxed) == LLI_REQUEST_NEW)
        lli_request_enqueued(request);
    else
        lli_request_requeue(request);
    lli_list_push(&writer->line, &request->queue_node);
    request->place = LLI_PLACE_LINE;
    bool call = !writer->called, kick = writer->stranded;
    bool wake = request->busy_until_ns < writer->looks_ns;
    writer->called = true;
    writer->stranded = false;
    if (call)
        lli_group_ref(writer); /* until it has run */
    lli_unlock(&writer->mu);
    if (call)
        (void)lli_conn_enqueue(writer->conn, &writer->run); /* internal: stays queued in any case */
    else if (kick)
        lli_conn_kick(writer->conn);
    else if (wake)
        lli_conn_unpark(writer->conn);
    unsigned stop = atomic_load_explicit(&request->stop, memory_order_relaxed);
    if (stop != LLI_STOP_NONE)
        lli_request_stop(request, (enum lli_stop)stop);
    ll_request_unref(request);
    lli_group_unref(writer);
}

/* ---- out of it ---- */

/* Whoever holds a member lets go of its home. */
static void let_home_go(ll_request *request)
{
    if (!lli_group_has_no_home(request))
        lli_conn_let_go(request->conn);
}

void lli_group_set_busy(ll_request *request)
{
    lli_error_set(&request->error, LL_EBUSY, "%s", lli_sq.errstr(SQLITE_BUSY));
    request->error.pub.sqlite_code = SQLITE_BUSY;
    request->outcome = LL_NOT_APPLIED;
}

/* A member that never began: its home is let go, and it is told so, unless somebody else has done that. Whoever took
 * it from the line. */
static void end_unbegun(ll_request *request, enum lli_stop why)
{
    bool mine = lli_request_claim(request);
    if (mine && why == LLI_STOP_NONE)
        lli_group_set_busy(request);
    else if (mine)
        lli_request_set_stopped(request, why, false);
    let_home_go(request);
    if (mine)
        lli_request_finish(request);
    ll_request_unref(request);
}

bool lli_group_stop(ll_request *request, enum lli_stop why)
{
    ll_writer *writer = request->writer;
    lli_lock(&writer->mu);
    enum lli_member_place place = request->place;
    if (place == LLI_PLACE_LINE) {
        lli_list_remove(&request->queue_node);
        request->place = LLI_PLACE_HOME;
    }
    lli_unlock(&writer->mu);
    if (place == LLI_PLACE_LINE) {
        end_unbegun(request, why);
        return true;
    }
    if (place == LLI_PLACE_WRITER) {
        /* It has begun. It may wait for its turn once more, or for a lock in COMMIT, which only the end of an
         * engine breaks. */
        if (why == LLI_STOP_CLOSE)
            atomic_store_explicit(&writer->run.stop, LLI_STOP_CLOSE, memory_order_relaxed);
        lli_conn_unpark(writer->conn);
    }
    return false;
}

/* Takes one from the line that may wait no longer than `now_ns`; LLI_NEVER takes all. */
static ll_request *take_waited(ll_writer *writer, uint64_t now_ns)
{
    ll_request *found = NULL;
    lli_lock(&writer->mu);
    for (struct lli_node *node = lli_list_first(&writer->line); node && !found;
         node = lli_list_next(&writer->line, node)) {
        ll_request *request = LLI_CONTAINER_OF(node, ll_request, queue_node);
        if (request->busy_until_ns <= now_ns)
            found = request;
    }
    if (found) {
        lli_list_remove(&found->queue_node);
        found->place = LLI_PLACE_HOME;
    }
    lli_unlock(&writer->mu);
    return found;
}

void lli_group_expire(ll_writer *writer, uint64_t now_ns)
{
    ll_request *request;
    while ((request = take_waited(writer, now_ns)) != NULL)
        end_unbegun(request, LLI_STOP_NONE);
}

void lli_group_strand(ll_writer *writer)
{
    ll_request *request;
    lli_lock(&writer->mu);
    writer->stranded = true;
    lli_unlock(&writer->mu);
    while ((request = take_waited(writer, LLI_NEVER)) != NULL) {
        bool mine = lli_request_claim(request);
        if (mine) {
            lli_error_set(&request->error, LL_ESYS, "%s", ll_last_error());
            request->outcome = LL_NOT_APPLIED;
        }
        let_home_go(request);
        if (mine)
            lli_request_finish(request);
        ll_request_unref(request);
    }
}

uint64_t lli_group_patience(ll_writer *writer, uint64_t earliest_ns, int *ret_synchronous,
                            bool *ret_any)
{
    lli_lock(&writer->mu);
    *ret_any = !lli_list_empty(&writer->line);
    for (struct lli_node *node = lli_list_first(&writer->line); node;
         node = lli_list_next(&writer->line, node)) {
        const ll_request *request = LLI_CONTAINER_OF(node, ll_request, queue_node);
        if (request->busy_until_ns < earliest_ns)
            earliest_ns = request->busy_until_ns;
        if (!lli_group_has_no_home(request) && request->conn->fit.synchronous > *ret_synchronous)
            *ret_synchronous = request->conn->fit.synchronous;
    }
    writer->looks_ns = earliest_ns;
    lli_unlock(&writer->mu);
    return earliest_ns;
}

bool lli_group_rests(ll_writer *writer)
{
    lli_lock(&writer->mu);
    bool rests = lli_list_empty(&writer->line);
    if (rests)
        writer->called = false;
    lli_unlock(&writer->mu);
    return rests;
}

void lli_group_begin(ll_writer *writer)
{
    lli_lock(&writer->mu);
    writer->looks_ns = 0;
    /* Stored before lli_group_stop() looks where the member is: it sees to it that `run` stops. */
    atomic_store_explicit(&writer->run.stop, LLI_STOP_NONE, memory_order_relaxed);
    lli_unlock(&writer->mu);
}

ll_request *lli_group_next(ll_writer *writer)
{
    for (;;) {
        lli_lock(&writer->mu);
        struct lli_node *node = lli_list_first(&writer->line);
        ll_request *request = node ? LLI_CONTAINER_OF(node, ll_request, queue_node) : NULL;
        /* (The home is the member's.) */
        if (request && !lli_group_has_no_home(request) &&
            request->conn->fit.synchronous > writer->synchronous)
            request = NULL;
        bool mine = false;
        if (request) {
            lli_list_remove(node);
            mine = lli_request_claim(request);
            request->place = mine ? LLI_PLACE_WRITER : LLI_PLACE_HOME;
        }
        lli_unlock(&writer->mu);
        if (!request || mine)
            return request;
        end_unbegun(request, LLI_STOP_NONE); /* a shell */
    }
}

/* ---- back ---- */

/* It is the writer's no more. */
static void leave(ll_request *request)
{
    lli_lock(&request->writer->mu);
    request->place = LLI_PLACE_HOME;
    lli_unlock(&request->writer->mu);
}

void lli_group_apply(ll_conn *home, const ll_request *request)
{
    if (!request->member.ran)
        return;
    lli_sq.set_last_insert_rowid(home->db.handle, request->rowid);
    lli_tally_note(home, request->member.changes, request->member.total);
}

void lli_group_answer(ll_request *request)
{
    ll_conn *home = request->conn;
    if (lli_group_has_no_home(request)) {
        leave(request);
        ll_request_unref(request); /* the line's; the engine still has one */
        lli_request_finish(request);
        return;
    }
    sqlite3_mutex *mutex = home->db.adopted ? home->db.mutex : NULL;
    leave(request);
    if (mutex && lli_sq.mutex_try(mutex) != SQLITE_OK) {
        request->member.answered = true; /* whoever is in it may take long: its own worker waits */
        lli_conn_pass_on(home, request, true);
        return;
    }
    lli_group_apply(home, request);
    if (mutex)
        lli_sq.mutex_leave(mutex);
    if (lli_conn_complete(home, request))
        (void)lli_conn_put_back(home, NULL, false); /* others came meanwhile */
}

void lli_group_send_home(ll_request *request)
{
    request->alone = true;
    lli_group_count_alone(request->writer);
    leave(request);
    if (lli_group_has_no_home(request))
        lli_conn_queue_again(request->conn, request);
    else
        lli_conn_pass_on(request->conn, request, false);
}
