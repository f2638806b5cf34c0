/* db.h: one SQLite connection with what we keep beside it. Owner of the connection only. */
#ifndef LLI_DB_DB_H
#define LLI_DB_DB_H

#include "db/guard.h"
#include "db/snapshot.h"
#include "db/stmtcache.h"
#include "db/udf.h"

#include <looplite/conn.h>

struct lli_db {
    sqlite3 *handle;      /* NULL while not open */
    sqlite3_mutex *mutex; /* its own */
    struct lli_guard guard;
    struct lli_stmtcache cache;
    struct lli_snapshot snapshot;
    struct lli_udf_list udfs; /* the program's functions, collations and hooks */
    bool adopted;             /* the handle came from somebody else */
};

/* Opens a file. Errors: LL_ESQL and the rest, in *error; nothing stays open. */
ll_status lli_db_open(struct lli_db *db, const char *path, const ll_open_options *options,
                      struct lli_error *error);
/* Takes a handle that is open. */
ll_status lli_db_adopt(struct lli_db *db, sqlite3 *handle, size_t cached_statements,
                       struct lli_error *error);
/* Finalises our statements and takes our handlers away; the handle stays open and is returned. No
 * statement may be in use. */
sqlite3 *lli_db_release(struct lli_db *db);
/* Finalises everything and closes. Errors: LL_ESQL; the handle is gone in any case. */
ll_status lli_db_close(struct lli_db *db, struct lli_error *error);

int64_t lli_db_changes(const struct lli_db *db);
int64_t lli_db_total_changes(const struct lli_db *db);
bool lli_db_in_transaction(const struct lli_db *db);

#endif
