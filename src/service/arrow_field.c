/* arrow_field.c: what a field of somebody else's schema says: the format strings of the Arrow C data interface.
 *
 * A format that is not known, or that no value of SQLite is, is refused with its name, before a row is read. */
#include "base/alloc.h"
#include "service/arrow_read.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEEPEST = 4 /* dictionaries of runs of dictionaries ... */
};

ll_status lli_arrow_refuse(struct lli_arrow_column *col, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(col->trouble, sizeof col->trouble, format, args);
    va_end(args);
    return LL_EINVAL;
}

static const struct {
    const char *format;
    enum lli_arrow_kind kind;
    int width;
    enum lli_arrow_unit unit;
    bool text;
} plain[] = {
    {"n", LLI_FROM_NULL, 0, 0, false},
    {"b", LLI_FROM_BOOL, 0, 0, false},
    {"c", LLI_FROM_INT8, 1, 0, false},
    {"C", LLI_FROM_UINT8, 1, 0, false},
    {"s", LLI_FROM_INT16, 2, 0, false},
    {"S", LLI_FROM_UINT16, 2, 0, false},
    {"i", LLI_FROM_INT32, 4, 0, false},
    {"I", LLI_FROM_UINT32, 4, 0, false},
    {"l", LLI_FROM_INT64, 8, 0, false},
    {"L", LLI_FROM_UINT64, 8, 0, false},
    {"e", LLI_FROM_HALF, 2, 0, false},
    {"f", LLI_FROM_FLOAT, 4, 0, false},
    {"g", LLI_FROM_DOUBLE, 8, 0, false},
    {"u", LLI_FROM_BYTES, 4, 0, true},
    {"U", LLI_FROM_BYTES, 8, 0, true},
    {"z", LLI_FROM_BYTES, 4, 0, false},
    {"Z", LLI_FROM_BYTES, 8, 0, false},
    {"vu", LLI_FROM_VIEWS, LLI_ARROW_VIEW_BYTES, 0, true},
    {"vz", LLI_FROM_VIEWS, LLI_ARROW_VIEW_BYTES, 0, false},
    {"tdD", LLI_FROM_DATE32, 4, 0, false},
    {"tdm", LLI_FROM_DATE64, 8, LLI_ARROW_MILLISECONDS, false},
    {"tts", LLI_FROM_TIME32, 4, LLI_ARROW_SECONDS, false},
    {"ttm", LLI_FROM_TIME32, 4, LLI_ARROW_MILLISECONDS, false},
    {"ttu", LLI_FROM_TIME64, 8, LLI_ARROW_MICROSECONDS, false},
    {"ttn", LLI_FROM_TIME64, 8, LLI_ARROW_NANOSECONDS, false},
    {"tDs", LLI_FROM_INT64, 8, 0, false},
    {"tDm", LLI_FROM_INT64, 8, 0, false},
    {"tDu", LLI_FROM_INT64, 8, 0, false},
    {"tDn", LLI_FROM_INT64, 8, 0, false},
    {"+r", LLI_FROM_RUNS, 0, 0, false},
};

/* What no value of SQLite is; by the beginning of the format. */
static const struct {
    const char *format, *name;
} foreign[] = {
    {"+s", "a struct"},     {"+l", "a list"},       {"+L", "a list"},
    {"+vl", "a list"},      {"+vL", "a list"},      {"+w:", "a list of a fixed size"},
    {"+m", "a map"},        {"+ud:", "a union"},    {"+us:", "a union"},
    {"tiM", "an interval"}, {"tiD", "an interval"}, {"tin", "an interval"},
};

