/* backup.c: a copy of a database that is in use, made beside the work on it, with a report of how far it is.
 *
 *     cc backup.c $(pkg-config --cflags --libs looplite) && ./a.out [copy.db] */
#include <looplite.h>

#include <stdio.h>

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

/* On the loop. */
static void on_progress(ll_request *request, const ll_backup_progress *progress, void *user)
{
    (void)request;
    (void)user;
    printf("%llu of %llu pages to go\n", (unsigned long long)progress->remaining,
           (unsigned long long)progress->total);
}

/* Copies, and goes on writing meanwhile. */
static int copy(ll_conn *conn, const char *path)
{
    ll_backup_options options = {.pages = 16, .progress = on_progress};
    ll_request *backup = NULL;
    ll_status status = ll_backup_to_file(conn, path, &options, NULL, &backup);
    int fine = status >= 0;
    for (int i = 0; fine && i < 5 && !ll_request_is_done(backup); i++)
        fine = run(conn, "INSERT INTO measure(value) VALUES(random())"); /* between two steps */
    fine = finished(status, backup) && fine;
    ll_request_unref(backup);
    return fine;
}

int main(int count, char **args)
{
    ll_engine *engine = NULL;
    ll_conn *conn = NULL;
    ll_request *open = NULL;
    if (ll_engine_new(NULL, &engine) != LL_OK)
        return 1;
    ll_status status = ll_conn_open(engine, ":memory:", NULL, NULL, &conn, &open);
    int fine = finished(status, open) &&
               run(conn, "CREATE TABLE measure(id INTEGER PRIMARY KEY, value)") &&
               run(conn, "WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c LIMIT "
                         "20000) INSERT INTO measure(value) SELECT random() FROM c") &&
               copy(conn, count > 1 ? args[1] : "") /* "": a file that is gone when it is closed */;
    ll_request_unref(open);
    ll_conn_unref(conn);
    ll_engine_free(engine);
    return fine ? 0 : 1;
}
