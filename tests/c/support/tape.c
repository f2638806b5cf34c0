/* tape.c: see the header. One mutex guards the tape and the faults; the real call is made outside it, behind the note
 * of it for writes, so that a cut may fall into the middle of a call. */
#include "support/tape.h"

#include "support/support.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    NOT_WATCHED = -1
};

struct tape_file {
    sqlite3_file base;
    int inode;     /* NOT_WATCHED, or its number */
    bool new_name; /* its first sync is to sync the directory, too */
};

static sqlite3_vfs *real, tape_vfs;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static struct t_tape tape;
static struct t_tape_name *names; /* now */
static size_t name_count;
static char watched[600]; /* the directory; "": none */
static bool recording;
static struct {
    enum t_disk_fault fault;
    unsigned long countdown;
    bool failed;
} disk;
static atomic_bool disk_armed; /* relaxed: a hint, so that reads take no mutex */

const char *const t_disk_fault_names[T_DISK_FAULTS] = {
    [T_DISK_ERROR] = "an I/O error",       [T_DISK_DEAD] = "a dead disk",
    [T_DISK_FULL] = "a full disk",         [T_DISK_SHORT_WRITE] = "a short write",
    [T_DISK_SYNC_ERROR] = "a failed sync",
};

enum call {
    CALL_WRITE = 2,
    CALL_GROW = 4, /* with CALL_WRITE, or for a new file */
    CALL_SYNC = 8,
    CALL_OTHER = 16
};

/* ---- the tape ---- */

static void *keep(const void *bytes, size_t size)
{
    void *copy = malloc(size ? size : 1);
    T_CHECK(copy != NULL);
    if (size)
        memcpy(copy, bytes, size);
    return copy;
}

/* Under the mutex. */
static size_t note(struct t_tape_op op)
{
    if (!recording)
        return tape.count;
    if (tape.count == tape.room) {
        tape.room = tape.room ? 2 * tape.room : 256;
        tape.ops = realloc(tape.ops, tape.room * sizeof *tape.ops);
        T_CHECK(tape.ops != NULL);
    }
    tape.ops[tape.count] = op;
    return tape.count++;
}

static unsigned new_inode(unsigned char *bytes, size_t size)
{
    tape.inodes = realloc(tape.inodes, (tape.inode_count + 1) * sizeof *tape.inodes);
    T_CHECK(tape.inodes != NULL);
    tape.inodes[tape.inode_count] = (struct t_tape_inode){.bytes = bytes, .size = size};
    return (unsigned)tape.inode_count++;
}

static void add_name(struct t_tape_name **list, size_t *count, const char *name, unsigned inode)
{
    *list = realloc(*list, (*count + 1) * sizeof **list);
    T_CHECK(*list != NULL);
    (*list)[(*count)++] = (struct t_tape_name){keep(name, strlen(name) + 1), inode};
}

static int inode_of(const char *name)
{
    for (size_t i = 0; i < name_count; i++)
        if (strcmp(names[i].name, name) == 0)
            return (int)names[i].inode;
    return NOT_WATCHED;
}

static void remove_name(const char *name)
{
    for (size_t i = 0; i < name_count; i++)
        if (strcmp(names[i].name, name) == 0) {
            free(names[i].name);
            names[i] = names[--name_count];
            return;
        }
}

static void free_names(struct t_tape_name *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i].name);
    free(list);
}

/* The name inside the watched directory; NULL: elsewhere. Under the mutex. */
static const char *inside(const char *path)
{
    size_t size = strlen(watched);
    if (size == 0 || !path || strncmp(path, watched, size) != 0 || path[size] != '/')
        return NULL;
    return strchr(path + size + 1, '/') ? NULL : path + size + 1;
}

/* ---- faults ---- */

