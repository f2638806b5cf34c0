/* colbatch.c: rows taken apart into columns while the statement is stepped.
 *
 *             rows in words         in offsets + bytes          in words + tags (+ bytes)
 *   NULLs --> INTEGER, FLOAT ------------------------------------> MIXED
 *        \--> TEXT, BLOB --------------------------------------/
 *
 * A column begins without a type. The first value gives it one, and its values then lie as Arrow wants them: numbers
 * eight bytes each, texts one behind the other with their offsets, NULLs as bits. So a result whose columns are of one
 * type each, which is nearly every result, is copied once, from SQLite into the buffer that the consumer reads. A
 * value of another type turns the column into MIXED, which keeps every value exactly as it is; what that becomes is
 * decided when the whole result is known (service/arrow_type.c). For that decision each column also notes what can be
 * seen cheaply while the value is at hand: types, integers that no double holds, texts that are no UTF-8.
 *
 * A row that fails midway leaves traces behind `rows` only, which nobody reads. */
#include "db/colbatch.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "db/api.h"
#include "db/look.h"
#include "platform/memory.h"

#include <string.h>

enum {
    FIRST_ROOM = 64, /* a multiple of 64, so that a bitmap is whole words */
    FIRST_BYTES = 512
};

/* What held `size` last time, and a little more: batches end by their bytes, so rows differ somewhat. */
static size_t expected(size_t size)
{
    return (size + size / 16 + FIRST_ROOM) / FIRST_ROOM * FIRST_ROOM;
}

/* Room for a whole batch at once: one that grows from FIRST_ROOM is copied once more on its way. */
ll_batch *lli_colbatch_new(size_t width, const ll_batch *like)
{
    ll_batch *batch = lli_batch_new(width);
    if (!batch)
        return NULL;
    batch->columns = lli_new_array(width > 0 ? width : 1, sizeof *batch->columns);
    if (!batch->columns) {
        ll_batch_free(batch);
        return NULL;
    }
    if (like && like->columns && like->width == width) {
        batch->col_room = expected(like->rows);
        for (size_t i = 0; i < width; i++)
            batch->columns[i].bytes_first = expected(like->columns[i].size);
    }
    return batch;
}

void lli_colbatch_done(ll_batch *batch)
{
    for (size_t i = 0; batch->columns && i < batch->width; i++) {
        struct lli_col *col = &batch->columns[i];
        lli_free(col->valid);
        lli_free(col->words);
        lli_free(col->offsets);
        lli_free(col->tags);
        lli_free(col->bytes);
    }
    lli_free(batch->columns);
    batch->columns = NULL;
}

/* ---- room --------------------------------------------------------------------------------------- */

/* Makes *block, if there is one, `size` bytes long. */
static bool stretch(void *block, size_t size)
{
    void *old;
    memcpy(&old, block, sizeof old);
    if (!old)
        return true;
    void *grown = lli_resize(old, size);
    if (grown)
        memcpy(block, &grown, sizeof grown);
    return grown != NULL;
}

static ll_status more_rows(ll_batch *batch)
{
    size_t room = batch->col_room > 0 ? batch->col_room * 2 : FIRST_ROOM;
    for (size_t i = 0; i < batch->width; i++) {
        struct lli_col *col = &batch->columns[i];
        if (!stretch(&col->valid, room / 8) || !stretch(&col->words, room * sizeof *col->words) ||
            !stretch(&col->offsets, (room + 1) * sizeof *col->offsets) ||
            !stretch(&col->tags, room))
            return LL_ENOMEM;
    }
    batch->col_room = room;
    return LL_OK;
}

static bool is_valid(const struct lli_col *col, size_t row)
{
    return !col->valid || (col->valid[row / 8] >> (row % 8) & 1);
}

/* The bitmap, with all rows before this one valid, or none of them. */
static bool make_valid(struct lli_col *col, size_t row, size_t room, bool before)
{
    if (col->valid)
        return true;
    col->valid = lli_new(room / 8);
    for (size_t i = 0; before && col->valid && i < row; i++)
        col->valid[i / 8] |= (uint8_t)(1u << (i % 8));
    return col->valid != NULL;
}

