/* guard.h: what may stop a statement while SQLite runs it: cancellation, a deadline, a lock.
 *
 * SQLite calls our progress handler every thousand steps of its machine and our busy handler when a lock
 * is not free. Both read the guard of the connection, which whoever runs a statement has set up. */
#ifndef LLI_DB_GUARD_H
#define LLI_DB_GUARD_H

#include "base/defs.h"

#include <sqlite3.h>

/* Why a statement is to end; also the value of a request's stop word. */
enum lli_stop {
    LLI_STOP_NONE = 0,
    LLI_STOP_CANCEL,    /* ll_request_cancel() */
    LLI_STOP_DEADLINE,  /* its deadline passed */
    LLI_STOP_INTERRUPT, /* ll_conn_interrupt(): stops whatever runs */
    LLI_STOP_CLOSE      /* the engine ends, or the cursor was closed: stops all but a commit */
};

/* Owner of the connection only, except `stop`, which points to an atomic that any thread may set. */
struct lli_guard {
    /* set up before a run */
    const atomic_uint *stop; /* enum lli_stop of the running request; NULL: none */
    uint64_t deadline_ns;    /* LLI_NEVER: none */
    uint64_t busy_until_ns;  /* how long a lock may be waited for */
    bool interruptible;      /* cancel and deadline stop it (a read, or a write that may be) */
    bool deadline_breaks;    /* ... or the deadline alone does */
    bool committing;         /* a COMMIT runs: nothing but giving up the lock ends it */
    sqlite3_stmt *writer;    /* what runs, if it writes */
    /* Waits `span_ns`, or until the request is stopped; used only while the connection holds the write
     * lock. False: give up. */
    bool (*nap)(void *arg, uint64_t span_ns);
    void *nap_arg;
    bool progress_is_taken;   /* SQLite's slot has a handler of the program's own, which asks us */
    void (*point)(void *arg); /* tests: called by the progress handler; NULL otherwise */
    void *point_arg;
    sqlite3 *db;
    /* while lent */
    struct lli_guard *outer; /* the one that this thread was in before */
    int lent_ms;             /* the busy timeout that SQLite shows */
    /* what the handlers found, cleared by lli_guard_arm() */
    enum lli_stop stopped; /* why the progress handler ended the statement */
    bool lock_asked;       /* the busy handler was asked: SQLite would have waited here */
};

/* Installs both handlers on a handle. */
void lli_guard_install(struct lli_guard *guard, sqlite3 *db);
/* The program's own statements run on this thread, which nobody can put back: until lli_guard_return() locks are
 * waited for by SQLite's own handler, so that PRAGMA busy_timeout reads and sets what it says; but its sleep is
 * ours (lli_guard_sleep()). The handlers are to be installed again afterwards. */
void lli_guard_lend(struct lli_guard *guard, uint64_t busy_timeout_ns);
void lli_guard_return(struct lli_guard *guard);
/* xSleep on this thread: waits so long, or until the request is stopped. False: no guard is lent here. */
bool lli_guard_sleep(int microseconds);
/* What the progress handler does: nonzero ends the statement. */
int lli_guard_progress(struct lli_guard *guard);
/* Takes them away. */
void lli_guard_remove(struct lli_guard *guard);
/* Forgets what the handlers found in the last run. */
void lli_guard_arm(struct lli_guard *guard);
/* Whether the run should end now, and why. */
enum lli_stop lli_guard_check(const struct lli_guard *guard);

#endif
