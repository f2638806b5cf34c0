/* kill -9 at random moments: what was acknowledged is in the file afterwards, whole and once, with and without group
 * commit. LL_KILL_ROUNDS=200 makes more of it.
 *
 * The child writes rows with numbers of its own and tells each that is acknowledged through a pipe; its parent kills it
 * after some of them, takes what is left in the pipe, and looks into the file. */
#include "support/support.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TASKS = 20,
    MOST = 200000
};

struct job {
    const char *path;
    int tell;
    bool grouped;
    ll_writer *writer;
    ll_conn *homes[TASKS];
    ll_engine *engine;
    int64_t next;
};

struct row {
    struct job *job;
    size_t home;
    int64_t number;
};

static void write_row(struct row *row);

static void on_row(ll_request *request, void *user)
{
    struct row *row = user;
    if (ll_request_status(request) != LL_OK) {
        fprintf(stderr, "the child: %s\n", ll_request_error(request)->message);
        _exit(3);
    }
    if (write(row->job->tell, &row->number, sizeof row->number) != sizeof row->number)
        _exit(3);
    write_row(row);
}

static void write_row(struct row *row)
{
    struct job *job = row->job;
    row->number = job->next++;
    if (row->number >= MOST)
        _exit(4);
    ll_value value = ll_integer(row->number);
    ll_sql sql = {.text = "INSERT INTO t VALUES(?, hex(randomblob(100)))",
                  .size = LL_NUL_TERMINATED,
                  .params = {.values = &value, .count = 1}};
    ll_submit how = {.done = on_row, .user = row};
    ll_status status = job->grouped
                         ? ll_writer_submit(job->writer, job->homes[row->home], &sql, &how, NULL)
                         : ll_conn_submit(job->homes[row->home], &sql, &how, NULL);
    if (status != LL_PENDING)
        _exit(5);
}

static int work(struct job *job)
{
    ll_conn *writing = NULL;
    struct row rows[TASKS];
    ll_submit how = {.done = t_count, .user = &(size_t){0}};
    ll_open_options options = {.busy_timeout_ns = T_HOUR};
    T_CHILD(ll_engine_new(NULL, &job->engine) == LL_OK);
    T_CHILD(ll_conn_open(job->engine, job->path, &options, &how, &writing, NULL) >= 0);
    T_CHILD(ll_writer_new(writing, NULL, &job->writer) == LL_OK);
    for (size_t i = 0; i < TASKS; i++)
        T_CHILD(ll_conn_open(job->engine, job->path, &options, &how, &job->homes[i], NULL) >= 0);
    for (size_t i = 0; i < TASKS; i++) {
        rows[i] = (struct row){.job = job, .home = i};
        write_row(&rows[i]);
    }
    for (;;)
        T_CHILD(ll_engine_wait(job->engine, -1, NULL) == LL_OK);
}

/* One child's life. Gives how many rows it has acknowledged; they are marked in `told`. */
static size_t kill_one(struct job job, size_t after, unsigned char *told)
{
    int pipes[2], status = 0;
    T_CHECK(pipe(pipes) == 0);
    fflush(NULL);
    pid_t child = fork();
    T_CHECK(child >= 0);
    if (child == 0) {
        close(pipes[0]);
        t_watchdog();
        job.tell = pipes[1];
        _exit(work(&job));
    }
    close(pipes[1]);
    size_t count = 0;
    int64_t number;
    while (read(pipes[0], &number, sizeof number) == (ssize_t)sizeof number) {
        T_CHECK(number >= 0 && number < MOST && !told[number]);
        told[number] = 1;
        if (++count == after)
            T_CHECK(kill(child, SIGKILL) == 0);
    }
    close(pipes[0]);
    T_CHECK(waitpid(child, &status, 0) == child);
    T_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return count;
}

static void kill_many(t_env *t, bool grouped, bool with_wal)
{
    const char *given = getenv("LL_KILL_ROUNDS"), *path = t_path(t, "a.db");
    size_t rounds = given ? strtoul(given, NULL, 10) : 5;
    unsigned char *told = calloc(MOST, 1);
    T_CHECK(told != NULL);
    t_file_sql(path, with_wal ? "PRAGMA journal_mode = WAL" : "PRAGMA journal_mode = DELETE");
    t_file_sql(path, "CREATE TABLE IF NOT EXISTS t(x UNIQUE, y); DELETE FROM t");
    int64_t next = 0;
    srand(4711);
    for (size_t i = 0; i < rounds; i++) {
        struct job job = {.path = path, .grouped = grouped, .next = next};
        size_t count = kill_one(job, 1 + (size_t)(rand() % 200), told);
        T_CHECK(count > 0);
        t_integrity(path);
        sqlite3 *db = t_raw_open(path);
        sqlite3_stmt *stmt = NULL;
        size_t found = 0;
        T_CHECK(sqlite3_prepare_v2(db, "SELECT x FROM t WHERE x >= ?", -1, &stmt, NULL) ==
                SQLITE_OK);
        T_CHECK(sqlite3_bind_int64(stmt, 1, next) == SQLITE_OK);
        while (sqlite3_step(stmt) == SQLITE_ROW)
            found += told[sqlite3_column_int64(stmt, 0)];
        T_CHECK(sqlite3_finalize(stmt) == SQLITE_OK);
        T_EQUAL(found, count);
        next = t_raw_int(db, "SELECT max(x) + 1 FROM t");
        t_raw_close(db);
        for (int64_t n = next; n < MOST; n++)
            T_CHECK(!told[n]);
    }
    free(told);
}

static void with_group_commit(void **state)
{
    kill_many(*state, true, true);
    kill_many(*state, true, false);
}

static void without(void **state)
{
    kill_many(*state, false, true);
    kill_many(*state, false, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(with_group_commit),
        T_TEST(without),
    };
    return T_RUN(tests);
}
