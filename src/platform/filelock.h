/* filelock.h: asking for the locks that other processes have on a file. */
#ifndef LLI_PLATFORM_FILELOCK_H
#define LLI_PLATFORM_FILELOCK_H

#include "base/defs.h"

enum lli_filelock {
    LLI_FILELOCK_NONE,   /* no other process has a lock on one of these bytes */
    LLI_FILELOCK_SOME,   /* one has */
    LLI_FILELOCK_UNKNOWN /* it is another file, or the system does not say */
};

/* Asks through a descriptor that is open already, and only if it still is that of this file. Takes no lock and
 * waits for none. Any thread. */
enum lli_filelock lli_filelock_elsewhere(int fd, uint64_t device, uint64_t inode, int64_t first,
                                         int64_t count);

#endif
