/* fork.c: a generation number that pthread_atfork() raises in the child.
 *
 * After fork() the child has one thread, copies of mutexes in whatever state they were, and descriptors
 * that it shares with the parent (closing or draining them would change the parent's). It may not touch
 * any of it. Every public function compares the generation of its object first, which costs one load. */
#include "platform/fork.h"

#include <pthread.h>

static _Atomic uint32_t generation = 1; /* written in the child while it has one thread */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void in_child(void)
{
    atomic_fetch_add(&generation, 1);
}

static void watch(void)
{
    pthread_atfork(NULL, NULL, in_child);
}

uint32_t lli_fork_generation(void)
{
    return atomic_load_explicit(&generation, memory_order_relaxed);
}

void lli_fork_watch(void)
{
    pthread_once(&once, watch);
}
