/* Group commit: who shares a transaction, when they are answered, and what becomes of the others when one fails. */
#include "groupworld.h"

static const char plain[] = "CREATE TABLE t(x UNIQUE)";

static void ask_all(struct group *g)
{
    for (size_t i = 0; i < HOMES; i++)
        group_ask(g, i, t_printf(g->w.t, "INSERT INTO t VALUES(%d)", (int)i));
}

static void all_applied(struct group *g, size_t but)
{
    for (size_t i = 0; i < HOMES; i++)
        if (i != but) {
            t_is(g->requests[i], LL_OK, LL_APPLIED);
            T_EQUAL(g->told[i].calls, 1);
        }
}

/* ---- batches ---- */

static void who_waits_at_the_same_time_shares_a_commit(void **state)
{
    for (int with_wal = 0; with_wal < 2; with_wal++) {
        struct group g;
        group_begin(&g, *state, "DROP TABLE IF EXISTS t; CREATE TABLE t(x UNIQUE)", with_wal);
        ll_writer_stats before = group_stats(&g);
        ll_stats engine_before = world_stats(&g.w);
        ask_all(&g);
        for (size_t i = 0; i < HOMES; i++)
            T_CHECK(!t_state(g.homes[i]).idle);
        group_settle(&g);
        all_applied(&g, SIZE_MAX);
        for (size_t i = 0; i < HOMES; i++) {
            T_EQUAL(ll_request_changes(g.requests[i]), 1);
            T_EQUAL(ll_request_rowid(g.requests[i]), i + 1);
            T_CHECK(ll_request_is_dml(g.requests[i]) && !ll_request_is_read(g.requests[i]));
            T_CHECK(i == 0 || g.told[i].order == g.told[i - 1].order + 1);
            T_CHECK(t_state(g.homes[i]).idle);
        }
        ll_writer_stats after = group_stats(&g);
        T_EQUAL(after.batches - before.batches, 1);
        T_EQUAL(after.members - before.members, HOMES);
        T_EQUAL(after.largest, HOMES);
        T_EQUAL(after.alone, 0);
        T_EQUAL(world_stats(&g.w).group_members - engine_before.group_members, HOMES);
        T_EQUAL(group_int(&g, "SELECT count(*) FROM t"), HOMES);
        group_end(&g);
    }
}

/* The batch closes when nobody waits: no time has to pass, and there is one hop, to the writer. */
static void a_lone_writer_waits_for_nobody(void **state)
{
    struct group g;
    group_begin(&g, *state, plain, true);
    uint64_t now = g.w.step.now_ns, hops = world_stats(&g.w).hops;
    ll_writer_stats before = group_stats(&g);
    for (int i = 0; i < 5; i++)
        group_exec(&g, 0, t_printf(g.w.t, "INSERT INTO t VALUES(%d)", i));
    T_EQUAL(g.w.step.now_ns, now);
    T_EQUAL(group_stats(&g).batches - before.batches, 5);
    T_EQUAL(group_stats(&g).members - before.members, 5);
    T_EQUAL(world_stats(&g.w).hops - hops, 5);
    group_end(&g);
}

static void a_batch_has_its_limits(void **state)
{
    struct group g;
    t_env *t = *state;
    ll_open_options options = {.pragmas = group_wal};
    group_begin_with(&g, t, plain, &options, &(ll_writer_options){.max_members = 2});
    group_warm(&g);
    ll_writer_stats before = group_stats(&g);
    ask_all(&g);
    group_settle(&g);
    all_applied(&g, SIZE_MAX);
    T_EQUAL(group_stats(&g).batches - before.batches, HOMES / 2);
    T_EQUAL(group_stats(&g).largest, 2);
    for (size_t i = 1; i < HOMES; i++)
        T_CHECK(g.told[i].order > g.told[i - 1].order);
    group_end(&g);
}

/* ---- nobody is answered before COMMIT ---- */

static size_t answered(const struct group *g)
{
    size_t done = 0;
    for (size_t i = 0; i < HOMES; i++)
        done += ll_request_is_done(g->requests[i]);
    return done;
}

