/* attempt.h: one bounded try to run a read on the event loop's own thread.
 *
 * While a thread is inside an attempt, whatever could make it wait must end the attempt instead: the
 * progress handler, the VFS shim, the replaced system calls and the trampolines of user functions all look
 * at `lli_attempt_now` of their thread. The first that fires sets `bounce` and makes SQLite give up with
 * SQLITE_INTERRUPT or an I/O error; the statement is then run again, whole, on a worker. Whatever
 * sqlite3_step() returned, its result is thrown away if `bounce` is set. */
#ifndef LLI_DB_ATTEMPT_H
#define LLI_DB_ATTEMPT_H

#include "base/defs.h"
#include "base/fault.h"

/* Which guard ended an attempt; also the index of its counter in the statistics. */
enum lli_bounce {
    LLI_BOUNCE_NONE,
    LLI_BOUNCE_TIME,    /* the budget is spent */
    LLI_BOUNCE_DISK,    /* a page is not in the kernel's cache */
    LLI_BOUNCE_WRITE,   /* it would have to write, sync, truncate or delete (recovery, spill) */
    LLI_BOUNCE_LOCK,    /* a lock is not free, or SQLite wanted to sleep */
    LLI_BOUNCE_MUTEX,   /* a worker is inside a call that holds one of os_unix's mutexes */
    LLI_BOUNCE_FOREIGN, /* a user's function, collation or callback */
    LLI_BOUNCES
};

struct lli_attempt {
    uint64_t begun_ns;      /* lli_now_ns() when it began: no need to look at the clock again */
    uint64_t deadline_ns;   /* lli_now_ns() time at which the budget is spent */
    enum lli_bounce bounce; /* the first guard that fired */
    bool shielded;          /* an inline write: nothing is refused, misses are only counted */
    bool has_read;          /* a page: from the second on, each read looks at the clock */
    unsigned misses;        /* pages that were not there */
};

/* The attempt that this thread is in, NULL when it is in none. */
extern _Thread_local struct lli_attempt *lli_attempt_now;

/* Puts this thread into an attempt that began now; it must be in none. Shielded: an inline write. */
void lli_attempt_begin(struct lli_attempt *attempt, uint64_t budget_ns, bool shielded);
/* Takes it out again. Anything but LLI_BOUNCE_NONE: throw the result away and run it on a worker. */
enum lli_bounce lli_attempt_end(struct lli_attempt *attempt);
/* "time", "disk", ... Static text. */
const char *lli_bounce_name(enum lli_bounce bounce);

/* Sets the bounce if none is set. */
static inline void lli_attempt_bounce(struct lli_attempt *attempt, enum lli_bounce why)
{
    if (attempt->bounce == LLI_BOUNCE_NONE)
        attempt->bounce = why;
}

/* The two questions below, for who has looked up `attempt` (lli_attempt_now, NULL or not) already: to find a
 * thread's own variable takes a call. */
static inline bool lli_attempt_has_to_refuse(struct lli_attempt *attempt, enum lli_bounce why)
{
    if (LLI_LIKELY(!attempt) || attempt->shielded)
        return false;
    lli_attempt_bounce(attempt, why);
    return true;
}

static inline bool lli_attempt_has_ended(struct lli_attempt *attempt)
{
    if (LLI_LIKELY(!attempt) || attempt->shielded)
        return false;
    if (LLI_FAULT(LLI_FAULT_ATTEMPT)) {
        lli_attempt_bounce(attempt, LLI_BOUNCE_DISK);
        attempt->misses++;
    }
    return attempt->bounce != LLI_BOUNCE_NONE;
}

/* Whether something has to be refused on this thread now; notes why. */
static inline bool lli_attempt_refuses(enum lli_bounce why)
{
    return lli_attempt_has_to_refuse(lli_attempt_now, why);
}

/* Whether an attempt of this thread has ended already: some calls of SQLite cannot report an error
 * (xSleep), so the next one that can does it. */
static inline bool lli_attempt_is_over(void)
{
    return lli_attempt_has_ended(lli_attempt_now);
}

#endif
