/* histories.h: random histories in a child process; one that fails is printed, shrunk, and can be run again.
 *
 * A history is a seed and a list of actions. What action i does depends on the seed and on i alone, so actions can be
 * left out and the others stay what they were: a failing history is shrunk by leaving out more and more of them, each
 * try in a child of its own, as long as it still fails (or crashes, or hangs).
 *
 *   LL_SEED=17                 that history alone, in the test's own process (a debugger sees it)
 *   LL_SEED=17 LL_KEEP=3,9-12  only these actions of it
 *   LL_TRACE=1                 what happens, as it happens
 *   LL_HISTORIES=20000         so many, from LL_SEED or the first on */
#ifndef T_MODEL_HISTORIES_H
#define T_MODEL_HISTORIES_H

#include "support/support.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    HISTORY_MOST = 512, /* actions */
    HISTORY_COUNTS = 32 /* numbers that a test adds up over all histories */
};

/* Survives a child. */
struct histories {
    volatile uint64_t seed; /* the one that runs */
    volatile uint64_t done;
    uint64_t counts[HISTORY_COUNTS];
};

struct history_plan {
    t_env *t;
    uint64_t seed;
    unsigned char keep[HISTORY_MOST];
    struct histories *all;
    bool trace;
    const uint8_t *bytes; /* what decides instead of the seed, as long as there are some */
    size_t bytes_left;
};

typedef void (*history_fn)(struct history_plan *plan);

static inline uint64_t history_mix(uint64_t z)
{
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* ---- children ---- */

/* Runs histories first, first + 1, ... in a child; true if it came back well. `quiet`: it says nothing. */
static inline bool history_child(const struct history_plan *plan, history_fn run, uint64_t count,
                                 bool quiet)
{
    int state = 0;
    fflush(NULL);
    pid_t child = fork();
    T_CHECK(child >= 0);
    if (child == 0) {
        struct history_plan mine = *plan;
        int nowhere = quiet ? open("/dev/null", O_WRONLY) : -1;
        if (nowhere >= 0)
            dup2(nowhere, 2);
        t_failing_ends_the_process();
        for (uint64_t i = 0; i < count; i++, mine.seed++) {
            mine.all->seed = mine.seed;
            alarm(0);
            t_watchdog();
            run(&mine);
            mine.all->done++;
        }
        _exit(0);
    }
    T_CHECK(waitpid(child, &state, 0) == child);
    return WIFEXITED(state) && WEXITSTATUS(state) == 0;
}

/* ---- shrinking ---- */

static inline size_t history_kept(const struct history_plan *plan)
{
    size_t kept = 0;
    for (size_t i = 0; i < HISTORY_MOST; i++)
        kept += plan->keep[i];
    return kept;
}

static inline void history_shrink(struct history_plan *plan, history_fn run)
{
    unsigned tries = 0;
    for (size_t chunk = HISTORY_MOST / 2; chunk > 0; chunk /= 2) {
        bool shorter = true;
        while (shorter && tries < 600) {
            shorter = false;
            for (size_t from = 0; from < HISTORY_MOST && tries < 600; from += chunk) {
                struct history_plan less = *plan;
                memset(less.keep + from, 0, chunk);
                if (history_kept(&less) == history_kept(plan))
                    continue;
                tries++;
                if (!history_child(&less, run, 1, true)) {
                    *plan = less;
                    shorter = chunk == 1; /* once more only with the smallest */
                }
            }
        }
    }
}

static inline void history_print(const struct history_plan *plan)
{
    const char *comma = "";
    fprintf(stderr, "\nLL_TRACE=1 LL_SEED=%llu LL_KEEP=", (unsigned long long)plan->seed);
    for (size_t i = 0; i < HISTORY_MOST; i++) {
        size_t last = i;
        if (!plan->keep[i])
            continue;
        while (last + 1 < HISTORY_MOST && plan->keep[last + 1])
            last++;
        fprintf(stderr, last > i ? "%s%zu-%zu" : "%s%zu", comma, i, last);
        comma = ",";
        i = last;
    }
    fprintf(stderr, " build/plain/tests/c/model_%s\n", t_group(NULL));
}

/* "3,9-12"; NULL: all. */
static inline void history_keep(struct history_plan *plan, const char *text)
{
    memset(plan->keep, text == NULL, HISTORY_MOST);
    while (text && *text) {
        char *end;
        unsigned long from = strtoul(text, &end, 10), to = from;
        if (*end == '-')
            to = strtoul(end + 1, &end, 10);
        for (; from <= to && from < HISTORY_MOST; from++)
            plan->keep[from] = 1;
        text = *end == ',' ? end + 1 : "";
    }
}

/* ---- all of them ---- */

/* Gives what was counted; valid until the process ends. NULL: one was run alone. */
static inline const struct histories *history_all(t_env *t, history_fn run, uint64_t first,
                                                  uint64_t usual)
{
    const char *seed = getenv("LL_SEED"), *many = getenv("LL_HISTORIES");
    struct history_plan plan = {.t = t, .seed = seed ? strtoull(seed, NULL, 10) : first};
    plan.trace = getenv("LL_TRACE") != NULL;
    plan.all = mmap(NULL, sizeof *plan.all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                    0);
    T_CHECK(plan.all != MAP_FAILED);
    history_keep(&plan, getenv("LL_KEEP"));
    if (seed && !many) {
        run(&plan);
        return NULL;
    }
    alarm(0); /* the child has its watchdog, for each history */
    if (history_child(&plan, run, many ? strtoull(many, NULL, 10) : usual, false))
        return plan.all;
    plan.seed = plan.all->seed;
    fprintf(stderr, "\nseed %llu fails; shrinking\n", (unsigned long long)plan.seed);
    bool again = !history_child(&plan, run, 1, true);
    if (again)
        history_shrink(&plan, run);
    fprintf(stderr, "%s; %zu actions are enough:\n",
            again ? "it fails alone, too" : "alone it does not fail", history_kept(&plan));
    history_child(&plan, run, 1, false);
    history_print(&plan);
    t_fail(__FILE__, __LINE__, "history %llu", (unsigned long long)plan.seed);
}

#endif
