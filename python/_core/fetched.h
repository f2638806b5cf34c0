/* fetched.h: the whole result of a statement, with its rows undecoded until they are asked for. */
#ifndef LP_FETCHED_H
#define LP_FETCHED_H

#include "aconn.h"

/* What a finished request gave, with its rows. `types` says how they are made; `text_factory` may be NULL. */
PyObject *lp_fetched_of(lp_state *st, ll_request *request, PyObject *types, PyObject *text_factory,
                        int detect_types);

/* Steps of a call that runs one statement to its end: call->sql, call->argument its parameters, call->iterator the
 * Types, call->limit what is wanted. lp_query_params() converts them for `sql`; 0, or -1 with an exception. */
enum {
    LP_WANT_FETCHED, /* the _core.Fetched */
    LP_WANT_ROWS,    /* a list of its rows, made in slices */
    LP_WANT_COLUMNS, /* the _core.Columns */
    LP_WANTS
};
int lp_query_params(lp_call *call, ll_sql *sql);
/* From a finished request to the answer; slices, so it may say LP_YIELD. */
lp_step lp_query_finish(lp_call *call, PyObject *text_factory, int detect_types);

/* The arguments (sql, parameters, types, want) of a method query(); a call that runs it, or NULL with an exception. */
PyObject *lp_query_new(lp_state *st, const lp_op *op, PyObject *owner, PyObject *const *args,
                       Py_ssize_t count);

int lp_fetched_init(PyObject *module, lp_state *st);

#endif
