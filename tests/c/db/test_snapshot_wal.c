/* The held snapshot and the length of the WAL, which can be begun anew only when nobody holds a read mark.
 *
 * A reader and a writer take turns here in steps that a seed picks, so that nothing depends on who gets the
 * processor: commits fall between two reads, into the middle of one, and before the end of a turn. How they are
 * spread says who is the faster one, or who was stopped for a while. Three readers are compared under the very same
 * steps:
 *
 *   PLAIN     each read has a transaction of its own: what SQLite does without us
 *   HELD      as the engine reads: from the second read of a turn on with a snapshot, if one may be taken
 *   CARELESS  the same without the rule for a long WAL: the failure that the rule guards against
 *
 * (Beside a writer that runs freely, on a machine with other work, the WAL grew with HELD to 7 to 13 MB in nine runs,
 * with PLAIN to 8 to 22 MB, and with CARELESS to 9 to 89 MB.) */
#include "db/snapshot_world.h"

enum reader {
    PLAIN,
    HELD,
    CARELESS,
    READERS
};

/* How commits fall between the steps of the reader. */
struct pace {
    const char *name;
    unsigned one_in; /* a step in so many has commits behind it */
    unsigned most;   /* one to so many of them */
};

static const struct pace paces[] = {
    {"a slow writer", 16, 1},
    {"even", 2, 2},
    {"a slow reader", 2, 30},
    {"one of them stopped at times", 40, 200},
};

struct run {
    const struct pace *pace;
    enum reader reader;
    uint64_t random;
    long commits, most;
    sqlite3 *other;
    sqlite3_stmt *commit, *read, *keeper;
    long kept; /* CARELESS: what was committed when its snapshot was taken; -1: none is held */
};

static unsigned draw(struct run *run, unsigned below)
{
    run->random ^= run->random << 13, run->random ^= run->random >> 7;
    run->random ^= run->random << 17;
    return (unsigned)(run->random % below);
}

static void others_turn(struct run *run)
{
    if (draw(run, run->pace->one_in) > 0)
        return;
    for (unsigned i = 1 + draw(run, run->pace->most); i > 0; i--) {
        sqlite3_bind_int64(run->commit, 1, ++run->commits);
        T_EQUAL(sqlite3_step(run->commit), SQLITE_DONE);
        sqlite3_reset(run->commit);
    }
}

static void let_go(struct run *run)
{
    lli_snapshot_release(&db);
    sqlite3_reset(run->keeper);
    run->kept = -1;
}

/* Joins a snapshot that is still right, or takes one, as the reader does it. */
static void join(struct run *run)
{
    if (run->reader == HELD && !lli_snapshot_is_current(&db)) {
        lli_snapshot_take(&db);
    } else if (run->reader == CARELESS && run->kept != run->commits) {
        let_go(run);
        T_EQUAL(sqlite3_step(run->keeper), SQLITE_ROW);
        run->kept = run->commits;
    }
}

static void one_turn(struct run *run)
{
    for (unsigned reads = draw(run, 200), i = 0; i <= reads; i++) {
        if (i > 0)
            join(run);
        long committed = run->commits;
        T_EQUAL(sqlite3_step(run->read), SQLITE_ROW);
        others_turn(run);
        T_EQUAL(sqlite3_column_int64(run->read, 0), committed);
        sqlite3_reset(run->read);
        others_turn(run);
    }
    let_go(run);
    T_EQUAL(txn(), SQLITE_TXN_NONE);
}

/* Gives the greatest size of the WAL, in frames; the file keeps it. */
static int64_t frames_of(t_env *t, const struct pace *pace, enum reader reader, long most)
{
    const char *path = t_path(t, t_printf(t, "%s %d.db", pace->name, (int)reader));
    struct run run = {.pace = pace, .reader = reader, .random = 88172645463325252u, .kept = -1};
    open_wal(path);
    t_raw(db.handle, MAKE_TABLE "UPDATE t SET x = 0 WHERE id = 1");
    run.other = t_raw_open(path);
    t_raw(run.other, "PRAGMA synchronous = OFF");
    T_CHECK(sqlite3_prepare_v2(run.other, "UPDATE t SET x = ?1 WHERE id = 1", -1, &run.commit,
                               NULL) == SQLITE_OK);
    T_CHECK(sqlite3_prepare_v2(db.handle, "SELECT x FROM t WHERE id = 1", -1, &run.read, NULL) ==
            SQLITE_OK);
    T_CHECK(sqlite3_prepare_v2(db.handle, "PRAGMA main.schema_version", -1, &run.keeper, NULL) ==
            SQLITE_OK);
    while (run.commits < most)
        one_turn(&run);
    sqlite3_finalize(run.read);
    sqlite3_finalize(run.keeper);
    sqlite3_finalize(run.commit);
    T_CHECK((db.snapshot.hits > 0) == (reader == HELD));
    const char *wal = t_printf(t, "%s-wal", path);
    int64_t frames = size_of(wal) / (4096 + 24);
    T_EQUAL(t_raw_int(run.other, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
    T_EQUAL(size_of(wal), 0);
    t_raw_close(run.other);
    close_db();
    return frames;
}

static void test_wal_stays_as_short_as_without(void **state)
{
    long most = getenv("LL_TEST_SLOW") ? 3000 : 10000;
    for (size_t i = 0; i < LLI_COUNT(paces); i++) {
        int64_t frames[READERS];
        for (int reader = 0; reader < READERS; reader++)
            frames[reader] = frames_of(*state, &paces[i], (enum reader)reader, most);
        print_message("%s: %lld frames, with snapshots %lld, taken without care %lld\n",
                      paces[i].name, (long long)frames[PLAIN], (long long)frames[HELD],
                      (long long)frames[CARELESS]);
        T_CHECK(frames[PLAIN] >= 1000); /* where SQLite begins to checkpoint */
        T_CHECK(frames[HELD] <= frames[PLAIN]);
        T_CHECK(frames[CARELESS] > frames[PLAIN]); /* or these steps could not tell */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(test_wal_stays_as_short_as_without),
    };
    return T_RUN(tests);
}
