/* stats.h: what an engine has done, in numbers that only grow, and what it holds now. */
#ifndef LOOPLITE_STATS_H
#define LOOPLITE_STATS_H

#include <looplite/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers of one engine, and of the workers that it shares. */
typedef struct ll_stats {
    /* this engine, counted since it was made */
    uint64_t submitted;  /* requests accepted */
    uint64_t completed;  /* requests finished, whatever their end */
    uint64_t immediate;  /* of these, finished inside the call that submitted them */
    uint64_t cancelled;  /* ended with LL_ECANCELLED */
    uint64_t timed_out;  /* ended with LL_ETIMEOUT */
    uint64_t failed;     /* ended with any other error */
    uint64_t dispatches; /* calls of ll_engine_dispatch() that found something */
    uint64_t wakeups;    /* times the descriptor was made readable because a request had finished */
    uint64_t inline_hits; /* requests that ran on the loop itself */
    uint64_t
        inline_refused; /* of requests that could have: sent to a worker because of what they are,
                                or because the connection was busy, or the turn's time was spent and
                                the host had said that it makes turns itself */
    uint64_t snapshot_hits;   /* reads on the loop that joined a snapshot held for the turn (WAL) */
    uint64_t snapshot_takes;  /* times one was taken */
    uint64_t bounced_time;    /* tries on the loop that a guard ended: budget, */
    uint64_t bounced_disk;    /* page not in the kernel's cache, */
    uint64_t bounced_write;   /* would have written, */
    uint64_t bounced_lock;    /* lock not free, */
    uint64_t bounced_mutex;   /* a worker held a mutex of SQLite's, */
    uint64_t bounced_foreign; /* foreign code */
    uint64_t handovers;  /* live statements handed from the loop to a worker between two rows */
    uint64_t stalls;     /* work on the loop that took longer than a turn may, and writes on
                                     the loop that had to wait for a page */
    uint64_t misses;     /* pages that were not in the kernel's cache, met on the loop */
    uint64_t retries;    /* requests that waited for such a page, to be tried again on the loop */
    uint64_t retry_hits; /* of these, found it and ran there */
    uint64_t deferred; /* requests that waited for the loop: the turn was spent, or others of their
                           connection waited for it */
    uint64_t
        inline_opens; /* connections opened on the loop itself, in the call that asked for it */
    uint64_t inline_closes; /* ... and closed there */
    /* its workers, shared by all engines that share them */
    uint64_t worker_runs; /* requests run by workers */
    uint64_t hops;        /* times a worker took a connection */
    uint64_t parks;       /* times a connection was parked because the database was locked */
    uint64_t gate_waits;  /* times a writer stood in line behind another one of this process */
    uint64_t gate_gaps;   /* times a file was left to other processes for some milliseconds, because
                                 the writers of this one had left them none */
    uint64_t cache_waits; /* times a statement stood in line behind another one in a shared cache */
    uint64_t group_batches;   /* transactions of group commit (writer.h), of all writers */
    uint64_t group_members;   /* statements in them */
    uint64_t group_largest;   /* most in one */
    uint64_t group_alone;     /* statements given to a writer that ran on their own connection */
    uint64_t group_reruns;    /* statements run again with their group */
    uint64_t threads_started; /* worker threads ever started */
    unsigned threads;         /* worker threads alive */
    unsigned threads_idle;    /* of these, without work */
    unsigned threads_peak;    /* most alive at once */
    unsigned connections;     /* open connections */
} ll_stats;

/* Reads the statistics.
 * Thread: any. Owns: nothing. Errors: all zero after fork. Since: 0.1 */
LL_API void ll_engine_get_stats(const ll_engine *engine, ll_stats *ret_stats);

/* How many objects of the library are alive in this process (engines, connections, requests,
 * batches, cursors, statements, columns): zero after everything was given back.
 * Thread: any. Owns: nothing. Errors: none. Since: 0.1 */
LL_API size_t ll_live_objects(void);

#ifdef __cplusplus
}
#endif
#endif
