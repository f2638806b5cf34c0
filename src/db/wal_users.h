/* wal_users.h: who in this process has the WAL of a file open.
 *
 * The last connection to close a database in WAL mode checkpoints it, with syncs, and deletes the WAL. So a
 * connection may be closed on the loop only while another one is left that will do it. The list has every file
 * that is open through our VFS with its wal-index mapped, and is not about to close. */
#ifndef LLI_DB_WAL_USERS_H
#define LLI_DB_WAL_USERS_H

#include "base/list.h"

struct lli_wal_user {
    /* under the lock of the lists */
    struct lli_node node;
    uint64_t device, inode;
    uint32_t generation; /* of the process: those that a fork has copied are somebody else's */
};

/* All of them: any thread, a short lock. */

/* Puts it into the list; once until it leaves. */
void lli_wal_user_enter(struct lli_wal_user *user, uint64_t device, uint64_t inode);
/* Takes it out, if it is there. */
void lli_wal_user_leave(struct lli_wal_user *user);
/* Takes it out if another one with the same file stays; false: it is the last, and stays. */
bool lli_wal_user_leave_to_others(struct lli_wal_user *user);
/* Installs what keeps the lists whole over a fork. Once. */
void lli_wal_users_watch_fork(void);

#endif