/* In rollback mode a reader keeps COMMIT out: everybody has run, nobody is answered. */
static void nobody_is_answered_before_the_commit(void **state)
{
    struct group g;
    group_begin(&g, *state, plain, false);
    ll_conn *reader = world_open(&g.w, "a.db", NULL);
    world_exec(&g.w, reader, "BEGIN");
    world_exec(&g.w, reader, "SELECT count(*) FROM t");
    ask_all(&g);
    for (int i = 0; i < 200; i++) {
        T_CHECK(group_move(&g));
        T_EQUAL(answered(&g), 0);
    }
    T_CHECK(g.writer->committing);
    T_EQUAL(g.writer->count, HOMES);
    T_EQUAL(group_ask_home(&g, reader, "SELECT count(*) FROM t"), 0);
    ll_request *end = NULL;
    T_CHECK(ll_txn_commit(reader, NULL, &end) >= 0);
    group_settle(&g);
    all_applied(&g, SIZE_MAX);
    T_EQUAL(group_stats(&g).reruns, 0);
    ll_request_unref(end);
    world_close(&g.w, reader);
    T_EQUAL(group_int(&g, "SELECT count(*) FROM t"), HOMES);
    group_end(&g);
}

/* COMMIT is tried until the least patient one's time is over; he is told, the others run again. */
static void a_commit_that_cannot_get_its_lock(void **state)
{
    struct group g;
    group_begin(&g, *state, plain, false);
    bool on_loop;
    ll_request_unref(world_run(&g.w, g.homes[2], "PRAGMA busy_timeout = 100", NULL, &on_loop));
    group_exec(&g, 2, "DELETE FROM t WHERE x = 'nobody'"); /* it is looked at again */
    ll_conn *reader = world_open(&g.w, "a.db", NULL);
    world_exec(&g.w, reader, "BEGIN");
    world_exec(&g.w, reader, "SELECT count(*) FROM t");
    uint64_t now = g.w.step.now_ns;
    ask_all(&g);
    while (!ll_request_is_done(g.requests[2]))
        T_CHECK(group_move(&g));
    T_EQUAL(g.w.step.now_ns, now + 100 * T_MS);
    t_is(g.requests[2], LL_EBUSY, LL_NOT_APPLIED);
    T_EQUAL(ll_request_error(g.requests[2])->sqlite_code, SQLITE_BUSY);
    T_EQUAL(answered(&g), 1);
    T_EQUAL(group_stats(&g).reruns, HOMES - 1);
    ll_request *end = NULL;
    T_CHECK(ll_txn_commit(reader, NULL, &end) >= 0);
    group_settle(&g);
    all_applied(&g, 2);
    T_EQUAL(group_stats(&g).alone, 0);
    ll_request_unref(end);
    world_close(&g.w, reader);
    T_EQUAL(group_int(&g, "SELECT count(*) FROM t"), HOMES - 1);
    T_EQUAL(group_int(&g, "SELECT count(*) FROM t WHERE x = 2"), 0);
    group_end(&g);
}

/* The deadline of a request counts as well. */
static void a_deadline_passes_while_the_commit_waits(void **state)
{
    struct group g;
    group_begin(&g, *state, plain, false);
    ll_conn *reader = world_open(&g.w, "a.db", NULL);
    world_exec(&g.w, reader, "BEGIN");
    world_exec(&g.w, reader, "SELECT count(*) FROM t");
    ll_request *hasty = group_submit(&g, 0, "INSERT INTO t VALUES('hasty')",
                                     &(ll_submit){.timeout_ns = 50 * T_MS});
    group_ask(&g, 1, "INSERT INTO t VALUES('calm')");
    while (!ll_request_is_done(hasty))
        T_CHECK(group_move(&g));
    t_is(hasty, LL_ETIMEOUT, LL_NOT_APPLIED);
    ll_request *end = NULL;
    T_CHECK(ll_txn_commit(reader, NULL, &end) >= 0);
    group_settle(&g);
    t_is(g.requests[1], LL_OK, LL_APPLIED);
    ll_request_unref(end);
    ll_request_unref(hasty);
    world_close(&g.w, reader);
    T_EQUAL(group_int(&g, "SELECT count(*) FROM t WHERE x = 'hasty'"), 0);
    group_end(&g);
}

