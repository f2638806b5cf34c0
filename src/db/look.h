/* look.h: a value of the current row, where SQLite has it; batches of rows copy it, those of columns take it apart.
 *
 * Inline: it is called for every value of every result. */
#ifndef LLI_DB_LOOK_H
#define LLI_DB_LOOK_H

#include "db/api.h"

#include <looplite/value.h>

/* Whoever calls holds the connection's mutex, under which an unprotected value may be read. Texts and blobs are valid until
 * the statement is stepped. Errors: LL_ENOMEM. */
static inline ll_status lli_look_at(sqlite3_value *source, ll_value *ret_value)
{
    ret_value->size = 0;
    switch (lli_sq.value_type(source)) {
    case SQLITE_INTEGER:
        ret_value->type = LL_INTEGER;
        ret_value->as.integer = lli_sq.value_int64(source);
        return LL_OK;
    case SQLITE_FLOAT:
        ret_value->type = LL_FLOAT;
        ret_value->as.real = lli_sq.value_double(source);
        return LL_OK;
    case SQLITE_NULL:
        ret_value->type = LL_NULL;
        ret_value->as.integer = 0;
        return LL_OK;
    case SQLITE_TEXT:
        /* The text first: asking for its bytes before would not convert from UTF-16. */
        ret_value->type = LL_TEXT;
        ret_value->as.text = (const char *)lli_sq.value_text(source);
        if (!ret_value->as.text)
            return LL_ENOMEM;
        ret_value->size = (uint32_t)lli_sq.value_bytes(source);
        return LL_OK;
    default:
        ret_value->type = LL_BLOB;
        ret_value->as.blob = lli_sq.value_blob(source);
        ret_value->size = (uint32_t)lli_sq.value_bytes(source);
        return ret_value->as.blob || ret_value->size == 0 ? LL_OK : LL_ENOMEM;
    }
}

#endif
