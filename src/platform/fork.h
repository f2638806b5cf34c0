/* fork.h: telling the child of a fork from its parent. */
#ifndef LLI_PLATFORM_FORK_H
#define LLI_PLATFORM_FORK_H

#include "base/defs.h"

/* Changes in the child of each fork(). An object keeps the value of its birth; when it differs, the
 * object belongs to the parent and must not be touched. */
uint32_t lli_fork_generation(void);
/* Must have run before the first object is made. Any thread, any number of times. */
void lli_fork_watch(void);

#endif
