/* vfs_shim.c: a VFS between SQLite and its default VFS, forwarding every call.
 *
 *   SQLite -> looplite (struct shim_file) -> the default VFS's sqlite3_file, in the same allocation
 *
 * It is where reads on the event loop will be refused before they can block, and where tests make the
 * n-th call fail. It offers io_methods of version 2, without xFetch: a file opened through it is never
 * mapped into memory, so every page comes by xRead ([M] with a mapping, reads bypass the VFS and fault on
 * the disk where nobody can see it). The name given to xOpen is passed on as it is: SQLite keeps URI
 * parameters behind it.
 *
 * Process-wide: one sqlite3_vfs, registered once and never taken back, since connections that somebody
 * else opened through it may outlive every engine. */
#include "db/vfs_shim.h"

#include "base/fault.h"
#include "base/status.h"
#include "db/api.h"
#include "platform/thread.h"

#include <string.h>

struct shim_file {
    sqlite3_file base; /* first: SQLite sees this */
    /* the wrapped file follows, aligned to 8 */
};

static sqlite3_vfs shim;                                        /* fixed after registration */
static sqlite3_vfs *inner_vfs;                                  /* fixed after registration */
static pthread_mutex_t registering = PTHREAD_MUTEX_INITIALIZER; /* held while the above are set */
static atomic_bool registered;                                  /* release after both are set */

static size_t shim_file_size(void)
{
    return (sizeof(struct shim_file) + 7) & ~(size_t)7;
}

static sqlite3_file *inner(sqlite3_file *file)
{
    return (sqlite3_file *)(void *)((char *)file + shim_file_size());
}

#define FORWARD(method, ...)                                            \
    do {                                                                \
        if (LLI_FAULT(LLI_FAULT_VFS))                                   \
            return SQLITE_IOERR;                                        \
        return inner(file)->pMethods->method(inner(file), __VA_ARGS__); \
    } while (0)

static int shim_close(sqlite3_file *file)
{
    int rc = inner(file)->pMethods->xClose(inner(file));
    file->pMethods = NULL;
    return rc;
}

static int shim_read(sqlite3_file *file, void *buffer, int size, sqlite3_int64 offset)
{
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_IOERR_READ;
    return inner(file)->pMethods->xRead(inner(file), buffer, size, offset);
}

static int shim_write(sqlite3_file *file, const void *buffer, int size, sqlite3_int64 offset)
{
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_FULL;
    return inner(file)->pMethods->xWrite(inner(file), buffer, size, offset);
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    FORWARD(xTruncate, size);
}

static int shim_sync(sqlite3_file *file, int flags)
{
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_IOERR_FSYNC;
    return inner(file)->pMethods->xSync(inner(file), flags);
}

static int shim_file_size_of(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    FORWARD(xFileSize, ret_size);
}

static int shim_lock(sqlite3_file *file, int level)
{
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_IOERR_LOCK;
    return inner(file)->pMethods->xLock(inner(file), level);
}

static int shim_unlock(sqlite3_file *file, int level)
{
    return inner(file)->pMethods->xUnlock(inner(file), level);
}

static int shim_check_reserved(sqlite3_file *file, int *ret_reserved)
{
    FORWARD(xCheckReservedLock, ret_reserved);
}

static int shim_file_control(sqlite3_file *file, int op, void *arg)
{
    if (op == SQLITE_FCNTL_MMAP_SIZE) {
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

static int shim_shm_map(sqlite3_file *file, int region, int size, int extend,
                        void volatile **ret_map)
{
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_IOERR_SHMMAP;
    return inner(file)->pMethods->xShmMap(inner(file), region, size, extend, ret_map);
}

static int shim_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    if ((flags & SQLITE_SHM_LOCK) && LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_IOERR_SHMLOCK;
    return inner(file)->pMethods->xShmLock(inner(file), offset, count, flags);
}

static void shim_shm_barrier(sqlite3_file *file)
{
    inner(file)->pMethods->xShmBarrier(inner(file));
}

static int shim_shm_unmap(sqlite3_file *file, int remove)
{
    return inner(file)->pMethods->xShmUnmap(inner(file), remove);
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

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                     int *ret_flags)
{
    (void)vfs;
    file->pMethods = NULL;
    inner(file)->pMethods = NULL;
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_CANTOPEN;
    int rc = inner_vfs->xOpen(inner_vfs, name, inner(file), flags, ret_flags);
    const sqlite3_io_methods *methods = inner(file)->pMethods;
    if (rc != SQLITE_OK) {
        if (methods) /* allowed to be set on failure; xClose must then be called */
            methods->xClose(inner(file));
        return rc;
    }
    file->pMethods = methods->iVersion >= 2 && methods->xShmMap ? &shared_memory_methods
                                                                : &plain_methods;
    return SQLITE_OK;
}

static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    (void)vfs;
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_IOERR_DELETE;
    return inner_vfs->xDelete(inner_vfs, name, sync_dir);
}

static int shim_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_access)
{
    (void)vfs;
    if (LLI_FAULT(LLI_FAULT_VFS))
        return SQLITE_IOERR_ACCESS;
    return inner_vfs->xAccess(inner_vfs, name, flags, ret_access);
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

static int shim_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
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

ll_status ll_vfs_install(const char **ret_name)
{
    if (!ret_name)
        return lli_refuse(LL_EINVAL, "ll_vfs_install: ret_name is NULL");
    LL_TRY(lli_vfs_ready());
    *ret_name = LLI_VFS_NAME;
    return LL_OK;
}
