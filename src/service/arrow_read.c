/* arrow_read.c: columns of somebody else's arrays.
 *
 *   field  -- init --> kind, width, unit, ...       once (arrow_field.c)
 *   array  -- read --> checked, buffers             for each batch
 *   row    -- value -> an ll_value                  for each row
 *
 * An array comes as bare pointers from another library, and what it says of itself is not believed: lengths, offsets,
 * numbers of buffers and children, places in dictionaries, runs and views are looked at before anything is read by them,
 * so that what is wrong is refused with words. How long a buffer is an array does not say, so that it is as long as its
 * offsets claim has to be believed. Offsets are checked for a whole batch at once: only if none goes back is the last
 * one the largest. Buffers may lie anywhere, also unaligned, so numbers are copied out.
 *
 * What a value becomes in SQLite is in docs/design/arrow.md: never another value. */
#include "service/arrow_read.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    VIEW_INLINE = 12 /* bytes that lie in the view itself */
};

/* ---- numbers in buffers --------------------------------------------------------------------------- */

/* A signed integer of 1, 2, 4 or 8 bytes. */
static int64_t signed_at(const void *buffer, int64_t index, int64_t width)
{
    const uint8_t *at = (const uint8_t *)buffer + index * width;
    int8_t one;
    int16_t two;
    int32_t four;
    int64_t eight;
    switch (width) {
    case 1:
        memcpy(&one, at, sizeof one);
        return one;
    case 2:
        memcpy(&two, at, sizeof two);
        return two;
    case 4:
        memcpy(&four, at, sizeof four);
        return four;
    default:
        memcpy(&eight, at, sizeof eight);
        return eight;
    }
}

static uint64_t unsigned_at(const void *buffer, int64_t index, int64_t width)
{
    uint64_t bits = (uint64_t)signed_at(buffer, index, width);
    return width == 8 ? bits : bits & ((UINT64_C(1) << (width * 8)) - 1);
}

/* Whether a kind of integers has no sign: they stand beside each other in pairs. */
static bool is_unsigned(enum lli_arrow_kind kind)
{
    return kind == LLI_FROM_UINT8 || kind == LLI_FROM_UINT16 || kind == LLI_FROM_UINT32 ||
           kind == LLI_FROM_UINT64;
}

static double half_at(const void *buffer, int64_t index)
{
    uint32_t bits = (uint32_t)unsigned_at(buffer, index, 2);
    uint32_t sign = bits >> 15 << 31, exponent = bits >> 10 & 31, rest = bits & 1023;
    if (exponent == 0) { /* no leading one: rest times 2 to the power of -24 */
        double small = (double)rest / (1 << 24);
        return sign ? -small : small;
    }
    uint32_t wide = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | rest << 13;
    float number;
    memcpy(&number, &wide, sizeof number);
    return (double)number;
}

static bool bit_at(const void *buffer, int64_t index)
{
    return ((const uint8_t *)buffer)[index / 8] >> (index % 8) & 1;
}

/* ---- arrays --------------------------------------------------------------------------------------- */

/* How many buffers an array of this kind has; of views the least number. */
static int64_t buffers_of(enum lli_arrow_kind kind)
{
    switch (kind) {
    case LLI_FROM_NULL:
    case LLI_FROM_RUNS:
        return 0;
    case LLI_FROM_BYTES:
    case LLI_FROM_VIEWS:
        return 3;
    default:
        return 2;
    }
}

static ll_status check_shape(struct lli_arrow_column *col, const struct ArrowArray *array,
                             int64_t offset, int64_t rows)
{
    if (!array || !array->release)
        return lli_arrow_refuse(col, "has no array, or one that was released");
    if (array->length < 0 || array->offset < 0 || array->null_count < -1)
        return lli_arrow_refuse(
            col, "has an array of length %" PRId64 ", offset %" PRId64 ", null_count %" PRId64,
            array->length, array->offset, array->null_count);
    int64_t end, last;
    if (__builtin_add_overflow(offset, rows, &end) || end > array->length)
        return lli_arrow_refuse(col, "has an array of %" PRId64 " rows, but the batch has %" PRId64,
                                array->length, end);
    /* So that no place in a buffer is beyond what 64 bits say. */
    if (__builtin_add_overflow(array->offset, array->length, &last) ||
        last > INT64_MAX / 64 / (col->width > 0 ? col->width : 1))
        return lli_arrow_refuse(col, "has an array of length %" PRId64 " at the offset %" PRId64,
                                array->length, array->offset);
    int64_t least = buffers_of(col->kind);
    bool views = col->kind == LLI_FROM_VIEWS;
    if (array->n_buffers < least || (array->n_buffers > least && !views && least > 0) ||
        (array->n_buffers > 0 && !array->buffers))
        return lli_arrow_refuse(
            col, "has an array of %" PRId64 " buffers, but '%.40s' has %" PRId64 "%s",
            array->n_buffers, col->field->format, least, views ? " or more" : "");
    int64_t children = col->kind == LLI_FROM_RUNS ? 2 : 0;
    if (array->n_children != children || (children > 0 && !array->children))
        return lli_arrow_refuse(col,
                                "has an array with %" PRId64 " children, but '%.40s' has %" PRId64,
                                array->n_children, col->field->format, children);
    return LL_OK;
}

