/* writer.c: group commit: single writes that come at the same time share one transaction and one wait for the disk.
 *
 *     cc writer.c $(pkg-config --cflags --libs looplite) && ./a.out notes.db */
#include <looplite.h>

#include <stdio.h>

#define NOTES 100

static size_t durable, failed;

/* Called when a note is in the file to stay, or when it is known that it is not. */
static void on_written(ll_request *request, void *user)
{
    (void)user;
    if (ll_request_status(request) == LL_OK)
        durable++;
    else {
        failed++;
        fprintf(stderr, "%s\n", ll_request_error(request)->message);
    }
}

/* What a submission came to: refused, or accepted and waited for. */
static int finished(ll_status status, ll_request *request)
{
    if (status >= 0)
        status = ll_request_wait(request);
    if (status != LL_OK)
        fprintf(stderr, "%s: %s\n", ll_status_name(status),
                request ? ll_request_error(request)->message : ll_last_error());
    ll_request_unref(request);
    return status == LL_OK;
}

/* Each note is a write by itself; nobody waits in between, so they meet in the writer's line. */
static int write_notes(ll_writer *writer)
{
    for (int64_t i = 0; i < NOTES; i++) {
        ll_value number = ll_integer(i);
        ll_sql sql = {.text = "INSERT INTO note VALUES (?)",
                      .size = LL_NUL_TERMINATED,
                      .params = {.values = &number, .count = 1}};
        ll_submit how = {.done = on_written};
        if (ll_writer_submit(writer, NULL, &sql, &how, NULL) < 0) {
            fprintf(stderr, "refused: %s\n", ll_last_error());
            return 0;
        }
    }
    return 1;
}

int main(int argc, char **argv)
{
    static const char *const settings[] = {"journal_mode=WAL", "synchronous=FULL", NULL};
    ll_open_options options = {.pragmas = settings};
    ll_engine *engine = NULL;
    ll_conn *writing = NULL;
    ll_writer *writer = NULL;
    ll_request *request = NULL;
    int fine = ll_engine_new(NULL, &engine) == LL_OK;
    if (fine) {
        ll_status status = ll_conn_open(engine, argc > 1 ? argv[1] : ":memory:", &options, NULL,
                                        &writing, &request);
        fine = finished(status, request);
    }
    if (fine) {
        request = NULL;
        ll_status status = ll_exec(writing, "CREATE TABLE IF NOT EXISTS note(number INT)", NULL, 0,
                                   NULL, &request);
        fine = finished(status, request);
    }
    fine = fine && ll_writer_new(writing, NULL, &writer) == LL_OK && write_notes(writer);
    while (fine && ll_engine_outstanding(engine) > 0)
        fine = ll_engine_wait(engine, -1, NULL) == LL_OK;

    ll_writer_stats stats = {0};
    ll_writer_get_stats(writer, &stats);
    printf("%zu notes are durable, %zu are not\n", durable, failed);
    printf("fewer commits than notes: %s\n", stats.batches < NOTES ? "yes" : "no");
    ll_writer_free(writer);
    ll_conn_unref(writing);
    ll_engine_free(engine);
    return fine && durable == NOTES ? 0 : 1;
}
