/* The gate in front of a file's write lock: the writers of this process come one after the other, in the
 * order in which they asked. */
#include "world.h"

enum {
    CONNS = 6
};

static const char *const wal[] = {"journal_mode=WAL", NULL};

/* Some connections on one file, the first of which holds the write lock. */
struct writers {
    struct world w;
    ll_conn *conns[CONNS];
    t_told told[CONNS];
    ll_request *requests[CONNS];
};

static const struct lli_gate *gate_of(const ll_conn *conn)
{
    return conn->seat.places[0].gate;
}

static void hold(struct writers *s)
{
    world_exec(&s->w, s->conns[0], "BEGIN IMMEDIATE");
    world_exec(&s->w, s->conns[0], "INSERT INTO t VALUES(0)");
}

static void begin(struct writers *s, t_env *t, bool with_wal, uint64_t busy_timeout_ns)
{
    *s = (struct writers){0};
    world_begin(&s->w, t);
    t_file_sql(t_path(t, "a.db"), "CREATE TABLE IF NOT EXISTS t(x); DELETE FROM t");
    ll_open_options options = {.pragmas = with_wal ? wal : NULL,
                               .busy_timeout_ns = busy_timeout_ns};
    for (size_t i = 0; i < CONNS; i++)
        s->conns[i] = world_open(&s->w, "a.db", &options);
    for (size_t i = 0; i < CONNS; i++) {
        T_EQUAL(s->conns[i]->seat.count, 1);
        T_CHECK(gate_of(s->conns[i]) == gate_of(s->conns[0]));
    }
    hold(s);
}

static void end(struct writers *s)
{
    for (size_t i = 0; i < CONNS; i++) {
        ll_request_unref(s->requests[i]);
        T_CHECK(!s->conns[i]->seat.asked);
        world_close(&s->w, s->conns[i]);
    }
    world_end(&s->w);
}

static void ask(struct writers *s, size_t i)
{
    char text[64];
    snprintf(text, sizeof text, "INSERT INTO t VALUES(%zu)", i);
    T_CHECK(ll_exec(s->conns[i], text, NULL, 0, &(ll_submit){.done = t_tell, .user = &s->told[i]},
                    &s->requests[i]) == LL_PENDING);
    world_move(&s->w, NULL);
}

static void let_go(struct writers *s)
{
    world_exec(&s->w, s->conns[0], "COMMIT");
    lli_step_settle(&s->w.step);
}

static void first_come_first_served(void **state)
{
    static const size_t order[CONNS - 1] = {3, 1, 5, 4, 2};
    for (int with_wal = 0; with_wal < 2; with_wal++) {
        struct writers s;
        begin(&s, *state, with_wal, T_HOUR);
        uint64_t waits = world_stats(&s.w).gate_waits, now = s.w.step.now_ns;
        for (size_t i = 0; i < CONNS - 1; i++)
            ask(&s, order[i]);
        T_EQUAL(world_stats(&s.w).gate_waits, waits + CONNS - 1);
        for (size_t i = 1; i < CONNS; i++)
            T_CHECK(!ll_request_is_done(s.requests[i]));
        let_go(&s);
        T_EQUAL(s.w.step.now_ns, now); /* each is woken by the one before, not by time */
        for (size_t i = 0; i < CONNS - 1; i++) {
            t_is(s.requests[order[i]], LL_OK, LL_APPLIED);
            T_CHECK(i == 0 || s.told[order[i]].order == s.told[order[i - 1]].order + 1);
        }
        end(&s);
        t_env *t = *state;
        T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), CONNS);
        T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT x FROM t ORDER BY rowid LIMIT 1 OFFSET 1"),
                order[0]);
    }
}

/* Transactions, too: the next one begins when the one before is over. */
static void transactions_one_after_the_other(void **state)
{
    struct writers s;
    begin(&s, *state, true, T_HOUR);
    uint64_t now = s.w.step.now_ns;
    t_told commits[CONNS] = {{0}};
    for (size_t i = 1; i < CONNS; i++) {
        T_CHECK(ll_txn_begin(s.conns[i], LL_BEGIN_IMMEDIATE, NULL, &s.requests[i]) == LL_PENDING);
        T_CHECK(ll_exec(s.conns[i], "INSERT INTO t VALUES(1)", NULL, 0,
                        &(ll_submit){.done = t_tell, .user = &s.told[i]}, NULL) == LL_PENDING);
        T_CHECK(ll_txn_commit(s.conns[i], &(ll_submit){.done = t_tell, .user = &commits[i]},
                              NULL) == LL_PENDING);
        world_move(&s.w, NULL);
    }
    let_go(&s);
    T_EQUAL(s.w.step.now_ns, now);
    for (size_t i = 1; i < CONNS; i++) {
        t_is(s.requests[i], LL_OK, LL_APPLIED);
        T_CHECK(s.told[i].status == LL_OK && commits[i].status == LL_OK);
        T_CHECK(i == 1 || s.told[i].order > commits[i - 1].order);
    }
    end(&s);
}

static void the_timeout_leaves_the_line(void **state)
{
    struct writers s;
    begin(&s, *state, true, 300 * T_MS);
    ask(&s, 1);
    T_CHECK(s.conns[1]->seat.asked);
    lli_step_settle(&s.w.step); /* time goes on */
    t_is(s.requests[1], LL_EBUSY, LL_NOT_APPLIED);
    T_EQUAL(ll_request_error(s.requests[1])->sqlite_code, SQLITE_BUSY);
    T_CHECK(!s.conns[1]->seat.asked);
    ask(&s, 2);
    let_go(&s);
    t_is(s.requests[2], LL_OK, LL_APPLIED);
    end(&s);
}

