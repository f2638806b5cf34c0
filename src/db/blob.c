/* blob.c: a blob in slices.
 *
 * sqlite3_blob_read() and sqlite3_blob_write() run no program, so SQLite asks no progress handler in them: a read of a
 * gigabyte from a cold disk could be stopped by nobody. So both are cut into slices, between which the guard is looked
 * at as the handler would. A slice costs SQLite a walk along the chain of overflow pages, unless it has their
 * numbers from the slice before, which it keeps. */
#include "db/blob.h"

#include "db/api.h"

enum {
    SLICE = 256 * 1024
};

/* The next slice; 0: there is none, or the guard has ended it, as *rc says. */
static int next_slice(struct lli_guard *guard, size_t left, int *rc)
{
    if (*rc != SQLITE_OK || left == 0)
        return 0;
    guard->stopped = lli_guard_check(guard);
    if (guard->stopped != LLI_STOP_NONE) {
        *rc = SQLITE_INTERRUPT;
        return 0;
    }
    return left < SLICE ? (int)left : SLICE;
}

int lli_blob_read(sqlite3_blob *blob, struct lli_guard *guard, size_t offset, void *bytes,
                  size_t size, size_t *ret_done)
{
    int rc = SQLITE_OK;
    size_t done = 0;
    for (int slice; (slice = next_slice(guard, size - done, &rc)) > 0;) {
        rc = lli_sq.blob_read(blob, (char *)bytes + done, slice, (int)(offset + done));
        done += rc == SQLITE_OK ? (size_t)slice : 0;
    }
    *ret_done = done;
    return rc;
}

int lli_blob_write(sqlite3_blob *blob, struct lli_guard *guard, size_t offset, const void *bytes,
                   size_t size, size_t *ret_done)
{
    int rc = SQLITE_OK;
    size_t done = 0;
    for (int slice; (slice = next_slice(guard, size - done, &rc)) > 0;) {
        rc = lli_sq.blob_write(blob, (const char *)bytes + done, slice, (int)(offset + done));
        done += rc == SQLITE_OK ? (size_t)slice : 0;
    }
    *ret_done = done;
    return rc;
}

bool lli_blob_expired(struct lli_error *error, int code)
{
    if ((code & 0xff) != SQLITE_ABORT)
        return false;
    lli_error_set(error, LL_ESQL,
                  "the blob has expired: its row was changed, or its transaction was rolled back; "
                  "close it and open it again");
    error->pub.sqlite_code = code;
    return true;
}
