/* nowait.h: reading a file without waiting for its device. */
#ifndef LLI_PLATFORM_NOWAIT_H
#define LLI_PLATFORM_NOWAIT_H

#include "base/defs.h"

#include <sys/types.h>

/* How a read of a file on the event loop's thread is kept from waiting. */
enum lli_disk_guard {
    LLI_DISK_UNKNOWN,     /* nobody has looked yet: as WORKER_ONLY */
    LLI_DISK_NOWAIT,      /* the kernel answers at once or says no: preadv2(RWF_NOWAIT) */
    LLI_DISK_TMPFS,       /* the file is memory: a plain pread() */
    LLI_DISK_MINCORE,     /* asks which pages are in memory, then a plain pread() */
    LLI_DISK_WORKER_ONLY, /* reads and locks may wait for a network or another process */
    LLI_DISK_NONE         /* our system-call hook is not called for this file: nothing guards it */
};

/* "nowait", "tmpfs", ... Static text. */
const char *lli_disk_guard_name(enum lli_disk_guard guard);

/* Finds out how the file behind a descriptor can be read, and which file it is. Any thread; never waits
 * for the device. */
enum lli_disk_guard lli_nowait_probe(int fd, uint64_t *ret_device, uint64_t *ret_inode);

/* As pread(), under a guard that lli_nowait_probe() gave; fewer bytes than asked only at the end of the
 * file. -1 with errno EAGAIN: a miss. Any other error of the file is told as a miss too. Any thread. */
ssize_t lli_nowait_read(int fd, enum lli_disk_guard guard, void *buffer, size_t size,
                        int64_t offset);

/* Whether a path leads to a regular file, without asking a device: every name on the way is in the kernel's
 * cache, and its file system is one that is read through the page cache of this machine. Opens nothing that a lock
 * hangs on. False: no, or it cannot be told. Any thread. */
bool lli_nowait_path(const char *path, uint64_t *ret_device, uint64_t *ret_inode);

#endif