static bool begins_with(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* A number at *at, which moves behind it. */
static bool read_number(const char **at, long *ret_number)
{
    char *end;
    long number = strtol(*at, &end, 10);
    if (end == *at || number < INT32_MIN || number > INT32_MAX)
        return false;
    *at = end;
    *ret_number = number;
    return true;
}

/* "d:precision,scale" or "d:precision,scale,bits" */
static ll_status init_decimal(struct lli_arrow_column *col, const char *format)
{
    long precision, scale, bits = 128;
    const char *at = format + 2;
    bool good = read_number(&at, &precision) && *at++ == ',' && read_number(&at, &scale);
    if (good && *at == ',') {
        at++;
        good = read_number(&at, &bits);
    }
    if (!good || *at || (bits != 32 && bits != 64 && bits != 128 && bits != 256) || precision < 1 ||
        precision > LLI_ARROW_MOST_DIGITS || scale > LLI_ARROW_MOST_DIGITS ||
        scale < -LLI_ARROW_MOST_DIGITS)
        return lli_arrow_refuse(col, "has the format '%.40s', which is no decimal", format);
    col->kind = LLI_FROM_DECIMAL;
    col->width = bits / 8;
    col->scale = (int)scale;
    return LL_OK;
}

static ll_status init_timestamp(struct lli_arrow_column *col, const char *format)
{
    static const char units[] = "smun";
    const char *unit = format[2] ? strchr(units, format[2]) : NULL;
    if (!unit || format[3] != ':')
        return lli_arrow_refuse(col, "has the format '%.40s', which is no timestamp", format);
    col->kind = LLI_FROM_TIMESTAMP;
    col->width = 8;
    col->unit = (enum lli_arrow_unit)(unit - units);
    col->utc = format[4] != '\0'; /* whatever the zone: the value is an instant */
    return LL_OK;
}

static ll_status init_fixed(struct lli_arrow_column *col, const char *format)
{
    long width;
    const char *at = format + 2;
    if (!read_number(&at, &width) || *at || width < 0)
        return lli_arrow_refuse(col, "has the format '%.40s', which is no fixed size", format);
    col->kind = LLI_FROM_FIXED;
    col->width = width;
    return LL_OK;
}

static ll_status init_format(struct lli_arrow_column *col, const char *format)
{
    for (size_t i = 0; i < LLI_COUNT(plain); i++) {
        if (strcmp(plain[i].format, format) != 0)
            continue;
        col->kind = plain[i].kind;
        col->width = plain[i].width;
        col->unit = plain[i].unit;
        col->text = plain[i].text;
        return LL_OK;
    }
    if (begins_with(format, "d:"))
        return init_decimal(col, format);
    if (begins_with(format, "ts"))
        return init_timestamp(col, format);
    if (begins_with(format, "w:"))
        return init_fixed(col, format);
    for (size_t i = 0; i < LLI_COUNT(foreign); i++)
        if (begins_with(format, foreign[i].format))
            return lli_arrow_refuse(
                col,
                "is %s ('%.40s'), and SQLite has no such value: make it text, such as "
                "JSON, or columns of its own first",
                foreign[i].name, format);
    return lli_arrow_refuse(col, "has the format '%.40s', which looplite does not know", format);
}

static ll_status init(struct lli_arrow_column *col, const struct ArrowSchema *field, int depth);

static ll_status init_inner(struct lli_arrow_column *col, const struct ArrowSchema *field,
                            int depth)
{
    if (depth == DEEPEST)
        return lli_arrow_refuse(col, "is encoded more than %d times over", (int)DEEPEST);
    col->inner = lli_new(sizeof *col->inner);
    if (!col->inner)
        return LL_ENOMEM;
    ll_status status = init(col->inner, field, depth + 1);
    if (status == LL_EINVAL)
        memcpy(col->trouble, col->inner->trouble, sizeof col->trouble);
    return status;
}

static ll_status init(struct lli_arrow_column *col, const struct ArrowSchema *field, int depth)
{
    col->field = field;
    if (!field || !field->release || !field->format)
        return lli_arrow_refuse(col, "has no type: its field was released, or never made");
    LL_TRY(init_format(col, field->format));
    int64_t children = col->kind == LLI_FROM_RUNS ? 2 : 0;
    if (field->n_children != children || (children > 0 && !field->children))
        return lli_arrow_refuse(col,
                                "has %" PRId64 " children, but the format '%.40s' has %" PRId64,
                                field->n_children, field->format, children);
    if (field->dictionary) {
        if (col->kind < LLI_FROM_INT8 || col->kind > LLI_FROM_UINT64)
            return lli_arrow_refuse(col, "is a dictionary whose indices are no integers: '%.40s'",
                                    field->format);
        col->is_dictionary = true;
        return init_inner(col, field->dictionary, depth);
    }
    if (col->kind != LLI_FROM_RUNS)
        return LL_OK;
    const struct ArrowSchema *ends = field->children[0];
    const char *format = ends && ends->release && ends->format ? ends->format : "";
    col->width = strcmp(format, "s") == 0 ? 2 : strcmp(format, "i") == 0 ? 4 : 8;
    if (col->width == 8 && strcmp(format, "l") != 0)
        return lli_arrow_refuse(col, "has runs whose ends are no integers: '%.40s'", format);
    return init_inner(col, field->children[1], depth);
}

ll_status lli_arrow_column_init(struct lli_arrow_column *col, const struct ArrowSchema *field)
{
    return init(col, field, 0);
}

void lli_arrow_column_done(struct lli_arrow_column *col)
{
    if (col->inner)
        lli_arrow_column_done(col->inner);
    lli_free(col->inner);
    col->inner = NULL;
}
