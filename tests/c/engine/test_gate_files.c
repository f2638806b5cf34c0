/* The gates of several files: a connection with attached files enters all of them at once, in whatever order it
 * has attached them. */
#include "world.h"

#include <unistd.h>

static const char *const no_sync[] = {"synchronous=OFF", NULL};
static const ll_open_options patient = {.pragmas = no_sync, .busy_timeout_ns = T_HOUR};

static void make_files(t_env *t, bool wal)
{
    static const char *const names[] = {"a.db", "b.db", "c.db", "d.db"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        t_file_sql(t_path(t, names[i]), wal ? "PRAGMA journal_mode = WAL" : "SELECT 1");
        t_file_sql(t_path(t, names[i]), "CREATE TABLE IF NOT EXISTS t(x)");
    }
}

/* A connection on `main` with two more files. */
static ll_conn *open_three(struct world *w, const char *main, const char *first, const char *second)
{
    ll_conn *conn = world_open(w, main, &patient);
    world_exec(w, conn, t_printf(w->t, "ATTACH '%s' AS one", t_path(w->t, first)));
    world_exec(w, conn, t_printf(w->t, "ATTACH '%s' AS two", t_path(w->t, second)));
    T_EQUAL(conn->seat.count, 3);
    return conn;
}

struct ask {
    ll_request *request;
    t_told told;
};

static void ask(struct world *w, ll_conn *conn, const char *sql, struct ask *a)
{
    *a = (struct ask){0};
    T_CHECK(ll_exec(conn, sql, NULL, 0, &(ll_submit){.done = t_tell, .user = &a->told},
                    &a->request) == LL_PENDING);
    world_move(w, NULL);
}

static void asked(struct ask *a, ll_status status)
{
    t_is(a->request, status, status == LL_OK ? LL_APPLIED : LL_NOT_APPLIED);
    ll_request_unref(a->request);
}

/* Who is asked to run one transaction after the other, and the order in which the begins came. */
enum {
    ROUNDS = 200
};
struct client {
    struct world *w;
    ll_conn *conn;
    size_t *total;
    size_t rounds, failed;
    size_t began[ROUNDS];
};

static void count_failed(ll_request *request, void *user)
{
    struct client *c = user;
    c->failed += ll_request_status(request) != LL_OK;
}

static void on_begin(ll_request *request, void *user)
{
    struct client *c = user;
    c->failed += ll_request_status(request) != LL_OK;
    c->began[c->rounds] = ++*c->total;
}

static void next_round(struct client *c);

static void on_commit(ll_request *request, void *user)
{
    struct client *c = user;
    c->failed += ll_request_status(request) != LL_OK;
    if (++c->rounds < ROUNDS)
        next_round(c);
}

static void next_round(struct client *c)
{
    ll_submit begin = {.done = on_begin, .user = c}, commit = {.done = on_commit, .user = c},
              write = {.done = count_failed, .user = c};
    ll_status last = ll_txn_begin(c->conn, LL_BEGIN_IMMEDIATE, &begin, NULL);
    T_CHECK(last == LL_PENDING);
    static const char *const writes[] = {"INSERT INTO one.t VALUES(1)",
                                         "INSERT INTO two.t VALUES(1)"};
    for (size_t i = 0; i < 2; i++) {
        last = ll_exec(c->conn, writes[i], NULL, 0, &write, NULL);
        T_CHECK(last == LL_PENDING);
    }
    last = ll_txn_commit(c->conn, &commit, NULL);
    T_CHECK(last == LL_PENDING);
}

/* Any move that costs no time, as `seed` says. False: there is none. */
static bool random_move(struct world *w, uint64_t *seed)
{
    struct lli_step_move moves[LLI_STEP_MOVES], possible[LLI_STEP_MOVES];
    size_t count = lli_step_moves(&w->step, moves), left = 0;
    bool only_yields = true;
    for (size_t i = 0; i < count; i++)
        if (moves[i].kind != LLI_STEP_TIMER && moves[i].kind != LLI_STEP_RETRY) {
            only_yields = only_yields && moves[i].kind == LLI_STEP_YIELD;
            possible[left++] = moves[i];
        }
    if (left == 0 || only_yields)
        return false;
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    lli_step_make(&w->step, possible[(*seed >> 33) % left]);
    return true;
}

