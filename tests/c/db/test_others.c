/* What locks say of other processes: who has the file open in WAL mode, who is in a transaction in rollback mode. */
#include "db/others.h"
#include "db/vfs_shim.h"
#include "support/support.h"

static sqlite3 *open_with(const char *path, const char *vfs, const char *mode)
{
    sqlite3 *db = NULL;
    T_CHECK(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs) ==
            SQLITE_OK);
    t_raw(db, mode);
    t_raw(db, "CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES(1)");
    return db;
}

static enum lli_others look(sqlite3 *db)
{
    struct lli_file_facts facts;
    T_CHECK(lli_vfs_file_facts(db, "main", &facts));
    if (facts.descriptor < 0) { /* nothing is hooked in this SQLite */
        T_CHECK(lli_others_look(db, "main", facts.device, facts.inode) == LLI_OTHERS_UNKNOWN);
        skip();
    }
    return lli_others_look(db, "main", facts.device, facts.inode);
}

static void wal(void **state)
{
    t_env *t = *state;
    t_peer *peer = t_peer_new(t_path(t, "a.db"));
    sqlite3 *db = open_with(t_path(t, "a.db"), LLI_VFS_NAME, "PRAGMA journal_mode = WAL");
    sqlite3 *second = open_with(t_path(t, "a.db"), LLI_VFS_NAME, "SELECT 1");
    T_EQUAL(look(db), LLI_OTHERS_NONE); /* the second one is of this process */
    T_EQUAL(t_peer_try(peer, "SELECT count(*) FROM t"), SQLITE_OK);
    T_EQUAL(look(db), LLI_OTHERS_SOME); /* in no transaction */
    T_EQUAL(look(second), LLI_OTHERS_SOME);
    t_raw(db, "BEGIN IMMEDIATE");
    T_EQUAL(look(db), LLI_OTHERS_SOME);
    T_EQUAL(t_peer_try(peer, "BEGIN IMMEDIATE"), SQLITE_BUSY);
    t_raw(db, "INSERT INTO t VALUES(2); COMMIT");
    T_EQUAL(look(db), LLI_OTHERS_SOME);
    T_EQUAL(t_peer_try(peer, ""), SQLITE_OK);
    T_EQUAL(look(db), LLI_OTHERS_NONE);
    /* Looking drops no lock of ours. */
    t_raw(db, "BEGIN IMMEDIATE");
    T_EQUAL(look(second), LLI_OTHERS_NONE);
    T_EQUAL(t_peer_try(peer, "INSERT INTO t VALUES(3)"), SQLITE_BUSY);
    t_raw(db, "COMMIT");
    t_raw_close(db);
    t_raw_close(second);
    t_peer_end(peer);
}

static void rollback_mode(void **state)
{
    t_env *t = *state;
    t_peer *peer = t_peer_new(t_path(t, "a.db"));
    sqlite3 *db = open_with(t_path(t, "a.db"), LLI_VFS_NAME, "PRAGMA journal_mode = DELETE");
    T_EQUAL(look(db), LLI_OTHERS_UNKNOWN);
    T_EQUAL(t_peer_try(peer, "SELECT count(*) FROM t"), SQLITE_OK);
    T_EQUAL(look(db), LLI_OTHERS_UNKNOWN); /* it has the file open, but no lock */
    T_EQUAL(t_peer_try(peer, "BEGIN; SELECT count(*) FROM t"), SQLITE_OK);
    T_EQUAL(look(db), LLI_OTHERS_SOME);
    T_EQUAL(t_peer_try(peer, "COMMIT; BEGIN IMMEDIATE"), SQLITE_OK);
    T_EQUAL(look(db), LLI_OTHERS_SOME);
    T_EQUAL(t_peer_try(peer, "COMMIT"), SQLITE_OK);
    t_raw_close(db);
    t_peer_end(peer);
}

static void what_is_not_known(void **state)
{
    t_env *t = *state;
    sqlite3 *db = open_with(t_path(t, "a.db"), LLI_VFS_NAME, "PRAGMA journal_mode = WAL");
    struct lli_file_facts facts;
    T_CHECK(lli_vfs_file_facts(db, "main", &facts));
    T_EQUAL(lli_others_look(NULL, "main", facts.device, facts.inode), LLI_OTHERS_UNKNOWN);
    T_EQUAL(lli_others_look(db, "other", facts.device, facts.inode), LLI_OTHERS_UNKNOWN);
    T_EQUAL(lli_others_look(db, "main", facts.device, facts.inode + 1), LLI_OTHERS_UNKNOWN);
    T_EQUAL(lli_others_look(db, "temp", facts.device, facts.inode), LLI_OTHERS_UNKNOWN);
    sqlite3 *plain = open_with(t_path(t, "b.db"), NULL, "PRAGMA journal_mode = WAL");
    T_EQUAL(lli_others_look(plain, "main", 0, 0), LLI_OTHERS_UNKNOWN);
    t_raw_close(plain);
    t_raw_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_TEST(wal),
        T_TEST(rollback_mode),
        T_TEST(what_is_not_known),
    };
    return T_RUN(tests);
}