/* Texts or blobs: no offset goes back. */
static ll_status check_offsets(struct lli_arrow_column *col)
{
    const void *offsets = col->array->buffers[1];
    int64_t before = signed_at(offsets, col->first, col->width), begin = before;
    bool falls = before < 0;
    for (int64_t i = 1; i <= col->rows && !falls; i++) {
        int64_t next = signed_at(offsets, col->first + i, col->width);
        falls = next < before;
        before = next;
    }
    if (falls)
        return lli_arrow_refuse(col, "has an array whose offsets are negative, or go back");
    if (before > begin && !col->array->buffers[2])
        return lli_arrow_refuse(col, "has an array without its bytes");
    return LL_OK;
}

static ll_status check_views(struct lli_arrow_column *col)
{
    const struct ArrowArray *array = col->array;
    int64_t others = array->n_buffers - 3; /* beside validity, views and the sizes of these */
    const void *sizes = array->buffers[array->n_buffers - 1];
    if (others > 0 && !sizes)
        return lli_arrow_refuse(col, "has an array of views without the sizes of its buffers");
    for (int64_t i = 0; i < others; i++)
        if (signed_at(sizes, i, 8) < 0 || (signed_at(sizes, i, 8) > 0 && !array->buffers[2 + i]))
            return lli_arrow_refuse(col,
                                    "has an array of views whose buffer %" PRId64 " is missing", i);
    return LL_OK;
}

/* Run ends grow, and reach to the last row. */
static ll_status check_runs(struct lli_arrow_column *col)
{
    const struct ArrowArray *ends = col->array->children[0], *values = col->array->children[1];
    int64_t last = 0;
    if (!ends || !ends->release || !values || ends->length < 0 || ends->offset < 0 ||
        ends->length > INT64_MAX / 64 || ends->offset > INT64_MAX / 64 || ends->n_buffers != 2 ||
        !ends->buffers || (ends->length > 0 && !ends->buffers[1]))
        return lli_arrow_refuse(col, "has runs without their ends");
    for (int64_t i = 0; i < ends->length; i++) {
        int64_t end = signed_at(ends->buffers[1], ends->offset + i, col->width);
        if (end <= last)
            return lli_arrow_refuse(col, "has runs whose ends do not grow");
        last = end;
    }
    if (last < col->first + col->rows)
        return lli_arrow_refuse(col, "has runs that end before its last row");
    col->run = 0;
    ll_status status = lli_arrow_column_read(col->inner, values, 0, ends->length);
    if (status != LL_OK)
        memcpy(col->trouble, col->inner->trouble, sizeof col->trouble);
    return status;
}

static ll_status check_dictionary(struct lli_arrow_column *col)
{
    const struct ArrowArray *dictionary = col->array->dictionary;
    if (!dictionary)
        return lli_arrow_refuse(col, "has an array without its dictionary");
    ll_status status = lli_arrow_column_read(col->inner, dictionary, 0,
                                             dictionary->length > 0 ? dictionary->length : 0);
    if (status != LL_OK)
        memcpy(col->trouble, col->inner->trouble, sizeof col->trouble);
    return status;
}

