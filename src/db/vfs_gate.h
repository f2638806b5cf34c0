/* vfs_gate.h: who is inside a call that holds one of os_unix's mutexes.
 *
 * The mutexes of os_unix. xLock, xShmLock and their like hold a mutex of the file around a system call.
 * [M] A worker that was preempted there kept reads on the loop waiting for up to 26 ms. So each file has
 * a gate that counts who is inside; an attempt that finds somebody waits for some pauses of the processor,
 * then gives up before it calls. ([M] Two loops that read one file without rest, on two cores with other
 * work: without pauses 39 % of the attempts bounced, with 64 of them 18 %, with 256 8 %.) The count is a
 * hint: a worker may enter between the look and the call, so a few nanoseconds of the 26 ms are left. It is
 * no lock, because a call may wait for long (SQLite built with SETLK_TIMEOUT), and the unlocking that would
 * end the wait must get past it. xShmBarrier takes the mutex of all files "for redundancy" with each read;
 * in an attempt a barrier of the processor stands for it.
 *
 * Opening and closing take the one mutex of all files, for which there is one more gate: whoever opens or
 * closes a database on the loop looks at both (engine/open_here.c).
 *
 * Gates are found by a hash of device and inode in a fixed table: two files that share one bounce a
 * little more often, and nothing has to be allocated, found, or freed at the right moment. */
#ifndef LLI_DB_VFS_GATE_H
#define LLI_DB_VFS_GATE_H

#include "db/attempt.h"
#include "platform/thread.h"

struct lli_vfs_gate {
    /* any thread; relaxed, since nothing is handed over by it: it only says "now is not a good time" */
    _Alignas(64) atomic_uint inside;
};

/* The gate of the mutex that all files share. */
extern struct lli_vfs_gate lli_vfs_gate_all;

/* The gate of a file. */
struct lli_vfs_gate *lli_vfs_gate_of(uint64_t device, uint64_t inode);
/* The child of a fork has none of the threads that were inside. Once. */
void lli_vfs_gates_watch_fork(void);

/* Whether nobody is inside, or nobody after some pauses of the processor. NULL: nobody. */
static inline bool lli_vfs_gate_is_free(const struct lli_vfs_gate *gate)
{
    enum {
        PAUSES = 256 /* 5 to 12 us on current processors: a tenth of a hop or two */
    };
    if (!gate)
        return true;
    for (int i = 0; atomic_load_explicit(&gate->inside, memory_order_relaxed) != 0; i++) {
        if (i == PAUSES)
            return false;
        lli_spin_pause();
    }
    return true;
}

/* False: an attempt (NULL: in none) met somebody inside and is over. */
static inline bool lli_vfs_gate_may_enter(const struct lli_vfs_gate *gate,
                                          struct lli_attempt *attempt)
{
    if (LLI_LIKELY(!attempt) || attempt->shielded || lli_vfs_gate_is_free(gate))
        return true;
    return !lli_attempt_has_to_refuse(attempt, LLI_BOUNCE_MUTEX);
}

static inline void lli_vfs_gate_enter(struct lli_vfs_gate *gate)
{
    if (gate)
        atomic_fetch_add_explicit(&gate->inside, 1, memory_order_relaxed);
}

static inline void lli_vfs_gate_leave(struct lli_vfs_gate *gate)
{
    if (gate)
        atomic_fetch_sub_explicit(&gate->inside, 1, memory_order_relaxed);
}

#endif