/* Two that attach the same files in opposite order, and write to both without a pause. */
static void opposite_orders(void **state)
{
    t_env *t = *state;
    for (int wal = 0; wal < 2; wal++) {
        struct world w;
        world_begin(&w, t);
        make_files(t, wal);
        size_t total = 0;
        struct client clients[2] = {
            {.w = &w, .conn = open_three(&w, "c.db", "a.db", "b.db"), .total = &total},
            {.w = &w, .conn = open_three(&w, "d.db", "b.db", "a.db"), .total = &total},
        };
        ll_stats before = world_stats(&w);
        uint64_t now = w.step.now_ns, seed = 1;
        next_round(&clients[0]);
        next_round(&clients[1]);
        while (clients[0].rounds < ROUNDS || clients[1].rounds < ROUNDS) {
            size_t delivered = 0;
            bool moved = random_move(&w, &seed);
            T_CHECK(ll_engine_dispatch(w.step.engine, &delivered) == LL_OK);
            if (!moved && delivered == 0)
                t_fail(__FILE__, __LINE__, "a deadlock after %zu and %zu rounds", clients[0].rounds,
                       clients[1].rounds);
        }
        ll_stats after = world_stats(&w);
        T_EQUAL(w.step.now_ns, now); /* nobody waited for a clock */
        T_EQUAL(after.parks - before.parks, after.gate_waits - before.gate_waits);
        T_CHECK(after.gate_waits - before.gate_waits >= ROUNDS);
        T_CHECK(clients[0].failed == 0 && clients[1].failed == 0);
        /* In turns: whoever has come asks again when the other one stands in line already. */
        for (size_t i = 1; i + 1 < ROUNDS; i++)
            for (size_t c = 0; c < 2; c++)
                T_CHECK(clients[c].began[i + 1] - clients[c].began[i] <= 3);
        world_close(&w, clients[0].conn);
        world_close(&w, clients[1].conn);
        world_end(&w);
        T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT count(*) FROM t"), 2 * ROUNDS);
        T_EQUAL(t_file_int(t_path(t, "b.db"), "SELECT count(*) FROM t"), 2 * ROUNDS);
        unlink(t_path(t, "a.db"));
        unlink(t_path(t, "b.db"));
    }
}

/* The order in each line is that of asking, and who waits for a second file holds up the first. */
static void first_come_first_served_in_each_line(void **state)
{
    t_env *t = *state;
    struct world w;
    world_begin(&w, t);
    make_files(t, true);
    ll_conn *both = open_three(&w, "c.db", "a.db", "b.db");
    ll_conn *a1 = world_open(&w, "a.db", &patient), *a2 = world_open(&w, "a.db", &patient);
    ll_conn *b1 = world_open(&w, "b.db", &patient), *b2 = world_open(&w, "b.db", &patient);
    world_exec(&w, b1, "BEGIN IMMEDIATE");
    struct ask first, second, third, fourth;
    ask(&w, a1, "INSERT INTO t VALUES(1)", &first); /* a.db is free */
    T_CHECK(ll_request_is_done(first.request));
    ask(&w, both, "INSERT INTO one.t VALUES(2)", &second);
    ask(&w, a2, "INSERT INTO t VALUES(3)", &third);
    ask(&w, b2, "INSERT INTO t VALUES(4)", &fourth);
    T_CHECK(!ll_request_is_done(second.request) && !ll_request_is_done(third.request) &&
            !ll_request_is_done(fourth.request));
    uint64_t now = w.step.now_ns;
    world_exec(&w, b1, "COMMIT");
    lli_step_settle(&w.step);
    T_EQUAL(w.step.now_ns, now);
    T_CHECK(second.told.order < third.told.order && second.told.order < fourth.told.order);
    asked(&first, LL_OK);
    asked(&second, LL_OK);
    asked(&third, LL_OK);
    asked(&fourth, LL_OK);
    ll_conn *all[] = {both, a1, a2, b1, b2};
    for (size_t i = 0; i < 5; i++)
        world_close(&w, all[i]);
    world_end(&w);
}

