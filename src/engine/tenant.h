/* tenant.h: what a connection is to the pool that owns it: who has it, what he leaves behind, and how long a
 * statement of his may take. Zeroed: it has no pool. */
#ifndef LLI_ENGINE_TENANT_H
#define LLI_ENGINE_TENANT_H

#include "base/defs.h"

#include <looplite/conn.h>

struct ll_request;

enum {
    LLI_TENANT_TEXT = 192, /* of a statement, kept to be named later; longer ones are cut */
    LLI_SETTINGS = 32      /* of a fingerprint */
};

/* What a pool is told by the connection's owner, who holds no lock. `arg` is the tenant's. */
struct lli_landlord {
    /* The WAL has so many frames, `wal_step` or more of them not in the database. */
    void (*wal_grew)(void *arg, uint32_t frames);
    /* I/O error, not a database, corrupt: the connection should not be used much longer. */
    void (*broken)(void *arg, ll_conn *conn);
    /* Nothing is queued any more, and the connection was let go. */
    void (*rested)(void *arg);
    /* The connection's memory has gone: `arg` is needed no more. */
    void (*gone)(void *arg);
};

/* The settings of a connection that are not in the file. See reset.c. */
struct lli_fingerprint {
    bool known;
    int64_t values[LLI_SETTINGS];
    uint64_t busy_timeout_ns;
    unsigned own_code, attached;
};

struct lli_tenant {
    /* fixed after creation */
    bool pooled;                   /* it has owners; a pool's own connection has none */
    uint64_t operation_timeout_ns; /* for each statement without a deadline of its own; 0: none */
    uint32_t wal_step;             /* frames; 0: nobody is told */
    bool no_checkpoints;           /* SQLite makes none by itself on it */
    uint64_t memory_key;           /* names a database in memory that connections share; 0: none */
    const struct lli_landlord *landlord; /* NULL: none */
    void *arg;

    /* any thread */
    atomic_uint
        lease; /* how many leases have ended; relaxed: compared by whoever submits, under his lease */
    atomic_bool resting; /* mode is IDLE; relaxed, a hint for choosing among connections */

    /* the owner; the flags are also read under mu when nobody owns it */
    bool touched;     /* a statement ran that may have changed a setting */
    bool handle_used; /* the program used the handle itself */
    bool broken;      /* see an error of the file was met */
    bool aborted;     /* the transaction was rolled back by an error, and nobody has ended it yet */
    struct lli_fingerprint birth;

    /* under mu, written by the owner */
    char wrote[LLI_TENANT_TEXT]; /* the last statement that wrote in the open transaction; "" */
    char pin[LLI_TENANT_TEXT];   /* the statement that began to read what is still being read; "" */
    uint64_t pin_ns;             /* ... and when; 0: nothing is kept open */
    uint64_t current_ns;         /* when a worker took the request that runs; 0: a loop did */
};

/* Owner: opens a connection that has a landlord, as lli_run_open() (enum lli_run_result); then what all connections of
 * its pool have in common is set, and its settings are noted. */
int lli_tenant_open(ll_conn *conn, struct ll_request *request, uint64_t *ret_park_ns);
/* A new request of a connection with an operation timeout: gives it its deadline. */
void lli_tenant_limit(ll_conn *conn, struct ll_request *request);
/* Owner: before a request runs on a worker. False: it is finished, refused because the transaction was aborted. */
bool lli_tenant_admits(ll_conn *conn, struct ll_request *request);
/* Owner: behind each request, before anybody else sees the new state. */
void lli_tenant_note(ll_conn *conn, const struct ll_request *request, bool in_transaction,
                     bool writing);
/* Owner: a SQLite code was met on it. If the file is the trouble, the connection is broken. */
void lli_tenant_note_error(ll_conn *conn, int sqlite_code);
/* Any thread: whether such an error was met. */
bool lli_tenant_is_broken(ll_conn *conn);
/* Any thread: whether it is idle, and nothing is left behind that would have to be looked for. */
bool lli_tenant_is_clean(ll_conn *conn);
/* Any thread: what it keeps open in the file, since when; 0: nothing. */
uint64_t lli_tenant_reading(ll_conn *conn, char *ret_text, bool *ret_writing);

#endif
