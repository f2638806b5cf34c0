/* test_why.c: what SQLite does where a guard cuts it off, and why the rules of the loop are as they are. Nothing of
 * looplite is asserted here but that the reason still holds; with a SQLite that does otherwise a test is skipped. */
#include "db/attempt.h"
#include "db/vfs_shim.h"
#include "support/support.h"

#include "base/fault.h"

static const char fill[] =
    "PRAGMA synchronous = OFF; PRAGMA cache_size = 5;"
    "CREATE TABLE t(id INTEGER PRIMARY KEY, b TEXT); CREATE INDEX tb ON t(b);"
    "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < 400)"
    " INSERT INTO t SELECT x, hex(zeroblob(100)) || x FROM c;";

static sqlite3 *open_filled(t_env *t)
{
    sqlite3 *db = NULL;
    struct lli_file_facts facts;
    const char *path = t_path(t, "a.db");
    T_CHECK(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, LLI_VFS_NAME) ==
            SQLITE_OK);
    t_raw(db, fill);
    T_CHECK(lli_vfs_file_facts(db, NULL, &facts));
    if (!lli_disk_guard_guards(facts.guard)) {
        t_raw_close(db);
        skip();
    }
    return db;
}

static void not_so(sqlite3 *db, const char *what)
{
    print_message("skipped: SQLite %s %s\n", sqlite3_libversion(), what);
    t_raw_close(db);
    skip();
}

/* Why a result is thrown away whatever sqlite3_step() has returned: integrity_check takes the abort for damage, and
 * tells it in rows. */
static void an_integrity_check_that_is_cut_off_lies(void **state)
{
    sqlite3 *db = open_filled(*state);
    unsigned lies = 0, cut = 0;
    for (unsigned long nth = 1;; nth++) {
        sqlite3_stmt *stmt = NULL;
        struct lli_attempt attempt;
        T_CHECK(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL) == SQLITE_OK);
        lli_fault_arm(LLI_FAULT_ATTEMPT, nth);
        lli_attempt_begin(&attempt, LLI_NEVER, false);
        int rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW)
            lies += strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0;
        sqlite3_reset(stmt);
        enum lli_bounce bounce = lli_attempt_end(&attempt);
        bool fired = lli_fault_fired();
        lli_fault_disarm();
        sqlite3_finalize(stmt);
        T_CHECK(fired == (bounce != LLI_BOUNCE_NONE));
        cut += fired;
        if (!fired)
            break;
    }
    t_raw(db, "PRAGMA integrity_check");
    print_message("%u of %u checks that were cut off told of damage\n", lies, cut);
    T_CHECK(cut > 0);
    if (lies == 0)
        not_so(db, "tells of no damage");
    t_raw_close(db);
}

/* Why a statement of which a row was delivered is never cut off: the next step begins with the first row again. */
static void a_statement_that_is_cut_off_begins_again(void **state)
{
    sqlite3 *db = open_filled(*state);
    sqlite3_stmt *stmt = NULL;
    struct lli_attempt attempt;
    T_CHECK(sqlite3_prepare_v2(db, "SELECT id, b FROM t ORDER BY id", -1, &stmt, NULL) ==
            SQLITE_OK);
    for (int id = 1; id <= 10; id++) {
        T_EQUAL(sqlite3_step(stmt), SQLITE_ROW);
        T_EQUAL(sqlite3_column_int(stmt, 0), id);
    }
    lli_fault_arm(LLI_FAULT_ATTEMPT, 1);
    lli_attempt_begin(&attempt, LLI_NEVER, false);
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {}
    T_CHECK(lli_attempt_end(&attempt) == LLI_BOUNCE_DISK);
    lli_fault_disarm();
    T_EQUAL(rc, SQLITE_INTERRUPT);
    T_EQUAL(sqlite3_step(stmt), SQLITE_ROW);
    T_EQUAL(sqlite3_column_int(stmt, 0), 1); /* and no error */
    sqlite3_finalize(stmt);
    t_raw_close(db);
}

/* Why virtual tables are for workers: an R*Tree that the transaction has changed answers no query after one was cut off,
 * until the transaction ends. */
static void an_rtree_that_is_cut_off_stays_so(void **state)
{
    sqlite3 *db = open_filled(*state);
    unsigned broken = 0;
    if (t_raw_try(db, "CREATE VIRTUAL TABLE box USING rtree(id, a, b)") != SQLITE_OK)
        not_so(db, "has no R*Tree");
    t_raw(db, "INSERT INTO box SELECT id, id, id + 1 FROM t");
    for (unsigned long nth = 1; broken == 0; nth++) {
        struct lli_attempt attempt;
        t_raw(db, "BEGIN; UPDATE box SET b = b + 1 WHERE id % 3 = 0; SELECT count(*) FROM t");
        lli_fault_arm(LLI_FAULT_ATTEMPT, nth);
        lli_attempt_begin(&attempt, LLI_NEVER, false);
        (void)t_raw_try(db, "SELECT count(*) FROM box WHERE a > 10");
        lli_attempt_end(&attempt);
        bool fired = lli_fault_fired();
        lli_fault_disarm();
        broken += t_raw_try(db, "SELECT count(*) FROM box WHERE a > 10") != SQLITE_OK;
        t_raw(db, "ROLLBACK");
        T_EQUAL(t_raw_int(db, "SELECT count(*) FROM box WHERE a > 10"), 390);
        if (!fired)
            break;
    }
    if (broken == 0)
        not_so(db, "goes on with an R*Tree whose query was cut off");
    t_raw_close(db);
}

/* Why the shim offers no mapping: what is mapped is read where no guard looks. PRAGMA mmap_size says so. */
static void no_file_is_mapped(void **state)
{
    sqlite3 *db = open_filled(*state);
    T_EQUAL(t_raw_int(db, "PRAGMA mmap_size = 100000000"), 0);
    T_EQUAL(t_raw_int(db, "PRAGMA mmap_size"), 0);
    sqlite3 *plain = t_raw_open(t_path(*state, "a.db"));
    if (t_raw_int(plain, "PRAGMA mmap_size = 100000000") == 0)
        print_message("SQLite maps no files here\n");
    t_raw_close(plain);
    t_raw_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(an_integrity_check_that_is_cut_off_lies),
        T_TEST(a_statement_that_is_cut_off_begins_again),
        T_TEST(an_rtree_that_is_cut_off_stays_so),
        T_TEST(no_file_is_mapped),
    };
    return T_RUN(tests);
}
