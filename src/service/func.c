/* func.c: registering functions, collations and hooks, as requests.
 *
 * What the program has given is copied into a struct lli_udf at once, which from then on answers for `user`: whatever
 * becomes of the request, it is given back exactly once. So it is made before anything that can fail, and a call
 * that is refused frees it, too.
 *
 * What the engine has to know: one that takes the place of a function or collation that may run on the loop keeps
 * statements off it (LL_OWN_FUNCTIONS, LL_OWN_COLLATIONS, for good); hooks do so while there are any. A function
 * under a new name needs no word: programs that call it show it. */
#include "engine/run.h"
#include "engine/task.h"

#include <string.h>

enum {
    LONGEST_NAME = 255, /* SQLite's */
    KNOWN_FLAGS = LL_FUNCTION_DETERMINISTIC | LL_FUNCTION_INNOCUOUS | LL_FUNCTION_DIRECT_ONLY |
                  LL_FUNCTION_ON_LOOP
};

struct registering {
    struct lli_udf *udf; /* until SQLite has it */
};

/* What the engine has to know before the first statement. */
static void tell_engine(ll_conn *conn, const struct lli_udf *udf)
{
    bool quick = udf->kind == LLI_UDF_FUNCTION && (udf->as.function.flags & LL_FUNCTION_ON_LOOP);
    switch (udf->kind) {
    case LLI_UDF_FUNCTION:
        if (!quick)
            ll_conn_own_code(conn, ll_own_function(udf->name), 0);
        break;
    case LLI_UDF_COLLATION:
        ll_conn_own_code(conn, ll_own_collation(udf->name), 0);
        break;
    case LLI_UDF_HOOKS:
        ll_conn_own_code(conn, LLI_OWN_HOOKED, 0);
        break;
    }
}

static int run(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    struct registering *registering = lli_task_data(request);
    struct lli_udf *udf = registering->udf;
    (void)ret_park_ns;
    registering->udf = NULL;
    request->read_only = true;
    lli_run_arm(conn, request, true, false);
    tell_engine(conn, udf);
    int rc = lli_udf_register(&conn->db.udfs, udf);
    /* SQLite prepares them again, but only when they are stepped; and a write that runs on the loop cannot be refused
     * there. (What is in use is a read.) */
    lli_stmtcache_forget_programs(&conn->db.cache);
    if (!conn->db.udfs.hooks)
        ll_conn_own_code(conn, 0, LLI_OWN_HOOKED);
    if (rc == SQLITE_OK)
        request->outcome = LL_APPLIED;
    else
        lli_run_fail(conn, request, rc, false);
    return LLI_RUN_DONE;
}

static void gone(ll_request *request)
{
    struct registering *registering = lli_task_data(request);
    lli_udf_free(registering->udf);
}

#define REGISTERS(called)                                                                 \
    {                                                                                     \
        .name = called, .run = run, .gone = gone, .kind = LLI_KIND_PRAGMA, .stays = true, \
    }

static const struct lli_task_ops function_ops = REGISTERS("ll_function_create()");
static const struct lli_task_ops collation_ops = REGISTERS("ll_collation_create()");
static const struct lli_task_ops hooks_ops = REGISTERS("ll_hooks_set()");

/* Takes `udf`; NULL: there was no memory for it. */
static ll_status submit(ll_conn *conn, struct lli_udf *udf, const struct lli_task_ops *ops,
                        const ll_submit *how, ll_request **ret_request, const char *caller)
{
    ll_request *request;
    ll_status status = lli_task_new(conn, ops, sizeof(struct registering), how, ret_request, caller,
                                    &request);
    if (status != LL_OK) {
        lli_udf_free(udf);
        return status;
    }
    ((struct registering *)lli_task_data(request))->udf = udf;
    return lli_submit(request, ret_request);
}

