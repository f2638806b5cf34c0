/* arena.h: memory that is given out in pieces and freed all at once. */
#ifndef LLI_BASE_ARENA_H
#define LLI_BASE_ARENA_H

#include "base/defs.h"

struct lli_arena {
    struct lli_arena_chunk *chunks; /* newest first */
    char *place;                    /* what is given out now: the newest chunk, or the lent room */
    size_t used, room;              /* of it */
    size_t total;                   /* bytes taken from the allocator */
};

/* An arena that first uses `room` bytes of somebody else's, aligned to 8. (One that is all zero has none.) */
static inline void lli_arena_lend(struct lli_arena *arena, void *bytes, size_t room)
{
    *arena = (struct lli_arena){.place = bytes, .room = room};
}

/* `size` bytes aligned to 8, or NULL. Pointers stay valid until lli_arena_done(). */
void *lli_arena_take(struct lli_arena *arena, size_t size);
/* A NUL-terminated copy. */
char *lli_arena_copy(struct lli_arena *arena, const void *bytes, size_t size);
void lli_arena_done(struct lli_arena *arena);

#endif
