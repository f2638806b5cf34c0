/* serialize.c: a database as bytes.
 *
 * sqlite3_serialize() gives its copy in memory of SQLite's, which the request keeps and gives back by SQLite: no second
 * copy is made. It does not tell of pages that could not be read, and leaves zeros in their place; so the VFS counts
 * the reads that failed on this thread, and if there was one the copy is thrown away.
 *
 * sqlite3_deserialize() takes memory of SQLite's, which belongs to the database from then on (also if it fails). It
 * closes the file that was there; so what the connection knew of it (its guard, its gate, its WAL, its history) is
 * forgotten first, and looked for anew behind the request. Some versions of SQLite ([M] 3.40) close it under a statement
 * that reads it: whether there is one is looked at before. A database that was in WAL mode says so in two bytes of
 * its header, with which it could not be opened in memory, where there is no WAL; they are set back, as SQLite's
 * documentation tells programs to do. */
#include "db/sqlerror.h"
#include "db/vfs_shim.h"
#include "engine/resident.h"
#include "engine/run.h"
#include "engine/task.h"

#include <looplite/serialize.h>

#include <string.h>
#include <strings.h>

struct copying {
    const char *schema;
    const void *bytes;
    size_t size;
    unsigned flags;
};

/* SQLite has not got it. */
static ll_status lacks(const char *caller, const char *function)
{
    return lli_refuse(LL_ESQL,
                      "%s: this SQLite (%s) has no %s(): it needs 3.36 or newer, or one that was "
                      "built with SQLITE_ENABLE_DESERIALIZE",
                      caller, lli_sq.libversion(), function);
}

/* ---- out ---- */

static int run_serialize(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    const struct copying *copying = lli_task_data(request);
    sqlite3 *db = conn->db.handle;
    sqlite3_int64 size = -1;
    request->read_only = true;
    request->outcome = LL_NOT_APPLIED;
    lli_run_arm(conn, request, true, false);
    unsigned failed = lli_vfs_failed_reads;
    unsigned char *bytes = lli_sq.serialize(db, copying->schema, &size, 0);
    if (lli_vfs_failed_reads != failed) {
        lli_sq.free(bytes);
        lli_error_set(&request->error, LL_ESQL, "%s", lli_sq.errstr(SQLITE_IOERR_READ));
        request->error.pub.sqlite_code = SQLITE_IOERR_READ;
        return LLI_RUN_DONE;
    }
    if (bytes || size == 0) {
        request->bytes = bytes;
        request->size = (size_t)size;
        request->free_bytes = lli_sq.free;
        request->outcome = LL_APPLIED;
        return LLI_RUN_DONE;
    }
    if (size > 0) {
        lli_error_set(&request->error, LL_ENOMEM, "out of memory for a database of %lld bytes",
                      (long long)size);
        return LLI_RUN_DONE;
    }
    int rc = lli_sq.extended_errcode(db);
    conn->db.guard.lock_asked = true; /* as in run_sql.c: preparing may not ask */
    if (lli_run_should_park(conn, request, rc, LLI_KIND_OTHER, ret_park_ns))
        return LLI_RUN_PARK;
    if (lli_run_met_lock(conn, rc) || (rc & 0xff) == SQLITE_INTERRUPT)
        lli_run_fail(conn, request, rc, false);
    else
        lli_error_set(&request->error, LL_ESQL, "the database \"%s\" cannot be serialized: %s",
                      copying->schema,
                      rc == SQLITE_OK ? "there is none of this name" : lli_sq.errmsg(db));
    if (request->error.pub.sqlite_code == 0)
        request->error.pub.sqlite_code = rc == SQLITE_OK ? SQLITE_ERROR : rc;
    return LLI_RUN_DONE;
}

static const struct lli_task_ops serialize_ops = {
    .name = "ll_serialize()",
    .run = run_serialize,
    .kind = LLI_KIND_SELECT,
    .timed = true,
};

/* ---- in ---- */

/* Bytes 18 and 19: what it takes to write and to read it. */
static void leave_wal_mode(unsigned char *bytes, size_t size)
{
    enum {
        WRITE_VERSION = 18,
        READ_VERSION = 19,
        ROLLBACK = 1,
        WAL = 2
    };
    if (size <= READ_VERSION || bytes[WRITE_VERSION] != WAL || bytes[READ_VERSION] != WAL)
        return;
    bytes[WRITE_VERSION] = bytes[READ_VERSION] = ROLLBACK;
}

/* Nothing of the file is known any more, nor is it used. */
static void forget_file(ll_conn *conn)
{
    lli_snapshot_allow(&conn->db, NULL);
    conn->can_inline = conn->writes_late = conn->cookie_known = false;
    conn->file_key = 0;
}

