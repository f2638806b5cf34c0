/* memdb.h: which paths are databases in memory, and how a pool opens them. */
#ifndef LLI_SERVICE_MEMDB_H
#define LLI_SERVICE_MEMDB_H

#include "base/defs.h"

#include <looplite/conn.h>

/* If `path` (NULL: no name) is a database in memory: *ret_uri is how each connection of one pool has to open it, to be
 * freed, and *ret_flags what to add to the flags. Otherwise *ret_uri is NULL. `flags`: of the options. Errors:
 * LL_ENOMEM. */
ll_status lli_memdb_uri(const char *path, unsigned flags, char **ret_uri, unsigned *ret_flags);

#endif
