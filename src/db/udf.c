/* udf.c: trampolines between SQLite and the program's code.
 *
 * What they are for: the program sees ll_value and never a sqlite3_value; and nothing of it runs on the loop. The
 * first guard for that is the program of the statement (bounded.c), which names all functions that it calls. But
 * SQLite also calls some while it prepares one, and a schema may have changed since it was looked at. So each trampoline
 * asks whether it is called by a try on the loop, and then refuses: the try ends, and the statement is run again on a
 * worker. Refused, an aggregate has no state yet, and its last call is not passed on either.
 *
 * A function that the program has declared short enough for the loop (LL_FUNCTION_ON_LOOP) is let through, and is taken
 * for one of SQLite's cheap ones where programs are judged.
 *
 * Lifetime. SQLite calls its destructor when a function is replaced, removed, or the handle closed, and also when
 * registering it fails; for a collation that fails it does not. Hooks have none. All of them end in
 * lli_udf_free(), which gives `user` back exactly once. */
#include "db/udf.h"

#include "base/alloc.h"
#include "db/api.h"
#include "db/attempt.h"

#include <string.h>
#include <strings.h>

struct ll_context {
    sqlite3_context *sqlite;
    const struct lli_udf *udf;
    bool aggregates;
};

enum {
    FEW_ARGS = 8 /* for which no memory is needed */
};

struct lli_udf *lli_udf_new(enum lli_udf_kind kind, const char *name, void *user,
                            void (*destroy)(void *))
{
    struct lli_udf *udf = lli_new(sizeof *udf);
    if (!udf)
        return NULL;
    if (name && !(udf->name = lli_copy_text(name, strlen(name)))) {
        lli_free(udf);
        return NULL;
    }
    udf->kind = kind;
    udf->user = user;
    udf->destroy = destroy;
    lli_live(+1);
    return udf;
}

void lli_udf_free(struct lli_udf *udf)
{
    if (!udf)
        return;
    if (udf->list && lli_node_linked(&udf->node))
        lli_list_remove(&udf->node);
    if (udf->destroy)
        udf->destroy(udf->user);
    lli_free(udf->name);
    lli_free(udf);
    lli_live(-1);
}

static void dropped(void *arg)
{
    lli_udf_free(arg);
}

/* ---- functions ---------------------------------------------------------------------------------- */

/* Whether it may not run here: then the try that this thread is in has ended. */
static bool refuses(const struct lli_udf *udf, sqlite3_context *context)
{
    bool quick = udf->kind == LLI_UDF_FUNCTION && (udf->as.function.flags & LL_FUNCTION_ON_LOOP);
    if (LLI_LIKELY(quick || !lli_attempt_refuses(LLI_BOUNCE_FOREIGN)))
        return false;
    if (context)
        lli_sq.result_error_code(context, SQLITE_INTERRUPT);
    return true;
}

/* False: there is no memory for its text. */
static bool take_value(sqlite3_value *from, ll_value *ret_value)
{
    *ret_value = ll_null();
    switch (lli_sq.value_type(from)) {
    case SQLITE_INTEGER:
        *ret_value = ll_integer(lli_sq.value_int64(from));
        return true;
    case SQLITE_FLOAT:
        *ret_value = ll_real(lli_sq.value_double(from));
        return true;
    case SQLITE_TEXT: /* the text first: its size is that of the encoding it was asked for in last */
        ret_value->as.text = (const char *)lli_sq.value_text(from);
        ret_value->type = LL_TEXT;
        ret_value->size = (uint32_t)lli_sq.value_bytes(from);
        return ret_value->as.text != NULL;
    case SQLITE_BLOB:
        ret_value->as.blob = lli_sq.value_blob(from);
        ret_value->type = LL_BLOB;
        ret_value->size = (uint32_t)lli_sq.value_bytes(from);
        return ret_value->as.blob != NULL || ret_value->size == 0;
    default:
        return true;
    }
}

static void call_with(sqlite3_context *context, ll_step_fn function, bool aggregates, int count,
                      sqlite3_value **values)
{
    const struct lli_udf *udf = lli_sq.user_data(context);
    if (refuses(udf, context))
        return;
    ll_value few[FEW_ARGS], *args = few;
    if (count > FEW_ARGS && !(args = lli_new_array((size_t)count, sizeof *args))) {
        lli_sq.result_error_nomem(context);
        return;
    }
    bool good = true;
    for (int i = 0; i < count && good; i++)
        good = take_value(values[i], &args[i]);
    if (good)
        function(&(ll_context){context, udf, aggregates}, args, (size_t)count);
    else
        lli_sq.result_error_nomem(context);
    if (args != few)
        lli_free(args);
}

static void end_with(sqlite3_context *context, ll_final_fn function)
{
    const struct lli_udf *udf = lli_sq.user_data(context);
    if (!refuses(udf, context))
        function(&(ll_context){context, udf, true});
}

