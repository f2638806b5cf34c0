/* clock.c: the only place that asks for the time, and the only source of randomness.
 *
 * Deadlines, back-off steps and slices all go through lli_now_ns(), so a test that scripts the clock
 * decides when a timeout happens, and the step scheduler can replay a history from its seed. */
#include "platform/clock.h"

#include <time.h>

static atomic_bool scripted;         /* any thread, relaxed; set by tests */
static _Atomic uint64_t scripted_ns; /* any thread, relaxed */
static _Atomic uint64_t random_state = UINT64_C(0x9e3779b97f4a7c15); /* any thread, relaxed */

uint64_t lli_now_ns(void)
{
    if (LLI_UNLIKELY(atomic_load_explicit(&scripted, memory_order_relaxed)))
        return atomic_load_explicit(&scripted_ns, memory_order_relaxed);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * LLI_SECOND + (uint64_t)now.tv_nsec;
}

uint64_t lli_deadline_after(uint64_t span_ns)
{
    return lli_deadline_from(lli_now_ns(), span_ns);
}

void lli_clock_script(uint64_t now_ns)
{
    atomic_store(&scripted_ns, now_ns);
    atomic_store(&scripted, true);
}

void lli_clock_real(void)
{
    atomic_store(&scripted, false);
}

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t lli_random(void)
{
    uint64_t z = atomic_fetch_add_explicit(&random_state, UINT64_C(0x9e3779b97f4a7c15),
                                           memory_order_relaxed);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void lli_random_seed(uint64_t seed)
{
    atomic_store(&random_state, seed);
}
