/* The held snapshot as the engine keeps it: from the second read of a turn on to the beginning of the next turn, beside
 * other processes that commit, change the schema and truncate the WAL. (What the snapshot itself promises is tested in
 * db/test_snapshot.c.) */
#include "support/other.h"
#include "world.h"

#include <poll.h>
#include <sched.h>
#include <sys/mman.h>

static const char *const wal[] = {"journal_mode=WAL", "synchronous=OFF", NULL};
static const char point_read[] = "SELECT x FROM t WHERE id = 7";

static int make_file(void *arg)
{
    t_file_sql(arg, "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x);"
                    "INSERT INTO t VALUES(7, 0)");
    return 0;
}

/* ---- how long it is held ---- */

static void for_one_turn(void **state)
{
    t_env *t = *state;
    struct world w;
    char *path = t_printf(t, "%s/a.db", t->dir);
    world_needs_guarded_files(t);
    t_in_child(make_file, path);
    struct other other = other_start(path);
    world_begin(&w, t);
    ll_conn *conn = world_open(&w, "a.db", &(ll_open_options){.pragmas = wal});
    for (int i = 0; i < 3; i++)
        world_exec(&w, conn, point_read);
    for (int round = 0; round < 3; round++) {
        other_does(&other, "UPDATE t SET x = x + 1");
        ll_engine_new_turn(w.step.engine);
        T_CHECK(world_exec(&w, conn, point_read)); /* one read alone holds nothing */
        T_CHECK(!lli_snapshot_held(&conn->db.snapshot));
        T_CHECK(world_exec(&w, conn, point_read));
        T_CHECK(lli_snapshot_held(&conn->db.snapshot));
        ll_stats before = world_stats(&w);
        T_CHECK(world_exec(&w, conn, point_read));
        T_EQUAL(world_stats(&w).snapshot_hits, before.snapshot_hits + 1);
        T_EQUAL(other_does(&other, "PRAGMA wal_checkpoint(TRUNCATE)"), 1); /* busy */
        if (round == 0)
            T_CHECK(ll_engine_dispatch(w.step.engine, NULL) == LL_OK);
        else if (round == 1)
            ll_engine_new_turn(w.step.engine);
        else /* whatever needs a worker lets go of it, too */
            T_CHECK(!world_exec(&w, conn, "UPDATE t SET x = x + 1"));
        T_CHECK(!lli_snapshot_held(&conn->db.snapshot));
        T_EQUAL(other_does(&other, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
        T_EQUAL(size_of(t_printf(t, "%s-wal", path)), 0);
    }
    other_end(&other);
    world_close(&w, conn);
    world_end(&w);
}

/* A program that makes no turn is woken: its descriptor becomes readable, and dispatching lets go. */
static void of_a_loop_that_sleeps(void **state)
{
    t_env *t = *state;
    char *path = t_printf(t, "%s/a.db", t->dir);
    world_needs_guarded_files(t);
    t_in_child(make_file, path);
    struct other other = other_start(path);
    lli_cost_clear();
    t_engine(t, &(ll_engine_options){.turn_ns = T_HOUR, .attempt_ns = T_HOUR});
    ll_conn *conn = t_open_with(t->engine, path, &(ll_open_options){.pragmas = wal});
    other_does(&other, "UPDATE t SET x = x + 1");
    T_EQUAL(t_int(conn, point_read), 1);
    T_CHECK(ll_engine_dispatch(t->engine, NULL) == LL_OK);
    for (int i = 0; t_stats(t->engine).snapshot_takes == 0; i++) {
        /* each text is new: none has a history of being slow */
        T_EQUAL(t_int(conn, t_printf(t, "SELECT x + %d FROM t WHERE id = 7", i)), 1 + i);
        T_CHECK(i < 1000);
    }
    struct pollfd fd = {.fd = ll_engine_fd(t->engine), .events = POLLIN};
    T_EQUAL(poll(&fd, 1, -1), 1); /* or the watchdog bites */
    T_CHECK(ll_engine_dispatch(t->engine, NULL) == LL_OK);
    T_EQUAL(other_does(&other, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
    other_end(&other);
    t_close(conn);
}

/* ---- beside a process that commits all the time ---- */

struct shared {
    atomic_long begun, done; /* the number that is being committed, and the last that was */
    atomic_bool stop, failed;
    atomic_long reads;
    bool paced; /* two commits for a read at most */
};

/* "%ld" of the text is the number; each is one transaction. */
static void commit_on_and_on(const char *path, struct shared *shared, const char *(*text)(long))
{
    sqlite3 *raw = NULL;
    bool good = sqlite3_open(path, &raw) == SQLITE_OK &&
                sqlite3_busy_timeout(raw, 60000) == SQLITE_OK &&
                t_raw_try(raw, "PRAGMA synchronous = OFF") == SQLITE_OK;
    for (long i = 1; good && !atomic_load(&shared->stop); i++) {
        atomic_store(&shared->begun, i);
        good = t_raw_try(raw, text(i)) == SQLITE_OK;
        atomic_store(&shared->done, i);
        if (i % 3 == 0)
            sched_yield();
        for (long seen = atomic_load(&shared->reads); shared->paced && i > 1 &&
                                                      atomic_load(&shared->reads) == seen &&
                                                      !atomic_load(&shared->stop);)
            sched_yield();
        if (i % 64 == 0) /* what else others do; busy is no failure */
            (void)t_raw_try(raw, "PRAGMA wal_checkpoint(TRUNCATE)");
    }
    atomic_store(&shared->failed, !good);
    sqlite3_close(raw);
    atomic_store(&shared->stop, true);
}

static pid_t fork_writer(const char *path, struct shared *shared, const char *(*text)(long))
{
    fflush(NULL);
    pid_t pid = fork();
    T_CHECK(pid >= 0);
    if (pid == 0) {
        t_watchdog();
        commit_on_and_on(path, shared, text);
        _exit(0);
    }
    return pid;
}

static const char *new_value(long number)
{
    static char text[80];
    snprintf(text, sizeof text, "UPDATE t SET x = %ld WHERE id = 7", number);
    return text;
}

/* A table of 1 to 7 columns, all of which are the number, and an index that is there for every other number: what
 * finds the row by k is bounded with it and is not without. */
static const char *new_schema(long number)
{
    static char text[512];
    int size = snprintf(text, sizeof text,
                        "BEGIN IMMEDIATE; DROP TABLE IF EXISTS s; CREATE TABLE s(k");
    for (long i = 0; i < number % 7; i++)
        size += snprintf(text + size, sizeof text - (size_t)size, ", c%ld", i);
    size += snprintf(text + size, sizeof text - (size_t)size, "); INSERT INTO s VALUES(%ld",
                     number);
    for (long i = 0; i < number % 7; i++)
        size += snprintf(text + size, sizeof text - (size_t)size, ", %ld", number);
    snprintf(text + size, sizeof text - (size_t)size, ");%s COMMIT",
             number % 2 ? "CREATE UNIQUE INDEX sk ON s(k);" : "");
    return text;
}

static void check_number(const struct shared *shared, long number, long least)
{
    long most = atomic_load(&shared->begun);
    if (number < least || number > most)
        t_fail(__FILE__, __LINE__, "read %ld, while %ld to %ld was right", number, least, most);
}

static void read_value(ll_conn *conn, const struct shared *shared)
{
    long least = atomic_load(&shared->done);
    check_number(shared, (long)t_int(conn, point_read), least);
}

static void read_table(ll_conn *conn, const struct shared *shared)
{
    static const char *const texts[] = {"SELECT * FROM s", "SELECT * FROM s WHERE k > 0",
                                        "SELECT * FROM s WHERE k = (SELECT k FROM s)"};
    static unsigned turn;
    long least = atomic_load(&shared->done);
    ll_request *request = t_query(conn, texts[turn++ % 3]);
    t_is(request, LL_OK, LL_APPLIED);
    size_t columns = ll_columns_count(ll_request_columns(request));
    t_rows rows = {.request = request};
    const ll_value *row = t_rows_next(&rows);
    T_CHECK(row);
    long number = (long)row[0].as.integer;
    check_number(shared, number, least);
    T_EQUAL(columns, 1 + number % 7);
    for (size_t i = 0; i < columns; i++)
        T_EQUAL(row[i].as.integer, number);
    T_CHECK(!t_rows_next(&rows));
    t_rows_done(&rows);
}

enum {
    READS = 1000000,
    READS_OF_A_TURN = 50
};

static void beside(t_env *t, const char *(*text)(long),
                   void (*read)(ll_conn *, const struct shared *), bool paced)
{
    char *path = t_printf(t, "%s/a.db", t->dir);
    world_needs_guarded_files(t);
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    T_CHECK(shared != MAP_FAILED);
    shared->paced = paced;
    t_in_child(make_file, path);
    pid_t writer = fork_writer(path, shared, text);
    while (atomic_load(&shared->done) == 0 && !atomic_load(&shared->stop))
        sched_yield();
    lli_cost_clear();
    t_engine(t, &(ll_engine_options){.turn_ns = T_HOUR});
    ll_open_options options = {.pragmas = wal, .busy_timeout_ns = T_HOUR};
    ll_conn *conn = t_open_with(t->engine, path, &options);
    long reads = 0;
    ll_stats stats;
    /* Fewer where a checker makes everything slow; on and on where the writer gets no processor. */
    for (uint64_t until = lli_now_ns() + 2 * LLI_SECOND;;) {
        for (int i = 0; i < READS_OF_A_TURN; i++, atomic_store(&shared->reads, ++reads))
            read(conn, shared);
        T_CHECK(ll_engine_dispatch(t->engine, NULL) == LL_OK);
        stats = t_stats(t->engine);
        bool enough = (reads >= READS || lli_now_ns() >= until) &&
                      atomic_load(&shared->done) > 100 && stats.inline_hits > 100 &&
                      stats.snapshot_takes > 0 && stats.snapshot_hits > 0;
        if (enough || atomic_load(&shared->stop))
            break;
    }
    T_CHECK(!atomic_load(&shared->stop));
    atomic_store(&shared->stop, true);
    wait_for(writer);
    T_CHECK(!atomic_load(&shared->failed));
    print_message("%ld reads beside %ld commits: %llu on the loop, %llu joined %llu snapshots\n",
                  reads, atomic_load(&shared->done), (unsigned long long)stats.inline_hits,
                  (unsigned long long)stats.snapshot_hits,
                  (unsigned long long)stats.snapshot_takes);
    t_close(conn);
    munmap(shared, sizeof *shared);
}

static void never_stale(void **state)
{
    beside(*state, new_value, read_value, false);
}

/* (After fifty changes in the middle of one statement SQLite gives up: hence the pace.) */
static void schema_changes_under_load(void **state)
{
    beside(*state, new_schema, read_table, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(for_one_turn),
        T_TEST(of_a_loop_that_sleeps),
        T_TEST(never_stale),
        T_TEST(schema_changes_under_load),
    };
    return T_RUN(tests);
}
