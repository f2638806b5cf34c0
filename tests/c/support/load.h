/* load.h: clients that write to one database at the same time, an account of what each was told, and the comparison of
 * a file with that account.
 *
 * An *op* is one transaction: some rows of `item`, all with the op's number, and through a trigger the counts of its
 * client in `tally`. It is made by one statement, by ll_exec_many(), or as BEGIN, INSERT ..., COMMIT or ROLLBACK; some
 * are cancelled. In a file each op is whole or not at all, and `tally` agrees with `item`. Beside them readers look
 * for ops that are in part there, and hold snapshots with streams.
 *
 * The clock of the account is the caller's: places on a tape, or nothing. */
#ifndef T_LOAD_H
#define T_LOAD_H

#include "support/support.h"

/* How the clients reach the database. */
enum t_load_way {
    T_LOAD_CONNS,      /* a connection for each */
    T_LOAD_GROUP,      /* ... and single statements through a writer: group commit */
    T_LOAD_POOL,       /* a pool, smaller than they are many, with checkpoints in the background */
    T_LOAD_POOL_GROUP, /* ... with group commit */
    T_LOAD_WAYS
};
extern const char *const t_load_way_names[T_LOAD_WAYS];

struct t_load_op {
    size_t asked_at, told_at; /* by the clock */
    unsigned client, parts;
    bool told;
    const char *how; /* "single", "many", "transaction" */
    ll_outcome outcome;
    ll_status status;
    int sqlite_code;
};

typedef struct t_load_options {
    enum t_load_way way;
    const char *journal;     /* "WAL", "DELETE", ... */
    const char *synchronous; /* "FULL", ... */
    unsigned writers, readers;
    size_t ops; /* how many are made, all in all */
    uint64_t seed;
    unsigned cancel_of_16;  /* so many of 16 ops are cancelled */
    unsigned backup_of_64;  /* so many of 64 ops are followed by VACUUM INTO another file */
    const char *backup_dir; /* where */
    size_t (*clock)(void);  /* NULL: always 0 */
    /* Called when a client asks and when it is told (may be NULL); on the loop. */
    void (*asking)(void *arg, size_t op);
    void (*told)(void *arg, size_t op);
    void *arg;
} t_load_options;

typedef struct t_load t_load;

/* Makes the tables in a new file, without looplite. */
void t_load_schema(const char *path, const char *journal);
/* Opens what the way needs, on an engine of the test. False: that failed, as it may with a disk that fails. */
bool t_load_begin(t_load **ret_load, ll_engine *engine, const char *path,
                  const t_load_options *options);
/* Until all ops are told. */
void t_load_run(t_load *load);
/* So many ops more. */
void t_load_more(t_load *load, size_t ops);
/* What the op was told, in options.told and later. */
ll_outcome t_load_outcome(const t_load *load, size_t op);
/* Closes everything and frees it; the account is the caller's: free(). */
struct t_load_op *t_load_end(t_load *load, size_t *ret_count);

/* ---- looking at a file ---- */

/* What became of an op in a file. */
enum t_load_found {
    T_LOAD_ABSENT,
    T_LOAD_WHOLE
};

/* Reads the file with sqlite3 itself: integrity_check, each op whole or not at all, tally. `found` has a place for each op.
 * NULL, or what is wrong, in a static text. */
const char *t_load_look(const char *path, size_t ops, unsigned char *found);

/* Compares what was found with the account, for a crash at `at`: NULL, or what is wrong, in a static text. `durable`: what
 * was told to be applied before is there. Otherwise the last ones may be missing, but not one that was told before
 * another one, which is there, was asked for; *ret_missing: how many. */
const char *t_load_compare(const struct t_load_op *ops, size_t count, const unsigned char *found,
                           size_t at, bool durable, size_t *ret_missing);

#endif
