/* vfs_no_wal.h: "there is no -wal file", without asking the system again.
 *
 * Each read transaction of a database in rollback-journal mode makes eight system calls. One of them, a stat() of the
 * name with -wal, finds out whether somebody has turned the database into one in WAL mode. But he did so by a commit,
 * and each commit changes the change counter in the header, which SQLite has read right before, under the same shared
 * lock. So: when the 16 bytes from there on are what they were when the answer was "no", it still is. (Bytes 24 to 39
 * of the header: https://www.sqlite.org/fileformat2.html#the_database_header. SQLite itself keeps its page cache by the
 * same rule.) If they changed, or were not read under this lock, the system is asked.
 *
 * [M] 0.5 of the 6.1 us of a point read.
 *
 * Were the answer wrong all the same, SQLite would read the header of a database in WAL mode, and open the file then. */
#ifndef LLI_DB_VFS_NO_WAL_H
#define LLI_DB_VFS_NO_WAL_H

#include <stdbool.h>
#include <stddef.h>

enum {
    LLI_VERSION_OFFSET = 24,
    LLI_VERSION_SIZE = 16
};

/* Part of a main database's file. Owner of its connection only. */
struct lli_no_wal {
    const char *name; /* of the database, kept by SQLite until xClose; NULL: not a main database */
    size_t name_size;
    unsigned char version[LLI_VERSION_SIZE]; /* as read last */
    bool was_absent; /* the system said so, and the version is what it was then */
};

/* At xOpen. `name` may be NULL. */
void lli_no_wal_init(struct lli_no_wal *self, const char *name);

/* Behind a successful read of the version. */
void lli_no_wal_has_read(struct lli_no_wal *self, const void *version);

/* When a lock is let go of by the thread that read the version: a read that failed ends so. */
void lli_no_wal_unlocked(void);

/* For xAccess: whose -wal file `name` is, if the last thing this thread did was to read its version; else NULL. What
 * is asked next has not. (SQLite asks right behind the read or unlocks, both inside one call: so nobody else can have
 * closed the file meanwhile.) */
struct lli_no_wal *lli_no_wal_take(const char *name);

#endif
