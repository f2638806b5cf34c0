/* blob.h: one value of a row, read and written in pieces, without its whole in memory.
 *
 * A blob is open on its connection like a cursor: as long as it is, it holds a read transaction, and a writable one holds
 * the write lock of its file from when it was opened. Outside a transaction what was written is committed when
 * the blob is closed. Requests on it run in their order among all requests of the connection.
 *
 * A blob expires when its row is changed by anything else than the blob, or its transaction is rolled back: reading and
 * writing then fail with LL_ESQL and SQLITE_ABORT. It is ended with its connection: when that is closed (what
 * was written stays) and, on a connection of a pool, with the lease. */
#ifndef LOOPLITE_BLOB_H
#define LOOPLITE_BLOB_H

#include <looplite/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An open value, read and written in parts: made by ll_blob_open(), given back with ll_blob_free(). */
typedef struct ll_blob_handle ll_blob_handle;

/* Which value. Zero-initialise. */
typedef struct ll_blob_place {
    const char *schema; /* NULL: "main"; "temp", or the name that a file was attached by */
    const char *table, *column;
    int64_t rowid;
    bool writable;
} ll_blob_place;

/* Opens a value; ll_request_take_blob() gives the handle. A writable one waits for the write lock as a statement that
 * writes would.
 * Thread: any. Owns: as ll_conn_submit(); the names are copied. Errors: at once LL_EINVAL (a name is NULL), LL_ECLOSED,
 * LL_ENOMEM, LL_EFORK; of the request: LL_ESQL (no such table, column or row; a number or NULL, which cannot be opened;
 * a column that is indexed cannot be written), LL_EBUSY, LL_ETIMEOUT, LL_ECANCELLED. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_blob_open(ll_conn *conn, const ll_blob_place *place,
                                           const ll_submit *how, ll_request **ret_request);

/* Takes the handle out of a finished ll_blob_open() request.
 * Thread: any, one at a time. Owns: the caller gives it back with ll_blob_free(); one that is not taken is closed with
 * the request. Errors: NULL if there is none. Since: 0.1 */
LL_API ll_blob_handle *ll_request_take_blob(ll_request *request);

/* How many bytes the value has. It is what it was when the blob was opened, or last reopened: a blob cannot change its
 * size.
 * Thread: any. Owns: nothing. Errors: NULL gives 0. Since: 0.1 */
LL_API size_t ll_blob_size(const ll_blob_handle *blob);

/* Reads `size` bytes from `offset` on; ll_request_bytes() gives them. A long read can be cancelled.
 * Thread: any. Owns: as ll_conn_submit(); the bytes are the request's. Errors: as ll_conn_submit(), but for what
 * concerns a text; LL_ECLOSED (the blob is closed); of the request: LL_EINVAL (the value ends before), LL_ESQL with
 * SQLITE_ABORT (it has expired). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_blob_read(ll_blob_handle *blob, size_t offset, size_t size,
                                           const ll_submit *how, ll_request **ret_request);

/* Writes `size` bytes at `offset`. They are copied unless LL_SUBMIT_BORROW. A write that runs ends by itself, unless
 * LL_SUBMIT_INTERRUPT: then part of it may stand, and the outcome is LL_UNKNOWN.
 * Thread: any. Owns: as ll_conn_submit(). Errors: as ll_blob_read(); LL_ESQL with SQLITE_READONLY (it was not opened
 * to be written). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_blob_write(ll_blob_handle *blob, size_t offset, const void *bytes,
                                            size_t size, const ll_submit *how,
                                            ll_request **ret_request);

/* Moves the blob to the same column of another row, which is faster than opening anew. If that fails the blob has
 * expired.
 * Thread: any. Owns: as ll_conn_submit(). Errors: as ll_blob_read(); LL_ESQL (no such row, or not a value that can be
 * opened). Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_blob_reopen(ll_blob_handle *blob, int64_t rowid,
                                             const ll_submit *how, ll_request **ret_request);

/* Closes the blob; outside a transaction this commits what was written, and tells whether that went well: if not, it
 * was rolled back. Cannot be dropped by cancelling. One that is closed already gives LL_OK.
 * Thread: any. Owns: nothing; the handle is still to be given back. Errors: LL_EBUSY, LL_ESQL; LL_ECLOSED when the
 * connection was closed, and the blob with it. Since: 0.1 */
LL_API LL_NODISCARD ll_status ll_blob_close(ll_blob_handle *blob, const ll_submit *how,
                                            ll_request **ret_request);

/* Gives the handle back. An open blob is closed behind what was submitted before; nobody is told how.
 * Thread: any. Owns: takes the handle; NULL is fine. Errors: none, it needs no memory. After fork: frees nothing.
 * Since: 0.1 */
LL_API void ll_blob_free(ll_blob_handle *blob);

#ifdef __cplusplus
}
#endif
#endif
