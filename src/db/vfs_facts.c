/* vfs_facts.c: what is known of a connection's files; and whether to close them is a matter of descriptors only.
 *
 * Closing at once. sqlite3_close() of a connection touches the disk when it has something to undo, when a
 * temporary file goes with it, and when it is the last one that has the WAL open: then it checkpoints and
 * syncs. Else it lets go of locks, memory and descriptors, which takes microseconds. Which of the two is
 * asked here, before, for a close cannot be called back. On the safe side: what is not known to be quick is
 * not.
 *
 * Of the last one: another connection to the file must have its WAL open, in this process, through our VFS, and
 * not be about to close (wal_users.h). Another process's does not count; nor would it help to refuse the lock
 * by which SQLite finds out that it is the last, for then the WAL would stay behind. */
#include "db/api.h"
#include "db/vfs_file.h"

#include <string.h>

static bool is_memory(sqlite3 *db, const char *schema, const sqlite3_file *file)
{
    sqlite3_vfs *vfs = NULL;
    if (!file || !file->pMethods)
        return true; /* ":memory:", or a temporary database that has not spilled */
    lli_sq.file_control(db, schema, SQLITE_FCNTL_VFS_POINTER, &vfs);
    return vfs && strcmp(vfs->zName, "memdb") == 0;
}

bool lli_vfs_file_facts(sqlite3 *db, const char *schema, struct lli_file_facts *ret_facts)
{
    memset(ret_facts, 0, sizeof *ret_facts);
    ret_facts->guard = LLI_DISK_NONE;
    ret_facts->descriptor = -1;
    sqlite3_file *file = NULL;
    if (lli_sq.file_control(db, schema, SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK)
        return false;
    ret_facts->pager = file;
    ret_facts->memory = is_memory(db, schema, file);
    if (!file || !lli_vfs_is_ours(file))
        return true;
    int moved = 0;
    lli_sq.file_control(db, schema, SQLITE_FCNTL_HAS_MOVED, &moved);
    ret_facts->file = lli_vfs_ours(file);
    ret_facts->device = lli_vfs_ours(file)->device;
    ret_facts->inode = lli_vfs_ours(file)->inode;
    ret_facts->moved = moved != 0;
    ret_facts->descriptor = lli_vfs_ours(file)->descriptor;
    /* Others of the family lock by directories, or not at all. */
    if (lli_vfs_is_unix())
        ret_facts->guard = lli_vfs_ours(file)->guard;
    return true;
}

const volatile void *lli_vfs_wal_index(const struct lli_vfs_file *file)
{
    return file->wal_index;
}

static sqlite3_file *file_of(sqlite3 *db, const char *schema, int which)
{
    sqlite3_file *file = NULL;
    if (lli_sq.file_control(db, schema, which, &file) != SQLITE_OK)
        return NULL;
    return file && file->pMethods ? file : NULL;
}

bool lli_vfs_closes_at_once(sqlite3 *db)
{
    sqlite3_file *main = file_of(db, "main", SQLITE_FCNTL_FILE_POINTER);
    sqlite3_file *journal = file_of(db, "main", SQLITE_FCNTL_JOURNAL_POINTER);
    if (!lli_sq.db_name || lli_sq.db_name(db, 2) ||
        file_of(db, "temp", SQLITE_FCNTL_FILE_POINTER) != NULL)
        return false; /* something is attached, or a temporary table has become a file */
    if (!main)
        return !journal;
    if (!lli_vfs_is_ours(main) || !lli_vfs_is_unix())
        return false;
    struct lli_vfs_file *file = lli_vfs_ours(main);
    if (!lli_disk_guard_guards(file->guard) || !lli_vfs_gate_is_free(&lli_vfs_gate_all) ||
        !lli_vfs_gate_is_free(file->gate))
        return false;
    if (!journal && !file->wal_index)
        return true;
    /* A WAL without its index in shared memory is one in exclusive mode; a journal alone one that persists. */
    return journal && file->wal_index && lli_wal_user_leave_to_others(&file->wal_user);
}

/* NULL: it has no file, or one that was not opened through our VFS. */
static struct lli_vfs_file *main_of(sqlite3 *db)
{
    sqlite3_file *file = file_of(db, "main", SQLITE_FCNTL_FILE_POINTER);
    return file && lli_vfs_is_ours(file) ? lli_vfs_ours(file) : NULL;
}

void lli_vfs_about_to_close(sqlite3 *db)
{
    struct lli_vfs_file *file = main_of(db);
    if (file && file->wal_index)
        lli_wal_user_leave(&file->wal_user);
}

struct lli_file_id lli_vfs_file_id(sqlite3 *db)
{
    const struct lli_vfs_file *file = main_of(db);
    return file ? (struct lli_file_id){file->device, file->inode} : (struct lli_file_id){0};
}
