/* decode.h: rows of the core as Python objects. */
#ifndef LP_DECODE_H
#define LP_DECODE_H

#include "state.h"

/* How the rows of one fetch are built. */
typedef struct lp_decoder {
    lp_state *st;
    const ll_columns *columns;
    PyObject *converters;   /* one of each column, or None; NULL: no converters */
    PyObject *text_factory; /* NULL: str */
    PyObject *row_factory;  /* NULL: tuples */
    PyObject *shape;        /* what the row factory gets as its cursor; NULL without one */
    PyObject *types;        /* typed.h; NULL: no type adapters */
    struct lp_plan *plan;   /* of these columns, by `types` */
} lp_decoder;

/* One row; a new reference. */
PyObject *lp_decode_row(const lp_decoder *decoder, const ll_value *values, size_t count);

/* For typed.c: one value as sqlite3 gives it; and by the converter or the type of its column, if it has one. */
PyObject *lp_decode_value(const lp_decoder *decoder, size_t column, const ll_value *value);
PyObject *lp_decode_column(const lp_decoder *decoder, size_t column, const ll_value *value);

enum {
    LP_PARSE_DECLTYPES = 1,
    LP_PARSE_COLNAMES = 2
}; /* sqlite3's values of detect_types */

/* The description of a result: a tuple of (name, None * 6). A new reference. */
PyObject *lp_description(const ll_columns *columns, int detect_types);

/* The converters of a result's columns, those registered with sqlite3: a tuple of callables and None;
 * a new reference. None when no column has one. */
PyObject *lp_converters(lp_state *st, const ll_columns *columns, int detect_types);

/* A real sqlite3.Cursor with that description; a new reference, shared by all results of that shape. */
PyObject *lp_shape(lp_state *st, PyObject *description);

/* The atexit hook: closes the connection behind the shapes. */
void lp_shapes_end(lp_state *st);

#endif
