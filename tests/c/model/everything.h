/* everything.h: a model of everything at once, in one thread: what may be done, and what is looked at while it is done.
 * test_histories.c says what is checked; everything_check.h looks at what it came to. */
#ifndef T_MODEL_EVERYTHING_H
#define T_MODEL_EVERYTHING_H

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
    unsigned streams;     /* that may still be open */
    bool interrupted;     /* somebody has interrupted it */
    bool fetch_cancelled; /* ... or the reading of its cursor, for all who wait there */
    bool over;
    /* what the ends of its requests say */
    bool in_transaction, unsure;
    unsigned group;
};

struct model {
    struct history_plan *plan;
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
    unsigned homes, session_count;
    unsigned leases[LEASES]; /* their sessions; 0: none */
    int64_t next_row;
    unsigned char fate[MOST_ROWS];
    unsigned owner[MOST_ROWS], group[MOST_ROWS], groups;
    struct set
        committed; /* known by what was told: behind a request that is not in a transaction */
};

static struct model *current; /* callbacks and points come without a model */

/* By the seed, or by the bytes of a fuzzer as long as there are some. */
static inline uint64_t draw(struct model *m, uint64_t below)
{
    if (m->plan->bytes_left > 0) {
        m->plan->bytes_left--;
        return *m->plan->bytes++ % below;
    }
    m->random = history_mix(m->random);
    return m->random % below;
}

static inline bool has(const struct set *set, int64_t row)
{
    return set->bits[row / 64] >> (row % 64) & 1;
}

static inline void put(struct set *set, int64_t row)
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
static inline int seen_by_others(struct model *m, int64_t row)
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
static inline void look_now(struct model *m, struct asked *a)
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

static inline void take_rows(struct asked *a, ll_request *request)
{
    t_rows rows = {.request = request};
    for (const ll_value *row; (row = t_rows_next(&rows)) != NULL;) {
        int64_t id = row[0].as.integer;
        T_CHECK(row[0].type == LL_INTEGER && id > 0 && id < MOST_ROWS && !has(&a->seen, id));
        put(&a->seen, id);
    }
    ll_batch_free(rows.batch);
}

static inline void take_lease(struct model *m, struct asked *a, ll_request *request)
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

static inline void explained(struct model *m, const struct asked *a, const ll_error *error)
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
        ok = code == SQLITE_INTERRUPT ? session->interrupted || a->cancelled || session->unsure ||
                                            (a->kind == NEXT && session->fetch_cancelled)
           : code == SQLITE_ABORT ? a->kind == NEXT
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

static inline void take_results(struct model *m, struct asked *a, ll_request *request)
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

/* The callbacks of a session come in the order of asking; who is stopped may end before his turn. */
static inline void told_in_order(struct model *m, const struct asked *a)
{
    bool ordered = a->session != SESSION_POOL && a->kind != NEXT && a->kind != STREAM;
    for (const struct asked *b = m->asked; ordered && a->status == LL_OK && b != a; b++)
        if (b->session == a->session && b->request && b->kind != NEXT)
            t_fail(__FILE__, __LINE__,
                   "session %u: %s was told before %s, which was asked for before", a->session,
                   kind_names[a->kind], kind_names[b->kind]);
}

static inline void on_done(ll_request *request, void *user)
{
    struct asked *a = user;
    if (++a->calls != 1)
        t_fail(__FILE__, __LINE__, "%s of session %u was told a second time", kind_names[a->kind],
               a->session);
    T_CHECK(!a->immediate && a->request == request);
    take_results(current, a, request);
    told_in_order(current, a);
    ll_request_unref(a->request);
    a->request = NULL;
}

/* ---- what may happen ---- */

static inline void accepted(struct model *m, struct asked *a, ll_status status)
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

static inline struct asked *new_asked(struct model *m, enum kind kind, unsigned session,
                                      ll_submit *how)
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

static inline bool give_rows(struct model *m, struct asked *a, int64_t count)
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

static inline void insert(struct model *m, unsigned s)
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

static inline void many(struct model *m, unsigned s)
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

static inline void read_rows(struct model *m, unsigned s)
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

static inline void stream(struct model *m, unsigned s)
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
    if (a->kind == STREAM)
        session->fetch_cancelled = false;
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

static inline void transaction(struct model *m, unsigned s)
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

/* Reads without a turn of the loop between them share a snapshot, which a write has to let go of. */
static inline void read_often(struct model *m, unsigned s)
{
    for (uint64_t i = 2 + draw(m, 3); i > 0; i--)
        read_rows(m, s);
    if (draw(m, 2))
        insert(m, s);
}

static inline void on_conn(struct model *m, unsigned s)
{
    switch (draw(m, 11)) {
    case 10:
        read_often(m, s);
        break;
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

static inline void release(struct model *m, unsigned *slot)
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
static inline void on_lease(struct model *m)
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

static inline void cancel(struct model *m)
{
    if (m->count == 0)
        return;
    struct asked *a = &m->asked[draw(m, m->count)];
    if (!a->request)
        return;
    TRACE("cancel %s of session %u, rows %lld+\n", kind_names[a->kind], a->session,
          (long long)a->first);
    a->cancelled = true;
    if (a->kind == NEXT)
        m->sessions[a->session].fetch_cancelled = true;
    T_CHECK(ll_request_cancel(a->request) == LL_OK);
}

static inline void interrupt(struct model *m)
{
    unsigned s = (unsigned)draw(m, m->session_count);
    if (!m->sessions[s].conn)
        return;
    TRACE("interrupt session %u\n", s);
    m->sessions[s].interrupted = true;
    T_CHECK(ll_conn_interrupt(m->sessions[s].conn) == LL_OK);
}

/* Inside a running statement: what another thread could do now. */
static inline void on_point(void *arg)
{
    struct model *m = arg;
    if (m->looking || m->ended)
        return;
    if (draw(m, 4) == 0)
        cancel(m);
    if (draw(m, 12) == 0)
        lli_step_advance(&m->step, draw(m, 50) * LLI_MS);
}

static inline void move(struct model *m)
{
    struct lli_step_move moves[LLI_STEP_MOVES];
    size_t possible = lli_step_moves(&m->step, moves);
    if (possible > 0)
        lli_step_make(&m->step, moves[draw(m, possible)]);
}

static inline void act(struct model *m)
{
    uint64_t what = draw(m, 16);
    if (what < 4) {
        on_conn(m, (unsigned)draw(m, m->homes));
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

#endif
