/* conn.c: opening, closing and handing around connections.
 *
 * A handle exists from the call on; the file is opened by the connection's first request, on a worker. So
 * what is submitted meanwhile simply waits in line, and an open that fails fails what waits behind it. */
#include "service/conn.h"

#include "base/alloc.h"
#include "engine/open_here.h"
#include "engine/submit.h"

#include <string.h>

static ll_status copy_pragmas(ll_conn *conn, const char *const *pragmas)
{
    size_t count = 0;
    while (pragmas[count])
        count++;
    conn->pragmas = lli_new_array(count + 1, sizeof *conn->pragmas);
    if (!conn->pragmas)
        return LL_ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (!(conn->pragmas[i] = lli_copy_text(pragmas[i], strlen(pragmas[i]))))
            return LL_ENOMEM;
    return LL_OK;
}

static ll_status set_options(ll_conn *conn, const char *path, const ll_open_options *options)
{
    if (path && !(conn->path = lli_copy_text(path, strlen(path))))
        return LL_ENOMEM;
    conn->busy_timeout_ns = LL_DEFAULT_BUSY_TIMEOUT_NS;
    conn->shares_cache = path && strncmp(path, "file:", 5) == 0 && strstr(path, "cache=shared");
    if (!options)
        return LL_OK;
    conn->options = *options;
    conn->shares_cache = conn->shares_cache || (options->flags & LL_OPEN_SHARED_CACHE);
    conn->options.pragmas = NULL;
    if (options->busy_timeout_ns == LL_NO_BUSY_TIMEOUT)
        conn->busy_timeout_ns = 0;
    else if (options->busy_timeout_ns > 0)
        conn->busy_timeout_ns = options->busy_timeout_ns;
    if (options->vfs) {
        if (!(conn->vfs = lli_copy_text(options->vfs, strlen(options->vfs))))
            return LL_ENOMEM;
        conn->options.vfs = conn->vfs;
    }
    return options->pragmas ? copy_pragmas(conn, options->pragmas) : LL_OK;
}

ll_status lli_service_conn_new(ll_engine *engine, const char *path, const ll_open_options *options,
                               ll_conn **ret_conn)
{
    ll_conn *conn = NULL;
    LL_TRY(lli_conn_new(engine, &conn));
    if (set_options(conn, path, options) != LL_OK || lli_crew_add(conn->crew, conn) != LL_OK) {
        lli_conn_unref(conn);
        return LL_ENOMEM;
    }
    *ret_conn = conn;
    return LL_OK;
}

/* Makes the connection and submits its opening. `adopt` is released on every error. */
static ll_status open_conn(ll_engine *engine, const char *path, const ll_adopt *adopt,
                           const ll_open_options *options, const ll_submit *how, ll_conn **ret_conn,
                           ll_request **ret_request, const char *caller)
{
    ll_conn *conn = NULL;
    ll_status status = engine ? lli_engine_check(engine, caller)
                              : lli_refuse(LL_EINVAL, "%s: engine is NULL", caller);
    if (status == LL_OK && options && (options->flags & ~LLI_OPEN_FLAGS))
        status = lli_refuse(LL_EINVAL, "%s: options->flags has unknown bits: 0x%x", caller,
                            options->flags & ~LLI_OPEN_FLAGS);
    if (status == LL_OK && !ret_conn)
        status = lli_refuse(LL_EINVAL, "%s: ret_conn is NULL", caller);
    if (status == LL_OK && lli_conn_new(engine, &conn) != LL_OK)
        status = lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
    if (status != LL_OK) {
        if (adopt && adopt->release)
            adopt->release(adopt->arg);
        return status;
    }
    if (adopt)
        conn->adopt = *adopt;
    ll_request *request = NULL;
    if (set_options(conn, path, options) != LL_OK || lli_crew_add(conn->crew, conn) != LL_OK)
        status = lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
    if (status == LL_OK)
        status = lli_submit_new(conn, LLI_OP_OPEN, how, ret_request, caller, &request);
    if (status == LL_OK)
        status = lli_open_here(request) ? lli_submit_finished(request, true, ret_request)
                                        : lli_submit(request, ret_request);
    if (status < 0) {
        lli_crew_remove(conn->crew, conn);
        lli_conn_unref(conn);
        return status;
    }
    *ret_conn = conn;
    return status;
}

