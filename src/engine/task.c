/* task.c: making a request of what the layer above does with a handle.
 *
 * What is common to all requests (order, cancellation, deadlines, locks, who is told) is done for these as for
 * statements; what is done, and what of it has to be freed, is known by whoever made the struct lli_task_ops. What a
 * task needs lies in the request's own memory, so that it lives as long as the request. */
#include "engine/task.h"

#include <string.h>

ll_status lli_task_new(ll_conn *conn, const struct lli_task_ops *ops, size_t size,
                       const ll_submit *how, ll_request **ret_request, const char *caller,
                       ll_request **ret_new)
{
    static const struct lli_task_ops nothing;
    ll_request *request;
    LL_TRY(lli_submit_new(conn, LLI_OP_TASK, how, ret_request, caller, &request));
    request->in.task.ops = &nothing; /* what frees the data may not see it before it is there */
    void *data = lli_arena_take(&request->arena, size);
    if (!data)
        return lli_task_no_memory(request, caller);
    memset(data, 0, size);
    request->in.task.data = data;
    request->in.task.ops = ops;
    if (conn->tenant.operation_timeout_ns > 0)
        lli_tenant_limit(conn, request);
    *ret_new = request;
    return LL_OK;
}

bool lli_task_is_done(const ll_request *request, const struct lli_task_ops *ops)
{
    return request && request->op == LLI_OP_TASK && request->in.task.ops == ops &&
           ll_request_is_done(request);
}

ll_status lli_task_no_memory(ll_request *request, const char *caller)
{
    ll_request_unref(request);
    return lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
}
