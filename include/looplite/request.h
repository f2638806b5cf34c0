/* request.h: one piece of work, from its submission to its result. */
#ifndef LOOPLITE_REQUEST_H
#define LOOPLITE_REQUEST_H

#include <looplite/engine.h>
#include <looplite/row.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One piece of work, and then its result. Counted. */
typedef struct ll_request ll_request;

/* The rest of a streamed result: a live statement of its connection (cursor.h). */
typedef struct ll_cursor ll_cursor;

/* Called from ll_engine_dispatch() when a request that was LL_PENDING has finished. The request
 * lives at least until the callback returns. */
typedef void (*ll_done_fn)(ll_request *request, void *user);

enum {
    LL_SUBMIT_BORROW = 1u << 0,    /* the SQL text and the parameters stay valid and unchanged until
                                    the request has finished: they are not copied */
    LL_SUBMIT_SHIELD = 1u << 1,    /* cancelling or timing out never drops it: it runs and ends */
    LL_SUBMIT_NO_INLINE = 1u << 3, /* always on a worker, never on the loop itself */
    LL_SUBMIT_TIMED = 1u << 4,     /* note when and where it ran: ll_request_get_timing() */
    LL_SUBMIT_INTERRUPT = 1u << 2  /* cancelling and deadlines interrupt it while it runs even when
                                    it writes. Inside a transaction SQLite may then roll the whole
                                    transaction back. Without this flag only reads are interrupted */
};

/* How to submit. NULL or all zero: no callback, no deadline, completes on the connection's engine. */
typedef struct ll_submit {
    ll_done_fn done;
    void *user;
    uint64_t timeout_ns; /* deadline from now, 0: none. Waiting in the queue counts. */
    ll_engine *engine;   /* calls back on this engine; it must share its workers with the
                            connection's. NULL: the connection's own. */
    unsigned flags;      /* LL_SUBMIT_* */
} ll_submit;

/* Asks for the end of a request. One that has not begun is dropped and never runs (its callback
 * comes by dispatch, LL_ECANCELLED and not applied); a running read is interrupted; a running write
 * ends by itself unless LL_SUBMIT_INTERRUPT; one that waits for a lock is dropped; one that has
 * finished is not changed. Either way the request completes once, and tells its outcome truly.
 * Thread: any. Owns: nothing. Errors: LL_EINVAL, LL_EFORK. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_request_cancel(ll_request *request);

/* Whether the results can be read. They can from where the request has finished on its worker, and its
 * callback is called later, by the dispatch: who owns what the callback uses, waits for the callback
 * (ll_request_wait()).
 * Thread: any. Owns: nothing. Errors: none. Since: 0.1 */
LL_API bool ll_request_is_done(const ll_request *request);

/* Dispatches the request's engine until this request has called back.
 * Thread: loop, outside callbacks. Owns: nothing. Errors: as ll_engine_wait(); the request's own
 * status is returned when it has finished. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_request_wait(ll_request *request);

/* The functions below read results. They may be called once the request has finished (LL_OK was
 * returned, or the callback runs, or ll_request_is_done()). Before that they answer as said. */

/* How it ended: LL_OK or the error's status.
 * Thread: any. Owns: nothing. Errors: LL_PENDING before the end. Since: 0.1 */
LL_API ll_status ll_request_status(const ll_request *request);

/* The error, whole; its status is LL_OK when there was none.
 * Thread: any. Owns: lives as long as the request. Errors: before the end, status LL_PENDING.
 * Since: 0.1 */
LL_API const ll_error *ll_request_error(const ll_request *request);

/* Whether the work was applied.
 * Thread: any. Owns: nothing. Errors: LL_UNKNOWN before the end. Since: 0.1 */
LL_API ll_outcome ll_request_outcome(const ll_request *request);

/* Rows changed by the statement (the sum of all rows for ll_exec_many()), 0 for a read.
 * Thread: any. Owns: nothing. Errors: 0 before the end. Since: 0.1 */
