/* point_read.c: a point read through the C API, or by a bare sqlite3_step loop in autocommit mode.
 *
 *     point_read looplite|bare DATABASE ROWS SECONDS
 *
 * Both prepare once, then bind a key and read the three columns of its row, in blocks of 64, until the
 * time is over; the first tenth is warm-up. Prints {"ns": of one read, "reads": how many} as JSON,
 * for looplite with "inline", the share of requests that were finished when their submission returned.
 * The time between two blocks is a turn of a loop: looplite dispatches there, as in a program. */
#include <looplite.h>
#include <looplite/sqlite.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SQL   "SELECT name, price, stock FROM item WHERE id = ?"
#define BLOCK 64

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* What is read is added up here, so that no compiler leaves it out. */
static volatile int64_t read_bytes;

/* The same keys for both: a linear congruential generator. */
static int64_t next_key(int64_t rows)
{
    static uint64_t state = 20240229;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int64_t)((state >> 33) % (uint64_t)rows) + 1;
}

/* One way of reading: a block of reads, nonzero on failure. */
typedef int (*block_fn)(void *arg, int64_t rows);

struct timing {
    double ns;
    uint64_t reads;
};

/* Runs blocks until `seconds` are over and divides. */
static int measure(block_fn block, void *arg, int64_t rows, double seconds, struct timing *ret)
{
    double end = now() + seconds * 1e8, began;
    while (now() < end) {
        if (block(arg, rows))
            return 1;
    }
    ret->reads = 0;
    began = now();
    end = began + seconds * 1e9;
    while (now() < end) {
        if (block(arg, rows))
            return 1;
        ret->reads += BLOCK;
    }
    ret->ns = (now() - began) / (double)ret->reads;
    return 0;
}

static int bare_block(void *arg, int64_t rows)
{
    sqlite3_stmt *stmt = arg;
    for (int i = 0; i < BLOCK; i++) {
        sqlite3_bind_int64(stmt, 1, next_key(rows));
        if (sqlite3_step(stmt) != SQLITE_ROW)
            return 1;
        const unsigned char *name = sqlite3_column_text(stmt, 0);
        read_bytes += sqlite3_column_bytes(stmt, 0) + name[0] +
                      (int64_t)sqlite3_column_double(stmt, 1) + sqlite3_column_int64(stmt, 2);
        if (sqlite3_step(stmt) != SQLITE_DONE || sqlite3_reset(stmt) != SQLITE_OK)
            return 1;
    }
    return 0;
}

static int bare(const char *path, int64_t rows, double seconds)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    struct timing t;
    int failed = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
                 sqlite3_prepare_v3(db, SQL, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) !=
                     SQLITE_OK ||
                 measure(bare_block, stmt, rows, seconds, &t);
    if (failed)
        fprintf(stderr, "point_read: %s\n", sqlite3_errmsg(db));
    else
        printf("{\"ns\": %.1f, \"reads\": %" PRIu64 "}\n", t.ns, t.reads);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return failed;
}

/* Waits if it must; nonzero on failure. Takes the request by its address: a call that sets it may be
 * another argument of the same call, and arguments are evaluated in any order. */
static int finish(ll_status status, ll_request *const *request)
{
    if (status == LL_PENDING)
        status = ll_request_wait(*request);
    if (status == LL_OK)
        return 0;
    fprintf(stderr, "point_read: %s\n",
            *request ? ll_request_error(*request)->message : ll_last_error());
    return 1;
}

struct own {
    ll_engine *engine;
    ll_stmt *stmt;
};

static int own_block(void *arg, int64_t rows)
{
    struct own *own = arg;
    for (int i = 0; i < BLOCK; i++) {
        ll_value key = ll_integer(next_key(rows));
        ll_params params = {.values = &key, .count = 1};
        ll_request *request = NULL;
        const ll_batch *lent = NULL;
        ll_batch *taken = NULL;
        ll_status status = ll_stmt_read(own->stmt, &params, NULL, &lent, &request);
        if (!lent && finish(status, &request) == 0)
            lent = taken = ll_request_take_batch(request);
        const ll_value *row = ll_batch_row(lent, 0);
        if (row)
            read_bytes += row[0].size + row[0].as.text[0] + (int64_t)row[1].as.real +
                          row[2].as.integer;
        ll_batch_free(taken);
        ll_request_unref(request);
        if (!row)
            return 1;
    }
    return ll_engine_dispatch(own->engine, NULL) != LL_OK;
}

static int looplite(const char *path, int64_t rows, double seconds)
{
    struct own own = {NULL, NULL};
    ll_conn *conn = NULL;
    ll_request *opened = NULL, *prepared = NULL;
    struct timing t;
    int failed = ll_engine_new(NULL, &own.engine) != LL_OK ||
                 finish(ll_conn_open(own.engine, path, NULL, NULL, &conn, &opened), &opened) ||
                 finish(ll_prepare(conn, SQL, LL_NUL_TERMINATED, NULL, &prepared), &prepared);
    if (!failed) {
        ll_stats before, after;
        own.stmt = ll_request_take_stmt(prepared);
        ll_engine_get_stats(own.engine, &before);
        failed = measure(own_block, &own, rows, seconds, &t);
        ll_engine_get_stats(own.engine, &after);
        if (!failed)
            printf("{\"ns\": %.1f, \"reads\": %" PRIu64 ", \"inline\": %.4f}\n", t.ns, t.reads,
                   (double)(after.immediate - before.immediate) /
                       (double)(after.submitted - before.submitted));
    }
    ll_stmt_free(own.stmt);
    ll_request_unref(prepared);
    ll_request_unref(opened);
    ll_conn_unref(conn);
    ll_engine_free(own.engine);
    return failed;
}

int main(int argc, char **argv)
{
    if (argc == 5) {
        int64_t rows = atoll(argv[3]);
        double seconds = atof(argv[4]);
        if (strcmp(argv[1], "bare") == 0 && rows > 0)
            return bare(argv[2], rows, seconds);
        if (strcmp(argv[1], "looplite") == 0 && rows > 0)
            return looplite(argv[2], rows, seconds);
    }
    fprintf(stderr, "usage: point_read looplite|bare DATABASE ROWS SECONDS\n");
    return 2;
}
