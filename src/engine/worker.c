/* worker.c: borrowed threads.
 *
 * A connection with work stands in the crew's line; a worker takes it, runs what is queued, and lets go of
 * it. Threads are started when a connection is ready and nobody is idle, up to `max`; an idle one first
 * spins if there is a core to spare ([M] handing work to a sleeping thread and back costs 46 us, to a spinning one
 * 0.05), for as long as pace.h says, then waits, and leaves after `linger_ns`. Not later than a tenth of a
 * second, by default: as long as a process has a second thread, even an idle one, the kernel counts references to
 * each descriptor that is used ([M] 0.2 us of a point read in a rollback journal, which makes eight system calls),
 * and to start a thread takes 11 us.
 *
 * Time. Connections parked for a lock lie in a heap of timers. One idle worker, the keeper, waits no longer
 * than until the earliest of them; the others wait for work. A worker that takes a job while timers are
 * armed and nobody is idle sees to it that another thread keeps the time, if one is allowed; if all `max`
 * are busy, whoever finishes first looks at the timers. So locked connections make progress even when
 * every event loop is blocked, and a thousand parked connections cost one thread.
 *
 * Naps. A transaction that holds the write lock and has to wait (for readers to leave, in COMMIT) waits
 * inside SQLite. Its thread does not count against `max` meanwhile, else the readers it waits for might
 * never get a thread. Nor does one that syncs a WAL before a checkpoint, for others are to write meanwhile.
 *
 * Lock order: mu is never held together with a connection's mutex, nor across SQLite or a callback. */
#include "engine/worker.h"

#include "base/alloc.h"
#include "base/status.h"
#include "engine/conn.h"
#include "platform/clock.h"

struct worker {
    struct lli_node node; /* crew->left, under crew->mu */
    struct lli_crew *crew;
    lli_thread thread;
};

enum {
    LEAST_WORKERS = 4
};

static const uint64_t default_linger_ns = 100 * LLI_MS;

struct lli_crew *lli_crew_new(unsigned max_workers, uint64_t linger_ns, bool step)
{
    struct lli_crew *crew = lli_new(sizeof *crew);
    if (!crew)
        return NULL;
    crew->cores = lli_cores();
    crew->max = max_workers;
    if (crew->max == 0)
        crew->max = 2 * crew->cores > LEAST_WORKERS ? 2 * crew->cores : LEAST_WORKERS;
    crew->linger_ns = linger_ns > 0 ? linger_ns : default_linger_ns;
    crew->step = step;
    atomic_init(&crew->refs, 1);
    lli_mutex_init(&crew->mu);
    lli_cond_init(&crew->work);
    lli_cond_init(&crew->gone);
    lli_list_init(&crew->ready);
    lli_list_init(&crew->conns);
    lli_list_init(&crew->left);
    return crew;
}

struct lli_crew *lli_crew_ref(struct lli_crew *crew)
{
    atomic_fetch_add_explicit(&crew->refs, 1, memory_order_relaxed);
    return crew;
}

void lli_crew_unref(struct lli_crew *crew)
{
    if (atomic_fetch_sub_explicit(&crew->refs, 1, memory_order_acq_rel) != 1)
        return;
    lli_timers_done(&crew->parked);
    lli_cond_done(&crew->gone);
    lli_cond_done(&crew->work);
    lli_mutex_done(&crew->mu);
    lli_free(crew);
}

/* Under mu. */
static ll_conn *pop_ready(struct lli_crew *crew)
{
    struct lli_node *node = lli_list_pop(&crew->ready);
    if (!node)
        return NULL;
    atomic_fetch_sub_explicit(&crew->ready_hint, 1, memory_order_relaxed);
    return LLI_CONTAINER_OF(node, ll_conn, ready_node);
}

/* Joins the threads that have ended. Called without mu. */
static void join_left(struct lli_crew *crew)
{
    for (;;) {
        lli_lock(&crew->mu);
        struct lli_node *node = lli_list_pop(&crew->left);
        lli_unlock(&crew->mu);
        if (!node)
            return;
        struct worker *worker = LLI_CONTAINER_OF(node, struct worker, node);
        lli_thread_join(worker->thread);
        lli_free(worker);
    }
}

static void *worker_main(void *arg);

/* Starts a thread. Under mu, which is not let go: the new thread waits for it. */
static ll_status start_thread(struct lli_crew *crew)
{
    struct worker *worker = lli_new(sizeof *worker);
    if (!worker)
        return lli_refuse(LL_ENOMEM, "out of memory for a worker thread");
    worker->crew = lli_crew_ref(crew);
    crew->threads++;
    ll_status status = lli_thread_start(&worker->thread, worker_main, worker);
    if (status != LL_OK) {
        crew->threads--;
        atomic_fetch_sub_explicit(&crew->refs, 1,
                                  memory_order_relaxed); /* the caller has another */
        lli_free(worker);
        return status;
    }
    if (crew->threads > crew->peak)
        crew->peak = crew->threads;
    atomic_fetch_add_explicit(&crew->stats.threads_started, 1, memory_order_relaxed);
    return LL_OK;
}

