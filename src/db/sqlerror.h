/* sqlerror.h: SQLite's errors as ours. */
#ifndef LLI_DB_SQLERROR_H
#define LLI_DB_SQLERROR_H

#include "base/status.h"

#include <sqlite3.h>

/* The status for a SQLite code: LL_ENOMEM for NOMEM, LL_EBUSY for BUSY, LL_ESQL otherwise. */
ll_status lli_sql_status(int code);
/* Takes the handle's last error, with message, extended code and offset. `code` is what the call
 * returned; it is used where the handle has no error. */
void lli_error_from_sqlite(struct lli_error *error, sqlite3 *db, int code);

#endif
