/* cutround.h: one round of power cuts, for test_power_cut.c, which says what is checked, and for the soak. */
#ifndef T_CRASH_CUTROUND_H
#define T_CRASH_CUTROUND_H

#include "support/cut.h"
#include "support/load.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CUT_WRITERS = 6,
    CUT_READERS = 2,
    CUT_OPS = 60,
    CUT_CUTS = 24
};

static const struct cut_mode {
    const char *journal, *synchronous;
    bool durable;  /* what was told is there */
    bool one_only; /* ... but the last transaction */
    bool in_order; /* on a disk that does not reorder what is not synced */
} cut_modes[] = {
    {"WAL", "FULL", .durable = true},       {"WAL", "NORMAL", false},
    {"TRUNCATE", "FULL", .durable = true},  {"PERSIST", "FULL", .durable = true},
    {"DELETE", "EXTRA", .durable = true},   {"DELETE", "FULL", .one_only = true},
    {"DELETE", "NORMAL", .in_order = true}, {"TRUNCATE", "NORMAL", .in_order = true},
};
enum {
    CUT_MODES = sizeof cut_modes / sizeof *cut_modes
};

/* Added up over all rounds. */
static struct {
    uint64_t rounds, cuts, told, missing;
} cut_all;

static inline uint64_t cut_mix(uint64_t z)
{
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline void cut_empty(const char *dir)
{
    DIR *stream = opendir(dir);
    T_CHECK(stream != NULL);
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        char path[1200];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        unlink(path);
    }
    closedir(stream);
}

/* The recovered file goes on: looplite opens it and writes. */
static inline const char *cut_goes_on(const char *path, const struct cut_mode *mode)
{
    static char text[700];
    char journal[64];
    snprintf(journal, sizeof journal, "journal_mode=%s", mode->journal);
    const char *const pragmas[] = {journal, NULL};
    ll_engine *engine = NULL;
    ll_conn *conn = NULL;
    ll_request *request = NULL;
    T_CHECK(ll_engine_new(NULL, &engine) == LL_OK);
    ll_status status = t_end(
        ll_conn_open(engine, path, &(ll_open_options){.pragmas = pragmas}, NULL, &conn, &request),
        request);
    if (status == LL_OK) {
        ll_request_unref(request);
        request = NULL;
        status = t_end(
            ll_exec(conn, "UPDATE tally SET ops = ops WHERE client = 0", NULL, 0, NULL, &request),
            request);
    }
    snprintf(text, sizeof text, "looplite cannot go on: %s",
             request ? ll_request_error(request)->message : ll_last_error());
    ll_request_unref(request);
    ll_conn_unref(conn);
    ll_engine_free(engine);
    return status == LL_OK ? NULL : text;
}

struct cut_round {
    t_env *t;
    const struct cut_mode *mode;
    enum t_load_way way;
    uint64_t seed;
    const char *run, *image, *path, *left;
    struct t_load_op *ops;
    size_t count;
    struct t_tape tape;
};

static inline void cut_once(struct cut_round *r, size_t at, uint64_t seed)
{
    unsigned char found[CUT_OPS];
    size_t missing = 0;
    t_cut(&r->tape, at, seed, r->mode->in_order, r->image);
    const char *said = seed & 1 ? cut_goes_on(r->left, r->mode) : NULL;
    if (!said)
        said = t_load_look(r->left, r->count, found);
    if (!said)
        said = t_load_compare(r->ops, r->count, found, at, r->mode->durable, &missing);
    if (!said && r->mode->one_only && missing > 1 && r->way != T_LOAD_GROUP &&
        r->way != T_LOAD_POOL_GROUP)
        said = "more than the last transaction is missing";
    if (said) {
        const char *base = getenv("TMPDIR");
        char kept[600];
        snprintf(kept, sizeof kept, "%s/looplite-cut-%llu", base && *base ? base : "/tmp",
                 (unsigned long long)r->seed);
        cut_empty(r->image);
        t_cut(&r->tape, at, seed, r->mode->in_order,
              r->image); /* as it was before somebody opened it */
        bool moved = rename(r->image, kept) == 0;
        t_fail(
            __FILE__, __LINE__,
            "seed %llu, %s, synchronous=%s, %s, cut at %zu of %zu, with %llu: %s; what it left is in %s",
            (unsigned long long)r->seed, r->mode->journal, r->mode->synchronous,
            t_load_way_names[r->way], at, r->tape.count, (unsigned long long)seed, said,
            moved ? kept : "no place");
    }
    cut_empty(r->image);
    cut_all.cuts++;
    cut_all.missing += missing;
}

static inline void cut_round(t_env *t, const struct cut_mode *mode, enum t_load_way way,
                             uint64_t seed)
{
    struct cut_round r = {.t = t,
                          .mode = mode,
                          .way = way,
                          .seed = seed,
                          .run = t_path(t, "run"),
                          .image = t_path(t, "image"),
                          .path = t_path(t, "run/a"),
                          .left = t_path(t, "image/a")};
    t_load_options options = {.way = way,
                              .journal = mode->journal,
                              .synchronous = mode->synchronous,
                              .writers = CUT_WRITERS,
                              .readers = CUT_READERS,
                              .ops = CUT_OPS,
                              .seed = seed,
                              .cancel_of_16 = (unsigned)(seed % 3),
                              .clock = t_tape_now};
    ll_engine *engine = NULL;
    t_load *load = NULL;
    alarm(0);
    t_watchdog();
    mkdir(r.run, 0700);
    mkdir(r.image, 0700);
    T_CHECK(ll_engine_new(NULL, &engine) == LL_OK);
    t_load_schema(r.path, mode->journal);
    t_tape_begin(r.run);
    T_CHECK(t_load_begin(&load, engine, r.path, &options));
    t_load_run(load);
    r.ops = t_load_end(load, &r.count);
    ll_engine_free(engine);
    r.tape = t_tape_end();
    T_EQUAL(r.count, CUT_OPS);
    for (size_t i = 0; i < r.count; i++)
        cut_all.told += r.ops[i].told && r.ops[i].outcome == LL_APPLIED;
    cut_once(&r, r.tape.count, cut_mix(seed));
    for (uint64_t i = 1; i < CUT_CUTS; i++)
        cut_once(&r, (size_t)(cut_mix(seed * CUT_CUTS + i) % (r.tape.count + 1)),
                 cut_mix(~seed * CUT_CUTS + i));
    t_tape_free(&r.tape);
    free(r.ops);
    cut_empty(r.run);
    cut_all.rounds++;
}

#endif
