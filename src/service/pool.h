/* pool.h: what the files of the pool share. How it works is in pool.c, the drawing of a slot in pool_slot.c. */
#ifndef LLI_SERVICE_POOL_H
#define LLI_SERVICE_POOL_H

#include "engine/checkpoint.h"
#include "engine/group.h"
#include "engine/reset.h"
#include "engine/submit.h"

#include <looplite/pool.h>

/* See the drawing in pool_slot.c. */
enum lli_slot_state {
    LLI_SLOT_EMPTY,
    LLI_SLOT_OPENING,
    LLI_SLOT_FREE,
    LLI_SLOT_LEASED,
    LLI_SLOT_RESETTING,
    LLI_SLOT_CLOSING,
    LLI_SLOT_STATES
};

enum {
    LLI_LABEL = 128
};

struct ll_lease {
    /* fixed once it is given out */
    ll_pool *pool; /* a reference, from then on */
    struct lli_slot *slot;
    ll_conn *conn; /* the slot's; NULL: it was never given out */
    uint64_t since_ns;
    char label[LLI_LABEL];
};

/* Of a request of ll_pool_release(). */
struct lli_released {
    ll_released pub;
    struct lli_reset reset; /* holds the texts */
};

/* What waits in the lines of a pool. */
enum lli_line {
    LLI_LINE_ACQUIRE, /* for a lease */
    LLI_LINE_READ,    /* a statement that reads */
    LLI_LINE_WRITE,   /* a statement that may write */
    LLI_LINES
};

/* A request that waits; inside its memory. */
struct lli_waiter {
    enum lli_line line;
    uint64_t ticket;      /* the order of asking, over all lines */
    uint64_t since_ns;    /* when it came */
    uint64_t deadline_ns; /* of a statement: its own; LLI_NEVER: none */
    ll_lease *lease;      /* of an acquire: what it gets */
};

struct lli_slot {
    /* fixed after creation */
    ll_pool *pool;

    /* under pool->mu */
    enum lli_slot_state state;
    ll_conn *conn;         /* a reference and its handle; NULL while EMPTY */
    unsigned users;        /* threads that are about to submit a shared statement */
    enum lli_line serves;  /* FREE: what the last shared statement was */
    bool look;             /* the reset that is queued looks at the file too */
    bool fresh;            /* it was looked at, or opened, since it was given out last */
    bool suspect;          /* its connection has met an error of its file */
    uint64_t used_ns;      /* when it was given back, or served a statement, last */
    uint64_t looked_ns;    /* when its file was looked at last */
    ll_lease *lease;       /* LEASED; lent */
    ll_request *releasing; /* RESETTING: who waits for it; a reference */

    /* whoever has brought it to OPENING, RESETTING or CLOSING (of the keeper also: set `checkpointing`), until `chore`
     * has run */
    ll_request chore;
    struct lli_reset reset;
    struct lli_checkpoint checkpoint;
    bool closes; /* the chore is what closes the connection; else it has closed by itself */
};

struct ll_pool {
    /* fixed after creation */
    ll_conn *anchor;   /* never opened: what a request refers to before it has its connection */
    ll_engine *engine; /* the anchor's */
    char *path;
    char **pragmas; /* NULL-terminated, or NULL */
    char *vfs;
    ll_pool_options options; /* defaults filled in */
    ll_adopt adopt;          /* without `open`: none */
    uint64_t memory_key;     /* names a database in memory; 0: it is a file */
    bool checkpoints;        /* it makes them */

    /* any thread */
    atomic_uint
        refs; /* the handle, connections, leases, requests that wait; the last unref is acq_rel */
    atomic_uint
        waiting; /* in lines; acq_rel, pairs with `resting` of a connection: lli_pool_rested() */
    atomic_bool wanted;   /* there is more to do than that: a suspect, a checkpoint; relaxed */
    atomic_uint wal_due;  /* frames of the WAL at which the next checkpoint is made; relaxed */
    atomic_bool wal_grew; /* relaxed, taken under mu */