/* However it ends, those behind go on, in both lines. */
static void whoever_gives_up_holds_up_nobody(void **state)
{
    t_env *t = *state;
    struct world w;
    world_begin(&w, t);
    make_files(t, true);
    enum {
        CANCEL,
        DEADLINE,
        INTERRUPT,
        TIMEOUT,
        CLOSE,
        WAYS
    };
    for (int way = 0; way < WAYS; way++) {
        ll_conn *both = open_three(&w, "c.db", "a.db", "b.db");
        ll_conn *a = world_open(&w, "a.db", &patient), *b1 = world_open(&w, "b.db", &patient),
                *b2 = world_open(&w, "b.db", &patient);
        if (way == TIMEOUT)
            world_exec(&w, both, "PRAGMA busy_timeout = 300");
        world_exec(&w, b1, "BEGIN IMMEDIATE");
        t_told told = {0};
        ll_submit how = {
            .done = t_tell, .user = &told, .timeout_ns = way == DEADLINE ? 50 * T_MS : 0};
        ll_request *request = NULL;
        T_CHECK(ll_exec(both, "INSERT INTO two.t VALUES(2)", NULL, 0, &how, &request) ==
                LL_PENDING);
        world_move(&w, NULL);
        T_CHECK(both->seat.asked);
        struct ask behind_a, behind_b;
        ask(&w, a, "INSERT INTO t VALUES(3)", &behind_a);
        ask(&w, b2, "INSERT INTO t VALUES(4)", &behind_b);
        T_CHECK(!ll_request_is_done(behind_a.request) && !ll_request_is_done(behind_b.request));
        ll_request *closing = NULL;
        ll_status status = LL_ECANCELLED;
        switch (way) {
        case CANCEL:
            T_CHECK(ll_request_cancel(request) == LL_OK);
            break;
        case DEADLINE:
            lli_step_advance(&w.step, 50 * T_MS);
            T_CHECK(ll_engine_dispatch(w.step.engine, NULL) == LL_OK);
            status = LL_ETIMEOUT;
            break;
        case INTERRUPT:
            T_CHECK(ll_conn_interrupt(both) == LL_OK);
            status = LL_ESQL;
            break;
        case TIMEOUT:
            /* b1's lock is really held. Only its own timer is due. */
            for (int i = 0; i < 10 && !ll_request_is_done(request); i++) {
                T_CHECK(lli_crew_next_due(w.step.engine->crew) <= w.step.now_ns + 300 * T_MS);
                lli_step_make(&w.step, (struct lli_step_move){LLI_STEP_TIMER, 0});
                world_move(&w, NULL);
            }
            status = LL_EBUSY;
            break;
        case CLOSE: /* waits its turn: the statement was asked for before */
            T_CHECK(ll_conn_close(both, NULL, &closing) == LL_PENDING);
            world_move(&w, NULL);
            T_CHECK(!ll_request_is_done(request));
            world_exec(&w, b1, "COMMIT");
            status = LL_OK;
            break;
        default:
            break;
        }
        world_move(&w, NULL);
        T_CHECK(ll_request_is_done(request) && ll_request_is_done(behind_a.request));
        t_is(request, status, status == LL_OK ? LL_APPLIED : LL_NOT_APPLIED);
        if (way != CLOSE) {
            T_CHECK(!ll_request_is_done(behind_b.request));
            world_exec(&w, b1, "COMMIT");
        }
        lli_step_settle(&w.step);
        asked(&behind_a, LL_OK);
        asked(&behind_b, LL_OK);
        ll_request_unref(request);
        ll_request_unref(closing);
        ll_conn *all[] = {both, a, b1, b2};
        for (size_t i = 0; i < 4; i++)
            world_close(&w, all[i]);
    }
    world_end(&w);
}

