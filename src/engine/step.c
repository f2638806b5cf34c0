/* step.c: virtual workers.
 *
 * The moves are the functions that worker threads call, so what is explored is the code that runs in
 * production; only who calls it, and when, is decided by the test. What does not exist here are naps (the
 * busy handler always declines, so a COMMIT that meets a reader is parked like everything else) and true
 * simultaneity, which is ThreadSanitizer's business. */
#include "engine/step.h"

#include "engine/conn.h"
#include "engine/delay.h"
#include "platform/clock.h"

#include <string.h>

static const uint64_t step_epoch_ns = 1000 * LLI_SECOND;

ll_status lli_step_new(struct lli_step *step, unsigned workers, void (*point)(void *), void *arg)
{
    assert(workers >= 1 && workers <= LLI_STEP_WORKERS);
    memset(step, 0, sizeof *step);
    step->workers = workers;
    step->now_ns = step_epoch_ns;
    lli_clock_script(step->now_ns);
    ll_engine_options options = {.max_workers = workers};
    ll_status status = lli_engine_create(&options, true, &step->engine);
    if (status != LL_OK) {
        lli_clock_real();
        return status;
    }
    step->engine->crew->point = point;
    step->engine->crew->point_arg = arg;
    return LL_OK;
}

size_t lli_step_moves(const struct lli_step *step, struct lli_step_move *moves)
{
    size_t count = 0;
    struct lli_crew *crew = step->engine->crew;
    if (step->inside)
        return 0;
    bool waiting = lli_crew_waiting(crew);
    for (unsigned i = 0; i < step->workers; i++) {
        if (!step->owned[i]) {
            if (waiting)
                moves[count++] = (struct lli_step_move){LLI_STEP_TAKE, i};
            waiting = false; /* workers without a connection are all alike */
        } else {
            moves[count++] = (struct lli_step_move){LLI_STEP_RUN, i};
            moves[count++] = (struct lli_step_move){LLI_STEP_YIELD, i};
        }
    }
    if (lli_crew_next_due(crew) != LLI_NEVER)
        moves[count++] = (struct lli_step_move){LLI_STEP_TIMER, 0};
    if (lli_delay_next(step->engine) != LLI_NEVER && !step->engine->dispatching)
        moves[count++] = (struct lli_step_move){LLI_STEP_RETRY, 0};
    return count;
}

void lli_step_make(struct lli_step *step, struct lli_step_move move)
{
    struct lli_crew *crew = step->engine->crew;
    ll_conn **owned = &step->owned[move.worker];
    step->inside++;
    switch (move.kind) {
    case LLI_STEP_TAKE:
        *owned = lli_crew_take(crew);
        break;
    case LLI_STEP_RUN:
        if (!lli_conn_run_one(*owned))
            *owned = NULL;
        break;
    case LLI_STEP_YIELD:
        lli_conn_yield(*owned);
        *owned = NULL;
        break;
    case LLI_STEP_TIMER: {
        uint64_t due = lli_crew_next_due(crew);
        if (due > step->now_ns && due != LLI_NEVER)
            lli_step_advance(step, due - step->now_ns);
        lli_crew_fire(crew);
        break;
    }
    case LLI_STEP_RETRY: {
        uint64_t due = lli_delay_next(step->engine);
        if (due > step->now_ns)
            lli_step_advance(step, due - step->now_ns);
        ll_status status = ll_engine_dispatch(step->engine, NULL);
        assert(status == LL_OK);
        (void)status;
        break;
    }
    }
    step->inside--;
}

void lli_step_advance(struct lli_step *step, uint64_t span_ns)
{
    step->now_ns += span_ns;
    lli_clock_script(step->now_ns);
}

/* The first move that is no YIELD: settling must come to an end. */
static bool make_any(struct lli_step *step)
{
    struct lli_step_move moves[LLI_STEP_MOVES];
    size_t count = lli_step_moves(step, moves);
    for (size_t i = 0; i < count; i++)
        if (moves[i].kind != LLI_STEP_YIELD) {
            lli_step_make(step, moves[i]);
            return true;
        }
    return false;
}

void lli_step_settle(struct lli_step *step)
{
    size_t delivered;
    do {
        while (make_any(step)) {}
        delivered = 0;
        ll_status status = ll_engine_dispatch(step->engine, &delivered);
        assert(status == LL_OK);
        (void)status;
    } while (delivered > 0 || lli_crew_waiting(step->engine->crew) ||
             !lli_list_empty(&step->engine->deferred));
}

void lli_step_free(struct lli_step *step)
{
    lli_step_settle(step);
    ll_engine_free(step->engine);
    lli_clock_real();
    step->engine = NULL;
}
