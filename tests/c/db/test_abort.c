/* test_abort.c: an attempt is cut off at its n-th call of the VFS, for every n, and the statement is then
 * run again without one, as a worker would. It must give what it gave before, whatever the journal mode
 * and whatever transaction it stands in, and the transaction must still be there with its changes.
 *
 * The cache is tiny, so that reads come from the file and dirty pages are spilled by a read; where nobody
 * holds a transaction another connection commits before each try, so that the schema or the wal-index is
 * read again. What the try itself gives is thrown away, as it must be: integrity_check, for one, takes an
 * abort for damage. Odd tries prepare the statement inside the attempt too.
 *
 * Not here: virtual tables. [M] An R*Tree that the transaction has changed answers each query that
 * follows an abort with SQLITE_ABORT, until the transaction ends: it keeps an open blob handle on its
 * nodes, which has expired. They are for workers only. FTS5 passed (153 aborts), R*Tree unchanged too. */
#include "db/attempt.h"
#include "db/vfs_shim.h"
#include "support/support.h"

#include "base/fault.h"

enum state {
    NO_TRANSACTION,
    BEGUN,        /* BEGIN DEFERRED, nothing read */
    READ,         /* ... and read */
    DIRTY,        /* a write, with more dirty pages than the cache should hold */
    FULL,         /* ... all of them still in the cache: the next page that is read spills one */
    IN_SAVEPOINT, /* ... and more of them in a savepoint */
    STATES
};

static const char *const state_names[] = {"no transaction",      "begun",    "read", "dirty",
                                          "full of dirty pages", "savepoint"};
static const char *const journals[] = {"WAL", "DELETE", "MEMORY"};

static const char schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b TEXT);"
    "CREATE INDEX t_a ON t(a, b);"
    "CREATE TABLE u(x INT, y INT REFERENCES t(id), PRIMARY KEY(y, x)) WITHOUT ROWID;"
    "CREATE TABLE big(c BLOB);"
    "CREATE TABLE dirty(k INTEGER PRIMARY KEY, v TEXT);"
    "CREATE TABLE tick(n INT);"
    "CREATE VIEW w AS SELECT t.id, count(*) AS n FROM t JOIN u ON u.y = t.id GROUP BY t.id;"
    "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < 150)"
    " INSERT INTO t SELECT x, x * 37 % 101, substr(hex(x * x) || hex(zeroblob(60)), 1, 120) FROM c;"
    "INSERT INTO u SELECT id * 7 % 50, id FROM t WHERE id % 3 = 0;"
    "INSERT INTO big VALUES(zeroblob(9000)), (x'0102');"
    "INSERT INTO dirty SELECT id, 'old' FROM t;"
    "INSERT INTO tick VALUES(0);";

static const char *const statements[] = {
    "SELECT b FROM t WHERE id = 77",
    "SELECT count(*), sum(a), sum(length(b)) FROM t",
    "SELECT id FROM t WHERE a BETWEEN 20 AND 40 ORDER BY a, b",
    "SELECT a % 7 AS g, count(*), max(b) FROM t GROUP BY g ORDER BY 2, 1",
    "SELECT b FROM t ORDER BY b DESC LIMIT 5 OFFSET 50",
    "SELECT t.id, u.x FROM t JOIN u ON u.y = t.id WHERE t.a < 30 ORDER BY t.id",
    "SELECT id FROM t WHERE a IN (SELECT x FROM u) ORDER BY id DESC",
    "SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.y = t.id)",
    "SELECT max(id), min(a) FROM t",
    "SELECT DISTINCT a FROM t",
    "SELECT id FROM t UNION SELECT x FROM u ORDER BY 1",
    "SELECT a FROM t INTERSECT SELECT x FROM u",
    "SELECT id, sum(a) OVER (ORDER BY id ROWS 3 PRECEDING) FROM t",
    "SELECT length(c), hex(substr(c, 8990)) FROM big",
    "SELECT sum(n) FROM w",
    "SELECT count(*), count(DISTINCT v), max(length(v)) FROM dirty",
    "SELECT v FROM dirty WHERE k = 100",
    "WITH RECURSIVE r(i) AS (VALUES(1) UNION ALL SELECT y FROM u, r WHERE y = i + 2) SELECT * FROM r",
    "SELECT * FROM sqlite_schema",
    "PRAGMA table_info(t)",
    "PRAGMA foreign_key_check",
    "PRAGMA quick_check",
    "PRAGMA integrity_check",
    "EXPLAIN QUERY PLAN SELECT * FROM w",
};

