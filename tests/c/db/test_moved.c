/* test_moved.c: whose file lost its name leaves the journal and the WAL of the one that has the name now alone. Plain
 * SQLite takes such a journal for its own, left by a crash: it plays it back into the file without a name and deletes
 * it, so that a crash of the other's writer could no longer be undone, and its commit fails. */
#include "db/vfs_shim.h"
#include "support/support.h"

#include <unistd.h>

static sqlite3 *open_shim(const char *path)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, LLI_VFS_NAME) !=
        SQLITE_OK)
        t_fail(__FILE__, __LINE__, "%s: %s", path, sqlite3_errmsg(db));
    sqlite3_extended_result_codes(db, 1);
    return db;
}

static int run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* A connection that has done nothing yet but open; its file has another name now, or none. */
static sqlite3 *open_and_move(t_env *t, const char *path, bool unlinked)
{
    const char *elsewhere = t_path(t, "elsewhere.db");
    t_file_sql(path, "CREATE TABLE old(a)");
    sqlite3 *stray = open_shim(path);
    T_CHECK((unlinked ? unlink(path) : rename(path, elsewhere)) == 0);
    return stray;
}

static void check_beside_a_writer(t_env *t, bool unlinked)
{
    const char *path = t_path(t, "a.db");
    sqlite3 *stray = open_and_move(t, path, unlinked);
    sqlite3 *writer = open_shim(path);
    t_raw(writer, "CREATE TABLE t(a); INSERT INTO t VALUES (1); BEGIN; UPDATE t SET a = 2");
    T_CHECK(sqlite3_db_cacheflush(writer) == SQLITE_OK);
    T_CHECK(run(stray, "SELECT * FROM old") == SQLITE_READONLY_DBMOVED);
    T_CHECK(run(stray, "PRAGMA user_version") == SQLITE_READONLY_DBMOVED);
    T_CHECK(run(writer, "COMMIT") == SQLITE_OK);
    T_CHECK(run(stray, "SELECT * FROM old") == SQLITE_OK); /* nothing there to be mistaken */
    T_CHECK(run(stray, "INSERT INTO old VALUES (1)") == SQLITE_READONLY_DBMOVED);
    T_CHECK(t_raw_int(writer, "SELECT a FROM t") == 2);
    t_raw_close(stray);
    t_raw_close(writer);
}

static void test_beside_a_writer_of_the_next_file(void **state)
{
    check_beside_a_writer(*state, true);
    unlink(t_path(*state, "a.db"));
    check_beside_a_writer(*state, false);
}

/* What the journal is there for: the writer dies. */
static void test_the_next_file_still_can_be_undone(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db"), *journal = t_path(t, "a.db-journal");
    const char *kept = t_path(t, "kept.db"), *kept_journal = t_path(t, "kept.db-journal");
    sqlite3 *stray = open_and_move(t, path, true);
    sqlite3 *writer = open_shim(path);
    t_raw(writer, "CREATE TABLE t(a); INSERT INTO t VALUES (1); BEGIN; UPDATE t SET a = 2");
    T_CHECK(sqlite3_db_cacheflush(writer) == SQLITE_OK);
    (void)run(stray, "SELECT * FROM old");
    T_CHECK(rename(path, kept) == 0);
    T_CHECK(rename(journal, kept_journal) == 0);
    sqlite3_close(writer); /* as if killed: it finds no journal to undo with */
    sqlite3 *after = open_shim(kept);
    T_CHECK(t_raw_int(after, "SELECT a FROM t") == 1);
    t_raw_close(after);
    t_raw_close(stray);
}

/* A WAL mode file that has a new one under its name: the -wal and the -shm of that name are the new one's. */
static void test_beside_a_wal(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "PRAGMA journal_mode=WAL; CREATE TABLE old(a)");
    sqlite3 *stray = open_shim(path);
    T_CHECK(unlink(path) == 0);
    sqlite3 *writer = open_shim(path);
    t_raw(writer, "PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES (1)");
    T_CHECK(run(stray, "SELECT * FROM old") == SQLITE_READONLY_DBMOVED);
    T_CHECK(run(stray, "INSERT INTO old VALUES (1)") == SQLITE_READONLY_DBMOVED);
    t_raw_close(stray);
    t_raw(writer, "INSERT INTO t VALUES (2)");
    T_CHECK(t_raw_int(writer, "SELECT sum(a) FROM t") == 3);
    T_CHECK(access(t_path(t, "a.db-wal"), F_OK) == 0);
    t_raw_close(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(test_beside_a_writer_of_the_next_file),
        T_TEST(test_the_next_file_still_can_be_undone),
        T_TEST(test_beside_a_wal),
    };
    return T_RUN(tests);
}
