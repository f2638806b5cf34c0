/* inspect.h: what EXPLAIN says of a statement's program. */
#ifndef LLI_DB_INSPECT_H
#define LLI_DB_INSPECT_H

#include "db/stmtcache.h"

/* Whether the program opens a virtual table. Asked once per prepared statement; a statement that cannot
 * be explained counts as one that does. */
bool lli_stmt_uses_vtab(struct lli_stmtcache *cache, struct lli_stmt *stmt);

#endif