static const ll_function *function_of(sqlite3_context *context)
{
    return &((const struct lli_udf *)lli_sq.user_data(context))->as.function;
}

static void on_call(sqlite3_context *context, int count, sqlite3_value **values)
{
    call_with(context, function_of(context)->call, false, count, values);
}

static void on_step(sqlite3_context *context, int count, sqlite3_value **values)
{
    call_with(context, function_of(context)->step, true, count, values);
}

static void on_inverse(sqlite3_context *context, int count, sqlite3_value **values)
{
    call_with(context, function_of(context)->inverse, true, count, values);
}

static void on_final(sqlite3_context *context)
{
    end_with(context, function_of(context)->final);
}

static void on_value(sqlite3_context *context)
{
    end_with(context, function_of(context)->value);
}

void *ll_context_user(ll_context *context)
{
    return context->udf->user;
}

void *ll_context_state(ll_context *context, size_t size)
{
    if (!context->aggregates || size > INT32_MAX)
        return NULL;
    return lli_sq.aggregate_context(context->sqlite, (int)size);
}

void ll_context_result(ll_context *context, const ll_value *value)
{
    sqlite3_context *sqlite = context->sqlite;
    switch (value ? value->type : LL_NULL) {
    case LL_INTEGER:
        lli_sq.result_int64(sqlite, value->as.integer);
        return;
    case LL_FLOAT:
        lli_sq.result_double(sqlite, value->as.real);
        return;
    case LL_TEXT:
        lli_sq.result_text64(sqlite, value->as.text ? value->as.text : "", value->size,
                             SQLITE_TRANSIENT, SQLITE_UTF8);
        return;
    case LL_BLOB: /* NULL would be taken for the SQL NULL */
        lli_sq.result_blob64(sqlite, value->size > 0 ? value->as.blob : "", value->size,
                             SQLITE_TRANSIENT);
        return;
    case LL_REFUSED:
        lli_sq.result_error(sqlite, value->as.text ? value->as.text : "a value was refused", -1);
        return;
    default:
        lli_sq.result_null(sqlite);
        return;
    }
}

void ll_context_error(ll_context *context, int sqlite_code, const char *message)
{
    lli_sq.result_error_code(context->sqlite, sqlite_code != 0 ? sqlite_code : SQLITE_ERROR);
    if (!message)
        return;
    lli_sq.result_error(context->sqlite, message, -1); /* which sets the code, too */
    if (sqlite_code != 0)
        lli_sq.result_error_code(context->sqlite, sqlite_code);
}

bool ll_context_must_stop(ll_context *context)
{
    const struct lli_udf_list *list = context->udf->list;
    return list && lli_guard_progress(list->guard) != 0;
}

static int register_function(struct lli_udf_list *list, struct lli_udf *udf)
{
    const ll_function *f = &udf->as.function;
    int flags = SQLITE_UTF8;
    flags |= f->flags & LL_FUNCTION_DETERMINISTIC ? SQLITE_DETERMINISTIC : 0;
    flags |= f->flags & LL_FUNCTION_INNOCUOUS ? SQLITE_INNOCUOUS : 0;
    flags |= f->flags & LL_FUNCTION_DIRECT_ONLY ? SQLITE_DIRECTONLY : 0;
    if (!f->call && !f->step) {
        int rc = lli_sq.create_function_v2(list->handle, udf->name, f->args, SQLITE_UTF8, NULL,
                                           NULL, NULL, NULL, NULL);
        lli_udf_free(udf);
        return rc;
    }
    udf->list = list;
    lli_list_push(&list->all, &udf->node); /* (the destructor takes it out again) */
    if (f->value)
        return lli_sq.create_window_function(list->handle, udf->name, f->args, flags, udf, on_step,
                                             on_final, on_value, on_inverse, dropped);
    return lli_sq.create_function_v2(list->handle, udf->name, f->args, flags, udf,
                                     f->call ? on_call : NULL, f->step ? on_step : NULL,
                                     f->step ? on_final : NULL, dropped);
}

/* ---- collations --------------------------------------------------------------------------------- */

static int on_compare(void *arg, int a_size, const void *a, int b_size, const void *b)
{
    const struct lli_udf *udf = arg;
    if (refuses(udf, NULL))
        return 0; /* the result of the try is thrown away */
    return udf->as.collation.compare(udf->user, a, (size_t)a_size, b, (size_t)b_size);
}

static int register_collation(struct lli_udf_list *list, struct lli_udf *udf)
{
    if (!udf->as.collation.compare) {
        int rc = lli_sq.create_collation_v2(list->handle, udf->name, SQLITE_UTF8, NULL, NULL, NULL);
        lli_udf_free(udf);
        return rc;
    }
    udf->list = list;
    lli_list_push(&list->all, &udf->node);
    int rc = lli_sq.create_collation_v2(list->handle, udf->name, SQLITE_UTF8, udf, on_compare,
                                        dropped);
    if (rc != SQLITE_OK)
        lli_udf_free(udf);
    return rc;
}

