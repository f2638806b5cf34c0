/* fault.c: the counters behind the fault points.
 *
 * One fault is armed at a time: a kind and a countdown. Every fault point of that kind counts down;
 * the one that reaches zero fails and the fault is spent. The counter is one atomic, so exactly one
 * call fails whatever the threads do; which one depends on their order, which is what the loops over n
 * in tests/c/fault want to explore. */
#include "base/fault.h"

#if LLI_FAULTS
#    include <stdatomic.h>

static atomic_int armed_kind = -1; /* test thread writes while nothing runs; all read, relaxed */
static atomic_long countdown;      /* all: relaxed, the one who takes it to 0 fails */
static atomic_bool fired;

void lli_fault_arm(enum lli_fault_kind kind, unsigned long nth)
{
    atomic_store(&fired, false);
    atomic_store(&countdown, (long)nth);
    atomic_store(&armed_kind, (int)kind);
}

bool lli_fault_fired(void)
{
    return atomic_load(&fired);
}

void lli_fault_disarm(void)
{
    atomic_store(&armed_kind, -1);
}

bool lli_fault(enum lli_fault_kind kind)
{
    if (atomic_load_explicit(&armed_kind, memory_order_relaxed) != (int)kind)
        return false;
    if (atomic_fetch_sub_explicit(&countdown, 1, memory_order_relaxed) != 1)
        return false;
    atomic_store(&fired, true);
    return true;
}
#else
typedef int lli_fault_disabled; /* an empty translation unit is not C */
#endif
