/* colbatch.h: a batch whose rows are kept as columns, in buffers that Arrow takes as they are. */
#ifndef LLI_DB_COLBATCH_H
#define LLI_DB_COLBATCH_H

#include "db/rowbatch.h"

enum {
    LLI_MIXED = 6 /* a column of values of several types; behind the last ll_type */
};

/* One column. What a NULL has in `words`, `offsets`, `tags` is zero, or an empty text. */
struct lli_col {
    uint8_t kind;   /* LL_NULL: only NULLs so far; LL_INTEGER to LL_BLOB: only that; LLI_MIXED */
    uint8_t seen;   /* 1 << ll_type of every value, without LL_NULL */
    bool inexact;   /* has an integer that no double is equal to */
    bool not_utf8;  /* has a text that is no UTF-8 */
    uint8_t *valid; /* a bit a row, the lowest first; NULL: no NULL so far */
    int64_t *words; /* integers, or doubles bit by bit; mixed: also where << 32 | size in `bytes` */
    int32_t *offsets; /* texts or blobs: rows + 1 places in `bytes` */
    uint8_t *tags;    /* mixed: the ll_type of each */
    uint8_t *bytes;
    size_t size, bytes_room;
    size_t bytes_first; /* the first room for `bytes` */
    /* Where the last row's value was, and the next one's is if SQLite says so of both ends of the row. */
    sqlite3_value *source;
};

/* An empty batch of columns. `like`, the batch before it in the same result, or NULL: about as many rows are expected. */
ll_batch *lli_colbatch_new(size_t width, const ll_batch *like);
/* Appends a row. Errors: LL_ENOMEM, also when a column would have 2 GiB; the batch has then the rows it had. */
ll_status lli_colbatch_add_row(ll_batch *batch, const ll_value *values);
/* The same from a statement; whoever calls holds the connection's mutex. */
ll_status lli_colbatch_add_locked(ll_batch *batch, sqlite3_stmt *stmt);
/* Whether a double is equal to it. */
bool lli_is_exact_double(int64_t n);
/* For ll_batch_free(). */
void lli_colbatch_done(ll_batch *batch);

#endif
