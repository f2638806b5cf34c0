/* engine.c: lifetime of an engine, and the queue by which workers hand finished requests to the loop.
 *
 * The queue is a stack with one consumer (Treiber's push; the loop takes all at once and reverses): a
 * worker pushes with one compare-and-swap and writes the wake-up descriptor only when the stack was empty,
 * so a burst of completions costs one wake-up; and not while the loop looks by itself (`spinning`, which pairs with
 * the push as `closed` does: the loop takes its word back and then looks once more).
 *
 * An engine may be abandoned while requests of it still run. The memory and the descriptors stay until the
 * last request has let go of them; `closed` decides who drops a finished request that nobody will ever
 * dispatch: abandon sets it and then empties the stack, a poster pushes and then looks at it, both in the
 * single total order, so one of the two sees the other.
 *
 * Locks: mu guards the list of outstanding requests and the deadlines. It is never held across SQLite, a
 * callback, or another lock. */
#include "engine/engine.h"

#include "base/alloc.h"
#include "db/api.h"
#include "db/vfs_shim.h"
#include "engine/delay.h"
#include "engine/hold.h"
#include "platform/clock.h"
#include "platform/fork.h"

#include <errno.h>
#include <string.h>

static const uint64_t default_turn_ns = LLI_MS / 2;
static const uint64_t default_attempt_ns = LLI_MS / 5;

ll_status lli_engine_create(const ll_engine_options *options, bool step, ll_engine **ret_engine)
{
    static const ll_engine_options defaults;
    if (!options)
        options = &defaults;
    lli_fork_watch();
    if (options->workers_of)
        LL_TRY(lli_engine_check(options->workers_of, "ll_engine_new: workers_of"));
    LL_TRY(lli_vfs_ready());
    ll_engine *engine = lli_new(sizeof *engine);
    if (!engine)
        return lli_refuse(LL_ENOMEM, "ll_engine_new: out of memory");
    ll_status status = lli_pollset_init(&engine->pollset);
    if (status != LL_OK) {
        lli_free(engine);
        return status;
    }
    if (options->workers_of)
        engine->crew = lli_crew_ref(options->workers_of->crew);
    else
        engine->crew = lli_crew_new(options->max_workers, options->linger_ns, step);
    if (!engine->crew) {
        lli_pollset_done(&engine->pollset);
        lli_free(engine);
        return lli_refuse(LL_ENOMEM, "ll_engine_new: out of memory");
    }
    lli_crew_join_engine(engine->crew);
    engine->generation = lli_fork_generation();
    lli_list_init(&engine->holders);
    lli_delay_init(engine);
    engine->turn = 1;
    engine->host_turns = options->host_turns;
    engine->turn_ns = options->turn_ns > 0 ? options->turn_ns : default_turn_ns;
    engine->attempt_ns = options->attempt_ns > 0 ? options->attempt_ns : default_attempt_ns;
    atomic_init(&engine->refs, 1);
    lli_mutex_init(&engine->mu);
    lli_list_init(&engine->outstanding);
    lli_live(+1);
    *ret_engine = engine;
    return LL_OK;
}

ll_status ll_engine_new(const ll_engine_options *options, ll_engine **ret_engine)
{
    if (!ret_engine)
        return lli_refuse(LL_EINVAL, "ll_engine_new: ret_engine is NULL");
    return lli_engine_create(options, false, ret_engine);
}

ll_engine *lli_engine_ref(ll_engine *engine)
{
    atomic_fetch_add_explicit(&engine->refs, 1, memory_order_relaxed);
    return engine;
}

void lli_engine_unref(ll_engine *engine)
{
    if (atomic_fetch_sub_explicit(&engine->refs, 1, memory_order_acq_rel) != 1)
        return;
    lli_pollset_done(&engine->pollset);
    lli_timers_done(&engine->deadlines);
    lli_timers_done(&engine->retries);
    lli_mutex_done(&engine->mu);
    lli_crew_unref(engine->crew);
    lli_live(-1);
    lli_free(engine);
}

bool lli_engine_foreign(const ll_engine *engine)
{
    return engine->generation != lli_fork_generation();
}

ll_status lli_engine_check(const ll_engine *engine, const char *caller)
{
    if (LLI_UNLIKELY(lli_engine_foreign(engine)))
        return lli_refuse(LL_EFORK, "%s: %s", caller, ll_status_text(LL_EFORK));
    return LL_OK;
}

