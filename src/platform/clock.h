/* clock.h: monotonic time, which tests may replace by a script. */
#ifndef LLI_PLATFORM_CLOCK_H
#define LLI_PLATFORM_CLOCK_H

#include "base/defs.h"

/* Nanoseconds of CLOCK_MONOTONIC, or of the scripted clock. */
uint64_t lli_now_ns(void);
/* from + span, LLI_NEVER when that overflows. */
static inline uint64_t lli_deadline_from(uint64_t from_ns, uint64_t span_ns)
{
    uint64_t at;
    return __builtin_add_overflow(from_ns, span_ns, &at) ? LLI_NEVER : at;
}
/* The same from now. */
uint64_t lli_deadline_after(uint64_t span_ns);

/* Tests: from now on lli_now_ns() gives `now_ns` until it is set again; lli_clock_real() ends it. */
void lli_clock_script(uint64_t now_ns);
void lli_clock_real(void);

/* A random number for tie-breaking and seeds; deterministic after lli_random_seed(). Any thread. */
uint64_t lli_random(void);
void lli_random_seed(uint64_t seed);

#endif
