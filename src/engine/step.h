/* step.h: the engine in a single thread, one move at a time, as a seeded scheduler wants it. For tests.
 *
 * An engine made by lli_step_new() starts no thread. Its workers are virtual: each is a slot that may own
 * a connection. Everything that real threads would do at any time becomes a move, and the test picks which
 * is made next:
 *
 *   TAKE    an idle worker takes the first connection of the line
 *   RUN     a worker runs one request of the connection that it owns, or lets go of it
 *   YIELD   a worker puts its connection at the end of the line
 *   TIMER   time goes on to when the next parked connection is due, and it is made ready
 *   RETRY   time goes on to when a missing page is looked for again, and the loop dispatches
 *
 * Submitting, cancelling and dispatching are the test's own moves. In the middle of a statement, at each
 * call of the progress handler, the `point` of the scheduler is called: there the test may do what another
 * thread could do at that moment. The same seed gives the same history, since the clock is scripted. */
#ifndef LLI_ENGINE_STEP_H
#define LLI_ENGINE_STEP_H

#include "engine/engine.h"

enum {
    LLI_STEP_WORKERS = 8,
    LLI_STEP_MOVES = 2 * LLI_STEP_WORKERS + 2 /* most that are possible at once */
};

enum lli_step_kind {
    LLI_STEP_TAKE,
    LLI_STEP_RUN,
    LLI_STEP_YIELD,
    LLI_STEP_TIMER,
    LLI_STEP_RETRY
};

struct lli_step_move {
    enum lli_step_kind kind;
    unsigned worker;
};

struct lli_step {
    ll_engine *engine; /* the test's; freed by lli_step_free() */
    unsigned workers;
    ll_conn *owned[LLI_STEP_WORKERS];
    uint64_t now_ns; /* the scripted clock */
    unsigned inside; /* moves are not made from inside a move */
};

/* `point` (may be NULL) is called with `arg` from inside running statements. */
ll_status lli_step_new(struct lli_step *step, unsigned workers, void (*point)(void *), void *arg);
/* The moves that are possible now; `moves` has room for LLI_STEP_MOVES. */
size_t lli_step_moves(const struct lli_step *step, struct lli_step_move *moves);
void lli_step_make(struct lli_step *step, struct lli_step_move move);
/* Lets time pass without a move. */
void lli_step_advance(struct lli_step *step, uint64_t span_ns);
/* Makes moves and dispatches until nothing is left to do; timers included. */
void lli_step_settle(struct lli_step *step);
/* Settles, frees the engine, gives the real clock back. */
void lli_step_free(struct lli_step *step);

#endif
