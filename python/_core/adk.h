/* adk.h: AdkTables: statements and records of the ADK store. */
#ifndef LP_ADK_H
#define LP_ADK_H

#include "state.h"

int lp_adk_init(PyObject *module);

/* adk_json.c: rows of events, the newest one first, as the bytes of a JSON array, the oldest one first. `unpickle` makes
 * JSON of actions that are a pickle. A new reference; NULL with an exception. */
PyObject *lp_adk_events_json(PyObject *rows, bool document, PyObject *unpickle);

#endif