static void a_deadline_leaves_the_line(void **state)
{
    struct writers s;
    begin(&s, *state, true, T_HOUR);
    ll_submit how = {.timeout_ns = 10 * T_MS};
    T_CHECK(ll_exec(s.conns[1], "INSERT INTO t VALUES(1)", NULL, 0, &how, &s.requests[1]) ==
            LL_PENDING);
    world_move(&s.w, NULL);
    ask(&s, 2);
    lli_step_advance(&s.w.step, 20 * T_MS);
    T_CHECK(ll_engine_dispatch(s.w.step.engine, NULL) == LL_OK);
    world_move(&s.w, NULL);
    t_is(s.requests[1], LL_ETIMEOUT, LL_NOT_APPLIED);
    T_CHECK(!s.conns[1]->seat.asked);
    let_go(&s);
    t_is(s.requests[2], LL_OK, LL_APPLIED);
    end(&s);
}

static void cancelling_leaves_the_line(void **state)
{
    struct writers s;
    begin(&s, *state, false, T_HOUR);
    ask(&s, 1);
    ask(&s, 2);
    ask(&s, 3);
    T_CHECK(ll_request_cancel(s.requests[1]) == LL_OK);
    T_CHECK(world_move(&s.w, s.requests[1])); /* while the lock is held */
    t_is(s.requests[1], LL_ECANCELLED, LL_NOT_APPLIED);
    T_CHECK(!s.conns[1]->seat.asked);
    T_CHECK(!ll_request_is_done(s.requests[2]));
    ask(&s, 4);
    let_go(&s);
    for (size_t i = 2; i <= 4; i++)
        t_is(s.requests[i], LL_OK, LL_APPLIED);
    T_CHECK(s.told[2].order < s.told[3].order && s.told[3].order < s.told[4].order);
    end(&s);
}

static void closing_while_in_line(void **state)
{
    struct writers s;
    begin(&s, *state, true, T_HOUR);
    ask(&s, 1);
    ask(&s, 2);
    ll_request *closing = NULL;
    T_CHECK(ll_conn_close(s.conns[1], NULL, &closing) == LL_PENDING);
    T_CHECK(!world_move(&s.w, closing));
    let_go(&s); /* after what was submitted before */
    t_is(s.requests[1], LL_OK, LL_APPLIED);
    t_is(s.requests[2], LL_OK, LL_APPLIED);
    t_is(closing, LL_OK, LL_APPLIED);
    ll_request_unref(closing);
    end(&s);
}

/* The holder closes with its transaction open: it is rolled back, and the next one's turn comes. */
static void closing_while_holding(void **state)
{
    struct writers s;
    begin(&s, *state, true, T_HOUR);
    uint64_t now = s.w.step.now_ns;
    ask(&s, 1);
    ask(&s, 2);
    ll_request *closing = NULL;
    T_CHECK(ll_conn_close(s.conns[0], NULL, &closing) == LL_PENDING);
    lli_step_settle(&s.w.step);
    T_EQUAL(s.w.step.now_ns, now);
    t_is(s.requests[1], LL_OK, LL_APPLIED);
    t_is(s.requests[2], LL_OK, LL_APPLIED);
    ll_request_unref(closing);
    end(&s);
}

static void two_files_do_not_hinder_each_other(void **state)
{
    struct writers s;
    begin(&s, *state, true, T_HOUR);
    t_env *t = *state;
    t_file_sql(t_path(t, "b.db"), "CREATE TABLE t(x)");
    ll_conn *elsewhere = world_open(&s.w, "b.db", NULL);
    T_CHECK(elsewhere->seat.count == 1 && gate_of(elsewhere) != gate_of(s.conns[0]));
    ask(&s, 1);
    uint64_t waits = world_stats(&s.w).gate_waits;
    ll_request *request = NULL;
    T_CHECK(ll_exec(elsewhere, "INSERT INTO t VALUES(1)", NULL, 0, NULL, &request) == LL_PENDING);
    T_CHECK(world_move(&s.w, request));
    t_is(request, LL_OK, LL_APPLIED);
    ll_request_unref(request);
    T_EQUAL(world_stats(&s.w).gate_waits, waits);
    let_go(&s);
    world_close(&s.w, elsewhere);
    end(&s);
}

static void an_attached_file_has_its_gate(void **state)
{
    struct writers s;
    begin(&s, *state, true, T_HOUR);
    t_env *t = *state;
    world_exec(&s.w, s.conns[1], t_printf(t, "ATTACH '%s' AS other", t_path(t, "b.db")));
    T_EQUAL(s.conns[1]->seat.count, 2);
    T_CHECK(gate_of(s.conns[1]) == gate_of(s.conns[0]));
    uint64_t waits = world_stats(&s.w).gate_waits, now = s.w.step.now_ns;
    ask(&s, 1);
    T_EQUAL(world_stats(&s.w).gate_waits, waits + 1);
    let_go(&s);
    T_EQUAL(s.w.step.now_ns, now);
    t_is(s.requests[1], LL_OK, LL_APPLIED);
    world_exec(&s.w, s.conns[1], "DETACH other");
    T_EQUAL(s.conns[1]->seat.count, 1);
    T_CHECK(gate_of(s.conns[1]) == gate_of(s.conns[0]));
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(first_come_first_served),       T_TEST(transactions_one_after_the_other),
        T_TEST(the_timeout_leaves_the_line),   T_TEST(a_deadline_leaves_the_line),
        T_TEST(cancelling_leaves_the_line),    T_TEST(closing_while_in_line),
        T_TEST(closing_while_holding),         T_TEST(two_files_do_not_hinder_each_other),
        T_TEST(an_attached_file_has_its_gate),
    };
    return T_RUN(tests);
}
