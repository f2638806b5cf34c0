/* nowait_linux.c: reads that are answered from memory or not at all.
 *
 * preadv2() with RWF_NOWAIT (Linux 4.14) copies what is in the page cache and fails with EAGAIN for the
 * rest; on current kernels the failing call also starts reading ahead, so the same read succeeds a little
 * later. [M] for a page of 4 KB: 0.36 us with pread(), 0.43 us so. It is called by number: C libraries
 * that lack the function, or make it a cancellation point, do not matter then.
 *
 * What is a hit. A full result is one. Linux 5.9 and 5.10 sometimes answer 0, and any kernel may answer
 * with the part that it has, so a short result is a hit only if fstat() says that the file ends there;
 * everything else is a miss. (SQLite reads past the end where it expects a file that is still empty, and
 * calling that a miss would send such a file to a worker each time.) A file that grows between the two
 * calls makes it a miss, never a wrong hit.
 *
 * File systems. Those named in the tables below are known; all others are for workers only, since a
 * network or a user-space server stands behind them and their locks wait as well. tmpfs and ramfs are
 * memory. A local one that refuses RWF_NOWAIT (overlayfs does) gets the older question: mincore() on a
 * mapping that is never touched, made from the descriptor that we were given. [M] That is five
 * calls, 4.6 to 10 us a page where a pread() took 0.4 to 1.1: with more than some six pages to read the
 * hop to a worker is cheaper. It does not start reading ahead either. mincore() answers "all there" to those who neither own the file nor may write it (Linux 5.2);
 * they are sent to a worker.
 *
 * Paths. openat2() with RESOLVE_CACHED (Linux 5.12) finds a name in the kernel's cache or fails with EAGAIN,
 * also where a network or a user-space server would have to be asked whether the name is still good. With
 * O_PATH it does not open the file, so nothing waits for a lease or a watcher, and closing the descriptor drops no
 * lock: filp_close() leaves those of O_PATH alone. Any other refusal (an older kernel, a sandbox) is a no.
 *
 * No other descriptor is opened here: closing one drops every POSIX lock that the process has on the file. */
#include "platform/nowait.h"

#ifdef __linux__

#    include <errno.h>
#    include <fcntl.h>
#    include <sys/mman.h>
#    include <sys/stat.h>
#    include <sys/syscall.h>
#    include <sys/uio.h>
#    include <sys/vfs.h>
#    include <unistd.h>

#    ifndef RWF_NOWAIT
#        define RWF_NOWAIT 0x00000008
#    endif

/* Magic numbers of statfs(2); <linux/magic.h> does not have all of them. */
static const uint32_t memory_systems[] = {
    0x01021994, /* tmpfs */
    0x858458f6, /* ramfs */
};
/* Read through the page cache, from devices of this machine. Not ZFS: it caches elsewhere. */
static const uint32_t local_systems[] = {
    0xef53,     /* ext2, ext3, ext4 */
    0x58465342, /* XFS */
    0x9123683e, /* Btrfs */
    0xf2f52010, /* F2FS */
    0xca451a4e, /* bcachefs */
    0x3153464a, /* JFS */
    0x52654973, /* ReiserFS */
    0x3434,     /* NILFS */
    0x24051905, /* UBIFS */
    0x4d44,     /* FAT */
    0x2011bab0, /* exFAT */
    0x7366746e, /* NTFS, in the kernel */
    0x73717368, /* SquashFS */
    0xe0f5e1e2, /* EROFS */
    0x794c7630, /* overlayfs; what lies below it is local in nearly all cases */
};

enum {
    MOST_PAGES =
        32 /* SQLite's largest page, 64 KB, and a WAL frame's header, in pages of 4 KB: 18 */
};

/* <linux/openat2.h> came with Linux 5.6, its RESOLVE_CACHED with 5.12. */
struct open_how_2 {
    uint64_t flags, mode, resolve;
};
#    ifndef SYS_openat2
#        define SYS_openat2 437 /* on all architectures but Alpha */
#    endif
static const uint64_t resolve_cached = 0x20;

static bool is_among(const uint32_t *list, size_t count, uint32_t magic)
{
    for (size_t i = 0; i < count; i++)
        if (list[i] == magic)
            return true;
    return false;
}

static ssize_t ask(int fd, void *buffer, size_t size, int64_t offset)
{
#    ifdef SYS_preadv2
    struct iovec part = {buffer, size};
    unsigned long low = (unsigned long)offset;
    unsigned long high = sizeof low < sizeof offset ? (unsigned long)((uint64_t)offset >> 32) : 0;
    return (ssize_t)syscall(SYS_preadv2, fd, &part, 1UL, low, high, RWF_NOWAIT);
#    else
    errno = ENOSYS;
    return -1;
#    endif
}

