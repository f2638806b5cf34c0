/* timer.h: a heap of deadlines. Not locked: its owner says under which lock it lies. */
#ifndef LLI_ENGINE_TIMER_H
#define LLI_ENGINE_TIMER_H

#include "base/defs.h"

struct lli_timer {
    uint64_t due_ns;
    size_t slot; /* 1 + index in the heap; 0: not armed */
};

struct lli_timers {
    struct lli_timer **heap;
    size_t count, room;
};

void lli_timers_done(struct lli_timers *timers);
/* Makes room for `count` timers at once. Errors: LL_ENOMEM. */
ll_status lli_timers_reserve(struct lli_timers *timers, size_t count);
/* Arms, or moves, a timer. Room for it must have been reserved, so it cannot fail. */
void lli_timer_arm(struct lli_timers *timers, struct lli_timer *timer, uint64_t due_ns);
void lli_timer_disarm(struct lli_timers *timers, struct lli_timer *timer);
static inline bool lli_timer_armed(const struct lli_timer *timer)
{
    return timer->slot != 0;
}
/* The earliest due time, LLI_NEVER when none is armed. */
uint64_t lli_timers_next(const struct lli_timers *timers);
/* Takes the earliest timer that is due by `now_ns` out of the heap, or NULL. */
struct lli_timer *lli_timers_pop_due(struct lli_timers *timers, uint64_t now_ns);

#endif
