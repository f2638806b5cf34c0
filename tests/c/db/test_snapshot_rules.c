/* The held snapshot: when it may be taken, and what it keeps others from until it is released. */
#include "db/attempt.h"
#include "db/snapshot_world.h"

/* ---- what it keeps others from, until it is released ---- */

static void test_others_can_truncate_after_release(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    struct other other = other_start(path);
    open_wal(path);
    t_raw(db.handle, MAKE_TABLE);
    check_taken();
    T_EQUAL(other_does(&other, "PRAGMA wal_checkpoint(TRUNCATE)"), 1); /* busy */
    T_CHECK(size_of(t_printf(t, "%s-wal", path)) > 0);
    lli_snapshot_release(&db);
    T_EQUAL(txn(), SQLITE_TXN_NONE);
    T_EQUAL(other_does(&other, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
    T_EQUAL(size_of(t_printf(t, "%s-wal", path)), 0);
    /* Of an empty WAL it can be taken, too, and stops no writer. */
    check_taken();
    T_EQUAL(t_raw_int(db.handle, "SELECT count(*) FROM t"), 100);
    other_does(&other, "DELETE FROM t WHERE id > 50");
    T_EQUAL(read_int("SELECT count(*) FROM t"), 50);
    close_db();
    other_end(&other);
}

/* A passive checkpoint copies everything beside a held snapshot; the snapshot is given up then, because its
 * read mark would keep the next writer from beginning the WAL anew. */
static void test_given_up_when_a_checkpoint_got_on(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    struct other other = other_start(path);
    open_wal(path);
    t_raw(db.handle, MAKE_TABLE);
    int64_t size = size_of(t_printf(t, "%s-wal", path));
    check_taken();
    T_EQUAL(other_does(&other, "PRAGMA wal_checkpoint(PASSIVE)"), 0);
    T_CHECK(!lli_snapshot_is_current(&db));
    check_taken();
    other_does(&other, "UPDATE t SET x = 1");
    T_EQUAL(size_of(t_printf(t, "%s-wal", path)), size); /* from its beginning */
    T_EQUAL(read_int("SELECT sum(x) FROM t"), 100);
    close_db();
    other_end(&other);
}

static void test_release_before_write(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    struct other other = other_start(path);
    open_wal(path);
    t_raw(db.handle, MAKE_TABLE);
    check_taken();
    other_does(&other, "UPDATE t SET x = 5");
    /* What a write meets if the snapshot is forgotten. */
    T_EQUAL(t_raw_try(db.handle, "UPDATE t SET x = 6"), SQLITE_BUSY_SNAPSHOT);
    lli_snapshot_release(&db);
    t_raw(db.handle, "UPDATE t SET x = 6");
    T_EQUAL(txn(), SQLITE_TXN_NONE);
    T_EQUAL(other_does(&other, "SELECT sum(x) FROM t"), 600);
    T_EQUAL(read_int("SELECT sum(x) FROM t"), 600);
    close_db();
    other_end(&other);
}

static void one(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count, (void)values;
    sqlite3_result_int(context, 1);
}

static int define_one(void)
{
    return sqlite3_create_function(db.handle, "one", 0, SQLITE_UTF8, NULL, one, NULL, NULL);
}

static void test_release_before_interrupt_and_functions(void **state)
{
    t_env *t = *state;
    open_wal(t_path(t, "a.db"));
    T_EQUAL(define_one(), SQLITE_OK);
    check_taken();
    T_EQUAL(define_one(), SQLITE_BUSY);
    sqlite3_interrupt(db.handle);
    for (int i = 0; i < 2; i++)
        T_EQUAL(t_raw_try(db.handle, "SELECT 1"), SQLITE_INTERRUPT); /* it stays set */
    lli_snapshot_release(&db);
    t_raw(db.handle, "SELECT 1");
    T_EQUAL(define_one(), SQLITE_OK);
    check_taken(); /* though the definition made SQLite prepare the keeper again */
    lli_snapshot_release(&db);
    t_raw(db.handle, "PRAGMA wal_checkpoint(TRUNCATE)");
    t_raw(db.handle, "VACUUM");
    close_db();
}

static void test_half_read_statement_outlives_it(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    open_wal(path);
    t_raw(db.handle, MAKE_TABLE);
    sqlite3 *raw = t_raw_open(path);
    sqlite3_stmt *stmt = NULL;
    T_CHECK(sqlite3_prepare_v2(db.handle, "SELECT id FROM t", -1, &stmt, NULL) == SQLITE_OK);
    check_taken();
    T_EQUAL(sqlite3_step(stmt), SQLITE_ROW);
    lli_snapshot_release(&db);
    T_EQUAL(txn(), SQLITE_TXN_READ);
    check_not_taken(); /* it would join the older transaction */
    t_raw(raw, "DELETE FROM t WHERE id > 10");
    int rows = 1;
    while (sqlite3_step(stmt) == SQLITE_ROW)
        rows++;
    T_EQUAL(rows, 100);
    sqlite3_reset(stmt);
    check_taken();
    T_EQUAL(t_raw_int(db.handle, "SELECT count(*) FROM t"), 10);
    sqlite3_finalize(stmt);
    t_raw_close(raw);
    close_db();
}

/* ---- conditions ---- */

static void test_empty_database(void **state)
{
    t_env *t = *state;
    open_wal(t_path(t, "a.db"));
    check_taken();
    T_EQUAL(t_raw_int(db.handle, "SELECT count(*) FROM sqlite_master"), 0);
    close_db();
}

static void test_only_in_wal_mode(void **state)
{
    t_env *t = *state;
    open_with(t_path(t, "a.db"), &(ll_open_options){0});
    t_raw(db.handle, MAKE_TABLE);
    allow();
    check_not_taken();
    t_raw(db.handle, "PRAGMA journal_mode = WAL; SELECT * FROM t");
    check_taken();
    lli_snapshot_release(&db);
    t_raw(db.handle, "PRAGMA journal_mode = DELETE");
    check_not_taken(); /* without being told */
    close_db();
}

static void test_not_without_shared_memory(void **state)
{
    t_env *t = *state;
    open_with(":memory:", &(ll_open_options){0});
    allow();
    check_not_taken();
    close_db();
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "PRAGMA journal_mode = WAL;" MAKE_TABLE);
    open_with(t_printf(t, "file:%s?immutable=1", path), &(ll_open_options){.flags = LL_OPEN_URI});
    T_EQUAL(t_raw_int(db.handle, "SELECT count(*) FROM t"), 100);
    allow();
    check_not_taken();
    close_db();
}

static void test_not_in_exclusive_locking_mode(void **state)
{
    t_env *t = *state;
    open_wal(t_path(t, "a.db"));
    t_raw(db.handle, MAKE_TABLE "PRAGMA locking_mode = EXCLUSIVE; SELECT * FROM t");
    allow();
    check_not_taken();
    t_raw(db.handle, "PRAGMA locking_mode = NORMAL; SELECT * FROM t");
    allow();
    check_taken();
    close_db();
}

static void test_not_through_other_vfs(void **state)
{
    t_env *t = *state;
    open_with(t_path(t, "a.db"), &(ll_open_options){.vfs = "unix"});
    t_raw(db.handle, "PRAGMA journal_mode = WAL;" MAKE_TABLE);
    allow();
    check_not_taken();
    close_db();
}

static void test_not_in_users_transaction(void **state)
{
    t_env *t = *state;
    open_wal(t_path(t, "a.db"));
    t_raw(db.handle, MAKE_TABLE "BEGIN");
    check_not_taken();
    t_raw(db.handle, "SELECT * FROM t");
    check_not_taken();
    t_raw(db.handle, "COMMIT; SAVEPOINT s");
    check_not_taken();
    t_raw(db.handle, "RELEASE s");
    check_taken();
    t_raw(db.handle, "BEGIN"); /* without a release: the next look ends it */
    T_CHECK(!lli_snapshot_is_current(&db) && !lli_snapshot_held(&db.snapshot));
    t_raw(db.handle, "ROLLBACK");
    close_db();
}

static void test_not_with_attached_files(void **state)
{
    t_env *t = *state;
    open_wal(t_path(t, "a.db"));
    t_raw(db.handle, "CREATE TEMP TABLE mine(x)");
    check_taken(); /* nobody else writes that */
    lli_snapshot_release(&db);
    t_raw(db.handle, t_printf(t, "ATTACH '%s' AS other", t_path(t, "b.db")));
    allow();
    check_not_taken();
    t_raw(db.handle, "DETACH other");
    allow();
    check_taken();
    close_db();
}

static void test_not_when_forbidden(void **state)
{
    t_env *t = *state;
    open_wal(t_path(t, "a.db"));
    check_taken();
    lli_snapshot_allow(&db, NULL);
    T_EQUAL(txn(), SQLITE_TXN_NONE);
    check_not_taken();
    close_db();
}

static void test_not_when_main_was_replaced(void **state)
{
    t_env *t = *state;
    open_wal(t_path(t, "a.db"));
    check_taken();
    lli_snapshot_release(&db);
    unsigned char *image = sqlite3_malloc(1);
    T_EQUAL(sqlite3_deserialize(db.handle, "main", image, 0, 0, SQLITE_DESERIALIZE_FREEONCLOSE),
            SQLITE_OK);
    check_not_taken(); /* without being told */
    close_db();
}

static void test_not_while_the_wal_is_long(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    open_wal(path);
    sqlite3 *raw = t_raw_open(path);
    t_raw(raw, "PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = OFF;" MAKE_TABLE);
    int64_t frame = 4096 + 24;
    const char *wal = t_printf(t, "%s-wal", path);
    for (int i = 1; size_of(wal) / frame < 500; i++) {
        T_EQUAL(read_int("PRAGMA user_version"), i - 1);
        T_CHECK(lli_snapshot_held(&db.snapshot));
        t_raw(raw, t_printf(t, "PRAGMA user_version = %d", i)); /* one frame */
    }
    T_EQUAL(size_of(wal) / frame, 500);
    T_CHECK(!lli_snapshot_is_current(&db));
    check_taken();
    t_raw(raw, "PRAGMA user_version = 0");
    T_CHECK(!lli_snapshot_is_current(&db)); /* a held one ended */
    check_not_taken();
    T_EQUAL(t_raw_int(raw, "PRAGMA wal_checkpoint(PASSIVE)"), 0);
    check_taken(); /* long, but all of it is in the database */
    t_raw_close(raw);
    close_db();
}

/* ---- attempts, close ---- */

static void test_inside_an_attempt(void **state)
{
    t_env *t = *state;
    open_wal(t_path(t, "a.db"));
    t_raw(db.handle, MAKE_TABLE);
    struct lli_attempt attempt;
    lli_attempt_begin(&attempt, LLI_SECOND, false);
    bool taken = lli_snapshot_take(&db);
    int64_t count = t_raw_int(db.handle, "SELECT count(*) FROM t");
    lli_snapshot_release(&db);
    enum lli_bounce bounce = lli_attempt_end(&attempt);
    T_CHECK(taken && count == 100);
    T_EQUAL(bounce, LLI_BOUNCE_NONE);
    /* One whose time is up takes nothing, and can let go. */
    lli_attempt_begin(&attempt, LLI_SECOND, false);
    lli_attempt_bounce(&attempt, LLI_BOUNCE_TIME);
    taken = lli_snapshot_take(&db);
    lli_attempt_end(&attempt);
    T_CHECK(!taken && !db.snapshot.held);
    T_EQUAL(txn(), SQLITE_TXN_NONE);
    check_taken();
    lli_attempt_begin(&attempt, LLI_SECOND, false);
    lli_attempt_bounce(&attempt, LLI_BOUNCE_TIME);
    lli_snapshot_release(&db);
    lli_attempt_end(&attempt);
    T_EQUAL(txn(), SQLITE_TXN_NONE);
    T_EQUAL(t_raw_int(db.handle, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
    close_db();
}

static void test_given_back_handle(void **state)
{
    t_env *t = *state;
    open_wal(t_path(t, "a.db"));
    check_taken();
    sqlite3 *handle = lli_db_release(&db);
    T_CHECK(sqlite3_next_stmt(handle, NULL) == NULL);
    T_EQUAL(sqlite3_txn_state(handle, NULL), SQLITE_TXN_NONE);
    t_raw_close(handle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(test_others_can_truncate_after_release),
        T_TEST(test_given_up_when_a_checkpoint_got_on),
        T_TEST(test_release_before_write),
        T_TEST(test_release_before_interrupt_and_functions),
        T_TEST(test_half_read_statement_outlives_it),
        T_TEST(test_empty_database),
        T_TEST(test_only_in_wal_mode),
        T_TEST(test_not_without_shared_memory),
        T_TEST(test_not_in_exclusive_locking_mode),
        T_TEST(test_not_through_other_vfs),
        T_TEST(test_not_in_users_transaction),
        T_TEST(test_not_with_attached_files),
        T_TEST(test_not_when_forbidden),
        T_TEST(test_not_when_main_was_replaced),
        T_TEST(test_not_while_the_wal_is_long),
        T_TEST(test_inside_an_attempt),
        T_TEST(test_given_back_handle),
    };
    return T_RUN(tests);
}
