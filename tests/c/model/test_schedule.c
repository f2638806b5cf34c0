/* test_schedule.c: random schedules of the whole engine in one thread, checked against a model.
 *
 * A history is made from a seed: some connections on two files, two of which have attached the other one, in
 * opposite order; clients that submit inserts, transactions, executemany, scripts, streams and deadlines, cancel at
 * any time (also in the middle of a statement), and a scheduler that picks which worker moves next. In some of them
 * another process has the first file open, in some the connections share SQLite's cache. Checked are
 *   - order: what one connection applied lies in the table in the order of its submission;
 *   - exactly once: each accepted request calls back once, each applied row is there once;
 *   - truth: a row whose request said "applied" (and whose transaction was committed) is in the file, one
 *     whose request said "not applied" is not;
 *   - a request that was cancelled before it began left nothing behind;
 *   - the lines in front of the gates, after each move (gatewatch.h);
 *   - nothing is left over: every callback came, no object lives, the files are sound.
 *
 * Some reads on the loop are made to miss a page, and some turns to be spent, so that connections wait for
 * their loop while all of that happens.
 *
 * A failing history prints its seed; LL_SEED=<seed> runs that one alone, LL_HISTORIES=<n> more of
 * them, from that seed on. */
#include "gatewatch.h"
#include "support/support.h"

#include "base/fault.h"
#include "engine/step.h"
#include "platform/clock.h"

enum {
    CONNS = 6,
    FILES = 2,
    MOST_REQUESTS = 400,
    DEFAULT_HISTORIES = 300
};

enum kind {
    INSERT,
    MANY,
    BEGIN,
    COMMIT,
    ROLLBACK,
    READ,
    SCRIPT,
    STREAM,
    NEXT
};

/* Which of the two files is "main" of a connection, and whether the other one is attached as "other". */
static const struct {
    unsigned main;
    bool both;
} places[CONNS] = {{0, false}, {0, true}, {1, true}, {0, false}, {1, false}, {1, true}};

struct client_request {
    enum kind kind;
    unsigned conn;
    int64_t first, count; /* the ids it inserts */
    ll_request *request;  /* NULL once it has called back and was given back */
    unsigned calls;
    bool immediate;
    ll_status status;
    ll_outcome outcome;
};

struct model {
    uint64_t random;
    struct lli_step step;
    ll_conn *conns[CONNS];
    ll_cursor *cursors[CONNS];
    struct client_request requests[MOST_REQUESTS];
    size_t count;
    int64_t next_id;
    /* what the requests' ends say of each connection */
    bool in_transaction[CONNS];
    bool lost[CONNS]; /* a completion that leaves it unknown whether a transaction is open */
    signed char fate[MOST_REQUESTS *
                     8]; /* per id: 0 absent, 1 present, 2 pending in a transaction, 3 either */
    unsigned owner[MOST_REQUESTS * 8];
    unsigned file[MOST_REQUESTS * 8]; /* in which it belongs */
    struct gatewatch watch;
};

