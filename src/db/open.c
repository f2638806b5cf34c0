/* open.c: opening, adopting and closing a handle.
 *
 * A file is opened through looplite's VFS unless the caller names another one. The file itself is first
 * touched by the first statement, so opening a directory or a file that is no database fails there, as
 * it does in SQLite; lli_db_open() therefore reads the schema version once, so that the error comes from
 * open, where a program looks for it. A locked file is no reason to fail an open.
 *
 * Closing: all statements are finalised first, for sqlite3_close() refuses while one lives and
 * sqlite3_close_v2() would leave a zombie that keeps the file's locks. */
#include "db/api.h"
#include "db/db.h"
#include "db/sqlerror.h"
#include "db/vfs_shim.h"

#include <string.h>
#include <sys/stat.h>

enum {
    DEFAULT_CACHED_STATEMENTS = 128
};

static int open_flags(unsigned flags)
{
    int sql = SQLITE_OPEN_FULLMUTEX;
    if (flags & LL_OPEN_READONLY)
        sql |= SQLITE_OPEN_READONLY;
    else
        sql |= SQLITE_OPEN_READWRITE | (flags & LL_OPEN_NO_CREATE ? 0 : SQLITE_OPEN_CREATE);
    if (flags & LL_OPEN_URI)
        sql |= SQLITE_OPEN_URI;
    if (flags & LL_OPEN_NO_FOLLOW)
        sql |= SQLITE_OPEN_NOFOLLOW;
    if (flags & LL_OPEN_SHARED_CACHE)
        sql |= SQLITE_OPEN_SHAREDCACHE;
    return sql;
}

static ll_status start(struct lli_db *db, sqlite3 *handle, size_t cached, struct lli_error *error)
{
    /* An adopted handle keeps its owner's setting, who may compare the codes; ours come from
     * sqlite3_extended_errcode(). */
    if (!db->adopted)
        lli_sq.extended_result_codes(handle, 1);
    ll_status status = lli_stmtcache_init(&db->cache, handle,
                                          cached > 0 ? cached : DEFAULT_CACHED_STATEMENTS);
    if (status != LL_OK) {
        lli_error_set(error, status, "out of memory while opening a connection");
        return status;
    }
    lli_guard_install(&db->guard, handle);
    lli_udf_list_init(&db->udfs, handle, &db->guard);
    db->cache.udfs = &db->udfs;
    memset(&db->snapshot, 0, sizeof db->snapshot);
    db->handle = handle;
    db->mutex = lli_sq.db_mutex(handle);
    return LL_OK;
}

/* Reads the file's header. BUSY and LOCKED say nothing about the file. */
static ll_status probe(struct lli_db *db, struct lli_error *error)
{
    struct lli_stmt *stmt;
    static const char sql[] = "PRAGMA schema_version";
    LL_TRY(lli_stmt_take(&db->cache, sql, sizeof sql - 1, &stmt, error));
    int rc = lli_sq.step(stmt->raw);
    int primary = rc & 0xff;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE && primary != SQLITE_BUSY && primary != SQLITE_LOCKED)
        lli_error_from_sqlite(error, db->handle, rc);
    lli_stmt_give(&db->cache, stmt);
    return error->pub.status;
}

ll_status lli_db_open(struct lli_db *db, const char *path, const ll_open_options *options,
                      struct lli_error *error)
{
    const char *vfs = options->vfs ? options->vfs : LLI_VFS_NAME;
    sqlite3 *handle = NULL;
    struct stat info;
    if (!options->vfs && stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        lli_error_set(error, LL_ESQL, "unable to open database file: %s is a directory", path);
        error->pub.sqlite_code = SQLITE_CANTOPEN_ISDIR;
        return LL_ESQL;
    }
    int rc = lli_sq.open_v2(path, &handle, open_flags(options->flags), vfs);
    if (rc != SQLITE_OK) {
        lli_error_from_sqlite(error, handle, rc);
        lli_sq.close_v2(handle);
        return error->pub.status;
    }
    db->adopted = false;
    if (start(db, handle, options->cached_statements, error) != LL_OK) {
        lli_sq.close_v2(handle);
        return error->pub.status;
    }
    if (probe(db, error) != LL_OK) {
        struct lli_error ignored = {0};
        lli_db_close(db, &ignored);
        lli_error_done(&ignored);
        return error->pub.status;
    }
    return LL_OK;
}

ll_status lli_db_adopt(struct lli_db *db, sqlite3 *handle, size_t cached_statements,
                       struct lli_error *error)
{
    db->adopted = true;
    return start(db, handle, cached_statements, error);
}

sqlite3 *lli_db_release(struct lli_db *db)
{
    sqlite3 *handle = db->handle;
    lli_snapshot_done(db);
    lli_stmtcache_done(&db->cache);
    lli_udf_list_done(&db->udfs, !db->adopted);
    lli_guard_remove(&db->guard);
    db->handle = NULL;
    return handle;
}

ll_status lli_db_close(struct lli_db *db, struct lli_error *error)
{
    sqlite3 *handle = lli_db_release(db);
    int rc = lli_sq.close(handle);
    if (rc == SQLITE_BUSY) {
        /* Somebody forgot statements. Not before it was tried: virtual tables have some of their own, which
         * closing lets go of first, even if it fails ([M] FTS5 and R*Tree: a double free). */
        sqlite3_stmt *left;
        while ((left = lli_sq.next_stmt(handle, NULL)) != NULL)
            lli_sq.finalize(left);
        rc = lli_sq.close(handle);
    }
    if (rc == SQLITE_OK)
        return LL_OK;
    lli_error_from_sqlite(error, handle, rc); /* a blob or a backup of the caller's is still open */
    lli_sq.close_v2(handle);
    return error->pub.status;
}

int64_t lli_db_changes(const struct lli_db *db)
{
    return lli_sq.changes64 ? lli_sq.changes64(db->handle) : lli_sq.changes(db->handle);
}

int64_t lli_db_total_changes(const struct lli_db *db)
{
    return lli_sq.total_changes64 ? lli_sq.total_changes64(db->handle)
                                  : lli_sq.total_changes(db->handle);
}

bool lli_db_in_transaction(const struct lli_db *db)
{
    return !lli_sq.get_autocommit(db->handle);
}