ll_status ll_engine_set_max_workers(ll_engine *engine, unsigned max_workers)
{
    static const char caller[] = "ll_engine_set_max_workers";
    if (!engine)
        return lli_refuse(LL_EINVAL, "%s: engine is NULL", caller);
    if (max_workers == 0)
        return lli_refuse(LL_EINVAL, "%s: max_workers is 0", caller);
    LL_TRY(lli_engine_check(engine, caller));
    lli_crew_set_max(engine->crew, max_workers);
    return LL_OK;
}

ll_status lli_engine_add(ll_engine *engine, ll_request *request)
{
    ll_status status = LL_OK;
    lli_lock(&engine->mu);
    if (atomic_load(&engine->closed)) {
        status = lli_refuse(LL_ECLOSED, "the engine has been freed");
    } else if (request->deadline_ns != LLI_NEVER) {
        status = lli_timers_reserve(&engine->deadlines, engine->deadlines.count + 1);
        if (status == LL_OK) {
            lli_timer_arm(&engine->deadlines, &request->timer, request->deadline_ns);
            if (request->deadline_ns < engine->pollset.timer_due)
                lli_pollset_set_timer(&engine->pollset, request->deadline_ns);
        } else {
            lli_refuse(status, "out of memory for a deadline");
        }
    }
    if (status == LL_OK) {
        lli_list_push(&engine->outstanding, &request->engine_node);
        atomic_fetch_add_explicit(&engine->outstanding_count, 1, memory_order_relaxed);
        ll_request_ref(request); /* given back by delivery */
    }
    lli_unlock(&engine->mu);
    if (status == LL_OK)
        atomic_fetch_add_explicit(&engine->stats.submitted, 1, memory_order_relaxed);
    return status;
}

/* Forgets a request: it is no longer outstanding and its deadline is off. */
static void forget(ll_engine *engine, ll_request *request)
{
    lli_lock(&engine->mu);
    lli_timer_disarm(&engine->deadlines, &request->timer);
    lli_list_remove(&request->engine_node);
    atomic_fetch_sub_explicit(&engine->outstanding_count, 1, memory_order_relaxed);
    lli_unlock(&engine->mu);
}

void lli_engine_remove(ll_engine *engine, ll_request *request)
{
    forget(engine, request);
    atomic_fetch_sub_explicit(&engine->stats.submitted, 1, memory_order_relaxed);
    ll_request_unref(request);
}

void lli_engine_move_deadline(ll_engine *engine, ll_request *request, uint64_t deadline_ns)
{
    lli_lock(&engine->mu);
    lli_timer_disarm(&engine->deadlines, &request->timer);
    if (lli_node_linked(&request->engine_node) && deadline_ns != LLI_NEVER &&
        lli_timers_reserve(&engine->deadlines, engine->deadlines.count + 1) == LL_OK) {
        lli_timer_arm(&engine->deadlines, &request->timer, deadline_ns);
        if (deadline_ns < engine->pollset.timer_due)
            lli_pollset_set_timer(&engine->pollset, deadline_ns);
    }
    lli_unlock(&engine->mu);
}

static void count_end(ll_engine *engine, const ll_request *request)
{
    switch (request->error.pub.status) {
    case LL_OK:
        break;
    case LL_ECANCELLED:
        atomic_fetch_add_explicit(&engine->stats.cancelled, 1, memory_order_relaxed);
        break;
    case LL_ETIMEOUT:
        atomic_fetch_add_explicit(&engine->stats.timed_out, 1, memory_order_relaxed);
        break;
    default:
        atomic_fetch_add_explicit(&engine->stats.failed, 1, memory_order_relaxed);
        break;
    }
}

void lli_engine_count_immediate(ll_engine *engine, const ll_request *request, bool here)
{
    if (here)
        lli_stat_add(&engine->stats.immediate_here, 1);
    else
        atomic_fetch_add_explicit(&engine->stats.immediate, 1, memory_order_relaxed);
    count_end(engine, request);
}

/* All finished requests, oldest first. */
static ll_request *take_finished(ll_engine *engine)
{
    ll_request *stack = atomic_exchange(&engine->finished, NULL);
    ll_request *queue = NULL;
    while (stack) {
        ll_request *next = stack->next_finished;
        stack->next_finished = queue;
        queue = stack;
        stack = next;
    }
    return queue;
}

/* Nobody will dispatch this engine any more: what is finished is forgotten without a word. */
static void drop_finished(ll_engine *engine)
{
    ll_request *request = take_finished(engine);
    while (request) {
        ll_request *next = request->next_finished;
        if (request->op != LLI_OP_NEWS) { /* which lies in a request that comes behind it */
            forget(engine, request);
            ll_request_unref(request);
        }
        request = next;
    }
}