static size_t tries, aborts, refusals; /* of this program */

/* ---- results ---- */

struct result {
    int code;
    uint64_t rows;
    uint64_t hash; /* FNV-1a of all values as text */
};

static struct result step_all(sqlite3_stmt *stmt)
{
    struct result result = {.hash = UINT64_C(0xcbf29ce484222325)};
    while ((result.code = sqlite3_step(stmt)) == SQLITE_ROW) {
        result.rows++;
        for (int i = 0; i < sqlite3_column_count(stmt); i++) {
            const unsigned char *text = sqlite3_column_text(stmt, i);
            for (; text && *text; text++)
                result.hash = (result.hash ^ *text) * UINT64_C(0x100000001b3);
            result.hash = (result.hash ^ 0xff) * UINT64_C(0x100000001b3);
        }
    }
    return result;
}

static struct result run(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    struct result result = {.code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL)};
    if (result.code == SQLITE_OK)
        result = step_all(stmt);
    sqlite3_finalize(stmt);
    return result;
}

/* ---- one try ---- */

/* Gives what ended it. */
static enum lli_bounce try_once(sqlite3 *db, const char *sql, unsigned long nth)
{
    sqlite3_stmt *stmt = NULL;
    struct lli_attempt attempt;
    if (nth % 2 == 0)
        T_CHECK(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK);
    lli_fault_arm(LLI_FAULT_ATTEMPT, nth);
    lli_attempt_begin(&attempt, LLI_NEVER, false);
    if (nth % 2 == 1)
        (void)run(db, sql);
    else
        (void)step_all(stmt);
    sqlite3_reset(stmt); /* unlocks; still inside, as on the loop */
    enum lli_bounce bounce = lli_attempt_end(&attempt);
    lli_fault_disarm();
    sqlite3_finalize(stmt);
    return bounce;
}

static void enter(sqlite3 *db, enum state state)
{
    if (state == NO_TRANSACTION)
        return;
    t_raw(db, "BEGIN");
    if (state == READ)
        t_raw(db, "SELECT * FROM sqlite_schema; SELECT id FROM t LIMIT 1");
    if (state >= DIRTY)
        t_raw(db, "UPDATE dirty SET v = hex(zeroblob(100 + k))");
    if (state == IN_SAVEPOINT)
        t_raw(db, "SAVEPOINT s; UPDATE dirty SET v = v || 'x' WHERE k % 2;"
                  "INSERT INTO dirty SELECT k + 1000, v FROM dirty");
}

static void leave(sqlite3 *db, enum state state, bool commit)
{
    if (state == NO_TRANSACTION)
        return;
    if (state == IN_SAVEPOINT)
        t_raw(db, commit ? "RELEASE s" : "ROLLBACK TO s");
    t_raw(db, commit ? "COMMIT" : "ROLLBACK");
}

static struct result contents(sqlite3 *db)
{
    return run(db, "SELECT count(*), sum(length(v)), max(k) FROM dirty");
}

static bool same(struct result a, struct result b)
{
    return a.code == b.code && a.rows == b.rows && a.hash == b.hash;
}

static void back(sqlite3 *db)
{
    t_raw(db, "DELETE FROM dirty WHERE k > 1000; UPDATE dirty SET v = 'old'");
}

/* ---- all n of one case ---- */

struct world {
    sqlite3 *db;    /* tries */
    sqlite3 *other; /* commits in between */
    const char *journal;
    bool slow;
};