/* The file is as full as it may be: COMMIT has nowhere to put its pages, or the statement has not. */
static void as_strict_as_the_strictest(void **state)
{
    struct group g;
    group_begin(&g, *state, plain, true);
    bool on_loop;
    for (size_t i = 0; i < HOMES; i++)
        world_exec(&g.w, g.homes[i],
                   i == 3 ? "PRAGMA synchronous = EXTRA" : "PRAGMA synchronous = NORMAL");
    ll_request_unref(world_run(&g.w, g.writing, "PRAGMA synchronous = NORMAL", NULL, &on_loop));
    group_warm(&g);
    T_EQUAL(group_ask_home(&g, g.writing, "PRAGMA synchronous"), 1);
    ask_all(&g);
    group_settle(&g);
    all_applied(&g, SIZE_MAX);
    T_EQUAL(group_stats(&g).alone, 0);
    T_EQUAL(group_ask_home(&g, g.writing, "PRAGMA synchronous"), 3);
    group_exec(&g, 0, "INSERT INTO t VALUES('later')");
    T_EQUAL(group_ask_home(&g, g.writing, "PRAGMA synchronous"), 1);
    /* One that comes while less strict ones are being written gets a transaction of its own. */
    group_end(&g);
}

/* ---- one fails ---- */

static void a_statement_that_fails_harms_nobody(void **state)
{
    struct group g;
    t_env *t = *state;
    group_begin(&g, t, plain, true);
    group_exec(&g, 0, "INSERT INTO t VALUES(3)");
    ll_writer_stats before = group_stats(&g);
    ask_all(&g);
    group_settle(&g);
    all_applied(&g, 3);
    t_is(g.requests[3], LL_ESQL, LL_NOT_APPLIED);
    T_EQUAL(ll_request_error(g.requests[3])->sqlite_code, SQLITE_CONSTRAINT_UNIQUE);
    T_SAME_TEXT(ll_request_error(g.requests[3])->message, "UNIQUE constraint failed: t.x");
    T_EQUAL(ll_request_changes(g.requests[3]), 0);
    ll_writer_stats after = group_stats(&g);
    T_EQUAL(after.batches - before.batches, 1);
    T_EQUAL(after.reruns + after.alone, 0);
    T_EQUAL(group_int(&g, "SELECT count(*) FROM t"), HOMES);
    group_end(&g);
}

/* Each conflict clause leaves in the file what it leaves when the statements run one after the other. */
static void conflict_clauses(void **state)
{
    static const struct {
        const char *clause;
        ll_outcome outcome;
        bool fails, reruns;
    } cases[] = {{"OR ABORT", LL_NOT_APPLIED, true, false},
                 {"OR FAIL", LL_UNKNOWN, true, false},
                 {"OR IGNORE", LL_APPLIED, false, false},
                 {"OR REPLACE", LL_APPLIED, false, false},
                 {"OR ROLLBACK", LL_NOT_APPLIED, true, true}};
    t_env *t = *state;
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct group g;
        group_begin(&g, t, "DROP TABLE IF EXISTS t; CREATE TABLE t(x UNIQUE, y)", true);
        sqlite3 *alone = t_raw_open(":memory:");
        t_raw(alone, "CREATE TABLE t(x UNIQUE, y); INSERT INTO t VALUES(100, 0)");
        group_exec(&g, 0, "INSERT INTO t VALUES(100, 0)");
        for (size_t i = 0; i < HOMES; i++) {
            const char *sql = t_printf(t, "INSERT INTO t VALUES(%d, 1)", (int)i);
            if (i == 2)
                sql = t_printf(t, "INSERT %s INTO t VALUES(50, 2), (100, 2), (51, 2)",
                               cases[n].clause);
            group_ask(&g, i, sql);
            T_EQUAL(t_raw_try(alone, sql) != SQLITE_OK, i == 2 && cases[n].fails);
            T_EQUAL(t_raw_int(alone, "SELECT changes()"), i == 2 ? sqlite3_changes(alone) : 1);
        }
        group_settle(&g);
        all_applied(&g, 2);
        t_is(g.requests[2], cases[n].fails ? LL_ESQL : LL_OK, cases[n].outcome);
        T_EQUAL(group_stats(&g).reruns > 0, cases[n].reruns);
        static const char sum[] = "SELECT sum(x * 1000 + y) + count(*) * 1000000 FROM t";
        T_EQUAL(group_int(&g, sum), t_raw_int(alone, sum));
        t_raw_close(alone);
        group_end(&g);
    }
}

