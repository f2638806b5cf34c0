/* notes.c: a program that has looplite inside, compiled from one file, and waits with poll(). Two functions
 * of its own have names that looplite's sources use, too. It also uses a handle of its own, by the header
 * that needs sqlite3.h. */
#include <looplite.h>
#include <looplite_sqlite.h>

#include <poll.h>
#include <stdio.h>

/* Shared names of looplite's own files are static inside looplite.c: these do not clash. */
int lli_enqueue(void);
int lli_enqueue(void)
{
    return 7;
}

struct notes {
    ll_conn *conn;
    int answers;
    int64_t count;
    int failed;
};

static void on_count(ll_request *request, void *user)
{
    struct notes *notes = user;
    notes->answers++;
    if (ll_request_status(request) != LL_OK) {
        fprintf(stderr, "%s\n", ll_request_error(request)->message);
        notes->failed = 1;
        return;
    }
    for (ll_batch *batch; (batch = ll_request_take_batch(request)) != NULL;) {
        if (ll_batch_rows(batch) > 0)
            notes->count = ll_batch_row(batch, 0)[0].as.integer;
        ll_batch_free(batch);
    }
}

static int tell_version(sqlite3 *db, void *arg)
{
    (void)db;
    *(const char **)arg = sqlite3_libversion();
    return SQLITE_OK;
}

int main(void)
{
    struct notes notes = {0};
    const char *version = NULL;
    ll_engine *engine = NULL;
    ll_submit how = {.done = on_count, .user = &notes, .flags = LL_SUBMIT_NO_INLINE};
    if (ll_engine_new(NULL, &engine) != LL_OK ||
        ll_conn_open(engine, ":memory:", NULL, &how, &notes.conn, NULL) < 0) {
        fprintf(stderr, "%s\n", ll_last_error());
        return 1;
    }
    if (ll_exec(notes.conn, "CREATE TABLE note(text)", NULL, 0, &how, NULL) < 0 ||
        ll_exec(notes.conn, "INSERT INTO note VALUES('one'), ('two')", NULL, 0, &how, NULL) < 0 ||
        ll_conn_call(notes.conn, tell_version, &version, &how, NULL) < 0 ||
        ll_query(notes.conn, "SELECT count(*) FROM note", NULL, 0, &how, NULL) < 0)
        notes.failed = 1;
    while (notes.answers < 5 && !notes.failed) {
        struct pollfd ready = {.fd = ll_engine_fd(engine), .events = POLLIN};
        if (poll(&ready, 1, -1) != 1 || ll_engine_dispatch(engine, NULL) != LL_OK)
            notes.failed = 1;
    }
    ll_conn_unref(notes.conn);
    ll_engine_free(engine);
    printf("%lld notes, SQLite %s, looplite %s\n", (long long)notes.count, version, ll_version());
    return notes.failed || notes.count != 2 || lli_enqueue() != 7 || ll_live_objects() != 0;
}
