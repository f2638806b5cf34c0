/* vfs_shim.c: a VFS between SQLite and its default VFS, which forwards every call, or refuses it.
 *
 *   SQLite -> looplite (struct lli_vfs_file) -> the default VFS's sqlite3_file, in the same allocation
 *
 * On a worker it forwards. In an attempt on the event loop (db/attempt.h) it refuses, with
 * SQLITE_INTERRUPT, what could wait:
 *
 *   xRead                   if the page is not in memory (db/vfs_syscall.c) or, from the second on, the time is up
 *   xWrite xSync xTruncate  always: a read that writes recovers a journal or spills dirty pages
 *   xDelete xOpen           always: see below
 *   xLock above SHARED      always: the first step of both
 *   xLock xShmLock ...      if another thread is inside such a call for the same file: see below
 *   xSleep                  does not sleep; the next call that can report an error does
 *   any of these            once a guard has fired: SQLite is to end soon
 *   xUnlock, unlocking by xShmLock, xClose, xShmUnmap: never, or a lock would be left behind
 *
 * An inline write (`shielded`) is refused nothing. A lock that the kernel does not give is SQLite's own
 * affair: it asks the busy handler, which ends the attempt.
 *
 * Opening. The first read of a connection opens the -wal file, the first after a crash a journal, a sort
 * that is too large a temporary file; the first read of the wal-index maps it. All of that takes the one
 * mutex of all unix files, and looks up names on the disk. It is told as LLI_BOUNCE_WRITE, not as
 * LLI_BOUNCE_MUTEX, because waiting does not help: it has to be done once, by a worker. The same holds
 * for each further region of the wal-index (one for 4 096 frames).
 *
 * A database may be opened on the loop all the same, by whoever has made sure that its name and its file
 * system are no reason to wait (engine/open_here.c) and says so by lli_opening_now: then xOpen looks whether
 * the mutexes are free, does not create anything, and the header, which SQLite reads at once, is read as in
 * an attempt. Not an attempt as a whole: the opening runs through the interpreter, and whatever else that
 * does on this thread, such as closing what its garbage collector finds, must not be refused anything.
 *
 * The mutexes of os_unix, and how a thread that must not wait for one finds out: vfs_gate.h.
 *
 * Which file it is: stat() on the name just after xOpen, since no descriptor is at hand and opening one
 * of our own would drop the locks when it is closed; then fstat() at the first read, made by the hook on
 * the real descriptor (sqlite3_open_v2() reads the header, so this happens within it). If the name leads
 * to another file later, SQLITE_FCNTL_HAS_MOVED tells, which lli_vfs_file_facts() asks.
 *
 * Another file under the name. SQLite finds a journal and a WAL by the name of the database. A connection whose file
 * was removed or replaced since would take those of the file that has the name now for its own: a journal in use for
 * one that a crash left, which it plays back and deletes (the other's commit fails, and a crash of the other can no longer
 * be undone); of the WAL it would read pages of a database that it does not have. Before it writes, SQLite asks
 * whether the file has moved; the shim asks also before either is taken. It is the other's only if the name was
 * lost before, so the answer does not come too early.
 *
 * The shim offers io_methods of version 2, without xFetch: a file opened through it is never mapped into
 * memory, so every page comes by xRead ([M] with a mapping, reads bypass the VFS and fault on the disk
 * where nobody can see it). The name given to xOpen is passed on as it is: SQLite keeps URI parameters
 * behind it.
 *
 * Process-wide: one sqlite3_vfs, registered once and never taken back, since connections that somebody
 * else opened through it may outlive every engine. */
#include "db/vfs_shim.h"

#include "base/fault.h"
#include "base/status.h"
#include "db/api.h"
#include "db/attempt.h"
#include "db/guard.h"
#include "db/vfs_file.h"
#include "db/vfs_syscall.h"
#include "platform/clock.h"
#include "platform/thread.h"

#include <string.h>
#include <sys/stat.h>

_Thread_local const struct lli_opening *lli_opening_now;
_Thread_local bool lli_mapping_now;

static sqlite3_vfs shim;                                        /* fixed after registration */
static sqlite3_vfs *inner_vfs;                                  /* fixed after registration */
static pthread_mutex_t registering = PTHREAD_MUTEX_INITIALIZER; /* held while the above are set */
static atomic_bool registered;                                  /* release after both are set */