/* Whoever ends the transaction is told, and runs no more; the others run again together. */
static void who_ends_the_transaction_ends_it_for_himself(void **state)
{
    t_env *t = *state;
    struct group g;
    group_begin(&g, t,
                "CREATE TABLE t(x); CREATE TRIGGER no BEFORE INSERT ON t WHEN new.x = 'bad'"
                " BEGIN SELECT RAISE(ROLLBACK, 'not that'); END",
                true);
    for (size_t i = 0; i < HOMES; i++)
        group_ask(&g, i, i == 4 ? "INSERT INTO t VALUES('bad')" : "INSERT INTO t VALUES(1)");
    ll_writer_stats before = group_stats(&g);
    group_settle(&g);
    all_applied(&g, 4);
    t_is(g.requests[4], LL_ESQL, LL_NOT_APPLIED);
    T_SAME_TEXT(ll_request_error(g.requests[4])->message, "not that");
    T_EQUAL(ll_request_error(g.requests[4])->sqlite_code, SQLITE_CONSTRAINT_TRIGGER);
    ll_writer_stats after = group_stats(&g);
    T_EQUAL(after.reruns - before.reruns, 4);
    T_EQUAL(after.batches - before.batches, 1);
    T_EQUAL(after.alone, 0);
    T_EQUAL(group_int(&g, "SELECT count(*) FROM t"), HOMES - 1);
    group_end(&g);
}

/* ... but at most once: who has lost two transactions runs by himself. */
static void nobody_runs_in_three_transactions(void **state)
{
    t_env *t = *state;
    struct group g;
    group_begin(&g, t,
                "CREATE TABLE t(x); CREATE TRIGGER no BEFORE INSERT ON t WHEN new.x = 'bad'"
                " BEGIN SELECT RAISE(ROLLBACK, 'not that'); END",
                true);
    for (size_t i = 0; i < HOMES; i++)
        group_ask(&g, i, i >= 3 ? "INSERT INTO t VALUES('bad')" : "INSERT INTO t VALUES(1)");
    group_settle(&g);
    for (size_t i = 0; i < HOMES; i++)
        t_is(g.requests[i], i >= 3 ? LL_ESQL : LL_OK, i >= 3 ? LL_NOT_APPLIED : LL_APPLIED);
    T_EQUAL(group_stats(&g).reruns, 6); /* three ran again, and have lost that one, too */
    T_EQUAL(group_stats(&g).alone, 3);
    T_EQUAL(group_int(&g, "SELECT count(*) FROM t"), 3);
    group_end(&g);
}

/* ---- foreign keys ---- */

