/* typed.h: type adapters: values that go in and come out by their types. */
#ifndef LP_TYPED_H
#define LP_TYPED_H

#include "decode.h"

/* What is to be done with the columns of one result; counted. */
typedef struct lp_plan lp_plan;

/* The setter of an attribute _types: a Types, or None for none. `generic`: of what is not ours, which has no such thing.
 * 0, or -1 with an exception. */
int lp_types_set(const lp_state *st, PyObject **attribute, PyObject *value, bool generic);

/* The plan of a result's columns; made once for a prepared statement. A new reference, NULL with an exception. */
lp_plan *lp_types_plan(PyObject *types, const ll_columns *columns, int detect_types);
void lp_plan_unref(lp_plan *plan);

/* Whether rows are dicts by it. */
bool lp_plan_is_dict(const lp_plan *plan);

/* One value of a row that decoder->plan says something of; a new reference. */
PyObject *lp_typed_value(const lp_decoder *decoder, size_t column, const ll_value *value);

/* The row as a dict; a new reference. */
PyObject *lp_typed_row(const lp_decoder *decoder, const ll_value *values, size_t count);

/* What is stored in place of a parameter: 1 and a new reference to a str or an int; 0: the value is none of ours;
 * -1 with an exception. */
int lp_typed_parameter(PyObject *types, PyObject *value, PyObject **ret_made);

int lp_types_init(PyObject *module, lp_state *st);

#endif
