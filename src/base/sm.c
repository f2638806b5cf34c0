/* sm.c: checks each move of a state machine against its table.
 *
 * A move that is not in the table is a defect of the library, never of its user, so it is an assertion:
 * it costs nothing in release builds and stops a test at the place where the invariant broke instead of
 * where the damage shows. */
#include "base/sm.h"

static lli_sm_tracer tracer_hook; /* tests only; written while no other thread runs */

bool lli_sm_allows(const struct lli_sm *sm, unsigned from, unsigned to)
{
    return from < sm->count && to < sm->count && (sm->moves[from] & LLI_SM_TO(to)) != 0;
}

unsigned lli_sm_move(const struct lli_sm *sm, const void *object, unsigned from, unsigned to)
{
    assert(lli_sm_allows(sm, from, to));
    if (LLI_UNLIKELY(tracer_hook != NULL))
        tracer_hook(sm, object, from, to);
    return to;
}

void lli_sm_trace(lli_sm_tracer tracer)
{
    tracer_hook = tracer;
}