/* ---- hooks -------------------------------------------------------------------------------------- */

/* (None of them can be refused: the engine runs nothing that would call one on the loop.) */

static void on_update(void *arg, int change, const char *schema, const char *table,
                      sqlite3_int64 rowid)
{
    const struct lli_udf *udf = arg;
    udf->as.hooks.update(udf->user, (ll_change)change, schema, table, rowid);
}

static int on_commit(void *arg)
{
    const struct lli_udf *udf = arg;
    return udf->as.hooks.commit(udf->user);
}

static void on_rollback(void *arg)
{
    const struct lli_udf *udf = arg;
    udf->as.hooks.rollback(udf->user);
}

static int set_hooks(struct lli_udf_list *list, struct lli_udf *udf)
{
    static const ll_hooks none;
    struct lli_udf *old = list->hooks;
    const ll_hooks *hooks = udf ? &udf->as.hooks : &none;
    lli_sq.update_hook(list->handle, hooks->update ? on_update : NULL, udf);
    lli_sq.commit_hook(list->handle, hooks->commit ? on_commit : NULL, udf);
    lli_sq.rollback_hook(list->handle, hooks->rollback ? on_rollback : NULL, udf);
    list->hooks = udf;
    lli_udf_free(old);
    return SQLITE_OK;
}

static bool is_empty(const ll_hooks *hooks)
{
    return !hooks->update && !hooks->commit && !hooks->rollback;
}

/* ---- all of a handle ---------------------------------------------------------------------------- */

void lli_udf_list_init(struct lli_udf_list *list, sqlite3 *handle, struct lli_guard *guard)
{
    list->handle = handle;
    list->guard = guard;
    lli_list_init(&list->all);
    list->hooks = NULL;
}

int lli_udf_register(struct lli_udf_list *list, struct lli_udf *udf)
{
    switch (udf->kind) {
    case LLI_UDF_FUNCTION:
        return register_function(list, udf);
    case LLI_UDF_COLLATION:
        return register_collation(list, udf);
    default:
        break;
    }
    bool none = is_empty(&udf->as.hooks);
    int rc = set_hooks(list, none ? NULL : udf);
    if (none)
        lli_udf_free(udf);
    return rc;
}

/* Takes one away from the handle, which frees it. If a live statement of the handle's owner uses it, it stays behind,
 * alone. */
static void withdraw(struct lli_udf_list *list, struct lli_udf *udf)
{
    char *name = udf->name; /* SQLite reads it after it has had `udf` freed */
    udf->name = NULL;
    lli_list_remove(&udf->node);
    udf->list = NULL;
    if (udf->kind == LLI_UDF_COLLATION)
        (void)lli_sq.create_collation_v2(list->handle, name, SQLITE_UTF8, NULL, NULL, NULL);
    else
        (void)lli_sq.create_function_v2(list->handle, name, udf->as.function.args, SQLITE_UTF8,
                                        NULL, NULL, NULL, NULL, NULL);
    lli_free(name);
}

void lli_udf_list_done(struct lli_udf_list *list, bool closes)
{
    struct lli_node *node;
    if (!list->handle)
        return;
    if (list->hooks)
        set_hooks(list, NULL);
    while ((node = lli_list_first(&list->all)) != NULL) {
        struct lli_udf *udf = LLI_CONTAINER_OF(node, struct lli_udf, node);
        if (closes) { /* SQLite frees it */
            lli_list_remove(node);
            udf->list = NULL;
        } else {
            withdraw(list, udf);
        }
    }
    list->handle = NULL;
}

bool lli_udf_any(const struct lli_udf_list *list)
{
    return list->handle && !lli_list_empty(&list->all);
}

bool lli_udf_is_quick(const struct lli_udf_list *list, const char *call)
{
    const char *end = call ? strchr(call, '(') : NULL;
    if (!list || !end)
        return false;
    int args = -1;
    for (const char *digit = end + 1; *digit >= '0' && *digit <= '9'; digit++)
        args = (args < 0 ? 0 : args) * 10 + (*digit - '0');
    const struct lli_udf *best = NULL;
    for (struct lli_node *node = lli_list_first(&list->all); node;
         node = lli_list_next(&list->all, node)) {
        const struct lli_udf *udf = LLI_CONTAINER_OF(node, struct lli_udf, node);
        const ll_function *f = &udf->as.function;
        if (udf->kind != LLI_UDF_FUNCTION || strlen(udf->name) != (size_t)(end - call) ||
            strncasecmp(udf->name, call, (size_t)(end - call)) != 0)
            continue;
        if (f->args == args || (f->args < 0 && (!best || best->as.function.args < 0)))
            best = udf; /* as SQLite chooses: the one that names the number goes first */
    }
    return best && (best->as.function.flags & LL_FUNCTION_ON_LOOP);
}
