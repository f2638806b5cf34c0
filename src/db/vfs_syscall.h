/* vfs_syscall.h: the unix VFS's own reads, replaced so that they can be told not to wait. */
#ifndef LLI_DB_VFS_SYSCALL_H
#define LLI_DB_VFS_SYSCALL_H

#include "platform/nowait.h"

#include <sqlite3.h>

struct lli_attempt;

/* One xRead of the shim while it runs. On the reader's stack. */
struct lli_page_read {
    struct lli_attempt *attempt; /* in: the one that the reader is in, or NULL */
    enum lli_disk_guard guard;   /* in: the file's; LLI_DISK_UNKNOWN: the hook finds out */
    bool asked;                  /* out: the hook was called, so it guards this file */
    uint64_t device, inode;      /* out, if the guard was unknown */
    int descriptor;              /* the same: SQLite's, which lives as long as the file is open */
};

/* The read that this thread is in, if the hook has something to do in it; NULL otherwise. */
extern _Thread_local struct lli_page_read *lli_page_read_now;

/* Replaces the calls that the VFS reads with, if it is one that lets us. Under the lock that registers
 * the shim; only the first call does anything. */
void lli_syscall_hook(sqlite3_vfs *vfs);

/* Whether a read of that VFS comes through the hook: makes a temporary file and tries. Any thread. */
bool lli_syscall_test(sqlite3_vfs *vfs);

#endif
