/* filelock.c: fcntl(F_GETLK).
 *
 * It answers which lock would stand in the way of ours, so a process never sees its own. The descriptor is
 * somebody else's: none is opened here, for closing it would drop every POSIX lock of the process on that file.
 * That the number still belongs to the file is looked at first. */
#include "platform/filelock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum lli_filelock lli_filelock_elsewhere(int fd, uint64_t device, uint64_t inode, int64_t first,
                                         int64_t count)
{
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0 || (uint64_t)info.st_dev != device ||
        (uint64_t)info.st_ino != inode)
        return LLI_FILELOCK_UNKNOWN;
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)first, .l_len = (off_t)count};
    if (fcntl(fd, F_GETLK, &lock) != 0)
        return LLI_FILELOCK_UNKNOWN;
    return lock.l_type == F_UNLCK ? LLI_FILELOCK_NONE : LLI_FILELOCK_SOME;
}
