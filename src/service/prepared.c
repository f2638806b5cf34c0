/* prepared.c: statements held by name. A handle pins its statement in the connection's cache; running it is
 * an ordinary submission with the handle's text. */
#include "engine/stmt.h"
#include "engine/submit.h"

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

ll_status ll_stmt_submit(ll_stmt *stmt, const ll_params *params, unsigned flags,
                         const ll_submit *how, ll_request **ret_request)
{
    if (!stmt)
        return lli_refuse(LL_EINVAL, "ll_stmt_submit: stmt is NULL");
    ll_sql sql = {.text = stmt->text, .size = stmt->size, .flags = flags};
    if (params)
        sql.params = *params;
    return ll_conn_submit(stmt->conn, &sql, how, ret_request);
}

void ll_stmt_free(ll_stmt *stmt)
{
    if (!stmt || lli_engine_foreign(stmt->conn->engine))
        return;
    ll_status status = lli_conn_enqueue(stmt->conn, &stmt->end);
    assert(status == LL_OK); /* internal requests are always admitted */
    (void)status;
}
