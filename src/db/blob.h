/* blob.h: reading and writing an open blob in slices. Owner of the connection only. */
#ifndef LLI_DB_BLOB_H
#define LLI_DB_BLOB_H

#include "base/status.h"
#include "db/guard.h"

/* Reads or writes `size` bytes at `offset`; *ret_done says how many were. SQLITE_OK, SQLite's error, or
 * SQLITE_INTERRUPT with guard->stopped set: the guard, which must be armed, has ended it between two slices. */
int lli_blob_read(sqlite3_blob *blob, struct lli_guard *guard, size_t offset, void *bytes,
                  size_t size, size_t *ret_done);
int lli_blob_write(sqlite3_blob *blob, struct lli_guard *guard, size_t offset, const void *bytes,
                   size_t size, size_t *ret_done);

/* If `code` says that the blob has expired: sets the error, which SQLite has only "query aborted" for. */
bool lli_blob_expired(struct lli_error *error, int code);

#endif
