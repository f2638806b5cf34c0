/* blobio.c: blobs as requests.
 *
 *   ll_blob_open() -----> [ open ] --> ll_blob_handle, a resident of its connection
 *   ll_blob_read() ...    [ read ] [ write ] [ reopen ]        each a request in the connection's queue
 *   ll_blob_close()       [ close ]                            tells how the commit went
 *   ll_blob_free()        [ end ]                              lies inside the blob: needs no memory
 *
 * The handle of SQLite belongs to whoever owns the connection, and is NULL once it was closed: by `close`, by `end`, or
 * with the connection, by whoever finds it in the list of residents. Requests hold a reference each, so the memory of
 * a blob that was given back lasts until the last of them.
 *
 * A blob that is writable takes the write lock when it is opened, and keeps it: so opening one stands in line at the
 * gate of its file, and settling behind the request finds the connection writing, which keeps the place there, as
 * with a transaction. */
#include "base/alloc.h"
#include "db/blob.h"
#include "engine/resident.h"
#include "engine/run.h"
#include "engine/task.h"

#include <looplite/blob.h>

#include <limits.h>
#include <string.h>

struct ll_blob_handle {
    /* fixed after creation */
    ll_conn *conn;  /* a reference */
    unsigned lease; /* of a pool's connection, under which it was opened */
    bool writable;

    /* any thread */
    atomic_uint refs;   /* the handle's and each request's; the last unref is acq_rel */
    atomic_size_t size; /* relaxed; written by the owner */

    /* whoever owns the connection */
    struct lli_resident resident; /* its node: conn->mu */
    sqlite3_blob *raw;            /* NULL: closed, as `why` says */
    const char *why;              /* static */

    ll_request end; /* internal, in place: giving it back needs no memory */
};

/* What the requests keep in their own memory. */
struct opening {
    const char *schema, *table, *column;
    int64_t rowid;
    bool writable;
    ll_blob_handle *blob; /* until it is taken */
};

struct using
{
    ll_blob_handle *blob; /* a reference */
    size_t offset, size;
    const void *bytes;
    int64_t rowid;
};

static void blob_unref(ll_blob_handle *blob)
{
    if (atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) != 1)
        return;
    ll_conn *conn = blob->conn;
    lli_free(blob);
    lli_live(-1);
    lli_conn_unref(conn);
}

/* Owner. The handle is gone in any case. */
static int close_raw(ll_blob_handle *blob, const char *why)
{
    sqlite3_blob *raw = blob->raw;
    blob->raw = NULL;
    blob->why = why;
    return lli_sq.blob_close(raw);
}

static void cut(struct lli_resident *resident, const char *why)
{
    /* A commit that fails here is nobody's to be told: who wants to know closes the blob. */
    (void)close_raw(LLI_CONTAINER_OF(resident, ll_blob_handle, resident), why);
}

/* ---- opening ---- */

static ll_blob_handle *blob_new(ll_conn *conn, bool writable);

static int run_open(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    struct opening *opening = lli_task_data(request);
    lli_run_arm(conn, request, true, false);
    request->read_only = !opening->writable;
    request->outcome = LL_NOT_APPLIED;
    bool temp = strcmp(opening->schema, "temp") == 0;
    if (lli_run_must_wait(conn, request, opening->writable && !temp, LLI_KIND_SELECT, NULL, 0,
                          ret_park_ns))
        return LLI_RUN_PARK;
    ll_blob_handle *blob = blob_new(conn, opening->writable);
    if (!blob) {
        lli_error_set(&request->error, LL_ENOMEM, "out of memory for a blob");
        return LLI_RUN_DONE;
    }
    /* As run_sql.c: reading the schema does not ask the busy handler again that has declined before. */
    bool fresh = lli_sq.txn_state(conn->db.handle, NULL) == SQLITE_TXN_NONE;
    int rc = lli_sq.blob_open(conn->db.handle, opening->schema, opening->table, opening->column,
                              opening->rowid, opening->writable, &blob->raw);
    if (rc == SQLITE_OK) {
        atomic_store_explicit(&blob->size, (size_t)lli_sq.blob_bytes(blob->raw),
                              memory_order_relaxed);
        lli_resident_add(conn, &blob->resident);
        opening->blob = blob;
        request->outcome = LL_APPLIED;
        return LLI_RUN_DONE;
    }
    blob->raw = NULL;
    blob_unref(blob);
    conn->db.guard.lock_asked = conn->db.guard.lock_asked || fresh;
    if (lli_run_should_park(conn, request, rc, LLI_KIND_SELECT, ret_park_ns))
        return LLI_RUN_PARK;
    lli_run_fail(conn, request, rc, false);
    return LLI_RUN_DONE;
}

