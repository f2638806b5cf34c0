/* test_turns.c: random schedules of what waits for its loop: missing pages, spent turns, held snapshots, inline writes,
 * with cancellations, deadlines and interrupts at any time, in one thread with a scripted clock.
 *
 * A history is made from a seed. One connection writes, in transactions that are open most of the time, so that its
 * writes by key run on the loop; the others read what it has committed. Time passes only inside statements, so how much
 * of a turn was used is known exactly. Checked are
 *   - the turn: what ran on the loop between two dispatches takes no longer than the turn and one more try;
 *   - misses: at most eight of them in a turn, and no request is tried on the loop a third time;
 *   - patience: nobody waits for a turn longer than four of them before a worker has it;
 *   - cancellation: what waits for its loop has not begun, so it ends on the spot and leaves nothing behind;
 *   - order and truth: the writer reads what it has written last; a reader sees nothing older than what was known to be
 *     committed when it asked, nothing that was never asked for, and nothing older than it has seen before;
 *   - each request ends once, and nothing is left over.
 *
 * A failing history prints its seed; LL_SEED=<seed> runs that one alone, LL_HISTORIES=<n> more of
 * them, from that seed on. */
#include "support/support.h"

#include "base/fault.h"
#include "db/attempt.h"
#include "db/cost.h"
#include "db/vfs_shim.h"
#include "engine/conn.h"
#include "engine/step.h"
#include "platform/clock.h"

enum {
    CONNS = 12, /* the first one writes */
    MOST_REQUESTS = 600,
    DEFAULT_HISTORIES = 200,
    MOST_MISSES = 8, /* as in engine/delay.c */
    MOST_TURNS = 4
};
static const uint64_t most_step_ns = LLI_MS / 10; /* between two looks at the clock */

static const char quick_read[] = "SELECT v FROM n WHERE id = 0";
/* 1 000 to 3 000 steps more, so that the clock is looked at in its middle */
static const char medium_read[] =
    "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < 200) "
    "SELECT v FROM n WHERE id = 0 AND (SELECT count(*) FROM c) = 200";

enum kind {
    READ,
    WRITE,
    BEGIN,
    COMMIT
};

struct entry {
    enum kind kind;
    unsigned conn;
    int64_t value; /* WRITE: what it writes; READ: what it found, -1: nothing */
    int64_t least; /* READ: what was known to be committed when it was asked for */
    ll_request *request;
    ll_status status;
    ll_outcome outcome;
    bool done, waited_for_loop_when_cancelled;
};

struct model {
    uint64_t random;
    struct lli_step step;
    ll_conn *conns[CONNS];
    struct entry entries[MOST_REQUESTS];
    size_t count;
    uint64_t loop_ns;        /* used on the loop since the last dispatch began */
    uint64_t misses;         /* what the statistics said then */
    unsigned waiting[CONNS]; /* dispatches that it has waited for its turn */
    uint64_t cold;           /* one request in so many misses a page */
    uint64_t span_ns;        /* what a step takes at most */
    /* what the ends of the writer's requests say, in the order of their submission */
    size_t learnt;
    bool in_transaction, unsure;
    int64_t written, committed;
};

static struct model *current; /* callbacks come without a model */

static struct {
    uint64_t inline_hits, retries, retry_hits, deferred, takes, hits, bounced, stopped_here;
} all; /* histories together */

