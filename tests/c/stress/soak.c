/* soak.c: a mixed load with faults for as long as it is told, and a report.
 *
 *   soak SECONDS [SEED] >report.json      (tools/soak.sh, make soak)
 *
 * Round after round, each with settings of its own: how the clients reach the database, the journal, cancellations,
 * readers, copies (VACUUM INTO), and what goes wrong:
 *   - a load during which the disk fails and is mended, allocations and VFS calls fail, again and again;
 *   - a load under which the power is cut, at many places (crash/cutround.h);
 *   - a load in another process that is killed (crash/killround.h).
 * Each round ends with the checks of these tests: the file is sound, each transaction is there whole or not at all, what
 * was told to be applied is there, what was told not to be is not, nothing is there twice; and no object of the library,
 * no thread and no descriptor is left over. The first failure ends the program with words and status 1.
 *
 * The report is one JSON object; its fields are listed in docs/design/trust.md. Progress goes to stderr. */
#include "crash/cutround.h"
#include "crash/killround.h"
#include "support/load.h"

#include "base/fault.h"

#include <sys/resource.h>
#include <time.h>

enum {
    SOAK_OPS = 600,
    SETTLED_ROUNDS = 20 /* memory is compared from then on: caches are full */
};

static struct {
    uint64_t rounds, loads, told_applied, told_not, told_unknown;
    uint64_t disk_faults, faults;
} sums;

static struct trouble {
    uint64_t random;
    bool disk; /* a fault of the disk is armed */
    unsigned left;
} trouble;

static uint64_t draw(uint64_t below)
{
    trouble.random = cut_mix(trouble.random);
    return trouble.random % below;
}

/* Counts what has happened, and makes the disk whole. */
static void mend(void)
{
    sums.disk_faults += t_disk_failed() && trouble.disk;
    sums.faults += lli_fault_fired();
    t_disk_mend();
    lli_fault_disarm();
    trouble.disk = false;
}

/* When a client asks for something: now and then something begins to go wrong, for some ops. */
static void make_trouble(void *arg, size_t op)
{
    (void)arg, (void)op;
    if (trouble.left > 0 && --trouble.left > 0)
        return;
    if (trouble.disk || draw(4))
        mend();
    if (draw(6))
        return;
    trouble.left = 1 + (unsigned)draw(12);
    switch (draw(3)) {
    case 0:
        lli_fault_arm(LLI_FAULT_ALLOC, 1 + draw(200));
        break;
    case 1:
        lli_fault_arm(LLI_FAULT_VFS, 1 + draw(200));
        break;
    default:
        trouble.disk = true;
        t_disk_fail((enum t_disk_fault)draw(T_DISK_FAULTS), 1 + draw(60));
        break;
    }
}

static void load_round(t_env *t, enum t_load_way way, const struct cut_mode *mode, uint64_t seed)
{
    const char *run = t_path(t, "run"), *path = t_path(t, "run/a");
    t_load_options options = {.way = way,
                              .journal = mode->journal,
                              .synchronous = mode->synchronous,
                              .writers = 2 + (unsigned)draw(10),
                              .readers = (unsigned)draw(4),
                              .ops = SOAK_OPS,
                              .seed = seed,
                              .cancel_of_16 = (unsigned)draw(4),
                              .backup_of_64 = (unsigned)draw(2),
                              .backup_dir = t->dir,
                              .asking = make_trouble};
    ll_engine *engine = NULL;
    t_load *load = NULL;
    unsigned char found[SOAK_OPS];
    size_t count, missing;
    mkdir(run, 0700);
    T_CHECK(ll_engine_new(NULL, &engine) == LL_OK);
    t_load_schema(path, mode->journal);
    t_tape_begin(run);
    T_CHECK(t_load_begin(&load, engine, path, &options));
    t_load_run(load);
    mend();
    struct t_load_op *ops = t_load_end(load, &count);
    ll_engine_free(engine);
    struct t_tape tape = t_tape_end();
    t_tape_free(&tape);
    const char *said = t_load_look(path, count, found);
    if (!said)
        said = t_load_compare(ops, count, found, SIZE_MAX, true, &missing);
    if (said)
        t_fail(__FILE__, __LINE__, "seed %llu, %s, %s, synchronous=%s: %s",
               (unsigned long long)seed, t_load_way_names[way], mode->journal, mode->synchronous,
               said);
    for (size_t i = 0; i < count; i++) {
        sums.told_applied += ops[i].outcome == LL_APPLIED;
        sums.told_not += ops[i].outcome == LL_NOT_APPLIED;
        sums.told_unknown += ops[i].outcome == LL_UNKNOWN;
    }
    free(ops);
    cut_empty(run);
    sums.loads++;
}

