/* arrow.h: what the files of the Arrow export share: the type of a column, and whether values fit it. */
#ifndef LLI_SERVICE_ARROW_H
#define LLI_SERVICE_ARROW_H

#include "db/colbatch.h"

#include <looplite/arrow.h>

enum lli_arrow_type {
    LLI_ARROW_NULL,
    LLI_ARROW_INT64,
    LLI_ARROW_DOUBLE,
    LLI_ARROW_UTF8,
    LLI_ARROW_BINARY
};

struct ll_arrow_shape {
    ll_columns *columns; /* a reference */
    size_t width;
    uint8_t types[]; /* lli_arrow_type of each column */
};

/* arrow_load.c: whether this thread asks a source for rows that this connection loads. */
bool lli_arrow_is_loading(const ll_conn *conn);

/* Whether every value of the column can be had from an array of this type. */
bool lli_arrow_fits(enum lli_arrow_type type, const struct lli_col *col);

#endif
