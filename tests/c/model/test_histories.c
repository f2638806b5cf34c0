/* test_histories.c: random histories of everything at once, in one thread: connections of one's own, a writer (group
 * commit), a pool with leases, single statements and checkpoints in the background; workers, queues, gates, held
 * snapshots, turns of the loop, deadlines, cancellations and interrupts at any time, also in the middle of a statement.
 *
 * A *session* is whatever keeps an order: a connection, a lease from its acquire to its release, the single
 * writes of a pool with group commit, the writer's statements of nobody. Rows have numbers that grow with their submission. Checked are
 *   - order: what one session applied lies in the table in the order of its submission;
 *   - exactly once: each accepted request calls back once, each applied row is there once;
 *   - the outcome: a row told to be applied is there when its transaction was committed, one told not to be is not; and
 *     at the very moment when a single write is told, another connection sees it, or does not;
 *   - isolation: a read sees a transaction (or an executemany that is atomic) whole or not at all, nothing that was
 *     rolled back, and all that was known to be committed when it was asked for, unless its session is in a transaction
 *     or in the middle of a stream;
 *   - fairness: leases are given in the order of asking; no two leases have one connection;
 *   - reasons: cancelled is only what was cancelled, late only what had a deadline, interrupted what was interrupted;
 *   - nothing is left over: no request, no lease, no transaction, no object.
 * The lines in front of the gates are looked at by test_schedule.c, the turns of the loop by test_turns.c.
 *
 * How to run a failing history again: histories.h. */
#include "histories.h"

#include "base/fault.h"
#include "db/cost.h"
#include "engine/conn.h"
#include "engine/step.h"
#include "platform/clock.h"

enum {
    HOMES = 3,
    LEASES = 2,
    MOST_REQUESTS = 256,
    MOST_ROWS = 512,
    MOST_SESSIONS = 96,
    DEFAULT_HISTORIES = 10000,
    SESSION_POOL = HOMES,
    SESSION_NOBODY,
    FIRST_LEASE_SESSION
};

enum kind {
    INSERT,
    MANY,
    BEGIN,
    COMMIT,
    ROLLBACK,
    READ,
    STREAM,
    NEXT,
    ACQUIRE,
    KINDS
};
static const char *const kind_names[KINDS] = {"insert", "many",   "begin", "commit", "rollback",
                                              "read",   "stream", "next",  "acquire"};

enum fate {
    ABSENT,
    PRESENT,
    PENDING, /* in a transaction */
    EITHER
};

/* What is counted over all histories: what is not met is not tested. */
enum counted {
    APPLIED,
    CANCELLED,
    LATE,
    GROUPED,
    LEASED,
    POOLED,
    ON_LOOP,
    HELD,
    MISSED,
    WAITED,
    READS,
    CHECKPOINTS,
    EXHAUSTED,
    COUNTED
};

struct set {
    uint64_t bits[MOST_ROWS / 64];
};

struct asked {
    enum kind kind;
    unsigned session;
    int64_t first, count; /* the rows it inserts */
    bool atomic, deadline, cancelled, in_stream, immediate;
    unsigned calls;
    ll_request *request; /* NULL once it has called back and was given back */
    ll_status status;
    ll_outcome outcome;
    int code;
    struct set known, seen; /* READ: what it must see; what it saw */
};

struct session {
    ll_conn *conn; /* NULL: several, or gone */
    ll_lease *lease;
    ll_cursor *cursor;
    unsigned streams; /* that may still be open */
    bool interrupted; /* somebody has interrupted it */
    bool over;
    /* what the ends of its requests say */
    bool in_transaction, unsure;
    unsigned group;
};

struct model {
    const struct history_plan *plan;
    uint64_t random;
    struct lli_step step;
    ll_conn *writing;
    ll_writer *writer;
    ll_pool *pool;
    sqlite3 *look;
    sqlite3_stmt *is_there;
    bool ended, looking;
    struct asked asked[MOST_REQUESTS];
    size_t count;
    struct session sessions[MOST_SESSIONS];
    unsigned session_count;
    unsigned leases[LEASES]; /* their sessions; 0: none */
    int64_t next_row;
    unsigned char fate[MOST_ROWS];
    unsigned owner[MOST_ROWS], group[MOST_ROWS], groups;
    struct set
        committed; /* known by what was told: behind a request that is not in a transaction */
};

