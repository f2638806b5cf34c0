/* turn.h: how much of the loop's time may be spent per turn. Loop only. */
#ifndef LLI_ENGINE_TURN_H
#define LLI_ENGINE_TURN_H

#include "engine/engine.h"

/* Whether the calling thread is the loop of this engine. Any thread. */
bool lli_turn_is_loop(const ll_engine *engine);
/* Adds what a piece of work on the loop took. */
void lli_turn_charge(ll_engine *engine, uint64_t span_ns);

#endif