static ll_status no_memory(void *user, void (*destroy)(void *), const char *caller)
{
    if (destroy)
        destroy(user);
    return lli_refuse(LL_ENOMEM, "%s: out of memory", caller);
}

static ll_status check_name(const char *name, const char *caller, const char *field)
{
    if (!name || !*name)
        return lli_refuse(LL_EINVAL, "%s: %s is %s", caller, field, name ? "empty" : "NULL");
    if (strlen(name) > LONGEST_NAME)
        return lli_refuse(LL_EINVAL, "%s: %s has %zu bytes, more than %d", caller, field,
                          strlen(name), (int)LONGEST_NAME);
    return LL_OK;
}

static ll_status check_function(const ll_function *f, const char *caller)
{
    LL_TRY(check_name(f->name, caller, "function->name"));
    if (f->args < -1)
        return lli_refuse(LL_EINVAL, "%s: function->args is %d, must be -1 or more", caller,
                          f->args);
    if (f->flags & ~(unsigned)KNOWN_FLAGS)
        return lli_refuse(LL_EINVAL, "%s: function->flags has unknown bits: 0x%x", caller,
                          f->flags & ~(unsigned)KNOWN_FLAGS);
    if (f->call && (f->step || f->final || f->value || f->inverse))
        return lli_refuse(LL_EINVAL,
                          "%s: function->call is for a scalar function, the others for an "
                          "aggregate: not both",
                          caller);
    if (!f->step != !f->final)
        return lli_refuse(LL_EINVAL, "%s: an aggregate needs function->step and function->final",
                          caller);
    if (!f->value != !f->inverse || (f->value && !f->step))
        return lli_refuse(LL_EINVAL,
                          "%s: a window function needs function->step, final, value and inverse",
                          caller);
    return LL_OK;
}

ll_status ll_function_create(ll_conn *conn, const ll_function *function, const ll_submit *how,
                             ll_request **ret_request)
{
    static const char caller[] = "ll_function_create";
    if (!function)
        return lli_refuse(LL_EINVAL, "%s: function is NULL", caller);
    ll_status status = check_function(function, caller);
    if (status != LL_OK) {
        if (function->destroy)
            function->destroy(function->user);
        return status;
    }
    struct lli_udf *udf = lli_udf_new(LLI_UDF_FUNCTION, function->name, function->user,
                                      function->destroy);
    if (!udf)
        return no_memory(function->user, function->destroy, caller);
    udf->as.function = *function;
    return submit(conn, udf, &function_ops, how, ret_request, caller);
}

ll_status ll_collation_create(ll_conn *conn, const ll_collation *collation, const ll_submit *how,
                              ll_request **ret_request)
{
    static const char caller[] = "ll_collation_create";
    if (!collation)
        return lli_refuse(LL_EINVAL, "%s: collation is NULL", caller);
    ll_status status = check_name(collation->name, caller, "collation->name");
    if (status != LL_OK) {
        if (collation->destroy)
            collation->destroy(collation->user);
        return status;
    }
    struct lli_udf *udf = lli_udf_new(LLI_UDF_COLLATION, collation->name, collation->user,
                                      collation->destroy);
    if (!udf)
        return no_memory(collation->user, collation->destroy, caller);
    udf->as.collation = *collation;
    return submit(conn, udf, &collation_ops, how, ret_request, caller);
}

ll_status ll_hooks_set(ll_conn *conn, const ll_hooks *hooks, const ll_submit *how,
                       ll_request **ret_request)
{
    static const char caller[] = "ll_hooks_set";
    static const ll_hooks none;
    if (!hooks)
        hooks = &none;
    struct lli_udf *udf = lli_udf_new(LLI_UDF_HOOKS, NULL, hooks->user, hooks->destroy);
    if (!udf)
        return no_memory(hooks->user, hooks->destroy, caller);
    udf->as.hooks = *hooks;
    return submit(conn, udf, &hooks_ops, how, ret_request, caller);
}
