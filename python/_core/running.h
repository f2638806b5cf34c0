/* running.h: which asyncio loop runs in this thread, without asking asyncio. */
#ifndef LP_RUNNING_H
#define LP_RUNNING_H

#include "state.h"

/* What lp_running_ask() last found by this way; NULL, without an exception, when only asking tells.
 * Borrowed: not for longer than nothing else runs. Not right in the child of a fork, where no loop
 * runs: the caller knows of forks. */
PyObject *lp_running_peek(lp_state *st);

/* asyncio's own answer, a new reference, None if no loop runs; NULL with an exception. */
PyObject *lp_running_ask(lp_state *st);

#endif
