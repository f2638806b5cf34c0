/* pool_ways.h: the short ways to use a pool in tests: submitted, waited for, asserted. */
#ifndef T_SERVICE_POOL_WAYS_H
#define T_SERVICE_POOL_WAYS_H

#include "support/support.h"

static inline ll_pool *p_new_path(ll_engine *engine, const char *path,
                                  const ll_pool_options *options)
{
    ll_pool *pool = NULL;
    ll_status status = ll_pool_new(engine, path, options, &pool);
    if (status != LL_OK)
        t_fail(__FILE__, __LINE__, "ll_pool_new gave %s: %s", ll_status_name(status),
               ll_last_error());
    return pool;
}
#define p_new(t, name, options) p_new_path((t)->engine, t_path(t, name), options)

static inline ll_pool_stats p_stats(ll_pool *pool)
{
    ll_pool_stats stats;
    ll_pool_get_stats(pool, &stats);
    return stats;
}

static inline ll_lease *p_acquire_(ll_pool *pool, const char *label, const char *file, int line)
{
    ll_request *request = NULL;
    ll_status status = t_end_(ll_pool_acquire(pool, label, NULL, &request), &request, file, line);
    if (status != LL_OK)
        t_fail(file, line, "acquire gave %s: %s", ll_status_name(status),
               request ? ll_request_error(request)->message : ll_last_error());
    ll_lease *lease = ll_request_take_lease(request);
    if (!lease || !ll_lease_conn(lease) || ll_request_take_lease(request))
        t_fail(file, line, "one lease with a connection was expected");
    ll_request_unref(request);
    return lease;
}
#define p_acquire(pool, label) p_acquire_(pool, label, __FILE__, __LINE__)

/* What it came to; texts are copied. */
struct p_released {
    ll_released pub;
    char last_write[256], reason[256];
    bool at_once;
};

static inline struct p_released p_release_(ll_lease *lease, const char *file, int line)
{
    struct p_released released;
    ll_request *request = NULL;
    ll_status submitted = ll_pool_release(lease, NULL, &request);
    if (t_end_(submitted, &request, file, line) != LL_OK)
        t_fail(file, line, "release gave %s", ll_status_name(submitted));
    ll_request_get_released(request, &released.pub);
    snprintf(released.last_write, sizeof released.last_write, "%s", released.pub.last_write);
    snprintf(released.reason, sizeof released.reason, "%s", released.pub.reason);
    released.pub.last_write = released.last_write;
    released.pub.reason = released.reason;
    released.at_once = submitted == LL_OK;
    ll_request_unref(request);
    return released;
}
#define p_release(lease) p_release_(lease, __FILE__, __LINE__)

static inline ll_status p_submit(ll_pool *pool, const char *text, const ll_submit *how,
                                 ll_request **ret_request)
{
    ll_sql sql = {.text = text, .size = LL_NUL_TERMINATED};
    return ll_pool_exec(pool, &sql, how, ret_request);
}

/* Executes, expects this status, and gives the finished request. What is to succeed has all the time it needs, whatever
 * the pool's operation timeout is. */
static inline ll_request *p_run_(ll_pool *pool, const char *text, ll_status expected,
                                 const char *file, int line)
{
    ll_request *request = NULL;
    ll_submit how = {.timeout_ns = expected == LL_OK ? T_HOUR : 0};
    ll_status status = t_end_(p_submit(pool, text, &how, &request), &request, file, line);
    if (status != expected)
        t_fail(file, line, "%s: %s: %s", text, ll_status_name(status),
               request ? ll_request_error(request)->message : ll_last_error());
    return request;
}
#define p_run(pool, text, expected) p_run_(pool, text, expected, __FILE__, __LINE__)
#define p_exec(pool, text)          ll_request_unref(p_run(pool, text, LL_OK))

static inline int64_t p_int_(ll_pool *pool, const char *text, const char *file, int line)
{
    t_rows rows = {.request = p_run_(pool, text, LL_OK, file, line)};
    const ll_value *row = t_rows_next(&rows);
    if (!row)
        t_fail(file, line, "%s: no row", text);
    int64_t value = row[0].as.integer;
    t_rows_done(&rows);
    return value;
}
#define p_int(pool, text) p_int_(pool, text, __FILE__, __LINE__)

static inline void p_close_(ll_pool *pool, const char *file, int line)
{
    ll_request *request = NULL;
    if (t_end_(ll_pool_close(pool, NULL, &request), &request, file, line) != LL_OK)
        t_fail(file, line, "closing the pool failed");
    ll_request_unref(request);
    ll_pool_stats stats = p_stats(pool);
    if (stats.size != 0 || stats.waiting != 0)
        t_fail(file, line, "closed, with %u connections and %u waiting", stats.size, stats.waiting);
    ll_pool_unref(pool);
}
#define p_close(pool) p_close_(pool, __FILE__, __LINE__)

/* What every test that takes something away from a pool ends with: all of it is there, and nothing is held. */
static inline void p_is_whole_(ll_pool *pool, unsigned size, const char *table, const char *file,
                               int line)
{
    ll_lease *leases[64];
    char sql[128];
    for (unsigned i = 0; i < size; i++) {
        leases[i] = p_acquire_(pool, NULL, file, line);
        ll_conn_state state = t_state(ll_lease_conn(leases[i]));
        if (state.in_transaction || state.live_cursors > 0)
            t_fail(file, line, "a connection came with %s",
                   state.in_transaction ? "a transaction" : "a cursor");
    }
    for (unsigned i = 0; i < size; i++) { /* each can write: nobody holds a lock */
        snprintf(sql, sizeof sql, "INSERT INTO %s DEFAULT VALUES", table);
        t_exec_(ll_lease_conn(leases[i]), "BEGIN IMMEDIATE", file, line);
        t_exec_(ll_lease_conn(leases[i]), sql, file, line);
        t_exec_(ll_lease_conn(leases[i]), "ROLLBACK", file, line);
    }
    for (unsigned i = 0; i < size; i++)
        (void)p_release_(leases[i], file, line);
}
#define p_is_whole(pool, size, table) p_is_whole_(pool, size, table, __FILE__, __LINE__)

#endif
