/* prepared.c: statements held by name. A handle pins its statement in the connection's cache; running it is
 * an ordinary submission with the handle's text. */
#include "engine/lend.h"
#include "engine/stmt.h"
#include "service/exec.h"

#include <string.h>

ll_status ll_prepare(ll_conn *conn, const char *text, size_t size, const ll_submit *how,
                     ll_request **ret_request)
{
    static const char caller[] = "ll_prepare";
    if (!text)
        return lli_refuse(LL_EINVAL, "%s: text is NULL", caller);
    if (size == LL_NUL_TERMINATED)
        size = strlen(text);
    if (memchr(text, '\0', size))
        return lli_refuse(LL_EINVAL, "%s: the SQL text contains a null character", caller);
    ll_request *request;
    LL_TRY(lli_submit_new(conn, LLI_OP_PREPARE, how, ret_request, caller, &request));
    request->in.sql.size = size;
    if (lli_submit_text(request, text, size, &request->in.sql.text) != LL_OK) {
        ll_request_unref(request);
        return lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
    }
    return lli_submit(request, ret_request);
}

size_t ll_stmt_parameters(const ll_stmt *stmt)
{
    return stmt ? stmt->parameters : 0;
}

bool ll_stmt_is_read(const ll_stmt *stmt)
{
    return stmt && stmt->read_only;
}

const ll_columns *ll_stmt_columns(const ll_stmt *stmt)
{
    return stmt ? stmt->columns : NULL;
}

/* On a connection of a pool a handle is its owner's, and ends with the lease. */
static ll_status check_lease(const ll_stmt *stmt, const char *caller)
{
    if (LLI_LIKELY(stmt->lease ==
                   atomic_load_explicit(&stmt->conn->tenant.lease, memory_order_relaxed)))
        return LL_OK;
    return lli_refuse(LL_ECLOSED, "%s: the lease under which it was prepared has ended", caller);
}

ll_status ll_stmt_submit(ll_stmt *stmt, const ll_params *params, unsigned flags,
                         const ll_submit *how, ll_request **ret_request)
{
    if (!stmt)
        return lli_refuse(LL_EINVAL, "ll_stmt_submit: stmt is NULL");
    LL_TRY(check_lease(stmt, "ll_stmt_submit"));
    ll_sql sql = {.text = stmt->text, .size = stmt->size, .flags = flags};
    if (params)
        sql.params = *params;
    return lli_exec_submit(stmt->conn, &sql, stmt->kind, how, ret_request, "ll_stmt_submit");
}

/* Whether a read may be tried without a request: nothing was asked that only one can have. (An attempt on the loop
 * is over long before a millisecond.) */
static bool may_lend(const ll_stmt *stmt, const ll_submit *how)
{
    if (!stmt->read_only)
        return false;
    return !how || (!(how->flags & (LL_SUBMIT_NO_INLINE | LL_SUBMIT_TIMED)) &&
                    (!how->engine || how->engine == stmt->conn->engine) &&
                    (how->timeout_ns == 0 || how->timeout_ns >= LLI_MS));
}

ll_status ll_stmt_read(ll_stmt *stmt, const ll_params *params, const ll_submit *how,
                       const ll_batch **ret_rows, ll_request **ret_request)
{
    static const char caller[] = "ll_stmt_read";
    static const ll_params none;
    static const ll_submit plain;
    if (!stmt || !ret_rows || !ret_request)
        return lli_refuse(LL_EINVAL, "%s: %s is NULL", caller,
                          !stmt       ? "stmt"
                          : !ret_rows ? "ret_rows"
                                      : "ret_request");
    *ret_rows = NULL;
    *ret_request = NULL;
    LL_TRY(lli_engine_check(stmt->conn->engine, caller));
    LL_TRY(check_lease(stmt, caller));
    if (!params)
        params = &none;
    LL_TRY(lli_exec_check(params, caller));
    enum lli_lend lent = may_lend(stmt, how) ? lli_lend_rows(stmt, params) : LLI_LEND_NO;
    if (lent == LLI_LEND_DONE) {
        *ret_rows = stmt->rows;
        return LL_OK;
    }
    ll_submit elsewhere = how ? *how : plain;
    if (lent == LLI_LEND_BOUNCED)
        elsewhere.flags |= LL_SUBMIT_NO_INLINE;
    ll_sql sql = {.text = stmt->text, .size = stmt->size, .params = *params};
    return lli_exec_submit(stmt->conn, &sql, stmt->kind, &elsewhere, ret_request, caller);
}

void ll_stmt_free(ll_stmt *stmt)
{
    if (!stmt || lli_engine_foreign(stmt->conn->engine))
        return;
    ll_status status = lli_conn_enqueue(stmt->conn, &stmt->end);
    assert(status == LL_OK); /* internal requests are always admitted */
    (void)status;
}
