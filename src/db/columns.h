/* columns.h: the description of a result: names and declared types. */
#ifndef LLI_DB_COLUMNS_H
#define LLI_DB_COLUMNS_H

#include "base/defs.h"

#include <looplite/row.h>
#include <sqlite3.h>

/* Reads them from a prepared statement; NULL with LL_OK when it gives no rows. */
ll_status lli_columns_of(sqlite3_stmt *stmt, ll_columns **ret_columns);

#endif