/* Sees to it that somebody looks at the line, or at the timers. Under mu. */
static ll_status call_worker(struct lli_crew *crew)
{
    if (crew->step)
        return LL_OK;
    /* Who looks for work takes what is in the line before he sleeps. [M] To wake another one beside him took the core from
     * one of the three: an update by one task took 55 us in place of 27. */
    if (crew->spinning > 0 &&
        atomic_load_explicit(&crew->ready_hint, memory_order_relaxed) <= crew->spinning)
        return LL_OK;
    if (crew->idle > 0) {
        lli_cond_signal(&crew->work);
        return LL_OK;
    }
    /* (At the end the thread that ends the engine runs requests, too, and may nap.) */
    unsigned awake = crew->threads > crew->napping ? crew->threads - crew->napping : 0;
    if (crew->spinning > 0 || awake >= crew->max)
        return LL_OK;
    ll_status status = start_thread(crew);
    return crew->threads > crew->napping ? LL_OK : status; /* those that run will come to it */
}

unsigned lli_crew_max(struct lli_crew *crew)
{
    lli_lock(&crew->mu);
    unsigned max = crew->max;
    lli_unlock(&crew->mu);
    return max;
}

void lli_crew_set_max(struct lli_crew *crew, unsigned max)
{
    lli_lock(&crew->mu);
    crew->max = max;
    /* What waits for a thread because there were too many gets one. (If none can be started, the next one who comes
     * to the line tries again, and is told.) */
    if (!lli_list_empty(&crew->ready))
        (void)call_worker(crew);
    lli_unlock(&crew->mu);
}

ll_status lli_crew_add(struct lli_crew *crew, ll_conn *conn)
{
    lli_lock(&crew->mu);
    ll_status status = lli_timers_reserve(&crew->parked, (size_t)crew->connections + 1);
    if (status == LL_OK) {
        lli_list_push(&crew->conns, &conn->crew_node);
        crew->connections++;
    }
    lli_unlock(&crew->mu);
    return status;
}

void lli_crew_remove(struct lli_crew *crew, ll_conn *conn)
{
    lli_lock(&crew->mu);
    lli_timer_disarm(&crew->parked, &conn->park);
    if (lli_node_linked(&conn->crew_node)) {
        lli_list_remove(&conn->crew_node);
        crew->connections--;
    }
    lli_unlock(&crew->mu);
}

ll_status lli_crew_ready(struct lli_crew *crew, ll_conn *conn, bool unpark)
{
    lli_lock(&crew->mu);
    if (unpark)
        lli_timer_disarm(&crew->parked, &conn->park);
    lli_list_push(&crew->ready, &conn->ready_node);
    atomic_fetch_add_explicit(&crew->ready_hint, 1, memory_order_relaxed);
    if (crew->idle_since_ns > 0) {
        lli_pace_waited(&crew->pace, crew->idle_place, lli_now_ns() - crew->idle_since_ns);
        crew->idle_since_ns = 0;
    }
    ll_status status = LL_OK;
    /* After the last engine there may be no thread left, and none is started for somebody who waits: the
     * caller runs it himself. */
    bool alone = crew->stopping && !crew->orphaned && crew->threads == 0 && !crew->step;
    if (!alone)
        status = call_worker(crew);
    if (status != LL_OK && crew->stopping) {
        status = LL_OK;
        alone = true;
    }
    if (status != LL_OK) {
        lli_list_remove(&conn->ready_node);
        atomic_fetch_sub_explicit(&crew->ready_hint, 1, memory_order_relaxed);
    }
    lli_unlock(&crew->mu);
    if (alone)
        lli_crew_run_here(crew);
    return status;
}

void lli_crew_park(struct lli_crew *crew, ll_conn *conn, uint64_t due_ns)
{
    lli_lock(&crew->mu);
    uint64_t before = lli_timers_next(&crew->parked);
    lli_timer_arm(&crew->parked, &conn->park, due_ns);
    if (due_ns < before && crew->keeper) {
        crew->keeper = false;
        lli_cond_broadcast(&crew->work); /* the keeper, wherever it stands among the idle */
    }
    lli_unlock(&crew->mu);
    atomic_fetch_add_explicit(&crew->stats.parks, 1, memory_order_relaxed);
}

