/* decode.h: rows of the core as Python objects. */
#ifndef LP_DECODE_H
#define LP_DECODE_H

#include "state.h"

/* How the rows of one fetch are built. */
typedef struct lp_decoder {
    lp_state *st;
    const ll_columns *columns;
    PyObject *text_factory; /* NULL: str */
    PyObject *row_factory;  /* NULL: tuples */
    PyObject *shape;        /* what the row factory gets as its cursor; NULL without one */
} lp_decoder;

/* One row; a new reference. */
PyObject *lp_decode_row(const lp_decoder *decoder, const ll_value *values, size_t count);

/* The description of a result: a tuple of (name, None * 6). A new reference. */
PyObject *lp_description(const ll_columns *columns);

/* A real sqlite3.Cursor with that description; a new reference, shared by all results of that shape. */
PyObject *lp_shape(lp_state *st, PyObject *description);

#endif