static struct model *current; /* callbacks and points come without a model */

static uint64_t draw(struct model *m, uint64_t below)
{
    m->random = history_mix(m->random);
    return m->random % below;
}

static bool has(const struct set *set, int64_t row)
{
    return set->bits[row / 64] >> (row % 64) & 1;
}

static void put(struct set *set, int64_t row)
{
    set->bits[row / 64] |= UINT64_C(1) << (row % 64);
}

#define TRACE(...)                        \
    do {                                  \
        if (current->plan->trace)         \
            fprintf(stderr, __VA_ARGS__); \
    } while (0)

/* ---- while it runs ---- */

/* Whether the row is in the file for others; -1: that cannot be seen now. */
static int seen_by_others(struct model *m, int64_t row)
{
    m->looking = true;
    sqlite3_bind_int64(m->is_there, 1, row);
    int rc = sqlite3_step(m->is_there);
    int answer = rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : -1;
    sqlite3_reset(m->is_there);
    m->looking = false;
    return answer;
}

/* A write of a session that never is in a transaction: what it was told is what others see, now. */
static void look_now(struct model *m, struct asked *a)
{
    bool single = a->session == SESSION_POOL || a->session == SESSION_NOBODY;
    if (a->kind != INSERT || !single || a->outcome == LL_UNKNOWN)
        return;
    int there = seen_by_others(m, a->first);
    if (there >= 0 && there != (a->outcome == LL_APPLIED))
        t_fail(__FILE__, __LINE__, "row %lld was told %s, and another connection %s it",
               (long long)a->first, a->outcome == LL_APPLIED ? "applied" : "not applied",
               there ? "sees" : "does not see");
    for (int64_t i = 0; i < a->count && a->outcome == LL_APPLIED; i++)
        put(&m->committed, a->first + i);
}

static void take_rows(struct asked *a, ll_request *request)
{
    t_rows rows = {.request = request};
    for (const ll_value *row; (row = t_rows_next(&rows)) != NULL;) {
        int64_t id = row[0].as.integer;
        T_CHECK(row[0].type == LL_INTEGER && id > 0 && id < MOST_ROWS && !has(&a->seen, id));
        put(&a->seen, id);
    }
    ll_batch_free(rows.batch);
}

static void take_lease(struct model *m, struct asked *a, ll_request *request)
{
    struct session *session = &m->sessions[a->session];
    session->lease = ll_request_take_lease(request);
    session->conn = ll_lease_conn(session->lease);
    T_CHECK(session->lease && session->conn);
    for (unsigned s = FIRST_LEASE_SESSION; s < m->session_count; s++)
        T_CHECK(s == a->session || m->sessions[s].over || !m->sessions[s].lease ||
                m->sessions[s].conn != session->conn);
    for (size_t i = 0; &m->asked[i] != a; i++)
        if (m->asked[i].kind == ACQUIRE && m->asked[i].request)
            T_CHECK(ll_request_is_done(m->asked[i].request)); /* who asked first is served first */
    m->plan->all->counts[LEASED]++;
}

static void explained(struct model *m, const struct asked *a, const ll_error *error)
{
    int code = a->code & 0xff;
    const struct session *session = &m->sessions[a->session];
    bool ok = false;
    switch (a->status) {
    case LL_OK:
        ok = a->outcome == LL_APPLIED;
        break;
    case LL_ECANCELLED:
        ok = a->cancelled;
        m->plan->all->counts[CANCELLED]++;
        break;
    case LL_ETIMEOUT:
        ok = a->deadline;
        m->plan->all->counts[LATE]++;
        break;
    case LL_EBUSY:
    case LL_EABORTED:
        ok = true;
        break;
    case LL_EEXHAUSTED:
        ok = a->kind == ACQUIRE || a->session == SESSION_POOL;
        m->plan->all->counts[EXHAUSTED]++;
        break;
    case LL_ECLOSED:
        ok = a->kind == NEXT;
        break;
    case LL_ESQL: /* BEGIN in a transaction, COMMIT without one, NEXT behind a rollback */
        ok = code == SQLITE_INTERRUPT ? session->interrupted || a->cancelled || session->unsure
           : code == SQLITE_ABORT     ? a->kind == NEXT
                                  : code == SQLITE_ERROR && a->kind >= BEGIN && a->kind <= ROLLBACK;
        break;
    default:
        break;
    }
    if (!ok)
        t_fail(__FILE__, __LINE__,
               "%s of session %u ended with %s (%d), and nothing explains it: %s",
               kind_names[a->kind], a->session, ll_status_name(a->status), a->code, error->message);
}