/* Whether a call of these kinds is to fail now. *ret_part (may be NULL): half of it is done before. */
static bool fails(const struct tape_file *self, unsigned calls, bool *ret_part)
{
    static const unsigned concerned[T_DISK_FAULTS] = {
        [T_DISK_ERROR] = ~0u,
        [T_DISK_DEAD] = ~0u,
        [T_DISK_FULL] = CALL_GROW,
        [T_DISK_SHORT_WRITE] = CALL_WRITE,
        [T_DISK_SYNC_ERROR] = CALL_SYNC,
    };
    if ((self && self->inode < 0) || !atomic_load_explicit(&disk_armed, memory_order_relaxed))
        return false;
    pthread_mutex_lock(&mutex);
    bool lasting = disk.fault == T_DISK_DEAD || disk.fault == T_DISK_FULL, answer = false;
    if (atomic_load(&disk_armed) && (concerned[disk.fault] & calls)) {
        if (disk.countdown > 0)
            disk.countdown--;
        answer = disk.countdown == 0 && (lasting || !disk.failed);
        if (ret_part)
            *ret_part = answer && !disk.failed &&
                        (disk.fault == T_DISK_FULL || disk.fault == T_DISK_SHORT_WRITE);
        disk.failed = disk.failed || answer;
    }
    pthread_mutex_unlock(&mutex);
    return answer;
}

static bool is_full(void)
{
    pthread_mutex_lock(&mutex);
    bool full = disk.fault == T_DISK_FULL;
    pthread_mutex_unlock(&mutex);
    return full;
}

void t_disk_fail(enum t_disk_fault fault, unsigned long nth)
{
    pthread_mutex_lock(&mutex);
    disk.fault = fault;
    disk.countdown = nth;
    disk.failed = false;
    atomic_store(&disk_armed, true);
    pthread_mutex_unlock(&mutex);
}

bool t_disk_failed(void)
{
    pthread_mutex_lock(&mutex);
    bool failed = disk.failed;
    pthread_mutex_unlock(&mutex);
    return failed;
}

void t_disk_mend(void)
{
    atomic_store(&disk_armed, false);
}

/* ---- files ---- */

static size_t own_size(void)
{
    return (sizeof(struct tape_file) + 7) & ~(size_t)7;
}

static struct tape_file *ours(sqlite3_file *file)
{
    return (struct tape_file *)(void *)file;
}

static sqlite3_file *inner(sqlite3_file *file)
{
    return (sqlite3_file *)(void *)((char *)file + own_size());
}

static int file_close(sqlite3_file *file)
{
    int rc = inner(file)->pMethods->xClose(inner(file));
    file->pMethods = NULL;
    return rc;
}

static int file_read(sqlite3_file *file, void *buffer, int size, sqlite3_int64 offset)
{
    if (fails(ours(file), CALL_OTHER, NULL))
        return SQLITE_IOERR_READ;
    return inner(file)->pMethods->xRead(inner(file), buffer, size, offset);
}

static int file_write(sqlite3_file *file, const void *buffer, int size, sqlite3_int64 offset)
{
    struct tape_file *self = ours(file);
    sqlite3_int64 length = 0;
    bool part = false, failing = false;
    if (self->inode >= 0) {
        if (atomic_load_explicit(&disk_armed, memory_order_relaxed))
            inner(file)->pMethods->xFileSize(inner(file), &length);
        failing = fails(self, offset + size > length ? CALL_WRITE | CALL_GROW : CALL_WRITE, &part);
        if (failing)
            size = part ? size / 2 : 0;
    }
    if (self->inode >= 0 && size > 0) {
        pthread_mutex_lock(&mutex);
        if (recording)
            note((struct t_tape_op){.kind = T_TAPE_WRITE,
                                    .inode = (unsigned)self->inode,
                                    .offset = offset,
                                    .size = (size_t)size,
                                    .bytes = keep(buffer, (size_t)size)});
        pthread_mutex_unlock(&mutex);
    }
    int rc = size > 0 ? inner(file)->pMethods->xWrite(inner(file), buffer, size, offset)
                      : SQLITE_OK;
    if (rc == SQLITE_OK && failing)
        return is_full() ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    return rc;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct tape_file *self = ours(file);
    if (fails(self, CALL_OTHER, NULL))
        return SQLITE_IOERR_TRUNCATE;
    if (self->inode >= 0) {
        pthread_mutex_lock(&mutex);
        note((struct t_tape_op){
            .kind = T_TAPE_TRUNCATE, .inode = (unsigned)self->inode, .offset = size});
        pthread_mutex_unlock(&mutex);
    }
    return inner(file)->pMethods->xTruncate(inner(file), size);
}

