/* task.h: requests of the layer above: LLI_OP_TASK. */
#ifndef LLI_ENGINE_TASK_H
#define LLI_ENGINE_TASK_H

#include "engine/submit.h"

/* A request that runs ops->run in its connection's turn, with `size` zeroed bytes behind lli_task_data(). As
 * lli_submit_new(); ops->gone is called when it goes. */
ll_status lli_task_new(ll_conn *conn, const struct lli_task_ops *ops, size_t size,
                       const ll_submit *how, ll_request **ret_request, const char *caller,
                       ll_request **ret_new);

static inline void *lli_task_data(const ll_request *request)
{
    return request->in.task.data;
}

/* Whether it is one of these, and has finished. */
bool lli_task_is_done(const ll_request *request, const struct lli_task_ops *ops);

/* It cannot be submitted after all: out of memory. */
ll_status lli_task_no_memory(ll_request *request, const char *caller);

#endif
