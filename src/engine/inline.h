/* inline.h: running a statement on the event loop itself, when it cannot block. */
#ifndef LLI_ENGINE_INLINE_H
#define LLI_ENGINE_INLINE_H

#include "db/attempt.h"
#include "db/stmtcache.h"
#include "engine/submit.h"

enum lli_inline {
    LLI_INLINE_NO,   /* not tried: the caller queues it */
    LLI_INLINE_DONE, /* its results are set; the connection is let go */
    LLI_INLINE_BOUNCED, /* tried: the caller still owns the connection and must call one of the two below */
};

/* Tries a request (state NEW) on the calling thread. */
enum lli_inline lli_inline_try(ll_request *request);
/* The same for one of a connection that the calling thread, the loop, owns already, and keeps. NO: it is for
 * a worker. */
enum lli_inline lli_inline_try_owned(ll_request *request);
/* After BOUNCED: puts it at the front of the queue and hands the connection to a worker, or lets it wait for
 * the page that it missed: as lli_submit(). */
ll_status lli_inline_hand_over(ll_request *request, ll_request **ret_request);
/* After BOUNCED: the request cannot go on; lets go of the connection. */
void lli_inline_release(ll_request *request);

/* Between inline.c and lend.c. */

/* Whether it is a statement that only reads, and no transaction's begin or end. */
static inline bool lli_inline_is_read(const struct lli_stmt *stmt)
{
    return stmt->raw && stmt->read_only &&
           (stmt->kind == LLI_KIND_SELECT || stmt->kind == LLI_KIND_OTHER);
}
/* Whether such a one, with this program, may run on the loop with these parameters. */
bool lli_inline_admits_read(const ll_conn *conn, const struct lli_stmt *stmt,
                            const struct lli_program *program, const ll_params *params);
/* What the guard that ended a try says of the statement. */
void lli_inline_judge(struct lli_cost *cost, enum lli_bounce why);
void lli_inline_count_bounce(ll_engine *engine, enum lli_bounce why);

#endif
