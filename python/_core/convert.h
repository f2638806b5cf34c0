/* convert.h: Python objects as the parameters of a statement. */
#ifndef LP_CONVERT_H
#define LP_CONVERT_H

#include "state.h"

enum {
    LP_FEW_PARAMS = 8
};

/* The parameters of one statement and all that keeps their memory alive: the core is given them with
 * LL_SUBMIT_BORROW, so this lives until the request has finished. Zero-initialise. */
typedef struct lp_params {
    ll_value *values;   /* `few` or of the heap */
    const char **names; /* NULL: positional */
    size_t count;       /* values in one row */
    size_t rows;        /* executemany: rows of values */
    size_t room;        /* values allocated */
    PyObject *keep;     /* tuple of the objects, or (executemany, named) a list of such */
    PyObject *extra;    /* list: what conversion made, and copies of what may change; or NULL */
    PyObject *refused;  /* list of (text, exception) for values that cannot be bound; or NULL */
    PyObject *types;    /* type adapters (typed.h), set by the caller; or NULL */
    bool adapt_all;     /* no type goes without being looked up among the adapters */
    ll_value few[LP_FEW_PARAMS];
} lp_params;

/* Converts the parameters of execute(): None or NULL, a sequence, or a dict. `sql` is looked at
 * only for the names that a subclass of dict has to be asked for. A value that cannot
 * be bound is no error yet. 0, or -1 with an exception. */
int lp_params_fill(lp_state *st, lp_params *params, PyObject *sql, PyObject *parameters);

/* Adds one row of executemany(). The first row decides on the number of values, or on the names. */
int lp_params_add_row(lp_state *st, lp_params *params, PyObject *sql, PyObject *row);

/* Raises what refused a value, if `message` is its text. 1: raised. 0: it is another error. */
int lp_params_raise(const lp_params *params, const char *message);

/* Lets everything go; fine to call twice. */
void lp_params_done(lp_params *params);

/* The SQL text of a call: UTF-8 that lives as long as `sql`. `what` names the method for messages.
 * NULL with an exception for what is no str, has NUL bytes or lone surrogates. */
const char *lp_sql_text(lp_state *st, const char *what, PyObject *sql, size_t *ret_size);

int lp_params_traverse(const lp_params *params, visitproc visit, void *arg);

#endif
