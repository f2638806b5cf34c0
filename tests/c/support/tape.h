/* tape.h: a VFS below looplite's that keeps a tape of all that goes to the disk, and that can fail as disks do.
 *
 * It takes the place of SQLite's default VFS before looplite wraps that, and calls itself "unix", so that looplite
 * reads on the loop as ever. Files of the watched directory are recorded: each write with its bytes, each truncation,
 * the beginning and the end of each sync, files that are made and deleted, and syncs of the directory. cut.h makes of a
 * tape what a power cut at any of its places could have left.
 *
 * Which syncs SQLite's unix VFS makes is kept: the first sync of a journal or WAL that was just made syncs the
 * directory too, a deletion does if SQLite asks for it. The real disk is never synced: nobody pulls the plug. */
#ifndef T_TAPE_H
#define T_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum t_tape_kind {
    T_TAPE_WRITE,
    T_TAPE_TRUNCATE, /* to `offset` */
    T_TAPE_SYNC_BEGINS,
    T_TAPE_SYNC_ENDS, /* what was written before `began` is durable */
    T_TAPE_CREATE,    /* `name` leads to `inode` */
    T_TAPE_DELETE,
    T_TAPE_DIR_SYNC
};

struct t_tape_op {
    enum t_tape_kind kind;
    unsigned inode;
    int64_t offset;
    size_t size, began;
    unsigned char *bytes; /* T_TAPE_WRITE */
    char *name;           /* T_TAPE_CREATE, T_TAPE_DELETE: without the directory */
};

/* A file, which may have lost its name. */
struct t_tape_inode {
    unsigned char *bytes; /* at the beginning of the tape */
    size_t size;
};

struct t_tape_name {
    char *name;
    unsigned inode;
};

struct t_tape {
    struct t_tape_op *ops;
    size_t count, room;
    struct t_tape_inode *inodes;
    size_t inode_count;
    struct t_tape_name *names; /* at the beginning */
    size_t name_count;
};

/* Before the first engine of the process. */
void t_tape_install(void);
/* From here on; what lies in the directory now is durable. No file in it is open. */
void t_tape_begin(const char *dir);
/* How long the tape is; any thread, also while nothing is recorded (then it does not change). */
size_t t_tape_now(void);
/* The tape, which is the caller's: t_tape_free(). No file of the directory is open. */
struct t_tape t_tape_end(void);
void t_tape_free(struct t_tape *tape);

/* ---- a disk that fails ---- */

enum t_disk_fault {
    T_DISK_ERROR, /* the nth call fails, once, with the SQLITE_IOERR_... of its kind */
    T_DISK_DEAD,  /* the nth call and all later ones fail so, until it is mended */
    T_DISK_FULL, /* the nth write that makes a file longer, or a new file, writes half and fails with SQLITE_FULL,
                           and all later ones until it is mended */
    T_DISK_SHORT_WRITE, /* the nth write writes half and fails, once */
    T_DISK_SYNC_ERROR,  /* the nth sync fails, once */
    T_DISK_FAULTS
};
extern const char *const t_disk_fault_names[T_DISK_FAULTS];

/* For calls on files of the directory of t_tape_begin(). Any thread. */
void t_disk_fail(enum t_disk_fault fault, unsigned long nth);
bool t_disk_failed(void); /* whether it has happened */
void t_disk_mend(void);

#endif