static void deferred_constraints(void **state)
{
    static const char *const on[] = {"journal_mode=WAL", "foreign_keys=ON", NULL};
    t_env *t = *state;
    struct group g;
    ll_open_options options = {.pragmas = on};
    group_begin_with(&g, t,
                     "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE t(x UNIQUE, p"
                     " REFERENCES p DEFERRABLE INITIALLY DEFERRED); INSERT INTO p VALUES(1);"
                     "INSERT INTO t VALUES(100, 1)",
                     &options, NULL);
    group_warm(&g);
    T_CHECK(g.writer->deferred);
    group_ask(&g, 0, "INSERT INTO t VALUES(0, 1)");
    group_ask(&g, 1, "INSERT INTO t VALUES(1, 99)"); /* nobody's child */
    group_ask(&g, 2, "INSERT INTO t VALUES(2, 1)");
    group_ask(&g, 3, "INSERT OR FAIL INTO t VALUES(3, 1), (100, 1), (4, 1)");
    group_ask(&g, 4, "DELETE FROM p WHERE id = 1"); /* leaves orphans */
    group_ask(&g, 5, "INSERT INTO t VALUES(5, NULL)");
    group_settle(&g);
    for (size_t i = 0; i < HOMES; i++) {
        bool orphan = i == 1 || i == 4;
        t_is(g.requests[i], orphan || i == 3 ? LL_ESQL : LL_OK,
             orphan   ? LL_NOT_APPLIED
             : i == 3 ? LL_UNKNOWN
                      : LL_APPLIED);
        if (orphan)
            T_EQUAL(ll_request_error(g.requests[i])->sqlite_code, SQLITE_CONSTRAINT_FOREIGNKEY);
    }
    T_EQUAL(group_stats(&g).alone, 2);
    T_EQUAL(group_stats(&g).reruns, 0);
    T_EQUAL(group_int(&g, "SELECT sum(x) FROM t"), 100 + 0 + 2 + 3 + 5);
    T_EQUAL(group_int(&g, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    group_end(&g);
}

/* Immediate ones need no savepoint, and fail by themselves. */
static void immediate_constraints(void **state)
{
    static const char *const on[] = {"journal_mode=WAL", "foreign_keys=ON", NULL};
    t_env *t = *state;
    struct group g;
    ll_open_options options = {.pragmas = on};
    group_begin_with(&g, t,
                     "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE t(x, p REFERENCES p)",
                     &options, NULL);
    group_warm(&g);
    T_CHECK(!g.writer->deferred);
    for (size_t i = 0; i < HOMES; i++)
        group_ask(&g, i, i == 1 ? "INSERT INTO t VALUES(1, 99)" : "INSERT INTO t VALUES(1, NULL)");
    group_settle(&g);
    all_applied(&g, 1);
    t_is(g.requests[1], LL_ESQL, LL_NOT_APPLIED);
    T_EQUAL(group_stats(&g).alone + group_stats(&g).reruns, 0);
    /* The schema changes: now there is one. */
    world_exec(&g.w, g.homes[0], "CREATE TABLE u(p REFERENCES p DEFERRABLE INITIALLY DEFERRED)");
    group_ask(&g, 0, "INSERT INTO u VALUES(7)");
    group_ask(&g, 1, "INSERT INTO t VALUES(1, NULL)");
    group_settle(&g);
    T_CHECK(g.writer->deferred);
    t_is(g.requests[0], LL_ESQL, LL_NOT_APPLIED);
    t_is(g.requests[1], LL_OK, LL_APPLIED);
    group_end(&g);
}

/* ---- rows of RETURNING ---- */

static void rows_come_behind_the_commit(void **state)
{
    T_NEEDS(T_HAS_RETURNING);
    struct group g;
    t_env *t = *state;
    group_begin(&g, t, plain, true);
    for (int i = 0; i < HOMES; i++)
        group_ask(
            &g, (size_t)i,
            t_printf(t, "INSERT INTO t VALUES(%d), (%d) RETURNING x, 'row ' || x", i, i + 100));
    group_settle(&g);
    all_applied(&g, SIZE_MAX);
    T_EQUAL(group_stats(&g).alone, 0);
    for (size_t i = 0; i < HOMES; i++) {
        t_rows rows = {.request = ll_request_ref(g.requests[i])};
        for (size_t n = 0; n < 2; n++) {
            const ll_value *row = t_rows_next(&rows);
            T_CHECK(row && row[0].type == LL_INTEGER);
            T_EQUAL(row[0].as.integer, i + 100 * n);
        }
        T_CHECK(!t_rows_next(&rows));
        t_rows_done(&rows);
        T_EQUAL(ll_request_changes(g.requests[i]), 2);
    }
    group_end(&g);
}

static void too_many_rows_are_not_held_for_others(void **state)
{
    T_NEEDS(T_HAS_RETURNING);
    struct group g;
    t_env *t = *state;
    ll_open_options options = {.pragmas = group_wal};
    group_begin_with(&g, t, "CREATE TABLE t(x)", &options, &(ll_writer_options){.max_bytes = 4000});
    group_warm(&g);
    static const char large[] =
        "INSERT INTO t SELECT value FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT"
        " value + 1 FROM c WHERE value < 1000) SELECT value FROM c) RETURNING x";
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < HOMES; i++)
            group_ask(&g, i, i == 2 ? large : "INSERT INTO t VALUES(0)");
        group_settle(&g);
        all_applied(&g, SIZE_MAX);
        T_EQUAL(ll_request_changes(g.requests[2]), 1000);
        T_EQUAL(group_stats(&g).alone, (uint64_t)round + 1);
        T_EQUAL(group_stats(&g).reruns, 2); /* the second time it is known */
        T_EQUAL(group_int(&g, "SELECT count(*) FROM t"), (round + 1) * (1000 + HOMES - 1));
    }
    t_rows rows = {.request = ll_request_ref(g.requests[2])};
    size_t count = 0;
    while (t_rows_next(&rows))
        count++;
    t_rows_done(&rows);
    T_EQUAL(count, 1000);
    group_end(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(who_waits_at_the_same_time_shares_a_commit),
        T_TEST(a_lone_writer_waits_for_nobody),
        T_TEST(a_batch_has_its_limits),
        T_TEST(nobody_is_answered_before_the_commit),
        T_TEST(a_commit_that_cannot_get_its_lock),
        T_TEST(a_deadline_passes_while_the_commit_waits),
        T_TEST(as_strict_as_the_strictest),
        T_TEST(a_statement_that_fails_harms_nobody),
        T_TEST(conflict_clauses),
        T_TEST(who_ends_the_transaction_ends_it_for_himself),
        T_TEST(nobody_runs_in_three_transactions),
        T_TEST(deferred_constraints),
        T_TEST(immediate_constraints),
        T_TEST(rows_come_behind_the_commit),
        T_TEST(too_many_rows_are_not_held_for_others),
    };
    return T_RUN(tests);
}