static size_t shim_file_size(void)
{
    return (sizeof(struct lli_vfs_file) + 7) & ~(size_t)7;
}

static sqlite3_file *inner(sqlite3_file *file)
{
    return (sqlite3_file *)(void *)((char *)file + shim_file_size());
}

static struct lli_vfs_file *ours(sqlite3_file *file)
{
    return lli_vfs_ours(file);
}

/* ---- files ---- */

#define FORWARD(method, ...)                                            \
    do {                                                                \
        if (LLI_FAULT(LLI_FAULT_VFS))                                   \
            return SQLITE_IOERR;                                        \
        if (lli_attempt_is_over())                                      \
            return SQLITE_INTERRUPT;                                    \
        return inner(file)->pMethods->method(inner(file), __VA_ARGS__); \
    } while (0)

/* For what only a worker may do. */
static bool refuses_change(struct lli_attempt *attempt)
{
    return lli_attempt_has_ended(attempt) || lli_attempt_has_to_refuse(attempt, LLI_BOUNCE_WRITE);
}

static int shim_close(sqlite3_file *file)
{
    struct lli_vfs_gate *gate = ours(file)->gate;
    lli_wal_user_leave(&ours(file)->wal_user);
    lli_vfs_gate_enter(&lli_vfs_gate_all);
    lli_vfs_gate_enter(gate);
    int rc = inner(file)->pMethods->xClose(inner(file));
    lli_vfs_gate_leave(gate);
    lli_vfs_gate_leave(&lli_vfs_gate_all);
    file->pMethods = NULL;
    return rc;
}

/* Keeps what the hook found; a read that was served without it says that nothing guards the file. */
static void take_over(struct lli_vfs_file *file, const struct lli_page_read *read, int rc)
{
    if (file->guard == LLI_DISK_UNKNOWN && read->asked) {
        file->device = read->device;
        file->inode = read->inode;
        file->descriptor = read->descriptor;
        if (file->gate)
            file->gate = lli_vfs_gate_of(file->device, file->inode);
    }
    if (read->asked)
        file->guard = read->guard;
    else if (rc == SQLITE_OK || rc == SQLITE_IOERR_SHORT_READ)
        file->guard = LLI_DISK_NONE;
}

/* Before the first page of an attempt there was nothing but its beginning, a lock that did not wait, and less than a
 * thousand steps (the progress handler looks behind those), so the clock is not looked at: a read of a page that is in
 * memory takes less than the budget can be missed by anyway. */
static bool refuses_read(const struct lli_vfs_file *file, struct lli_attempt *attempt)
{
    if (lli_attempt_has_ended(attempt))
        return true;
    if (!attempt || attempt->shielded)
        return false;
    if (attempt->has_read && lli_now_ns() >= attempt->deadline_ns)
        return lli_attempt_has_to_refuse(attempt, LLI_BOUNCE_TIME);
    attempt->has_read = true;
    return (file->guard == LLI_DISK_WORKER_ONLY || file->guard == LLI_DISK_NONE) &&
           lli_attempt_has_to_refuse(attempt, LLI_BOUNCE_DISK);
}

/* The first read of a file, or one in an attempt. */
static int read_with_hook(struct lli_vfs_file *file, struct lli_attempt *attempt, void *buffer,
                          int size, sqlite3_int64 offset)
{
    sqlite3_file *wrapped = inner(&file->base);
    if (refuses_read(file, attempt))
        return SQLITE_INTERRUPT;
    struct lli_page_read read = {.attempt = attempt, .guard = file->guard};
    struct lli_page_read **place = &lli_page_read_now; /* looked up once */
    *place = &read;
    int rc = wrapped->pMethods->xRead(wrapped, buffer, size, offset);
    *place = NULL;
    take_over(file, &read, rc);
    if (!read.asked && lli_attempt_has_to_refuse(attempt, LLI_BOUNCE_DISK))
        return SQLITE_INTERRUPT;
    return lli_attempt_has_ended(attempt) ? SQLITE_INTERRUPT : rc;
}