bool lli_crew_waiting(struct lli_crew *crew)
{
    return atomic_load_explicit(&crew->ready_hint, memory_order_relaxed) > 0;
}

void lli_crew_nap_begin(struct lli_crew *crew)
{
    lli_lock(&crew->mu);
    crew->napping++;
    if (!lli_list_empty(&crew->ready) || crew->parked.count > 0)
        (void)call_worker(crew); /* if none can be started, those that run will come to it */
    lli_unlock(&crew->mu);
}

void lli_crew_nap_end(struct lli_crew *crew)
{
    lli_lock(&crew->mu);
    crew->napping--;
    lli_unlock(&crew->mu);
}

ll_conn *lli_crew_take(struct lli_crew *crew)
{
    lli_lock(&crew->mu);
    ll_conn *conn = pop_ready(crew);
    lli_unlock(&crew->mu);
    if (conn) {
        atomic_fetch_add_explicit(&crew->stats.hops, 1, memory_order_relaxed);
        lli_conn_own(conn);
    }
    return conn;
}

bool lli_crew_fire(struct lli_crew *crew)
{
    lli_lock(&crew->mu);
    struct lli_timer *timer = NULL;
    if (crew->parked.count > 0)
        timer = lli_timers_pop_due(&crew->parked, lli_now_ns());
    /* An armed timer keeps its connection alive: it has a parked request. */
    ll_conn *conn = timer ? LLI_CONTAINER_OF(timer, ll_conn, park) : NULL;
    if (conn)
        lli_conn_ref(conn);
    lli_unlock(&crew->mu);
    if (!conn)
        return false;
    lli_conn_unpark(conn);
    lli_conn_unref(conn);
    return true;
}

uint64_t lli_crew_next_due(struct lli_crew *crew)
{
    lli_lock(&crew->mu);
    uint64_t due = lli_timers_next(&crew->parked);
    lli_unlock(&crew->mu);
    return due;
}

void lli_crew_run_here(struct lli_crew *crew)
{
    ll_conn *conn;
    while ((conn = lli_crew_take(crew)) != NULL)
        lli_conn_run(conn);
}

/* Whether a worker that looks for work takes a core from nobody: neither the loop nor one that has work. Under mu. */
static bool has_core_to_spare(const struct lli_crew *crew)
{
    unsigned waiting = crew->idle + crew->spinning + crew->napping;
    unsigned busy = crew->threads > waiting ? crew->threads - waiting : 0; /* the caller is one */
    return crew->spinning == 0 && busy + 1 <= crew->cores && crew->cores > 1;
}

/* Waits for work. Under mu; false: leave. */
static bool wait_for_work(struct lli_crew *crew)
{
    if (!lli_list_empty(&crew->ready))
        return true;
    uint64_t begun = crew->idle_since_ns = lli_now_ns();
    enum lli_pace_place place = atomic_load_explicit(&crew->within, memory_order_relaxed)
                                  ? LLI_PACE_WITHIN
                                  : LLI_PACE_BETWEEN;
    crew->idle_place = place;
    if (has_core_to_spare(crew)) {
        uint64_t until = lli_deadline_from(begun, lli_pace_spin_ns(&crew->pace, place));
        crew->spinning++;
        lli_unlock(&crew->mu);
        while (!lli_crew_waiting(crew) && lli_now_ns() < until)
            lli_spin_pause();
        lli_lock(&crew->mu);
        crew->spinning--;
        if (!lli_list_empty(&crew->ready))
            return true;
    }
    uint64_t leave = lli_deadline_after(crew->linger_ns);
    while (lli_list_empty(&crew->ready)) {
        if (crew->stopping && crew->parked.count == 0)
            return false;
        uint64_t now = lli_now_ns();
        uint64_t due = lli_timers_next(&crew->parked);
        if (due <= now)
            return true;
        bool keep = due != LLI_NEVER && !crew->keeper;
        if (!keep && now >= leave)
            return false;
        if (keep)
            crew->keeper = true;
        crew->idle++;
        lli_cond_wait_until(&crew->work, &crew->mu, keep ? due : leave);
        crew->idle--;
        if (keep)
            crew->keeper = false;
    }
    return true;
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct lli_crew *crew = worker->crew;
    lli_thread_be_worker();
    lli_lock(&crew->mu);
    for (;;) {
        lli_unlock(&crew->mu);
        while (lli_crew_fire(crew)) {}
        ll_conn *conn = lli_crew_take(crew);
        if (conn) {
            lli_lock(&crew->mu);
            bool unkept = crew->parked.count > 0 && !crew->keeper;
            bool more = crew->idle == 0 && !lli_list_empty(&crew->ready);
            if (crew->spinning == 0 && (unkept || more))
                (void)call_worker(crew); /* somebody has to keep the time, or take the next */
            lli_unlock(&crew->mu);
            lli_conn_run(conn);
            lli_lock(&crew->mu);
            continue;
        }
        lli_lock(&crew->mu);
        if (!wait_for_work(crew))
            break;
    }
    crew->threads--;
    if (crew->stopping) /* one that waits beside a connection that was parked does not linger */
        lli_cond_broadcast(&crew->work);
    bool orphaned = crew->orphaned;
    /* Whoever leaves joins the one that left before, so at most one thread waits to be joined. */
    struct lli_node *before = lli_list_pop(&crew->left);
    if (orphaned)
        lli_thread_detach_self();
    else
        lli_list_push(&crew->left, &worker->node);
    lli_cond_broadcast(&crew->gone);
    lli_unlock(&crew->mu);
    if (before) {
        struct worker *left = LLI_CONTAINER_OF(before, struct worker, node);
        lli_thread_join(left->thread);
        lli_free(left);
    }
    if (orphaned)
        lli_free(worker);
    lli_crew_unref(crew);
    return NULL;
}

