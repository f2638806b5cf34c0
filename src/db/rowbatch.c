/* rowbatch.c: rows as arrays of 16-byte cells; texts and blobs in an arena beside them.
 *
 *   blocks -> [ row 0 | row 1 | ... | row 63 ]  [ row 64 | ... ]     cells of a row are neighbours
 *                 |__ text pointers ______________ texts: chunk, chunk, ...
 *
 * Nothing moves once it is written, so a cell can point straight to its text, and a reader gets a row
 * as a plain array: no decoding step stands between a batch and its consumer. Sixteen bytes a cell is
 * more than a packed encoding takes, but a packed one has to be parsed where time is dearest, on the
 * event loop; batches are bounded, and gone once they are read.
 *
 * A row is read under the connection's mutex, taken once: sqlite3_column_value() gives an unprotected
 * value, which the documentation allows to be read while that mutex is held, and this saves a mutex
 * round trip per column. */
#include "db/rowbatch.h"

#include "base/alloc.h"
#include "db/api.h"
#include "db/colbatch.h"
#include "db/look.h"

#include <string.h>

struct lli_cells {
    ll_value first; /* (1 << block_shift) * width of them */
};

/* 64 rows of a narrow result, one row of a very wide one: a block stays near 16 KiB. */
static unsigned shift_for(size_t width)
{
    unsigned shift = 6;
    while (shift > 0 && (width << shift) > 1024)
        shift--;
    return shift;
}

ll_batch *lli_batch_new(size_t width)
{
    ll_batch *batch = lli_resize(NULL, sizeof *batch);
    if (!batch)
        return NULL;
    memset(batch, 0, offsetof(ll_batch, near)); /* what is behind is written before it is read */
    batch->width = width;
    batch->near_rows = width > 0 ? LLI_COUNT(batch->near) / width : 0;
    batch->block_shift = shift_for(width);
    lli_arena_lend(&batch->texts, batch->near_texts, sizeof batch->near_texts);
    lli_live(+1);
    return batch;
}

bool lli_batch_reuse(ll_batch *batch, size_t width)
{
    if (batch->width != width || batch->columns || batch->blocks || batch->texts.chunks)
        return false;
    batch->rows = batch->bytes = 0;
    lli_arena_lend(&batch->texts, batch->near_texts, sizeof batch->near_texts);
    return true;
}

static ll_value *room_for_row(ll_batch *batch)
{
    if (batch->rows < batch->near_rows)
        return batch->near + batch->rows * batch->width;
    size_t row = batch->rows - batch->near_rows, block = row >> batch->block_shift;
    if (block == batch->block_count) {
        if (block == batch->block_room) {
            size_t room = batch->block_room > 0 ? batch->block_room * 2 : 4;
            struct lli_cells **blocks = lli_resize(batch->blocks, room * sizeof *blocks);
            if (!blocks)
                return NULL;
            batch->blocks = blocks;
            batch->block_room = room;
        }
        size_t rows = (size_t)1 << batch->block_shift, size;
        if (__builtin_mul_overflow(rows * sizeof(ll_value), batch->width, &size))
            return NULL;
        struct lli_cells *cells = lli_resize(NULL, size);
        if (!cells)
            return NULL;
        batch->blocks[batch->block_count++] = cells;
    }
    return &batch->blocks[block]->first +
           (row & (((size_t)1 << batch->block_shift) - 1)) * batch->width;
}

static ll_status read_value(ll_batch *batch, sqlite3_value *source, ll_value *cell)
{
    LL_TRY(lli_look_at(source, cell));
    if (cell->type != LL_TEXT && cell->type != LL_BLOB)
        return LL_OK;
    cell->as.text = lli_arena_copy(&batch->texts, cell->as.text, cell->size);
    batch->bytes += cell->size;
    return cell->as.text ? LL_OK : LL_ENOMEM;
}

ll_status lli_batch_add_locked(ll_batch *batch, sqlite3_stmt *stmt)
{
    if (batch->columns)
        return lli_colbatch_add_locked(batch, stmt);
    ll_value *cells = room_for_row(batch);
    if (!cells)
        return LL_ENOMEM;
    for (size_t i = 0; i < batch->width; i++)
        LL_TRY(read_value(batch, lli_sq.column_value(stmt, (int)i), &cells[i]));
    batch->rows++;
    batch->bytes += batch->width * sizeof(ll_value);
    return LL_OK;
}

ll_status lli_batch_add(ll_batch *batch, sqlite3 *db, sqlite3_stmt *stmt)
{
    sqlite3_mutex *mutex = lli_sq.db_mutex(db);
    lli_sq.mutex_enter(mutex);
    ll_status status = lli_batch_add_locked(batch, stmt);
    lli_sq.mutex_leave(mutex);
    return status;
}

size_t ll_batch_rows(const ll_batch *batch)
{
    return batch ? batch->rows : 0;
}

size_t ll_batch_columns(const ll_batch *batch)
{
    return batch ? batch->width : 0;
}

const ll_value *ll_batch_row(const ll_batch *batch, size_t row)
{
    if (!batch || row >= batch->rows || batch->columns)
        return NULL;
    if (row < batch->near_rows)
        return batch->near + row * batch->width;
    row -= batch->near_rows;
    size_t within = row & (((size_t)1 << batch->block_shift) - 1);
    return &batch->blocks[row >> batch->block_shift]->first + within * batch->width;
}

void ll_batch_free(ll_batch *batch)
{
    if (!batch)
        return;
    for (size_t i = 0; i < batch->block_count; i++)
        lli_free(batch->blocks[i]);
    lli_free(batch->blocks);
    lli_colbatch_done(batch);
    lli_arena_done(&batch->texts);
    lli_live(-1);
    lli_free(batch);
}
