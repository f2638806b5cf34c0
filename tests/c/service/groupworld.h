/* groupworld.h: a writer and some homes on one file, in single steps with a scripted clock. */
#ifndef T_GROUPWORLD_H
#define T_GROUPWORLD_H

#include "engine/world.h"

#include "engine/group.h"

enum {
    HOMES = 6
};

struct group {
    struct world w;
    const char *path;
    ll_conn *writing;
    ll_writer *writer;
    ll_conn *homes[HOMES];
    ll_request *requests[HOMES];
    t_told told[HOMES];
};

static const char *const group_wal[] = {"journal_mode=WAL", NULL};

static inline ll_writer_stats group_stats(const struct group *g)
{
    ll_writer_stats stats;
    ll_writer_get_stats(g->writer, &stats);
    return stats;
}

/* Submits on behalf of a home, or of nobody (SIZE_MAX). */
static inline ll_request *group_submit(struct group *g, size_t home, const char *text,
                                       const ll_submit *how)
{
    ll_request *request = NULL;
    ll_sql sql = {.text = text, .size = LL_NUL_TERMINATED};
    ll_conn *conn = home == SIZE_MAX ? NULL : g->homes[home];
    if (ll_writer_submit(g->writer, conn, &sql, how, &request) < 0)
        t_fail(__FILE__, __LINE__, "%s: %s", text, ll_last_error());
    return request;
}

/* The same into the slot of the home. */
static inline void group_ask(struct group *g, size_t home, const char *text)
{
    ll_request_unref(g->requests[home]);
    g->told[home] = (t_told){0};
    g->requests[home] = group_submit(g, home, text,
                                     &(ll_submit){.done = t_tell, .user = &g->told[home]});
}

/* Runs one statement through the writer to its end. */
static inline ll_request *group_run(struct group *g, size_t home, const char *text)
{
    ll_request *request = group_submit(g, home, text, NULL);
    lli_step_settle(&g->w.step);
    T_CHECK(ll_request_is_done(request));
    return request;
}

static inline void group_exec(struct group *g, size_t home, const char *text)
{
    ll_request *request = group_run(g, home, text);
    if (ll_request_status(request) != LL_OK)
        t_fail(__FILE__, __LINE__, "%s: %s", text, ll_request_error(request)->message);
    ll_request_unref(request);
}

static inline void group_settle(struct group *g)
{
    lli_step_settle(&g->w.step);
}

/* One move, time included; false: there is none. */
static inline bool group_move(struct group *g)
{
    struct lli_step_move moves[LLI_STEP_MOVES];
    size_t count = lli_step_moves(&g->w.step, moves);
    for (size_t i = 0; i < count; i++)
        if (moves[i].kind != LLI_STEP_YIELD) {
            lli_step_make(&g->w.step, moves[i]);
            return true;
        }
    return false;
}

static inline void group_begin_with(struct group *g, t_env *t, const char *schema,
                                    const ll_open_options *options, const ll_writer_options *writer)
{
    *g = (struct group){.path = t_path(t, "a.db")};
    world_begin(&g->w, t);
    t_file_sql(g->path, schema);
    g->writing = world_open(&g->w, "a.db", options);
    T_CHECK(ll_writer_new(g->writing, writer, &g->writer) == LL_OK);
    for (size_t i = 0; i < HOMES; i++)
        g->homes[i] = world_open(&g->w, "a.db", options);
}

/* Each home has written once through the writer, so everybody knows everybody. */
static inline void group_warm(struct group *g)
{
    for (size_t i = 0; i < HOMES; i++)
        group_exec(g, i, "DELETE FROM t WHERE x = 'nobody'");
}

static inline void group_begin(struct group *g, t_env *t, const char *schema, bool with_wal)
{
    ll_open_options options = {.pragmas = with_wal ? group_wal : NULL, .busy_timeout_ns = T_HOUR};
    group_begin_with(g, t, schema, &options, NULL);
    group_warm(g);
}

static inline void group_end(struct group *g)
{
    group_settle(g);
    for (size_t i = 0; i < HOMES; i++) {
        ll_request_unref(g->requests[i]);
        if (g->homes[i])
            world_close(&g->w, g->homes[i]);
    }
    ll_writer_free(g->writer);
    if (g->writing)
        world_close(&g->w, g->writing);
    world_end(&g->w);
}

static inline int64_t group_int(struct group *g, const char *sql)
{
    return t_file_int(g->path, sql);
}

/* What a connection itself answers. */
static inline int64_t group_ask_home(struct group *g, ll_conn *conn, const char *sql)
{
    bool on_loop;
    ll_request *request = world_run(&g->w, conn, sql, NULL, &on_loop);
    t_rows rows = {.request = request};
    T_CHECK(ll_request_status(request) == LL_OK);
    const ll_value *row = t_rows_next(&rows);
    T_CHECK(row && row[0].type == LL_INTEGER);
    int64_t value = row[0].as.integer;
    t_rows_done(&rows);
    return value;
}

#endif
