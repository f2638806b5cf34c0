/* bind.h: parameters into a prepared statement. */
#ifndef LLI_DB_BIND_H
#define LLI_DB_BIND_H

#include "base/status.h"

#include <looplite/value.h>
#include <sqlite3.h>

/* Binds all parameters. With `copy` SQLite keeps copies of texts and blobs; without, they must stay
 * valid until the statement is reset and unbound. Errors: LL_EPARAM, LL_ENOMEM, LL_ESQL (too big). */
ll_status lli_bind(sqlite3 *db, sqlite3_stmt *stmt, const ll_params *params, bool copy,
                   struct lli_error *error);

/* Whether there is nothing but numbers and NULL: bindings that hold no memory and point to none. */
bool lli_params_are_numbers(const ll_params *params);

#endif