/* ---- the process ---- */

static size_t entries(const char *dir)
{
    size_t count = 0;
    DIR *stream = opendir(dir);
    while (stream && readdir(stream))
        count++;
    if (stream)
        closedir(stream);
    return count;
}

static uint64_t memory_kb(void)
{
    char line[200];
    unsigned long long kb = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %llu kB", &kb) == 1)
            break;
    if (file)
        fclose(file);
    return kb;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    double limit = argc > 1 ? atof(argv[1]) : 2, began = seconds(), said = 0;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, seed = first, kills = 0;
    t_env env = {.name = "soak"};
    void *state = (void *)(uintptr_t)env.name;
    t_tape_install();
    t_group(__FILE__);
    t_failing_ends_the_process();
    T_CHECK(t_setup(&state) == 0);
    t_env *t = state;
    trouble.random = first;
    size_t descriptors = 0, threads = 0;
    uint64_t settled_kb = 0;
    do {
        uint64_t random = cut_mix(seed);
        const struct cut_mode *mode = &cut_modes[random % CUT_MODES];
        enum t_load_way way = (enum t_load_way)(random / CUT_MODES % T_LOAD_WAYS);
        uint64_t what = random / CUT_MODES / T_LOAD_WAYS % 8;
        alarm(0);
        t_watchdog();
        if (what == 0) {
            kill_round(t, way, random & 64 ? "WAL" : "DELETE", seed);
            kills++;
        } else if (what <= 2) {
            cut_round(t, mode, way, seed);
        } else {
            load_round(t, way, mode, seed);
        }
        T_EQUAL(ll_live_objects(), t->live_before + (size_t)(t->engine != NULL));
        sums.rounds++;
        seed++;
        if (sums.rounds == 2) {
            descriptors = entries("/proc/self/fd");
            threads = entries("/proc/self/task");
        }
        if (sums.rounds > 2) {
            T_CHECK(entries("/proc/self/fd") <= descriptors);
            T_CHECK(entries("/proc/self/task") <= threads);
        }
        if (sums.rounds == SETTLED_ROUNDS)
            settled_kb = memory_kb();
        if (seconds() - said > 5) {
            said = seconds();
            fprintf(stderr, "\r%.0f s, %llu rounds ", said - began,
                    (unsigned long long)sums.rounds);
        }
    } while (seconds() - began < limit);
    uint64_t last_kb = memory_kb();
    T_CHECK(t_teardown(&state) == 0);
    printf(
        "{\n  \"seconds\": %.1f,\n  \"first_seed\": %llu,\n  \"rounds\": %llu,\n  \"loads\": %llu,\n"
        "  \"applied\": %llu,\n  \"not_applied\": %llu,\n  \"unknown\": %llu,\n"
        "  \"disk_faults\": %llu,\n  \"faults\": %llu,\n  \"power_cuts\": %llu,\n"
        "  \"lost_where_allowed\": %llu,\n  \"kills\": %llu,\n  \"memory_kb_settled\": %llu,\n"
        "  \"memory_kb_end\": %llu,\n  \"failures\": 0\n}\n",
        seconds() - began, (unsigned long long)first, (unsigned long long)sums.rounds,
        (unsigned long long)sums.loads, (unsigned long long)(sums.told_applied + cut_all.told),
        (unsigned long long)sums.told_not, (unsigned long long)sums.told_unknown,
        (unsigned long long)sums.disk_faults, (unsigned long long)sums.faults,
        (unsigned long long)cut_all.cuts, (unsigned long long)cut_all.missing,
        (unsigned long long)kills, (unsigned long long)settled_kb, (unsigned long long)last_kb);
    return 0;
}