void lli_engine_post(ll_engine *engine, ll_request *request)
{
    lli_engine_ref(engine); /* the loop may deliver and free the request before we are done */
    ll_request *head = atomic_load_explicit(&engine->finished, memory_order_relaxed);
    do
        request->next_finished = head;
    while (!atomic_compare_exchange_weak(&engine->finished, &head, request));
    if (atomic_load(&engine->closed)) {
        drop_finished(engine);
    } else if (!head && !atomic_load(&engine->spinning)) {
        atomic_fetch_add_explicit(&engine->stats.wakeups, 1, memory_order_relaxed);
        lli_pollset_wake(&engine->pollset);
    }
    lli_engine_unref(engine);
}

void ll_engine_spin_begin(ll_engine *engine)
{
    if (engine && !lli_engine_foreign(engine))
        atomic_store(&engine->spinning, true);
}

bool ll_engine_has_finished(const ll_engine *engine)
{
    return engine && atomic_load_explicit(&engine->finished, memory_order_relaxed) != NULL;
}

void ll_engine_spin_end(ll_engine *engine)
{
    if (!engine || lli_engine_foreign(engine) || !atomic_load(&engine->spinning))
        return;
    /* Who pushes behind this store sees it; what was pushed before is seen here. */
    atomic_store(&engine->spinning, false);
    if (atomic_load(&engine->finished))
        lli_pollset_wake(&engine->pollset);
}

static void deliver(ll_engine *engine, ll_request *request, size_t *count)
{
    if (LLI_UNLIKELY(request->op == LLI_OP_NEWS)) {
        ++*count;
        request->in.news.tell(request);
        return;
    }
    forget(engine, request);
    atomic_fetch_add_explicit(&engine->stats.completed, 1, memory_order_relaxed);
    count_end(engine, request);
    if (request->done) {
        ++*count;
        request->done(request, request->user);
    }
    ll_request_unref(request);
}

/* Stops every request whose deadline has passed. */
static void expire(ll_engine *engine)
{
    for (;;) {
        lli_lock(&engine->mu);
        struct lli_timer *timer = NULL;
        if (engine->pollset.timer_due != LLI_NEVER)
            timer = lli_timers_pop_due(&engine->deadlines, lli_now_ns());
        ll_request *request = timer ? ll_request_ref(LLI_CONTAINER_OF(timer, ll_request, timer))
                                    : NULL;
        lli_unlock(&engine->mu);
        if (!request)
            return;
        lli_request_stop(request, LLI_STOP_DEADLINE);
        ll_request_unref(request);
    }
}

/* The descriptor's timer is only set again when it has fired: the earliest deadline mostly belongs to a
 * request that is finished long before it, and moving the timer each time would cost a system call per
 * request. A timer that is early wakes the loop once for nothing. */
static void set_timer_again(ll_engine *engine)
{
    lli_lock(&engine->mu);
    if (engine->pollset.timer_due != LLI_NEVER && engine->pollset.timer_due <= lli_now_ns()) {
        uint64_t deadline = lli_timers_next(&engine->deadlines), retry = lli_delay_next(engine);
        engine->pollset.timer_due = LLI_NEVER;
        lli_pollset_set_timer(&engine->pollset, deadline < retry ? deadline : retry);
    }
    lli_unlock(&engine->mu);
}

ll_status ll_engine_dispatch(ll_engine *engine, size_t *ret_count)
{
    if (!engine)
        return lli_refuse(LL_EINVAL, "ll_engine_dispatch: engine is NULL");
    LL_TRY(lli_engine_check(engine, "ll_engine_dispatch"));
    if (engine->dispatching)
        return lli_refuse(LL_EINVAL, "ll_engine_dispatch: called from inside a callback");
    lli_engine_ref(engine); /* it may be abandoned by another thread while a callback runs */
    engine->dispatching = true;
    ll_engine_new_turn(engine);
    /* Each is drained before what it announces is looked at, so that what comes later announces itself
     * again; and the wake-up after the deadlines and what is run here, whose ends arrive by it. */
    lli_pollset_drain_timer(&engine->pollset);
    expire(engine);
    lli_delay_run(engine);
    set_timer_again(engine);
    lli_pollset_drain_wake(&engine->pollset);
    if (atomic_load_explicit(&engine->spinning, memory_order_relaxed))
        atomic_store(&engine->spinning,
                     false); /* before it is looked what has finished, as above */
    size_t count = 0;
    ll_request *request = take_finished(engine);
    if (request)
        atomic_fetch_add_explicit(&engine->stats.dispatches, 1, memory_order_relaxed);
    while (request) {
        ll_request *next = request->next_finished;
        deliver(engine, request, &count);
        request = next;
    }
    engine->dispatching = false;
    lli_delay_announce(engine);
    lli_engine_unref(engine);
    if (ret_count)
        *ret_count = count;
    return LL_OK;
}