static uint64_t draw(struct model *m, uint64_t below)
{
    m->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = m->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

/* What the end of a request means for the rows of its connection. */
static void learn(struct model *m, struct client_request *r)
{
    static const char *const names[] = {"INSERT", "MANY",   "BEGIN",  "COMMIT", "ROLLBACK",
                                        "READ",   "SCRIPT", "STREAM", "NEXT"};
    unsigned conn = r->conn;
    bool applied = r->outcome == LL_APPLIED;
    if (getenv("LL_TRACE"))
        fprintf(stderr, "conn %u %s ids %lld+%lld: %s, outcome %d\n", conn, names[r->kind],
                (long long)r->first, (long long)r->count, ll_status_name(r->status),
                (int)r->outcome);
    switch (r->kind) {
    case INSERT:
    case MANY:
    case SCRIPT:
        for (int64_t id = r->first; id < r->first + r->count; id++) {
            m->owner[id] = conn;
            if (r->outcome == LL_NOT_APPLIED)
                m->fate[id] = 0;
            else if (r->outcome == LL_UNKNOWN)
                m->fate[id] = 3;
            else
                m->fate[id] = m->in_transaction[conn] ? 2 : 1;
        }
        break;
    case BEGIN:
        if (applied)
            m->in_transaction[conn] = true;
        break;
    case COMMIT:
    case ROLLBACK:
        if (!applied)
            break; /* BUSY: still open */
        for (int64_t id = 1; id < m->next_id; id++)
            if (m->owner[id] == conn && m->fate[id] == 2)
                m->fate[id] = r->kind == COMMIT ? 1 : 0;
        m->in_transaction[conn] = false;
        break;
    default:
        break;
    }
}

static void take_results(struct model *m, struct client_request *r, ll_request *request)
{
    r->status = ll_request_status(request);
    r->outcome = ll_request_outcome(request);
    if (getenv("LL_TRACE") && r->status != LL_OK)
        fprintf(stderr, "conn %u ids %lld+%lld: %s\n", r->conn, (long long)r->first,
                (long long)r->count, ll_request_error(request)->message);
    if (r->status == LL_OK)
        T_CHECK(r->outcome == LL_APPLIED);
    if (r->kind == STREAM) {
        ll_cursor *cursor = ll_request_take_cursor(request);
        if (m->cursors[r->conn])
            ll_cursor_close(cursor);
        else
            m->cursors[r->conn] = cursor;
    }
}

static struct {
    uint64_t retries, retry_hits, deferred;
    uint64_t in_line, for_both, in_gaps, gaps, with_peer;
} waited; /* in all histories */

static struct model *current; /* callbacks and points come without a model */

static void on_done(ll_request *request, void *user)
{
    struct client_request *r = user;
    r->calls++;
    T_CHECK(r->calls == 1);
    T_CHECK(!r->immediate);
    take_results(current, r, request);
    ll_request_unref(r->request);
    r->request = NULL;
}

static void accepted(struct model *m, struct client_request *r, ll_status status)
{
    if (status == LL_PENDING)
        return;
    T_CHECK(status == LL_OK);
    r->immediate = true;
    take_results(m, r, r->request);
    ll_request_unref(r->request);
    r->request = NULL;
}

/* New ids for the file that the connection calls "main", or for the other one. */
static void give_ids(struct model *m, struct client_request *r, int64_t count, bool other)
{
    r->first = m->next_id;
    r->count = count;
    for (int64_t i = 0; i < count; i++)
        m->file[m->next_id++] = other ? 1 - places[r->conn].main : places[r->conn].main;
}

static void submit(struct model *m, unsigned c)
{
    struct client_request *r = &m->requests[m->count++];
    r->conn = c;
    bool other = places[c].both && draw(m, 2) == 0; /* writes to the attached one */
    ll_submit how = {.done = on_done, .user = r};
    if (draw(m, 6) == 0)
        how.timeout_ns = (1 + draw(m, 200)) * LLI_MS;
    ll_conn *conn = m->conns[c];
    if (draw(m, 4) == 0)
        lli_fault_arm(LLI_FAULT_ATTEMPT, 1 + draw(m, 3));
    if (draw(m, 6) == 0)
        ll_engine_turn_charge(m->step.engine, T_HOUR);
    switch (draw(m, 14)) {
    case 0:
        r->kind = BEGIN;
        ll_begin modes[] = {LL_BEGIN_DEFERRED, LL_BEGIN_IMMEDIATE, LL_BEGIN_EXCLUSIVE};
        accepted(m, r, ll_txn_begin(conn, modes[draw(m, 3)], &how, &r->request));
        return;
    case 1:
    case 2:
        r->kind = COMMIT;
        accepted(m, r, ll_txn_commit(conn, &how, &r->request));
        return;
    case 3:
        r->kind = ROLLBACK;
        accepted(m, r, ll_txn_rollback(conn, &how, &r->request));
        return;
    case 4: {
        r->kind = MANY;
        give_ids(m, r, 1 + (int64_t)draw(m, 4), other);
        ll_value values[10];
        for (int64_t i = 0; i < r->count; i++) {
            values[2 * i] = ll_integer(r->first + i);
            values[2 * i + 1] = ll_integer(c);
        }
        ll_many many = {.text = other ? "INSERT INTO other.log(id, conn) VALUES(?, ?)"
                                      : "INSERT INTO log(id, conn) VALUES(?, ?)",
                        .size = LL_NUL_TERMINATED,
                        .values = values,
                        .rows = (size_t)r->count,
                        .width = 2,
                        .atomic = draw(m, 2) == 0};
        accepted(m, r, ll_exec_many(conn, &many, &how, &r->request));
        return;
    }
    case 5: {
        r->kind = SCRIPT;
        give_ids(m, r, 2, false);
        m->file[r->first] = other ? 1 - places[c].main : places[c].main; /* one here, one there */
        char text[256];
        snprintf(text, sizeof text,
                 "INSERT INTO %s.log(id, conn) VALUES(%lld, %u); -- one\n"
                 "INSERT INTO log(id, conn) VALUES(%lld, %u);",
                 other ? "other" : "main", (long long)r->first, c, (long long)r->first + 1, c);
        accepted(m, r, ll_script(conn, text, LL_NUL_TERMINATED, false, &how, &r->request));
        return;
    }
    case 6:
        r->kind = READ;
        accepted(m, r,
                 ll_query(conn,
                          "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE "
                          "x < 3000) SELECT count(*), (SELECT count(*) FROM log) FROM c",
                          NULL, 0, &how, &r->request));
        return;
    case 12:
    case 13:
        r->kind = READ;
        accepted(m, r,
                 ll_query(conn, "SELECT conn FROM log WHERE seq = 1", NULL, 0, &how, &r->request));
        return;
    case 7:
        if (m->cursors[c]) {
            if (draw(m, 3) == 0) {
                ll_cursor_close(m->cursors[c]);
                m->cursors[c] = NULL;
                m->count--;
                return;
            }
            r->kind = NEXT;
            accepted(m, r, ll_cursor_next(m->cursors[c], &how, &r->request));
            return;
        }
        r->kind = STREAM;
        accepted(m, r,
                 ll_stream(conn,
                           "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE "
                           "x < 5000) SELECT x FROM c",
                           NULL, 0, &how, &r->request));
        return;
    default: {
        r->kind = INSERT;
        give_ids(m, r, 1, other);
        ll_value values[] = {ll_integer(r->first), ll_integer(c)};
        accepted(m, r,
                 ll_exec(conn,
                         other ? "INSERT INTO other.log(id, conn) VALUES(?, ?)"
                               : "INSERT INTO log(id, conn) VALUES(?, ?)",
                         values, 2, &how, &r->request));
        return;
    }
    }
}

static void cancel(struct model *m)
{
    if (m->count == 0)
        return;
    struct client_request *r = &m->requests[draw(m, m->count)];
    if (r->request)
        T_CHECK(ll_request_cancel(r->request) == LL_OK);
}

/* Inside a running statement: what another thread could do now. */
static void on_point(void *arg)
{
    struct model *m = arg;
    if (draw(m, 4) == 0)
        cancel(m);
    if (draw(m, 16) == 0)
        lli_step_advance(&m->step, draw(m, 50) * LLI_MS);
}

static void open_conns(struct model *m, t_env *t, const char *const *paths, bool wal, bool shared)
{
    const char *wal_pragmas[] = {"journal_mode=WAL", "synchronous=OFF", NULL};
    const char *plain_pragmas[] = {"synchronous=OFF", NULL};
    ll_open_options options = {.pragmas = wal ? wal_pragmas : plain_pragmas,
                               .busy_timeout_ns = 300 * LLI_MS,
                               .flags = shared ? LL_OPEN_URI : 0};
    const char *uris[FILES];
    for (unsigned i = 0; i < FILES; i++)
        uris[i] = shared ? t_printf(t, "file:%s?cache=shared", paths[i]) : paths[i];
    for (unsigned c = 0; c < CONNS; c++) {
        ll_request *request = NULL;
        T_CHECK(ll_conn_open(m->step.engine, uris[places[c].main], &options, NULL, &m->conns[c],
                             &request) == LL_PENDING);
        lli_step_settle(&m->step);
        t_is(request, LL_OK, LL_APPLIED);
        ll_request_unref(request);
        if (!places[c].both)
            continue;
        char *text = t_printf(t, "ATTACH '%s' AS other; PRAGMA other.synchronous=OFF",
                              uris[1 - places[c].main]);
        T_CHECK(ll_script(m->conns[c], text, LL_NUL_TERMINATED, false, NULL, &request) ==
                LL_PENDING);
        lli_step_settle(&m->step);
        t_is(request, LL_OK, LL_APPLIED);
        ll_request_unref(request);
        T_EQUAL(m->conns[c]->seat.count, FILES);
    }
    m->watch.conns = m->conns;
    m->watch.count = CONNS;
}

static void check_file(struct model *m, const char *path, unsigned file)
{
    sqlite3 *db = t_raw_open(path);
    sqlite3_stmt *stmt;
    T_CHECK(sqlite3_prepare_v2(db, "SELECT id, conn FROM log ORDER BY seq", -1, &stmt, NULL) ==
            SQLITE_OK);
    int64_t last[CONNS] = {0};
    signed char seen[MOST_REQUESTS * 8] = {0};
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(stmt, 0);
        int conn = sqlite3_column_int(stmt, 1);
        T_CHECK(id > 0 && id < m->next_id && m->file[id] == file);
        T_CHECK(!seen[id]); /* exactly once */
        seen[id] = 1;
        T_CHECK(id > last[conn]); /* ids grow with the submissions */
        last[conn] = id;
    }
    sqlite3_finalize(stmt);
    for (int64_t id = 1; id < m->next_id; id++) {
        if (m->file[id] == file && m->fate[id] == 1 && !seen[id])
            t_fail(__FILE__, __LINE__, "row %lld was applied and is missing", (long long)id);
        if (m->fate[id] == 0 && seen[id])
            t_fail(__FILE__, __LINE__, "row %lld was not applied and is there", (long long)id);
    }
    t_raw_close(db);
}