/* Joins no thread: one that has left may still be in the program's code (the destructor of a thread-local variable), which
 * may need what the caller holds (the GIL of Python). */
void lli_crew_join_engine(struct lli_crew *crew)
{
    lli_lock(&crew->mu);
    crew->engines++;
    lli_unlock(&crew->mu);
}

/* Closes what is still open, one connection after the other. */
static void close_all(struct lli_crew *crew)
{
    for (;;) {
        ll_conn *conn = NULL;
        lli_lock(&crew->mu);
        for (struct lli_node *node = lli_list_first(&crew->conns); node && !conn;
             node = lli_list_next(&crew->conns, node)) {
            ll_conn *candidate = LLI_CONTAINER_OF(node, ll_conn, crew_node);
            if (!candidate->swept) {
                candidate->swept = true;
                conn = candidate;
                lli_conn_ref(conn);
            }
        }
        lli_unlock(&crew->mu);
        if (!conn)
            return;
        lli_conn_autoclose(conn);
        lli_conn_kick(conn);
        lli_conn_unref(conn);
    }
}

void lli_crew_leave_engine(struct lli_crew *crew, bool wait)
{
    lli_lock(&crew->mu);
    bool last = --crew->engines == 0;
    if (last) {
        crew->stopping = true;
        crew->orphaned = !wait;
    }
    lli_unlock(&crew->mu);
    if (!last)
        return;
    close_all(crew);
    if (wait)
        lli_crew_run_here(crew); /* this thread lends a hand: there may be no other */
    lli_lock(&crew->mu);
    lli_cond_broadcast(&crew->work);
    while (wait && crew->threads > 0)
        lli_cond_wait(&crew->gone, &crew->mu);
    lli_unlock(&crew->mu);
    if (wait)
        lli_crew_run_here(crew);
    join_left(crew);
}

void lli_crew_get_stats(struct lli_crew *crew, ll_stats *ret_stats)
{
    ret_stats->worker_runs = atomic_load_explicit(&crew->stats.runs, memory_order_relaxed);
    ret_stats->hops = atomic_load_explicit(&crew->stats.hops, memory_order_relaxed);
    ret_stats->parks = atomic_load_explicit(&crew->stats.parks, memory_order_relaxed);
    ret_stats->gate_waits = atomic_load_explicit(&crew->stats.gate_waits, memory_order_relaxed);
    ret_stats->gate_gaps = atomic_load_explicit(&crew->stats.gate_gaps, memory_order_relaxed);
    ret_stats->cache_waits = atomic_load_explicit(&crew->stats.cache_waits, memory_order_relaxed);
    ret_stats->threads_started = atomic_load_explicit(&crew->stats.threads_started,
                                                      memory_order_relaxed);
    ret_stats->group_batches = atomic_load_explicit(&crew->stats.group_batches,
                                                    memory_order_relaxed);
    ret_stats->group_members = atomic_load_explicit(&crew->stats.group_members,
                                                    memory_order_relaxed);
    ret_stats->group_largest = atomic_load_explicit(&crew->stats.group_largest,
                                                    memory_order_relaxed);
    ret_stats->group_alone = atomic_load_explicit(&crew->stats.group_alone, memory_order_relaxed);
    ret_stats->group_reruns = atomic_load_explicit(&crew->stats.group_reruns, memory_order_relaxed);
    lli_lock(&crew->mu);
    ret_stats->threads = crew->threads;
    ret_stats->threads_idle = crew->idle + crew->spinning;
    ret_stats->threads_peak = crew->peak;
    ret_stats->connections = crew->connections;
    lli_unlock(&crew->mu);
}
