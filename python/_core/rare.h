/* rare.h: what is rarely called of sqlite3.Connection. */
#ifndef LP_RARE_H
#define LP_RARE_H

#include "work.h"

/* Adds to Connection those methods that the running Python's sqlite3.Connection has, too. 0 or -1. */
int lp_rare_add(lp_state *st, PyMethodDef *defs, size_t count);

int lp_rare_init(PyObject *module, lp_state *st);

#endif
