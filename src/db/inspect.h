/* inspect.h: what the program of a prepared statement is. Owner of the connection only. */
#ifndef LLI_DB_INSPECT_H
#define LLI_DB_INSPECT_H

#include "db/bounded.h"
#include "db/stmtcache.h"

/* Reads EXPLAIN of this text on this connection. `known` is false if that fails. Calls the user's authorizer,
 * as any prepare (a trace callback is not told); and if the text writes, sets changes() to 0. */
struct lli_program lli_explain(sqlite3 *db, const char *sql, size_t size);

/* The program of this very statement on this connection. It is read when it is first asked for, and again
 * after SQLite has prepared the statement again. Not known: of PRAGMA, DDL and everything else that
 * is not SELECT, WITH, VALUES or DML; of a write outside a transaction, and of one that speaks of changes().
 *
 * It holds as long as the schema of "main" has the `cookie` that it names: a step that finds another one
 * prepares the statement again, and what runs then is a program that nobody has looked at. Before a write is
 * run on the loop, the cookie must have been compared inside the same transaction. */
const struct lli_program *lli_stmt_program(struct lli_stmtcache *cache, struct lli_stmt *stmt);

/* Whether its program is known without asking SQLite for it: `stmt->program` is it. */
bool lli_stmt_is_explained(const struct lli_stmt *stmt);

/* The same for a read, but takes what another connection has found if `cookie` (from lli_schema_cookie())
 * says that it looked at the same schema: saves EXPLAIN, is right but for settings of the connection that
 * change plans. Good enough for an attempt, whose budget bounds a wrong answer. `stmt->cost` must be set for
 * it to save anything. */
const struct lli_program *lli_stmt_program_hint(struct lli_stmtcache *cache, struct lli_stmt *stmt,
                                                uint32_t cookie);

/* The program of a write, for who stands inside a transaction and to whom changes() means nothing. Looked at again when
 * it was compiled for another schema than that of `cookie`, which the caller knows to be the file's and SQLite's. */
const struct lli_program *lli_stmt_program_of_write(struct lli_stmtcache *cache,
                                                    struct lli_stmt *stmt, uint32_t cookie);

/* The schema cookie of "main", as the file has it now. Errors: LL_ESQL, LL_EBUSY, LL_ENOMEM. */
ll_status lli_schema_cookie(struct lli_stmtcache *cache, uint32_t *ret_cookie);

/* Whether the TEMP database was opened: without, there is nothing in it. */
bool lli_has_temp(sqlite3 *db);

/* Whether a read opens a virtual table. True when that is not known, and for every write. */
bool lli_stmt_uses_vtab(struct lli_stmtcache *cache, struct lli_stmt *stmt);

#endif