static int file_sync(sqlite3_file *file, int flags)
{
    struct tape_file *self = ours(file);
    (void)flags;
    if (self->inode < 0)
        return SQLITE_OK;
    if (fails(self, CALL_SYNC, NULL))
        return SQLITE_IOERR_FSYNC;
    unsigned inode = (unsigned)self->inode;
    pthread_mutex_lock(&mutex);
    size_t began = note((struct t_tape_op){.kind = T_TAPE_SYNC_BEGINS, .inode = inode});
    pthread_mutex_unlock(&mutex);
    pthread_mutex_lock(&mutex);
    note((struct t_tape_op){.kind = T_TAPE_SYNC_ENDS, .inode = inode, .began = began});
    if (self->new_name) {
        self->new_name = false;
        note((struct t_tape_op){.kind = T_TAPE_DIR_SYNC});
    }
    pthread_mutex_unlock(&mutex);
    return SQLITE_OK;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    if (fails(ours(file), CALL_OTHER, NULL))
        return SQLITE_IOERR_FSTAT;
    return inner(file)->pMethods->xFileSize(inner(file), ret_size);
}

static int file_lock(sqlite3_file *file, int level)
{
    return inner(file)->pMethods->xLock(inner(file), level);
}

static int file_unlock(sqlite3_file *file, int level)
{
    return inner(file)->pMethods->xUnlock(inner(file), level);
}

static int file_check_reserved(sqlite3_file *file, int *ret_reserved)
{
    return inner(file)->pMethods->xCheckReservedLock(inner(file), ret_reserved);
}

static int file_control(sqlite3_file *file, int op, void *arg)
{
    return inner(file)->pMethods->xFileControl(inner(file), op, arg);
}

static int file_sector_size(sqlite3_file *file)
{
    return inner(file)->pMethods->xSectorSize(inner(file));
}

static int file_characteristics(sqlite3_file *file)
{
    return inner(file)->pMethods->xDeviceCharacteristics(inner(file));
}

static int file_shm_map(sqlite3_file *file, int region, int size, int extend,
                        void volatile **ret_map)
{
    if (fails(ours(file), CALL_OTHER, NULL))
        return SQLITE_IOERR_SHMMAP;
    return inner(file)->pMethods->xShmMap(inner(file), region, size, extend, ret_map);
}

static int file_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return inner(file)->pMethods->xShmLock(inner(file), offset, count, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
    inner(file)->pMethods->xShmBarrier(inner(file));
}

static int file_shm_unmap(sqlite3_file *file, int remove)
{
    return inner(file)->pMethods->xShmUnmap(inner(file), remove);
}

#define COMMON_METHODS                                                                          \
    .xClose = file_close, .xRead = file_read, .xWrite = file_write, .xTruncate = file_truncate, \
    .xSync = file_sync, .xFileSize = file_size, .xLock = file_lock, .xUnlock = file_unlock,     \
    .xCheckReservedLock = file_check_reserved, .xFileControl = file_control,                    \
    .xSectorSize = file_sector_size, .xDeviceCharacteristics = file_characteristics