/* The header of a database that is being opened on the loop: read as in an attempt. */
static int read_carefully(struct lli_vfs_file *file, void *buffer, int size, sqlite3_int64 offset)
{
    struct lli_attempt attempt = {.deadline_ns = LLI_NEVER};
    file->careful = false;
    lli_attempt_now = &attempt;
    int rc = read_with_hook(file, &attempt, buffer, size, offset);
    lli_attempt_now = NULL;
    return rc;
}

static int read_somehow(sqlite3_file *file, void *buffer, int size, sqlite3_int64 offset)
{
    struct lli_attempt *attempt = lli_attempt_now;
    if (LLI_UNLIKELY(ours(file)->careful && !attempt))
        return read_carefully(ours(file), buffer, size, offset);
    if (LLI_UNLIKELY(attempt || ours(file)->guard == LLI_DISK_UNKNOWN))
        return read_with_hook(ours(file), attempt, buffer, size, offset);
    return inner(file)->pMethods->xRead(inner(file), buffer, size, offset);
}

_Thread_local unsigned lli_vfs_failed_reads;

static int shim_read(sqlite3_file *file, void *buffer, int size, sqlite3_int64 offset)
{
    int rc = LLI_FAULT(LLI_FAULT_VFS) ? SQLITE_IOERR_READ
                                      : read_somehow(file, buffer, size, offset);
    if (LLI_UNLIKELY(rc != SQLITE_OK && rc != SQLITE_IOERR_SHORT_READ))
        lli_vfs_failed_reads++;
    if (rc == SQLITE_OK && size == LLI_VERSION_SIZE && offset == LLI_VERSION_OFFSET)
        lli_no_wal_has_read(&ours(file)->no_wal, buffer);
    return rc;
}

static int shim_write(sqlite3_file *file, const void *buffer, int size, sqlite3_int64 offset)
{
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_FULL;
    if (refuses_change(lli_attempt_now))
        return SQLITE_INTERRUPT;
    return inner(file)->pMethods->xWrite(inner(file), buffer, size, offset);
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    if (refuses_change(lli_attempt_now))
        return SQLITE_INTERRUPT;
    FORWARD(xTruncate, size);
}

static int shim_sync(sqlite3_file *file, int flags)
{
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_IOERR_FSYNC;
    if (refuses_change(lli_attempt_now))
        return SQLITE_INTERRUPT;
    return inner(file)->pMethods->xSync(inner(file), flags);
}

static int shim_file_size_of(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    FORWARD(xFileSize, ret_size);
}

static int shim_lock(sqlite3_file *file, int level)
{
    struct lli_vfs_gate *gate = ours(file)->gate;
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_IOERR_LOCK;
    struct lli_attempt *attempt = lli_attempt_now;
    if (level > SQLITE_LOCK_SHARED ? refuses_change(attempt) : lli_attempt_has_ended(attempt))
        return SQLITE_INTERRUPT;
    if (!lli_vfs_gate_may_enter(gate, attempt))
        return SQLITE_INTERRUPT;
    lli_vfs_gate_enter(gate);
    int rc = inner(file)->pMethods->xLock(inner(file), level);
    lli_vfs_gate_leave(gate);
    return rc;
}

static int shim_unlock(sqlite3_file *file, int level)
{
    struct lli_vfs_gate *gate = ours(file)->gate;
    lli_no_wal_unlocked();
    lli_vfs_gate_enter(gate);
    int rc = inner(file)->pMethods->xUnlock(inner(file), level);
    lli_vfs_gate_leave(gate);
    return rc;
}

static bool has_lost_name(sqlite3_file *database)
{
    int moved = 0;
    return lli_vfs_is_ours(database) &&
           inner(database)->pMethods->xFileControl(inner(database), SQLITE_FCNTL_HAS_MOVED,
                                                   &moved) == SQLITE_OK &&
           moved != 0;
}

/* SQLite asks when there is a journal, to find out whether a crash left it. */
static int shim_check_reserved(sqlite3_file *file, int *ret_reserved)
{
    struct lli_vfs_gate *gate = ours(file)->gate;
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_IOERR;
    struct lli_attempt *attempt = lli_attempt_now;
    if (lli_attempt_has_ended(attempt) || !lli_vfs_gate_may_enter(gate, attempt))
        return SQLITE_INTERRUPT;
    lli_vfs_gate_enter(gate);
    int rc = inner(file)->pMethods->xCheckReservedLock(inner(file), ret_reserved);
    lli_vfs_gate_leave(gate);
    /* On the loop, what comes next is refused anyway, and names are not looked up. */
    if (rc == SQLITE_OK && !*ret_reserved && !attempt && has_lost_name(file))
        return SQLITE_READONLY_DBMOVED;
    return rc;
}

