/* nowait_none.c: systems without a read that cannot wait, so that every file is for workers only. */
#include "platform/nowait.h"

#ifndef __linux__

#    include <errno.h>
#    include <sys/stat.h>

enum lli_disk_guard lli_nowait_probe(int fd, uint64_t *ret_device, uint64_t *ret_inode)
{
    struct stat info;
    bool known = fstat(fd, &info) == 0;
    *ret_device = known ? (uint64_t)info.st_dev : 0;
    *ret_inode = known ? (uint64_t)info.st_ino : 0;
    return LLI_DISK_WORKER_ONLY;
}

ssize_t lli_nowait_read(int fd, enum lli_disk_guard guard, void *buffer, size_t size,
                        int64_t offset)
{
    (void)fd, (void)guard, (void)buffer, (void)size, (void)offset;
    errno = EAGAIN;
    return -1;
}

bool lli_nowait_path(const char *path, uint64_t *ret_device, uint64_t *ret_inode)
{
    (void)path, (void)ret_device, (void)ret_inode;
    return false;
}

#else
typedef int lli_no_nowait_none; /* an empty translation unit is not C */
#endif