static void open_gone(ll_request *request)
{
    struct opening *opening = lli_task_data(request);
    ll_blob_free(opening->blob);
}

static const struct lli_task_ops open_ops = {
    .name = "ll_blob_open()",
    .run = run_open,
    .gone = open_gone,
    .kind = LLI_KIND_SELECT,
    .timed = true,
};

ll_status ll_blob_open(ll_conn *conn, const ll_blob_place *place, const ll_submit *how,
                       ll_request **ret_request)
{
    static const char caller[] = "ll_blob_open";
    if (!place)
        return lli_refuse(LL_EINVAL, "%s: place is NULL", caller);
    if (!place->table || !place->column)
        return lli_refuse(LL_EINVAL, "%s: place->%s is NULL", caller,
                          place->table ? "column" : "table");
    ll_request *request;
    LL_TRY(
        lli_task_new(conn, &open_ops, sizeof(struct opening), how, ret_request, caller, &request));
    struct opening *opening = lli_task_data(request);
    const char *schema = place->schema ? place->schema : "main";
    opening->rowid = place->rowid;
    opening->writable = place->writable;
    if (lli_submit_text(request, schema, strlen(schema), &opening->schema) != LL_OK ||
        lli_submit_text(request, place->table, strlen(place->table), &opening->table) != LL_OK ||
        lli_submit_text(request, place->column, strlen(place->column), &opening->column) != LL_OK)
        return lli_task_no_memory(request, caller);
    return lli_submit(request, ret_request);
}

ll_blob_handle *ll_request_take_blob(ll_request *request)
{
    if (!lli_task_is_done(request, &open_ops))
        return NULL;
    struct opening *opening = lli_task_data(request);
    ll_blob_handle *blob = opening->blob;
    opening->blob = NULL;
    return blob;
}

size_t ll_blob_size(const ll_blob_handle *blob)
{
    return blob ? atomic_load_explicit(&blob->size, memory_order_relaxed) : 0;
}

/* ---- using ---- */

/* The blob of a request that runs, if it can be used; else the request has its error. */
static ll_blob_handle *usable(ll_request *request)
{
    ll_blob_handle *blob = ((struct using *)lli_task_data(request))->blob;
    request->outcome = LL_NOT_APPLIED;
    if (blob->raw)
        return blob;
    lli_error_set(&request->error, LL_ECLOSED, "the blob is closed: %s", blob->why);
    return NULL;
}

/* Whether the bytes lie inside the value. */
static bool fits(ll_request *request, const ll_blob_handle *blob)
{
    const struct using *using = lli_task_data(request);
    size_t size = ll_blob_size(blob);
    if (using->offset <= size && using->size <= size - using->offset)
        return true;
    lli_error_set(&request->error, LL_EINVAL,
                  "%zu bytes at offset %zu do not lie in a value of %zu bytes", using->size,
                  using->offset, size);
    return false;
}

static void end_using(ll_conn *conn, ll_request *request, int rc, size_t written)
{
    if (rc == SQLITE_OK)
        request->outcome = LL_APPLIED;
    else if (lli_blob_expired(&request->error, rc))
        request->outcome = written > 0 ? LL_UNKNOWN : LL_NOT_APPLIED;
    else
        lli_run_fail(conn, request, rc, written > 0);
}

