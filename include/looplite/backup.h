/* backup.h: copying a database that is in use into another one.
 *
 * A copy is made in steps of some pages, each on a worker. Between two steps the source is free: its own requests run
 * in their order, and other connections and processes write. What they write restarts the copy (as SQLite has it; what
 * the source connection itself writes is taken over without), so a step that is too small for a busy source
 * may never come to an end; without `pages` the steps grow with each restart until one is enough.
 *
 * The target is occupied from the first step to the end: what is submitted to it waits. It is written in one transaction,
 * so whatever happens it holds either all of the source, as it was at one moment, or what it held before. */
#ifndef LOOPLITE_BACKUP_H
#define LOOPLITE_BACKUP_H

#include <looplite/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How far a copy is, in pages. */
typedef struct ll_backup_progress {
    uint64_t remaining, total; /* both 0 before the first step */
    unsigned restarts;         /* how often it has begun anew, as far as can be seen */
    bool waiting;              /* the last step met a lock */
} ll_backup_progress;

/* Called on the loop of the request's engine, from ll_engine_dispatch(), before the request calls back: not for each
 * step, but with what the last one came to when the loop comes round. `user` is the request's. */
typedef void (*ll_backup_fn)(ll_request *request, const ll_backup_progress *progress, void *user);

/* Zero-initialise; every zero means "the default". */
typedef struct ll_backup_options {
    const char *source_schema, *target_schema; /* NULL: "main" */
    unsigned
        pages; /* of a step; 0: 256, and twice as many with each restart. A step cannot be interrupted */
    uint64_t pause_ns;     /* between two steps; 0: none */
    uint64_t sleep_ns;     /* after a step that met a lock; 0: 5 ms */
    ll_backup_fn progress; /* may be NULL */
} ll_backup_options;

/* Copies a database of `source` over one of `target`. It is a request of the target, and stands in its order; each step
 * stands in the source's, behind what was submitted there before. A lock (on either file, or because the source has a
 * write transaction open) is waited for as long as the target's busy timeout says, without a worker, and anew
 * after each step that went well. Cancelling or timing out ends the copy behind the step that runs, with the target as
 * it was; so does closing the source, with LL_ECLOSED. ll_request_outcome() is LL_APPLIED only for a whole copy.
 * Thread: any. Owns: as ll_conn_submit(); the options are copied; both connections stay open until the end, whoever
 * gives them back. Errors: at once LL_EINVAL (source and target are the same connection, ...), LL_ECLOSED,
 * LL_ENOMEM, LL_EFORK; of the request: LL_ESQL ("destination database is in use": the target has a transaction, a
 * cursor or a blob open; no such database; an error of either file), LL_EBUSY (also if the two are being copied into
 * each other), LL_ECANCELLED, LL_ETIMEOUT, LL_ECLOSED, LL_ENOMEM. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_backup(ll_conn *source, ll_conn *target,
                                        const ll_backup_options *options, const ll_submit *how,
                                        ll_request **ret_request);

/* The same into a file, which is made if it is not there and is closed again when the request has finished. A file that
 * is there must be a database, or empty. One that was made for a copy that failed stays behind, empty.
 * Thread: any. Owns: as ll_backup(); the path is copied. Errors: as ll_backup(), and those of ll_conn_open(); how->engine
 * must share the workers of the source's engine. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_backup_to_file(ll_conn *source, const char *path,
                                                const ll_backup_options *options,
                                                const ll_submit *how, ll_request **ret_request);

/* How far a copy is, at any time.
 * Thread: any. Owns: nothing. Errors: all zero for what is no copy. Since: 0.1 */
LL_API void ll_backup_get_progress(const ll_request *request, ll_backup_progress *ret_progress);

#ifdef __cplusplus
}
#endif
#endif
