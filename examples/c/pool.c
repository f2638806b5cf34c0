/* pool.c: many tasks, few connections: statements that share them, and a transaction on one of its own.
 *
 *     cc pool.c $(pkg-config --cflags --libs looplite) && ./a.out */
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

/* One statement, on whatever connection is free. */
static int run(ll_pool *pool, const char *text)
{
    ll_sql sql = {.text = text, .size = LL_NUL_TERMINATED};
    ll_request *request = NULL;
    ll_status status = ll_pool_exec(pool, &sql, NULL, &request);
    int fine = finished(status, request);
    ll_request_unref(request);
    return fine;
}

/* Several statements that belong together, on a connection of their own. What is not committed is rolled back when the
 * connection goes back. */
static int transfer(ll_pool *pool)
{
    static const char *const texts[] = {
        "UPDATE account SET balance = balance - 10 WHERE name = 'anna'",
        "UPDATE account SET balance = balance + 10 WHERE name = 'bert'",
    };
    ll_request *acquire = NULL, *begin = NULL, *commit = NULL, *back = NULL;
    ll_status status = ll_pool_acquire(pool, "transfer", NULL, &acquire);
    int fine = finished(status, acquire);
    ll_lease *lease = ll_request_take_lease(acquire);
    ll_conn *conn = ll_lease_conn(lease);
    if (fine) {
        status = ll_txn_begin(conn, LL_BEGIN_IMMEDIATE, NULL, &begin);
        fine = finished(status, begin);
    }
    for (int i = 0; fine && i < 2; i++) {
        ll_request *update = NULL;
        status = ll_exec(conn, texts[i], NULL, 0, NULL, &update);
        fine = finished(status, update);
        ll_request_unref(update);
    }
    if (fine) {
        status = ll_txn_commit(conn, NULL, &commit);
        fine = finished(status, commit);
    }
    if (lease) {
        status = ll_pool_release(lease, NULL, &back);
        fine = finished(status, back) && fine;
    }
    ll_request_unref(acquire);
    ll_request_unref(begin);
    ll_request_unref(commit);
    ll_request_unref(back);
    return fine;
}

int main(void)
{
    ll_engine *engine = NULL;
    ll_pool *pool = NULL;
    ll_request *close = NULL;
    ll_pool_options options = {.max_size = 3, .operation_timeout_ns = 10000000000};

    if (ll_engine_new(NULL, &engine) != LL_OK)
        return 1;
    if (ll_pool_new(engine, ":memory:", &options, &pool) != LL_OK) {
        fprintf(stderr, "%s\n", ll_last_error());
        ll_engine_free(engine);
        return 1;
    }
    int fine = run(pool, "CREATE TABLE account(name TEXT PRIMARY KEY, balance INTEGER)") &&
               run(pool, "INSERT INTO account VALUES('anna', 100), ('bert', 0)") && transfer(pool);
    ll_pool_stats stats;
    ll_pool_get_stats(pool, &stats);
    printf("%u connections, %llu statements, %llu leases\n", stats.size,
           (unsigned long long)stats.executed, (unsigned long long)stats.acquired);
    ll_status status = ll_pool_close(pool, NULL, &close);
    fine = finished(status, close) && fine;
    ll_request_unref(close);
    ll_pool_unref(pool);
    ll_engine_free(engine);
    return fine ? 0 : 1;
}