/* One that reads is not sent to wait, whichever of its files it reads. */
static void who_reads_does_not_wait(void **state)
{
    t_env *t = *state;
    struct world w;
    world_begin(&w, t);
    make_files(t, false);
    ll_conn *both = open_three(&w, "c.db", "a.db", "b.db");
    ll_conn *writer = world_open(&w, "b.db", &patient);
    struct ask wants;
    world_exec(&w, both, "BEGIN");
    world_exec(&w, both, "SELECT * FROM one.t");
    world_exec(&w, writer, "BEGIN IMMEDIATE");
    uint64_t waits = world_stats(&w).gate_waits;
    ask(&w, both, "INSERT INTO two.t VALUES(1)", &wants); /* SQLite asks its busy handler here */
    T_EQUAL(world_stats(&w).gate_waits, waits);
    T_CHECK(!both->seat.asked);
    world_exec(&w, writer, "COMMIT");
    lli_step_settle(&w.step);
    asked(&wants, LL_OK);
    world_exec(&w, both, "ROLLBACK");

    world_exec(&w, both, "BEGIN");
    world_exec(&w, both, "SELECT * FROM two.t");
    world_exec(&w, writer, "BEGIN IMMEDIATE");
    uint64_t parks = world_stats(&w).parks;
    ask(&w, both, "INSERT INTO two.t VALUES(1)", &wants); /* and here it does not */
    T_CHECK(ll_request_is_done(wants.request));
    T_EQUAL(world_stats(&w).parks, parks);
    asked(&wants, LL_EBUSY);
    world_exec(&w, both, "ROLLBACK");
    world_exec(&w, writer, "COMMIT");
    T_EQUAL(world_stats(&w).gate_waits, waits);
    world_close(&w, both);
    world_close(&w, writer);
    world_end(&w);
}

/* What writes to nothing but the TEMP database waits for nobody. */
static void temporary_tables_do_not_wait(void **state)
{
    static const char *const texts[] = {"CREATE TEMP TABLE own(x)", "INSERT INTO own VALUES(1)",
                                        "CREATE TEMP TABLE two AS SELECT x FROM t",
                                        "DELETE FROM own"};
    t_env *t = *state;
    struct world w;
    world_begin(&w, t);
    make_files(t, true);
    ll_conn *writer = world_open(&w, "a.db", &patient), *conn = world_open(&w, "a.db", &patient);
    world_exec(&w, writer, "BEGIN IMMEDIATE");
    uint64_t now = w.step.now_ns;
    struct ask wants;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ask(&w, conn, texts[i], &wants);
        T_CHECK(ll_request_is_done(wants.request));
        asked(&wants, LL_OK);
    }
    /* A trigger in TEMP writes to the file. */
    ask(&w, conn,
        "CREATE TEMP TRIGGER tr AFTER INSERT ON own BEGIN INSERT INTO t VALUES(new.x); END",
        &wants);
    T_CHECK(ll_request_is_done(wants.request));
    asked(&wants, LL_OK);
    ask(&w, conn, "INSERT INTO own VALUES(2)", &wants);
    T_CHECK(!ll_request_is_done(wants.request) && conn->seat.asked);
    world_exec(&w, writer, "COMMIT");
    lli_step_settle(&w.step);
    asked(&wants, LL_OK);
    T_EQUAL(w.step.now_ns, now);
    world_close(&w, conn);
    world_close(&w, writer);
    world_end(&w);
    T_EQUAL(t_file_int(t_path(t, "a.db"), "SELECT sum(x) FROM t"), 2);
}

