/* thread.h: what conn._thread shows (looplite._thread.WorkerThread), as the extension talks to it. */
#ifndef LP_THREAD_H
#define LP_THREAD_H

#include "compat.h"

/* Calls a method of it; what goes wrong is reported as unraisable. */
void lp_thread_tell(PyObject *thread, const char *method);

/* The connection was opened, by that thread. */
void lp_thread_opened(PyObject *thread, unsigned long worker);

#endif
