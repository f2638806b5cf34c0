/* pool_stats.c: what a pool knows of itself: numbers, who is out, and who keeps the WAL from being emptied. */
#include "service/pool.h"

#include "engine/engine.h"
#include "platform/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

/* Appends; what does not fit is cut. */
static LLI_PRINTF(4, 5) void append(char *text, size_t room, size_t *at, const char *format, ...)
{
    va_list args;
    if (*at >= room)
        return;
    va_start(args, format);
    int size = vsnprintf(text + *at, room - *at, format, args);
    va_end(args);
    *at = size < 0 ? room : *at + (size_t)size;
}

void lli_pool_describe(const ll_pool *pool, uint64_t now_ns, char *ret_text, size_t room)
{
    enum {
        NAMED = 5
    };
    unsigned leased = 0, said = 0;
    for (unsigned i = 0; i < pool->options.max_size; i++)
        leased += pool->slots[i].state == LLI_SLOT_LEASED;
    size_t at = 0;
    ret_text[0] = '\0';
    append(ret_text, room, &at, "%u of the %u connections of the pool are out", leased,
           pool->options.max_size);
    /* The longest first. */
    uint64_t before = 0;
    unsigned same = 0;
    while (said < leased && said < NAMED) {
        const ll_lease *oldest = NULL;
        unsigned ties = 0;
        for (unsigned i = 0; i < pool->options.max_size; i++) {
            const ll_lease *lease = pool->slots[i].state == LLI_SLOT_LEASED ? pool->slots[i].lease
                                                                            : NULL;
            if (!lease || lease->since_ns < before)
                continue;
            if (lease->since_ns == before && ties++ < same)
                continue; /* said already */
            if (!oldest || lease->since_ns < oldest->since_ns)
                oldest = lease;
        }
        if (!oldest)
            break;
        same = oldest->since_ns == before ? same + 1 : 1;
        before = oldest->since_ns;
        append(ret_text, room, &at, "%s%.1f s", said == 0 ? ", for " : ", ",
               seconds(now_ns - oldest->since_ns));
        if (oldest->label[0])
            append(ret_text, room, &at, " (%s)", oldest->label);
        said++;
    }
    if (leased > said)
        append(ret_text, room, &at, ", and %u more", leased - said);
}

static void look_at_slots(ll_pool *pool, uint64_t now, ll_pool_stats *stats)
{
    for (unsigned i = 0; i < pool->options.max_size; i++) {
        char label[LLI_LABEL] = "", text[LLI_TENANT_TEXT] = "";
        lli_lock(&pool->mu);
        struct lli_slot *slot = &pool->slots[i];
        ll_conn *conn = slot->conn ? lli_conn_ref(slot->conn) : NULL;
        stats->size += slot->state != LLI_SLOT_EMPTY;
        stats->idle += lli_slot_is_idle(slot);
        if (slot->state == LLI_SLOT_LEASED) {
            uint64_t span = now > slot->lease->since_ns ? now - slot->lease->since_ns : 1;
            memcpy(label, slot->lease->label, sizeof label);
            stats->leased++;
            if (span > stats->oldest_ns) {
                stats->oldest_ns = span;
                memcpy(stats->oldest_label, label, sizeof label);
            }
        }
        lli_unlock(&pool->mu);
        if (!conn)
            continue;
        bool writing;
        uint64_t since = lli_tenant_reading(conn, text, &writing);
        uint64_t span = since == 0 ? 0 : now > since ? now - since : 1;
        if (span > stats->pinned_ns) {
            stats->pinned_ns = span;
            memcpy(stats->pin_label, label, sizeof label);
            memcpy(stats->pin_sql, text, sizeof text);
        }
        if (writing) {
            stats->writing = true;
            memcpy(stats->writer_label, label, sizeof label);
        }
        lli_conn_unref(conn);
    }
}

void ll_pool_get_stats(ll_pool *pool, ll_pool_stats *ret_stats)
{
    if (!ret_stats)
        return;
    memset(ret_stats, 0, sizeof *ret_stats);
    if (!pool || lli_engine_foreign(pool->engine))
        return;
    lli_pool_serve(pool); /* what is due is done */
    lli_lock(&pool->mu);
    *ret_stats = pool->stats;
    ll_writer_stats now, *sum = &ret_stats->group;
    ll_writer_get_stats(pool->writer, &now); /* (atomics only) */
    lli_unlock(&pool->mu);
    sum->batches += now.batches;
    sum->members += now.members;
    sum->alone += now.alone;
    sum->reruns += now.reruns;
    sum->largest = now.largest > sum->largest ? now.largest : sum->largest;
    ret_stats->waiting = atomic_load_explicit(&pool->waiting, memory_order_relaxed);
    look_at_slots(pool, lli_now_ns(), ret_stats);
}