/* One action of a client, a worker, the loop or the clock. Gives whose request ran in it, as watch_look(). */
static size_t act(struct model *m)
{
    struct lli_step_move moves[LLI_STEP_MOVES];
    size_t possible = lli_step_moves(&m->step, moves), chosen;
    unsigned c = (unsigned)draw(m, CONNS);
    switch (draw(m, 8)) {
    case 0:
    case 1:
        if (m->count < MOST_REQUESTS)
            submit(m, c);
        return c;
    case 2:
        if (draw(m, 2) == 0)
            cancel(m);
        else if (draw(m, 4) == 0)
            T_CHECK(ll_conn_interrupt(m->conns[c]) == LL_OK);
        else if (draw(m, 4) == 0)
            lli_step_advance(&m->step, draw(m, 40) * LLI_MS);
        return CONNS;
    case 3:
        T_CHECK(ll_engine_dispatch(m->step.engine, NULL) == LL_OK);
        return SIZE_MAX;
    default:
        if (possible == 0)
            return CONNS;
        chosen = draw(m, possible);
        const ll_conn *owned = moves[chosen].kind == LLI_STEP_RUN
                                 ? m->step.owned[moves[chosen].worker]
                                 : NULL;
        lli_step_make(&m->step, moves[chosen]);
        if (moves[chosen].kind == LLI_STEP_RETRY)
            return SIZE_MAX;
        for (c = 0; c < CONNS && m->conns[c] != owned; c++) {}
        return c;
    }
}

