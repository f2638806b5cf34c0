/* alloc.h: all memory of the library. */
#ifndef LLI_BASE_ALLOC_H
#define LLI_BASE_ALLOC_H

#include "base/defs.h"

/* Zeroed memory, or NULL. */
void *lli_new(size_t size);
/* count * size bytes, zeroed; NULL also when the product overflows. */
void *lli_new_array(size_t count, size_t size);
/* realloc; the old block stays valid when it gives NULL. */
void *lli_resize(void *block, size_t size);
/* A NUL-terminated copy of `size` bytes. */
char *lli_copy_text(const char *text, size_t size);
void lli_free(void *block);

/* Counting of live public objects, for ll_live_objects(). */
void lli_live(int change);

#endif
