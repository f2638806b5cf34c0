/* map.h: a hash map from byte strings to elements that carry their own entry. */
#ifndef LLI_BASE_MAP_H
#define LLI_BASE_MAP_H

#include "base/defs.h"

struct lli_map_entry {
    struct lli_map_entry *next;
    uint64_t hash;
    const char *key; /* owned by the element */
    size_t size;
};

struct lli_map {
    struct lli_map_entry **buckets;
    size_t mask, count;
};

/* `expected` elements fit without long chains. */
ll_status lli_map_init(struct lli_map *map, size_t expected);
void lli_map_done(struct lli_map *map);
uint64_t lli_map_hash(const char *key, size_t size);
struct lli_map_entry *lli_map_find(const struct lli_map *map, uint64_t hash, const char *key,
                                   size_t size);
/* entry->hash, key and size must be set and must not be in the map yet. */
void lli_map_insert(struct lli_map *map, struct lli_map_entry *entry);
void lli_map_remove(struct lli_map *map, struct lli_map_entry *entry);

#endif
