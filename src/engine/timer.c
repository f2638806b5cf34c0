/* timer.c: a binary heap whose elements know their place, so that any timer is disarmed in log n.
 *
 * Two use it: an engine for the deadlines of its requests, a crew for parked connections. Room is
 * reserved where failing is easy (a submission, an open), so that arming, which happens where nothing can
 * be refused any more, cannot fail. */
#include "engine/timer.h"

#include "base/alloc.h"

#include <string.h>

void lli_timers_done(struct lli_timers *timers)
{
    lli_free(timers->heap);
    memset(timers, 0, sizeof *timers);
}

static void place(struct lli_timers *timers, size_t at, struct lli_timer *timer)
{
    timers->heap[at] = timer;
    timer->slot = at + 1;
}

static void sift_up(struct lli_timers *timers, size_t at)
{
    struct lli_timer *timer = timers->heap[at];
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (timers->heap[parent]->due_ns <= timer->due_ns)
            break;
        place(timers, at, timers->heap[parent]);
        at = parent;
    }
    place(timers, at, timer);
}

static void sift_down(struct lli_timers *timers, size_t at)
{
    struct lli_timer *timer = timers->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= timers->count)
            break;
        if (child + 1 < timers->count &&
            timers->heap[child + 1]->due_ns < timers->heap[child]->due_ns)
            child++;
        if (timer->due_ns <= timers->heap[child]->due_ns)
            break;
        place(timers, at, timers->heap[child]);
        at = child;
    }
    place(timers, at, timer);
}

ll_status lli_timers_reserve(struct lli_timers *timers, size_t count)
{
    if (count <= timers->room)
        return LL_OK;
    size_t room = timers->room > 0 ? timers->room : 8;
    while (room < count)
        room *= 2;
    struct lli_timer **heap = lli_resize(timers->heap, room * sizeof(struct lli_timer *));
    if (!heap)
        return LL_ENOMEM;
    timers->heap = heap;
    timers->room = room;
    return LL_OK;
}

void lli_timer_arm(struct lli_timers *timers, struct lli_timer *timer, uint64_t due_ns)
{
    lli_timer_disarm(timers, timer);
    assert(timers->count < timers->room);
    timer->due_ns = due_ns;
    timers->heap[timers->count] = timer;
    sift_up(timers, timers->count++);
}

void lli_timer_disarm(struct lli_timers *timers, struct lli_timer *timer)
{
    if (!lli_timer_armed(timer))
        return;
    size_t at = timer->slot - 1;
    struct lli_timer *last = timers->heap[--timers->count];
    timer->slot = 0;
    if (last == timer)
        return;
    place(timers, at, last);
    if (at > 0 && timers->heap[(at - 1) / 2]->due_ns > last->due_ns)
        sift_up(timers, at);
    else
        sift_down(timers, at);
}

uint64_t lli_timers_next(const struct lli_timers *timers)
{
    return timers->count > 0 ? timers->heap[0]->due_ns : LLI_NEVER;
}

struct lli_timer *lli_timers_pop_due(struct lli_timers *timers, uint64_t now_ns)
{
    if (timers->count == 0 || timers->heap[0]->due_ns > now_ns)
        return NULL;
    struct lli_timer *timer = timers->heap[0];
    lli_timer_disarm(timers, timer);
    return timer;
}