static const sqlite3_io_methods plain_methods = {.iVersion = 1, COMMON_METHODS};
static const sqlite3_io_methods shared_methods = {.iVersion = 2,
                                                  COMMON_METHODS,
                                                  .xShmMap = file_shm_map,
                                                  .xShmLock = file_shm_lock,
                                                  .xShmBarrier = file_shm_barrier,
                                                  .xShmUnmap = file_shm_unmap};

/* Gives the file its number; makes one if it is new. Under the mutex. */
static void recognise(struct tape_file *self, const char *name, int flags)
{
    self->inode = inode_of(name);
    if (self->inode >= 0)
        return;
    self->inode = (int)new_inode(keep("", 0), 0);
    add_name(&names, &name_count, name, (unsigned)self->inode);
    note((struct t_tape_op){.kind = T_TAPE_CREATE,
                            .inode = (unsigned)self->inode,
                            .name = recording ? keep(name, strlen(name) + 1) : NULL});
    self->new_name = flags &
                     (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL);
}

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    struct tape_file *self = ours(file);
    (void)vfs;
    self->inode = NOT_WATCHED;
    self->new_name = false;
    file->pMethods = NULL;
    pthread_mutex_lock(&mutex);
    const char *name = flags & SQLITE_OPEN_DELETEONCLOSE ? NULL : inside(path);
    bool is_new = name && inode_of(name) < 0;
    pthread_mutex_unlock(&mutex);
    if (name && fails(NULL, is_new ? CALL_OTHER | CALL_GROW : CALL_OTHER, NULL))
        return is_full() && is_new ? SQLITE_FULL : SQLITE_CANTOPEN;
    int rc = real->xOpen(real, path, inner(file), flags, ret_flags);
    const sqlite3_io_methods *methods = inner(file)->pMethods;
    if (rc != SQLITE_OK) {
        if (methods)
            methods->xClose(inner(file));
        return rc;
    }
    if (name) {
        pthread_mutex_lock(&mutex);
        recognise(self, name, flags);
        pthread_mutex_unlock(&mutex);
    }
    file->pMethods = methods->iVersion >= 2 && methods->xShmMap ? &shared_methods : &plain_methods;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_dir)
{
    (void)vfs;
    pthread_mutex_lock(&mutex);
    const char *name = inside(path);
    pthread_mutex_unlock(&mutex);
    if (name && fails(NULL, CALL_OTHER, NULL))
        return SQLITE_IOERR_DELETE;
    int rc = real->xDelete(real, path, 0);
    if (name && rc == SQLITE_OK) {
        pthread_mutex_lock(&mutex);
        remove_name(name);
        note((struct t_tape_op){.kind = T_TAPE_DELETE,
                                .name = recording ? keep(name, strlen(name) + 1) : NULL});
        if (sync_dir)
            note((struct t_tape_op){.kind = T_TAPE_DIR_SYNC});
        pthread_mutex_unlock(&mutex);
    }
    return rc;
}

static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *ret_access)
{
    (void)vfs;
    pthread_mutex_lock(&mutex);
    const char *name = inside(path);
    pthread_mutex_unlock(&mutex);
    if (name && fails(NULL, CALL_OTHER, NULL))
        return SQLITE_IOERR_ACCESS;
    return real->xAccess(real, path, flags, ret_access);
}

static int vfs_full_pathname(sqlite3_vfs *vfs, const char *path, int size, char *ret_path)
{
    (void)vfs;
    return real->xFullPathname(real, path, size, ret_path);
}

static int vfs_randomness(sqlite3_vfs *vfs, int size, char *ret_bytes)
{
    (void)vfs;
    return real->xRandomness(real, size, ret_bytes);
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    return real->xSleep(real, microseconds);
}

static int vfs_current_time(sqlite3_vfs *vfs, double *ret_time)
{
    (void)vfs;
    return real->xCurrentTime(real, ret_time);
}

static int vfs_current_time64(sqlite3_vfs *vfs, sqlite3_int64 *ret_time)
{
    (void)vfs;
    return real->xCurrentTimeInt64(real, ret_time);
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *ret_message)
{
    (void)vfs;
    return real->xGetLastError(real, size, ret_message);
}

