/* Disks that fail under load: an I/O error, a full disk, a short write, a failed sync, a disk that is gone for a while, at
 * the n-th call of SQLite's VFS, below looplite's. With connections of one's own, group commit and a pool.
 *
 * Whatever fails, all requests end; the file is sound; what was told to be applied is there, what was told not to be is
 * not, each once and whole. That holds for the file as it is, and for what a power cut right then would leave. When
 * the disk is mended the same connections and pools go on.
 *
 * In the short form n grows by a quarter each time and the ways take turns. LL_ROUNDS=1 tries each n with each way. */
#include "support/cut.h"
#include "support/load.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WRITERS = 4,
    READERS = 1,
    OPS = 14,
    LATER = 4,
    CUTS = 2
};

struct round {
    t_env *t;
    enum t_disk_fault fault;
    enum t_load_way way;
    const char *journal, *synchronous;
    unsigned long nth;
};

static uint64_t faults, cuts;

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

static void bad(const struct round *r, const char *where, const char *said)
{
    t_fail(__FILE__, __LINE__, "%s at call %lu, %s, synchronous=%s, %s; %s: %s",
           t_disk_fault_names[r->fault], r->nth, r->journal, r->synchronous,
           t_load_way_names[r->way], where, said);
}

/* An error that the disk explains. */
static void explained(const struct round *r, const struct t_load_op *op)
{
    int code = op->sqlite_code & 0xff;
    bool ok = op->status == LL_OK || code == SQLITE_IOERR || code == SQLITE_FULL ||
              code == SQLITE_CANTOPEN ||
              op->status == LL_EABORTED; /* the statement before has ended the transaction */
    char said[128];
    snprintf(said, sizeof said, "%s (%d)", ll_status_name(op->status), op->sqlite_code);
    if (!ok)
        bad(r, "an error that no disk explains", said);
}

static void check(const struct round *r, const struct t_load_op *ops, size_t count,
                  const struct t_tape *tape, bool opened)
{
    unsigned char found[OPS + LATER];
    size_t missing;
    const char *path = t_path(r->t, "run/a"), *image = t_path(r->t, "image");
    const char *left = t_path(r->t, "image/a");
    const char *said = t_load_look(path, OPS + LATER, found);
    if (!said)
        said = t_load_compare(ops, count, found, SIZE_MAX, true, &missing);
    if (said)
        bad(r, "afterwards", said);
    if (!opened)
        return;
    for (uint64_t i = 0; i < CUTS; i++) {
        t_cut(tape, tape->count, r->nth * CUTS + i, false, image);
        said = t_load_look(left, OPS + LATER, found);
        if (!said)
            said = t_load_compare(ops, count, found, SIZE_MAX, true, &missing);
        if (said)
            bad(r, "after a power cut", said);
        empty(image);
        cuts++;
    }
}

/* False: there is no nth call. */
static bool one_round(const struct round *r)
{
    t_env *t = r->t;
    const char *run = t_path(t, "run"), *path = t_path(t, "run/a");
    t_load_options options = {.way = r->way,
                              .journal = r->journal,
                              .synchronous = r->synchronous,
                              .writers = WRITERS,
                              .readers = READERS,
                              .ops = OPS,
                              .seed = r->nth,
                              .clock = t_tape_now};
    ll_engine *engine = NULL;
    t_load *load = NULL;
    alarm(0);
    t_watchdog();
    mkdir(run, 0700);
    mkdir(t_path(t, "image"), 0700);
    T_CHECK(ll_engine_new(NULL, &engine) == LL_OK);
    t_load_schema(path, r->journal);
    t_tape_begin(run);
    t_disk_fail(r->fault, r->nth);
    bool opened = t_load_begin(&load, engine, path, &options);
    T_CHECK(opened || t_disk_failed());
    t_load_run(load);
    bool failed = t_disk_failed();
    t_disk_mend();
    if (opened)
        t_load_more(load, LATER);
    size_t count;
    struct t_load_op *ops = t_load_end(load, &count);
    ll_engine_free(engine);
    struct t_tape tape = t_tape_end();
    for (size_t i = 0; i < count && opened; i++) {
        T_CHECK(ops[i].told);
        explained(r, &ops[i]);
        if (i >= OPS && ops[i].status != LL_OK)
            bad(r, "the disk is mended", ll_status_name(ops[i].status));
    }
    check(r, ops, count, &tape, opened);
    t_tape_free(&tape);
    free(ops);
    empty(run);
    faults += failed;
    return failed;
}

static void each_call(t_env *t, enum t_disk_fault fault)
{
    static const struct {
        const char *journal, *synchronous;
    } modes[] = {{"WAL", "FULL"}, {"DELETE", "EXTRA"}, {"TRUNCATE", "FULL"}};
    bool all = getenv("LL_ROUNDS") != NULL, slow = getenv("LL_TEST_SLOW") != NULL;
    unsigned turn = (unsigned)fault;
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++)
        for (unsigned way = 0; way < (all ? T_LOAD_WAYS : 1u); way++) {
            struct round r = {.t = t,
                              .fault = fault,
                              .journal = modes[m].journal,
                              .synchronous = modes[m].synchronous,
                              .nth = 1};
            for (bool failed = true; failed; r.nth += all ? 1 : 1 + r.nth / (slow ? 1 : 4)) {
                r.way = (enum t_load_way)(all ? way : turn++ % T_LOAD_WAYS);
                failed = one_round(&r);
            }
            T_CHECK(r.nth > 3);
        }
}

static void a_disk_that_fails_once(void **state)
{
    each_call(*state, T_DISK_ERROR);
}

static void a_disk_that_is_gone_for_a_while(void **state)
{
    each_call(*state, T_DISK_DEAD);
}

static void a_full_disk(void **state)
{
    each_call(*state, T_DISK_FULL);
}

static void a_short_write(void **state)
{
    each_call(*state, T_DISK_SHORT_WRITE);
}

static void a_failed_sync(void **state)
{
    each_call(*state, T_DISK_SYNC_ERROR);
    print_message("%llu faults, %llu power cuts behind them\n", (unsigned long long)faults,
                  (unsigned long long)cuts);
}

int main(void)
{
    t_tape_install();
    const struct CMUnitTest tests[] = {
        T_TEST(a_disk_that_fails_once),
        T_TEST(a_disk_that_is_gone_for_a_while),
        T_TEST(a_full_disk),
        T_TEST(a_short_write),
        T_TEST(a_failed_sync),
    };
    return T_RUN(tests);
}