static int shim_file_control(sqlite3_file *file, int op, void *arg)
{
    if (op == SQLITE_FCNTL_MMAP_SIZE && file->pMethods->iVersion < 3) {
        *(sqlite3_int64 *)arg = 0; /* PRAGMA mmap_size tells the truth: nothing is ever mapped */
        return SQLITE_OK;
    }
    return inner(file)->pMethods->xFileControl(inner(file), op, arg);
}

static int shim_sector_size(sqlite3_file *file)
{
    return inner(file)->pMethods->xSectorSize(inner(file));
}

static int shim_characteristics(sqlite3_file *file)
{
    return inner(file)->pMethods->xDeviceCharacteristics(inner(file));
}

/* SQLite asks for a region only while it does not have it. */
static int shim_shm_map(sqlite3_file *file, int region, int size, int extend,
                        void volatile **ret_map)
{
    struct lli_vfs_file *self = ours(file);
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_IOERR_SHMMAP;
    struct lli_attempt *attempt = lli_attempt_now;
    if (region < self->regions ? lli_attempt_has_ended(attempt) : refuses_change(attempt))
        return SQLITE_INTERRUPT;
    if (!lli_vfs_gate_may_enter(self->gate, attempt))
        return SQLITE_INTERRUPT;
    lli_vfs_gate_enter(&lli_vfs_gate_all);
    lli_vfs_gate_enter(self->gate);
    int rc = inner(file)->pMethods->xShmMap(inner(file), region, size, extend, ret_map);
    lli_vfs_gate_leave(self->gate);
    lli_vfs_gate_leave(&lli_vfs_gate_all);
    if (rc == SQLITE_OK && *ret_map) {
        if (region == 0) {
            self->wal_index = *ret_map;
            lli_wal_user_enter(&self->wal_user, self->device, self->inode);
        }
        if (region >= self->regions)
            self->regions = region + 1;
    }
    return rc;
}

/* Exclusively locked slots below the readers' are for writing, checkpoints and recovery. (Readers lock
 * one of their own exclusively for a moment, to move its mark.) */
static bool is_change(int offset, int flags)
{
    enum {
        FIRST_READ_SLOT = 3 /* WAL_READ_LOCK(0), part of the file format */
    };
    return (flags & SQLITE_SHM_EXCLUSIVE) && offset < FIRST_READ_SLOT;
}

static int shim_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    struct lli_vfs_gate *gate = ours(file)->gate;
    if (flags & SQLITE_SHM_LOCK) {
        if (LLI_FAULT(LLI_FAULT_VFS))
            return SQLITE_IOERR_SHMLOCK;
        struct lli_attempt *attempt = lli_attempt_now;
        if (is_change(offset, flags) ? refuses_change(attempt) : lli_attempt_has_ended(attempt))
            return SQLITE_INTERRUPT;
        if (!lli_vfs_gate_may_enter(gate, attempt))
            return SQLITE_INTERRUPT;
    }
    lli_vfs_gate_enter(gate);
    int rc = inner(file)->pMethods->xShmLock(inner(file), offset, count, flags);
    lli_vfs_gate_leave(gate);
    return rc;
}

static void shim_shm_barrier(sqlite3_file *file)
{
    if (lli_attempt_now)
        __sync_synchronize();
    else
        inner(file)->pMethods->xShmBarrier(inner(file));
}

static int shim_shm_unmap(sqlite3_file *file, int remove)
{
    struct lli_vfs_file *self = ours(file);
    self->wal_index = NULL;
    self->regions = 0;
    lli_wal_user_leave(&self->wal_user);
    lli_vfs_gate_enter(&lli_vfs_gate_all);
    lli_vfs_gate_enter(self->gate);
    int rc = inner(file)->pMethods->xShmUnmap(inner(file), remove);
    lli_vfs_gate_leave(self->gate);
    lli_vfs_gate_leave(&lli_vfs_gate_all);
    return rc;
}

