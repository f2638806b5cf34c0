/* map.c: chained hashing with a fixed number of buckets.
 *
 * Its user, the statement cache, is bounded, so the table is sized once and never grows; inserting
 * cannot fail. The hash is FNV-1a (Fowler, Noll, Vo) taken eight bytes at a time with a final mix: SQL
 * texts are a few hundred bytes and mostly equal at the front. */
#include "base/map.h"

#include "base/alloc.h"

#include <string.h>

ll_status lli_map_init(struct lli_map *map, size_t expected)
{
    size_t buckets = 8;
    while (buckets < expected && buckets < ((size_t)1 << 20))
        buckets *= 2;
    map->buckets = lli_new_array(buckets, sizeof *map->buckets);
    if (!map->buckets)
        return LL_ENOMEM;
    map->mask = buckets - 1;
    map->count = 0;
    return LL_OK;
}

void lli_map_done(struct lli_map *map)
{
    lli_free(map->buckets);
    memset(map, 0, sizeof *map);
}

uint64_t lli_map_hash(const char *key, size_t size)
{
    const uint64_t prime = UINT64_C(0x100000001b3);
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ size;
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, key, 8);
        hash = (hash ^ word) * prime;
        hash ^= hash >> 29;
        key += 8;
        size -= 8;
    }
    for (; size > 0; size--)
        hash = (hash ^ (unsigned char)*key++) * prime;
    return hash ^ (hash >> 32);
}

struct lli_map_entry *lli_map_find(const struct lli_map *map, uint64_t hash, const char *key,
                                   size_t size)
{
    for (struct lli_map_entry *e = map->buckets[hash & map->mask]; e; e = e->next)
        if (e->hash == hash && e->size == size && memcmp(e->key, key, size) == 0)
            return e;
    return NULL;
}

void lli_map_insert(struct lli_map *map, struct lli_map_entry *entry)
{
    struct lli_map_entry **bucket = &map->buckets[entry->hash & map->mask];
    entry->next = *bucket;
    *bucket = entry;
    map->count++;
}

void lli_map_remove(struct lli_map *map, struct lli_map_entry *entry)
{
    struct lli_map_entry **at = &map->buckets[entry->hash & map->mask];
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    entry->next = NULL;
    map->count--;
}
