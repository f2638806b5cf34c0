/* The hash map: finding, chains, removal. */
#include "support/support.h"

#include "base/map.h"

struct element {
    struct lli_map_entry entry;
    char key[24];
};

static void put(struct lli_map *map, struct element *e, uint64_t hash)
{
    e->entry.hash = hash;
    e->entry.key = e->key;
    e->entry.size = strlen(e->key);
    lli_map_insert(map, &e->entry);
}

static void finds_what_was_put_in(void **state)
{
    (void)state;
    enum {
        COUNT = 1000
    };
    struct lli_map map;
    T_CHECK(lli_map_init(&map, 16) == LL_OK); /* long chains */
    struct element *all = calloc(COUNT, sizeof *all);
    T_CHECK(all != NULL);
    for (int i = 0; i < COUNT; i++) {
        snprintf(all[i].key, sizeof all[i].key, "SELECT %d", i);
        put(&map, &all[i], lli_map_hash(all[i].key, strlen(all[i].key)));
    }
    T_CHECK(map.count == COUNT);
    for (int i = 0; i < COUNT; i += 2)
        lli_map_remove(&map, &all[i].entry);
    for (int i = 0; i < COUNT; i++) {
        const struct lli_map_entry *e = &all[i].entry;
        struct lli_map_entry *found = lli_map_find(&map, e->hash, e->key, e->size);
        T_CHECK(found == (i % 2 ? e : NULL));
    }
    T_CHECK(map.count == COUNT / 2);
    lli_map_done(&map);
    T_CHECK(map.buckets == NULL);
    free(all);
}

static void equal_hashes_are_told_apart(void **state)
{
    (void)state;
    struct lli_map map;
    struct element a = {.key = "a"}, b = {.key = "b"}, longer = {.key = "ab"};
    T_CHECK(lli_map_init(&map, 1) == LL_OK);
    put(&map, &a, 7);
    put(&map, &b, 7);
    put(&map, &longer, 7);
    T_CHECK(lli_map_find(&map, 7, "a", 1) == &a.entry);
    T_CHECK(lli_map_find(&map, 7, "b", 1) == &b.entry);
    T_CHECK(lli_map_find(&map, 7, "ab", 2) == &longer.entry);
    T_CHECK(lli_map_find(&map, 8, "a", 1) == NULL);
    lli_map_remove(&map, &b.entry); /* from the middle of the chain */
    T_CHECK(lli_map_find(&map, 7, "a", 1) && lli_map_find(&map, 7, "ab", 2));
    lli_map_done(&map);
}

static void hash_sees_every_byte(void **state)
{
    (void)state;
    char text[40];
    memset(text, 'x', sizeof text);
    for (size_t size = 0; size < sizeof text; size++) {
        uint64_t hash = lli_map_hash(text, size);
        T_CHECK(hash == lli_map_hash(text, size) && hash != lli_map_hash(text, size + 1));
        for (size_t i = 0; i < size; i++) {
            text[i] ^= 1;
            T_CHECK(lli_map_hash(text, size) != hash);
            text[i] ^= 1;
        }
    }
    T_CHECK(lli_map_hash("a\0b", 3) != lli_map_hash("a\0c", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(finds_what_was_put_in),
        T_TEST(equal_hashes_are_told_apart),
        T_TEST(hash_sees_every_byte),
    };
    return T_RUN(tests);
}
