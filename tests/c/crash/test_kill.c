/* kill -9 at random moments, under load: connections of one's own, group commit, a pool with checkpoints in the
 * background, and both; while others stream the table and copy the database (VACUUM INTO).
 *
 * A child runs the load and tells through a pipe what it asks for and what it is told; its parent kills it after some of
 * that, takes what is left in the pipe, and compares the file with it: sound, each transaction whole or not at all,
 * what was told to be applied is there, what was told not to be is not. LL_ROUNDS=100 makes more of it. */
#include "support/load.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    WRITERS = 8,
    READERS = 3,
    OPS = 20000
};

struct news {
    uint32_t op;
    int32_t outcome; /* -1: asked for */
};

static int telling;

static void send(struct news news)
{
    if (write(telling, &news, sizeof news) != (ssize_t)sizeof news)
        _exit(3);
}

static void asking(void *arg, size_t op)
{
    (void)arg;
    send((struct news){.op = (uint32_t)op, .outcome = -1});
}

static void told(void *arg, size_t op)
{
    t_load **load = arg;
    send((struct news){.op = (uint32_t)op, .outcome = (int32_t)t_load_outcome(*load, op)});
}

static void live(const char *path, t_load_options options)
{
    ll_engine *engine = NULL;
    t_load *load = NULL;
    t_watchdog();
    options.asking = asking;
    options.told = told;
    options.arg = &load;
    if (ll_engine_new(NULL, &engine) != LL_OK || !t_load_begin(&load, engine, path, &options))
        _exit(4);
    t_load_run(load);
    _exit(5); /* it is to be killed long before */
}

static void kill_one(t_env *t, enum t_load_way way, const char *journal, uint64_t seed)
{
    const char *path = t_path(t, "a.db");
    t_load_options options = {.way = way,
                              .journal = journal,
                              .synchronous = seed % 3 ? "NORMAL" : "FULL",
                              .writers = WRITERS,
                              .readers = READERS,
                              .ops = OPS,
                              .seed = seed,
                              .cancel_of_16 = 1,
                              .backup_of_64 = 1,
                              .backup_dir = t->dir};
    int pipes[2], status = 0;
    struct t_load_op *ops = calloc(OPS, sizeof *ops);
    unsigned char *found = calloc(OPS, 1);
    T_CHECK(ops && found && pipe(pipes) == 0);
    alarm(0);
    t_watchdog();
    t_load_schema(path, journal);
    fflush(NULL);
    pid_t child = fork();
    T_CHECK(child >= 0);
    if (child == 0) {
        close(pipes[0]);
        telling = pipes[1];
        live(path, options);
    }
    close(pipes[1]);
    size_t heard = 0, count = 0, after = 1 + (size_t)(seed * 2654435761u % 251);
    struct news news;
    while (read(pipes[0], &news, sizeof news) == (ssize_t)sizeof news) {
        T_CHECK(news.op < OPS);
        if (news.outcome >= 0) {
            T_CHECK(!ops[news.op].told);
            ops[news.op].told = true;
            ops[news.op].outcome = (ll_outcome)news.outcome;
        } else if (news.op >= count) {
            count = news.op + 1;
        }
        if (++heard == after)
            T_CHECK(kill(child, SIGKILL) == 0);
    }
    close(pipes[0]);
    T_CHECK(waitpid(child, &status, 0) == child);
    T_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    size_t missing;
    const char *said = t_load_look(path, count, found);
    if (!said)
        said = t_load_compare(ops, count, found, SIZE_MAX, true, &missing);
    if (said)
        t_fail(__FILE__, __LINE__, "%s, %s, seed %llu, killed after %zu: %s", journal,
               t_load_way_names[way], (unsigned long long)seed, heard, said);
    free(ops);
    free(found);
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < 4; i++)
        unlink(t_printf(t, "%s%s", path, endings[i]));
}

static void what_was_acknowledged_survives_kill_9(void **state)
{
    const char *given = getenv("LL_ROUNDS"), *first = getenv("LL_SEED");
    uint64_t rounds = given ? strtoull(given, NULL, 10) : getenv("LL_TEST_SLOW") ? 1 : 3;
    uint64_t seed = first ? strtoull(first, NULL, 10) : 1;
    uint64_t kills = 0;
    for (uint64_t i = 0; i < rounds; i++)
        for (unsigned way = 0; way < T_LOAD_WAYS; way++)
            for (unsigned wal = 0; wal < 2; wal++, kills++)
                kill_one(*state, (enum t_load_way)way, wal ? "WAL" : "DELETE", seed++);
    print_message("killed %llu times\n", (unsigned long long)kills);
}

int main(void)
{
    const struct CMUnitTest tests[] = {T_TEST(what_was_acknowledged_survives_kill_9)};
    return T_RUN(tests);
}
