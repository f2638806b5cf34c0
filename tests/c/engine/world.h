/* world.h: an engine in single steps, with a scripted clock, for the tests of this folder: what costs time
 * on a slow machine costs nothing here. */
#ifndef T_ENGINE_WORLD_H
#define T_ENGINE_WORLD_H

#include "support/support.h"

#include "db/attempt.h"
#include "db/cost.h"
#include "db/vfs_shim.h"
#include "engine/conn.h"
#include "engine/step.h"
#include "platform/clock.h"

struct world {
    t_env *t;
    struct lli_step step;
    uint64_t jump_ns;   /* each look at the time inside an attempt is so much later */
    ll_request *cancel; /* cancelled in the middle of the next statement that runs on a worker */
};

/* Skips the test where reads of files cannot be guarded: nothing runs on the loop then. */
static inline void world_needs_guarded_files(t_env *t)
{
    sqlite3 *db = NULL;
    struct lli_file_facts facts;
    T_CHECK(sqlite3_open_v2(t_path(t, "probe.db"), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                            LLI_VFS_NAME) == SQLITE_OK);
    t_raw(db, "CREATE TABLE IF NOT EXISTS t(x)");
    bool known = lli_vfs_file_facts(db, "main", &facts);
    t_raw_close(db);
    if (!known || !lli_disk_guard_guards(facts.guard))
        skip();
}

static void world_point(void *arg)
{
    struct world *w = arg;
    if (w->jump_ns > 0 && lli_attempt_now)
        lli_step_advance(&w->step, w->jump_ns);
    if (w->cancel && !lli_attempt_now) {
        ll_request *request = w->cancel;
        w->cancel = NULL;
        T_CHECK(ll_request_cancel(request) == LL_OK);
    }
}

static inline void world_begin(struct world *w, t_env *t)
{
    *w = (struct world){.t = t};
    lli_cost_clear(); /* a new file may have the number of one that is gone */
    T_CHECK(lli_step_new(&w->step, 4, world_point, w) == LL_OK);
}

static inline void world_end(struct world *w)
{
    lli_step_free(&w->step);
}

static inline ll_stats world_stats(const struct world *w)
{
    return t_stats(w->step.engine);
}

/* All moves but those of time; true if the request (may be NULL) is done then. Nothing is delivered. */
static inline bool world_move(struct world *w, const ll_request *request)
{
    for (unsigned made = 0;; made++) {
        struct lli_step_move moves[LLI_STEP_MOVES];
        size_t count = lli_step_moves(&w->step, moves), i = 0;
        while (i < count && (moves[i].kind == LLI_STEP_YIELD || moves[i].kind == LLI_STEP_TIMER ||
                             moves[i].kind == LLI_STEP_RETRY))
            i++;
        if (i == count)
            return request && ll_request_is_done(request);
        if (made > 100000)
            t_fail(__FILE__, __LINE__, "it spins");
        lli_step_make(&w->step, moves[i]);
    }
}

static inline ll_conn *world_open(struct world *w, const char *name, const ll_open_options *options)
{
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(ll_conn_open(w->step.engine, t_path(w->t, name), options, NULL, &conn, &request) ==
            LL_PENDING);
    lli_step_settle(&w->step);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    return conn;
}

static inline void world_close(struct world *w, ll_conn *conn)
{
    ll_request *request = NULL;
    T_CHECK(ll_conn_close(conn, NULL, &request) >= 0); /* LL_OK: it is closed already */
    lli_step_settle(&w->step);
    T_CHECK(ll_request_is_done(request));
    ll_request_unref(request);
    ll_conn_unref(conn);
}

/* Runs a statement to its end; sets *ret_inline if it was finished when it was submitted. */
static inline ll_request *world_run(struct world *w, ll_conn *conn, const char *sql,
                                    const ll_submit *how, bool *ret_inline)
{
    ll_request *request = NULL;
    ll_status status = ll_query(conn, sql, NULL, 0, how, &request);
    if (status < 0)
        t_fail(__FILE__, __LINE__, "%s: %s", sql, ll_last_error());
    *ret_inline = status == LL_OK;
    if (status == LL_PENDING)
        lli_step_settle(&w->step);
    T_CHECK(ll_request_is_done(request));
    return request;
}

/* The same; it must succeed. True: on the loop. */
static inline bool world_exec(struct world *w, ll_conn *conn, const char *sql)
{
    bool on_loop;
    ll_request *request = world_run(w, conn, sql, NULL, &on_loop);
    if (ll_request_status(request) != LL_OK)
        t_fail(__FILE__, __LINE__, "%s: %s", sql, ll_request_error(request)->message);
    ll_request_unref(request);
    return on_loop;
}

#endif
