/* engine.h: one engine per event loop: its descriptor, its dispatch, its workers. */
#ifndef LOOPLITE_ENGINE_H
#define LOOPLITE_ENGINE_H

#include <looplite/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What belongs to one event loop: a descriptor, what has finished, and (its own or shared) workers. */
typedef struct ll_engine ll_engine;

/* Zero-initialise; every zero means "the default". */
typedef struct ll_engine_options {
    unsigned max_workers;  /* at most this many worker threads; 0: max(4, 2 x cores) */
    uint64_t linger_ns;    /* an idle worker leaves after this time; 0: 0.1 s */
    ll_engine *workers_of; /* share the workers of that engine: a connection opened on either may
                              then be used, by ll_submit.engine, from the loops of both. The workers
                              live until the last of the engines is freed. */
    uint64_t turn_ns;      /* what runs on the loop itself may take this long per turn; 0: 0.5 ms */
    uint64_t attempt_ns;   /* and each try this long; 0: 0.2 ms */
    bool host_turns; /* the host calls ll_engine_new_turn() whenever its loop comes round, and gives
                              way before it submits when ll_engine_turn_spent(); without, the descriptor
                              becomes readable when a turn has to end, and what is submitted when its
                              time is spent waits for the next dispatch */
} ll_engine_options;

/* Makes an engine for the calling thread's loop. Starts no thread.
 * Thread: any; the thread that later dispatches is "the loop". Owns: the caller frees it with
 * ll_engine_free(). Errors: LL_ENOMEM, LL_ESYS (descriptors), LL_EINVAL. After fork: an engine of
 * the parent is useless in the child, make a new one. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_engine_new(const ll_engine_options *options,
                                            ll_engine **ret_engine);

/* The descriptor to poll for reading (epoll, poll, libuv, GLib ...). It becomes readable when
 * ll_engine_dispatch() has something to do, timers included.
 * Thread: any. Owns: the engine's; never read, write or close it. Errors: -1 after fork. Since: 0.1
 */
LL_API int ll_engine_fd(const ll_engine *engine);

/* Runs what has waited for the loop, then the callbacks of what has finished and of the deadlines that have
 * passed; never blocks.
 * Callbacks may submit, cancel, close, and free requests; they may not dispatch or free the engine.
 * Thread: loop. Owns: nothing. Errors: LL_EINVAL when called from inside a callback, LL_EFORK;
 * otherwise the number of callbacks is in *ret_count (may be NULL). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_engine_dispatch(ll_engine *engine, size_t *ret_count);

/* Waits until there is something to dispatch, or `timeout_ns` has passed (negative: for ever), and
 * dispatches it. Returns at once when no request is outstanding.
 * Thread: loop. Owns: nothing. Errors: LL_EFORK, LL_ESYS, LL_EINVAL as ll_engine_dispatch().
 * Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_engine_wait(ll_engine *engine, int64_t timeout_ns,
                                             size_t *ret_count);

/* From here on the loop's thread looks by itself, again and again, whether something has finished, instead of sleeping
 * until the descriptor is readable: what finishes does not make it so, which saves two system calls and the wake-up.
 * Other reasons to dispatch, such as a deadline, still do. Ends with ll_engine_spin_end(), or in the next dispatch.
 * Thread: loop. Owns: nothing. Errors: none; after fork nothing ever finishes. Since: 0.1 */
LL_API void ll_engine_spin_begin(ll_engine *engine);

/* Whether requests have finished whose callbacks ll_engine_dispatch() would run.
 * Thread: any. Owns: nothing; a request that is held keeps its engine, even one that another thread abandons.
 * Errors: none. Since: 0.1 */
LL_API bool ll_engine_has_finished(const ll_engine *engine);

/* The loop is going to sleep after all: the descriptor becomes readable if something has finished meanwhile, and
 * when something does.
 * Thread: loop. Owns: nothing. Errors: none. Since: 0.1 */
LL_API void ll_engine_spin_end(ll_engine *engine);

/* Begins a new turn of the loop: the time that work on the loop itself may take is whole again.
 * ll_engine_dispatch() does it; a host whose loop makes turns without dispatching calls it once per turn.
 * Thread: loop. Owns: nothing. Errors: none; does nothing after fork. Since: 0.1 */
LL_API void ll_engine_new_turn(ll_engine *engine);

/* Whether this turn's time is spent. What is submitted now runs in the next dispatch, for which the descriptor
 * becomes readable, or, with ll_engine_options.host_turns, on a worker; a host that can give way to others (an
 * await) should do so before it submits.
 * Thread: loop. Owns: nothing. Errors: none. Since: 0.1 */
LL_API bool ll_engine_turn_spent(const ll_engine *engine);

/* Counts time that the host itself spent on results in this turn (decoding rows), in ns.
 * Thread: loop. Owns: nothing. Errors: none. Since: 0.1 */
LL_API void ll_engine_turn_charge(ll_engine *engine, uint64_t span_ns);

/* Changes ll_engine_options.max_workers of an engine and of all that share its workers. Threads that are more than that
 * leave when they have nothing to do.
 * Thread: any. Owns: nothing. Errors: LL_EINVAL for 0, LL_EFORK. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_engine_set_max_workers(ll_engine *engine, unsigned max_workers);

/* How many accepted requests have not called back yet.
 * Thread: any. Owns: nothing. Errors: none. Since: 0.1 */
LL_API size_t ll_engine_outstanding(const ll_engine *engine);

/* Ends an engine. What is queued is dropped (LL_ECANCELLED, not applied), what runs is interrupted
 * unless it is a commit; all callbacks that are still owed are called from
 * inside this call, then connections that were not closed are closed if no other engine shares the
 * workers.
 * Thread: loop, outside callbacks. Owns: takes the engine; NULL is fine. Requests, batches and
 * connection handles that the caller holds stay valid memory and must still be freed. Errors: none.
 * After fork: frees nothing, touches no descriptor. Since: 0.1 */
LL_API void ll_engine_free(ll_engine *engine);

/* Ends an engine whose loop is gone: like ll_engine_free(), but it waits for nothing and calls
 * nobody back. Requests in flight end by themselves; their callbacks are dropped.
 * Thread: any, when no thread is dispatching. Owns: takes the engine; NULL is fine. Errors: none.
 * Since: 0.1 */
LL_API void ll_engine_abandon(ll_engine *engine);

#ifdef __cplusplus
}
#endif
#endif
