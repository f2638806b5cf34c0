/* Group commit with real threads: many loops and many homes at once, cancellations at any time, a second process that
 * writes too, and an engine that ends in the middle. Everything that is told is compared with the file. */
#include "support/support.h"

#include <pthread.h>

enum {
    LOOPS = 3,
    HOMES = 8
};

static size_t rounds(size_t many)
{
    return getenv("LL_TEST_SLOW") ? many / 8 : many;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static uint64_t seed(void)
{
    const char *given = getenv("LL_SEED");
    uint64_t value = given ? strtoull(given, NULL, 10) : (uint64_t)(uintptr_t)&given ^ 4711;
    print_message("LL_SEED=%llu\n", (unsigned long long)value);
    return value;
}

/* ---- many tasks of one loop ---- */

struct task {
    struct crowd *crowd;
    ll_conn *home; /* NULL: none */
    size_t number, done;
};

struct crowd {
    ll_writer *writer;
    size_t each, finished, failed;
};

static void write_next(struct task *task);

static void on_written(ll_request *request, void *user)
{
    struct task *task = user;
    task->crowd->failed += ll_request_status(request) != LL_OK || ll_request_changes(request) != 1;
    if (++task->done < task->crowd->each)
        write_next(task);
    else
        task->crowd->finished++;
}

static void write_next(struct task *task)
{
    ll_value values[] = {ll_integer((int64_t)task->number), ll_integer((int64_t)task->done)};
    ll_sql sql = {.text = "INSERT INTO t(task, n) VALUES(?, ?)",
                  .size = LL_NUL_TERMINATED,
                  .params = {.values = values, .count = 2}};
    T_CHECK(ll_writer_submit(task->crowd->writer, task->home, &sql,
                             &(ll_submit){.done = on_written, .user = task}, NULL) == LL_PENDING);
}

static const char schema[] = "CREATE TABLE t(id INTEGER PRIMARY KEY, task, n, UNIQUE(task, n))";

/* In order for each, nothing lost, nothing twice. */
static void check_file(const char *path, size_t tasks, size_t each)
{
    T_EQUAL(t_file_int(path, "SELECT count(*) FROM t"), tasks * each);
    T_EQUAL(t_file_int(path,
                       "SELECT count(*) FROM t a JOIN t b ON a.task = b.task AND a.n = b.n + 1"
                       " WHERE a.id < b.id"),
            0);
}

static void crowd(t_env *t, bool with_wal, bool homes, t_peer *peer)
{
    enum {
        TASKS = 40
    };
    const char *path = t_path(t, with_wal ? "wal.db" : "rollback.db");
    t_file_sql(path, schema);
    const char *const pragmas[] = {with_wal ? "journal_mode=WAL" : "journal_mode=DELETE",
                                   "synchronous=OFF", NULL};
    ll_open_options options = {.pragmas = pragmas, .busy_timeout_ns = T_HOUR};
    ll_conn *writing = t_open_with(t->engine, path, &options), *conns[HOMES];
    struct crowd c = {.each = rounds(40)};
    struct task tasks[TASKS];
    T_CHECK(ll_writer_new(writing, NULL, &c.writer) == LL_OK);
    for (size_t i = 0; i < HOMES; i++)
        conns[i] = t_open_with(t->engine, path, &options);
    for (size_t i = 0; i < TASKS; i++) {
        tasks[i] = (struct task){.crowd = &c, .home = homes ? conns[i % HOMES] : NULL, .number = i};
        write_next(&tasks[i]);
    }
    for (size_t i = 0; peer && i < rounds(40); i++) { /* while the workers go on */
        T_EQUAL(t_peer_try(peer, "INSERT INTO t(task) VALUES(-1)"), SQLITE_OK);
        T_EQUAL(t_peer_try(peer, "DELETE FROM t WHERE task = -1"), SQLITE_OK);
        t_turn(t->engine);
    }
    t_until(t->engine, &c.finished, TASKS);
    T_EQUAL(c.failed, 0);
    ll_writer_stats stats;
    ll_writer_get_stats(c.writer, &stats);
    T_EQUAL(stats.members + stats.alone, TASKS * c.each);
    T_CHECK(stats.largest > 1);
    ll_writer_free(c.writer);
    for (size_t i = 0; i < HOMES; i++)
        t_close(conns[i]);
    t_close(writing);
    check_file(path, TASKS, c.each);
}

static void many_tasks_of_one_loop(void **state)
{
    crowd(*state, true, true, NULL);
}

static void many_tasks_in_rollback_mode(void **state)
{
    crowd(*state, false, true, NULL);
}

static void many_tasks_without_homes(void **state)
{
    crowd(*state, true, false, NULL);
}

static void beside_another_process(void **state)
{
    t_env *t = *state;
    /* Both are forked before there is a worker: what a thread alone refers to is lost in a child. */
    t_peer *peers[] = {t_peer_new(t_path(t, "rollback.db")), t_peer_new(t_path(t, "wal.db"))};
    for (int with_wal = 0; with_wal < 2; with_wal++) {
        T_EQUAL(t_peer_try(peers[with_wal], "PRAGMA busy_timeout = 20000"), SQLITE_OK);
        crowd(t, with_wal, with_wal, peers[with_wal]);
    }
    t_peer_end(peers[1]); /* the later one has the other one's pipe, too */
    t_peer_end(peers[0]);
}

/* ---- several loops, cancellations ---- */

struct loop {
    pthread_t thread;
    t_env *t;
    ll_engine *engine;
    ll_writer *writer;
    ll_conn *homes[2];
    const char *path;
    size_t number, count;
    uint64_t random;
    struct told {
        ll_status status;
        ll_outcome outcome;
    } * told;
};

static void *loop_main(void *arg)
{
    struct loop *loop = arg;
    for (size_t i = 0; i < loop->count; i += 4) {
        ll_request *list[4];
        for (size_t k = 0; k < 4; k++) {
            uint64_t dice = next_random(&loop->random);
            ll_value values[] = {ll_integer((int64_t)loop->number), ll_integer((int64_t)(i + k))};
            ll_sql sql = {.text = dice % 8 == 1
                                    ? "INSERT OR ROLLBACK INTO t(task, n) VALUES(?1, ?2),"
                                      " (?1, ?2)"
                                    : "INSERT INTO t(task, n) VALUES(?, ?)",
                          .size = LL_NUL_TERMINATED,
                          .params = {.values = values, .count = 2}};
            ll_submit how = {.engine = loop->engine,
                             .timeout_ns = dice % 8 == 2 ? T_MS : 0,
                             .flags = dice % 8 == 3 ? LL_SUBMIT_INTERRUPT : 0};
            ll_conn *home = dice % 3 == 2 ? NULL : loop->homes[dice % 3];
            T_CHECK(ll_writer_submit(loop->writer, home, &sql, &how, &list[k]) == LL_PENDING);
        }
        uint64_t dice = next_random(&loop->random);
        if (dice % 4 < 3)
            T_CHECK(ll_request_cancel(list[dice % 4]) == LL_OK);
        if (dice % 16 == 5)
            T_CHECK(ll_conn_interrupt(loop->homes[dice % 2]) == LL_OK);
        for (size_t k = 0; k < 4; k++) {
            ll_status status = ll_request_wait(list[k]);
            loop->told[i + k] = (struct told){status, ll_request_outcome(list[k])};
            ll_request_unref(list[k]);
        }
    }
    return NULL;
}

static void several_loops_and_cancellations(void **state)
{
    t_env *t = *state;
    struct loop loops[LOOPS];
    uint64_t random = seed();
    const char *path = t_path(t, "a.db");
    t_file_sql(path, schema);
    static const char *const pragmas[] = {"journal_mode=WAL", "synchronous=OFF", NULL};
    ll_open_options options = {.pragmas = pragmas, .busy_timeout_ns = T_HOUR};
    ll_conn *writing = t_open_with(t->engine, path, &options);
    ll_writer *writer = NULL;
    T_CHECK(ll_writer_new(writing, NULL, &writer) == LL_OK);
    for (size_t i = 0; i < LOOPS; i++) {
        struct loop *loop = &loops[i];
        *loop = (struct loop){.t = t,
                              .writer = writer,
                              .path = path,
                              .number = i,
                              .count = rounds(800) / 4 * 4,
                              .random = random + i};
        loop->told = calloc(loop->count, sizeof *loop->told);
        T_CHECK(loop->told != NULL);
        T_CHECK(ll_engine_new(&(ll_engine_options){.workers_of = t->engine}, &loop->engine) ==
                LL_OK);
        for (size_t k = 0; k < 2; k++)
            loop->homes[k] = t_open_with(t->engine, path, &options);
    }
    for (size_t i = 0; i < LOOPS; i++)
        T_CHECK(pthread_create(&loops[i].thread, NULL, loop_main, &loops[i]) == 0);
    for (size_t i = 0; i < LOOPS; i++)
        T_CHECK(pthread_join(loops[i].thread, NULL) == 0);
    sqlite3 *db = t_raw_open(path);
    for (size_t i = 0; i < LOOPS; i++) {
        for (size_t n = 0; n < loops[i].count; n++) {
            const struct told *told = &loops[i].told[n];
            char sql[100];
            snprintf(sql, sizeof sql, "SELECT count(*) FROM t WHERE task = %zu AND n = %zu", i, n);
            if (t_raw_int(db, sql) != (told->outcome == LL_APPLIED))
                t_fail(__FILE__, __LINE__, "loop %zu, row %zu: was told %d, %d", i, n,
                       (int)told->status, (int)told->outcome);
            T_CHECK((told->status == LL_OK) == (told->outcome == LL_APPLIED));
        }
        for (size_t k = 0; k < 2; k++)
            t_close(loops[i].homes[k]);
        ll_engine_free(loops[i].engine);
        free(loops[i].told);
    }
    t_raw_close(db);
    ll_writer_free(writer);
    t_close(writing);
}

/* ---- the engine ends in the middle ---- */

static void the_engine_ends_in_the_middle(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    uint64_t random = seed();
    t_file_sql(path, schema);
    static const char *const pragmas[] = {"journal_mode=WAL", "synchronous=OFF", NULL};
    ll_open_options options = {.pragmas = pragmas, .busy_timeout_ns = T_HOUR};
    for (size_t round = 0; round < rounds(60); round++) {
        ll_engine *engine = NULL;
        ll_writer *writer = NULL;
        ll_conn *homes[HOMES];
        t_told told[HOMES] = {{0}};
        T_CHECK(ll_engine_new(NULL, &engine) == LL_OK);
        ll_conn *writing = t_open_with(engine, path, &options);
        T_CHECK(ll_writer_new(writing, NULL, &writer) == LL_OK);
        for (size_t i = 0; i < HOMES; i++)
            homes[i] = t_open_with(engine, path, &options);
        t_file_sql(path, "DELETE FROM t");
        for (size_t i = 0; i < HOMES; i++) {
            ll_value value = ll_integer((int64_t)i);
            ll_sql sql = {.text = "INSERT INTO t(task) VALUES(?)",
                          .size = LL_NUL_TERMINATED,
                          .params = {.values = &value, .count = 1}};
            T_CHECK(ll_writer_submit(writer, i % 3 == 0 ? NULL : homes[i], &sql,
                                     &(ll_submit){.done = t_tell, .user = &told[i]},
                                     NULL) == LL_PENDING);
        }
        if (next_random(&random) % 2)
            t_turn(engine);
        bool abandoned = next_random(&random) % 4 == 0;
        if (abandoned)
            ll_engine_abandon(engine);
        else
            ll_engine_free(engine);
        ll_writer_free(writer);
        ll_conn_unref(writing);
        for (size_t i = 0; i < HOMES; i++) {
            ll_conn_unref(homes[i]);
            if (!abandoned) {
                T_EQUAL(told[i].calls, 1);
                T_EQUAL(told[i].status == LL_OK, told[i].outcome == LL_APPLIED);
            }
            char sql[100];
            snprintf(sql, sizeof sql, "SELECT count(*) FROM t WHERE task = %zu", i);
            if (!abandoned)
                T_EQUAL(t_file_int(path, sql), told[i].outcome == LL_APPLIED);
        }
        while (abandoned && ll_live_objects() > 1) /* its workers end by themselves */
            t_turn(t->engine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(many_tasks_of_one_loop),        T_TEST(many_tasks_in_rollback_mode),
        T_TEST(many_tasks_without_homes),      T_TEST(several_loops_and_cancellations),
        T_TEST(the_engine_ends_in_the_middle), T_TEST(beside_another_process),
    };
    return T_RUN(tests);
}