ll_status ll_conn_open(ll_engine *engine, const char *path, const ll_open_options *options,
                       const ll_submit *how, ll_conn **ret_conn, ll_request **ret_request)
{
    if (!path)
        return lli_refuse(LL_EINVAL, "ll_conn_open: path is NULL");
    return open_conn(engine, path, NULL, options, how, ret_conn, ret_request, "ll_conn_open");
}

ll_status ll_conn_open_adopted(ll_engine *engine, const ll_adopt *adopt,
                               const ll_open_options *options, const ll_submit *how,
                               ll_conn **ret_conn, ll_request **ret_request)
{
    if (!adopt || !adopt->open)
        return lli_refuse(LL_EINVAL, "ll_conn_open_adopted: %s is NULL",
                          adopt ? "adopt->open" : "adopt");
    return open_conn(engine, NULL, adopt, options, how, ret_conn, ret_request,
                     "ll_conn_open_adopted");
}

static int give_handle(void *arg, sqlite3 **ret_db, char **ret_message)
{
    (void)ret_message;
    *ret_db = arg;
    return SQLITE_OK;
}

ll_status ll_conn_adopt(ll_engine *engine, sqlite3 *db, const ll_open_options *options,
                        const ll_submit *how, ll_conn **ret_conn, ll_request **ret_request)
{
    if (!db)
        return lli_refuse(LL_EINVAL, "ll_conn_adopt: db is NULL");
    ll_adopt adopt = {.open = give_handle, .arg = db};
    return open_conn(engine, NULL, &adopt, options, how, ret_conn, ret_request, "ll_conn_adopt");
}

ll_status ll_conn_close(ll_conn *conn, const ll_submit *how, ll_request **ret_request)
{
    ll_request *request;
    LL_TRY(lli_submit_new(conn, LLI_OP_CLOSE, how, ret_request, "ll_conn_close", &request));
    request->flags |= LL_SUBMIT_SHIELD;
    request->deadline_ns = LLI_NEVER;
    if (lli_conn_is_closed(conn)) {
        request->outcome = LL_APPLIED;
        return lli_submit_finished(request, false, ret_request);
    }
    return lli_close_here(request) ? lli_submit_finished(request, true, ret_request)
                                   : lli_submit(request, ret_request);
}

ll_conn *ll_conn_ref(ll_conn *conn)
{
    if (conn) {
        lli_conn_ref(conn);
        atomic_fetch_add_explicit(&conn->handles, 1, memory_order_relaxed);
    }
    return conn;
}

void ll_conn_unref(ll_conn *conn)
{
    if (!conn || lli_engine_foreign(conn->engine))
        return;
    if (atomic_fetch_sub_explicit(&conn->handles, 1, memory_order_acq_rel) == 1)
        lli_conn_autoclose(conn);
    lli_conn_unref(conn);
}

ll_status ll_conn_interrupt(ll_conn *conn)
{
    if (!conn)
        return lli_refuse(LL_EINVAL, "ll_conn_interrupt: conn is NULL");
    LL_TRY(lli_engine_check(conn->engine, "ll_conn_interrupt"));
    lli_conn_stop_current(conn, LLI_STOP_INTERRUPT);
    return LL_OK;
}

ll_status ll_conn_call(ll_conn *conn, ll_call_fn call, void *arg, const ll_submit *how,
                       ll_request **ret_request)
{
    if (!call)
        return lli_refuse(LL_EINVAL, "ll_conn_call: call is NULL");
    ll_request *request;
    LL_TRY(lli_submit_new(conn, LLI_OP_CALL, how, ret_request, "ll_conn_call", &request));
    request->in.call.call = call;
    request->in.call.arg = arg;
    return lli_submit(request, ret_request);
}