static int vfs_set_call(sqlite3_vfs *vfs, const char *name, sqlite3_syscall_ptr call)
{
    (void)vfs;
    return real->xSetSystemCall(real, name, call);
}

static sqlite3_syscall_ptr vfs_get_call(sqlite3_vfs *vfs, const char *name)
{
    (void)vfs;
    return real->xGetSystemCall(real, name);
}

static const char *vfs_next_call(sqlite3_vfs *vfs, const char *name)
{
    (void)vfs;
    return real->xNextSystemCall(real, name);
}

void t_tape_install(void)
{
    if (real)
        return;
    real = sqlite3_vfs_find("unix");
    T_CHECK(real != NULL);
    tape_vfs = *real; /* loading extensions goes to the real one, which asks for no state */
    tape_vfs.pNext = NULL;
    tape_vfs.iVersion = 3;
    tape_vfs.szOsFile = (int)own_size() + real->szOsFile;
    tape_vfs.xOpen = vfs_open;
    tape_vfs.xDelete = vfs_delete;
    tape_vfs.xAccess = vfs_access;
    tape_vfs.xFullPathname = vfs_full_pathname;
    tape_vfs.xRandomness = vfs_randomness;
    tape_vfs.xSleep = vfs_sleep;
    tape_vfs.xCurrentTime = vfs_current_time;
    tape_vfs.xCurrentTimeInt64 = vfs_current_time64;
    tape_vfs.xGetLastError = vfs_last_error;
    tape_vfs.xSetSystemCall = vfs_set_call;
    tape_vfs.xGetSystemCall = vfs_get_call;
    tape_vfs.xNextSystemCall = vfs_next_call;
    T_CHECK(sqlite3_vfs_register(&tape_vfs, 1) == SQLITE_OK);
}

/* ---- from here to there ---- */

static void take_file(const char *dir, const char *name)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "rb");
    T_CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    long size = ftell(file);
    T_CHECK(size >= 0);
    rewind(file);
    unsigned char *bytes = malloc((size_t)size + 1);
    T_CHECK(bytes != NULL && fread(bytes, 1, (size_t)size, file) == (size_t)size);
    fclose(file);
    unsigned inode = new_inode(bytes, (size_t)size);
    add_name(&tape.names, &tape.name_count, name, inode);
    add_name(&names, &name_count, name, inode);
}

void t_tape_begin(const char *dir)
{
    T_CHECK(real != NULL && watched[0] == '\0');
    DIR *stream = opendir(dir);
    T_CHECK(stream != NULL);
    pthread_mutex_lock(&mutex);
    snprintf(watched, sizeof watched, "%s", dir);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
        if (entry->d_name[0] != '.' && entry->d_type == DT_REG && !strstr(entry->d_name, "-shm"))
            take_file(dir, entry->d_name);
    recording = true;
    pthread_mutex_unlock(&mutex);
    closedir(stream);
}

size_t t_tape_now(void)
{
    pthread_mutex_lock(&mutex);
    size_t now = tape.count;
    pthread_mutex_unlock(&mutex);
    return now;
}

struct t_tape t_tape_end(void)
{
    pthread_mutex_lock(&mutex);
    struct t_tape ended = tape;
    tape = (struct t_tape){0};
    free_names(names, name_count);
    names = NULL;
    name_count = 0;
    watched[0] = '\0';
    recording = false;
    atomic_store(&disk_armed, false);
    pthread_mutex_unlock(&mutex);
    return ended;
}

void t_tape_free(struct t_tape *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->ops[i].bytes);
        free(self->ops[i].name);
    }
    for (size_t i = 0; i < self->inode_count; i++)
        free(self->inodes[i].bytes);
    free_names(self->names, self->name_count);
    free(self->ops);
    free(self->inodes);
    *self = (struct t_tape){0};
}
