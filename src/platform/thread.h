/* thread.h: threads, mutexes and condition variables, thinly. */
#ifndef LLI_PLATFORM_THREAD_H
#define LLI_PLATFORM_THREAD_H

#include "base/defs.h"

#include <pthread.h>

typedef pthread_mutex_t lli_mutex;
typedef pthread_cond_t lli_cond; /* waits by CLOCK_MONOTONIC */
typedef pthread_t lli_thread;

void lli_mutex_init(lli_mutex *mutex);
void lli_mutex_done(lli_mutex *mutex);
void lli_lock(lli_mutex *mutex);
void lli_unlock(lli_mutex *mutex);

void lli_cond_init(lli_cond *cond);
void lli_cond_done(lli_cond *cond);
void lli_cond_wait(lli_cond *cond, lli_mutex *mutex);
/* False when `deadline_ns` (lli_now_ns() time, LLI_NEVER for none) has passed. */
bool lli_cond_wait_until(lli_cond *cond, lli_mutex *mutex, uint64_t deadline_ns);
void lli_cond_signal(lli_cond *cond);
void lli_cond_broadcast(lli_cond *cond);

/* Starts a thread with all signals blocked, so that the host's handlers run on its own threads.
 * Errors: LL_ESYS. */
ll_status lli_thread_start(lli_thread *ret_thread, void *(*run)(void *), void *arg);
void lli_thread_join(lli_thread thread);
void lli_thread_detach_self(void);
/* Names the calling thread and lowers its priority: a worker must not take the processor from a loop. */
void lli_thread_be_worker(void);
unsigned lli_cores(void);
/* One breath of a spinning thread. */
void lli_spin_pause(void);

#endif
