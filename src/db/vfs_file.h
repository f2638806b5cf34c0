/* vfs_file.h: a file of our VFS, as the files of this folder see it that know more of it than its name. */
#ifndef LLI_DB_VFS_FILE_H
#define LLI_DB_VFS_FILE_H

#include "db/vfs_gate.h"
#include "db/vfs_no_wal.h"
#include "db/vfs_shim.h"
#include "db/wal_users.h"

/* Owner of the connection only; an attempt is made by the owner. */
struct lli_vfs_file {
    sqlite3_file base; /* first: SQLite sees this */
    /* fixed after xOpen, but for what the first read finds out */
    struct lli_vfs_gate *gate; /* NULL unless it is a main database */
    uint64_t device, inode;
    enum lli_disk_guard guard;
    int descriptor; /* -1: no read has come through the hook */
    bool careful;   /* it was opened on the loop: its first read must not wait either */
    struct lli_no_wal no_wal;
    /* changed by xShmMap and xShmUnmap */
    int regions;                    /* so many are mapped */
    const volatile void *wal_index; /* region 0; NULL: not mapped */
    struct lli_wal_user wal_user;   /* in the list while region 0 is mapped */
    /* the wrapped file follows, aligned to 8 */
};

/* Whether a file that is open was opened through our VFS. */
bool lli_vfs_is_ours(const sqlite3_file *file);
static inline struct lli_vfs_file *lli_vfs_ours(sqlite3_file *file)
{
    return (struct lli_vfs_file *)(void *)file;
}

/* Whether it wraps "unix" itself: others of the family lock by folders, or not at all. */
bool lli_vfs_is_unix(void);

#endif
