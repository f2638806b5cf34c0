/* pool.h: a pool of connections to one database, for many tasks of one program.
 *
 * A *lease* gives a connection to its caller alone: for transactions, streams, temporary objects, PRAGMA, ATTACH.
 * Single statements need none: ll_pool_exec() runs them on whatever connection of the pool is not out, several in
 * turn on the same one, so that a hundred tasks with single statements do not exhaust a pool of five. A pool is
 * exhausted when all its connections are leased.
 *
 * Who asks first is served first. What a lease leaves behind (statements, a transaction, settings, temporary objects,
 * attached files) is taken away before the next one gets the connection; a connection for which that cannot be done,
 * or whose file has gone or is damaged, is closed and another one opened in its place.
 *
 * A statement on a pooled connection that fails in such a way that SQLite rolls the open transaction back (it was
 * interrupted while it wrote, the disk is full, ...) leaves the lease *aborted*: each further statement is refused with
 * LL_EABORTED until a ROLLBACK. */
#ifndef LOOPLITE_POOL_H
#define LOOPLITE_POOL_H

#include <looplite/conn.h>
#include <looplite/writer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Connections to one database that are lent to who asks. */
typedef struct ll_pool ll_pool;

/* One connection of a pool, lent to one caller. */
typedef struct ll_lease ll_lease;

struct ll_adopt; /* looplite/sqlite.h */

#define LL_POOL_NEVER UINT64_MAX /* for a time of ll_pool_options: that does not happen */
#define LL_POOL_OFF \
    UINT32_MAX /* for checkpoint_frames: neither the pool makes any nor SQLite by itself */

/* Zero-initialise; every zero means "the default". */
typedef struct ll_pool_options {
    unsigned max_size;           /* connections that can be leased at once; 0: 5; at most 1024 */
    unsigned min_size;           /* opened at once, and kept open; 0: none */
    uint64_t connect_timeout_ns; /* how long an acquire waits; 0: 30 s; LL_POOL_NEVER: for ever */
    uint64_t
        idle_timeout_ns; /* a connection above min_size that nobody has used for so long is closed,
                                      when the pool is used the next time; 0: a day; LL_POOL_NEVER: never */
    uint64_t
        health_interval_ns; /* one that was not looked at for so long is looked at before it is given out
                                      (is its file still there, can it be read); 0: 10 s; LL_POOL_NEVER: never */
    uint64_t
        operation_timeout_ns; /* each statement that has no timeout of its own is stopped after this time,
                                      even while it writes; 0: never */
    uint32_t
        checkpoint_frames; /* the WAL is checkpointed in the background when it has so many frames more;
                                      0: 1000; LL_POOL_OFF: never, by nobody (somebody else does it) */
    uint32_t
        wal_bound_frames; /* above it the WAL is emptied as soon as nobody reads from it; 0: four times
                                      checkpoint_frames */
    ll_open_options open; /* how each connection is opened; open.pragmas are the warm-up */
    const struct ll_adopt
        *adopt; /* NULL, or how handles are opened instead: `open` and `close` are called for each
                                      connection, on workers, with the same `arg`, and `release` once, with the last
                                      of the pool, also when ll_pool_new() fails; `path` of it is not used. The
                                      path of the pool then only says what they open: NULL
                                      is some file, what ll_pool_memory_uri() gave a
                                      database in memory */
    bool
        group_commit; /* single writes of ll_pool_exec() share transactions (looplite/writer.h), on one
                                      connection more, which is never leased. For files only */
    ll_writer_options group; /* with group_commit */
} ll_pool_options;

/* Makes a pool. Opens nothing but min_size connections, in the background, and for a memory database one more, which
 * is never leased and keeps it alive. ":memory:", "" and NULL are a database of this pool; "file::memory:?cache=shared"
 * and "file:NAME?mode=memory" are one for all pools of the process that name it.
 * Thread: any. Owns: the caller gives it back with ll_pool_unref(); path and options are copied. Errors: LL_EINVAL
 * (the message names the option), LL_ENOMEM, LL_EFORK. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_pool_new(ll_engine *engine, const char *path,
                                          const ll_pool_options *options, ll_pool **ret_pool);

/* How every connection of one pool has to open a database in memory: for ll_adopt.open. If `path` is one (":memory:",
 * "", NULL, and with LL_OPEN_URI in `flags` the names of ll_pool_new()) this is a URI; otherwise "". A database without
 * a name gets a new one with each call, so what is given here is to be the path of the pool, too.
 * Thread: any. Owns: `ret_uri` is the caller's, `room` bytes. Errors: LL_EINVAL, it does not fit. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_pool_memory_uri(const char *path, unsigned flags, char *ret_uri,
                                                 size_t room);

/* Asks for a connection for the caller alone: ll_request_take_lease(). LL_OK when one is idle, else in the order of
 * asking. `label` (may be NULL) says in reports where it was taken; it is copied, up to 127 bytes. how->timeout_ns takes
 * the place of connect_timeout_ns.
 * Thread: any. Owns: *ret_request as ll_conn_submit(); a lease that nobody takes out of it is given back with it. Errors:
 * at once LL_EINVAL, LL_ECLOSED, LL_ENOMEM, LL_EFORK; of the request: LL_EEXHAUSTED, with a message that says how many
 * are out, for how long and since where; LL_ECANCELLED; LL_ECLOSED when the pool is closed meanwhile; and what opening
 * a connection gives. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_pool_acquire(ll_pool *pool, const char *label,
                                              const ll_submit *how, ll_request **ret_request);

/* Takes the lease out of a finished ll_pool_acquire() request.
 * Thread: any, one at a time. Owns: the caller gives it back with ll_pool_release(). Errors: NULL if there is none.
 * Since: 0.1 */
