/* arena.c: a bump allocator over a list of chunks.
 *
 * The texts of a row batch and the copied parameters of a request live exactly as long as their owner,
 * so they are cut from chunks that double in size (1 KiB to 64 KiB) and are never moved: values may
 * point into them while more are added. A piece that is larger than a chunk gets a chunk of its own. */
#include "base/arena.h"

#include "base/alloc.h"

#include <string.h>

enum {
    FIRST_CHUNK = 1024,
    LARGEST_CHUNK = 64 * 1024
};

struct lli_arena_chunk {
    struct lli_arena_chunk *next;
    size_t size;
    _Alignas(16) char bytes[];
};

void *lli_arena_take(struct lli_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + 7) & ~(size_t)7;
    if (LLI_UNLIKELY(!arena->place || arena->room - arena->used < size)) {
        size_t want = arena->chunks ? arena->room * 2 : FIRST_CHUNK;
        if (want > LARGEST_CHUNK)
            want = LARGEST_CHUNK;
        if (want < size)
            want = size;
        struct lli_arena_chunk *chunk = lli_resize(NULL, sizeof *chunk + want);
        if (!chunk)
            return NULL;
        chunk->size = want;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->place = chunk->bytes;
        arena->total += want;
        arena->used = 0;
        arena->room = want;
    }
    void *piece = arena->place + arena->used;
    arena->used += size;
    return piece;
}

char *lli_arena_copy(struct lli_arena *arena, const void *bytes, size_t size)
{
    char *copy = lli_arena_take(arena, size + 1);
    if (!copy)
        return NULL;
    if (size > 0)
        memcpy(copy, bytes, size);
    copy[size] = '\0';
    return copy;
}

void lli_arena_done(struct lli_arena *arena)
{
    struct lli_arena_chunk *chunk = arena->chunks;
    while (chunk) {
        struct lli_arena_chunk *next = chunk->next;
        lli_free(chunk);
        chunk = next;
    }
    memset(arena, 0, sizeof *arena);
}
