/* worker.h: the crew: an elastic set of threads that carry connections from one request to the next. */
#ifndef LLI_ENGINE_WORKER_H
#define LLI_ENGINE_WORKER_H

#include "base/list.h"
#include "engine/pace.h"
#include "engine/timer.h"
#include "platform/thread.h"

#include <looplite/stats.h>

struct lli_crew {
    /* fixed after creation */
    unsigned cores;
    uint64_t linger_ns;
    bool step;                /* no threads: a test's scheduler makes each move (step.h) */
    void (*point)(void *arg); /* step mode: called from inside running statements; may be NULL */
    void *point_arg;

    /* any thread */
    atomic_uint refs;       /* engines, connections, threads; last unref is acq_rel */
    atomic_uint ready_hint; /* length of `ready`; relaxed, read by a spinning worker */
    /* relaxed: whether the statement that was run last left a transaction open that has written */
    atomic_bool within;
    struct { /* relaxed: statistics */
        _Atomic uint64_t runs, hops, parks, gate_waits, gate_gaps, cache_waits, threads_started,
            group_batches, group_members, group_largest, group_alone, group_reruns;
    } stats;

    /* under mu */
    lli_mutex mu;
    lli_cond work;            /* a connection is ready, or an earlier timer was armed, or the end */
    lli_cond gone;            /* a thread has left */
    struct lli_list ready;    /* of ll_conn.ready_node, first come first served */
    struct lli_list conns;    /* of ll_conn.crew_node: open or opening */
    struct lli_timers parked; /* of ll_conn.park */
    struct lli_list left;     /* of worker.node: threads that have ended and are to be joined */
    unsigned max;             /* threads, without those that nap inside SQLite */
    unsigned engines, connections;
    unsigned threads, idle, spinning, napping, peak;
    struct lli_pace pace; /* for how long an idle worker spins */
    uint64_t
        idle_since_ns; /* when the last worker that had no work began to wait for some; 0: there was since */
    enum lli_pace_place idle_place; /* and where; set with it */
    bool keeper;                    /* an idle thread waits with the earliest timer as its limit */
    bool stopping;                  /* no engine is left: threads leave when nothing is ready */
    bool orphaned;                  /* ... and nobody waits for them: they detach themselves */
};

struct lli_crew *lli_crew_new(unsigned max_workers, uint64_t linger_ns, bool step);
struct lli_crew *lli_crew_ref(struct lli_crew *crew);
void lli_crew_unref(struct lli_crew *crew);

unsigned lli_crew_max(struct lli_crew *crew);
/* Changes how many threads there may be. */
void lli_crew_set_max(struct lli_crew *crew, unsigned max);

/* An engine begins to use the crew, or ends. With the last one all connections are closed; `wait` makes
 * it return when that is done and no thread is left. */
void lli_crew_join_engine(struct lli_crew *crew);
void lli_crew_leave_engine(struct lli_crew *crew, bool wait);

/* A connection is opened on the crew: room for its timer is made. Errors: LL_ENOMEM. */
ll_status lli_crew_add(struct lli_crew *crew, ll_conn *conn);
/* It is closed, or never opened. */
void lli_crew_remove(struct lli_crew *crew, ll_conn *conn);

/* Puts a connection (state READY) in line for a worker. `unpark` disarms its timer in the same step.
 * Errors: LL_ESYS when there is no thread and none can be started; the connection is then not in line. */
ll_status lli_crew_ready(struct lli_crew *crew, ll_conn *conn, bool unpark);
/* Arms the timer of a connection that is about to be parked. */
void lli_crew_park(struct lli_crew *crew, ll_conn *conn, uint64_t due_ns);
/* Whether connections wait for a worker. */
bool lli_crew_waiting(struct lli_crew *crew);
/* Around a wait inside SQLite: another thread may take this one's place meanwhile. */
void lli_crew_nap_begin(struct lli_crew *crew);
void lli_crew_nap_end(struct lli_crew *crew);

/* The moves of a worker, also made one by one by the step scheduler. */
ll_conn *lli_crew_take(struct lli_crew *crew);     /* the next ready connection, owned; or NULL */
bool lli_crew_fire(struct lli_crew *crew);         /* one parked connection that is due: ready */
uint64_t lli_crew_next_due(struct lli_crew *crew); /* LLI_NEVER: none is parked */
/* Makes moves on the calling thread until nothing is ready. */
void lli_crew_run_here(struct lli_crew *crew);

void lli_crew_get_stats(struct lli_crew *crew, ll_stats *ret_stats);

#endif