static void take_results(struct model *m, struct asked *a, ll_request *request)
{
    a->status = ll_request_status(request);
    a->outcome = ll_request_outcome(request);
    a->code = ll_request_error(request)->sqlite_code;
    TRACE("  told: %s of session %u, rows %lld+%lld: %s, outcome %d\n", kind_names[a->kind],
          a->session, (long long)a->first, (long long)a->count, ll_status_name(a->status),
          (int)a->outcome);
    if (!m->ended)
        explained(m, a, ll_request_error(request));
    m->plan->all->counts[APPLIED] += a->status == LL_OK;
    struct session *session = &m->sessions[a->session];
    if (a->kind == READ && a->status == LL_OK)
        take_rows(a, request);
    else if (a->kind == ACQUIRE && a->status == LL_OK)
        take_lease(m, a, request);
    else if (a->kind == ACQUIRE)
        session->over = true;
    if (a->kind == STREAM) {
        ll_cursor *cursor = ll_request_take_cursor(request);
        if (!cursor)
            session->streams--;
        else if (session->cursor || session->over) {
            ll_cursor_close(cursor);
            session->streams--;
        } else
            session->cursor = cursor;
    }
    look_now(m, a);
}

static void on_done(ll_request *request, void *user)
{
    struct asked *a = user;
    T_EQUAL(++a->calls, 1);
    T_CHECK(!a->immediate && a->request == request);
    take_results(current, a, request);
    ll_request_unref(a->request);
    a->request = NULL;
}

/* ---- what may happen ---- */

static void accepted(struct model *m, struct asked *a, ll_status status)
{
    if (status == LL_PENDING)
        return;
    if (status != LL_OK)
        t_fail(__FILE__, __LINE__, "%s was refused: %s", kind_names[a->kind], ll_last_error());
    a->immediate = true;
    take_results(m, a, a->request);
    ll_request_unref(a->request);
    a->request = NULL;
}

static struct asked *new_asked(struct model *m, enum kind kind, unsigned session, ll_submit *how)
{
    if (m->count >= MOST_REQUESTS)
        return NULL;
    static const unsigned flags[] = {0, 0, 0, LL_SUBMIT_INTERRUPT, LL_SUBMIT_SHIELD};
    struct asked *a = &m->asked[m->count++];
    *a = (struct asked){.kind = kind, .session = session, .known = m->committed};
    *how = (ll_submit){.done = on_done, .user = a, .flags = flags[draw(m, 5)]};
    if (draw(m, 6) == 0) {
        how->timeout_ns = (1 + draw(m, 200)) * LLI_MS;
        a->deadline = true;
    }
    a->in_stream = m->sessions[session].streams > 0;
    if (draw(m, 4) == 0)
        lli_fault_arm(LLI_FAULT_ATTEMPT, 1 + draw(m, 3));
    if (draw(m, 8) == 0)
        ll_engine_turn_charge(m->step.engine, T_HOUR);
    return a;
}

static bool give_rows(struct model *m, struct asked *a, int64_t count)
{
    if (m->next_row + count > MOST_ROWS) {
        m->count--;
        return false;
    }
    a->first = m->next_row;
    a->count = count;
    m->next_row += count;
    return true;
}

static const char insert_text[] = "INSERT INTO log(id, session) VALUES(?1, ?2)";
static const char slow_insert_text[] =
    "INSERT INTO log(id, session) SELECT ?1, ?2 + 0 * n FROM (WITH RECURSIVE c(x) AS (VALUES(1)"
    " UNION ALL SELECT x + 1 FROM c WHERE x < 400) SELECT count(*) AS n FROM c)";
static const char read_text[] = "SELECT id FROM log";
static const char slow_read_text[] =
    "SELECT id FROM log WHERE (WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c"
    " WHERE x < 400) SELECT count(*) FROM c) = 400";