LL_API int64_t ll_request_changes(const ll_request *request);

/* sqlite3_last_insert_rowid() of the connection right after the request.
 * Thread: any. Owns: nothing. Errors: 0 before the end. Since: 0.1 */
LL_API int64_t ll_request_rowid(const ll_request *request);

/* How many parameter rows of ll_exec_many() or statements of ll_script() ran to their end.
 * Thread: any. Owns: nothing. Errors: 0 before the end. Since: 0.1 */
LL_API size_t ll_request_progress(const ll_request *request);

/* Where a request ran. */
typedef enum ll_place {
    LL_PLACE_NONE = 0, /* nowhere: it was dropped before it began, or there was nothing to do */
    LL_PLACE_LOOP = 1, /* on the loop's own thread */
    LL_PLACE_WORKER = 2
} ll_place;

/* When and where a request ran. Nanoseconds of the monotonic clock (CLOCK_MONOTONIC). */
typedef struct ll_timing {
    uint64_t submitted_ns;
    uint64_t begun_ns; /* first touched SQLite; 0: never. It may have waited for a lock since */
    uint64_t ended_ns;
    ll_place place; /* where it ended, if it moved from the loop to a worker */
} ll_timing;

/* When and where a request ran that was submitted with LL_SUBMIT_TIMED. A try on the loop that was undone, and the run
 * on a worker after it, count from the worker's beginning.
 * Thread: any. Owns: nothing. Errors: all zero before the end, and without that flag. Since: 0.1 */
LL_API void ll_request_get_timing(const ll_request *request, ll_timing *ret_timing);

/* Whether the statement only reads (sqlite3_stmt_readonly).
 * Thread: any. Owns: nothing. Errors: false before the end. Since: 0.1 */
LL_API bool ll_request_is_read(const ll_request *request);

/* Whether the statement is an INSERT, UPDATE, DELETE or REPLACE by its first word.
 * Thread: any. Owns: nothing. Errors: false before the end. Since: 0.1 */
LL_API bool ll_request_is_dml(const ll_request *request);

/* The columns of the result; NULL for a statement that gives no rows.
 * Thread: any. Owns: the request's; ll_columns_ref() to keep it. Errors: NULL before the end.
 * Since: 0.1 */
LL_API const ll_columns *ll_request_columns(const ll_request *request);

/* Takes the next batch of rows out of the request; NULL when there is none (left).
 * Thread: any, one at a time. Owns: the caller frees it; what is not taken is freed with the
 * request. Errors: NULL before the end. Since: 0.1 */
LL_API ll_batch *ll_request_take_batch(ll_request *request);

/* Takes the cursor that goes on where the batches of this request end; NULL when the result is
 * complete.
 * Thread: any, one at a time. Owns: the caller ends it with ll_cursor_close(); one that is not
 * taken ends with the request. Errors: NULL before the end. Since: 0.1 */
LL_API ll_cursor *ll_request_take_cursor(ll_request *request);

/* The bytes that it has given: of ll_blob_read() and ll_serialize().
 * Thread: any. Owns: the request's: keep it for as long as they are needed. Errors: NULL, and 0 in *ret_size (may be
 * NULL), before the end, when it failed, and for every other request. Since: 0.1 */
LL_API const void *ll_request_bytes(const ll_request *request, size_t *ret_size);

/* The `user` pointer it was submitted with.
 * Thread: any. Owns: nothing. Errors: none. Since: 0.1 */
LL_API void *ll_request_user(const ll_request *request);

/* One reference more.
 * Thread: any. Owns: the caller gives it back with ll_request_unref(). Errors: none. Since: 0.1 */
LL_API ll_request *ll_request_ref(ll_request *request);

/* One reference less. Giving back the last reference of a request that still runs does not cancel
 * it: it ends and calls back.
 * Thread: any. Owns: takes the caller's reference; NULL is fine. Errors: none. Since: 0.1 */
LL_API void ll_request_unref(ll_request *request);

#ifdef __cplusplus
}
#endif
#endif
