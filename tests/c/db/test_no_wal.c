/* test_no_wal.c: reads in a rollback journal ask once whether there is a -wal file, again when somebody has committed,
 * and never miss that the database was turned into one in WAL mode. */
#include "db/vfs_no_wal.h"

#include "db/vfs_shim.h"
#include "support/other.h"
#include "support/support.h"

#include <string.h>
#include <sys/stat.h>

/* ---- what the file answers ---- */

static void test_who_answers(void **state)
{
    (void)state;
    struct lli_no_wal file;
    unsigned char version[LLI_VERSION_SIZE] = {1};
    lli_no_wal_init(&file, "/a/b.db");
    T_CHECK(!lli_no_wal_take("/a/b.db-wal")); /* nothing was read */
    lli_no_wal_has_read(&file, version);
    T_CHECK(lli_no_wal_take("/a/b.db-wal") == &file);
    T_CHECK(!lli_no_wal_take("/a/b.db-wal")); /* once */
    const char *others[] = {"/a/b.db", "/a/b.db-wal2", "/a/b.db-journal", "/a/c.db-wal", "/a/b", "",
                            NULL};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        lli_no_wal_has_read(&file, version);
        T_CHECK(!lli_no_wal_take(others[i]));
    }
    lli_no_wal_has_read(&file, version);
    lli_no_wal_unlocked();
    T_CHECK(!lli_no_wal_take("/a/b.db-wal"));
}

static void test_another_version_is_asked_for(void **state)
{
    (void)state;
    struct lli_no_wal file;
    unsigned char version[LLI_VERSION_SIZE] = {1};
    lli_no_wal_init(&file, "x");
    lli_no_wal_has_read(&file, version);
    T_CHECK(lli_no_wal_take("x-wal") == &file && !file.was_absent);
    file.was_absent = true;
    lli_no_wal_has_read(&file, version);
    T_CHECK(file.was_absent);
    version[LLI_VERSION_SIZE - 1]++;
    lli_no_wal_has_read(&file, version);
    T_CHECK(lli_no_wal_take("x-wal") == &file && !file.was_absent);
}

static void test_no_main_database(void **state)
{
    (void)state;
    struct lli_no_wal file;
    lli_no_wal_init(&file, NULL);
    lli_no_wal_has_read(&file, (unsigned char[LLI_VERSION_SIZE]){1});
    T_CHECK(!lli_no_wal_take("-wal"));
}

/* ---- what SQLite does with it ---- */

typedef int (*stat_fn)(const char *, struct stat *);

static stat_fn real_stat;
static unsigned asked; /* for names that end in -wal; this thread only */

static int counting_stat(const char *path, struct stat *info)
{
    size_t size = strlen(path);
    asked += size >= 4 && strcmp(path + size - 4, "-wal") == 0;
    return real_stat(path, info);
}

static unsigned times_asked(sqlite3 *db, unsigned reads)
{
    asked = 0;
    for (unsigned i = 0; i < reads; i++)
        t_raw_int(db, "SELECT count(*) FROM t");
    return asked;
}

static sqlite3 *open_shim(const char *path)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, LLI_VFS_NAME) != SQLITE_OK)
        t_fail(__FILE__, __LINE__, "%s: %s", path, sqlite3_errmsg(db));
    return db;
}

static void test_asked_once_a_commit(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "CREATE TABLE t(a)");
    sqlite3 *reader = open_shim(path);
    sqlite3 *writer = t_raw_open(path);
    sqlite3_vfs *unix_vfs = sqlite3_vfs_find("unix");
    real_stat = (stat_fn)unix_vfs->xGetSystemCall(unix_vfs, "stat");
    unix_vfs->xSetSystemCall(unix_vfs, "stat", (sqlite3_syscall_ptr)counting_stat);
    times_asked(reader, 2); /* the first read of a pager does not look at the version */
    T_CHECK(times_asked(reader, 10) == 0);
    t_raw(writer, "INSERT INTO t VALUES (1)");
    T_CHECK(times_asked(reader, 10) == 1);
    t_raw(reader, "INSERT INTO t VALUES (2)");
    times_asked(reader, 1);
    T_CHECK(times_asked(reader, 10) == 0);
    unix_vfs->xSetSystemCall(unix_vfs, "stat", (sqlite3_syscall_ptr)real_stat);
    t_raw_close(writer);
    t_raw_close(reader);
}

/* Beside readers that have the answer "no": they see each row at once. */
static void test_database_turned_by_another_process(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    t_file_sql(path, "CREATE TABLE t(a)");
    struct other other = other_start(path);
    int64_t rows = 0;
    for (int round = 0; round < 10; round++) {
        other_does(&other, "PRAGMA journal_mode = DELETE");
        sqlite3 *reader = open_shim(path);
        for (int i = 0; i < 3; i++)
            T_CHECK(t_raw_int(reader, "SELECT count(*) FROM t") == rows);
        other_does(&other, "PRAGMA journal_mode = WAL");
        if (round % 2 == 0)
            T_CHECK(t_raw_int(reader, "SELECT count(*) FROM t") == rows);
        other_does(&other, "INSERT INTO t VALUES (1)");
        T_CHECK(t_raw_int(reader, "SELECT count(*) FROM t") == ++rows);
        t_raw(reader, "INSERT INTO t VALUES (2)");
        T_CHECK(other_does(&other, "SELECT count(*) FROM t") == ++rows);
        t_raw_close(reader);
    }
    other_end(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(test_who_answers),
        T_TEST(test_another_version_is_asked_for),
        T_TEST(test_no_main_database),
        T_TEST(test_asked_once_a_commit),
        T_TEST(test_database_turned_by_another_process),
    };
    return T_RUN(tests);
}