/* ---- a column's kind ----------------------------------------------------------------------------- */

static int64_t place_of(size_t at, size_t size)
{
    return (int64_t)((uint64_t)at << 32 | (uint64_t)size);
}

/* One type so far: from now on each row says its own. */
static ll_status mix(struct lli_col *col, size_t row, size_t room)
{
    uint8_t *tags = lli_new(room);
    int64_t *words = col->offsets ? lli_new_array(room, sizeof *words) : col->words;
    if (!tags || !words) {
        lli_free(tags);
        if (words != col->words)
            lli_free(words);
        return LL_ENOMEM;
    }
    for (size_t i = 0; i < row; i++) {
        tags[i] = is_valid(col, i) ? col->kind : LL_NULL;
        if (col->offsets)
            words[i] = place_of((size_t)col->offsets[i],
                                (size_t)(col->offsets[i + 1] - col->offsets[i]));
    }
    lli_free(col->offsets);
    col->offsets = NULL;
    col->words = words;
    col->tags = tags;
    col->kind = LLI_MIXED;
    return LL_OK;
}

/* A block whose first bytes are 0; the rest is written row by row. */
static void *begun(size_t size, size_t zeros)
{
    void *block = lli_resize(NULL, size);
    if (block) {
        lli_memory_ready(block, size);
        memset(block, 0, zeros);
    }
    return block;
}

static ll_status change_kind(struct lli_col *col, size_t row, size_t room, uint32_t type)
{
    if (col->kind == LLI_MIXED)
        return LL_OK;
    if (col->kind != LL_NULL)
        return mix(col, row, room);
    if (type == LL_INTEGER || type == LL_FLOAT)
        col->words = begun(room * sizeof *col->words, row * sizeof *col->words);
    else
        col->offsets = begun((room + 1) * sizeof *col->offsets, (row + 1) * sizeof *col->offsets);
    if (!col->words && !col->offsets)
        return LL_ENOMEM;
    col->kind = (uint8_t)type;
    return LL_OK;
}

/* ---- values -------------------------------------------------------------------------------------- */

bool lli_is_exact_double(int64_t n)
{
    const int64_t most = INT64_C(1) << 53;
    if (n >= -most && n <= most)
        return true;
    uint64_t size = n < 0 ? (uint64_t)0 - (uint64_t)n : (uint64_t)n;
    return (size >> __builtin_ctzll(size)) <=
           (uint64_t)most; /* its bits between the outermost ones */
}

static ll_status add_bytes(struct lli_col *col, const void *bytes, size_t size)
{
    size_t needed = col->size + size;
    if (needed > INT32_MAX)
        return LL_ENOMEM;
    if (needed > col->bytes_room) {
        size_t room = col->bytes_room > 0  ? col->bytes_room * 2
                    : col->bytes_first > 0 ? col->bytes_first
                                           : FIRST_BYTES;
        if (room < needed)
            room = needed;
        uint8_t *grown = lli_resize(col->bytes, room);
        if (!grown)
            return LL_ENOMEM;
        if (!col->bytes)
            lli_memory_ready(grown, room);
        col->bytes = grown;
        col->bytes_room = room;
    }
    if (size > 0)
        memcpy(col->bytes + col->size, bytes, size);
    col->size = needed;
    return LL_OK;
}

static ll_status add_null(struct lli_col *col, size_t row, size_t room)
{
    if (!make_valid(col, row, room, true))
        return LL_ENOMEM;
    col->valid[row / 8] &= (uint8_t) ~(1u << (row % 8));
    if (col->words)
        col->words[row] = 0;
    if (col->offsets)
        col->offsets[row + 1] = (int32_t)col->size;
    if (col->tags)
        col->tags[row] = LL_NULL;
    return LL_OK;
}