static void insert(struct model *m, unsigned s)
{
    ll_submit how;
    struct asked *a = new_asked(m, INSERT, s, &how);
    if (!a || !give_rows(m, a, 1))
        return;
    ll_value values[] = {ll_integer(a->first), ll_integer(s)};
    ll_sql sql = {.text = draw(m, 4) ? insert_text : slow_insert_text,
                  .size = LL_NUL_TERMINATED,
                  .params = {.values = values, .count = 2}};
    TRACE("insert %lld by session %u\n", (long long)a->first, s);
    if (s == SESSION_POOL)
        accepted(m, a, ll_pool_exec(m->pool, &sql, &how, &a->request));
    else if (s == SESSION_NOBODY || (m->writer && s < HOMES && draw(m, 2)))
        accepted(m, a, ll_writer_submit(m->writer, m->sessions[s].conn, &sql, &how, &a->request));
    else
        accepted(m, a, ll_conn_submit(m->sessions[s].conn, &sql, &how, &a->request));
}

static void many(struct model *m, unsigned s)
{
    ll_submit how;
    struct asked *a = new_asked(m, MANY, s, &how);
    if (!a || !give_rows(m, a, 2 + (int64_t)draw(m, 4)))
        return;
    ll_value values[12];
    for (int64_t i = 0; i < a->count; i++) {
        values[2 * i] = ll_integer(a->first + i);
        values[2 * i + 1] = ll_integer(s);
    }
    a->atomic = draw(m, 3) > 0;
    ll_many rows = {.text = insert_text,
                    .size = LL_NUL_TERMINATED,
                    .values = values,
                    .rows = (size_t)a->count,
                    .width = 2,
                    .atomic = a->atomic};
    TRACE("many %lld+%lld by session %u\n", (long long)a->first, (long long)a->count, s);
    accepted(m, a, ll_exec_many(m->sessions[s].conn, &rows, &how, &a->request));
}

static void read_rows(struct model *m, unsigned s)
{
    ll_submit how;
    struct asked *a = new_asked(m, READ, s, &how);
    if (!a)
        return;
    ll_sql sql = {.text = draw(m, 4) ? read_text : slow_read_text, .size = LL_NUL_TERMINATED};
    TRACE("read by session %u\n", s);
    m->plan->all->counts[READS]++;
    accepted(m, a,
             s == SESSION_POOL ? ll_pool_exec(m->pool, &sql, &how, &a->request)
                               : ll_conn_submit(m->sessions[s].conn, &sql, &how, &a->request));
}

static void stream(struct model *m, unsigned s)
{
    struct session *session = &m->sessions[s];
    ll_submit how;
    if (session->cursor && draw(m, 3) == 0) {
        TRACE("close the stream of session %u\n", s);
        ll_cursor_close(session->cursor);
        session->cursor = NULL;
        session->streams--;
        return;
    }
    struct asked *a = new_asked(m, session->cursor ? NEXT : STREAM, s, &how);
    if (!a)
        return;
    TRACE("%s of session %u\n", kind_names[a->kind], s);
    if (a->kind == NEXT) {
        accepted(m, a, ll_cursor_next(session->cursor, &how, &a->request));
        return;
    }
    ll_sql sql = {
        .text = "SELECT l.id, c.x FROM log l, (WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL"
                " SELECT x + 1 FROM c WHERE x < 90) SELECT x FROM c) c",
        .size = LL_NUL_TERMINATED,
        .flags = LL_SQL_STREAM,
        .first_rows = 2};
    session->streams++;
    accepted(m, a, ll_conn_submit(session->conn, &sql, &how, &a->request));
}

static void transaction(struct model *m, unsigned s)
{
    static const enum kind kinds[] = {BEGIN, BEGIN, COMMIT, COMMIT, ROLLBACK};
    static const ll_begin modes[] = {LL_BEGIN_DEFERRED, LL_BEGIN_IMMEDIATE, LL_BEGIN_EXCLUSIVE};
    ll_submit how;
    struct asked *a = new_asked(m, kinds[draw(m, 5)], s, &how);
    if (!a)
        return;
    ll_conn *conn = m->sessions[s].conn;
    TRACE("%s by session %u\n", kind_names[a->kind], s);
    accepted(m, a,
             a->kind == BEGIN    ? ll_txn_begin(conn, modes[draw(m, 3)], &how, &a->request)
             : a->kind == COMMIT ? ll_txn_commit(conn, &how, &a->request)
                                 : ll_txn_rollback(conn, &how, &a->request));
}

