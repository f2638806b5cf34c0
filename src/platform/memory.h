/* memory.h: pages of large blocks. */
#ifndef LLI_PLATFORM_MEMORY_H
#define LLI_PLATFORM_MEMORY_H

#include "base/defs.h"

/* A block that is about to be written from its beginning to its end: asks the system for its pages in one call, where
 * writing would ask for each. A wish: whatever becomes of it, the block can be written. Small ones are left alone. */
void lli_memory_ready(void *block, size_t size);

#endif
