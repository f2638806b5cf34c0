/* faultrun.h: one run of a scenario with one fault: the steps that scenarios are made of, each of which ends as it is
 * allowed to, and the account of what was told of each row. */
#ifndef T_FAULT_FAULTRUN_H
#define T_FAULT_FAULTRUN_H

#include "support/support.h"

#include "base/fault.h"
#include "db/cost.h"
#include "engine/step.h"

#include <unistd.h>

enum {
    ROWS = 64
};

struct run {
    t_env *t;
    const char *scenario;
    const char *path;
    bool stepped;
    enum lli_fault_kind kind;
    unsigned long nth;
    struct lli_step step;
    ll_engine *engine;
    sqlite3 *raw; /* closed behind the engine */
    size_t errors;
    bool told[ROWS]; /* by id */
    ll_outcome outcome[ROWS];
};

static const char *const kind_names[LLI_FAULT_KINDS] = {
    [LLI_FAULT_ALLOC] = "allocation",        [LLI_FAULT_THREAD] = "thread start",
    [LLI_FAULT_FD] = "descriptor",           [LLI_FAULT_VFS] = "VFS call",
    [LLI_FAULT_ATTEMPT] = "try on the loop",
};

static inline void bad(const struct run *r, const char *what, const char *said)
{
    t_fail(__FILE__, __LINE__, "%s, %s %lu fails: %s: %s", r->scenario, kind_names[r->kind], r->nth,
           what, said);
}

static inline void explain(struct run *r, const char *what, ll_status status, int code,
                           const char *message)
{
    char said[400];
    bool ok = status == LL_OK;
    int primary = code & 0xff;
    if (status == LL_ENOMEM)
        ok = r->kind != LLI_FAULT_VFS;
    else if (status == LL_ESYS)
        ok = r->kind == LLI_FAULT_THREAD || r->kind == LLI_FAULT_FD;
    else if (status == LL_ECLOSED || status == LL_EABORTED || status == LL_EEXHAUSTED)
        ok = r->errors > 0 || lli_fault_fired();
    else if (status == LL_ESQL || status == LL_EBUSY)
        ok = primary != 0 && primary != SQLITE_MISUSE && primary != SQLITE_CORRUPT &&
             primary != SQLITE_NOTADB && primary != SQLITE_INTERRUPT;
    ok = ok && (status == LL_OK || (lli_fault_fired() && r->kind != LLI_FAULT_ATTEMPT));
    snprintf(said, sizeof said, "%s (%d): %s", ll_status_name(status), code, message);
    if (!ok)
        bad(r, what, said);
    r->errors += status != LL_OK;
}

/* Waits for what was submitted. True: it worked. The request stays the caller's. */
static inline bool end_(struct run *r, const char *what, ll_status status, ll_request *const *slot)
{
    ll_request *request = *slot;
    if (status == LL_PENDING && r->stepped) {
        lli_step_settle(&r->step);
    } else if (status == LL_PENDING) {
        status = ll_request_wait(request);
        if (!ll_request_is_done(request))
            bad(r, what, ll_last_error());
    }
    if (!request) {
        explain(r, what, status, 0, ll_last_error());
        return status == LL_OK;
    }
    if (!ll_request_is_done(request))
        bad(r, what, "it does not end");
    const ll_error *error = ll_request_error(request);
    if (ll_request_status(request) == LL_OK && ll_request_outcome(request) != LL_APPLIED)
        bad(r, what, "it worked, and was not applied");
    explain(r, what, ll_request_status(request), error->sqlite_code, error->message);
    return ll_request_status(request) == LL_OK;
}

/* `request` is a variable, which the submission may set in the same expression. */
#define end(r, what, status, request) end_(r, what, status, &(request))

static inline void finish(ll_request **request)
{
    ll_request_unref(*request);
    *request = NULL;
}

static inline void note(struct run *r, size_t first, size_t count, ll_outcome outcome)
{
    for (size_t i = first; i < first + count; i++) {
        r->told[i] = true;
        r->outcome[i] = outcome;
    }
}

static inline ll_outcome outcome_of(const ll_request *request)
{
    return request ? ll_request_outcome(request) : LL_NOT_APPLIED;
}

static inline ll_conn *open_conn(struct run *r, const char *path)
{
    static const char *const pragmas[] = {"synchronous=OFF", NULL};
    ll_open_options options = {.pragmas = pragmas, .busy_timeout_ns = 100 * T_MS};
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    ll_status status = ll_conn_open(r->engine, path, &options, NULL, &conn, &request);
    end(r, "open", status, request);
    finish(&request);
    return conn;
}

static inline void close_conn(struct run *r, ll_conn *conn)
{
    ll_request *request = NULL;
    if (!conn)
        return;
    end(r, "close", ll_conn_close(conn, NULL, &request), request);
    finish(&request);
    ll_conn_unref(conn);
}

static inline bool exec(struct run *r, ll_conn *conn, const char *sql)
{
    ll_request *request = NULL;
    bool ok = conn && end(r, sql, ll_exec(conn, sql, NULL, 0, NULL, &request), request);
    finish(&request);
    return ok;
}

static const char insert_text[] = "INSERT INTO t(id, text) VALUES(?1, hex(randomblob(60)))";

static inline void insert(struct run *r, ll_conn *conn, size_t id)
{
    ll_request *request = NULL;
    ll_value value = ll_integer((int64_t)id);
    if (!conn)
        return;
    end(r, "insert", ll_exec(conn, insert_text, &value, 1, NULL, &request), request);
    note(r, id, 1, outcome_of(request));
    finish(&request);
}

/* All rows of a finished request. */
static inline size_t drain(ll_request *request)
{
    t_rows rows = {.request = request};
    size_t count = 0;
    while (request && t_rows_next(&rows))
        count++;
    ll_batch_free(rows.batch);
    return count;
}

static inline void query(struct run *r, ll_conn *conn, const char *sql)
{
    ll_request *request = NULL;
    if (!conn)
        return;
    if (end(r, "query", ll_query(conn, sql, NULL, 0, NULL, &request), request))
        drain(request);
    finish(&request);
}

#endif