static void history(t_env *t, uint64_t seed)
{
    struct model *m = calloc(1, sizeof *m);
    T_CHECK(m);
    current = m;
    m->random = seed;
    m->next_id = 1;
    const char *paths[FILES];
    for (unsigned i = 0; i < FILES; i++)
        paths[i] = t_path(t, t_printf(t, "h%llu_%u.db", (unsigned long long)seed, i));
    bool wal = draw(m, 2) == 0, has_peer = draw(m, 8) == 0, shared = draw(m, 4) == 0;
    t_peer *peer = has_peer ? t_peer_new(paths[0]) : NULL;
    T_CHECK(lli_step_new(&m->step, 1 + (unsigned)draw(m, 3), on_point, m) == LL_OK);
    for (unsigned i = 0; i < FILES; i++)
        t_file_sql(paths[i], "CREATE TABLE log(seq INTEGER PRIMARY KEY AUTOINCREMENT, "
                             "id INTEGER UNIQUE, conn INTEGER)");
    open_conns(m, t, paths, wal, shared);
    if (peer)
        T_EQUAL(t_peer_try(peer, "SELECT count(*) FROM log"), SQLITE_OK);
    size_t actions = 60 + draw(m, 240);
    for (size_t i = 0; i < actions; i++)
        watch_look(&m->watch, act(m));
    lli_fault_disarm();
    /* The end: let go of all transactions, so that nobody waits for ever, and see that all were told. */
    lli_step_settle(&m->step);
    for (unsigned i = 0; i < 2 * CONNS; i++) {
        unsigned c = i % CONNS;
        ll_cursor_close(m->cursors[c]);
        m->cursors[c] = NULL;
        /* Beside BEGIN EXCLUSIVE in a shared cache nothing can be prepared, not even ROLLBACK. */
        if (i >= CONNS && !t_state(m->conns[c]).in_transaction)
            continue;
        struct client_request *r =
            &m->requests[m->count < MOST_REQUESTS ? m->count++ : m->count - 1];
        *r = (struct client_request){.kind = ROLLBACK, .conn = c};
        ll_submit how = {.done = on_done, .user = r};
        accepted(m, r, ll_txn_rollback(m->conns[c], &how, &r->request));
        lli_step_settle(&m->step);
    }
    for (size_t i = 0; i < m->count; i++) {
        struct client_request *r = &m->requests[i];
        T_CHECK(r->immediate || r->calls == 1);
        T_CHECK(!r->request);
        learn(m, r); /* a connection runs its requests in the order of their submission */
    }
    watch_look(&m->watch, SIZE_MAX);
    for (unsigned c = 0; c < CONNS; c++)
        T_CHECK(!m->conns[c]->seat.asked);
    ll_stats stats = t_stats(m->step.engine);
    waited.in_line += m->watch.waited;
    waited.for_both += m->watch.both;
    waited.in_gaps += m->watch.gaps;
    waited.gaps += stats.gate_gaps;
    waited.with_peer += peer && stats.gate_gaps > 0;
    waited.retries += stats.retries;
    waited.retry_hits += stats.retry_hits;
    waited.deferred += stats.deferred;
    for (unsigned c = 0; c < CONNS; c++) {
        T_CHECK(!t_state(m->conns[c]).in_transaction);
        ll_conn_unref(m->conns[c]);
    }
    lli_step_free(&m->step);
    if (peer)
        t_peer_end(peer);
    for (unsigned i = 0; i < FILES; i++) {
        check_file(m, paths[i], i);
        t_integrity(paths[i]);
        remove(paths[i]);
    }
    free(m);
}

