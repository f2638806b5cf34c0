/* engine.h: the loop's side: outstanding requests, the queue of finished ones, deadlines. */
#ifndef LLI_ENGINE_ENGINE_H
#define LLI_ENGINE_ENGINE_H

#include "base/list.h"
#include "db/attempt.h"
#include "engine/request.h"
#include "engine/worker.h"
#include "platform/pollset.h"
#include "platform/thread.h"

#include <looplite/engine.h>
#include <looplite/stats.h>

struct ll_engine {
    /* fixed after creation */
    struct lli_crew *crew;
    uint32_t generation; /* lli_fork_generation() at birth */
    struct lli_pollset pollset;
    uint64_t turn_ns, attempt_ns;
    bool host_turns;

    /* any thread */
    atomic_uint refs; /* last unref is acq_rel */
    _Atomic(ll_request *)
        finished; /* stack; seq_cst, as `closed`, with which it pairs: see lli_engine_post() */
    atomic_bool closed;              /* seq_cst, pairs with the push: see lli_engine_post() */
    atomic_bool spinning;            /* seq_cst, written by the loop; the same */
    _Atomic uintptr_t loop;          /* the loop's thread, see turn.c; relaxed, written by it */
    atomic_size_t outstanding_count; /* relaxed */
    struct {                         /* relaxed: statistics */
        /* (`submitted` and `completed` without the immediate ones) */
        _Atomic uint64_t submitted, completed, immediate, cancelled, timed_out, failed, dispatches,
            wakeups, inline_refused, handovers, stalls, misses, retries, retry_hits, deferred;
        /* written by the loop alone: lli_stat_add() */
        _Atomic uint64_t inline_hits, snapshot_hits, snapshot_takes, immediate_here, inline_opens,
            inline_closes;
        _Atomic uint64_t bounced[LLI_BOUNCES];
    } stats;

    /* under mu */
    lli_mutex mu;
    struct lli_list outstanding; /* of ll_request.engine_node */
    struct lli_timers deadlines;

    /* loop only */
    bool dispatching;
    uint64_t turn_used_ns;   /* spent on the loop in this turn */
    uint64_t turn;           /* its number */
    struct lli_list holders; /* of ll_conn.hold_node: see hold.c */
    /* see delay.c */
    struct lli_list deferred;  /* of ll_conn.delay_node: for the next turn */
    struct lli_timers retries; /* of ll_conn.retry: a page is on its way */
    unsigned turn_misses;      /* pages whose reading was started in this turn */
    int retry_trust;           /* whether retries have paid */
    unsigned retry_pause;      /* misses that go to a worker before retries are tried again */
};

/* Adds to a counter that only one thread at a time writes: a locked instruction costs 5 ns. */
static inline void lli_stat_add(_Atomic uint64_t *counter, uint64_t more)
{
    uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, old + more, memory_order_relaxed);
}

/* An engine of its own crew in step mode (see step.h) or a normal one. */
ll_status lli_engine_create(const ll_engine_options *options, bool step, ll_engine **ret_engine);
ll_engine *lli_engine_ref(ll_engine *engine);
void lli_engine_unref(ll_engine *engine);

/* Whether it was made before a fork. */
bool lli_engine_foreign(const ll_engine *engine);
/* LL_OK, or LL_EFORK with the caller's name in ll_last_error(). */
ll_status lli_engine_check(const ll_engine *engine, const char *caller);

/* Accepts a request: from now on it is delivered once. Errors: LL_ECLOSED, LL_ENOMEM. */
ll_status lli_engine_add(ll_engine *engine, ll_request *request);
/* Takes it back when it could not be queued. */
void lli_engine_remove(ll_engine *engine, ll_request *request);
/* Gives an accepted request another deadline (LLI_NEVER: none); one that has none may be left without, if there is no
 * memory. Does nothing if it is delivered. Any thread. */
void lli_engine_move_deadline(ll_engine *engine, ll_request *request, uint64_t deadline_ns);
/* Hands over a finished request. Any thread; the caller keeps its own reference. */
void lli_engine_post(ll_engine *engine, ll_request *request);
/* Counts a request that finished inside its submission; `here`: on the engine's loop. */
void lli_engine_count_immediate(ll_engine *engine, const ll_request *request, bool here);

#endif