static void on_conn(struct model *m, unsigned s)
{
    switch (draw(m, 10)) {
    case 0:
        many(m, s);
        break;
    case 1:
        stream(m, s);
        break;
    case 2:
    case 3:
    case 4:
        transaction(m, s);
        break;
    case 5:
    case 6:
        read_rows(m, s);
        break;
    default:
        insert(m, s);
        break;
    }
}

static void release(struct model *m, unsigned *slot)
{
    struct session *session = &m->sessions[*slot];
    TRACE("release session %u\n", *slot);
    session->over = true;
    if (session->cursor)
        ll_cursor_close(session->cursor);
    session->cursor = NULL;
    T_CHECK(ll_pool_release(session->lease, NULL, NULL) >= 0);
    session->lease = NULL;
    session->conn = NULL;
    *slot = 0;
}

/* A lease that is asked for, used, or given back. */
static void on_lease(struct model *m)
{
    unsigned *slot = &m->leases[draw(m, LEASES)];
    if (*slot && m->sessions[*slot].over)
        *slot = 0; /* it was not given */
    if (!*slot && m->session_count < MOST_SESSIONS) {
        ll_submit how;
        unsigned s = m->session_count;
        struct asked *a = new_asked(m, ACQUIRE, s, &how);
        if (!a)
            return;
        m->session_count++;
        *slot = s;
        TRACE("acquire session %u\n", s);
        accepted(m, a, ll_pool_acquire(m->pool, "history", &how, &a->request));
    } else if (*slot && m->sessions[*slot].lease) {
        if (draw(m, 6) == 0)
            release(m, slot);
        else
            on_conn(m, *slot);
    }
}

static void cancel(struct model *m)
{
    if (m->count == 0)
        return;
    struct asked *a = &m->asked[draw(m, m->count)];
    if (!a->request)
        return;
    TRACE("cancel %s of session %u, rows %lld+\n", kind_names[a->kind], a->session,
          (long long)a->first);
    a->cancelled = true;
    T_CHECK(ll_request_cancel(a->request) == LL_OK);
}

static void interrupt(struct model *m)
{
    unsigned s = (unsigned)draw(m, m->session_count);
    if (!m->sessions[s].conn)
        return;
    TRACE("interrupt session %u\n", s);
    m->sessions[s].interrupted = true;
    T_CHECK(ll_conn_interrupt(m->sessions[s].conn) == LL_OK);
}

/* Inside a running statement: what another thread could do now. */
static void on_point(void *arg)
{
    struct model *m = arg;
    if (m->looking || m->ended)
        return;
    if (draw(m, 4) == 0)
        cancel(m);
    if (draw(m, 12) == 0)
        lli_step_advance(&m->step, draw(m, 50) * LLI_MS);
}

static void move(struct model *m)
{
    struct lli_step_move moves[LLI_STEP_MOVES];
    size_t possible = lli_step_moves(&m->step, moves);
    if (possible > 0)
        lli_step_make(&m->step, moves[draw(m, possible)]);
}

static void act(struct model *m)
{
    uint64_t what = draw(m, 16);
    if (what < 4) {
        on_conn(m, (unsigned)draw(m, HOMES));
    } else if (what < 7 && m->pool) {
        if (draw(m, 3))
            on_lease(m);
        else if (draw(m, 3))
            insert(m, SESSION_POOL);
        else
            read_rows(m, SESSION_POOL);
    } else if (what == 7 && m->writer) {
        insert(m, SESSION_NOBODY);
    } else if (what == 8) {
        if (draw(m, 3))
            cancel(m);
        else if (draw(m, 3) == 0)
            interrupt(m);
        else
            lli_step_advance(&m->step, draw(m, 40) * LLI_MS);
    } else if (what == 9) {
        T_CHECK(ll_engine_dispatch(m->step.engine, NULL) == LL_OK);
    } else {
        for (uint64_t i = draw(m, 4) + 1; i > 0; i--)
            move(m);
    }
}

/* ---- what it came to ---- */

static void rows_become(struct model *m, unsigned session, enum fate fate)
{
    for (int64_t row = 1; row < m->next_row; row++)
        if (m->owner[row] == session && m->fate[row] == PENDING)
            m->fate[row] = (unsigned char)fate;
}

