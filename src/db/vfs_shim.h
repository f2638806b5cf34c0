/* vfs_shim.h: looplite's VFS, which wraps the default one. */
#ifndef LLI_DB_VFS_SHIM_H
#define LLI_DB_VFS_SHIM_H

#include "base/defs.h"

#define LLI_VFS_NAME "looplite"

/* Registers it, once per process. Errors: LL_ESQL, LL_EINVAL. Any thread. */
ll_status lli_vfs_ready(void);

#endif
