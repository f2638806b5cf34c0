/* vfs_syscall.c: pread(), pread64() and read() of SQLite's unix VFS, replaced through xSetSystemCall.
 *
 * The wrapped VFS has the descriptor and the shim has not, so the shim can refuse a read but cannot look
 * whether it would wait. The hook can: it is called in the middle of unixRead() with the descriptor. The
 * shim leaves a struct lli_page_read for it in a thread-local variable:
 *
 *   shim_read                      unixRead            the hook
 *   lli_page_read_now = &read  ->  osPread(fd)  ->     finds it: probes the file or reads without waiting
 *   lli_page_read_now = NULL   <-  SQLITE_IOERR_READ <- -1 and EAGAIN: a miss
 *
 * Everybody else finds it NULL: workers on files that are known, and every other user of SQLite in the
 * process, which shares the hook. For them it costs one load and a jump.
 *
 * Proof. Whether the hook is called at all depends on the build of SQLite, on what lies between the shim
 * and the unix VFS, and on other users of xSetSystemCall. So it is asked of every file at its first read,
 * and again at every read in an attempt, by `asked`: a file whose reads do not pass here is never read on
 * a loop a second time.
 *
 * The pointers that were there before are kept and called, and never put back: connections may outlive
 * us, and somebody may have chained after us. EAGAIN rather than EIO: unixRead() takes EIO for a damaged
 * file system, and SQLite answers SQLITE_CORRUPT to that. The shim replaces the code anyway.
 *
 * An inline write (`shielded`) must not be aborted, so a miss there is counted and then read plainly. */
#include "db/vfs_syscall.h"

#include "base/alloc.h"
#include "db/attempt.h"

#include <errno.h>
#include <sys/types.h>
#include <unistd.h>

typedef ssize_t (*pread_fn)(int, void *, size_t, off_t);
typedef ssize_t (*read_fn)(int, void *, size_t);

_Thread_local struct lli_page_read *lli_page_read_now;

/* What was there before us. Written once, before the hook that calls it is set; read-only afterwards. */
static pread_fn next_pread;
static pread_fn next_pread64; /* off_t and off64_t are one type wherever SQLite uses pread64 */
static read_fn next_read;

/* True: the read is answered, with *ret_got. */
static bool answer(struct lli_page_read *read, int fd, void *buffer, size_t size, int64_t offset,
                   ssize_t *ret_got)
{
    struct lli_attempt *attempt = read->attempt;
    read->asked = true;
    if (read->guard == LLI_DISK_UNKNOWN) {
        read->guard = lli_nowait_probe(fd, &read->device, &read->inode);
        read->descriptor = fd;
    }
    if (!attempt)
        return false;
    *ret_got = lli_nowait_read(fd, read->guard, buffer, size, offset);
    if (*ret_got >= 0)
        return true;
    attempt->misses++;
    return lli_attempt_has_to_refuse(attempt, LLI_BOUNCE_DISK);
}

static ssize_t hooked_pread(int fd, void *buffer, size_t size, off_t offset)
{
    struct lli_page_read *read = lli_page_read_now;
    ssize_t got;
    if (LLI_UNLIKELY(read != NULL) && answer(read, fd, buffer, size, (int64_t)offset, &got))
        return got;
    return next_pread(fd, buffer, size, offset);
}

static ssize_t hooked_pread64(int fd, void *buffer, size_t size, off_t offset)
{
    struct lli_page_read *read = lli_page_read_now;
    ssize_t got;
    if (LLI_UNLIKELY(read != NULL) && answer(read, fd, buffer, size, (int64_t)offset, &got))
        return got;
    return next_pread64(fd, buffer, size, offset);
}

/* For builds of SQLite without pread(): it seeks first, so the place is where the descriptor stands. */
static ssize_t hooked_read(int fd, void *buffer, size_t size)
{
    struct lli_page_read *read = lli_page_read_now;
    ssize_t got;
    if (LLI_UNLIKELY(read != NULL)) {
        off_t offset = lseek(fd, 0, SEEK_CUR);
        if (offset >= 0 && answer(read, fd, buffer, size, (int64_t)offset, &got)) {
            if (got > 0)
                lseek(fd, got, SEEK_CUR);
            return got;
        }
    }
    return next_read(fd, buffer, size);
}

void lli_syscall_hook(sqlite3_vfs *vfs)
{
    if (next_read || vfs->iVersion < 3 || !vfs->xSetSystemCall || !vfs->xGetSystemCall)
        return;
    sqlite3_syscall_ptr before = vfs->xGetSystemCall(vfs, "read");
    if (!before) /* no VFS of the unix family */
        return;
    next_read = (read_fn)before;
    vfs->xSetSystemCall(vfs, "read", (sqlite3_syscall_ptr)hooked_read);
    /* The entries that this build does not use are NULL. */
    before = vfs->xGetSystemCall(vfs, "pread");
    if (before) {
        next_pread = (pread_fn)before;
        vfs->xSetSystemCall(vfs, "pread", (sqlite3_syscall_ptr)hooked_pread);
    }
    before = sizeof(off_t) == 8 ? vfs->xGetSystemCall(vfs, "pread64") : NULL;
    if (before) {
        next_pread64 = (pread_fn)before;
        vfs->xSetSystemCall(vfs, "pread64", (sqlite3_syscall_ptr)hooked_pread64);
    }
}

bool lli_syscall_test(sqlite3_vfs *vfs)
{
    struct lli_page_read read = {
        .guard = LLI_DISK_WORKER_ONLY}; /* known: nothing is to be found out */
    sqlite3_file *file = lli_new((size_t)vfs->szOsFile);
    char byte = 1;
    int flags = SQLITE_OPEN_TEMP_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                SQLITE_OPEN_EXCLUSIVE | SQLITE_OPEN_DELETEONCLOSE;
    if (!file)
        return false;
    int rc = vfs->xOpen(vfs, NULL, file, flags, &flags);
    if (rc == SQLITE_OK)
        rc = file->pMethods->xWrite(file, &byte, 1, 0);
    if (rc == SQLITE_OK) {
        lli_page_read_now = &read;
        rc = file->pMethods->xRead(file, &byte, 1, 0);
        lli_page_read_now = NULL;
    }
    if (file->pMethods)
        file->pMethods->xClose(file);
    lli_free(file);
    return rc == SQLITE_OK && read.asked;
}
