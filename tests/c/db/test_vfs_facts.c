/* test_vfs_facts.c: what is known of a connection's files: through our VFS or not, which file, how its
 * reads are guarded, where its wal-index lies. */
#include "db/vfs_shim.h"
#include "support/support.h"

#include <sys/stat.h>
#include <unistd.h>

static sqlite3 *open_with(const char *path, const char *vfs)
{
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
    if (sqlite3_open_v2(path, &db, flags, vfs) != SQLITE_OK)
        t_fail(__FILE__, __LINE__, "%s: %s", path, sqlite3_errmsg(db));
    return db;
}

static struct lli_file_facts facts_of(sqlite3 *db, const char *schema)
{
    struct lli_file_facts facts;
    T_CHECK(lli_vfs_file_facts(db, schema, &facts));
    return facts;
}

static void check_inode(const struct lli_file_facts *facts, const char *path)
{
    struct stat info;
    T_CHECK(stat(path, &info) == 0);
    T_CHECK(facts->device == (uint64_t)info.st_dev && facts->inode == (uint64_t)info.st_ino);
}

static void test_file(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    sqlite3 *db = open_with(path, LLI_VFS_NAME);
    struct lli_file_facts facts = facts_of(db, "main"); /* opening has read the header: known */
    T_CHECK(facts.file && !facts.memory && !facts.moved);
    T_CHECK(facts.guard != LLI_DISK_UNKNOWN && facts.guard != LLI_DISK_NONE);
    check_inode(&facts, path);
    const char *other = t_path(t, "b.db");
    t_file_sql(other, "CREATE TABLE b(x)");
    t_raw(db, t_printf(t, "ATTACH '%s' AS other", other));
    facts = facts_of(db, "other");
    T_CHECK(facts.file != NULL);
    check_inode(&facts, other);
    T_CHECK(!lli_vfs_file_facts(db, "nothing", &facts));
    t_raw_close(db);
}

static void test_wal_index_comes_and_goes(void **state)
{
    t_env *t = *state;
    sqlite3 *db = open_with(t_path(t, "a.db"), LLI_VFS_NAME);
    struct lli_file_facts facts = facts_of(db, NULL);
    T_CHECK(lli_vfs_wal_index(facts.file) == NULL);
    t_raw(db, "PRAGMA journal_mode = WAL; CREATE TABLE a(x); SELECT * FROM a");
    const volatile uint32_t *index = lli_vfs_wal_index(facts.file);
    T_CHECK(index && index[0] == 3007000); /* the format's version */
    T_CHECK(facts_of(db, NULL).file == facts.file);
    t_raw(db, "PRAGMA journal_mode = DELETE");
    T_CHECK(lli_vfs_wal_index(facts.file) == NULL);
    t_raw_close(db);
}

static void test_other_vfs_is_unknown(void **state)
{
    t_env *t = *state;
    sqlite3 *db = open_with(t_path(t, "a.db"), NULL);
    struct lli_file_facts facts = facts_of(db, NULL);
    T_CHECK(!facts.file && !facts.memory && facts.guard == LLI_DISK_NONE);
    t_raw_close(db);
    db = open_with(t_printf(t, "file:%s?vfs=unix-none", t_path(t, "a.db")), LLI_VFS_NAME);
    T_CHECK(!facts_of(db, NULL).file);
    t_raw_close(db);
}

static void test_memory(void **state)
{
    (void)state;
    sqlite3 *db = open_with(":memory:", LLI_VFS_NAME);
    struct lli_file_facts facts = facts_of(db, NULL);
    T_CHECK(facts.memory && !facts.file);
    t_raw_close(db);
    if (sqlite3_libversion_number() >= 3036000) {
        db = open_with("file:/x?vfs=memdb", LLI_VFS_NAME);
        facts = facts_of(db, NULL);
        T_CHECK(facts.memory && !facts.file);
        t_raw_close(db);
    }
}

static void test_file_that_was_replaced(void **state)
{
    t_env *t = *state;
    const char *path = t_path(t, "a.db");
    sqlite3 *db = open_with(path, LLI_VFS_NAME);
    t_raw(db, "CREATE TABLE a(x)");
    struct lli_file_facts before = facts_of(db, NULL);
    T_CHECK(!before.moved);
    T_CHECK(rename(path, t_path(t, "old.db")) == 0);
    T_CHECK(facts_of(db, NULL).moved);
    t_file_sql(path, "CREATE TABLE b(x)");
    struct lli_file_facts after = facts_of(db, NULL);
    T_CHECK(after.moved && after.inode == before.inode);
    t_raw_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(test_file),
        T_TEST(test_wal_index_comes_and_goes),
        T_TEST(test_other_vfs_is_unknown),
        T_TEST(test_memory),
        T_TEST(test_file_that_was_replaced),
    };
    return T_RUN(tests);
}
