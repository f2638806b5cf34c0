/* Power cuts: the disk loses, tears and reorders what was not synced, under load, in each journal mode, with connections
 * of one's own, group commit, a pool, and both.
 *
 * One round: a load (support/load.h) runs in threads on a file whose VFS keeps a tape (support/tape.h); then the power
 * is cut at random places of that tape, each time anew (support/cut.h), and what is left is opened, through looplite
 * and through sqlite3, and compared with what the clients had been told by then:
 *   - the file is sound (integrity_check), each transaction is there whole or not at all, triggers' work included;
 *   - what was told not to be applied is never there, and nothing that nobody had asked for;
 *   - what was told to be applied is there, where SQLite promises that: synchronous=FULL with a WAL or with a rollback
 *     journal that is truncated or overwritten, EXTRA with one that is deleted. (FULL with DELETE does not sync the
 *     directory after the commit: the last transaction may be rolled back. https://www.sqlite.org/pragma.html#pragma_synchronous)
 *   - otherwise the last ones may be missing, but none of which another one that is there could have known.
 * synchronous=NORMAL with a rollback journal is tried on a disk that works in order only: on another one a torn page in
 * the journal can pass its checksum, which looks at every 200th byte, and SQLite promises no more than that it is rare.
 *
 * LL_ROUNDS=1000 runs so many rounds with random settings, LL_SEED=n begins with that seed. Threads make the tape, so a
 * seed alone does not bring the same one: what a failure leaves is kept, and its name printed. */
#include "support/cut.h"
#include "support/load.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WRITERS = 6,
    READERS = 2,
    OPS = 60,
    CUTS = 24
};

static const struct mode {
    const char *journal, *synchronous;
    bool durable;  /* what was told is there */
    bool one_only; /* ... but the last transaction */
    bool in_order; /* on a disk that does not reorder what is not synced */
} modes[] = {
    {"WAL", "FULL", .durable = true},       {"WAL", "NORMAL", false},
    {"TRUNCATE", "FULL", .durable = true},  {"PERSIST", "FULL", .durable = true},
    {"DELETE", "EXTRA", .durable = true},   {"DELETE", "FULL", .one_only = true},
    {"DELETE", "NORMAL", .in_order = true}, {"TRUNCATE", "NORMAL", .in_order = true},
};
enum {
    MODES = sizeof modes / sizeof *modes
};

static struct {
    uint64_t rounds, cuts, told, missing;
} all;

static uint64_t mix(uint64_t z)
{
    z += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void empty(const char *dir)
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
static const char *goes_on(const char *path, const struct mode *mode)
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

struct round {
    t_env *t;
    const struct mode *mode;
    enum t_load_way way;
    uint64_t seed;
    const char *run, *image, *path, *left;
    struct t_load_op *ops;
    size_t count;
    struct t_tape tape;
};

static void cut_once(struct round *r, size_t at, uint64_t seed)
{
    unsigned char found[OPS];
    size_t missing = 0;
    t_cut(&r->tape, at, seed, r->mode->in_order, r->image);
    const char *said = seed & 1 ? goes_on(r->left, r->mode) : NULL;
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
        empty(r->image);
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
    empty(r->image);
    all.cuts++;
    all.missing += missing;
}

static void one_round(t_env *t, const struct mode *mode, enum t_load_way way, uint64_t seed)
{
    struct round r = {.t = t,
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
                              .writers = WRITERS,
                              .readers = READERS,
                              .ops = OPS,
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
    T_EQUAL(r.count, OPS);
    for (size_t i = 0; i < r.count; i++)
        all.told += r.ops[i].told && r.ops[i].outcome == LL_APPLIED;
    cut_once(&r, r.tape.count, mix(seed));
    for (uint64_t i = 1; i < CUTS; i++)
        cut_once(&r, (size_t)(mix(seed * CUTS + i) % (r.tape.count + 1)), mix(~seed * CUTS + i));
    t_tape_free(&r.tape);
    free(r.ops);
    empty(r.run);
    all.rounds++;
}

static void what_was_acknowledged_survives_a_power_cut(void **state)
{
    t_env *t = *state;
    const char *given = getenv("LL_ROUNDS"), *first = getenv("LL_SEED");
    uint64_t seed = first ? strtoull(first, NULL, 10) : 1;
    memset(&all, 0, sizeof all);
    if (given) {
        uint64_t rounds = strtoull(given, NULL, 10);
        for (uint64_t i = 0; i < rounds; i++, seed++) {
            fprintf(stderr, "\rseed %llu ", (unsigned long long)seed);
            one_round(t, &modes[mix(seed) % MODES],
                      (enum t_load_way)(mix(seed) / MODES % T_LOAD_WAYS), seed);
        }
    } else {
        /* Where everything is slow each mode once, with another way each time. */
        for (unsigned mode = 0; mode < MODES; mode++)
            for (unsigned way = 0; way < T_LOAD_WAYS; way++)
                if (!getenv("LL_TEST_SLOW") || way == mode % T_LOAD_WAYS)
                    one_round(t, &modes[mode], (enum t_load_way)way, seed++);
    }
    print_message(
        "%llu rounds, %llu power cuts survived; %llu transactions acknowledged, %llu of the "
        "last ones lost where that is allowed\n",
        (unsigned long long)all.rounds, (unsigned long long)all.cuts, (unsigned long long)all.told,
        (unsigned long long)all.missing);
}

int main(void)
{
    t_tape_install();
    const struct CMUnitTest tests[] = {
        T_TEST(what_was_acknowledged_survives_a_power_cut),
    };
    return T_RUN(tests);
}