static int run_read(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    struct using *using = lli_task_data(request);
    ll_blob_handle *blob = usable(request);
    size_t done;
    (void)ret_park_ns;
    request->read_only = true;
    if (!blob || !fits(request, blob))
        return LLI_RUN_DONE;
    char *bytes = lli_resize(NULL, using->size + 1);
    if (!bytes) {
        lli_error_set(&request->error, LL_ENOMEM, "out of memory for %zu bytes of a blob",
                      using->size);
        return LLI_RUN_DONE;
    }
    lli_run_arm(conn, request, true, false);
    int rc = lli_blob_read(blob->raw, &conn->db.guard, using->offset, bytes, using->size, &done);
    end_using(conn, request, rc, 0);
    if (rc != SQLITE_OK) {
        lli_free(bytes);
        return LLI_RUN_DONE;
    }
    bytes[using->size] = '\0';
    request->bytes = bytes;
    request->size = using->size;
    request->free_bytes = lli_free;
    return LLI_RUN_DONE;
}

static int run_write(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    struct using *using = lli_task_data(request);
    ll_blob_handle *blob = usable(request);
    size_t done;
    (void)ret_park_ns;
    if (!blob || !fits(request, blob))
        return LLI_RUN_DONE;
    if (!blob->writable) {
        lli_error_set(&request->error, LL_ESQL, "the blob was opened for reading only");
        request->error.pub.sqlite_code = SQLITE_READONLY;
        return LLI_RUN_DONE;
    }
    lli_run_arm(conn, request, (request->flags & LL_SUBMIT_INTERRUPT) != 0, false);
    int rc = lli_blob_write(blob->raw, &conn->db.guard, using->offset, using->bytes, using->size,
                            &done);
    end_using(conn, request, rc, done);
    return LLI_RUN_DONE;
}

static int run_reopen(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    const struct using *using = lli_task_data(request);
    ll_blob_handle *blob = usable(request);
    (void)ret_park_ns;
    request->read_only = true;
    if (!blob)
        return LLI_RUN_DONE;
    lli_run_arm(conn, request, true, false);
    int rc = lli_sq.blob_reopen(blob->raw, using->rowid);
    if (rc == SQLITE_OK)
        atomic_store_explicit(&blob->size, (size_t)lli_sq.blob_bytes(blob->raw),
                              memory_order_relaxed);
    end_using(conn, request, rc, 0);
    return LLI_RUN_DONE;
}

static int run_close(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    ll_blob_handle *blob = ((struct using *)lli_task_data(request))->blob;
    (void)ret_park_ns;
    request->read_only = !blob->writable;
    request->outcome = LL_APPLIED;
    if (!blob->raw)
        return LLI_RUN_DONE;
    lli_run_arm(conn, request, false, true);
    (void)lli_resident_remove(conn, &blob->resident);
    int rc = close_raw(blob, "ll_blob_close() was called");
    if (rc != SQLITE_OK)
        lli_run_fail(conn, request, rc, false);
    return LLI_RUN_DONE;
}

static void using_gone(ll_request *request)
{
    struct using *using = lli_task_data(request);
    if (using->blob)
        blob_unref(using->blob);
}

#define USING(called, runs, ending)                                               \
    {                                                                             \
        .name = called, .run = runs, .gone = using_gone, .kind = LLI_KIND_SELECT, \
        .timed = !(ending), .ends = ending                                        \
    }

static const struct lli_task_ops read_ops = USING("ll_blob_read()", run_read, false);
static const struct lli_task_ops write_ops = USING("ll_blob_write()", run_write, false);
static const struct lli_task_ops reopen_ops = USING("ll_blob_reopen()", run_reopen, false);
static const struct lli_task_ops close_ops = USING("ll_blob_close()", run_close, true);

static ll_status using_new(ll_blob_handle *blob, const struct lli_task_ops *ops,
                           const ll_submit *how, ll_request **ret_request, const char *caller,
                           ll_request **ret_new)
{
    if (!blob)
        return lli_refuse(LL_EINVAL, "%s: blob is NULL", caller);
    LL_TRY(lli_engine_check(blob->conn->engine, caller));
    if (blob->lease != atomic_load_explicit(&blob->conn->tenant.lease, memory_order_relaxed))
        return lli_refuse(LL_ECLOSED, "%s: the lease under which it was opened has ended", caller);
    LL_TRY(lli_task_new(blob->conn, ops, sizeof(struct using), how, ret_request, caller, ret_new));
    struct using *using = lli_task_data(*ret_new);
    using->blob = blob;
    atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    return LL_OK;
}

