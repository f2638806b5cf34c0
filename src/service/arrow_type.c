/* arrow_type.c: which Arrow type a column has.
 *
 * SQLite gives a type to each value, Arrow to each column, and a column of SQLite may hold anything whatever it was
 * declared as. The rule (looplite/arrow.h has it in a table, docs/design/arrow.md says why) never drops or bends a value:
 * the declared type counts if every value is of it, else the narrowest type that holds what is there. What a batch has
 * seen of its columns was noted while they were filled, so deciding looks at columns, never at values. */
#include "service/arrow.h"

#include "base/alloc.h"
#include "base/status.h"
#include "db/affinity.h"

enum {
    INTEGERS = 1 << LL_INTEGER,
    DOUBLES = 1 << LL_FLOAT,
    TEXTS = 1 << LL_TEXT,
    BLOBS = 1 << LL_BLOB,
    NUMBERS = INTEGERS | DOUBLES
};

/* What the declared type asks for; NULL when it says nothing. Tried in SQLite's own order of affinities. */
static enum lli_arrow_type declared(const char *decltype)
{
    static const struct {
        const char *part;
        enum lli_arrow_type type;
    } parts[] = {
        {"INT", LLI_ARROW_INT64},   {"CHAR", LLI_ARROW_UTF8},   {"CLOB", LLI_ARROW_UTF8},
        {"TEXT", LLI_ARROW_UTF8},   {"BLOB", LLI_ARROW_BINARY}, {"REAL", LLI_ARROW_DOUBLE},
        {"FLOA", LLI_ARROW_DOUBLE}, {"DOUB", LLI_ARROW_DOUBLE}, {"DEC", LLI_ARROW_DOUBLE},
        {"NUM", LLI_ARROW_DOUBLE},
    };
    for (size_t i = 0; decltype &&i < LLI_COUNT(parts); i++)
        if (lli_decltype_has(decltype, parts[i].part))
            return parts[i].type;
    return LLI_ARROW_NULL;
}

bool lli_arrow_fits(enum lli_arrow_type type, const struct lli_col *col)
{
    switch (type) {
    case LLI_ARROW_NULL:
        return col->seen == 0;
    case LLI_ARROW_INT64:
        return !(col->seen & ~INTEGERS);
    case LLI_ARROW_DOUBLE:
        return !(col->seen & ~NUMBERS) && !col->inexact;
    case LLI_ARROW_UTF8:
        return !(col->seen & BLOBS) && !col->not_utf8;
    case LLI_ARROW_BINARY:
        return !(col->seen & NUMBERS);
    }
    return false;
}

/* Whether every value is of the type itself, none merely written in it. */
static bool is_of(enum lli_arrow_type type, const struct lli_col *all)
{
    if (type == LLI_ARROW_UTF8 && (all->seen & ~TEXTS))
        return false;
    if (type == LLI_ARROW_BINARY && (all->seen & ~BLOBS))
        return false;
    return lli_arrow_fits(type, all);
}

/* `all`: what all batches have seen. False if there is none. */
static bool decide(const struct lli_col *all, const char *decltype, bool more,
                   enum lli_arrow_type *ret_type)
{
    static const enum lli_arrow_type widening[] = {LLI_ARROW_INT64, LLI_ARROW_DOUBLE,
                                                   LLI_ARROW_UTF8, LLI_ARROW_BINARY};
    *ret_type = declared(decltype);
    if (*ret_type != LLI_ARROW_NULL && is_of(*ret_type, all))
        return true;
    if (all->seen == 0) {
        *ret_type = more ? LLI_ARROW_UTF8 : LLI_ARROW_NULL;
        return true;
    }
    for (size_t i = 0; i < LLI_COUNT(widening); i++) {
        *ret_type = widening[i];
        if (lli_arrow_fits(*ret_type, all))
            return true;
    }
    return false;
}

ll_status ll_arrow_shape_new(const ll_columns *columns, const ll_batch *const *batches,
                             size_t count, bool more, ll_arrow_shape **ret_shape)
{
    size_t width = ll_columns_count(columns);
    if (!ret_shape)
        return lli_refuse(LL_EINVAL, "ll_arrow_shape_new: ret_shape is NULL");
    if (width == 0)
        return lli_refuse(LL_EINVAL,
                          "the statement gives no columns, so there is nothing for Arrow");
    for (size_t i = 0; i < count; i++)
        if (!batches[i]->columns || batches[i]->width != width)
            return lli_refuse(LL_EINVAL,
                              "ll_arrow_shape_new: batch %zu is not one of %zu columns "
                              "(LL_SQL_COLUMNS)",
                              i, width);
    ll_arrow_shape *shape = lli_new(sizeof *shape + width);
    if (!shape)
        return lli_refuse(LL_ENOMEM, "out of memory for the types of a result");
    shape->width = width;
    for (size_t c = 0; c < width; c++) {
        struct lli_col all = {0};
        for (size_t i = 0; i < count; i++) {
            const struct lli_col *col = &batches[i]->columns[c];
            all.seen |= col->seen;
            all.inexact |= col->inexact;
            all.not_utf8 |= col->not_utf8;
        }
        enum lli_arrow_type type;
        if (!decide(&all, ll_columns_decltype(columns, c), more, &type)) {
            lli_free(shape);
            return lli_refuse(LL_EINVAL,
                              "column %zu (%s) holds numbers beside %s, and no Arrow type holds "
                              "both: CAST one of them",
                              c, ll_columns_name(columns, c),
                              all.seen & BLOBS ? "blobs" : "texts that are no UTF-8");
        }
        shape->types[c] = (uint8_t)type;
    }
    shape->columns = ll_columns_ref(columns);
    lli_live(+1);
    *ret_shape = shape;
    return LL_OK;
}

void ll_arrow_shape_free(ll_arrow_shape *shape)
{
    if (!shape)
        return;
    ll_columns_unref(shape->columns);
    lli_live(-1);
    lli_free(shape);
}