    /* under mu */
    lli_mutex mu;
    struct lli_list lines[LLI_LINES]; /* of ll_request.queue_node */
    struct lli_list closers;          /* the same: who waits for the end */
    uint64_t ticket;                  /* the last one */
    bool closing;
    bool keep_trying;       /* opening works: min_size is restored */
    bool checkpointing;     /* the keeper's chore is one */
    ll_pool_stats stats;    /* the counters */
    struct lli_slot keeper; /* the pool's own: holds a memory database, and makes checkpoints */
    struct lli_slot
        scribe; /* the same: with group_commit, what `writer` writes on; `users` of it submit to `writer` */
    ll_writer *writer;      /* while `scribe` is FREE; NULL: no memory for it */
    bool scribe_wanted;     /* somebody would have used it */
    struct lli_slot *slots; /* options.max_size */
};

ll_pool *lli_pool_ref(ll_pool *pool);
void lli_pool_unref(ll_pool *pool);

/* pool_serve.c */

/* Does what there is to do: gives connections to those in line, opens, resets, closes. Any thread, no lock. */
void lli_pool_serve(ll_pool *pool);
/* Accepts a request with its engine and puts it in line: LL_PENDING, with the caller's reference handed out. On an
 * error it is freed. */
ll_status lli_pool_wait(ll_pool *pool, ll_request *request, ll_request **ret_request);
/* Under mu, for a submitter: a slot that it may have at once, without overtaking; NULL: it has to wait. */
struct lli_slot *lli_pool_pick(ll_pool *pool, enum lli_line line, uint64_t now_ns);
/* For requests that wait in lines: acquires and statements. */
extern const struct lli_wait_ops lli_pool_acquire_ops, lli_pool_exec_ops;
static inline struct lli_waiter *lli_waiter_of(const ll_request *request)
{
    return request->extra;
}
static inline ll_request *lli_line_first(const ll_pool *pool, enum lli_line line)
{
    struct lli_node *node = lli_list_first(&pool->lines[line]);
    return node ? LLI_CONTAINER_OF(node, ll_request, queue_node) : NULL;
}

/* pool_slot.c */

/* Under mu. */
void lli_slot_move(struct lli_slot *slot, enum lli_slot_state state);
/* Begins what belongs to the state, which was set under mu: makes and opens a connection, resets or closes it, or
 * makes a checkpoint. No lock. */
void lli_slot_open(struct lli_slot *slot);
void lli_slot_reset(struct lli_slot *slot);
void lli_slot_close(struct lli_slot *slot);
void lli_slot_checkpoint(struct lli_slot *keeper);
/* Of a FREE slot, under mu: whether nothing runs on it, and nothing is about to. */
static inline bool lli_slot_is_idle(const struct lli_slot *slot)
{
    return slot->state == LLI_SLOT_FREE && slot->users == 0 &&
           atomic_load_explicit(&slot->conn->tenant.resting, memory_order_relaxed);
}
/* Under mu: whether its file has to be looked at before it is given out. */
bool lli_slot_needs_look(const struct lli_slot *slot, uint64_t now_ns);
/* Under mu: an idle slot is given out to a statement of this kind, with a user. */
void lli_slot_share(struct lli_slot *slot, enum lli_line line, uint64_t now_ns);
/* Under mu: gives an idle slot to a lease. */
void lli_slot_lease(struct lli_slot *slot, ll_lease *lease, uint64_t now_ns);

/* Whether it is none of those that are leased. */
static inline bool lli_slot_is_own(const struct lli_slot *slot)
{
    return slot == &slot->pool->keeper || slot == &slot->pool->scribe;
}

/* pool_stats.c: says who is out, in words. Under mu. */
void lli_pool_describe(const ll_pool *pool, uint64_t now_ns, char *ret_text, size_t room);

#endif
