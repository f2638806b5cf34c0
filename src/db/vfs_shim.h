/* vfs_shim.h: looplite's VFS, which wraps the default one. */
#ifndef LLI_DB_VFS_SHIM_H
#define LLI_DB_VFS_SHIM_H

#include "platform/nowait.h"

#include <sqlite3.h>

#define LLI_VFS_NAME "looplite"

/* A file that is open through it. Lives until the connection closes or detaches it. */
struct lli_vfs_file;

/* What is known of one database file of a connection. */
struct lli_file_facts {
    const struct lli_vfs_file *file; /* NULL: not opened through our VFS, for workers only */
    bool memory;                     /* there is no file: ":memory:", "" or memdb */
    bool moved;                      /* its name leads to another file now, or to none */
    uint64_t device, inode;          /* 0 without `file` */
    enum lli_disk_guard guard;       /* LLI_DISK_NONE without `file` */
    int descriptor;                  /* SQLite's own; -1: not known */
    const void *pager;               /* connections that share a cache have the same one here */
};

/* Registers it, and hooks the reads of the default VFS, once per process. Errors: LL_ESQL, LL_EINVAL. Any
 * thread; no other thread should be reading with SQLite at the first call. */
ll_status lli_vfs_ready(void);

/* Whether reads of the default VFS come through our hook; the first call tries it on a temporary file. Any
 * thread, after lli_vfs_ready(). */
bool lli_vfs_reads_hooked(void);

/* The facts of a schema ("main", an attached one's name; NULL: main). False: no such schema. Looks the
 * file's name up on the disk: owner of the connection, not in an attempt. */
bool lli_vfs_file_facts(sqlite3 *db, const char *schema, struct lli_file_facts *ret_facts);

/* Whether closing the connection, which must be in no transaction, is a matter of descriptors only: nothing is
 * written, synced or deleted. If so it has to be closed now: other connections to the file are no longer told
 * that this one will checkpoint the WAL. Owner of the connection. */
bool lli_vfs_closes_at_once(sqlite3 *db);

/* The connection is going to be closed, and may be the last: nobody counts on it any more. Owner of the
 * connection. */
void lli_vfs_about_to_close(sqlite3 *db);

/* Which file "main" is; zeros if it is none of our VFS. Looks up nothing. Owner of the connection. */
struct lli_file_id {
    uint64_t device, inode;
};
struct lli_file_id lli_vfs_file_id(sqlite3 *db);

/* An opening on the loop: the next database that this thread opens through our VFS is the file below, and is
 * opened only if nothing has to be waited for. */
struct lli_opening {
    uint64_t device, inode;
};
extern _Thread_local const struct lli_opening *lli_opening_now; /* taken by xOpen; NULL: none */

/* Whether the databases that this thread opens may be mapped into memory (PRAGMA mmap_size): only for connections of
 * which nothing runs on a loop. */
extern _Thread_local bool lli_mapping_now;

/* Whether reads of such a file may be tried on a loop. */
static inline bool lli_disk_guard_guards(enum lli_disk_guard guard)
{
    return guard == LLI_DISK_NOWAIT || guard == LLI_DISK_TMPFS || guard == LLI_DISK_MINCORE;
}

/* Region 0 of the wal-index as the connection has it mapped; NULL: not (yet, or no longer). Valid until
 * the next call of SQLite on this connection that could leave WAL mode or close the file, so ask again
 * each time; a live statement that reads keeps it. Owner of the connection. */
const volatile void *lli_vfs_wal_index(const struct lli_vfs_file *file);

/* How many reads have failed on this thread: for what SQLite does not tell (sqlite3_serialize()). */
extern _Thread_local unsigned lli_vfs_failed_reads;

#endif