#define COMMON_METHODS                                                                          \
    .xClose = shim_close, .xRead = shim_read, .xWrite = shim_write, .xTruncate = shim_truncate, \
    .xSync = shim_sync, .xFileSize = shim_file_size_of, .xLock = shim_lock,                     \
    .xUnlock = shim_unlock, .xCheckReservedLock = shim_check_reserved,                          \
    .xFileControl = shim_file_control, .xSectorSize = shim_sector_size,                         \
    .xDeviceCharacteristics = shim_characteristics

static const sqlite3_io_methods plain_methods = {.iVersion = 1, COMMON_METHODS};
static const sqlite3_io_methods shared_memory_methods = {.iVersion = 2,
                                                         COMMON_METHODS,
                                                         .xShmMap = shim_shm_map,
                                                         .xShmLock = shim_shm_lock,
                                                         .xShmBarrier = shim_shm_barrier,
                                                         .xShmUnmap = shim_shm_unmap};

/* For connections that never run on a loop: what is mapped into memory is read where no guard looks. */
static int shim_fetch(sqlite3_file *file, sqlite3_int64 offset, int size, void **ret_page)
{
    return inner(file)->pMethods->xFetch(inner(file), offset, size, ret_page);
}

static int shim_unfetch(sqlite3_file *file, sqlite3_int64 offset, void *page)
{
    return inner(file)->pMethods->xUnfetch(inner(file), offset, page);
}

static const sqlite3_io_methods mapping_methods = {.iVersion = 3,
                                                   COMMON_METHODS,
                                                   .xShmMap = shim_shm_map,
                                                   .xShmLock = shim_shm_lock,
                                                   .xShmBarrier = shim_shm_barrier,
                                                   .xShmUnmap = shim_shm_unmap,
                                                   .xFetch = shim_fetch,
                                                   .xUnfetch = shim_unfetch};

static const sqlite3_io_methods *methods_for(const sqlite3_io_methods *wrapped)
{
    if (wrapped->iVersion >= 3 && wrapped->xShmMap && wrapped->xFetch && lli_mapping_now)
        return &mapping_methods;
    return wrapped->iVersion >= 2 && wrapped->xShmMap ? &shared_memory_methods : &plain_methods;
}

/* The gate of the file that the name leads to; NULL: to none. */
static struct lli_vfs_gate *gate_by_name(const char *name, struct lli_vfs_file *file)
{
    struct stat info;
    if (!name || stat(name, &info) != 0)
        return NULL;
    file->device = (uint64_t)info.st_dev;
    file->inode = (uint64_t)info.st_ino;
    return lli_vfs_gate_of(file->device, file->inode);
}

/* Whether this is the database that lli_opening_now speaks of; then it is taken. */
static bool take_opening(int flags, const struct lli_vfs_file *file)
{
    const struct lli_opening *opening = lli_opening_now;
    if (LLI_LIKELY(!opening) || !(flags & SQLITE_OPEN_MAIN_DB) || opening->inode != file->inode ||
        opening->device != file->device)
        return false;
    lli_opening_now = NULL;
    return true;
}

