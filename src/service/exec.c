/* exec.c: statements: one, one for many rows, and scripts. */
#include "service/exec.h"

#include "engine/inline.h"

#include <string.h>

/* A commit, a rollback and a release are never dropped by cancelling: whoever asked for them relies on the
 * transaction being over, and a task that is cancelled asks for them on its way out. */
static bool ends_transaction(enum lli_kind kind)
{
    return kind == LLI_KIND_COMMIT || kind == LLI_KIND_ROLLBACK || kind == LLI_KIND_RELEASE;
}

ll_status lli_exec_text_size(const char *text, size_t size, const char *caller, const char *name,
                             size_t *ret_size)
{
    if (!text)
        return lli_refuse(LL_EINVAL, "%s: %s is NULL", caller, name);
    if (size == LL_NUL_TERMINATED)
        size = strlen(text);
    const char *nul = memchr(text, '\0', size);
    if (nul)
        return lli_refuse(LL_EINVAL, "%s: the SQL text contains a null character at byte %zu",
                          caller, (size_t)(nul - text));
    *ret_size = size;
    return LL_OK;
}

static ll_status no_memory(ll_request *request, const char *caller)
{
    ll_request_unref(request);
    return lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
}

static ll_status check_names(const char *const *names, size_t count, const char *caller)
{
    for (size_t i = 0; names && i < count; i++)
        if (!names[i])
            return lli_refuse(LL_EINVAL, "%s: names[%zu] is NULL", caller, i);
    return LL_OK;
}

ll_status lli_exec_check(const ll_params *params, const char *caller)
{
    if (params->count > 0 && !params->values)
        return lli_refuse(LL_EINVAL, "%s: values is NULL, but count is %zu", caller, params->count);
    return check_names(params->names, params->count, caller);
}

/* A request with all that `sql` says, nothing of it copied: on the loop nothing has to be. */
static ll_status make(ll_conn *conn, const ll_sql *sql, enum lli_kind kind, const ll_submit *how,
                      ll_request **ret_request, const char *caller, ll_request **ret_new)
{
    LL_TRY(lli_exec_check(&sql->params, caller));
    if (sql->begin_before > LL_BEGIN_DEFAULT)
        return lli_refuse(LL_EINVAL, "%s: begin_before is %d", caller, (int)sql->begin_before);
    ll_request *request;
    LL_TRY(lli_submit_new(conn, LLI_OP_SQL, how, ret_request, caller, &request));
    request->kind = kind;
    if (ends_transaction(request->kind))
        request->flags |= LL_SUBMIT_SHIELD;
    request->in.sql.size = sql->size;
    request->in.sql.flags = sql->flags;
    request->in.sql.begin_before = sql->begin_before;
    request->in.sql.first_rows = sql->first_rows;
    request->in.sql.text = sql->text;
    request->in.sql.params = sql->params;
    *ret_new = request;
    return LL_OK;
}

static ll_status copy(ll_request *request, const ll_sql *sql)
{
    if (lli_submit_text(request, sql->text, sql->size, &request->in.sql.text) != LL_OK ||
        lli_submit_values(request, sql->params.values, sql->params.count,
                          &request->in.sql.params.values) != LL_OK ||
        lli_submit_names(request, sql->params.names, sql->params.count,
                         &request->in.sql.params.names) != LL_OK)
        return LL_ENOMEM;
    return LL_OK;
}

ll_status lli_exec_submit(ll_conn *conn, const ll_sql *sql, enum lli_kind kind,
                          const ll_submit *how, ll_request **ret_request, const char *caller)
{
    ll_request *request;
    LL_TRY(make(conn, sql, kind, how, ret_request, caller, &request));
    enum lli_inline tried = lli_inline_try(request);
    if (tried == LLI_INLINE_DONE)
        return lli_submit_finished(request, true, ret_request);
    if (copy(request, sql) != LL_OK) {
        if (tried == LLI_INLINE_BOUNCED)
            lli_inline_release(request);
        return no_memory(request, caller);
    }
    if (tried == LLI_INLINE_BOUNCED)
        return lli_inline_hand_over(request, ret_request);
    return lli_submit(request, ret_request);
}

