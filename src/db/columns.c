/* columns.c: an immutable, counted copy of column names and declared types, in one block.
 *
 * SQLite's own strings live only until the statement is prepared again, which a schema change may do
 * inside any step; results outlive that, so they keep a copy. One statement makes it once. */
#include "db/columns.h"

#include "base/alloc.h"
#include "db/api.h"

#include <string.h>

struct ll_columns {
    atomic_uint refs; /* any thread; the last unref (acq_rel) frees */
    size_t count;     /* fixed */
    struct {
        const char *name;
        const char *decltype;
    } column[]; /* fixed; the texts follow in the same block */
};

ll_status lli_columns_of(sqlite3_stmt *stmt, ll_columns **ret_columns)
{
    int count = lli_sq.column_count(stmt);
    *ret_columns = NULL;
    if (count == 0)
        return LL_OK;
    size_t bytes = sizeof(ll_columns) + (size_t)count * sizeof(((ll_columns *)0)->column[0]);
    size_t text = bytes;
    for (int i = 0; i < count; i++) {
        const char *name = lli_sq.column_name(stmt, i);
        const char *decltype = lli_sq.column_decltype(stmt, i);
        if (!name)
            return LL_ENOMEM; /* documented: only when memory runs out */
        bytes += strlen(name) + 1 + (decltype ? strlen(decltype) + 1 : 0);
    }
    ll_columns *columns = lli_new(bytes);
    if (!columns)
        return LL_ENOMEM;
    atomic_init(&columns->refs, 1);
    columns->count = (size_t)count;
    char *at = (char *)columns + text;
    for (int i = 0; i < count; i++) {
        const char *source[2] = {lli_sq.column_name(stmt, i), lli_sq.column_decltype(stmt, i)};
        const char **target[2] = {&columns->column[i].name, &columns->column[i].decltype};
        for (int k = 0; k < 2; k++) {
            if (!source[k])
                continue;
            size_t size = strlen(source[k]) + 1;
            memcpy(at, source[k], size);
            *target[k] = at;
            at += size;
        }
    }
    lli_live(+1);
    *ret_columns = columns;
    return LL_OK;
}

size_t ll_columns_count(const ll_columns *columns)
{
    return columns ? columns->count : 0;
}

const char *ll_columns_name(const ll_columns *columns, size_t column)
{
    return columns && column < columns->count ? columns->column[column].name : NULL;
}

const char *ll_columns_decltype(const ll_columns *columns, size_t column)
{
    return columns && column < columns->count ? columns->column[column].decltype : NULL;
}

ll_columns *ll_columns_ref(const ll_columns *columns)
{
    ll_columns *mine = (ll_columns *)(uintptr_t)columns;
    if (mine)
        atomic_fetch_add_explicit(&mine->refs, 1, memory_order_relaxed);
    return mine;
}

void ll_columns_unref(const ll_columns *columns)
{
    ll_columns *mine = (ll_columns *)(uintptr_t)columns;
    if (!mine || atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel) != 1)
        return;
    lli_live(-1);
    lli_free(mine);
}
