/* pace.h: for how long it is worth while to look for work before going to sleep.
 *
 * To wake a sleeping thread takes some 50 us, both sides together. Who waits for less than about that had better stay
 * awake. So the crew remembers how long a worker without work has waited for some lately, and looks for it for that
 * long if it was short. A program that makes one write after the other waits for 20 to 60 us between them; one that writes
 * now and then keeps no core busy. Inside a transaction that has written the next statement, or the COMMIT, is near; behind it
 * comes whatever else the program does. So the two are remembered apart.
 *
 * A moving average, in which a long pause counts as 0.4 ms: after two short ones it is forgotten. */
#ifndef LLI_ENGINE_PACE_H
#define LLI_ENGINE_PACE_H

#include <stdint.h>

/* Where the wait was: behind a statement that left a transaction open which has written, or not. */
enum lli_pace_place {
    LLI_PACE_BETWEEN,
    LLI_PACE_WITHIN,
    LLI_PACE_PLACES
};

struct lli_pace {
    uint64_t average_ns[LLI_PACE_PLACES]; /* 0: nothing is known yet */
};

enum {
    LLI_PACE_LEAST_NS = 20 * 1000,
    LLI_PACE_MOST_NS = 100 * 1000,
    LLI_PACE_LONG_NS = 400 * 1000
};

/* A worker has waited that long, and then there was work. */
static inline void lli_pace_waited(struct lli_pace *pace, enum lli_pace_place place,
                                   uint64_t waited_ns)
{
    uint64_t *average_ns = &pace->average_ns[place];
    if (waited_ns > LLI_PACE_LONG_NS)
        waited_ns = LLI_PACE_LONG_NS;
    *average_ns = (3 * *average_ns + waited_ns) / 4;
}

/* For how long the next one looks. */
static inline uint64_t lli_pace_spin_ns(const struct lli_pace *pace, enum lli_pace_place place)
{
    return pace->average_ns[place] <= LLI_PACE_MOST_NS ? LLI_PACE_MOST_NS : LLI_PACE_LEAST_NS;
}

#endif
