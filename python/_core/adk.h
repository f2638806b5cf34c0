/* adk.h: AdkTables: statements and records of the ADK store. */
#ifndef LP_ADK_H
#define LP_ADK_H

#include "state.h"

int lp_adk_init(PyObject *module);

#endif
