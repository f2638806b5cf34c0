/* sm.h: checked state machines. What has more than two states keeps a drawing in its file and a table
 * of allowed moves, and every move goes through lli_sm_move(). */
#ifndef LLI_BASE_SM_H
#define LLI_BASE_SM_H

#include "base/defs.h"

struct lli_sm {
    const char *name;
    const char *const *states; /* names, by number */
    const uint32_t *moves;     /* moves[from] has bit `to` set when the move is allowed */
    unsigned count;
};

#define LLI_SM_TO(state) (UINT32_C(1) << (state))

/* Whether the move is in the table. */
bool lli_sm_allows(const struct lli_sm *sm, unsigned from, unsigned to);

/* Asserts that it is, and tells the test's tracer, if any. Returns `to`. */
unsigned lli_sm_move(const struct lli_sm *sm, const void *object, unsigned from, unsigned to);

/* Tests: called at each move, on the thread that makes it. NULL ends tracing. Set while nothing runs. */
typedef void (*lli_sm_tracer)(const struct lli_sm *sm, const void *object, unsigned from,
                              unsigned to);
void lli_sm_trace(lli_sm_tracer tracer);

#endif
