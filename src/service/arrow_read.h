/* arrow_read.h: columns of arrays that somebody else has made: what they say they are, checked, and their values. */
#ifndef LLI_SERVICE_ARROW_READ_H
#define LLI_SERVICE_ARROW_READ_H

#include "service/arrow_text.h"

#include <looplite/arrow.h>
#include <looplite/value.h>

enum lli_arrow_kind {
    LLI_FROM_NULL,
    LLI_FROM_BOOL,
    LLI_FROM_INT8, /* from here to DOUBLE: a number a row, `width` bytes wide */
    LLI_FROM_UINT8,
    LLI_FROM_INT16,
    LLI_FROM_UINT16,
    LLI_FROM_INT32,
    LLI_FROM_UINT32,
    LLI_FROM_INT64,
    LLI_FROM_UINT64,
    LLI_FROM_HALF,
    LLI_FROM_FLOAT,
    LLI_FROM_DOUBLE,
    LLI_FROM_DATE32,
    LLI_FROM_DATE64,
    LLI_FROM_TIME32,
    LLI_FROM_TIME64,
    LLI_FROM_TIMESTAMP,
    LLI_FROM_DECIMAL,
    LLI_FROM_FIXED, /* blobs of `width` bytes */
    LLI_FROM_BYTES, /* texts or blobs between offsets of `width` bytes */
    LLI_FROM_VIEWS, /* texts or blobs, each somewhere */
    LLI_FROM_RUNS   /* run-end encoded; `inner` has the values */
};

struct lli_arrow_column {
    /* fixed: what the schema says */
    const struct ArrowSchema *field;
    enum lli_arrow_kind kind; /* of a dictionary's indices, if there is one */
    enum lli_arrow_unit unit;
    int64_t width;
    int scale;
    bool utc;
    bool text;                      /* BYTES, VIEWS: UTF-8 */
    bool is_dictionary;             /* the values are those of `inner` */
    struct lli_arrow_column *inner; /* owned; NULL: none */
    /* the array that is read */
    const struct ArrowArray *array;
    const uint8_t *valid; /* NULL: no NULLs */
    int64_t first, rows;  /* where row 0 is in its buffers */
    int64_t run;          /* RUNS: the one that was read last */
    /* the value that was read last */
    bool in_digits; /* it is a number, as a text in digits */
    char text_room[LLI_ARROW_TEXT_ROOM];
    /* what was wrong, as the end of a sentence that begins with the column */
    char trouble[256];
};

enum {
    LLI_ARROW_VIEW_BYTES = 16
};

/* Sets `trouble`; gives LL_EINVAL. */
ll_status lli_arrow_refuse(struct lli_arrow_column *col, const char *format, ...) LLI_PRINTF(2, 3);

/* What a field says. The field has to live as long. Errors: LL_EINVAL with `trouble`, LL_ENOMEM. To be given to
 * lli_arrow_column_done() either way. */
ll_status lli_arrow_column_init(struct lli_arrow_column *col, const struct ArrowSchema *field);
void lli_arrow_column_done(struct lli_arrow_column *col);

/* Reads from this array from now on, `rows` of them beginning with `offset`. Whatever can be checked of it is: all but
 * how long its buffers are, which an array does not say. Errors: LL_EINVAL with `trouble`. */
ll_status lli_arrow_column_read(struct lli_arrow_column *col, const struct ArrowArray *array,
                                int64_t offset, int64_t rows);
/* The value of one row. Texts and blobs point into the array, or into the column until the next value is read.
 * Errors: LL_EINVAL with `trouble`. */
ll_status lli_arrow_column_value(struct lli_arrow_column *col, int64_t row, ll_value *ret_value);

#endif
