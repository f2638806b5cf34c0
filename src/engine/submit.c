/* submit.c: the steps that every submission shares.
 *
 * Order: check arguments; make the request; copy what it needs (unless LL_SUBMIT_BORROW); tell the engine
 * that one more is outstanding; append it to the connection's queue. Up to the last step nothing has
 * happened that anybody could see, so each step may fail and the call is refused as a whole. */
#include "engine/submit.h"

#include "base/alloc.h"
#include "engine/group.h"

#include <string.h>

ll_status lli_engine_for(ll_conn *conn, const ll_submit *how, const char *caller,
                         ll_engine **ret_engine)
{
    if (!conn)
        return lli_refuse(LL_EINVAL, "%s: conn is NULL", caller);
    LL_TRY(lli_engine_check(conn->engine, caller));
    ll_engine *engine = how && how->engine ? how->engine : conn->engine;
    if (engine != conn->engine) {
        LL_TRY(lli_engine_check(engine, caller));
        if (engine->crew != conn->crew)
            return lli_refuse(LL_EINVAL,
                              "%s: how->engine does not share its workers with the "
                              "connection's engine; make it with workers_of",
                              caller);
    }
    *ret_engine = engine;
    return LL_OK;
}

ll_status lli_submit_new(ll_conn *conn, enum lli_op op, const ll_submit *how,
                         ll_request **ret_request, const char *caller, ll_request **ret_new)
{
    ll_engine *engine;
    LL_TRY(lli_engine_for(conn, how, caller, &engine));
    if (!ret_request && !(how && how->done))
        return lli_refuse(LL_EINVAL, "%s: ret_request is NULL and there is no callback", caller);
    ll_request *request = lli_request_new(engine, conn, op, how);
    if (!request)
        return lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
    *ret_new = request;
    return LL_OK;
}

static void hand_out(ll_request *request, ll_request **ret_request)
{
    if (ret_request)
        *ret_request = request;
    else
        ll_request_unref(request);
}

ll_status lli_submit(ll_request *request, ll_request **ret_request)
{
    ll_status status = lli_engine_add(request->engine, request);
    if (status == LL_OK) {
        status = LLI_UNLIKELY(request->writer != NULL) ? lli_group_enqueue(request)
                                                       : lli_conn_enqueue(request->conn, request);
        if (status != LL_OK)
            lli_engine_remove(request->engine, request);
    }
    if (status != LL_OK) {
        ll_request_unref(request);
        return status;
    }
    unsigned stop = atomic_load_explicit(&request->stop, memory_order_relaxed);
    if (stop !=
        LLI_STOP_NONE) /* its deadline passed, on the loop's thread, before it stood in the queue */
        lli_request_stop(request, (enum lli_stop)stop);
    hand_out(request, ret_request);
    return LL_PENDING;
}

ll_status lli_submit_finished(ll_request *request, bool here, ll_request **ret_request)
{
    lli_request_finish_now(request);
    lli_engine_count_immediate(request->engine, request, here);
    hand_out(request, ret_request);
    return LL_OK;
}

ll_status lli_submit_text(ll_request *request, const char *text, size_t size, const char **ret_text)
{
    *ret_text = text;
    if (request->flags & LL_SUBMIT_BORROW)
        return LL_OK;
    *ret_text = lli_arena_copy(&request->arena, text, size);
    return *ret_text ? LL_OK : LL_ENOMEM;
}

ll_status lli_submit_values(ll_request *request, const ll_value *values, size_t count,
                            const ll_value **ret_values)
{
    *ret_values = values;
    if ((request->flags & LL_SUBMIT_BORROW) || count == 0)
        return LL_OK;
    size_t size;
    if (__builtin_mul_overflow(count, sizeof *values, &size))
        return LL_ENOMEM;
    ll_value *copy = lli_arena_take(&request->arena, size);
    if (!copy)
        return LL_ENOMEM;
    memcpy(copy, values, size);
    for (size_t i = 0; i < count; i++) {
        bool text = copy[i].type == LL_TEXT || copy[i].type == LL_REFUSED;
        if (!text && copy[i].type != LL_BLOB)
            continue;
        if (!copy[i].as.text)
            continue;
        size_t bytes = copy[i].type == LL_REFUSED ? strlen(copy[i].as.text) : copy[i].size;
        copy[i].as.text = lli_arena_copy(&request->arena, copy[i].as.text, bytes);
        if (!copy[i].as.text)
            return LL_ENOMEM;
    }
    *ret_values = copy;
    return LL_OK;
}

ll_status lli_submit_names(ll_request *request, const char *const *names, size_t count,
                           const char *const **ret_names)
{
    *ret_names = names;
    if ((request->flags & LL_SUBMIT_BORROW) || !names)
        return LL_OK;
    /* One slot more than needed: zero names are still "named", so the pointer must not be NULL. */
    const char **copy = lli_arena_take(&request->arena, (count + 1) * sizeof *copy);
    if (!copy)
        return LL_ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (!(copy[i] = lli_arena_copy(&request->arena, names[i], strlen(names[i]))))
            return LL_ENOMEM;
    *ret_names = copy;
    return LL_OK;
}
