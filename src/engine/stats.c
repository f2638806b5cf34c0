/* stats.c: reading counters. They are relaxed atomics: each is right, their sum at one instant is not
 * promised. */
#include "engine/conn.h"
#include "engine/engine.h"

#include <string.h>

void ll_engine_get_stats(const ll_engine *engine, ll_stats *ret_stats)
{
    memset(ret_stats, 0, sizeof *ret_stats);
    if (!engine || lli_engine_foreign(engine))
        return;
#define READ(name) ret_stats->name = atomic_load_explicit(&engine->stats.name, memory_order_relaxed)
    READ(submitted);
    READ(completed);
    READ(immediate);
    READ(cancelled);
    READ(timed_out);
    READ(failed);
    READ(dispatches);
    READ(wakeups);
    READ(inline_hits);
    READ(inline_refused);
    READ(inline_opens);
    READ(inline_closes);
    READ(snapshot_hits);
    READ(snapshot_takes);
    READ(handovers);
    READ(stalls);
    READ(misses);
    READ(retries);
    READ(retry_hits);
    READ(deferred);
#undef READ
    ret_stats->immediate += atomic_load_explicit(&engine->stats.immediate_here,
                                                 memory_order_relaxed);
    ret_stats->submitted += ret_stats->immediate;
    ret_stats->completed += ret_stats->immediate;
#define BOUNCED(name, why) \
    ret_stats->name = atomic_load_explicit(&engine->stats.bounced[why], memory_order_relaxed)
    BOUNCED(bounced_time, LLI_BOUNCE_TIME);
    BOUNCED(bounced_disk, LLI_BOUNCE_DISK);
    BOUNCED(bounced_write, LLI_BOUNCE_WRITE);
    BOUNCED(bounced_lock, LLI_BOUNCE_LOCK);
    BOUNCED(bounced_mutex, LLI_BOUNCE_MUTEX);
    BOUNCED(bounced_foreign, LLI_BOUNCE_FOREIGN);
#undef BOUNCED
    lli_crew_get_stats(engine->crew, ret_stats);
}

void ll_conn_get_state(const ll_conn *conn, ll_conn_state *ret_state)
{
    memset(ret_state, 0, sizeof *ret_state);
    if (!conn || lli_engine_foreign(conn->engine))
        return;
    ll_conn *mine = (ll_conn *)(uintptr_t)conn;
    lli_lock(&mine->mu);
    *ret_state = mine->snapshot;
    lli_own_look(mine, ret_state);
    ret_state->closing = mine->closing;
    lli_unlock(&mine->mu);
}