static void learn_write(struct model *m, const struct asked *a)
{
    struct session *session = &m->sessions[a->session];
    bool alone = !session->in_transaction;
    if (alone && (a->kind == INSERT || a->atomic))
        m->groups++;
    for (int64_t row = a->first; row < a->first + a->count; row++) {
        m->owner[row] = a->session;
        if (alone && a->kind == MANY && !a->atomic)
            m->groups++;
        m->group[row] = alone ? m->groups : session->group;
        m->fate[row] = a->outcome == LL_NOT_APPLIED                ? ABSENT
                     : a->outcome == LL_UNKNOWN || session->unsure ? EITHER
                     : alone                                       ? PRESENT
                                                                   : PENDING;
    }
    /* What writes and is stopped ends the transaction it is in. */
    if (session->in_transaction && a->status != LL_OK) {
        rows_become(m, a->session, EITHER);
        session->unsure = true;
    }
}

/* A session runs its requests in the order of their submission. */
static void learn(struct model *m, const struct asked *a)
{
    struct session *session = &m->sessions[a->session];
    bool applied = a->outcome == LL_APPLIED;
    switch (a->kind) {
    case INSERT:
    case MANY:
        learn_write(m, a);
        break;
    case BEGIN:
        if (applied) {
            session->in_transaction = true;
            session->unsure = false;
            session->group = ++m->groups;
        }
        break;
    case COMMIT:
    case ROLLBACK:
        if (!applied && a->outcome != LL_UNKNOWN)
            break; /* BUSY: still open */
        rows_become(m, a->session, !applied ? EITHER : a->kind == ROLLBACK ? ABSENT : PRESENT);
        session->in_transaction = session->unsure = false;
        break;
    case READ:
        if (a->status == LL_OK && !session->in_transaction && !a->in_stream)
            for (int64_t row = 1; row < MOST_ROWS; row++)
                if (has(&a->known, row) && !has(&a->seen, row))
                    t_fail(__FILE__, __LINE__,
                           "session %u does not read row %lld, which was committed before it asked",
                           a->session, (long long)row);
        break;
    default:
        break;
    }
}

/* Nothing that was rolled back, and each transaction of others whole or not at all. */
static void check_isolation(const struct model *m, const struct asked *a)
{
    for (int64_t row = 1; row < m->next_row; row++) {
        bool seen = has(&a->seen, row);
        if (m->owner[row] == a->session)
            continue;
        if (seen && m->fate[row] == ABSENT)
            t_fail(__FILE__, __LINE__, "session %u has read row %lld, which was never committed",
                   a->session, (long long)row);
        bool pair = row + 1 < m->next_row && m->group[row] == m->group[row + 1] &&
                    m->fate[row] == PRESENT && m->fate[row + 1] == PRESENT;
        if (pair && seen != has(&a->seen, row + 1))
            t_fail(__FILE__, __LINE__, "session %u has read rows %lld and %lld in part", a->session,
                   (long long)row, (long long)row + 1);
    }
}

static void check_table(struct model *m)
{
    sqlite3_stmt *stmt;
    struct set seen = {0};
    int64_t last[MOST_SESSIONS] = {0};
    T_CHECK(sqlite3_prepare_v2(m->look, "SELECT id, session FROM log ORDER BY seq", -1, &stmt,
                               NULL) == SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        int64_t row = sqlite3_column_int64(stmt, 0);
        unsigned session = (unsigned)sqlite3_column_int(stmt, 1);
        T_CHECK(row > 0 && row < m->next_row && m->owner[row] == session);
        if (has(&seen, row))
            t_fail(__FILE__, __LINE__, "row %lld is there twice", (long long)row);
        put(&seen, row);
        if (row < last[session] && session != SESSION_POOL)
            t_fail(__FILE__, __LINE__, "session %u: row %lld lies behind row %lld", session,
                   (long long)row, (long long)last[session]);
        last[session] = row;
    }
    sqlite3_finalize(stmt);
    for (int64_t row = 1; row < m->next_row; row++)
        if (m->fate[row] == PRESENT ? !has(&seen, row) : m->fate[row] == ABSENT && has(&seen, row))
            t_fail(__FILE__, __LINE__, "row %lld of session %u was told %s, and is%s there",
                   (long long)row, m->owner[row], m->fate[row] ? "applied" : "not applied",
                   m->fate[row] ? " not" : "");
}

/* ---- a history ---- */