static int open_wrapped(const char *name, struct lli_vfs_file *file, int flags, int *ret_flags)
{
    bool main = flags & SQLITE_OPEN_MAIN_DB;
    struct lli_vfs_gate *gate = main ? gate_by_name(name, file) : NULL;
    if (take_opening(flags, file)) {
        if (!lli_vfs_gate_is_free(&lli_vfs_gate_all) || !lli_vfs_gate_is_free(gate))
            return SQLITE_INTERRUPT;
        file->careful = true;
        flags &=
            ~SQLITE_OPEN_CREATE; /* it is there, and O_CREAT would wait for its folder's lock */
    }
    sqlite3_file *wrapped = inner(&file->base);
    lli_vfs_gate_enter(&lli_vfs_gate_all);
    lli_vfs_gate_enter(gate);
    int rc = inner_vfs->xOpen(inner_vfs, name, wrapped, flags, ret_flags);
    lli_vfs_gate_leave(gate);
    lli_vfs_gate_leave(&lli_vfs_gate_all);
    /* A file that was just made has its inode only now. */
    file->gate = main && rc == SQLITE_OK && !gate ? gate_by_name(name, file) : gate;
    return rc;
}

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                     int *ret_flags)
{
    (void)vfs;
    memset(ours(file), 0, sizeof *ours(file));
    ours(file)->descriptor = -1;
    inner(file)->pMethods = NULL;
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_CANTOPEN;
    if (refuses_change(lli_attempt_now))
        return SQLITE_INTERRUPT;
    if ((flags & SQLITE_OPEN_WAL) && has_lost_name(lli_sq.database_file_object(name)))
        return SQLITE_READONLY_DBMOVED;
    int rc = open_wrapped(name, ours(file), flags, ret_flags);
    const sqlite3_io_methods *methods = inner(file)->pMethods;
    if (rc != SQLITE_OK) {
        if (methods) /* allowed to be set on failure; xClose must then be called */
            methods->xClose(inner(file));
        return rc;
    }
    lli_no_wal_init(&ours(file)->no_wal, flags & SQLITE_OPEN_MAIN_DB ? name : NULL);
    file->pMethods = methods_for(methods);
    return SQLITE_OK;
}

/* ---- the VFS ---- */

static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    (void)vfs;
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_IOERR_DELETE;
    if (refuses_change(lli_attempt_now))
        return SQLITE_INTERRUPT;
    return inner_vfs->xDelete(inner_vfs, name, sync_dir);
}

static int shim_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_access)
{
    (void)vfs;
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_IOERR_ACCESS;
    if (lli_attempt_is_over())
        return SQLITE_INTERRUPT;
    struct lli_no_wal *no_wal = lli_no_wal_take(name);
    if (no_wal && no_wal->was_absent) {
        *ret_access = 0;
        return SQLITE_OK;
    }
    int rc = inner_vfs->xAccess(inner_vfs, name, flags, ret_access);
    if (no_wal)
        no_wal->was_absent = rc == SQLITE_OK && flags == SQLITE_ACCESS_EXISTS && *ret_access == 0;
    return rc;
}

static int shim_full_pathname(sqlite3_vfs *vfs, const char *name, int size, char *ret_name)
{
    (void)vfs;
    return inner_vfs->xFullPathname(inner_vfs, name, size, ret_name);
}

static void *shim_dlopen(sqlite3_vfs *vfs, const char *name)
{
    (void)vfs;
    return inner_vfs->xDlOpen(inner_vfs, name);
}

static void shim_dlerror(sqlite3_vfs *vfs, int size, char *ret_message)
{
    (void)vfs;
    inner_vfs->xDlError(inner_vfs, size, ret_message);
}

static void (*shim_dlsym(sqlite3_vfs *vfs, void *handle, const char *symbol))(void)
{
    (void)vfs;
    return inner_vfs->xDlSym(inner_vfs, handle, symbol);
}

static void shim_dlclose(sqlite3_vfs *vfs, void *handle)
{
    (void)vfs;
    inner_vfs->xDlClose(inner_vfs, handle);
}

static int shim_randomness(sqlite3_vfs *vfs, int size, char *ret_bytes)
{
    (void)vfs;
    return inner_vfs->xRandomness(inner_vfs, size, ret_bytes);
}

/* [M] Beside a locked read mark SQLite slept 150 ms in one point read. */
static int shim_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    if (lli_attempt_refuses(LLI_BOUNCE_LOCK))
        return 0;
    if (lli_guard_sleep(microseconds))
        return microseconds;
    return inner_vfs->xSleep(inner_vfs, microseconds);
}

static int shim_current_time(sqlite3_vfs *vfs, double *ret_time)
{
    (void)vfs;
    return inner_vfs->xCurrentTime(inner_vfs, ret_time);
}

static int shim_last_error(sqlite3_vfs *vfs, int size, char *ret_message)
{
    (void)vfs;
    return inner_vfs->xGetLastError ? inner_vfs->xGetLastError(inner_vfs, size, ret_message) : 0;
}

static int shim_current_time64(sqlite3_vfs *vfs, sqlite3_int64 *ret_time)
{
    (void)vfs;
    return inner_vfs->xCurrentTimeInt64(inner_vfs, ret_time);
}

