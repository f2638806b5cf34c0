/* pollset.h: one descriptor that becomes readable by a wake-up from any thread or by a timer. */
#ifndef LLI_PLATFORM_POLLSET_H
#define LLI_PLATFORM_POLLSET_H

#include "base/defs.h"

struct lli_pollset {
    int fd;             /* the one that is handed out */
    int wake_fd;        /* fixed after init */
    int timer_fd;       /* fixed after init */
    uint64_t timer_due; /* caller's lock: what the timer is set to, LLI_NEVER when off */
};

/* Errors: LL_ESYS with the call that failed in ll_last_error(). */
ll_status lli_pollset_init(struct lli_pollset *set);
void lli_pollset_done(struct lli_pollset *set);
/* Makes it readable until lli_pollset_drain(). Any thread. */
void lli_pollset_wake(struct lli_pollset *set);
/* Makes it readable at `due_ns` (lli_now_ns() time; LLI_NEVER: never). Calls must be serialised. */
void lli_pollset_set_timer(struct lli_pollset *set, uint64_t due_ns);
/* Make it unreadable again, by the timer and by wake-ups. Whoever drains must look at the timers or the
 * queue afterwards. Loop only. */
void lli_pollset_drain_timer(struct lli_pollset *set);
void lli_pollset_drain_wake(struct lli_pollset *set);
/* Waits until it is readable: 1; 0 when `timeout_ns` (negative: none) has passed; -1 with errno. Loop only. */
int lli_pollset_wait(struct lli_pollset *set, int64_t timeout_ns);

#endif
