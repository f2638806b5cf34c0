/* Group commit in random order, one move at a time: who submits, cancels, interrupts or holds a lock comes between any
 * two steps of the workers, and in the middle of a statement. After each move the file is asked whether it says the same
 * as those who were told: nobody is told too early, nothing twice, nothing lost; each home keeps its order.
 *
 * LL_SEED=n runs one schedule, LL_SCHEDULES=n so many. */
#include "groupworld.h"

enum {
    MOST = 60 /* statements of one schedule */
};

struct schedule {
    struct group g;
    uint64_t random;
    bool with_wal, checking;
    sqlite3 *look;
    ll_conn *holder;
    bool holding;
    size_t count;
    struct statement {
        ll_request *request;
        size_t home; /* SIZE_MAX: none */
        bool told;
    } list[MOST];
};

static uint64_t dice(struct schedule *s, uint64_t sides)
{
    s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (s->random >> 33) % sides;
}

/* Whether it is in the file; -1: that cannot be seen now, for a COMMIT waits for readers. */
static int64_t there(struct schedule *s, size_t n)
{
    char sql[80];
    if (t_raw_try(s->look, "SELECT 1 FROM t") == SQLITE_BUSY)
        return -1;
    snprintf(sql, sizeof sql, "SELECT count(*) FROM t WHERE n = %zu", n);
    return t_raw_int(s->look, sql);
}

/* Those who were told since the last look. */
static void check(struct schedule *s)
{
    for (size_t n = 0; n < s->count; n++) {
        struct statement *statement = &s->list[n];
        if (statement->told || !ll_request_is_done(statement->request))
            continue;
        int64_t found = there(s, n);
        if (found < 0)
            continue;
        statement->told = true;
        ll_outcome outcome = ll_request_outcome(statement->request);
        T_CHECK(outcome != LL_UNKNOWN);
        T_EQUAL(outcome == LL_APPLIED, ll_request_status(statement->request) == LL_OK);
        if (found != (outcome == LL_APPLIED))
            t_fail(__FILE__, __LINE__, "statement %zu was told %d (%s)", n, (int)outcome,
                   ll_request_error(statement->request)->message);
    }
}

static void submit(struct schedule *s)
{
    static const char *const texts[] = {
        "INSERT INTO t(n) VALUES(%zu)",
        "INSERT INTO t(n) VALUES(%zu) RETURNING n",
        "INSERT OR ROLLBACK INTO t(n) VALUES(%zu), (0)",
        "INSERT INTO t(n) VALUES(%zu), (0)",
        "INSERT INTO t(n) SELECT %zu + 0 * changes()",
        ("INSERT INTO t(n) SELECT %zu FROM (WITH RECURSIVE c(v) AS (SELECT 1 UNION ALL SELECT v + 1"
         " FROM c WHERE v < 900) SELECT max(v) FROM c)"),
        "INSERT INTO t(n) VALUES(%zu + abs(0))",
    };
    char text[300];
    size_t n = s->count, kind = dice(s, 12);
    const char *format = texts[kind < 7 ? kind : 0];
    const char *at = strstr(format, "%zu");
    snprintf(text, sizeof text, "%.*s%zu%s", (int)(at - format), format, n, at + 3);
    struct statement *statement = &s->list[s->count++];
    statement->home = dice(s, 4) == 0 ? SIZE_MAX : dice(s, HOMES);
    static const unsigned flags[] = {0, 0, 0, LL_SUBMIT_INTERRUPT, LL_SUBMIT_SHIELD};
    ll_submit how = {.flags = flags[dice(s, 5)],
                     .timeout_ns = dice(s, 8) == 0 ? (1 + dice(s, 20)) * T_MS : 0};
    statement->request = group_submit(&s->g, statement->home, text, &how);
}

static void disturb(struct schedule *s)
{
    switch (dice(s, 8)) {
    case 0:
        T_CHECK(s->count == 0 || ll_request_cancel(s->list[dice(s, s->count)].request) == LL_OK);
        break;
    case 1:
        T_CHECK(ll_conn_interrupt(s->g.homes[dice(s, HOMES)]) == LL_OK);
        break;
    case 2:
        lli_step_advance(&s->g.w.step, dice(s, 6) * T_MS);
        break;
    default:
        T_CHECK(ll_engine_dispatch(s->g.w.step.engine, NULL) == LL_OK);
        break;
    }
}

/* In the middle of a statement: nothing of what waits is run from here. */
static void in_the_middle(void *arg)
{
    struct schedule *s = arg;
    if (!s->checking && s->count > 0 && dice(s, 3) == 0)
        T_CHECK(ll_request_cancel(s->list[dice(s, s->count)].request) == LL_OK);
}

