/* killround.h: one life of a child that is killed, for test_kill.c, which says what is checked, and for the soak. */
#ifndef T_CRASH_KILLROUND_H
#define T_CRASH_KILLROUND_H

#include "support/load.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    KILL_WRITERS = 8,
    KILL_READERS = 3,
    KILL_OPS = 20000
};

struct kill_news {
    uint32_t op;
    int32_t outcome; /* -1: asked for */
};

static int kill_telling;

static inline void kill_send(struct kill_news news)
{
    if (write(kill_telling, &news, sizeof news) != (ssize_t)sizeof news)
        _exit(3);
}

static inline void kill_asking(void *arg, size_t op)
{
    (void)arg;
    kill_send((struct kill_news){.op = (uint32_t)op, .outcome = -1});
}

static inline void kill_told(void *arg, size_t op)
{
    t_load **load = arg;
    kill_send(
        (struct kill_news){.op = (uint32_t)op, .outcome = (int32_t)t_load_outcome(*load, op)});
}

static inline void kill_live(const char *path, t_load_options options)
{
    ll_engine *engine = NULL;
    t_load *load = NULL;
    t_watchdog();
    options.asking = kill_asking;
    options.told = kill_told;
    options.arg = &load;
    if (ll_engine_new(NULL, &engine) != LL_OK || !t_load_begin(&load, engine, path, &options))
        _exit(4);
    t_load_run(load);
    _exit(5); /* it is to be killed long before */
}

static inline void kill_round(t_env *t, enum t_load_way way, const char *journal, uint64_t seed)
{
    const char *path = t_path(t, "a.db");
    t_load_options options = {.way = way,
                              .journal = journal,
                              .synchronous = seed % 3 ? "NORMAL" : "FULL",
                              .writers = KILL_WRITERS,
                              .readers = KILL_READERS,
                              .ops = KILL_OPS,
                              .seed = seed,
                              .cancel_of_16 = 1,
                              .backup_of_64 = 1,
                              .backup_dir = t->dir};
    int pipes[2], status = 0;
    struct t_load_op *ops = calloc(KILL_OPS, sizeof *ops);
    unsigned char *found = calloc(KILL_OPS, 1);
    T_CHECK(ops && found && pipe(pipes) == 0);
    alarm(0);
    t_watchdog();
    t_load_schema(path, journal);
    fflush(NULL);
    pid_t child = fork();
    T_CHECK(child >= 0);
    if (child == 0) {
        close(pipes[0]);
        kill_telling = pipes[1];
        kill_live(path, options);
    }
    close(pipes[1]);
    size_t heard = 0, count = 0, after = 1 + (size_t)(seed * 2654435761u % 251);
    struct kill_news news;
    while (read(pipes[0], &news, sizeof news) == (ssize_t)sizeof news) {
        T_CHECK(news.op < KILL_OPS);
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

#endif