ll_status ll_engine_wait(ll_engine *engine, int64_t timeout_ns, size_t *ret_count)
{
    if (!engine)
        return lli_refuse(LL_EINVAL, "ll_engine_wait: engine is NULL");
    LL_TRY(lli_engine_check(engine, "ll_engine_wait"));
    if (engine->dispatching)
        return lli_refuse(LL_EINVAL, "ll_engine_wait: called from inside a callback");
    if (ret_count)
        *ret_count = 0;
    if (ll_engine_outstanding(engine) == 0)
        return LL_OK;
    ll_engine_spin_end(engine);
    int ready = lli_pollset_wait(&engine->pollset, timeout_ns);
    if (ready < 0)
        return lli_refuse(LL_ESYS, "ll_engine_wait: the descriptor cannot be polled: %s",
                          strerror(errno));
    if (ready == 0)
        return LL_OK;
    return ll_engine_dispatch(engine, ret_count);
}

ll_status ll_request_wait(ll_request *request)
{
    if (!request)
        return lli_refuse(LL_EINVAL, "ll_request_wait: request is NULL");
    ll_engine *engine = request->engine;
    LL_TRY(lli_engine_check(engine, "ll_request_wait"));
    ll_status status = LL_OK;
    ll_request_ref(request);
    while (status == LL_OK) {
        lli_lock(&engine->mu);
        bool delivered = !lli_node_linked(&request->engine_node);
        lli_unlock(&engine->mu);
        if (delivered)
            break;
        status = ll_engine_wait(engine, -1, NULL);
    }
    if (status == LL_OK)
        status = ll_request_status(request);
    ll_request_unref(request);
    return status;
}

int ll_engine_fd(const ll_engine *engine)
{
    return !engine || lli_engine_foreign(engine) ? -1 : engine->pollset.fd;
}

size_t ll_engine_outstanding(const ll_engine *engine)
{
    return engine ? atomic_load_explicit(&engine->outstanding_count, memory_order_relaxed) : 0;
}

/* Stops all requests of the engine, each once, the newest first: with the oldest first the end of what runs would let a
 * worker begin what waits behind it, before it is told to stop too. */
static void stop_all(ll_engine *engine, enum lli_stop why)
{
    for (;;) {
        ll_request *request = NULL;
        lli_lock(&engine->mu);
        for (struct lli_node *node = lli_list_last(&engine->outstanding); node;
             node = lli_list_previous(&engine->outstanding, node)) {
            ll_request *candidate = LLI_CONTAINER_OF(node, ll_request, engine_node);
            if (candidate->swept != why) {
                candidate->swept = why;
                request = ll_request_ref(candidate);
                break;
            }
        }
        lli_unlock(&engine->mu);
        if (!request)
            return;
        lli_request_stop(request, why);
        ll_request_unref(request);
    }
}

void ll_engine_free(ll_engine *engine)
{
    if (!engine || lli_engine_foreign(engine))
        return;
    if (engine->dispatching) {
        (void)lli_refuse(LL_EINVAL,
                         "ll_engine_free: called from inside a callback; nothing is freed");
        return;
    }
    while (ll_engine_outstanding(engine) > 0) {
        stop_all(engine, LLI_STOP_CLOSE); /* also what callbacks have submitted meanwhile */
        lli_delay_flush(engine);
        if (engine->crew->step)
            lli_crew_run_here(engine->crew);
        if (ll_engine_wait(engine, -1, NULL) != LL_OK)
            break;
    }
    atomic_store(&engine->closed, true);
    drop_finished(engine);
    lli_delay_flush(engine);
    lli_hold_end_turn(engine);
    lli_crew_leave_engine(engine->crew, true);
    lli_engine_unref(engine);
}

void ll_engine_abandon(ll_engine *engine)
{
    if (!engine || lli_engine_foreign(engine))
        return;
    atomic_store(&engine->closed, true);
    stop_all(engine,
             LLI_STOP_CANCEL); /* a commit that is queued still happens, a running write ends */
    lli_delay_flush(engine);
    drop_finished(engine);
    lli_hold_end_turn(engine);
    lli_crew_leave_engine(engine->crew, false);
    lli_engine_unref(engine);
}
