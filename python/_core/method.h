/* method.h: methods that pass for coroutine functions. */
#ifndef LP_METHOD_H
#define LP_METHOD_H

#include "state.h"

/* Makes the methods of `type` that the class `signatures` (of looplite._signatures) has too pass for
 * `async def` functions with that signature. 0, or -1 with an exception. */
int lp_methods_async(lp_state *st, PyTypeObject *type, const char *signatures);

int lp_method_init(PyObject *module, lp_state *st);

#endif