static ll_status add_value(struct lli_col *col, size_t row, size_t room, const ll_value *value)
{
    if (value->type == LL_NULL)
        return add_null(col, row, room);
    if (col->kind != value->type)
        LL_TRY(change_kind(col, row, room, value->type));
    if (col->valid)
        col->valid[row / 8] |= (uint8_t)(1u << (row % 8));
    col->seen |= (uint8_t)(1u << value->type);
    if (col->tags)
        col->tags[row] = (uint8_t)value->type;
    if (value->type == LL_INTEGER || value->type == LL_FLOAT) {
        col->words[row] = value->as.integer; /* a double's bits are copied with it */
        if (value->type == LL_INTEGER && !lli_is_exact_double(value->as.integer))
            col->inexact = true;
        return LL_OK;
    }
    if (value->type == LL_TEXT && !col->not_utf8 && !lli_is_utf8(value->as.blob, value->size))
        col->not_utf8 = true;
    size_t at = col->size;
    LL_TRY(add_bytes(col, value->as.blob, value->size));
    if (col->offsets)
        col->offsets[row + 1] = (int32_t)col->size;
    else
        col->words[row] = place_of(at, value->size);
    return LL_OK;
}

ll_status lli_colbatch_add_row(ll_batch *batch, const ll_value *values)
{
    if (batch->rows == batch->col_room)
        LL_TRY(more_rows(batch));
    for (size_t i = 0; i < batch->width; i++) {
        LL_TRY(add_value(&batch->columns[i], batch->rows, batch->col_room, &values[i]));
        batch->bytes += sizeof(int64_t) + values[i].size;
    }
    batch->rows++;
    return LL_OK;
}

/* add_value() of what nearly every value is: a number of the type that the column has, where no NULL was yet. */
static inline bool add_number(struct lli_col *col, size_t row, sqlite3_value *source, int type)
{
    if (type == SQLITE_INTEGER) {
        int64_t n = lli_sq.value_int64(source);
        col->words[row] = n;
        if (LLI_UNLIKELY(!lli_is_exact_double(n)))
            col->inexact = true;
        return true;
    }
    if (type == SQLITE_FLOAT) {
        double real = lli_sq.value_double(source);
        memcpy(&col->words[row], &real, sizeof real);
        return true;
    }
    return false;
}

/* Where the values of this row are. Each sqlite3_column_value() takes the connection's mutex and lets go of it, also
 * while it is held: [M] a fifth of the whole time. So two are asked for, not all. A row lies in registers side by side
 * (sqlite.org/opcode.html, ResultRow), nearly always in those of the row before: if its first and its last value are
 * where they were, so are those between. */
static void find_values(ll_batch *batch, sqlite3_stmt *stmt)
{
    struct lli_col *columns = batch->columns;
    size_t last = batch->width - 1;
    sqlite3_value *first_value = lli_sq.column_value(stmt, 0);
    sqlite3_value *last_value = lli_sq.column_value(stmt, (int)last);
    if (columns[0].source == first_value && columns[last].source == last_value)
        return;
    for (size_t i = 0; i <= last; i++)
        columns[i].source = lli_sq.column_value(stmt, (int)i);
}

ll_status lli_colbatch_add_locked(ll_batch *batch, sqlite3_stmt *stmt)
{
    if (batch->rows == batch->col_room)
        LL_TRY(more_rows(batch));
    if (batch->width > 0)
        find_values(batch, stmt);
    size_t bytes = 0;
    for (size_t i = 0; i < batch->width; i++) {
        struct lli_col *col = &batch->columns[i];
        int type = lli_sq.value_type(col->source);
        if (col->kind != type || col->valid || !add_number(col, batch->rows, col->source, type)) {
            ll_value value;
            LL_TRY(lli_look_at(col->source, &value));
            LL_TRY(add_value(col, batch->rows, batch->col_room, &value));
            bytes += value.size;
        }
    }
    bytes += batch->width * sizeof(int64_t);
    batch->rows++;
    batch->bytes += bytes;
    return LL_OK;
}

ll_batch *ll_batch_to_columns_from(const ll_batch *batch, size_t first)
{
    if (!batch || batch->columns)
        return NULL;
    ll_batch *made = lli_colbatch_new(batch->width, NULL);
    for (size_t i = first; made && i < batch->rows; i++) {
        if (lli_colbatch_add_row(made, ll_batch_row(batch, i)) != LL_OK) {
            ll_batch_free(made);
            return NULL;
        }
    }
    return made;
}

ll_batch *ll_batch_to_columns(const ll_batch *batch)
{
    return ll_batch_to_columns_from(batch, 0);
}