static int shim_set_system_call(sqlite3_vfs *vfs, const char *name, sqlite3_syscall_ptr call)
{
    (void)vfs;
    return inner_vfs->xSetSystemCall(inner_vfs, name, call);
}

static sqlite3_syscall_ptr shim_get_system_call(sqlite3_vfs *vfs, const char *name)
{
    (void)vfs;
    return inner_vfs->xGetSystemCall(inner_vfs, name);
}

static const char *shim_next_system_call(sqlite3_vfs *vfs, const char *name)
{
    (void)vfs;
    return inner_vfs->xNextSystemCall(inner_vfs, name);
}

static void fill_shim(sqlite3_vfs *wrapped)
{
    shim.iVersion = wrapped->iVersion < 3 ? wrapped->iVersion : 3;
    shim.szOsFile = (int)shim_file_size() + wrapped->szOsFile;
    shim.mxPathname = wrapped->mxPathname;
    shim.zName = LLI_VFS_NAME;
    shim.xOpen = shim_open;
    shim.xDelete = shim_delete;
    shim.xAccess = shim_access;
    shim.xFullPathname = shim_full_pathname;
    shim.xDlOpen = wrapped->xDlOpen ? shim_dlopen : NULL;
    shim.xDlError = wrapped->xDlError ? shim_dlerror : NULL;
    shim.xDlSym = wrapped->xDlSym ? shim_dlsym : NULL;
    shim.xDlClose = wrapped->xDlClose ? shim_dlclose : NULL;
    shim.xRandomness = shim_randomness;
    shim.xSleep = shim_sleep;
    shim.xCurrentTime = shim_current_time;
    shim.xGetLastError = shim_last_error;
    if (wrapped->iVersion >= 2 && wrapped->xCurrentTimeInt64)
        shim.xCurrentTimeInt64 = shim_current_time64;
    else if (shim.iVersion >= 2)
        shim.iVersion = 1;
    if (shim.iVersion >= 3) {
        shim.xSetSystemCall = wrapped->xSetSystemCall ? shim_set_system_call : NULL;
        shim.xGetSystemCall = wrapped->xGetSystemCall ? shim_get_system_call : NULL;
        shim.xNextSystemCall = wrapped->xNextSystemCall ? shim_next_system_call : NULL;
    }
}

ll_status lli_vfs_ready(void)
{
    LL_TRY(lli_sqlite_ready());
    if (LLI_LIKELY(atomic_load_explicit(&registered, memory_order_acquire)))
        return LL_OK;
    ll_status status = LL_OK;
    lli_lock(&registering);
    if (!atomic_load(&registered)) {
        inner_vfs = lli_sq.vfs_find(NULL);
        if (!inner_vfs) {
            status = lli_refuse(LL_ESQL, "SQLite has no default VFS");
        } else {
            lli_syscall_hook(inner_vfs);
            lli_vfs_gates_watch_fork();
            lli_wal_users_watch_fork();
            fill_shim(inner_vfs);
            int rc = lli_sq.vfs_register(&shim, 0);
            if (rc == SQLITE_OK)
                atomic_store_explicit(&registered, true, memory_order_release);
            else
                status = lli_refuse(LL_ESQL, "sqlite3_vfs_register(\"%s\") failed: %s",
                                    LLI_VFS_NAME, lli_sq.errstr(rc));
        }
    }
    lli_unlock(&registering);
    return status;
}

bool lli_vfs_reads_hooked(void)
{
    static atomic_int known; /* 0: not tried; 1: no; 2: yes. Two that try at once find the same */
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (answer == 0) {
        answer = lli_syscall_test(inner_vfs) ? 2 : 1;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer == 2;
}

ll_status ll_vfs_install(const char **ret_name)
{
    if (!ret_name)
        return lli_refuse(LL_EINVAL, "ll_vfs_install: ret_name is NULL");
    LL_TRY(lli_vfs_ready());
    *ret_name = LLI_VFS_NAME;
    return LL_OK;
}

bool lli_vfs_is_ours(const sqlite3_file *file)
{
    return file->pMethods == &plain_methods || file->pMethods == &shared_memory_methods ||
           file->pMethods == &mapping_methods;
}

bool lli_vfs_is_unix(void)
{
    return strcmp(inner_vfs->zName, "unix") == 0;
}