static int run_deserialize(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    struct copying *copying = lli_task_data(request);
    (void)ret_park_ns;
    request->outcome = LL_NOT_APPLIED;
    if (lli_snapshot_held(&conn->db.snapshot))
        lli_snapshot_release(&conn->db);
    if (lli_resident_any(conn) ||
        lli_sq.txn_state(conn->db.handle, copying->schema) > SQLITE_TXN_NONE) {
        lli_error_set(&request->error, LL_EBUSY,
                      "the database \"%s\" is in use on this connection: by a transaction, a "
                      "cursor, a blob or a backup",
                      copying->schema);
        request->error.pub.sqlite_code = SQLITE_BUSY;
        return LLI_RUN_DONE;
    }
    /* SQLite refuses it since 3.36; before, it takes the bytes, and frees them twice. */
    if (strcasecmp(copying->schema, "temp") == 0) {
        lli_error_set(&request->error, LL_ESQL, "the database \"temp\" cannot be replaced");
        request->error.pub.sqlite_code = SQLITE_ERROR;
        return LLI_RUN_DONE;
    }
    unsigned char *bytes = lli_sq.malloc64(copying->size > 0 ? copying->size : 1);
    if (!bytes) {
        lli_error_set(&request->error, LL_ENOMEM, "out of memory for a database of %zu bytes",
                      copying->size);
        return LLI_RUN_DONE;
    }
    if (copying->size > 0)
        memcpy(bytes, copying->bytes, copying->size);
    leave_wal_mode(bytes, copying->size);
    lli_run_arm(conn, request, true, false);
    forget_file(conn);
    unsigned flags = SQLITE_DESERIALIZE_FREEONCLOSE;
    flags |= copying->flags & LL_DESERIALIZE_READONLY ? SQLITE_DESERIALIZE_READONLY
                                                      : SQLITE_DESERIALIZE_RESIZEABLE;
    sqlite3_int64 size = (sqlite3_int64)copying->size;
    int rc = lli_sq.deserialize(conn->db.handle, copying->schema, bytes, size, size, flags);
    if (rc == SQLITE_OK)
        request->outcome = LL_APPLIED;
    else
        lli_run_fail(conn, request, rc, false);
    return LLI_RUN_DONE;
}

static const struct lli_task_ops deserialize_ops = {
    .name = "ll_deserialize()",
    .run = run_deserialize,
    .kind = LLI_KIND_PRAGMA,
    .timed = true,
    .stays = true,
};

/* ---- the calls ---- */

static ll_status new_request(ll_conn *conn, const struct lli_task_ops *ops, const char *schema,
                             const ll_submit *how, ll_request **ret_request, const char *caller,
                             ll_request **ret_new)
{
    LL_TRY(lli_task_new(conn, ops, sizeof(struct copying), how, ret_request, caller, ret_new));
    struct copying *copying = lli_task_data(*ret_new);
    if (!schema)
        schema = "main";
    if (lli_submit_text(*ret_new, schema, strlen(schema), &copying->schema) != LL_OK)
        return lli_task_no_memory(*ret_new, caller);
    return LL_OK;
}

ll_status ll_serialize(ll_conn *conn, const char *schema, const ll_submit *how,
                       ll_request **ret_request)
{
    static const char caller[] = "ll_serialize";
    ll_request *request;
    LL_TRY(lli_sqlite_ready());
    if (!lli_sq.serialize)
        return lacks(caller, "sqlite3_serialize");
    LL_TRY(new_request(conn, &serialize_ops, schema, how, ret_request, caller, &request));
    return lli_submit(request, ret_request);
}

ll_status ll_deserialize(ll_conn *conn, const char *schema, const void *bytes, size_t size,
                         unsigned flags, const ll_submit *how, ll_request **ret_request)
{
    static const char caller[] = "ll_deserialize";
    ll_request *request;
    LL_TRY(lli_sqlite_ready());
    if (!lli_sq.deserialize)
        return lacks(caller, "sqlite3_deserialize");
    if (!bytes && size > 0)
        return lli_refuse(LL_EINVAL, "%s: bytes is NULL, but size is %zu", caller, size);
    if (size > INT64_MAX)
        return lli_refuse(LL_EINVAL, "%s: no database has %zu bytes", caller, size);
    if (flags & ~(unsigned)LL_DESERIALIZE_READONLY)
        return lli_refuse(LL_EINVAL, "%s: flags has unknown bits: 0x%x", caller,
                          flags & ~(unsigned)LL_DESERIALIZE_READONLY);
    LL_TRY(new_request(conn, &deserialize_ops, schema, how, ret_request, caller, &request));
    struct copying *copying = lli_task_data(request);
    const char *copy;
    if (lli_submit_text(request, bytes, size, &copy) != LL_OK)
        return lli_task_no_memory(request, caller);
    copying->bytes = copy;
    copying->size = size;
    copying->flags = flags;
    return lli_submit(request, ret_request);
}
