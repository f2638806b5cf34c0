/* counter.c: a program outside of looplite's tree: counts how often it was run, in a file, by a pool with
 * group commit. It is built against the library as it was installed.
 *
 *     counter FILE */
#include <looplite.h>

#include <stdio.h>
#include <string.h>

static int failed(ll_status status, ll_request *request)
{
    if (status >= 0 && request)
        status = ll_request_wait(request);
    if (status == LL_OK)
        return 0;
    fprintf(stderr, "%s: %s\n", ll_status_name(status),
            request ? ll_request_error(request)->message : ll_last_error());
    return 1;
}

static int run(ll_pool *pool, const char *text, int64_t *ret_number)
{
    ll_sql sql = {.text = text, .size = LL_NUL_TERMINATED};
    ll_request *request = NULL;
    ll_status status = ll_pool_exec(pool, &sql, NULL, &request);
    int code = failed(status, request);
    ll_batch *batch = code == 0 ? ll_request_take_batch(request) : NULL;
    if (batch && ret_number)
        *ret_number = ll_batch_row(batch, 0)[0].as.integer;
    ll_batch_free(batch);
    ll_request_unref(request);
    return code;
}

int main(int argc, char **argv)
{
    if (strcmp(ll_version(), LL_VERSION) != 0) {
        fprintf(stderr, "the library is %s, the header %s\n", ll_version(), LL_VERSION);
        return 1;
    }
    ll_engine *engine = NULL;
    ll_pool *pool = NULL;
    ll_pool_options options = {.group_commit = true,
                               .open.pragmas = (const char *const[]){"journal_mode=WAL", NULL}};
    int64_t runs = 0;
    int code = 1;
    if (failed(ll_engine_new(NULL, &engine), NULL) ||
        failed(ll_pool_new(engine, argc > 1 ? argv[1] : NULL, &options, &pool), NULL))
        goto done;
    if (run(pool, "CREATE TABLE IF NOT EXISTS counter(id INTEGER PRIMARY KEY, runs INTEGER)",
            NULL) ||
        run(pool, "INSERT INTO counter VALUES(1, 1) ON CONFLICT(id) DO UPDATE SET runs = runs + 1",
            NULL) ||
        run(pool, "SELECT runs FROM counter", &runs))
        goto done;
    printf("run %lld times\n", (long long)runs);
    ll_request *close = NULL;
    ll_status status = ll_pool_close(pool, NULL, &close);
    code = failed(status, close) || runs < 1;
    ll_request_unref(close);
done:
    ll_pool_unref(pool);
    ll_engine_free(engine);
    return code || ll_live_objects() != 0;
}
