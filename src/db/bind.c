/* bind.c: positional and named binding, with the messages of Python's sqlite3.
 *
 * Positional: the number must fit exactly. Named: every parameter of the statement must be found by its
 * name, without prefix; names that the statement does not use are ignored, since programs pass whole
 * records. A named parameter is looked for where its neighbour was found first: records mostly come in
 * the statement's own order, which makes the search linear. */
#include "db/bind.h"

#include "db/api.h"
#include "db/sqlerror.h"

#include <string.h>

static ll_status bind_one(sqlite3 *db, sqlite3_stmt *stmt, int index, const ll_value *value,
                          bool copy, struct lli_error *error)
{
    void (*keep)(void *) = copy ? SQLITE_TRANSIENT : SQLITE_STATIC;
    int rc;
    switch (value->type) {
    case LL_NULL:
        rc = lli_sq.bind_null(stmt, index);
        break;
    case LL_INTEGER:
        rc = lli_sq.bind_int64(stmt, index, value->as.integer);
        break;
    case LL_FLOAT:
        rc = lli_sq.bind_double(stmt, index, value->as.real);
        break;
    case LL_TEXT:
        /* A NULL pointer would bind NULL instead of an empty text. */
        rc = lli_sq.bind_text64(stmt, index, value->as.text ? value->as.text : "", value->size,
                                keep, SQLITE_UTF8);
        break;
    case LL_BLOB:
        if (value->size == 0)
            rc = lli_sq.bind_zeroblob(stmt, index, 0);
        else
            rc = lli_sq.bind_blob64(stmt, index, value->as.blob, value->size, keep);
        break;
    case LL_REFUSED:
        lli_error_set(error, LL_EPARAM, "%s", value->as.text);
        return LL_EPARAM;
    default:
        lli_error_set(error, LL_EPARAM, "parameter %d has the unknown type %u", index,
                      (unsigned)value->type);
        return LL_EPARAM;
    }
    if (rc == SQLITE_OK)
        return LL_OK;
    lli_error_from_sqlite(error, db, rc);
    return error->pub.status;
}

/* Whether a given name is that of a parameter, which SQLite names with its prefix (":a", "?1"). */
static bool is_named(const char *given, const char *parameter)
{
    return strcmp(given, parameter + 1) == 0 || strcmp(given, parameter) == 0;
}

static ll_status bind_named(sqlite3 *db, sqlite3_stmt *stmt, const ll_params *params, bool copy,
                            struct lli_error *error)
{
    int wanted = lli_sq.bind_parameter_count(stmt);
    size_t at = 0;
    for (int i = 1; i <= wanted; i++) {
        const char *name = lli_sq.bind_parameter_name(stmt, i);
        if (!name) {
            lli_error_set(
                error, LL_EPARAM,
                "Binding %d has no name, but you supplied a dictionary (which has only names).", i);
            return LL_EPARAM;
        }
        size_t tried = 0;
        while (tried < params->count && !is_named(params->names[at], name)) {
            tried++;
            at = at + 1 < params->count ? at + 1 : 0;
        }
        if (tried == params->count) {
            lli_error_set(error, LL_EPARAM, "You did not supply a value for binding parameter :%s.",
                          name + 1);
            return LL_EPARAM;
        }
        LL_TRY(bind_one(db, stmt, i, &params->values[at], copy, error));
        at = at + 1 < params->count ? at + 1 : 0;
    }
    return LL_OK;
}

ll_status lli_bind(sqlite3 *db, sqlite3_stmt *stmt, const ll_params *params, bool copy,
                   struct lli_error *error)
{
    if (params->names)
        return bind_named(db, stmt, params, copy, error);
    int wanted = lli_sq.bind_parameter_count(stmt);
    if ((size_t)wanted != params->count) {
        lli_error_set(
            error, LL_EPARAM,
            "Incorrect number of bindings supplied. The current statement uses %d, and there "
            "are %zu supplied.",
            wanted, params->count);
        return LL_EPARAM;
    }
    for (int i = 1; i <= wanted; i++)
        LL_TRY(bind_one(db, stmt, i, &params->values[i - 1], copy, error));
    return LL_OK;
}

bool lli_params_are_numbers(const ll_params *params)
{
    for (size_t i = 0; i < params->count; i++)
        if (params->values[i].type == LL_TEXT || params->values[i].type == LL_BLOB)
            return false;
    return true;
}
