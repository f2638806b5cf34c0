/* fuzz_file.c: database files that are damaged or made up: errors, no crash, no hang, nothing left over.
 *
 * Input: two bytes for the length of the database, then the database, then what follows is its WAL. It is opened, read as
 * one result and as a stream, checked, written to in a transaction, and closed. SQLite finds what is wrong with a file;
 * looplite's part is what it reads itself (the header, the wal-index) and what it does with the errors. */
#include "fuzz.h"

#include <unistd.h>

static void write_file(const char *path, const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    T_CHECK(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

static void run(struct fuzz_world *w, ll_conn *conn, const char *text, unsigned flags)
{
    ll_request *request = NULL;
    ll_sql sql = {.text = text, .size = LL_NUL_TERMINATED, .flags = flags, .first_rows = 2};
    ll_submit how = {.flags = LL_SUBMIT_INTERRUPT};
    ll_status status = fuzz_wait(w, ll_conn_submit(conn, &sql, &how, &request), request);
    ll_cursor *cursor = status == LL_OK ? ll_request_take_cursor(request) : NULL;
    for (int i = 0; cursor && i < 20; i++) {
        ll_request_unref(request);
        request = NULL;
        status = fuzz_wait(w, ll_cursor_next(cursor, &how, &request), request);
        ll_batch *batch = request ? ll_request_take_batch(request) : NULL;
        bool more = status == LL_OK && batch;
        ll_batch_free(batch);
        if (!more)
            break;
    }
    if (cursor)
        ll_cursor_close(cursor);
    ll_request_unref(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[300], name[340];
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    struct fuzz_world w;
    struct fuzz_input in = {data, size};
    if (!path[0]) {
        const char *base = getenv("TMPDIR");
        snprintf(path, sizeof path, "%s/looplite-fuzz-%ld", base && *base ? base : "/tmp",
                 (long)getpid());
    }
    fuzz_begin(&w);
    size_t length = fuzz_byte(&in) << 8;
    length |= fuzz_byte(&in);
    if (length > in.size)
        length = in.size;
    write_file(path, in.data, length);
    if (in.size > length) {
        snprintf(name, sizeof name, "%s-wal", path);
        write_file(name, in.data + length, in.size - length);
    }
    ll_conn *conn = fuzz_open(&w, path, &(ll_open_options){.busy_timeout_ns = 10 * T_MS});
    if (conn) {
        for (int i = 0; i < 2; i++) { /* the second time on the loop, if that goes */
            run(&w, conn, "SELECT * FROM sqlite_master", 0);
            run(&w, conn, "SELECT * FROM t", LL_SQL_STREAM);
            run(&w, conn, "SELECT * FROM t WHERE rowid = 1", 0);
        }
        run(&w, conn, "PRAGMA integrity_check(3)", 0);
        run(&w, conn, "BEGIN IMMEDIATE", 0);
        run(&w, conn, "INSERT INTO t VALUES(99, 'new')", 0);
        run(&w, conn, "UPDATE t SET rowid = rowid + 1 WHERE rowid = 1", 0);
        run(&w, conn, "COMMIT", 0);
        run(&w, conn, "ROLLBACK", 0);
        run(&w, conn, "PRAGMA wal_checkpoint(TRUNCATE)", 0);
        ll_conn_unref(conn);
    }
    fuzz_end(&w);
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    return 0;
}
