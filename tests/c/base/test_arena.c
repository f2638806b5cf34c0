/* The arena: pieces stay where they are, aligned and apart. */
#include "support/support.h"

#include "base/arena.h"
#include "base/fault.h"

static void pieces_stay_where_they_are(void **state)
{
    (void)state;
    enum {
        COUNT = 5000
    };
    struct lli_arena arena = {0};
    unsigned char **pieces = calloc(COUNT, sizeof *pieces);
    T_CHECK(pieces != NULL);
    for (size_t i = 0; i < COUNT; i++) {
        pieces[i] = lli_arena_take(&arena, i % 97);
        T_CHECK(pieces[i] != NULL && (uintptr_t)pieces[i] % 8 == 0);
        memset(pieces[i], (int)(i & 255), i % 97);
    }
    for (size_t i = 0; i < COUNT; i++)
        for (size_t k = 0; k < i % 97; k++)
            T_CHECK(pieces[i][k] == (i & 255));
    T_CHECK(arena.total >= COUNT * 48);
    lli_arena_done(&arena);
    T_CHECK(arena.chunks == NULL && arena.total == 0);
    free(pieces);
}

static void large_pieces_and_copies(void **state)
{
    (void)state;
    struct lli_arena arena = {0};
    char *small = lli_arena_copy(&arena, "a\0b", 3);
    char *large = lli_arena_take(&arena, 1000000);
    char *after = lli_arena_copy(&arena, NULL, 0);
    T_CHECK(small && large && after);
    memset(large, 'x', 1000000);
    T_CHECK(memcmp(small, "a\0b\0", 4) == 0);
    T_SAME_TEXT(after, "");
    T_CHECK(lli_arena_take(&arena, SIZE_MAX) == NULL);
    T_CHECK(lli_arena_take(&arena, SIZE_MAX / 2 + 1) == NULL);
    lli_arena_done(&arena);
}

static void out_of_memory_keeps_what_is_there(void **state)
{
    (void)state;
    struct lli_arena arena = {0};
    char *first = lli_arena_copy(&arena, "first", 5);
    T_CHECK(first != NULL);
    lli_fault_arm(LLI_FAULT_ALLOC, 1);
    T_CHECK(lli_arena_take(&arena, 100000) == NULL && lli_fault_fired());
    lli_fault_disarm();
    T_SAME_TEXT(first, "first");
    T_CHECK(lli_arena_copy(&arena, "second", 6) == first + 8); /* the chunk goes on to be used */
    lli_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(pieces_stay_where_they_are),
        T_TEST(large_pieces_and_copies),
        T_TEST(out_of_memory_keeps_what_is_there),
    };
    return T_RUN(tests);
}