ll_status lli_exec_new(ll_conn *conn, const ll_sql *sql, enum lli_kind kind, const ll_submit *how,
                       ll_request **ret_request, const char *caller, ll_request **ret_new)
{
    ll_request *request;
    LL_TRY(make(conn, sql, kind, how, ret_request, caller, &request));
    if (copy(request, sql) != LL_OK)
        return no_memory(request, caller);
    *ret_new = request;
    return LL_OK;
}

/* `name`: what the caller calls the text. */
static ll_status submit(ll_conn *conn, const ll_sql *sql, const ll_submit *how,
                        ll_request **ret_request, const char *caller, const char *name)
{
    ll_sql checked = *sql;
    LL_TRY(lli_exec_text_size(sql->text, sql->size, caller, name, &checked.size));
    return lli_exec_submit(conn, &checked, lli_classify(checked.text, checked.size), how,
                           ret_request, caller);
}

ll_status ll_conn_submit(ll_conn *conn, const ll_sql *sql, const ll_submit *how,
                         ll_request **ret_request)
{
    if (!sql)
        return lli_refuse(LL_EINVAL, "ll_conn_submit: sql is NULL");
    return submit(conn, sql, how, ret_request, "ll_conn_submit", "sql->text");
}

static ll_status simple(ll_conn *conn, const char *text, const ll_value *values, size_t count,
                        unsigned flags, const ll_submit *how, ll_request **ret_request,
                        const char *caller)
{
    ll_sql sql = {.text = text,
                  .size = LL_NUL_TERMINATED,
                  .params = {.values = values, .names = NULL, .count = count},
                  .flags = flags};
    return submit(conn, &sql, how, ret_request, caller, "sql");
}

ll_status ll_exec(ll_conn *conn, const char *sql, const ll_value *values, size_t count,
                  const ll_submit *how, ll_request **ret_request)
{
    return simple(conn, sql, values, count, LL_SQL_DISCARD, how, ret_request, "ll_exec");
}

ll_status ll_query(ll_conn *conn, const char *sql, const ll_value *values, size_t count,
                   const ll_submit *how, ll_request **ret_request)
{
    return simple(conn, sql, values, count, 0, how, ret_request, "ll_query");
}

ll_status ll_stream(ll_conn *conn, const char *sql, const ll_value *values, size_t count,
                    const ll_submit *how, ll_request **ret_request)
{
    return simple(conn, sql, values, count, LL_SQL_STREAM, how, ret_request, "ll_stream");
}

ll_status ll_exec_many(ll_conn *conn, const ll_many *many, const ll_submit *how,
                       ll_request **ret_request)
{
    static const char caller[] = "ll_exec_many";
    if (!many)
        return lli_refuse(LL_EINVAL, "%s: many is NULL", caller);
    size_t size, cells;
    LL_TRY(lli_exec_text_size(many->text, many->size, caller, "many->text", &size));
    if (__builtin_mul_overflow(many->rows, many->width, &cells))
        return lli_refuse(LL_EINVAL, "%s: %zu rows of %zu values are too many", caller, many->rows,
                          many->width);
    if (cells > 0 && !many->values)
        return lli_refuse(LL_EINVAL, "%s: values is NULL, but there are %zu rows", caller,
                          many->rows);
    LL_TRY(check_names(many->names, many->width, caller));
    ll_request *request;
    LL_TRY(lli_submit_new(conn, LLI_OP_MANY, how, ret_request, caller, &request));
    request->in.many.many = *many;
    request->in.many.size = size;
    if (lli_submit_text(request, many->text, size, &request->in.many.many.text) != LL_OK ||
        lli_submit_values(request, many->values, cells, &request->in.many.many.values) != LL_OK ||
        lli_submit_names(request, many->names, many->width, &request->in.many.many.names) != LL_OK)
        return no_memory(request, caller);
    return lli_submit(request, ret_request);
}

ll_status ll_script(ll_conn *conn, const char *text, size_t size, bool commit_first,
                    const ll_submit *how, ll_request **ret_request)
{
    static const char caller[] = "ll_script";
    LL_TRY(lli_exec_text_size(text, size, caller, "text", &size));
    ll_request *request;
    LL_TRY(lli_submit_new(conn, LLI_OP_SCRIPT, how, ret_request, caller, &request));
    request->in.script.size = size;
    request->in.script.commit_first = commit_first;
    if (lli_submit_text(request, text, size, &request->in.script.text) != LL_OK)
        return no_memory(request, caller);
    return lli_submit(request, ret_request);
}
