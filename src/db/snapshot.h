/* snapshot.h: a read transaction that is kept open between the reads of one turn of the loop. */
#ifndef LLI_DB_SNAPSHOT_H
#define LLI_DB_SNAPSHOT_H

#include "base/defs.h"

#include <sqlite3.h>

struct lli_db;
struct lli_vfs_file;

/* The start of a wal-index, as far as it tells one committed state from another. */
struct lli_wal_state {
    uint32_t header[12]; /* WalIndexHdr; its two copies agreed */
    uint32_t backfilled; /* WalCkptInfo.nBackfill */
};

/* Owner of the connection only. Zeroed means: none is held and none is allowed. */
struct lli_snapshot {
    /* fixed between two calls of lli_snapshot_allow() */
    const struct lli_vfs_file *file;   /* of "main"; NULL: never take one */
    const sqlite3_io_methods *methods; /* its own, to know it from another at the same address */
    /* changed by take and release */
    bool examined;             /* `suits` was found out since lli_snapshot_allow() */
    bool suits;                /* not in exclusive locking mode, nothing attached */
    bool held;                 /* `keeper` stays on its row and `copy` describes what it sees */
    sqlite3_stmt *keeper;      /* prepared at the first take, finalised by lli_snapshot_done() */
    struct lli_wal_state copy; /* read before the transaction began */
    uint64_t taken_ns;         /* lli_now_ns() of the last take that worked */
    unsigned long takes;       /* taken */
    unsigned long hits;        /* reads that found it current */
    unsigned long lost;        /* somebody committed or checkpointed meanwhile */
};

/* Says that snapshots may be taken of "main", which is `file` (see lli_vfs_file_facts()); NULL: none. Lets
 * go of one that is held. To be called again whenever the facts were learned again: after PRAGMA, ATTACH,
 * DETACH, and after somebody else used the handle. Not to be allowed while the connection has an authorizer
 * or a trace or profile callback of the user's: they would see the statement that keeps the snapshot. */
void lli_snapshot_allow(struct lli_db *db, const struct lli_vfs_file *file);

/* Takes one if every condition of snapshot.c holds; else nothing is held. True: held, and the next read
 * sees what is committed now. Waits for nothing in an attempt, which it may end; then false. */
bool lli_snapshot_take(struct lli_db *db);

/* Before each read: true if one is held and nobody committed since, so that the read may join it. If
 * not, lets go of it: the read begins a transaction of its own. [M] 20 ns. */
bool lli_snapshot_is_current(struct lli_db *db);

/* Lets go of it; a statement that still stands on a row keeps its transaction. Nothing held: does
 * nothing. To be called at the end of the turn, a millisecond after `taken_ns` at the latest, and before
 * anything but a read on the loop is done with the handle: a write, BEGIN, SAVEPOINT, PRAGMA, a
 * checkpoint, defining a function, an interrupt, the hand-over to another owner. */
void lli_snapshot_release(struct lli_db *db);

/* Lets go of it and finalises its statement, for close; none is allowed any more. */
void lli_snapshot_done(struct lli_db *db);

/* How many frames the WAL of a file has, as the wal-index says it, and how many of them are in the database by now.
 * False: it has none, or it is being written. Owner of the connection that has the file open. */
bool lli_snapshot_frames(const struct lli_vfs_file *file, uint32_t *ret_frames,
                         uint32_t *ret_filled);

static inline bool lli_snapshot_held(const struct lli_snapshot *snapshot)
{
    return snapshot->held;
}

#endif