/* Whether mincore() would tell us the truth. */
static bool may_look(int fd, const struct stat *info)
{
    int flags = fcntl(fd, F_GETFL);
    return info->st_uid == geteuid() || (flags >= 0 && (flags & O_ACCMODE) == O_RDWR);
}

enum lli_disk_guard lli_nowait_probe(int fd, uint64_t *ret_device, uint64_t *ret_inode)
{
    struct stat info;
    struct statfs system;
    *ret_device = *ret_inode = 0;
    if (fstat(fd, &info) != 0)
        return LLI_DISK_WORKER_ONLY;
    *ret_device = (uint64_t)info.st_dev;
    *ret_inode = (uint64_t)info.st_ino;
    if (!S_ISREG(info.st_mode) || fstatfs(fd, &system) != 0)
        return LLI_DISK_WORKER_ONLY;
    uint32_t magic = (uint32_t)system.f_type;
    if (is_among(memory_systems, LLI_COUNT(memory_systems), magic))
        return LLI_DISK_TMPFS;
    if (!is_among(local_systems, LLI_COUNT(local_systems), magic))
        return LLI_DISK_WORKER_ONLY;
    /* The flag is refused before anything is read, also in an empty file. What is refused, and how
     * (EOPNOTSUPP, ENOSYS, EINVAL, a sandbox's EPERM), does not matter: only a miss is no refusal. */
    char byte;
    if (ask(fd, &byte, 1, 0) >= 0 || errno == EAGAIN)
        return LLI_DISK_NOWAIT;
    return may_look(fd, &info) ? LLI_DISK_MINCORE : LLI_DISK_WORKER_ONLY;
}

bool lli_nowait_path(const char *path, uint64_t *ret_device, uint64_t *ret_inode)
{
    const struct open_how_2 how = {.flags = O_PATH | O_CLOEXEC, .resolve = resolve_cached};
    struct stat info;
    struct statfs system;
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    if (fd < 0)
        return false;
    bool found = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && fstatfs(fd, &system) == 0;
    close(fd);
    if (!found)
        return false;
    *ret_device = (uint64_t)info.st_dev;
    *ret_inode = (uint64_t)info.st_ino;
    uint32_t magic = (uint32_t)system.f_type;
    return is_among(memory_systems, LLI_COUNT(memory_systems), magic) ||
           is_among(local_systems, LLI_COUNT(local_systems), magic);
}

static ssize_t miss(void)
{
    errno = EAGAIN;
    return -1;
}

static ssize_t read_by_asking(int fd, void *buffer, size_t size, int64_t offset)
{
    ssize_t got = ask(fd, buffer, size, offset);
    if (LLI_LIKELY(got == (ssize_t)size))
        return got;
    struct stat info;
    if (got >= 0 && fstat(fd, &info) == 0 && offset + got >= info.st_size)
        return got;
    return miss();
}

static ssize_t read_by_looking(int fd, void *buffer, size_t size, int64_t offset)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return miss();
    if (offset >= info.st_size)
        return 0;
    int64_t page = sysconf(_SC_PAGESIZE);
    int64_t begin = offset - offset % page;
    int64_t end = offset + (int64_t)size < info.st_size ? offset + (int64_t)size : info.st_size;
    size_t pages = (size_t)((end - begin + page - 1) / page);
    unsigned char resident[MOST_PAGES];
    if (pages > MOST_PAGES)
        return miss();
    void *map = mmap(NULL, (size_t)(end - begin), PROT_READ, MAP_SHARED, fd, begin);
    if (map == MAP_FAILED)
        return miss();
    bool there = mincore(map, (size_t)(end - begin), resident) == 0;
    for (size_t i = 0; there && i < pages; i++)
        there = resident[i] & 1;
    munmap(map, (size_t)(end - begin));
    if (!there)
        return miss();
    ssize_t got = pread(fd, buffer, size, offset);
    return got >= 0 ? got : miss();
}

ssize_t lli_nowait_read(int fd, enum lli_disk_guard guard, void *buffer, size_t size,
                        int64_t offset)
{
    ssize_t got;
    switch (guard) {
    case LLI_DISK_NOWAIT:
        return read_by_asking(fd, buffer, size, offset);
    case LLI_DISK_MINCORE:
        return read_by_looking(fd, buffer, size, offset);
    case LLI_DISK_TMPFS:
        got = pread(fd, buffer, size, offset);
        return got >= 0 ? got : miss();
    default:
        return miss();
    }
}

#else
typedef int lli_no_nowait_linux; /* an empty translation unit is not C */
#endif