static void test_random_histories(void **state)
{
    t_env *t = *state;
    const char *seed = getenv("LL_SEED"), *histories = getenv("LL_HISTORIES");
    uint64_t first = seed ? strtoull(seed, NULL, 10) : 1;
    uint64_t count = histories ? strtoull(histories, NULL, 10) : seed ? 1 : DEFAULT_HISTORIES;
    for (uint64_t i = 0; i < count; i++) {
        /* Printed before it runs, so that a crash tells it too. */
        fprintf(stderr, "\rseed %llu ", (unsigned long long)(first + i));
        history(t, first + i);
    }
    fprintf(stderr, "\r%llu missed, %llu of them found it, %llu deferred\n",
            (unsigned long long)waited.retries, (unsigned long long)waited.retry_hits,
            (unsigned long long)waited.deferred);
    fprintf(stderr, "\rin line %llu times, for two files %llu, in a gap %llu; %llu gaps\n",
            (unsigned long long)waited.in_line, (unsigned long long)waited.for_both,
            (unsigned long long)waited.in_gaps, (unsigned long long)waited.gaps);
    if (!seed) /* what is not met is not tested */
        T_CHECK(waited.in_line > 0 && waited.for_both > 0 && waited.in_gaps > 0 &&
                waited.with_peer > 0);
    fprintf(stderr, "\r%llu histories from seed %llu on\n", (unsigned long long)count,
            (unsigned long long)first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {T_TEST(test_random_histories)};
    return T_RUN(tests);
}