static ll_conn *open_one(struct model *m, const char *path, const ll_open_options *options)
{
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(ll_conn_open(m->step.engine, path, options, NULL, &conn, &request) == LL_PENDING);
    lli_step_settle(&m->step);
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    return conn;
}

static void begin(struct model *m, const char *path)
{
    bool wal = draw(m, 3) > 0;
    static const char *const wal_pragmas[] = {"journal_mode=WAL", "synchronous=OFF", NULL};
    static const char *const plain_pragmas[] = {"synchronous=OFF", NULL};
    ll_open_options open = {.pragmas = wal ? wal_pragmas : plain_pragmas,
                            .busy_timeout_ns = 300 * LLI_MS};
    T_CHECK(lli_step_new(&m->step, 1 + (unsigned)draw(m, 3), on_point, m) == LL_OK);
    for (unsigned i = 0; i < HOMES; i++)
        m->sessions[i].conn = open_one(m, path, &open);
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
static void settle(struct model *m)
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
        for (unsigned s = 0; s < HOMES; s++) {
            ll_request *request = NULL;
            T_CHECK(ll_txn_rollback(m->sessions[s].conn, NULL, &request) >= 0);
            lli_step_settle(&m->step);
            T_CHECK(ll_request_is_done(request));
            ll_request_unref(request);
        }
    }
}

static void count(struct model *m)
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

static void end(struct model *m)
{
    count(m);
    for (unsigned s = 0; s < HOMES; s++) {
        T_CHECK(!t_state(m->sessions[s].conn).in_transaction);
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

static void check(struct model *m)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct asked *a = &m->asked[i];
        if (a->request || (!a->immediate && a->calls != 1))
            t_fail(__FILE__, __LINE__, "%s of session %u was told %u times", kind_names[a->kind],
                   a->session, a->calls);
        learn(m, a);
    }
    for (unsigned s = 0; s < m->session_count; s++) /* closing and resetting roll back */
        rows_become(m, s, ABSENT);
    for (size_t i = 0; i < m->count; i++)
        if (m->asked[i].kind == READ && m->asked[i].status == LL_OK)
            check_isolation(m, &m->asked[i]);
    check_table(m);
}

static void make_file(const char *path)
{
    sqlite3 *db = t_raw_open(path);
    t_raw(db, "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;"
              "CREATE TABLE log(seq INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER UNIQUE,"
              " session INTEGER)");
    t_raw_close(db);
}

static void remove_files(const struct history_plan *plan)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    char path[600];
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/h.db%s", plan->t->dir, endings[i]);
        unlink(path);
    }
}

static void history(const struct history_plan *plan)
{
    struct model *m = calloc(1, sizeof *m);
    char path[600];
    T_CHECK(m != NULL);
    size_t live = ll_live_objects();
    current = m;
    m->plan = plan;
    m->random = plan->seed;
    m->next_row = 1;
    snprintf(path, sizeof path, "%s/h.db", plan->t->dir);
    lli_cost_clear();
    remove_files(plan); /* a child that failed leaves them */
    make_file(path);
    begin(m, path);
    size_t actions = 20 + draw(m, 100);
    for (size_t i = 0; i < actions; i++) {
        if (!plan->keep[i])
            continue;
        m->random = history_mix(plan->seed * HISTORY_MOST + i);
        if (plan->trace)
            fprintf(stderr, "%zu: ", i);
        act(m);
        TRACE("\n");
    }
    settle(m);
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

static void any_history(void **state)
{
    static const char *const names[COUNTED] = {
        "requests applied", "cancelled",       "late",           "in a group",
        "leases",           "through a pool",  "on the loop",    "in a held snapshot",
        "pages missed",     "waits at a gate", "reads compared", "checkpoints beside",
        "pool exhausted"};
    uint64_t usual = getenv("LL_TEST_SLOW") ? DEFAULT_HISTORIES / 50 : DEFAULT_HISTORIES;
    const struct histories *all = history_all(*state, history, usual);
    if (!all)
        return;
    print_message("%llu histories\n", (unsigned long long)all->done);
    for (unsigned i = 0; i < COUNTED; i++) {
        print_message("  %-20s %llu\n", names[i], (unsigned long long)all->counts[i]);
        if (all->done >= 100 && all->counts[i] == 0)
            t_fail(__FILE__, __LINE__, "never met: %s", names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {T_TEST(any_history)};
    return T_RUN(tests);
}
