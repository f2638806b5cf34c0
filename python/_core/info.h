/* info.h: what looplite has done and how it stands, for Python. With the GIL. */
#ifndef LP_INFO_H
#define LP_INFO_H

#include "state.h"

/* looplite.stats(). A new dict, or NULL with an exception. */
PyObject *lp_stats(lp_state *st);
/* looplite.engine_info(); `connection` (may be NULL) adds its part. The same. */
PyObject *lp_engine_info(lp_state *st, PyObject *connection);

#endif