static void cut_everywhere(struct world *world, const char *sql, enum state state)
{
    sqlite3 *db = world->db;
    for (unsigned long nth = 1;; nth += world->slow ? 23 : 1) {
        if (state == NO_TRANSACTION && nth % 3 == 0)
            t_raw(world->other, "UPDATE tick SET n = n + 1");
        struct result after_commit = contents(db);
        enter(db, state);
        struct result in_transaction = contents(db), expected = run(db, sql);
        if (state == BEGUN) { /* as it was: nothing read */
            t_raw(db, "COMMIT");
            enter(db, state);
        }
        if (state == FULL) /* those reads have spilled */
            t_raw(db, "PRAGMA cache_size = 1000; UPDATE dirty SET v = v || 'x';"
                      "UPDATE dirty SET v = substr(v, 1, length(v) - 1); PRAGMA cache_size = 8");
        int kind = sqlite3_txn_state(db, NULL);
        enum lli_bounce bounce = try_once(db, sql, nth);
        bool fired = lli_fault_fired();
        tries++;
        aborts += fired;
        refusals += bounce != LLI_BOUNCE_NONE && !fired;
        bool held = sqlite3_get_autocommit(db) == (state == NO_TRANSACTION) &&
                    (kind == SQLITE_TXN_NONE || sqlite3_txn_state(db, NULL) == kind);
        struct result again = run(db, sql), still = contents(db);
        if (expected.code != SQLITE_DONE || !held || !same(expected, again) ||
            !same(in_transaction, still))
            t_fail(__FILE__, __LINE__, "%s, %s, cut at call %lu (bounce %s): %s: %s",
                   world->journal, state_names[state], nth, lli_bounce_name(bounce), sql,
                   !held                          ? "the transaction is gone"
                   : !same(in_transaction, still) ? "its changes are gone"
                                                  : sqlite3_errmsg(db));
        bool commit = nth % 4 == 0;
        leave(db, state, commit);
        T_CHECK(same(contents(db), commit ? in_transaction : after_commit));
        if (commit && state >= DIRTY)
            back(db);
        if (!fired)
            break;
    }
}

static void cut_all(t_env *t, const char *journal)
{
    const char *path = t_path(t, "a.db");
    t_file_sql(path, t_printf(t, "PRAGMA journal_mode = %s", journal));
    struct world world = {.journal = journal, .slow = getenv("LL_TEST_SLOW") != NULL};
    T_CHECK(sqlite3_open_v2(path, &world.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                            LLI_VFS_NAME) == SQLITE_OK);
    world.other = t_raw_open(path);
    t_raw(world.db, t_printf(t, "PRAGMA journal_mode = %s", journal));
    t_raw(world.db, "PRAGMA synchronous = OFF; PRAGMA cache_size = 8; PRAGMA temp_store = MEMORY");
    t_raw(world.db, schema);
    t_raw(world.other, t_printf(t, "PRAGMA journal_mode = %s", journal));
    t_raw(world.other, "PRAGMA synchronous = OFF");
    tries = aborts = refusals = 0;
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        for (int state = 0; state < STATES; state++)
            cut_everywhere(&world, statements[i], (enum state)state);
    print_message("%s: %zu tries, %zu aborted, %zu refused\n", journal, tries, aborts, refusals);
    T_CHECK(aborts > 0 && refusals > 0);
    t_raw_close(world.other);
    t_raw_close(world.db);
    t_integrity(path);
}

static void test_wal(void **state)
{
    cut_all(*state, "WAL");
}

static void test_rollback_journal(void **state)
{
    cut_all(*state, "DELETE");
}

static void test_journal_in_memory(void **state)
{
    cut_all(*state, "MEMORY");
}

/* The first statement of a connection, which opens the journal or the WAL: every call of it cut. */
static void test_fresh_connections(void **state)
{
    t_env *t = *state;
    for (size_t j = 0; j < sizeof journals / sizeof *journals; j++) {
        const char *path = t_path(t, t_printf(t, "%s.db", journals[j]));
        sqlite3 *keeper = t_raw_open(path);
        t_raw(keeper, t_printf(t, "PRAGMA journal_mode = %s", journals[j]));
        t_raw(keeper, schema);
        struct result expected = run(keeper, statements[1]);
        bool fired = true;
        for (unsigned long nth = 1; fired; nth++) {
            sqlite3 *db = NULL;
            T_CHECK(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, LLI_VFS_NAME) == SQLITE_OK);
            (void)try_once(db, statements[1], 2 * nth - 1); /* odd: prepares inside */
            fired = lli_fault_fired();
            T_CHECK(same(run(db, statements[1]), expected));
            t_raw_close(db);
        }
        t_raw_close(keeper);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(test_wal),
        T_TEST(test_rollback_journal),
        T_TEST(test_journal_in_memory),
        T_TEST(test_fresh_connections),
    };
    return T_RUN(tests);
}
