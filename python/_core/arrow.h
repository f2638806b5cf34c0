/* arrow.h: results by the Arrow PyCapsule interface. */
#ifndef LP_ARROW_H
#define LP_ARROW_H

#include "state.h"

/* A looplite._core.Columns of a finished request that was submitted with LL_SQL_COLUMNS; takes its batches. */
PyObject *lp_columns_of(lp_state *st, ll_request *request);

/* The arguments of __arrow_c_stream__(): 0, or -1 with an exception. */
int lp_arrow_arguments(PyObject *args, PyObject *kwargs);

/* A capsule "arrow_array_stream" of batches of rows, which stay who has them and are copied without the GIL: they
 * must not change meanwhile. */
PyObject *lp_arrow_of_rows(lp_state *st, const ll_columns *columns, ll_batch *const *batches,
                           size_t count, size_t skip);

int lp_arrow_init(PyObject *module, lp_state *st);

#endif
