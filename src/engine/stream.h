/* stream.h: a live statement and the batches that were read ahead from it. */
#ifndef LLI_ENGINE_STREAM_H
#define LLI_ENGINE_STREAM_H

#include "base/list.h"
#include "db/rowbatch.h"
#include "db/stmtcache.h"
#include "engine/request.h"
#include "platform/thread.h"

#include <looplite/cursor.h>

enum lli_stream_state {
    LLI_STREAM_LIVE,   /* there may be more rows */
    LLI_STREAM_ENDED,  /* the last row is in `ready`, or was taken */
    LLI_STREAM_FAILED, /* `error` says why; what is in `ready` comes first */
    LLI_STREAM_CLOSED  /* by the consumer */
};

struct ll_cursor {
    /* fixed after creation */
    ll_conn *conn;       /* a reference */
    ll_columns *columns; /* a reference */

    atomic_uint
        refs; /* the consumer's handle with END, a pump under way, each request that waits; acq_rel */

    /* under mu */
    lli_mutex mu;
    enum lli_stream_state state;
    struct lli_list ready; /* of ll_batch.node, oldest first */
    size_t ready_count;
    struct lli_list waiters; /* of ll_request.queue_node (LLI_OP_NEXT) */
    unsigned blocked;        /* threads in lli_stream_wait() */
    lli_cond changed;        /* there is a batch, or an end, for them */
    bool keeps_columns;      /* what is read from now on: LL_SQL_COLUMNS, or somebody wants Arrow */
    unsigned credit;         /* batches to read ahead */
    size_t batch_rows;
    bool pumping;   /* `pump` is queued or runs */
    bool pump_runs; /* it runs */
    struct lli_error error;

    /* whoever owns the connection */
    struct lli_stmt *stmt; /* NULL once it was given back */
    struct lli_node stream_node;

    /* internal requests, in place: they need no memory and cannot fail */
    ll_request pump, end;
};

/* Owner: a cursor for a statement that is about to be stepped, or NULL. */
ll_cursor *lli_stream_new(ll_conn *conn);
/* Owner: it takes over the statement and joins the connection's live ones. */
void lli_stream_begin(ll_cursor *cursor, struct lli_stmt *stmt, ll_columns *columns);
/* Owner: it never begins; whoever asks gets the error, which is moved out of `error`. */
void lli_stream_fail(ll_cursor *cursor, ll_columns *columns, struct lli_error *error);

/* Any thread: from now on batches are of columns, and of so many rows. */
void lli_stream_keep_columns(ll_cursor *cursor, size_t rows);

/* Any thread that has a reference, but no worker that has the connection: takes the next batch, blocking until there is
 * one; NULL: there are no more.
 * Errors: the statement's; LL_ECLOSED. */
ll_status lli_stream_wait(ll_cursor *cursor, ll_batch **ret_batch, struct lli_error *error);

/* Owner: the two internal requests. */
void lli_stream_pump(ll_cursor *cursor);
void lli_stream_end(ll_cursor *cursor);
/* A reference; the last one frees it, after lli_stream_end(). */
void lli_stream_ref(ll_cursor *cursor);
void lli_stream_unref(ll_cursor *cursor);
/* Owner: the connection closes, or goes back to its pool, as `why` says: the statement ends, the consumer is told
 * when it asks. */
void lli_stream_cut(ll_cursor *cursor, const char *why);

/* Any thread: `user` of the first request that waits at it, or NULL. */
void *lli_stream_waiting(ll_cursor *cursor);

/* Any thread: a request that waits at the cursor is stopped. */
void lli_stream_stop_waiter(ll_request *request, enum lli_stop why,
                            bool (*drop)(ll_request *, enum lli_stop));

#endif
