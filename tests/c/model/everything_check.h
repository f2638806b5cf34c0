/* everything_check.h: what a history came to, told from the ends of its requests, in the order of their submission,
 * against what lies in the file and what was read. */
#ifndef T_MODEL_EVERYTHING_CHECK_H
#define T_MODEL_EVERYTHING_CHECK_H

#include "everything.h"

static inline void rows_become(struct model *m, unsigned session, enum fate fate)
{
    for (int64_t row = 1; row < m->next_row; row++)
        if (m->owner[row] == session && m->fate[row] == PENDING)
            m->fate[row] = (unsigned char)fate;
}

static inline void learn_write(struct model *m, const struct asked *a)
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
static inline void learn(struct model *m, const struct asked *a)
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
static inline void check_isolation(const struct model *m, const struct asked *a)
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

static inline void check_table(struct model *m)
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

static inline void check_all_were_told(const struct model *m)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct asked *a = &m->asked[i];
        if (a->request || (!a->immediate && a->calls != 1))
            t_fail(__FILE__, __LINE__, "%s of session %u was told %u times", kind_names[a->kind],
                   a->session, a->calls);
    }
}

static inline void check(struct model *m)
{
    for (size_t i = 0; i < m->count; i++)
        learn(m, &m->asked[i]);
    for (unsigned s = 0; s < m->session_count; s++) /* closing and resetting roll back */
        rows_become(m, s, ABSENT);
    for (size_t i = 0; i < m->count; i++)
        if (m->asked[i].kind == READ && m->asked[i].status == LL_OK)
            check_isolation(m, &m->asked[i]);
    check_table(m);
}

#endif