ll_status lli_arrow_column_read(struct lli_arrow_column *col, const struct ArrowArray *array,
                                int64_t offset, int64_t rows)
{
    col->array = NULL;
    LL_TRY(check_shape(col, array, offset, rows));
    col->array = array;
    col->first = array->offset + offset;
    col->rows = rows;
    col->valid = NULL;
    if (buffers_of(col->kind) > 0)
        col->valid = array->buffers[0];
    if (col->kind == LLI_FROM_RUNS)
        return check_runs(col);
    if (rows > 0 && buffers_of(col->kind) > 0) {
        if (!array->buffers[1] && !(col->kind == LLI_FROM_FIXED && col->width == 0))
            return lli_arrow_refuse(col, "has an array without its values");
        if (!col->valid && array->null_count > 0)
            return lli_arrow_refuse(col, "has an array with NULLs that does not say where");
        if (col->kind == LLI_FROM_BYTES)
            LL_TRY(check_offsets(col));
        if (col->kind == LLI_FROM_VIEWS)
            LL_TRY(check_views(col));
    }
    return col->is_dictionary ? check_dictionary(col) : LL_OK;
}

/* ---- values --------------------------------------------------------------------------------------- */

static ll_status give_bytes(struct lli_arrow_column *col, const void *bytes, int64_t size,
                            ll_value *ret_value)
{
    static const char nothing[1];
    if (size > UINT32_MAX)
        return lli_arrow_refuse(col, "has a value of %" PRId64 " bytes, more than SQLite takes",
                                size);
    if (!bytes)
        bytes = nothing;
    if (!col->text) {
        *ret_value = ll_blob(bytes, (uint32_t)size);
        return LL_OK;
    }
    if (!lli_is_utf8(bytes, (size_t)size))
        return lli_arrow_refuse(col, "has a text that is no UTF-8");
    *ret_value = ll_text_n(bytes, (uint32_t)size);
    return LL_OK;
}

static ll_status give_view(struct lli_arrow_column *col, int64_t at, ll_value *ret_value)
{
    const struct ArrowArray *array = col->array;
    const uint8_t *view = (const uint8_t *)array->buffers[1] + at * LLI_ARROW_VIEW_BYTES;
    int64_t size = signed_at(view, 0, 4);
    if (size >= 0 && size <= VIEW_INLINE)
        return give_bytes(col, view + 4, size, ret_value);
    int64_t buffer = signed_at(view, 2, 4), offset = signed_at(view, 3, 4);
    if (size < 0 || buffer < 0 || buffer >= array->n_buffers - 3 || offset < 0 ||
        offset + size > signed_at(array->buffers[array->n_buffers - 1], buffer, 8))
        return lli_arrow_refuse(col,
                                "has a view of %" PRId64 " bytes at %" PRId64 " of buffer %" PRId64
                                ", which are not there",
                                size, offset, buffer);
    return give_bytes(col, (const uint8_t *)array->buffers[2 + buffer] + offset, size, ret_value);
}

/* The text that was written into the column's room; 0: it could not be. */
static ll_status give_written(struct lli_arrow_column *col, size_t size, int64_t number,
                              const char *what, ll_value *ret_value)
{
    if (size == 0)
        return lli_arrow_refuse(
            col, "has the %s %" PRId64 " ('%.40s'), which cannot be written as ISO 8601", what,
            number, col->field->format);
    *ret_value = ll_text_n(col->text_room, (uint32_t)size);
    return LL_OK;
}

static ll_status give_date64(struct lli_arrow_column *col, int64_t number, ll_value *ret_value)
{
    enum {
        A_DAY = 86400000
    };
    size_t size = number % A_DAY == 0 ? lli_arrow_write_date(number / A_DAY, col->text_room)
                                      : lli_arrow_write_timestamp(number, LLI_ARROW_MILLISECONDS,
                                                                  false, col->text_room);
    return give_written(col, size, number, "date", ret_value);
}

static ll_status give_decimal(struct lli_arrow_column *col, const void *values, int64_t at,
                              ll_value *ret_value)
{
    size_t size = lli_arrow_write_decimal((const uint8_t *)values + at * col->width,
                                          (size_t)col->width, col->scale, col->text_room);
    col->in_digits = true;
    *ret_value = ll_text_n(col->text_room, (uint32_t)size);
    return LL_OK;
}

static ll_status give_uint64(struct lli_arrow_column *col, uint64_t number, ll_value *ret_value)
{
    *ret_value = ll_integer((int64_t)number);
    if (number <= INT64_MAX)
        return LL_OK;
    int size = snprintf(col->text_room, sizeof col->text_room, "%" PRIu64, number);
    col->in_digits = true;
    *ret_value = ll_text_n(col->text_room, (uint32_t)size);
    return LL_OK;
}

/* The value of an encoded column. */
static ll_status give_inner(struct lli_arrow_column *col, int64_t row, ll_value *ret_value)
{
    ll_status status = lli_arrow_column_value(col->inner, row, ret_value);
    if (status != LL_OK)
        memcpy(col->trouble, col->inner->trouble, sizeof col->trouble);
    col->in_digits = col->inner->in_digits;
    return status;
}