/* One file under two names has one gate; a memory database has one of its own. */
static void one_gate_for_each_file(void **state)
{
    t_env *t = *state;
    struct world w;
    world_begin(&w, t);
    make_files(t, true);
    ll_conn *conn = world_open(&w, "a.db", &patient), *other = world_open(&w, "b.db", &patient);
    world_exec(&w, conn, t_printf(t, "ATTACH '%s' AS again", t_path(t, "a.db")));
    T_EQUAL(conn->seat.count, 1);
    world_exec(&w, conn, "ATTACH ':memory:' AS mem");
    T_EQUAL(conn->seat.count, 2);
    world_exec(&w, conn, "DETACH again"); /* (SQLite cannot write to one file twice) */
    T_EQUAL(conn->seat.count, 2);
    world_exec(&w, other, "ATTACH ':memory:' AS mem");
    T_CHECK(other->seat.places[1].gate != conn->seat.places[1].gate);
    world_exec(&w, other, "BEGIN IMMEDIATE");
    world_exec(&w, conn, "BEGIN IMMEDIATE");
    world_exec(&w, conn, "CREATE TABLE mem.x(y)");
    world_exec(&w, conn, "COMMIT");
    world_exec(&w, other, "COMMIT");
    world_exec(&w, conn, "DETACH mem");
    T_EQUAL(conn->seat.count, 1);
    world_close(&w, conn);
    world_close(&w, other);
    world_end(&w);
}

/* A statement that waits in line and whose connection knows less than everything keeps its place. */
static void learning_does_not_cost_the_place(void **state)
{
    t_env *t = *state;
    struct world w;
    world_begin(&w, t);
    make_files(t, true);
    ll_conn *writer = world_open(&w, "a.db", &patient), *early = world_open(&w, "a.db", &patient),
            *late = world_open(&w, "a.db", &patient);
    world_exec(&w, writer, "BEGIN IMMEDIATE");
    struct ask first, second;
    ask(&w, early, "BEGIN IMMEDIATE", &first);
    early->facts_stale = true;
    ask(&w, late, "INSERT INTO t VALUES(1)", &second);
    ll_request *commit = NULL;
    T_CHECK(ll_txn_commit(writer, NULL, &commit) == LL_PENDING);
    T_CHECK(world_move(&w, commit));
    ll_request_unref(commit);
    T_CHECK(ll_request_is_done(first.request) && !ll_request_is_done(second.request));
    world_exec(&w, early, "COMMIT");
    lli_step_settle(&w.step);
    asked(&first, LL_OK);
    asked(&second, LL_OK);
    world_close(&w, writer);
    world_close(&w, early);
    world_close(&w, late);
    world_end(&w);
}

/* What the parent holds does not stand in the way of its child. */
static int enter_in_child(void *arg)
{
    struct lli_gate_seat seat = {0};
    uint64_t again;
    (void)arg;
    T_CHILD(lli_gate_join(&seat, 1, 2, NULL) == LL_OK);
    T_CHILD(lli_gate_enter(&seat, lli_now_ns(), &again));
    lli_gate_leave(&seat);
    return 0;
}

static void a_child_begins_without_gates(void **state)
{
    (void)state;
    struct lli_gate_seat first = {0}, second = {0};
    uint64_t again;
    T_CHECK(lli_gate_join(&first, 1, 2, NULL) == LL_OK);
    T_CHECK(lli_gate_join(&second, 1, 2, NULL) == LL_OK);
    T_CHECK(lli_gate_enter(&first, lli_now_ns(), &again));
    T_CHECK(!lli_gate_enter(&second, lli_now_ns(), &again) && again == LLI_NEVER);
    t_in_child(enter_in_child, NULL);
    lli_gate_leave(&second); /* before the first one, which would hand over to it */
    lli_gate_leave(&first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(opposite_orders),
        T_TEST(first_come_first_served_in_each_line),
        T_TEST(whoever_gives_up_holds_up_nobody),
        T_TEST(who_reads_does_not_wait),
        T_TEST(temporary_tables_do_not_wait),
        T_TEST(one_gate_for_each_file),
        T_TEST(learning_does_not_cost_the_place),
        T_TEST(a_child_begins_without_gates),
    };
    return T_RUN(tests);
}
