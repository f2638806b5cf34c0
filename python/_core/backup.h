/* backup.h: Connection.backup(), .blobopen() and .iterdump(), one file each. */
#ifndef LP_BACKUP_H
#define LP_BACKUP_H

#include "state.h"

int lp_backup_init(PyObject *module, lp_state *st);
int lp_blob_init(PyObject *module, lp_state *st);
int lp_dump_init(PyObject *module, lp_state *st);

#endif