static ll_status give_of_run(struct lli_arrow_column *col, int64_t at, ll_value *ret_value)
{
    const struct ArrowArray *ends = col->array->children[0];
    if (col->run > 0 && at < signed_at(ends->buffers[1], ends->offset + col->run - 1, col->width))
        col->run = 0;
    while (at >= signed_at(ends->buffers[1], ends->offset + col->run, col->width))
        col->run++; /* the last one ends behind the last row: checked */
    return give_inner(col, col->run, ret_value);
}

static ll_status give_of_dictionary(struct lli_arrow_column *col, const void *values, int64_t at,
                                    ll_value *ret_value)
{
    uint64_t index = is_unsigned(col->kind) ? unsigned_at(values, at, col->width)
                                            : (uint64_t)signed_at(values, at, col->width);
    if (index >= (uint64_t)col->inner->rows)
        return lli_arrow_refuse(col,
                                "has the index %" PRId64 " into a dictionary of %" PRId64 " values",
                                (int64_t)index, col->inner->rows);
    return give_inner(col, (int64_t)index, ret_value);
}

ll_status lli_arrow_column_value(struct lli_arrow_column *col, int64_t row, ll_value *ret_value)
{
    int64_t at = col->first + row;
    *ret_value = ll_null();
    col->in_digits = false;
    if (col->kind == LLI_FROM_NULL || (col->valid && !bit_at(col->valid, at)))
        return LL_OK;
    if (col->kind == LLI_FROM_RUNS)
        return give_of_run(col, at, ret_value);
    const void *values = col->array->buffers[1];
    if (col->is_dictionary)
        return give_of_dictionary(col, values, at, ret_value);
    int64_t number;
    float single;
    double real;
    switch (col->kind) {
    case LLI_FROM_BOOL:
        *ret_value = ll_integer(bit_at(values, at));
        return LL_OK;
    case LLI_FROM_INT8:
    case LLI_FROM_INT16:
    case LLI_FROM_INT32:
    case LLI_FROM_INT64:
        *ret_value = ll_integer(signed_at(values, at, col->width));
        return LL_OK;
    case LLI_FROM_UINT8:
    case LLI_FROM_UINT16:
    case LLI_FROM_UINT32:
    case LLI_FROM_UINT64:
        return give_uint64(col, unsigned_at(values, at, col->width), ret_value);
    case LLI_FROM_HALF:
        *ret_value = ll_real(half_at(values, at));
        return LL_OK;
    case LLI_FROM_FLOAT:
        memcpy(&single, (const uint8_t *)values + at * 4, sizeof single);
        *ret_value = ll_real((double)single);
        return LL_OK;
    case LLI_FROM_DOUBLE:
        memcpy(&real, (const uint8_t *)values + at * 8, sizeof real);
        *ret_value = ll_real(real);
        return LL_OK;
    case LLI_FROM_DATE32:
        number = signed_at(values, at, col->width);
        return give_written(col, lli_arrow_write_date(number, col->text_room), number, "date",
                            ret_value);
    case LLI_FROM_DATE64:
        return give_date64(col, signed_at(values, at, col->width), ret_value);
    case LLI_FROM_TIME32:
    case LLI_FROM_TIME64:
        number = signed_at(values, at, col->width);
        return give_written(col, lli_arrow_write_time(number, col->unit, col->text_room), number,
                            "time", ret_value);
    case LLI_FROM_TIMESTAMP:
        number = signed_at(values, at, col->width);
        return give_written(col,
                            lli_arrow_write_timestamp(number, col->unit, col->utc, col->text_room),
                            number, "timestamp", ret_value);
    case LLI_FROM_DECIMAL:
        return give_decimal(col, values, at, ret_value);
    case LLI_FROM_FIXED:
        return give_bytes(col, values ? (const uint8_t *)values + at * col->width : NULL,
                          col->width, ret_value);
    case LLI_FROM_BYTES: {
        int64_t begin = signed_at(values, at, col->width);
        int64_t end = signed_at(values, at + 1, col->width);
        const uint8_t *bytes = col->array->buffers[2];
        return give_bytes(col, bytes ? bytes + begin : NULL, end - begin, ret_value);
    }
    case LLI_FROM_VIEWS:
        return give_view(col, at, ret_value);
    default:
        return LL_OK;
    }
}