/* Another connection of the file, without looplite. Readers keep COMMIT out in rollback mode. */
static void change_lock(struct schedule *s, sqlite3 *other)
{
    if (s->holding)
        t_raw(other, "COMMIT");
    else if (dice(s, 2) || s->with_wal)
        (void)(t_raw_try(other, "BEGIN IMMEDIATE") == SQLITE_OK || t_raw_try(other, "BEGIN"));
    else if (t_raw_try(other, "BEGIN; SELECT count(*) FROM t") != SQLITE_OK)
        (void)t_raw_try(other, "ROLLBACK; BEGIN");
    s->holding = !s->holding;
}

static void move(struct schedule *s)
{
    struct lli_step_move moves[LLI_STEP_MOVES];
    size_t count = lli_step_moves(&s->g.w.step, moves);
    if (count > 0)
        lli_step_make(&s->g.w.step, moves[dice(s, count)]);
}

/* Adds up in *sum what the writer has done. */
static void run_schedule(t_env *t, uint64_t seed, ll_writer_stats *sum)
{
    struct schedule s = {.random = seed * 2654435761u, .checking = true};
    s.with_wal = dice(&s, 2);
    s.g.path = t_path(t, "a.db");
    t_file_sql(s.g.path, "DROP TABLE IF EXISTS t; PRAGMA journal_mode = DELETE; CREATE TABLE t(id"
                         " INTEGER PRIMARY KEY, n UNIQUE); INSERT INTO t VALUES(NULL, 0);"
                         "UPDATE t SET n = n");
    s.g.w.t = t;
    lli_cost_clear();
    T_CHECK(lli_step_new(&s.g.w.step, 1 + (unsigned)dice(&s, 4), in_the_middle, &s) == LL_OK);
    ll_open_options options = {.pragmas = s.with_wal ? group_wal : NULL};
    s.g.writing = world_open(&s.g.w, "a.db", &options);
    ll_writer_options limits = {.max_members = 1 + dice(&s, 5)};
    T_CHECK(ll_writer_new(s.g.writing, dice(&s, 2) ? &limits : NULL, &s.g.writer) == LL_OK);
    for (size_t i = 0; i < HOMES; i++)
        s.g.homes[i] = world_open(&s.g.w, "a.db", &options);
    s.look = t_raw_open(s.g.path);
    sqlite3 *other = t_raw_open(s.g.path);
    s.count = 1; /* 0 is in the table */
    s.list[0].told = true;
    s.list[0].request = group_submit(&s.g, 0, "DELETE FROM t WHERE n = -1", NULL);
    s.checking = false;
    while (s.count < MOST) {
        if (dice(&s, 3) == 0)
            submit(&s);
        else if (dice(&s, 6) == 0)
            disturb(&s);
        else if (dice(&s, 30) == 0)
            change_lock(&s, other);
        else
            move(&s);
        s.checking = true;
        check(&s);
        s.checking = false;
    }
    if (s.holding)
        t_raw(other, "COMMIT");
    group_settle(&s.g);
    s.checking = true;
    check(&s);
    for (size_t n = 0; n < s.count; n++) {
        T_CHECK(s.list[n].told && ll_request_is_done(s.list[n].request));
        if (n > 0)
            T_EQUAL(there(&s, n), ll_request_outcome(s.list[n].request) == LL_APPLIED);
    }
    /* Each home, and nobody's statements: in the order of submission. */
    int64_t last[HOMES + 1] = {0};
    for (size_t n = 1; n < s.count; n++) {
        if (ll_request_outcome(s.list[n].request) != LL_APPLIED)
            continue;
        int64_t id = t_raw_int(s.look, t_printf(t, "SELECT id FROM t WHERE n = %zu", n));
        size_t home = s.list[n].home == SIZE_MAX ? HOMES : s.list[n].home;
        T_CHECK(id > last[home]);
        last[home] = id;
    }
    for (size_t n = 0; n < s.count; n++)
        ll_request_unref(s.list[n].request);
    ll_writer_stats stats = group_stats(&s.g);
    sum->batches += stats.batches;
    sum->members += stats.members;
    sum->alone += stats.alone;
    sum->reruns += stats.reruns;
    t_raw_close(other);
    t_raw_close(s.look);
    group_end(&s.g);
}

static void any_schedule(void **state)
{
    const char *one = getenv("LL_SEED"), *many = getenv("LL_SCHEDULES");
    size_t count = many ? strtoul(many, NULL, 10) : getenv("LL_TEST_SLOW") ? 20 : 60;
    ll_writer_stats sum = {0};
    if (one) {
        run_schedule(*state, strtoull(one, NULL, 10), &sum);
        return;
    }
    for (size_t seed = 1; seed <= count; seed++) {
        print_message("LL_SEED=%zu\n", seed);
        t_watchdog();
        run_schedule(*state, seed, &sum);
    }
    /* They mean what they say: much was grouped, and everything else has happened, too. */
    T_CHECK(sum.members > 20 * count && sum.members > sum.batches * 5 / 4);
    T_CHECK(sum.alone > count && sum.reruns > count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(any_schedule),
    };
    return T_RUN(tests);
}
