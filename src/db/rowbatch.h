/* rowbatch.h: filling batches of rows on the thread that steps the statement. */
#ifndef LLI_DB_ROWBATCH_H
#define LLI_DB_ROWBATCH_H

#include "base/arena.h"
#include "base/list.h"

#include <looplite/row.h>
#include <sqlite3.h>

struct ll_batch {
    struct lli_node node; /* in a request's or a cursor's list: whoever holds that list */
    size_t width, rows;   /* filler only, then fixed */
    size_t bytes;         /* of cells, texts and blobs */
    struct lli_arena texts;
    size_t near_rows;          /* so many lie in `near`, the others in blocks */
    struct lli_cells **blocks; /* of 1 << block_shift rows each, so that cells never move */
    unsigned block_shift;
    size_t block_count, block_room;
    struct lli_col *columns; /* `width` of them, and no rows (colbatch.h); NULL: a batch of rows */
    size_t col_room;         /* rows that the columns have room for */
    /* The first rows and texts: most answers are one short row, and then this is all the memory they take. */
    ll_value near[16];
    char near_texts[256];
};

ll_batch *lli_batch_new(size_t width);
/* Makes one empty again, if it has this width and took no more memory than its own. */
bool lli_batch_reuse(ll_batch *batch, size_t width);
/* Appends the current row of `stmt`, as rows or as columns. Errors: LL_ENOMEM; the batch is then as it was before. */
ll_status lli_batch_add(ll_batch *batch, sqlite3 *db, sqlite3_stmt *stmt);
/* The same, for who holds the connection's mutex. */
ll_status lli_batch_add_locked(ll_batch *batch, sqlite3_stmt *stmt);

#endif