static uint64_t draw(struct model *m, uint64_t below)
{
    m->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = m->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

static ll_stats stats_of(const struct model *m)
{
    return t_stats(m->step.engine);
}

/* ---- what the ends say ---- */

/* Goes on through the writer's requests as far as they have ended. */
static void learn(struct model *m)
{
    for (; m->learnt < m->count; m->learnt++) {
        struct entry *e = &m->entries[m->learnt];
        if (e->conn != 0)
            continue;
        if (!e->done)
            return;
        bool applied = e->outcome == LL_APPLIED;
        m->unsure = m->unsure || e->outcome == LL_UNKNOWN;
        if (m->unsure)
            continue;
        switch (e->kind) {
        case BEGIN:
            m->in_transaction = m->in_transaction || applied;
            break;
        case COMMIT:
            if (applied) {
                m->in_transaction = false;
                m->committed = m->written;
            }
            break;
        case WRITE:
            if (applied)
                m->written = e->value;
            if (applied && !m->in_transaction)
                m->committed = m->written;
            break;
        case READ:
            if (e->status == LL_OK)
                T_EQUAL(e->value, m->written);
            break;
        }
    }
}

static void take_results(struct model *m, struct entry *e, ll_request *request)
{
    T_CHECK(!e->done);
    e->done = true;
    e->status = ll_request_status(request);
    e->outcome = ll_request_outcome(request);
    if (e->kind == READ)
        e->value = -1;
    if (e->status == LL_OK) {
        T_CHECK(e->outcome == LL_APPLIED);
        if (e->kind == READ) {
            t_rows rows = {.request = request};
            const ll_value *row = t_rows_next(&rows);
            T_CHECK(row && row[0].type == LL_INTEGER);
            e->value = row[0].as.integer;
            T_CHECK(!t_rows_next(&rows));
            ll_batch_free(rows.batch);
        }
    }
    if (e->waited_for_loop_when_cancelled) {
        T_CHECK(e->status == LL_ECANCELLED || e->status == LL_ETIMEOUT || e->status == LL_ESQL);
        T_CHECK(e->outcome == LL_NOT_APPLIED);
    }
    if (e->kind == READ && e->conn > 0 && e->value >= 0) {
        T_CHECK(e->value >= e->least);
        T_CHECK(e->value <= (int64_t)m->count);
    }
    learn(m);
}

static void on_done(ll_request *request, void *user)
{
    struct entry *e = user;
    take_results(current, e, request);
    ll_request_unref(e->request);
    e->request = NULL;
}

/* ---- what may happen ---- */

static bool waits_for_loop(const struct model *m, unsigned conn)
{
    return m->conns[conn]->mode == LLI_CONN_DELAYED;
}

static void submit(struct model *m)
{
    if (m->count == MOST_REQUESTS)
        return;
    struct entry *e = &m->entries[m->count++];
    ll_submit how = {.done = on_done, .user = e};
    e->conn = draw(m, 3) == 0 ? 0 : (unsigned)draw(m, CONNS);
    e->least = m->committed;
    if (draw(m, 10) == 0)
        how.timeout_ns = (1 + draw(m, 400)) * 1000;
    ll_conn *conn = m->conns[e->conn];
    ll_status status;
    uint64_t what = e->conn == 0 ? draw(m, 10) : 8;
    if (draw(m, m->cold) == 0)
        lli_fault_arm(LLI_FAULT_ATTEMPT, 1 + draw(m, 4));
    if (what == 0) {
        e->kind = COMMIT;
        status = ll_txn_commit(conn, &how, &e->request);
    } else if (what <= 2) {
        e->kind = BEGIN;
        status = ll_txn_begin(conn, LL_BEGIN_IMMEDIATE, &how, &e->request);
    } else if (what <= 6) {
        e->kind = WRITE;
        e->value = (int64_t)m->count;
        ll_value value = ll_integer(e->value);
        status = ll_exec(conn, "UPDATE n SET v = ?1 WHERE id = 0", &value, 1, &how, &e->request);
    } else {
        e->kind = READ;
        status = ll_query(conn, draw(m, 2) ? quick_read : medium_read, NULL, 0, &how, &e->request);
    }
    T_CHECK(status == LL_OK || status == LL_PENDING);
    if (status == LL_PENDING)
        return;
    T_CHECK(!waits_for_loop(m, e->conn));
    ll_request *request = e->request;
    take_results(m, e, request);
    ll_request_unref(request);
    e->request = NULL;
}

static void cancel(struct model *m)
{
    struct entry *e = &m->entries[draw(m, m->count + 1)];
    if (!e->request)
        return;
    bool here = waits_for_loop(m, e->conn) && !ll_request_is_done(e->request) &&
                e->kind != COMMIT; /* that one is shielded */
    e->waited_for_loop_when_cancelled = here;
    T_CHECK(ll_request_cancel(e->request) == LL_OK);
    if (here) {
        T_CHECK(ll_request_is_done(e->request));
        all.stopped_here++;
    }
}

static void interrupt(struct model *m)
{
    unsigned conn = (unsigned)draw(m, CONNS);
    ll_request *begun =
        NULL; /* it has missed a page, and waits for it: the interrupt is meant for it */
    for (size_t i = 0; i < m->count && waits_for_loop(m, conn) && !begun; i++) {
        ll_request *request = m->entries[i].request;
        if (m->entries[i].conn == conn && request && request->missed > 0 &&
            !ll_request_is_done(request))
            begun = request;
    }
    T_CHECK(ll_conn_interrupt(m->conns[conn]) == LL_OK);
    T_CHECK(!begun || ll_request_is_done(begun));
}

/* In the middle of a statement: time passes, and what another thread could do is done. */
static void on_point(void *arg)
{
    struct model *m = arg;
    uint64_t span = draw(m, m->span_ns + 1);
    if (lli_attempt_now)
        m->loop_ns += span;
    lli_step_advance(&m->step, span);
    if (draw(m, 8) == 0)
        cancel(m);
}

static void dispatch(struct model *m)
{
    ll_engine *engine = m->step.engine;
    T_CHECK(m->loop_ns <= engine->turn_ns + engine->attempt_ns + most_step_ns);
    uint64_t misses = stats_of(m).misses;
    T_CHECK(misses - m->misses <= MOST_MISSES);
    m->misses = misses;
    m->loop_ns = 0;
    T_CHECK(ll_engine_dispatch(engine, NULL) == LL_OK);
    for (unsigned c = 0; c < CONNS; c++) {
        bool waits = waits_for_loop(m, c) && !lli_timer_armed(&m->conns[c]->retry);
        m->waiting[c] = waits ? m->waiting[c] + 1 : 0;
        T_CHECK(m->waiting[c] <= MOST_TURNS);
    }
    for (size_t i = 0; i < m->count; i++)
        T_CHECK(!m->entries[i].request || m->entries[i].request->missed <= 2);
}

/* A move, but the loop's own turns, which are counted. */
static void move(struct model *m)
{
    struct lli_step_move moves[LLI_STEP_MOVES];
    size_t possible = lli_step_moves(&m->step, moves);
    if (possible == 0)
        return;
    struct lli_step_move chosen = moves[draw(m, possible)];
    if (chosen.kind != LLI_STEP_RETRY) {
        lli_step_make(&m->step, chosen);
        return;
    }
    uint64_t due = lli_timers_next(&m->step.engine->retries);
    if (due > m->step.now_ns)
        lli_step_advance(&m->step, due - m->step.now_ns);
    dispatch(m);
}

/* ---- a history ---- */

static void open_conns(struct model *m, const char *path)
{
    const char *pragmas[] = {"synchronous=OFF", NULL};
    ll_open_options options = {.pragmas = pragmas, .busy_timeout_ns = 100 * LLI_MS};
    for (unsigned c = 0; c < CONNS; c++) {
        ll_request *request = NULL;
        T_CHECK(ll_conn_open(m->step.engine, path, &options, NULL, &m->conns[c], &request) ==
                LL_PENDING);
        lli_step_settle(&m->step);
        t_is(request, LL_OK, LL_APPLIED);
        ll_request_unref(request);
        for (int i = 0; i < 3;
             i++) { /* has opened the WAL, and a history for what is not bounded */
            const char *texts[] = {quick_read, medium_read};
            for (int k = 0; k < 2; k++) {
                T_CHECK(ll_query(m->conns[c], texts[k], NULL, 0, NULL, &request) >= 0);
                lli_step_settle(&m->step);
                t_is(request, LL_OK, LL_APPLIED);
                ll_request_unref(request);
            }
        }
    }
}

static void finish(struct model *m)
{
    lli_fault_disarm();
    lli_step_settle(&m->step);
    struct entry *e = &m->entries[m->count < MOST_REQUESTS ? m->count++ : m->count - 1];
    T_CHECK(!e->request);
    *e = (struct entry){.kind = COMMIT};
    ll_submit how = {.done = on_done, .user = e};
    if (ll_txn_commit(m->conns[0], &how, &e->request) == LL_OK) {
        e->done = true;
        e->outcome = LL_APPLIED;
        ll_request_unref(e->request);
        e->request = NULL;
    }
    lli_step_settle(&m->step);
    int64_t seen[CONNS] = {0}; /* a connection runs its requests in the order of their submission */
    for (size_t i = 0; i < m->count; i++) {
        const struct entry *old = &m->entries[i];
        T_CHECK(old->done && !old->request);
        if (old->kind != READ || old->value < 0)
            continue;
        T_CHECK(old->value >= seen[old->conn]);
        seen[old->conn] = old->value;
    }
    learn(m);
    ll_stats stats = stats_of(m);
    all.inline_hits += stats.inline_hits;
    all.retries += stats.retries;
    all.retry_hits += stats.retry_hits;
    all.deferred += stats.deferred;
    all.takes += stats.snapshot_takes;
    all.hits += stats.snapshot_hits;
    all.bounced += stats.bounced_time + stats.handovers;
    T_CHECK(stats.retry_hits <= stats.retries);
    for (unsigned c = 0; c < CONNS; c++) {
        T_CHECK(t_state(m->conns[c]).idle && !t_state(m->conns[c]).in_transaction);
        T_CHECK(!lli_snapshot_held(&m->conns[c]->db.snapshot)); /* its turn is over */
        ll_conn_unref(m->conns[c]);
    }
    lli_step_free(&m->step);
}

static void history(t_env *t, uint64_t seed)
{
    struct model *m = calloc(1, sizeof *m);
    T_CHECK(m);
    current = m;
    m->random = seed;
    const char *path = t_path(t, t_printf(t, "h%llu.db", (unsigned long long)seed));
    lli_cost_clear();
    t_file_sql(path, draw(m, 4) ? "PRAGMA journal_mode = WAL" : "PRAGMA journal_mode = DELETE");
    t_file_sql(path, "CREATE TABLE n(id INTEGER PRIMARY KEY, v); INSERT INTO n VALUES(0, 0)");
    T_CHECK(lli_step_new(&m->step, 1 + (unsigned)draw(m, 3), on_point, m) == LL_OK);
    open_conns(m, path);
    m->misses = stats_of(m).misses;
    m->loop_ns = 0;
    ll_engine_new_turn(m->step.engine);
    m->cold = draw(m, 3) ? 2 + draw(m, 20) : 1;
    m->span_ns = (1 + draw(m, 4)) * most_step_ns / 4;
    uint64_t often = 2 + draw(m, 60); /* how seldom the loop comes round */
    for (size_t i = 0, actions = 100 + draw(m, 500); i < actions; i++) {
        uint64_t action = draw(m, often + 8);
        if (action < 4)
            move(m);
        else if (action == 4)
            dispatch(m);
        else if (action == 5)
            draw(m, 2) ? cancel(m) : (void)0;
        else if (action == 6)
            draw(m, 6) ? (void)0 : interrupt(m);
        else
            submit(m);
    }
    finish(m);
    if (!m->unsure)
        T_EQUAL(t_file_int(path, "SELECT v FROM n"), m->committed);
    t_integrity(path);
    remove(path);
    free(m);
}

static void test_random_turns(void **state)
{
    t_env *t = *state;
    sqlite3 *db = NULL;
    struct lli_file_facts facts;
    T_CHECK(sqlite3_open_v2(t_path(t, "probe.db"), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                            LLI_VFS_NAME) == SQLITE_OK);
    t_raw(db, "CREATE TABLE t(x)");
    bool known = lli_vfs_file_facts(db, "main", &facts);
    t_raw_close(db);
    if (!known || facts.guard != LLI_DISK_NOWAIT)
        skip(); /* no page is ever waited for here */
    const char *seed = getenv("LL_SEED"), *histories = getenv("LL_HISTORIES");
    uint64_t first = seed ? strtoull(seed, NULL, 10) : 1;
    uint64_t count = histories              ? strtoull(histories, NULL, 10)
                   : seed                   ? 1
                   : getenv("LL_TEST_SLOW") ? DEFAULT_HISTORIES / 4
                                            : DEFAULT_HISTORIES;
    for (uint64_t i = 0; i < count; i++) {
        fprintf(stderr, "\rseed %llu ",
                (unsigned long long)(first + i)); /* a crash tells it, too */
        history(t, first + i);
    }
    fprintf(stderr,
            "\r%llu on the loop, %llu missed, %llu of them found it, %llu deferred, %llu stopped "
            "there, %llu cut off, %llu joined %llu snapshots\n",
            (unsigned long long)all.inline_hits, (unsigned long long)all.retries,
            (unsigned long long)all.retry_hits, (unsigned long long)all.deferred,
            (unsigned long long)all.stopped_here, (unsigned long long)all.bounced,
            (unsigned long long)all.hits, (unsigned long long)all.takes);
    if (count >= DEFAULT_HISTORIES / 4) /* or the histories are not about what they mean */
        T_CHECK(all.retry_hits > 100 && all.deferred > 100 && all.stopped_here > 10 &&
                all.bounced > 10 && all.hits > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {T_TEST(test_random_turns)};
    return T_RUN(tests);
}
