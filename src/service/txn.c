/* txn.c: transactions.
 *
 * Committing or rolling back when no transaction is open is nothing, and on an idle connection nothing is
 * done at once: programs and libraries do it out of habit after every read, and a hop to a worker would
 * cost them more than the read did. The test is repeated on the worker for a connection that is busy. */
#include "engine/inline.h"
#include "engine/submit.h"

#include <looplite/txn.h>

#include <string.h>

static ll_status run(ll_conn *conn, const char *text, bool only_in_transaction,
                     const ll_submit *how, ll_request **ret_request, const char *caller)
{
    ll_request *request;
    LL_TRY(lli_submit_new(conn, LLI_OP_SQL, how, ret_request, caller, &request));
    request->in.sql.text = text; /* static */
    request->in.sql.size = strlen(text);
    request->in.sql.flags = LL_SQL_DISCARD;
    request->kind = lli_classify(text, request->in.sql.size);
    if (only_in_transaction) {
        request->flags |= LL_SUBMIT_SHIELD;
        request->in.sql.only_in_transaction = true;
        if (lli_conn_is_at_rest(conn)) {
            request->outcome = LL_APPLIED;
            return lli_submit_finished(request, false, ret_request);
        }
    }
    switch (lli_inline_try(request)) {
    case LLI_INLINE_DONE:
        return lli_submit_finished(request, false, ret_request);
    case LLI_INLINE_BOUNCED:
        return lli_inline_hand_over(request, ret_request);
    default:
        break;
    }
    return lli_submit(request, ret_request);
}

ll_status ll_txn_begin(ll_conn *conn, ll_begin mode, const ll_submit *how, ll_request **ret_request)
{
    static const char *const texts[] = {
        [LL_BEGIN_DEFERRED] = "BEGIN DEFERRED",
        [LL_BEGIN_IMMEDIATE] = "BEGIN IMMEDIATE",
        [LL_BEGIN_EXCLUSIVE] = "BEGIN EXCLUSIVE",
    };
    if (mode < LL_BEGIN_DEFERRED || mode > LL_BEGIN_EXCLUSIVE)
        return lli_refuse(LL_EINVAL,
                          "ll_txn_begin: mode is %d, must be LL_BEGIN_DEFERRED, "
                          "LL_BEGIN_IMMEDIATE or LL_BEGIN_EXCLUSIVE",
                          (int)mode);
    return run(conn, texts[mode], false, how, ret_request, "ll_txn_begin");
}

ll_status ll_txn_commit(ll_conn *conn, const ll_submit *how, ll_request **ret_request)
{
    return run(conn, "COMMIT", true, how, ret_request, "ll_txn_commit");
}

ll_status ll_txn_rollback(ll_conn *conn, const ll_submit *how, ll_request **ret_request)
{
    return run(conn, "ROLLBACK", true, how, ret_request, "ll_txn_rollback");
}
