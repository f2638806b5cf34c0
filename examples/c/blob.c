/* blob.c: a value that is too large to lie in memory whole, written and read in pieces.
 *
 *     cc blob.c $(pkg-config --cflags --libs looplite) && ./a.out */
#include <looplite.h>

#include <stdio.h>
#include <string.h>

enum {
    PIECE = 64 * 1024,
    PIECES = 16
};

/* What a submission came to: refused, or accepted and waited for. */
static int finished(ll_status status, ll_request *request)
{
    if (status >= 0)
        status = ll_request_wait(request);
    if (status == LL_OK)
        return 1;
    fprintf(stderr, "%s: %s\n", ll_status_name(status),
            request ? ll_request_error(request)->message : ll_last_error());
    return 0;
}

static int run(ll_conn *conn, const char *text)
{
    ll_request *request = NULL;
    ll_status status = ll_exec(conn, text, NULL, 0, NULL, &request);
    int fine = finished(status, request);
    ll_request_unref(request);
    return fine;
}

static ll_blob_handle *open_blob(ll_conn *conn, bool writable)
{
    ll_blob_place place = {.table = "file", .column = "content", .rowid = 1, .writable = writable};
    ll_request *request = NULL;
    ll_status status = ll_blob_open(conn, &place, NULL, &request);
    (void)finished(status, request);
    ll_blob_handle *blob = ll_request_take_blob(request); /* NULL if it failed */
    ll_request_unref(request);
    return blob;
}

/* The room is made by the statement that makes the row: a blob cannot change its size. */
static int write_it(ll_conn *conn)
{
    static char piece[PIECE];
    ll_request *close = NULL;
    if (!run(conn, "INSERT INTO file(id, content) VALUES(1, zeroblob(16 * 65536))"))
        return 0;
    ll_blob_handle *blob = open_blob(conn, true);
    int fine = blob != NULL;
    for (size_t i = 0; fine && i < PIECES; i++) {
        ll_request *write = NULL;
        memset(piece, 'a' + (int)i, PIECE);
        ll_status status = ll_blob_write(blob, i * PIECE, piece, PIECE, NULL, &write);
        fine = finished(status, write);
        ll_request_unref(write);
    }
    if (blob) { /* which commits, and tells whether it could */
        ll_status status = ll_blob_close(blob, NULL, &close);
        fine = finished(status, close) && fine;
    }
    ll_request_unref(close);
    ll_blob_free(blob);
    return fine;
}

static int read_it(ll_conn *conn)
{
    ll_blob_handle *blob = open_blob(conn, false);
    int fine = blob != NULL;
    for (size_t i = 0; fine && i < PIECES; i++) {
        ll_request *read = NULL;
        ll_status status = ll_blob_read(blob, i * PIECE, PIECE, NULL, &read);
        fine = finished(status, read);
        if (fine) {
            size_t size;
            const char *bytes = ll_request_bytes(read, &size); /* as long as the request */
            putchar(bytes[0]);
            fine = size == PIECE && bytes[0] == (char)('a' + (int)i);
        }
        ll_request_unref(read);
    }
    putchar('\n');
    ll_blob_free(blob);
    return fine;
}

int main(void)
{
    ll_engine *engine = NULL;
    ll_conn *conn = NULL;
    ll_request *open = NULL;
    if (ll_engine_new(NULL, &engine) != LL_OK)
        return 1;
    ll_status status = ll_conn_open(engine, ":memory:", NULL, NULL, &conn, &open);
    int fine = finished(status, open) &&
               run(conn, "CREATE TABLE file(id INTEGER PRIMARY KEY, content BLOB)") &&
               write_it(conn) && read_it(conn);
    ll_request_unref(open);
    ll_conn_unref(conn);
    ll_engine_free(engine);
    return fine ? 0 : 1;
}
