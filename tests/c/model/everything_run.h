/* everything_run.h: one history of the model, from nothing to nothing. */
#ifndef T_MODEL_EVERYTHING_RUN_H
#define T_MODEL_EVERYTHING_RUN_H

#include "everything_check.h"

static inline ll_conn *open_one(struct model *m, const char *path, const ll_open_options *options)
{
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(ll_conn_open(m->step.engine, path, options, NULL, &conn, &request) == LL_PENDING);
    lli_step_settle(&m->step);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    return conn;
}

/* Reads whose cost is known run on the loop, and share a snapshot. */
static inline void warm(struct model *m)
{
    for (unsigned i = 0; i < 3 * m->homes; i++) {
        ll_request *request = NULL;
        T_CHECK(ll_query(m->sessions[i % m->homes].conn, read_text, NULL, 0, NULL, &request) >= 0);
        lli_step_settle(&m->step);
        t_is(request, LL_OK, LL_APPLIED);
        ll_request_unref(request);
    }
}

static inline void begin(struct model *m, const char *path)
{
    bool wal = draw(m, 3) > 0;
    static const char *const wal_pragmas[] = {"journal_mode=WAL", "synchronous=OFF", NULL};
    static const char *const plain_pragmas[] = {"synchronous=OFF", NULL};
    ll_open_options open = {.pragmas = wal ? wal_pragmas : plain_pragmas,
                            .busy_timeout_ns = 300 * LLI_MS};
    T_CHECK(lli_step_new(&m->step, 1 + (unsigned)draw(m, 3), on_point, m) == LL_OK);
    m->homes = 1 + (unsigned)draw(m, HOMES);
    for (unsigned i = 0; i < m->homes; i++)
        m->sessions[i].conn = open_one(m, path, &open);
    if (draw(m, 4) == 0)
        warm(m);
    m->session_count = FIRST_LEASE_SESSION;
    uint64_t parts = draw(m,
                          4); /* 0: neither; 1: a writer; 2: a pool; 3: a pool with group commit */
    if (parts == 1) {
        m->writing = open_one(m, path, &open);
        T_CHECK(ll_writer_new(m->writing, NULL, &m->writer) == LL_OK);
    } else if (parts > 1) {
        ll_pool_options pool = {.max_size = 1 + (unsigned)draw(m, 2),
                                .connect_timeout_ns = 200 * LLI_MS,
                                .health_interval_ns = 50 * LLI_MS,
                                .checkpoint_frames = 8,
                                .wal_bound_frames = 24,
                                .open = open,
                                .group_commit = parts == 3};
        T_CHECK(ll_pool_new(m->step.engine, path, &pool, &m->pool) == LL_OK);
    }
    m->look = t_raw_open(path);
    T_CHECK(sqlite3_prepare_v2(m->look, "SELECT 1 FROM log WHERE id = ?", -1, &m->is_there, NULL) ==
            SQLITE_OK);
}

/* Lets go of everything, so that nobody waits for ever, and ends it. */
static inline void settle(struct model *m)
{
    lli_fault_disarm();
    m->ended = true;
    for (unsigned i = 0; i < 2; i++) {
        lli_step_settle(&m->step);
        for (unsigned s = 0; s < m->session_count; s++) {
            struct session *session = &m->sessions[s];
            if (session->cursor)
                ll_cursor_close(session->cursor);
            session->cursor = NULL;
            if (session->lease) {
                T_CHECK(ll_pool_release(session->lease, NULL, NULL) >= 0);
                session->lease = NULL;
                session->conn = NULL;
            }
        }
        for (unsigned s = 0; s < m->homes; s++) {
            ll_request *request = NULL;
            T_CHECK(ll_txn_rollback(m->sessions[s].conn, NULL, &request) >= 0);
            lli_step_settle(&m->step);
            T_CHECK(ll_request_is_done(request));
            ll_request_unref(request);
        }
    }
}

static inline void count(struct model *m)
{
    uint64_t *counts = m->plan->all->counts;
    ll_stats stats = t_stats(m->step.engine);
    counts[ON_LOOP] += stats.inline_hits;
    counts[HELD] += stats.snapshot_hits;
    counts[MISSED] += stats.retries;
    counts[WAITED] += stats.gate_waits;
    counts[GROUPED] += stats.group_members;
    if (!m->pool)
        return;
    ll_pool_stats pool;
    ll_pool_get_stats(m->pool, &pool);
    T_CHECK(pool.leased == 0 && pool.waiting == 0);
    counts[POOLED] += pool.executed;
    counts[CHECKPOINTS] += pool.checkpoints;
}

static inline void end(struct model *m)
{
    count(m);
    for (unsigned s = 0; s < m->homes; s++) {
        T_CHECK(!t_state(m->sessions[s].conn).in_transaction);
        T_CHECK(!lli_snapshot_held(&m->sessions[s].conn->db.snapshot)); /* its turn is over */
        ll_conn_unref(m->sessions[s].conn);
    }
    ll_writer_free(m->writer);
    ll_conn_unref(m->writing);
    if (m->pool) {
        ll_request *request = NULL;
        T_CHECK(ll_pool_close(m->pool, NULL, &request) >= 0);
        lli_step_settle(&m->step);
        t_is(request, LL_OK, LL_APPLIED);
        ll_request_unref(request);
        ll_pool_unref(m->pool);
    }
    lli_step_free(&m->step);
}

static inline void make_file(const char *path)
{
    sqlite3 *db = t_raw_open(path);
    t_raw(db, "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;"
              "CREATE TABLE log(seq INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER UNIQUE,"
              " session INTEGER)");
    t_raw_close(db);
}

/* Every other history lies in memory, where files cost less and reads never wait. */
static inline void name_file(const struct history_plan *plan, char *ret_path, size_t room)
{
    if (plan->seed % 2 == 0 && access("/dev/shm", W_OK) == 0)
        snprintf(ret_path, room, "/dev/shm/%s.db", strrchr(plan->t->dir, '/') + 1);
    else
        snprintf(ret_path, room, "%s/h.db", plan->t->dir);
}

static inline void remove_files(const struct history_plan *plan)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    char path[600], name[640];
    name_file(plan, path, sizeof path);
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
}

static inline void history(struct history_plan *plan)
{
    struct model *m = calloc(1, sizeof *m);
    char path[600];
    T_CHECK(m != NULL);
    size_t live = ll_live_objects();
    current = m;
    m->plan = plan;
    m->random = plan->seed;
    m->next_row = 1;
    name_file(plan, path, sizeof path);
    lli_cost_clear();
    remove_files(plan); /* a child that failed leaves them */
    make_file(path);
    begin(m, path);
    size_t actions = 16 + draw(m, 64);
    bool by_bytes = plan->bytes_left > 0;
    if (by_bytes)
        actions = HISTORY_MOST;
    for (size_t i = 0; i < actions; i++) {
        if (by_bytes && plan->bytes_left == 0)
            break;
        if (!plan->keep[i])
            continue;
        m->random = history_mix(plan->seed * HISTORY_MOST + i);
        if (plan->trace)
            fprintf(stderr, "%zu: ", i);
        act(m);
        TRACE("\n");
    }
    settle(m);
    check_all_were_told(m);
    end(m);
    check(m);
    sqlite3_finalize(m->is_there);
    t_raw_close(m->look);
    if (plan->seed % 16 == 0)
        t_integrity(path);
    T_EQUAL(ll_live_objects(), live);
    free(m);
    remove_files(plan);
}

#endif