ll_status ll_blob_read(ll_blob_handle *blob, size_t offset, size_t size, const ll_submit *how,
                       ll_request **ret_request)
{
    ll_request *request;
    LL_TRY(using_new(blob, &read_ops, how, ret_request, "ll_blob_read", &request));
    struct using *using = lli_task_data(request);
    using->offset = offset;
    using->size = size;
    return lli_submit(request, ret_request);
}

ll_status ll_blob_write(ll_blob_handle *blob, size_t offset, const void *bytes, size_t size,
                        const ll_submit *how, ll_request **ret_request)
{
    static const char caller[] = "ll_blob_write";
    if (!bytes && size > 0)
        return lli_refuse(LL_EINVAL, "%s: bytes is NULL, but size is %zu", caller, size);
    if (size > INT_MAX)
        return lli_refuse(LL_EINVAL, "%s: no value has %zu bytes", caller, size);
    ll_request *request;
    LL_TRY(using_new(blob, &write_ops, how, ret_request, caller, &request));
    struct using *using = lli_task_data(request);
    const char *copy;
    using->offset = offset;
    using->size = size;
    if (lli_submit_text(request, bytes, size, &copy) != LL_OK)
        return lli_task_no_memory(request, caller);
    using->bytes = copy;
    return lli_submit(request, ret_request);
}

ll_status ll_blob_reopen(ll_blob_handle *blob, int64_t rowid, const ll_submit *how,
                         ll_request **ret_request)
{
    ll_request *request;
    LL_TRY(using_new(blob, &reopen_ops, how, ret_request, "ll_blob_reopen", &request));
    ((struct using *)lli_task_data(request))->rowid = rowid;
    return lli_submit(request, ret_request);
}

/* ---- ending ---- */

ll_status ll_blob_close(ll_blob_handle *blob, const ll_submit *how, ll_request **ret_request)
{
    ll_request *request;
    LL_TRY(using_new(blob, &close_ops, how, ret_request, "ll_blob_close", &request));
    request->flags |= LL_SUBMIT_SHIELD;
    return lli_submit(request, ret_request);
}

static int run_end(ll_conn *conn, ll_request *request, uint64_t *ret_park_ns)
{
    ll_blob_handle *blob = LLI_CONTAINER_OF(request, ll_blob_handle, end);
    (void)ret_park_ns;
    if (!blob->raw)
        return LLI_RUN_DONE;
    if (conn->db.adopted)
        lli_own_install_guard(conn);
    lli_run_arm(conn, request, false, true);
    (void)lli_resident_remove(conn, &blob->resident);
    (void)close_raw(blob, "it was given back");
    return LLI_RUN_DONE;
}

static void end_gone(ll_conn *conn, ll_request *request)
{
    (void)conn;
    blob_unref(LLI_CONTAINER_OF(request, ll_blob_handle, end));
}

static ll_blob_handle *blob_new(ll_conn *conn, bool writable)
{
    ll_blob_handle *blob = lli_new(sizeof *blob);
    if (!blob)
        return NULL;
    blob->conn = lli_conn_ref(conn);
    blob->lease = atomic_load_explicit(&conn->tenant.lease, memory_order_relaxed);
    blob->writable = writable;
    atomic_init(&blob->refs, 1);
    blob->resident.cut = cut;
    lli_request_init_internal(&blob->end, conn, LLI_OP_LEAVE);
    blob->end.in.chore.run = run_end;
    blob->end.in.chore.end = end_gone;
    lli_live(+1);
    return blob;
}

void ll_blob_free(ll_blob_handle *blob)
{
    if (!blob || lli_engine_foreign(blob->conn->engine))
        return;
    ll_status status = lli_conn_enqueue(blob->conn, &blob->end);
    assert(status == LL_OK); /* internal requests are always admitted */
    (void)status;
}
