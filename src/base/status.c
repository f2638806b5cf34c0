/* status.c: one table of status codes, and the making of error texts.
 *
 * A request carries a struct lli_error; a call that refuses before there is a request leaves its text in
 * a buffer of the calling thread (ll_last_error()), so that no refused call needs memory. */
#include "base/status.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    ll_status status;
    const char *name, *text;
} table[] = {
    {LL_OK, "LL_OK", "no error"},
    {LL_PENDING, "LL_PENDING", "not finished yet"},
    {LL_ENOMEM, "LL_ENOMEM", "out of memory"},
    {LL_EINVAL, "LL_EINVAL", "an argument is wrong"},
    {LL_ESQL, "LL_ESQL", "SQLite reported an error"},
    {LL_EBUSY, "LL_EBUSY", "the database is locked"},
    {LL_ETIMEOUT, "LL_ETIMEOUT", "the deadline of the request has passed"},
    {LL_ECANCELLED, "LL_ECANCELLED", "the request was cancelled"},
    {LL_ECLOSED, "LL_ECLOSED", "the connection is closed"},
    {LL_EFORK, "LL_EFORK", "this object was made before fork(); make a new engine in the child"},
    {LL_ESYS, "LL_ESYS", "the operating system reported an error"},
    {LL_EPARAM, "LL_EPARAM", "the parameters do not fit the statement"},
    {LL_ESTATEMENTS, "LL_ESTATEMENTS", "more than one statement was given where one is expected"},
    {LL_EEXHAUSTED, "LL_EEXHAUSTED", "all connections of the pool are out"},
    {LL_EABORTED, "LL_EABORTED", "the transaction was rolled back by an error and has to be ended"},
    {LL_ENEEDSLEASE, "LL_ENEEDSLEASE", "the statement needs a connection of its own"},
};

static _Thread_local char last_error[512];

const char *ll_version(void)
{
    return LL_VERSION;
}

const char *ll_status_name(ll_status status)
{
    for (size_t i = 0; i < LLI_COUNT(table); i++)
        if (table[i].status == status)
            return table[i].name;
    return "LL_?";
}

const char *ll_status_text(ll_status status)
{
    for (size_t i = 0; i < LLI_COUNT(table); i++)
        if (table[i].status == status)
            return table[i].text;
    return "unknown status";
}

const char *ll_last_error(void)
{
    return last_error;
}

ll_status lli_refuse(ll_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(last_error, sizeof last_error, format, args);
    va_end(args);
    return status;
}

void lli_error_set(struct lli_error *error, ll_status status, const char *format, ...)
{
    if (error->pub.status < 0)
        return;
    error->pub.status = status;
    error->pub.sql_offset = -1;
    error->pub.message = ll_status_text(status);
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    if (size >= 0 && (error->owned = lli_resize(NULL, (size_t)size + 1)) != NULL) {
        vsnprintf(error->owned, (size_t)size + 1, format, again);
        error->pub.message = error->owned;
    }
    va_end(again);
    va_end(args);
}

void lli_error_done(struct lli_error *error)
{
    lli_free(error->owned);
    memset(error, 0, sizeof *error);
}

void lli_error_move(struct lli_error *to, struct lli_error *from)
{
    *to = *from;
    memset(from, 0, sizeof *from);
}
