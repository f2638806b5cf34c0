/* turn.c: the turn budget.
 *
 * Work that finishes at once never lets others run: a task that awaits a million cached reads would starve
 * every other task, timer and socket. So the time that is spent on the loop is summed up, and when the sum
 * of a turn reaches the budget, the next piece of work is not done on the loop (or, in a host that can give
 * way, not yet). Only a new turn of the loop makes the budget whole again ([M] a sum that is reset whenever
 * one task gives way does not bound the turn: 100 tasks of 1 ms each left gaps of 100 to 364 ms).
 *
 * The loop is the thread that dispatched last, known by the address of a thread-local variable. Before the
 * first dispatch nobody is the loop, and nothing runs inline. */
#include "engine/turn.h"

#include "engine/hold.h"

#include "platform/clock.h"

static _Thread_local char here;

static void new_turn(ll_engine *engine)
{
    atomic_store_explicit(&engine->loop, (uintptr_t)&here, memory_order_relaxed);
    engine->turn_used_ns = 0;
    engine->turn++;
    engine->turn_misses = 0;
    lli_hold_end_turn(engine);
}

bool lli_turn_is_loop(const ll_engine *engine)
{
    return atomic_load_explicit(&engine->loop, memory_order_relaxed) == (uintptr_t)&here;
}

void lli_turn_charge(ll_engine *engine, uint64_t span_ns)
{
    engine->turn_used_ns += span_ns;
    if (span_ns > engine->turn_ns)
        atomic_fetch_add_explicit(&engine->stats.stalls, 1, memory_order_relaxed);
}

void ll_engine_new_turn(ll_engine *engine)
{
    if (engine && !lli_engine_foreign(engine))
        new_turn(engine);
}

bool ll_engine_turn_spent(const ll_engine *engine)
{
    return engine && !lli_engine_foreign(engine) && engine->turn_used_ns >= engine->turn_ns;
}

void ll_engine_turn_charge(ll_engine *engine, uint64_t span_ns)
{
    if (engine && !lli_engine_foreign(engine))
        lli_turn_charge(engine, span_ns);
}
