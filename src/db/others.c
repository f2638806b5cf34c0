/* others.c: what the locks on a file say of other processes.
 *
 * In WAL mode each connection has a shared lock on the database file from its first look at it until it is closed.
 * So fcntl(F_GETLK) on the bytes of SQLite's locks finds every other process that has the file open, unless it
 * never used it. The lock of the shared memory (a byte of the -shm file) would say the same, but SQLite keeps that
 * file to itself.
 *
 * In rollback mode a connection has a lock only while a transaction is open, and one that waits lets go of
 * everything before it sleeps. So a lock that is found says that there is somebody, and none says nothing.
 *
 * The descriptor is SQLite's own; the hook of vfs_syscall.c has seen it. A process does not see its own locks so,
 * nor those of connections that somebody else has in this process. */
#include "db/others.h"

#include "db/vfs_shim.h"
#include "platform/filelock.h"

enum {
    /* part of the file format: pending, reserved, and 510 bytes for readers */
    LOCKS_BEGIN = 0x40000000,
    LOCKS = 512
};

enum lli_others lli_others_look(sqlite3 *db, const char *schema, uint64_t device, uint64_t inode)
{
    struct lli_file_facts facts;
    if (!db || !lli_vfs_file_facts(db, schema, &facts) || !facts.file)
        return LLI_OTHERS_UNKNOWN;
    switch (lli_filelock_elsewhere(facts.descriptor, device, inode, LOCKS_BEGIN, LOCKS)) {
    case LLI_FILELOCK_SOME:
        return LLI_OTHERS_SOME;
    case LLI_FILELOCK_NONE:
        return lli_vfs_wal_index(facts.file) ? LLI_OTHERS_NONE : LLI_OTHERS_UNKNOWN;
    default:
        return LLI_OTHERS_UNKNOWN;
    }
}