LL_API ll_lease *ll_request_take_lease(ll_request *request);

/* The connection of a lease: for all that ll_conn can do but ll_conn_close().
 * Thread: any. Owns: lent until ll_pool_release(); not to be used afterwards. Errors: NULL for NULL. Since: 0.1 */
LL_API ll_conn *ll_lease_conn(const ll_lease *lease);

/* What giving a connection back came to. */
typedef struct ll_released {
    bool
        rolled_back; /* a transaction was open, or had been rolled back by an error and not ended */
    bool dropped_writes; /* ... and had written something, which is lost */
    bool undone;         /* settings were set back */
    bool retired; /* the connection was closed: it could not be made as it was, or is broken */
    unsigned statements;    /* live ones (cursors) that were ended */
    const char *last_write; /* the last statement that wrote in that transaction, perhaps cut; "" */
    const char *reason;     /* why it was retired, or what was set back; "" */
} ll_released;

/* Gives a lease back. What was submitted under it runs before; then the connection is made as it was. With `how` and
 * ret_request NULL nobody is told. LL_OK: it was clean, or nobody is told.
 * Thread: any. Owns: takes the lease, also when this fails; NULL is fine. Errors: LL_ENOMEM for the request alone, the
 * lease is back then all the same. Cannot be cancelled. After fork: does nothing. Since: 0.1 */
LL_API ll_status ll_pool_release(ll_lease *lease, const ll_submit *how, ll_request **ret_request);

/* What a finished ll_pool_release() request came to.
 * Thread: any. Owns: the texts live as long as the request. Errors: all zero, texts "", for any other request.
 * Since: 0.1 */
LL_API void ll_request_get_released(const ll_request *request, ll_released *ret_released);

/* Runs one statement outside any transaction on a connection that is not leased, shared with others. If all are, it
 * waits in line with those who acquire. On a memory database it waits for the writes that were asked of
 * ll_pool_exec() before it.
 * Thread: any. Owns: as ll_conn_submit(). Errors: as ll_conn_submit(); at once LL_ENEEDSLEASE for BEGIN, COMMIT,
 * SAVEPOINT, PRAGMA, ATTACH, temporary objects, changes(), last_insert_rowid() and the like, LL_SQL_STREAM and
 * begin_before: take a lease; of the request also LL_EEXHAUSTED. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_pool_exec(ll_pool *pool, const ll_sql *sql, const ll_submit *how,
                                           ll_request **ret_request);

/* Closes: nothing new is accepted, who waits is told LL_ECLOSED, leases that are out may be used and given back, and
 * the request finishes when the last connection is closed. A second close waits for the first.
 * Thread: any. Owns: nothing; the pool is still to be given back. Errors: LL_EINVAL, LL_ENOMEM, LL_EFORK; of the
 * request: LL_ECANCELLED when the engine ends while leases are out. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_pool_close(ll_pool *pool, const ll_submit *how,
                                            ll_request **ret_request);

/* Gives the pool back. If nobody closed it, it closes by itself, when the last lease is back.
 * Thread: any. Owns: takes the caller's reference; NULL is fine. Errors: none. After fork: frees nothing. Since: 0.1 */
LL_API void ll_pool_unref(ll_pool *pool);

/* Who is out for the longest time, who writes, who keeps the WAL from being emptied. Texts may be cut. */
typedef struct ll_pool_stats {
    /* now */
    unsigned size;    /* connections, opening and closing ones too, without the pool's own */
    unsigned idle;    /* neither leased nor in use */
    unsigned leased;  /* out */
    unsigned waiting; /* requests in line */
    /* since the pool was made */
    uint64_t acquired;                 /* leases given out */
    uint64_t immediate;                /* of these, inside the call */
    uint64_t exhausted;                /* requests that waited in vain */
    uint64_t executed;                 /* statements without a lease */
    uint64_t opened, retired, expired; /* connections: opened; closed as unfit; closed as idle */
    uint64_t open_failures;
    uint64_t resets;              /* times a connection was looked at and made as it was */
    uint64_t rolled_back;         /* transactions that a lease left open */
    uint64_t checkpoints;         /* made in the background */
    uint64_t checkpoints_blocked; /* of these, a reader or writer was in the way of */
    uint32_t wal_frames,
        wal_filled;        /* after the last one: frames in the WAL, and of these in the database */
    ll_writer_stats group; /* with group_commit */
    /* the oldest lease; 0 and "": none */
    uint64_t oldest_ns; /* for how long it is out */
    char oldest_label[128];
    /* the lease in whose transaction something was written; "": none, or it has no label */
    bool writing;
    char writer_label[128];
    /* who reads for the longest time, so that the WAL cannot be emptied; 0: nobody */
    uint64_t pinned_ns; /* for how long */
    char pin_label[128];
    char pin_sql[192];
} ll_pool_stats;

/* Reads the statistics.
 * Thread: any. Owns: nothing. Errors: all zero after fork and for NULL. Since: 0.1 */
LL_API void ll_pool_get_stats(ll_pool *pool, ll_pool_stats *ret_stats);

#ifdef __cplusplus
}
#endif
#endif
